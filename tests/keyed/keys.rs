//! Each key is exactly a meter of its own, as long as there is a slot for it. Also the steps that take no slot, and impossible tables.

use crate::support::clock::Behind;
use crate::support::exponential::exponential_limits;
use crate::support::keyed::{BALLAST, BUCKET, BUCKET_SLOTS, POLICIES, buckets, builder, few_slots, fitting};
use crate::support::limit::Limit;
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::time::{HORIZON, instant};
use crate::support::traffic::{limits, spread, whole_limits};
use crate::support::verb::{
    Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait, sequences,
};
use proptest::prelude::*;
use ratelimit_meter::algorithms::{Algorithm, InconsistentCapacity};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{ForeignTier, InvalidTable, KeyedBuilder, Stats, Tier, WhenFull};
use ratelimit_meter::{
    Exponential, GCRA, KeyedMeter, LeakyBucket, Meter, NegativeMultiDecision, NonConformance, Quota, nonzero,
};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

type Table<A> = KeyedMeter<u64, Meter<A, ManualClock>>;

/// The reference for a key: a meter or, where units of time matter, the same key alone in a table.
enum Own<A: Algorithm> {
    Meter(Meter<A, ManualClock>),
    Table(Table<A>),
}

impl<A: Algorithm> Own<A> {
    /// The error of its instants: a meter's rate is rounded where that of a slot need not be.
    fn slack(&self) -> Duration {
        match self {
            Self::Meter(_) => Duration::from_nanos(1),
            Self::Table(_) => Duration::ZERO,
        }
    }
}

/// Asks the key of the table and its own the same.
macro_rules! both {
    ($keys:ident, $key:ident, $own:ident, $verb:ident($($argument:expr),*)) => {(
        $keys.key(&$key).$verb($($argument),*),
        match $own {
            Own::Meter(meter) => meter.$verb($($argument),*),
            Own::Table(table) => table.key(&$key).$verb($($argument),*),
        },
    )};
}

fn assert_alike(
    (one, other): (Result<(), NegativeMultiDecision>, Result<(), NegativeMultiDecision>),
    slack: Duration,
) -> Result<(), TestCaseError> {
    use NegativeMultiDecision::BatchNonConforming;
    if let (Err(BatchNonConforming(n, one)), Err(BatchNonConforming(m, other))) = (one, other) {
        let [one, other] = [one, other].map(|denied| denied.earliest_possible());
        let apart = one
            .saturating_duration_since(other)
            .max(other.saturating_duration_since(one));
        prop_assert!(n == m && apart <= slack, "{apart:?} apart");
    } else {
        prop_assert_eq!(one, other);
    }
    Ok(())
}

/// Runs the verb on a key and on its reference, and compares all reports.
fn compare<A: Algorithm>(
    keys: &Table<A>,
    key: u64,
    own: &Own<A>,
    (verb, n, at): (Verb, u32, Instant),
) -> Result<(), TestCaseError> {
    let slack = own.slack();
    let single =
        |decided: Result<(), NonConformance>| decided.map_err(|d| NegativeMultiDecision::BatchNonConforming(1, d));
    match verb {
        Check | Peek if n == 1 => {
            let (one, other) = match verb {
                Check => both!(keys, key, own, check_at(at)),
                _ => both!(keys, key, own, peek_at(at)),
            };
            assert_alike((single(one), single(other)), slack)?;
        }
        Check => assert_alike(both!(keys, key, own, check_n_at(n, at)), slack)?,
        Peek => assert_alike(both!(keys, key, own, peek_n_at(n, at)), slack)?,
        Take => {
            let (one, other) = both!(keys, key, own, take_at(n, at));
            assert_alike((one.decision(), other.decision()), slack)?;
            prop_assert_eq!(one.status().remaining(), other.status().remaining());
        }
        UpTo | Reserve => {
            let (one, other) = both!(keys, key, own, check_up_to_at(n, at));
            prop_assert_eq!(one.cells(), other.cells());
            let next = (one.next().map_or(Ok(()), Err), other.next().map_or(Ok(()), Err));
            assert_alike((single(next.0), single(next.1)), slack)?;
        }
        Charge => {
            let (one, other) = both!(keys, key, own, charge_at(n.into(), at));
            prop_assert_eq!(one, other);
        }
        Refund | Cancel => drop(both!(keys, key, own, refund_at(n.into(), at))),
        Reset => drop(both!(keys, key, own, reset())),
        Status | Wait => {}
    }
    let (one, other) = both!(keys, key, own, status_at(at));
    prop_assert_eq!(one.remaining(), other.remaining());
    for (one, other) in [
        (one.until_next(), other.until_next()),
        (one.until_rest(), other.until_rest()),
    ] {
        prop_assert!(one.abs_diff(other) <= slack, "{one:?} and {other:?}");
    }
    prop_assert_eq!(one.quota(), other.quota());
    // An average conforms in full before it is idle.
    let (contains, owes) = (keys.key(&key).is_live_at(at), !one.until_rest().is_zero());
    prop_assert!(
        contains == owes || contains && one.remaining() > 0,
        "{contains}, and it owes: {owes}"
    );
    Ok(())
}

