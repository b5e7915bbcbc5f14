//! `Dual`: construction, denials, the counts of a strict half, and the bursts that two averages admit. `dual_model.rs` and
//! `dual_oracle.rs` hold its laws, `dual_threads.rs` many threads.
#![cfg(feature = "dual")]

use crate::support::subject::timeless;
use crate::support::time::{earliest_instant, fixed_time, latest_instant};
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{
    Decider, Dual, DualNonConformance, DualQuota, Exponential, GCRA, LeakyBucket, MeterKind, MultiDecider,
    NegativeDualDecision, NegativeMultiDecision, NonConformance, Quota, RefusedBy, nonzero,
};
use std::error::Error;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

fn pair<A: MeterKind, B: MeterKind>(quotas: &str) -> Dual<A, B> {
    Dual::from_quota(quotas.parse().expect("two quotas")).expect("two limits")
}

fn left<A: MeterKind, B: MeterKind, C: Clock>(pair: &Dual<A, B, C>, at: Instant) -> [u32; 2] {
    let status = pair.status_at(at);
    [status.first().remaining(), status.second().remaining()]
}

#[test]
fn idle_pair_admits_exactly_the_smaller_burst() {
    fn check<A: MeterKind, B: MeterKind>(quotas: &str, burst: usize) {
        let (pair, now) = (pair::<A, B>(quotas), Instant::now());
        assert_eq!((0..1000).filter(|_| pair.check_at(now).is_ok()).count(), burst);
    }
    check::<GCRA, GCRA>("10/s & 1000/h", 10);
    check::<GCRA, LeakyBucket>("10/s & 7/h", 7);
    check::<LeakyBucket, Exponential>("10/s burst 3 & 7/h", 3);
    check::<Exponential, Exponential>("10/s & 7/h", 7);
}

#[test]
fn one_limits_denial_costs_the_other_nothing() {
    for (quotas, is_left) in [("2/s & 100/h", [0, 98]), ("100/s & 2/h", [98, 0])] {
        let (pair, now) = (pair::<GCRA, LeakyBucket>(quotas), Instant::now());
        assert_eq!(pair.check_n_at(2, now), Ok(()));
        for _ in 0..1000 {
            assert!(pair.check_at(now).is_err());
        }
        assert_eq!(left(&pair, now), is_left);
    }
}

#[test]
fn limit_with_zero_cost_is_never_consulted() {
    let (pair, now) = (pair::<GCRA, Exponential>("2/s & 2/h"), Instant::now());
    assert_eq!(pair.check_each_at(2, 0, now), Ok(()));
    assert_eq!(left(&pair, now), [0, 2]);
    assert_eq!(pair.check_each_at(0, 2, now), Ok(()), "the first is spent");
    assert_eq!(pair.check_each_at(0, 0, now), Ok(()));
    assert_eq!(pair.check_n_at(0, now), Ok(()));
    let denied = |first, second| {
        pair.check_each_at(first, second, now)
            .map_err(|denied| denied.refused_by())
    };
    assert_eq!(denied(1, 0), Err(RefusedBy::First));
    assert_eq!(denied(0, 1), Err(RefusedBy::Second));
    assert_eq!(denied(1, 1), Err(RefusedBy::Both));
}

#[test]
fn a_denial_reports_the_later_instant_exactly() {
    // The second limit would admit it after a second, the first after a minute.
    let (pair, now) = (pair::<GCRA, GCRA>("1/min & 1/s"), Instant::now());
    assert_eq!(pair.check_at(now), Ok(()));
    let denied = pair.check_at(now).expect_err("spent");
    assert_eq!(denied.refused_by(), RefusedBy::Both);
    assert_eq!(denied.wait_time_from(now), 60_000 * MS);
    assert!(!denied.wait_time().is_zero());
    let taken = pair.take_each_at(1, 1, now);
    assert_eq!(
        [taken.wait(), pair.take_each_at(2, 2, now).wait()],
        [Some(60_000 * MS), None]
    );
    assert_eq!(taken.status().until_rest(), 60_000 * MS);
    let denied = pair.check_at(now + 1000 * MS).expect_err("spent");
    assert_eq!(denied.refused_by(), RefusedBy::First);
    assert!(
        pair.check_at(denied.earliest_possible() - Duration::from_nanos(1))
            .is_err()
    );
    assert_eq!(pair.check_at(denied.earliest_possible()), Ok(()));
}

