//! Two limits in one decision: both or neither, under every interleaving. Here the words lie in a model cell, see `src/dual/words.rs`.

use loom::thread;
use ratelimit_meter::{Dual, Exponential, GCRA, LeakyBucket, MeterKind, RefusedBy};
use std::time::{Duration, Instant};

fn pair<A: MeterKind, B: MeterKind>(quotas: &str) -> Dual<A, B> {
    Dual::from_quota(quotas.parse().unwrap()).unwrap()
}

/// Runs `work` and `other` on one pair at once, and returns their results.
fn both<A, B, S, T>(
    pair: &Dual<A, B>,
    other: impl FnOnce(Dual<A, B>) -> S + 'static,
    work: impl FnOnce(&Dual<A, B>) -> T,
) -> (S, T)
where
    A: MeterKind + 'static,
    B: MeterKind + 'static,
    S: 'static,
{
    let thread = thread::spawn({
        let pair = pair.clone();
        move || other(pair)
    });
    let worked = work(pair);
    (thread.join().unwrap(), worked)
}

fn left<A: MeterKind, B: MeterKind>(pair: &Dual<A, B>, at: Instant) -> [u32; 2] {
    let status = pair.status_at(at);
    [status.first().remaining(), status.second().remaining()]
}

#[test]
fn one_cell_of_either_limit_makes_one_winner() {
    loom::model(|| {
        for quotas in ["1/h & 3/h", "3/h & 1/h"] {
            let (pair, now) = (pair::<GCRA, LeakyBucket>(quotas), Instant::now());
            let (a, b) = both(
                &pair,
                move |pair| pair.check_at(now).is_ok(),
                |pair| pair.check_at(now).is_ok(),
            );
            assert!(a != b);
            assert_eq!(left(&pair, now).iter().sum::<u32>(), 2, "the loser took none of either");
        }
    });
}

#[test]
fn uneven_requests_take_both_limits_or_neither() {
    loom::model(|| {
        let (pair, now) = (pair::<GCRA, GCRA>("2/h & 2/h"), Instant::now());
        let (first, second) = both(
            &pair,
            move |pair| pair.check_each_at(2, 1, now).is_ok(),
            |pair| pair.check_each_at(1, 2, now).is_ok(),
        );
        let expected = match (first, second) {
            (true, false) => [0, 1],
            (false, true) => [1, 0],
            both => panic!("{both:?} of one room"),
        };
        assert_eq!(left(&pair, now), expected);
    });
}

#[test]
fn three_threads_share_the_smaller_burst_exactly() {
    loom::model(|| {
        let (pair, now) = (pair::<LeakyBucket, GCRA>("2/h & 5/h"), Instant::now());
        let threads = [(); 2].map(|()| {
            let pair = pair.clone();
            thread::spawn(move || pair.check_at(now).is_ok())
        });
        let own = pair.check_at(now).is_ok();
        let told = threads.map(|thread| thread.join().unwrap());
        assert_eq!(told.iter().chain([&own]).filter(|ok| **ok).count(), 2);
        assert_eq!(left(&pair, now), [0, 3]);
    });
}

#[test]
fn reads_never_mix_two_states_of_a_pair() {
    loom::model(|| {
        let (pair, now) = (pair::<GCRA, LeakyBucket>("3/h & 3/d"), Instant::now());
        both(
            &pair,
            move |pair| {
                (
                    pair.check_at(now).is_ok(),
                    pair.charge_each_at(1, 1, now),
                    pair.refund_each_at(1, 1, now),
                )
            },
            |pair| {
                for _ in 0..2 {
                    let [first, second] = left(pair, now);
                    assert_eq!(first, second);
                }
            },
        );
        assert_eq!(left(&pair, now), [2, 2]);
    });
}

#[test]
fn single_limit_requests_do_not_undo_each_other() {
    loom::model(|| {
        let (pair, now) = (pair::<GCRA, LeakyBucket>("2/h & 2/h"), Instant::now());
        let (first, second) = both(
            &pair,
            move |pair| pair.check_each_at(1, 0, now).is_ok(),
            |pair| pair.charge_each_at(0, 2, now),
        );
        assert_eq!((first, second), (true, [0, 0]));
        assert_eq!(left(&pair, now), [1, 0]);
    });
}

#[test]
fn a_reset_forgets_both_or_neither() {
    loom::model(|| {
        let (pair, now) = (pair::<LeakyBucket, LeakyBucket>("2/h & 2/d"), Instant::now());
        assert!(pair.check_at(now).is_ok());
        let ((), admitted) = both(&pair, |pair| pair.reset(), |pair| pair.check_at(now).is_ok());
        assert!(admitted);
        assert!(matches!(left(&pair, now), [2, 2] | [1, 1]));
    });
}

#[test]
fn a_denial_counts_once_in_strict_halves_only() {
    loom::model(|| {
        let strict = Exponential::new(10, Duration::from_secs(3600)).unwrap().strict();
        let bucket = LeakyBucket::new(1, Duration::from_secs(3600)).unwrap();
        let (pair, now) = (Dual::new(bucket, strict), Instant::now());
        let told = |pair: &Dual<_, _>, now| pair.check_at(now).map_err(|denied| denied.refused_by());
        let (a, b) = both(&pair, move |pair| told(&pair, now), |pair| told(pair, now));
        assert!([(Ok(()), Err(RefusedBy::First)), (Err(RefusedBy::First), Ok(()))].contains(&(a, b)));
        assert_eq!(left(&pair, now), [0, 8]);
    });
}