/// Plays the verbs on twelve keys of a table and on an own of each, at the instants that `when` makes of steps.
fn play<A: Algorithm>(
    like: Meter<A>,
    most: u32,
    verbs: &[(u64, (Verb, u64, u64))],
    mut when: impl FnMut(u64) -> i128,
    own: impl Fn(&Meter<A>, &ManualClock) -> Own<A>,
) -> Result<(), TestCaseError> {
    let clock = ManualClock::new();
    let keys: Table<A> = buckets(builder(like.clone(), &clock, WhenFull::Deny), 2);
    let mut owns: HashMap<u64, Own<A>> = HashMap::new();
    for &(key, (verb, size, step)) in verbs {
        let own = owns.entry(key).or_insert_with(|| own(&like, &clock));
        let n = u32::try_from(spread(size, 1, u64::from(most) + 1)).unwrap_or(u32::MAX);
        compare(&keys, key, own, (verb, n, instant(clock.now(), when(step))))?;
    }
    prop_assert_eq!(none_for_want_of_a_slot(&keys.stats()), [0; 3]);
    Ok(())
}

fn a_meter<A: Algorithm>(like: &Meter<A>, clock: &ManualClock) -> Own<A> {
    Own::Meter(like.clone().with_clock(clock.clone()))
}

fn alone<A: Algorithm>(like: &Meter<A>, clock: &ManualClock) -> Own<A> {
    Own::Table(buckets(builder(like.clone(), clock, WhenFull::Deny), 1))
}

fn none_for_want_of_a_slot(stats: &Stats) -> [u64; 3] {
    [stats.forgiven, stats.denied, stats.admitted]
}

fn verbs() -> impl Strategy<Value = Vec<(u64, (Verb, u64, u64))>> {
    let keys = prop::collection::vec(0_u64..12, 150);
    (keys, sequences()).prop_map(|(keys, verbs)| keys.into_iter().zip(verbs).collect())
}

/// Instants in order, at distances up to the time that a burst takes to drain.
fn in_order(rest: u64) -> impl FnMut(u64) -> i128 {
    let mut now = 0;
    move |step| {
        now += i128::from(spread(step, 1, rest)) * i128::from(step % 3 != 0);
        now
    }
}

/// Instants in any order, up to three times the drain of a burst before and after.
fn in_any_order(rest: u64) -> impl FnMut(u64) -> i128 {
    move |step| i128::from(spread(step, 1, 3 * rest)) * if step % 2 == 0 { 1 } else { -1 }
}

/// As long as something has to drain, at most ten years.
fn rest(limit: &Limit) -> u64 {
    u64::try_from(limit.time_to_rest().clamp(1, 315_360_000_000_000_000)).expect("ten years")
}

