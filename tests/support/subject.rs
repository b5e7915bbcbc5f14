//! The meters under test, behind one interface: every law runs over every algorithm.

use super::limit::Limit;
use super::oracle::{ExactBucket, Verdict};
use super::time::{instant, since};
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Decider, GCRA, LeakyBucket, Meter, MultiDecider, NegativeMultiDecision, Quota};
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Both traits that the laws bind, as an object.
pub(crate) trait Both: Decider + MultiDecider + Debug {}
impl<T: Decider + MultiDecider + Debug> Both for T {}

/// A meter, and the origin from which the times of its questions and answers are counted.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) origin: Instant,
    pub(crate) meter: Box<dyn Both>,
}

/// Returns the debug output of a meter without the fields that depend on the time of its clock: its name, limit and state.
pub(crate) fn timeless(meter: &impl Debug) -> String {
    let mut text = format!("{meter:?}");
    while let Some(begin) = text.find(", remaining: ") {
        let end = text[begin..].find(", ..").map_or(text.len(), |end| begin + end);
        text.replace_range(begin..end, "");
    }
    text
}

/// Converts the limit to the crate's own type.
pub(crate) fn quota(limit: &Limit) -> Quota {
    let number = |n: u64| u32::try_from(n).ok().and_then(NonZeroU32::new).expect("a non-zero u32");
    Quota::new(number(limit.cells), Duration::from_nanos(limit.period))
        .expect("a period within bounds")
        .allow_burst(number(limit.burst))
        .cell_weight(number(limit.weight))
}

pub(crate) fn gcra(limit: &Limit) -> GCRA {
    GCRA::from_quota(quota(limit)).unwrap_or_else(|e| panic!("{limit:?}: {e}"))
}

pub(crate) fn leaky_bucket(limit: &Limit) -> LeakyBucket {
    LeakyBucket::from_quota(quota(limit)).unwrap_or_else(|e| panic!("{limit:?}: {e}"))
}

/// Returns how many single cells conform at one instant, and takes them; at most a million.
pub(crate) fn singles<A: Algorithm, C: Clock>(meter: &Meter<A, C>, at: Instant) -> u32 {
    (0..1_000_000).map_while(|_| meter.check_at(at).ok()).map(|()| 1).sum()
}

impl Subject {
    /// Creates a meter of every algorithm; the origin is an instant just before they were built.
    pub(crate) fn each(limit: &Limit) -> [Subject; 2] {
        let origin = Instant::now();
        [
            Subject {
                name: "GCRA",
                origin,
                meter: Box::new(gcra(limit)),
            },
            Subject {
                name: "LeakyBucket",
                origin,
                meter: Box::new(leaky_bucket(limit)),
            },
        ]
    }

    /// Creates a meter of every algorithm at the present instant of `clock`, which is the origin.
    pub(crate) fn each_on(limit: &Limit, clock: &ManualClock) -> [Subject; 2] {
        let origin = clock.now();
        [
            Subject {
                name: "GCRA",
                origin,
                meter: Box::new(gcra(limit).with_clock(clock.clone())),
            },
            Subject {
                name: "LeakyBucket",
                origin,
                meter: Box::new(leaky_bucket(limit).with_clock(clock.clone())),
            },
        ]
    }

    /// Creates an idle GCRA(T, tau) in nanoseconds.
    pub(crate) fn standard(t: u64, tau: u64) -> Subject {
        let origin = Instant::now();
        let meter = GCRA::with_parameters(Duration::from_nanos(t), Duration::from_nanos(tau), None);
        Subject {
            name: "GCRA(T, tau)",
            origin,
            meter: Box::new(meter),
        }
    }

    /// Creates GCRA(T, tau) in nanoseconds with its theoretical arrival time `tat` after the origin.
    pub(crate) fn expecting(t: u64, tau: u64, tat: i128) -> Subject {
        let origin = Instant::now();
        let tat = instant(origin, tat);
        let meter = GCRA::with_parameters(Duration::from_nanos(t), Duration::from_nanos(tau), tat);
        Subject {
            name: "GCRA(T, tau) with a TAT",
            origin,
            meter: Box::new(meter),
        }
    }

    /// Asks for one cell, through the trait for single cells.
    pub(crate) fn single(&self, at: i128) -> Verdict {
        match self.meter.check_at(instant(self.origin, at)) {
            Ok(()) => Verdict::Conforms,
            Err(denied) => Verdict::From(since(self.origin, denied.earliest_possible())),
        }
    }

    /// Asks for a batch, through the trait for batches, and checks that a denial names the size of the batch.
    pub(crate) fn batch(&self, n: u32, at: i128) -> Verdict {
        self.verdict(n, self.meter.check_n_at(n, instant(self.origin, at)))
    }

    /// Asks for one cell or a batch, each through its own trait.
    pub(crate) fn ask(&self, n: u32, at: i128) -> Verdict {
        if n == 1 { self.single(at) } else { self.batch(n, at) }
    }

    /// Asks for one cell or a batch. Checks law 3 with the exact bucket that has taken the same cells as the meter: if the bucket has room, the meter
    /// does not deny.
    #[track_caller]
    pub(crate) fn ask_no_less(&self, n: u32, at: i128, exact: &ExactBucket) -> Verdict {
        let verdict = self.ask(n, at);
        let needless = verdict != Verdict::Conforms && exact.judge(n, at) == Verdict::Conforms;
        assert!(!needless, "{}: {n} cells at {at} ns were denied: {exact:?}", self.name);
        verdict
    }

    /// Returns the meter's answer to `n` cells.
    pub(crate) fn verdict(&self, n: u32, said: Result<(), NegativeMultiDecision>) -> Verdict {
        match said {
            Ok(()) => Verdict::Conforms,
            Err(NegativeMultiDecision::BatchNonConforming(batch, denied)) => {
                assert_eq!(batch, n, "{}: a denial of another batch", self.name);
                Verdict::From(since(self.origin, denied.earliest_possible()))
            }
            Err(NegativeMultiDecision::InsufficientCapacity(batch)) => {
                assert_eq!(batch, n, "{}: a denial of another batch", self.name);
                Verdict::Never
            }
        }
    }

    /// Asks for single cells at one instant until one is denied; at most `limit` of them.
    pub(crate) fn singles_at(&self, at: i128, limit: u64) -> u64 {
        (0..limit).take_while(|_| self.single(at) == Verdict::Conforms).count() as u64
    }

    /// Returns the debug output, as `timeless`.
    pub(crate) fn debug(&self) -> String {
        timeless(&self.meter)
    }
}
