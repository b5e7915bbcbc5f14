//! Streams and sinks that wait for a cell an item.

use crate::support::{ByHand, ms};
use futures_util::{SinkExt, Stream, StreamExt, sink, stream};
use ratelimit_meter_tokio::RateLimiter;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn every(interval: Duration) -> RateLimiter {
    RateLimiter::builder().initial(2).interval(interval).build()
}

#[tokio::test(start_paused = true)]
async fn items_come_at_the_pace_and_end_immediately() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let paced = limiter.pace_stream(stream::iter(0..5));
    assert_eq!(paced.size_hint(), (5, Some(5)));
    let times: Vec<_> = paced.map(|item| (item, start.elapsed())).collect().await;
    assert_eq!(
        times,
        [(0, ms(0)), (1, ms(0)), (2, ms(100)), (3, ms(200)), (4, ms(300))]
    );
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn streams_share_their_limiters_queue() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let paced = || limiter.pace_stream(stream::iter(0..3)).count();
    assert_eq!(tokio::join!(paced(), paced()), (3, 3));
    assert_eq!(start.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn stream_takes_no_cell_before_an_item() {
    let limiter = every(ms(100));
    let mut silent = limiter.pace_stream(stream::pending::<()>());
    let mut next = ByHand::new(silent.next());
    assert!(next.is_pending());
    assert_eq!((limiter.waiting(), limiter.balance()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn dropped_stream_gives_back_its_place() {
    let limiter = every(ms(100));
    limiter.acquire(2).await;
    let mut paced = limiter.pace_stream(stream::iter(0..3));
    assert!(ByHand::new(paced.next()).is_pending());
    assert_eq!((limiter.waiting(), paced.size_hint()), (1, (3, Some(3))));
    drop(paced);
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_takes_items_at_the_limits_pace() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let mut times = Vec::new();
    let drain = sink::drain().with(|item: u32| {
        times.push((item, start.elapsed()));
        async move { Ok::<_, std::convert::Infallible>(item) }
    });
    let mut paced = Box::pin(limiter.pace_sink(drain));
    for item in 0..4 {
        paced.send(item).await.unwrap();
    }
    paced.close().await.unwrap();
    drop(paced);
    assert_eq!(times, [(0, ms(0)), (1, ms(0)), (2, ms(100)), (3, ms(200))]);
}

#[tokio::test(start_paused = true)]
async fn cell_unused_by_a_sink_goes_back() {
    let limiter = every(ms(100));
    let mut paced = limiter.pace_sink(sink::drain::<u32>());
    assert!(!ByHand::new(paced.feed(1)).is_pending());
    assert_eq!(limiter.balance(), 1);
    assert!(
        ByHand::new(std::future::poll_fn(|cx| paced.poll_ready_unpin(cx)))
            .poll()
            .is_ready()
    );
    assert_eq!(limiter.balance(), 0);
    drop(paced);
    assert_eq!(limiter.balance(), 1);
    sleep(ms(0)).await;
}
