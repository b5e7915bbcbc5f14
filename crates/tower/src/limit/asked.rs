//! The cells that a request asks of its meters, decided all or nothing.

use super::lane::{Lane, OnNoKey, Rules};
use crate::fields::Position;
use crate::meters::{Denied, Detail, Standing, Ticket};
use core::fmt;
use http::StatusCode;
use ratelimit_meter::time::Moment;
use smallvec::SmallVec;
use std::sync::Arc;

/// Collects the cells that one request asks of its limits: a list on the stack, to which each [`Limit`](crate::Limit) adds.
///
/// The layer then takes all of it, or nothing: first each meter is looked at, then charged in order, each in one atomic step. If another
/// request takes the last cells of a later meter meanwhile, the cells of the earlier meters are given back.
#[derive(Default)]
pub struct Asked<'a> {
    asks: SmallVec<[LaneAsk<'a>; 4]>,
    keyless: SmallVec<[&'a Lane; 1]>,
    rejected: Option<StatusCode>,
}

/// Cells of one meter.
#[derive(Clone, Copy)]
pub(crate) struct LaneAsk<'a> {
    pub(crate) lane: &'a Arc<Lane>,
    pub(crate) rules: &'a Rules,
    pub(crate) ticket: Ticket,
    pub(crate) cost: u64,
    pub(crate) denied: Option<Denied>,
    pub(crate) standing: Standing,
}

/// A request that asks one meter for one cell, with nothing to settle later; see [`Limit::plain`](crate::Limit::plain).
pub struct Plain<'a> {
    pub(super) lane: &'a Arc<Lane>,
    pub(super) rules: &'a Rules,
    pub(super) ticket: Ticket,
}

/// The denial of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The time until the request conforms, if it ever does.
    pub(crate) wait_ns: Option<u64>,
    pub(crate) reason: Reason,
}

/// The reason of a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A quota is used up; the request conforms later.
    Quota,
    /// The request costs more than the burst, so it can never conform.
    Never,
    /// The table of keys is full, and `WhenFull::Deny` was chosen.
    TableFull,
    /// The request has no key, and [`OnNoKey::Reject`] was chosen.
    NoKey,
    /// A store elsewhere did not answer, and `OnStoreFailure::Closed` was chosen.
    Store,
    /// The queue denies: too many requests wait already, or its deadline is over.
    TooManyWaiting,
}

impl Denial {
    pub(crate) const fn of_no_key() -> Self {
        Self {
            wait_ns: None,
            reason: Reason::NoKey,
        }
    }
}

impl From<Denied> for Denial {
    fn from(denied: Denied) -> Self {
        let reason = match denied {
            Denied::For(_) => Reason::Quota,
            Denied::Never => Reason::Never,
            Denied::Full(_) => Reason::TableFull,
        };
        let wait_ns = denied.wait_ns();
        Self { wait_ns, reason }
    }
}

impl<'a> Asked<'a> {
    /// Notes that the first limit denies, by a decision that was made elsewhere.
    #[cfg(feature = "queue")]
    pub(crate) fn deny_first(&mut self, wait_ns: Option<u64>, reason: Reason) -> Denial {
        if let Some(first) = self.asks.first_mut() {
            first.denied = match reason {
                Reason::TooManyWaiting => None, // the queue denies, not the limit
                _ => Some(wait_ns.map_or(Denied::Never, Denied::For)),
            };
        }
        Denial { wait_ns, reason }
    }

    /// Notes how the meters stand after a decision that was made elsewhere.
    #[cfg(feature = "queue")]
    pub(crate) fn stand_at(&mut self, at: Moment, detail: Detail) {
        self.asks.iter_mut().for_each(|ask| ask.stand_at(at, detail));
    }

    #[inline]
    pub(super) fn push(&mut self, lane: &'a Arc<Lane>, rules: &'a Rules, ticket: Ticket, cost: u64) {
        self.asks.push(LaneAsk::new(lane, rules, ticket, cost));
    }

    pub(super) fn keyless(&mut self, lane: &'a Lane, action: OnNoKey) {
        self.keyless.push(lane);
        if let OnNoKey::Reject(status) = action {
            self.rejected.get_or_insert(status);
        }
    }

    /// Returns the names of the policies for which no key was found.
    pub(crate) fn without_key(&self) -> impl Iterator<Item = &str> {
        self.keyless.iter().map(|lane| lane.policies[0].name())
    }

