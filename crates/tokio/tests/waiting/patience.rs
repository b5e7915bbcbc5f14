//! Deadlines, crowds too large, and jitter.

use crate::support::{ByHand, every, ms, quota};
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::{AcquireError, Patience, RateLimiter, TokioClock, Waiting};
use std::time::Duration;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, advance, sleep};

fn earliest(error: AcquireError, start: Instant) -> Duration {
    let AcquireError::NotYet(denied) = error else {
        panic!("{error}")
    };
    denied.wait_time_from(start.into_std())
}

#[tokio::test(start_paused = true)]
async fn wait_time_of_denial_follows_paused_time() {
    let limiter = every(ms(100));
    let Err(AcquireError::NotYet(denied)) = limiter.try_acquire(3) else {
        panic!()
    };
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(denied.wait_time());
        sleep(ms(120)).await;
    }
    assert_eq!(waits, [ms(300), ms(180), ms(60), ms(0)]);
    limiter.try_acquire(3).unwrap();
}

#[tokio::test(start_paused = true)]
async fn unreachable_deadline_fails_with_the_earliest_instant() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let mut first = ByHand::new(limiter.acquire(3));
    assert!(first.is_pending());
    let error = limiter.acquire_timeout(2, ms(499)).await.unwrap_err();
    assert_eq!((earliest(error, start), start.elapsed()), (ms(500), ms(0)));
    let error = limiter
        .acquire_before(2, (start + ms(499)).into_std())
        .await
        .unwrap_err();
    assert_eq!((earliest(error, start), start.elapsed()), (ms(500), ms(0)));
    assert_eq!(limiter.waiting(), 1);
    limiter.acquire_timeout(2, ms(500)).await.unwrap();
    assert_eq!(start.elapsed(), ms(500));
    limiter.acquire_before(2, (start + ms(700)).into_std()).await.unwrap();
    assert_eq!(start.elapsed(), ms(700));
}

/// A clone of the meter takes the cells for which the thread waits.
#[tokio::test(start_paused = true)]
async fn thread_gives_up_at_its_deadline() {
    let meter = GCRA::from_quota(quota("100/s burst 1")).unwrap().with_clock(TokioClock);
    let limiter = Waiting::new(meter.clone());
    let (start, waits) = (Instant::now(), limiter.clone());
    meter.check().unwrap();
    let patience = Patience::unlimited().timeout(ms(20));
    let thread = spawn_blocking(move || waits.acquire_blocking_with(1, patience));
    while limiter.waiting() == 0 {
        yield_now().await;
    }
    assert_eq!(meter.charge(100), 0);
    advance(ms(20)).await;
    let error = thread.await.unwrap().unwrap_err();
    assert_eq!((earliest(error, start), limiter.waiting()), (ms(1010), 0));
}

/// The bucket holds ten cells, so a hundred come in parts.
#[tokio::test(start_paused = true)]
async fn large_requests_bound_is_for_all_parts() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let error = limiter.acquire_timeout(100, ms(9_999)).await.unwrap_err();
    assert_eq!((earliest(error, start), start.elapsed()), (ms(10_000), ms(0)));
    limiter.acquire_timeout(100, ms(10_000)).await.unwrap();
    assert_eq!(start.elapsed(), ms(10_000));
}

/// Another caller takes five cells. The parts go back to the bucket, which holds ten.
#[tokio::test(start_paused = true)]
async fn missed_bound_reports_all_parts() {
    let limiter = RateLimiter::builder().interval(ms(100)).fair(false).build();
    let start = Instant::now();
    let take = async {
        sleep(ms(500)).await;
        limiter.try_acquire(5)
    };
    let (waited, taken) = tokio::join!(limiter.acquire_timeout(100, ms(10_000)), take);
    taken.unwrap();
    assert_eq!(start.elapsed(), ms(10_000));
    assert_eq!(earliest(waited.unwrap_err(), start), ms(19_000));
}

#[tokio::test(start_paused = true)]
async fn past_deadline_is_denied_even_with_cells() {
    let limiter = RateLimiter::builder().initial(1).build();
    let past = Instant::now().into_std();
    sleep(ms(50)).await;
    let passed = limiter.acquire_before(1, past).await;
    assert_eq!(passed, Err(AcquireError::DeadlinePassed));
    assert_eq!(passed.unwrap_err().to_string(), "denied: the deadline has passed");
    limiter.acquire_before(0, past).await.unwrap();
    assert_eq!(limiter.balance(), 1);
    limiter.acquire_before(1, Instant::now().into_std()).await.unwrap();
    assert!(limiter.acquire_timeout(1, ms(0)).await.is_err());
    limiter.acquire_timeout(1, Duration::MAX).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn platforms_last_instant_is_a_deadline() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let later = |from: std::time::Instant, by| from.checked_add(by).unwrap_or(from);
    let coarse = (0..64)
        .rev()
        .map(|bit| Duration::from_secs(1 << bit))
        .fold(start.into_std(), later);
    let last = (0..30)
        .rev()
        .map(|bit| Duration::from_nanos(1 << bit))
        .fold(coarse, later);
    assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
    for (deadline, due) in [(last, ms(100)), (last - ms(1), ms(200)), (last - ms(2), ms(300))] {
        limiter.acquire_before(1, deadline).await.unwrap();
        assert_eq!(start.elapsed(), due);
    }
}

