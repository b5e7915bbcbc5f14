//! Stores that do not answer: bounded waits, a breaker, and an answer that names the side that made it.

use crate::probe::{Network, Probe};
use ratelimit_meter::{KeyedMeter, NegativeMultiDecision, Quota};
use ratelimit_meter_store::{BreakerSettings, OnFailure, SharedMeter, SharedMeterBuilder, StoreError, Via};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep};

const MS: Duration = Duration::from_millis(1);

fn down() -> StoreError {
    StoreError::Unreachable("down".to_owned())
}

fn api() -> SharedMeterBuilder {
    SharedMeter::builder("api", "10/s".parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn silent_store_is_an_error_at_the_deadline() {
    let meter = api().build(Probe::with(Network::Hang)).unwrap();
    let begin = Instant::now();
    assert_eq!(meter.check("a").await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(begin.elapsed(), 50 * MS);
    assert_eq!(meter.check_n("a", 2).await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(meter.peek("a").await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(meter.charge("a", 1).await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(meter.precheck_n("a", 1).await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(begin.elapsed(), 250 * MS);
}

#[tokio::test(start_paused = true)]
async fn each_answer_names_its_source() {
    let share = KeyedMeter::<str>::with_capacity("2/s".parse::<Quota>().unwrap(), 100).unwrap();
    let table = [
        (OnFailure::Allow, [true, true, true]),
        (OnFailure::Deny, [false, false, false]),
        (OnFailure::Local(share), [true, true, false]),
    ];
    for (on_failure, answers) in table {
        let meter = api()
            .on_failure(on_failure.clone())
            .build(Probe::with(Network::Fail(down())))
            .unwrap();
        for admitted in answers {
            let verdict = meter.check("a").await.unwrap();
            assert_eq!(verdict.via(), &Via::Failure(down()), "{on_failure:?}");
            assert_eq!(verdict.is_admitted(), admitted, "{on_failure:?}");
        }
        let part = meter.check_up_to("b", 2).await.unwrap();
        assert_eq!(
            part.cells(),
            if matches!(on_failure, OnFailure::Deny) { 0 } else { 2 },
            "{on_failure:?}"
        );
        assert_eq!(part.via(), &Via::Failure(down()));
        assert_eq!(
            meter.refund("a", 1).await.unwrap_err(),
            down(),
            "what changes state is never answered for the store"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn precheck_is_answered_as_a_check() {
    let share = KeyedMeter::<str>::with_capacity("2/h".parse::<Quota>().unwrap(), 100).unwrap();
    let table = [
        (OnFailure::Allow, [true, true, true]),
        (OnFailure::Deny, [false, false, false]),
        (OnFailure::Local(share), [true, true, false]),
    ];
    for (on_failure, answers) in table {
        let builder = api().on_failure(on_failure.clone());
        let meter = builder.build(Probe::with(Network::Fail(down()))).unwrap();
        for admitted in answers {
            let verdict = meter.precheck_n("a", 1).await.unwrap();
            assert_eq!(verdict.via(), &Via::Failure(down()), "{on_failure:?}");
            assert_eq!(verdict.is_admitted(), admitted, "{on_failure:?}");
        }
    }
}

/// The store, which may be well a moment later, admits a batch that the share of one process never does.
#[tokio::test(start_paused = true)]
async fn batch_above_the_local_burst_waits() {
    let share = KeyedMeter::<str>::with_capacity("2/s".parse::<Quota>().unwrap(), 100).unwrap();
    let probe = Probe::with(Network::Fail(down()));
    let meter = api().on_failure(OnFailure::Local(share)).build(probe.clone()).unwrap();
    let denied = meter.check_n("a", 3).await.unwrap();
    let Err(NegativeMultiDecision::BatchNonConforming(3, denial)) = denied.decision() else {
        panic!("{denied:?}");
    };
    assert_eq!(denial.wait_time_from(Instant::now().into_std()), 50 * MS);
    assert!(denied.status().is_none(), "{denied:?}");
    let part = meter.check_up_to("a", 3).await.unwrap();
    assert!(part.cells() == 0 && part.next().is_some(), "{part:?}");
    probe.set(Network::Instant);
    assert!(meter.check_n("a", 3).await.unwrap().is_admitted());
}

#[tokio::test(start_paused = true)]
async fn lost_reply_is_not_asked_for_again() {
    let probe = Probe::with(Network::LoseReply);
    let meter = api().build(probe.clone()).unwrap();
    assert_eq!(meter.check("a").await.unwrap_err(), StoreError::TimedOut);
    assert_eq!(probe.take_calls().len(), 1);
    probe.set(Network::Instant);
    let remaining = meter.peek("a").await.unwrap().status().unwrap().remaining();
    assert_eq!(remaining, 9, "the cell was counted once");
}

#[tokio::test(start_paused = true)]
async fn breaker_spares_a_store_that_fails() {
    let probe = Probe::with(Network::Hang);
    let meter = api().build(probe.clone()).unwrap();
    for _ in 0..5 {
        assert_eq!(meter.check("a").await.unwrap_err(), StoreError::TimedOut);
    }
    // The call ends with its last caller, in another task.
    sleep(MS).await;
    assert!(meter.is_breaker_open());
    let begin = Instant::now();
    for _ in 0..100 {
        assert_eq!(meter.check("a").await.unwrap_err(), StoreError::BreakerOpen);
    }
    assert_eq!((probe.take_calls().len(), begin.elapsed()), (5, Duration::ZERO));
    probe.set(Network::Instant);
    advance(100 * MS).await;
    assert!(meter.check("a").await.unwrap().is_admitted());
    assert!(!meter.is_breaker_open());
}

/// As when a server closes a connection that many callers share: the next call may connect again at once.
#[tokio::test(start_paused = true)]
async fn one_lost_connection_keeps_the_breaker_closed() {
    let probe = Probe::with(Network::Fail(StoreError::Disconnected("closed".to_owned())));
    let meter = api().build(probe.clone()).unwrap();
    let mut tasks = JoinSet::new();
    for i in 0..100 {
        let meter = meter.clone();
        tasks.spawn(async move { meter.check(&i.to_string()).await.is_ok() });
    }
    assert!(tasks.join_all().await.iter().all(|ok| !ok));
    assert!(!meter.is_breaker_open());
    for loss in 2..=5 {
        assert!(!meter.is_breaker_open(), "{loss}");
        advance(MS).await;
        meter.check("a").await.unwrap_err();
    }
    assert!(meter.is_breaker_open());
}

#[tokio::test(start_paused = true)]
async fn one_probe_is_in_flight_at_a_time() {
    let probe = Probe::with(Network::Fail(down()));
    let settings = BreakerSettings {
        failures: 1,
        ..BreakerSettings::default()
    };
    let meter = api().breaker(settings).build(probe.clone()).unwrap();
    meter.check("a").await.unwrap_err();
    probe.take_calls();
    probe.set(Network::Delay(10 * MS));
    advance(100 * MS).await;
    let mut tasks = JoinSet::new();
    for i in 0..20 {
        let meter = meter.clone();
        tasks.spawn(async move { meter.check(&i.to_string()).await.is_ok() });
    }
    let answered = tasks.join_all().await.into_iter().filter(|&ok| ok).count();
    assert_eq!((answered, probe.take_calls().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn server_errors_do_not_open_the_breaker() {
    let probe = Probe::with(Network::Fail(StoreError::Refused("OOM".to_owned())));
    let meter = api().build(probe.clone()).unwrap();
    for _ in 0..20 {
        assert_eq!(
            meter.check("a").await.unwrap_err(),
            StoreError::Refused("OOM".to_owned())
        );
    }
    assert!(!meter.is_breaker_open());
}

#[tokio::test(start_paused = true)]
async fn too_many_callers_fail_at_once() {
    let meter = api().max_in_flight(100).build(Probe::with(Network::Hang)).unwrap();
    let mut tasks = JoinSet::new();
    for i in 0..1000 {
        let meter = meter.clone();
        tasks.spawn(async move {
            let begin = Instant::now();
            let error = meter.check(&(i % 300).to_string()).await.unwrap_err();
            (error, begin.elapsed())
        });
    }
    let answers = tasks.join_all().await;
    let overloaded = answers
        .iter()
        .filter(|answer| **answer == (StoreError::Overloaded, Duration::ZERO))
        .count();
    let timed_out = answers
        .iter()
        .filter(|answer| **answer == (StoreError::TimedOut, 50 * MS))
        .count();
    assert_eq!((overloaded, timed_out), (900, 100));
}

#[tokio::test(start_paused = true)]
async fn denial_for_failed_store_waits_for_next_probe() {
    let meter = api()
        .on_failure(OnFailure::Deny)
        .build(Probe::with(Network::Fail(down())))
        .unwrap();
    for _ in 0..6 {
        let verdict = meter.check("a").await.unwrap();
        let Err(NegativeMultiDecision::BatchNonConforming(1, denial)) = verdict.decision() else {
            panic!("{verdict:?}");
        };
        let wait = denial.wait_time_from(Instant::now().into_std());
        assert!(wait == 50 * MS || wait == 100 * MS && meter.is_breaker_open());
    }
}

#[tokio::test(start_paused = true)]
async fn probe_that_is_dropped_leaves_the_breaker_usable() {
    let probe = Probe::with(Network::Fail(down()));
    let settings = BreakerSettings {
        failures: 1,
        ..BreakerSettings::default()
    };
    let meter = api().breaker(settings).build(probe.clone()).unwrap();
    meter.check_n("a", 2).await.unwrap_err();
    advance(100 * MS).await;
    probe.set(Network::Hang);
    assert!(tokio::time::timeout(MS, meter.check_n("a", 2)).await.is_err());
    probe.set(Network::Instant);
    assert!(meter.check_n("a", 2).await.unwrap().is_admitted());
    sleep(MS).await;
}
