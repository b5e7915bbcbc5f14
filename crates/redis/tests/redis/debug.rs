//! Debug output: a line for each store, without a connection and without its password.

use ratelimit_meter_redis::{RedisBlockingStore, RedisClusterStore, RedisStore};
use std::fmt::Debug;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    assert!(
        !line.contains('\n') && line.len() <= 200,
        "{} bytes: {line}",
        line.len()
    );
    assert!(line.contains(says), "no {says} in {line}");
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn debug_output_is_one_line() {
    // There is no server, and no server is asked.
    let url = "redis://:secret@127.0.0.1:1/";
    assert_line(&RedisStore::open(url).expect("an address"), "RedisStore { ");
    assert_line(
        &RedisClusterStore::open([url]).expect("an address"),
        "RedisClusterStore { ",
    );
    assert_line(
        &RedisBlockingStore::open(url, std::time::Duration::from_millis(50)).expect("an address"),
        "RedisBlockingStore { deadline: 50ms",
    );
}
