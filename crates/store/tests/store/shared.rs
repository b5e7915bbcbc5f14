//! The verbs, their statuses, and limits that belong together.

use crate::probe::Probe;
use ratelimit_meter::{NegativeMultiDecision, Quota};
use ratelimit_meter_store::{InvalidSharedMeter, LeaseSettings, Micros, SharedMeter, StoreError, Verb, Via};
use std::time::Duration;
use tokio::time::{Instant, advance};

const MS: Duration = Duration::from_millis(1);

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn denial_holds_until_its_instant() {
    let meter = SharedMeter::builder("api", quota("10/s burst 2"))
        .build(Probe::new())
        .unwrap();
    assert!(meter.check_n("a", 2).await.unwrap().is_admitted());
    let denied = meter.check("a").await.unwrap();
    let Err(NegativeMultiDecision::BatchNonConforming(1, denial)) = denied.decision() else {
        panic!("{denied:?}");
    };
    let wait = denial.wait_time_from(Instant::now().into_std());
    assert_eq!(wait, 100 * MS);
    advance(wait - Duration::from_micros(1)).await;
    assert!(!meter.check("a").await.unwrap().is_admitted());
    advance(Duration::from_micros(1)).await;
    let admitted = meter.check("a").await.unwrap();
    assert_eq!((admitted.is_admitted(), admitted.via()), (true, &Via::Store));
}

/// A meter for each plan, all with one name over one store.
#[tokio::test(start_paused = true)]
async fn client_that_changes_its_plan_keeps_its_debt() {
    let store = Probe::new();
    let plan = |text| SharedMeter::builder("api", quota(text)).build(store.clone()).unwrap();
    let (free, paid) = (plan("10/h"), plan("100/h"));
    assert!(free.check_n("a", 10).await.unwrap().is_admitted());
    let remaining = async || paid.peek("a").await.unwrap().status().unwrap().remaining();
    assert_eq!(remaining().await, 90);
    free.reset("a").await.unwrap();
    assert_eq!(remaining().await, 100);
}

#[tokio::test(start_paused = true)]
async fn status_returns_remaining_cells() {
    let meter = SharedMeter::builder("api", quota("10/s burst 5"))
        .build(Probe::new())
        .unwrap();
    let status = meter.check_n("a", 3).await.unwrap().status().unwrap();
    assert_eq!(
        (status.remaining(), status.until_next(), status.until_rest()),
        (2, Duration::ZERO, 300 * MS)
    );
    assert_eq!(status.quota(), Some(quota("10/s burst 5")));
    let peeked = meter.peek_n("a", 3).await.unwrap();
    assert!(!peeked.is_admitted());
    assert_eq!(peeked.status().unwrap().remaining(), 2);
}

