use super::least::SECOND;
use super::*;
use crate::event::Keys;
use proptest::prelude::*;
use ratelimit_meter::clock::{Clock as _, ManualClock};
use ratelimit_meter::{GCRA, LeakyBucket, MultiDecider};
use std::num::NonZeroU32;
use std::time::Duration;

/// Time in nanoseconds, cells, key.
type Arrivals = Vec<(i64, u64, u8)>;

fn events(traffic: &Arrivals) -> Vec<Event> {
    let mut keys = Keys::default();
    let mut event = |&(time, cost, key): &(i64, u64, u8)| {
        let key = keys.intern(&[key]).expect("a few keys");
        Event::new(time, cost, key)
    };
    traffic.iter().map(&mut event).collect()
}

fn suggest(quota: Quota, traffic: &Arrivals) -> Suggestion {
    let mut suggester = Suggester::new(quota);
    events(traffic).iter().for_each(|event| suggester.push(event));
    suggester.finish()
}

/// Returns whether the meters deny anything, for GCRA and leaky bucket alike.
fn denies(quota: Quota, traffic: &Arrivals) -> bool {
    let clock = ManualClock::new();
    let first = traffic.iter().map(|event| event.0).min().unwrap_or(0);
    let decide = |meter: &dyn Fn() -> Box<dyn MultiDecider>| {
        let meters: Vec<_> = (0..=u8::MAX).map(|_| meter()).collect();
        let ask = |&(time, cost, key): &(i64, u64, u8)| {
            let at = clock.now() + Duration::from_nanos(time.abs_diff(first));
            u32::try_from(cost).map_or(true, |cost| meters[usize::from(key)].check_n_at(cost, at).is_err())
        };
        traffic.iter().map(ask).filter(|denied| *denied).count() > 0
    };
    let gcra = GCRA::from_quota(quota).expect("a good quota");
    let bucket = LeakyBucket::from_quota(quota).expect("a good quota");
    // A clone would share its state; a clone with another clock does not.
    let denied = decide(&|| Box::new(gcra.clone().with_clock(clock.clone())));
    assert_eq!(
        denied,
        decide(&|| Box::new(bucket.clone().with_clock(clock.clone()))),
        "{quota}"
    );
    denied
}

fn one_less_burst(quota: Quota) -> Option<Quota> {
    let less = NonZeroU32::new(quota.burst().get() - 1)?;
    Some(quota.allow_burst(less)).filter(|quota| GCRA::from_quota(*quota).is_ok())
}

fn one_less_rate(quota: Quota) -> Option<Quota> {
    let less = NonZeroU32::new(quota.cells().get() - 1)?;
    let slower = Quota::new(less, quota.period()).ok()?;
    let slower = slower.allow_burst(quota.burst()).cell_weight(quota.weight());
    Some(slower).filter(|quota| GCRA::from_quota(*quota).is_ok())
}

/// Returns all runs of the first request's key that begin with it: units over the burst, and nanoseconds.
fn runs(quota: Quota, traffic: &[(i64, u64, u8)]) -> impl Iterator<Item = (u128, u128)> {
    let (start, _, key) = traffic[0];
    let mut units = 0;
    let run = move |request: &(i64, u64, u8)| {
        units += u128::from(request.1) * u128::from(quota.weight().get());
        let over = units.saturating_sub(u128::from(quota.burst().get()));
        (over, u128::from(request.0.abs_diff(start)))
    };
    traffic.iter().filter(move |request| request.2 == key).map(run)
}

/// Returns the steepest run, by trying all of them; `None` for more than the burst at once.
fn steepest_run(quota: Quota, traffic: &Arrivals) -> Option<(u128, u128)> {
    let mut all = (0..traffic.len()).flat_map(|from| runs(quota, &traffic[from..]));
    all.try_fold((0, 1), |steepest: (u128, u128), (units, ns)| {
        if units > 0 && ns == 0 {
            None
        } else if units * steepest.1 > steepest.0 * ns {
            Some((units, ns))
        } else {
            Some(steepest)
        }
    })
}

/// Returns whether all runs are within the limit, or would be a nanosecond later: a meter may overlook that little.
fn is_within_a_nanosecond(quota: Quota, traffic: &Arrivals) -> bool {
    let mut all = (0..traffic.len()).flat_map(|from| runs(quota, &traffic[from..]));
    let (period, cells) = (quota.period().as_nanos(), u128::from(quota.cells().get()));
    all.all(|(units, ns)| units * period <= cells * (ns + 1))
}