#[test]
fn denials_name_their_limit_and_instant() {
    let long_ago = Instant::now() - 3_600_000 * MS;
    let pair = pair::<GCRA, LeakyBucket>("2/s & 3/s");
    assert_eq!(pair.check_n_at(2, long_ago), Ok(()));
    let denied = pair.check_at(long_ago).expect_err("spent");
    assert_eq!(denied.to_string(), "denied by the first limit: next cell conforms now");
    let single = pair.check_n_at(1, long_ago).expect_err("spent").to_string();
    assert_eq!(single, "denied by the first limit: batch of 1 cell conforms now");
    let batch = pair.check_each_at(1, 2, long_ago).expect_err("spent");
    assert_eq!(
        batch.to_string(),
        "denied by both limits: batch of 1 and 2 cells conforms now"
    );
    assert!(batch.source().is_none(), "its text has the wait already");
    let batch = pair.check_n_at(2, long_ago).expect_err("spent");
    assert_eq!(
        batch.to_string(),
        "denied by both limits: batch of 2 cells conforms now"
    );
    let never = pair.check_each_at(2, 4, long_ago).expect_err("above the burst");
    assert_eq!(
        never,
        NegativeDualDecision::InsufficientCapacity([2, 4], RefusedBy::Second)
    );
    assert_eq!(
        never.to_string(),
        "denied: batch of 2 and 4 cells exceeds the burst of the second limit and can never conform"
    );
    assert!(never.source().is_none());
    let never = pair.check_n_at(4, long_ago).expect_err("above the bursts");
    assert_eq!(
        never.to_string(),
        "denied: batch of 4 cells exceeds the bursts of both limits and can never conform"
    );
    assert_eq!(never.refused_by(), RefusedBy::Both);
}

#[test]
fn denials_are_copy_and_cross_threads() {
    fn is_an_error<E: Error + Copy + Eq + Send + Sync + 'static>() {}
    is_an_error::<DualNonConformance>();
    is_an_error::<NegativeDualDecision>();
}

#[test]
#[cfg(target_os = "linux")]
fn results_fit_a_cache_line() {
    assert_eq!(size_of::<Result<(), DualNonConformance>>(), 40);
    assert_eq!(size_of::<Result<(), NegativeDualDecision>>(), 48);
}

#[test]
fn the_traits_report_the_later_instant() {
    let (pair, now) = (pair::<GCRA, GCRA>("2/s & 3/h"), Instant::now());
    let (decider, batches): (&dyn Decider, &dyn MultiDecider) = (&pair, &pair);
    assert_eq!(decider.check_at(now), Ok(()));
    assert_eq!(batches.check_n_at(1, now), Ok(()));
    let denied = decider.check_at(now).expect_err("spent");
    assert_eq!(denied.wait_time_from(now), 500 * MS);
    assert_eq!(pair.check_at(now).map_err(NonConformance::from), Err(denied));
    let later = batches.check_n_at(2, now);
    assert!(
        matches!(later, Err(NegativeMultiDecision::BatchNonConforming(2, denied)) if denied.wait_time_from(now) == 1_200_000 * MS)
    );
    let never = Err(NegativeMultiDecision::InsufficientCapacity(3));
    assert_eq!(batches.check_n_at(3, now), never);
    assert_eq!(batches.check_n(3), never);
    assert_eq!(pair.charge_each_at(1000, 1000, now), [0, 0]);
    assert!(decider.check().is_err());
}

#[test]
fn bad_numbers_of_either_half_make_no_pair() {
    let fine = Quota::per_second(nonzero!(10u32));
    let bad = fine.cell_weight(nonzero!(11u32));
    let error = InconsistentCapacity::WeightAboveBurst { weight: 11, burst: 10 };
    for quota in [DualQuota::new(fine, bad), DualQuota::new(bad, fine)] {
        assert_eq!(Dual::<GCRA>::from_quota(quota).err(), Some(error));
        assert_eq!(Dual::<GCRA>::try_from(quota).err(), Some(error));
    }
    let burst = DualQuota::new(fine, fine.allow_burst(nonzero!(5u32)));
    let error = InconsistentCapacity::BurstNotCells { cells: 10, burst: 5 };
    assert!(Dual::<LeakyBucket>::from_quota(burst).is_ok());
    assert_eq!(Dual::<Exponential>::from_quota(burst).err(), Some(error));
}

