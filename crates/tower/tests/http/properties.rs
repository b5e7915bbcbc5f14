//! P1 to P7 of docs/fields.md, for random quotas.

use crate::support::{answer, field, number, request};
use http::StatusCode;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, Quota};
use ratelimit_meter_tower::{Fields, RateLimitLayer, Shared};
use sfv::{BareItem, Item, List, ListEntry, Parser};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 31_557_600 * SECOND;

/// Cases of each property: `TOWER_CASES` for more.
fn cases() -> ProptestConfig {
    let cases = std::env::var("TOWER_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(250);
    ProptestConfig::with_cases(cases)
}

/// A number up to `most`, each magnitude as likely as the next.
fn spread(most: u64) -> impl Strategy<Value = u64> {
    (0..=most.ilog2(), any::<u64>()).prop_map(move |(magnitude, n)| (n % (2 << magnitude).min(most)).max(1))
}

/// The time from a full burst to idle. Meters are exact for 20 years.
fn rest_ns(quota: Quota) -> u128 {
    u128::from(quota.burst().get()) * quota.period().as_nanos() / u128::from(quota.cells().get())
}

/// A quota of any shape; those that make no meter are left out.
fn quotas() -> impl Strategy<Value = Quota> {
    let numbers = (spread(u32::MAX.into()), spread(100 * YEAR), spread(1 << 20), spread(4));
    numbers.prop_filter_map("a meter", |(cells, period, burst, weight)| {
        let [cells, burst, weight] = [cells, burst, weight].map(|n| u32::try_from(n).unwrap().try_into().unwrap());
        let quota = Quota::new(cells, Duration::from_nanos(period)).ok()?;
        let quota = quota.allow_burst(burst).cell_weight(weight);
        (GCRA::from_quota(quota).is_ok() && rest_ns(quota) < u128::from(15 * YEAR)).then_some(quota)
    })
}

/// A quota whose T is a whole number of nanoseconds, which meters decide exactly.
fn whole_quotas() -> impl Strategy<Value = Quota> {
    (spread(YEAR), spread(10_000), spread(10_000), 1..4_u32).prop_filter_map("a meter", |(t, cells, burst, weight)| {
        let [cells, burst] = [cells, burst].map(|n| u32::try_from(n).unwrap());
        let quota = Quota::new(
            cells.try_into().unwrap(),
            Duration::from_nanos(t.checked_mul(cells.into())?),
        )
        .ok()?;
        let quota = quota
            .allow_burst(burst.try_into().unwrap())
            .cell_weight(weight.try_into().unwrap());
        (GCRA::from_quota(quota).is_ok() && rest_ns(quota) < u128::from(15 * YEAR)).then_some(quota)
    })
}

/// Steps: how long after the last, as a part of T in 1/256, and a cost.
fn steps() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::vec((any::<u16>(), 0..5_u16), 1..40)
}

/// An exact bucket: levels are units times the period in nanoseconds, so that they are whole numbers.
#[derive(Clone, Copy)]
struct ExactBucket {
    quota: Quota,
    level: u128,
    at: Duration,
}

impl ExactBucket {
    fn at(mut self, at: Duration) -> Self {
        let drained = (at - self.at).as_nanos() * u128::from(self.quota.cells().get());
        self.level = self.level.saturating_sub(drained);
        self.at = at;
        self
    }

    fn with(mut self, requests: u64) -> Option<Self> {
        let period = self.quota.period().as_nanos();
        self.level += u128::from(requests) * u128::from(self.quota.weight().get()) * period;
        (self.level <= u128::from(self.quota.burst().get()) * period).then_some(self)
    }
}

/// The announcements of a response.
#[derive(Debug, Clone, Copy)]
struct AnnouncedValues {
    q: u64,
    w: u64,
    r: u64,
    t: Option<u64>,
    retry_after: Option<u64>,
    status: StatusCode,
}

fn parameter(item: &Item, name: &str) -> Option<u64> {
    let value = item.params.get(name)?;
    let Some(integer) = value.as_integer() else {
        panic!("{value:?} is no integer")
    };
    Some(i64::from(integer).try_into().unwrap())
}

fn only_item(list: &str) -> Item {
    let list: List = Parser::new(list)
        .parse()
        .unwrap_or_else(|error| panic!("{list}: {error}"));
    let [ListEntry::Item(item)] = &list[..] else {
        panic!("one item")
    };
    assert!(matches!(item.bare_item, BareItem::String(_)));
    item.clone()
}

