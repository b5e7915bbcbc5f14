//! Many threads on one pair of limits, on the processor's own 128 bits: totals are exact under any interleaving, and no decision is seen in half.
//! `loom/dual.rs` has every interleaving of a few decisions.
#![cfg(feature = "dual")]

use crate::support::exponential::Seeded;
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::quota;
use crate::support::threads::{barrier, in_threads};
use crate::support::time::{SECOND, instant};
use crate::support::twin::TwinPair;
use crate::support::window::Admissions;
use ratelimit_meter::{Dual, DualQuota, GCRA, LeakyBucket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

fn pair(limits: [Limit; 2]) -> Dual<GCRA, LeakyBucket> {
    let [first, second] = limits.map(|limit| quota(&limit));
    Dual::from_quota(DualQuota::new(first, second)).expect("a limit")
}

/// Counts the admissions until three denials.
fn greedy(mut admit: impl FnMut() -> bool) -> u32 {
    let (mut admitted, mut denied) = (0, 0);
    while denied < 3 {
        if admit() {
            admitted += 1;
        } else {
            denied += 1;
        }
    }
    admitted
}

#[test]
fn threaded_pair_and_twin_admit_the_same_total() {
    let limits = [
        Limit::per_second(60_000).burst(20_000),
        Limit::per_second(90_000).weight(2),
    ];
    for n in [[1, 1], [1, 3], [4, 0], [0, 2], [3, 1]] {
        let (pair, twin, origin) = (pair(limits), TwinPair::new(limits), Instant::now());
        for tick in 0..5 {
            let now = tick * i128::from(SECOND) / 10;
            let at = instant(origin, now);
            let by_pair = in_threads(|_| greedy(|| pair.check_each_at(n[0], n[1], at).is_ok()));
            let by_twin = in_threads(|_| greedy(|| twin.check_each_at(n, now) == [Verdict::Conforms; 2]));
            assert_eq!(
                by_pair.iter().sum::<u32>(),
                by_twin.iter().sum::<u32>(),
                "{n:?} at {now} ns"
            );
        }
    }
}

/// Requests that take much of one limit and little of the other, in rounds at one instant each. No window of either limit is too full. At the end
/// each limit holds exactly the admitted cells less the refunds.
#[test]
fn verbs_in_threads_keep_every_cell_exact() {
    let limits = [
        Limit::per_second(1_000_000).burst(900),
        Limit::per_second(700_000).burst(1100),
    ];
    let (pair, origin, barrier) = (pair(limits), Instant::now(), barrier());
    let done = in_threads(|thread| {
        let (mut chance, mut records) = (Seeded(thread), limits.map(Admissions::new));
        let mut admitted = Vec::new();
        for round in 0..40 {
            let now = round * 777_777;
            let at = instant(origin, now);
            barrier.wait();
            for _ in 0..500 {
                let n = [1 + chance.below(5), chance.below(5)].map(|n| u32::try_from(n).expect("small"));
                let is_ok = match chance.below(3) {
                    0 => pair.take_each_at(n[0], n[1], at).decision().is_ok(),
                    1 if pair.check_each_at(n[0], n[1], at).is_ok() => {
                        pair.refund_each_at(n[0].into(), n[1].into(), at);
                        false
                    }
                    1 => false,
                    _ => pair.check_each_at(n[0], n[1], at).is_ok(),
                };
                if is_ok {
                    records[0].note(n[0], now, Verdict::Conforms);
                    records[1].note(n[1], now, Verdict::Conforms);
                    admitted.push((now, n));
                }
            }
        }
        (records, admitted)
    });
    let (mut records, mut buckets, mut admitted) =
        (limits.map(Admissions::new), limits.map(ExactBucket::new), Vec::new());
    for ([first, second], of_thread) in done {
        records[0].merge(first);
        records[1].merge(second);
        admitted.extend(of_thread);
    }
    records[0].assert_law_1("the first");
    records[1].assert_law_1("the second");
    admitted.sort_unstable();
    for (at, n) in admitted {
        buckets[0].take(n[0], at);
        buckets[1].take(n[1], at);
    }
    let end = 39 * 777_777;
    let status = pair.status_at(instant(origin, end));
    assert_eq!(
        [status.first().remaining(), status.second().remaining()],
        [buckets[0].room(end), buckets[1].room(end)]
    );
}

/// Each step takes as many cells of either limit, so a thread that sees different counts has seen half of a step.
#[test]
fn no_thread_sees_a_torn_pair() {
    let limits = [Limit::per_second(1_000_000), Limit::new(1_000_000, 3600 * SECOND)];
    let (pair, now, is_over) = (pair(limits), Instant::now(), AtomicBool::new(false));
    let seen = in_threads(|thread| {
        if thread > 1 {
            for turn in 0..50_000 {
                let n = 1 + (turn + u32::try_from(thread).expect("small")) % 7;
                assert!(pair.check_n_at(n, now).is_ok());
                if turn % 2 == 0 {
                    pair.refund_each_at(n.into(), n.into(), now);
                }
            }
            is_over.store(true, Ordering::Relaxed);
            return 0;
        }
        let mut looks = 0;
        while looks < 1000 || !is_over.load(Ordering::Relaxed) {
            let status = pair.status_at(now);
            assert_eq!(status.first().remaining(), status.second().remaining());
            looks += 1;
        }
        looks
    });
    assert!(seen[0] >= 1000 && seen[1] >= 1000);
}
