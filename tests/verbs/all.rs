//! The verbs beside `check`, on every algorithm: `peek`, `take`, `check_up_to`, `status`, `reset`, and their forms that read the
//! clock. `debt.rs` has `charge` and `refund`, `reserve.rs` reservations, `model.rs` all of them in any order.

use crate::support::subject::singles;
use crate::support::time::fixed_time;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};

/// Runs a check on a new, idle meter of each algorithm.
macro_rules! on_each {
    ($quota:expr, $check:expr) => {{
        let quota: Quota = $quota.parse().expect("a quota");
        $check(GCRA::from_quota(quota).expect("a limit"));
        $check(LeakyBucket::from_quota(quota).expect("a limit"));
        $check(Exponential::from_quota(quota).expect("a limit"));
    }};
}

const QUOTAS: [&str; 5] = ["1/s", "10/s", "7/min", "1000/ms", "30/h weight 4"];

const NS: Duration = Duration::from_nanos(1);

/// A part of the remaining cells, repeatedly, with pauses of less than a period, so that a meter stands at any level.
fn partly_used<A: Algorithm>(meter: &Meter<A>, now: Instant, seed: u32) -> Instant {
    let period = meter.status_at(now).quota().expect("made of a quota").period();
    let pause = period.mul_f64(f64::from(seed % 997) / 997.0);
    let mut at = now;
    for turn in 0..seed % 7 {
        let room = meter.status_at(at).remaining();
        let _ = meter.check_n_at(room.div_ceil(1 + (seed + turn) % 3), at);
        at += pause;
    }
    at
}

/// The time by which singles may conform later than one batch. It is zero, except for an exponential meter: a unit each, of which a nanosecond has at
/// least twelve.
fn rounding<A: Algorithm>(meter: &Meter<A>, cells: u32) -> Duration {
    let is_rounded = format!("{meter:?}").starts_with("Exponential");
    Duration::from_nanos(if is_rounded { u64::from(cells).div_ceil(12) } else { 0 })
}

/// Checks that `cells` remain at `at`. An average that is not idle rounds its word up: the last of the cells may come a unit later.
#[track_caller]
fn assert_remain<A: Algorithm>(meter: &Meter<A>, cells: u32, at: Instant) {
    let [now, soon] = [at, at + rounding(meter, 1)].map(|at| meter.status_at(at).remaining());
    assert!(now <= cells && cells <= soon, "{now} to {soon}, not {cells}: {meter:?}");
}

