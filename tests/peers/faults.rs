//! Faults found in other rate limiters, each of which is one that we don't have.
//!
//! Faults of rates, waits and clocks are in `faults_of_time.rs`, of refill intervals in `quota.rs`. Leaked allocations are in `allocation.rs`, and
//! stale snapshots that are written back (leaky-bucket) in `laws/threads.rs`. `keyed/threads.rs` and `keyed/full.rs` have the faults of keyed stores
//! (governor, quota, throttled): growth without bound, removed keys that stay, live keys that are lost. Limits changed in place are in
//! `meters/adjustable*.rs`. Async waiters (leaky-bucket's timers, fairness and `try_join`) are in `crates/tokio/tests`, HTTP fields in
//! `crates/tower/tests`.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict::{Conforms, From, Never};
use crate::support::subject::{Subject, gcra, leaky_bucket};
use crate::support::time::{HORIZON, SECOND};
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::{GCRA, LeakyBucket};
use std::time::{Duration, Instant};

const S: i128 = SECOND as i128;
const MS: i128 = S / 1000;

// governor: a batch is multiplied before the capacity test and wraps; burst 2 at one an hour admitted this very batch.
#[test]
fn a_batch_above_capacity_never_wraps() {
    for meter in Subject::each(&Limit::new(1, 3600 * SECOND).burst(2)) {
        for n in [5_124_097, 5_124_096, 5_124_098, 3, u32::MAX] {
            assert_eq!(meter.batch(n, 0), Never, "{}: {n} cells", meter.name);
        }
        assert_eq!(meter.batch(2, 0), Conforms);
    }
}

// governor: the snapshot on a denial reports a full burst.
#[test]
fn level_at_a_denial_is_the_taken_volume() {
    let start = Instant::now();
    let bucket = leaky_bucket(&Limit::per_second(10).weight(3));
    assert_eq!(bucket.level_at(start), 0);
    assert!(bucket.check_n_at(3, start).is_ok() && bucket.check_at(start).is_err());
    assert_eq!(bucket.level_at(start), 9);
    assert_eq!(
        bucket.level_at(start + Duration::from_millis(350)),
        6,
        "5.5, rounded up"
    );
}

// ratelimit_meter 1-5: a batch of n is charged 2n-1 cells.
#[test]
fn batch_is_charged_exactly_its_cells() {
    for meter in Subject::each(&Limit::per_second(100)) {
        for n in [20, 30, 40, 9, 1] {
            assert_eq!(meter.batch(n, 0), Conforms, "{}: {n} cells", meter.name);
        }
        assert_eq!(meter.single(0), From(10 * MS), "{}", meter.name);
    }
}

// ratelimit_meter 1-5: an empty batch resets the meter; gcra: so does one above the limit.
#[test]
fn an_empty_or_impossible_batch_erases_no_history() {
    for meter in Subject::each(&Limit::per_second(4)) {
        assert_eq!(meter.batch(4, 0), Conforms);
        for (n, said) in [(0, Conforms), (5, Never), (u32::MAX, Never), (0, Conforms)] {
            assert_eq!(meter.batch(n, 0), said, "{}", meter.name);
            assert_eq!(meter.single(0), From(250 * MS), "{}: after {n} cells", meter.name);
        }
    }
}

// ratelimit_meter 1-5: `cell_weight` validates the weight it had, not the one it gets.
#[test]
fn set_weight_is_the_checked_weight() -> Result<(), InconsistentCapacity> {
    let mut builder = GCRA::for_capacity(10)?;
    let above = InconsistentCapacity::WeightAboveBurst { weight: 11, burst: 10 };
    assert_eq!(builder.cell_weight(11).err(), Some(above));
    assert_eq!(builder.cell_weight(5)?.cell_weight(11).err(), Some(above));
    assert_eq!(builder.cell_weight(0).err(), Some(InconsistentCapacity::ZeroWeight));
    let now = Instant::now();
    let meter = builder.cell_weight(10)?.try_build()?;
    assert!(meter.check_at(now).is_ok() && meter.check_at(now).is_err());
    Ok(())
}

// ratelimit 2.0: a refill in two steps admits twice the capacity; rc: no limit at all after inactivity.
#[test]
fn long_silence_refills_one_capacity() {
    for meter in Subject::each(&Limit::per_second(10)) {
        for at in [0, S, 60 * S, 10_000_000 * S, HORIZON] {
            assert_eq!(meter.singles_at(at, 100), 10, "{} at {at} ns", meter.name);
        }
    }
}

// quota 0.3: capacity 10 at 3 a second admits 9.
#[test]
fn capacity_ten_at_three_per_second_admits_ten() {
    for meter in Subject::each(&Limit::per_second(3).burst(10)) {
        assert_eq!(meter.singles_at(0, 100), 10, "{}", meter.name);
    }
}

// gcra: `Clone` copies the state instead of sharing it.
#[test]
fn a_clone_is_the_same_meter() {
    let now = Instant::now();
    let (one, other) = (gcra(&Limit::per_second(1)), leaky_bucket(&Limit::per_second(1)));
    assert!(one.clone().check_at(now).is_ok() && one.check_at(now).is_err());
    assert!(other.clone().check_at(now).is_ok() && other.check_at(now).is_err());
}

// tower_governor, actix-governor: `per_second(n)` means one cell every n seconds.
#[test]
fn per_second_means_a_second() -> Result<(), InconsistentCapacity> {
    let now = Instant::now();
    let bucket = LeakyBucket::per_second(5)?;
    assert!((0..5).all(|_| bucket.check_at(now).is_ok()));
    let denied = bucket.check_at(now).expect_err("five are all there are");
    assert_eq!(denied.wait_time_from(now), Duration::from_millis(200));
    Ok(())
}

// ratelimit_meter: comparing a value with itself locks twice and hangs.
#[test]
fn comparing_and_printing_take_no_lock() {
    let limit = Limit::per_second(1);
    for meter in Subject::each(&limit) {
        assert_eq!(meter.single(0), Conforms);
        let denied = meter.meter.check_at(meter.origin).expect_err("one is all there is");
        assert_eq!(denied, denied);
        assert_eq!(
            format!("{:?} {:?}", meter.meter, meter.meter),
            format!("{0:?} {0:?}", meter.meter)
        );
    }
}
