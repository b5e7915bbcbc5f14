//! Many clients at once: every reply replayed through the exact bucket.

use crate::laws::{average, bucket};
use crate::server::{Server, connect, until_a_session_waits};
use ratelimit_meter_postgres::PostgresStore;
use ratelimit_meter_store::{Ask, AsyncStore, StoreLimit, Verb};
use ratelimit_meter_store_check::ExactBucket;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A reply: the time of the decision, whether the cells were counted, and when they conform if not.
type DecidedReply = (u64, bool, u64);

/// Decides `calls` batches of `n` on `key` and returns the replies.
async fn decide(store: PostgresStore, key: Arc<str>, limit: StoreLimit, n: u64, calls: usize) -> Vec<DecidedReply> {
    let mut log = Vec::with_capacity(calls);
    for _ in 0..calls {
        let asks = [Ask {
            key: &key,
            limit: &limit,
            n,
        }];
        let reply = store.decide(Verb::Check, None, &asks).await.expect("a decision");
        let (state, admitted) = (reply.states[0], reply.cells == Some(n));
        let wait = limit
            .until(state, reply.clock, u32::try_from(n).expect("small"))
            .expect("one day");
        let due = reply.clock.get() + u64::try_from(wait.as_micros()).expect("before 2112");
        // An admission is at the time of its tick: a call that waited for the lock decides at the time of the awaited row.
        log.push((reply.clock.get(), admitted, due));
    }
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_replies_replay_through_the_exact_bucket() {
    const CLIENTS: usize = 8;
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    for (quota, n, calls) in [
        ("500/d", 1, 250),
        ("1000/s burst 50", 1, 250),
        ("999983/min burst 1000", 7, 250),
        ("3/7ms", 1, 150),
    ] {
        let limit = bucket(quota);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            // As many processes would have: a pool each.
            let store = PostgresStore::connect(config.clone(), 1);
            clients.spawn(decide(store, quota.into(), limit, n, calls));
        }
        let mut log: Vec<DecidedReply> = clients.join_all().await.into_iter().flatten().collect();
        // At one microsecond the admissions came first.
        log.sort_by_key(|&(clock, admitted, _)| (clock, !admitted));
        let StoreLimit::Bucket(units) = limit else {
            unreachable!()
        };
        let mut exact = ExactBucket::of(units.quota(), &units);
        for &(clock, admitted, due) in &log {
            assert_eq!(exact.conforms(n, clock), admitted, "{quota}: {n} at {clock}");
            if admitted {
                exact.add(n, clock);
            } else {
                // Calls that were decided between the read and its clock can only have made it later.
                assert!(due <= exact.due(n), "{quota}: {due} for {}", exact.due(n));
            }
        }
        if quota == "500/d" {
            assert_eq!(log.iter().filter(|(_, admitted, _)| *admitted).count(), 500);
        }
    }
}

/// Regression 22: the first two calls of a key collide elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_calls_of_a_key_all_count() {
    const CLIENTS: u64 = 12;
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let limits = [bucket("20/d"), StoreLimit::Average(average("10/d"))];
    for (limit, at_most) in limits.iter().zip([20, 10]) {
        for round in 0..10 {
            let key: Arc<str> = format!("{round}{:?}", limit.scale()).into();
            let barrier = Arc::new(Barrier::new(usize::try_from(CLIENTS).expect("few")));
            let mut clients = JoinSet::new();
            for _ in 0..CLIENTS {
                let (barrier, key, limit) = (barrier.clone(), key.clone(), *limit);
                let store = PostgresStore::connect(config.clone(), 1);
                clients.spawn(async move {
                    barrier.wait().await;
                    decide(store, key, limit, 1, 2).await
                });
            }
            let log: Vec<DecidedReply> = clients.join_all().await.into_iter().flatten().collect();
            let admitted = log.iter().filter(|(_, admitted, _)| *admitted).count();
            assert_eq!(admitted, at_most, "round {round} of {:?}", limit.quota());
        }
    }
}

