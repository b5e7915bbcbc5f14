//! Keys that are inserted, charged and evicted at the same time. A bucket has two slots here, each a line of its own. Every interleaving with
//! up to three preemptions, of three threads up to two. So each claimant pauses after each of its steps while other threads go on, and help. With
//! `KEYED_PREEMPTIONS=2` both numbers are one less, as in `.ci/run`. The model of three threads that insert one key ran to its end with two
//! preemptions on 2026-11-28 (128 s).

use super::burst_of;
use loom::thread;
use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder, Tier, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

type Table = KeyedMeter<u32, GCRA>;

/// Runs a model, and checks that it has more than one interleaving.
///
/// The thread that only reads has to be the spawned one. Loom remembers only the last access of each atomic. So it overlooks a conflict if the
/// writing thread has loaded the atomic since the other thread did.
fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    // One less of each takes a tenth of the time.
    let most = std::env::var("KEYED_PREEMPTIONS").map_or(3, |most| most.parse().expect("a number of preemptions"));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some((preemptions + most).saturating_sub(3));
    let explored = Arc::new(AtomicUsize::new(0));
    let count = explored.clone();
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        run();
    });
    let explored = explored.load(Ordering::Relaxed);
    assert!(
        preemptions == 0 || explored > 1,
        "only one interleaving was explored: see above"
    );
}

const SEED: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// A table of two slots, `burst` cells an hour for each key.
fn table(burst: u32, when_full: WhenFull) -> Table {
    let builder = KeyedBuilder::new(GCRA::from_quota(burst_of(burst)).unwrap()).when_full(when_full);
    let hashes = KeyHashes::with_seed(SEED);
    builder.hashes(hashes).with_capacity(1).unwrap()
}

/// Does some work on a handle of its own, in a thread.
macro_rules! spawn {
    ($keys:ident, $work:expr) => {{
        let $keys = $keys.clone();
        thread::spawn(move || $work)
    }};
}

#[path = "reach.rs"]
mod reach;
#[path = "split.rs"]
mod split;

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The remaining cells of a key, with or without a slot.
fn remaining(keys: &Table, key: u32, at: Instant) -> u32 {
    let status = keys.key(&key).status_at(at);
    if keys.key(&key).is_live_at(at) {
        status.remaining()
    } else {
        status.quota().unwrap().burst().get()
    }
}

/// Two keys whose search begins at the same slot, and one that begins at the other.
fn neighbours() -> [u32; 3] {
    let [one, neighbour, _, other] = three_neighbours();
    [one, neighbour, other]
}

/// Three keys whose search begins at the same slot, and one that begins at the other. A claimant that finds an idle key at home takes its slot rather
/// than a free one further on.
fn three_neighbours() -> [u32; 4] {
    static FOUND: OnceLock<[u32; 4]> = OnceLock::new();
    if FOUND.get().is_none() {
        model(0, || {
            let now = Instant::now();
            let is_neighbour = |key: &u32| {
                let keys = table(1, WhenFull::Deny);
                assert!(keys.check_at(&0, now).is_ok());
                assert!(keys.check_at(key, now + minutes(61)).is_ok());
                keys.stats_at(now).taken == 1
            };
            let second = (1..).find(is_neighbour).unwrap();
            let third = (second + 1..).find(is_neighbour).unwrap();
            let other = (1..).find(|key| !is_neighbour(key)).unwrap();
            FOUND.get_or_init(|| [0, second, third, other]);
        });
    }
    *FOUND.get().unwrap()
}

/// Runs a model for keys with one home, and for keys with two.
fn for_both_homes(preemptions: usize, run: impl Fn(u32, u32) + Sync + Send + Copy + 'static) {
    let [one, neighbour, other] = neighbours();
    for second in [neighbour, other] {
        model(preemptions, move || run(one, second));
    }
}

