//! Quotas and their text.

use proptest::prelude::*;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::{GCRA, LeakyBucket, ParseQuotaError, Quota, nonzero};
use std::num::NonZeroU32;
use std::time::Duration;

#[test]
fn quotas_are_made_in_const_context() {
    const SECOND: Quota = Quota::per_second(nonzero!(7u32));
    const MINUTE: Quota = Quota::per_minute(nonzero!(7u32)).allow_burst(nonzero!(3u32));
    const HOUR: Quota = Quota::per_hour(nonzero!(7u32)).cell_weight(nonzero!(2u32));
    assert_eq!([SECOND, MINUTE, HOUR].map(|q| q.period().as_secs()), [1, 60, 3600]);
    assert_eq!([SECOND, MINUTE, HOUR].map(|q| q.cells().get()), [7; 3]);
    assert_eq!([SECOND, MINUTE, HOUR].map(|q| q.burst().get()), [7, 3, 7]);
    assert_eq!([SECOND, MINUTE, HOUR].map(|q| q.weight().get()), [1, 1, 2]);
}

#[test]
fn meters_are_made_of_quotas() {
    let quota = Quota::per_hour(nonzero!(60u32))
        .allow_burst(nonzero!(7u32))
        .cell_weight(nonzero!(2u32));
    let gcra = GCRA::try_from(quota).unwrap();
    let bucket: LeakyBucket = quota.try_into().unwrap();
    assert_eq!(gcra.check_n(4).is_ok(), bucket.check_n(4).is_ok());
    assert!(gcra.check_n(3).is_ok() && gcra.check().is_err());
    assert!(bucket.check_n(3).is_ok() && bucket.check().is_err());
}

fn every(quota: Quota, interval_ns: u64) -> Quota {
    quota.refill_every(Duration::from_nanos(interval_ns)).unwrap()
}

#[test]
fn a_refill_interval_is_read_and_replaced() {
    let quota = Quota::per_second(nonzero!(3u32));
    assert_eq!(quota.refill_interval(), None);
    let day = Duration::from_secs(86_400);
    let ticking = every(quota, 5).refill_every(200 * 365 * day).unwrap();
    assert_eq!(ticking.refill_interval(), Some(200 * 365 * day));
    assert_ne!(ticking, quota);
    assert_eq!(
        ticking.allow_burst(nonzero!(2u32)).refill_interval(),
        ticking.refill_interval()
    );
}

#[test]
fn quotas_have_one_canonical_text() {
    let table = [
        (Quota::per_second(nonzero!(50u32)), "50/s"),
        (
            Quota::per_minute(nonzero!(100u32)).allow_burst(nonzero!(20u32)),
            "100/min burst 20",
        ),
        (
            Quota::per_minute(nonzero!(400_000u32)).cell_weight(nonzero!(2u32)),
            "400000/min weight 2",
        ),
        (Quota::new(nonzero!(1u32), Duration::from_secs(6)).unwrap(), "1/6s"),
        (Quota::per_hour(nonzero!(10u32)), "10/h"),
        (Quota::new(nonzero!(3u32), Duration::from_nanos(1)).unwrap(), "3/ns"),
        (
            Quota::new(nonzero!(3u32), Duration::from_nanos(1500)).unwrap(),
            "3/1500ns",
        ),
        (Quota::new(nonzero!(3u32), Duration::from_micros(20)).unwrap(), "3/20us"),
        (
            Quota::new(nonzero!(3u32), Duration::from_millis(1500)).unwrap(),
            "3/1500ms",
        ),
        (
            Quota::new(nonzero!(5u32), Duration::from_secs(172_800)).unwrap(),
            "5/2d",
        ),
        (
            Quota::per_second(nonzero!(9u32))
                .allow_burst(nonzero!(8u32))
                .cell_weight(nonzero!(4u32)),
            "9/s burst 8 weight 4",
        ),
        (every(Quota::per_second(nonzero!(3u32)), 1_000_000_000), "3/s every 1s"),
        (
            every(
                Quota::per_minute(nonzero!(9u32))
                    .allow_burst(nonzero!(8u32))
                    .cell_weight(nonzero!(4u32)),
                90_000_000_000,
            ),
            "9/min burst 8 weight 4 every 90s",
        ),
        (every(Quota::per_hour(nonzero!(1u32)), 1), "1/h every 1ns"),
    ];
    for (quota, text) in table {
        assert_eq!(quota.to_string(), text);
        assert_eq!(text.parse(), Ok(quota));
    }
}