proptest! {
    #[test]
    fn peek_predicts_check(quota in 0..QUOTAS.len(), seed: u32, n in 0_u32..1200) {
        fn check<A: Algorithm>(meter: &Meter<A>, seed: u32, n: u32) {
            let at = partly_used(meter, Instant::now(), seed);
            for n in [n, n % 12] {
                let before = meter.snapshot_at(fixed_time());
                let peeked = (meter.peek_n_at(n, at), meter.peek_at(at));
                assert_eq!(meter.snapshot_at(fixed_time()), before, "a peek changed something");
                if peeked.0.is_ok() && n > 0 {
                    assert_eq!(meter.check_n_at(n, at), Ok(()));
                } else {
                    assert_eq!(meter.check_n_at(n, at), peeked.0);
                    assert_eq!(meter.check_at(at), peeked.1);
                }
            }
        }
        on_each!(QUOTAS[quota], |meter| check(&meter, seed, n));
    }

    #[test]
    fn remaining_cells_are_admitted_afterwards(quota in 0..QUOTAS.len(), seed: u32, n in 0_u32..1200) {
        fn check<A: Algorithm>(meter: &Meter<A>, seed: u32, n: u32) {
            let at = partly_used(meter, Instant::now(), seed);
            for n in [n % 12, n] {
                let before = (meter.snapshot_at(fixed_time()), meter.status_at(at).remaining(), meter.peek_n_at(n, at));
                let taken = meter.take_at(n, at);
                let remaining = taken.status().remaining();
                assert_eq!(taken.decision(), before.2, "{meter:?}");
                assert_eq!(remaining, meter.status_at(at).remaining());
                match taken.decision() {
                    Ok(()) => assert_remain(meter, before.1 - n, at),
                    Err(denied) => {
                        assert_eq!((meter.snapshot_at(fixed_time()), remaining), (before.0, before.1), "a denial changed something");
                        assert!(remaining < n);
                        if let NegativeMultiDecision::BatchNonConforming(_, denied) = denied {
                            assert_eq!(meter.peek_n_at(n, denied.earliest_possible()), Ok(()));
                            assert!(meter.peek_n_at(n, denied.earliest_possible() - NS).is_err());
                        }
                    }
                }
            }
            let remaining = meter.take_at(0, at).status().remaining();
            let in_time = at + rounding(meter, remaining);
            let admitted = singles(meter, at);
            assert!(admitted <= remaining, "{meter:?}");
            for _ in admitted..remaining {
                assert_eq!(meter.check_at(in_time), Ok(()), "{meter:?}");
            }
        }
        on_each!(QUOTAS[quota], |meter| check(&meter, seed, n));
    }

    #[test]
    fn check_up_to_admits_all_that_conform(quota in 0..QUOTAS.len(), seed: u32, n in 0_u32..1200) {
        fn check<A: Algorithm>(meter: &Meter<A>, seed: u32, n: u32) {
            let at = partly_used(meter, Instant::now(), seed);
            let room = meter.status_at(at).remaining();
            let admitted = meter.check_up_to_at(n, at);
            assert_eq!(admitted.cells(), n.min(room));
            assert_remain(meter, room - admitted.cells(), at);
            assert_eq!(admitted.next().is_some(), n > room);
            if let Some(next) = admitted.next() {
                assert_eq!(Err(next), meter.peek_at(at));
                assert!(meter.peek_at(next.earliest_possible() - NS).is_err());
                let before = meter.snapshot_at(fixed_time());
                assert_eq!(meter.check_up_to_at(n, at).cells(), 0);
                assert_eq!(meter.snapshot_at(fixed_time()), before, "no cell, but a change");
                assert_eq!(meter.check_up_to_at(1, next.earliest_possible()).cells(), 1);
            }
        }
        on_each!(QUOTAS[quota], |meter| check(&meter, seed, n));
    }

    #[test]
    fn status_reports_the_exact_times(quota in 0..QUOTAS.len(), seed: u32) {
        fn check<A: Algorithm>(meter: &Meter<A>, seed: u32, quota: &str) {
            let at = partly_used(meter, Instant::now(), seed);
            let before = meter.snapshot_at(fixed_time());
            let status = meter.status_at(at);
            assert_eq!(status.quota(), quota.parse().ok());
            let (next, rest) = (at + status.until_next(), at + status.until_rest());
            assert_eq!(meter.peek_at(next), Ok(()));
            let most = meter.status_at(at + Duration::from_secs(1 << 20)).remaining();
            assert_eq!(meter.peek_n_at(most, rest), Ok(()), "{status:?}");
            assert_eq!(meter.status_at(rest).until_rest(), Duration::ZERO);
            if next > at {
                assert!(meter.peek_at(next - NS).is_err());
            }
            if rest > at {
                assert_eq!(meter.status_at(rest - NS).until_rest(), NS);
            }
            assert_eq!(meter.snapshot_at(fixed_time()), before, "a status changed something");
        }
        on_each!(QUOTAS[quota], |meter| check(&meter, seed, QUOTAS[quota]));
    }
}

