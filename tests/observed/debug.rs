//! Debug output: a line for each public type, and for each meter its limit, its level, and whether it is idle.

use crate::quota;
use ratelimit_meter::algorithms::{Builder, InconsistentCapacity, Kind};
use ratelimit_meter::clock::{ClockSource, DefaultClock, ManualClock, SystemClock, source};
use ratelimit_meter::example_algorithms::Allower;
use ratelimit_meter::keyed::{
    Debtor, ForeignTier, InvalidTable, KeyHashes, KeyedBuilder, KeyedDual, RestoreKeysError, Stats, Ticket, Tier,
    WhenFull,
};
use ratelimit_meter::marker::{Colour, ExcessRate, Marker, SingleRate, TwoRate};
use ratelimit_meter::observed::Observed;
use ratelimit_meter::{
    Adjustable, Budget, Dual, DualNonConformance, DualQuota, DualStatus, DualTaken, Exponential, GCRA, KeyedMeter,
    LeakyBucket, Lease, LeasedMeter, LocalMeter, Meter, NegativeDualDecision, NegativeMultiDecision, NonConformance,
    Quota, RefusedBy, Reservation, RestoreError, SnapshotLimit, Taken, check_all, nonzero, time,
};
use std::fmt::Debug;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// The longest line, of two limits with an `Instant` each.
const LONGEST: usize = 400;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    let is_line = !line.contains('\n') && (1..=LONGEST).contains(&line.len());
    assert!(is_line, "{} bytes: {line}", line.len());
    assert!(line.contains(says), "no {says} in {line}");
}

/// Checks a meter of 10 cells before and after it admitted three, at a time at which no cell comes back.
#[track_caller]
fn assert_meter<M: Debug>(meter: M, [limit, burst]: [&str; 2], take: impl FnOnce(&M)) {
    assert_line(&meter, limit);
    assert_line(&meter, burst);
    assert_line(&meter, "remaining: 10, idle: true");
    take(&meter);
    assert_line(&meter, "remaining: 7, idle: false");
}

#[test]
fn debug_output_has_limit_level_and_idleness() {
    let (hourly, clock) = (quota("10/h"), ManualClock::new());
    let limit = ["emission_interval: 360s", "burst: 10"];
    let gcra = || -> Meter<_, ManualClock> { GCRA::from_quota(hourly).expect("a meter").with_clock(clock.clone()) };
    let bucket = LeakyBucket::from_quota(hourly)
        .expect("a meter")
        .with_clock(clock.clone());
    assert_meter(gcra(), limit, |meter| meter.check_n(3).expect("cells"));
    assert_meter(bucket, limit, |meter| meter.check_n(3).expect("cells"));
    assert_meter(gcra().into_adjustable(), limit, |meter| {
        meter.check_n(3).expect("cells")
    });
    assert_meter(gcra().into_local(), limit, |meter| meter.check_n(3).expect("cells"));
    assert_meter(Observed::new("api", gcra()), limit, |meter| {
        meter.check_n(3).expect("cells");
    });
    let average = Exponential::new(10, Duration::from_secs(3600))
        .expect("a meter")
        .with_clock(clock.clone());
    assert_line(&average, "limit: 10, strict: false, idle_from: None");
    assert_line(&average, "idle: true");
    average.check().expect("a cell");
    assert_line(&average, "idle: false");

    let dual = Dual::<GCRA>::from_quota("10/h & 100/d".parse().expect("a quota")).expect("a pair");
    let dual = dual.with_clock(clock.clone());
    assert_meter(&dual, limit, |dual| dual.check_n(3).expect("cells"));
    assert_line(&dual, "remaining: 97, idle: false");

    let table = KeyedBuilder::new(gcra()).with_capacity::<str>(1000).expect("a table");
    assert_line(&table, "quota: 10/h, capacity: ");
    assert_meter(table.key("key"), limit, |key| key.check_n(3).expect("cells"));

    let leased = LeasedMeter::new(quota("30/h"), nonzero!(2u32), nonzero!(10u32)).expect("a meter");
    let leased = leased.with_clock(clock.clone());
    assert_line(&leased, "remaining: 10, idle: true");
    let mut lease: Lease<_> = leased.lease().expect("a lease");
    lease.check().expect("a cell");
    assert_line(&lease, "remaining: 5, idle: false");
    assert_line(&lease, "held: 4");
    assert_line(&leased, "leases: 1 of 2, block: 10, cells_held: 4");

    let excess = SingleRate::new(hourly, 20).expect("a marker").with_clock(clock.clone());
    assert_line(
        &excess,
        "committed: 10/h, excess_burst: 20, available: [10, 20], idle: true",
    );
    assert_eq!(excess.mark(3), Colour::Green);
    assert_line(&excess, "available: [7, 20], idle: false");
    let peak = TwoRate::new(hourly, quota("20/h"))
        .expect("a marker")
        .with_clock(clock.clone());
    assert_line(&peak, "committed: 10/h, peak: 20/h, available: [10, 20], idle: true");
    let second: Marker<_, _> = ExcessRate::new(hourly, quota("20/h"))
        .expect("a marker")
        .with_clock(clock);
    assert_eq!(second.remark(5, Colour::Yellow), Colour::Yellow);
    assert_line(
        &second,
        "committed: 10/h, excess: 20/h, available: [10, 15], idle: false",
    );
    assert_eq!(second.mark(10), Colour::Green);
    assert_line(&second, "available: [0, 15], idle: false");
    let budget = Budget::new(10);
    budget.check().expect("a cell");
    assert_line(&budget, "cells: 10, left: ");
}

