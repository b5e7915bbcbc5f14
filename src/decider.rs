//! The two traits of a meter, and the laws that bind them.

use crate::outcome::{NegativeMultiDecision, NonConformance};
use std::time::Instant;

/// Decides single cells: yes, or no and not before this `Instant`.
///
/// # Laws
///
/// With C cells per period P, the rate is R = C/P, the burst B is C unless set otherwise, and a cell of weight w counts as w units
/// of C and B. [`GCRA`](crate::GCRA) and [`LeakyBucket`](crate::LeakyBucket) obey, and the test suite holds, that:
///
/// 1. **Window.** In every window of length v the units admitted are at most B + R * v, under any interleaving of threads, with
///    timestamps in any order. (The word's resolution, 2^-f cell, may add two of its units to a window in all.)
/// 2. **Exact capacity.** A rested meter admits exactly floor(B/w) cells at one instant.
/// 3. **No needless denial.** A cell that an exact rational bucket admits is admitted, also one that arrives exactly at its
///    instant.
/// 4. **Exact denial.** When nobody else takes cells meanwhile, [`check_at`](Self::check_at) at the denial's
///    [`earliest_possible`](NonConformance::earliest_possible) is `Ok`, and a nanosecond before it is `Err`.
/// 5. **A denial changes nothing**, and writes nothing.
/// 7. **Time may lie.** Any `Instant` will do, in any order: none panics, none gives extra credit. A meter's time line begins a day
///    before it is made; what is earlier counts as that.
/// 8. **Every admission is recorded**: it moves the meter's word.
/// 10. **One word.** Clones share one atomic word, and there is no other mutable state.
///
/// ([`Exponential`](crate::Exponential) has a window law of its own. Where cells are given back, law 1 counts those admitted less those
/// refunded.)
///
/// Where cells come in ticks ([`Quota::refill_every`](crate::Quota::refill_every)), a meter decides as of the latest tick: law 1 is B + R * (v +
/// interval), in law 3 the exact bucket is filled at ticks alone, and the instant of law 4 is a tick.
///
/// (6 is [`MultiDecider`]'s, 9 that of the constructors.) Laws 3 and 4 hold up to 20 years after the meter was made; later cells
/// may only be denied more, never less. One cell admitted at a bogus instant far in the future blocks a meter until then.
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
    /// [`NonConformance`], and nothing has changed, if the cell does not conform; it tells from when on it would.
    fn check_at(&self, at: Instant) -> Result<(), NonConformance>;

    /// Decides one cell now, and counts it if it conforms. Meters read their own clock.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    fn check(&self) -> Result<(), NonConformance> {
        self.check_at(Instant::now())
    }
}

/// Decides several cells at once.
///
/// # Laws
///
/// Those of [`Decider`], of batches instead of cells, and:
///
/// 6. **Batches are all or nothing**, and n single cells at one instant are one batch of n. A batch of none is `Ok` and changes
///    nothing. A batch that can never conform is told apart.
pub trait MultiDecider: Send + Sync {
    /// Decides a batch of `n` cells at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// In either case nothing has changed:
    ///
    /// - [`BatchNonConforming`](NegativeMultiDecision::BatchNonConforming) if the batch does not conform yet; it tells from when on
    ///   it would.
    /// - [`InsufficientCapacity`](NegativeMultiDecision::InsufficientCapacity) if it never will, since it exceeds the burst.
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Decides a batch of `n` cells now, and counts all of them if all conform. Meters read their own clock.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, Instant::now())
    }
}
