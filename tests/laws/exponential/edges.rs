//! `Exponential` at the ends of its precision and of time, in strict mode, and by half-life.

use crate::support::exponential::{Seeded, float, resolution, threshold, worst_window};
use crate::support::time::{DAY, SECOND, YEAR, earliest_instant, instant, latest_instant, since};
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::{Exponential, Quota};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const EXTREMES: &[(u32, u64)] = &[
    (1, 1),
    (4, 1),
    (1, 1000),
    (4000, 1000),
    (1, SECOND),
    (4_000_000_000, SECOND),
    (u32::MAX, SECOND),
    (u32::MAX, 100 * YEAR),
    (1, 100 * YEAR),
    (1000, 100 * YEAR),
    (7, 200 * YEAR),
];

fn exponential(limit: u32, period: u64) -> (Exponential, Instant) {
    let origin = Instant::now();
    let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
    (meter, origin)
}

fn singles(meter: &Exponential, at: Instant) -> u32 {
    (0..1_000_000).map_while(|_| meter.check_at(at).ok()).map(|()| 1).sum()
}

#[test]
fn whole_batch_conforms_and_then_no_cell() {
    for &(limit, period) in EXTREMES {
        let (meter, now) = exponential(limit, period);
        assert_eq!(meter.check_n_at(limit, now), Ok(()), "{limit} in {period} ns");
        assert!(meter.check_at(now).is_err(), "{limit} in {period} ns");
        assert_eq!(meter.status_at(now).remaining(), 0);
        let rate = meter.rate_at(now) / f64::from(limit) * threshold(limit);
        assert!(
            (rate / f64::from(limit) - 1.0).abs() < 0.07,
            "{rate} of {limit} in {period} ns"
        );
    }
}

/// Less than 16 units a nanosecond leave three to a cell. A cell at a level of x takes 3/x units and is counted as less than one more. So x rises by
/// less than k (1 + x/3) a cell, and by 1 in no fewer than 3 ln(4/3) L = 0.86 L cells.
#[test]
fn beyond_the_precision_rounding_only_loses() {
    let (meter, now) = exponential(4000, 1000);
    let admitted = singles(&meter, now);
    assert!((3440..=4000).contains(&admitted), "{admitted}");
    // Asked until denied at each nanosecond, worth four cells, it passes one in 3 + 1 units at least.
    let later: u32 = (1..=20_000)
        .map(|ns| singles(&meter, now + Duration::from_nanos(ns)))
        .sum();
    assert!((12 * 20_000 / 4 - 10..=4 * 20_000).contains(&later), "{later}");
}

#[test]
fn in_four_milliseconds_four_thousand_cells_are_exact() {
    let (meter, now) = exponential(4000, 4_000_000);
    assert_eq!(singles(&meter, now), 4000);
}

#[test]
fn idle_centuries_earn_no_extra_cells() {
    for &(limit, period) in EXTREMES
        .iter()
        .filter(|(limit, period)| *limit <= 1000 && *period <= SECOND)
    {
        let (meter, now) = exponential(limit, period);
        assert_eq!(singles(&meter, now), limit, "{limit} in {period} ns");
        for idle in [36 * YEAR, 300 * YEAR, 500 * YEAR] {
            let at = now + Duration::from_nanos(idle);
            let admitted = singles(&meter, at);
            // The line ends after 36.5 years. A later instant counts as its end, where the first visit took all cells.
            let expected = if idle > 300 * YEAR { 0 } else { limit };
            assert_eq!(admitted, expected, "{limit} in {period} ns, idle for {idle} ns");
        }
    }
}

