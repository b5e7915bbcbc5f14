//! Debug output: a line for each public type, without a question to the store.

use ratelimit_meter::{KeyedMeter, Quota};
use ratelimit_meter_store::{
    Ask, Average, BreakerSettings, InvalidQuota, InvalidSharedMeter, LeaseSettings, Level, LocalStats, MemoryStore,
    Micros, OnFailure, Reply, Scale, SharedMeterBuilder, State, StoreError, StoreLimit, Units, Verb, Via,
};
use std::fmt::Debug;
use std::time::Duration;

/// The longest line: a builder with two limits.
const LONGEST: usize = 700;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    let is_line = !line.contains('\n') && (1..=LONGEST).contains(&line.len());
    assert!(is_line, "{} bytes: {line}", line.len());
    assert!(line.contains(says), "no {says} in {line}");
}

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

#[tokio::test]
async fn debug_of_shared_meters_has_name_and_limits() {
    let builder = SharedMeterBuilder::new("api", quota("30/s burst 5")).and(quota("100/min"));
    assert_line(&builder, "SharedMeterBuilder { name: \"api\"");
    assert_line(&builder, "quota: 30/s burst 5");
    let store = MemoryStore::with_clock(|| Micros::new(1_700_000_000_000_000));
    assert_line(&store, "MemoryStore { keys: 0");
    let shared = builder.build(store.clone()).expect("a meter");
    let limits = "name: \"api\", quotas: [\"30/s burst 5\", \"100/min\"]";
    assert_line(&shared, &format!("SharedMeter {{ {limits}"));
    let blocking = builder.build_blocking(store.clone()).expect("a meter");
    assert_line(&blocking, &format!("BlockingMeter {{ {limits}"));

    let admitted = shared.check("alice").await.expect("a verdict");
    assert_line(
        &admitted,
        "Verdict { decision: Ok(()), status: Some(Status { quota: 30/s burst 5, remaining: 4",
    );
    assert_line(&shared.check_up_to("alice", 2).await, "AdmittedPart { cells: 2");
    assert_line(&shared.stats(), "LocalStats { remembered_subjects: ");
    assert_line(&store, "MemoryStore { keys: 2");
}

#[test]
fn debug_of_a_locked_store_returns() {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let slot = std::sync::Arc::new(std::sync::OnceLock::<MemoryStore>::new());
    let itself = slot.clone();
    // The clock is read while the store is locked.
    let store = MemoryStore::with_clock(move || {
        let line = format!("{:?}", itself.get().expect("the store"));
        sender.send(line).expect("the test receives it");
        Micros::new(1_700_000_000_000_000)
    });
    assert!(slot.set(store.clone()).is_ok());
    let meter = SharedMeterBuilder::new("api", quota("30/s")).build_blocking(store);
    assert!(meter.expect("a meter").check("alice").is_ok());
    assert_eq!(receiver.recv().as_deref(), Ok("MemoryStore { keys: <locked>, .. }"));
}

#[test]
fn debug_output_of_other_types_is_one_line() {
    let units = Units::of(quota("30/s burst 5")).expect("a limit");
    assert_line(&units, "Units { ");
    assert_line(&units, "quota: 30/s burst 5");
    let average = Average::of(quota("100/min")).expect("a limit");
    assert_line(&average, "Average { ");
    assert_line(&average, "quota: 100/min");
    let limit = StoreLimit::Bucket(units);
    assert_line(&limit, "quota: 30/s burst 5");
    let scale: Scale = limit.scale();
    assert_line(&scale, "drain: ");
    let time = Micros::new(5).expect("a time");
    assert_line(&time, "Micros(5)");
    let state: State = limit.rested(time);
    assert_line(&state, "State { time: Micros(5), level: Units(0) }");
    assert_line(&Level::Share(0.5), "Share(0.5)");
    let ask = Ask {
        key: "api:{alice}:0",
        limit: &limit,
        n: 1,
    };
    assert_line(&ask, "quota: 30/s burst 5");
    let reply = Reply {
        cells: Some(1),
        clock: time,
        states: vec![state],
    };
    assert_line(&reply, "Reply { cells: Some(1)");
    assert_line(&Verb::Lease { at_most: 5 }, "Lease { at_most: 5 }");
    assert_line(&Via::Failure(StoreError::TimedOut), "Failure(TimedOut)");
    assert_line(&InvalidSharedMeter::Name, "Name");
    assert_line(&InvalidQuota::RestTooLong, "RestTooLong");
    assert_line(&BreakerSettings::default(), "BreakerSettings { failures: ");
    assert_line(&LeaseSettings::kept_for(Duration::from_secs(1)), "LeaseSettings { ");
    assert_line(&LocalStats::default(), "is_breaker_open: false");
    let local = KeyedMeter::<str>::with_capacity(quota("10/s"), 100).expect("a table");
    assert_line(&OnFailure::Local(local), "Local(KeyedMeter { quota: 10/s");
}
