//! Meters that change while callers wait: reset, refunded, given another quota; through the waiting handle or a plain clone.

use crate::support::{ByHand, ms, quota};
use ratelimit_meter::{Adjustable, Dual, GCRA, KeyedMeter};
use ratelimit_meter_tokio::{AcquireError, Keyed, RateLimiter, TokioClock, Waiting};
use std::task::Poll;
use tokio::time::{Duration, Instant, advance, sleep, timeout};

/// A meter whose quota changes at tokio's time.
fn adjustable(text: &str) -> Adjustable<GCRA<TokioClock>> {
    GCRA::from_quota(quota(text))
        .unwrap()
        .with_clock(TokioClock)
        .into_adjustable()
}

const SECOND: Duration = Duration::from_secs(1);

/// Waits for ten cells of a limiter that has none, while `change` happens at 1 s, and returns how long that took.
async fn waits(acquire: impl Future<Output = ()>, change: impl AsyncFnOnce()) -> Duration {
    let start = Instant::now();
    let changes = async {
        sleep(SECOND).await;
        change().await;
    };
    let waits = async {
        acquire.await;
        start.elapsed()
    };
    tokio::join!(waits, changes).0
}

#[tokio::test(start_paused = true)]
async fn change_through_the_handle_serves_at_once() {
    let limiter = Waiting::new(adjustable("10/h"));
    let acquire = || async { limiter.acquire(10).await.unwrap() };
    acquire().await;
    assert_eq!(waits(acquire(), async || limiter.reset()).await, SECOND);
    assert_eq!(waits(acquire(), async || limiter.refund(10)).await, SECOND);
    let raised = waits(acquire(), async || {
        limiter.change(|meter| meter.set_quota(quota("10/10s")).unwrap());
    });
    // It kept the cells of a second at the old rate.
    assert!((10 * SECOND..12 * SECOND).contains(&raised.await));
}

#[tokio::test(start_paused = true)]
async fn change_by_a_clone_serves_within_poll_interval() {
    let meter = GCRA::from_quota(quota("10/h")).unwrap();
    let limiter = Waiting::new(meter.clone());
    let acquire = || async { limiter.acquire(10).await.unwrap() };
    acquire().await;
    assert!(waits(acquire(), async || meter.reset()).await <= 2 * SECOND);
    assert!(waits(acquire(), async || meter.refund(10)).await <= 2 * SECOND);
    let meter = adjustable("10/h");
    let limiter = Waiting::new(meter.clone());
    limiter.acquire(10).await.unwrap();
    let raised = waits(async { limiter.acquire(10).await.unwrap() }, async || {
        meter.set_quota(quota("10/5s")).unwrap();
    });
    assert!((5 * SECOND..8 * SECOND).contains(&raised.await));
    // A thread looks as often, by its own sleep.
    let limiter = Waiting::new(GCRA::from_quota(quota("1/h")).unwrap());
    limiter.acquire(1).await.unwrap();
    let mut waits = ByHand::new(limiter.acquire(1));
    assert!(waits.is_pending());
    sleep(Duration::from_secs(1600)).await;
    limiter.meter().reset();
    sleep(Duration::from_secs(101)).await;
    assert!(waits.flag.take() && !waits.is_pending(), "a sixteenth of 1600 s");
}

/// A timer goes off at the end of the millisecond, here 400 us after the waiter is due.
#[tokio::test(start_paused = true)]
async fn waiter_due_before_a_change_is_served() {
    let lower: fn(&Waiting<Adjustable<GCRA<TokioClock>>>) = |limiter| {
        limiter.change(|meter| meter.set_quota(quota("1/h")).unwrap());
    };
    let charge: fn(&Waiting<Adjustable<GCRA<TokioClock>>>) = |limiter| {
        limiter.change(|meter| meter.charge(9));
    };
    for change in [lower, charge] {
        let limiter = Waiting::new(adjustable("1/600us"));
        limiter.acquire(1).await.unwrap();
        let mut waits = ByHand::new(limiter.acquire_timeout(1, Duration::from_micros(600)));
        assert!(waits.is_pending());
        advance(Duration::from_micros(700)).await;
        change(&limiter);
        assert!(waits.flag.take());
        assert_eq!(waits.poll(), Poll::Ready(Ok(())));
    }
}

