//! Law 6: batches are all or nothing, and n singles at one instant equal one batch of n. An empty batch has no effect, and a batch that can never
//! conform is always denied.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::Subject;
use crate::support::time::{SECOND, YEAR};
use crate::support::traffic::{EXTREMES, limits, play, steps};
use proptest::prelude::*;
use ratelimit_meter::NegativeMultiDecision;
use ratelimit_meter::clock::ManualClock;

proptest! {
    /// One meter gets the batches and another the same cells one by one, tried on a copy of the exact bucket first.
    #[test]
    fn n_singles_equal_one_batch_of_n(limit in limits(), steps in steps(), prefix in 0u32..40) {
        let clock = ManualClock::new();
        for (batches, singles) in Subject::each_on(&limit, &clock).into_iter().zip(Subject::each_on(&limit, &clock)) {
            play(&limit, &steps, |n, at, exact| {
                let n = if n == 1 { prefix.min(limit.at_once()) } else { n };
                let before = singles.debug();
                let verdict = batches.batch(n, at);
                if verdict == Verdict::Conforms && n <= 60 {
                    assert!((0..n).all(|_| singles.single(at) == Verdict::Conforms), "{}: {n} at {at} ns", singles.name);
                } else {
                    assert_eq!(singles.batch(n, at), verdict, "{}: {n} at {at} ns", singles.name);
                }
                assert!(verdict == Verdict::Conforms || singles.debug() == before, "{}: {n} at {at} ns", singles.name);
                assert_eq!(singles.debug(), batches.debug(), "{}: {n} at {at} ns after {exact:?}", singles.name);
                verdict
            });
        }
    }

    /// A denied batch leaves the available cells to smaller batches.
    #[test]
    fn batch_is_taken_whole_or_not(limit in limits(), taken in any::<u32>(), batch in any::<u32>()) {
        let taken = taken % limit.at_once().saturating_add(1);
        let room = limit.at_once() - taken;
        for meter in Subject::each(&limit) {
            prop_assert_eq!(meter.batch(taken, 0), Verdict::Conforms);
            let too_many = room.saturating_add(1 + batch % 1000);
            if too_many > room {
                prop_assert_ne!(meter.batch(too_many, 0), Verdict::Conforms, "{} of {} cells: {}", too_many, room, meter.name);
            }
            prop_assert_eq!(meter.batch(room, 0), Verdict::Conforms, "{} cells left: {}", room, meter.name);
            prop_assert_ne!(meter.single(0), Verdict::Conforms, "{}", meter.name);
        }
    }

    #[test]
    fn exactly_batches_within_the_burst_are_possible(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            play(&limit, &steps, |n, at, _| {
                let possible = u64::from(n) * limit.weight <= limit.burst;
                let verdict = meter.ask(n, at);
                assert_eq!(verdict != Verdict::Never, possible, "{}: {n} cells at {at} ns: {limit:?}", meter.name);
                verdict
            });
        }
    }
}

#[test]
fn an_impossible_batch_of_any_size_changes_nothing() {
    for limit in EXTREMES {
        for meter in Subject::each(limit) {
            let rested = meter.debug();
            let most = limit.at_once();
            let above = [most.saturating_add(1), u32::MAX / 2, u32::MAX - 1, u32::MAX];
            for n in above.into_iter().filter(|&n| n > most) {
                let never = Err(NegativeMultiDecision::InsufficientCapacity(n));
                assert_eq!(
                    meter.meter.check_n_at(n, meter.origin),
                    never,
                    "{}: {limit:?}",
                    meter.name
                );
                assert_eq!(meter.meter.check_n(n), never, "{}: {limit:?}", meter.name);
            }
            assert_eq!(meter.debug(), rested);
            assert_eq!(meter.batch(most, 0), Verdict::Conforms, "{}: {limit:?}", meter.name);
        }
    }
}

/// The product n * w * P / C exceeds the burst, whether it wraps or not.
#[test]
fn no_batch_product_wraps_into_the_burst() {
    let heavy = [
        Limit::new(1, 100 * YEAR).burst(2),
        Limit::new(4_294_967_295, 100 * YEAR).weight(4_294_967_295),
        Limit::new(1 << 31, SECOND / 2).weight(1 << 31),
        Limit::per_second(1 << 16).weight(1 << 16),
        Limit::new(1, 3600 * SECOND).burst(2),
    ];
    for limit in heavy {
        for meter in Subject::each(&limit) {
            for bit in 0..32 {
                for n in [
                    1u32 << bit,
                    (1 << bit) | 1,
                    u32::MAX >> bit,
                    (u32::MAX >> bit) - 1,
                    5_124_097 << (bit % 10),
                ] {
                    let fits = u64::from(n) * limit.weight <= limit.burst;
                    assert!(
                        fits || meter.batch(n, 0) == Verdict::Never,
                        "{}: {n} cells: {limit:?}",
                        meter.name
                    );
                }
            }
            assert_eq!(
                meter.batch(limit.at_once(), 0),
                Verdict::Conforms,
                "{}: {limit:?}",
                meter.name
            );
        }
    }
}

#[test]
fn an_empty_batch_conforms_and_changes_nothing() {
    let clock = ManualClock::new();
    for limit in EXTREMES {
        for meter in Subject::each_on(limit, &clock) {
            let rested = meter.debug();
            assert_eq!(meter.batch(0, 5), Verdict::Conforms);
            assert_eq!(meter.meter.check_n(0), Ok(()));
            assert_eq!(meter.debug(), rested, "{}: {limit:?}", meter.name);
            assert_eq!(meter.batch(limit.at_once(), 5), Verdict::Conforms);
            let full = meter.debug();
            for at in [0, 5, 6, 1 << 62, -(1 << 62)] {
                assert_eq!(meter.batch(0, at), Verdict::Conforms);
            }
            assert_eq!(meter.meter.check_n(0), Ok(()), "a full meter has room for nothing");
            assert_eq!(meter.debug(), full, "{}: {limit:?}", meter.name);
            assert_ne!(meter.single(5), Verdict::Conforms, "{}: {limit:?}", meter.name);
        }
    }
}
