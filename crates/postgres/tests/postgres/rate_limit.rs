//! `check_rate_limit`: the faults of the function that was posted in a discussion of exponential rate limiting, as regressions.

use crate::laws::{ClockedDatabase, average};
use crate::server::{Server, connect};
use ratelimit_meter_postgres::PostgresStore;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const START: u64 = 1_000_000_000_000_000;

/// The result of one call; the time in microseconds, `None` for infinity.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RateLimitRow {
    allowed: bool,
    next_us: Option<u64>,
    rate: f64,
}

async fn ask(client: &Client, arguments: &str) -> RateLimitRow {
    let call = format!(
        "SELECT allowed, CASE WHEN isfinite(next_allowed_time) THEN (extract(epoch FROM next_allowed_time) * 1000000)::bigint END, rate
         FROM check_rate_limit({arguments})"
    );
    let row = client.query_one(&call, &[]).await.expect("an answer");
    let next: Option<i64> = row.get(1);
    RateLimitRow {
        allowed: row.get(0),
        next_us: next.map(|us| u64::try_from(us).expect("after 1970")),
        rate: row.get(2),
    }
}

/// As posted, the first call fails: `current_time` is a keyword; then `client_id` is ambiguous.
#[tokio::test]
async fn first_call_is_answered_with_names_and_defaults() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    for arguments in [
        "'a'",
        "'b', 1.0, 10.0, INTERVAL '1 minute'",
        "client_id => 'c', cost => 2, limit_value => 10, period => '1 min', strict => true",
    ] {
        assert!(ask(&client, arguments).await.allowed, "{arguments}");
    }
}

/// As posted, two clients that read the same row both write: eight got 108 of a limit of 10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_get_no_more_than_one_would() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    for strict in [false, true] {
        let mut clients = JoinSet::new();
        for _ in 0..8 {
            let config = config.clone();
            clients.spawn(async move {
                let client = connect(&config).await;
                let arguments = format!("'race{strict}', 1.0, 10.0, INTERVAL '1 day', {strict}");
                let mut allowed = 0;
                for _ in 0..40 {
                    allowed += u32::from(ask(&client, &arguments).await.allowed);
                }
                allowed
            });
        }
        assert_eq!(
            clients.join_all().await.into_iter().sum::<u32>(),
            10,
            "strict: {strict}"
        );
    }
}

/// In the posted function, a retry at the returned time is denied.
#[tokio::test]
async fn retry_is_allowed_at_next_allowed_time_only() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    for (name, cost, limit, period) in [
        ("a", 1.0, 10.0, "1 minute"),
        ("b", 3.0, 10.0, "1 minute"),
        ("c", 0.5, 600.0, "1 hour"),
        ("d", 1.0, 1_000_000.0, "1 second"),
        ("e", 1.0, 0.9, "1 day"),
    ] {
        let mut now = START;
        let arguments = format!("'{name}', {cost}, {limit}, INTERVAL '{period}'");
        clock.set(now).await;
        let mut answer = ask(&client, &arguments).await;
        for _ in 0..20 {
            while answer.allowed {
                assert_eq!(answer.next_us, Some(now), "{name}");
                if limit > 1e5 {
                    // An idle key has a million: charge them at once.
                    ask(
                        &client,
                        &format!("'{name}', {}, {limit}, INTERVAL '{period}'", limit - 1.0),
                    )
                    .await;
                }
                answer = ask(&client, &arguments).await;
            }
            now = answer.next_us.expect("one day");
            clock.set(now - 1).await;
            assert!(
                !ask(&client, &arguments).await.allowed,
                "{name} at {now} less a microsecond"
            );
            clock.set(now).await;
            answer = ask(&client, &arguments).await;
            assert!(answer.allowed, "{name} at {now}");
        }
    }
}

/// From rest about the limit at once, then exactly the limit in each period.
#[tokio::test]
async fn constant_client_gets_the_limit_per_period() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(START).await;
    let arguments = "'a', 1.0, 10.0, INTERVAL '1 minute'";
    let mut at_once = 0;
    let mut answer = ask(&client, arguments).await;
    while answer.allowed {
        at_once += 1;
        // At the threshold the average is the limit and half a cell.
        assert!(answer.rate < 10.6);
        answer = ask(&client, arguments).await;
    }
    assert_eq!(at_once, 10);
    let mut now = START;
    for _ in 0..100 {
        now = answer.next_us.expect("one day");
        clock.set(now).await;
        assert!(ask(&client, arguments).await.allowed);
        answer = ask(&client, arguments).await;
        assert!(!answer.allowed);
    }
    // The first of the hundred comes earlier: the average was not at its threshold yet.
    let elapsed_us = now - START;
    assert!((594_000_000..=600_000_000).contains(&elapsed_us), "{elapsed_us}");
}

/// The returned time allows for the errors of two logarithms, 2e-15 periods: microseconds only for a period like this.
#[tokio::test]
async fn admission_leaves_an_average_at_its_threshold() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(START).await;
    for _ in 0..18 {
        let answer = ask(&client, "'a', 1.0, 10.0, INTERVAL '36500 days'").await;
        if let (false, Some(next)) = (answer.allowed, answer.next_us) {
            clock.set(next).await;
        }
        let level = client.query_one("SELECT level FROM meter.average", &[]).await;
        let level: f64 = level.expect("a row").get(0);
        assert!(level <= 1.0, "{level}");
    }
}

