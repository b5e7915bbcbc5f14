//! Verbs by a clock that is behind: a caller that waited until the instant of a denial must not be denied because of the lag.

use crate::support::clock::Behind;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, Quota};
use std::time::Duration;

const NS: Duration = Duration::from_nanos(1);

type Verb<A> = fn(&Meter<A, Behind>) -> bool;

fn exactly_from_its_instant_on<A: Algorithm>(meter: &Meter<A>) {
    for by in [0, 1, 4999, 5000].map(Duration::from_nanos) {
        let verbs: [Verb<A>; 5] = [
            |meter| meter.peek().is_ok(),
            |meter| meter.peek_n(1).is_ok(),
            |meter| meter.take(1).decision().is_ok(),
            |meter| meter.check_up_to(1).cells() == 1,
            |meter| meter.reserve(1, Duration::ZERO).is_ok(),
        ];
        for (number, verb) in verbs.into_iter().enumerate() {
            let time = ManualClock::new();
            let meter = meter.clone().with_clock(Behind::new(&time, by));
            let _ = meter.charge_at(12, time.now());
            let earliest = meter.peek_at(time.now()).expect_err("a debt").earliest_possible();
            time.set(earliest - NS);
            assert!(!verb(&meter), "verb {number}, behind by {by:?}");
            time.set(earliest);
            assert!(verb(&meter), "verb {number}, behind by {by:?}");
        }
    }
}

#[test]
fn a_lagging_clock_decides_a_verb_again() {
    let quota: Quota = "10/s".parse().expect("a quota");
    exactly_from_its_instant_on(&GCRA::from_quota(quota).expect("a limit"));
    exactly_from_its_instant_on(&LeakyBucket::from_quota(quota).expect("a limit"));
    exactly_from_its_instant_on(&Exponential::from_quota(quota).expect("a limit"));
}

#[test]
fn a_strict_meter_counts_a_lagging_denial_once() {
    let time = ManualClock::new();
    let by = Duration::from_nanos(4000);
    let meter = Exponential::new(10, Duration::from_secs(1)).expect("a limit").strict();
    let meter = meter.with_clock(Behind::new(&time, by));
    assert_eq!(meter.check_n(10), Ok(()));
    let wait = meter.peek().expect_err("taken").wait_time_from(time.now());
    let before = meter.rate_at(time.now());
    time.advance(wait - Duration::from_nanos(3000))
        .expect("some milliseconds");
    let decayed = meter.rate_at(time.now());
    assert!(meter.check().is_err() && decayed < before);
    let counted = (meter.rate_at(time.now()) - decayed) / before * 10.0;
    assert!((counted - 1.0).abs() < 1e-6, "{counted} cells");
}

/// A meter whose checks anchor the default clock in this thread, once the counter's frequency is known.
fn anchoring() -> GCRA {
    let meter = GCRA::from_quota("1/h".parse::<Quota>().expect("a quota")).expect("a limit");
    let denied = (0..200_000).filter(|_| meter.check().is_err()).count();
    assert_eq!(denied, 199_999);
    meter
}

/// A decision that counts denials, or whose cells come in ticks, is not made by an anchor.
#[test]
fn strict_denials_count_by_the_default_clock() {
    let meter = Exponential::new(10, Duration::from_secs(3600))
        .expect("a limit")
        .strict();
    assert_eq!(meter.check_n(10), Ok(()));
    let (before, other) = (meter.rate(), anchoring());
    assert!((0..100).all(|_| other.check().is_err() && meter.check().is_err()));
    let counted = (meter.rate() / before - 1.0) * 10.0;
    assert!((counted - 100.0).abs() < 1.0, "{counted} cells");
}

#[test]
fn default_clock_adds_no_cells_between_ticks() {
    // Steadily, a cell would come every microsecond.
    let quota: Quota = "4000000000/h every 1h".parse().expect("a quota");
    let meter = LeakyBucket::from_quota(quota).expect("a limit");
    assert_eq!(meter.check_n(4_000_000_000), Ok(()));
    let other = anchoring();
    assert!((0..1000).all(|_| other.check().is_err() && meter.check().is_err()));
}

#[cfg(feature = "dual")]
mod pairs {
    use super::{Behind, NS};
    use ratelimit_meter::clock::{Clock, ManualClock};
    use ratelimit_meter::{Dual, Exponential, GCRA, LeakyBucket, MeterKind, NegativeDualDecision};
    use std::time::Duration;

    type Verb<A, B> = fn(&Dual<A, B, Behind>) -> bool;

    fn exactly_from_its_instant_on<A: MeterKind, B: MeterKind>(pair: &Dual<A, B>, is_strict: bool) {
        let verbs: [Verb<A, B>; 4] = [
            |pair| pair.check().is_ok(),
            |pair| pair.check_each(1, 0).is_ok(),
            |pair| pair.peek_each(1, 1).is_ok(),
            |pair| pair.take_each(1, 1).decision().is_ok(),
        ];
        for by in [0, 1, 4999, 5000].map(Duration::from_nanos) {
            for (number, verb) in verbs.into_iter().enumerate() {
                let time = ManualClock::new();
                let pair = pair.clone().with_clock(Behind::new(&time, by));
                assert_eq!(pair.charge_each_at(12, 12, time.now()), [0, 0]);
                let Err(NegativeDualDecision::BatchNonConforming(_, denied)) = pair.peek_each_at(1, 1, time.now())
                else {
                    panic!("a debt");
                };
                let earliest = denied.earliest_possible();
                // A strict pair that is asked too early is to be asked later.
                if !is_strict {
                    time.set(earliest - NS);
                    assert!(!verb(&pair), "verb {number}, behind by {by:?}");
                }
                time.set(earliest);
                assert!(verb(&pair), "verb {number}, behind by {by:?}");
            }
        }
    }

    #[test]
    fn a_lagging_clock_decides_a_pair_again() {
        let pair = Dual::<GCRA, LeakyBucket>::from_quota("10/s & 100/s burst 10".parse().expect("two quotas"));
        exactly_from_its_instant_on(&pair.expect("two limits"), false);
    }

    #[test]
    fn a_strict_pair_reads_the_exact_clock() {
        let average = || Exponential::new(10, Duration::from_secs(1)).expect("a limit");
        let bucket = LeakyBucket::per_second(11).expect("a limit");
        exactly_from_its_instant_on(&Dual::new(bucket.clone(), average().strict()), true);
        exactly_from_its_instant_on(&Dual::new(average().strict(), bucket), true);
    }
}
