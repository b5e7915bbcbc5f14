//! Snapshots of meters whose state is more than a word: a quota that changes, and two limits.

use ratelimit_meter::algorithms::{Algorithm, ContinuousState, ExponentialAverage, VirtualScheduling};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Adjustable, GCRA, Meter, Quota, RestoreError, SnapshotLimit};
use std::time::{Duration, SystemTime};

const WALL: SystemTime = SystemTime::UNIX_EPOCH;
const SECOND: Duration = Duration::from_secs(1);

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

fn made<A: Algorithm>(text: &str, clock: &ManualClock) -> Meter<A, ManualClock> {
    Meter::from_quota(quota(text))
        .expect("a limit")
        .with_clock(clock.clone())
}

#[test]
fn an_adjustable_meter_restores_for_all_clones() {
    fn check<A: Algorithm>() {
        let clock = ManualClock::new();
        let (meter, at) = (made::<A>("10/min burst 10", &clock), clock.now() + SECOND);
        assert_eq!(meter.charge_at(7, clock.now()), 0);
        let snapshot = meter.snapshot_at((at, WALL));
        assert_eq!(meter.clone().into_adjustable().snapshot_at((at, WALL)), snapshot);

        let restored = made::<A>("10/min burst 10", &clock).into_adjustable();
        let handle = restored.clone();
        assert_eq!(
            restored.restore_at(&snapshot, (clock.now(), WALL + 12 * SECOND)),
            Ok(())
        );
        let [was, is] = [meter.status_at(at + 12 * SECOND), handle.status_at(clock.now())];
        assert_eq!(was.remaining(), is.remaining());
        assert!(is.until_rest().abs_diff(was.until_rest()) <= Duration::from_nanos(1));
        // A wall clock that went back.
        assert_eq!(handle.restore_at(&snapshot, (at, WALL - 12 * SECOND)), Ok(()));
        assert_eq!(restored.status_at(at).until_rest(), meter.status_at(at).until_rest());
    }
    check::<VirtualScheduling>();
    check::<ContinuousState>();
    check::<ExponentialAverage>();
}

#[test]
fn an_old_quotas_snapshot_is_restored_then_changed() {
    let clock = ManualClock::new();
    let before = made::<VirtualScheduling>("100/h", &clock).into_adjustable();
    let old_handle = before.clone();
    before.check_n(5).expect("room");
    before.set_quota(quota("10/d")).expect("a limit");
    before.charge(15);
    let snapshot = old_handle.snapshot_at((clock.now(), WALL));
    assert_eq!(snapshot, before.snapshot_at((clock.now(), WALL)));
    assert_eq!(
        snapshot.limit,
        SnapshotLimit::Quota(quota("10/d")),
        "the quota that holds"
    );

    let after = Adjustable::<GCRA>::from_quota(quota("20/d")).expect("a limit");
    let at = clock.now();
    let (snapshot_limit, meter_limit) = (snapshot.limit, SnapshotLimit::Quota(quota("20/d")));
    assert_eq!(
        after.restore_at(&snapshot, (at, WALL)),
        Err(RestoreError::AnotherLimit {
            snapshot: snapshot_limit,
            meter: meter_limit
        })
    );
    assert_eq!(after.status_at(at).remaining(), 20, "nothing has changed");
    after.set_quota_at(quota("10/d"), at).expect("a limit");
    after.restore_at(&snapshot, (at, WALL)).expect("of that quota");
    after.set_quota_at(quota("20/d"), at).expect("a limit");
    // Five in debt, and one to come, at 20 a day.
    let wait = after.check_at(at).unwrap_err().wait_time_from(at);
    assert!(
        wait.abs_diff(Duration::from_secs(6 * 86_400 / 20)) <= Duration::from_nanos(2),
        "{wait:?}"
    );
}

