//! A pair against two single meters that see the same history: every answer, every instant and both words must be theirs.
#![cfg(feature = "dual")]

use crate::support::exponential::exponential_limits;
use crate::support::limit::Limit;
use crate::support::subject::{gcra, leaky_bucket, timeless};
use crate::support::time::{HORIZON, since};
use crate::support::traffic::{limits, spread};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Dual, Exponential, Meter, NegativeDualDecision, NegativeMultiDecision, RefusedBy, Status};
use std::time::{Duration, Instant};

/// A meter of some algorithm, to be made.
#[derive(Clone, Copy, Debug)]
enum Made {
    Gcra(Limit),
    Bucket(Limit),
    Average(u32, u64),
    Strict(u32, u64),
}

fn halves() -> impl Strategy<Value = Made> {
    prop_oneof![
        3 => limits().prop_map(Made::Gcra),
        3 => limits().prop_map(Made::Bucket),
        1 => exponential_limits().prop_map(|(limit, period)| Made::Average(limit, period)),
        1 => exponential_limits().prop_map(|(limit, period)| Made::Strict(limit, period)),
    ]
}

fn average(limit: u32, period: u64) -> Exponential {
    Exponential::new(limit, Duration::from_nanos(period)).expect("a limit")
}

/// The answer to a request: admitted, denied by these limits until an instant, or above the burst of these limits.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Yes,
    From(RefusedBy, Instant),
    Never(RefusedBy),
}

/// Two meters on their own, asked as if they were one.
struct Apart<A, B> {
    first: Meter<A, ManualClock>,
    second: Meter<B, ManualClock>,
    is_strict: [bool; 2],
}

const NS: Duration = Duration::from_nanos(1);

type Alone = Result<(), NegativeMultiDecision>;

impl<A: Algorithm, B: Algorithm> Apart<A, B> {
    fn peeked(&self, n: [u32; 2], at: Instant) -> [Alone; 2] {
        [self.first.peek_n_at(n[0], at), self.second.peek_n_at(n[1], at)]
    }

    fn peek(&self, n: [u32; 2], at: Instant) -> Said {
        said(self.peeked(n, at))
    }

    fn check(&self, n: [u32; 2], at: Instant) -> Said {
        let count = |of: [bool; 2]| {
            let _ = of[0].then(|| self.first.check_n_at(n[0], at));
            let _ = of[1].then(|| self.second.check_n_at(n[1], at));
        };
        match self.peek(n, at) {
            Said::Yes => {
                count([true, true]);
                Said::Yes
            }
            Said::From(by, _) => {
                count(self.is_strict);
                match self.peek(n, at) {
                    Said::From(_, earliest) => Said::From(by, earliest),
                    said => panic!("what was counted made room: {said:?}"),
                }
            }
            never => never,
        }
    }
}

fn said([first, second]: [Alone; 2]) -> Said {
    let by = |first, second| match (first, second) {
        (true, true) => RefusedBy::Both,
        (true, false) => RefusedBy::First,
        _ => RefusedBy::Second,
    };
    let never = |alone: &Alone| matches!(alone, Err(NegativeMultiDecision::InsufficientCapacity(_)));
    if never(&first) || never(&second) {
        return Said::Never(by(never(&first), never(&second)));
    }
    let earliest = |alone: Alone| match alone {
        Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => Some(denied.earliest_possible()),
        _ => None,
    };
    let refused = by(first.is_err(), second.is_err());
    earliest(first)
        .max(earliest(second))
        .map_or(Said::Yes, |later| Said::From(refused, later))
}

fn told(decision: Result<(), NegativeDualDecision>) -> Said {
    match decision {
        Ok(()) => Said::Yes,
        Err(NegativeDualDecision::BatchNonConforming(_, denied)) => {
            Said::From(denied.refused_by(), denied.earliest_possible())
        }
        Err(NegativeDualDecision::InsufficientCapacity(_, by)) => Said::Never(by),
    }
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Check,
    Peek,
    Take,
    Charge,
    Refund,
    Reset,
}

/// The step of time before a verb.
#[derive(Clone, Copy, Debug)]
enum Pause {
    None,
    Any(u64),
    /// Back, by any time.
    Back(u64),
    /// To this many nanoseconds after the nanosecond before the last reported instant.
    Told(u32),
}

#[derive(Clone, Debug)]
struct Step {
    verb: Verb,
    cells: [u64; 2],
    pause: Pause,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Verb::{Charge, Check, Peek, Refund, Reset, Take};
    let verb = prop_oneof![
        8 => Just(Check), 3 => Just(Take), 2 => Just(Peek), 1 => Just(Charge), 2 => Just(Refund),
    ];
    let verb = prop_oneof![40 => verb, 1 => Just(Reset)];
    let pause = prop_oneof![
        5 => Just(Pause::None),
        3 => any::<u64>().prop_map(Pause::Any),
        1 => any::<u64>().prop_map(Pause::Back),
        2 => (0_u32..=2).prop_map(Pause::Told),
    ];
    let step = (verb, any::<[u64; 2]>(), pause).prop_map(|(verb, cells, pause)| Step { verb, cells, pause });
    prop::collection::vec(step, 1..60)
}

