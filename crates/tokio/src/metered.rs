//! Waiting for a meter of the core.

use crate::clock::{CAN_BE_PAUSED, now};
use crate::error::InsufficientCapacity;
use crate::source::{Part, Source, never};
use core::any::TypeId;
use core::hash::{BuildHasher, Hash};
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, DefaultClock, SystemClock};
use ratelimit_meter::{KeyedMeter, Meter, MeterKind, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};

/// What a queue has to know of a meter beforehand: so many cells take so long at its rate.
#[derive(Debug)]
pub struct Pace {
    cells: u32,
    takes_ns: u128,
}

impl Pace {
    fn of_quota(quota: Quota) -> Self {
        let weight = u128::from(quota.weight().get());
        Self {
            cells: quota.cells().get(),
            takes_ns: quota.period().as_nanos() * weight,
        }
    }

    /// How long `cells` take, once the burst is spent.
    fn time_of(&self, cells: u64) -> Duration {
        let ns = u128::from(cells)
            .saturating_mul(self.takes_ns)
            .div_ceil(self.cells.into());
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// A meter of the core: alone, or a key's.
pub trait Metered: Send + Sync + 'static {
    fn pace(&self) -> Pace;

    /// Decides now, by the meter's own clock where that tells tokio's time and is cheaper.
    fn check_n_now(&self, n: u32) -> Result<(), NegativeMultiDecision>;

    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Takes cells that conform at `from`, or later and by `by`, where that can be decided at once; they count from when they conform.
    fn check_n_within(&self, n: u32, from: Instant, _by: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, from)
    }

    fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    fn refund_at(&self, n: u32, at: Instant);
}

/// From when on a decision would be yes.
fn earliest(decision: Result<(), NegativeMultiDecision>, at: Instant) -> Result<(), Instant> {
    decision.map_err(|denied| match denied {
        NegativeMultiDecision::BatchNonConforming(_, denied) => denied.earliest_possible(),
        NegativeMultiDecision::InsufficientCapacity(_) => never(at),
    })
}

impl<A: Algorithm + 'static, C: Clock + 'static> Metered for Meter<A, C> {
    fn pace(&self) -> Pace {
        let rested = self.clone().with_clock(SystemClock);
        let at = Instant::now();
        let takes_ns = || {
            rested.charge_at(1, at);
            rested.status_at(at).until_rest().as_nanos()
        };
        let quota = rested.status_at(at).quota();
        quota.map_or_else(
            || Pace {
                cells: 1,
                takes_ns: takes_ns(),
            },
            Pace::of_quota,
        )
    }

    #[inline]
    fn check_n_now(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        if has_cheap_clock::<C>() {
            self.check_n(n)
        } else {
            self.check_n_at(n, now())
        }
    }

    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at)
    }

    fn check_n_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_within(n, from, by)
    }

    fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.peek_n_at(n, at)
    }

    fn refund_at(&self, n: u32, at: Instant) {
        self.refund_at(n.into(), at);
    }
}

/// A key and the table that has its meter.
#[derive(Debug)]
pub struct OfKey<K, M: MeterKind, S> {
    pub(crate) table: KeyedMeter<K, M, S>,
    pub(crate) key: K,
}

impl<K, M, S> Metered for OfKey<K, M, S>
where
    K: Hash + Send + Sync + 'static,
    M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    fn pace(&self) -> Pace {
        let quota = self.table.key(&self.key).status_at(now()).quota();
        // Of T and tau nothing is told; who waits behind others is then thought to be served with them, and waits on.
        quota.map_or(Pace { cells: 1, takes_ns: 0 }, Pace::of_quota)
    }

    fn check_n_now(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        if has_cheap_clock::<M::Clock>() {
            self.table.check_n(&self.key, n)
        } else {
            self.check_n_at(n, now())
        }
    }

    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.table.check_n_at(&self.key, n, at)
    }

    fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.table.key(&self.key).peek_n_at(n, at)
    }

    fn refund_at(&self, n: u32, at: Instant) {
        self.table.key(&self.key).refund_at(n.into(), at);
    }
}

fn has_cheap_clock<C: 'static>() -> bool {
    !CAN_BE_PAUSED && TypeId::of::<C>() == TypeId::of::<DefaultClock>()
}

impl<T: Metered> Source for T {
    type Outcome = Result<(), InsufficientCapacity>;
    type Never = InsufficientCapacity;
    type State = Pace;

    fn outcome(result: Result<(), InsufficientCapacity>) -> Self::Outcome {
        result
    }

    fn state(&self) -> Pace {
        self.pace()
    }

    fn queueable(&self, n: u32, at: Instant) -> Result<(), InsufficientCapacity> {
        // One is never too many.
        if n == 1 { Ok(()) } else { self.at_once(n, at) }
    }

    fn at_once(&self, n: u32, at: Instant) -> Result<(), InsufficientCapacity> {
        match self.peek_n_at(n, at) {
            Err(NegativeMultiDecision::InsufficientCapacity(n)) => Err(InsufficientCapacity(n)),
            _ => Ok(()),
        }
    }

    #[inline]
    fn take_unlocked(&self, n: u32) -> bool {
        self.check_n_now(n).is_ok()
    }

    fn take(&self, _: &mut Pace, n: u32, at: Instant, _: bool) -> Result<(), Instant> {
        earliest(self.check_n_at(n, at), at)
    }

    fn due(&self, _: &Pace, missing: u32, from: Instant) -> Instant {
        match earliest(self.peek_n_at(missing, from), from) {
            Ok(()) => from,
            Err(due) => due,
        }
    }

    fn is_sooner(&self, missing: u32, now: Instant) -> bool {
        self.peek_n_at(missing, now).is_ok()
    }

    fn serve(&self, _: &mut Pace, missing: u32, from: Instant, now: Instant) -> Result<Part, Instant> {
        // They may be due later, but those behind them are not due before that by the meter's own count.
        let part = Part {
            cells: missing,
            at: from,
        };
        earliest(self.check_n_within(missing, from, now), from).map(|()| part)
    }

    fn plan(&self, pace: &Pace, first: u32, due: Instant, cells: u64) -> Instant {
        let behind = pace.time_of(cells.saturating_sub(first.into()));
        due.checked_add(behind).unwrap_or_else(|| never(due))
    }

    fn give_back(&self, _: &mut Pace, n: u32, at: Instant) {
        Metered::refund_at(self, n, at);
    }
}
