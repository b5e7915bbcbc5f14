//! Charges that are known only later.

use crate::limit::{Ask, Lane};
use crate::meters::{Detail, Ticket};
use core::fmt;
use std::sync::Arc;

/// Charges the limits of a request after it was admitted: what a handler of a [`late`](crate::Limiter::late) limit finds in the request's extensions.
///
/// It owns nothing of the request, and may be kept as long as there is something to charge: for each message of a WebSocket, each token of
/// a stream.
///
/// ```
/// use ratelimit_meter_tower::Charge;
///
/// async fn generate(charge: Charge) -> String {
///     let (text, tokens) = ("...".to_owned(), 1234);
///     charge.charge(tokens);
///     text
/// }
/// ```
#[derive(Clone)]
pub struct Charge {
    items: Arc<[Item]>,
}

struct Item {
    lane: Arc<Lane>,
    ticket: Ticket,
}

impl Charge {
    /// The charge of a request's late limits, if there are any.
    pub(crate) fn of(asks: &[Ask<'_>]) -> Option<Self> {
        if !asks.iter().any(|ask| ask.rules.late) {
            return None;
        }
        let late = asks.iter().filter(|ask| ask.rules.late);
        let items = late.map(|ask| Item {
            lane: Arc::clone(ask.lane),
            ticket: ask.ticket,
        });
        Some(Self { items: items.collect() })
    }

    /// Returns the charge of the policy of this name alone, of those that are late.
    #[must_use]
    pub fn of_policy(&self, name: &str) -> Self {
        let items = self.items.iter().filter(|item| item.policy() == name);
        let items = items.map(|item| Item {
            lane: Arc::clone(&item.lane),
            ticket: item.ticket,
        });
        Self { items: items.collect() }
    }

    /// Counts `cells`, whether they conform or not: into debt, which later requests wait for.
    pub fn charge(&self, cells: u64) {
        for item in &*self.items {
            item.lane.meters.charge(item.ticket, cells);
        }
    }

    /// Gives `cells` back, but no more than makes the meter idle.
    pub fn refund(&self, cells: u64) {
        for item in &*self.items {
            item.lane.meters.refund(item.ticket, cells);
        }
    }

    /// Returns whether a request of this cost would conform now, and changes nothing.
    #[must_use]
    pub fn conforms(&self, cells: u32) -> bool {
        self.items.iter().all(|item| {
            let meters = &item.lane.meters;
            meters.peek(item.ticket, cells, meters.now()).is_ok()
        })
    }

    /// Returns how many requests are left at once.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let remaining = self.items.iter().map(|item| {
            let meters = &item.lane.meters;
            meters.standing(item.ticket, meters.now(), Detail::Next).remaining
        });
        remaining.min().unwrap_or(u64::MAX)
    }
}

impl Item {
    fn policy(&self) -> &str {
        self.lane.policies[usize::from(self.ticket.tier)].name()
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter().map(Item::policy)).finish()
    }
}
