//! Statements that each connection prepares once.

use crate::laws::bucket;
use crate::server::{PATIENCE, Server, connect, through};
use ratelimit_meter_postgres::{BlockingPostgresStore, PostgresStore};
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, StoreError, StoreLimit, Verb};
use ratelimit_meter_store_check::postgres::PgBouncer;
use ratelimit_meter_store_check::{Plan, check};
use tokio_postgres::Config;

/// A store with one connection that prepares its statements.
fn prepared(config: &Config) -> PostgresStore {
    PostgresStore::connect(config.clone(), 1)
        .with_deadline(PATIENCE)
        .with_prepared_statements()
}

async fn take(store: &PostgresStore, limit: &StoreLimit, n: u64) -> Result<Option<u64>, StoreError> {
    let ask = Ask { key: "a", limit, n };
    store.decide(Verb::Check, None, &[ask]).await.map(|reply| reply.cells)
}

/// Runs statements in the session of the store's only connection.
async fn in_its_session(store: &PostgresStore, sql: &str) {
    let connection = store.pool().get().await.expect("a connection");
    connection.batch_execute(sql).await.expect("a result");
}

/// Returns the number of prepared statements in the session of the store's only connection.
async fn statements(store: &PostgresStore) -> i64 {
    let connection = store.pool().get().await.expect("a connection");
    let count = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%meter.%'";
    connection.query_typed(count, &[]).await.expect("a count")[0].get(0)
}

#[test]
fn prepared_statements_decide_like_the_exact_oracles() {
    let server = running!(Server::shared());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = runtime.block_on(server.database());
    let store = BlockingPostgresStore::new(prepared(&config)).expect("a thread");
    store.install().expect("installed");
    check(&store, Plan::from_env());
}

#[tokio::test]
async fn each_connection_prepares_a_statement_once() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let limit = bucket("10/d");
    for (store, expected) in [(prepared(&config), 1), (PostgresStore::connect(config.clone(), 1), 0)] {
        for _ in 0..3 {
            assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)));
        }
        assert_eq!(statements(&store).await, expected);
    }
    let store = BlockingPostgresStore::new(prepared(&config)).expect("a thread");
    let ask = Ask {
        key: "a",
        limit: &limit,
        n: 1,
    };
    assert_eq!(
        store.decide(Verb::Check, None, &[ask]).map(|reply| reply.cells),
        Ok(Some(1))
    );
}

#[tokio::test]
async fn lost_statements_are_prepared_again() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let (store, limit) = (prepared(&config), bucket("10/d"));
    for lose in ["DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS"] {
        assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)));
        in_its_session(&store, lose).await;
        assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)), "after {lose}");
        assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)), "after {lose}");
        assert_eq!(statements(&store).await, 1, "after {lose}");
    }
    assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)), "each call counted once");
    assert_eq!(take(&store, &limit, 1).await, Ok(Some(0)));

    // The session ends, and the next one prepares the statement.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    connect(&config).await.batch_execute(end).await.expect("ended");
    let again = async { while take(&store, &limit, 1).await != Ok(Some(0)) {} };
    tokio::time::timeout(PATIENCE, again).await.expect("a new connection");
    assert_eq!(statements(&store).await, 1);
}

/// A row of another type than when the statement was prepared is SQLSTATE 0A000.
#[tokio::test]
async fn upgrade_that_changes_a_result_fails_no_call() {
    let server = running!(Server::shared());
    let (plain, config) = server.store().await;
    let (store, limit) = (prepared(&config), bucket("10/d"));
    assert_eq!(take(&plain, &limit, 9).await, Ok(Some(9)));
    let earlier = "DROP FUNCTION meter.check;
        CREATE FUNCTION meter.check(key text, cost bigint, drain bigint, one bigint, burst bigint, tick bigint DEFAULT 0,
          OUT admitted boolean, OUT clock bigint, OUT t bigint, OUT level int)
        LANGUAGE sql AS 'SELECT false, 1::bigint, 1::bigint, 0'";
    connect(&config)
        .await
        .batch_execute(earlier)
        .await
        .expect("another result");
    let error = take(&store, &limit, 1).await.expect_err("a level that is no bigint");
    assert_eq!(error.name(), "protocol", "{error}");
    plain.install().await.expect("upgraded");
    assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)));
    // Without a name: pgbouncer would give the earlier statement to a client that prepares the same text.
    assert_eq!(statements(&store).await, 0);
    assert_eq!(take(&store, &limit, 1).await, Ok(Some(0)));
    assert_eq!(statements(&store).await, 1);
}

/// Through a pooler that keeps no prepared statements, two clients have one session.
#[tokio::test]
async fn pooler_without_statements_gives_advice() {
    let server = running!(Server::shared());
    let bouncer = running!(PgBouncer::start(&server));
    let (_, config) = server.store().await;
    let pooled = through(&config, bouncer.port());
    let (store, limit) = (prepared(&pooled), bucket("10/d"));
    assert_eq!(take(&store, &limit, 1).await, Ok(Some(1)));
    // Another client of the pooler gives that name to its own statement.
    let name = "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%meter.%'";
    let client = connect(&pooled).await;
    let name: String = client.query_typed(name, &[]).await.expect("a row")[0].get(0);
    let replace = format!("DEALLOCATE {name}; PREPARE {name} AS SELECT 1");
    client.batch_execute(&replace).await.expect("replaced");
    let error = take(&store, &limit, 1).await.expect_err("another statement");
    assert_eq!(error.name(), "refused", "{error}");
    assert!(error.to_string().contains("max_prepared_statements"), "{error}");
}
