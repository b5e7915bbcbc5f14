//! Tiers: a word is read on the scale of the tier it was written on, and a key that moves keeps its debts.

use crate::support::keyed::{buckets, builder};
use crate::support::limit::Limit;
use crate::support::oracle::ExactBucket;
use crate::support::subject::{gcra, leaky_bucket, quota};
use crate::support::time::{HORIZON, SECOND, instant, since};
use crate::support::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{InvalidTable, KeyedBuilder, Tier, WhenFull};
use ratelimit_meter::{Exponential, GCRA, KeyedMeter, Meter, NegativeMultiDecision, Quota};
use std::time::Duration;

type Table<A> = KeyedMeter<u64, Meter<A, ManualClock>>;

/// Limits of one period, so that a debt is the same number in the measure of each; of any rate, burst and weight.
fn tiers() -> impl Strategy<Value = Vec<Limit>> {
    let tier = any::<[u64; 3]>().prop_map(|[cells, burst, weight]| {
        let cells = spread(cells, 1, 120_000_000);
        let burst = spread(burst, 1, (cells * 1_000_000).min(4_000_000_000));
        Limit::per_second(cells).burst(burst).weight(spread(weight, 1, burst))
    });
    prop::collection::vec(tier, 2..=16).prop_map(|tiers| {
        let bits = 62 - tiers.len().next_power_of_two().ilog2();
        tiers.into_iter().map(|limit| limit.in_words_of(bits)).collect()
    })
}

/// A table of two buckets, and its tiers: the meter's and these.
fn with_tiers<A: Algorithm>(like: Meter<A>, clock: &ManualClock, more: &[Limit]) -> (Table<A>, Vec<Tier>) {
    let (mut builder, mut tiers) = (builder(like, clock, WhenFull::Deny), vec![Tier::FIRST]);
    for limit in more {
        let (more, tier) = builder.tier(quota(limit)).expect("at most 16");
        builder = more;
        tiers.push(tier);
    }
    (buckets(builder, 2), tiers)
}

