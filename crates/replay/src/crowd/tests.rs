use proptest::prelude::*;

use super::*;
use crate::event::KeyId;
use crate::limit::{AlgorithmName, Metered};
use crate::lineage::Lineage;

const S: i64 = 1_000_000_000;
const YEAR: i64 = 31_557_600 * S;

fn crowd(limit: &str, algorithm: AlgorithmName, may_go_back: bool) -> Crowd {
    let maker = Maker::new(Metered::parse(limit, algorithm), may_go_back);
    let meter = maker.lend().expect("a limit of one");
    Crowd::new(maker, meter)
}

fn event(time: i64, key: u32, cost: u64) -> Event {
    Event::new(time, cost, KeyId(key))
}

/// Gaps of all lengths between two requests. Gaps of years are excluded, since meters made at different times round differently.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0),
        2 => 0..S,
        1 => 0..600 * S,
    ]
}

proptest! {
    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn each_key_decides_like_its_own_meter(
        limit in prop::sample::select(vec!["1/s", "100/min burst 20", "7/13s burst 3", "1/h", "2/d burst 4", "3/s burst 5 every 1s"]),
        algorithm in prop::sample::select(vec![AlgorithmName::Gcra, AlgorithmName::LeakyBucket, AlgorithmName::Exponential]),
        may_go_back: bool,
        requests in prop::collection::vec((gap(), 0_u32..300, 0_u64..6), 1..400),
        repeats in 1_u32..4,
    ) {
        let burst = limit.contains("burst");
        prop_assume!(algorithm != AlgorithmName::Exponential || !burst);
        let maker = Maker::new(Metered::parse(limit, algorithm), may_go_back);
        let mut crowd = crowd(limit, algorithm, may_go_back);
        // Meters made at other times round differently.
        let first = if may_go_back && requests[0].2 == 0 { -requests[0].0 } else { requests[0].0 };
        let mut own: Vec<Lineage> = (0..300).map(|_| Lineage::new(&maker, first)).collect();
        let mut time = 0;
        for (gap, key, cost) in requests {
            time += if may_go_back && cost == 0 { -gap } else { gap };
            for key in (0..repeats).map(|more| (key + 100 * more) % 300) {
                let own = own[key as usize].check(&maker, time, cost).ok_or(Undecided::TooLong);
                prop_assert_eq!(crowd.check(&event(time, key, cost)), own, "{} at {}", key, time);
            }
        }
    }
}

#[test]
fn indebted_key_keeps_its_meter_for_twenty_years() {
    // 27 years.
    let mut crowd = crowd("1/10000d", AlgorithmName::Gcra, false);
    assert_eq!(crowd.check(&event(0, 0, 1)), Ok(EventVerdict::Admitted));
    assert_eq!(crowd.check(&event(12 * YEAR, 1, 1)), Ok(EventVerdict::Admitted));
    assert_eq!(crowd.made.len(), 2);
    assert!(matches!(
        crowd.check(&event(20 * YEAR, 0, 1)),
        Ok(EventVerdict::Denied(_))
    ));
    assert_eq!(crowd.check(&event(21 * YEAR, 0, 1)), Err(Undecided::TooLong));
    assert!(matches!(
        crowd.check(&event(21 * YEAR, 1, 1)),
        Ok(EventVerdict::Denied(_))
    ));
    assert_eq!(
        crowd.check(&event(50 * YEAR, 0, 1)),
        Ok(EventVerdict::Admitted),
        "it has drained"
    );
}

#[test]
fn decreasing_times_are_measured_within_nine_years() {
    let mut crowd = crowd("1/s", AlgorithmName::Gcra, true);
    let admitted = Ok(EventVerdict::Admitted);
    for (key, first) in [(0, 0), (1, YEAR), (2, -YEAR), (3, 30 * YEAR)] {
        assert_eq!(crowd.check(&event(first, key, 1)), admitted, "{key}");
        assert_eq!(crowd.check(&event(first + 9 * YEAR, key, 1)), admitted, "{key}");
        let back = crowd.check(&event(first - 9 * YEAR, key, 1));
        assert!(matches!(back, Ok(EventVerdict::Denied(_))), "{key}: {back:?}");
        assert_eq!(
            crowd.check(&event(first - 12 * YEAR, key, 1)),
            Err(Undecided::TooLong),
            "{key}"
        );
    }
    assert_eq!(crowd.made.len(), 2, "keys that start within a year share a date");
}

#[test]
fn first_request_under_a_long_average_is_admitted() {
    // An average counts as idle after 40 periods: more years than the time from `NEVER` to today.
    for may_go_back in [false, true] {
        let mut crowd = crowd("1000/4000d", AlgorithmName::Exponential, may_go_back);
        assert_eq!(crowd.check(&event(55 * YEAR, 0, 1)), Ok(EventVerdict::Admitted));
    }
}

#[test]
fn tick_beyond_the_measured_time_is_an_error() {
    let mut crowd = crowd("1/70000d every 73000d", AlgorithmName::Gcra, false);
    assert_eq!(crowd.check(&event(55 * YEAR, 0, 1)), Err(Undecided::TooLong));
}

#[test]
fn keys_of_one_long_tick_share_a_meter() {
    let mut crowd = crowd("1/d every 4000d", AlgorithmName::Gcra, false);
    for key in 0..100 {
        let time = 55 * YEAR + i64::from(key) * S;
        assert_eq!(crowd.check(&event(time, key, 1)), Ok(EventVerdict::Admitted), "{key}");
    }
    assert!(crowd.made.len() <= 2, "{}", crowd.made.len());
}
