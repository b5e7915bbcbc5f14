//! Debug output: a line for each public type, which never waits for a lock.

use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use ratelimit_meter_tokio::{
    AcquireError, InvalidRateLimiter, Keyed, MeterMap, Patience, RateLimiter, TokioClock, Waiting,
};
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

/// The longest line: the queue of a key with its limit.
const LONGEST: usize = 400;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    let is_line = !line.contains('\n') && (1..=LONGEST).contains(&line.len());
    assert!(is_line, "{} bytes: {line}", line.len());
    assert!(line.contains(says), "no {says} in {line}");
}

fn ten_an_hour() -> Quota {
    "10/h".parse().expect("a quota")
}

#[tokio::test(start_paused = true)]
async fn debug_has_limit_level_and_waiters() {
    let meter = GCRA::from_quota(ten_an_hour()).expect("a meter").with_clock(TokioClock);
    let limiter = Waiting::new(meter);
    assert_line(&limiter, "Waiting { source: GCRA {");
    assert_line(&limiter, "emission_interval: 360s");
    assert_line(&limiter, "burst: 10");
    assert_line(&limiter, "remaining: 10, idle: true");
    assert_line(&limiter, "fair: true, waiting: 0");
    limiter.acquire(3).await.expect("cells");
    assert_line(&limiter, "remaining: 7, idle: false");
    let mut waiter = Box::pin(limiter.acquire(10));
    assert_line(&waiter, "Acquire { cells: 10, stage: Idle");
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_line(&limiter, "waiting: 1");
    assert_line(&waiter, "Acquire { cells: 10, stage: Queued");
    assert_line(&limiter.acquire_owned(2), "AcquireOwned { cells: 2, stage: Idle");
}

#[tokio::test(start_paused = true)]
async fn debug_of_a_bucket_has_its_balance() {
    let limiter = RateLimiter::builder()
        .max(10)
        .initial(10)
        .interval(Duration::from_secs(1))
        .build();
    let limit = "Bucket { max: 10, refill: 1, interval: 1s, balance: ";
    assert_line(&limiter, &format!("{limit}10, idle: true"));
    limiter.acquire(4).await;
    assert_line(&limiter, &format!("{limit}6, idle: false"));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_line(&limiter, &format!("{limit}8, idle: false"));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_line(&limiter, &format!("{limit}10, idle: true"));
    let mut waiter = pin!(limiter.acquire(11));
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_line(&limiter, &format!("{limit}<locked>"));
    assert_line(&limiter, "waiting: 1");
}

#[tokio::test(start_paused = true)]
async fn debug_of_keyed_limiters_has_the_limit() {
    let table = KeyedMeter::<u32>::with_capacity(ten_an_hour(), 1000).expect("a table");
    let limiter = Keyed::of_table(table);
    assert_line(&limiter, "Keyed { meters: KeyedMeter { quota: 10/h, capacity: ");
    assert_line(&limiter, "waited_for: 0");
    limiter.acquire_key(&1, 10).await.expect("cells");
    let mut waiter = pin!(limiter.acquire_key(&1, 1));
    assert!(
        waiter
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert_line(&limiter, "waited_for: 1");

    let closure = Keyed::new(|_: &u32| GCRA::from_quota(ten_an_hour()).expect("a meter"));
    assert_line(&closure, "Keyed { meters: waiting::debug::");
}

/// A map that shows its limit.
struct Named;

impl MeterMap<u32> for Named {
    type Meter = GCRA;

    fn meter(&self, _: &u32) -> GCRA {
        GCRA::from_quota(ten_an_hour()).expect("a meter")
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({})", ten_an_hour())
    }
}

#[test]
fn debug_of_a_map_is_its_description() {
    assert_line(&Keyed::new(Named), "Keyed { meters: Named(10/h), waited_for: 0");
}

#[tokio::test(start_paused = true)]
async fn debug_of_other_types_is_one_line() {
    let limiter = Waiting::new(GCRA::from_quota(ten_an_hour()).expect("a meter").with_clock(TokioClock));
    let stream = limiter.pace_stream(futures_util::stream::iter([1, 2]));
    assert_line(&stream, "PacedStream { stream: ");
    assert_line(&stream, "burst: 10, idle_from: None, remaining: 10, idle: true");
    let sink = limiter.pace_sink(Vec::<u32>::new());
    assert_line(&sink, "PacedSink { sink: [], limiter: Waiting {");
    limiter.acquire(10).await.expect("cells");
    assert_line(&limiter.try_acquire(1), "Err(NotYet(NotYet { ");
    assert_line(
        &limiter.try_acquire(11),
        "Err(InsufficientCapacity(InsufficientCapacity { ",
    );
    assert_line(&AcquireError::DeadlinePassed, "DeadlinePassed");
    assert_line(&Patience::unlimited().max_waiters(5), "max_waiters: Some(5)");
    assert_line(
        &RateLimiter::builder(),
        "RateLimiterBuilder { max: None, initial: 0, refill: 1",
    );
    assert_line(&InvalidRateLimiter::ZeroRefill, "ZeroRefill");
    assert_line(&TokioClock, "TokioClock");
}