/// Before the due waiter is served, the meter has no debt, so it would take nothing back.
#[tokio::test(start_paused = true)]
async fn returned_cells_count_after_due_waiters() {
    let us = Duration::from_micros;
    for is_refund in [true, false] {
        let limiter = Waiting::new(adjustable("1/150us burst 2"));
        limiter.acquire(2).await.unwrap();
        let mut unread = ByHand::new(limiter.acquire(2));
        assert!(unread.is_pending());
        advance(us(350)).await;
        assert_eq!(limiter.waiting(), 0, "served");
        let mut due = ByHand::new(limiter.acquire(2));
        assert!(due.is_pending());
        advance(us(300)).await;
        if is_refund {
            limiter.refund(2);
        } else {
            drop(unread);
        }
        assert_eq!(due.poll(), Poll::Ready(Ok(())));
        assert_eq!(limiter.try_acquire(2), Ok(()), "refund: {is_refund}");
        // The timers go off at whole milliseconds.
        advance(us(350)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn reset_cancels_debt_of_waiters_due_before() {
    let table = KeyedMeter::<u8>::with_capacity(quota("1/600us"), 1).unwrap();
    let (limiter, keyed) = (Waiting::new(adjustable("1/600us")), Keyed::of_table(table.clone()));
    limiter.acquire(1).await.unwrap();
    keyed.acquire_key(&1, 1).await.unwrap();
    let mut waits = [
        ByHand::new(async { limiter.acquire(1).await.unwrap() }),
        ByHand::new(async { keyed.acquire_key(&1, 1).await.unwrap() }),
    ];
    assert!(waits.iter_mut().all(ByHand::is_pending));
    advance(Duration::from_micros(700)).await;
    limiter.reset();
    keyed.reset_key(&1);
    assert!(waits.iter_mut().all(|waits| waits.poll().is_ready()));
    assert_eq!(limiter.try_acquire(1), Ok(()));
    assert_eq!(keyed.try_acquire_key(&1, 1), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn lowered_quota_makes_waiters_wait_longer() {
    let limiter = Waiting::new(adjustable("10/s burst 1"));
    limiter.acquire(1).await.unwrap();
    let start = Instant::now();
    let mut wait = ByHand::new(limiter.acquire(1));
    assert!(wait.is_pending());
    limiter.change(|meter| meter.set_quota(quota("1/s burst 1")).unwrap());
    sleep(ms(900)).await;
    assert!(wait.is_pending());
    sleep(ms(101)).await;
    assert!(!wait.is_pending());
    assert_eq!(start.elapsed(), ms(1001));
}

/// Returns a limiter without cells, whose burst is 10.
fn spent() -> Waiting<Adjustable<GCRA<TokioClock>>> {
    let meter = adjustable("10/s burst 10");
    meter.check_n(10).unwrap();
    Waiting::new(meter)
}

fn lower(limiter: &Waiting<Adjustable<GCRA<TokioClock>>>) {
    let lowered = quota("10/s burst 5");
    limiter.change(|meter| meter.set_quota(lowered)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiter_above_a_lowered_burst_is_denied_alone() {
    let limiter = &spent();
    let start = Instant::now();
    let acquire = async |n: u32| {
        (
            limiter.acquire(n).await.map_err(|denied| denied.to_string()),
            start.elapsed(),
        )
    };
    let waits = async { tokio::join!(acquire(2), acquire(8), acquire(3), acquire(9)) };
    let lowers = async {
        lower(limiter);
        let Err(AcquireError::NotYet(denied)) = limiter.try_acquire(1) else {
            panic!("two and three cells come before");
        };
        assert_eq!(denied.wait_time(), ms(600));
        acquire(1).await
    };
    let ((two, eight, three, nine), one) = tokio::join!(waits, lowers);
    assert_eq!([two, three, one], [200, 500, 600].map(|at| (Ok(()), ms(at))));
    // Each is denied when it becomes the head.
    let denied = |cells: u32| {
        Err(format!(
            "denied: {cells} cells can never be acquired at once; ask for fewer"
        ))
    };
    assert_eq!([eight, nine], [(denied(8), ms(200)), (denied(9), ms(500))]);
}

#[tokio::test(start_paused = true)]
async fn burst_lowered_elsewhere_denies_within_poll_interval() {
    let limiter = spent();
    let start = Instant::now();
    let lowers = async { limiter.meter().set_quota(quota("10/s burst 5")).unwrap() };
    let waits = async { tokio::join!(limiter.acquire(10), limiter.acquire(2), lowers) };
    let (ten, two, _) = timeout(10 * SECOND, waits).await.expect("denied and served");
    assert!(ten.is_err_and(|denied| !denied.is_after_the_end()));
    assert_eq!((two, start.elapsed() <= SECOND), (Ok(()), true));
}

/// The denied waiter may have been forgotten.
#[tokio::test(start_paused = true)]
async fn denied_waiter_that_never_looks_stops_no_other() {
    let limiter = spent();
    let start = Instant::now();
    let (mut ten, mut two) = (ByHand::new(limiter.acquire(10)), ByHand::new(limiter.acquire(2)));
    assert!(ten.is_pending() && two.is_pending());
    lower(&limiter);
    assert!(ten.flag.take());
    assert_eq!(limiter.waiting(), 1);
    let Err(AcquireError::NotYet(denied)) = limiter.acquire_timeout(1, ms(250)).await else {
        panic!("two cells come before");
    };
    assert_eq!(denied.wait_time(), ms(300));
    limiter.acquire(1).await.unwrap();
    assert_eq!((start.elapsed(), two.poll()), (ms(300), Poll::Ready(Ok(()))));
    // It left no cells and no place behind, and its slot is not another waiter's.
    let mut next = ByHand::new(limiter.acquire(1));
    assert!(next.is_pending());
    assert!(matches!(ten.poll(), Poll::Ready(Err(denied)) if denied.cells() == 10));
    drop(ten);
    assert!(next.is_pending());
    sleep(ms(100)).await;
    assert!(next.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn lowered_burst_ends_a_wait_with_its_reason() {
    let limiter = spent();
    let waits = limiter.acquire_timeout(10, 2 * SECOND);
    let lowers = async {
        lower(&limiter);
        // The reason stays, although ten would be possible again.
        limiter.change(|meter| meter.set_quota(quota("10/s burst 10"))).unwrap();
    };
    let (denied, ()) = tokio::join!(waits, lowers);
    assert_eq!(
        denied.unwrap_err().to_string(),
        "denied: 10 cells can never be acquired at once; ask for fewer"
    );
    // A waiter behind the head is denied at its deadline.
    let limiter = spent();
    let mut head = ByHand::new(limiter.acquire(2));
    assert!(head.is_pending());
    let slower = async { limiter.change(|meter| meter.set_quota(quota("10/h burst 5"))).unwrap() };
    let (denied, _) = tokio::join!(limiter.acquire_timeout(8, SECOND), slower);
    assert_eq!(
        denied.unwrap_err().to_string(),
        "denied: 8 cells can never be acquired at once; ask for fewer"
    );
}

#[tokio::test(start_paused = true)]
async fn dual_is_waited_for_until_both_limits_conform() {
    let limits = Dual::<GCRA>::from_quota("10/s burst 2 & 3/2s".parse().unwrap()).unwrap();
    let limiter = Waiting::new(limits.clone());
    let start = Instant::now();
    for _ in 0..5 {
        limiter.acquire(1).await.unwrap();
    }
    // Two at once, the third at 100 ms by the first limit; then two thirds of a second each by the second.
    let elapsed = start.elapsed();
    assert!(elapsed >= ms(1333) && elapsed <= ms(1335), "{elapsed:?}");
    assert!(limiter.acquire(3).await.is_err());
    assert_eq!(limiter.try_acquire_up_to(2), 0);
    let mut wait = ByHand::new(limiter.acquire(2));
    assert!(wait.is_pending());
    limiter.reset();
    assert!(!wait.is_pending());
    assert_eq!(limits.status_at(Instant::now().into_std()).remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn any_meters_keys_can_wait_and_change() {
    let (adjustable, dual) = (
        adjustable("10/h"),
        Dual::<GCRA>::from_quota("10/h & 20/h".parse().unwrap()).unwrap(),
    );
    let clone = adjustable.clone();
    let of_adjustable = Keyed::new(move |_: &u8| clone.clone());
    let of_dual = Keyed::new(move |_: &u8| dual.clone());
    let of_table = Keyed::of_table(KeyedMeter::<u8>::with_capacity(quota("10/h"), 100).unwrap());
    macro_rules! check {
        ($keyed:ident) => {
            let acquire = || async { $keyed.acquire_key(&1, 10).await.unwrap() };
            acquire().await;
            assert_eq!($keyed.try_acquire_key_up_to(&1, 3), 0);
            assert_eq!(waits(acquire(), async || $keyed.reset_key(&1)).await, SECOND);
            assert_eq!(waits(acquire(), async || $keyed.refund_key(&1, 10)).await, SECOND);
            // None waits: the change is the meter's.
            $keyed.refund_key(&1, 4);
            assert_eq!(($keyed.try_acquire_key_up_to(&1, 9), $keyed.waited_for()), (4, 0));
            $keyed.reset_key(&1);
            acquire().await;
        };
    }
    check!(of_adjustable);
    check!(of_dual);
    check!(of_table);
    let raised = waits(async { of_adjustable.acquire_key(&1, 10).await.unwrap() }, async || {
        adjustable.set_quota(quota("10/10s")).unwrap();
        of_adjustable.refresh_key(&1);
    });
    assert!((10 * SECOND..12 * SECOND).contains(&raised.await));
}

#[tokio::test(start_paused = true)]
async fn available_cells_are_taken_without_waiters() {
    for fair in [true, false] {
        let mut builder = RateLimiter::builder();
        let limiter = builder.max(10).initial(6).fair(fair).build();
        assert_eq!(limiter.try_acquire_up_to(0), 0);
        assert_eq!([limiter.try_acquire_up_to(4), limiter.try_acquire_up_to(4)], [4, 2]);
        assert_eq!(limiter.try_acquire_up_to(4), 0);
        let mut wait = ByHand::new(limiter.acquire(10));
        assert!(wait.is_pending());
        sleep(ms(300)).await;
        assert_eq!(limiter.try_acquire_up_to(4), if fair { 0 } else { 3 });
        sleep(ms(if fair { 700 } else { 1000 })).await;
        assert!(!wait.is_pending());
    }
    let limiter = Waiting::new(GCRA::from_quota(quota("5/s")).unwrap());
    assert_eq!(
        [limiter.try_acquire_up_to(3), limiter.try_acquire_up_to(u32::MAX)],
        [3, 2]
    );
}

#[tokio::test(start_paused = true)]
async fn refund_to_a_bucket_serves_the_next_waiter() {
    let limiter = RateLimiter::builder().initial(3).interval(SECOND * 1000).build();
    limiter.acquire(3).await;
    let mut wait = ByHand::new(limiter.acquire(2));
    assert!(wait.is_pending());
    limiter.refund(1);
    assert!(wait.is_pending());
    limiter.refund(2);
    assert!(wait.flag.take() && !wait.is_pending());
    assert_eq!(limiter.balance(), 1);
}