#[test]
fn uncanonical_text_means_the_same_quota() {
    for text in [
        "60/60s",
        "  60/1min ",
        "60/min weight 1 burst 60",
        "60/60000ms\tburst  60",
        "060/min",
    ] {
        assert_eq!(text.parse(), Ok(Quota::per_minute(nonzero!(60u32))), "{text:?}");
    }
    for text in [
        "60/min every s",
        "60/min every 1000ms burst 60",
        " 60/60s  every 01s weight 1",
    ] {
        let ticking = every(Quota::per_minute(nonzero!(60u32)), 1_000_000_000);
        assert_eq!(text.parse(), Ok(ticking), "{text:?}");
    }
}

#[test]
fn quotas_are_read_as_people_write_them() {
    for (text, canonical) in [
        ("30/second", "30/s"),
        ("30 / s", "30/s"),
        ("30/ s burst 5", "30/s burst 5"),
        ("10/m", "10/min"),
        ("10/Minutes", "10/min"),
        ("1.5/s", "3/2s"),
        ("0.5/s", "1/2s"),
        ("2.50/min", "5/2min"),
        ("1k/s", "1000/s"),
        ("1.5k/s burst 2k", "1500/s burst 2000"),
        ("2M/hour", "2000000/h"),
        ("4G/s", "4000000000/s"),
        ("1_000/s", "1000/s"),
        ("100/5 min", "100/5min"),
        ("100/1.5s", "100/1500ms"),
        ("3/s burst 10 every 0.5 s", "3/s burst 10 every 500ms"),
        ("5/6µs", "5/6us"),
        ("1/day", "1/d"),
        ("500/week", "500/7d"),
        ("1 PER 2 Weeks burst 3", "1/14d burst 3"),
        ("10 per second", "10/s"),
        ("1k per 2 hours burst 5", "1000/2h burst 5"),
        ("10/S BURST 20 Weight 2 EVERY 1S", "10/s burst 20 weight 2 every 1s"),
    ] {
        let quota: Quota = text.parse().expect(text);
        assert_eq!(quota.to_string(), canonical, "{text}");
    }
}

#[test]
fn no_window_of_at_most_exceeds_its_number() {
    for n in [2, 3, 5, 10, 99] {
        let quota = Quota::at_most(NonZeroU32::new(n).unwrap(), Duration::from_secs(1)).unwrap();
        assert_eq!(quota.burst().get() + quota.cells().get(), n);
        let meter = ratelimit_meter::GCRA::from_quota(quota).unwrap();
        let start = std::time::Instant::now();
        let admitted: Vec<u32> = (0..3000)
            .filter(|ms| meter.check_at(start + Duration::from_millis((*ms).into())).is_ok())
            .collect();
        for (index, first) in admitted.iter().enumerate() {
            let window = admitted[index..].iter().take_while(|ms| **ms <= first + 1000).count();
            assert!(window <= n as usize, "{window} of {n}");
        }
    }
    let one = Quota::at_most(nonzero!(1u32), Duration::from_secs(1));
    assert_eq!(one, Err(InconsistentCapacity::AtMostOne));
}

