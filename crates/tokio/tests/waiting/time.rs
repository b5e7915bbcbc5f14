//! Time that stands still, jumps, or ends.

use crate::support::{ByHand, ms, quota};
use futures_util::FutureExt;
use ratelimit_meter::{Dual, GCRA, KeyedMeter, LeakyBucket, Quota, nonzero};
use ratelimit_meter_tokio::{AcquireError, InsufficientCapacity, Keyed, RateLimiter, Source, TokioClock, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

const YEAR: Duration = Duration::from_secs(31_557_600);

#[tokio::test(start_paused = true)]
async fn meter_on_tokio_clock_counts_from_tokio_time() {
    advance(Duration::from_secs(600)).await;
    let meter = GCRA::from_quota(quota("10/s")).unwrap().with_clock(TokioClock);
    let limiter = Waiting::new(meter.with_available(0).unwrap());
    let start = Instant::now();
    assert!(limiter.try_acquire(1).is_err());
    limiter.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), ms(100));
    let start = Instant::now();
    let ticks = GCRA::from_quota(quota("3/s every 1s")).unwrap().with_clock(TokioClock);
    let limiter = Waiting::new(ticks);
    limiter.acquire(3).await.unwrap();
    limiter.acquire(3).await.unwrap();
    assert_eq!(start.elapsed(), ms(1000));
}

/// Takes a batch again and again, and returns when each came, in milliseconds. Each instant that a denial holds is exact to the nanosecond.
async fn instants<S: Source>(limiter: &Waiting<S>, batches: &[u32]) -> Vec<u128> {
    let start = Instant::now();
    let mut came = Vec::new();
    for &n in batches {
        if let Err(AcquireError::NotYet(denied)) = limiter.try_acquire(n) {
            let due = denied.earliest_possible();
            let too_early = due - Duration::from_nanos(1);
            assert!(limiter.acquire_before(n, too_early).await.is_err());
            limiter.acquire_before(n, due).await.unwrap();
            assert!(start.elapsed() < due - start.into_std() + ms(1));
        }
        came.push(start.elapsed().as_millis());
    }
    came
}

#[tokio::test(start_paused = true)]
async fn default_clock_meter_counts_from_paused_time() {
    for ahead in [0, 1, 600_000] {
        advance(ms(ahead)).await;
        let gcra = |text| GCRA::from_quota(quota(text)).unwrap();
        let spent = || Waiting::new(gcra("10/s").with_available(0).unwrap());
        assert_eq!(instants(&spent(), &[1, 1, 3]).await, [100, 200, 500]);
        let limiter = Waiting::unfair(gcra("10/s").with_available(3).unwrap());
        assert_eq!(instants(&limiter, &[1, 2, 1]).await, [0, 0, 100]);
        let bucket = LeakyBucket::from_quota(quota("10/s")).unwrap();
        let limiter = Waiting::new(bucket.with_available(1).unwrap());
        assert_eq!(instants(&limiter, &[1, 1]).await, [0, 100]);
        let limiter = Waiting::new(gcra("10/s").with_available(0).unwrap().into_adjustable());
        assert_eq!(instants(&limiter, &[1, 1]).await, [100, 200]);
        let limiter = Waiting::new(gcra("3/s every 1s"));
        assert_eq!(instants(&limiter, &[3, 2, 1, 1]).await, [0, 1000, 1000, 2000]);
        let dual = Dual::<GCRA>::from_quota("3/s every 1s & 1000/s".parse().unwrap()).unwrap();
        assert_eq!(instants(&Waiting::new(dual), &[3, 3]).await, [0, 1000]);
        // Cells that were taken by tokio's time stay taken.
        let meter = gcra("10/s");
        meter.check_n_at(10, Instant::now().into_std()).unwrap();
        assert_eq!(instants(&Waiting::new(meter), &[1, 1]).await, [100, 200]);
        // A clone shares the cells, not the time.
        let limiter = spent();
        let start = Instant::now();
        limiter.meter().reset();
        assert_eq!(limiter.try_acquire_up_to(20), 10);
        assert!(limiter.acquire_timeout(1, ms(99)).await.is_err());
        assert_eq!(start.elapsed(), ms(0));
        // A drop, a refund and a stall count from there, too.
        let mut wait = ByHand::new(limiter.acquire(5));
        assert!(wait.is_pending());
        drop(wait);
        limiter.refund(10);
        assert_eq!(instants(&limiter, &[10, 1]).await, [0, 100]);
    }
}

