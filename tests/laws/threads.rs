//! Many threads on one meter, with totals that are exact under any interleaving. Neither intermediate states nor durations are asserted;
//! `tests/loom/` has every interleaving of a few decisions.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::Subject;
use crate::support::threads::{THREADS, in_threads};
use crate::support::time::SECOND;
use crate::support::twin::Twin;
use crate::support::window::Admissions;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Decider, GCRA, LeakyBucket, MultiDecider};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Counts the single cells admitted at one instant to a caller that asks until `denials` denials, or a million times, which exceeds every burst.
fn greedy(denials: u32, mut single: impl FnMut() -> Verdict) -> u64 {
    let (mut admitted, mut denied) = (0, 0);
    while denied < denials && admitted < 1_000_000 {
        match single() {
            Verdict::Conforms => admitted += 1,
            _ => denied += 1,
        }
    }
    admitted
}

/// Two threads that exchange without comparing admit more than a burst; here there are four, and a burst of a hundred thousand.
#[test]
fn simultaneous_threads_admit_one_burst_in_all() {
    for limit in [
        Limit::per_second(100_000),
        Limit::new(4, 1).burst(100_000),
        Limit::per_second(300_001).weight(3),
    ] {
        for meter in Subject::each(&limit) {
            let admitted: u64 = in_threads(|_| greedy(10, || meter.single(0))).iter().sum();
            assert_eq!(admitted, u64::from(limit.at_once()), "{}: {limit:?}", meter.name);
        }
    }
}

/// The twin side by side: the same threads, the same cells, the same total.
#[test]
fn threaded_meter_and_twin_admit_the_same_total() {
    let limit = Limit::per_second(30_000);
    let tenth = i128::from(SECOND) / 10;
    for meter in Subject::each(&limit) {
        let twin = Twin::new(limit);
        for tick in 0..5 {
            let at = tick * tenth;
            let by_meter: u64 = in_threads(|_| greedy(3, || meter.single(at))).iter().sum();
            let by_twin: u64 = in_threads(|_| greedy(3, || twin.check_at(at))).iter().sum();
            assert_eq!(by_meter, by_twin, "{} at {at} ns", meter.name);
            assert_eq!(meter.single(at), twin.check_at(at), "{} at {at} ns", meter.name);
        }
    }
}

/// Batches of 1 to 7 race for a burst. The remaining cells are too few for a batch of the size last denied, and equal the burst less the admitted
/// batches.
#[test]
fn racing_batches_are_taken_whole_or_not() {
    let limit = Limit::per_second(100_003);
    for meter in Subject::each(&limit) {
        let admitted = in_threads(|thread| {
            let small = u32::try_from(thread).expect("small");
            let sizes = (0..1_000_000).map(|turn| 1 + (turn + small) % 7);
            let (mut cells, mut denied) = (0, 0);
            for n in sizes {
                match meter.batch(n, 0) {
                    Verdict::Conforms => cells += u64::from(n),
                    _ => denied += 1,
                }
                if denied == 20 {
                    return cells;
                }
            }
            cells
        });
        let left = u64::from(limit.at_once()) - admitted.iter().sum::<u64>();
        assert_eq!(
            meter.singles_at(0, 100),
            left,
            "{}: batches lost or won cells",
            meter.name
        );
    }
}

/// A denial that wrote back its loaded word would undo the admissions in between (leaky-bucket's tokens that rise from the dead).
#[test]
fn a_flood_of_denials_undoes_no_admission() {
    let limit = Limit::per_second(200_000);
    for meter in Subject::each(&limit) {
        assert_eq!(meter.single(0), Verdict::Conforms);
        let admitted = in_threads(|thread| {
            if thread % 2 == 0 {
                return greedy(1, || meter.single(0));
            }
            let refused = (0..200_000).all(|_| meter.batch(limit.at_once(), 0) != Verdict::Conforms);
            assert!(refused, "{}: a whole burst after a cell was taken", meter.name);
            0
        });
        assert_eq!(admitted.iter().sum::<u64>(), 199_999, "{}", meter.name);
    }
}

/// Every thread asks while the clock moves under them, all of them together by less than the burst is worth: the bucket never runs
/// empty, so no cell's worth of time is lost, and the total is exact.
#[test]
fn threads_on_moving_clock_admit_burst_and_rate() {
    let limit = Limit::per_second(10_000);
    let clock = ManualClock::new();
    for meter in Subject::each_on(&limit, &clock) {
        clock.set(meter.origin);
        let asked = |single: &dyn Fn() -> Verdict| greedy(3, single);
        let check = || meter.verdict(1, meter.meter.check_n(1));
        assert_eq!(asked(&check), 10_000);
        let by_threads: u64 = in_threads(|_| {
            let steps = (0..500).map(|_| {
                clock
                    .advance(Duration::from_nanos(SECOND / 3000))
                    .expect("a second in all");
                asked(&check)
            });
            steps.sum()
        })
        .iter()
        .sum();
        assert_eq!(clock.now(), meter.origin + 2000 * Duration::from_nanos(SECOND / 3000));
        // 2000 steps of 333333 ns are 666 ms and 666 us: 6666 cells.
        assert_eq!(by_threads + asked(&check), 6666, "{}", meter.name);
    }
}

/// Law 1 over the timestamps that the decisions used, of threads whose clocks are apart and run on their own.
#[test]
fn threads_with_separate_clocks_hold_every_window() {
    for limit in [
        Limit::per_second(1000).burst(20),
        Limit::per_second(4_000_000_000).burst(9),
        Limit::new(1, 7).burst(100),
    ] {
        let interval = limit.emission(1);
        for meter in Subject::each(&limit) {
            let records = in_threads(|thread| {
                let mut record = Admissions::new(limit);
                let thread = i128::from(thread);
                for turn in 0..20_000 {
                    // Ahead or behind by some intervals, with a jump back now and then.
                    let at = turn * interval / 3 + 5 * thread * interval - (turn % (31 + thread)) * interval;
                    let n = u32::try_from(1 + turn % 3).expect("small");
                    record.note(n, at, meter.ask(n, at));
                }
                record
            });
            let mut all = Admissions::new(limit);
            records.into_iter().for_each(|record| all.merge(record));
            all.assert_law_1(meter.name);
            assert!(
                all.cells() > u64::from(limit.at_once()),
                "{}: nothing to see",
                meter.name
            );
        }
    }
}

/// A handle in every thread is the way to share a meter: it can be cloned, sent and referred to.
#[test]
fn clone_in_every_thread_is_one_meter() {
    fn assert_shared<M: Decider + MultiDecider + Clone + Debug + Send + Sync + 'static>(meter: &M) {
        let at = Instant::now();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let meter = meter.clone();
                std::thread::spawn(move || (0..50_000).filter(|_| meter.check_at(at).is_ok()).count())
            })
            .collect();
        let admitted: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(admitted, 50_000, "{meter:?}");
    }
    let (gcra, bucket) = (GCRA::for_capacity(50_000), LeakyBucket::per_second(50_000));
    assert_shared(&gcra.expect("a capacity").build());
    assert_shared(&bucket.expect("a capacity"));
}
