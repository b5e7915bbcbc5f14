//! The writes of decisions, the size of the tables, and the effect of a sweep.

use crate::laws::{ClockedDatabase, average, bucket};
use crate::server::{PATIENCE, Server, connect};
use ratelimit_meter_store::{Ask, AsyncStore, SharedMeter, StoreLimit, Verb};
use std::time::Duration;
use tokio_postgres::Client;

async fn number(client: &Client, expression: &str) -> i64 {
    let select = format!("SELECT ({expression})::bigint");
    client.query_one(&select, &[]).await.expect("a number").get(0)
}

/// Which row version the key has, and whether it was locked: a write changes one of them.
async fn version(client: &Client, table: &str) -> String {
    let select = format!("SELECT concat_ws(' ', xmin, xmax, ctid) FROM meter.{table} ORDER BY key LIMIT 1");
    client.query_one(&select, &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn denials_neither_write_nor_lock() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let client = connect(&config).await;
    let limits = [bucket("10/d"), StoreLimit::Average(average("10/d"))];
    for (limit, table) in limits.iter().zip(["bucket", "average"]) {
        let decide = async |verb, n| {
            let asks = [Ask { key: "a", limit, n }];
            store.decide(verb, None, &asks).await.expect("a decision").cells
        };
        assert_eq!(decide(Verb::Check, 10).await, Some(10));
        let before = version(&client, table).await;
        for verb in [Verb::Check, Verb::UpTo, Verb::Lease { at_most: 5 }, Verb::Peek] {
            assert_eq!(decide(verb, 1).await, Some(0), "{verb:?}");
        }
        assert_eq!(decide(Verb::Check, 11).await, None);
        // All or nothing: the other limit's cells are not counted either.
        let asks = [("a", limit), ("b", limit)].map(|(key, limit)| Ask { key, limit, n: 1 });
        let reply = store.decide(Verb::Check, None, &asks).await.expect("a decision");
        assert_eq!(reply.cells, Some(0));
        assert_eq!(version(&client, table).await, before);
        assert_eq!(number(&client, &format!("SELECT count(*) FROM meter.{table}")).await, 1);
        assert_eq!(decide(Verb::Refund, 1).await, Some(0));
        assert_ne!(version(&client, table).await, before);
    }
}

/// An index has no entries above 2,704 bytes, and a text has no zero byte.
#[tokio::test]
async fn long_subjects_have_limits_of_their_own() {
    let server = running!(Server::shared());
    let (store, _) = server.store().await;
    let quota = "1/h".parse().expect("a quota");
    let meter = SharedMeter::builder("api", quota).build(store).expect("a meter");
    let long: String = (0..20_000).map(|i| format!("{i:x}")).collect();
    for subject in [format!("{long}a"), format!("{long}b"), "a\0b".to_owned()] {
        for expected in [true, false] {
            let verdict = meter.check(&subject).await.expect("a decision");
            assert_eq!(verdict.is_admitted(), expected);
        }
    }
}

/// Updates stay on their page: `METER_UPDATES` of them, 20,000 unless set.
#[tokio::test]
async fn hot_key_does_not_grow_the_tables() {
    // Of its own: the snapshots of other tests would keep old row versions alive.
    let server = running!(Server::start());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    let updates = std::env::var("METER_UPDATES").ok().and_then(|n| n.parse().ok());
    let updates: i32 = updates.unwrap_or(20_000);
    // A procedure may commit between two calls, so that each is a transaction.
    let procedure = "CREATE PROCEDURE hot(updates int) LANGUAGE plpgsql AS $$ BEGIN
        FOR i IN 1 .. updates LOOP
          PERFORM meter.check('hot', 1, 1000000, 1, 1000000000);
          PERFORM meter.check_average('hot', 1, 1, 1e-9);
          COMMIT;
        END LOOP;
      END $$";
    client.batch_execute(procedure).await.expect("a procedure");
    client
        .batch_execute(&format!("CALL hot({updates})"))
        .await
        .expect("the calls");
    for table in ["bucket", "average"] {
        let admitted = number(&client, &format!("SELECT t FROM meter.{table}")).await;
        assert!(admitted > 0);
        let pages = number(&client, &format!("pg_relation_size('meter.{table}') / 8192")).await;
        let index = number(&client, &format!("pg_relation_size('meter.{table}_pkey') / 8192")).await;
        println!("{table}: {updates} updates, {pages} pages, {index} of its index");
        assert!(pages <= 16, "{table}: {pages} pages");
        assert!(index <= 4, "{table}: {index} pages of the index");
    }
}

const START: u64 = 1_000_000_000_000_000;
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

async fn sweep_all(store: &ratelimit_meter_postgres::PostgresStore) -> u64 {
    let (mut page, mut forgotten) = (0, 0);
    loop {
        let swept = store.sweep(page).await.expect("a sweep");
        forgotten += swept.forgotten;
        page = swept.next_page;
        if page == 0 {
            return forgotten;
        }
    }
}

#[tokio::test]
async fn sweep_removes_exactly_the_idle_keys() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(START).await;
    let fill = "SELECT count((meter.allow('key' || i, '1/min burst 10')).allowed) FROM generate_series(1, 5000) i";
    client.query(fill, &[]).await.expect("filled");
    let count = async |key: &str, quota: &str, n: u64| {
        let limit = bucket(quota);
        let asks = [Ask { key, limit: &limit, n }];
        store.decide(Verb::Check, None, &asks).await.expect("a decision").cells
    };
    let counted = [
        count("day", "10/d", 10).await,
        count("ticks", "100/s every 1d", 100).await,
    ];
    assert_eq!(counted, [Some(10), Some(100)]);
    let limit = StoreLimit::Average(average("10/min"));
    let asks = [Ask {
        key: "average",
        limit: &limit,
        n: 10,
    }];
    store.decide(Verb::Check, None, &asks).await.expect("a decision");

    // Idle for less than a minute.
    clock.set(START + 60 * SECOND + 59 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 0);
    clock.set(START + 60 * SECOND + 61 * SECOND).await;
    // A locked row is skipped, and waited for by none.
    client
        .batch_execute("BEGIN; SELECT FROM meter.bucket WHERE key = 'key7' FOR UPDATE")
        .await
        .expect("held");
    assert_eq!(sweep_all(&store).await, 4999);
    client.batch_execute("ROLLBACK").await.expect("released");
    assert_eq!(sweep_all(&store).await, 1);
    assert_eq!(number(&client, "SELECT count(*) FROM meter.bucket").await, 2);

    // Until its tick nothing of it has drained, however long ago its last cell would have.
    assert_eq!(count("ticks", "100/s every 1d", 1).await, Some(0));
    // The average is removed when its remainder is worth less than a microsecond, after 19 periods; the ticks and the day much later.
    clock.set(START + 18 * 60 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 0);
    clock.set(START + 25 * 60 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 1);
    clock.set(START + 3 * DAY).await;
    assert_eq!(sweep_all(&store).await, 2);
    assert_eq!(count("ticks", "100/s every 1d", 100).await, Some(100));
}

