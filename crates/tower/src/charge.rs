//! Charges that are known only later.

use crate::limit::{Lane, LaneAsk};
use crate::meters::{Denied, Detail, Standing, Ticket};
use core::error::Error;
use core::fmt;
use http::Request;
use ratelimit_meter::time::Moment;
use std::sync::Arc;
use std::time::Duration;

/// Charges the limits of a request after it was admitted. The handler of a [`late`](crate::Limiter::late) limit finds it in the request's extensions.
///
/// If several layers with late limits are around a handler, the handler finds one `Charge` for all of them. A request to which no late limit applies,
/// such as one of an [allowed](crate::Limiter::allow) network, has a `Charge` that charges nothing.
///
/// A `Charge` borrows nothing from the request. Keep it as long as there is something to charge: for each message of a WebSocket, each token of a
/// stream.
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
///
/// A debt bans a client for longer than the quota does. If the limit is `5/10min` and late, and a request [costs](crate::Limiter::cost) 0, the fifth
/// failure in a row is followed by a ban of one hour. Each failure of a request that was admitted before the ban adds 2 min.
///
/// ```
/// use ratelimit_meter_tower::Charge;
///
/// fn log_in_failed(charge: &Charge) {
///     let is_fifth = charge.remaining() == 1;
///     charge.charge(if is_fifth { 30 } else { 1 }); // 30 cells of 2 min each
/// }
/// ```
#[derive(Clone)]
pub struct Charge {
    items: Arc<[LateLimit]>,
}

#[derive(Clone)]
struct LateLimit {
    lane: Arc<Lane>,
    ticket: Ticket,
    /// On trial: it counts, and denies nothing.
    dry_run: bool,
    /// The address of the limit's rules, which both quotas of a dual limit share.
    limit: usize,
}

