//! No decision allocates: neither an admission nor a denial, of one cell or many (`ratelimit_meter` 1 leaked an allocation per accepted cell).
#![expect(unsafe_code, reason = "a global allocator that counts cannot be written without")]

use crate::support::limit::Limit;
use crate::support::subject::{gcra, leaky_bucket};
use ratelimit_meter::{check_all, check_all_at};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system's allocator. The count is a `Cell` of the thread, which needs neither allocation nor
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` above, which is the system's, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts the allocations that `work` makes in this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn a_decision_allocates_nothing() {
    let _alone = crate::alone();
    let limit = Limit::per_second(100);
    let (gcra, bucket) = (gcra(&limit), leaky_bucket(&limit));
    let at = Instant::now();
    let made = allocations(|| {
        for n in (0..5).cycle().take(1000) {
            let _ = black_box((gcra.check_at(at), gcra.check_n_at(n, at), gcra.check(), gcra.check_n(n)));
            let _ = black_box((
                bucket.check_at(at),
                bucket.check_n_at(n, at),
                bucket.check(),
                bucket.check_n(n),
            ));
            let _ = black_box((gcra.check_n(u32::MAX), bucket.check_n(u32::MAX), bucket.level_at(at)));
            let _ = black_box(gcra.check_at(at).map_err(|denied| denied.wait_time_from(at)));
        }
    });
    assert_eq!(made, 0);
}

/// A keyed meter has all its memory from the beginning: new keys, reuse and a full neighbourhood allocate nothing.
#[test]
#[cfg(feature = "keyed")]
fn a_keyed_decision_allocates_nothing() {
    let _alone = crate::alone();
    use crate::support::keyed::{BUCKET_SLOTS, POLICIES, buckets, builder};
    use ratelimit_meter::{KeyedMeter, clock::ManualClock};
    use std::time::Duration;

    let limit = Limit::per_second(100);
    for when_full in POLICIES {
        let keys: KeyedMeter<str, _> = buckets(builder(gcra(&limit), &ManualClock::new(), when_full), 1);
        let names: Vec<String> = (0..700).map(|key| format!("key {key}")).collect();
        let start = Instant::now();
        // The first of a thread that shares the limits has a place made for it.
        drop(keys.clone());
        let made = allocations(|| {
            for turn in 0..5_u32 {
                let at = start + Duration::from_millis(300) * turn;
                for name in &names {
                    let _ = black_box((
                        keys.check_at(name, at),
                        keys.check_n_at(name, 3, at),
                        keys.key(name).take_at(99, at),
                    ));
                    let _ = black_box((
                        keys.key(name).peek_at(at),
                        keys.key(name).check_up_to_at(7, at),
                        keys.key(name).charge_at(1, at),
                    ));
                    let _ = black_box((keys.key(name).status_at(at), keys.key(name).is_live_at(at)));
                    keys.key(name).refund_at(1, at);
                    keys.key(if turn % 2 == 0 { "nobody" } else { name }).reset();
                }
                let _ = black_box((keys.stats_at(at), keys.clone()));
            }
        });
        assert_eq!(made, 0);
        assert_eq!(keys.stats().taken, BUCKET_SLOTS);
    }
}

#[test]
#[cfg(feature = "dual")]
fn a_decision_of_two_limits_allocates_nothing() {
    let _alone = crate::alone();
    let pair = ratelimit_meter::Dual::new(gcra(&Limit::per_second(100)), leaky_bucket(&Limit::per_second(70)));
    let at = Instant::now();
    let made = allocations(|| {
        for n in (0..5).cycle().take(1000) {
            let _ = black_box((pair.check_at(at), pair.check_each_at(n, 4 - n, at), pair.check_n(n)));
            let _ = black_box((pair.check_n(u32::MAX), pair.take_each_at(n, n, at), pair.status_at(at)));
            let _ = black_box(pair.check_at(at).map_err(|denied| denied.wait_time_from(at)));
        }
    });
    assert_eq!(made, 0);
}

#[test]
fn a_decision_by_several_allocates_nothing() {
    let _alone = crate::alone();
    let limit = Limit::per_second(100);
    let (gcra, bucket) = (gcra(&limit), leaky_bucket(&limit));
    let at = Instant::now();
    let made = allocations(|| {
        for n in (0..5).cycle().take(1000) {
            let _ = black_box((
                check_all(&[(&gcra, 1), (&bucket, 1)]),
                check_all_at(&[(&bucket, 1), (&gcra, 1)], at),
            ));
            let _ = black_box(check_all_at(&[(&gcra, n), (&bucket, 2), (&gcra, 1)], at));
            let _ = black_box((gcra.snapshot(), bucket.restore(&bucket.snapshot())));
        }
    });
    assert_eq!(made, 0);
}

#[test]
fn clones_and_dropped_meters_leave_nothing_behind() {
    let _alone = crate::alone();
    let meter = gcra(&Limit::per_second(100));
    assert_eq!(allocations(|| drop(black_box(meter.clone()))), 0, "a clone is a handle");
    assert!(
        allocations(|| drop(black_box(gcra(&Limit::per_second(1))))) > 0,
        "the counter counts"
    );
}
