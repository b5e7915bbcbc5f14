//! Waiters that leave: dropped, aborted, timed out, forgotten, or gone with their runtime. No hang, no loss, no panic.

use crate::support::{ByHand, every, ms};
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::{Keyed, RateLimiter, Waiting};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Longer than anything takes here on a loaded machine, unless it hangs.
const LONG: Duration = Duration::from_secs(20);

/// Signals its end.
fn in_a_thread(work: impl FnOnce() + Send + 'static) -> Receiver<()> {
    let (over, told) = channel();
    std::thread::spawn(move || {
        work();
        over.send(()).unwrap();
    });
    told
}

/// Seeded: the same crowd each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % n
    }
}

/// Ten thousand waiters for a cell each, of which a random half is dropped at random times. Returns the times at which the rest got their cells.
async fn crowd(acquire: impl AsyncFn() + Clone + 'static, interval: Duration) {
    const CROWD: u32 = 10_000;
    let mut random = Random(8);
    let start = Instant::now();
    let served = Arc::new(Mutex::new(Vec::new()));
    let gone = Arc::new(Mutex::new(Vec::new()));
    let local = tokio::task::LocalSet::new();
    for id in 0..CROWD {
        let (acquire, served, gone) = (acquire.clone(), Arc::clone(&served), Arc::clone(&gone));
        let leaves = (random.below(2) == 0).then(|| interval * u32::try_from(random.below(CROWD.into())).unwrap());
        local.spawn_local(async move {
            // Leaves between two ticks, so that the order of service is certain.
            let patience = leaves.map_or(Duration::MAX, |leaves| leaves + interval / 2);
            match timeout(patience, acquire()).await {
                Ok(()) => served.lock().unwrap().push((id, start.elapsed())),
                Err(_) => gone.lock().unwrap().push(id),
            }
        });
    }
    local.await;
    let (served, gone) = (served.lock().unwrap(), gone.lock().unwrap());
    assert_eq!(served.len() + gone.len(), usize::try_from(CROWD).unwrap());
    assert!(gone.len() > 2000 && served.len() > 5000, "{} left", gone.len());
    // In order, one at each instant, none left out: returned cells were used.
    assert!(served.is_sorted());
    for (nth, &(id, at)) in (1..).zip(&*served) {
        assert_eq!(at, interval * nth, "{id}, which was the {nth}th");
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_ten_thousand_leave_at_their_ticks() {
    let limiter = every(ms(2));
    crowd(async move || limiter.acquire(1).await, ms(2)).await;
}

#[tokio::test(start_paused = true)]
async fn half_of_ten_thousand_leave_at_meter_instants() {
    let limiter = Waiting::new(GCRA::from_quota("500/s burst 1".parse::<Quota>().unwrap()).unwrap());
    limiter.acquire(1).await.unwrap();
    crowd(async move || limiter.acquire(1).await.unwrap(), ms(2)).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_moves_later_waiters_up() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let large = async {
        assert!(timeout(ms(150), limiter.acquire(5)).await.is_err());
    };
    let small = async {
        limiter.acquire(3).await;
        start.elapsed()
    };
    let ((), at) = tokio::join!(large, small);
    assert_eq!(at, ms(300));
}

#[tokio::test(start_paused = true)]
async fn unread_service_passes_to_the_next_waiter() {
    let limiter = every(ms(100));
    let mut first = ByHand::new(limiter.acquire(1));
    let mut second = ByHand::new(limiter.acquire(1));
    assert!(first.is_pending() && second.is_pending());
    sleep(ms(100)).await;
    assert!(first.flag.take(), "served");
    drop(first);
    assert!(second.flag.take() && !second.is_pending(), "at once, not at 200 ms");
}

#[tokio::test(start_paused = true)]
async fn select_join_and_try_join_lose_nothing() {
    let limiter = every(ms(10));
    let start = Instant::now();
    for _ in 0..10 {
        tokio::select! {
            () = limiter.acquire(8) => panic!("comes later"),
            () = limiter.acquire(9) => panic!("comes later"),
            () = sleep(ms(5)) => {}
        }
    }
    // At 50 ms five cells have come and none is taken.
    assert_eq!((start.elapsed(), limiter.balance()), (ms(50), 5));
    tokio::join!(limiter.acquire(5), limiter.acquire(1), limiter.acquire(1));
    assert_eq!(start.elapsed(), ms(70));
    let fallible = |n| {
        let limiter = &limiter;
        async move {
            limiter.acquire(n).await;
            if n == 2 { Err(n) } else { Ok(n) }
        }
    };
    assert_eq!(tokio::try_join!(fallible(1), fallible(2), fallible(3)), Err(2));
    assert_eq!((start.elapsed(), limiter.waiting(), limiter.balance()), (ms(100), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn aborted_tasks_leave_no_place_behind() {
    let limiter = every(ms(10));
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(limiter.acquire_owned(1));
    }
    while limiter.waiting() < 100 {
        tokio::task::yield_now().await;
    }
    tasks.shutdown().await;
    assert_eq!(limiter.waiting(), 0);
    limiter.acquire(1).await;
}

#[tokio::test(start_paused = true)]
async fn forgotten_future_costs_its_own_cells_only() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let mut places: Vec<_> = (0..6).map(|_| ByHand::new(limiter.acquire(1))).collect();
    assert!(places.iter_mut().all(ByHand::is_pending));
    let mut last = places.pop().unwrap();
    std::mem::forget(places);
    timeout(LONG, limiter.acquire(1)).await.unwrap();
    assert_eq!(start.elapsed(), ms(700));
    assert!(!last.is_pending());
}

#[tokio::test(start_paused = true)]
async fn waiter_behind_a_forgotten_head_is_served() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let mut large = ByHand::new(limiter.acquire(5));
    let mut forgotten = ByHand::new(limiter.acquire(1));
    let mut behind = ByHand::new(limiter.acquire(1));
    assert!(large.is_pending() && forgotten.is_pending() && behind.is_pending());
    std::mem::forget(forgotten);
    sleep(ms(210)).await;
    // Two cells are there. The forgotten one, which is the head now, is served at once, and so is the one behind it.
    drop(large);
    assert!(behind.flag.take() && !behind.is_pending());
    assert_eq!(start.elapsed(), ms(210));
}

#[tokio::test(start_paused = true)]
async fn forgotten_head_gets_its_runtimes_timer() {
    let limiter = every(ms(100));
    let start = Instant::now();
    let mut large = ByHand::new(limiter.acquire(5));
    let mut forgotten = ByHand::new(limiter.acquire(2));
    let mut behind = ByHand::new(limiter.acquire(1));
    assert!(large.is_pending() && forgotten.is_pending() && behind.is_pending());
    std::mem::forget(forgotten);
    drop(large);
    sleep_until(start + ms(299)).await;
    assert!(!behind.flag.take());
    sleep_until(start + ms(300)).await;
    assert!(behind.flag.take() && !behind.is_pending());
    assert_eq!(limiter.balance(), 0);
}

#[test]
fn head_is_woken_when_freed_outside_its_runtime() {
    let limiter = every(Duration::from_secs(3600));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let [mut large, mut small] = [5, 1].map(|n| ByHand::new(limiter.acquire(n)));
    runtime.block_on(async { assert!(large.is_pending() && small.is_pending()) });
    drop(large);
    assert!(small.flag.take(), "it is due in one hour, not in five");
}

#[test]
fn runtime_shutdown_leaves_other_runtimes_waiters_alone() {
    let limiter = every(Duration::from_millis(2));
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    for _ in 0..100 {
        runtime.spawn(limiter.acquire_owned(1_000_000));
    }
    while limiter.waiting() < 100 {
        std::thread::yield_now();
    }
    let other = Builder::new_current_thread().enable_time().build().unwrap();
    let acquire = limiter.acquire_owned(1000);
    let served = in_a_thread(move || other.block_on(acquire));
    while limiter.waiting() < 101 {
        std::thread::yield_now();
    }
    let idle = Builder::new_current_thread().enable_time().build().unwrap();
    let mut last = ByHand::new(limiter.acquire(1_000_000));
    idle.block_on(async { assert!(last.is_pending()) });
    // Its timer ends with it, and at least the last waiter still waits.
    in_a_thread(move || drop(runtime)).recv_timeout(LONG).unwrap();
    served.recv_timeout(LONG).unwrap();
    drop(last);
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn undriven_runtime_does_not_delay_another() {
    // One at most is there, however late two are asked for.
    let limiter = RateLimiter::builder().max(1).interval(ms(2)).build();
    let idle = Builder::new_current_thread().enable_time().build().unwrap();
    let mut first = ByHand::new(limiter.acquire(2));
    idle.block_on(async { assert!(first.is_pending()) });
    let busy = Builder::new_current_thread().enable_time().build().unwrap();
    let start = Instant::now();
    busy.block_on(async { timeout(LONG, limiter.acquire(1)).await.unwrap() });
    assert!(start.elapsed() < LONG, "by its own timer, not the timeout's");
    assert!(first.flag.take(), "whom the other served");
    assert!(!first.is_pending());
    drop(idle);
}

#[test]
fn async_and_blocking_share_one_queue() {
    // Taken before the first tick is counted, so that nothing comes early by it.
    let start = Instant::now();
    let limiter = every(Duration::from_micros(500));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let over = AtomicUsize::new(0);
    let behind = |others| {
        while limiter.waiting() + over.load(Ordering::SeqCst) < others {
            std::thread::yield_now();
        }
    };
    // No waiter can have twenty cells before all cells requested up to its place have come.
    let had = |places: u64| {
        over.fetch_add(1, Ordering::SeqCst);
        let elapsed = start.elapsed();
        assert!(elapsed >= ms(10 * places), "{elapsed:?} for {places}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            limiter.acquire_blocking(20);
            had(1);
        });
        behind(1);
        scope.spawn(|| {
            runtime.block_on(limiter.acquire(20));
            had(2);
        });
        behind(2);
        scope.spawn(|| {
            limiter.acquire_blocking(20);
            had(3);
        });
    });
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn thread_advances_when_a_waiter_ahead_leaves() {
    let limiter = every(ms(1));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    let mut long = ByHand::new(limiter.acquire(100_000_000));
    assert!(long.is_pending());
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| limiter.acquire_blocking(1));
        while limiter.waiting() < 2 {
            std::thread::yield_now();
        }
        // The thread may sleep by now, until a hundred million cells have come.
        drop(long);
        thread.join().unwrap();
    });
}

