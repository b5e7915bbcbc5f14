//! Measures one decision on one thread.
//!
//! Each routine asserts its own result. The floors (a bare exchange loop, `Instant::now`, a meter without a limit) stand beside them.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use ratelimit_meter::example_algorithms::Allower;
use ratelimit_meter::{Decider, GCRA, KeyedMeter, LeakyBucket, LeasedMeter, MultiDecider, Quota, nonzero};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// 4e9 cells a second: so fast that a loop of single decisions never reaches the limit.
const AMPLE: Quota = Quota::per_second(nonzero!(4_000_000_000u32));
/// One cell an hour: so slow that the meter stays full for as long as a benchmark runs.
const SCARCE: Quota = Quota::per_hour(nonzero!(1u32));
/// A batch that `AMPLE` drains in 8 ns.
const BATCH: u32 = 32;

fn floors(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor");
    let word = AtomicU64::new(0);
    group.bench_function("exchange loop", |b| {
        b.iter(|| {
            let mut seen = word.load(Ordering::Relaxed);
            while let Err(now) = word.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
                seen = now;
            }
            seen
        });
    });
    group.bench_function("Instant::now", |b| b.iter(Instant::now));
    let allower = Allower::new();
    group.bench_function("Allower::check", |b| {
        b.iter(|| assert!(black_box(&allower).check().is_ok()))
    });
    group.finish();
}

fn decisions<M: Decider + MultiDecider>(c: &mut Criterion, name: &str, of: impl Fn(Quota) -> M) {
    let mut group = c.benchmark_group(name);
    let (ample, full) = (of(AMPLE), of(SCARCE));
    // Time advances by more than each decision takes from the meter.
    let mut at = Instant::now();
    let tick = Duration::from_nanos(10);
    assert!(full.check_at(at).is_ok());
    group.bench_function("check_at, conforming", |b| {
        b.iter(|| {
            at += tick;
            assert!(black_box(&ample).check_at(at).is_ok());
        });
    });
    group.bench_function("check_n_at(32), conforming", |b| {
        b.iter(|| {
            at += tick;
            assert!(black_box(&ample).check_n_at(BATCH, at).is_ok());
        });
    });
    let now = Instant::now();
    group.bench_function("check_at, denied", |b| {
        b.iter(|| assert!(black_box(&full).check_at(black_box(now)).is_err()));
    });
    group.bench_function("check_at, denied, and its instant", |b| {
        b.iter(|| {
            assert!(
                black_box(&full)
                    .check_at(black_box(now))
                    .unwrap_err()
                    .earliest_possible()
                    > now
            )
        });
    });
    let ample = of(AMPLE);
    group.bench_function("check, conforming", |b| {
        b.iter(|| assert!(black_box(&ample).check().is_ok()))
    });
    group.bench_function("check_n(32), conforming", |b| {
        b.iter(|| assert!(black_box(&ample).check_n(BATCH).is_ok()));
    });
    group.bench_function("check, denied", |b| {
        b.iter(|| assert!(black_box(&full).check().is_err()))
    });
    group.finish();
}

fn gcra(c: &mut Criterion) {
    decisions(c, "GCRA", |quota| GCRA::from_quota(quota).unwrap());
}

fn leaky_bucket(c: &mut Criterion) {
    decisions(c, "LeakyBucket", |quota| LeakyBucket::from_quota(quota).unwrap());
}

fn lease(c: &mut Criterion) {
    let mut group = c.benchmark_group("Lease");
    let meter = LeasedMeter::new(AMPLE, nonzero!(2u32), nonzero!(256u32)).unwrap();
    let mut lease = meter.lease().unwrap();
    group.bench_function("check, conforming", |b| {
        b.iter(|| assert!(black_box(&mut lease).check().is_ok()))
    });
    group.finish();
}

/// The time of 32 random keys of ten million, where memory is the bound: one by one, and in one call.
fn many_keys(c: &mut Criterion) {
    // `cargo test` runs each routine once and does not pass this argument.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let count: u32 = if is_measured { 10_000_000 } else { 1_000 };
    let mut group = c.benchmark_group("32 keys of ten million");
    let keys = KeyedMeter::<u64>::with_capacity(Quota::per_hour(nonzero!(1_000_000u32)), count as usize).unwrap();
    (0..count.into()).for_each(|key| assert!(keys.check(&key).is_ok()));
    // Xorshift, by Marsaglia.
    let mut random = 88_172_645_463_325_252_u64;
    let mut draw = || -> [u64; 32] {
        std::array::from_fn(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % u64::from(count)
        })
    };
    group.bench_function("check", |b| {
        b.iter(|| draw().iter().for_each(|key| assert!(keys.check(key).is_ok())));
    });
    group.bench_function("check_many", |b| {
        b.iter(|| keys.check_many(&draw()).for_each(|told| assert!(told.is_ok())));
    });
    group.finish();
}

criterion_group!(benches, floors, gcra, leaky_bucket, lease, many_keys);
criterion_main!(benches);
