//! `Exponential` against the form that was published for it, which keeps two numbers (Finch, Exim).

use crate::support::exponential::{ExactAverage, Finch, Seeded, float, threshold};
use crate::support::time::{DAY, SECOND, instant};
use ratelimit_meter::Exponential;
use ratelimit_meter::clock::{Clock, ManualClock};
use std::time::{Duration, Instant};

const MINUTE: u64 = 60 * SECOND;

fn close(a: f64, b: f64, by: f64) -> bool {
    (a - b).abs() <= by
}

fn exponential(limit: u32, period: u64) -> (Exponential, Instant) {
    let origin = Instant::now();
    let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
    (meter, origin)
}

/// The times of events, over this number of nanoseconds.
fn until(end: i128, mut gap: impl FnMut() -> i128) -> Vec<i128> {
    let mut at = 0;
    std::iter::from_fn(|| {
        at += gap();
        (at < end).then_some(at)
    })
    .collect()
}

/// Steady, Poisson and bursty streams at a multiple of the limit, over a number of periods.
fn streams(limit: u32, period: u64, overload: f64, periods: i128) -> [(&'static str, Vec<i128>); 3] {
    let interval = float(period.into()) / f64::from(limit) / overload;
    let end = periods * i128::from(period);
    let (mut poisson, mut bursts) = (Seeded(7), Seeded(11));
    #[expect(clippy::cast_possible_truncation, reason = "some nanoseconds")]
    let steady = until(end, || interval as i128);
    let random = until(end, || poisson.gap(interval));
    let mut left = 0;
    let bursty = until(end, || {
        if left > 0 {
            left -= 1;
            return 1000;
        }
        left = bursts.below(2 * u64::from(limit));
        bursts.gap(interval * f64::from(limit))
    });
    [("steady", steady), ("Poisson", random), ("bursty", bursty)]
}

#[test]
fn the_published_form_reads_as_published() {
    let rates = [
        1.0,
        1.975_184_224_5,
        2.934_250_071_6,
        3.877_463_954_5,
        4.805_087_883_1,
        5.717_379_536_9,
        6.614_592_335_9,
        7.496_975_511_7,
        8.364_774_176_5,
        9.218_229_390_9,
        10.057_578_231_5,
    ];
    let mut finch = Finch::new(10, MINUTE);
    for (event, rate) in (0..).zip(rates) {
        let read = finch.count(1.0, event * i128::from(SECOND));
        assert!(close(read, rate, 1e-9), "event {event}: {read} instead of {rate}");
    }
}

#[test]
fn an_event_every_interval_is_never_over() {
    let mut finch = Finch::new(10, MINUTE);
    let (meter, origin) = exponential(10, MINUTE);
    let mut before = 0.0;
    for event in 0..2000 {
        let at = event * 6 * i128::from(SECOND);
        let rate = finch.count(1.0, at);
        assert!(before <= rate && rate <= 10.0 + 1e-12, "{rate}");
        before = rate;
        assert!(meter.check_at(instant(origin, at)).is_ok(), "event {event}");
    }
    assert!(close(before, 10.0, 1e-9));
    assert!(close(
        meter.rate_at(instant(origin, 1999 * 6 * i128::from(SECOND))),
        10.0,
        1e-6
    ));
}

#[test]
fn the_published_wait_at_the_limit_is_short() {
    let (meter, origin) = exponential(3, MINUTE);
    let mut at = 0;
    for _ in 0..200 {
        match meter.check_at(instant(origin, at)) {
            Ok(()) => {}
            Err(denied) => at = crate::support::time::since(origin, denied.earliest_possible()),
        }
    }
    let _ = meter.check_at(instant(origin, at));
    let denied = meter.check_at(instant(origin, at)).expect_err("saturated");
    let wait = denied.wait_time_from(instant(origin, at));
    assert!(
        wait.abs_diff(Duration::from_secs(20)) <= Duration::from_nanos(1),
        "{wait:?}"
    );
    let published = Duration::from_secs_f64(60.0 * (4.0_f64 / 3.0).ln());
    assert!(
        meter.check_at(instant(origin, at) + published).is_err(),
        "{published:?}"
    );
}

#[test]
fn totals_are_the_published_forms_within_a_hundredth() {
    for (limit, periods) in [(10, 1000), (100, 400)] {
        for overload in [0.5, 0.9, 1.1, 2.0, 5.0] {
            for (stream, events) in streams(limit, MINUTE, overload, periods) {
                let (meter, origin) = exponential(limit, MINUTE);
                let mut finch = Finch::new(limit, MINUTE);
                let mut totals = [0_u32; 2];
                for &at in &events {
                    totals[0] += u32::from(meter.check_at(instant(origin, at)).is_ok());
                    totals[1] += u32::from(finch.check(at));
                }
                let [meter, finch] = totals.map(f64::from);
                assert!(
                    close(meter, finch, 0.01 * finch),
                    "{stream} at {overload} of {limit}: {meter}, published {finch}, of {}",
                    events.len()
                );
            }
        }
    }
}

/// The claims of the migration notes, for clients that ask up to the limit.
#[test]
fn decisions_up_to_the_limit_mostly_match_publication() {
    for limit in [5, 10, 100] {
        for load in [0.5, 0.9, 1.0] {
            for (stream, events) in streams(limit, MINUTE, load, 100) {
                let (meter, origin) = exponential(limit, MINUTE);
                let mut finch = Finch::new(limit, MINUTE);
                let (mut totals, mut alike) = ([0_i32; 2], 0);
                for &at in &events {
                    let decisions = [meter.check_at(instant(origin, at)).is_ok(), finch.check(at)];
                    alike += u32::from(decisions[0] == decisions[1]);
                    totals[0] += i32::from(decisions[0]);
                    totals[1] += i32::from(decisions[1]);
                }
                let (asked, apart) = (u32::try_from(events.len()).unwrap(), totals[0].abs_diff(totals[1]));
                let case = format!("{stream} at {load} of {limit}: {totals:?}, {alike} of {asked} alike");
                assert!(100 * alike >= 97 * asked, "{case}");
                let most = if stream == "bursty" {
                    1 + totals[1].unsigned_abs() / 100
                } else {
                    1
                };
                assert!(apart <= most, "{case}");
            }
        }
    }
}

#[test]
fn level_exceeds_published_rate_by_under_one_cell() {
    for limit in [1, 3, 10, 100] {
        for (stream, events) in streams(limit, MINUTE, 1.5, 200) {
            let (meter, origin) = exponential(limit, MINUTE);
            let (mut finch, mut sum) = (Finch::new(limit, MINUTE), ExactAverage::new(limit, MINUTE));
            for &at in &events {
                if meter.check_at(instant(origin, at)).is_err() {
                    continue;
                }
                let published = finch.count(1.0, at);
                sum.count(1.0, at);
                let level = meter.rate_at(instant(origin, at)) / f64::from(limit) * threshold(limit);
                let above = level - published;
                assert!(
                    (-1e-6..1.0).contains(&above),
                    "{stream} of {limit} at {at}: {level} and {published}"
                );
                assert!(close(level, sum.level(at), 1e-6), "{level} is not the sum of its cells");
            }
        }
    }
}

/// Checks that rounding does not accumulate: the level comes so close to the limit that an error of one unit would show.
#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn a_client_at_the_limit_is_never_denied() {
    for (limit, interval) in [
        (1, SECOND),
        (2, 1000),
        (3, 7),
        (7, 123_456_789),
        (10, 6 * SECOND),
        (100, 100),
        (1000, SECOND),
        (100, 3600 * SECOND),
    ] {
        let clock = ManualClock::new();
        let (meter, _) = exponential(limit, u64::from(limit) * interval);
        let meter = meter.with_clock(clock.clone());
        // Where the time line begins no volume has been rounded yet.
        let origin = clock.now() - Duration::from_nanos(DAY);
        for event in 0..20_000 {
            let at = instant(origin, event * i128::from(interval));
            assert!(meter.check_at(at).is_ok(), "{limit} every {interval} ns: event {event}");
        }
    }
}