#[test]
fn pair_holds_both_limits_independently() {
    let (first, now) = (GCRA::with_parameters(10 * MS, 15 * MS, None), Instant::now());
    assert_eq!(first.check_n_at(2, now), Ok(()));
    let pair = Dual::new(first.clone(), LeakyBucket::per_second(1000).expect("a limit"));
    assert_eq!(left(&pair, now), [2, 1000], "at rest");
    let conform = [0, 12, 18, 20, 25].map(|at| pair.check_at(now + at * MS).is_ok());
    assert_eq!(conform, [true, true, true, true, false], "the standard's example");
    assert_eq!(first.status_at(now).remaining(), 0);
    let quotas = pair.status_at(now);
    assert_eq!(quotas.first().quota(), None);
    assert_eq!(quotas.second().quota(), Some(Quota::per_second(nonzero!(1000u32))));
}

#[test]
fn clones_share_both_limits() {
    let (pair, now) = (pair::<GCRA, LeakyBucket>("5/s & 4/h"), Instant::now());
    assert_eq!(pair.clone().check_n_at(3, now), Ok(()));
    assert_eq!(left(&pair, now), [2, 1]);
    assert_eq!(pair.snapshot_at(fixed_time()), pair.clone().snapshot_at(fixed_time()));
    pair.reset();
    assert_eq!(left(&pair.clone(), now), [5, 4]);
}

#[test]
fn verbs_without_a_time_read_the_clock() {
    let clock = ManualClock::new();
    let by_clock = pair::<GCRA, Exponential>("10/s & 30/min").with_clock(clock.clone());
    let told = pair::<GCRA, Exponential>("10/s & 30/min").with_clock(clock.clone());
    for turn in 0_u32..200 {
        let now = clock.advance(turn % 7 * 31 * MS).expect("seconds");
        let (n, m) = (turn % 4, turn % 3);
        match turn % 10 {
            0 => assert_eq!(by_clock.check(), told.check_at(now)),
            1 => assert_eq!(by_clock.check_n(n), told.check_n_at(n, now)),
            2 => assert_eq!(by_clock.check_each(n, m), told.check_each_at(n, m, now)),
            3 => assert_eq!(by_clock.peek_each(1, 1), told.peek_each_at(1, 1, now)),
            4 => assert_eq!(by_clock.peek_each(n, n), told.peek_each_at(n, n, now)),
            5 => assert_eq!(by_clock.peek_each(n, m), told.peek_each_at(n, m, now)),
            6 => assert_eq!(
                by_clock.take_each(n, n).decision(),
                told.take_each_at(n, n, now).decision()
            ),
            7 => {
                let taken = [by_clock.take_each(n, m), told.take_each_at(n, m, now)];
                assert_eq!(format!("{:?}", taken[0]), format!("{:?}", taken[1]));
            }
            8 => {
                assert_eq!(
                    by_clock.charge_each(n.into(), n.into()),
                    told.charge_each_at(n.into(), n.into(), now)
                );
                by_clock.refund_each(m.into(), 1);
                told.refund_each_at(m.into(), 1, now);
            }
            _ => {
                assert_eq!(by_clock.charge_each(m.into(), 1), told.charge_each_at(m.into(), 1, now));
                by_clock.refund_each(n.into(), n.into());
                told.refund_each_at(n.into(), n.into(), now);
            }
        }
        let statuses = [by_clock.status(), told.status_at(now)].map(|status| format!("{status:?}"));
        assert_eq!(statuses[0], statuses[1], "turn {turn}");
        assert_eq!(timeless(&by_clock), timeless(&told), "turn {turn}");
    }
}

/// Compares each instant of a waiter with that of two exact buckets, which count in 1/91 of a nanosecond. After a pause the other limit may bind.
#[test]
fn cells_within_a_window_are_counted_between_nanoseconds() {
    const STEPS: u64 = 100_000;
    let intervals = [780_i128 * 1_000_000_000, 700_i128 * 1_000_000_000]; // 60 s / 7 and 100 s / 13
    let bursts = [7_i128, 3];
    let pair = pair::<GCRA, LeakyBucket>("7/min burst 7 & 13/100s burst 3");
    let start = Instant::now();
    let (mut idle, mut from, mut bound) = ([0_i128; 2], start, [0_u64; 2]);
    for step in 0..STEPS {
        let seed = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let n = u32::try_from(1 + seed % 3).unwrap();
        from += Duration::from_nanos(match seed / 3 % 40 {
            0 => 61_000_000_017,
            1..10 => 3_000_000_001,
            _ => 0,
        });
        let arrival = i128::try_from((from - start).as_nanos()).unwrap() * 91;
        let due = [0, 1].map(|i| idle[i] - (bursts[i] - i128::from(n)) * intervals[i]);
        let exact = due[0].max(due[1]).max(arrival);
        let told = match pair.peek_each_at(n, n, from) {
            Ok(()) => from,
            Err(NegativeDualDecision::BatchNonConforming(_, denied)) => denied.earliest_possible(),
            Err(never) => panic!("{never}"),
        };
        let told_ns = i128::try_from((told - start).as_nanos()).unwrap();
        assert!(
            (told_ns * 91 - exact).abs() <= 2 * 91,
            "step {step}: {told_ns} ns, not {exact} / 91 ns"
        );
        if exact > arrival {
            bound[usize::from(due[1] > due[0])] += 1;
        }
        let within = from.max(told - Duration::from_nanos(1));
        assert_eq!(pair.check_n_within(n, within, told), Ok(()), "step {step}");
        idle = [0, 1].map(|i| idle[i].max(exact) + i128::from(n) * intervals[i]);
        from = told;
    }
    assert!(bound.iter().all(|&bound| bound > STEPS / 20), "{bound:?}");
    let [most, above] = [3, 4];
    let later = from + Duration::from_secs(1000);
    assert!(pair.check_n_within(most, from, later).is_ok());
    assert_eq!(
        pair.check_n_within(above, from, later).unwrap_err().refused_by(),
        RefusedBy::Second
    );
}