/// Breaks if a claim becomes a resident without the intent, or after its turn.
#[test]
fn two_threads_on_a_new_key_one_wins() {
    model(3, || {
        let (keys, now) = (table(1, WhenFull::Deny), Instant::now());
        let other = spawn!(keys, keys.check_at(&7, now).is_ok());
        let told = [keys.check_at(&7, now).is_ok(), other.join().unwrap()];
        assert_eq!(told.iter().filter(|ok| **ok).count(), 1);
        assert_eq!((keys.stats_at(now).taken, keys.stats_at(now).live), (1, 1));
        assert!(keys.check_at(&7, now).is_err());
    });
}

/// Breaks like the test above, and if a helper finishes an intent that has ended.
#[test]
fn three_threads_on_a_new_key_two_win() {
    model(2, || {
        let (keys, now) = (table(2, WhenFull::Deny), Instant::now());
        let others = [(); 2].map(|()| spawn!(keys, keys.check_at(&7, now).is_ok()));
        let mut told = vec![keys.check_at(&7, now).is_ok()];
        told.extend(others.into_iter().map(|other| other.join().unwrap()));
        assert_eq!(told.iter().filter(|ok| **ok).count(), 2);
        let stats = keys.stats_at(now);
        assert_eq!((stats.taken, stats.live, stats.denied), (1, 1, 0));
    });
}

/// Breaks if two claims of one turn are both carried out, or one is lost with its charges.
#[test]
fn two_simultaneous_new_keys_each_get_a_slot() {
    for_both_homes(3, |one, second| {
        let (keys, now) = (table(1, WhenFull::Deny), Instant::now());
        let other = spawn!(keys, keys.check_at(&second, now).is_ok());
        assert!(keys.check_at(&one, now).is_ok());
        assert!(other.join().unwrap());
        assert!(keys.check_at(&one, now).is_err() && keys.check_at(&second, now).is_err());
        let stats = keys.stats_at(now);
        assert_eq!((stats.taken, stats.live, stats.denied), (2, 2, 0));
    });
}

/// Breaks if a running claim of the thread's own key counts as an obstacle.
#[test]
fn a_key_being_inserted_is_not_denied() {
    for when_full in [WhenFull::Deny, WhenFull::Forgive, WhenFull::Admit] {
        model(3, move || {
            let (keys, now) = (table(2, when_full), Instant::now());
            assert!(keys.check_at(&1, now).is_ok());
            let other = spawn!(keys, keys.check_at(&7, now).is_ok());
            assert!(keys.check_at(&7, now).is_ok());
            assert!(other.join().unwrap());
            assert_eq!([1, 7].map(|key| remaining(&keys, key, now)), [1, 0]);
            let stats = keys.stats_at(now);
            assert_eq!([stats.forgiven, stats.denied, stats.admitted], [0; 3]);
        });
    }
}

/// Two new keys, and one slot that is free or (`reused`) has an idle key; returns their outcome for each policy.
fn the_last_slot(when_full: WhenFull, reused: bool) {
    let [one, neighbour, other] = neighbours();
    for [first, second] in [[one, neighbour], [one, other]] {
        model(3, move || {
            let (keys, then) = (table(1, when_full), Instant::now());
            let now = then + minutes(61);
            if reused {
                assert!(keys.check_at(&98, then).is_ok());
            }
            assert_eq!(keys.key(&99).charge_at(100, then), 0);
            let thread = spawn!(keys, keys.check_at(&second, now).is_ok());
            let told = [keys.check_at(&first, now).is_ok(), thread.join().unwrap()];
            let in_a_slot = [first, second].map(|key| keys.key(&key).is_live_at(now));
            let stats = keys.stats_at(now);
            let counts = [stats.forgiven, stats.denied, stats.admitted];
            assert_eq!((stats.taken, stats.live), (2, 2));
            match when_full {
                WhenFull::Forgive => {
                    // One of the two keys with debts or, with a smaller debt, a new key.
                    assert_eq!((told, counts), ([true; 2], [1, 0, 0]));
                    assert_ne!(in_a_slot, [false; 2]);
                }
                WhenFull::Deny => {
                    assert_eq!((told, counts), (in_a_slot, [0, 1, 0]));
                    assert_ne!(told[0], told[1]);
                }
                WhenFull::Admit => {
                    assert_eq!((told, counts), ([true; 2], [0, 0, 1]));
                    assert_ne!(in_a_slot[0], in_a_slot[1]);
                }
            }
            // The evicted key was the first to become idle, not the key with a debt.
            assert!(keys.key(&99).is_live_at(now));
        });
    }
}