/// None, a few, any number up to the largest batch, or one more than that.
fn cells(seed: u64, most: u32) -> u32 {
    match seed % 8 {
        0 => 0,
        1..4 => u32::try_from(seed >> 8 & 3).expect("small").min(most),
        4..7 => u32::try_from(spread(seed >> 8, 1, u64::from(most))).expect("at most a batch"),
        _ => most.saturating_add(u32::from(seed >> 8 & 15 == 0)),
    }
}

fn same_status(pair: Status, alone: Status) {
    assert_eq!(timeless(&pair), timeless(&alone));
}

fn play<A: Algorithm, B: Algorithm>(first: Meter<A>, second: Meter<B>, is_strict: [bool; 2], steps: &[Step]) {
    let clock = ManualClock::new();
    let origin = clock.now();
    let pair = Dual::new(first.clone(), second.clone()).with_clock(clock.clone());
    let (first, second) = (first.with_clock(clock.clone()), second.with_clock(clock.clone()));
    let apart = Apart {
        first,
        second,
        is_strict,
    };
    let most = [apart.first.status().remaining(), apart.second.status().remaining()];
    let rest = |status: Status| status.quota().expect("of a quota").period();
    let rest = rest(apart.first.status()).min(rest(apart.second.status()));
    let longest = u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX).clamp(1, 1 << 56);
    let (mut at, mut earliest) = (origin, origin);
    for step in steps {
        at = match step.pause {
            Pause::None => at,
            Pause::Any(seed) => at + Duration::from_nanos(spread(seed, 1, longest)),
            Pause::Back(seed) => at - Duration::from_nanos(spread(seed, 1, longest)),
            Pause::Told(since_before) => at.max(earliest - NS + NS * since_before),
        };
        if since(origin, at).abs() > HORIZON {
            return;
        }
        let n = [cells(step.cells[0], most[0]), cells(step.cells[1], most[1])];
        let wide = n.map(u64::from);
        let before = timeless(&pair);
        let answer = match step.verb {
            Verb::Check => {
                let answer = told(pair.check_each_at(n[0], n[1], at));
                assert_eq!(answer, apart.check(n, at), "{n:?} at {at:?}");
                answer
            }
            Verb::Peek => {
                let answer = told(pair.peek_each_at(n[0], n[1], at));
                assert_eq!(answer, apart.peek(n, at), "{n:?} at {at:?}");
                assert_eq!(timeless(&pair), before, "a peek changed something");
                answer
            }
            Verb::Take => {
                let taken = pair.take_each_at(n[0], n[1], at);
                let answer = told(taken.decision());
                assert_eq!(answer, apart.check(n, at), "{n:?} at {at:?}");
                same_status(taken.status().first(), apart.first.status_at(at));
                same_status(taken.status().second(), apart.second.status_at(at));
                answer
            }
            Verb::Charge => {
                let alone = [apart.first.charge_at(wide[0], at), apart.second.charge_at(wide[1], at)];
                assert_eq!(pair.charge_each_at(wide[0], wide[1], at), alone);
                Said::Yes
            }
            Verb::Refund => {
                apart.first.refund_at(wide[0], at);
                apart.second.refund_at(wide[1], at);
                pair.refund_each_at(wide[0], wide[1], at);
                Said::Yes
            }
            Verb::Reset => {
                apart.first.reset();
                apart.second.reset();
                pair.reset();
                Said::Yes
            }
        };
        let (first, second) = (&apart.first, &apart.second);
        let alone = timeless(&format_args!("Dual {{ first: {first:?}, second: {second:?}, .. }}"));
        assert_eq!(timeless(&pair), alone, "after {step:?} of {n:?}");
        if let Said::From(_, then) = answer {
            earliest = then;
            if is_strict == [false, false] {
                assert_eq!(timeless(&pair), before, "a denial changed something");
            }
            if since(origin, then) <= HORIZON {
                assert!(pair.peek_each_at(n[0], n[1], then).is_ok(), "{n:?} at {then:?} as told");
                assert!(
                    pair.peek_each_at(n[0], n[1], then - NS).is_err(),
                    "{n:?} before {then:?}"
                );
            }
        }
    }
}

fn with_first(first: Made, second: Made, steps: &[Step]) {
    match first {
        Made::Gcra(limit) => with_second(gcra(&limit), false, second, steps),
        Made::Bucket(limit) => with_second(leaky_bucket(&limit), false, second, steps),
        Made::Average(limit, period) => with_second(average(limit, period), false, second, steps),
        Made::Strict(limit, period) => with_second(average(limit, period).strict(), true, second, steps),
    }
}

fn with_second<A: Algorithm>(first: Meter<A>, strict: bool, second: Made, steps: &[Step]) {
    match second {
        Made::Gcra(limit) => play(first, gcra(&limit), [strict, false], steps),
        Made::Bucket(limit) => play(first, leaky_bucket(&limit), [strict, false], steps),
        Made::Average(limit, period) => play(first, average(limit, period), [strict, false], steps),
        Made::Strict(limit, period) => play(first, average(limit, period).strict(), [strict, true], steps),
    }
}

proptest! {
    /// The pair admits exactly if both limits would, and otherwise changes neither. The reported instant is the later of the two, and exact.
    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn pair_decides_like_two_meters_together(first in halves(), second in halves(), steps in steps()) {
        with_first(first, second, &steps);
    }
}