#[tokio::test(start_paused = true)]
async fn zero_or_excessive_cells_cause_no_call() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", quota("10/s burst 5"))
        .build(probe.clone())
        .unwrap();
    let none = meter.check_n("a", 0).await.unwrap();
    assert_eq!((none.is_admitted(), none.via()), (true, &Via::Quota));
    let never = meter.check_n("a", 6).await.unwrap();
    assert_eq!(never.decision(), Err(NegativeMultiDecision::InsufficientCapacity(6)));
    let at = Micros::new(1_700_000_000_000_000).unwrap();
    for n in [0, 6] {
        let expected = meter.check_n("a", n).await.unwrap().decision();
        assert_eq!(meter.peek_n("a", n).await.unwrap().decision(), expected);
        assert_eq!(meter.check_n_at("a", n, at).await.unwrap().decision(), expected);
    }
    assert_eq!(meter.check_up_to("a", 0).await.unwrap().cells(), 0);
    assert_eq!(meter.charge("a", 0).await.unwrap(), 0);
    meter.refund("a", 0).await.unwrap();
    assert_eq!(probe.take_calls(), []);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_batch_is_admitted() {
    let meter = SharedMeter::builder("api", quota("10/s burst 5"))
        .build(Probe::new())
        .unwrap();
    assert_eq!(meter.check_up_to("a", 3).await.unwrap().cells(), 3);
    let part = meter.check_up_to("a", 30).await.unwrap();
    assert_eq!(part.cells(), 2);
    assert_eq!(part.next().unwrap().wait_time_from(Instant::now().into_std()), 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn charge_goes_into_debt_and_refund_clears_it() {
    let meter = SharedMeter::builder("api", quota("10/s burst 5"))
        .build(Probe::new())
        .unwrap();
    assert_eq!(meter.charge("a", 20).await.unwrap(), 20);
    let denied = meter.check("a").await.unwrap();
    assert_eq!(denied.status().unwrap().until_next(), 1600 * MS);
    meter.refund("a", 16).await.unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    meter.reset("a").await.unwrap();
    assert_eq!(meter.check("a").await.unwrap().status().unwrap().remaining(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_limits_count_all_or_nothing() {
    let pair = "10/s & 12/h".parse().unwrap();
    let meter = SharedMeter::dual_builder("api", pair).build(Probe::new()).unwrap();
    assert!(meter.check_n("a", 10).await.unwrap().is_admitted());
    let denied = meter.check("a").await.unwrap();
    assert_eq!(denied.status().unwrap().quota(), Some(quota("10/s")));
    advance(1000 * MS).await;
    assert!(meter.check_n("a", 2).await.unwrap().is_admitted());
    let denied = meter.check("a").await.unwrap();
    assert_eq!(
        denied.status().unwrap().quota(),
        Some(quota("12/h")),
        "the hour denies longest"
    );
}

#[tokio::test(start_paused = true)]
async fn meters_of_one_slot_decide_together() {
    let probe = Probe::new();
    let tenant = SharedMeter::builder("tenant", quota("3/s"))
        .in_slot("t7")
        .build(probe.clone())
        .unwrap();
    let user = SharedMeter::builder("user", quota("2/s"))
        .in_slot("t7")
        .build(probe.clone())
        .unwrap();
    for _ in 0..2 {
        assert!(
            tenant
                .check_with("t7", &[(&user, "alice")])
                .await
                .unwrap()
                .is_admitted()
        );
    }
    let denied = tenant.check_with("t7", &[(&user, "alice")]).await.unwrap();
    assert_eq!(denied.status().unwrap().quota(), Some(quota("2/s")));
    assert_eq!(
        tenant.peek("t7").await.unwrap().status().unwrap().remaining(),
        1,
        "the denial counted nowhere"
    );
    assert!(tenant.check_with("t7", &[(&user, "bob")]).await.unwrap().is_admitted());
}

#[tokio::test(start_paused = true)]
async fn longest_denial_is_reported_in_any_order() {
    let probe = Probe::new();
    let [day, hour] = ["1/d", "1/h"].map(|text| {
        let builder = SharedMeter::builder(text, quota(text)).in_slot("t7");
        builder.build(probe.clone()).unwrap()
    });
    assert!(day.check_with("a", &[(&hour, "a")]).await.unwrap().is_admitted());
    for (first, second) in [(&day, &hour), (&hour, &day)] {
        let denied = first.check_with("a", &[(second, "a")]).await.unwrap();
        let Err(NegativeMultiDecision::BatchNonConforming(1, next)) = denied.decision() else {
            panic!("{denied:?}");
        };
        assert_eq!(next.wait_time_from(Instant::now().into_std()), 86_400_000 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn subject_named_twice_decides_one_batch() {
    let meter = SharedMeter::builder("user", quota("3/d"))
        .in_slot("t7")
        .build(Probe::new())
        .unwrap();
    assert!(meter.check_with("a", &[(&meter, "a")]).await.unwrap().is_admitted());
    assert_eq!(meter.peek("a").await.unwrap().status().unwrap().remaining(), 1);
    let denied = meter.check_with("a", &[(&meter, "a")]).await.unwrap();
    let Err(NegativeMultiDecision::BatchNonConforming(2, next)) = denied.decision() else {
        panic!("{denied:?}");
    };
    let now = tokio::time::Instant::now().into_std();
    assert_eq!(next.wait_time_from(now), Duration::from_secs(8 * 3600), "both cells");
    assert_eq!(meter.peek("a").await.unwrap().status().unwrap().remaining(), 1);
    let single = SharedMeter::builder("single", quota("1/d"))
        .build(Probe::new())
        .unwrap();
    let never = single.check_with("a", &[(&single, "a")]).await.unwrap();
    assert_eq!(never.decision(), Err(NegativeMultiDecision::InsufficientCapacity(2)));
}

#[tokio::test(start_paused = true)]
async fn callers_times_replay_a_log() {
    let meter = SharedMeter::builder("api", quota("1/s burst 1"))
        .build(Probe::new())
        .unwrap();
    let second = |s: u64| Micros::new(1_000_000_000_000_000 + s * 1_000_000).unwrap();
    assert!(meter.check_n_at("a", 1, second(0)).await.unwrap().is_admitted());
    assert!(!meter.check_n_at("a", 1, second(0)).await.unwrap().is_admitted());
    assert!(meter.check_n_at("a", 1, second(1)).await.unwrap().is_admitted());
}

#[tokio::test(start_paused = true)]
async fn averages_are_limits_too() {
    let meter = SharedMeter::average_builder("api", quota("10/min"))
        .build(Probe::new())
        .unwrap();
    let at_once = async || {
        let mut admitted = 0;
        while meter.check("a").await.unwrap().is_admitted() {
            admitted += 1;
        }
        admitted
    };
    assert_eq!(at_once().await, 10);
    advance(30_000 * MS).await;
    assert_eq!(
        at_once().await,
        4,
        "of a burst comes back more slowly than five in half a period"
    );
}

#[tokio::test(start_paused = true)]
async fn strict_average_counts_each_denial() {
    let wait = async |meter: &SharedMeter<Probe>| meter.check("a").await.unwrap().status().unwrap().until_next();
    let strict = SharedMeter::strict_average_builder("api", quota("3/min"));
    let beside = SharedMeter::builder("api", quota("1000000/s")).and_strict_average(quota("3/min"));
    for (settings, counts) in [(strict, true), (beside, false)] {
        let probe = Probe::new();
        let meter = settings.build(probe.clone()).unwrap();
        assert!(meter.check_n("a", 3).await.unwrap().is_admitted());
        probe.take_calls();
        let first = wait(&meter).await;
        for _ in 0..5 {
            assert_eq!(wait(&meter).await > first, counts);
        }
        assert_eq!(
            probe.take_calls().len(),
            if counts { 6 } else { 0 },
            "a denial that counts is asked for"
        );
    }
}

/// Settings of any size are kept without a panic.
#[tokio::test(start_paused = true)]
async fn endless_settings_are_possible() {
    let breaker = ratelimit_meter_store::BreakerSettings {
        failures: 1,
        pause: Duration::MAX,
        longest_pause: Duration::MAX,
    };
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", quota("1/60d burst 2"))
        .deadline(Duration::MAX)
        .remember_denials(Duration::MAX)
        .lease(LeaseSettings::kept_for(Duration::MAX))
        .breaker(breaker)
        .on_failure(ratelimit_meter_store::OnFailure::Deny)
        .max_in_flight(usize::MAX)
        .build(probe.clone())
        .unwrap();
    for admitted in [true, true, false] {
        assert_eq!(meter.check("a").await.unwrap().is_admitted(), admitted);
    }
    probe.set(crate::probe::Network::Fail(StoreError::TimedOut));
    for _ in 0..3 {
        assert!(!meter.check("b").await.unwrap().is_admitted());
    }
}

#[test]
fn names_that_make_no_key_are_errors() {
    let build = |name: &str| SharedMeter::builder(name, quota("1/s")).build(ratelimit_meter_store::MemoryStore::new());
    let long = "n".repeat(513);
    for name in ["", "a{", "}", "a\0b", &long] {
        assert_eq!(build(name).unwrap_err(), InvalidSharedMeter::Name);
    }
    assert!(build(&long[1..]).is_ok());
    let slot = SharedMeter::builder("api", quota("1/s")).in_slot("{x}");
    assert_eq!(
        slot.build(ratelimit_meter_store::MemoryStore::new()).unwrap_err(),
        InvalidSharedMeter::Name
    );
}

#[test]
fn leases_that_cannot_be_kept_are_errors() {
    let store = ratelimit_meter_store::MemoryStore::new;
    let lease = LeaseSettings::kept_for(Duration::from_secs(1));
    let average = SharedMeter::average_builder("api", quota("10/s")).lease(lease);
    assert_eq!(average.build(store()).unwrap_err(), InvalidSharedMeter::LeaseOfAverage);
    let strict = SharedMeter::builder("api", quota("10/s")).lease(lease.strict());
    assert_eq!(strict.build(store()).unwrap_err(), InvalidSharedMeter::LeaseAboveBurst);
    assert!(
        SharedMeter::builder("api", quota("10/s burst 11"))
            .lease(lease.strict())
            .build(store())
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn wrong_calls_are_typed_errors() {
    let probe = Probe::new();
    let bucket = SharedMeter::builder("api", quota("1/s")).build(probe.clone()).unwrap();
    let average = SharedMeter::average_builder("api", quota("1/s"))
        .build(probe.clone())
        .unwrap();
    assert!(bucket.check("a").await.unwrap().is_admitted());
    assert_eq!(
        average.check("a").await.unwrap_err(),
        StoreError::WrongState("api:{a}:0".to_owned())
    );
    assert!(!average.is_breaker_open());
    assert_eq!(probe.take_calls(), [(Verb::Check, 1), (Verb::Check, 1)]);
}

/// Such a subject can be the header field of a client. If it were an error, the client could choose that `OnFailure` decides.
#[tokio::test(start_paused = true)]
async fn long_subjects_have_limits_of_their_own() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", quota("1/h")).build(probe.clone()).unwrap();
    let long = "k".repeat(100_000);
    let subjects = [
        format!("{long}a"),
        format!("{long}b"),
        "a\0b".to_owned(),
        "a\0c".to_owned(),
    ];
    for subject in &subjects {
        assert!(meter.check(subject).await.unwrap().is_admitted());
        assert!(!meter.check(subject).await.unwrap().is_admitted());
        assert!(!meter.peek(subject).await.unwrap().is_admitted());
    }
    assert!(probe.longest_key() <= 600);
    meter.refund(&subjects[0], 1).await.unwrap();
    assert!(
        meter
            .check_with("a", &[(&meter, &subjects[0])])
            .await
            .unwrap()
            .is_admitted()
    );
    assert!(
        !meter
            .check_with("b", &[(&meter, &subjects[0])])
            .await
            .unwrap()
            .is_admitted()
    );
    meter.reset(&subjects[1]).await.unwrap();
    assert!(meter.check(&subjects[1]).await.unwrap().is_admitted());
}
