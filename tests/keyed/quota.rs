//! Quotas that change while the table is in use: by the rules of `Adjustable`, for each key.

use crate::support::keyed::{builder, few_slots};
use crate::support::limit::Limit;
use crate::support::subject::{gcra, quota};
use crate::support::time::{SECOND, instant};
use crate::support::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{InvalidTable, KeyedBuilder, Tier, WhenFull};
use ratelimit_meter::{Exponential, GCRA, KeyedMeter, LeakyBucket, Quota};
use std::time::Duration;

fn adjustable(text: &str, clock: &ManualClock) -> KeyedMeter<str, GCRA<ManualClock>> {
    let like = GCRA::from_quota(text.parse().unwrap()).unwrap();
    let builder = KeyedBuilder::new(like.with_clock(clock.clone())).adjustable();
    builder.when_full(WhenFull::Deny).with_capacity(100).unwrap()
}

#[test]
fn available_cells_and_debts_stay_at_a_change() {
    let clock = ManualClock::new();
    let keys = adjustable("100/h burst 20", &clock);
    keys.check_n("alice", 15).unwrap();
    keys.key("bob").charge(50);
    keys.set_quota(Tier::FIRST, "600/h burst 50".parse().unwrap()).unwrap();
    assert_eq!(keys.key("alice").status().remaining(), 5);
    assert_eq!(
        keys.key("alice").status().quota().unwrap().to_string(),
        "600/h burst 50"
    );
    // Thirty cells over the limit, at the new rate: 31 of 6 s.
    assert_eq!(keys.key("bob").status().until_next(), Duration::from_secs(186));
    clock.advance(Duration::from_secs(60)).unwrap();
    assert_eq!(keys.key("alice").status().remaining(), 15);
}

/// A key that was never seen, or idle, is as one that was idle at the change.
#[test]
fn larger_burst_is_withheld_from_idle_keys() {
    let clock = ManualClock::new();
    let keys = adjustable("60/min burst 10", &clock);
    keys.check("idle").unwrap();
    clock.advance(Duration::from_secs(10)).unwrap();
    keys.set_quota(Tier::FIRST, "60/min burst 40".parse().unwrap()).unwrap();
    for key in ["idle", "new"] {
        assert_eq!(keys.key(key).status().remaining(), 10, "{key}");
        assert!(!keys.key(key).is_live(), "{key} owes nothing");
        assert!(keys.check_n(key, 11).is_err() && keys.check_n(key, 10).is_ok(), "{key}");
    }
    clock.advance(Duration::from_secs(30)).unwrap();
    assert_eq!(keys.key("idle").status().remaining(), 30);
    assert_eq!(keys.key("other").status().remaining(), 40);
}

#[test]
fn all_handles_and_tiers_see_a_change() {
    let clock = ManualClock::new();
    let like = LeakyBucket::from_quota("10/s".parse().unwrap())
        .unwrap()
        .with_clock(clock.clone());
    let (builder, paying) = KeyedBuilder::new(like)
        .adjustable()
        .tier("50/s".parse().unwrap())
        .unwrap();
    let keys = builder.with_capacity::<u32>(100).unwrap();
    let (before, paid) = (keys.clone(), keys.in_tier(paying).unwrap());
    for round in 1..10 {
        let cells = 50 + round;
        keys.set_quota(paying, format!("{cells}/s").parse().unwrap()).unwrap();
        clock.advance(Duration::from_secs(3)).unwrap();
        assert_eq!(paid.key(&1).status().remaining(), cells);
        assert_eq!(paid.check_n(&1, cells), Ok(()));
        assert!(before.check(&1).is_err(), "it is of that tier");
        assert_eq!(before.check_n(&2, 10), Ok(()));
        assert!(before.check(&2).is_err());
        keys.set_quota(Tier::FIRST, format!("{}/s burst 10", 10 + round).parse().unwrap())
            .unwrap();
        assert!(before.check(&2).is_err() && keys.check(&2).is_err());
        clock.advance(Duration::from_secs(3)).unwrap();
        assert_eq!(keys.quota(paying).unwrap().unwrap().cells().get(), cells);
    }
    assert_eq!(keys.stats().taken, 2);
}

