//! Measures a decision when two threads share one meter.
//!
//! The other thread makes decisions in a loop while criterion times this one, so each figure is the time per call and thread.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_meter::{Decider, GCRA, LeakyBucket, LeasedMeter, Quota, nonzero};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const AMPLE: Quota = Quota::per_second(nonzero!(4_000_000_000u32));
const SCARCE: Quota = Quota::per_hour(nonzero!(1u32));

/// Times the work that `worker` returns, while another thread does such work of its own.
fn beside<W: FnMut()>(c: &mut Criterion, name: &str, worker: impl Fn() -> W + Sync) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut work = worker();
            while !stop.load(Ordering::Relaxed) {
                work();
            }
        });
        c.bench_function(name, |b| b.iter(worker()));
        stop.store(true, Ordering::Relaxed);
    });
}

fn floor(c: &mut Criterion) {
    let word = AtomicU64::new(0);
    let exchange = || {
        let mut seen = word.load(Ordering::Relaxed);
        while let Err(now) = word.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
            seen = now;
        }
    };
    beside(c, "two threads/exchange loop", || exchange);
}

fn meters<M: Decider>(c: &mut Criterion, name: &str, of: impl Fn(Quota) -> M) {
    let ample = of(AMPLE);
    let admit = || assert!(black_box(&ample).check().is_ok());
    beside(c, &format!("two threads/{name}::check, conforming"), || admit);
    let full = of(SCARCE);
    assert!(full.check().is_ok());
    let deny = || assert!(black_box(&full).check().is_err());
    beside(c, &format!("two threads/{name}::check, denied"), || deny);
}

fn gcra(c: &mut Criterion) {
    meters(c, "GCRA", |quota| GCRA::from_quota(quota).unwrap());
}

fn leaky_bucket(c: &mut Criterion) {
    meters(c, "LeakyBucket", |quota| LeakyBucket::from_quota(quota).unwrap());
}

fn lease(c: &mut Criterion) {
    let meter = LeasedMeter::new(AMPLE, nonzero!(2u32), nonzero!(256u32)).unwrap();
    beside(c, "two threads/Lease::check, conforming", || {
        let mut lease = meter.lease().unwrap();
        move || assert!(black_box(&mut lease).check().is_ok())
    });
}

criterion_group!(benches, floor, gcra, leaky_bucket, lease);
criterion_main!(benches);
