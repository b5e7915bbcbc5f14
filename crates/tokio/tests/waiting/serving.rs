//! The order of service: fair and unfair, large and small, in the end and on the way.

use crate::support::{ByHand, ms, quota};
use ratelimit_meter::clock::SystemClock;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket};
use ratelimit_meter_tokio::{AcquireError, RateLimiter, Waiting};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A bucket of ten, to which a cell comes every `interval`.
fn bucket(interval: Duration, fair: bool) -> RateLimiter {
    RateLimiter::builder()
        .max(10)
        .refill(1)
        .interval(interval)
        .fair(fair)
        .build()
}

/// Returns the times at which ten cells and, asked for 50 ms later, `n` cells are served, one coming every 10 ms.
async fn large_and_small(limiter: &RateLimiter, n: u32) -> (Duration, Duration) {
    let start = Instant::now();
    let large = async {
        limiter.acquire(10).await;
        start.elapsed()
    };
    let small = async {
        sleep(ms(50)).await;
        let at_once = limiter.try_acquire(1);
        assert_eq!(
            at_once.is_err(),
            limiter.is_fair(),
            "five are there, for the large request"
        );
        limiter.acquire(n).await;
        start.elapsed()
    };
    tokio::join!(large, small)
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_a_large_request() {
    let limiter = bucket(ms(10), true);
    assert_eq!(large_and_small(&limiter, 1).await, (ms(100), ms(110)));
}

#[tokio::test(start_paused = true)]
async fn unfair_acquire_may_overtake_waiters() {
    let limiter = bucket(ms(10), false);
    assert!(!limiter.is_fair());
    assert_eq!(large_and_small(&limiter, 4).await, (ms(150), ms(50)));
}

#[tokio::test(start_paused = true)]
async fn unfair_waiters_are_served_in_order() {
    let limiter = RateLimiter::builder().refill(1).interval(ms(10)).fair(false).build();
    let order = std::sync::Mutex::new(Vec::new());
    let wait = |id| {
        let (limiter, order) = (&limiter, &order);
        async move {
            limiter.acquire(1).await;
            order.lock().unwrap().push(id);
        }
    };
    tokio::join!(wait(0), wait(1), wait(2), wait(3));
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn unfair_newcomer_never_exceeds_the_bucket() {
    let limiter = bucket(ms(1), false);
    let mut large = ByHand::new(limiter.acquire(1000));
    assert!(large.is_pending());
    sleep(ms(505)).await;
    assert_eq!(limiter.balance(), 5, "fifty parts of ten are the large one's");
    assert!(limiter.try_acquire(10).is_err());
    limiter.try_acquire(5).unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_large_request_gives_back_its_parts() {
    let limiter = RateLimiter::builder().max(10).refill(5).interval(ms(100)).build();
    let mut large = ByHand::new(limiter.acquire(100));
    let mut next = ByHand::new(limiter.acquire(28));
    assert!(large.is_pending() && next.is_pending());
    sleep(ms(500)).await;
    drop(large);
    assert!(next.is_pending(), "25 of 28 are there");
    sleep(ms(100)).await;
    assert!(next.flag.take() && !next.is_pending());
    assert_eq!(limiter.balance(), 2);
}

#[tokio::test(start_paused = true)]
async fn refund_without_waiters_overflows() {
    let limiter = RateLimiter::builder().max(10).refill(5).interval(ms(100)).build();
    let mut large = ByHand::new(limiter.acquire(100));
    assert!(large.is_pending());
    sleep(ms(500)).await;
    drop(large);
    assert_eq!(limiter.balance(), 10);
}

#[tokio::test(start_paused = true)]
async fn charge_counts_from_due_instant_despite_late_wake() {
    // A cell every 300 us, none ahead: the timer's grain is 1 ms, and yet no cell is lost while the next one waits.
    let limiter = Waiting::new(GCRA::from_quota(quota("10000/3s burst 1")).unwrap());
    let start = Instant::now();
    let wait = || async {
        for _ in 0..500 {
            limiter.acquire(1).await.unwrap();
        }
    };
    tokio::join!(wait(), wait(), wait(), wait(), wait(), wait(), wait(), wait());
    // The first is served at once, the last 3999 intervals later.
    let last = Duration::from_micros(300 * 3999);
    assert!((last..last + ms(1)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn lone_returning_waiter_gets_its_burst_every_millisecond() {
    let limiter = Waiting::new(GCRA::from_quota(quota("10000/s burst 3")).unwrap());
    let start = Instant::now();
    for _ in 0..3000 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(start.elapsed() <= ms(1000), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_meter_can_be_waited_for() {
    async fn five<A, C>(meter: ratelimit_meter::Meter<A, C>) -> Duration
    where
        A: ratelimit_meter::algorithms::Algorithm + 'static,
        C: ratelimit_meter::clock::Clock + 'static,
    {
        let start = Instant::now();
        let limiter = Waiting::new(meter);
        for _ in 0..5 {
            limiter.acquire(1).await.unwrap();
        }
        start.elapsed()
    }
    assert_eq!(five(GCRA::from_quota(quota("10/s burst 1")).unwrap()).await, ms(400));
    assert_eq!(
        five(LeakyBucket::from_quota(quota("10/s burst 1")).unwrap()).await,
        ms(400)
    );
    assert_eq!(five(GCRA::with_parameters(ms(100), ms(0), None)).await, ms(400));
    assert_eq!(
        five(
            GCRA::from_quota(quota("10/s burst 1"))
                .unwrap()
                .with_clock(ratelimit_meter::clock::ManualClock::new())
        )
        .await,
        ms(400)
    );
    // Those of an average come at its instants, each at the end of a millisecond.
    let meter = Exponential::from_quota(quota("1/100ms")).unwrap();
    let (alone, start) = (meter.clone().with_clock(SystemClock), Instant::now());
    let mut at = start.into_std();
    for _ in 0..5 {
        while let Err(denied) = alone.check_at(at) {
            let ns = u64::try_from(denied.wait_time_from(start.into_std()).as_nanos()).unwrap();
            at = (start + ms(ns.div_ceil(1_000_000))).into_std();
        }
    }
    assert_eq!(five(meter).await, at - start.into_std());
}

#[tokio::test(start_paused = true)]
async fn a_meter_stays_usable_beside_its_queue() {
    let meter = GCRA::from_quota(quota("10/s burst 1")).unwrap();
    let limiter = Waiting::new(meter.clone());
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    let mut wait = ByHand::new(limiter.acquire(1));
    assert!(wait.is_pending());
    assert_eq!(meter.charge_at(2, start.into_std()), 0);
    sleep_until(start + ms(299)).await;
    assert!(wait.is_pending(), "two cells were charged past it");
    sleep_until(start + ms(300)).await;
    assert!(wait.flag.take() && !wait.is_pending());
}

#[tokio::test(start_paused = true)]
async fn refund_is_noticed_by_the_next_caller() {
    let meter = GCRA::from_quota(quota("1/min burst 10")).unwrap();
    let limiter = Waiting::new(meter.clone());
    limiter.acquire(10).await.unwrap();
    let mut wait = ByHand::new(limiter.acquire(5));
    assert!(wait.is_pending());
    meter.refund_at(10, Instant::now().into_std());
    assert!(limiter.try_acquire(6).is_err(), "five of ten are another's");
    assert!(wait.flag.take() && !wait.is_pending());
    limiter.try_acquire(5).unwrap();
}

#[tokio::test(start_paused = true)]
async fn request_above_the_burst_is_an_error() {
    let limiter = Waiting::new(GCRA::from_quota(quota("100/s burst 10")).unwrap());
    limiter.acquire(10).await.unwrap();
    let denied = limiter.acquire(11).await.unwrap_err();
    assert_eq!(
        (denied.cells(), denied.to_string().as_str()),
        (11, "denied: 11 cells can never be acquired at once; ask for fewer")
    );
    assert_eq!(
        limiter.try_acquire(u32::MAX),
        Err(AcquireError::InsufficientCapacity(
            limiter.acquire(u32::MAX).await.unwrap_err()
        ))
    );
    limiter.acquire(10).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn zero_cells_are_admitted_before_waiters() {
    let limiter = RateLimiter::builder().build();
    let mut wait = ByHand::new(limiter.acquire(1));
    assert!(wait.is_pending());
    limiter.acquire(0).await;
    limiter.try_acquire(0).unwrap();
    limiter.acquire_blocking(0);
    assert_eq!(limiter.waiting(), 1);
}

#[tokio::test(start_paused = true)]
async fn reported_instant_is_the_first_that_succeeds() {
    let limiter = RateLimiter::builder()
        .max(10)
        .refill(3)
        .interval(Duration::from_micros(1500))
        .build();
    for n in [1, 3, 4, 10] {
        let Err(AcquireError::NotYet(denied)) = limiter.try_acquire(n) else {
            panic!("{n} were there");
        };
        let wait = denied.wait_time_from(Instant::now().into_std());
        tokio::time::advance(wait - Duration::from_nanos(1)).await;
        assert!(limiter.try_acquire(n).is_err());
        tokio::time::advance(Duration::from_nanos(1)).await;
        limiter.try_acquire(n).unwrap();
    }
}
