//! Faults of rate, wait and clock found in other rate limiters, each of which is one that we don't have; see `faults.rs`.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict::{Conforms, From};
use crate::support::subject::Subject;
use crate::support::time::{SECOND, YEAR, earliest_instant};
use crate::support::window::Admissions;
use ratelimit_meter::GCRA;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::ManualClock;
use std::time::{Duration, Instant};

const S: i128 = SECOND as i128;
const MS: i128 = S / 1000;

/// A second's cells, taken at once, are due again after a second and not sooner.
#[track_caller]
fn assert_a_second_is_a_second(rate: u64) {
    for meter in Subject::each(&Limit::per_second(rate)) {
        let all = u32::try_from(rate).expect("a rate in cells a second");
        assert_eq!(meter.batch(all, 0), Conforms);
        for at in [0, S / 2, 7 * S / 10, 9 * S / 10, S - 1] {
            assert_eq!(meter.batch(all, at), From(S), "{}: {rate}/s at {at} ns", meter.name);
        }
        assert_eq!(meter.batch(all, S), Conforms, "{}: {rate}/s", meter.name);
        assert_eq!(meter.batch(all, S), From(2 * S), "{}: {rate}/s", meter.name);
    }
}

// governor: the emission interval is floored to whole nanoseconds, 11 % too fast here and 67 % there.
#[test]
fn six_hundred_million_per_second_stay_exact() {
    for rate in [7_000_000, 300_000_000, 400_000_000, 600_000_001] {
        assert_a_second_is_a_second(rate);
    }
}

// governor, quota: above 1e9 cells a second is 1e9; ratelimit_meter 1-5: is unlimited.
#[test]
fn billions_of_cells_a_second_are_exact() {
    for rate in [1_000_000_001, 1_250_000_000, 3_000_000_019, 4_294_967_295] {
        assert_a_second_is_a_second(rate);
    }
}

// Linux psched, DPDK rte_meter: the time of a packet is rounded down, up to several percent too fast.
#[test]
fn packets_of_64_bytes_keep_10_gigabit_pace() {
    for bytes in [1_250_000_000, 3_125_000_000] {
        let limit = Limit::per_second(bytes).weight(64).burst(128);
        for meter in Subject::each(&limit) {
            let mut record = Admissions::new(limit);
            let mut at = 0;
            for _ in 0..2000 {
                if let From(earliest) = record.note(1, at, meter.single(at)) {
                    at = earliest;
                }
            }
            record.assert_law_1(meter.name);
            let due = limit.drained(at - 1) / limit.cost(1);
            assert!(
                i128::from(record.cells()) >= due,
                "{}: {} of {due}",
                meter.name,
                record.cells()
            );
        }
    }
}

// governor: state moved into a new limiter counts from the old one's start, and every caller is locked out for its uptime.
#[test]
fn state_moved_to_new_meter_keeps_instants() -> Result<(), InconsistentCapacity> {
    let start = Instant::now();
    let old = GCRA::for_capacity(4)?.try_build()?;
    let late = start + Duration::from_secs(3_000_000);
    assert!(old.check_n_at(3, late).is_ok());
    let (t, tau, tat) = (&old).into();
    let new = GCRA::try_with_parameters(t, tau, tat)?;
    for meter in [&new, &old] {
        assert!(meter.check_at(late).is_ok());
        let denied = meter.check_at(late).expect_err("the burst of four is used");
        assert_eq!(denied.wait_time_from(late), Duration::from_millis(250));
    }
    Ok(())
}

// governor: a clock that differs between cores denies conforming cells. Even if this crate's clock lags or differs, every core admits the burst.
#[test]
fn system_clock_burst_is_admitted_in_every_thread() {
    for meter in Subject::each(&Limit::new(2000, 100 * YEAR)) {
        let admitted: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| (0..500).filter(|_| meter.meter.check().is_ok()).count()));
            threads.map(|thread| thread.join().expect("no panic")).iter().sum()
        });
        assert_eq!(admitted, 2000, "{}", meter.name);
        assert!(meter.meter.check().is_err());
    }
}

// ratelimit_meter 1-5: GCRA reports a wait that is one tolerance too long.
#[test]
fn the_wait_is_not_one_tolerance_too_long() {
    for meter in Subject::each(&Limit::per_second(20)) {
        assert_eq!(meter.batch(20, 0), Conforms);
        assert_eq!(meter.single(0), From(50 * MS), "{}", meter.name);
    }
}

// ratelimit_meter 1-5: an older timestamp moves time back, and the next check drips the same interval twice.
#[test]
fn an_older_timestamp_drips_no_interval_twice() {
    for meter in Subject::each(&Limit::per_second(10)) {
        assert_eq!((meter.batch(10, 0), meter.batch(5, S / 2)), (Conforms, Conforms));
        for _ in 0..100 {
            assert_ne!(meter.single(0), Conforms);
            assert_eq!(meter.single(S / 2), From(600 * MS), "{}", meter.name);
        }
    }
}

