//! The debt of a meter over a restart equals its debt without the restart.

use crate::support::clock::Behind;
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket, quota};
use crate::support::time::{DAY, HORIZON, SECOND, YEAR, earliest_instant, instant, latest_instant, since, wall};
use crate::support::traffic::{limits, spread, whole_limits};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, GCRA, Meter, NegativeMultiDecision, RestoreError, Snapshot};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// An idle meter of the same limit on its own time line, and the origin of that time line.
fn another<A: Algorithm, C: Clock>(meter: &Meter<A, C>) -> (Meter<A, ManualClock>, Instant) {
    let clock = ManualClock::starting_at(Instant::now() + Duration::from_secs(12_345));
    (meter.clone().with_clock(clock.clone()), clock.now())
}

/// Restores the snapshot that `meter` made at `at`, `elapsed` nanoseconds later. Returns the restored meter and that later time on its clock.
fn restarted<A: Algorithm>(meter: &Meter<A>, at: Instant, elapsed: i128) -> (Meter<A, ManualClock>, Instant) {
    let snapshot = meter.snapshot_at((at, wall(0)));
    let (restored, origin) = another(meter);
    assert_eq!(restored.restore_at(&snapshot, (origin, wall(elapsed))), Ok(()));
    (restored, origin)
}

fn exponential(limit: &Limit) -> Exponential {
    let limit = Limit {
        burst: limit.cells,
        weight: 1,
        ..*limit
    };
    Exponential::from_quota(quota(&limit)).expect("a limit")
}

/// Compares whole limits, which a meter decides exactly, with the exact bucket.
fn assert_as_the_bucket<A: Algorithm>(meter: &Meter<A>, limit: &Limit, [charged, before, elapsed, size]: [u64; 4]) {
    let origin = Instant::now();
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 8)).expect("some years");
    let mut bucket = ExactBucket::new(*limit);
    // As much as drains before the horizon.
    let most = u64::try_from(limit.drained(HORIZON) / limit.cost(1)).unwrap_or(u64::MAX);
    let charged = spread(charged, 1, most.min(u64::from(limit.at_once()).saturating_mul(4)));
    assert_eq!(meter.charge_at(charged, origin), 0);
    bucket.charge(charged, 0);
    let at = i128::from(spread(before, 1, rest));
    let elapsed = i128::from(spread(elapsed, 1, 4 * rest));
    let (restored, begins) = restarted(meter, instant(origin, at), elapsed);
    let (room, ns) = (bucket.room(at + elapsed).min(limit.at_once()), Duration::from_nanos(1));
    assert!(restored.status_at(begins).remaining() <= room, "credit: {limit:?}");
    assert!(restored.status_at(begins + ns).remaining() >= room, "late: {limit:?}");
    let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
    if let Verdict::From(exact) = bucket.judge(n, at + elapsed) {
        let told = match restored.peek_n_at(n, begins) {
            Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => denied.earliest_possible(),
            other => panic!("{other:?}: {limit:?}"),
        };
        let late = since(begins, told) - (exact - at - elapsed);
        assert!((0..=1).contains(&late), "{late} ns late: {limit:?}");
    }
}

/// Compares any limit, in units, with the meter that went on.
fn assert_as_without<A: Algorithm>(meter: &Meter<A>, limit: &Limit, [charged, before, elapsed]: [u64; 3]) {
    let origin = Instant::now();
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 8)).expect("some years");
    let _ = meter.charge_at(spread(charged, 1, u64::from(limit.at_once()).saturating_mul(4)), origin);
    let at = i128::from(spread(before, 1, rest));
    let elapsed = i128::from(spread(elapsed, 1, 4 * rest));
    let (restored, begins) = restarted(meter, instant(origin, at), elapsed);
    let then = wall(elapsed);
    let [went_on, restored] = [
        meter.snapshot_at((instant(origin, at + elapsed), then)),
        restored.snapshot_at((begins, then)),
    ];
    let more = restored.owed - went_on.owed;
    // Before its time line nothing is known, and nothing owed.
    let is_past = restored.owed <= 0 && more >= 0;
    assert!(is_past || (0..=1).contains(&more), "{more} units more: {limit:?}");
    assert_eq!(Snapshot { owed: 0, ..went_on }, Snapshot { owed: 0, ..restored });
}

