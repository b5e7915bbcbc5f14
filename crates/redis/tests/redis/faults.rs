//! Limits and callers when a server fails: the bounds of the table in the docs.

use crate::support::{OnRuntime, PATIENT, bucket, connected, first_answer, runtime};
use ratelimit_meter::NegativeMultiDecision;
use ratelimit_meter_redis::{RedisBlockingStore, RedisStore};
use ratelimit_meter_store::{
    Ask, AsyncStore, BlockingStore, OnFailure, SharedMeter, SharedMeterBuilder, StoreError, StoreLimit, Verb, Via,
};
use ratelimit_meter_store_check::proxy::{Proxy, Replies};
use ratelimit_meter_store_check::server::{Server, wait_for};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) fn check(store: &impl BlockingStore, key: &str, limit: &StoreLimit, n: u64) -> Result<u64, StoreError> {
    store
        .decide(Verb::Check, None, &[Ask { key, limit, n }])
        .map(|reply| reply.cells.unwrap_or(0))
}

/// Asks until the server answers again.
pub(crate) fn check_again(store: &impl BlockingStore, key: &str, limit: &StoreLimit) -> u64 {
    let mut cells = 0;
    assert!(wait_for(|| {
        check(store, key, limit, 1).map(|answer| cells = answer).is_ok()
    }));
    cells
}

/// Without persistence a crash forgets, and at most a burst more is admitted; with `appendfsync always` nothing is lost.
#[test]
fn crash_loses_at_most_unpersisted_writes() {
    for (args, after) in [
        (&[][..], 10),
        (&["--appendonly", "yes", "--appendfsync", "always"][..], 0),
    ] {
        let Some(mut server) = Server::start(args) else { return };
        let store = OnRuntime::new(&server.url());
        let (limit, _) = bucket("10/d");
        let admitted: u64 = (0..12).map(|_| check(&store, "k", &limit, 1).unwrap()).sum();
        assert_eq!(admitted, 10);
        server.kill();
        assert!(check(&store, "k", &limit, 1).is_err());
        server.restart();
        let first = check_again(&store, "k", &limit);
        let more: u64 = (0..12).map(|_| check(&store, "k", &limit, 1).unwrap()).sum();
        assert_eq!(first + more, after, "{args:?}");
        assert_ne!(
            server.command(&["PTTL", "k"]).unwrap(),
            ":-1\r\n",
            "a time to live outlasts a crash"
        );
    }
}

/// A stopped server costs each caller its deadline until the breaker opens, and then nothing; no answer is the store's.
#[test]
fn stopped_server_costs_bounded_time() {
    const DEADLINE: Duration = Duration::from_millis(200);
    const MOST: usize = 50;
    let Some(server) = Server::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let meter = SharedMeter::builder("api", "1000/s".parse().unwrap())
            .deadline(DEADLINE)
            .max_in_flight(MOST)
            .on_failure(OnFailure::Deny)
            .build(RedisStore::open(&server.url()).unwrap())
            .unwrap();
        assert!(wait_until_stored(&meter).await);
        server.signal("-STOP");
        // The clock goes forward once all calls wait.
        tokio::time::pause();
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..200 {
            let meter = meter.clone();
            tasks.spawn(async move { meter.check(&i.to_string()).await.unwrap() });
        }
        let verdicts = tasks.join_all().await;
        assert!(verdicts.iter().all(|verdict| !verdict.is_admitted()));
        let by = |error: &StoreError| {
            let by = |verdict: &&ratelimit_meter_store::Verdict| verdict.via() == &Via::Failure(error.clone());
            verdicts.iter().filter(by).count()
        };
        assert_eq!(
            (by(&StoreError::TimedOut), by(&StoreError::Overloaded)),
            (MOST, 200 - MOST)
        );
        assert!(meter.is_breaker_open());
        assert_eq!(
            meter.check("a").await.unwrap().via(),
            &Via::Failure(StoreError::BreakerOpen)
        );
        assert!((DEADLINE..2 * DEADLINE).contains(&begin.elapsed()));
        tokio::time::resume();
        server.signal("-CONT");
        assert!(
            wait_until_stored(&meter).await,
            "the breaker closes when the server answers"
        );
    });
}