impl Charge {
    /// Returns the charge of a request's late limits, if there are any.
    #[inline]
    pub(crate) fn of(asks: &[LaneAsk<'_>]) -> Option<Self> {
        asks.iter().any(|ask| ask.rules.late).then(|| Self::new(asks))
    }

    #[cold]
    fn new(asks: &[LaneAsk<'_>]) -> Self {
        let late = asks.iter().filter(|ask| ask.rules.late);
        let items = late.map(|ask| LateLimit {
            lane: Arc::clone(ask.lane),
            ticket: ask.ticket,
            dry_run: ask.rules.dry_run,
            limit: core::ptr::from_ref(ask.rules).addr(),
        });
        Self::of_items(items.collect())
    }

    fn of_items(mut items: Vec<LateLimit>) -> Self {
        // Trials come last, because they count the messages that the enforced limits admit.
        items.sort_by_key(|item| item.dry_run);
        Self { items: items.into() }
    }

    /// Returns the charge that charges nothing.
    #[cold]
    fn nothing() -> Self {
        let items = Arc::default();
        Self { items }
    }

    /// Adds the limits of an inner layer. A limit that both layers have is charged once.
    #[cold]
    fn and(self, inner: Self) -> Self {
        let added = inner
            .items
            .iter()
            .filter(|item| !self.items.iter().any(|other| other.is_same(item)));
        Self::of_items(self.items.iter().chain(added).cloned().collect())
    }

    /// Returns `true` if both charge the same keys of the same limits.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (items, others) = (&*self.items, &*other.items);
        items.len() == others.len() && items.iter().zip(others).all(|(a, b)| a.is_same(b))
    }

    /// Puts the charge of a request's late limits into its extensions, beside those of outer layers. If `always` is set, there is one even if no late
    /// limit applies to the request: a handler need not know the exemptions.
    #[inline]
    pub(crate) fn lend<B>(asks: &[LaneAsk<'_>], always: bool, request: &mut Request<B>) {
        if let Some(charge) = Self::of(asks).or_else(|| always.then(Self::nothing)) {
            let extensions = request.extensions_mut();
            let charge = match extensions.remove::<Self>() {
                Some(outer) => outer.and(charge),
                None => charge,
            };
            extensions.insert(charge);
        }
    }

    /// The limits that deny.
    fn enforced(&self) -> impl Iterator<Item = &LateLimit> {
        self.items.iter().filter(|item| !item.dry_run)
    }

    /// Returns the charge of the late limit of this name alone. If there is none, the result charges nothing and its checks succeed.
    #[must_use]
    pub fn of_policy(&self, name: &str) -> Self {
        let items = self.items.iter().filter(|item| item.policy() == name);
        Self {
            items: items.cloned().collect(),
        }
    }

    /// Counts `cells`, whether they conform or not. Cells that do not conform become a debt, and later requests are denied until it has drained.
    pub fn charge(&self, cells: u64) {
        for item in &*self.items {
            item.lane.meters.charge(item.ticket, cells);
        }
    }

    /// Counts `cells` if they conform to every late limit, all or nothing: the decision about one message of a WebSocket. A
    /// [`dry_run`](crate::Limiter::dry_run) limit denies nothing here either, and counts if the cells conform to it too.
    ///
    /// ```
    /// use ratelimit_meter_tower::Charge;
    ///
    /// fn reply_to(message: &str, charge: &Charge) -> String {
    ///     match charge.check(1) {
    ///         Ok(()) => format!("you said {message}"),
    ///         Err(denied) => denied.to_string(), // and the connection stays
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChargeDenied`], and nothing is counted, if they do not conform now.
    pub fn check(&self, cells: u32) -> Result<(), ChargeDenied> {
        let Some(first) = self.items.first() else { return Ok(()) };
        let clock = &first.lane.meters;
        let checked = self.check_at(cells, clock.now()).or_else(|denied| {
            // A clock that is behind must not deny a message that comes at the announced time.
            let exactly = denied.wait_ns().and_then(|ns| clock.now_exactly(ns));
            exactly.map_or(Err(denied), |exactly| self.check_at(cells, exactly))
        });
        checked.map_err(ChargeDenied::from)
    }

    fn check_at(&self, cells: u32, at: Moment) -> Result<(), Denied> {
        // Returns the longest denial: until its end the cells do not conform to all.
        let denials = self.enforced().filter_map(|item| item.peek(cells, at).err());
        let longest = denials.max_by_key(|denied| denied.wait_ns().unwrap_or(u64::MAX));
        longest.map_or(Ok(()), Err)?;
        let (enforced, trials) = self.items.split_at(self.enforced().count());
        for (index, item) in enforced.iter().enumerate() {
            if let Some(denied) = item.take(cells, at) {
                let before = &enforced[..index];
                before
                    .iter()
                    .for_each(|item| item.lane.meters.give_back(item.ticket, cells, at));
                return Err(denied);
            }
        }
        // A limit on trial counts by all its quotas, or by none.
        for trial in trials.chunk_by(|a, b| a.limit == b.limit) {
            if trial.len() == 1 || trial.iter().all(|item| item.peek(cells, at).is_ok()) {
                for item in trial {
                    item.take(cells, at);
                }
            }
        }
        Ok(())
    }

    /// Gives `cells` back, but no more than makes the meter idle.
    pub fn refund(&self, cells: u64) {
        for item in &*self.items {
            item.lane.meters.refund(item.ticket, cells);
        }
    }

    /// Returns `true` if this number of cells would conform now to every late limit. Changes nothing.
    #[must_use]
    pub fn conforms(&self, cells: u32) -> bool {
        self.enforced()
            .all(|item| item.peek(cells, item.lane.meters.now()).is_ok())
    }

    /// Returns how many cells conform at once to every late limit; `u64::MAX` if there is no late limit of this [name](Self::of_policy).
    #[must_use]
    pub fn remaining(&self) -> u64 {
        let remaining = self.enforced().map(|item| item.lane.meters.remaining(item.ticket));
        remaining.min().unwrap_or(u64::MAX)
    }
}

impl LateLimit {
    fn peek(&self, cells: u32, at: Moment) -> Result<(), Denied> {
        self.lane.meters.peek(self.ticket, cells, at)
    }

    /// Takes `cells` if they conform. Returns the reason of a denial.
    fn take(&self, cells: u32, at: Moment) -> Option<Denied> {
        let standing = &mut Standing::default();
        self.lane.meters.take(self.ticket, cells, at, Detail::Nothing, standing)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lane, &other.lane) && self.ticket == other.ticket
    }

    fn policy(&self) -> &str {
        self.lane.policy(self.ticket).name()
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.items.iter().map(LateLimit::policy))
            .finish()
    }
}

/// A message or another part of a request does not conform now; see [`Charge::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeDenied {
    wait: Option<Duration>,
}

impl From<Denied> for ChargeDenied {
    fn from(denied: Denied) -> Self {
        let wait = denied.wait_ns().map(Duration::from_nanos);
        Self { wait }
    }
}

impl ChargeDenied {
    /// Returns the time until the same cells conform; `None` if they exceed the burst and never will.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }
}

impl fmt::Display for ChargeDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait {
            Some(wait) => write!(
                f,
                "denied: conforms in {} s",
                crate::numbers::seconds(crate::numbers::nanos(wait.as_nanos()))
            ),
            None => f.write_str("denied: more cells than the limit ever admits at once"),
        }
    }
}

impl Error for ChargeDenied {}
