//! Meters whose cells come in ticks: law 1 with an interval more, laws 2 to 8 as they are. `verbs/ticks.rs` has the verbs.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::ticking::Ticking;
use crate::support::time::{HORIZON, SECOND};
use crate::support::traffic::{batch, limits, scattered, spread, whole_limits};
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket, NegativeMultiDecision, Quota, nonzero};
use std::time::Duration;

/// The next time of the traffic: within the tick, at or beside a tick, at or beside the reported instant, or anywhere.
#[derive(Clone, Copy, Debug)]
enum Move {
    Stay,
    Within(u64),
    Tick(i128, i128),
    Told(i128),
    Far(u64),
}

fn moves() -> impl Strategy<Value = Vec<(Move, u64, i128)>> {
    let to = prop_oneof![
        2 => Just(Move::Stay),
        2 => any::<u64>().prop_map(Move::Within),
        3 => (1i128..4, -1i128..=1).prop_map(|(ticks, beside)| Move::Tick(ticks, beside)),
        3 => (-1i128..=1).prop_map(Move::Told),
        1 => any::<u64>().prop_map(Move::Far),
    ];
    prop::collection::vec((to, any::<u64>(), -1i128..3), 1..60)
}

/// Plays the moves in the order of time. The exact bucket that `ask` sees, and that takes the admitted cells, is at the time of the tick. `n` is
/// about as many cells as it has room for, or any batch.
fn play(ticking: &Ticking, moves: &[(Move, u64, i128)], mut ask: impl FnMut(u32, i128, &ExactBucket) -> Verdict) {
    let limit = ticking.limit;
    let (mut exact, mut now, mut told) = (ExactBucket::new(limit), 0, 0);
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 50)).expect("some months");
    for &(to, size, more) in moves {
        let at = match to {
            Move::Stay => now,
            Move::Within(seed) => now + i128::from(spread(seed, 1, ticking.interval)) - 1,
            Move::Tick(ticks, beside) => ticking.tick_by(now) + ticks * i128::from(ticking.interval) + beside,
            Move::Told(beside) => told + beside,
            Move::Far(seed) => now + i128::from(spread(seed, 1, 2 * rest)),
        };
        if at > HORIZON {
            continue;
        }
        now = now.max(at);
        let tick = ticking.tick_by(now);
        let n = if size % 2 == 0 {
            let room = i128::from(exact.room(tick)) + more;
            u32::try_from(room.clamp(1, limit.at_once().into())).expect("at most what conforms at once")
        } else {
            batch(size, &limit)
        };
        match ask(n, now, &exact) {
            Verdict::Conforms => exact.take(n, tick),
            Verdict::From(earliest) => told = earliest,
            Verdict::Never => panic!("{n} cells may conform: {ticking:?}"),
        }
    }
}

/// Law 1 with ticks.
#[track_caller]
fn assert_window(record: &Admissions, ticking: &Ticking, who: &str) {
    let (worst, allowed) = (
        record.worst_window(),
        ticking.limit.drained(ticking.interval.into()) + ticking.limit.resolution(),
    );
    assert!(
        worst <= allowed,
        "{who}: {worst} above B + R*v, {allowed} are R * interval: {ticking:?}"
    );
}

