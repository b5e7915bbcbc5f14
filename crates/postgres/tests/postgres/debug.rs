//! Debug output: a line for each public type, without a connection.

use ratelimit_meter_postgres::{BlockingPostgresStore, PostgresStore, Sweeper, Swept};
use std::fmt::Debug;
use std::time::Duration;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    assert!(
        !line.contains('\n') && line.len() <= 200,
        "{} bytes: {line}",
        line.len()
    );
    assert!(line.contains(says), "no {says} in {line}");
}

#[tokio::test]
async fn debug_output_is_one_line() {
    // There is no server, and no server is asked.
    let config = "postgres://meter:secret@127.0.0.1:1/limits"
        .parse()
        .expect("an address");
    let store = PostgresStore::connect(config, 5).with_deadline(Duration::from_millis(50));
    let line = "PostgresStore { pool: Status { max_size: 5, size: 0, available: 0, waiting: 0 }, deadline: 50ms }";
    assert_line(&store, line);
    let sweeper: Sweeper = store.sweep_every(Duration::from_secs(3600));
    assert_line(&sweeper, "Sweeper(");
    let blocking = BlockingPostgresStore::new(store).expect("a thread");
    assert_line(&blocking, &format!("BlockingPostgresStore({line})"));
    let swept = Swept {
        next_page: 256,
        forgotten: 3,
    };
    assert_line(&swept, "Swept { next_page: 256, forgotten: 3 }");
}