#[test]
fn errors_point_at_the_bad_part() {
    let table = [
        ("", "", "expected cells per period, like `100/min` (at byte 0)"),
        ("100", "100", "expected cells per period, like `100/min` (bytes 0 to 3)"),
        ("/s", "", "expected a number, like `100` (at byte 0)"),
        ("ten per s", "ten", "expected a number, like `100` (bytes 0 to 3)"),
        (
            "5 perhaps",
            "5",
            "expected cells per period, like `100/min` (bytes 0 to 1)",
        ),
        ("ten/s", "ten", "expected a number, like `100` (bytes 0 to 3)"),
        ("+1/s", "+1", "expected a number, like `100` (bytes 0 to 2)"),
        ("-1/s", "-1", "expected a number, like `100` (bytes 0 to 2)"),
        ("1.5.2/s", "1.5.2", "expected a number, like `100` (bytes 0 to 5)"),
        ("_1/s", "_1", "expected a number, like `100` (bytes 0 to 2)"),
        ("1_/s", "1_", "expected a number, like `100` (bytes 0 to 2)"),
        (".5/s", ".5", "expected a number, like `100` (bytes 0 to 2)"),
        ("5./s", "5.", "expected a number, like `100` (bytes 0 to 2)"),
        ("1..5k/s", "1..5k", "expected a number, like `100` (bytes 0 to 5)"),
        (
            "0/s",
            "0",
            "expected a number from 1 to 4294967295, like `100` (bytes 0 to 1)",
        ),
        (
            "4294967296/s",
            "4294967296",
            "expected a number from 1 to 4294967295, like `100` (bytes 0 to 10)",
        ),
        (
            "5/",
            "",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (at byte 2)",
        ),
        (
            "5/6",
            "",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (at byte 3)",
        ),
        (
            "5/moment",
            "moment",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (bytes 2 to 8)",
        ),
        (
            "5/6µm",
            "µm",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (bytes 3 to 6)",
        ),
        (
            "5/0s",
            "0s",
            "a period of zero leaves the rate unlimited (bytes 2 to 4)",
        ),
        (
            "5/99999999999999999999s",
            "99999999999999999999s",
            "expected a period of at most 200 years, like `100/365d` (bytes 2 to 23)",
        ),
        (
            "5/9999999999999d",
            "9999999999999d",
            "expected a period of at most 200 years, like `100/365d` (bytes 2 to 16)",
        ),
        (
            "1/80000d",
            "80000d",
            "a full burst takes 220 years to drain, more than 200 (bytes 2 to 8)",
        ),
        (
            "1/d burst 80000",
            "80000",
            "a full burst takes 220 years to drain, more than 200 (bytes 10 to 15)",
        ),
        (
            "9/ns",
            "9/ns",
            "9 cells per 1ns is above 4294967296 cells a second (bytes 0 to 4)",
        ),
        (
            "10/s & 1000/h",
            "&",
            "expected one quota, like `100/min`; two quotas are read as a `DualQuota` of a dual limit (bytes 5 to 6)",
        ),
        (
            "5/s brust 3",
            "brust",
            "expected `burst`, `weight` or `every` and a value, like `100/min burst 20` (bytes 4 to 9)",
        ),
        (
            "5/min s",
            "s",
            "expected `burst`, `weight` or `every` and a value, like `100/min burst 20` (bytes 6 to 7)",
        ),
        ("5/s burst", "", "expected a number, like `100` (at byte 9)"),
        (
            "5/s burst many",
            "many",
            "expected a number, like `100` (bytes 10 to 14)",
        ),
        (
            "5/s burst 0",
            "0",
            "expected a number from 1 to 4294967295, like `100` (bytes 10 to 11)",
        ),
        (
            "5/s burst 3 burst 4",
            "burst",
            "given twice, expected once, like `100/min burst 20` (bytes 12 to 17)",
        ),
        (
            "5/s every 3s every 4s",
            "every",
            "given twice, expected once, like `100/min burst 20` (bytes 13 to 18)",
        ),
        (
            "5/s every",
            "",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (at byte 9)",
        ),
        (
            "5/s every 2",
            "",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (at byte 11)",
        ),
        (
            "5/s every 2fortnights",
            "fortnights",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (bytes 11 to 21)",
        ),
        (
            "5/s every 2 fortnights",
            "",
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (at byte 11)",
        ),
        (
            "5/1.0000000005s",
            "1.0000000005s",
            "expected a whole number of nanoseconds, like `1500ms` (bytes 2 to 15)",
        ),
        (
            "5/9999999999999999999999999999999999999999s",
            "9999999999999999999999999999999999999999s",
            "expected a period of at most 200 years, like `100/365d` (bytes 2 to 43)",
        ),
        (
            "5/s every 0s",
            "0s",
            "a refill interval of zero has no ticks (bytes 10 to 12)",
        ),
        (
            "5/s every 80000d burst 2",
            "80000d",
            "a refill interval of 6912000000s is longer than 200 years (bytes 10 to 16)",
        ),
        (
            "5/s every 9999999999999d",
            "9999999999999d",
            "expected a period of at most 200 years, like `100/365d` (bytes 10 to 24)",
        ),
        (
            "5/s weight 6",
            "6",
            "a cell of weight 6 never fits a burst of 5 (bytes 11 to 12)",
        ),
        (
            "5/s burst 3 weight 4",
            "4",
            "a cell of weight 4 never fits a burst of 3 (bytes 19 to 20)",
        ),
    ];
    for (text, part, message) in table {
        let error = text.parse::<Quota>().unwrap_err();
        assert_eq!(
            (&text[error.span()], error.to_string().as_str()),
            (part, message),
            "{text:?}"
        );
    }
}

