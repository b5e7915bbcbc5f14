//! Law 2: an idle meter admits exactly floor(B/w) cells at one instant. Law 10: clones share it.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::{Subject, gcra, leaky_bucket};
use crate::support::time::{HORIZON, SECOND};
use crate::support::traffic::{EXTREMES, limits, spread};
use proptest::prelude::*;
use ratelimit_meter::{GCRA, LeakyBucket};
use std::time::{Duration, Instant};

/// Takes `burst` cells at `at` in single cells as far as that is practical, then asserts that there is no other.
#[track_caller]
fn assert_admits_exactly(meter: &Subject, cells: u32, at: i128, limit: &Limit) {
    let singles = cells.min(2000);
    let batch = cells - singles;
    let who = meter.name;
    assert_eq!(
        meter.batch(batch, at),
        Verdict::Conforms,
        "{who}: {batch} of {cells} at {at} ns: {limit:?}"
    );
    let more = meter.singles_at(at, u64::from(singles) + 3);
    assert_eq!(more, u64::from(singles), "{who}: after {batch} at {at} ns: {limit:?}");
}

proptest! {
    #[test]
    fn idle_meter_admits_exactly_its_burst(limit in limits(), at in any::<u64>()) {
        let at = i128::from(spread(at, 1, 1 << 59).min(u64::try_from(HORIZON).unwrap_or(u64::MAX)));
        for meter in Subject::each(&limit) {
            assert_admits_exactly(&meter, limit.at_once(), at, &limit);
        }
    }

    #[test]
    fn meter_is_idle_once_drained(limit in limits(), wait in 1i128..50) {
        let rested = wait * limit.time_to_rest();
        for meter in Subject::each(&limit) {
            assert_admits_exactly(&meter, limit.at_once(), 0, &limit);
            if rested <= HORIZON {
                assert_admits_exactly(&meter, limit.at_once(), rested, &limit);
            }
        }
    }

    #[test]
    fn gcra_admits_one_plus_floor_tau_over_t(t in any::<u64>(), tau in any::<u64>()) {
        let (t, tau) = (spread(t, 1, 1 << 61), spread(tau, 1, 1 << 61) - 1);
        let limit = Limit::standard(t, tau);
        if tau / t < u64::from(u32::MAX) {
            assert_admits_exactly(&Subject::standard(t, tau), limit.at_once(), 0, &limit);
        }
    }
}

#[test]
fn the_extremes_admit_exactly_their_burst() {
    for limit in EXTREMES {
        for meter in Subject::each(limit) {
            assert_admits_exactly(&meter, limit.at_once(), 0, limit);
        }
    }
}

/// Here f = 1, a unit is half a cell: a second unit of tolerance, or a cell that costs a unit less, is a cell too many.
#[test]
fn full_speed_admits_no_half_cell_more() {
    for rate in [
        Limit::per_second(4_000_000_000),
        Limit::new(4, 1),
        Limit::new(2_147_483_648, SECOND / 2),
    ] {
        assert_eq!(rate.fraction_bits(), 1);
        for burst in [1, 2, 3, 7, 1000] {
            let limit = rate.burst(burst);
            for at in [0, 1, 1000, 1_000_000_007, HORIZON] {
                for meter in Subject::each(&limit) {
                    assert_admits_exactly(&meter, limit.at_once(), at, &limit);
                }
            }
        }
    }
}

/// A fraction of a cell is not rounded up.
#[test]
fn a_burst_admits_only_whole_weighted_cells() {
    for (burst, weight) in [
        (10, 3),
        (10, 4),
        (10, 6),
        (10, 10),
        (7, 2),
        (1, 1),
        (4_294_967_295, 4_294_967_294),
    ] {
        let limit = Limit::per_second(100).burst(burst).weight(weight);
        for meter in Subject::each(&limit) {
            assert_admits_exactly(&meter, u32::try_from(burst / weight).unwrap_or(0), 0, &limit);
        }
    }
}

/// The constructors of 1.x, whose GCRA admitted one cell more.
#[test]
fn builder_admits_exactly_its_capacity() -> Result<(), ratelimit_meter::algorithms::InconsistentCapacity> {
    let now = Instant::now();
    let count = |meter: &GCRA| (0..100).filter(|_| meter.check_at(now).is_ok()).count();
    assert_eq!(count(&GCRA::for_capacity(20)?.build()), 20);
    assert_eq!(
        count(&GCRA::for_capacity(20)?.per(Duration::from_secs(60)).try_build()?),
        20
    );
    assert_eq!(count(&GCRA::for_capacity(20)?.cell_weight(6)?.build()), 3);
    assert_eq!(count(&GCRA::from(GCRA::for_capacity(1)?)), 1);
    let bucket = LeakyBucket::new(5, Duration::from_secs(7))?;
    assert_eq!((0..100).filter(|_| bucket.check_at(now).is_ok()).count(), 5);
    Ok(())
}

#[test]
fn clones_share_one_burst() {
    let limit = Limit::per_second(10);
    let now = Instant::now();
    let (gcra, bucket) = (gcra(&limit), leaky_bucket(&limit));
    let gcras = [gcra.clone(), gcra.clone(), gcra];
    assert_eq!((0..30).filter(|i| gcras[i % 3].check_at(now).is_ok()).count(), 10);
    let buckets = [bucket.clone(), bucket.clone(), bucket];
    assert_eq!((0..30).filter(|i| buckets[i % 3].check_at(now).is_ok()).count(), 10);
}
