//! Time that goes back: decisions that are earlier than the latest reuse of a slot are made at the time of that reuse.

use crate::support::keyed::{BUCKET, BUCKET_SLOTS, builder, few_slots, hashes};
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::time::{SECOND, instant, since};
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::KeyedMeter;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{KeyedBuilder, Tier, WhenFull};
use ratelimit_meter::{GCRA, Meter, NegativeMultiDecision, Quota, take_all_at};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

const BURST: u32 = 20;
const REUSE: i128 = 3 * SECOND as i128;

/// A table all of whose slots were taken at the origin. At `REUSE` another key took the slot of an idle key, which is returned.
fn reused_once<A: Algorithm>(
    like: Meter<A>,
    clock: &ManualClock,
) -> (KeyedMeter<u64, Meter<A, ManualClock>>, Vec<ExactBucket>, u64) {
    let limit = limit();
    let keys: KeyedMeter<u64, Meter<A, ManualClock>> = few_slots(builder(like, clock, WhenFull::Deny));
    let mut exact: Vec<ExactBucket> = (0..=60).map(|_| ExactBucket::new(limit)).collect();
    let at = |ns| instant(clock.now(), ns);
    for (key, exact) in (0..60).zip(&mut exact) {
        let n = 1 + u32::try_from(key % 20).unwrap();
        assert!(keys.check_n_at(&key, n, at(0)).is_ok());
        exact.take(n, 0);
    }
    assert!(keys.check_at(&60, at(REUSE)).is_ok());
    exact[60].take(1, REUSE);
    assert_eq!(keys.stats().taken, BUCKET_SLOTS);
    // Seen from the origin it owes the cells that drain until the reuse.
    let until = Duration::from_nanos(u64::try_from(REUSE).unwrap());
    let lost: Vec<u64> = (0..60)
        .filter(|key| keys.key(key).status_at(at(0)).until_rest() == until)
        .collect();
    assert_eq!(lost.len(), 1);
    (keys, exact, lost[0])
}

/// Idle 2 s after a burst.
fn limit() -> Limit {
    Limit::new(10, SECOND).burst(BURST.into()).in_words_of(62)
}

fn verdict(origin: &ManualClock, told: Result<(), NegativeMultiDecision>) -> Verdict {
    match told {
        Ok(()) => Verdict::Conforms,
        Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => {
            Verdict::From(since(origin.now(), denied.earliest_possible()))
        }
        Err(NegativeMultiDecision::InsufficientCapacity(_)) => Verdict::Never,
    }
}

/// At its own time or, if that is denied and earlier, at the time of the reuse.
fn decide(exact: &mut ExactBucket, n: u32, at: i128) -> Verdict {
    match exact.decide(n, at) {
        Verdict::From(_) if at < REUSE => exact.decide(n, REUSE),
        own => own,
    }
}

fn play<A: Algorithm>(like: Meter<A>, calls: &[(u64, u32, i128)]) -> Result<(), TestCaseError> {
    let clock = ManualClock::new();
    let (keys, mut exact, lost) = reused_once(like.clone(), &clock);
    for &(key, n, at) in calls.iter().filter(|call| call.0 != lost) {
        let exact = &mut exact[usize::try_from(key).unwrap()];
        let instant = instant(clock.now(), at);
        let peeked = verdict(&clock, keys.key(&key).peek_n_at(n, instant));
        let status = keys.key(&key).status_at(instant);
        prop_assert_eq!(status.remaining() >= n, peeked == Verdict::Conforms);
        prop_assert_eq!(status.until_next().is_zero(), status.remaining() > 0);
        let one = keys.key(&key).peek_at(instant).is_ok();
        prop_assert_eq!(one, keys.key(&key).peek_n_at(1, instant).is_ok());
        let right = decide(exact, n, at);
        prop_assert_eq!(peeked, right);
        prop_assert_eq!(verdict(&clock, keys.check_n_at(&key, n, instant)), right);
    }
    // The key without a slot is idle at the reuse, and takes another key's slot at that time.
    let (keys, _, lost) = reused_once(like, &clock);
    let mut exact = ExactBucket::filled(limit(), 0, REUSE);
    for &(_, n, at) in calls {
        let at = at.min(REUSE);
        prop_assert_eq!(
            verdict(&clock, keys.check_n_at(&lost, n, instant(clock.now(), at))),
            decide(&mut exact, n, at)
        );
    }
    Ok(())
}

proptest! {
    // Each fills four tables first.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn decisions_before_a_reuse_are_made_at_it(
        calls in prop::collection::vec((0_u64..61, 1..=BURST, -REUSE..3 * REUSE), 1..300),
    ) {
        play(gcra(&limit()), &calls)?;
        play(leaky_bucket(&limit()), &calls)?;
    }
}