async fn wait_until_stored(meter: &SharedMeter<RedisStore>) -> bool {
    let end = Instant::now() + PATIENT;
    while Instant::now() < end {
        if meter
            .check("probe")
            .await
            .is_ok_and(|verdict| !matches!(verdict.via(), Via::Failure(_)))
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A paused server answers late: within the deadline it is the store's answer, and nothing is counted twice.
#[test]
fn paused_server_is_waited_for_and_counts_once() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("10/d");
    check(&store, "k", &limit, 1).unwrap();
    server.command(&["CLIENT", "PAUSE", "300", "ALL"]).unwrap();
    assert_eq!(check(&store, "k", &limit, 1), Ok(1));
    assert_eq!(remaining(&store, "k", &limit), 8);
}

pub(crate) fn remaining(store: &impl BlockingStore, key: &str, limit: &StoreLimit) -> u32 {
    let reply = store.decide(Verb::Peek, None, &[Ask { key, limit, n: 1 }]).unwrap();
    limit.remaining(reply.states[0], reply.clock)
}

/// Regression 4: replies are lost or connections cut after the script ran. Each call counts once, and is an error with that meaning.
#[test]
fn lost_replies_count_once() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port());
    let direct = OnRuntime::new(&server.url());
    let (limit, _) = bucket("1000/d");
    let through = OnRuntime::new(&proxy.url());
    assert_eq!(check(&through, "k", &limit, 1), Ok(1));
    proxy.set(Replies::Cut);
    let mut sent = 1;
    for _ in 0..20 {
        let before = proxy.lost();
        match check(&through, "k", &limit, 1) {
            Err(error) => assert!(
                error.is_indeterminate() || matches!(error, StoreError::Unreachable(_)),
                "{error:?}"
            ),
            Ok(cells) => panic!("{cells} cells by a reply that was lost"),
        }
        // A connection that is cut while it is made has sent no script.
        sent += u64::from(proxy.lost() > before);
    }
    let counted = 1000 - u64::from(remaining(&direct, "k", &limit));
    assert!(
        (2..=sent).contains(&counted),
        "{counted} counted of at most {sent} sent"
    );
    proxy.set(Replies::Pass);
    assert_eq!(check_again(&through, "k", &limit), 1);
    // With a deadline: the reply never comes. On a loaded machine the deadline may pass before the call is sent.
    proxy.set(Replies::Lose);
    let before = proxy.lost();
    let calls = through.runtime.block_on(async {
        let meter = SharedMeter::builder("m", "1000/d".parse().unwrap())
            .deadline(Duration::from_millis(100))
            .build(through.store.clone())
            .unwrap();
        let mut calls = 0;
        while proxy.lost() == before {
            let error = meter.check("k").await.unwrap_err();
            assert!(
                matches!(error, StoreError::TimedOut | StoreError::BreakerOpen),
                "{error}"
            );
            calls += 1;
        }
        calls
    });
    let counted = 1000 - remaining(&direct, "m:{k}:0", &limit);
    assert!((1..=calls).contains(&counted), "{counted} counted of {calls} calls");
}

/// A reply that never comes ends a call without a deadline too: the runtime's clock is paused and goes to the end of each wait.
#[test]
fn lost_reply_ends_a_call_without_a_deadline() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port());
    let (limit, _) = bucket("10/d");
    let asks = [Ask {
        key: "k",
        limit: &limit,
        n: 1,
    }];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = connected(&proxy.url()).await;
        assert_eq!(store.decide(Verb::Check, None, &asks).await.unwrap().cells, Some(1));
        proxy.set(Replies::Lose);
        tokio::time::pause();
        let ended = tokio::time::timeout(Duration::from_secs(60), store.decide(Verb::Check, None, &asks)).await;
        assert_eq!(ended.expect("an end").unwrap_err(), StoreError::TimedOut);
    });
}

