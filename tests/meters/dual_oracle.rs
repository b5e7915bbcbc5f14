//! A pair against two exact buckets: one history with the lock-based twin, all verbs in any order, the law of windows and that of batches.
#![cfg(feature = "dual")]

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::quota;
use crate::support::time::{HORIZON, instant, since};
use crate::support::traffic::{batch, limits, spread, whole_limits};
use crate::support::twin::TwinPair;
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::{Dual, DualQuota, GCRA, LeakyBucket, MeterKind, NegativeDualDecision, RefusedBy};
use std::time::Instant;

fn pair<A: MeterKind, B: MeterKind>(limits: [Limit; 2]) -> Dual<A, B> {
    let [first, second] = limits.map(|limit| quota(&limit));
    Dual::from_quota(DualQuota::new(first, second)).unwrap_or_else(|error| panic!("{limits:?}: {error}"))
}

/// The answer of a pair, and the limits that denied.
type Said = (Verdict, [bool; 2]);

fn said(decision: Result<(), NegativeDualDecision>, origin: Instant) -> Said {
    let by = |by| match by {
        RefusedBy::First => [true, false],
        RefusedBy::Second => [false, true],
        RefusedBy::Both => [true, true],
    };
    match decision {
        Ok(()) => (Verdict::Conforms, [false, false]),
        Err(NegativeDualDecision::BatchNonConforming(_, denied)) => (
            Verdict::From(since(origin, denied.earliest_possible())),
            by(denied.refused_by()),
        ),
        Err(NegativeDualDecision::InsufficientCapacity(_, refused)) => (Verdict::Never, by(refused)),
    }
}

/// Combines the right answers for the two limits.
fn together(each: [Verdict; 2]) -> Said {
    let never = each.map(|verdict| verdict == Verdict::Never);
    if never != [false, false] {
        return (Verdict::Never, never);
    }
    let earliest = each.map(|verdict| match verdict {
        Verdict::From(earliest) => Some(earliest),
        _ => None,
    });
    let later = earliest[0].max(earliest[1]);
    (
        later.map_or(Verdict::Conforms, Verdict::From),
        earliest.map(|earliest| earliest.is_some()),
    )
}

/// Numbers of cells of both limits; sometimes none, or one too many.
fn sizes(seeds: [u64; 2], limits: &[Limit; 2]) -> [u32; 2] {
    let size = |seed: u64, limit: &Limit| match seed % 8 {
        0 => 0,
        1 => limit.at_once().saturating_add(u32::from(seed >> 8 & 7 == 0)),
        2..5 => (1 + u32::try_from(seed >> 8 & 3).expect("small")).min(limit.at_once()),
        _ => batch(seed >> 8, limit),
    };
    [size(seeds[0], &limits[0]), size(seeds[1], &limits[1])]
}

/// A time up to that in which the faster of the limits becomes idle.
fn pause(seed: u64, limits: &[Limit; 2]) -> i128 {
    let rest = limits[0].time_to_rest().min(limits[1].time_to_rest());
    match seed % 2 {
        0 => 0,
        _ => i128::from(spread(
            seed >> 1,
            1,
            u64::try_from(rest.clamp(1, HORIZON / 200)).expect("positive"),
        )),
    }
}