    /// Returns the status of a request that is rejected because it has no key.
    #[inline]
    pub(crate) fn rejected(&self) -> Option<StatusCode> {
        self.rejected
    }

    #[inline]
    pub(crate) fn asks(&self) -> &[LaneAsk<'a>] {
        &self.asks
    }

    /// Returns the positions of the request under the announced policies.
    #[inline]
    pub(crate) fn positions(&self) -> impl Iterator<Item = Position<'a>> {
        let announced = self.asks.iter().filter(|ask| ask.rules.is_announced());
        announced.map(LaneAsk::position)
    }

    /// Takes everything, or nothing.
    #[inline]
    pub(crate) fn decide(&mut self, detail: Detail) -> Result<(), Denial> {
        match &mut *self.asks {
            [] => Ok(()),
            [only] if !only.rules.dry_run => only.take_now(detail),
            asks => take_several(asks, detail),
        }
    }
}

impl<'a> Plain<'a> {
    /// Takes the cell if it conforms, and writes the standing. Returns the reason of a denial.
    #[inline]
    pub(crate) fn decide(&self, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        self.lane.meters.decide_now(self.ticket, 1, detail, standing)
    }

    /// Returns the cell as it was decided.
    #[inline]
    pub(crate) fn ask(&self, denied: Option<Denied>, standing: Standing) -> LaneAsk<'a> {
        LaneAsk {
            denied,
            standing,
            ..LaneAsk::new(self.lane, self.rules, self.ticket, 1)
        }
    }
}

impl<'a> LaneAsk<'a> {
    #[inline]
    pub(super) fn new(lane: &'a Arc<Lane>, rules: &'a Rules, ticket: Ticket, cost: u64) -> Self {
        Self {
            lane,
            rules,
            ticket,
            cost,
            denied: None,
            standing: Standing::default(),
        }
    }

    #[inline]
    pub(crate) fn policy(&self) -> &'a crate::policy::Policy {
        self.lane.policy(self.ticket)
    }

    #[inline]
    pub(crate) fn position(&self) -> Position<'a> {
        Position {
            policy: self.policy(),
            standing: self.standing,
            denied: self.denied,
        }
    }

    /// Returns `true` if cells are taken now. Otherwise the meter is only looked at, and the response or the handler decides the charge.
    pub(crate) fn takes(&self) -> bool {
        !(self.rules.charges_after() || self.rules.late && self.cost == 0)
    }

    /// Returns the fewest cells that are looked at: a late limit admits no request in debt, even at no cost.
    fn least(&self) -> u32 {
        self.rules.late.into()
    }

    fn denial(&self) -> Result<(), Denial> {
        self.denied.map_or(Ok(()), |denied| Err(denied.into()))
    }

    #[inline]
    fn take_now(&mut self, detail: Detail) -> Result<(), Denial> {
        let meters = &*self.lane.meters;
        match u32::try_from(self.cost) {
            Ok(cells) if self.takes() => {
                self.denied = meters.decide_now(self.ticket, cells, detail, &mut self.standing);
            }
            _ => {
                self.take_at(meters.now(), detail);
                let wait_ns = self.denied.and_then(Denied::wait_ns);
                if let Some(exactly) = wait_ns.and_then(|ns| meters.now_exactly(ns)) {
                    self.take_at(exactly, detail);
                }
            }
        }
        self.denial()
    }

    fn take_at(&mut self, at: Moment, detail: Detail) {
        match u32::try_from(self.cost) {
            Ok(cells) if self.takes() => {
                let meters = &*self.lane.meters;
                self.denied = meters.take(self.ticket, cells, at, detail, &mut self.standing);
            }
            _ => {
                self.look_at(at);
                self.stand_at(at, detail);
            }
        }
    }

    fn look_at(&mut self, at: Moment) {
        let meters = &*self.lane.meters;
        self.denied = match u32::try_from(self.cost) {
            Ok(cells) => meters.peek(self.ticket, cells.max(self.least()), at).err(),
            Err(_) => Some(Denied::Never),
        };
    }

    fn stand_at(&mut self, at: Moment, detail: Detail) {
        if detail > Detail::Nothing {
            self.standing = self.lane.meters.standing(self.ticket, at, detail);
        }
    }

    fn give_back(&self, taken: Moment) {
        if let (true, Ok(cells)) = (self.takes(), u32::try_from(self.cost)) {
            self.lane.meters.give_back(self.ticket, cells, taken);
        }
    }
}

