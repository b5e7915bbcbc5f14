//! Every interleaving of two and three threads on one meter.
//!
//! Run with `RUSTFLAGS="--cfg ratelimit_meter_loom" cargo test --profile model --features __loom --test loom`. Loom does not fail a weak
//! exchange spuriously (the suite under `--cfg ratelimit_meter_spurious` does) and models relaxed accesses incompletely. Since all state is one word,
//! only the retry loop remains. A load and a store in place of the exchange fails every test here.
#![cfg(ratelimit_meter_loom)]

mod adjustable;
mod check_all;
#[cfg(feature = "dual")]
mod dual;
#[cfg(feature = "keyed")]
mod keyed;
mod verbs;

use loom::sync::{Arc, Mutex};
use loom::thread;
use ratelimit_meter::clock::Clock;
use ratelimit_meter::{GCRA, LeakyBucket, Lease, LeasedMeter, MultiDecider, Quota};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

fn burst_of(cells: u32) -> Quota {
    Quota::per_hour(NonZeroU32::new(cells).unwrap())
}

/// The answers to each thread's batches, in order, when all ran at `at(thread)`; and the meter.
fn run<M: MultiDecider + Clone + 'static>(
    meter: &M,
    batches: &'static [&'static [u32]],
    at: impl Fn(usize) -> Instant,
) -> Vec<Vec<bool>> {
    let threads: Vec<_> = batches
        .iter()
        .enumerate()
        .map(|(index, batches)| {
            let (meter, at) = (meter.clone(), at(index));
            thread::spawn(move || batches.iter().map(|&n| meter.check_n_at(n, at).is_ok()).collect())
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// The cells admitted.
fn admitted(batches: &[&[u32]], told: &[Vec<bool>]) -> u32 {
    let cells = batches
        .iter()
        .zip(told)
        .flat_map(|(batches, told)| batches.iter().zip(told));
    cells.filter(|(_, ok)| **ok).map(|(n, _)| n).sum()
}

macro_rules! for_both {
    ($($name:ident($meter:ident) $body:block)*) => {
        mod gcra {
            use super::*;
            $(#[test] fn $name() { loom::model(|| { let $meter = |quota| GCRA::from_quota(quota).unwrap(); $body }) })*
        }
        mod leaky_bucket {
            use super::*;
            $(#[test] fn $name() { loom::model(|| { let $meter = |quota| LeakyBucket::from_quota(quota).unwrap(); $body }) })*
        }
    };
}

for_both! {
    two_threads_and_one_cell_make_one_winner(meter) {
        let now = Instant::now();
        let told = run(&meter(burst_of(1)), &[&[1], &[1]], |_| now);
        assert_eq!(told.concat().iter().filter(|ok| **ok).count(), 1);
    }

    three_threads_and_one_cell_make_one_winner(meter) {
        let now = Instant::now();
        let told = run(&meter(burst_of(1)), &[&[1], &[1], &[1]], |_| now);
        assert_eq!(told.concat().iter().filter(|ok| **ok).count(), 1);
    }

    two_threads_share_the_burst_exactly(meter) {
        const BATCHES: &[&[u32]] = &[&[1, 1], &[1, 1]];
        let now = Instant::now();
        let told = run(&meter(burst_of(3)), BATCHES, |_| now);
        assert_eq!(admitted(BATCHES, &told), 3);
    }

    three_threads_share_the_burst_exactly(meter) {
        const BATCHES: &[&[u32]] = &[&[1], &[1], &[1]];
        let now = Instant::now();
        let told = run(&meter(burst_of(2)), BATCHES, |_| now);
        assert_eq!(admitted(BATCHES, &told), 2);
    }

    batches_are_all_or_nothing(meter) {
        const BATCHES: &[&[u32]] = &[&[3], &[2, 1]];
        let now = Instant::now();
        let meter = meter(burst_of(4));
        let told = run(&meter, BATCHES, |_| now);
        let first = admitted(BATCHES, &told);
        assert!(matches!(first, 3 | 4), "{told:?}");
        // A denied batch left its room to other batches.
        assert_eq!(meter.check_n_at(4 - first, now), Ok(()));
        assert!(meter.check_at(now).is_err());
    }

    threads_with_different_clocks_hold_the_window(meter) {
        const BATCHES: &[&[u32]] = &[&[1, 1], &[1, 1]];
        let now = Instant::now();
        // Two an hour; the threads' times lie half an hour apart, in which one cell drains.
        let told = run(&meter(burst_of(2)), BATCHES, |thread| now + Duration::from_secs(1800) * u32::try_from(thread).unwrap());
        assert!(matches!(admitted(BATCHES, &told), 2 | 3), "{told:?}");
        assert!(told[1][0], "the later thread finds room whoever came first: {told:?}");
    }

    a_moving_clock_gives_no_cell_twice(meter) {
        let clock = ModelClock(Arc::new(Mutex::new(Instant::now())));
        let meter = meter(burst_of(1)).with_clock(clock.clone());
        let mover = thread::spawn({
            let meter = meter.clone();
            move || {
                clock.advance(Duration::from_secs(3600));
                meter.check().is_ok()
            }
        });
        let told = [meter.check().is_ok(), meter.check().is_ok(), mover.join().unwrap()];
        let count = told.iter().filter(|ok| **ok).count();
        assert!((1..=2).contains(&count), "one before the move, one after: {told:?}");
    }
}

/// A leased meter of `burst` cells an hour.
fn leased(burst: u32, leases: u32, block: u32) -> LeasedMeter<ModelClock> {
    let [leases, block] = [leases, block].map(|n| NonZeroU32::new(n).unwrap());
    let clock = ModelClock(Arc::new(Mutex::new(Instant::now())));
    LeasedMeter::new(burst_of(burst), leases, block)
        .unwrap()
        .with_clock(clock)
}

#[test]
fn two_threads_and_one_lease_make_one_holder() {
    loom::model(|| {
        let meter = leased(3, 1, 1);
        let other = thread::spawn({
            let meter = meter.clone();
            move || meter.lease().ok()
        });
        let leases = [meter.lease().ok(), other.join().unwrap()];
        assert_eq!(leases.iter().flatten().count(), 1);
        drop(leases);
        assert!(meter.lease().is_ok(), "the place is free again");
    });
}

#[test]
fn leases_pass_shared_cells_and_return_the_rest() {
    loom::model(|| {
        // Six cells, of which two leases may hold one each.
        let meter = leased(6, 2, 1);
        let spend = |mut lease: Lease<ModelClock>| u32::from(lease.check().is_ok()) + u32::from(lease.check().is_ok());
        let other = thread::spawn({
            let lease = meter.lease().unwrap();
            move || spend(lease)
        });
        let passed = spend(meter.lease().unwrap()) + other.join().unwrap();
        assert_eq!(passed, 4);
        assert!(meter.lease().unwrap().check().is_err());
    });
}

#[test]
fn another_lease_draws_returned_cells() {
    loom::model(|| {
        // Ten cells, of which two leases may hold three each: four are shared.
        let meter = leased(10, 2, 3);
        let mut first = meter.lease().unwrap();
        assert!(first.check_n(1).is_ok());
        let held = first.held();
        let other = thread::spawn({
            let mut lease = meter.lease().unwrap();
            move || u32::from(lease.check_n(1).is_ok())
        });
        drop(first);
        assert_eq!(other.join().unwrap(), 1, "{held} were held");
        let mut last = meter.lease().unwrap();
        let rest = (0..5).filter(|_| last.check().is_ok()).count();
        assert_eq!(rest, 2, "all but the two that passed");
    });
}

/// A clock whose time is part of the model.
#[derive(Clone)]
struct ModelClock(Arc<Mutex<Instant>>);

impl ModelClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for ModelClock {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}