/// Checks that the answers are the least possible, by replaying with them and with one less.
fn check(quota: Quota, traffic: &Arrivals) {
    let suggestion = suggest(quota, traffic);
    match suggestion.burst {
        SuggestedLimit::Quota(enough) => {
            assert!(!denies(enough, traffic), "{quota}: {enough} denies");
            if let Some(less) = one_less_burst(enough) {
                let missed = denies(less, traffic) || is_within_a_nanosecond(less, traffic);
                assert!(missed, "{quota}: {less} is enough");
            }
        }
        SuggestedLimit::None(reason) => assert!(
            matches!(reason, NoSuggestion::RestTooLong | NoSuggestion::TooLarge),
            "{reason:?}"
        ),
    }
    let steepest = steepest_run(quota, traffic);
    match suggestion.rate {
        SuggestedLimit::Quota(enough) => {
            assert!(!denies(enough, traffic), "{quota}: {enough} denies");
            if let Some(less) = one_less_rate(enough) {
                let missed = denies(less, traffic) || is_within_a_nanosecond(less, traffic);
                assert!(missed, "{quota}: {less} is enough");
            }
            let (units, ns) = steepest.expect("a rate is enough only if no key asks for too much at once");
            let cells = u128::from(enough.cells().get());
            assert!(cells * ns >= units * enough.period().as_nanos(), "{quota}: {enough}");
        }
        SuggestedLimit::None(NoSuggestion::AtOnce(units)) => {
            assert_eq!(steepest, None);
            assert!(units > u64::from(quota.burst().get()));
        }
        SuggestedLimit::None(NoSuggestion::TooLarge) => {
            let (units, ns) = steepest.expect("reported as too much at once");
            assert!(units * 1_000_000_000 * 2 > ns << 32, "{quota}: {units} in {ns} ns");
        }
        SuggestedLimit::None(reason) => panic!("{quota}: {reason:?}"),
    }
    let burst_is_enough = suggestion.burst == SuggestedLimit::Quota(quota) || !denies(quota, traffic);
    if burst_is_enough && !traffic.is_empty() {
        assert!(matches!(suggestion.rate, SuggestedLimit::Quota(_)), "{quota}");
    }
}

/// Returns traffic by steps in time, in order; times in whole steps of `grain` nanoseconds.
fn traffic(grain: i64, longest: i64, most: u64) -> impl Strategy<Value = Arrivals> {
    let step = prop_oneof![3 => Just(0), 4 => 0..longest.min(5), 3 => 0..longest];
    prop::collection::vec((step, 0..=most, 0..3_u8), 1..80).prop_map(move |steps| {
        let mut time = 1_716_206_400_000_000_000;
        let mut at = |(step, cost, key): (i64, u64, u8)| {
            time += step * grain;
            (time, cost, key)
        };
        steps.into_iter().map(&mut at).collect()
    })
}

fn quota(cells: u32, period_ns: u64, burst: u32, weight: u32) -> Option<Quota> {
    let quota = Quota::new(NonZeroU32::new(cells)?, Duration::from_nanos(period_ns)).ok()?;
    let quota = quota
        .allow_burst(NonZeroU32::new(burst)?)
        .cell_weight(NonZeroU32::new(weight)?);
    GCRA::from_quota(quota).ok().map(|_| quota)
}