#[tokio::test(start_paused = true)]
async fn default_clock_table_counts_ticks_from_paused_time() {
    for ahead in [0, 600_000] {
        advance(ms(ahead)).await;
        let table = KeyedMeter::<u8>::with_capacity(quota("3/s every 1s"), 100).unwrap();
        let keyed = Keyed::of_table(table);
        let start = Instant::now();
        for second in 0..3 {
            for key in 0..3 {
                keyed.acquire_key(&key, 3).await.unwrap();
            }
            assert_eq!(start.elapsed(), ms(1000) * second);
            assert!(keyed.try_acquire_key(&0, 1).is_err());
        }
    }
}

#[test]
fn default_clock_meter_counts_real_time_since_creation() {
    let meter = GCRA::from_quota(quota("1/h")).unwrap().with_available(0).unwrap();
    let due = meter.peek().unwrap_err().earliest_possible();
    let Err(AcquireError::NotYet(denied)) = Waiting::new(meter).try_acquire(1) else {
        panic!("a cell was there");
    };
    assert_eq!(denied.earliest_possible(), due);
}

#[tokio::test(start_paused = true)]
async fn waiter_pushed_past_the_time_line_is_denied() {
    let eighteen_years = YEAR * 18;
    let slow = Quota::new(nonzero!(1_u32), eighteen_years)
        .unwrap()
        .allow_burst(nonzero!(2_u32));
    let meter = GCRA::from_quota(slow).unwrap().with_clock(TokioClock);
    let limiter = Waiting::unfair(meter);
    limiter.acquire(2).await.unwrap();
    let mut head = ByHand::new(limiter.acquire(2));
    assert!(head.is_pending());
    sleep(eighteen_years).await;
    head.flag.take();
    limiter.try_acquire(1).unwrap();
    assert!(head.flag.take());
    assert!(matches!(head.poll(), Poll::Ready(Err(denied)) if denied.is_after_the_end()));
}