/// Takes the cells of several meters now, or none, and then the cells of limits on trial.
fn take_several(asks: &mut [LaneAsk<'_>], detail: Detail) -> Result<(), Denial> {
    asks.iter().for_each(|ask| ask.lane.meters.fetch(ask.ticket));
    let clock = &*asks[0].lane.meters;
    let at = clock.now();
    let mut enforced = asks.iter_mut().filter(|ask| !ask.rules.dry_run);
    let decided = match (enforced.next(), enforced.next()) {
        // Trials beside it must not change the decision.
        (Some(only), None) => only.take_now(detail),
        _ => {
            let decided = take_all(asks, at, detail);
            let again = decided.err().and_then(|denial| clock.now_exactly(denial.wait_ns?));
            // A clock that is behind must not deny a request that comes at the announced time.
            again.map_or(decided, |exactly| take_all(asks, exactly, detail))
        }
    };
    if decided.is_err() {
        let trials = asks.iter_mut().filter(|ask| ask.rules.dry_run);
        trials.for_each(|ask| ask.stand_at(at, detail));
        return decided;
    }
    for limit in asks.chunk_by_mut(|a, b| core::ptr::eq(a.rules, b.rules)) {
        if limit[0].rules.dry_run {
            try_out(limit, at, detail);
        }
    }
    Ok(())
}

/// Takes the cells of one limit on trial, all or none of its quotas. Its decision is for the observer alone.
fn try_out(trial: &mut [LaneAsk<'_>], at: Moment, detail: Detail) {
    if trial.len() > 1 {
        trial.iter_mut().for_each(|ask| ask.look_at(at));
        if trial.iter().any(|ask| ask.denied.is_some()) {
            trial.iter_mut().for_each(|ask| ask.stand_at(at, detail));
            return;
        }
    }
    for ask in trial {
        let _ = ask.take_now(detail);
    }
}

/// Takes the cells of all enforced meters at one time, or of none. Returns the longest denial, if there is one.
pub(super) fn take_all(asks: &mut [LaneAsk<'_>], at: Moment, detail: Detail) -> Result<(), Denial> {
    asks.iter_mut().for_each(|ask| ask.denied = None);
    look_at_all(asks, at);
    if asks.iter().all(|ask| ask.denied.is_none()) {
        take_in_order(asks, at, detail);
    }
    let Some(longest) = longest_denial(asks) else {
        return Ok(());
    };
    asks.iter_mut().for_each(|ask| ask.stand_at(at, detail));
    Err(longest.into())
}

fn enforced<'s, 'a>(asks: &'s mut [LaneAsk<'a>]) -> impl Iterator<Item = &'s mut LaneAsk<'a>> {
    asks.iter_mut().filter(|ask| !ask.rules.dry_run)
}

/// Looks at the enforced meters.
///
/// Taking from the first meter looks at it too. So it is looked at here only if another meter denies, or if its own denial would count.
fn look_at_all(asks: &mut [LaneAsk<'_>], at: Moment) {
    let mut asks = enforced(asks);
    let Some(first) = asks.next() else { return };
    let mut rest_conforms = true;
    for ask in asks {
        ask.look_at(at);
        rest_conforms &= ask.denied.is_none();
    }
    if !rest_conforms || first.lane.meters.counts_denials() {
        first.look_at(at);
    }
}

/// Takes from each enforced meter in turn. If one denies, because another request took its last cells since the look, gives back the cells of the
/// meters before it.
fn take_in_order(asks: &mut [LaneAsk<'_>], at: Moment, detail: Detail) {
    for index in 0..asks.len() {
        let ask = &mut asks[index];
        if ask.rules.dry_run {
            continue;
        }
        ask.take_at(at, detail);
        if ask.denied.is_some() {
            enforced(&mut asks[..index]).for_each(|ask| ask.give_back(at));
            return;
        }
    }
}

/// Returns the first of the denials that last longest; one without end lasts longest.
fn longest_denial(asks: &[LaneAsk<'_>]) -> Option<Denied> {
    let denials = asks.iter().rev().filter_map(|ask| ask.denied);
    denials.max_by_key(|denied| denied.wait_ns().unwrap_or(u64::MAX))
}

impl fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").finish_non_exhaustive()
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.asks.iter().map(|ask| ask.policy().name());
        f.debug_list().entries(names).finish()
    }
}