fn quota() -> impl Strategy<Value = Quota> {
    let count = || (0..32_u32, 1..=u32::MAX).prop_map(|(shift, n)| NonZeroU32::new((n >> shift).max(1)).unwrap());
    let unit = prop::sample::select(vec![
        1,
        1_000,
        1_000_000,
        1_000_000_000,
        60_000_000_000,
        86_400_000_000_000_u64,
    ]);
    let interval =
        prop::option::of((0..62_u32, 1..6_311_520_000_000_000_000_u64).prop_map(|(shift, ns)| (ns >> shift).max(1)));
    let numbers = (count(), unit, 1..10_000_u64, count(), count(), interval);
    numbers.prop_filter_map("law 9", |(cells, unit, n, burst, weight, interval)| {
        let quota = Quota::new(cells, Duration::from_nanos(unit * n)).ok()?;
        let quota = quota.allow_burst(burst).cell_weight(weight);
        let quota = interval.map_or(quota, |ns| every(quota, ns));
        GCRA::from_quota(quota).is_ok().then_some(quota)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn displayed_quotas_parse_again(quota in quota()) {
        prop_assert_eq!(quota.to_string().parse(), Ok(quota));
    }

    #[test]
    fn no_text_panics_and_spans_are_on_characters(text in "\\PC{0,24}|[0-9/ a-z]{0,24}|[0-9]/s every [0-9]{0,20}\\PC{0,3}") {
        let parsed: Result<Quota, ParseQuotaError> = text.parse();
        if let Err(error) = parsed {
            prop_assert!(text.get(error.span()).is_some());
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn serde_uses_the_text() {
    let quota: Quota = serde_json::from_str(r#""100/min burst 20""#).unwrap();
    assert_eq!(quota, Quota::per_minute(nonzero!(100u32)).allow_burst(nonzero!(20u32)));
    assert_eq!(serde_json::to_string(&quota).unwrap(), r#""100/min burst 20""#);
    let ticking: Quota = serde_json::from_str(r#""3/s burst 10 every 1s""#).unwrap();
    assert_eq!(ticking.refill_interval(), Some(Duration::from_secs(1)));
    assert_eq!(serde_json::to_string(&ticking).unwrap(), r#""3/s burst 10 every 1s""#);
    let error = serde_json::from_str::<Quota>(r#""100/fortnight""#)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("expected a unit of time"), "{error}");
}