/// Breaks if two keys get one slot, a slot is lost, or an unrecorded step is missing in the statistics; so do the next two.
#[test]
fn two_new_keys_one_slot_deny_one() {
    the_last_slot(WhenFull::Deny, false);
    the_last_slot(WhenFull::Deny, true);
}

#[test]
fn two_new_keys_one_slot_evict_one() {
    the_last_slot(WhenFull::Forgive, false);
    the_last_slot(WhenFull::Forgive, true);
}

#[test]
fn two_new_keys_one_slot_leave_one_uncounted() {
    the_last_slot(WhenFull::Admit, false);
    the_last_slot(WhenFull::Admit, true);
}

/// Breaks if the watermark is not raised before the slot is taken, or not seen by a thread that finds the slot taken. The key would have a second
/// cell in one hour.
#[test]
fn a_reused_slot_never_doubles_the_last_cell() {
    let [key, neighbour, _] = neighbours();
    model(3, move || {
        let (keys, early) = (table(1, WhenFull::Deny), Instant::now());
        let late = early + minutes(61);
        assert!(keys.check_at(&key, early).is_ok());
        let charge = spawn!(keys, keys.check_at(&key, early).is_ok());
        assert!(keys.check_at(&neighbour, late).is_ok());
        let again = charge.join().unwrap();
        // Only at the time by which it had drained.
        assert_eq!(remaining(&keys, key, late), u32::from(!again));
        assert!(keys.check_at(&key, early).is_err() || !again);
    });
}

/// The times of the threads lie half an hour apart: a key that is idle for one thread is not for the other. Breaks if a slot is taken from a key that
/// was charged since it was seen idle, or a charge reaches the slot's new key.
#[test]
fn a_charge_during_eviction_is_kept_in_place() {
    for_both_homes(3, |resident, taker| {
        let (keys, early) = (table(2, WhenFull::Deny), Instant::now());
        let late = early + minutes(31);
        assert!(keys.check_at(&resident, early).is_ok());
        assert_eq!(keys.key(&99).charge_at(100, early), 0);
        let thread = spawn!(keys, keys.check_at(&taker, late).is_ok());
        let charged = keys.check_at(&resident, early).is_ok();
        let taken = thread.join().unwrap();
        // The first key left no room to the second.
        assert_ne!(charged, taken);
        assert_eq!(keys.stats_at(late).denied, 1);
        assert_eq!(remaining(&keys, resident, late), 2 - u32::from(charged));
        assert_eq!(remaining(&keys, taker, late), 2 - u32::from(taken));
    });
}

/// As the one above, with a thread for each of two keys that may lose their slots.
#[test]
fn charges_survive_one_key_losing_its_slot() {
    let [one, neighbour, other] = neighbours();
    model(2, move || {
        let (keys, early) = (table(2, WhenFull::Deny), Instant::now());
        let late = early + minutes(31);
        assert!(keys.check_at(&one, early).is_ok());
        assert!(keys.check_at(&other, early).is_ok());
        let chargers = [one, other].map(|key| spawn!(keys, keys.check_at(&key, early).is_ok()));
        let taken = keys.check_at(&neighbour, late).is_ok();
        let [first, second] = chargers.map(|charger| charger.join().unwrap());
        let told = [first, second, taken];
        assert_eq!(told.iter().filter(|ok| **ok).count(), 2, "{told:?}");
        for (key, charged) in [one, other, neighbour].into_iter().zip(told) {
            assert_eq!(remaining(&keys, key, late), 2 - u32::from(charged));
        }
    });
}

