//! Streams and sinks that wait for a cell an item.

use crate::support::{ByHand, ms, quota};
use futures_util::{Sink, SinkExt, Stream, StreamExt, sink, stream};
use ratelimit_meter::GCRA;
use ratelimit_meter_tokio::{RateLimiter, Waiting};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

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

/// The meter's time line ends before its debt has drained.
#[tokio::test(start_paused = true)]
async fn item_whose_cell_never_comes_waits() {
    let limiter = Waiting::new(GCRA::from_quota(quota("1/s burst 2")).unwrap());
    limiter.change(|meter| meter.charge(u64::MAX));
    let mut paced = limiter.pace_stream(stream::iter(0..3));
    let mut sink = limiter.pace_sink(sink::drain());
    assert!(timeout(ms(100_000), paced.next()).await.is_err());
    assert!(timeout(ms(100_000), sink.send(0)).await.is_err());
    limiter.reset();
    let start = Instant::now();
    assert_eq!(paced.next().await, Some(0));
    assert_eq!(sink.send(1).await, Ok(()));
    assert!(start.elapsed() <= ms(1_000));
    assert_eq!(paced.next().await, Some(1));
    assert!(start.elapsed() >= ms(1_000), "a cell a second from here on");
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

#[tokio::test(start_paused = true)]
async fn inner_stream_and_sink_come_back() {
    let limiter = every(ms(100));
    let mut paced = limiter.pace_stream(stream::iter(0..5));
    assert_eq!((paced.next().await, paced.next().await), (Some(0), Some(1)));
    assert!(ByHand::new(paced.next()).is_pending());
    assert_eq!(paced.get_ref().size_hint(), (2, Some(2)));
    assert_eq!(paced.get_mut().next().await, Some(3));
    let (rest, ahead) = paced.into_inner();
    assert_eq!((ahead, rest.collect().await, limiter.waiting()), (Some(2), vec![4], 0));

    sleep(ms(200)).await;
    let mut paced = limiter.pace_sink(Loopback::default());
    paced.send(1).await.unwrap();
    paced.get_mut().0.push_back(2);
    assert_eq!(paced.get_ref().0, [1, 2]);
    let balance = limiter.balance();
    assert!(!ByHand::new(future::poll_fn(|cx| paced.poll_ready_unpin(cx))).is_pending());
    assert_eq!(limiter.balance(), balance - 1);
    assert_eq!(paced.into_inner().0, [1, 2]);
    assert_eq!(limiter.balance(), balance);
}

/// A stream of its own items: sent ones come out.
#[derive(Default)]
struct Loopback(VecDeque<u32>);

impl Stream for Loopback {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u32>> {
        Poll::Ready(self.0.pop_front())
    }
}

impl Sink<u32> for Loopback {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Infallible> {
        self.0.push_back(item);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn only_one_direction_of_a_socket_is_paced() {
    let start = Instant::now();
    let sent = stream::iter((0..5).map(Ok));

    let mut receives = every(ms(100)).pace_stream(Loopback::default());
    receives.send_all(&mut sent.clone()).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    assert_eq!(receives.collect::<Vec<_>>().await, [0, 1, 2, 3, 4]);
    assert_eq!(start.elapsed(), ms(300));

    let mut sends = every(ms(100)).pace_sink(Loopback::default());
    sends.send_all(&mut sent.clone()).await.unwrap();
    assert_eq!(start.elapsed(), ms(600));
    assert_eq!(sends.size_hint(), (0, None));
    assert_eq!(sends.collect::<Vec<_>>().await, [0, 1, 2, 3, 4]);
    assert_eq!(start.elapsed(), ms(600));
}