/// Plays steps on one key in any tier, in the order of time, against the exact level. Each move rounds the debt up by less than a unit of the new
/// tier. The time of a reading is rounded down, to a unit of either tier.
fn play<A: Algorithm>(like: Meter<A>, tiers: &[Limit], steps: &[(usize, u64, u64)]) -> Result<(), TestCaseError> {
    let clock = ManualClock::new();
    let (keys, handles) = with_tiers(like, &clock, &tiers[1..]);
    let unit = |limit: &Limit| limit.unit();
    let (mut tier, mut level, mut then, mut now, mut off) = (0, 0_i128, 0, 0, 0_i128);
    for &(asked, size, wait) in steps {
        let asked = asked % tiers.len();
        // The volume drained by the former tier.
        level = (level - tiers[tier].drained(now - then)).max(0);
        (then, now) = (now, now + i128::from(spread(wait, 1, SECOND)) * i128::from(wait % 2));
        let rest = (level - tiers[tier].drained(now - then)).max(0);
        let limit = &tiers[asked];
        let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("what conforms at once");
        if limit.time_to_drain(rest + limit.capacity()) > HORIZON {
            // More than a word of that tier can owe.
            continue;
        }
        let handle = keys.in_tier(handles[asked]).expect("its own");
        let moved = if asked == tier {
            0
        } else {
            2 * unit(limit) + unit(&tiers[tier])
        };
        let error = off + moved + 2 * unit(limit);
        let room = limit.capacity() - rest - limit.cost(n);
        let at = instant(clock.now(), now);
        match handle.check_n_at(&0, n, at) {
            Ok(()) => {
                prop_assert!(room >= -error, "{n} cells of {limit:?} with {rest} owed");
                off += moved;
                (tier, level, then) = (asked, rest + limit.cost(n), now);
                prop_assert_eq!(keys.key(&0).status_at(at).quota(), Some(quota(limit)));
            }
            Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => {
                prop_assert!(room < error, "{n} cells of {limit:?} with {rest} owed");
                let earliest = since(clock.now(), denied.earliest_possible());
                let least = ExactBucket::filled(*limit, rest, now).excess(n, now);
                // A denial moves no key, so the debt drains at the rate of the key's own tier.
                let (own, error) = (&tiers[tier], error + unit(&tiers[tier]));
                prop_assert!(earliest >= now + own.time_to_drain(least - error));
                prop_assert!(earliest <= now + own.time_to_drain(least + error) + 1);
                prop_assert_eq!(
                    keys.key(&0).status_at(at).quota(),
                    Some(quota(&tiers[tier])),
                    "a denial moves nobody"
                );
            }
            Err(never) => prop_assert!(false, "{never}"),
        }
        // The debt, by the handle without a tier: as much, or so little more.
        let owed = (level - tiers[tier].drained(now - then)).max(0);
        let status = keys.key(&0).status_at(at);
        let rests = i128::try_from(status.until_rest().as_nanos()).expect("some years");
        let own = &tiers[tier];
        prop_assert!(rests >= own.time_to_drain(owed - off - 2 * unit(own)), "a debt is lost");
        prop_assert!(
            rests <= own.time_to_drain(owed + off + 2 * unit(own)) + 1,
            "a debt grows"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn tier_change_keeps_a_keys_debts(
        tiers in tiers(),
        steps in prop::collection::vec((0_usize..16, any::<u64>(), any::<u64>()), 1..60),
    ) {
        play(gcra(&tiers[0]), &tiers, &steps)?;
        play(leaky_bucket(&tiers[0]), &tiers, &steps)?;
    }

    /// Over a whole span, at most the largest burst and the drain of the highest rate, with times shuffled in any way.
    #[test]
    fn no_time_is_credited_by_two_tiers(
        tiers in tiers(),
        span in 0_u64..2 * SECOND,
        steps in prop::collection::vec((0_usize..16, any::<u64>(), any::<u64>()), 1..200),
    ) {
        let unit = |limit: &Limit| limit.unit();
        let clock = ManualClock::new();
        let (keys, handles) = with_tiers(gcra(&tiers[0]), &clock, &tiers[1..]);
        let (mut admitted, mut error) = (0, 0);
        for (tier, size, time) in steps {
            let (tier, at) = (tier % tiers.len(), [0, span, time % (span + 1)][usize::try_from(time % 3).unwrap()]);
            let limit = &tiers[tier];
            let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).unwrap();
            let handle = keys.in_tier(handles[tier]).unwrap();
            if handle.check_n_at(&0, n, instant(clock.now(), at.into())).is_ok() {
                admitted += limit.cost(n);
            }
            error += 5 * tiers.iter().map(unit).max().unwrap();
        }
        let burst = tiers.iter().map(Limit::capacity).max().unwrap();
        let drained = tiers.iter().map(|limit| limit.drained(span.into())).max().unwrap();
        prop_assert!(admitted <= burst + drained + error, "{admitted} of {burst} and {drained}");
    }

    /// A denial moves no key, so the debt drains at the rate of the key's own tier until the instant of the denial.
    #[test]
    fn denial_by_another_tier_is_exact(
        tiers in tiers(), from in 0_usize..16, to in 0_usize..16, charged: u64, sizes: [u64; 2], late: u64,
    ) {
        fn check<A: Algorithm>(like: Meter<A>, tiers: &[Limit], [from, to]: [usize; 2], seeds: [u64; 4]) -> Result<(), TestCaseError> {
            let clock = ManualClock::new();
            let (keys, handles) = with_tiers(like, &clock, &tiers[1..]);
            let [from, to] = [from, to].map(|tier| keys.in_tier(handles[tier % tiers.len()]).unwrap());
            let ns = Duration::from_nanos(1);
            let _ = from.key(&0).charge(spread(seeds[0], 1, 1 << 34));
            let at = clock.now() + Duration::from_nanos(spread(seeds[1], 1, 1 << 50));
            for seed in [1, seeds[2], seeds[3]] {
                let n = u32::try_from(spread(seed, 1, u64::from(u32::MAX))).unwrap();
                let [peeked, checked] = [to.key(&0).peek_n_at(n, at), to.check_n_at(&0, n, at)];
                prop_assert_eq!(peeked, checked);
                let Some(earliest) = checked.err().and_then(|denied| denied.earliest_possible()) else { continue };
                prop_assert!(earliest > at);
                if since(clock.now(), earliest) < HORIZON {
                    prop_assert!(to.key(&0).peek_n_at(n, earliest - ns).is_err());
                    prop_assert_eq!(to.key(&0).peek_n_at(n, earliest), Ok(()));
                    prop_assert_eq!(to.key(&0).take_at(n, at).wait(), Some(earliest - at));
                }
            }
            Ok(())
        }
        let seeds = [charged, late, sizes[0], sizes[1]];
        check(gcra(&tiers[0]), &tiers, [from, to], seeds)?;
        check(leaky_bucket(&tiers[0]), &tiers, [from, to], seeds)?;
        let averages: Vec<_> = tiers.iter().map(|limit| Limit { burst: limit.cells, weight: 1, ..*limit }).collect();
        if let Ok(like) = Exponential::from_quota(quota(&averages[0])) {
            check(like, &averages, [from, to], seeds)?;
        }
    }

    #[test]
    fn idle_key_is_idle_in_each_tier(tiers in tiers(), from in 0_usize..16, to in 0_usize..16) {
        let clock = ManualClock::new();
        let (keys, handles) = with_tiers(gcra(&tiers[0]), &clock, &tiers[1..]);
        let [from, to] = [from, to].map(|tier| tier % tiers.len());
        let [one, other] = [from, to].map(|tier| keys.in_tier(handles[tier]).unwrap());
        prop_assert_eq!(one.check_n_at(&0, tiers[from].at_once(), clock.now()), Ok(()));
        let rested = clock.now() + keys.key(&0).status().until_rest();
        prop_assert!(!keys.key(&0).is_live_at(rested) && !other.key(&0).is_live_at(rested));
        prop_assert_eq!(other.key(&0).status_at(rested).until_rest(), Duration::ZERO);
        prop_assert_eq!(other.key(&0).status_at(rested).remaining(), tiers[to].at_once());
        prop_assert_eq!(other.check_n_at(&0, tiers[to].at_once(), rested), Ok(()));
    }
}

/// A client that has used up its cells, then pays for more, and waits for the instant of the denial.
#[test]
fn key_waits_at_the_rate_of_its_tier() {
    let clock = ManualClock::new();
    let free = GCRA::from_quota("10/min".parse().unwrap()).unwrap();
    let (builder, paying) = builder(free, &clock, WhenFull::Deny)
        .tier("1000/min burst 10".parse().unwrap())
        .unwrap();
    let keys: Table<_> = buckets(builder, 1);
    assert_eq!(keys.check_n(&0, 10), Ok(()));
    let paying = keys.in_tier(paying).unwrap();
    let denied = paying.check(&0).unwrap_err();
    assert_eq!(denied.wait_time_from(clock.now()), Duration::from_secs(6));
    clock.set(denied.earliest_possible());
    assert_eq!(paying.check(&0), Ok(()));
    let denied = paying.check(&0).unwrap_err();
    assert_eq!(denied.wait_time_from(clock.now()), Duration::from_millis(60));
}

/// The share of the period that a debt takes to drain, by an average: e-fold in each.
#[test]
fn an_average_keeps_the_cells_it_has_counted() {
    let clock = ManualClock::new();
    let like = Exponential::new(10, Duration::from_secs(60)).unwrap();
    let per_hour: Quota = "1000/h".parse().unwrap();
    let (builder, paying) = builder(like, &clock, WhenFull::Deny).tier(per_hour).unwrap();
    let keys: Table<_> = buckets(builder, 1);
    assert_eq!(keys.key(&0).charge(8), 0);
    let paying = keys.in_tier(paying).unwrap();
    // 1/(1 - e^(-1/1000)) is 1000.5 cells, of which 8 are taken.
    assert_eq!(paying.key(&0).status().remaining(), 992);
    assert_eq!(paying.check_n(&0, 992), Ok(()));
    assert!(keys.check(&0).is_err());
    assert_eq!(keys.key(&0).status().quota(), Some(per_hour));
    assert_eq!(keys.in_tier(Tier::FIRST).unwrap().key(&0).status().remaining(), 0);
}

#[test]
fn sixteen_tiers_are_independent() {
    let clock = ManualClock::new();
    let limit = |tier: u64| Limit::new(10 + tier, 3600 * SECOND);
    let more: Vec<Limit> = (1..16).map(limit).collect();
    let (keys, tiers) = with_tiers(gcra(&limit(0)), &clock, &more);
    assert_eq!((keys.tiers(), tiers.len()), (16, 16));
    for (key, tier) in (0_u32..).zip(&tiers) {
        let handle = keys.in_tier(*tier).unwrap();
        assert_eq!(handle.key(&u64::from(key)).status().remaining(), 10 + key);
        assert_eq!(handle.check_n(&u64::from(key), 10 + key), Ok(()));
        assert!(handle.check(&u64::from(key)).is_err());
    }
    // A handle without a tier uses the tier of each key.
    for tier in 0..16 {
        assert_eq!(keys.key(&tier).status().quota(), Some(quota(&limit(tier))));
        let denied = keys.check_n(&tier, 10).unwrap_err();
        let NegativeMultiDecision::BatchNonConforming(10, denied) = denied else {
            panic!("{denied}");
        };
        let own = ExactBucket::filled(limit(tier), limit(tier).capacity(), 0);
        let earliest = since(clock.now(), denied.earliest_possible());
        // With sixteen limits a unit is 4 ns.
        let exact = limit(tier).time_to_drain(own.excess(10, 0));
        assert!((exact - 9..=exact).contains(&earliest), "{earliest} for {exact}");
    }
    let stats = keys.stats();
    assert_eq!((stats.taken, stats.live), (16, 16));
}

#[test]
fn peeking_by_another_tier_moves_no_key() {
    let clock = ManualClock::new();
    let [free, paid] = [2, 100].map(|cells| Limit::new(cells, 3600 * SECOND));
    let (keys, tiers) = with_tiers(leaky_bucket(&free), &clock, &[paid]);
    let paying = keys.in_tier(tiers[1]).unwrap();
    assert_eq!(keys.check_n(&0, 2), Ok(()));
    assert_eq!(paying.key(&0).peek_n(98), Ok(()));
    assert!(paying.key(&0).peek_n(99).is_err() && paying.check_n(&0, 99).is_err());
    assert_eq!(paying.key(&0).status().remaining(), 98);
    assert!(paying.key(&0).is_live());
    assert_eq!(paying.key(&0).take(0).status().remaining(), 98);
    assert_eq!(keys.key(&0).status().quota(), Some(quota(&free)));
    assert!(keys.check(&0).is_err());
    // Moved, and back: into debt, by the cells that the other tier admitted.
    assert_eq!(paying.check(&0), Ok(()));
    assert_eq!(keys.check(&0), Ok(()));
    assert!(keys.in_tier(Tier::FIRST).unwrap().check(&0).is_err());
    assert_eq!(keys.in_tier(Tier::FIRST).unwrap().key(&0).charge(1), 0);
    let hours = |cells: u32| Duration::from_secs(1800) * cells;
    assert_eq!(keys.key(&0).status().until_rest(), hours(5));
}

/// Tiers are of the first meter's algorithm and mode.
#[test]
fn tiers_of_a_strict_average_are_strict() {
    let like = Exponential::new(1, Duration::from_secs(60)).unwrap().strict();
    let clock = ManualClock::new();
    let builder: KeyedBuilder<_> = KeyedBuilder::new(like.with_clock(clock.clone()));
    let (builder, quick) = builder.tier("1/s".parse().unwrap()).unwrap();
    let keys: KeyedMeter<u64, Exponential<ManualClock>> = builder.with_capacity(1).unwrap();
    let quick = keys.in_tier(quick).unwrap();
    assert!(quick.check(&0).is_ok());
    let first = quick.check(&0).unwrap_err();
    let second = quick.check(&0).unwrap_err();
    assert!(
        second.earliest_possible() > first.earliest_possible(),
        "what is refused counts"
    );
}

#[test]
fn a_tier_that_is_named_decides() {
    let like = GCRA::from_quota("2/h".parse().unwrap()).unwrap();
    let (builder, paying) = KeyedBuilder::new(like).tier("5/h".parse().unwrap()).unwrap();
    let keys = builder.with_capacity::<u32>(10).unwrap();
    let [free, paid] = [Tier::FIRST, paying].map(|tier| keys.in_tier(tier).unwrap());
    let at = std::time::Instant::now();
    assert_eq!((0..9).filter(|_| paid.check_at(&7, at).is_ok()).count(), 5);
    assert_eq!(
        keys.key(&7).status_at(at).quota().unwrap().to_string(),
        "5/h",
        "it is of that tier from then on"
    );
    assert_eq!((0..9).filter(|_| free.check_at(&8, at).is_ok()).count(), 2);
    assert!(free.check(&9).is_ok());
    assert_eq!(keys.check_at(&7, at), paid.check_at(&7, at));
    assert_eq!(keys.quota(paying).unwrap().unwrap().to_string(), "5/h");
}

#[test]
fn a_ticket_keeps_its_tier_where_it_exists() {
    let like = GCRA::from_quota("2/h".parse().unwrap()).unwrap();
    let (builder, paying) = KeyedBuilder::new(like.clone()).tier("5/h".parse().unwrap()).unwrap();
    let (keys, at) = (builder.with_capacity::<u32>(10).unwrap(), std::time::Instant::now());
    let single = KeyedBuilder::new(like).with_capacity::<u32>(10).unwrap();
    let of_tier = |tier| keys.in_tier(tier).unwrap().ticket(&7);
    for (table, burst) in [(&keys, 5), (&single, 2)] {
        let key = table.redeem(of_tier(paying));
        assert_eq!((0..9).filter(|_| key.check_at(at).is_ok()).count(), burst);
    }
    assert!(keys.redeem(of_tier(Tier::FIRST)).check_at(at).is_err());
}

/// A slow tier keeps cells that a fast one would have drained, so a fast tier must not be credited the same hour twice.
#[test]
fn going_back_in_time_and_tiers_admits_once() {
    let like = GCRA::from_quota("1/h burst 1000".parse().unwrap()).unwrap();
    let (builder, fast) = KeyedBuilder::new(like).tier("1000/h".parse().unwrap()).unwrap();
    let keys = builder.with_capacity::<u32>(10).unwrap();
    let [slow, fast] = [Tier::FIRST, fast].map(|tier| keys.in_tier(tier).unwrap());
    let (hour, now) = (Duration::from_secs(3600), std::time::Instant::now());
    let mut admitted = 0;
    for _ in 0..10 {
        admitted += (0..900).filter(|_| fast.check_at(&7, now + hour).is_ok()).count();
        for (tier, at) in [(&slow, now + hour), (&fast, now)] {
            admitted += usize::from(tier.check_at(&7, at).is_ok());
        }
    }
    assert_eq!(admitted, 1000);
}

#[test]
fn reset_by_one_tier_keeps_other_tiers_time() {
    let like = GCRA::from_quota("1/h".parse().unwrap()).unwrap();
    let (builder, other) = KeyedBuilder::new(like).tier("2/h".parse().unwrap()).unwrap();
    let keys = builder.with_memory::<u32>(8192).unwrap();
    let other = keys.in_tier(other).unwrap();
    let now = std::time::Instant::now();
    assert!(keys.check_at(&1, now).is_ok() && keys.check_at(&2, now).is_ok());
    other.key(&1).reset();
    assert_eq!(other.key(&1).status_at(now).remaining(), 2);
    let denied = keys.check_at(&2, now).unwrap_err();
    assert_eq!(denied.wait_time_from(now), Duration::from_secs(3600));
}

#[test]
fn denial_without_slot_has_the_requested_tiers_quota() {
    let like = GCRA::from_quota("2/h".parse().unwrap()).unwrap();
    let (builder, paying) = KeyedBuilder::new(like).tier("5/h".parse().unwrap()).unwrap();
    let keys = builder.when_full(WhenFull::Deny).with_memory::<u32>(8192).unwrap();
    let at = std::time::Instant::now();
    assert!((0..508).all(|key| keys.check_at(&key, at).is_ok()));
    for (tier, quota) in [(Tier::FIRST, "2/h"), (paying, "5/h")] {
        let taken = keys.in_tier(tier).unwrap().key(&999).take_at(1, at);
        assert!(taken.decision().is_err());
        assert_eq!(taken.status().quota().unwrap().to_string(), quota);
    }
}

/// In words of many limits, less than a unit drains in a nanosecond, and a tick is still exact.
#[test]
fn denial_with_ticks_is_exact_in_narrow_words() {
    for more in 0..9 {
        let clock = ManualClock::new();
        let quota: Quota = "1/s burst 1 every 1s".parse().expect("a quota");
        let like = GCRA::from_quota(quota).expect("a limit").with_clock(clock.clone());
        let mut builder = KeyedBuilder::new(like);
        for _ in 0..more {
            builder = builder.tier(quota).expect("at most 16").0;
        }
        let keys = builder.with_capacity::<u64>(100).expect("a table");
        for key in 0..20 {
            clock
                .advance(Duration::from_nanos(123_456_789 * key))
                .expect("some time");
            assert_eq!(keys.check(&key), Ok(()));
            let denied = keys.check(&key).expect_err("none left").earliest_possible();
            assert_eq!(keys.key(&key).status().until_next(), denied.duration_since(clock.now()));
            assert!(keys.key(&key).peek_at(denied - Duration::from_nanos(1)).is_err());
            assert_eq!(keys.key(&key).peek_at(denied), Ok(()), "{more} more tiers");
        }
    }
}

#[test]
fn tiers_of_cloned_builders_differ() {
    let quota = |text: &str| text.parse::<Quota>().expect("a quota");
    let builder = KeyedBuilder::new(GCRA::from_quota(quota("1/h")).expect("a limit"));
    let (with_tier, tier) = builder.clone().tier(quota("1000/min")).expect("at most 16");
    let (with_other, other) = builder.clone().tier(quota("2/h")).expect("at most 16");
    let table = |builder: KeyedBuilder<GCRA>| builder.with_capacity::<u32>(1).expect("a table");
    assert!(table(builder).in_tier(tier).is_err(), "the tier was added to a clone");
    assert!(
        table(with_other).quota(tier).is_err(),
        "another tier of the same number"
    );
    for table in [table(with_tier.clone()), table(with_tier)] {
        assert_eq!(table.quota(tier).expect("its tier"), Some(quota("1000/min")));
        assert!(table.in_tier(tier).expect("its tier").check_n(&1, 1000).is_ok());
        assert!(table.in_tier(other).is_err());
    }
}

/// T and tau, which a table with few tiers counts in units of a nanosecond or less.
#[test]
fn parameters_fit_tables_of_all_numbers_of_tiers() {
    let [ns, year] = [1, 31_557_600_000_000_000].map(Duration::from_nanos);
    let parameters = [
        (30 * ns, Duration::ZERO),
        (7_000_003 * ns, Duration::new(20, 9)),
        (year, 30 * year),
        (3 * year, 190 * year),
    ];
    // Each time rounds drained volumes in another way.
    let times = [0, 1, 977, 5_000_000_007, 123_456_789_012_345].map(Duration::from_nanos);
    for (((t, tau), more), after) in parameters
        .into_iter()
        .flat_map(|both| (0..16_u32).map(move |more| (both, more)))
        .flat_map(|limit| times.map(|after| (limit, after)))
    {
        let clock = ManualClock::new();
        let meter = GCRA::with_parameters(t, tau, None).with_clock(clock.clone());
        let mut builder = KeyedBuilder::new(meter.clone());
        for _ in 0..more {
            builder = builder.tier("2/s".parse().expect("a quota")).expect("at most 16").0;
        }
        let keys = builder.with_capacity::<u64>(100).expect("a table");
        clock.set(clock.now() + after);
        let cells = u32::try_from(1 + tau.as_nanos() / t.as_nanos()).expect("some cells");
        assert_eq!(keys.key(&1).status().remaining(), cells);
        assert_eq!([keys.check_n(&1, cells), meter.check_n(cells)], [Ok(()); 2]);
        let [denied, exact] =
            [keys.check(&1), meter.check()].map(|denied| denied.expect_err("none left").earliest_possible());
        let apart = denied.max(exact).duration_since(denied.min(exact));
        // Two units, and one nanosecond for rounding. A unit is longer if a word has to count more than the 36 years of the time line.
        let two_units_ns = f64::from((more + 1).next_power_of_two()) / 2.0;
        let longer = 1.0 + (t + tau).div_duration_f64(36 * year);
        assert!(
            apart <= ns + Duration::from_secs_f64(1e-9 * two_units_ns * longer),
            "{apart:?}: {t:?} {tau:?}, {more} more tiers, {after:?} later"
        );
        assert!(keys.key(&1).peek_at(denied - ns).is_err());
        assert_eq!(keys.key(&1).peek_at(denied), Ok(()));
    }
    let mut builder = KeyedBuilder::new(GCRA::with_parameters(ns, ns, None));
    assert!(builder.clone().with_capacity::<u64>(1).is_ok());
    for _ in 0..2 {
        builder = builder.tier("2/s".parse().expect("a quota")).expect("at most 16").0;
    }
    let narrow = InvalidTable::WordTooNarrow { bits: 60, tiers: 3 };
    assert_eq!(
        builder.with_capacity::<u64>(1).map(drop),
        Err(narrow),
        "a billion a second"
    );
}
