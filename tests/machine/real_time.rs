//! The default clock against the system's, in real time. The only tests that read the wall clock: they assert bounds, and do not count interrupted
//! readings.

use ratelimit_meter::clock::{Clock, DefaultClock, SystemClock, source};
use ratelimit_meter::{GCRA, LeakyBucket, Quota, nonzero};
use std::thread;
use std::time::{Duration, Instant};

/// The largest lag of the default clock behind `Instant::now()`.
const BOUND: Duration = Duration::from_micros(5);

/// Reads the clock between two readings of the system clock until so much time has passed; returns the number of counted pairs.
fn watch(span: Duration) -> u64 {
    let clock = DefaultClock;
    let start = Instant::now();
    let (mut counted, mut latest) = (0, clock.now());
    loop {
        let before = Instant::now();
        let reading = clock.now();
        let after = Instant::now();
        assert!(reading >= latest, "back by {:?}", latest - reading);
        latest = reading;
        if after - before <= Duration::from_micros(1) {
            assert!(reading <= after, "ahead by {:?}", reading - after);
            assert!(before - BOUND <= reading, "behind by {:?}", before - reading);
            counted += 1;
        }
        if after - start >= span {
            return counted;
        }
    }
}

#[test]
fn real_time_reading_lies_between_two_system_readings() {
    let _alone = crate::alone();
    let before = source();
    let threads = [(); 2].map(|()| thread::spawn(|| watch(Duration::from_millis(300))));
    for thread in threads {
        assert!(thread.join().unwrap() > 0, "no reading was left alone");
    }
    assert_eq!(source(), before, "the counter was given up");
}

#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn real_time_counter_is_read_where_trusted() {
    use ratelimit_meter::clock::ClockSource;

    let kernel = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let expected = match kernel.unwrap_or_default().trim() {
        "tsc" if cfg!(target_arch = "x86_64") => ClockSource::Counter,
        "arch_sys_counter" if cfg!(target_arch = "aarch64") => ClockSource::Counter,
        _ => ClockSource::System,
    };
    assert_eq!(source(), expected);
}

#[test]
fn real_time_waiting_to_the_instant_is_enough() {
    let _alone = crate::alone();
    let quota = Quota::per_second(nonzero!(20_000u32)).allow_burst(nonzero!(1u32));
    let (gcra, bucket) = (
        GCRA::from_quota(quota).unwrap(),
        LeakyBucket::from_quota(quota).unwrap(),
    );
    for check in [&|| gcra.check(), &|| bucket.check()] as [&dyn Fn() -> _; 2] {
        for _ in 0..500 {
            if let Err(denial) = check() {
                while Instant::now() < denial.earliest_possible() {}
                // This holds for any reading of the clock behind `check`.
                assert_eq!(check(), Ok(()));
            }
        }
    }
}

#[test]
fn real_time_system_clock_meter_reads_that_clock() {
    let before = Instant::now();
    let reading = SystemClock.now();
    assert!(before <= reading && reading <= Instant::now());
    let hourly = GCRA::from_quota(Quota::per_hour(nonzero!(1u32))).unwrap();
    let meter: GCRA<SystemClock> = hourly.with_clock(SystemClock);
    assert!(meter.check().is_ok());
    assert!(meter.check().is_err());
}
