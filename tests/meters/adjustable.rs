//! A meter whose quota changes: the available cells at the change, and the laws between two changes. `adjustable_threads.rs` has several
//! threads, `tests/loom/` every interleaving of a few steps.

use crate::support::exponential::threshold;
use crate::support::subject::timeless;
use ratelimit_meter::algorithms::{Algorithm, InconsistentCapacity};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};

fn parsed(text: &str) -> Quota {
    text.parse().expect("a quota")
}

/// Runs a check on a new, idle meter of each algorithm.
macro_rules! on_each {
    ($quota:expr, $check:expr) => {{
        $check(Adjustable::<GCRA>::from_quota(parsed($quota)).expect("a limit"));
        $check(Adjustable::<LeakyBucket>::from_quota(parsed($quota)).expect("a limit"));
        $check(Adjustable::<Exponential>::from_quota(parsed($quota)).expect("a limit"));
    }};
}

fn set<A: Algorithm>(meter: &Adjustable<Meter<A>>, quota: &str, at: Instant) {
    assert_eq!(meter.set_quota_at(parsed(quota), at), Ok(0), "{quota}");
}

#[test]
fn a_change_keeps_available_cells_without_a_burst() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let now = Instant::now();
        let remaining = || meter.status_at(now).remaining();
        set(&meter, "100/s", now);
        assert_eq!(remaining(), 10, "{meter:?}: at rest");
        assert!(meter.check_n_at(10, now).is_ok() && meter.check_at(now).is_err());
        meter.refund_at(7, now);
        for quota in ["1000/min", "7/h", "100000/s", "7/d"] {
            set(&meter, quota, now);
            assert_eq!(remaining(), 7, "{quota}");
        }
        set(&meter, "5/s", now);
        assert_eq!(remaining(), 5, "cut to the burst");
        set(&meter, "10/s", now);
        assert_eq!(remaining(), 5, "and not given back");
    }
    on_each!("10/s", check);
}

#[test]
fn debt_keeps_cells_and_drains_at_new_rate() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let now = Instant::now();
        assert_eq!(meter.charge_at(25, now), 0);
        set(meter, "100/h", now);
        let status = meter.status_at(now);
        // 15 cells of debt, and one to conform.
        assert_eq!(
            (status.remaining(), status.until_next()),
            (0, Duration::from_secs(16 * 36))
        );
        set(meter, "10/s", now);
        let status = meter.status_at(now);
        assert_eq!(
            (status.remaining(), status.until_next()),
            (0, Duration::from_millis(1600))
        );
        meter.refund_at(15, now);
        assert!(meter.check_at(now).is_err());
        meter.refund_at(1, now);
        assert!(meter.check_at(now).is_ok() && meter.check_at(now).is_err());
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("10/s")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit"));
}

#[test]
fn time_before_change_is_credited_at_old_rate() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let now = Instant::now();
        let ms = Duration::from_millis(1);
        assert!(meter.check_n_at(10, now).is_ok());
        set(meter, "1000/s burst 10", now + 500 * ms);
        assert_eq!(meter.status_at(now + 500 * ms).remaining(), 5);
        assert_eq!(meter.status_at(now + 503 * ms).remaining(), 8);
        assert!(meter.check_n_at(8, now + 503 * ms).is_ok());
        set(meter, "1/s burst 10", now + 507 * ms);
        assert_eq!(meter.status_at(now + 507 * ms).remaining(), 4);
        assert_eq!(meter.status_at(now + 1507 * ms).remaining(), 5);
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("10/s")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit"));
}

#[test]
fn available_cells_count_in_the_new_quota() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let now = Instant::now();
        assert!(meter.check_n_at(5, now).is_ok());
        set(meter, "10/s weight 2", now);
        assert_eq!(meter.status_at(now).remaining(), 2);
        set(meter, "10/s", now);
        assert_eq!(meter.status_at(now).remaining(), 5);
        meter.charge_at(10, now);
        set(meter, "10/s weight 5", now);
        meter.refund_at(1, now);
        assert!(meter.check_at(now).is_err(), "five units of debt, and five given back");
        meter.refund_at(1, now);
        assert!(meter.check_at(now).is_ok());
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("10/s")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit"));
}

#[test]
fn current_quota_may_be_set_again() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let now = Instant::now();
        for cells in [0, 3, 20] {
            meter.charge_at(cells, now);
            let before = timeless(&meter);
            set(&meter, "600/min", now + Duration::from_secs(1));
            assert_eq!(timeless(&meter), before);
        }
    }
    on_each!("600/min", check);
}

