//! Waiting for a meter of the core.

use crate::clock::{CAN_BE_PAUSED, now};
use crate::error::InsufficientCapacity;
use crate::source::{Part, Source, never};
use core::any::TypeId;
use core::num::NonZeroU32;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, DefaultClock, SystemClock};
use ratelimit_meter::{Meter, NegativeMultiDecision};
use std::time::{Duration, Instant};

/// What a queue has to know of a meter beforehand.
#[derive(Debug)]
pub struct Pace {
    /// The most that ever conforms at once.
    largest: u32,
    /// So many cells take so long at the meter's rate.
    cells: u32,
    takes_ns: u128,
}

impl Pace {
    fn of<A: Algorithm, C: Clock>(meter: &Meter<A, C>) -> Self {
        let at = Instant::now();
        let rested = meter.clone().with_clock(SystemClock);
        let status = rested.status_at(at);
        let (cells, takes_ns) = match status.quota() {
            Some(quota) => {
                let weight = u128::from(quota.weight().get());
                (quota.cells(), quota.period().as_nanos() * weight)
            }
            None => {
                rested.charge_at(1, at);
                (NonZeroU32::MIN, rested.status_at(at).until_rest().as_nanos())
            }
        };
        Self {
            largest: status.remaining(),
            cells: cells.get(),
            takes_ns,
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

/// From when on a decision would be yes.
fn earliest(decision: Result<(), NegativeMultiDecision>, at: Instant) -> Result<(), Instant> {
    decision.map_err(|denied| match denied {
        NegativeMultiDecision::BatchNonConforming(_, denied) => denied.earliest_possible(),
        NegativeMultiDecision::InsufficientCapacity(_) => never(at),
    })
}

impl<A, C> Source for Meter<A, C>
where
    A: Algorithm + 'static,
    C: Clock + 'static,
{
    type Outcome = Result<(), InsufficientCapacity>;
    type Never = InsufficientCapacity;
    type State = Pace;

    fn outcome(result: Result<(), InsufficientCapacity>) -> Self::Outcome {
        result
    }

    fn state(&self) -> Pace {
        Pace::of(self)
    }

    fn queueable(&self, pace: &Pace, n: u32) -> Result<(), InsufficientCapacity> {
        self.at_once(pace, n)
    }

    fn at_once(&self, pace: &Pace, n: u32) -> Result<(), InsufficientCapacity> {
        if n > pace.largest {
            Err(InsufficientCapacity(n))
        } else {
            Ok(())
        }
    }

    #[inline]
    fn take_unlocked(&self, n: u32) -> bool {
        // Tokio's time, by the cheaper clock if that tells it.
        if !CAN_BE_PAUSED && TypeId::of::<C>() == TypeId::of::<DefaultClock>() {
            self.check_n(n).is_ok()
        } else {
            self.check_n_at(n, now()).is_ok()
        }
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

    fn serve(&self, _: &mut Pace, missing: u32, due: Instant, _: Instant) -> Result<Part, Instant> {
        let part = Part {
            cells: missing,
            at: due,
        };
        earliest(self.check_n_at(missing, due), due).map(|()| part)
    }

    fn plan(&self, pace: &Pace, first: u32, due: Instant, cells: u64) -> Instant {
        let behind = pace.time_of(cells.saturating_sub(first.into()));
        due.checked_add(behind).unwrap_or_else(|| never(due))
    }

    fn give_back(&self, _: &mut Pace, n: u32, at: Instant) {
        self.refund_at(n.into(), at);
    }

    fn settle(&self, _: &mut Pace) {}
}