fn ask<A: Algorithm + 'static>(meter: &Meter<A, ManualClock>, cost: u64) -> AnnouncedValues {
    let layer = RateLimitLayer::new(Shared::of(meter.clone()).unwrap().cost(move |_| cost));
    let response = answer(&layer, request());
    let headers = response.headers();
    let policy = only_item(&field(headers, "ratelimit-policy"));
    let limit = only_item(&field(headers, "ratelimit"));
    AnnouncedValues {
        q: parameter(&policy, "q").unwrap(),
        w: parameter(&policy, "w").unwrap(),
        r: parameter(&limit, "r").unwrap(),
        t: parameter(&limit, "t"),
        retry_after: number(headers, "retry-after"),
        status: response.status(),
    }
}

/// Returns whether `requests` in `seconds` are at most the rate.
fn within_rate(requests: u64, seconds: u64, quota: Quota) -> bool {
    let units = u128::from(requests) * u128::from(quota.weight().get());
    units * quota.period().as_nanos() <= u128::from(seconds) * u128::from(SECOND) * u128::from(quota.cells().get())
}

fn advanced(clock: &ManualClock, quota: Quota, part: u16) {
    let t = quota.period().as_nanos() * u128::from(quota.weight().get()) / u128::from(quota.cells().get());
    let ns = (t * u128::from(part) / (1 << 12)).min(u128::from(YEAR / 40));
    let ns = u64::try_from(ns).unwrap();
    clock.advance(Duration::from_nanos(ns)).unwrap();
}

