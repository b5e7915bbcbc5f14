//! A quota that is set while other threads decide. The words of the quotas have different units, so a word that is read by a wrong quota shows in the
//! remaining cells. Every interleaving with up to four preemptions: a change takes so many steps that all of them with three threads did not end in
//! five minutes.

use super::burst_of;
use loom::thread;
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket};
use std::time::{Duration, Instant};

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(run);
}

macro_rules! for_each {
    ($($name:ident($meter:ident, $now:ident) $body:block)*) => {
        mod gcra {
            use super::*;
            $(#[test] fn $name() { model(|| {
                let ($meter, $now) = (|cells| Adjustable::<GCRA>::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
        mod leaky_bucket {
            use super::*;
            $(#[test] fn $name() { model(|| {
                let ($meter, $now) = (|cells| Adjustable::<LeakyBucket>::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
        mod exponential {
            use super::*;
            $(#[test] fn $name() { model(|| {
                let ($meter, $now) = (|cells| Adjustable::<Exponential>::from_quota(burst_of(cells)).unwrap(), Instant::now());
                $body
            }) })*
        }
    };
}

/// Does some work on a handle of its own, in a thread.
macro_rules! spawn {
    ($meter:ident, $work:expr) => {{
        let $meter = $meter.clone();
        thread::spawn(move || $work)
    }};
}

for_each! {
    cells_admitted_around_a_change_stay_counted(meter, now) {
        let meter = meter(3);
        let checker = spawn!(meter, meter.check_at(now).is_ok());
        let setter = spawn!(meter, meter.set_quota_at(burst_of(1000), now));
        assert!(meter.check_at(now).is_ok());
        assert!(checker.join().unwrap(), "there is room on both sides of the change");
        assert_eq!(setter.join().unwrap(), Ok(0));
        let new = meter.clone();
        assert_eq!([&meter, &new].map(|handle| handle.status_at(now).remaining()), [1, 1]);
    }

    reserved_cell_is_counted_by_one_quota(meter, now) {
        let meter = meter(3);
        let reserver = spawn!(meter, meter.reserve_at(1, Duration::ZERO, now).map(|reserved| reserved.cancel_at(now)));
        let setter = spawn!(meter, meter.set_quota_at(burst_of(1000), now));
        assert!(reserver.join().unwrap().is_ok());
        assert_eq!(setter.join().unwrap(), Ok(0));
        // The change came between the reservation and its cancel, or not.
        assert!([2, 3].contains(&meter.status_at(now).remaining()));
    }

    change_admits_at_most_the_available_cells(meter, now) {
        let meter = meter(1);
        let checker = spawn!(meter, meter.check_at(now).is_ok());
        let setter = spawn!(meter, meter.set_quota_at(burst_of(1000), now));
        let told = [meter.check_at(now).is_ok(), checker.join().unwrap()];
        assert_eq!(told.iter().filter(|ok| **ok).count(), 1);
        assert_eq!(setter.join().unwrap(), Ok(0));
        assert_eq!(meter.status_at(now).remaining(), 0);
    }

    a_change_cuts_cells_between_two_checks(meter, now) {
        let meter = meter(3);
        let setter = spawn!(meter, meter.set_quota_at(burst_of(1), now));
        let admitted = (0..2).filter(|_| meter.check_at(now).is_ok()).count();
        assert_eq!(setter.join().unwrap(), Ok(0));
        // The change came first, between the two, or last.
        assert!(matches!((admitted, meter.status_at(now).remaining()), (1 | 2, 0) | (2, 1)));
    }

    a_debt_is_kept_in_cells(meter, now) {
        let meter = meter(2);
        let charger = spawn!(meter, meter.charge_at(5, now));
        assert_eq!(meter.set_quota_at(burst_of(1000), now), Ok(0));
        assert_eq!(charger.join().unwrap(), 0);
        meter.refund_at(3, now);
        assert_eq!(meter.status_at(now).remaining(), 0);
        meter.refund_at(1, now);
        assert_eq!(meter.status_at(now).remaining(), 1);
    }

    two_racing_changes_lose_no_cell(meter, now) {
        let meter = meter(3);
        let setter = spawn!(meter, meter.set_quota_at(burst_of(100), now));
        let checker = spawn!(meter, meter.check_at(now).is_ok());
        assert_eq!(meter.set_quota_at(burst_of(20), now), Ok(0));
        assert_eq!(setter.join().unwrap(), Ok(0));
        assert!(checker.join().unwrap());
        assert!([100, 20].map(|cells| Some(burst_of(cells))).contains(&meter.quota()));
        assert_eq!(meter.status_at(now).remaining(), 2);
    }

    a_late_thread_follows_two_changes(meter, now) {
        let meter = meter(1);
        let late = spawn!(meter, meter.check_at(now).is_ok());
        assert_eq!(meter.set_quota_at(burst_of(100), now), Ok(0));
        assert_eq!(meter.set_quota_at(burst_of(20), now), Ok(0));
        let told = [late.join().unwrap(), meter.check_at(now).is_ok()];
        assert_eq!(told.iter().filter(|ok| **ok).count(), 1);
    }
}
