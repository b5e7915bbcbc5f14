//! Law 4: a denial is exact to the nanosecond. Law 5: a denial changes nothing.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{Subject, gcra, leaky_bucket};
use crate::support::time::{HORIZON, SECOND, YEAR};
use crate::support::traffic::{EXTREMES, limits, play, steps};
use proptest::prelude::*;
use ratelimit_meter::clock::ManualClock;
use std::time::Duration;

/// Asserts that `n` cells denied at `at` conform from `earliest` on and not a nanosecond sooner; they are then taken.
#[track_caller]
fn assert_exact(meter: &Subject, n: u32, at: i128, earliest: i128, limit: &Limit) {
    let who = meter.name;
    assert!(
        earliest > at,
        "{who}: {n} cells denied at {at} ns until {earliest}: {limit:?}"
    );
    let sooner = meter.ask(n, earliest - 1);
    assert_eq!(
        sooner,
        Verdict::From(earliest),
        "{who}: {n} cells a nanosecond before {earliest}: {limit:?}"
    );
    assert_eq!(
        meter.ask(n, earliest),
        Verdict::Conforms,
        "{who}: {n} cells at {earliest} ns as told: {limit:?}"
    );
}

/// Asserts that `earliest` is within a nanosecond, or a billionth of the wait, of when the exact bucket has room.
#[track_caller]
fn assert_near(exact: &ExactBucket, n: u32, at: i128, earliest: i128, limit: &Limit) {
    let Verdict::From(right) = exact.judge(n, at) else {
        panic!("{n} cells at {at} ns were denied for nothing: {limit:?}");
    };
    // If a burst drains in more than 90 years, the word has less than two units a nanosecond. Then an error of two units may be two nanoseconds.
    let coarse = i128::from(limit.time_to_rest() > 90 * i128::from(YEAR));
    let allowed = (1 + coarse).max((right - at) / 1_000_000_000);
    let off = (earliest - right).abs();
    assert!(
        off <= allowed,
        "{n} cells at {at} ns conform from {right}, not {earliest}: {limit:?}"
    );
    assert!(
        right > HORIZON || earliest <= right,
        "{n} cells at {at} ns were told {earliest}, {right} would do: {limit:?}"
    );
}

proptest! {
    #[test]
    fn a_denial_is_exact_to_the_nanosecond(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            // The traffic of a caller that was denied and returned at the reported instants.
            let mut exact = ExactBucket::new(limit);
            let mut now = 0;
            play(&limit, &steps, |n, at, _| {
                if at < now {
                    return Verdict::Never;
                }
                let verdict = meter.ask(n, at);
                match verdict {
                    Verdict::Conforms => exact.take(n, at),
                    Verdict::From(earliest) => {
                        assert_near(&exact, n, at, earliest, &limit);
                        if earliest <= HORIZON {
                            assert_exact(&meter, n, at, earliest, &limit);
                            exact.take(n, earliest);
                            now = earliest;
                        }
                    }
                    Verdict::Never => {}
                }
                verdict
            });
        }
    }

    /// After any number of denials to any callers, the decisions equal those of a meter that was never asked.
    #[test]
    fn a_flood_of_denials_changes_no_decision(limit in limits(), steps in steps(), early in 0i128..1_000_000) {
        let clock = ManualClock::new();
        for (quiet, flooded) in Subject::each_on(&limit, &clock).into_iter().zip(Subject::each_on(&limit, &clock)) {
            play(&limit, &steps, |n, at, exact| {
                let before = flooded.debug();
                for when in [at, at - early] {
                    // Two cells above the room of the exact bucket are denied at any resolution.
                    let too_many = u64::from(exact.room(when)) + 2;
                    let flood = [too_many, u64::from(limit.at_once()), u64::from(limit.at_once()) + 1, u64::from(u32::MAX)];
                    for n in flood.into_iter().filter(|&n| n >= too_many).filter_map(|n| u32::try_from(n).ok()) {
                        assert_ne!(flooded.batch(n, when), Verdict::Conforms, "{n} cells at {when} ns: {limit:?}");
                    }
                }
                assert_eq!(flooded.debug(), before, "{}: {limit:?}", flooded.name);
                let verdict = quiet.ask(n, at);
                assert_eq!(flooded.ask(n, at), verdict, "{}: {n} cells at {at} ns: {limit:?}", quiet.name);
                verdict
            });
        }
    }
}

/// Where a nanosecond is worth few units, a `now` rounded up or an instant rounded down shows within a few tries.
#[test]
fn denials_are_exact_at_the_extremes() {
    let few_units = [
        Limit::new(1, YEAR).burst(200),
        Limit::new(1, 3 * YEAR + 1).burst(60),
        Limit::new(4_294_967_295, 100 * YEAR).burst(4_294_967_295),
        Limit::per_second(4_294_967_291).burst(97),
        Limit::new(3, 7).burst(11),
        Limit::new(7, 3).burst(1),
    ];
    for limit in EXTREMES.iter().chain(&few_units) {
        for meter in Subject::each(limit) {
            let (mut at, mut exact) = (0, ExactBucket::new(*limit));
            assert_eq!(meter.batch(limit.at_once(), at), Verdict::Conforms);
            exact.take(limit.at_once(), at);
            for n in (1..=limit.at_once()).cycle().take(300) {
                if let Verdict::From(earliest) = meter.ask(n, at) {
                    assert_near(&exact, n, at, earliest, limit);
                    if earliest > HORIZON {
                        break;
                    }
                    assert_exact(&meter, n, at, earliest, limit);
                    at = earliest;
                }
                exact.take(n, at);
            }
        }
    }
}

/// The state of a meter appears in its `Debug`, so that the flood above would show.
#[test]
fn debug_output_shows_admissions_only() {
    for meter in Subject::each(&Limit::per_second(2)) {
        let rested = meter.debug();
        assert_eq!(meter.single(0), Verdict::Conforms);
        let taken = meter.debug();
        assert_ne!(rested, taken, "{}", meter.name);
        assert_eq!(meter.batch(2, 0), Verdict::From(i128::from(SECOND) / 2));
        assert_eq!(meter.batch(3, 0), Verdict::Never);
        assert_eq!(meter.debug(), taken, "{}", meter.name);
    }
}

#[test]
fn wait_counts_from_any_instant_and_never_negative() {
    let limit = Limit::per_second(4);
    let (gcra, bucket) = (gcra(&limit), leaky_bucket(&limit));
    let start = std::time::Instant::now();
    gcra.check_n_at(4, start).expect("rested");
    bucket.check_n_at(4, start).expect("rested");
    let denied = [gcra.check_at(start), bucket.check_at(start)].map(|said| said.expect_err("full"));
    for denied in denied {
        let ms = Duration::from_millis;
        assert_eq!(denied.wait_time_from(start), ms(250));
        assert_eq!(denied.wait_time_from(start + ms(50)), ms(200));
        assert_eq!(denied.wait_time_from(start + ms(250)), Duration::ZERO);
        assert_eq!(
            denied.wait_time_from(start + ms(900)),
            Duration::ZERO,
            "after the deadline"
        );
        assert_eq!(denied.wait_time_from(start - ms(50)), ms(300));
    }
}