/// Keys of callers' times outlast their rest by the distance of the clocks and an hour.
#[tokio::test]
async fn sweep_keeps_keys_of_earlier_callers_times() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    clock.set(START).await;
    let limit = bucket("10/s");
    let asks = [Ask {
        key: "a",
        limit: &limit,
        n: 10,
    }];
    let yesterday = ratelimit_meter_store::Micros::new(START - DAY);
    let decide = async || {
        store
            .decide(Verb::Check, yesterday, &asks)
            .await
            .expect("a decision")
            .cells
    };
    assert_eq!(decide().await, Some(10));
    clock.set(START + 3600 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 0);
    assert_eq!(decide().await, Some(0));
    clock.set(START + 3600 * SECOND + 63 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 1);
}

/// The tables may be partitioned: a sweep takes no row of another partition for one that is idle.
#[tokio::test]
async fn sweep_of_partitions_removes_idle_keys() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    let partition = "ALTER TABLE meter.bucket RENAME TO whole;
        CREATE TABLE meter.bucket (LIKE meter.whole INCLUDING DEFAULTS, PRIMARY KEY (key)) PARTITION BY HASH (key);
        CREATE UNLOGGED TABLE meter.bucket_0 PARTITION OF meter.bucket FOR VALUES WITH (MODULUS 2, REMAINDER 0) WITH (fillfactor = 50);
        CREATE UNLOGGED TABLE meter.bucket_1 PARTITION OF meter.bucket FOR VALUES WITH (MODULUS 2, REMAINDER 1) WITH (fillfactor = 50);
        INSERT INTO meter.bucket SELECT * FROM meter.whole;
        DROP TABLE meter.whole";
    client.batch_execute(partition).await.expect("partitioned");
    clock.set(START).await;
    let fill = "SELECT count((meter.allow('key' || i, CASE i % 2 WHEN 0 THEN '1/s' ELSE '1/d' END)).allowed) FROM generate_series(1, 2000) i";
    client.query(fill, &[]).await.expect("filled");
    clock.set(START + 100 * SECOND).await;
    assert_eq!(sweep_all(&store).await, 1000);
    assert_eq!(
        number(&client, "SELECT count(*) FROM meter.bucket WHERE drain * 1000 < one").await,
        1000
    );
    let limit = bucket("1/d");
    let asks = [Ask {
        key: "key1",
        limit: &limit,
        n: 1,
    }];
    let denied = store.decide(Verb::Check, None, &asks).await.expect("a decision");
    assert_eq!(denied.cells, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeper_sweeps_until_it_is_dropped() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let client = connect(&config).await;
    let idle = "INSERT INTO meter.bucket SELECT 'key' || i, 0, 0, 1, 1 FROM generate_series(1, 100) i";
    client.batch_execute(idle).await.expect("filled");
    // A sweep takes longer than a decision may.
    let hurried = store.with_deadline(Duration::from_nanos(1));
    let sweeper = hurried.sweep_every(Duration::from_millis(1));
    let swept = async { while number(&client, "SELECT count(*) FROM meter.bucket").await > 0 {} };
    tokio::time::timeout(PATIENCE, swept).await.expect("an empty table");
    drop(sweeper);
}
