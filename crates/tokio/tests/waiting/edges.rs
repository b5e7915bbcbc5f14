//! From a nanosecond to centuries, from none to all, and invalid parameters.

use crate::support::{ByHand, ms};
use ratelimit_meter::{Dual, Exponential, GCRA, Quota};
use ratelimit_meter_tokio::{InvalidRateLimiter, Keyed, RateLimiter, Waiting};
use std::num::NonZeroU32;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most cells that a bucket of `leaky-bucket` may hold on a platform of 32 bits.
const MOST: usize = 0xFFFF_FFFF;
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn ticks_range_from_a_nanosecond_to_hundred_days() {
    for interval in [
        Duration::from_nanos(1),
        Duration::from_nanos(333),
        ms(1),
        DAY,
        100 * DAY,
    ] {
        let limiter = RateLimiter::builder().interval(interval).build();
        assert_eq!(limiter.interval(), interval);
        let start = Instant::now();
        for _ in 0..3 {
            limiter.acquire(1).await;
        }
        let elapsed = start.elapsed();
        let exact = interval * 3;
        assert!((exact..exact + ms(3)).contains(&elapsed), "{interval:?}: {elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_of_nanoseconds_are_all_counted() {
    let limiter = RateLimiter::builder()
        .interval(Duration::from_nanos(7))
        .max(MOST)
        .build();
    let start = Instant::now();
    sleep(ms(1000)).await;
    let ticks = start.elapsed().as_nanos() / 7;
    assert_eq!(u128::try_from(limiter.balance()).unwrap(), ticks);
    limiter.acquire(MOST).await;
    let exact = Duration::from_nanos(7 * u64::try_from(MOST).unwrap());
    assert!(
        (exact..exact + ms(1)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn largest_request_drains_smallest_bucket_one_by_one() {
    let limiter = RateLimiter::builder().max(1).interval(Duration::from_nanos(1)).build();
    let start = Instant::now();
    limiter.acquire(MOST).await;
    let exact = Duration::from_nanos(MOST.try_into().unwrap());
    assert!(
        (exact..exact + ms(2)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn thousand_year_wait_is_reported() {
    let limiter = RateLimiter::builder().interval(365 * DAY).build();
    let mut wait = ByHand::new(limiter.acquire(MOST));
    assert!(wait.is_pending());
    sleep(1000 * DAY).await;
    assert!(wait.is_pending());
    assert!(limiter.try_acquire(1).is_err());
    drop(wait);
    assert_eq!(limiter.balance(), 2);
    let meter = GCRA::from_quota(Quota::new(NonZeroU32::MIN, 365 * DAY).unwrap()).unwrap();
    let limiter = Waiting::new(meter);
    limiter.acquire(1).await.unwrap();
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), 365 * DAY);
}

#[tokio::test(start_paused = true)]
async fn the_fastest_meter_can_be_waited_for() {
    let meter = GCRA::from_quota(Quota::per_second(NonZeroU32::MAX).allow_burst(NonZeroU32::MIN)).unwrap();
    let limiter = Waiting::new(meter);
    let start = Instant::now();
    for _ in 0..10 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(start.elapsed() <= ms(10));
}

#[tokio::test(start_paused = true)]
async fn the_defaults_are_leaky_buckets() {
    let limiter = RateLimiter::builder().build();
    assert_eq!((limiter.max(), limiter.refill(), limiter.interval()), (10, 1, ms(100)));
    assert!(limiter.is_fair());
    assert_eq!(RateLimiter::builder().interval(DAY).build().balance(), 0);
    assert_eq!(RateLimiter::builder().initial(7).refill(3).build().max(), 70);
    assert_eq!(RateLimiter::builder().initial(3).refill(7).build().max(), 70);
    assert_eq!(RateLimiter::builder().refill(usize::MAX).build().max(), usize::MAX);
}

#[test]
fn invalid_limiter_parameters_are_errors() {
    let table = [
        (
            RateLimiter::builder().refill(0).try_build(),
            "a refill of zero cells admits no cell",
        ),
        (
            RateLimiter::builder().interval(Duration::ZERO).try_build(),
            "an interval of zero leaves the rate unlimited",
        ),
        (
            RateLimiter::builder().interval(Duration::MAX).try_build(),
            "an interval of 18446744073709551615 s is more than 200 years",
        ),
        (
            RateLimiter::builder().max(5).initial(6).try_build(),
            "6 initial cells exceed a bucket of 5",
        ),
    ];
    for (built, text) in table {
        let error: InvalidRateLimiter = built.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
#[should_panic(expected = "a refill of zero cells admits no cell")]
fn build_panics_with_the_errors_text() {
    let _ = RateLimiter::builder().refill(0).build();
}

#[test]
fn bucket_works_without_a_runtime() {
    let limiter = RateLimiter::builder().initial(2).interval(DAY).build();
    limiter.try_acquire(1).unwrap();
    assert!(ByHand::new(limiter.acquire(1)).poll().is_ready());
    assert!(limiter.try_acquire(1).is_err());
}

#[test]
fn waiting_without_a_runtime_panics_and_joins_nothing() {
    let limiter = RateLimiter::builder().interval(DAY).build();
    let poll = std::panic::AssertUnwindSafe(|| ByHand::new(limiter.acquire(1)).poll());
    let waits = std::panic::catch_unwind(poll);
    assert!(waits.is_err());
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn acquire_polled_after_it_was_ready_panics() {
    let limiter = RateLimiter::builder().initial(1).interval(DAY).build();
    let meter = GCRA::from_quota("1/h".parse::<Quota>().unwrap()).unwrap();
    let meter = Waiting::new(meter);
    let mut first = ByHand::new(limiter.acquire_owned(1));
    let mut owned = meter.acquire_owned(1);
    let mut denied = meter.acquire_owned(2);
    assert!((&mut owned).await.is_ok() && (&mut denied).await.is_err());
    assert!(first.poll().is_ready());
    let panics = |mut wait: ByHand<'_, ()>| {
        let again = std::panic::AssertUnwindSafe(|| wait.poll());
        let panic = std::panic::catch_unwind(again).unwrap_err();
        *panic.downcast::<&str>().unwrap()
    };
    for wait in [
        first,
        ByHand::new(async move { owned.await.unwrap() }),
        ByHand::new(async move { denied.await.unwrap() }),
    ] {
        assert_eq!(
            panics(wait),
            "an acquire was polled after it was ready: call it again for more cells"
        );
    }
    assert_eq!(limiter.balance(), 0);
}

#[test]
fn futures_and_limiters_go_anywhere() {
    const fn everywhere<T: Send + Sync + 'static>(_: &T) {}
    const fn past_panics<T: UnwindSafe + RefUnwindSafe>(_: &T) {}
    let limiter = RateLimiter::builder().build();
    everywhere(&limiter);
    past_panics(&limiter);
    past_panics(&limiter.acquire(1));
    everywhere(&limiter.acquire_owned(1));
    assert!(
        size_of_val(&limiter.acquire(1)) <= 40,
        "{}",
        size_of_val(&limiter.acquire(1))
    );
    assert!(format!("{limiter:?} {:?}", limiter.acquire(1)).contains("Bucket"));
}

/// Two wait for nine cells, of which eight come a tick, to a bucket of five: the second gets the cells that the first leaves; they overflow only
/// without waiters.
#[tokio::test(start_paused = true)]
async fn overflow_is_kept_for_its_waiter() {
    let limiter = RateLimiter::builder().max(5).refill(8).fair(false).build();
    let [mut first, mut second] = [1, 8].map(|n| ByHand::new(limiter.acquire(n)));
    assert!(first.is_pending() && second.is_pending());
    sleep(ms(100)).await;
    assert_eq!(limiter.balance(), 5);
    assert!(!first.is_pending() && second.is_pending());
    assert!(limiter.try_acquire(5).is_ok());
    sleep(ms(100)).await;
    assert!(!second.is_pending());
    assert_eq!(limiter.balance(), 2);
    sleep(ms(100)).await;
    assert_eq!(limiter.balance(), 5);
}

/// In each call, the meter is asked with the lock after it was asked without.
#[tokio::test(start_paused = true)]
async fn strict_average_counts_a_denied_call_once() {
    let strict = || {
        let average = Exponential::new(10, Duration::from_secs(100)).unwrap().strict();
        average.check_n_at(10, Instant::now().into_std()).unwrap();
        average
    };
    let rate = |meter: &Exponential| meter.rate_at(Instant::now().into_std());
    let once = strict();
    once.check_at(Instant::now().into_std()).unwrap_err();

    let (tried, upto, timed, waits) = (strict(), strict(), strict(), strict());
    Waiting::new(tried.clone()).try_acquire(1).unwrap_err();
    assert_eq!(Waiting::new(upto.clone()).try_acquire_up_to(1), 0);
    Waiting::new(timed.clone()).acquire_timeout(1, ms(0)).await.unwrap_err();
    let limiter = Waiting::new(waits.clone());
    let mut waiters = [(); 3].map(|()| ByHand::new(limiter.acquire(1)));
    assert!(
        waiters.iter_mut().all(ByHand::is_pending),
        "the second and third stand behind the first"
    );
    assert_eq!([tried, upto, timed, waits].each_ref().map(rate), [rate(&once); 4]);

    let (tried, timed) = (strict(), strict());
    let meters = [tried.clone(), timed.clone()];
    let keyed = Keyed::new(move |key: &usize| meters[*key].clone());
    keyed.try_acquire_key(&0, 1).unwrap_err();
    let mut waiter = ByHand::new(keyed.acquire_key(&1, 1));
    assert!(waiter.is_pending());
    assert_eq!([tried, timed].each_ref().map(rate), [rate(&once); 2]);

    let halves = || GCRA::from_quota("10/s".parse().unwrap()).unwrap();
    let [pair, twin] = [(); 2].map(|()| {
        Dual::new(
            halves(),
            Exponential::new(1, Duration::from_secs(100)).unwrap().strict(),
        )
    });
    let now = Instant::now().into_std();
    for fresh in [&pair, &twin] {
        fresh.check_at(now).unwrap();
    }
    twin.check_at(now).unwrap_err();
    Waiting::new(pair.clone()).try_acquire(1).unwrap_err();
    let until_rest = |pair: &Dual<GCRA, Exponential>| pair.status_at(now).until_rest();
    assert_eq!(until_rest(&pair), until_rest(&twin));
}