/// Averages that a table of one tier takes.
fn averages() -> impl Strategy<Value = (u32, u64)> {
    exponential_limits().prop_filter("a cell a nanosecond", |(limit, period)| u64::from(*limit) <= *period)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Where an emission interval is a whole number of nanoseconds, nothing is rounded in a slot's shorter word.
    #[test]
    fn each_key_equals_a_meter_of_its_own(
        limit in fitting(whole_limits()).prop_filter("debts that end on the time line", |limit| limit.time_to_rest() < HORIZON / 1000),
        verbs in verbs(),
    ) {
        play(gcra(&limit), limit.at_once(), &verbs, in_order(rest(&limit)), a_meter)?;
        play(leaky_bucket(&limit), limit.at_once(), &verbs, in_any_order(rest(&limit)), a_meter)?;
    }

    #[test]
    fn each_key_decides_as_if_it_were_alone(limit in fitting(limits()), verbs in verbs()) {
        play(gcra(&limit), limit.at_once(), &verbs, in_any_order(rest(&limit)), alone)?;
        play(leaky_bucket(&limit), limit.at_once(), &verbs, in_order(rest(&limit)), alone)?;
    }

    #[test]
    fn each_average_key_decides_alone((limit, period) in averages(), strict: bool, verbs in verbs()) {
        let limit = limit.min(1000);
        let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
        let meter = if strict { meter.strict() } else { meter };
        play(meter.clone(), limit, &verbs, in_order(period), alone)?;
        play(meter, limit, &verbs, in_any_order(period), alone)?;
    }
}

/// A key in its home line takes cells by steps of its own, except where cells come in ticks.
#[test]
fn key_takes_as_a_meter_does() {
    fn check<A: Algorithm>(like: &Meter<A>) {
        let clock = ManualClock::new();
        let keys: Table<A> = buckets(builder(like.clone(), &clock, WhenFull::Deny), 1);
        let own = like.clone().with_clock(clock.clone());
        let (key, slack) = (keys.key(&1), Duration::from_nanos(1));
        for n in (0..300).map(|step| 1 + step % 3) {
            clock.advance(Duration::from_nanos(70_000_001)).unwrap();
            assert_alike((key.peek_n(n), own.peek_n(n)), slack).unwrap();
            let (one, other) = (key.take(n), own.take(n));
            assert_alike((one.decision(), other.decision()), slack).unwrap();
            let waits = [&one, &other].map(|taken| taken.wait().unwrap_or_default());
            assert!(waits[0].abs_diff(waits[1]) <= slack, "{waits:?}");
            let [one, other] = [one, other].map(|taken| taken.status());
            assert_eq!(one.remaining(), other.remaining());
            assert!(
                one.until_next().abs_diff(other.until_next()) <= slack,
                "{one:?} {other:?}"
            );
            assert!(
                one.until_rest().abs_diff(other.until_rest()) <= slack,
                "{one:?} {other:?}"
            );
        }
    }
    for text in ["10/s burst 5", "10/s burst 5 every 500ms", "600/min burst 7 every 1s"] {
        let quota: Quota = text.parse().unwrap();
        check(&GCRA::from_quota(quota).unwrap());
        check(&LeakyBucket::from_quota(quota).unwrap());
    }
}

#[test]
fn lagging_take_is_denied_until_its_instant() {
    let time = ManualClock::new();
    let like = GCRA::from_quota("10/s burst 3".parse::<Quota>().unwrap()).unwrap();
    let keys = KeyedBuilder::new(like.with_clock(Behind::new(&time, Duration::from_micros(4))));
    let keys = keys.with_capacity::<u64>(1).unwrap();
    let key = keys.key(&1);
    assert_eq!(key.take(3).decision(), Ok(()));
    let denied = key.take(2).decision();
    let Err(NegativeMultiDecision::BatchNonConforming(2, denial)) = denied else {
        panic!("{denied:?}");
    };
    let earliest = denial.earliest_possible();
    for ns in [100_000, 5000, 4000, 1] {
        time.set(earliest - Duration::from_nanos(ns));
        assert_eq!(key.peek_n(2), denied, "{ns} ns early");
        assert_eq!(key.take(2).decision(), denied, "{ns} ns early");
    }
    time.set(earliest);
    assert_eq!(key.peek_n(2), Ok(()));
    assert_eq!(key.take(2).decision(), Ok(()));
}

#[test]
fn denied_take_counts_by_a_strict_average() {
    let like = Exponential::new(2, Duration::from_secs(60)).unwrap().strict();
    let keys: Table<_> = buckets(builder(like, &ManualClock::new(), WhenFull::Deny), 1);
    let key = keys.key(&1);
    assert_eq!(key.take(2).decision(), Ok(()));
    let waits = [(); 3].map(|()| key.take(1).wait().expect("a denial"));
    assert!(waits.is_sorted_by(|one, next| one < next), "{waits:?}");
}