#[test]
fn thread_at_head_early_looks_again() {
    let limiter = every(ms(20));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    let joined = |waiting| {
        while limiter.waiting() < waiting {
            std::thread::yield_now();
        }
    };
    let blocking = |n| {
        let limiter = limiter.clone();
        in_a_thread(move || limiter.acquire_blocking(n))
    };
    let mut long = ByHand::new(limiter.acquire(100_000_000));
    assert!(long.is_pending());
    let first = blocking(2);
    joined(2);
    let mut middle = ByHand::new(limiter.acquire(100_000_000));
    assert!(middle.is_pending());
    let second = blocking(1);
    joined(4);
    // The first thread is the head now and has 40 ms to go; the second learns then that it is next.
    drop(long);
    drop(middle);
    first.recv_timeout(LONG).unwrap();
    second.recv_timeout(LONG).unwrap();
}

/// A head that asked for many cells leaves, and the next waiter is served at once. The waiter behind is due long before the timer of the waiter that
/// left.
async fn waiter_behind_is_served_on_time_after_head_leaves<O: Send + 'static>(
    acquire: impl Fn(u32) -> std::pin::Pin<Box<dyn Future<Output = O> + Send>>,
) {
    let start = Instant::now();
    let mut large = ByHand::new(acquire(100));
    assert!(large.is_pending());
    let served = JoinSet::from_iter([acquire(1), acquire(1)].map(|acquire| async move {
        acquire.await;
        start.elapsed()
    }));
    sleep(ms(150)).await;
    drop(large);
    assert_eq!(served.join_all().await, [ms(150), ms(200)]);
}