/// As posted, time stands still in a transaction: `NOW()` is when that began.
#[tokio::test]
async fn time_passes_within_a_transaction() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    client.batch_execute("BEGIN").await.expect("begun");
    let read = "SELECT meter.clock(), (extract(epoch FROM now()) * 1000000)::bigint";
    loop {
        let row = client.query_one(read, &[]).await.expect("a time");
        let (clock, began): (i64, i64) = (row.get(0), row.get(1));
        if clock > began + 1000 {
            break;
        }
    }
}

#[tokio::test]
async fn strict_counts_denials_and_leaky_writes_nothing() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(START).await;
    let mut waits = Vec::new();
    for strict in [false, true] {
        let arguments = format!("'{strict}', 1.0, 3.0, INTERVAL '1 minute', {strict}");
        while ask(&client, &arguments).await.allowed {}
        let row = format!("SELECT xmin::text, xmax::text, ctid::text FROM meter.average WHERE key = '{strict}'");
        let before = client.query_one(&row, &[]).await.expect("a row");
        let denied = ask(&client, &arguments).await;
        let after = client.query_one(&row, &[]).await.expect("a row");
        let written = (0..3).any(|i| before.get::<_, String>(i) != after.get::<_, String>(i));
        assert!(!denied.allowed);
        assert_eq!(written, strict);
        waits.push(denied.next_us);
    }
    assert!(waits[0] < waits[1], "{waits:?}");
}

/// The share of a cell is that of the core's `Exponential`, to the last bits.
#[tokio::test]
async fn cost_of_one_cell_matches_the_core() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    for limit in [
        1_u32,
        2,
        3,
        7,
        10,
        31,
        32,
        33,
        34,
        100,
        9999,
        10_001,
        600_000,
        4_294_967_295,
    ] {
        let allowed = ask(&client, &format!("'{limit}', 1.0, {limit}, INTERVAL '1 hour'"))
            .await
            .allowed;
        assert!(allowed);
        let row = client
            .query_one(&format!("SELECT share FROM meter.average WHERE key = '{limit}'"), &[])
            .await;
        let share: f64 = row.expect("a row").get(0);
        let core = average(&format!("{limit}/h")).share();
        assert!((share / core - 1.0).abs() < 5e-16, "{limit}: {share} for {core}");
    }
}

#[tokio::test]
async fn cost_above_the_burst_is_an_error() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    let answer = ask(&client, "'a', 11, 10, INTERVAL '1 minute', true").await;
    assert_eq!((answer.allowed, answer.next_us), (false, None));
    // It counts nothing, even strict.
    assert_eq!(ask(&client, "'a', 0, 10, INTERVAL '1 minute'").await.rate, 0.0);
    // A cost that a double cannot add to a level is rounded up.
    assert!(ask(&client, "'a', 1e-300, 10, INTERVAL '1 minute'").await.rate > 0.0);
}

#[tokio::test]
async fn impossible_arguments_are_errors() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    for arguments in [
        "NULL",
        "'a', NULL",
        "'a', -1",
        "'a', 'NaN'",
        "'a', 'infinity'",
        "'a', 1, 0",
        "'a', 1, -1",
        "'a', 1, 'NaN'",
        "'a', 1, 'infinity'",
        "'a', 1, NULL",
        "'a', 1, 10, INTERVAL '0'",
        "'a', 1, 10, INTERVAL '-1 s'",
        "'a', 1, 10, INTERVAL '200 years'",
        "'a', 1, 10, NULL",
        "'a', 1, 10, INTERVAL '1 s', NULL",
    ] {
        let call = format!("SELECT * FROM check_rate_limit({arguments})");
        let error = client.query(&call, &[]).await.expect_err(arguments);
        assert_eq!(
            error.code(),
            Some(&SqlState::INVALID_PARAMETER_VALUE),
            "{arguments}: {error:?}"
        );
    }
}

/// Hours at the largest costs and the longest pauses: no overflow and no underflow of a double is an error.
#[tokio::test]
async fn extreme_levels_are_no_errors() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    let arguments = |cost: &str, strict: bool| format!("'a', {cost}, 1e15, INTERVAL '1 microsecond', {strict}");
    let mut now = START;
    for pause in [0, 1, 100, 1000, 1_000_000_000] {
        now += pause;
        clock.set(now).await;
        for cost in ["0", "1e-300", "1", "1e14", "9e14", "1e300"] {
            for strict in [false, true] {
                ask(&client, &arguments(cost, strict)).await;
            }
        }
        // Another limit on the same key, of another scale.
        ask(&client, "'a', 1e-300, 0.001, INTERVAL '142 years'").await;
    }
}

/// The function that was posted has another signature: calls of four arguments would go on to find it.
#[tokio::test]
async fn install_over_a_foreign_function_advises_dropping_it() {
    let server = running!(Server::shared());
    let config = server.database().await;
    let client = connect(&config).await;
    let posted = "CREATE FUNCTION check_rate_limit(client_id varchar, cost float8 DEFAULT 1, limit_value float8 DEFAULT 600, period interval DEFAULT '1 hour')
        RETURNS TABLE (allowed boolean, next_allowed_time timestamptz) LANGUAGE sql AS 'SELECT true, now()'";
    client.batch_execute(posted).await.expect("created");
    let store = PostgresStore::connect(config, 1);
    let error = store.install().await.expect_err("a function of that name");
    assert!(
        error.to_string().contains("another function check_rate_limit exists"),
        "{error}"
    );
    let drop = "DROP FUNCTION check_rate_limit(varchar, float8, float8, interval)";
    client.batch_execute(drop).await.expect("dropped");
    store.install().await.expect("installed");
    store.install().await.expect("installed again");
}