fn per_hour(cells: u32) -> GCRA {
    gcra(&Limit::new(cells.into(), 3_600_000_000_000))
}

/// Steps that change nothing take no slot.
#[test]
fn a_verb_without_effect_takes_no_slot() {
    fn assert_for<A: Algorithm>(like: &Meter<A>, when_full: WhenFull) {
        let clock = ManualClock::new();
        let keys: Table<A> = few_slots(builder(like.clone(), &clock, when_full));
        let at = clock.now();
        let late = at + Duration::from_secs(1_000_000);
        let most = keys.key(&0).status().remaining();
        let unchanged = |keys: &Table<A>, key: u64| {
            let before = keys.stats_at(late);
            for at in [at, late, late + Duration::from_secs(1)] {
                assert_eq!(keys.key(&key).peek_at(at), Ok(()));
                assert_eq!(keys.key(&key).peek_n_at(most, at), Ok(()));
                assert_eq!(keys.check_n_at(&key, 0, at), Ok(()));
                assert_eq!(keys.key(&key).take_at(0, at).decision(), Ok(()));
                assert_eq!(keys.key(&key).check_up_to_at(0, at).cells(), 0);
                let never = Err(NegativeMultiDecision::InsufficientCapacity(most + 1));
                assert_eq!(keys.check_n_at(&key, most + 1, at), never);
                assert_eq!(keys.key(&key).peek_n_at(most + 1, at), never);
                assert_eq!(keys.key(&key).take_at(most + 1, at).decision(), never);
                assert_eq!(keys.key(&key).charge_at(0, at), 0);
                keys.key(&key).refund_at(5, at);
                assert!(!keys.key(&key).is_live_at(at));
            }
            keys.key(&key).reset();
            assert_eq!(keys.stats_at(late), before);
        };
        unchanged(&keys, 1);
        assert_eq!(keys.stats().taken, BALLAST);
        // Nor after other keys came and went, which leaves a watermark.
        (0..60).for_each(|key| assert!(keys.check_at(&key, at).is_ok()));
        (60..70).for_each(|key| assert_eq!(keys.key(&key).charge_at(1, late), 0));
        unchanged(&keys, 99);
        // Nor if all are taken and live.
        let mut others = 1000..;
        while keys.stats_at(late).live < BUCKET_SLOTS {
            assert_eq!(keys.key(&others.next().unwrap()).charge_at(1, late), 0);
        }
        assert_eq!(keys.stats_at(late).live, BUCKET_SLOTS, "{when_full:?}");
        let before = keys.stats_at(late);
        keys.key(&200).reset();
        keys.key(&200).refund_at(1, late);
        keys.key(&200).refund_at(1, at);
        assert_eq!(keys.stats_at(late), before);
    }
    for when_full in POLICIES {
        assert_for(&per_hour(5), when_full);
        assert_for(&leaky_bucket(&Limit::per_second(5)), when_full);
        assert_for(&Exponential::new(5, Duration::from_secs(60)).unwrap(), when_full);
    }
}

/// If a denial inserted its key, a client could fill the table by denials alone.
#[test]
fn a_denial_changes_nothing() {
    let clock = ManualClock::new();
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = buckets(builder(per_hour(2), &clock, WhenFull::Deny), 1);
    assert_eq!(keys.check_n(&1, 2), Ok(()));
    let (stats, before) = (keys.stats(), keys.key(&1).status());
    let denied = keys.check(&1).unwrap_err();
    for _ in 0..100 {
        assert_eq!(keys.check(&1), Err(denied));
        assert_eq!(
            keys.check_n(&1, 1),
            Err(NegativeMultiDecision::BatchNonConforming(1, denied))
        );
        assert_eq!(keys.key(&1).check_up_to(2).cells(), 0);
    }
    assert_eq!(keys.stats(), stats);
    assert_eq!(keys.key(&1).status().until_rest(), before.until_rest());
}