/// A reply that comes late is not that of the next call over the same connection; within the deadline it is the store's.
#[test]
fn delayed_reply_counts_once_for_its_own_call() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port());
    let direct = OnRuntime::new(&server.url());
    let through = OnRuntime::new(&proxy.url());
    let (small, large) = (bucket("10/d").0, bucket("1000/d").0);
    assert_eq!(check(&through, "warm", &small, 1), Ok(1));
    let builder = SharedMeter::builder("m", "10/d".parse().unwrap()).deadline(PATIENT);
    let meter = builder.build(through.store.clone()).unwrap();
    proxy.set(Replies::Hold);
    let late = through.runtime.spawn({
        let meter = meter.clone();
        async move { meter.check("late").await }
    });
    assert!(wait_for(|| proxy.held() == 1));
    // Its caller leaves.
    late.abort();
    assert!(through.runtime.block_on(late).unwrap_err().is_cancelled());
    proxy.set(Replies::Pass);
    assert_eq!(check(&through, "large", &large, 900), Ok(900));
    assert_eq!(remaining(&direct, "m:{late}:0", &small), 9);
    proxy.set(Replies::Hold);
    let verdict = std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(wait_for(|| proxy.held() == 2));
            proxy.set(Replies::Pass);
        });
        through.runtime.block_on(meter.check("in time")).unwrap()
    });
    assert!(verdict.is_admitted() && verdict.via() == &Via::Store);
    assert_eq!(remaining(&direct, "m:{in time}:0", &small), 9);
}

/// The blocking store closes a connection whose reply may still come.
#[test]
fn late_reply_never_answers_the_next_call() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisBlockingStore::new(redis::Client::open(server.url()).unwrap(), Duration::from_secs(1));
    // A call that came late on a loaded machine leaves cells for the next.
    let [(small, _), (large, _)] = ["1000/d", "1000000/d"].map(bucket);
    assert!(wait_for(|| check(&store, "small", &small, 1) == Ok(1)));
    server.signal("-STOP");
    assert_eq!(check(&store, "small", &small, 1), Err(StoreError::TimedOut));
    server.signal("-CONT");
    let mut answer = Err(StoreError::TimedOut);
    assert!(wait_for(|| {
        answer = check(&store, "large", &large, 900);
        answer.is_ok()
    }));
    assert_eq!(answer, Ok(900));
}

/// A server that vanishes keeps its connections open, and its name moves to another server: the store follows, although no connection was lost.
#[test]
fn store_follows_its_name_from_a_vanished_server() {
    let (Some(vanishing), Some(next)) = (Server::start(&[]), Server::start(&[])) else {
        return;
    };
    let proxy = Proxy::to(vanishing.port());
    let through = OnRuntime::new(&proxy.url());
    // So many cells that none is denied, and no denial remembered, if calls come late on a loaded machine.
    let builder = SharedMeter::builder("m", "1000000/d".parse().unwrap()).deadline(Duration::from_millis(50));
    let meter = builder.build(through.store.clone()).unwrap();
    let ask = || through.runtime.block_on(meter.check("k"));
    assert!(wait_for(|| ask().is_ok()));
    vanishing.signal("-STOP");
    proxy.move_to(next.port());
    assert!(ask().unwrap_err().is_indeterminate());
    assert!(wait_for(|| ask().is_ok()));
    vanishing.signal("-CONT");
}

/// A connection ends with the runtime of its first call; calls of the next runtime make another.
#[test]
fn store_outlives_the_runtime_of_its_first_call() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::open(&server.url()).unwrap();
    for _ in 0..3 {
        runtime().block_on(first_answer(&store)).expect("an answer");
    }
}

/// After a restart the blocking store drops all connections that were idle, so their loss fails one call.
#[test]
fn restart_fails_one_call_of_the_blocking_store() {
    const CONNECTIONS: usize = 8;
    let Some(mut server) = Server::start(&[]) else { return };
    let proxy = Proxy::to(server.port());
    let store = RedisBlockingStore::open(&proxy.url(), PATIENT).unwrap();
    let (limit, _) = bucket("1000/d");
    proxy.set(Replies::Hold);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| check(&store, "k", &limit, 1).unwrap());
        }
        assert!(wait_for(|| proxy.held() == CONNECTIONS));
        proxy.set(Replies::Pass);
    });
    server.restart();
    assert!(matches!(
        check(&store, "k", &limit, 1),
        Err(StoreError::Disconnected(_))
    ));
    for _ in 0..CONNECTIONS {
        assert_eq!(check(&store, "k", &limit, 1), Ok(1));
    }
}

