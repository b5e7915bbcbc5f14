//! Checks of `ratelimit_meter` that need no `std` and no clock, so that they run on every target. With the features `dual` and `keyed` there are more
//! checks, which need an allocator.
//!
//! Each check compares a meter with an exact bucket, on times that are numbers of nanoseconds.
#![no_std]

#[cfg(feature = "keyed")]
mod keyed;

use core::num::NonZeroU32;
use core::time::Duration;
use ratelimit_meter::{GCRA, LeakyBucket, LocalMeter, NegativeMultiDecision, Quota, time};

const SECOND: u64 = 1_000_000_000;

/// The first day of a time line is before its meter is made, so the tests begin there.
const START: u64 = 100_000 * SECOND;

/// The name of a check, and whether it holds.
pub type Check = (&'static str, fn() -> bool);

/// All checks.
pub const CHECKS: &[Check] = &[
    ("decisions are those of an exact bucket", decisions_are_exact),
    ("a denial holds its exact instant", denials_are_exact),
    ("a shared meter admits its burst once", shared_meters_count_together),
    ("the quota's text is read", texts_are_read),
    ("times may come in any order", times_may_lie),
    #[cfg(feature = "dual")]
    ("a pair admits by both limits or by none", pairs_are_all_or_nothing),
    #[cfg(feature = "dual")]
    ("a marker colours by the rules of RFC 2698", colours_are_exact),
    #[cfg(feature = "keyed")]
    ("each key has an exact bucket", keyed::keys_are_exact),
    #[cfg(feature = "keyed")]
    ("a full table denies new keys, and only those", keyed::full_tables_deny),
];

/// A quota, by which `cells` come back in a second.
fn quota(cells: u32, burst: u32) -> Quota {
    let [cells, burst] = [cells, burst].map(|number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
    Quota::per_second(cells).allow_burst(burst)
}

/// A bucket in billionths of a cell, of which `cells` drain each nanosecond. Nothing is rounded.
struct ExactBucket {
    cells: u64,
    capacity: u64,
    level: u64,
    at: u64,
}

impl ExactBucket {
    fn admits(&mut self, n: u32, at: u64) -> bool {
        self.level = self.level.saturating_sub((at - self.at) * self.cells);
        self.at = at;
        let filled = self.level + u64::from(n) * SECOND;
        if filled > self.capacity {
            return false;
        }
        self.level = filled;
        true
    }
}

/// Returns the next of a sequence of numbers (`SplitMix64`).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn decisions_are_exact() -> bool {
    let mut random = 6;
    // A whole number of nanoseconds for each cell, so that no decision lies within the word's resolution.
    [1, 8, 1000, 62_500, 1_000_000].into_iter().all(|cells| {
        let burst = 20;
        let quota = quota(cells, burst);
        let (Ok(gcra), Ok(bucket)) = (<LocalMeter>::from_quota(quota), LeakyBucket::from_quota(quota)) else {
            return false;
        };
        let cells = u64::from(cells);
        let mut exact = ExactBucket {
            cells,
            capacity: u64::from(burst) * SECOND,
            level: 0,
            at: START,
        };
        let mut at = START;
        (0..5000).all(|_| {
            at += next(&mut random) % (SECOND / cells * 6);
            let n = 1 + u32::try_from(next(&mut random) % 6).unwrap_or(0);
            let admits = exact.admits(n, at);
            gcra.check_n_at(n, time::at(at)).is_ok() == admits && bucket.check_n_at(n, time::at(at)).is_ok() == admits
        })
    })
}

fn denials_are_exact() -> bool {
    let Ok(meter) = <LocalMeter<LeakyBucket>>::from_quota(quota(3, 2)) else {
        return false;
    };
    let start = time::at(START);
    if meter.check_n_at(2, start).is_err() {
        return false;
    }
    let Err(denial) = meter.check_at(start) else {
        return false;
    };
    let ns = Duration::from_nanos(1);
    let earliest = denial.earliest_possible();
    let third = Duration::from_nanos(333_333_334);
    denial.wait_time_from(start) == third
        && time::since_epoch(earliest) - time::since_epoch(start) == 333_333_334
        && meter.check_at(earliest - ns) == Err(denial)
        && meter.check_at(earliest).is_ok()
        && meter.check_n_at(3, earliest) == Err(NegativeMultiDecision::InsufficientCapacity(3))
}

fn shared_meters_count_together() -> bool {
    // Without an allocator there are no clones, but a reference can be shared between threads.
    fn is_shared<T: Sync>(meter: &T) -> &T {
        meter
    }
    let Ok(meter) = GCRA::from_quota(quota(1, 100)) else {
        return false;
    };
    let (one, other, start) = (is_shared(&meter), &meter, time::at(START));
    let admitted = (0..150).filter(|n| if n % 2 == 0 { one } else { other }.check_at(start).is_ok());
    admitted.count() == 100
        && meter.status_at(start).until_rest() == Duration::from_secs(100)
        && meter.charge_at(50, start) == 0
        && meter.check_at(time::at(START + 51 * SECOND - 1)).is_err()
        && meter.check_at(time::at(START + 51 * SECOND)).is_ok()
}

fn texts_are_read() -> bool {
    let is_read = |text: &str, cells, period| {
        text.parse::<Quota>()
            .is_ok_and(|quota| quota.cells().get() == cells && quota.period() == period)
    };
    is_read("50/s", 50, Duration::from_secs(1))
        && is_read("100/min burst 20", 100, Duration::from_secs(60))
        && "0/s".parse::<Quota>().is_err()
}

fn times_may_lie() -> bool {
    let Ok(meter) = <LocalMeter>::from_quota(quota(10, 10)) else {
        return false;
    };
    let mut random = 1;
    let admitted = (0..10_000).filter(|_| {
        let at = START + next(&mut random) % SECOND;
        meter.check_at(time::at(at)).is_ok()
    });
    // The burst, and the cells that drain in a second.
    let admitted = admitted.count();
    let ends = [0, u64::MAX].map(time::at);
    let late = ends.map(|at| meter.check_n_at(10, at).is_ok());
    (10..=20).contains(&admitted) && late == [false, true]
}

#[cfg(feature = "dual")]
fn pairs_are_all_or_nothing() -> bool {
    let Ok(pair) = "10/s & 15/min"
        .parse()
        .map_err(|_| ())
        .and_then(|quotas| ratelimit_meter::Dual::<GCRA>::from_quota(quotas).map_err(|_| ()))
    else {
        return false;
    };
    let admitted = |at| (0..20).filter(|_| pair.check_at(time::at(at)).is_ok()).count();
    // The first limit admits its burst. A second later it would admit ten more, of which the second limit has five, and the next 4 s after its burst.
    [admitted(START), admitted(START + SECOND)] == [10, 5]
        && pair.check_at(time::at(START + 4 * SECOND - 1)).is_err()
        && pair.check_at(time::at(START + 4 * SECOND)).is_ok()
}

#[cfg(feature = "dual")]
fn colours_are_exact() -> bool {
    use ratelimit_meter::marker::{Colour, TwoRate};
    let [committed, peak] = [quota(1000, 2000), quota(2000, 3000)];
    let Ok(marker) = TwoRate::new(committed, peak) else {
        return false;
    };
    let bucket = |cells, capacity: u64| ExactBucket {
        cells,
        capacity: capacity * SECOND,
        level: 0,
        at: START,
    };
    let (mut committed, mut peak) = (bucket(1000, 2000), bucket(2000, 3000));
    let (mut random, mut at) = (7, START);
    (0..5000).all(|_| {
        at += next(&mut random) % SECOND;
        let bytes = 1 + u32::try_from(next(&mut random) % 1500).unwrap_or(0);
        let colour = match peak.admits(bytes, at) {
            false => Colour::Red,
            true if committed.admits(bytes, at) => Colour::Green,
            true => Colour::Yellow,
        };
        marker.mark_at(bytes, time::at(at)) == colour
    })
}