/// A reset of a key without a slot takes no slot of another key, and does not move time.
#[test]
fn resetting_an_absent_key_changes_no_other() {
    let clock = ManualClock::new();
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(per_hour(1), &clock, WhenFull::Forgive));
    let (at, late) = (clock.now(), clock.now() + Duration::from_secs(3601));
    (0..60).for_each(|key| assert!(keys.check_at(&key, at).is_ok()));
    (100..160).for_each(|key| assert!(keys.check_at(&key, late).is_ok()));
    (1000..1100).for_each(|key| keys.key(&key).reset());
    (100..160).for_each(|key| assert!(keys.check_at(&key, late).is_err(), "{key}"));
    assert_eq!(none_for_want_of_a_slot(&keys.stats_at(late)), [0; 3]);
}

#[test]
fn resetting_a_key_changes_no_other() {
    let clock = ManualClock::new();
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(per_hour(3), &clock, WhenFull::Deny));
    (0..60).for_each(|key| assert_eq!(keys.key(&key).charge(100), 0));
    keys.key(&7).reset();
    assert_eq!(keys.key(&7).status().remaining(), 3);
    assert!(!keys.key(&7).is_live() && keys.key(&8).is_live());
    assert_eq!(keys.stats().live, BUCKET_SLOTS - 1);
    assert!((0..60).filter(|key| *key != 7).all(|key| keys.check(&key).is_err()));
}

#[test]
fn key_equals_its_borrowed_form() {
    let clock = ManualClock::new();
    let texts: KeyedMeter<String, GCRA<ManualClock>> = buckets(builder(per_hour(2), &clock, WhenFull::Deny), 1);
    assert!(texts.check(&String::from("alice")).is_ok());
    assert!(texts.check("alice").is_ok());
    assert!(texts.check("alice").is_err() && texts.check(&String::from("alice")).is_err());
    assert!(texts.check("bob").is_ok());
    assert_eq!(texts.stats().taken, 2);
    let bytes: KeyedMeter<[u8], GCRA<ManualClock>> = buckets(builder(per_hour(1), &clock, WhenFull::Deny), 1);
    assert!(bytes.check(&[1, 2][..]).is_ok());
    assert!(bytes.check(&vec![1, 2][..]).is_err());
    let pairs: KeyedMeter<(u8, &str), GCRA<ManualClock>> = buckets(builder(per_hour(1), &clock, WhenFull::Deny), 1);
    assert!(pairs.check(&(1, "a")).is_ok() && pairs.check(&(2, "a")).is_ok());
    assert!(pairs.check(&(1, "a")).is_err());
}