#[test]
fn invalid_quota_changes_nothing() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let now = Instant::now();
        assert!(meter.check_n_at(4, now).is_ok());
        let before = timeless(&meter);
        let error = meter.set_quota_at(parsed("5/s").cell_weight(ratelimit_meter::nonzero!(6u32)), now);
        assert_eq!(
            error,
            Err(InconsistentCapacity::WeightAboveBurst { weight: 6, burst: 5 })
        );
        assert_eq!((timeless(&meter), meter.quota()), (before, Some(parsed("10/s"))));
        assert_eq!(meter.status_at(now).remaining(), 6);
    }
    on_each!("10/s", check);
    let average = Adjustable::<Exponential>::from_quota(parsed("10/s")).expect("a limit");
    let error = average.set_quota(parsed("10/s burst 20"));
    assert_eq!(error, Err(InconsistentCapacity::BurstNotCells { cells: 10, burst: 20 }));
}

#[test]
fn clones_share_and_report_the_quota() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let clone = meter.clone();
        assert_eq!(clone.set_quota(parsed("20/s")), Ok(0));
        assert_eq!(meter.quota(), Some(parsed("20/s")));
        assert_eq!(meter.status().quota(), Some(parsed("20/s")));
        assert!(matches!(
            meter.check_n(21),
            Err(NegativeMultiDecision::InsufficientCapacity(21))
        ));
        assert!(!matches!(
            clone.check_n(20),
            Err(NegativeMultiDecision::InsufficientCapacity(_))
        ));
        assert!(format!("{clone:?}").starts_with("Adjustable {"), "{clone:?}");
    }
    on_each!("10/s", check);
}

#[test]
fn an_unrecordable_debt_is_returned() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let (now, owed) = (Instant::now(), 1_000_000_000_000);
        assert_eq!(meter.charge_at(owed, now), 0);
        let lost = meter.set_quota_at(parsed("1/h burst 1000"), now).expect("a quota");
        // 319,000 hours are left of the time line, and the burst was cut to 1000.
        let kept = owed - 1_000_000_000 + 1000 - lost;
        assert!((300_000..330_000).contains(&kept), "{kept}");
        meter.refund_at(kept - 1, now);
        assert!((998..1000).contains(&meter.status_at(now).remaining()));
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("1000000000/s")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("1000000000/s")).expect("a limit"));
    // Of an average a debt that was charged always fits; one of a cell from a bogus future need not.
    let average = Adjustable::<Exponential>::from_quota(parsed("10/s")).expect("a limit");
    let now = Instant::now();
    assert!(average.check_at(now + Duration::from_secs(3600)).is_ok());
    assert_eq!(average.set_quota_at(parsed("10/d"), now), Ok(0));
    assert!(average.status_at(now).until_next() > Duration::from_secs(3597 * 86_400));
    assert_eq!(average.set_quota_at(parsed("10/3650d"), now), Ok(u64::MAX));
}

#[test]
fn a_strict_meter_stays_strict() {
    let strict = Exponential::from_quota(parsed("10/s"))
        .expect("a limit")
        .strict()
        .into_adjustable();
    let now = Instant::now();
    set(&strict, "20/s", now);
    assert_eq!((0..20).filter(|_| strict.check_at(now).is_ok()).count(), 10);
    assert!(
        strict.rate_at(now) > 25.0,
        "what is refused counts: {}",
        strict.rate_at(now)
    );
}

#[test]
fn rate_and_level_follow_the_current_quota() {
    let now = Instant::now();
    let bucket = Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit");
    assert!(bucket.check_n_at(4, now).is_ok());
    set(&bucket, "100/s", now);
    assert_eq!(bucket.level_at(now), 94);
    let average = Adjustable::<Exponential>::from_quota(parsed("10/s")).expect("a limit");
    assert!(average.check_n_at(4, now).is_ok());
    set(&average, "100/s", now);
    let room = threshold(10) - 4.0;
    let exact = 100.0 * (1.0 - room / threshold(100));
    assert!((average.rate_at(now) - exact).abs() < 1e-6, "{}", average.rate_at(now));
}

