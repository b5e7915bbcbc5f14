use proptest::prelude::*;

use super::*;
use crate::event::KeyId;
use crate::limit::{AlgorithmName, Metered};
use crate::lineage::Lineage;

const S: i64 = 1_000_000_000;
const YEAR: i64 = 31_557_600 * S;

fn maker(limit: &str, algorithm: AlgorithmName) -> Maker {
    Maker::new(Metered::parse(limit, algorithm), false)
}

/// Creates a crowd whose first table is the smallest: it has room for some hundred keys.
fn small(maker: &Maker, time: i64) -> Crowd {
    let mut crowd = Crowd::new(maker.limit().single().expect("a limit of one"));
    crowd.join(maker, 1, time, time).expect("memory for a few");
    crowd
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

/// Returns whether the decisions are the same. A table may report the end of a denial two nanoseconds early.
fn alike(own: &Result<Verdict, Undecided>, crowd: &Result<Verdict, Undecided>) -> bool {
    match (own, crowd) {
        (Ok(Verdict::Denied(own)), Ok(Verdict::Denied(crowd))) => {
            crowd <= own && own.as_nanos() - crowd.as_nanos() <= 2
        }
        (own, crowd) => own == crowd,
    }
}

proptest! {
    #[test]
    fn each_key_decides_like_its_own_meter(
        limit in prop::sample::select(vec!["1/s", "100/min burst 20", "7/13s burst 3", "1/h", "2/d burst 4", "3/s burst 5 every 1s"]),
        algorithm in prop::sample::select(vec![AlgorithmName::Gcra, AlgorithmName::LeakyBucket]),
        requests in prop::collection::vec((gap(), 0_u32..300, 0_u64..6), 1..400),
        repeats in 1_u32..4,
    ) {
        let maker = maker(limit, algorithm);
        let mut crowd = small(&maker, 0);
        let mut own: Vec<Lineage> = (0..300).map(|_| Lineage::new(&maker, 0)).collect();
        let mut time = 0;
        for (gap, key, cost) in requests {
            time += gap;
            for key in (0..repeats).map(|more| (key + 100 * more) % 300) {
                let own = own[key as usize].check(&maker, time, cost).ok_or(Undecided::TooLong);
                let crowd = crowd.check(&maker, &event(time, key, cost));
                prop_assert!(alike(&own, &crowd), "{} at {}: {:?} and {:?}", key, time, own, crowd);
            }
        }
    }
}

#[test]
fn full_table_is_joined_by_a_larger_one() {
    for algorithm in [
        AlgorithmName::Gcra,
        AlgorithmName::LeakyBucket,
        AlgorithmName::Exponential,
    ] {
        let maker = maker("1/h", algorithm);
        let mut crowd = small(&maker, 0);
        for key in 0..10_000 {
            assert_eq!(crowd.check(&maker, &event(0, key, 1)), Ok(Verdict::Admitted), "{key}");
        }
        let tables = crowd.tables.len();
        assert!(tables > 2, "{tables}");
        for key in 0..10_000 {
            let verdict = crowd.check(&maker, &event(S, key, 1));
            assert!(matches!(verdict, Ok(Verdict::Denied(_))), "{key}: {verdict:?}");
        }
        assert_eq!(crowd.tables.len(), tables, "a key with cells left to drain has room");
        let late = 11 * YEAR;
        assert_eq!(crowd.check(&maker, &event(late, 0, 1)), Ok(Verdict::Admitted));
        assert_eq!(crowd.tables.len(), 1);
    }
}

#[test]
fn indebted_key_keeps_its_slot_for_twenty_years() {
    // 27 years.
    let maker = maker("1/10000d", AlgorithmName::Gcra);
    let mut crowd = small(&maker, 0);
    assert_eq!(crowd.check(&maker, &event(0, 0, 1)), Ok(Verdict::Admitted));
    assert_eq!(crowd.check(&maker, &event(12 * YEAR, 1, 1)), Ok(Verdict::Admitted));
    assert_eq!(crowd.tables.len(), 2);
    assert!(matches!(
        crowd.check(&maker, &event(20 * YEAR, 0, 1)),
        Ok(Verdict::Denied(_))
    ));
    assert_eq!(crowd.check(&maker, &event(21 * YEAR, 0, 1)), Err(Undecided::TooLong));
    assert!(matches!(
        crowd.check(&maker, &event(21 * YEAR, 1, 1)),
        Ok(Verdict::Denied(_))
    ));
    assert_eq!(
        crowd.check(&maker, &event(28 * YEAR, 0, 1)),
        Ok(Verdict::Admitted),
        "it has drained"
    );
}