proptest! {
    #[test]
    fn one_less_denies_traffic_of_whole_seconds(
        cells in 1_u32..200,
        period in prop::sample::select(vec![1_u64, 6, 13, 60, 3_600, 86_400]),
        burst in 1_u32..200,
        weight in 1_u32..4,
        traffic in traffic(1_000_000_000, 5_000, 9),
    ) {
        let Some(quota) = quota(cells, period * SECOND, burst.max(weight), weight) else { return Ok(()) };
        check(quota, &traffic);
        // If times are whole seconds, one cell less always shows.
        if let SuggestedLimit::Quota(enough) = suggest(quota, &traffic).burst {
            prop_assert!(one_less_burst(enough).is_none_or(|less| denies(less, &traffic)));
        }
        if let SuggestedLimit::Quota(enough) = suggest(quota, &traffic).rate {
            prop_assert!(one_less_rate(enough).is_none_or(|less| denies(less, &traffic)));
        }
    }

    #[test]
    fn one_less_denies_traffic_of_whole_milliseconds(
        cells in 1_u32..2_000,
        period in prop::sample::select(vec![1_u64, 7, 1_000, 60_000]),
        burst in 5_u32..5_000,
        traffic in traffic(1_000_000, 100_000, 2_000),
    ) {
        let Some(quota) = quota(cells, period * 1_000_000, burst, 1) else { return Ok(()) };
        check(quota, &traffic);
    }

    #[test]
    fn sequential_requests_have_a_smallest_rate(
        gaps in prop::collection::vec(1_i64..20_000, 2..200),
        burst in 1_u32..9,
        period in prop::sample::select(vec![1_u64, 60, 86_400]),
    ) {
        let mut time = 0;
        let traffic: Arrivals = gaps.iter().map(|gap| { time += gap * 100_000_000; (time, 1, 0) }).collect();
        let quota = quota(1, period * SECOND, burst, 1).expect("a good quota");
        prop_assert!(matches!(suggest(quota, &traffic).rate, SuggestedLimit::Quota(_)));
        check(quota, &traffic);
    }

    #[test]
    fn suggestion_denies_none_to_the_nanosecond(
        cells in 1_u32..=u32::MAX,
        period_ns in 1_u64..100_000_000_000_000,
        burst in 1_u32..=u32::MAX,
        traffic in traffic(1, 1_000_000_000_000, 1 << 33),
    ) {
        let Some(quota) = quota(cells, period_ns, burst, 1) else { return Ok(()) };
        let suggestion = suggest(quota, &traffic);
        for answer in [suggestion.burst, suggestion.rate] {
            if let SuggestedLimit::Quota(enough) = answer {
                prop_assert!(!denies(enough, &traffic), "{quota}: {enough} denies");
            }
        }
    }

    #[test]
    fn a_burst_is_exact_where_time_goes_back(
        cells in 1_u32..50,
        burst in 1_u32..50,
        mut traffic in traffic(1_000_000_000, 100, 9),
        swaps in prop::collection::vec((0_usize..80, 0_usize..80), 0..20),
    ) {
        for (a, b) in swaps {
            let (a, b) = (a % traffic.len(), b % traffic.len());
            traffic.swap(a, b);
        }
        let quota = quota(cells, 10 * SECOND, burst, 1).expect("a good quota");
        let SuggestedLimit::Quota(enough) = suggest(quota, &traffic).burst else { panic!("a small burst is enough") };
        prop_assert!(!denies(enough, &traffic), "{enough} denies");
        if let Some(less) = one_less_burst(enough) {
            prop_assert!(denies(less, &traffic), "{less} is enough");
        }
    }

    #[test]
    fn the_hull_finds_the_steepest_of_all_runs(
        burst in 1_u32..100,
        traffic in traffic(1, 50, 9),
    ) {
        let quota = quota(1, SECOND, burst, 1).expect("a good quota");
        let mut suggester = Suggester::new(quota);
        events(&traffic).iter().for_each(|event| suggester.push(event));
        match (suggester.steepest, steepest_run(quota, &traffic)) {
            (Ok(slope), Some((units, ns))) => {
                prop_assert_eq!(u128::from(slope.units) * ns, units * u128::from(slope.ns));
            }
            (Err(NoSuggestion::AtOnce(_)), None) => {}
            (found, run) => prop_assert!(false, "{:?}, {:?}", found, run),
        }
    }
}

fn texts(quota: &str, traffic: &Arrivals) -> [String; 2] {
    let suggestion = suggest(quota.parse().expect("a good quota"), traffic);
    [suggestion.burst, suggestion.rate].map(|answer| match answer {
        SuggestedLimit::Quota(quota) => quota.to_string(),
        SuggestedLimit::None(reason) => format!("{reason:?}"),
    })
}