/// Breaks if an exchange compares half of a slot. A thread paused since its load would not notice that another key had the slot in between.
#[test]
fn a_stalled_thread_charges_its_own_decision() {
    let [key, neighbour, _] = neighbours();
    model(3, move || {
        let (keys, then) = (table(1, WhenFull::Deny), Instant::now());
        let [late, later] = [61, 122].map(|after| then + minutes(after));
        assert!(keys.check_at(&key, then).is_ok());
        let slow = spawn!(keys, keys.check_at(&key, later).is_ok());
        let taken = keys.check_at(&neighbour, late).is_ok();
        let back = keys.check_at(&key, later).is_ok();
        assert!(taken, "there is a slot for each");
        assert_ne!(slow.join().unwrap(), back);
        assert_eq!(remaining(&keys, key, later), 0);
    });
}

/// Breaks if a reset reaches the key that took the slot, or if a reset of an absent key takes a slot.
#[test]
fn a_reset_makes_room_and_takes_none() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = (table(2, WhenFull::Deny), Instant::now());
        assert!(keys.check_at(&resident, now).is_ok());
        assert_eq!(keys.key(&99).charge_at(100, now), 0);
        let thread = spawn!(keys, keys.check_at(&taker, now).is_ok());
        keys.key(&resident).reset();
        let taken = thread.join().unwrap();
        assert_eq!(remaining(&keys, resident, now), 2);
        assert_eq!(remaining(&keys, taker, now), 2 - u32::from(taken));
        let stats = keys.stats_at(now);
        assert_eq!((stats.live, stats.denied), (1 + usize::from(taken), u64::from(!taken)));
    });
}

/// Breaks if a refund is done to a key that it was not decided for, or more than once.
#[test]
fn refund_beside_a_claim_returns_the_debt() {
    model(3, || {
        let (keys, now) = (table(2, WhenFull::Deny), Instant::now());
        let thread = spawn!(keys, keys.key(&7).refund_at(1, now));
        assert_eq!(keys.key(&7).charge_at(2, now), 0);
        thread.join().unwrap();
        // Before the charge there was nothing to give back.
        assert!(matches!(remaining(&keys, 7, now), 0 | 1));
        assert_eq!(keys.stats_at(now).taken, 1);
    });
}

/// Breaks if a thread that looks while a key changes its slot takes a charged key for absent.
#[test]
fn cell_seen_drained_does_not_come_back() {
    let [key, neighbour, _] = neighbours();
    model(2, move || {
        // With `Deny`, an absent key is also denied while there is no slot for it.
        let (keys, then) = (table(1, WhenFull::Forgive), Instant::now());
        let late = then + minutes(61);
        assert!(keys.check_at(&key, then).is_ok());
        let observer = spawn!(keys, [(); 2].map(|()| keys.key(&key).peek_at(late).is_ok()));
        let moved = [neighbour, key].map(|key| keys.check_at(&key, late).is_ok());
        let seen = observer.join().unwrap();
        assert!(seen[0] || !seen[1], "{seen:?}");
        assert_eq!(moved, [true; 2]);
        assert!(keys.key(&key).peek_at(late).is_err());
    });
}

/// Breaks if a thread that finds a key in another tier does not see the time of its move: the hour would be drained once more.
#[test]
fn no_hour_is_credited_by_two_tiers() {
    model(3, || {
        let like = GCRA::from_quota("1/h burst 4".parse().unwrap()).unwrap();
        let (builder, fast) = KeyedBuilder::new(like).tier(burst_of(4)).unwrap();
        let keys: Table = builder.with_capacity(1).unwrap();
        let then = Instant::now();
        let later = then + minutes(60);
        // Four owed by the fast tier when the hour is over.
        assert_eq!(keys.in_tier(fast).unwrap().key(&7).charge_at(4, later), 0);
        let slow = spawn!(keys, keys.in_tier(Tier::FIRST).unwrap().key(&7).charge_at(1, later));
        assert_eq!(keys.in_tier(fast).unwrap().key(&7).charge_at(1, then), 0);
        assert_eq!(slow.join().unwrap(), 0);
        // Two in debt, in whichever tier.
        let wait = keys.check_at(&7, later).unwrap_err().wait_time_from(later);
        let waits = [minutes(3 * 60), minutes(3 * 15)];
        let near = |exact: &Duration| wait.abs_diff(*exact) <= Duration::from_nanos(9);
        assert!(waits.iter().any(near), "{wait:?}");
    });
}