// leaky-bucket: an interval is truncated to milliseconds, up to twice the rate; each overshoot of a timer is added to it.
#[test]
fn an_interval_of_1500_microseconds_is_exact() {
    for meter in Subject::each(&Limit::new(2, 3_000_000).burst(1)) {
        assert_eq!(meter.single(0), Conforms);
        assert_eq!(meter.single(MS), From(3 * MS / 2), "{}", meter.name);
    }
    for meter in Subject::each(&Limit::new(2, 3_000_000)) {
        assert_eq!(meter.batch(2, 0), Conforms);
        // Each caller is late by a little; the bucket is not.
        let late = (1..=1000)
            .filter(|k| meter.single(k * 3 * MS / 2 + 700) == Conforms)
            .count();
        assert_eq!(late, 1000, "{}", meter.name);
        assert_eq!(
            meter.single(1500 * MS + 700),
            From(1501 * MS + MS / 2),
            "{}",
            meter.name
        );
    }
}

// ratelimit 2.0: a retry after exactly the hinted wait is denied at most rates; tower_governor: a wait of 0 while still limited.
#[test]
fn the_reported_wait_suffices_and_is_positive() {
    for rate in [3, 7, 11, 700, 60_013, 999_999_937, 4_294_967_291] {
        for meter in Subject::each(&Limit::per_second(rate).burst(2)) {
            let mut at = meter.origin;
            for _ in 0..2000 {
                if let Err(denied) = meter.meter.check_at(at) {
                    let wait = denied.wait_time_from(at);
                    assert!(wait > Duration::ZERO, "{}: {rate}/s", meter.name);
                    at += wait;
                    assert_eq!(meter.meter.check_at(at), Ok(()), "{}: {rate}/s", meter.name);
                }
            }
        }
    }
}

// ratelimit 2.0, quota 0.2: a refill between two polls is lost, up to half the rate.
#[test]
fn frequent_polling_loses_no_fraction() {
    for poll in [1_000, 10_007, 1_428_571, 3 * MS] {
        for meter in Subject::each(&Limit::per_second(700).burst(10)) {
            let polls = (0..S).step_by(usize::try_from(poll).expect("small")).chain([S]);
            let admitted: u64 = polls.map(|at| meter.singles_at(at, 20)).sum();
            assert_eq!(admitted, 710, "{}: every {poll} ns", meter.name);
        }
    }
}

// folly, Envoy: seconds in a double; after a long uptime a small debit vanishes and all requests are admitted.
#[test]
fn after_nineteen_years_a_single_cell_still_counts() {
    for rate in [1, 1_000_000, 1_000_000_000, 4_294_967_295] {
        for meter in Subject::each(&Limit::per_second(rate).burst(3)) {
            for years in [0, 1, 10, 19] {
                assert_eq!(
                    meter.singles_at(years * i128::from(YEAR), 100),
                    3,
                    "{}: {rate}/s, year {years}",
                    meter.name
                );
            }
        }
    }
}

// throttled (Go): the state's time to live is rounded down, and it is forgotten up to a second early.
#[test]
fn taken_cells_count_to_the_last_nanosecond() {
    for meter in Subject::each(&Limit::new(3, 10 * SECOND)) {
        assert_eq!(meter.batch(3, 0), Conforms);
        assert_eq!(meter.batch(3, 10 * S - 1), From(10 * S), "{}", meter.name);
        assert_eq!(meter.batch(3, 10 * S), Conforms, "{}", meter.name);
    }
}

// golang/time, governor: a clock that has not yet run for a tolerance since its origin underflows.
#[test]
fn young_clock_has_the_whole_burst() {
    let clock = ManualClock::starting_at(earliest_instant());
    for meter in Subject::each_on(&Limit::new(5, YEAR), &clock) {
        assert_eq!(meter.singles_at(0, 100), 5, "{}", meter.name);
        assert_eq!(meter.single(1), From(i128::from(YEAR) / 5), "{}", meter.name);
    }
}

// golang/time: thousands of times the limit when callers' times come out of order under load.
#[test]
fn callers_whose_times_interleave_are_one_caller() {
    let limit = Limit::per_second(1000).burst(1);
    for meter in Subject::each(&limit) {
        let mut record = Admissions::new(limit);
        for turn in 0..20_000 {
            let at = turn * MS / 20 - (turn % 7) * 3 * MS;
            record.note(1, at, meter.single(at));
        }
        record.assert_law_1(meter.name);
        assert!(
            (900..=1001).contains(&record.cells()),
            "{}: {}",
            meter.name,
            record.cells()
        );
    }
}