proptest! {
    #[test]
    fn pair_and_lock_based_twin_share_one_history(
        first in whole_limits(),
        second in whole_limits(),
        questions in prop::collection::vec(any::<[u64; 3]>(), 1..100),
    ) {
        let (limits, origin) = ([first, second], Instant::now());
        let (pair, twin) = (pair::<GCRA, LeakyBucket>(limits), TwinPair::new(limits));
        let mut now = 0;
        for [one, other, wait] in questions {
            now += pause(wait, &limits);
            let n = sizes([one, other], &limits);
            let right = together(twin.check_each_at(n, now));
            prop_assert_eq!(said(pair.check_each_at(n[0], n[1], instant(origin, now)), origin), right, "{:?} at {}", n, now);
        }
    }

    #[test]
    fn verb_sequences_match_two_exact_buckets(
        first in whole_limits(),
        second in whole_limits(),
        verbs in prop::collection::vec((0..12, any::<[u64; 3]>()), 1..150),
    ) {
        let limits = [first, second];
        verbs_are_the_buckets(&pair::<LeakyBucket, GCRA>(limits), limits, &verbs);
    }

    /// Any limits admit at most B + R * v each, with timestamps in any order.
    #[test]
    fn no_window_of_either_limit_is_too_full(
        first in limits(),
        second in limits(),
        questions in prop::collection::vec((any::<[u64; 3]>(), any::<bool>()), 1..200),
    ) {
        let (limits, origin) = ([first, second], Instant::now());
        let pair = pair::<GCRA, LeakyBucket>(limits);
        let mut records = limits.map(Admissions::new);
        let rest = limits[0].time_to_rest().min(limits[1].time_to_rest());
        let span = u64::try_from((3 * rest).clamp(1, HORIZON)).expect("some years");
        for ([one, other, at], is_early) in questions {
            let at = i128::from(spread(at, 1, span));
            let (n, at) = (sizes([one, other], &limits), if is_early { -at } else { at });
            let (verdict, _) = said(pair.check_each_at(n[0], n[1], instant(origin, at)), origin);
            records[0].note(n[0], at, verdict);
            records[1].note(n[1], at, verdict);
        }
        records[0].assert_law_1("the first");
        records[1].assert_law_1("the second");
    }

    #[test]
    fn n_singles_equal_one_batch_of_n(first in limits(), second in limits(), n in 1_u32..60, taken in any::<[u64; 2]>()) {
        let limits = [first, second];
        let singles = pair::<GCRA, LeakyBucket>(limits);
        let batches = pair::<GCRA, LeakyBucket>(limits);
        let now = Instant::now();
        let n = n.min(limits[0].at_once()).min(limits[1].at_once());
        let taken = sizes(taken, &limits);
        for pair in [&singles, &batches] {
            let _ = pair.check_each_at(taken[0], taken[1], now);
        }
        let room = batches.status_at(now).remaining();
        let whole = batches.check_n_at(n, now);
        let all = (0..n).take_while(|_| singles.check_at(now).is_ok()).count();
        prop_assert_eq!(whole.is_ok(), n <= room);
        prop_assert_eq!(u32::try_from(all), Ok(n.min(room)));
        prop_assert_eq!(batches.status_at(now).remaining(), if whole.is_ok() { room - n } else { room });
    }
}

fn verbs_are_the_buckets<A: MeterKind, B: MeterKind>(pair: &Dual<A, B>, limits: [Limit; 2], verbs: &[(i32, [u64; 3])]) {
    let (origin, mut buckets, mut now) = (Instant::now(), limits.map(ExactBucket::new), 0);
    for &(verb, [one, other, wait]) in verbs {
        let (n, at) = (sizes([one, other], &limits), instant(origin, now));
        let judged = [buckets[0].judge(n[0], now), buckets[1].judge(n[1], now)];
        let mut take = || {
            if judged == [Verdict::Conforms; 2] {
                buckets[0].take(n[0], now);
                buckets[1].take(n[1], now);
            }
        };
        match verb {
            0..3 => {
                assert_eq!(
                    said(pair.check_each_at(n[0], n[1], at), origin),
                    together(judged),
                    "{limits:?}"
                );
                take();
            }
            3 => assert_eq!(
                said(pair.peek_each_at(n[0], n[1], at), origin),
                together(judged),
                "{limits:?}"
            ),
            4 => {
                take();
                let taken = pair.take_each_at(n[0], n[1], at);
                assert_eq!(said(taken.decision(), origin), together(judged), "{limits:?}");
                assert_status(taken.status(), &buckets, &limits, now);
            }
            5 => {
                // As much as drains before the horizon.
                let cells = [0, 1].map(|half| {
                    let (limit, bucket) = (&limits[half], &buckets[half]);
                    let most = (limit.drained(HORIZON - now) - bucket.level(now)) / limit.cost(1);
                    u64::try_from(most)
                        .unwrap_or(0)
                        .min(u64::from(n[half]) * (1 + wait % 3))
                });
                assert_eq!(pair.charge_each_at(cells[0], cells[1], at), [0, 0], "{limits:?}");
                buckets[0].charge(cells[0], now);
                buckets[1].charge(cells[1], now);
            }
            6 => {
                pair.refund_each_at(n[0].into(), n[1].into(), at);
                buckets[0].refund(n[0].into(), now);
                buckets[1].refund(n[1].into(), now);
            }
            7 => assert_status(pair.status_at(at), &buckets, &limits, now),
            8 if wait % 8 == 0 => {
                pair.reset();
                buckets = limits.map(ExactBucket::new);
            }
            _ => now += pause(wait, &limits),
        }
        if (0..2).any(|half| buckets[half].level(now) > limits[half].drained(HORIZON - now)) {
            break;
        }
    }
}

fn assert_status(status: ratelimit_meter::DualStatus, buckets: &[ExactBucket; 2], limits: &[Limit; 2], now: i128) {
    let room = |half: usize| buckets[half].room(now).min(limits[half].at_once());
    assert_eq!(
        [status.first().remaining(), status.second().remaining()],
        [room(0), room(1)]
    );
    assert_eq!(status.remaining(), room(0).min(room(1)));
    let next = match together([buckets[0].judge(1, now), buckets[1].judge(1, now)]) {
        (Verdict::From(then), _) => then - now,
        _ => 0,
    };
    assert_eq!(i128::try_from(status.until_next().as_nanos()), Ok(next), "{limits:?}");
}
