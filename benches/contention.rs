//! Measures a decision when two threads share one meter.
//!
//! The other thread makes decisions in a loop while criterion times this one, so each figure is the time per call and thread.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_meter::{Decider, GCRA, LeakyBucket, Lease, LeasedMeter, Quota, nonzero};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const AMPLE: Quota = Quota::per_second(nonzero!(4_000_000_000u32));
const SCARCE: Quota = Quota::per_hour(nonzero!(1u32));

/// Times `work` while another thread does the same.
fn beside(c: &mut Criterion, name: &str, work: impl Fn() + Sync) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                work();
            }
        });
        c.bench_function(name, |b| b.iter(&work));
        stop.store(true, Ordering::Relaxed);
    });
}

fn floor(c: &mut Criterion) {
    let word = AtomicU64::new(0);
    beside(c, "two threads/exchange loop", || {
        let mut seen = word.load(Ordering::Relaxed);
        while let Err(now) = word.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
            seen = now;
        }
    });
}

fn meters<M: Decider>(c: &mut Criterion, name: &str, of: impl Fn(Quota) -> M) {
    let ample = of(AMPLE);
    beside(c, &format!("two threads/{name}::check, conforming"), || {
        assert!(black_box(&ample).check().is_ok());
    });
    let full = of(SCARCE);
    assert!(full.check().is_ok());
    beside(c, &format!("two threads/{name}::check, denied"), || {
        assert!(black_box(&full).check().is_err());
    });
}

fn gcra(c: &mut Criterion) {
    meters(c, "GCRA", |quota| GCRA::from_quota(quota).unwrap());
}

fn leaky_bucket(c: &mut Criterion) {
    meters(c, "LeakyBucket", |quota| LeakyBucket::from_quota(quota).unwrap());
}

fn lease(c: &mut Criterion) {
    let meter = LeasedMeter::new(AMPLE, nonzero!(2u32), nonzero!(256u32)).unwrap();
    let spend = |lease: &mut Lease| assert!(black_box(lease).check().is_ok());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut lease = meter.lease().unwrap();
            while !stop.load(Ordering::Relaxed) {
                spend(&mut lease);
            }
        });
        let mut lease = meter.lease().unwrap();
        c.bench_function("two threads/Lease::check, conforming", |b| b.iter(|| spend(&mut lease)));
        stop.store(true, Ordering::Relaxed);
    });
}

criterion_group!(benches, floor, gcra, leaky_bucket, lease);
criterion_main!(benches);