proptest! {
    /// Laws 1, 3 and 4, for every limit and interval.
    #[test]
    fn ticks_keep_windows_and_exact_denials(ticking in Ticking::any(limits()), moves in moves()) {
        for meter in ticking.subjects() {
            let mut record = Admissions::new(ticking.limit);
            play(&ticking, &moves, |n, at, exact| {
                let verdict = meter.ask(n, at);
                let tick = ticking.tick_by(at);
                if let Verdict::From(earliest) = verdict {
                    assert_ne!(exact.judge(n, tick), Verdict::Conforms, "{}: {n} at {at}: {ticking:?}", meter.name);
                    assert!(earliest > at && earliest == ticking.tick_from(earliest), "{earliest} is no tick: {ticking:?}");
                    if earliest <= HORIZON {
                        assert_eq!(meter.ask(n, earliest - 1), verdict, "{}: {n} at {at}: {ticking:?}", meter.name);
                        assert_eq!(peeks(&ticking, exact, n, earliest), Verdict::Conforms);
                    }
                }
                record.note(n, at, verdict)
            });
            assert_window(&record, &ticking, meter.name);
        }
    }

    /// Where the plain limit is decided exactly, so is the ticking one.
    #[test]
    fn ticking_meter_is_the_exact_bucket_of_ticks(ticking in Ticking::any(whole_limits()), moves in moves()) {
        for meter in ticking.subjects() {
            play(&ticking, &moves, |n, at, exact| {
                let judged = match exact.judge(n, ticking.tick_by(at)) {
                    Verdict::From(due) => Verdict::From(ticking.tick_from(due)),
                    other => other,
                };
                assert_eq!(meter.ask(n, at), judged, "{ticking:?}");
                judged
            });
        }
    }

    /// Laws 1 and 7.
    #[test]
    fn unordered_timestamps_gain_at_most_an_interval((limit, questions) in scattered(), seed in any::<u64>()) {
        let longest = u64::try_from(limit.time_to_rest().min(HORIZON)).expect("some years");
        let ticking = Ticking { limit, interval: spread(seed, 1, longest.max(1)) };
        for meter in ticking.subjects() {
            let mut record = Admissions::new(limit);
            for &(n, at) in &questions {
                record.note(n, at, meter.ask(n, at));
            }
            assert_window(&record, &ticking, meter.name);
        }
    }

    /// Law 6, and laws 2 and 8 with it.
    #[test]
    fn idle_meter_admits_burst_then_each_ticks_cells(ticking in Ticking::any(whole_limits()), ticks in 1i128..5) {
        let limit = ticking.limit;
        for meter in ticking.subjects() {
            prop_assert_eq!(meter.batch(limit.at_once(), 0), Verdict::Conforms);
            let mut exact = ExactBucket::new(limit);
            exact.take(limit.at_once(), 0);
            let tick = ticks * i128::from(ticking.interval);
            let fresh = exact.room(tick);
            if fresh > 0 && tick <= HORIZON {
                prop_assert_eq!(meter.singles_at(tick, fresh.min(50).into()), u64::from(fresh.min(50)));
                if fresh > 50 {
                    prop_assert_eq!(meter.batch(fresh - 50, tick), Verdict::Conforms);
                }
                prop_assert!(meter.single(tick) != Verdict::Conforms);
            }
        }
    }
}

/// The expected answer of a meter at a tick, if the exact bucket has taken the same cells. The bucket errs to the strict side of the meter.
fn peeks(ticking: &Ticking, exact: &ExactBucket, n: u32, tick: i128) -> Verdict {
    match exact.judge(n, tick) {
        // The tolerance of two units of 2^-f.
        Verdict::From(due) if exact.excess(n, tick) <= ticking.limit.resolution() => {
            assert!(due > tick);
            Verdict::Conforms
        }
        other => other,
    }
}

/// At the origin the first tick is; a nanosecond before it, and long before that, it is the tick before.
#[test]
fn ticks_count_from_when_the_meter_was_made() {
    let ticking = Ticking {
        limit: Limit::per_second(3).burst(10),
        interval: SECOND,
    };
    let second = i128::from(SECOND);
    for meter in ticking.subjects() {
        assert_eq!(meter.batch(10, -1), Verdict::Conforms);
        assert_eq!(meter.single(-1), Verdict::From(0));
        assert_eq!(meter.singles_at(0, 100), 3);
        for tick in 1..20 {
            assert_eq!(
                meter.single(tick * second - 1),
                Verdict::From(tick * second),
                "{}",
                meter.name
            );
            assert_eq!(meter.singles_at(tick * second, 100), 3, "{}", meter.name);
        }
        // Rare checks lose nothing, frequent checks gain nothing, and there is never more than the burst.
        assert_eq!(meter.singles_at(22 * second + 1, 100), 9, "{}", meter.name);
        assert_eq!(meter.singles_at(40 * second, 100), 10, "{}", meter.name);
    }
}

