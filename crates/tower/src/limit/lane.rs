//! The meters of a limit, and its settings.

use crate::error::InvalidLimit;
use crate::head::{Head, ResponseHead};
use crate::meters::{Meters, Ticket};
use crate::policy::Policy;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use http::StatusCode;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::Clock;
use ratelimit_meter::{Meter, Quota};
use std::sync::Arc;

/// The name of the quota that a limit is made of.
pub(crate) const BASE_TIER: &str = "default";

/// Meters of one kind of quota, and its policy for each tier.
pub(crate) struct Lane {
    pub(crate) meters: Arc<dyn Meters>,
    pub(crate) policies: Vec<Policy>,
}

/// A closure of a limit.
pub(crate) type HeadFn<T> = Box<dyn Fn(&Head<'_>) -> T + Send + Sync>;

/// The settings of a limit besides its meters.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) filters: Vec<HeadFn<bool>>,
    pub(crate) cost: Option<HeadFn<u64>>,
    pub(crate) on_no_key: OnNoKey,
    pub(crate) dry_run: bool,
    pub(crate) announce: bool,
    pub(crate) quiet: bool,
    pub(crate) after: Option<Arc<After>>,
    pub(crate) refund_cancelled: bool,
    pub(crate) late: bool,
    pub(crate) warned: Warned,
}

/// Counts by the response.
pub(crate) enum After {
    RefundIf(ReplyFn),
    ChargeIf(ReplyFn),
}

pub(crate) type ReplyFn = Box<dyn Fn(&ResponseHead<'_>) -> bool + Send + Sync>;

/// The warnings that were given: each once.
#[derive(Debug, Default)]
pub struct Warned {
    no_key: AtomicBool,
    /// The requests in which forwarding fields were looked for; [`LOOKS`] once there is nothing more to warn of.
    forwarding: AtomicU32,
    tier: AtomicBool,
}

/// The treatment of a request that has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnNoKey {
    /// All such requests share one meter of the same quota, and one warning is given. Neither "no limit" nor "an error for everyone" is a safe
    /// default.
    #[default]
    Share,
    /// Such requests are denied with this status.
    Reject(StatusCode),
    /// This limit does not apply to such requests.
    Pass,
}

impl Lane {
    /// Returns the lane of this meter.
    pub(super) fn of<A, C>(name: &str, meter: Meter<A, C>) -> Result<Arc<Self>, InvalidLimit>
    where
        A: Algorithm + 'static,
        C: Clock + 'static,
    {
        Ok(Self::new(name, quota_of(&meter)?, Arc::new(meter)))
    }

    /// Returns the lane of a table with a meter like this one for each of `keys` keys.
    pub(super) fn like<A, C>(name: &str, meter: Meter<A, C>, keys: usize) -> Result<Arc<Self>, InvalidLimit>
    where
        A: Algorithm + 'static,
        C: Clock + 'static,
    {
        Ok(Self::new(name, quota_of(&meter)?, crate::meters::table(meter, keys)?))
    }

    /// Returns the policy of a ticket's tier.
    #[inline]
    pub(crate) fn policy(&self, ticket: Ticket) -> &Policy {
        &self.policies[usize::from(ticket.tier)]
    }

    fn new(name: &str, quota: Quota, meters: Arc<dyn Meters>) -> Arc<Self> {
        let policies = vec![Policy::new(name, BASE_TIER, quota)];
        Arc::new(Self { meters, policies })
    }
}

fn quota_of<A: Algorithm, C: Clock>(meter: &Meter<A, C>) -> Result<Quota, InvalidLimit> {
    meter.status().quota().ok_or(InvalidLimit::NoQuota)
}

impl Rules {
    /// Returns `true` if the limit applies to a request.
    #[inline]
    pub(crate) fn apply_to(&self, head: &Head<'_>) -> bool {
        self.filters.iter().all(|filter| filter(head))
    }

    #[inline]
    pub(crate) fn cost_of(&self, head: &Head<'_>) -> u64 {
        self.cost.as_ref().map_or(1, |cost| cost(head))
    }

    #[inline]
    pub(crate) fn is_announced(&self) -> bool {
        !self.quiet && (!self.dry_run || self.announce)
    }

    /// Returns `true` if each request takes one cell now, and nothing else.
    #[inline]
    pub(super) fn are_plain(&self) -> bool {
        let decides_alone = self.filters.is_empty() && self.cost.is_none() && !self.dry_run;
        decides_alone && self.after.is_none() && !self.refund_cancelled && !self.late
    }

    /// Returns the treatment of a request that has no key. A trial denies nothing.
    pub(crate) fn without_key(&self) -> OnNoKey {
        match self.on_no_key {
            OnNoKey::Reject(_) if self.dry_run => OnNoKey::Pass,
            action => action,
        }
    }

    #[inline]
    pub(crate) fn charges_after(&self) -> bool {
        matches!(self.after.as_deref(), Some(After::ChargeIf(_)))
    }
}

impl Warned {
    pub(crate) fn of_no_key(&self, action: OnNoKey) {
        if action == OnNoKey::Share && first(&self.no_key) {
            crate::warning!(
                "a request has no key, so all of its kind share one limit: is ConnectInfo missing \
                 (into_make_service_with_connect_info), or the layer that sets the extension? Choose with on_no_key"
            );
        }
    }

    /// Returns `true` while forwarding fields are looked for.
    #[inline]
    pub(super) fn looks_for_forwarding(&self) -> bool {
        // ORDERING: relaxed; the number of looks, which publishes nothing.
        self.forwarding.load(Ordering::Relaxed) < LOOKS
    }

    pub(crate) fn of_forwarding(&self, head: &Head<'_>) {
        if self.looks_for_forwarding() {
            self.look_for_forwarding(head);
        }
    }

    #[cold]
    fn look_for_forwarding(&self, head: &Head<'_>) {
        if !crate::forwarded::Chain::is_there(head.headers()) {
            // ORDERING: relaxed, as above.
            self.forwarding.fetch_add(1, Ordering::Relaxed);
        } else if self.forwarding.swap(LOOKS, Ordering::Relaxed) < LOOKS {
            // ORDERING: relaxed, as above; one thread swaps first.
            crate::warning!(
                "requests come with X-Forwarded-For or Forwarded, but are limited by the address of their connection: \
                 behind a proxy all clients share one limit; ClientIp::trusting reads the client's address"
            );
        }
    }

    pub(crate) fn of_tier(&self, name: &impl fmt::Debug) {
        if first(&self.tier) {
            crate::warning!("the limit has no tier {name:?}, so its first quota is used: see tier_by");
        }
    }
}

/// The requests in which forwarding fields are looked for: a proxy in front adds them to all.
const LOOKS: u32 = 1000;

/// Returns `true` the first time.
fn first(given: &AtomicBool) -> bool {
    // ORDERING: relaxed; one thread swaps first, and nothing else hangs on it.
    !given.swap(true, Ordering::Relaxed)
}