#[test]
fn suggestions_are_exact_at_the_extremes() {
    const S: i64 = 1_000_000_000;
    let year = 31_557_600 * S;
    let table: [(&str, Arrivals, [&str; 2]); 18] = [
        // Nothing is asked: the least limits that exist.
        ("10/s", vec![], ["10/s burst 1", "1/d burst 10"]),
        (
            "10/s weight 3",
            vec![(0, 0, 0)],
            ["10/s burst 3 weight 3", "1/d burst 10 weight 3"],
        ),
        ("10/s", vec![(0, 10, 0)], ["10/s", "1/d burst 10"]),
        ("10/s", vec![(0, 11, 0)], ["10/s burst 11", "AtOnce(11)"]),
        (
            "10/s",
            vec![(0, 6, 0), (0, 5, 1), (0, 5, 0)],
            ["10/s burst 11", "AtOnce(11)"],
        ),
        // A single request over the burst adds to its instant, too.
        ("10/s", vec![(0, 8, 0), (0, 12, 0)], ["10/s burst 20", "AtOnce(20)"]),
        (
            "10/s",
            vec![(0, 12, 0), (0, 12, 0), (0, 12, 0)],
            ["10/s burst 36", "AtOnce(36)"],
        ),
        (
            "10/s",
            vec![(0, 8, 0), (S, u64::MAX, 0)],
            ["TooLarge", "AtOnce(18446744073709551615)"],
        ),
        // The most at one instant is reported, even if it is of a later key, and part of it came before the first excess.
        (
            "10/s",
            vec![(5, 7, 1), (5, 11, 0), (5, 8, 1), (9, 12, 2)],
            ["10/s burst 15", "AtOnce(15)"],
        ),
        (
            "10/s weight 2",
            vec![(0, 5, 0), (S, 3, 0)],
            ["10/s weight 2", "6/s burst 10 weight 2"],
        ),
        (
            "1/6s burst 2",
            vec![(0, 2, 0), (5 * S, 1, 0)],
            ["1/6s burst 3", "720/h burst 2"],
        ),
        ("1/s", vec![(0, 1, 0), (1, 1, 0)], ["1/s burst 2", "1000000/ms burst 1"]),
        ("1/d", vec![(0, 1, 0), (1, 1, 0)], ["1/d burst 2", "1000000/ms burst 1"]),
        (
            "1/s",
            vec![(0, u64::MAX, 0)],
            ["TooLarge", "AtOnce(18446744073709551615)"],
        ),
        (
            "1/s weight 2 burst 3",
            vec![(0, 1 << 31, 0)],
            ["TooLarge", "AtOnce(4294967296)"],
        ),
        (
            "1/500d burst 100",
            vec![(0, 100, 0), (1, 100, 0)],
            ["RestTooLong", "TooLarge"],
        ),
        ("1/d", vec![(year, 1, 0), (0, 1, 0)], ["1/d burst 368", "BackInTime"]),
        ("1/d every 1h", vec![(0, 2, 0), (S, 1, 0)], ["Ticks", "Ticks"]),
    ];
    for (quota, traffic, expected) in table {
        assert_eq!(texts(quota, &traffic), expected, "{quota} {traffic:?}");
    }
}

#[test]
fn requests_of_different_keys_are_not_summed() {
    let traffic = (0..60)
        .map(|step: i64| (step * 500_000_000, 1, u8::try_from(step % 2).expect("0 or 1")))
        .collect();
    assert_eq!(texts("1/s", &traffic), ["1/s", "1/s"]);
}

#[test]
fn hulls_stay_small() {
    let count = |quota: &str, times: &mut dyn Iterator<Item = i64>| {
        let key = Keys::default().intern(b"key").expect("a key");
        let mut suggester = Suggester::new(quota.parse().expect("a good quota"));
        let mut most = 0;
        for time in times {
            suggester.push(&Event::new(time, 1, key));
            let Past::Hull(hull) = &suggester.histories[0].past else {
                continue;
            };
            most = most.max(hull.corners());
        }
        most
    };
    // Steady, and steady with noise.
    assert!(count("10/s", &mut (0..100_000).map(|step| step * 100)) <= 2);
    let noise = |step: i64| step * 1_000 + step.wrapping_mul(0x1E37_79B9_7F4A_7C15).rem_euclid(1_000);
    assert!(count("10/s burst 1000", &mut (0..100_000).map(noise)) <= 30);
    // The worst case: each gap is a nanosecond less than the one before. Exceeding the burst ends even that.
    let mut time = 0;
    let mut sooner = |step: i64| {
        time += 1_000_000 - step;
        time
    };
    assert!(count("10/s burst 100", &mut (0..900_000).map(&mut sooner)) <= 15_000);
}

#[test]
fn rate_raised_by_another_key_is_found() {
    const S: i64 = 1_000_000_000;
    // By itself the second key needs 12/s. But once the first key has raised the rate to 9/s, within an instant, only the middle one of the second
    // key's corners matters.
    let traffic = vec![
        (0, 6, 1),
        (0, 51, 0),
        (S, 12, 1),
        (2 * S, 1, 1),
        (2 * S, 39, 0),
        (2 * S, 71, 1),
    ];
    assert_eq!(texts("1/s burst 72", &traffic)[1], "12/s burst 72");
}
