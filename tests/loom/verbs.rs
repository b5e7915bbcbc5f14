//! Each verb that moves the word, against another at the same time.

use super::burst_of;
use loom::thread;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter};
use std::time::{Duration, Instant};

macro_rules! for_each {
    ($($name:ident($meter:ident, $now:ident) $body:block)*) => {
        mod gcra {
            use super::*;
            $(#[test] fn $name() { loom::model(|| {
                let ($meter, $now) = (|cells| GCRA::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
        mod leaky_bucket {
            use super::*;
            $(#[test] fn $name() { loom::model(|| {
                let ($meter, $now) = (|cells| LeakyBucket::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
        mod exponential {
            use super::*;
            $(#[test] fn $name() { loom::model(|| {
                let ($meter, $now) = (|cells| Exponential::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
    };
}

/// Runs `work` and `other` on one meter at once, and returns their results.
fn both<M: Clone + 'static, S: 'static, T>(
    meter: &M,
    other: impl FnOnce(M) -> S + 'static,
    work: impl FnOnce(&M) -> T,
) -> (S, T) {
    let thread = thread::spawn({
        let meter = meter.clone();
        move || other(meter)
    });
    let worked = work(meter);
    (thread.join().unwrap(), worked)
}

for_each! {
    exactly_the_burst_is_admitted(meter, now) {
        let meter = meter(2);
        let (a, b) = both(
            &meter,
            move |meter| (0..2).filter(|_| meter.check_at(now).is_ok()).count(),
            |meter| usize::from(meter.check_at(now).is_ok()),
        );
        assert_eq!(a + b, 2);
    }

    charge_beside_a_check_is_counted(meter, now) {
        let meter = meter(3);
        let (unrecorded, admitted) = both(&meter, move |meter| meter.charge_at(2, now), |meter| {
            (0..3).filter(|_| meter.check_at(now).is_ok()).count()
        });
        // One to three before it, the rest after.
        assert_eq!(unrecorded, 0);
        assert!((1..=3).contains(&admitted));
        meter.refund_at(2, now);
        assert_eq!(usize::try_from(meter.status_at(now).remaining()).unwrap(), 3 - admitted);
    }

    refund_makes_room_for_its_own_cells(meter, now) {
        let meter = meter(2);
        assert!(meter.check_n_at(2, now).is_ok());
        let ((), admitted) = both(&meter, move |meter| meter.refund_at(1, now), |meter| {
            u32::from(meter.check_at(now).is_ok()) + u32::from(meter.check_at(now).is_ok())
        });
        assert!(admitted <= 1);
        assert_eq!(meter.status_at(now).remaining(), 1 - admitted);
    }

    reset_cancels_exactly_the_earlier_debt(meter, now) {
        let meter = meter(1);
        assert!(meter.check_at(now).is_ok());
        let ((), admitted) = both(&meter, |meter| meter.reset(), |meter| meter.check_at(now).is_ok());
        assert_eq!(meter.status_at(now).remaining(), u32::from(!admitted));
    }

    two_reservations_have_two_places(meter, now) {
        let meter = meter(1);
        let day = Duration::from_secs(86_400);
        let reserve = move |meter: &_| acts(meter, day, now);
        let (a, b) = both(&meter, move |meter| reserve(&meter), reserve);
        assert!(a.min(b) == now && a.max(b) > now, "{a:?} and {b:?}");
    }

    parts_are_the_whole_burst(meter, now) {
        let meter = meter(3);
        let part = move |meter: &_| part(meter, now);
        let (a, b) = both(&meter, move |meter| part(&meter), part);
        assert_eq!(a + b, 3, "{a} and {b}");
    }
}

fn acts<A: Algorithm>(meter: &Meter<A>, longest_wait: Duration, at: Instant) -> Instant {
    meter.reserve_at(1, longest_wait, at).unwrap().time_to_act()
}

fn part<A: Algorithm>(meter: &Meter<A>, at: Instant) -> u32 {
    meter.check_up_to_at(2, at).cells()
}