#[test]
fn parts_of_a_key_may_be_borrowed() {
    struct Service {
        limits: KeyedMeter<(&'static str, u8)>,
    }

    impl Service {
        fn admits(&self, user: &str, route: u8) -> bool {
            self.limits.check(&(user, route)).is_ok() && self.limits.key(&(user, route)).is_live()
        }
    }

    let service = Service {
        limits: KeyedMeter::with_capacity(Quota::per_hour(nonzero!(1u32)), 100).unwrap(),
    };
    let user = String::from("alice");
    assert!(service.admits(&user, 1) && service.admits(&user, 2));
    assert!(!service.admits(&user.clone(), 1));
}

#[test]
fn clones_share_the_table() {
    let keys = KeyedMeter::<str>::with_capacity("2/h".parse::<Quota>().unwrap(), 100).unwrap();
    let other = keys.clone();
    assert!(keys.check("a").is_ok() && other.check("a").is_ok());
    assert!(keys.check("a").is_err() && other.check("a").is_err());
    drop(keys);
    assert_eq!(other.stats().live, 1);
    let text = format!("{other:?}");
    assert_eq!(
        text,
        "KeyedMeter { quota: 2/h, capacity: 415, tiers: 1, when_full: Forgive, .. }"
    );
}

#[test]
fn keys_are_decided_by_the_meters_clock() {
    let clock = ManualClock::new();
    let keys: KeyedMeter<u8, LeakyBucket<ManualClock>> =
        buckets(builder(leaky_bucket(&Limit::per_second(1)), &clock, WhenFull::Deny), 1);
    assert_eq!(keys.key(&1).take(1).status().remaining(), 0);
    let denied = keys.check(&1).unwrap_err();
    assert_eq!(denied.earliest_possible(), clock.now() + Duration::from_secs(1));
    clock.advance(Duration::from_millis(999)).unwrap();
    assert!(keys.key(&1).peek().is_err() && keys.key(&1).is_live());
    clock.advance(Duration::from_millis(1)).unwrap();
    assert!(!keys.key(&1).is_live());
    assert_eq!(keys.key(&1).check_up_to(5).cells(), 1);
    assert_eq!(keys.key(&1).charge(3), 0);
    keys.key(&1).refund(4);
    assert_eq!(keys.key(&1).peek_n(1), Ok(()));
    keys.key(&1).reset();
    assert_eq!(keys.key(&1).status().until_rest(), Duration::ZERO);
}

#[test]
fn table_has_the_requested_size() {
    let quota = Quota::per_second(nonzero!(10_u32));
    let of = |keys| KeyedMeter::<u64>::with_capacity(quota, keys).unwrap();
    // Up to 24 buckets there is room for half as many keys again.
    for (keys, buckets) in [
        (1, 1),
        (276, 1),
        (278, 2),
        (1000, 4),
        (4096, 15),
        (6640, 24),
        (9960, 24),
        (10_000, 25),
        (100_000, 241),
    ] {
        let table = of(keys);
        assert_eq!(table.stats().slots, buckets * BUCKET_SLOTS);
        assert_eq!(table.memory(), buckets * BUCKET, "{keys} keys");
        assert_eq!(table.capacity(), buckets * 415);
        assert!(table.capacity() >= keys && table.memory() <= BUCKET + table.capacity() * 20);
        let most = if buckets > 24 { keys } else { keys + keys / 2 };
        assert!(table.memory() <= BUCKET + most * 20, "{keys} keys");
        assert_eq!(table.stats().occupancy().to_bits(), 0);
    }
    let within = |bytes| KeyedMeter::<u64>::with_memory(quota, bytes).map(|table| table.memory());
    assert_eq!(within(BUCKET), Ok(BUCKET));
    assert_eq!(within(BUCKET + 8191), Ok(BUCKET));
    assert_eq!(within(1_000_000), Ok(122 * BUCKET));
    let (bytes, least) = (BUCKET - 1, BUCKET);
    assert_eq!(within(bytes), Err(InvalidTable::TooLittleMemory { bytes, least }));
    let buckets = usize::MAX / BUCKET;
    assert_eq!(within(usize::MAX), Err(InvalidTable::TooMuchMemory { buckets }));
}

#[test]
fn invalid_tables_are_exact_errors() {
    let quota = Quota::per_second(nonzero!(10_u32));
    let bad = quota.cell_weight(nonzero!(11_u32));
    let why = |keys, quota| KeyedMeter::<u64>::with_capacity(quota, keys).map(drop).unwrap_err();
    let inconsistent = InconsistentCapacity::WeightAboveBurst { weight: 11, burst: 10 };
    assert_eq!(why(1, bad), InvalidTable::Quota(inconsistent));
    assert_eq!(why(1, bad).to_string(), inconsistent.to_string());
    assert!(why(1, bad).source().is_none(), "its text is that of the cause");
    let tiers = (1..16).try_fold(KeyedBuilder::new(per_hour(1)), |builder, _| {
        builder.tier(quota).map(|(builder, _)| builder)
    });
    let too_many = tiers.unwrap().tier(quota).map(drop).unwrap_err();
    let buckets = usize::MAX.div_ceil(415);
    let texts = [
        (
            why(0, quota),
            "a table needs a capacity of at least one key".to_string(),
        ),
        (
            why(usize::MAX, quota),
            format!("no memory for a table of {buckets} buckets of 8 KiB"),
        ),
        (
            KeyedMeter::<u64>::with_memory(quota, 1000).map(drop).unwrap_err(),
            "1000 bytes are too few for a table, the smallest takes 8192".to_string(),
        ),
        (
            too_many,
            "a table has at most 16 tiers, and an adjustable one 15".to_string(),
        ),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
    }
    let table = KeyedMeter::<u64>::with_capacity(quota, 1).unwrap();
    let (_, tier) = KeyedBuilder::new(per_hour(1)).tier(quota).unwrap();
    let foreign: ForeignTier = table.in_tier(tier).map(drop).unwrap_err();
    assert_eq!(
        foreign.to_string(),
        "the tier is another table's: use one that this table's builder returned"
    );
    assert_eq!(table.set_quota(tier, quota), Err(InvalidTable::ForeignTier(foreign)));
    assert!(table.in_tier(Tier::FIRST).is_ok());
}