/// Regression 24: a full server. With `noeviction` admissions fail and denials are answered; `volatile-ttl` first evicts the keys that become idle
/// first.
#[test]
fn full_memory_follows_the_policy() {
    const SPENT: usize = 200;
    let (spent, _) = bucket("10/d");
    let (flood, _) = bucket("10/h");
    for policy in [
        "noeviction",
        "volatile-ttl",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
    ] {
        let Some(server) = Server::start(&["--maxmemory-policy", policy]) else {
            return;
        };
        let store = RedisBlockingStore::new(redis::Client::open(server.url()).unwrap(), PATIENT);
        for i in 0..SPENT {
            assert_eq!(check(&store, &format!("spent{i}"), &spent, 10), Ok(10));
        }
        // Room for about 2,000 more keys.
        let most = server.info("used_memory").unwrap() + (400 << 10);
        let limited = server.command(&["CONFIG", "SET", "maxmemory", &most.to_string()]);
        assert_eq!(limited.unwrap(), "+OK\r\n");
        let (mut failed, mut flooded) = (0, 0);
        while flooded < 30_000 && failed < 100 && server.info("evicted_keys") < Some(1000) {
            for _ in 0..200 {
                flooded += 1;
                match check(&store, &format!("flood{flooded}"), &flood, 1) {
                    Ok(1) => {}
                    Err(StoreError::Refused(message)) if message.contains("OOM") => failed += 1,
                    other => panic!("{policy}: {other:?}"),
                }
            }
        }
        let answers: Vec<_> = (0..SPENT)
            .map(|i| check(&store, &format!("spent{i}"), &spent, 1))
            .collect();
        let forgotten = answers.iter().filter(|answer| **answer == Ok(1)).count();
        match policy {
            "noeviction" => {
                assert!(failed > 0);
                assert!(
                    answers.iter().all(|answer| *answer == Ok(0)),
                    "denials are answered: {answers:?}"
                );
            }
            "volatile-ttl" => assert_eq!((failed, forgotten), (0, 0)),
            // Each key that was evicted has its burst again.
            _ => assert_eq!(failed, 0, "{policy}"),
        }
        println!(
            "{policy}: {forgotten} of {SPENT} spent limits forgotten, {failed} calls failed, of a flood of {flooded}"
        );
    }
}

/// Regressions 5, 14, 3: foreign values are typed errors and stay as they are.
#[test]
fn foreign_values_are_errors_and_stay() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("10/d");
    let foreign = [
        &["SET", "f", "hello"][..],
        &["SET", "f", "12 -5 b1 1"],
        &["SET", "f", "12 nan b1 1"],
        &["SET", "f", "99999999999999999999 5 b1 1"],
        &["SET", "f", "12 5 e60000000 0.1"],
        &["SET", "f", "12 5 b0 0"],
        &["SET", "f", ""],
        &["RPUSH", "f", "1"],
        &["HSET", "f", "a", "b"],
    ];
    for words in foreign {
        server.command(&["DEL", "f"]).unwrap();
        server.command(words).unwrap();
        let dump = server.command(&["DUMP", "f"]).unwrap();
        for verb in [Verb::Check, Verb::Peek, Verb::Charge, Verb::Refund, Verb::UpTo] {
            let asks = [
                Ask {
                    key: "other",
                    limit: &limit,
                    n: 1,
                },
                Ask {
                    key: "f",
                    limit: &limit,
                    n: 1,
                },
            ];
            let error = store.decide(verb, None, &asks[1..]).unwrap_err();
            assert_eq!(error, StoreError::WrongState("f".to_owned()), "{words:?} {verb:?}");
            let error = store.decide(verb, None, &asks).unwrap_err();
            assert_eq!(error, StoreError::WrongState("f".to_owned()), "{words:?} {verb:?}");
        }
        assert_eq!(server.command(&["DUMP", "f"]).unwrap(), dump, "{words:?}");
        assert_eq!(
            server.command(&["EXISTS", "other"]).unwrap(),
            ":0\r\n",
            "nothing was counted elsewhere"
        );
    }
}