/// A table of one bucket with three tiers, and a handle for each tier.
fn of_three_tiers(clock: &ManualClock) -> [KeyedMeter<u64, GCRA<ManualClock>>; 3] {
    let quota = |text: &str| text.parse().unwrap();
    let (builder, slow) = builder(gcra(&limit()), clock, WhenFull::Deny)
        .tier(quota("3/s burst 5"))
        .unwrap();
    let (builder, ticks) = builder.tier(quota("5/s burst 20 every 700ms")).unwrap();
    let keys = few_slots(builder);
    [Tier::FIRST, slow, ticks].map(|tier| keys.in_tier(tier).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// More keys than slots, in any tier and in any order of time, so that watermarks are raised.
    #[test]
    fn key_wait_of_no_time_is_a_check(
        calls in prop::collection::vec((0_u64..90, 0_usize..3, 1..=BURST, 0..3 * REUSE), 1..300),
    ) {
        let clock = ManualClock::new();
        let [checked, waited] = [(); 2].map(|()| of_three_tiers(&clock));
        for (key, tier, n, at) in calls {
            let at = instant(clock.now(), at);
            let decided = checked[tier].check_n_at(&key, n, at);
            prop_assert_eq!(waited[tier].key(&key).check_n_within(n, at, at), decided);
        }
        prop_assert_eq!(waited[0].stats(), checked[0].stats());
    }
}

/// By the default clock, which decides nearly all checks without the exact time once it has measured the processor's counter.
#[test]
fn check_that_conforms_at_the_watermark_is_admitted() {
    const KEYS: u64 = 200;
    let quota: Quota = "1/h burst 4".parse().unwrap();
    let (builder, tier) = KeyedBuilder::new(GCRA::from_quota(quota).unwrap())
        .hashes(hashes(0))
        .tier(quota)
        .unwrap();
    let keys: KeyedMeter<u64> = builder.with_memory(BUCKET).unwrap();
    (1..=KEYS).for_each(|key| assert_eq!(keys.check_n(&key, 4), Ok(())));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(10) {
        assert!(keys.check(&1).is_err());
    }
    // Another key changes its tier an hour ahead.
    let ahead = Instant::now() + Duration::from_secs(3600);
    assert_eq!(keys.check(&0), Ok(()));
    assert_eq!(keys.in_tier(tier).unwrap().check_at(&0, ahead), Ok(()));
    (1..=KEYS).for_each(|key| assert_eq!(keys.check(&key), Ok(())));
    (1..=KEYS).for_each(|key| assert!(keys.check(&key).unwrap_err().earliest_possible() > ahead));
}

/// A new key begins at the watermark, which may be a little ahead of the clock of the thread that asks.
#[test]
fn take_reports_the_cells_left_at_the_watermark() {
    let clock = ManualClock::new();
    let (keys, _, _) = reused_once(gcra(&limit()), &clock);
    for early in [1, 2000, REUSE] {
        let (at, key) = (
            instant(clock.now(), REUSE - early),
            1000 + u64::try_from(early).unwrap(),
        );
        let key = keys.key(&key);
        let taken = key.take_at(3, at);
        assert!(taken.decision().is_ok());
        let mut statuses = [None];
        assert_eq!(take_all_at(&[(&key, 2)], &mut statuses, at), Ok(()));
        for (status, left) in [(taken.status(), 3), (statuses[0].unwrap(), 5), (key.status_at(at), 5)] {
            assert_eq!(status.remaining(), BURST - left, "{early} ns early");
            assert!(status.until_next().is_zero());
        }
        let denied = take_all_at(&[(&key, BURST)], &mut statuses, at).unwrap_err();
        assert_eq!((denied.meter(), statuses[0].unwrap().remaining()), (0, BURST - 5));
    }
}

/// A waiter's thread may have read its clock before the thread that reused the slot.
#[test]
fn wait_before_the_watermark_is_decided_there() {
    let clock = ManualClock::new();
    let (keys, _, _) = reused_once(gcra(&limit()), &clock);
    let [from, by, reuse] = [2000, 1000, 0].map(|early| instant(clock.now(), REUSE - early));
    let key = keys.key(&1000);
    assert_eq!(key.peek_n_at(BURST, by), Ok(()));
    assert_eq!(key.check_n_within(BURST, from, by), Ok(()));
    let next = key.peek_n_at(1, by);
    assert_eq!(verdict(&clock, next), Verdict::From(REUSE + i128::from(SECOND) / 10));
    let Err(NegativeMultiDecision::BatchNonConforming(_, denied)) = key.check_n_within(1, from, by) else {
        panic!("the burst was taken at the watermark");
    };
    assert_eq!(denied.earliest_possible() - reuse, Duration::from_millis(100));
}

/// A wrong far future of one key, as docs/limitations.md describes it: the other keys of its bucket gain a burst, and are denied from then on.
#[test]
fn wrong_far_future_blocks_a_whole_bucket() {
    let (clock, limit) = (ManualClock::new(), Limit::per_second(10));
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(gcra(&limit), &clock, WhenFull::Deny));
    assert!((0..60).all(|key| keys.check(&key).is_ok()));
    let far = clock.now() + Duration::from_secs(30 * 365 * 86_400);
    assert_eq!(keys.check_at(&99, far), Ok(()));
    clock.advance(Duration::from_secs(60)).unwrap();
    let admitted = |key| (0..100).filter(|_| keys.check(&key).is_ok()).count();
    let [present, new] = [
        (0..60).find(|key| keys.key(key).status().remaining() == 10).unwrap(),
        100,
    ];
    assert_eq!([admitted(present), admitted(new)], [20, 10]);
    clock.advance(Duration::from_secs(3600)).unwrap();
    for key in [present, new] {
        assert!(keys.check(&key).unwrap_err().earliest_possible() > far);
        keys.key(&key).reset();
        assert_eq!(keys.check_n(&key, 10), Ok(()), "until it loses its slot");
    }
}