#[tokio::test(start_paused = true)]
async fn acquire_after_the_time_line_is_an_error() {
    let meter = GCRA::from_quota(quota("1/s")).unwrap().with_clock(TokioClock);
    let keys = KeyedMeter::<u8>::with_capacity(quota("1/s"), 100).unwrap();
    let (limiter, keyed) = (Waiting::new(meter), Keyed::of_table(keys));
    advance(YEAR * 37).await;
    let text = "denied: 1 cell would come after the end of the meter's time line; make a new meter";
    limiter.acquire(1).await.unwrap();
    let denied = |acquire: Option<Result<(), InsufficientCapacity>>| acquire.expect("at once").unwrap_err();
    let error = denied(limiter.acquire(1).now_or_never());
    assert!(error.is_after_the_end());
    assert_eq!((error.cells(), error.to_string().as_str()), (1, text));
    assert_eq!(limiter.try_acquire(1), Err(AcquireError::InsufficientCapacity(error)));
    let bounded = limiter.acquire_timeout(1, Duration::from_secs(1_000_000));
    assert_eq!(bounded.now_or_never(), Some(Err(error.into())));
    assert_eq!(limiter.waiting(), 0);
    keyed.acquire_key(&1, 1).await.unwrap();
    assert_eq!(denied(keyed.acquire_key(&1, 1).now_or_never()).to_string(), text);
    // The burst can still be refunded.
    limiter.refund(1);
    limiter.acquire(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn debt_past_the_end_fails_waiters() {
    let meter = GCRA::from_quota(quota("1/h burst 2")).unwrap().with_clock(TokioClock);
    let limiter = Waiting::new(meter.clone());
    advance(YEAR * 36).await;
    limiter.acquire(2).await.unwrap();
    let mut waits = [1, 2, 1].map(|n| ByHand::new(limiter.acquire(n)));
    assert!(waits.iter_mut().all(ByHand::is_pending));
    limiter.change(|meter| meter.charge_at(10_000, Instant::now().into_std()));
    for wait in &mut waits {
        assert!(wait.flag.take());
        assert!(matches!(wait.poll(), std::task::Poll::Ready(Err(_))));
    }
    assert_eq!(limiter.waiting(), 0);
}

/// Waits for a cell with 300 tasks, blocks the runtime for two seconds, and returns how many are served at once then.
async fn served_after_a_stall<S: Source>(limiter: &Waiting<S>) -> usize {
    let mut waits: Vec<_> = (0..300).map(|_| ByHand::new(limiter.acquire_one())).collect();
    assert!(waits.iter_mut().all(ByHand::is_pending));
    advance(Duration::from_secs(2)).await;
    assert!(limiter.waiting() > 0);
    let served = waits.iter().filter(|wait| wait.flag.take()).count();
    drop(waits);
    served
}

#[tokio::test(start_paused = true)]
async fn stall_delivers_no_more_than_catch_up_allows() {
    // Of 100 cells a second, 200 are due in the stall.
    for (bound, served) in [(Duration::ZERO, 1), (ms(10), 2), (ms(90), 10), (Duration::MAX, 200)] {
        let limiter = Waiting::new(GCRA::from_quota(quota("100/s burst 1")).unwrap().with_clock(TokioClock));
        limiter.acquire(1).await.unwrap();
        limiter.set_catch_up(bound);
        assert_eq!(served_after_a_stall(&limiter).await, served, "{bound:?}");
        let bucket = RateLimiter::builder().max(1).interval(ms(10)).build();
        bucket.set_catch_up(bound);
        assert_eq!(served_after_a_stall(&bucket).await, served, "{bound:?}");
    }
    let limiter = Waiting::new(GCRA::from_quota(quota("100/s burst 1")).unwrap().with_clock(TokioClock));
    limiter.acquire(1).await.unwrap();
    assert_eq!(served_after_a_stall(&limiter).await, 2, "the default is 10 ms");
}

#[tokio::test(start_paused = true)]
async fn loop_of_ready_acquires_lets_other_tasks_run() {
    const TURNS: u32 = 1_000_000;
    let bucket = RateLimiter::builder().initial(usize::MAX).build();
    let meter = Waiting::new(GCRA::from_quota(Quota::per_second(u32::MAX.try_into().unwrap())).unwrap());
    let keyed = Keyed::of_table(KeyedMeter::<u8>::with_capacity(quota("1000000/s burst 100000"), 100).unwrap());
    let ran = || {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        tokio::spawn(async move { flag.store(true, Ordering::SeqCst) });
        ran
    };
    let flag = ran();
    let turns = (0..TURNS).take_while(|_| !flag.load(Ordering::SeqCst));
    for turn in turns {
        assert!(turn < TURNS - 1);
        bucket.acquire(1).await;
    }
    let flag = ran();
    let turns = (0..TURNS).take_while(|_| !flag.load(Ordering::SeqCst));
    for turn in turns {
        assert!(turn < TURNS - 1);
        meter.acquire_timeout(1, ms(0)).await.unwrap();
    }
    let flag = ran();
    let turns = (0..TURNS).take_while(|_| !flag.load(Ordering::SeqCst));
    for turn in turns {
        assert!(turn < TURNS - 1);
        keyed.acquire_key(&1, 1).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_they_are() {
    let limiter = RateLimiter::builder().max(4).initial(4).refill(4).build();
    let start = Instant::now();
    limiter.acquire(b"ten bytes.".len()).await;
    assert_eq!(start.elapsed(), ms(200));
    // Any unsigned integer will do.
    limiter.acquire(1_u8).await;
    limiter.acquire(1_u16).await;
    limiter.acquire(1_u32).await;
    limiter.acquire(1_u64).await;
    assert_eq!(start.elapsed(), ms(300));
    // A request above any burst is denied, not cut to it.
    let most = Quota::per_second(u32::MAX.try_into().unwrap());
    let meter = Waiting::new(GCRA::from_quota(most).unwrap().with_clock(TokioClock));
    let above = u64::from(u32::MAX) + 1;
    assert_eq!(meter.acquire(above).await.unwrap_err().cells(), above);
    assert!(matches!(
        meter.try_acquire(above),
        Err(AcquireError::InsufficientCapacity(_))
    ));
    assert_eq!(meter.try_acquire_up_to(above), above - 1);
}