/// Whole bursts leave nothing over, so each is counted from the exact time at which it comes.
#[test]
fn whole_bursts_within_a_window_never_drift() {
    for quotas in ["7/min burst 2 & 13/100s burst 4", "13/100s burst 4 & 7/min burst 2"] {
        let (pair, start) = (pair::<GCRA, LeakyBucket>(quotas), Instant::now());
        for burst in 0..20_000_u64 {
            let exact = Duration::from_nanos((burst * 2 * 60_000_000_000).div_ceil(7));
            let told = match pair.peek_each_at(2, 2, start) {
                Ok(()) => start,
                Err(NegativeDualDecision::BatchNonConforming(_, denied)) => denied.earliest_possible(),
                Err(never) => panic!("{never}"),
            };
            let drift = (told - start).abs_diff(exact);
            assert!(drift <= Duration::from_nanos(2), "{quotas}: {drift:?} after {burst}");
            let within = start.max(told - Duration::from_nanos(1));
            assert_eq!(pair.check_n_within(2, within, told), Ok(()));
        }
    }
}

/// Each limit has ticks of its own. The cells come at the later of two ticks, and each limit counts them from its own last tick.
#[test]
fn cells_within_a_window_come_at_ticks() {
    let clock = ManualClock::new();
    let start = clock.now();
    let pair = pair::<GCRA, GCRA>("4/s every 1s & 2/300ms every 300ms").with_clock(clock);
    let end = start + 10_000 * MS;
    let mut served = Vec::new();
    for _ in 0..10 {
        let due = match pair.peek_each_at(2, 2, start) {
            Ok(()) => start,
            Err(NegativeDualDecision::BatchNonConforming(_, denied)) => denied.earliest_possible(),
            Err(never) => panic!("{never}"),
        };
        assert_eq!(
            pair.check_n_within(2, start.max(due - Duration::from_nanos(1)), end),
            Ok(())
        );
        served.push((due - start).as_millis());
    }
    assert_eq!(served, [0, 300, 1000, 1200, 2000, 2100, 3000, 3300, 4000, 4200]);
}

#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn any_instant_is_accepted_without_credit() {
    let (pair, now) = (pair::<GCRA, Exponential>("10/s & 30/h"), Instant::now());
    let far = [earliest_instant(), now - 86_400_000 * MS, now, latest_instant()];
    for (turn, at) in far.iter().cycle().take(400).enumerate() {
        let _ = pair.check_each_at(u32::try_from(turn % 3).expect("small"), 1, *at);
    }
    assert_eq!(
        left(&pair, now),
        [0, 0],
        "admitted at the end of time, it drains from there"
    );
    let denied = pair
        .check_at(latest_instant())
        .expect_err("no volume drains after the end");
    assert_eq!(denied.refused_by(), RefusedBy::Both);
}

#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn each_limit_reports_debts_and_unrecordable_cells() {
    let (pair, now) = (pair::<GCRA, LeakyBucket>("10/s & 1/h"), Instant::now());
    assert_eq!(pair.charge_each_at(5, 3, now), [0, 0]);
    let denied = pair.check_each_at(1, 1, now).expect_err("a debt");
    assert_eq!(denied.refused_by(), RefusedBy::Second);
    // Of the 320,255 hours of a time line a day has passed, and one cell more may be owed at its end.
    let [first, second] = pair.charge_each_at(0, 1_000_000, now);
    assert_eq!(first, 0);
    assert_eq!(1_000_000 - second, 320_255 - 24 + 1 - 3);
    assert_eq!(
        pair.charge_each_at(1, 1000, now),
        [0, 1000],
        "there is no more room in one"
    );
    assert_eq!(left(&pair, now), [4, 0]);
    pair.refund_each_at(u64::MAX, 0, now);
    assert_eq!(left(&pair, now), [10, 0]);
}

