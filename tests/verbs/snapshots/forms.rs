//! The form of a snapshot, and the errors of invalid ones.

use crate::support::time::wall;
use ratelimit_meter::algorithms::Kind;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Quota, RestoreError, Snapshot, SnapshotLimit};
use std::time::{Duration, Instant};

#[test]
fn a_foreign_snapshot_is_rejected_without_effect() {
    let now = (Instant::now(), wall(0));
    let [ten, twenty] = ["10/s", "20/s"].map(|text| text.parse::<Quota>().expect("a quota"));
    let meter = GCRA::from_quota(ten).expect("a limit");
    meter.check_n_at(4, now.0).expect("room");
    let snapshot = meter.snapshot_at(now);
    let (ms, standard) = (Duration::from_millis(100), 9 * Duration::from_millis(100));
    let parameters = GCRA::with_parameters(ms, standard, None).snapshot_at(now);
    let of = |meter| RestoreError::AnotherKind {
        snapshot: meter,
        meter: Kind::Gcra,
    };
    let table = [
        (
            Snapshot { version: 2, ..snapshot },
            RestoreError::UnknownVersion(2),
            "the snapshot has version 2, this crate restores version 1: start with an idle meter",
        ),
        (
            LeakyBucket::from_quota(ten).expect("a limit").snapshot_at(now),
            of(Kind::LeakyBucket),
            "the snapshot is of a LeakyBucket, but this meter is a GCRA: restore it to its own kind, or start with an idle meter",
        ),
        (
            Exponential::from_quota(ten).expect("a limit").strict().snapshot_at(now),
            of(Kind::StrictExponential),
            "the snapshot is of a strict Exponential, but this meter is a GCRA: restore it to its own kind, or start with an idle meter",
        ),
        (
            GCRA::from_quota(twenty).expect("a limit").snapshot_at(now),
            RestoreError::AnotherLimit {
                snapshot: SnapshotLimit::Quota(twenty),
                meter: SnapshotLimit::Quota(ten),
            },
            "the snapshot is of the limit 20/s, but this meter has 10/s: restore it to that limit, or start with an idle meter",
        ),
        (
            parameters,
            RestoreError::AnotherLimit {
                snapshot: parameters.limit,
                meter: SnapshotLimit::Quota(ten),
            },
            "the snapshot is of the limit T 100ms tau 900ms, but this meter has 10/s: restore it to that limit, or start with an idle meter",
        ),
        (
            Snapshot {
                owed: u64::MAX.into(),
                ..snapshot
            },
            RestoreError::OwesTooMuch,
            "the snapshot owes more than a meter can record: start with an idle meter",
        ),
    ];
    for (other, error, text) in table {
        assert_eq!(meter.restore_at(&other, now), Err(error));
        assert_eq!(error.to_string(), text);
        assert_eq!(meter.snapshot_at(now), snapshot, "{text}");
    }
    let faster = GCRA::with_parameters(ms, ms, None);
    assert!(matches!(
        faster.restore_at(&parameters, now),
        Err(RestoreError::AnotherLimit { .. })
    ));
    let exponential = Exponential::from_quota(ten).expect("a limit");
    let strict = exponential.clone().strict().snapshot_at(now);
    assert!(matches!(
        exponential.restore_at(&strict, now),
        Err(RestoreError::AnotherKind { .. })
    ));
}

#[cfg(feature = "serde")]
#[test]
fn serde_keeps_every_field() {
    let now = Instant::now();
    let exponential = Exponential::new(10, Duration::from_secs(1)).expect("a limit");
    exponential.check_at(now).expect("rested");
    let moon = std::time::UNIX_EPOCH - Duration::from_nanos(14_000_000_250_000_000);
    let gcra = GCRA::for_capacity(10).expect("a capacity").build();
    assert!(gcra.charge_at(u64::MAX, now) > 0);
    for (meter, kind) in [
        (exponential.clone(), "Exponential"),
        (exponential.strict(), "StrictExponential"),
    ] {
        let snapshot = meter.snapshot_at((now + Duration::from_secs(40), moon));
        let json = serde_json::to_string(&snapshot).expect("plain data");
        let (wall_ns, owed) = (-14_000_000_250_000_000_i128, snapshot.owed);
        let expected = format!(
            r#"{{"version":1,"kind":"{kind}","limit":{{"quota":"10/s"}},"wall_ns":"{wall_ns}","owed":"{owed}"}}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Snapshot>(&json).expect("a snapshot"), snapshot);
    }
    let indebted = gcra.snapshot_at((now, wall(0)));
    assert!(indebted.owed > i64::MAX.into());
    let parameters = GCRA::with_parameters(Duration::from_nanos(7), Duration::from_nanos(9), None);
    let parameters = parameters.snapshot_at((now, wall(0)));
    let json = serde_json::to_string(&parameters).expect("plain data");
    assert!(json.contains(r#""limit":{"interval":{"t_ns":7,"tau_ns":9}}"#), "{json}");
    for snapshot in [indebted, parameters] {
        let value = serde_json::to_value(snapshot).expect("plain data");
        assert_eq!(serde_json::from_value::<Snapshot>(value).expect("a snapshot"), snapshot);
    }
}

#[cfg(feature = "serde")]
#[test]
fn serde_rejects_an_invalid_snapshot() {
    let json =
        |kind, limit, owed| format!(r#"{{"version":1,"kind":"{kind}","limit":{limit},"wall_ns":"0","owed":{owed}}}"#);
    let quota = r#"{"quota":"10/s"}"#;
    assert!(serde_json::from_str::<Snapshot>(&json("GCRA", quota, r#""7""#)).is_ok());
    let table = [
        (json("Sieve", quota, r#""7""#), "unknown variant `Sieve`"),
        (
            json("GCRA", r#"{"quota":"10/fortnight"}"#, r#""7""#),
            "expected a unit of time",
        ),
        (json("GCRA", r#"{"quota":"0/s"}"#, r#""7""#), "expected a number from 1"),
        (json("GCRA", quota, r#""seven""#), "invalid digit found in string"),
        (
            json("GCRA", quota, "7"),
            "invalid type: integer `7`, expected a whole number as text",
        ),
    ];
    for (json, text) in table {
        let error = serde_json::from_str::<Snapshot>(&json).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
