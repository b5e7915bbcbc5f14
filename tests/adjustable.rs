//! A meter whose quota changes: what is available at the change, and the laws between two changes. `adjustable_threads.rs` has several
//! threads, `loom.rs` every interleaving of a few steps.

mod support;

use proptest::prelude::*;
use ratelimit_meter::algorithms::{Algorithm, InconsistentCapacity};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};
use support::exponential::{Average, threshold};
use support::limit::Limit;
use support::oracle::{Bucket, Verdict};
use support::subject::quota;
use support::time::{HORIZON, SECOND, instant, since};
use support::traffic::spread;
use support::twin::Twin;

fn parsed(text: &str) -> Quota {
    text.parse().expect("a quota")
}

/// Runs a check on a meter of each algorithm, at rest and made just now.
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
fn what_is_available_stays_and_is_never_a_burst() {
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
fn a_debt_stays_so_many_cells_and_drains_at_the_new_rate() {
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
fn time_before_the_change_is_credited_at_the_old_rate() {
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
fn what_is_available_is_counted_as_the_quota_counts() {
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
fn the_quota_that_is_set_may_be_set_again() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let now = Instant::now();
        for cells in [0, 3, 20] {
            meter.charge_at(cells, now);
            let before = format!("{meter:?}");
            set(&meter, "600/min", now + Duration::from_secs(1));
            assert_eq!(format!("{meter:?}"), before);
        }
    }
    on_each!("600/min", check);
}

#[test]
fn a_quota_of_which_no_meter_can_be_made_changes_nothing() {
    fn check<A: Algorithm>(meter: Adjustable<Meter<A>>) {
        let now = Instant::now();
        assert!(meter.check_n_at(4, now).is_ok());
        let before = format!("{meter:?}");
        let error = meter.set_quota_at(parsed("5/s").cell_weight(ratelimit_meter::nonzero!(6u32)), now);
        assert_eq!(
            error,
            Err(InconsistentCapacity::WeightAboveBurst { weight: 6, burst: 5 })
        );
        assert_eq!((format!("{meter:?}"), meter.quota()), (before, Some(parsed("10/s"))));
        assert_eq!(meter.status_at(now).remaining(), 6);
    }
    on_each!("10/s", check);
    let average = Adjustable::<Exponential>::from_quota(parsed("10/s")).expect("a limit");
    let error = average.set_quota(parsed("10/s burst 20"));
    assert_eq!(error, Err(InconsistentCapacity::BurstNotCells { cells: 10, burst: 20 }));
}

#[test]
fn clones_share_the_quota_and_their_status_tells_it() {
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
fn a_debt_that_no_word_of_the_new_quota_can_record_is_returned() {
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
    let strict = Adjustable::from(Exponential::from_quota(parsed("10/s")).expect("a limit").strict());
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
fn the_rate_and_the_level_are_those_of_the_quota_that_holds() {
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
fn an_adjustable_goes_on_from_where_its_meter_stands() {
    let now = Instant::now();
    let ms = Duration::from_millis(1);
    // T and tau that no quota has: two cells and a half at once.
    let meter = GCRA::with_parameters(10 * ms, 15 * ms, now + 10 * ms);
    let adjustable = Adjustable::from(meter.clone());
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
fn a_change_before_the_last_one_counts_as_then() {
    let bucket = Adjustable::<LeakyBucket>::from_quota(parsed("10/s")).expect("a limit");
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    assert!(bucket.check_n_at(10, now).is_ok());
    set(&bucket, "1/s burst 10", now + second / 2);
    assert_eq!(bucket.status_at(now + second / 2).remaining(), 5);
    // Else the half second would be credited at 10/s again.
    set(&bucket, "10/s", now);
    assert_eq!(bucket.status_at(now + second / 2).remaining(), 5);
}

#[test]
fn a_handle_that_slept_through_many_changes_goes_on() {
    fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>) {
        let (now, old) = (Instant::now(), meter.clone());
        for turn in 0..50_000 {
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
    let meter = Adjustable::from(
        GCRA::from_quota(parsed("10/s"))
            .expect("a limit")
            .with_clock(clock.clone()),
    );
    assert!(meter.check_n(10).is_ok());
    clock.advance(Duration::from_millis(300)).expect("some time");
    assert_eq!(meter.set_quota(parsed("1/s burst 10")), Ok(0));
    assert_eq!(meter.status().remaining(), 3);
    assert!(meter.check_n(3).is_ok() && meter.check().is_err());
    clock.advance(Duration::from_secs(1)).expect("some time");
    assert!(meter.check().is_ok() && meter.check().is_err());
}

/// What to do next, and numbers for it.
type Turn = (u8, u64, u64);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec((0..10_u8, any::<u64>(), any::<u64>()), 1..100)
}

fn cells(seed: u64, limit: &Limit) -> u32 {
    u32::try_from(spread(seed, 1, u64::from(limit.at_once()))).expect("at most what conforms at once")
}

/// The limit of the same period with so many cells, and a burst and a weight of any size.
fn changed(limit: &Limit, seed: u64, cells: u64) -> Limit {
    let burst = spread(seed.rotate_left(20), 1, 1 << 20);
    let weight = if seed % 2 == 0 {
        1
    } else {
        spread(seed.rotate_left(40), 1, burst)
    };
    Limit::new(cells, limit.period).burst(burst).weight(weight)
}

/// A unit of the word, rounded up, in 1/period of what the quota counts.
fn unit(limit: &Limit) -> i128 {
    i128::from(limit.period >> limit.fraction_bits()) + 1
}

proptest! {
    /// Whatever happens before: what is available after a change is the exact bucket's, but for two units of the old word, and of the new
    /// one as ever. A denial is exact, and changes nothing.
    #[test]
    fn an_adjustable_is_an_exact_bucket_that_changes(period in any::<u64>(), turns in turns()) {
        fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, mut limit: Limit, turns: &[Turn]) {
            let origin = Instant::now();
            let (mut exact, mut now) = (Bucket::new(limit), 0);
            let (mut short, mut over) = (0, 0);
            for &(turn, size, wait) in turns {
                let (n, at) = (cells(size, &limit), instant(origin, now));
                match turn {
                    0 | 1 => {
                        let most = (1_u128 << 32) * u128::from(limit.period) / u128::from(SECOND);
                        let most = u64::try_from(most).unwrap_or(u64::MAX).clamp(1, 1 << 30);
                        let next = changed(&limit, wait, spread(size, 1, most));
                        let after = exact.changed(next, now);
                        // A debt too large for the new rate has a test of its own.
                        let lasts = next.time_to_drain(after.level(now));
                        if next.time_to_rest() > i128::from(3600 * SECOND) || next.cells > most || lasts > HORIZON / 2 {
                            continue;
                        }
                        assert_eq!(meter.set_quota_at(quota(&next), at), Ok(0));
                        exact = after;
                        short += 2 * unit(&limit) + 2 * unit(&next);
                        over += 2 * unit(&limit);
                        limit = next;
                    }
                    2 => {
                        meter.charge_at(n.into(), at);
                        exact.charge(n.into(), now);
                    }
                    3 => {
                        meter.refund_at(n.into(), at);
                        exact.refund(n.into(), now);
                    }
                    4..7 => now += i128::from(spread(wait, 1, 2 * u64::try_from(limit.time_to_rest()).expect("an hour"))),
                    _ => {
                        let (excess, before) = (exact.excess(n, now), format!("{meter:?}"));
                        match meter.check_n_at(n, at) {
                            Ok(()) => {
                                assert!(excess <= over + 2 * unit(&limit), "{n} are {excess} too many: {limit:?}");
                                exact.take(n, now);
                            }
                            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                                assert!(excess > -short, "{n} would fit by {excess}, {short} is lost: {limit:?}");
                                let earliest = denial.earliest_possible();
                                assert_eq!(meter.peek_n_at(n, earliest), Ok(()));
                                assert!(meter.peek_n_at(n, earliest - Duration::from_nanos(1)).is_err());
                                assert_eq!(format!("{meter:?}"), before);
                            }
                            Err(never @ NegativeMultiDecision::InsufficientCapacity(_)) => panic!("{never}: {limit:?}"),
                        }
                    }
                }
            }
        }
        let limit = Limit::new(1, spread(period, 1, 3600 * SECOND));
        check(&Adjustable::<GCRA>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
        check(&Adjustable::<LeakyBucket>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
    }

    /// Where a nanosecond is a whole number of units of each of the words nothing is rounded: verdict for verdict the meter is its
    /// lock-based twin.
    #[test]
    fn an_adjustable_and_its_twin_have_one_history(period in 20_u32..30, seed in any::<u64>(), turns in turns()) {
        fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, mut limit: Limit, turns: &[Turn]) {
            let (origin, twin, mut now) = (Instant::now(), Twin::new(limit), 0);
            for &(turn, size, wait) in turns {
                let (n, at) = (cells(size, &limit), instant(origin, now));
                match turn {
                    0..2 => {
                        limit = changed(&limit, wait, 1 << (size % 3));
                        assert_eq!(meter.set_quota_at(quota(&limit), at), Ok(0));
                        twin.change(limit, now);
                    }
                    2..6 => now += i128::from(spread(wait, 1, 2 * u64::try_from(limit.time_to_rest()).expect("some days"))),
                    _ => {
                        let said = match meter.check_n_at(n, at) {
                            Ok(()) => Verdict::Conforms,
                            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                                Verdict::From(since(origin, denial.earliest_possible()))
                            }
                            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Verdict::Never,
                        };
                        assert_eq!(said, twin.check_n_at(n, now), "{n} at {now} ns: {limit:?}");
                    }
                }
            }
        }
        let limit = changed(&Limit::new(1, 1 << period), seed, 1 << (seed % 3));
        check(&Adjustable::<GCRA>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
        check(&Adjustable::<LeakyBucket>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
    }

    #[test]
    fn an_adjustable_average_is_a_sum_of_impulses_that_changes(limit in 1_u32..300, period in SECOND..3600 * SECOND, turns in turns()) {
        let meter = Adjustable::from(Exponential::new(limit, Duration::from_nanos(period)).expect("a limit"));
        let origin = Instant::now();
        let (mut sum, mut now, mut limit, mut period) = (Average::new(limit, period), 0, limit, period);
        for (turn, size, wait) in turns {
            let n = u32::try_from(spread(size, 1, limit.into())).expect("at most the limit");
            let (at, room) = (instant(origin, now), sum.room(now));
            match turn {
                0..2 => {
                    limit = u32::try_from(spread(size, 1, 300)).expect("small");
                    period = spread(wait, SECOND, 3600 * SECOND);
                    prop_assert_eq!(meter.set_quota_at(quota(&Limit::new(limit.into(), period)), at), Ok(0));
                    sum = sum.changed(limit, period, now);
                }
                2 => {
                    prop_assert_eq!(meter.charge_at(n.into(), at), 0);
                    sum.count(n.into(), now);
                }
                3..6 => now += i128::from(spread(wait, 1, period)),
                _ => {
                    let ok = meter.check_n_at(n, at).is_ok();
                    prop_assert!((room - f64::from(n)).abs() < 1e-4 || ok == (room > f64::from(n)), "{} for {}", room, n);
                    if ok {
                        sum.count(n.into(), now);
                    }
                }
            }
        }
    }
}