/// Every request counts in the strict half, even if either limit denies it. No denied request counts in the other half.
#[test]
fn a_strict_half_counts_every_denial() {
    let strict = Exponential::new(20, Duration::from_secs(3600))
        .expect("a limit")
        .strict();
    let (pair, now) = (
        Dual::new(LeakyBucket::per_second(5).expect("a limit"), strict),
        Instant::now(),
    );
    assert_eq!(pair.check_n_at(5, now), Ok(()));
    for asked in 6..=12 {
        let denied = pair.check_at(now).expect_err("spent");
        assert_eq!(
            (denied.refused_by(), left(&pair, now)),
            (RefusedBy::First, [0, 20 - asked])
        );
        assert_eq!(denied.wait_time_from(now), 200 * MS);
    }
    // The batch makes the second limit the later one: the reported instant includes the batch.
    let denied = pair.check_n_at(5, now).expect_err("spent");
    assert_eq!((denied.refused_by(), left(&pair, now)), (RefusedBy::First, [0, 3]));
    let NegativeDualDecision::BatchNonConforming([5, 5], denied) = denied else {
        panic!("{denied:?}");
    };
    assert!(
        denied.wait_time_from(now) > 10_000 * MS,
        "{:?}",
        denied.wait_time_from(now)
    );
    assert!(pair.peek_each_at(5, 5, denied.earliest_possible()).is_ok());
    let never = pair.check_n_at(6, now).expect_err("above a burst");
    assert_eq!(
        (never.refused_by(), left(&pair, now)),
        (RefusedBy::First, [0, 3]),
        "not counted"
    );
    assert!(pair.check_each_at(1, 0, now).is_err());
    assert_eq!(left(&pair, now), [0, 3], "not asked");
}

/// Counts the admitted requests, of one every 100 ms from `from` to `to`.
fn steady(admit: impl Fn(Instant) -> bool, start: Instant, from: u32, to: u32) -> usize {
    (from * 10..to * 10)
        .filter(|&tick| admit(start + tick * 100 * MS))
        .count()
}

/// 60 a minute and 600 an hour, both averages. An occasional client gets 60 at once, as with the first limit alone. A client that never stops gets
/// 600 and then 600 an hour, as with the second alone.
#[test]
fn two_averages_admit_bursts_and_clamp_runs() {
    const HOUR: u32 = 3600;
    let start = Instant::now();
    let both = || pair::<Exponential, Exponential>("60/min & 600/h");
    let alone = |quota: &str| Exponential::from_quota(quota.parse().expect("a quota")).expect("a limit");

    // 50 at once every six minutes, for a day: 500 an hour, all admitted.
    let bursts = |admit: &dyn Fn(Instant) -> bool| -> usize {
        (0..240)
            .map(|burst| (0..50).filter(|_| admit(start + burst * 360_000 * MS)).count())
            .sum()
    };
    let (pair, slow) = (both(), alone("10/min"));
    assert_eq!(bursts(&|at| pair.check_at(at).is_ok()), 240 * 50);
    assert_eq!(
        bursts(&|at| slow.check_at(at).is_ok()),
        240 * 10,
        "the rate alone, of a minute, clamps both"
    );

    // Ten requests a second, which never stop.
    let (pair, fast) = (both(), alone("60/min"));
    let by_pair = |from, to| steady(|at| pair.check_at(at).is_ok(), start, from, to);
    let by_fast = |from, to| steady(|at| fast.check_at(at).is_ok(), start, from, to);
    // In the first minutes both admit as much as the first limit,
    let (paired, single) = (by_pair(0, 300), by_fast(0, 300));
    assert_eq!((paired, single), (357, 357));
    // and from then on the pair admits as much as the second.
    let _ = (by_pair(300, HOUR), by_fast(300, HOUR));
    let hours: Vec<_> = (1..6)
        .map(|hour| {
            (
                by_pair(hour * HOUR, (hour + 1) * HOUR),
                by_fast(hour * HOUR, (hour + 1) * HOUR),
            )
        })
        .collect();
    assert_eq!(hours, [(600, 3600); 5]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_pair_is_lock_free_here() {
    assert!(Dual::is_lock_free());
}