#[test]
fn clones_adjustables_and_other_clocks_keep_ticks() {
    let quota: Quota = "3/s burst 10 every 1s".parse().unwrap();
    let clock = ManualClock::new();
    let second = Duration::from_secs(1);
    let made = clock.now();
    let adjustable = LeakyBucket::from_quota(quota)
        .unwrap()
        .with_clock(clock.clone())
        .into_adjustable();
    assert!(adjustable.check_n(10).is_ok());
    clock.set(made + second * 3 / 2);
    // From now on ticks of two seconds, counted from when the meter was made.
    assert_eq!(adjustable.set_quota("3/s burst 10 every 2s".parse().unwrap()), Ok(0));
    assert_eq!(adjustable.status().remaining(), 3);
    assert_eq!(adjustable.status().until_next(), Duration::ZERO);
    clock.set(made + second * 2);
    assert_eq!(adjustable.status().remaining(), 9);
    assert_eq!(
        adjustable
            .clone()
            .status()
            .quota()
            .and_then(|quota| quota.refill_interval()),
        Some(second * 2)
    );
    assert_eq!(adjustable.level(), 1);
    clock.set(made + second * 3);
    assert_eq!(adjustable.level(), 1);
    assert_eq!(adjustable.status().until_rest(), second);
}

#[test]
fn an_average_has_no_ticks() {
    let quota = Quota::per_second(nonzero!(3u32))
        .refill_every(Duration::from_secs(2))
        .unwrap();
    let interval = Duration::from_secs(2);
    assert_eq!(
        Exponential::from_quota(quota).unwrap_err(),
        InconsistentCapacity::IntervalOnAverage { interval }
    );
    let adjustable = Adjustable::<Exponential>::from_quota("3/s".parse().unwrap()).unwrap();
    assert!(adjustable.set_quota(quota).is_err());
}

/// A pair of limits with ticks of their own, neither a multiple of the other.
#[cfg(feature = "dual")]
#[test]
fn a_denial_reports_the_later_tick() {
    use ratelimit_meter::Dual;
    let clock = ManualClock::new();
    let made = clock.now();
    // The first is due at 0.5 s, and comes at 3 s; the second at 1 s, and comes at 2 s.
    let quotas = "2/s burst 1 every 3s & 1/s burst 1 every 2s".parse().unwrap();
    let pair = Dual::<GCRA>::from_quota(quotas).unwrap().with_clock(clock.clone());
    assert!(pair.check().is_ok());
    let second = Duration::from_secs(1);
    let ns = Duration::from_nanos(1);
    for at in [made, made + second, made + second * 2, made + second * 3 - ns] {
        clock.set(at);
        assert_eq!(pair.check().unwrap_err().earliest_possible(), made + second * 3);
    }
    clock.set(made + second * 3);
    assert!(pair.check().is_ok());
    assert_eq!(pair.check().unwrap_err().earliest_possible(), made + second * 6);
    assert_eq!(pair.status().until_next(), second * 3);
}

/// A restart keeps the debt at the tick; ticks count from the creation of the new meter.
#[test]
fn restored_meter_keeps_debt_and_ticks_anew() {
    let clock = ManualClock::new();
    let quota: Quota = "3/s burst 10 every 1s".parse().unwrap();
    let meter = || GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
    let (before, made, wall) = (meter(), clock.now(), std::time::SystemTime::now());
    let ms = Duration::from_millis;
    before.check_n(10).unwrap();
    let snapshot = before.snapshot_at((made + ms(1500), wall));
    clock.set(made + ms(2700));
    let after = meter();
    // 1.2 s later 3.6 more cells have drained.
    after.restore_at(&snapshot, (clock.now(), wall + ms(1200))).unwrap();
    assert_eq!(after.status().remaining(), 6);
    let Err(NegativeMultiDecision::BatchNonConforming(7, denied)) = after.check_n(7) else {
        panic!("six are available");
    };
    assert_eq!(denied.wait_time_from(clock.now()), ms(1000));
    assert_eq!(after.status().until_rest(), ms(2000));
}