#[test]
fn zero_cells_never_change_state() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        for _ in 0..2 {
            let before = meter.snapshot_at(fixed_time());
            assert_eq!(meter.peek_n_at(0, now), Ok(()));
            assert_eq!(meter.take_at(0, now).decision(), Ok(()));
            let admitted = meter.check_up_to_at(0, now);
            assert_eq!((admitted.cells(), admitted.next()), (0, None));
            assert_eq!(meter.charge_at(0, now), 0);
            meter.refund_at(0, now);
            let reservation = meter.reserve_at(0, Duration::ZERO, now).expect("nothing");
            assert_eq!(reservation.time_to_act(), now);
            reservation.cancel_at(now);
            assert_eq!(meter.snapshot_at(fixed_time()), before);
            let _ = meter.check_n_at(10, now);
        }
    }
    on_each!("10/s", |meter| check(&meter));
}

#[test]
fn every_verb_reports_an_impossible_batch() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        for n in [11, u32::MAX] {
            let never = Err(NegativeMultiDecision::InsufficientCapacity(n));
            assert_eq!(meter.peek_n_at(n, now), never);
            assert_eq!(meter.peek_n(n), never);
            assert_eq!(meter.take_at(n, now).decision(), never);
            assert_eq!(meter.take(n).decision(), never);
            assert_eq!(meter.reserve_at(n, Duration::MAX, now).map(drop), never);
            assert_eq!(meter.status_at(now).remaining(), 10);
        }
        assert_eq!(meter.check_up_to_at(u32::MAX, now).cells(), 10);
    }
    on_each!("10/s", |meter| check(&meter));
}

#[test]
fn reset_meter_is_like_a_new_one() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let new = meter.snapshot_at(fixed_time());
        meter.reset();
        assert_eq!(meter.snapshot_at(fixed_time()), new);
        let clone = meter.clone();
        for debt in [1, 10, 1000, u64::MAX] {
            let _ = clone.charge_at(debt, now + Duration::from_secs(3));
            meter.reset();
            assert_eq!(clone.snapshot_at(fixed_time()), new);
        }
        assert_eq!(singles(meter, now), 10);
    }
    on_each!("10/s", |meter| check(&meter));
}

/// The same verbs at the same times, once with given times and once by the clock.
#[test]
fn clock_forms_equal_at_forms() {
    fn check<A: Algorithm>(meter: Meter<A>) {
        let clock = ManualClock::new();
        let [by_clock, told] = [meter.clone(), meter].map(|meter| meter.with_clock(clock.clone()));
        for turn in 0..300_u32 {
            let now = clock
                .advance(Duration::from_millis(u64::from(turn % 5) * 37))
                .expect("seconds");
            let n = turn % 4;
            assert_eq!(by_clock.peek(), told.peek_at(now));
            assert_eq!(by_clock.peek_n(n), told.peek_n_at(n, now));
            match turn % 7 {
                0 => assert_eq!(by_clock.take(n).decision(), told.take_at(n, now).decision()),
                1 => assert_eq!(by_clock.check_up_to(3 * n), told.check_up_to_at(3 * n, now)),
                2 => assert_eq!(by_clock.charge(n.into()), told.charge_at(n.into(), now)),
                3 => {
                    by_clock.refund(1);
                    told.refund_at(1, now);
                }
                4 => assert_eq!(by_clock.check_n(n), told.check_n_at(n, now)),
                5 => {
                    let wait = Duration::from_millis(250);
                    let [a, b] = [by_clock.reserve(n, wait), told.reserve_at(n, wait, now)];
                    assert_eq!(a.as_ref().err(), b.as_ref().err());
                    if let (Ok(a), Ok(b), true) = (a, b, turn % 2 == 0) {
                        assert_eq!(a.time_to_act(), b.time_to_act());
                        clock.advance(Duration::from_millis(11)).expect("seconds");
                        a.cancel();
                        b.cancel_at(clock.now());
                    }
                }
                _ => {}
            }
            let (status, other) = (by_clock.status(), told.status_at(clock.now()));
            assert_eq!(format!("{status:?}"), format!("{other:?}"), "turn {turn}");
            assert_eq!(format!("{by_clock:?}"), format!("{told:?}"), "turn {turn}");
        }
    }
    on_each!("10/s", check);
}