#[test]
fn invalid_quota_change_is_an_error_without_effect() {
    let clock = ManualClock::new();
    let keys = adjustable("10/s", &clock);
    let bad: Quota = "10/s".parse::<Quota>().unwrap().cell_weight(11.try_into().unwrap());
    assert!(matches!(keys.set_quota(Tier::FIRST, bad), Err(InvalidTable::Quota(_))));
    let fast: Quota = "1000000000/s".parse().unwrap();
    let narrow = InvalidTable::WordTooNarrow { bits: 61, tiers: 1 };
    assert_eq!(keys.set_quota(Tier::FIRST, fast), Err(narrow));
    assert_eq!(
        narrow.to_string(),
        "the quota has too many cells a second for the 61 bits of a slot's word (tiers: 1): use larger cells or fewer tiers"
    );
    assert_eq!(keys.quota(Tier::FIRST).unwrap().unwrap().to_string(), "10/s");
    let fixed = KeyedMeter::<str>::with_capacity("10/s".parse().unwrap(), 10).unwrap();
    let refused = fixed.set_quota(Tier::FIRST, "11/s".parse().unwrap()).unwrap_err();
    assert_eq!(refused, InvalidTable::NotAdjustable);
    assert_eq!(
        refused.to_string(),
        "the table's quotas cannot be changed: build it with KeyedBuilder::adjustable()"
    );
    let mut builder = KeyedBuilder::new(GCRA::from_quota("10/s".parse().unwrap()).unwrap());
    for tiers in 1..=16 {
        let fixed = builder.clone().with_capacity::<u64>(1).unwrap();
        for quota in ["10/s", "11/s"] {
            let refused = fixed.set_quota(Tier::FIRST, quota.parse().unwrap());
            assert_eq!(refused, Err(InvalidTable::NotAdjustable), "{tiers} tiers, {quota}");
        }
        builder = if tiers < 16 {
            builder.tier("10/s".parse().unwrap()).unwrap().0
        } else {
            builder
        };
    }
    let sixteen = (1..16).fold(
        KeyedBuilder::new(GCRA::from_quota("1/s".parse().unwrap()).unwrap()),
        |builder, _| builder.tier("2/s".parse().unwrap()).unwrap().0,
    );
    let too_many = sixteen.adjustable().with_capacity::<u64>(1).map(drop);
    assert_eq!(too_many, Err(InvalidTable::TooManyTiers));
}

#[test]
fn averages_change_their_limit() {
    let clock = ManualClock::new();
    let like = Exponential::new(10, Duration::from_secs(60))
        .unwrap()
        .with_clock(clock.clone());
    let keys: KeyedMeter<u8, Exponential<ManualClock>> =
        KeyedBuilder::new(like).adjustable().with_capacity(10).unwrap();
    assert_eq!(keys.check_n(&1, 8), Ok(()));
    keys.set_quota(Tier::FIRST, "1000/min".parse().unwrap()).unwrap();
    let one = Exponential::new(10, Duration::from_secs(60)).unwrap();
    let one = one.with_clock(clock.clone()).into_adjustable();
    one.check_n(8).unwrap();
    one.set_quota("1000/min".parse().unwrap()).unwrap();
    assert_eq!(keys.key(&1).status().remaining(), one.status().remaining());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Each key equals an `Adjustable` of its own, if changes do not precede decisions, while keys become idle and are evicted.
    #[test]
    fn each_key_is_an_adjustable_meter(
        steps in prop::collection::vec((0_u64..100, any::<u64>(), any::<u64>(), 0_u32..12), 1..150),
    ) {
        let limits: Vec<Limit> = [(10, 10), (10, 40), (100, 5), (1, 100)]
            .map(|(cells, burst)| Limit::per_second(cells).burst(burst)).to_vec();
        let clock = ManualClock::new();
        let keys = few_slots(builder(gcra(&limits[0]), &clock, WhenFull::Deny).adjustable());
        let own: Vec<_> = (0..100).map(|_| gcra(&limits[0]).with_clock(clock.clone()).into_adjustable()).collect();
        let mut now = 0;
        for (key, size, wait, change) in steps {
            now += i128::from(spread(wait, 1, 3 * SECOND));
            let at = instant(clock.now(), now);
            if let Some(limit) = limits.get(usize::try_from(change).unwrap()) {
                keys.set_quota_at(Tier::FIRST, quota(limit), at).unwrap();
                for meter in &own {
                    meter.set_quota_at(quota(limit), at).unwrap();
                }
            }
            let meter = &own[usize::try_from(key).unwrap()];
            let n = u32::try_from(spread(size, 1, 10)).unwrap();
            let slot = keys.key(&key);
            let (one, other) = (slot.status_at(at), meter.status_at(at));
            // Each change rounds by one unit of the table or of the meter.
            prop_assert!(one.remaining().abs_diff(other.remaining()) <= 1, "{} and {}", one.remaining(), other.remaining());
            if one.remaining() != other.remaining() {
                return Ok(());
            }
            prop_assert_eq!(slot.check_n_at(n, at).is_ok(), meter.check_n_at(n, at).is_ok());
        }
        prop_assert_eq!(keys.stats().denied, 0);
    }
}
