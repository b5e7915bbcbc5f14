//! A slot that changes hands between the load of its state and the exchange: the version, the second look, and a change of quota.

use super::*;
use ratelimit_meter::clock::{Clock, ManualClock};

/// Breaks if a state that was lowered has the version it had: the thread that read the state before would charge the key that took the slot.
#[test]
fn charge_before_reset_misses_the_next_owner() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = (table(3, WhenFull::Deny), Instant::now());
        assert_eq!(keys.key(&99).charge_at(100, now), 0);
        assert!(keys.check_at(&resident, now).is_ok());
        let slow = spawn!(keys, keys.check_at(&resident, now).is_ok());
        keys.key(&resident).reset();
        // In the only slot, and at the same instant, so that its state would equal that of the other key.
        let taken = keys.check_at(&taker, now).is_ok();
        let charged = slow.join().unwrap();
        assert_eq!(remaining(&keys, taker, now), 3 - u32::from(taken));
        // The charge may have come before the reset, or found no slot after it.
        assert!(remaining(&keys, resident, now) >= 3 - u32::from(charged));
    });
}

/// Breaks if the slot of a live key is taken without a step of the version.
#[test]
fn charge_before_eviction_misses_the_next_owner() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = (table(3, WhenFull::Forgive), Instant::now());
        assert_eq!(keys.key(&99).charge_at(100, now), 0);
        assert!(keys.check_at(&resident, now).is_ok());
        let slow = spawn!(keys, keys.check_at(&resident, now).is_ok());
        assert!(keys.check_at(&taker, now).is_ok());
        assert!(slow.join().unwrap());
        assert!(remaining(&keys, taker, now) >= 2);
        let stats = keys.stats_at(now);
        assert!(matches!(stats.forgiven, 1 | 2), "{stats:?}");
        let charges: u32 = [resident, taker]
            .iter()
            .map(|key| 3 - remaining(&keys, *key, now))
            .sum();
        assert!(charges <= 2, "{charges}");
    });
}

/// Breaks as the first, where the state comes back at a later time.
#[test]
fn charge_before_refund_misses_the_next_owner() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = (table(3, WhenFull::Deny), Instant::now());
        let later = now + Duration::from_nanos(20);
        assert_eq!(keys.key(&99).charge_at(100, now), 0);
        assert!(keys.check_at(&resident, now).is_ok());
        let slow = spawn!(keys, keys.check_at(&resident, now).is_ok());
        keys.key(&resident).refund_at(1, now);
        let taken = keys.check_at(&taker, later).is_ok();
        let charged = slow.join().unwrap();
        let at = later + Duration::from_secs(1);
        assert_eq!(remaining(&keys, taker, at), 3 - u32::from(taken));
        assert_eq!(remaining(&keys, resident, at), 3 - u32::from(charged));
    });
}

/// Breaks if a denial does not load the state a second time. A thread could load the state of a key over its limit, then the id of the slot's new
/// key, and deny the wrong key.
#[test]
fn evicted_keys_debt_denies_no_other_key() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = (table(2, WhenFull::Forgive), Instant::now());
        assert_eq!(keys.key(&99).charge_at(100, now), 0);
        assert!(keys.check_n_at(&resident, 2, now).is_ok());
        let other = spawn!(keys, keys.check_at(&taker, now).is_ok());
        assert!(keys.check_at(&taker, now).is_ok());
        assert!(other.join().unwrap());
    });
}

/// A table of two slots on a clock that stands still, and its time: a check by the clock is decided at once.
fn table_with_clock(burst: u32) -> (KeyedMeter<u32, GCRA<ManualClock>>, Instant) {
    let clock = ManualClock::new();
    let like = GCRA::from_quota(burst_of(burst)).unwrap().with_clock(clock.clone());
    let hashes = KeyHashes::with_seed(SEED);
    (
        KeyedBuilder::new(like).hashes(hashes).with_capacity(1).unwrap(),
        clock.now(),
    )
}

