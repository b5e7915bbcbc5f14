//! Every verb of a meter whose cells come in ticks equals that of a plain meter at the latest tick.

use crate::support::subject::quota;
use crate::support::ticking::Ticking;
use crate::support::time::{DAY, HORIZON, instant, since};
use crate::support::traffic::{limits, spread};
use crate::support::verb::{
    Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait, sequences,
};
use proptest::prelude::*;
use ratelimit_meter::algorithms::{Algorithm, ContinuousState, VirtualScheduling};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Meter, NegativeMultiDecision, Reservation};
use std::time::{Duration, Instant};

proptest! {
    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn every_verb_acts_at_the_latest_tick(
        ticking in Ticking::any(limits()),
        verbs in sequences(),
        early in any::<bool>(),
    ) {
        twins::<VirtualScheduling>(&ticking, &verbs, early);
        twins::<ContinuousState>(&ticking, &verbs, early);
    }
}

/// A ticking meter, and a plain meter that is asked at the time of the tick, agree for times in any order.
fn twins<A: Algorithm>(ticking: &Ticking, verbs: &[(Verb, u64, u64)], early: bool) {
    let clock = ManualClock::new();
    let origin = clock.now();
    let meter = |quota| {
        Meter::<A>::from_quota(quota)
            .expect("a limit")
            .with_clock(clock.clone())
    };
    let (ticks, plain) = (meter(ticking.quota()), meter(quota(&ticking.limit)));
    let tick_after = |at: Instant| ticking.tick_from(since(origin, at));
    let rest = u64::try_from(ticking.limit.time_to_rest().clamp(1, HORIZON / 300)).expect("positive");
    let mut reserved: Option<[Reservation<A, ManualClock>; 2]> = None;
    let mut now = 0;
    for &(verb, size, wait) in verbs {
        let n =
            u32::try_from(spread(size, 1, u64::from(ticking.limit.at_once()))).expect("at most what conforms at once");
        let (at, tick) = (instant(origin, now), ticking.tick_by(now));
        let then = instant(origin, tick);
        let until = |decision: Result<(), NegativeMultiDecision>| match decision {
            Ok(()) => Ok(()),
            Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => Err(denied.earliest_possible()),
            Err(never) => panic!("{n} cells never conform: {never}"),
        };
        let same = |ticks, plain| {
            let raised = until(plain).map_err(tick_after);
            assert_eq!(until(ticks).map_err(|at| since(origin, at)), raised, "{ticking:?}");
        };
        let left = |duration: Duration| {
            let due = if duration.is_zero() {
                now
            } else {
                tick_after(then + duration)
            };
            u128::try_from((due - now).max(0)).expect("not negative")
        };
        match verb {
            Check => same(ticks.check_n_at(n, at), plain.check_n_at(n, then)),
            Peek => same(ticks.peek_n_at(n, at), plain.peek_n_at(n, then)),
            Take | Status => {
                let statuses = if matches!(verb, Take) {
                    let (one, other) = (ticks.take_at(n, at), plain.take_at(n, then));
                    same(one.decision(), other.decision());
                    [one.status(), other.status()]
                } else {
                    [ticks.status_at(at), plain.status_at(then)]
                };
                assert_eq!(statuses[0].remaining(), statuses[1].remaining(), "{ticking:?}");
                assert_eq!(
                    statuses[0].until_next().as_nanos(),
                    left(statuses[1].until_next()),
                    "{ticking:?}"
                );
                assert_eq!(
                    statuses[0].until_rest().as_nanos(),
                    left(statuses[1].until_rest()),
                    "{ticking:?}"
                );
            }
            UpTo => {
                let (one, other) = (ticks.check_up_to_at(n, at), plain.check_up_to_at(n, then));
                assert_eq!(one.cells(), other.cells(), "{ticking:?}");
                let next = other.next().map(|denied| tick_after(denied.earliest_possible()));
                assert_eq!(
                    one.next().map(|denied| since(origin, denied.earliest_possible())),
                    next,
                    "{ticking:?}"
                );
            }
            Charge => assert_eq!(ticks.charge_at(n.into(), at), plain.charge_at(n.into(), then)),
            Refund => {
                ticks.refund_at(n.into(), at);
                plain.refund_at(n.into(), then);
            }
            Reserve => {
                let longest = spread(wait, 1, 2 * rest);
                let one = ticks.reserve_at(n, Duration::from_nanos(longest), at);
                let due = until(plain.peek_n_at(n, then)).map_or_else(tick_after, |()| now);
                if due > now + i128::from(longest) {
                    same(one.map(drop), plain.peek_n_at(n, then));
                } else {
                    // They are taken when they conform.
                    let other = plain.reserve_at(n, Duration::ZERO, instant(origin, ticking.tick_by(due)));
                    let one = one.expect("within the wait");
                    assert_eq!(since(origin, one.time_to_act()), due, "{ticking:?}");
                    reserved = Some([one, other.expect("conforms then")]);
                }
            }
            Cancel => {
                if let Some([one, other]) = reserved.take() {
                    one.cancel_at(at);
                    other.cancel_at(then);
                }
            }
            Reset => {
                ticks.reset();
                plain.reset();
            }
            Wait => {
                let wait = i128::from(spread(wait, 1, rest.max(ticking.interval)));
                now = if early && size % 3 == 0 { now - wait } else { now + wait };
                now = now.clamp(-i128::from(DAY), HORIZON);
            }
        }
    }
}