/// Laws 2: a denial writes nothing.
#[test]
fn denial_writes_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("10/d");
    assert_eq!(check(&store, "k", &limit, 10), Ok(10));
    let (value, changes) = (
        server.command(&["GET", "k"]).unwrap(),
        server.info("rdb_changes_since_last_save"),
    );
    for n in [1, 10, 11] {
        assert_eq!(check(&store, "k", &limit, n), Ok(0));
        let pair = [
            Ask {
                key: "k",
                limit: &limit,
                n,
            },
            Ask {
                key: "fresh",
                limit: &limit,
                n: 1,
            },
        ];
        store.decide(Verb::Check, None, &pair).unwrap();
    }
    assert_eq!(server.command(&["GET", "k"]).unwrap(), value);
    assert_eq!(server.info("rdb_changes_since_last_save"), changes);
}

/// The blocking meter over the blocking store, as a whole.
#[test]
fn blocking_meter_shares_a_limit() {
    let Some(server) = Server::start(&[]) else { return };
    let build = || {
        let store = RedisBlockingStore::new(redis::Client::open(server.url()).unwrap(), PATIENT);
        SharedMeterBuilder::new("api", "20/d".parse().unwrap())
            .build_blocking(store)
            .unwrap()
    };
    let meters = [build(), build()];
    let admitted = (0..50)
        .filter(|i| meters[i % 2].check("alice").unwrap().is_admitted())
        .count();
    assert_eq!(admitted, 20);
    let denied = meters[0].check_n("alice", 2).unwrap();
    assert!(matches!(
        denied.decision(),
        Err(NegativeMultiDecision::BatchNonConforming(2, _))
    ));
    meters[0].refund("alice", 2).unwrap();
    assert!(meters[0].check_n("alice", 2).unwrap().is_admitted());
}

/// The async stores can be called from any task, many at once.
#[test]
fn four_hundred_tasks_share_the_exact_burst() {
    let Some(server) = Server::start(&[]) else { return };
    runtime().block_on(async {
        let store = connected(&server.url()).await;
        let joined = SharedMeter::builder("joined", "100/d".parse().unwrap())
            .deadline(PATIENT)
            .build(store.clone())
            .unwrap();
        let single = SharedMeter::builder("single", "100/d".parse().unwrap())
            .deadline(PATIENT)
            .join_calls(false)
            .build(store.clone())
            .unwrap();
        for meter in [joined, single] {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..400 {
                let meter = meter.clone();
                tasks.spawn(async move { meter.check("hot").await.unwrap().is_admitted() });
            }
            assert_eq!(
                tasks.join_all().await.into_iter().filter(|&admitted| admitted).count(),
                100
            );
        }
        let reply = store
            .decide(
                Verb::Peek,
                None,
                &[Ask {
                    key: "joined:{hot}:0",
                    limit: &bucket("100/d").0,
                    n: 1,
                }],
            )
            .await
            .unwrap();
        assert_eq!(reply.cells, Some(0));
    });
}

/// The docs say about 200 bytes, with a key of 17. `METER_KEYS` sets the number of keys, 5,000 unless set.
#[test]
fn key_takes_about_two_hundred_bytes() {
    let keys: u64 = std::env::var("METER_KEYS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5_000);
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisBlockingStore::new(redis::Client::open(server.url()).unwrap(), PATIENT);
    let (limit, _) = bucket("100/d burst 20");
    let before = server.info("used_memory").unwrap();
    for i in 0..keys {
        assert_eq!(check(&store, &format!("rlm:user:{i:08}"), &limit, 20), Ok(20));
    }
    let bytes = (server.info("used_memory").unwrap() - before) / keys;
    assert!((100..=250).contains(&bytes), "{bytes} bytes a key");
    assert_eq!(server.command(&["DBSIZE"]).unwrap(), format!(":{keys}\r\n"));
}