proptest! {
    #[test]
    #[cfg_attr(windows, ignore = "a SystemTime counts 100 ns there")]
    fn a_restored_meter_is_never_a_nanosecond_early(limit in whole_limits(), seeds: [u64; 4]) {
        assert_as_the_bucket(&gcra(&limit), &limit, seeds);
        assert_as_the_bucket(&leaky_bucket(&limit), &limit, seeds);
    }

    #[test]
    #[cfg_attr(windows, ignore = "a SystemTime counts 100 ns there")]
    fn a_restored_meter_owes_one_unit_more(limit in limits(), seeds: [u64; 3]) {
        assert_as_without(&gcra(&limit), &limit, seeds);
        assert_as_without(&leaky_bucket(&limit), &limit, seeds);
        if limit.period < 150 * YEAR {
            assert_as_without(&exponential(&limit), &limit, seeds);
            assert_as_without(&exponential(&limit).strict(), &limit, seeds);
        }
    }

    #[test]
    fn no_snapshot_gives_credit_or_panics(
        limit in limits(), wall_ns: i128, owed: i128, edges: (bool, bool), at: i64,
    ) {
        fn play<A: Algorithm>(meter: &Meter<A>, told: (i128, i128), at: Instant) {
            let (wall_ns, owed) = told;
            let snapshot = Snapshot { wall_ns, owed, ..meter.snapshot_at((at, wall(0))) };
            let most = meter.status().remaining();
            match meter.restore_at(&snapshot, (at, wall(0))) {
                Ok(()) => assert!(meter.status_at(at).remaining() <= most),
                Err(error) => assert_eq!(error, RestoreError::OwesTooMuch),
            }
            let _ = (meter.check_at(at), meter.charge(u64::MAX), meter.check());
        }
        let at = match edges {
            (true, true) => earliest_instant(),
            (true, false) => latest_instant(),
            _ => instant(Instant::now(), at.into()),
        };
        // Numbers of every magnitude.
        let told = (wall_ns >> (owed & 127), owed >> (wall_ns & 127));
        play(&gcra(&limit), told, at);
        play(&leaky_bucket(&limit), told, at);
        if limit.period < 150 * YEAR {
            play(&exponential(&limit), told, at);
        }
    }
}

#[test]
fn an_exponential_rate_decays_over_a_restart() {
    let (meter, now) = (
        Exponential::new(1000, Duration::from_secs(60)).expect("a limit"),
        Instant::now(),
    );
    meter.check_n_at(900, now).expect("room");
    for elapsed in [0, 1, 7 * SECOND, 60 * SECOND, 700 * SECOND, 2000 * SECOND] {
        let (restored, begins) = restarted(&meter, now, elapsed.into());
        let rates = [
            meter.rate_at(now + Duration::from_nanos(elapsed)),
            restored.rate_at(begins),
        ];
        assert!(
            rates[0] <= rates[1] && rates[1] <= rates[0] * (1.0 + 1e-9),
            "{rates:?} after {elapsed}"
        );
    }
}

#[test]
fn restored_meter_keeps_its_debt() {
    for meter in [gcra(&Limit::per_second(10)), gcra(&Limit::new(10, DAY).burst(1))] {
        let now = Instant::now();
        assert_eq!(meter.charge_at(5000, now), 0);
        let rest = meter.status_at(now).until_rest();
        let (restored, begins) = restarted(&meter, now, 9 * i128::from(SECOND));
        let left = restored.status_at(begins).until_rest() + Duration::from_secs(9);
        assert!(left.abs_diff(rest) <= Duration::from_nanos(1), "{left:?} of {rest:?}");
    }
}

#[test]
fn a_wall_clock_set_back_drains_nothing() {
    let (meter, now) = (gcra(&Limit::per_second(10)), Instant::now());
    meter.check_n_at(7, now).expect("room");
    let owed = meter.snapshot_at((now, wall(0))).owed;
    for back in [0, -1, -i128::from(DAY), -i128::from(200 * YEAR)] {
        let (restored, begins) = restarted(&meter, now, back);
        assert_eq!(restored.snapshot_at((begins, wall(0))).owed, owed);
        assert_eq!(restored.status_at(begins).remaining(), 3, "{back} ns");
    }
}

#[test]
fn wall_clocks_before_1970_and_centuries_ahead_work() {
    let (meter, now) = (leaky_bucket(&Limit::per_second(10)), Instant::now());
    meter.check_n_at(10, now).expect("room");
    let moon = UNIX_EPOCH - Duration::new(14_000_000, 250_000_000);
    let snapshot = meter.snapshot_at((now, moon));
    assert_eq!(snapshot.wall_ns, -14_000_000_250_000_000);
    let (restored, begins) = another(&meter);
    assert_eq!(
        restored.restore_at(&snapshot, (begins, moon + Duration::from_millis(500))),
        Ok(())
    );
    assert_eq!(restored.status_at(begins).remaining(), 5);
    for years in [100, 500, 10_000] {
        let far = UNIX_EPOCH + Duration::from_nanos(YEAR) * years;
        assert_eq!(restored.restore_at(&snapshot, (begins, far)), Ok(()));
        assert_eq!(restored.status_at(begins).remaining(), 10, "in {years} years");
    }
}

