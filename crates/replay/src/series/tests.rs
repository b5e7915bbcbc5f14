use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

type DecidedEvents = Vec<(i64, u64, bool)>;

fn timeline(may_go_back: bool, events: &DecidedEvents) -> Timeline {
    let mut series = Series::new(may_go_back);
    for &(time, cells, admitted) in events {
        series.add(time, counts(cells, admitted));
    }
    series.finish()
}

fn counts(cells: u64, is_admitted: bool) -> Counts {
    let cells = u128::from(cells);
    let (admitted, denied) = if is_admitted { (cells, 0) } else { (0, cells) };
    Counts { admitted, denied }
}

/// All of it again, from all events at once.
fn check(may_go_back: bool, events: &DecidedEvents) {
    let timeline = timeline(may_go_back, events);
    assert!(timeline.buckets.len() <= MOST);
    assert!(WIDTHS.contains(&timeline.width));
    let mut buckets: BTreeMap<i64, Counts> = BTreeMap::new();
    let mut minutes: BTreeMap<i64, Counts> = BTreeMap::new();
    for &(time, cells, admitted) in events {
        let counts = counts(cells, admitted);
        buckets.entry(time.div_euclid(timeline.width)).or_default().add(counts);
        minutes.entry(time.div_euclid(MINUTE)).or_default().add(counts);
    }
    let first = buckets.keys().next().copied().unwrap_or_default();
    let last = buckets.keys().last().map_or(first, |last| last + 1);
    let expected: Vec<Counts> = (first..last)
        .map(|at| buckets.get(&at).copied().unwrap_or_default())
        .collect();
    assert_eq!(timeline.buckets, expected);
    assert_eq!(timeline.start, first.saturating_mul(timeline.width));
    let worst = minutes
        .iter()
        .filter(|(_, counts)| counts.denied > 0)
        .max_by_key(|(start, counts)| (counts.denied, Reverse(**start)));
    let worst = worst.map(|(start, counts)| Minute {
        start: start.saturating_mul(MINUTE),
        counts: *counts,
    });
    assert_eq!(timeline.worst_minute, worst);
}

proptest! {
    #[test]
    fn counts_are_those_of_all_events(
        mut events in prop::collection::vec((-10_000_000_000_000_i64..10_000_000_000_000, 0_u64..9, any::<bool>()), 0..300),
        magnitude in 0_u32..18,
    ) {
        for event in &mut events {
            event.0 = event.0 * 10_i64.pow(magnitude / 3) / 1_000;
        }
        check(true, &events);
        events.sort_by_key(|event| event.0);
        check(false, &events);
        check(true, &events);
    }
}

#[test]
fn series_spans_the_whole_range_of_times() {
    check(
        true,
        &vec![
            (i64::MAX, u64::MAX, true),
            (0, 1, false),
            (i64::MIN + MINUTE, u64::MAX, false),
        ],
    );
    check(false, &vec![(i64::MIN + MINUTE, 1, true), (i64::MAX, 1, true)]);
    check(true, &vec![]);
    assert_eq!(timeline(false, &vec![(i64::MIN, 1, false)]).buckets.len(), 1);
}

#[test]
fn each_width_is_a_multiple_of_the_previous() {
    assert!(WIDTHS.windows(2).all(|pair| pair[1] % pair[0] == 0));
}
