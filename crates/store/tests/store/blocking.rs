//! The blocking twin.

use ratelimit_meter_store::{Ask, BlockingStore, Reply, Verb};
use ratelimit_meter_store::{LeaseSettings, MemoryStore, Micros, OnFailure, SharedMeterBuilder, StoreError, Via};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Clone)]
struct CountedStore {
    memory: MemoryStore,
    calls: Arc<AtomicUsize>,
    longest_key: Arc<AtomicUsize>,
    fail: bool,
}

impl CountedStore {
    /// A store whose clock stands still.
    fn new(fail: bool) -> Self {
        let time = AtomicU64::new(1_700_000_000_000_000);
        Self {
            memory: MemoryStore::with_clock(move || Micros::new(time.load(Ordering::Relaxed))),
            calls: Arc::default(),
            longest_key: Arc::default(),
            fail,
        }
    }
}

impl BlockingStore for CountedStore {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        for ask in asks {
            self.longest_key.fetch_max(ask.key.len(), Ordering::Relaxed);
        }
        if self.fail {
            Err(StoreError::TimedOut)
        } else {
            BlockingStore::decide(&self.memory, verb, at, asks)
        }
    }
}

#[test]
fn blocking_verbs_equal_the_async_ones() {
    let store = CountedStore::new(false);
    let meter = SharedMeterBuilder::new("api", "10/d burst 5".parse().unwrap())
        .build_blocking(store.clone())
        .unwrap();
    assert_eq!(meter.check_n("a", 3).unwrap().status().unwrap().remaining(), 2);
    assert!(!meter.peek_n("a", 3).unwrap().is_admitted());
    assert!(meter.peek("a").unwrap().is_admitted());
    assert_eq!(meter.check_up_to("a", 9).unwrap().cells(), 2);
    let calls = store.calls.load(Ordering::Relaxed);
    assert_eq!(meter.check("a").unwrap().via(), &Via::RememberedDenial);
    assert_eq!(store.calls.load(Ordering::Relaxed), calls);
    meter.refund("a", 1).unwrap();
    assert!(meter.check("a").unwrap().is_admitted());
    assert_eq!(meter.charge("a", 2).unwrap(), 2);
    meter.reset("a").unwrap();
    assert!(meter.check_n("a", 5).unwrap().is_admitted());
    assert!(meter.check_n("a", 6).unwrap().status().is_none());
}

#[test]
fn threads_share_an_exact_total() {
    let meter = SharedMeterBuilder::new("api", "500/d".parse().unwrap())
        .build_blocking(CountedStore::new(false))
        .unwrap();
    let admitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    admitted.fetch_add(usize::from(meter.check("a").unwrap().is_admitted()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
}

#[test]
fn leases_total_no_more_than_the_burst() {
    let lease = LeaseSettings::kept_for(Duration::from_secs(3600));
    let meter = SharedMeterBuilder::new("api", "10000/d burst 500".parse().unwrap())
        .lease(lease)
        .build_blocking(CountedStore::new(false))
        .unwrap();
    let admitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..400 {
                    admitted.fetch_add(usize::from(meter.check("a").unwrap().is_admitted()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
}

#[test]
fn unused_cells_of_a_block_are_given_back() {
    let meter = SharedMeterBuilder::new("api", "10000000/d".parse().unwrap())
        .lease(LeaseSettings::kept_for(Duration::from_secs(86_400)))
        .build_blocking(CountedStore::new(false))
        .unwrap();
    let mut used = 0;
    // The times of the calls decide when a block is drawn.
    while meter.stats().leased_cells == 0 {
        assert!(meter.check("a").unwrap().is_admitted());
        used += 1;
    }
    for blocks in [1, 0] {
        assert_eq!(meter.give_back().unwrap(), blocks);
        assert_eq!(meter.stats().leased_cells, 0);
        let remaining = meter.peek("a").unwrap().status().unwrap().remaining();
        assert_eq!(remaining, 10_000_000 - used);
    }
}

#[test]
fn failures_are_answered_and_open_the_breaker() {
    let store = CountedStore::new(true);
    let meter = SharedMeterBuilder::new("api", "10/s".parse().unwrap())
        .on_failure(OnFailure::Deny)
        .build_blocking(store.clone())
        .unwrap();
    for _ in 0..20 {
        let verdict = meter.check("a").unwrap();
        assert!(!verdict.is_admitted() && matches!(verdict.via(), Via::Failure(_)));
    }
    assert!(store.calls.load(Ordering::Relaxed) < 20);
    assert!(meter.charge("a", 1).is_err());
}

#[test]
fn debug_of_a_meter_shows_name_and_quotas() {
    let builder = SharedMeterBuilder::new("api", "10/d burst 5".parse().unwrap());
    let blocking = builder.build_blocking(CountedStore::new(false)).unwrap();
    let line = format!("{blocking:?}");
    assert_eq!(line, r#"BlockingMeter { name: "api", quotas: ["10/d burst 5"], .. }"#);
}

#[test]
fn long_subjects_have_limits_of_their_own() {
    let store = CountedStore::new(false);
    let meter = SharedMeterBuilder::new("api", "1/h".parse().unwrap())
        .build_blocking(store.clone())
        .unwrap();
    let long = "k".repeat(100_000);
    for subject in [format!("{long}a"), format!("{long}b")] {
        assert!(meter.check(&subject).unwrap().is_admitted());
        assert!(!meter.peek_n(&subject, 1).unwrap().is_admitted());
        meter.reset(&subject).unwrap();
        assert_eq!(meter.check_up_to(&subject, 1).unwrap().cells(), 1);
        assert_eq!(meter.charge(&subject, 1).unwrap(), 1);
        assert!(
            !meter
                .check_n_at(&subject, 1, Micros::new(0).unwrap())
                .unwrap()
                .is_admitted()
        );
    }
    assert!(store.longest_key.load(Ordering::Relaxed) <= 600);
}