#[test]
fn a_restored_meter_is_idle_for_earlier_stamps() {
    let limit = Limit::per_second(1);
    for meter in [
        gcra(&limit),
        GCRA::with_parameters(Duration::from_secs(1), Duration::ZERO, None),
    ] {
        let now = Instant::now();
        let (restored, begins) = restarted(&meter, now, 0);
        assert_eq!(restored.check_at(begins - Duration::from_secs(9)), Ok(()));
        let (restored, begins) = restarted(&meter, now, 0);
        meter.check_at(now).expect("rested");
        let later = now + Duration::from_secs(20);
        let snapshot = meter.snapshot_at((later, wall(0)));
        assert_eq!(restored.restore_at(&snapshot, (begins, wall(0))), Ok(()));
        assert_eq!(
            restored.check_at(begins - Duration::from_secs(19)),
            Ok(()),
            "as the meter itself"
        );
    }
}

#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn instant_off_time_line_is_its_nearest_end() {
    let (meter, now) = (gcra(&Limit::per_second(10)), Instant::now());
    meter.check_n_at(7, now).expect("room");
    let snapshot = meter.snapshot_at((now, wall(0)));
    let day = Duration::from_nanos(DAY);
    let (restored, begins) = another(&meter);
    for early in [begins - 2 * day, begins - 1000 * day, earliest_instant()] {
        assert_eq!(restored.restore_at(&snapshot, (early, wall(0))), Ok(()));
        assert_eq!(restored.status_at(early).remaining(), 3);
        assert_eq!(restored.status_at(begins - day).remaining(), 3);
    }
    assert_eq!(restored.restore_at(&snapshot, (latest_instant(), wall(0))), Ok(()));
    assert_eq!(restored.status_at(latest_instant()).remaining(), 3);
    assert!(restored.check_at(begins).is_err(), "it owes that at the end of time");
}

#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn restoring_an_unrecordable_debt_fails_without_effect() {
    let (meter, now) = (gcra(&Limit::per_second(10)), Instant::now());
    assert!(meter.charge_at(u64::MAX, now) > 0, "all that can be recorded");
    let snapshot = meter.snapshot_at((now, wall(0)));
    let (restored, begins) = another(&meter);
    let late = begins + Duration::from_secs(1);
    assert_eq!(
        restored.restore_at(&snapshot, (late, wall(0))),
        Err(RestoreError::OwesTooMuch)
    );
    assert_eq!(restored.status_at(begins).remaining(), 10);
    // A second later a second of it has drained.
    assert_eq!(
        restored.restore_at(&snapshot, (late, wall(2 * i128::from(SECOND)))),
        Ok(())
    );
    assert_eq!(restored.status_at(late).remaining(), 0);
}

#[test]
fn every_clone_sees_only_the_restored_state() {
    let (meter, now) = (leaky_bucket(&Limit::per_second(10)), (Instant::now(), wall(0)));
    meter.check_n_at(3, now.0).expect("room");
    let snapshot = meter.snapshot_at(now);
    let clone = meter.clone();
    clone.check_n_at(6, now.0).expect("room");
    assert_eq!(meter.restore_at(&snapshot, now), Ok(()));
    assert_eq!(clone.level_at(now.0), 3);
    clone.reset();
    assert_eq!(meter.restore_at(&snapshot, now), Ok(()));
    assert_eq!(clone.level_at(now.0), 3);
}

/// With a late clock, the cells that drain during its lag would not count.
#[test]
fn now_is_read_exactly() {
    let time = ManualClock::new();
    let meter = gcra(&Limit::per_second(1_000_000)).with_clock(Behind::new(&time, Duration::from_micros(4)));
    meter.charge(500_000);
    let snapshot = meter.snapshot();
    // By a wall clock that is ahead of this machine's.
    let ahead = wall((100 * YEAR).into());
    let exact = meter.snapshot_at((time.now(), ahead));
    assert_eq!(snapshot.owed, exact.owed);
    assert_eq!(meter.restore(&exact), Ok(()));
    assert_eq!(meter.snapshot_at((time.now(), ahead)), exact);
}
