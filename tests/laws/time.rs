//! Law 7: time may lie. Instants centuries off and in any order; and laws 1, 2, 5, 6 and 8 there.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::Subject;
use crate::support::time::{DAY, SECOND, YEAR, earliest_instant, instant, latest_instant, try_instant};
use crate::support::traffic::{EXTREMES, batch, limits, play, spread, steps};
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::clock::ManualClock;
use std::time::Instant;

/// Instants on both sides of the origin, up to ten centuries off, as far as the platform has them.
fn centuries() -> impl Strategy<Value = Vec<(u64, i128)>> {
    let question = (any::<u64>(), any::<u64>(), any::<bool>());
    prop::collection::vec(question, 1..150).prop_map(|seeds| {
        let questions = seeds.into_iter().map(|(size, at, early)| {
            let at = i128::from(spread(at, 1, 1 << 60)) * 28;
            (size, if early { -at } else { at })
        });
        questions
            .filter(|&(_, at)| try_instant(Instant::now(), at).is_some())
            .collect()
    })
}

proptest! {
    #[test]
    fn instants_centuries_off_in_no_order_gain_nothing(limit in limits(), questions in centuries()) {
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            for &(size, at) in &questions {
                let n = batch(size, &limit);
                record.note(n, at, meter.ask(n, at));
            }
            record.assert_law_1(meter.name);
        }
    }

    /// Laws 2 and 8: wherever an instant lies, beyond either end of the time line too, it admits one burst and no more.
    #[test]
    fn no_instant_admits_more_than_one_burst(limit in limits(), at in centuries()) {
        for meter in Subject::each(&limit) {
            for &(_, at) in &at {
                let most = u64::from(limit.at_once());
                let mut taken = meter.singles_at(at, most.min(40));
                let rest = u32::try_from(most - taken).unwrap_or(0);
                if taken == 40 && meter.batch(rest, at) == Verdict::Conforms {
                    taken = most;
                }
                let more = taken == most && meter.single(at) == Verdict::Conforms;
                prop_assert!(!more, "{}: more than {} cells at {} ns", meter.name, most, at);
            }
        }
    }

    /// Laws 5 and 6 there: a denial and an empty batch leave no trace, and singles equal a batch.
    #[test]
    fn denials_and_batches_hold_centuries_off(limit in limits(), questions in centuries()) {
        let clock = ManualClock::new();
        for (batches, singles) in Subject::each_on(&limit, &clock).into_iter().zip(Subject::each_on(&limit, &clock)) {
            for &(size, at) in &questions {
                let n = batch(size, &limit);
                let before = batches.debug();
                let verdict = batches.batch(n, at);
                prop_assert_eq!(batches.batch(0, at), Verdict::Conforms);
                if verdict == Verdict::Conforms && n < 40 {
                    prop_assert!((0..n).all(|_| singles.single(at) == Verdict::Conforms));
                } else {
                    prop_assert_eq!(singles.batch(n, at), verdict);
                }
                prop_assert!(verdict == Verdict::Conforms || batches.debug() == before);
                prop_assert_eq!(singles.debug(), batches.debug());
            }
        }
    }

    /// An instant taken just before the meter was made is no less exact than later ones: law 3 with no allowance for the start.
    #[test]
    fn an_instant_taken_just_before_building_is_exact(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            assert!(meter.origin <= Instant::now());
            play(&limit, &steps, |n, at, exact| meter.ask_no_less(n, at, exact));
        }
    }
}

#[test]
fn platform_extremes_admit_one_burst_each() {
    let (first, last) = (earliest_instant(), latest_instant());
    for limit in EXTREMES
        .iter()
        .filter(|limit| limit.time_to_rest() < 36 * i128::from(YEAR))
    {
        for meter in Subject::each(limit) {
            for end in [first, last] {
                assert!(
                    meter.meter.check_n_at(limit.at_once(), end).is_ok(),
                    "{} at {end:?}: {limit:?}",
                    meter.name
                );
                assert!(
                    meter.meter.check_at(end).is_err(),
                    "{}: more than a burst at {end:?}: {limit:?}",
                    meter.name
                );
            }
            assert!(
                meter.meter.check_at(first).is_err(),
                "{}: time went back and gave credit: {limit:?}",
                meter.name
            );
        }
    }
}

/// An instant before the time line counts as its beginning: an idle meter has no more room there, and nothing drains before it.
#[test]
fn before_the_beginning_is_the_beginning() {
    let (day, second) = (i128::from(DAY), i128::from(SECOND));
    // Late enough for every platform to have the days before.
    let clock = ManualClock::starting_at(instant(Instant::now(), 3000 * day));
    let denied = Verdict::From(second / 3 + 1 - day);
    for meter in Subject::each_on(&Limit::per_second(3), &clock) {
        let taken = [-1000 * day, -500 * day, -day - 1].map(|at| meter.single(at));
        assert_eq!(taken, [Verdict::Conforms; 3], "{}", meter.name);
        for early in [-day, -day - 1, -2000 * day, second / 3 - day] {
            assert_eq!(meter.single(early), denied, "{} at {early} ns", meter.name);
        }
        assert_eq!(meter.single(second / 3 + 1 - day), Verdict::Conforms, "{}", meter.name);
    }
}

/// The documented price of believing every caller: one cell far ahead blocks the meter until then, and a burst no longer.
#[test]
fn far_future_cell_blocks_the_meter_until_then() {
    let (year, second) = (i128::from(YEAR), i128::from(SECOND));
    for meter in Subject::each(&Limit::per_second(10)) {
        assert_eq!(meter.batch(10, 10 * year), Verdict::Conforms);
        for at in [0, second, year, 10 * year - second, 10 * year] {
            assert_eq!(
                meter.single(at),
                Verdict::From(10 * year + second / 10),
                "{}",
                meter.name
            );
        }
        assert_eq!(meter.single(10 * year + second / 10), Verdict::Conforms);
        assert_eq!(meter.batch(10, 10 * year + 2 * second), Verdict::Conforms);
    }
}

/// A denial an hour, a day or centuries back takes no credit and gives none.
#[test]
fn time_that_goes_back_drains_nothing_twice() {
    let second = i128::from(SECOND);
    for meter in Subject::each(&Limit::per_second(10)) {
        assert_eq!(meter.batch(10, 0), Verdict::Conforms);
        assert_eq!(meter.batch(5, second / 2), Verdict::Conforms);
        for back in [
            1,
            second / 2,
            3600 * second,
            2 * i128::from(DAY),
            300 * i128::from(YEAR),
        ] {
            assert_ne!(
                meter.single(second / 2 - back),
                Verdict::Conforms,
                "{}: {back} ns back",
                meter.name
            );
            assert_eq!(
                meter.single(second / 2),
                Verdict::From(6 * second / 10),
                "{}: {back} ns back",
                meter.name
            );
        }
        assert_eq!(meter.batch(5, second), Verdict::Conforms);
        assert_eq!(meter.single(second), Verdict::From(11 * second / 10));
    }
}