#[test]
fn snapshots_now_read_the_clock() {
    let clock = ManualClock::new();
    let meter = made::<VirtualScheduling>("10/d", &clock).into_adjustable();
    meter.charge(20);
    clock.advance(86_400 * SECOND).expect("a day");
    let snapshot = meter.snapshot();
    assert!(
        SystemTime::now()
            .duration_since(WALL)
            .expect("after 1970")
            .as_nanos()
            .abs_diff(snapshot.wall_ns.unsigned_abs())
            < 60_000_000_000
    );
    meter.reset();
    meter.restore(&snapshot).expect("its own");
    assert_eq!(meter.status().remaining(), 0);
    clock.advance(86_400 * SECOND).expect("a day");
    assert_eq!(meter.status().remaining(), 10);
}

#[cfg(feature = "dual")]
mod dual {
    use super::*;
    use ratelimit_meter::{Dual, RefusedBy};

    type Pair = Dual<GCRA, ratelimit_meter::Exponential, ManualClock>;

    fn pair(quotas: &str, clock: &ManualClock) -> Pair {
        Dual::from_quota(quotas.parse().expect("two quotas"))
            .expect("limits")
            .with_clock(clock.clone())
    }

    #[test]
    fn a_pair_has_the_snapshots_of_its_limits() {
        let clock = ManualClock::new();
        let (both, at) = (pair("10/s & 100/h", &clock), clock.now() + SECOND / 4);
        let first: Meter<VirtualScheduling, _> = made("10/s", &clock);
        let second: Meter<ExponentialAverage, _> = made("100/h", &clock);
        both.charge_each(12, 40);
        first.charge(12);
        second.charge(40);
        let snapshots = both.snapshot_at((at, WALL));
        assert_eq!(
            snapshots,
            [first.snapshot_at((at, WALL)), second.snapshot_at((at, WALL))]
        );
        clock.advance(SECOND / 4).expect("some time");
        let [now_1, now_2] = both.snapshot();
        assert_eq!([now_1.owed, now_2.owed], snapshots.map(|snapshot| snapshot.owed));

        let restored = pair("10/s & 100/h", &clock);
        let handle = restored.clone();
        assert_eq!(restored.restore_at(&snapshots, (at, WALL + 2 * SECOND)), Ok(()));
        let status = handle.status_at(at);
        assert_eq!(status.first().remaining(), 10);
        let [was, is] = [second.status_at(at + 2 * SECOND), status.second()];
        assert!(was.until_rest().abs_diff(is.until_rest()) <= Duration::from_nanos(1));
        // A wall clock that went back.
        assert_eq!(restored.restore_at(&snapshots, (at, WALL - 2 * SECOND)), Ok(()));
        assert_eq!(
            handle.peek_each_at(1, 1, at).unwrap_err().refused_by(),
            RefusedBy::First
        );
        restored.reset();
        restored.restore(&both.snapshot()).expect("its own");
        assert_eq!(handle.peek_each(1, 1).unwrap_err().refused_by(), RefusedBy::First);
    }

    #[test]
    fn both_limits_are_restored_or_neither() {
        let clock = ManualClock::new();
        let at = clock.now();
        let both = pair("10/s & 100/h", &clock);
        both.charge_each(10, 100);
        let [first, second] = both.snapshot_at((at, WALL));
        let mut future = second;
        future.version += 1;
        let mut much = first;
        much.owed = i128::MAX;
        let target = pair("10/s & 100/h", &clock);
        for (snapshots, error) in [
            ([first, future], RestoreError::UnknownVersion(2)),
            ([much, second], RestoreError::OwesTooMuch),
            (
                [second, first],
                RestoreError::AnotherKind {
                    snapshot: second.kind,
                    meter: first.kind,
                },
            ),
            (
                [first, first],
                RestoreError::AnotherKind {
                    snapshot: first.kind,
                    meter: second.kind,
                },
            ),
        ] {
            assert_eq!(target.restore_at(&snapshots, (at, WALL)), Err(error));
            let status = target.status_at(at);
            assert_eq!([status.first().remaining(), status.second().remaining()], [10, 100]);
        }
        let other = pair("10/s & 101/h", &clock);
        assert!(matches!(
            other.restore_at(&[first, second], (at, WALL)),
            Err(RestoreError::AnotherLimit { .. })
        ));
        assert_eq!(other.status_at(at).first().remaining(), 10);
    }
}