/// Breaks if a check at once does not compare the id, or if its exchange succeeds after the slot has another owner.
#[test]
fn check_before_an_eviction_misses_the_next_owner() {
    for_both_homes(3, |resident, taker| {
        let (keys, now) = table_with_clock(3);
        assert_eq!(keys.key(&99).charge(100), 0);
        assert!(keys.check(&resident).is_ok());
        let slow = spawn!(keys, keys.check(&resident).is_ok());
        assert!(keys.check(&taker).is_ok());
        assert!(slow.join().unwrap());
        let owed = [resident, taker].map(|key| {
            let key = keys.key(&key);
            if key.is_live_at(now) {
                3 - key.status_at(now).remaining()
            } else {
                0
            }
        });
        assert!(owed[1] <= 1 && owed.iter().sum::<u32>() <= 2, "{owed:?}");
    });
}

/// Breaks if a denial at once does not look at the state a second time.
#[test]
fn evicted_key_denies_no_other_key_at_once() {
    for_both_homes(3, |resident, taker| {
        let (keys, _) = table_with_clock(2);
        assert_eq!(keys.key(&99).charge(100), 0);
        assert!(keys.check_n(&resident, 2).is_ok());
        let other = spawn!(keys, keys.check(&taker).is_ok());
        assert!(keys.check(&taker).is_ok());
        assert!(other.join().unwrap());
    });
}

/// A table of two slots whose quota can be changed, `burst` cells an hour for each key.
fn adjustable(burst: u32) -> Table {
    let builder = KeyedBuilder::new(GCRA::from_quota(burst_of(burst)).unwrap()).when_full(WhenFull::Deny);
    let hashes = KeyHashes::with_seed([1, 2, 3]);
    builder.adjustable().hashes(hashes).with_capacity(1).unwrap()
}

/// Breaks if a decision by limits that were superseded is exchanged after the key was converted: a cell would be lost, or counted in units of
/// the other limit.
#[test]
fn charge_beside_a_quota_change_counts_once() {
    model(2, || {
        let (keys, now) = (adjustable(2), Instant::now());
        assert!(keys.check_at(&7, now).is_ok());
        let charge = spawn!(keys, keys.check_at(&7, now).is_ok());
        keys.set_quota_at(Tier::FIRST, burst_of(4), now).unwrap();
        assert!(charge.join().unwrap());
        // The available cells stay: none.
        assert_eq!(remaining(&keys, 7, now), 0);
        assert!(keys.check_at(&7, now).is_err());
    });
}

/// Breaks if a key that is inserted by limits that were superseded is not converted: the change must find it, or it must find the change.
#[test]
fn new_key_beside_a_quota_change_is_converted() {
    model(2, || {
        let (keys, now) = (adjustable(2), Instant::now());
        let newcomer = spawn!(keys, keys.check_at(&7, now).is_ok());
        keys.set_quota_at(Tier::FIRST, burst_of(4), now).unwrap();
        assert!(newcomer.join().unwrap());
        // Without the change's burst of two.
        assert_eq!(remaining(&keys, 7, now), 1);
        keys.set_quota_at(Tier::FIRST, burst_of(1), now).unwrap();
        assert_eq!(remaining(&keys, 7, now), 1);
        assert_eq!(keys.stats_at(now).taken, 1);
    });
}

/// Breaks if numbers of limits are read by limits two changes old: the number is another limit's by then.
#[test]
fn charge_beside_two_quota_changes_counts_once() {
    model(1, || {
        let (keys, now) = (adjustable(2), Instant::now());
        assert!(keys.check_at(&7, now).is_ok());
        let charge = spawn!(keys, keys.check_at(&7, now).is_ok());
        for cells in [3, 4] {
            keys.set_quota_at(Tier::FIRST, burst_of(cells), now).unwrap();
        }
        assert!(charge.join().unwrap());
        assert_eq!(remaining(&keys, 7, now), 0);
    });
}
