//! Calls of one subject that are joined.

use crate::probe::{Network, Probe};
use ratelimit_meter_store::{LeaseSettings, MemoryStore, SharedMeter, StoreError, Verb};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn four_hundred_tasks_share_two_calls_in_order() {
    let probe = Probe::with(Network::Delay(2 * MS));
    let meter = SharedMeter::builder("api", "1000/d burst 150".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    let mut tasks = JoinSet::new();
    for i in 0..400 {
        let meter = meter.clone();
        tasks.spawn(async move { (i, meter.check("a").await.unwrap().is_admitted()) });
    }
    let begin = Instant::now();
    let mut answers = tasks.join_all().await;
    answers.sort_unstable();
    let admitted: Vec<_> = answers
        .iter()
        .filter(|(_, admitted)| *admitted)
        .map(|(i, _)| *i)
        .collect();
    assert_eq!(admitted, (0..150).collect::<Vec<_>>(), "first come, first served");
    assert_eq!(probe.take_calls(), [(Verb::Check, 1), (Verb::UpTo, 399)]);
    assert_eq!(begin.elapsed(), 4 * MS);
}

#[tokio::test(start_paused = true)]
async fn calls_are_not_joined_if_so_set() {
    let probe = Probe::with(Network::Delay(2 * MS));
    let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
        .join_calls(false)
        .build(probe.clone())
        .unwrap();
    let verdicts = tokio::join!(meter.check("a"), meter.check("a"), meter.check("a"));
    assert!(
        verdicts.0.unwrap().is_admitted() && verdicts.1.unwrap().is_admitted() && verdicts.2.unwrap().is_admitted()
    );
    assert_eq!(probe.take_calls(), [(Verb::Check, 1); 3]);
}

#[tokio::test(start_paused = true)]
async fn subjects_do_not_wait_for_each_other() {
    let probe = Probe::with(Network::Delay(2 * MS));
    let meter = SharedMeter::builder("api", "1/s".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    let mut tasks = JoinSet::new();
    for i in 0..50 {
        let meter = meter.clone();
        tasks.spawn(async move { meter.check(&format!("subject {i}")).await.unwrap().is_admitted() });
    }
    let begin = Instant::now();
    assert!(tasks.join_all().await.into_iter().all(|admitted| admitted));
    assert_eq!((begin.elapsed(), probe.take_calls().len()), (2 * MS, 50));
}

#[tokio::test(start_paused = true)]
async fn caller_that_left_is_not_asked_for() {
    let probe = Probe::with(Network::Delay(10 * MS));
    let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    let first = tokio::spawn({
        let meter = meter.clone();
        async move { meter.check("a").await.unwrap().is_admitted() }
    });
    sleep(MS).await;
    for _ in 0..5 {
        assert!(
            timeout(MS, meter.check("a")).await.is_err(),
            "the call in flight is not back yet"
        );
    }
    let last = meter.check("a").await.unwrap();
    assert!(first.await.unwrap());
    assert_eq!(last.status().unwrap().remaining(), 8, "two cells were counted");
    assert_eq!(probe.take_calls(), [(Verb::Check, 1), (Verb::Check, 1)]);
}

#[tokio::test(start_paused = true)]
async fn failed_shared_call_fails_every_joined_caller() {
    let probe = Probe::with(Network::Delay(2 * MS));
    let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let meter = meter.clone();
        tasks.spawn(async move { meter.check("a").await });
    }
    sleep(MS).await;
    probe.set(Network::Fail(StoreError::Unreachable("down".to_owned())));
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    probe.set(Network::Instant);
    assert_eq!(meter.check("a").await.unwrap().status().unwrap().remaining(), 8);
}

#[test]
fn call_ended_with_its_runtime_blocks_no_caller() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let (meter, probe) = first.block_on(async {
        let probe = Probe::with(Network::Hang);
        let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
            .deadline(3_600_000 * MS)
            .build(probe.clone())
            .unwrap();
        let hanging = meter.clone();
        tokio::spawn(async move { hanging.check("a").await });
        sleep(MS).await;
        (meter, probe)
    });
    drop(first);
    probe.set(Network::Instant);
    assert!(second.block_on(meter.check("a")).unwrap().is_admitted());
}

#[test]
fn call_whose_task_never_ran_blocks_no_caller() {
    let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
        .build(Probe::with(Network::Instant))
        .unwrap();
    let poll_once = || {
        let mut context = Context::from_waker(Waker::noop());
        pin!(meter.check("a")).poll(&mut context).is_pending()
    };
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    };
    // The runtime ends before it polls the task of the call.
    assert!(runtime().block_on(async { poll_once() }));
    assert!(runtime().block_on(meter.check("a")).unwrap().is_admitted());
    // There is no runtime to spawn the task.
    catch_unwind(AssertUnwindSafe(poll_once)).unwrap_err();
    assert!(runtime().block_on(meter.check("a")).unwrap().is_admitted());
}

/// Every verb that admits, from several threads, with and without blocks: each admitted cell is counted in the store, and each counted cell is
/// admitted or was in a block that was given back.
#[test]
fn random_use_from_threads_counts_each_cell() {
    const BURST: u32 = 3000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for lease in [
        None,
        Some(LeaseSettings::kept_for(Duration::from_secs(86_400)).at_most(40)),
    ] {
        let settings = SharedMeter::builder("api", format!("3000/d burst {BURST}").parse().unwrap())
            .deadline(Duration::from_secs(3600));
        let settings = lease
            .into_iter()
            .fold(settings, |settings, lease| settings.lease(lease));
        let meter = settings.build(MemoryStore::new()).unwrap();
        let admitted: u32 = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..16 {
                let meter = meter.clone();
                tasks.spawn(async move {
                    let mut cells = 0;
                    for _ in 0..300 {
                        let n = fastrand::u32(1..4);
                        cells += match fastrand::u8(..8) {
                            0 => meter.check_up_to("a", n).await.unwrap().cells(),
                            1 => n * u32::from(meter.check_n("a", n).await.unwrap().is_admitted()),
                            _ => u32::from(meter.check("a").await.unwrap().is_admitted()),
                        };
                        if fastrand::u8(..8) == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                    cells
                });
            }
            tasks.join_all().await.into_iter().sum()
        });
        let remaining = runtime.block_on(async {
            meter.give_back().await.unwrap();
            meter.peek("a").await.unwrap().status().unwrap().remaining()
        });
        // A cell drains in 29 seconds, and a block that is given back may leave a part of one.
        let expected = BURST.saturating_sub(admitted);
        assert!(
            (expected.saturating_sub(1)..=expected + 10).contains(&remaining),
            "{admitted} admitted, {remaining} remain of {BURST}"
        );
    }
}
