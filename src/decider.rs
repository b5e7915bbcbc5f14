//! The two traits of a meter, the laws that bind them, and the meter without a limit.

use crate::outcome::{NegativeMultiDecision, NonConformance};
use crate::time::{self, Instant};

/// Decides single cells: `Ok`, or a denial that holds the `Instant` from which the cell would conform.
///
/// # Laws
///
/// With C cells per period P, the rate is R = C/P. The burst B is C unless set otherwise. A cell of weight w counts as w units of C and B.
/// [`GCRA`](crate::GCRA) and [`LeakyBucket`](crate::LeakyBucket) obey these laws, and the test suite checks them:
///
/// 1. **Window.** In every window of length v the units admitted are at most B + R * v, under any interleaving of threads, with
///    timestamps in any order. (The word's resolution, 2^-f cell, may add two of its units to a window in all.)
/// 2. **Exact capacity.** An idle meter admits exactly floor(B/w) cells at one instant.
/// 3. **No needless denial.** Every cell that an exact rational bucket admits is admitted, even a cell that arrives exactly at its instant.
/// 4. **Exact denial.** If no other caller takes cells meanwhile, [`check_at`](Self::check_at) at the denial's
///    [`earliest_possible`](NonConformance::earliest_possible) is `Ok`, and a nanosecond before it is `Err`.
/// 5. **A denial changes nothing**, and writes nothing.
/// 7. **Time may lie.** Any `Instant` is accepted, in any order: none panics, and none gives extra credit. A meter's time line begins a day before it
///    is made, and an earlier time counts as that beginning.
/// 8. **Every admission is recorded**: it moves the meter's word.
/// 10. **One word.** Clones share one atomic word, and there is no other mutable state.
///
/// ([`Exponential`](crate::Exponential) has a window law of its own. Where cells are given back, law 1 counts the cells admitted less the cells
/// refunded.)
///
/// If cells come in ticks ([`Quota::refill_every`](crate::Quota::refill_every)), a meter decides at the time of the latest tick. The bound of law 1
/// is then B + R * (v + interval). The exact bucket of law 3 is filled only at ticks, and the instant of law 4 is a tick.
///
/// (Law 6 is in [`MultiDecider`], and law 9 binds the constructors.) Laws 3 and 4 hold up to 20 years after the meter was made. After that, more
/// cells may be denied, never fewer. One cell admitted at a wrong instant far in the future blocks a meter until then.
///
/// # Progress and ordering
///
/// A decision takes no lock and allocates nothing. A denial is wait-free and only reads; an admission is lock-free. A conforming
/// decision orders nothing but the meter itself: publish other data by other means.
pub trait Decider: Send + Sync {
    /// Decides one cell at `at`, and counts it if it conforms.
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if the cell does not conform. It holds the instant from which the cell would conform. Nothing has changed.
    fn check_at(&self, at: Instant) -> Result<(), NonConformance>;

    /// Decides one cell now, and counts it if it conforms. Meters read their own clock. A wrapper around a meter should forward this method, too: the
    /// default decides at `Instant::now()`.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    fn check(&self) -> Result<(), NonConformance> {
        self.check_at(time::now())
    }
}

/// Decides several cells at once.
///
/// # Laws
///
/// The laws of [`Decider`], for batches instead of cells, and:
///
/// 6. **Batches are all or nothing**, and n single cells at one instant are one batch of n. A batch of zero cells is `Ok` and changes nothing. A
///    batch that can never conform has an error of its own.
pub trait MultiDecider: Send + Sync {
    /// Decides a batch of `n` cells at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// In either case nothing has changed:
    ///
    /// - [`BatchNonConforming`](NegativeMultiDecision::BatchNonConforming) if the batch does not conform yet. It holds the instant from which the
    ///   batch would conform.
    /// - [`InsufficientCapacity`](NegativeMultiDecision::InsufficientCapacity) if the batch exceeds the burst, so that it can never conform.
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Decides a batch of `n` cells now, and counts all of them if all conform. Meters read their own clock; as for [`Decider::check`], a wrapper
    /// should forward this method.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, time::now())
    }
}

/// Implements the traits for a pointer to a meter, so that generic code takes a reference, an `Arc`, or a boxed trait object.
macro_rules! decide_through {
    ($($pointer:ty),*) => {$(
        impl<D: Decider + ?Sized> Decider for $pointer {
            #[inline]
            fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
                (**self).check_at(at)
            }

            #[inline]
            fn check(&self) -> Result<(), NonConformance> {
                (**self).check()
            }
        }

        impl<D: MultiDecider + ?Sized> MultiDecider for $pointer {
            #[inline]
            fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
                (**self).check_n_at(n, at)
            }

            #[inline]
            fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
                (**self).check_n(n)
            }
        }
    )*};
}

decide_through!(&D, &mut D);
#[cfg(feature = "alloc")]
decide_through!(alloc::boxed::Box<D>, alloc::sync::Arc<D>);

/// Admits every cell: no limit, no state, no clock. Use it for tests, and as the floor for measuring a meter.
///
/// ```
/// use ratelimit_meter::{Allower, Decider};
///
/// let allower = Allower::new();
/// assert_eq!(allower.check(), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allower {}

impl Allower {
    /// Returns a meter that admits every cell.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl Decider for Allower {
    fn check_at(&self, _at: Instant) -> Result<(), NonConformance> {
        Ok(())
    }

    fn check(&self) -> Result<(), NonConformance> {
        Ok(())
    }
}

impl MultiDecider for Allower {
    fn check_n_at(&self, _n: u32, _at: Instant) -> Result<(), NegativeMultiDecision> {
        Ok(())
    }

    fn check_n(&self, _n: u32) -> Result<(), NegativeMultiDecision> {
        Ok(())
    }
}