/// Regression 21: upserts in different orders are deadlocks elsewhere. Three sets of two keys, in a circle, and in both orders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cyclic_orders_of_several_limits_never_deadlock() {
    const CALLS: u64 = 60;
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let limit = bucket("100000/3650d");
    let mut clients = JoinSet::new();
    for keys in [["x", "y"], ["y", "z"], ["z", "x"], ["y", "x"], ["z", "y"], ["x", "z"]] {
        let store = PostgresStore::connect(config.clone(), 1);
        clients.spawn(async move {
            for _ in 0..CALLS {
                let asks = keys.map(|key| Ask {
                    key,
                    limit: &limit,
                    n: 1,
                });
                let reply = store.decide(Verb::Check, None, &asks).await.expect("no deadlock");
                assert_eq!(reply.cells, Some(1));
            }
        });
    }
    clients.join_all().await;
    let client = connect(&config).await;
    let deadlocks = client
        .query_one(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
            &[],
        )
        .await
        .expect("the statistics");
    assert_eq!(deadlocks.get::<_, i64>(0), 0);
    for key in ["x", "y", "z"] {
        let asks = [Ask {
            key,
            limit: &limit,
            n: 1,
        }];
        let reply = store.decide(Verb::Peek, None, &asks).await.expect("a peek");
        let left = u64::from(limit.remaining(reply.states[0], reply.clock));
        // In the meantime a cell drains every 0.9 s.
        assert!(
            (100_000 - 4 * CALLS..100_000 - 4 * CALLS + 120).contains(&left),
            "{key}: {left}"
        );
    }
}

/// A call that waits for another call's row decides on the row that the other call wrote, not on its own earlier read. So does a first call of a key
/// that waits for another first call.
#[tokio::test]
async fn waiting_call_decides_on_the_awaited_row() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let (bucket, share) = (bucket("10/d"), StoreLimit::Average(average("10/d")));
    let holder = connect(&config).await;
    let watcher = connect(&config).await;
    for (first, keys, limit, has_rows) in [
        ("meter.allow('a', '10/d', 6)", &["a"][..], bucket, true),
        ("check_rate_limit('a', 6, 10, INTERVAL '1 day')", &["a"], share, true),
        (
            "meter.allow('c', '10/d', 6) c, meter.allow('b', '10/d', 6) b",
            &["b", "c"],
            bucket,
            true,
        ),
        (
            "check_rate_limit('b', 6, 10, INTERVAL '1 day')",
            &["b", "c"],
            share,
            true,
        ),
        ("meter.allow('d', '10/d', 6)", &["d"], bucket, false),
        ("check_rate_limit('d', 6, 10, INTERVAL '1 day')", &["d"], share, false),
    ] {
        let before = keys.iter().map(|key| Ask {
            key,
            limit: &limit,
            n: 1,
        });
        if has_rows {
            let asks: Vec<_> = before.collect();
            store.decide(Verb::Check, None, &asks).await.expect("a decision");
        }
        let hold = format!("BEGIN; SELECT * FROM {first}");
        holder
            .batch_execute(&hold)
            .await
            .expect("an admission that is not committed");
        let (store, keys) = (store.clone(), keys.to_vec());
        let waiting = tokio::spawn(async move {
            let asks: Vec<_> = keys
                .iter()
                .map(|key| Ask {
                    key,
                    limit: &limit,
                    n: 6,
                })
                .collect();
            store.decide(Verb::Check, None, &asks).await.expect("a decision").cells
        });
        until_a_session_waits(&watcher, true).await;
        holder.batch_execute("COMMIT").await.expect("committed");
        assert_eq!(waiting.await.expect("no panic"), Some(0), "{first}");
    }
}

/// Regression 17: 400 callers of one key time out elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_tasks_on_one_key_get_answers() {
    let server = running!(Server::shared());
    let (store, _) = server.store().await;
    let store = store.with_deadline(Duration::from_secs(60));
    let limit = bucket("100/d");
    let mut tasks = JoinSet::new();
    for _ in 0..400 {
        tasks.spawn(decide(store.clone(), "hot".into(), limit, 1, 1));
    }
    let log: Vec<DecidedReply> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(log.iter().filter(|(_, admitted, _)| *admitted).count(), 100);
}
