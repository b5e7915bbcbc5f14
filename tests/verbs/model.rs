//! Random sequences of all verbs on GCRA and the leaky bucket, against the exact bucket. The law of windows holds for admitted and charged cells less
//! refunds. `exponential/model.rs` has the third algorithm, `threads.rs` several threads.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::time::{HORIZON, instant, since};
use crate::support::traffic::{spread, whole_limits};
use crate::support::verb::{
    Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait, sequences,
};
use crate::support::window::{NetAdmissions, worst_net_window};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Meter, NegativeMultiDecision, Reservation};
use std::time::{Duration, Instant};

/// Plays the verbs in the order of time, each compared with the exact bucket.
fn play<A: Algorithm>(meter: &Meter<A>, limit: &Limit, verbs: &[(Verb, u64, u64)]) -> NetAdmissions {
    let origin = Instant::now();
    let (mut bucket, mut now, mut net) = (ExactBucket::new(*limit), 0, NetAdmissions::new());
    let mut reserved: Option<(Reservation<A>, u32, [i128; 2])> = None;
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 200)).expect("positive");
    for &(verb, size, wait) in verbs {
        let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
        let (at, room) = (instant(origin, now), bucket.room(now).min(limit.at_once()));
        let judged = bucket.judge(n, now);
        let said = |denied: NegativeMultiDecision| match denied {
            NegativeMultiDecision::BatchNonConforming(_, denied) => {
                Verdict::From(since(origin, denied.earliest_possible()))
            }
            NegativeMultiDecision::InsufficientCapacity(_) => Verdict::Never,
        };
        let verdict = |decision: Result<(), _>| decision.map_or_else(said, |()| Verdict::Conforms);
        let mut takes = if matches!(verb, Check | Take) && judged == Verdict::Conforms {
            n
        } else {
            0
        };
        match verb {
            Check => assert_eq!(verdict(meter.check_n_at(n, at)), judged, "{limit:?}"),
            Peek => assert_eq!(verdict(meter.peek_n_at(n, at)), judged, "{limit:?}"),
            Take => {
                let taken = meter.take_at(n, at);
                assert_eq!(verdict(taken.decision()), judged, "{limit:?}");
                assert_eq!(taken.status().remaining(), room - takes);
            }
            UpTo => {
                let admitted = meter.check_up_to_at(n, at);
                assert_eq!(admitted.cells(), n.min(room), "{limit:?}");
                takes = admitted.cells();
                bucket.take(takes, now);
                let next = admitted
                    .next()
                    .map(|denied| Verdict::From(since(origin, denied.earliest_possible())));
                assert_eq!(next, (n > room).then(|| bucket.judge(1, now)), "{limit:?}");
            }
            Charge => {
                // As much as drains before the horizon.
                let most = (limit.drained(HORIZON - now) - bucket.level(now)) / limit.cost(1);
                let n = u64::try_from(most).unwrap_or(0).min(u64::from(n) * (1 + wait % 3));
                assert_eq!(meter.charge_at(n, at), 0);
                bucket.charge(n, now);
                net.push((now, i128::from(n) * limit.cost(1), false));
            }
            Refund => {
                meter.refund_at(n.into(), at);
                bucket.refund(n.into(), now);
                net.push((now, -limit.cost(n), false));
            }
            Reserve => {
                let longest = spread(wait, 1, 2 * rest);
                let due = match judged {
                    Verdict::From(due) => due,
                    _ => now,
                };
                match meter.reserve_at(n, Duration::from_nanos(longest), at) {
                    Ok(reservation) => {
                        assert!(due - now <= longest.into(), "{limit:?}");
                        assert_eq!(since(origin, reservation.time_to_act()), due, "{limit:?}");
                        // The volume drained when the cells conform.
                        let acts = limit.drained(now) + bucket.excess(n, now).max(0);
                        bucket.take(n, now);
                        net.push((now, limit.cost(n), false));
                        let last = limit.drained(now) + bucket.level(now);
                        reserved = Some((reservation, n, [acts, last]));
                    }
                    Err(denied) => {
                        assert!(due - now > longest.into(), "{limit:?}");
                        assert_eq!(said(denied), judged, "{limit:?}");
                    }
                }
            }
            Cancel => {
                if let Some((reservation, n, [acts, last])) = reserved.take() {
                    reservation.cancel_at(at);
                    let since = (limit.drained(now) - acts).max(0);
                    // Cells that were taken later, and still wait for their time, keep it.
                    let others_wait = limit.drained(now) + bucket.level(now) != last && bucket.excess(0, now) > 0;
                    let undrained = if others_wait { 0 } else { (limit.cost(n) - since).max(0) };
                    let level = (bucket.level(now) - undrained).max(0);
                    bucket = ExactBucket::filled(*limit, level, now);
                    net.push((now, -undrained, false));
                    if since > 0 && undrained > 0 {
                        // The meter rounds the part of a unit that has drained, so every later time may be a nanosecond late. So the model starts again.
                        let late = until_rest(meter, at) - limit.time_to_drain(level);
                        assert!((0..=1).contains(&late), "{late} ns late: {limit:?}");
                        assert!(worst_net_window(limit, &net) <= 0, "{limit:?}");
                        meter.reset();
                        bucket = ExactBucket::new(*limit);
                        net.clear();
                    }
                }
            }
            Status => {
                let status = meter.status_at(at);
                assert_eq!(status.remaining(), room);
                // It has no unit of tolerance.
                let late = until_rest(meter, at) - limit.time_to_drain(bucket.level(now));
                assert!((0..=1).contains(&late), "{late} ns late: {limit:?}");
                let next = match bucket.judge(1, now) {
                    Verdict::From(then) => then - now,
                    _ => 0,
                };
                assert_eq!(i128::try_from(status.until_next().as_nanos()), Ok(next), "{limit:?}");
            }
            Reset => {
                meter.reset();
                (bucket, reserved) = (ExactBucket::new(*limit), None);
                net.clear();
            }
            Wait => now += i128::from(spread(wait, 1, rest)),
        }
        if takes > 0 {
            net.push((now, limit.cost(takes), true));
        }
        if matches!(verb, Check | Take) {
            bucket.take(takes, now);
        }
        if bucket.level(now) > limit.drained(HORIZON - now) {
            break;
        }
    }
    net
}

/// Returns the nanoseconds until the meter is idle.
fn until_rest<A: Algorithm>(meter: &Meter<A>, at: Instant) -> i128 {
    let rest = meter.status_at(at).until_rest();
    i128::try_from(rest.as_nanos()).expect("some years")
}

proptest! {
    /// Limits of whole intervals are decided exactly, so that every answer must be the bucket's.
    #[test]
    fn any_sequence_of_verbs_is_the_exact_buckets(limit in whole_limits(), verbs in sequences()) {
        for net in [play(&gcra(&limit), &limit, &verbs), play(&leaky_bucket(&limit), &limit, &verbs)] {
            let worst = worst_net_window(&limit, &net);
            prop_assert!(worst <= 0, "a window is {worst} above B + R*v: {limit:?}");
        }
    }
}
