//! Quotas that are set while several threads decide: totals that are exact under any interleaving, and law 1.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::quota;
use crate::support::time::{SECOND, instant};
use crate::support::window::Admissions;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket, Meter, Quota};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

const CHECKERS: usize = 3;

/// Runs `work` in some threads while `set` is called over and over in another, and gathers the results of the work.
fn while_setting<T: Send>(work: impl Fn() -> T + Sync, mut set: impl FnMut(u32) + Send) -> Vec<T> {
    let (barrier, done) = (Barrier::new(CHECKERS + 1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            // At least once: the other threads may be done before this thread runs.
            for turn in 0.. {
                set(turn);
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let checkers = [(); CHECKERS].map(|()| {
            scope.spawn(|| {
                barrier.wait();
                work()
            })
        });
        let worked = checkers.map(|checker| checker.join());
        done.store(true, Ordering::Relaxed);
        worked.into_iter().map(|worked| worked.expect("no panic")).collect()
    })
}

/// A burst of 200,000, at any rate, period and scale: at one instant exactly so many cells pass, and those given back.
#[test]
fn quota_changes_admit_one_burst_per_instant() {
    const BURST: u64 = 200_000;
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, quotas: &[Quota]) {
        let now = Instant::now();
        let admitted = while_setting(
            || {
                let (mut admitted, mut denied) = (0_u64, 0);
                for turn in 0_u64.. {
                    match turn % 7 {
                        6 if meter.check_n_at(5, now).is_ok() => meter.refund_at(5, now),
                        5 => admitted += u64::from(meter.check_up_to_at(3, now).cells()),
                        4 => {
                            admitted += meter
                                .reserve_at(2, Duration::ZERO, now)
                                .map_or(0, |reserved| u64::from(reserved.cells()))
                        }
                        // By a handle whose quota is set while it decides.
                        3 if meter.clone().take_at(2, now).decision().is_ok() => admitted += 2,
                        _ if meter.check_at(now).is_ok() => admitted += 1,
                        _ => denied += 1,
                    }
                    if denied > 20 {
                        break;
                    }
                }
                admitted
            },
            |turn| {
                let quota = quotas[turn as usize % quotas.len()];
                assert_eq!(meter.set_quota_at(quota, now), Ok(0));
            },
        );
        // The cells given back after the other threads were denied.
        let rest = (0..100).filter(|_| meter.check_at(now).is_ok()).count() as u64;
        assert_eq!(admitted.iter().sum::<u64>() + rest, BURST, "{meter:?}");
    }
    let quotas = [
        Limit::per_second(1_000_000),
        Limit::new(7, 3600 * SECOND),
        Limit::new(3, 1000),
        Limit::per_second(4_000_000_000),
    ]
    .map(|limit| quota(&limit.burst(BURST)));
    for _ in 0..2 {
        check(&Adjustable::<GCRA>::from_quota(quotas[0]).expect("a limit"), &quotas);
        check(
            &Adjustable::<LeakyBucket>::from_quota(quotas[0]).expect("a limit"),
            &quotas,
        );
    }
}

/// The averages of two periods, at one instant; available cells are rounded at each change, to the strict side.
#[test]
fn average_admits_its_limit_per_instant() {
    let quotas = [SECOND, 60 * SECOND].map(|period| quota(&Limit::new(5000, period)));
    for _ in 0..5 {
        let meter = Adjustable::<Exponential>::from_quota(quotas[0]).expect("a limit");
        let now = Instant::now();
        let admitted = while_setting(
            || (0..10_000).filter(|_| meter.check_at(now).is_ok()).count(),
            |turn| assert_eq!(meter.set_quota_at(quotas[turn as usize % 2], now), Ok(0)),
        );
        let admitted: usize = admitted.iter().sum();
        assert!((4990..=5000).contains(&admitted), "{admitted}");
    }
}

/// The rate rises from a thousand a second on while time goes on: no window has more than the burst and the highest rate.
#[test]
fn rising_rate_keeps_windows_below_the_highest() {
    const RATES: u32 = 500;
    let limit = |turn: u32| {
        let cells = u64::from(1000 + turn.min(RATES));
        Limit::new(cells * (1 + u64::from(turn % 5)), SECOND * (1 + u64::from(turn % 5))).burst(50)
    };
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, limit: impl Fn(u32) -> Limit + Sync) {
        let (origin, time) = (Instant::now(), AtomicI64::new(0));
        let highest = Limit::per_second(u64::from(1000 + RATES)).burst(50);
        let records = while_setting(
            || {
                let mut record = Admissions::new(highest);
                for turn in 0..60_000 {
                    let at = time.fetch_add(10_000, Ordering::Relaxed).into();
                    let n = 1 + turn % 3;
                    let verdict = match meter.check_n_at(n, instant(origin, at)) {
                        Ok(()) => Verdict::Conforms,
                        Err(_) => Verdict::Never,
                    };
                    record.note(n, at, verdict);
                }
                record
            },
            |turn| {
                let at = instant(origin, time.load(Ordering::Relaxed).into());
                assert_eq!(meter.set_quota_at(quota(&limit(turn)), at), Ok(0));
            },
        );
        let mut all = Admissions::new(highest);
        records.into_iter().for_each(|record| all.merge(record));
        all.assert_law_1("adjustable");
        // 1.8 seconds.
        assert!(all.cells() > 1700, "{} of at least 1800", all.cells());
    }
    check(
        &Adjustable::<GCRA>::from_quota(quota(&limit(0))).expect("a limit"),
        limit,
    );
    check(
        &Adjustable::<LeakyBucket>::from_quota(quota(&limit(0))).expect("a limit"),
        limit,
    );
}