#[tokio::test(start_paused = true)]
async fn stall_beyond_catch_up_breaks_an_accepted_timeout() {
    for (bound, kept) in [(Waiting::<GCRA>::DEFAULT_CATCH_UP, false), (ms(2000), true)] {
        let limiter = Waiting::new(GCRA::from_quota("10/s burst 1".parse::<Quota>().unwrap()).unwrap());
        limiter.set_catch_up(bound);
        limiter.acquire(1).await.unwrap();
        let stall = tokio::time::advance(ms(2000));
        let (first, second, ()) = tokio::join!(
            limiter.acquire_timeout(1, ms(150)),
            limiter.acquire_timeout(1, ms(250)),
            stall
        );
        assert_eq!((first.is_ok(), second.is_ok()), (true, kept));
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_missed_by_a_charge_fails_then() {
    let meter = GCRA::from_quota("10/s burst 1".parse::<Quota>().unwrap()).unwrap();
    let limiter = Waiting::new(meter.clone());
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    let wait = limiter.acquire_timeout(1, ms(150));
    let thief = async {
        sleep(ms(50)).await;
        meter.charge_at(3, Instant::now().into_std());
    };
    let (error, ()) = tokio::join!(wait, thief);
    assert_eq!(
        (earliest(error.unwrap_err(), start), start.elapsed()),
        (ms(400), ms(150))
    );
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn number_of_waiters_is_bounded() {
    let limiter = every(ms(100));
    let two = Patience::unlimited().max_waiters(2);
    let mut first = ByHand::new(limiter.acquire_with(1, two));
    let mut second = ByHand::new(limiter.acquire_with(1, two));
    assert!(first.is_pending() && second.is_pending());
    let error = limiter.acquire_with(1, two).await.unwrap_err();
    assert_eq!(error, AcquireError::TooManyWaiting { waiting: 2 });
    assert_eq!(error.to_string(), "denied: 2 callers are waiting already");
    drop(first);
    let mut third = ByHand::new(limiter.acquire_with(1, two));
    assert!(third.is_pending());
    limiter
        .acquire_with(0, Patience::unlimited().max_waiters(0))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn jitter_comes_after_a_wait_and_only_then() {
    let limiter = RateLimiter::builder().initial(1).interval(ms(100)).build();
    let start = Instant::now();
    let jitter = Patience::unlimited().jitter(ms(40));
    limiter.acquire_with(1, jitter).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    let mut spread = std::collections::BTreeSet::new();
    for nth in 1..=50 {
        let mut wait = ByHand::new(limiter.acquire_with(1, jitter));
        assert!(wait.is_pending());
        let mut waited = ms(0);
        while wait.is_pending() {
            sleep(ms(1)).await;
            waited = start.elapsed().saturating_sub(ms(100) * nth);
        }
        assert!(waited <= ms(41), "{waited:?}");
        spread.insert(waited);
        sleep(ms(100) * nth + ms(41) - start.elapsed()).await;
    }
    assert!(spread.len() > 10, "{spread:?}");
}

#[tokio::test(start_paused = true)]
async fn timeout_bounds_the_call_with_its_jitter() {
    let meter = GCRA::from_quota("10/s burst 1".parse::<Quota>().unwrap()).unwrap();
    let limiter = Waiting::new(meter);
    let patience = Patience::unlimited().timeout(ms(120)).jitter(ms(500));
    let mut spread = std::collections::BTreeSet::new();
    for _ in 0..50 {
        sleep(ms(1000)).await;
        limiter.acquire(1).await.unwrap();
        let start = Instant::now();
        limiter.acquire_with(1, patience).await.unwrap();
        let took = start.elapsed();
        assert!((ms(100)..=ms(121)).contains(&took), "{took:?}");
        spread.insert(took);
    }
    assert!(spread.len() > 5, "{spread:?}");
}

#[tokio::test(start_paused = true)]
async fn cells_of_a_jittering_leaver_are_returned() {
    let limiter = every(ms(100));
    let mut wait = ByHand::new(limiter.acquire_with(1, Patience::unlimited().jitter(Duration::MAX)));
    assert!(wait.is_pending());
    sleep(ms(100)).await;
    assert!(wait.is_pending(), "of some centuries, not the first millisecond");
    assert_eq!(limiter.balance(), 0);
    drop(wait);
    assert_eq!(limiter.balance(), 1);
}

#[tokio::test(start_paused = true)]
async fn errors_read_well() {
    let limiter = every(ms(100));
    let error = limiter.try_acquire(2).unwrap_err();
    assert_eq!(error.to_string(), "denied: 2 cells can be acquired in 200 ms");
    let error = limiter.try_acquire(11).unwrap_err();
    assert_eq!(
        error.to_string(),
        "denied: 11 cells can never be acquired at once; ask for fewer"
    );
    let error = limiter.try_acquire(1).unwrap_err();
    assert_eq!(error.to_string(), "denied: 1 cell can be acquired in 100 ms");
    let slow = every(Duration::from_nanos(6_311_519_999_999_974_435));
    let error = slow.try_acquire(1).unwrap_err();
    assert_eq!(error.to_string(), "denied: 1 cell can be acquired in 6311520000 s");
    let error = AcquireError::TooManyWaiting { waiting: 1 };
    assert_eq!(error.to_string(), "denied: 1 caller is waiting already");
    let error = slow
        .acquire_with(1, Patience::unlimited().max_waiters(0))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "denied: the cells come later, and no caller may wait"
    );
    assert!(size_of::<AcquireError>() <= 32, "{}", size_of::<AcquireError>());
}