#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn extreme_instants_neither_panic_nor_gain() {
    for &(limit, period) in EXTREMES {
        let (meter, origin) = exponential(limit, period);
        let line = since(origin, origin - Duration::from_nanos(DAY))..(1 << 60) - i128::from(DAY);
        let mut chance = Seeded(u64::from(limit) ^ period);
        let mut admitted = Vec::new();
        for turn in 0..2000 {
            let far = i128::from(chance.number() >> chance.below(64));
            let at = match turn % 50 {
                0 => latest_instant(),
                1 => earliest_instant(),
                _ if turn % 2 == 0 => instant(origin, far),
                _ => instant(origin, -far),
            };
            let n = u32::try_from(1 + chance.below(limit.into())).expect("at most the limit");
            if meter.check_n_at(n, at).is_ok() {
                admitted.push((since(origin, at).clamp(line.start, line.end), n));
            }
            for at in [at, origin, latest_instant(), earliest_instant()] {
                let rate = meter.rate_at(at);
                assert!(rate.is_finite() && rate >= 0.0, "{rate} of {limit} in {period} ns");
                let _ = (meter.status_at(at).until_rest(), format!("{meter:?}"));
            }
        }
        let above = worst_window(limit, period, &admitted);
        assert!(
            above <= resolution(limit, period) + 1e-9 * threshold(limit),
            "{limit} in {period} ns: {above} cells above the curve"
        );
    }
}

/// A thousand periods of two thirds of the limit, and the rate equals that after ten periods.
#[test]
fn a_steady_rate_does_not_drift() {
    for (limit, period) in [(100, SECOND), (1000, 60 * SECOND), (10, YEAR / 100)] {
        let (meter, origin) = exponential(limit, period);
        let gap = i128::from(period) * 3 / 2 / i128::from(limit);
        let periods = if period > DAY { 100 } else { 1000 };
        let mut rates = Vec::new();
        for event in 0..periods * i128::from(limit) * 2 / 3 {
            let at = instant(origin, event * gap);
            assert!(meter.check_at(at).is_ok());
            rates.push(meter.rate_at(at));
        }
        let [early, late] = [rates.len() * 2 / 5, rates.len() - 1].map(|event| rates[event]);
        assert!((late / early - 1.0).abs() < 1e-6, "{early} became {late}");
        let exact = f64::from(limit) / threshold(limit) / -(-float(gap) / float(period.into())).exp_m1();
        assert!((late / exact - 1.0).abs() < 1e-6, "{late}, not {exact}");
    }
}

fn strict(limit: u32, period: u64) -> (Exponential, Instant) {
    let (meter, origin) = exponential(limit, period);
    (meter.strict(), origin)
}

#[test]
fn a_strict_meter_denies_every_too_fast_client() {
    let (meter, now) = strict(10, SECOND);
    assert_eq!(singles(&meter, now), 10);
    for turn in 1..1000 {
        assert!(
            meter.check_at(now + turn * Duration::from_millis(99)).is_err(),
            "turn {turn}"
        );
    }
    let (lenient, now) = exponential(10, SECOND);
    let served = (1..1000).filter(|&turn| lenient.check_at(now + turn * Duration::from_millis(99)).is_ok());
    let served = served.count();
    assert!(served > 950, "{served}: it counts what it admits");
}

#[test]
fn a_strict_meter_admits_after_the_reported_pause() {
    let (meter, now) = strict(10, SECOND);
    for n in [1, 4, 10] {
        let refused = (0..50).map(|_| meter.check_n_at(n, now)).filter(Result::is_err);
        assert!(refused.count() >= 40);
        let denied = meter.check_n_at(n, now).expect_err("over the limit");
        let ratelimit_meter::NegativeMultiDecision::BatchNonConforming(_, denied) = denied else {
            panic!("{denied}");
        };
        let told = denied.earliest_possible();
        assert!(meter.peek_n_at(n, told - Duration::from_nanos(1)).is_err());
        assert_eq!(meter.peek_n_at(n, told), Ok(()), "batches of {n}");
        assert_eq!(meter.check_n_at(n, told), Ok(()), "batches of {n}");
    }
}

