//! The claims that `docs/migrating.md` makes of other crates, tried on those crates: each "before" compiles and acts as the page states.

use std::num::NonZeroU32;
use std::time::Duration;

fn n(cells: u32) -> NonZeroU32 {
    NonZeroU32::new(cells).expect("not zero")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

mod ratelimit_meter_5 {
    use super::{n, secs};
    use ::ratelimit_meter_5::{DirectRateLimiter, GCRA, LeakyBucket, NegativeMultiDecision, NonConformance};
    use std::time::{Duration, Instant};

    fn admitted(limiter: &mut DirectRateLimiter<GCRA>, at: Instant) -> usize {
        (0..1_000).take_while(|_| limiter.check_at(at).is_ok()).count()
    }

    #[test]
    fn both_limiters_are_made_and_checked() {
        let mut lim = DirectRateLimiter::<GCRA>::per_second(n(50));
        assert_eq!(Ok(()), lim.check());
        let mut lim = DirectRateLimiter::<LeakyBucket>::new(n(50), secs(60));
        assert!(lim.check_n(50).is_ok() && lim.check_n(50).is_err());
    }

    #[test]
    fn idle_gcra_admits_one_cell_more() {
        let now = Instant::now();
        assert_eq!(admitted(&mut DirectRateLimiter::per_second(n(10)), now), 11);
    }

    #[test]
    fn gcra_wait_is_one_tolerance_too_long() {
        let (now, mut limiter) = (Instant::now(), DirectRateLimiter::<GCRA>::per_second(n(10)));
        while limiter.check_at(now).is_ok() {}
        let wait = limiter.check_at(now).unwrap_err().wait_time_from(now);
        assert_eq!(wait, Duration::from_millis(1_100));
        assert!(limiter.check_at(now + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn gcra_batch_is_charged_almost_twice() {
        let (now, mut limiter) = (Instant::now(), DirectRateLimiter::<GCRA>::per_second(n(10)));
        assert!(limiter.check_n_at(4, now).is_ok());
        // Of eleven cells, 2 * 4 - 1 are gone.
        assert_eq!(admitted(&mut limiter, now), 4);
    }

    #[test]
    fn empty_batch_resets_gcra() {
        let (now, mut limiter) = (Instant::now(), DirectRateLimiter::<GCRA>::per_second(n(10)));
        assert_eq!(admitted(&mut limiter, now), 11);
        assert!(limiter.check_n_at(0, now).is_ok());
        assert_eq!(admitted(&mut limiter, now), 11);
    }

    #[test]
    fn leaky_bucket_drains_an_interval_twice() {
        let (now, mut limiter) = (Instant::now(), DirectRateLimiter::<LeakyBucket>::per_second(n(10)));
        assert!(limiter.check_n_at(10, now).is_ok());
        let later = now + Duration::from_millis(500);
        assert!(limiter.check_n_at(5, later).is_ok());
        // The earlier time is decided at the later one, where the bucket is full.
        assert!(matches!(
            limiter.check_n_at(1, now),
            Err(NegativeMultiDecision::BatchNonConforming(1, _))
        ));
        assert!(limiter.check_n_at(0, now).is_ok());
        assert!(limiter.check_n_at(5, later).is_ok());
    }

    #[test]
    fn billions_a_second_are_unlimited() {
        let (now, mut limiter) = (Instant::now(), DirectRateLimiter::<GCRA>::per_second(n(2_000_000_000)));
        assert!((0..1_000).all(|_| limiter.check_n_at(1_000_000_000, now).is_ok()));
    }

    #[test]
    fn cell_weight_validates_the_previous_weight() {
        let mut builder = DirectRateLimiter::<LeakyBucket>::build_with_capacity(n(4));
        assert!(builder.cell_weight(n(5)).is_ok());
        assert!(builder.cell_weight(n(1)).is_err());
    }
}

mod governor {
    use super::{n, secs};
    use governor::clock::{Clock, DefaultClock, FakeRelativeClock};
    use governor::middleware::StateInformationMiddleware;
    use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
    use std::panic::catch_unwind;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn limiters_are_made_and_checked() {
        let lim = RateLimiter::direct(Quota::per_second(n(50)).allow_burst(n(10)));
        match lim.check() {
            Ok(()) => {}
            Err(not_until) => {
                let _wait = not_until.wait_time_from(DefaultClock::default().now());
            }
        }
        match lim.check_n(n(5)) {
            Ok(Ok(())) => {}
            Ok(Err(_not_until)) => {}
            Err(_insufficient_capacity) => {}
        }
        let _shared: Arc<DefaultDirectRateLimiter> = Arc::new(lim);
        let keyed = RateLimiter::keyed(Quota::with_period(secs(1)).expect("not zero"));
        assert!(keyed.check_key(&"alice").is_ok() && keyed.check_key(&"alice").is_err());
        keyed.retain_recent();
        keyed.shrink_to_fit();
        let informed = RateLimiter::direct(Quota::per_hour(n(3))).with_middleware::<StateInformationMiddleware>();
        assert_eq!(informed.check().expect("idle").remaining_burst_capacity(), 2);
    }

    #[test]
    fn rates_are_rounded_to_whole_nanoseconds() {
        let of = |cells| Quota::per_second(n(cells)).replenish_interval();
        assert_eq!(of(600_000_001), Duration::from_nanos(1));
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_second(n(4_000_000_000));
        let lim = RateLimiter::direct_with_clock(quota, clock.clone());
        assert!(lim.check_n(n(4_000_000_000)).expect("within the burst").is_ok());
        clock.advance(secs(1));
        assert!(lim.check_n(n(1_000_000_001)).expect("within the burst").is_err());
        assert!(lim.check_n(n(1_000_000_000)).expect("within the burst").is_ok());
    }

    #[test]
    fn batch_above_the_burst_may_overflow() {
        // A cell takes 2^40 ns, and the batch has 2^24 + 1 cells.
        let result = catch_unwind(|| {
            let quota = Quota::with_period(Duration::from_nanos(1 << 40)).expect("not zero");
            RateLimiter::direct(quota).check_n(n((1 << 24) + 1)).is_err()
        });
        // A release build wraps around and admits the batch.
        assert_ne!(result.ok(), Some(true), "denied as too large");
    }
}

mod leaky_bucket {
    use leaky_bucket::{Builder, RateLimiter};
    use std::future::Future;
    use std::panic::catch_unwind;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;
    use tokio::runtime;
    use tokio::time::{Instant, advance, timeout};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn in_paused_time(test: impl Future<Output = ()>) {
        let runtime = runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn both_crates_have_the_same_defaults() {
        in_paused_time(async {
            let (theirs, ours) = (
                Builder::default().build(),
                ratelimit_meter_tokio::RateLimiterBuilder::default().build(),
            );
            let sizes = [theirs.max(), theirs.refill(), theirs.balance()];
            assert_eq!(sizes, [ours.max(), ours.refill(), ours.balance()]);
            assert_eq!((theirs.interval(), theirs.is_fair()), (ours.interval(), ours.is_fair()));
        });
    }

    /// The same lines for both crates, as on the page.
    macro_rules! seven_and_three {
        ($limiter:ty, $is_taken:expr) => {
            in_paused_time(async {
                let (start, is_taken) = (Instant::now(), $is_taken);
                let limiter = <$limiter>::builder()
                    .max(10)
                    .initial(0)
                    .refill(5)
                    .interval(ms(100))
                    .build();
                let _ = limiter.acquire(7).await;
                assert_eq!(start.elapsed(), ms(200));
                assert!(is_taken(limiter.try_acquire(3)));
                assert!(!is_taken(limiter.try_acquire(1)));
                let _ = limiter.acquire(12).await;
                assert_eq!(start.elapsed(), ms(500));
            });
        };
    }

    #[test]
    fn both_crates_run_the_same_lines() {
        seven_and_three!(RateLimiter, |is_taken: bool| is_taken);
        seven_and_three!(ratelimit_meter_tokio::RateLimiter, |taken: Result<(), _>| taken
            .map_err(|_: ratelimit_meter_tokio::AcquireError| ())
            .is_ok());
    }

    #[test]
    fn initial_is_reduced_to_the_maximum() {
        in_paused_time(async {
            assert_eq!(RateLimiter::builder().max(3).initial(5).build().balance(), 3);
            assert!(
                ratelimit_meter_tokio::RateLimiter::builder()
                    .max(3u32)
                    .initial(5u32)
                    .try_build()
                    .is_err()
            );
        });
    }

    #[test]
    fn pauses_are_counted_in_whole_milliseconds() {
        in_paused_time(async {
            let interval = Duration::from_micros(1_999);
            let limiter = RateLimiter::builder().max(10_000).refill(1).interval(interval).build();
            advance(ms(2_000)).await;
            assert!(limiter.try_acquire(1_990), "1000 would be exact");
            let limiter = ratelimit_meter_tokio::RateLimiter::builder();
            let limiter = { limiter }.max(10_000u32).refill(1u32).interval(interval).build();
            advance(ms(2_000)).await;
            assert!(limiter.try_acquire(1_001u32).is_err());
        });
    }

    #[test]
    fn zero_refill_panics_when_set() {
        let refill = catch_unwind(|| {
            RateLimiter::builder().refill(0);
        });
        let interval = catch_unwind(|| {
            RateLimiter::builder().interval(Duration::ZERO);
        });
        assert!(refill.is_err() && interval.is_err());
        let mut ours = ratelimit_meter_tokio::RateLimiter::builder();
        assert!(ours.refill(0u32).try_build().is_err());
    }

    #[test]
    fn balance_is_that_of_the_last_refill() {
        in_paused_time(async {
            let limiter = RateLimiter::builder().max(10).build();
            advance(ms(500)).await;
            assert_eq!(limiter.balance(), 0);
            let limiter = { ratelimit_meter_tokio::RateLimiter::builder() }.max(10u32).build();
            advance(ms(500)).await;
            assert_eq!(limiter.balance(), 5);
        });
    }

    #[test]
    fn fair_limiter_denies_while_callers_wait() {
        in_paused_time(async {
            let limiter = RateLimiter::builder().max(10).initial(2).build();
            let mut waits = pin!(limiter.acquire(5));
            assert!(
                waits
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            assert!(!limiter.try_acquire(1));
        });
    }

    #[test]
    fn forgotten_acquire_blocks_the_limiter() {
        in_paused_time(async {
            let limiter = RateLimiter::builder().max(10).build();
            let mut forgotten = Box::pin(limiter.acquire(1));
            assert!(
                forgotten
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            assert!(forgotten.is_core());
            std::mem::forget(forgotten);
            assert!(timeout(Duration::from_secs(3_600), limiter.acquire(1)).await.is_err());
        });
    }
}

mod quota {
    use std::sync::Arc;
    use std::time::Duration;

    /// The same lines for both versions, as on the page.
    macro_rules! tests {
        ($module:ident, $version:ident, $left_of_raised:literal) => {
            mod $module {
                use super::*;
                use ::$version::{Quota, QuotaPolicy, QuotaPool, RefillRate};

                #[test]
                fn pool_is_made_and_consumed() {
                    let policy = QuotaPolicy::new()
                        .set_capacity(10.0)
                        .set_refill_rate(RefillRate::per_sec(3))
                        .set_refill_interval(Duration::from_secs(1));
                    let pool = Arc::new(QuotaPool::with_capacity(policy, 10, 100_000));
                    pool.insert_keys(["alice", "bob"]);
                    let left = match pool.consume("alice", 1) {
                        Ok(current) => current.available(),
                        Err(too_low) => too_low.current().available(),
                    };
                    assert_eq!(left, 9.0);
                    assert!(pool.contains_key("bob") && pool.len() == 2 && !pool.is_empty());
                    assert!(pool.consume_owned("carol".to_owned(), 1).is_ok());
                }

                #[test]
                fn counter_and_policy_need_no_clock() {
                    let quota = Quota::with_initial_tokens(10);
                    assert_eq!((0..100).filter(|_| quota.consume(1).is_ok()).count(), 10);
                    QuotaPolicy::new()
                        .set_capacity(10.0)
                        .set_refill_rate(RefillRate::per_sec(3))
                        .tick(1_000_000_000, &quota);
                    assert!(quota.consume(3).is_ok() && quota.consume(1).is_err());
                }

                #[test]
                fn initial_tokens_above_the_capacity() {
                    let policy = QuotaPolicy::new()
                        .set_capacity(10.0)
                        .set_refill_rate(RefillRate::per_week(1));
                    let pool = QuotaPool::<u64>::with_key_type(policy, 50);
                    let consumed = (0..100).take_while(|_| pool.consume(&7, 1).is_ok()).count();
                    assert_eq!(consumed, $left_of_raised);
                }
            }
        };
    }

    tests!(version_02, quota_02, 10);
    tests!(version_03, quota_03, 50);

    #[test]
    fn token_takes_a_nanosecond_at_least() {
        use ::quota_03::{QuotaPolicy, QuotaPool, RefillRate};
        // A thousand tokens a nanosecond.
        let policy = || {
            QuotaPolicy::new()
                .set_capacity(1e18)
                .set_refill_rate(RefillRate::per_sec(1e12))
        };
        // The first pool calibrates the clock.
        drop(QuotaPool::<u64>::with_key_type(policy(), 0));
        let start = std::time::Instant::now();
        let pool = QuotaPool::<u64>::with_key_type(policy(), 0);
        pool.insert_key(&7);
        let left = pool.consume(&7, 0).expect("zero cells").available();
        let elapsed_ns = start.elapsed().as_secs_f64() * 1e9;
        assert!(left <= 2.0 * elapsed_ns, "{left} tokens in {elapsed_ns} ns");
        assert!(pool.check(&7, 0) && pool.remove(&7) && !pool.contains_key(&7));
    }
}
