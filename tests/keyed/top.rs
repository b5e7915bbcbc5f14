//! The keys that owe most.

use ratelimit_meter::keyed::KeyedBuilder;
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use std::collections::HashMap;
use std::time::{Duration, Instant};

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

#[test]
fn top_keys_are_those_whose_debts_drain_last() {
    let table = KeyedMeter::<u32>::with_capacity(quota("1000/s"), 5000).expect("a table");
    let now = Instant::now();
    let mut names = HashMap::new();
    for key in 0..1000_u32 {
        // Each key owes another number of cells.
        table.check_n_at(&key, (key * 7) % 1000 + 1, now).expect("a burst");
        assert!(names.insert(table.id(&key), key).is_none(), "keys with one number");
    }
    let owed = |key: u32| (key * 7) % 1000 + 1;
    for n in [0, 1, 10, 1000, 2000] {
        let top = table.top_at(n, now);
        assert_eq!(top.len(), n.min(1000));
        for (place, debtor) in (0..1000).zip(&top) {
            assert_eq!(owed(names[&debtor.id()]), 1000 - place);
            assert_eq!(
                debtor.status().until_rest(),
                Duration::from_millis(u64::from(1000 - place))
            );
        }
    }
    // Only live keys are reported.
    assert_eq!(table.top_at(2000, now + Duration::from_millis(400)).len(), 600);
    assert!(table.top_at(10, now + Duration::from_secs(1)).is_empty());
    assert_eq!(
        table.clone().top(1).first().map(|debtor| owed(names[&debtor.id()])),
        table.top(1).first().map(|_| 1000)
    );
}

#[test]
fn top_compares_tiers_by_time() {
    let builder = KeyedBuilder::new(GCRA::from_quota(quota("100/s")).expect("a meter"));
    let (builder, slow) = builder.tier(quota("1/min burst 100")).expect("a tier");
    let table = builder.with_capacity::<str>(100).expect("a table");
    let now = Instant::now();
    table.check_n_at("many quick cells", 90, now).expect("a burst");
    table
        .in_tier(slow)
        .expect("a tier")
        .check_at("one slow cell", now)
        .expect("a cell");
    let top: Vec<_> = table
        .top_at(2, now)
        .iter()
        .map(|debtor| (debtor.id(), debtor.status().until_rest()))
        .collect();
    let minute = Duration::from_secs(60);
    assert_eq!(
        top,
        [
            (table.id("one slow cell"), minute),
            (table.id("many quick cells"), Duration::from_millis(900))
        ]
    );
}