/// A key that is evicted whenever it is idle by one clock, and asks by the other clock, which is a second behind.
#[test]
fn evicted_key_gains_no_second_cell() {
    let (clock, limit) = (ManualClock::new(), limit());
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(gcra(&limit), &clock, WhenFull::Deny));
    let second = i128::from(SECOND);
    let (mut record, mut new) = (Admissions::new(limit), 100);
    for turn in 0..60 {
        let late = turn * second / 4;
        let at = |ns| instant(clock.now(), ns);
        // All slots but one, by keys that rest within a tenth of a second.
        while keys.stats_at(at(late)).live < BUCKET_SLOTS - 1 {
            assert!(keys.check_at(&new, at(late)).is_ok());
            new += 1;
        }
        while keys.check_at(&7, at(late - second)).is_ok() {
            record.note(1, late, Verdict::Conforms);
        }
    }
    // The time of its decision is less than a second before, or at, the noted time.
    assert!(record.worst_window() <= limit.drained(second) + limit.resolution());
    assert!(record.cells() >= 100, "it was served: {}", record.cells());
    let stats = keys.stats_at(clock.now());
    assert_eq!([stats.forgiven, stats.admitted], [0; 2]);
}

/// Two threads whose clocks are a second apart, many keys and few slots. The thread with the clock ahead is never earlier than a reuse: law 1 to the
/// unit. The late thread is decided at a time between its own and the other clock's: law 1 within a second. Law 7: no panic, nothing stuck. Once the
/// thread ahead has gone and its keys are idle, the late thread is served.
#[test]
fn skewed_thread_clocks_hold_law_1_per_key() {
    const KEYS: u64 = 90;
    const TOGETHER: u32 = 400;
    let (clock, limit) = (ManualClock::new(), Limit::new(4, SECOND).burst(4).in_words_of(62));
    let second = i128::from(SECOND);
    let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(gcra(&limit), &clock, WhenFull::Deny));
    let barrier = Barrier::new(2);
    let both: Vec<_> = (0..KEYS).map(|_| Mutex::new(Admissions::new(limit))).collect();
    let run = |behind: i128| {
        let mut own: Vec<_> = (0..KEYS).map(|_| Admissions::new(limit)).collect();
        for turn in 0..if behind == 0 { TOGETHER } else { TOGETHER + 80 } {
            if turn < TOGETHER {
                barrier.wait();
            }
            let late = i128::from(turn) * second / 8;
            for step in 0..60 {
                let key = (u64::from(turn) * 37 + step * (7 + 4 * u64::from(behind == 0))) % KEYS;
                let told = keys.check_at(&key, instant(clock.now(), late - behind)).is_ok();
                if told {
                    let index = usize::try_from(key).unwrap();
                    own[index].note(1, late, Verdict::Conforms);
                    both[index].lock().unwrap().note(1, late, Verdict::Conforms);
                }
            }
        }
        own
    };
    let (ahead, behind) = std::thread::scope(|scope| {
        let ahead = scope.spawn(|| run(0));
        let behind = scope.spawn(|| run(second));
        (ahead.join().unwrap(), behind.join().unwrap())
    });
    ahead.iter().for_each(|record| record.assert_law_1("ahead"));
    for record in &both {
        let worst = record.lock().unwrap().worst_window();
        assert!(worst <= limit.drained(second) + limit.resolution(), "{worst}");
    }
    let cells = |records: &[Admissions]| records.iter().map(Admissions::cells).sum::<u64>();
    let served = [cells(&ahead), cells(&behind)];
    assert!(served.iter().all(|cells| *cells > 100), "both were served: {served:?}");
}