#[test]
fn adjustable_continues_from_its_meter() {
    let now = Instant::now();
    let ms = Duration::from_millis(1);
    // T and tau that no quota has: two cells and a half at once.
    let meter = GCRA::with_parameters(10 * ms, 15 * ms, now + 10 * ms);
    let adjustable = meter.clone().into_adjustable();
    assert_eq!(adjustable.quota(), None);
    assert_eq!(adjustable.status_at(now).remaining(), 1);
    set(&adjustable, "2000/s burst 5", now);
    // One and a half.
    assert_eq!(adjustable.status_at(now).until_next(), Duration::ZERO);
    assert!(adjustable.check_at(now).is_ok());
    assert_eq!(adjustable.status_at(now).until_next(), Duration::from_micros(250));
    assert!(meter.check_at(now).is_ok(), "they share nothing");
}

#[test]
fn change_dated_before_the_last_counts_as_simultaneous() {
    let bucket = Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit");
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    assert!(bucket.check_n_at(10, now).is_ok());
    set(&bucket, "1/s burst 10", now + second / 2);
    assert_eq!(bucket.status_at(now + second / 2).remaining(), 5);
    // Otherwise the half second would be credited at 10/s again.
    set(&bucket, "10/s", now);
    assert_eq!(bucket.status_at(now + second / 2).remaining(), 5);
}

#[test]
fn handle_asleep_through_many_changes_catches_up() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let (now, old) = (Instant::now(), meter.clone());
        for turn in 0..20_000 {
            set(meter, ["30/s", "20/min"][turn % 2], now);
        }
        assert_eq!((0..12).filter(|_| old.check_at(now).is_ok()).count(), 10);
        assert_eq!(
            (old.quota(), meter.status_at(now).remaining()),
            (Some(parsed("20/min")), 0)
        );
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("10/s")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit"));
}

#[test]
fn a_change_now_reads_the_clock() {
    let clock = ManualClock::new();
    let meter = GCRA::from_quota(parsed("10/s"))
        .expect("a limit")
        .with_clock(clock.clone())
        .into_adjustable();
    assert!(meter.check_n(10).is_ok());
    clock.advance(Duration::from_millis(300)).expect("some time");
    assert_eq!(meter.set_quota(parsed("1/s burst 10")), Ok(0));
    assert_eq!(meter.status().remaining(), 3);
    assert!(meter.check_n(3).is_ok() && meter.check().is_err());
    clock.advance(Duration::from_secs(1)).expect("some time");
    assert!(meter.check().is_ok() && meter.check().is_err());
}

#[test]
fn reserved_cells_keep_their_times_across_a_change() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let (now, old) = (Instant::now(), meter.clone());
        let delays = |n| {
            let reserve = |_| meter.reserve_at(1, Duration::MAX, now).expect("a time");
            let reserved: Vec<_> = (0..n).map(reserve).collect();
            reserved
                .iter()
                .map(|cell| cell.delay_from(now).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(delays(3), [0, 100, 200]);
        let last = old.reserve_at(1, Duration::MAX, now).expect("a time");
        set(meter, "1/s burst 1", now);
        assert_eq!(last.delay_from(now), Duration::from_millis(300), "its time stays");
        assert_eq!(delays(2), [4000, 5000], "four cells at the new rate");
        set(meter, "100/s burst 1", now);
        assert_eq!(delays(2), [60, 70]);
        let denied = old.reserve_at(1, Duration::from_millis(79), now).unwrap_err();
        assert_eq!(denied.earliest_possible(), Some(now + Duration::from_millis(80)));
    }
    check(&Adjustable::<GCRA>::from_quota(parsed("10/s burst 1")).expect("a limit"));
    check(&Adjustable::<LeakyBucket>::from_quota(parsed("10/s burst 1")).expect("a limit"));
}

#[test]
fn cancel_gives_back_only_before_a_change() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let (now, old) = (Instant::now(), meter.clone());
        let reserve = |handle: &Adjustable<Meter<A>>| handle.reserve_at(5, Duration::ZERO, now).expect("five cells");
        let remaining = || meter.status_at(now).remaining();
        for handle in [&meter, &old] {
            reserve(handle).cancel_at(now);
            assert_eq!(remaining(), 10);
            let reserved = reserve(handle);
            set(&meter, "5/s", now);
            set(&meter, "10/s", now);
            reserved.cancel_at(now);
            assert_eq!(
                remaining(),
                5,
                "as many as the change would have left without the reservation"
            );
            meter.reset();
        }
    }
    on_each!("10/s", check);
}