#[test]
fn debug_output_of_other_types_is_one_line() {
    let (ten, now) = (quota("10/s"), Instant::now());
    let gcra = GCRA::from_quota(ten).expect("a meter");
    assert_line(
        &gcra.status_at(now),
        "quota: 10/s, remaining: 10, until_next: 0ns, until_rest: 0ns",
    );
    assert_line(
        &gcra.take_at(4, now) as &Taken,
        "decision: Ok(()), status: Status { quota: 10/s, remaining: 6",
    );
    assert_line(&gcra.check_up_to_at(9, now), "Admitted");
    assert_line(
        &gcra.check_at(now).expect_err("a burst") as &NonConformance,
        "earliest_possible",
    );
    assert_line(
        &gcra.check_n_at(5, now).expect_err("a burst") as &NegativeMultiDecision,
        "BatchNonConforming(5",
    );
    assert_line(
        &gcra.check_n_at(20, now).expect_err("a burst"),
        "InsufficientCapacity(20)",
    );
    assert_line(&gcra.snapshot(), "Snapshot");
    assert_line(&gcra.snapshot().limit as &SnapshotLimit, "Quota(10/s)");
    assert_line(&gcra.snapshot().kind as &Kind, "Gcra");
    assert_line(
        &gcra.reserve(1, Duration::MAX).expect("a cell") as &Reservation<_>,
        "cells: 1",
    );
    assert_line(&check_all(&[(&gcra, 1)]).expect_err("a burst"), "AllDenied");
    let restored = LeakyBucket::from_quota(quota("1/h"))
        .expect("a meter")
        .restore(&gcra.snapshot());
    assert_line(
        &restored.expect_err("another kind") as &RestoreError,
        "AnotherKind { snapshot: Gcra",
    );
    assert_line(&ten, "10/s");
    assert_line(&"10/s & 1/h".parse::<DualQuota>().expect("a quota"), "10/s & 1/h");
    assert_line(&"10/parsec".parse::<Quota>().expect_err("a unit"), "ParseQuotaError");
    assert_line(&InconsistentCapacity::ZeroCapacity, "ZeroCapacity");
    assert_line(&GCRA::for_capacity(0).map(drop), "ZeroCapacity");
    assert_line(&GCRA::for_capacity(5).expect("a builder") as &Builder, "5");
    assert_line(&Adjustable::<GCRA>::from_quota(ten).expect("a meter").quota(), "10");
    assert_line(&<LocalMeter>::from_quota(ten).expect("a meter"), "LocalMeter");
    assert_line(&Budget::new(1).check_n(2).expect_err("a budget"), "OverBudget");
    let leased = LeasedMeter::new(quota("30/h"), nonzero!(1u32), nonzero!(10u32)).expect("a meter");
    let _lease = leased.lease().expect("a lease");
    assert_line(&leased.lease().expect_err("one lease"), "TooManyLeases");

    let dual = Dual::<GCRA>::from_quota("1/h & 1/d".parse().expect("a quota")).expect("a pair");
    assert_line(&dual.status() as &DualStatus, "remaining: 1");
    assert_line(&dual.take_each(1, 1) as &DualTaken, "remaining: 0");
    let denied: DualNonConformance = dual.check().expect_err("a burst");
    assert_line(&denied, "Both");
    assert_line(&denied.refused_by() as &RefusedBy, "Both");
    let never: NegativeDualDecision = dual.check_n(2).expect_err("a burst");
    assert_line(&never, "InsufficientCapacity([2, 2], Both)");
    assert_line(&Colour::Green, "Green");

    let table = KeyedMeter::<u32>::with_capacity(ten, 1000).expect("a table");
    assert_line(&KeyedBuilder::new(gcra.clone()), "tiers: 1");
    assert!(table.check(&1).is_ok());
    assert_line(&table.top(1)[0] as &Debtor, "remaining: 9");
    assert_line(&table.stats() as &Stats, "live: 1, taken: 1");
    assert_line(&table.ticket(&1) as &Ticket, "tier: None");
    assert_line(&InvalidTable::NoCapacity, "NoCapacity");
    assert_line(&Tier::FIRST, "Tier(0)");
    assert_line(&ForeignTier, "ForeignTier");
    assert_line(&WhenFull::Deny, "Deny");
    assert_line(&KeyHashes::random(), "KeyHashes");
    assert_line(&KeyHashes::random().build_hasher(), "KeyHasher");
    assert_line(&table.set_quota(Tier::FIRST, quota("2/s")), "NotAdjustable");
    assert_line(&table.restore_from(&b"not a snapshot of keys"[..]), "NotKeys");
    assert_line(&RestoreKeysError::AnotherHash, "AnotherHash");
    let both = KeyedDual::<u32>::with_capacity("10/s & 1/h".parse().expect("a quota"), 100).expect("a table");
    assert_line(&both, "quota: 1/h");

    assert_line(&(DefaultClock, SystemClock), "DefaultClock, SystemClock");
    assert_line(&[source(), ClockSource::System], "System]");
    assert_line(&ManualClock::new().advance(Duration::MAX), "OutOfRange");
    assert_line(&ManualClock::new(), "ManualClock");
    assert_line(&Allower::default(), "Allower");
    assert_line(&time::at(5), "Instant");
}