/// P1 to P6 with the meter itself as the judge, and P7 if it is not of an average.
fn judged_by_meter<A: Algorithm + 'static>(
    meter: &Meter<A, ManualClock>,
    clock: &ManualClock,
    quota: Quota,
    steps: &[(u16, u16)],
    gives_back_evenly: bool,
) -> Result<(), TestCaseError> {
    for &(part, cost) in steps {
        advanced(clock, quota, part);
        let now = clock.now();
        let cost = u64::from(cost);
        let told = ask(meter, cost);
        let after = |seconds: u64| now.checked_add(Duration::from_secs(seconds)).unwrap();
        let n = u32::try_from(cost).unwrap();
        prop_assert!(within_rate(told.q, told.w, quota), "P1: {told:?}");
        if told.status == StatusCode::OK {
            prop_assert!(within_rate(told.r, told.t.unwrap(), quota), "P2: {told:?}");
        }
        if let Some(seconds) = told.retry_after {
            prop_assert!(seconds >= 1 && told.status == StatusCode::TOO_MANY_REQUESTS);
            prop_assert!(meter.peek_n_at(n, after(seconds)).is_ok(), "P3: {told:?}");
            prop_assert!(
                seconds == 1 || meter.peek_n_at(n, after(seconds - 1)).is_err(),
                "P4: {told:?}"
            );
        } else if told.status == StatusCode::TOO_MANY_REQUESTS {
            prop_assert!(
                told.t.is_none() && meter.peek_n_at(n, after(1_000_000)).is_err(),
                "never: {told:?}"
            );
        }
        let Some(t) = told.t else { continue };
        if told.r == 0 && cost <= 1 {
            prop_assert!(meter.peek_at(after(t)).is_ok(), "P5: {told:?}");
        }
        let r = u32::try_from(told.r).unwrap();
        for later in [0, t / 2, t] {
            prop_assert!(meter.peek_n_at(r, after(later)).is_ok(), "P6: {told:?}");
        }
        if gives_back_evenly {
            let then = meter.status_at(after(t));
            prop_assert!(then.remaining() > r || then.until_rest().is_zero(), "P7: {told:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn numbers_hold_against_an_exact_bucket(quota in whole_quotas(), steps in steps(), mut splits in prop::collection::vec(0..=256_u64, 4)) {
        let start = Instant::now();
        let clock = ManualClock::starting_at(start);
        let meter = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        let mut bucket = ExactBucket { quota, level: 0, at: Duration::ZERO };
        splits.sort_unstable();
        for (part, cost) in steps {
            advanced(&clock, quota, part);
            let (now, cost) = (clock.now() - start, u64::from(cost));
            bucket = bucket.at(now);
            let told = ask(&meter, cost);
            prop_assert!(within_rate(told.q, told.w, quota), "P1: {told:?}");
            match bucket.with(cost) {
                Some(charged) => {
                    prop_assert_eq!(told.status, StatusCode::OK);
                    prop_assert!(within_rate(told.r, told.t.unwrap(), quota), "P2: {told:?}");
                    bucket = charged;
                }
                None => prop_assert_eq!(told.status, StatusCode::TOO_MANY_REQUESTS),
            }
            prop_assert!(bucket.with(told.r).is_some() && bucket.with(told.r + 1).is_none(), "r: {told:?}");
            let after = |seconds: u64| bucket.at(now + Duration::from_secs(seconds));
            if let Some(seconds) = told.retry_after {
                prop_assert!(after(seconds).with(cost).is_some(), "P3: {told:?}");
                prop_assert!(seconds == 1 || after(seconds - 1).with(cost).is_none(), "P4: {told:?}");
            }
            let Some(t) = told.t else { continue };
            prop_assert!(told.r > 0 || cost > 1 || after(t).with(1).is_some(), "P5: {told:?}");
            let mut pieces = bucket;
            for (index, split) in splits.iter().enumerate() {
                let requests = told.r / 4 + u64::from((index as u64) < told.r % 4);
                pieces = pieces.at(now + Duration::from_nanos(t * SECOND / 256 * split));
                let taken = pieces.with(requests);
                prop_assert!(taken.is_some(), "P6: {told:?}");
                pieces = taken.unwrap();
            }
            prop_assert!(after(t).with(told.r + 1).is_some() || after(t).level == 0, "P7: {told:?}");
        }
    }

    #[test]
    fn numbers_hold_for_quotas_of_every_shape(quota in quotas(), ticks in prop::option::of(spread(YEAR / 12)), steps in steps()) {
        let ticking = ticks.and_then(|ns| quota.refill_every(Duration::from_nanos(ns)).ok());
        let quota = ticking.filter(|quota| GCRA::from_quota(*quota).is_ok()).unwrap_or(quota);
        let clock = ManualClock::new();
        let gcra = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        judged_by_meter(&gcra, &clock, quota, &steps, true)?;
        let bucket = LeakyBucket::from_quota(quota).unwrap().with_clock(clock.clone());
        judged_by_meter(&bucket, &clock, quota, &steps, true)?;
    }

    #[test]
    fn numbers_of_averages_hold_except_p7(limit in spread(1 << 20), period in spread(YEAR), steps in steps()) {
        let limit = u32::try_from(limit).unwrap();
        let average = Exponential::new(limit, Duration::from_nanos(period));
        prop_assume!(average.is_ok());
        let clock = ManualClock::new();
        let average = average.unwrap().with_clock(clock.clone());
        let quota = average.status().quota().unwrap();
        judged_by_meter(&average, &clock, quota, &steps, false)?;
    }

    /// If `q` cells drain in `w` exactly once, a client that keeps to `q` in every sliding window of `w` seconds is never denied.
    #[test]
    fn clients_that_follow_the_policy_conform(cells in 1..50_u32, seconds in 1..100_u64, gaps in prop::collection::vec(0..40_u64, 1..200)) {
        let quota = Quota::new(cells.try_into().unwrap(), Duration::from_secs(seconds)).unwrap();
        let clock = ManualClock::new();
        let meter = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        let mut sent = std::collections::VecDeque::new();
        for gap in gaps {
            clock.advance(Duration::from_millis(gap * seconds * 10)).unwrap();
            let now = clock.now();
            while sent.front().is_some_and(|at| now - *at >= Duration::from_secs(seconds)) {
                sent.pop_front();
            }
            if sent.len() < cells as usize {
                let told = ask(&meter, 1);
                prop_assert_eq!((told.q, told.w), (cells.into(), seconds));
                prop_assert_eq!(told.status, StatusCode::OK);
                sent.push_back(now);
            }
        }
    }
}

#[test]
fn older_fields_show_the_limit_nearest_exhaustion() {
    let clock = ManualClock::new();
    let of = |quota: &str| Shared::of(crate::support::meter(quota, &clock)).unwrap();
    let layer = RateLimitLayer::new((of("10/min"), of("3/h"))).fields(Fields::Triple);
    let response = answer(&layer, request());
    let told =
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| number(response.headers(), name));
    assert_eq!(told, [Some(3), Some(2), Some(1200)]);
    assert_eq!(field(response.headers(), "ratelimit"), "");
}

#[test]
fn epochs_are_seconds_since_1970() {
    use ratelimit_meter_tower::Reset;
    use std::time::SystemTime;

    let limit = Shared::new("10/min".parse().unwrap()).unwrap();
    let layer = RateLimitLayer::new(limit).fields(Fields::X(Reset::Epoch));
    let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = unix(SystemTime::now());
    let reset = number(answer(&layer, request()).headers(), "x-ratelimit-reset").unwrap();
    // Idle in six seconds, less the time between.
    assert!((before + 5..=unix(SystemTime::now()) + 7).contains(&reset));
}

#[test]
fn names_are_strings_of_structured_fields() {
    let limit = Shared::new("10/min".parse().unwrap())
        .unwrap()
        .named("a \"b\" \\ größe");
    let response = answer(&RateLimitLayer::new(limit), request());
    let item = only_item(&field(response.headers(), "ratelimit-policy"));
    assert_eq!(
        item.bare_item.as_string().unwrap().as_str(),
        "a \"b\" \\ gr%C3%B6%C3%9Fe"
    );
}
