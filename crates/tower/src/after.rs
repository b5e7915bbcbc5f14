//! Counting by the response, or by its absence.

use crate::fields::{Announcement, Fields, Position};
use crate::head::ResponseHead;
use crate::limit::{After, Lane, LaneAsk};
use crate::meters::{Detail, Ticket};
use http::Response;
use std::sync::Arc;

/// The work that is left when the response of an admitted request is there.
pub(crate) enum Then {
    Announce(Announcement),
    Settle(Box<Pending>),
}

impl Then {
    /// The response of the inner service is passed on as it is.
    pub(crate) const NOTHING: Self = Self::Announce(Announcement::Nothing);

    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Announce(Announcement::Nothing))
    }

    /// Does the work, by the inner service's result.
    // Out of line, so that a response without fields is passed on as it is.
    #[inline(never)]
    pub(crate) fn finish<C, E>(&mut self, result: &mut Result<Response<C>, E>) {
        match (self, result) {
            (Self::Announce(announcement), Ok(response)) => announcement.set(response.headers_mut()),
            (Self::Announce(_), Err(_)) => {}
            (Self::Settle(pending), Ok(response)) => pending.settle(response).set(response.headers_mut()),
            (Self::Settle(pending), Err(_)) => pending.fail(),
        }
    }
}

/// The limits of a request that is under way, with those whose count depends on the response.
pub(crate) struct Pending {
    items: Vec<PendingLimit>,
    fields: Fields,
    nearest: bool,
}

struct PendingLimit {
    lane: Arc<Lane>,
    ticket: Ticket,
    cost: u64,
    after: Option<Arc<After>>,
    refund_cancelled: bool,
    announced: bool,
}

impl Pending {
    /// Returns the pending counts of a request; none if all is decided already.
    #[inline]
    pub(crate) fn of(asks: &[LaneAsk<'_>], fields: Fields, nearest: bool) -> Option<Box<Self>> {
        let depends = |ask: &LaneAsk<'_>| ask.rules.after.is_some() || ask.rules.refund_cancelled;
        if !asks.iter().any(|ask| depends(ask) && counts(asks, ask)) {
            return None;
        }
        Some(Self::new(asks, fields, nearest))
    }

    #[cold]
    fn new(asks: &[LaneAsk<'_>], fields: Fields, nearest: bool) -> Box<Self> {
        let items = asks.iter().map(|ask| PendingLimit {
            lane: Arc::clone(ask.lane),
            ticket: ask.ticket,
            cost: ask.cost,
            after: ask.rules.after.clone().filter(|_| counts(asks, ask)),
            refund_cancelled: ask.rules.refund_cancelled && counts(asks, ask),
            announced: ask.rules.is_announced(),
        });
        Box::new(Self {
            items: items.collect(),
            fields,
            nearest,
        })
    }

    /// Counts by the response, and returns the fields as they are after that.
    pub(crate) fn settle<B>(&mut self, response: &Response<B>) -> Announcement {
        let reply = ResponseHead::of(response);
        let mut items = std::mem::take(&mut self.items);
        for item in &mut items {
            let meters = &item.lane.meters;
            match item.after.take().as_deref() {
                Some(After::RefundIf(refunds)) if refunds(&reply) => meters.refund(item.ticket, item.cost),
                Some(After::ChargeIf(charges)) if charges(&reply) => meters.charge(item.ticket, item.cost),
                _ => {}
            }
        }
        let announced = items.iter().filter(|item| item.announced);
        Announcement::of(self.fields, self.nearest, announced.map(PendingLimit::position))
    }

    /// Counts the request: the inner service failed, and there is no response to count by.
    pub(crate) fn fail(&mut self) {
        for item in self.items.drain(..).filter(|item| !item.is_taken()) {
            item.lane.meters.charge(item.ticket, item.cost);
        }
    }
}

/// Returns whether a limit counts the request: a trial counts by all its quotas, or by none.
fn counts(asks: &[LaneAsk<'_>], ask: &LaneAsk<'_>) -> bool {
    let is_of_limit = |other: &&LaneAsk<'_>| core::ptr::eq(ask.rules, other.rules);
    asks.iter().filter(is_of_limit).all(|other| other.denied.is_none())
}

impl PendingLimit {
    /// Returns `true` if the cost was taken before the response.
    fn is_taken(&self) -> bool {
        !matches!(self.after.as_deref(), Some(After::ChargeIf(_)))
    }

    fn position(&self) -> Position<'_> {
        let meters = &self.lane.meters;
        Position {
            policy: self.lane.policy(self.ticket),
            standing: meters.standing(self.ticket, meters.now(), Detail::Rest),
            denied: None,
        }
    }
}

/// A request that is dropped before its response has counted, unless its limit refunds cancelled requests.
impl Drop for Pending {
    fn drop(&mut self) {
        for item in &self.items {
            match (item.refund_cancelled, item.is_taken()) {
                (true, true) => item.lane.meters.refund(item.ticket, item.cost),
                (false, false) => item.lane.meters.charge(item.ticket, item.cost),
                _ => {}
            }
        }
    }
}
