//! First come, first served, for each key, and no trace of keys without waiters.

use crate::support::{ByHand, ms, quota};
use ratelimit_meter::keyed::{KeyedBuilder, KeyedDual, Tier, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use ratelimit_meter_tokio::{AcquireError, Keyed, MeterMap, Patience, TokioClock};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::time::{Instant, sleep};

/// A meter for each key, made when it is first asked for.
fn limiter(quota: &str) -> Keyed<u32, impl MeterMap<u32, Meter = GCRA>> {
    let quota: Quota = quota.parse().unwrap();
    let meters = Mutex::new(HashMap::new());
    Keyed::new(move |key: &u32| {
        let mut meters = meters.lock().unwrap();
        meters
            .entry(*key)
            .or_insert_with(|| GCRA::from_quota(quota).unwrap())
            .clone()
    })
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_wait_for_each_other() {
    let limiter = limiter("10/s burst 1");
    let start = Instant::now();
    let cells = |key, n| {
        let limiter = &limiter;
        async move {
            for _ in 0..n {
                limiter.acquire_key(&key, 1).await.unwrap();
            }
            start.elapsed()
        }
    };
    assert_eq!(
        tokio::join!(cells(1, 5), cells(2, 3), cells(3, 1)),
        (ms(400), ms(200), ms(0))
    );
    assert_eq!(limiter.waited_for(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_tier_of_a_table_has_its_limiter() {
    let free = GCRA::from_quota(quota("1/s burst 1")).unwrap();
    let (builder, paid) = KeyedBuilder::new(free).tier(quota("10/s burst 1")).unwrap();
    let table: KeyedMeter<u32> = builder.with_capacity(10).unwrap();
    let [free, paid] = [Tier::FIRST, paid].map(|tier| Keyed::of_table(table.in_tier(tier).unwrap()));
    let start = Instant::now();
    for _ in 0..3 {
        paid.acquire_key(&1, 1).await.unwrap();
    }
    assert_eq!(start.elapsed(), ms(200));
    for _ in 0..3 {
        free.acquire_key(&2, 1).await.unwrap();
    }
    assert_eq!(start.elapsed(), ms(2200));
}

#[tokio::test(start_paused = true)]
async fn key_waits_for_its_two_limits_in_turn() {
    let keys = KeyedDual::<u32>::with_capacity("10/s burst 1 & 3/min".parse().unwrap(), 10).unwrap();
    let limits = [keys.first(), keys.second()].map(|table| Keyed::of_table(table.clone()));
    let (start, mut at) = (Instant::now(), Vec::new());
    for _ in 0..5 {
        for limit in &limits {
            limit.acquire_key(&1, 1).await.unwrap();
        }
        at.push(start.elapsed());
    }
    assert_eq!(at, [0, 100, 200, 20_000, 40_000].map(ms));
}

#[tokio::test(start_paused = true)]
async fn waiters_for_a_key_are_served_in_order() {
    let limiter = limiter("10/s burst 5");
    limiter.acquire_key(&1, 5).await.unwrap();
    let mut large = ByHand::new(limiter.acquire_key(&1, 5));
    let mut small = ByHand::new(limiter.acquire_key(&1, 1));
    assert!(large.is_pending() && small.is_pending());
    assert_eq!(limiter.waited_for(), 1);
    sleep(ms(300)).await;
    assert!(limiter.try_acquire_key(&1, 1).is_err());
    limiter.try_acquire_key(&2, 1).unwrap();
    assert!(!small.flag.take());
    sleep(ms(200)).await;
    assert!(!large.is_pending() && small.is_pending());
    sleep(ms(100)).await;
    assert!(!small.is_pending());
    assert_eq!(limiter.waited_for(), 0);
}

#[tokio::test(start_paused = true)]
async fn key_without_a_slot_waits_for_one() {
    let meter = GCRA::from_quota("10/s burst 3".parse::<Quota>().unwrap()).unwrap();
    let builder = KeyedBuilder::new(meter.with_clock(TokioClock)).when_full(WhenFull::Deny);
    let table = builder.with_capacity::<u32>(16).unwrap();
    let crowd = table.capacity() * 4;
    let limiter = Keyed::of_table(table);
    for round in 0..2 {
        let start = Instant::now();
        // Many more keys than slots: keys without a slot wait for the cells of other keys to drain.
        let keys: Vec<u32> = (round * 1_000_000..).take(crowd).collect();
        let waits = keys.iter().map(|key| limiter.acquire_key(key, 3));
        for acquired in futures_util::future::join_all(waits).await {
            acquired.unwrap();
        }
        assert!(start.elapsed() >= ms(300), "{:?}", start.elapsed());
        assert_eq!(limiter.waited_for(), 0);
    }
}

/// A table may decide the keys of a bucket at a later time than that of the waiter's clock: the time at which it last moved a key there.
#[tokio::test(start_paused = true)]
async fn key_is_served_at_time_of_its_bucket() {
    let second: Quota = "1/s burst 4".parse().unwrap();
    let meter = GCRA::from_quota(second).unwrap().with_clock(TokioClock);
    let (builder, tier) = KeyedBuilder::new(meter).tier(second).unwrap();
    let table = builder.with_memory::<u32>(8192).unwrap();
    let limiter = Keyed::of_table(table.clone());
    limiter.acquire_key(&1, 4).await.unwrap();
    let mut wait = ByHand::new(limiter.acquire_key(&1, 1));
    assert!(wait.is_pending());
    let now = Instant::now();
    table.check_at(&2, now.into_std()).unwrap();
    let moved = table.in_tier(tier).unwrap();
    moved.check_at(&2, (now + ms(1000)).into_std()).unwrap();
    limiter.refresh_key(&1);
    assert!(!wait.is_pending());
    let next = limiter.try_acquire_key(&1, 1);
    assert!(
        matches!(next, Err(AcquireError::NotYet(denied)) if denied.wait_time() == ms(2000)),
        "{next:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn key_stays_until_its_last_waiter_left() {
    let limiter = limiter("1/h");
    limiter.acquire_key(&7, 1).await.unwrap();
    let mut places: Vec<_> = (0..3).map(|_| ByHand::new(limiter.acquire_key(&7, 1))).collect();
    assert!(places.iter_mut().all(ByHand::is_pending));
    while places.pop().is_some() {
        assert_eq!(limiter.waited_for(), usize::from(!places.is_empty()));
    }
    let hurry = Patience::unlimited().timeout(ms(1));
    assert!(limiter.acquire_key_with(&7, 1, hurry).await.is_err());
    assert!(limiter.try_acquire_key(&7, 1).is_err());
    assert!(limiter.acquire_key(&7, 2).await.is_err());
    assert_eq!(limiter.waited_for(), 0);
}

/// Keys that all have one meter, which a function returns.
type OfFunction = Keyed<u32, Box<dyn Fn(&u32) -> GCRA + Send + Sync>>;

/// Returns whether a caller is woken by `change` if it joins while `change` asks for the meter.
fn wakes_a_caller_that_joins_meanwhile(change: fn(&OfFunction)) -> bool {
    let meter = GCRA::from_quota("1/h".parse().unwrap()).unwrap();
    let waiter = Arc::new(Mutex::new(None::<ByHand<'static, bool>>));
    let (joining, joined) = (Arc::clone(&waiter), Arc::new(Mutex::new(None)));
    let limiter: Arc<OfFunction> = Arc::new(Keyed::new(Box::new({
        let joined = Arc::clone(&joined);
        move |_| {
            let waiter = joining.lock().unwrap().take();
            if let Some(mut waiter) = waiter {
                assert!(waiter.is_pending());
                *joined.lock().unwrap() = Some(waiter);
            }
            meter.clone()
        }
    })));
    limiter.try_acquire_key(&1, 1).unwrap();
    let joins = Arc::clone(&limiter);
    *waiter.lock().unwrap() = Some(ByHand::new(async move { joins.acquire_key(&1, 1).await.is_ok() }));
    change(&limiter);
    let waiter = joined.lock().unwrap().take().expect("a waiter");
    waiter.flag.take()
}

#[tokio::test(start_paused = true)]
async fn change_of_a_key_wakes_a_concurrent_caller() {
    assert!(wakes_a_caller_that_joins_meanwhile(|limiter| limiter.refund_key(&1, 1)));
    assert!(wakes_a_caller_that_joins_meanwhile(|limiter| limiter.reset_key(&1)));
}
