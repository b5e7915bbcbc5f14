//! Law 1: every window of length v has at most B + R*v units, and two units of 2^-f cell for the resolution of the word. The order of timestamps does
//! not matter.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::Subject;
use crate::support::time::{HORIZON, SECOND, YEAR};
use crate::support::traffic::{EXTREMES, limits, play, scattered, steps};
use crate::support::window::Admissions;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_window_admits_more_than_burst_and_rate(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            play(&limit, &steps, |n, at, _| record.note(n, at, meter.ask(n, at)));
            record.assert_law_1(meter.name);
        }
    }

    #[test]
    fn timestamps_in_no_order_at_all_gain_nothing((limit, questions) in scattered()) {
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            for &(n, at) in &questions {
                record.note(n, at, meter.ask(n, at));
            }
            record.assert_law_1(meter.name);
        }
    }

    /// Two callers whose clocks differ take turns, each until it is denied.
    #[test]
    fn callers_with_different_clocks_share_one_limit(limit in limits(), skew in 0u32..8, waits in prop::collection::vec(1i128..6, 1..40)) {
        let interval = limit.emission(1).min(HORIZON / 500);
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            let mut now = 0;
            for (turn, wait) in waits.iter().enumerate() {
                let mine = if turn % 2 == 0 { now } else { now - interval * i128::from(skew) };
                for n in [limit.at_once(), limit.at_once() / 2, 1, 1, 1] {
                    record.note(n, mine, meter.ask(n, mine));
                }
                now += wait * interval / 2;
            }
            record.assert_law_1(meter.name);
        }
    }
}

/// At full speed a nanosecond is worth eight units: polled at each, the bound is met with not a unit more than the two allowed.
#[test]
fn polling_every_nanosecond_gains_at_most_two_units() {
    let fast = [
        Limit::new(4, 1).burst(1),
        Limit::per_second(4_000_000_000).burst(7),
        Limit::per_second(4_294_967_295).burst(3),
        Limit::per_second(4_294_967_291).weight(5).burst(11),
        Limit::per_second(3_999_999_999).burst(2),
        Limit::per_second(2_147_483_659).burst(1),
        Limit::per_second(1_000_000_007).burst(1),
        Limit::new(13, 4).burst(5),
    ];
    for limit in fast {
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            for at in 0..1500 {
                // Until denied; twenty are more than there can be.
                let _ = (0..20).all(|_| record.note(1, at, meter.single(at)) == Verdict::Conforms);
            }
            record.assert_law_1(meter.name);
            assert!(record.cells() > 1000, "{}: {limit:?} was polled in vain", meter.name);
        }
    }
}

/// A burst, and after nearly twenty years the drained cells, as early as they conform. They may be early by two units at most, as after a nanosecond.
/// A rate that is rounded up by a part in 2^60 shows here.
#[test]
fn over_twenty_years_nothing_accumulates() {
    for years in [90, 110, 127, 150, 163, 190] {
        let limit = Limit::new(1_000_003, years * YEAR + 12_345).burst(1_000_000);
        for meter_made in 0..40 {
            for meter in Subject::each(&limit) {
                let start = 7 * meter_made + 1;
                let mut record = Admissions::new(limit);
                record.note(limit.at_once(), start, meter.batch(limit.at_once(), start));
                let drained = limit.drained(HORIZON - start) / limit.cost(1);
                let n = u32::try_from(drained).expect("a part of the burst");
                let Verdict::From(earliest) = meter.batch(n, start) else {
                    panic!("{}: a burst and {n} cells at once: {limit:?}", meter.name);
                };
                assert_eq!(record.note(n, earliest, meter.batch(n, earliest)), Verdict::Conforms);
                record.assert_law_1(meter.name);
            }
        }
    }
}

/// Idle time is worth one burst, however long: the bucket cannot be emptier than empty.
#[test]
fn idle_time_is_not_saved_up() {
    for &limit in EXTREMES.iter().filter(|limit| 20 * limit.time_to_rest() < HORIZON) {
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            for at in [0, 3, 10].map(|rests| rests * limit.time_to_rest()) {
                for n in [limit.at_once(), limit.at_once(), 1, 1] {
                    record.note(n, at, meter.ask(n, at));
                }
            }
            record.assert_law_1(meter.name);
        }
    }
}

/// The checker itself: it must find one excess cell, in any order of recording.
#[test]
fn checker_finds_one_excess_cell_in_any_order() {
    let limit = Limit::new(10, SECOND).burst(3);
    let tenth = i128::from(SECOND) / 10;
    let mut record = Admissions::new(limit);
    for (n, at) in [(1, 5 * tenth), (1, 0), (2, 0), (1, 2 * tenth), (1, tenth)] {
        record.note(n, at, Verdict::Conforms);
    }
    record.assert_law_1("a full bucket that drains");
    assert_eq!(record.worst_window(), 0);
    record.note(1, 2 * tenth, Verdict::From(7));
    assert_eq!(record.worst_window(), 0, "a denial is no admission");
    record.note(1, 2 * tenth, Verdict::Conforms);
    assert_eq!(record.worst_window(), limit.cost(1));
    assert!(limit.cost(1) > limit.resolution());
}

/// f from its definition, at rates where it is known.
#[test]
fn the_resolution_is_as_documented() {
    let table = [
        (Limit::new(4, 1), 1),
        (Limit::per_second(3_999_999_999).burst(2), 2),
        // The burst no longer fits beside the time line.
        (Limit::per_second(3_999_999_999), 1),
        (Limit::per_second(1_000_000_000), 3),
        (Limit::per_second(1_000_000), 13),
        (Limit::standard(10, 15), 3),
        (Limit::new(1, 100 * YEAR), 63),
        (Limit::new(1, 100 * YEAR).burst(2), 62),
    ];
    for (limit, f) in table {
        assert_eq!(limit.fraction_bits(), f, "{limit:?}");
    }
}