#[test]
fn a_strict_meter_admits_a_slowed_client() {
    let (meter, now) = strict(10, SECOND);
    for _ in 0..1000 {
        let _ = meter.check_at(now);
    }
    let asked = (1..300).map(|turn| meter.check_at(now + turn * Duration::from_millis(101)).is_ok());
    let asked: Vec<_> = asked.collect();
    assert!(!asked[0] && asked[250..].iter().all(|ok| *ok), "{asked:?}");
}

/// As many as conform of thirteen: the rest is denied, and counts once.
#[test]
fn strict_meter_counts_the_denied_rest() {
    let ((meter, now), (apart, _)) = (strict(10, SECOND), strict(10, SECOND));
    let admitted = meter.check_up_to_at(13, now).cells();
    assert_eq!(admitted, 10);
    assert!(apart.check_n_at(10, now).is_ok() && apart.check_n_at(3, now).is_err());
    let rates = [meter.rate_at(now), apart.rate_at(now)];
    assert!((rates[0] / rates[1] - 1.0).abs() < 1e-6, "{rates:?}");
}

#[test]
fn a_strict_meter_counts_possible_denied_batches() {
    let (meter, now) = strict(10, SECOND);
    assert_eq!(meter.check_n_at(10, now), Ok(()));
    let before = meter.rate_at(now);
    assert!(meter.check_n_at(11, now).is_err());
    assert!((meter.rate_at(now) - before).abs() < 1e-12);
    assert!(meter.check_n_at(5, now).is_err());
    assert!((meter.rate_at(now) / before - 1.5).abs() < 1e-6);
    assert!(meter.take_at(5, now).decision().is_err());
    assert!((meter.rate_at(now) / before - 2.0).abs() < 1e-6);
    assert_eq!(meter.check_up_to_at(5, now).cells(), 0);
    assert!((meter.rate_at(now) / before - 2.5).abs() < 1e-6);
}

#[test]
fn a_half_life_halves_the_rate() {
    for half_life in [
        Duration::from_micros(3),
        Duration::from_secs(10),
        Duration::from_nanos(30 * YEAR),
    ] {
        let meter = Exponential::with_half_life(1000, half_life).expect("a half-life");
        let now = Instant::now();
        assert_eq!(meter.check_n_at(500, now), Ok(()));
        let halved = meter.rate_at(now) / meter.rate_at(now + half_life);
        assert!((halved - 2.0).abs() < 1e-3, "{halved} in {half_life:?}");
    }
    let error = |half_life| Exponential::with_half_life(1, half_life).err();
    assert_eq!(error(Duration::ZERO), Some(InconsistentCapacity::ZeroPeriod));
    for too_long in [
        Duration::from_nanos(140 * YEAR),
        Duration::from_nanos(500 * YEAR),
        Duration::MAX,
    ] {
        assert!(
            matches!(error(too_long), Some(InconsistentCapacity::RestTooLong { .. })),
            "{too_long:?}"
        );
    }
}

/// Weights that make the threshold a whole number of cells to the precision of a float.
#[test]
fn every_batch_within_the_burst_conforms_eventually() {
    for (limit, weight) in [(555_593_334, 385_107_953), (1_359_190_130, 551_104_173), (10, 7)] {
        let number = |n| NonZeroU32::new(n).expect("positive");
        let quota = Quota::per_second(number(limit)).cell_weight(number(weight));
        let (meter, now) = (Exponential::from_quota(quota).expect("a quota"), Instant::now());
        assert_eq!(meter.status_at(now).until_rest(), Duration::ZERO, "{limit} by {weight}");
        let most = meter.status_at(now).remaining();
        assert_eq!(meter.check_n_at(most, now), Ok(()), "{most}: {limit} by {weight}");
    }
}

#[test]
fn the_largest_limit_has_a_status() {
    let (meter, now) = (
        Exponential::new(u32::MAX, Duration::from_secs(1)).expect("a limit"),
        Instant::now(),
    );
    assert_eq!(meter.status_at(now).remaining(), u32::MAX);
}
