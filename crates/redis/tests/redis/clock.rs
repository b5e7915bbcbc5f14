//! The server's clock, set back and forward.

use crate::faults::{check, remaining};
use crate::support::{OnRuntime, bucket};
use ratelimit_meter_store::{Ask, Average, BlockingStore, StoreLimit, Verb};
use ratelimit_meter_store_check::clock::FakeClock;
use ratelimit_meter_store_check::server::{Server, wait_for};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that was set back denies for the debt, and one write moves the key to the new time.
#[test]
fn clock_set_back_denies_while_debt_remains() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, units) = bucket("10/h");
    assert_eq!(check(&store, "now", &limit, 1), Ok(1));
    let written: u64 = server
        .command(&["GET", "now"])
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let ahead = written + 3_600_000_000;
    server
        .command(&["SET", "k", &format!("{ahead} {} {}", units.burst(), limit.scale())])
        .unwrap();
    let peeked = store
        .decide(
            Verb::Peek,
            None,
            &[Ask {
                key: "k",
                limit: &limit,
                n: 1,
            }],
        )
        .unwrap();
    let wait = limit.until(peeked.states[0], peeked.clock, 1).unwrap();
    assert_eq!(wait, Duration::from_secs(360), "a cell's time, not an hour more");
    assert!(
        server.command(&["GET", "k"]).unwrap().contains(&ahead.to_string()),
        "a peek writes nothing"
    );
    assert_eq!(check(&store, "k", &limit, 1), Ok(0));
    assert!(!server.command(&["GET", "k"]).unwrap().contains(&ahead.to_string()));
    assert_ne!(server.command(&["PTTL", "k"]).unwrap(), ":-1\r\n");
}

/// Steps the clock, and waits until the server has seen it.
fn step(clock: &FakeClock, server: &Server, seconds: i64) {
    clock.set(seconds);
    let is_seen = || {
        let time = server.command(&["TIME"]).unwrap();
        let now: i64 = time.lines().nth(2).unwrap().parse().unwrap();
        let right = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        (now - seconds).abs_diff(i64::try_from(right).unwrap()) < 60
    };
    assert!(wait_for(is_seen), "the server's clock is not {seconds} s off");
}

/// The clock of the whole server is stepped while it runs: back by an hour, and then forward in two steps to where it was.
///
/// The bounds of the table in the docs: set back, nothing more is admitted, and a denial is for the debt; set forward by s, at most R s more.
#[test]
fn stepped_clock_keeps_the_bounds() {
    let Some(clock) = FakeClock::new() else { return };
    let Some(server) = Server::start_at(&clock, &[]) else {
        return;
    };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("60/h");
    let wait = |key: &str, n: u32| {
        let ask = Ask {
            key,
            limit: &limit,
            n: n.into(),
        };
        let denied = store.decide(Verb::Peek, None, &[ask]).unwrap();
        limit.until(denied.states[0], denied.clock, n).unwrap().as_secs()
    };
    let average = StoreLimit::Average(Average::of("60/h".parse().unwrap()).unwrap());
    for key in ["a", "b"] {
        assert_eq!(check(&store, key, &limit, 60), Ok(60));
    }
    assert_eq!(check(&store, "average", &average, 59), Ok(59));
    step(&clock, &server, -3600);
    // A cell's time, or a little less, and not an hour more; `b` is not asked for until the clock goes forward again.
    assert!(wait("a", 1) <= 60);
    assert_eq!(check(&store, "a", &limit, 1), Ok(0), "no time has passed");
    assert_eq!(check(&store, "average", &average, 30), Ok(0));
    assert!((3500..=3600).contains(&wait("a", 60)), "all is owed");
    step(&clock, &server, -2400);
    // Twenty minutes: 20 cells of `a`, whose state has moved to the earlier time, and none of `b`, whose state is still ahead.
    let drained = remaining(&store, "a", &limit);
    assert!((20..25).contains(&drained), "{drained} of 20 minutes");
    assert!(remaining(&store, "b", &limit) < 5);
    step(&clock, &server, 0);
    assert_eq!(
        check(&store, "a", &limit, 60),
        Ok(60),
        "an hour forward: the burst, and no more"
    );
    assert!(remaining(&store, "a", &limit) < 5);
    assert!(remaining(&store, "b", &limit) < 5, "the clock is where it was");
    for key in ["a", "b", "average"] {
        assert_ne!(
            server.command(&["PTTL", key]).unwrap(),
            ":-1\r\n",
            "{key} has a time to live"
        );
    }
    step(&clock, &server, 1_000_000_000);
    assert_eq!(check(&store, "b", &limit, 60), Ok(60), "decades forward: the burst");
    assert_eq!(check(&store, "b", &limit, 5), Ok(0));
}