#[tokio::test(start_paused = true)]
async fn leave_that_serves_sets_the_next_timer() {
    let bucket = RateLimiter::builder().max(100).refill(1).interval(ms(100)).build();
    waiter_behind_is_served_on_time_after_head_leaves(|n| Box::pin(bucket.acquire_owned(n))).await;
    let meter = || {
        let meter = GCRA::from_quota("10/s burst 100".parse::<Quota>().unwrap()).unwrap();
        assert_eq!(meter.charge_at(100, Instant::now().into_std()), 0);
        meter
    };
    for limiter in [Waiting::new, Waiting::unfair] {
        let limiter = limiter(meter());
        waiter_behind_is_served_on_time_after_head_leaves(|n| Box::pin(limiter.acquire_owned(n))).await;
    }
    let meter = meter();
    let keyed = Arc::new(Keyed::new(move |_: &u8| meter.clone()));
    waiter_behind_is_served_on_time_after_head_leaves(|n| {
        let keyed = Arc::clone(&keyed);
        Box::pin(async move { keyed.acquire_key(&1, n).await })
    })
    .await;
}

/// As above, but the one between sleeps in a thread, or in another runtime.
#[test]
fn foreign_serve_sets_the_next_waiters_timer() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    for between_is_thread in [true, false] {
        let limiter = RateLimiter::builder().max(1_000_000_000).interval(ms(20)).build();
        let idle = runtime();
        let mut large = ByHand::new(limiter.acquire(100_000_000));
        idle.block_on(async { assert!(large.is_pending()) });
        let joined = |waiting| {
            while limiter.waiting() < waiting {
                std::thread::yield_now();
            }
        };
        let between = if between_is_thread {
            let limiter = limiter.clone();
            in_a_thread(move || limiter.acquire_blocking(2))
        } else {
            let acquire = limiter.acquire_owned(2);
            in_a_thread(move || runtime().block_on(acquire))
        };
        joined(2);
        let acquire = limiter.acquire_owned(1);
        let behind = in_a_thread(move || runtime().block_on(acquire));
        joined(3);
        drop(large);
        between.recv_timeout(LONG).unwrap();
        behind.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn future_without_budget_still_gets_its_timer() {
    let limiter = every(ms(20));
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let acquire = limiter.acquire_owned(1);
    let exhausted = async {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        acquire.await;
    };
    // By the handle there is no scheduler that would poll it once more for want of budget.
    in_a_thread(move || runtime.handle().block_on(exhausted))
        .recv_timeout(LONG)
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_limiter_drops_its_timer() {
    let limiter = every(Duration::from_secs(3600));
    let mut wait = ByHand::new(limiter.acquire_owned(1));
    assert!(wait.is_pending());
    drop(limiter);
    drop(wait);
    let start = Instant::now();
    sleep(ms(1)).await;
    assert_eq!(start.elapsed(), ms(1));
}
