//! Threads that stop between any two steps of the protocol, in a bucket of eight slots that change hands all the time: totals are exact under any
//! interleaving.
//!
//! `RUSTFLAGS="--cfg ratelimit_meter_stress" cargo test -p ratelimit_meter --test keyed stress:: --target-dir target/stress`; `STRESS_ROUNDS=10`
//! runs ten times as long.

use crate::support::threads::{barrier, in_threads};
use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder, Tier, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLOTS: u64 = 8;

fn rounds() -> u64 {
    std::env::var("STRESS_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

/// `SplitMix64`, by Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

fn builder(limit: &str, when_full: WhenFull, seed: u64) -> KeyedBuilder<GCRA> {
    let like = GCRA::from_quota(limit.parse::<Quota>().unwrap()).unwrap();
    let hashes = KeyHashes::with_seed([seed, 0, 0]);
    KeyedBuilder::new(like).hashes(hashes).when_full(when_full)
}

/// A table of one bucket.
fn table(limit: &str, when_full: WhenFull, seed: u64) -> KeyedMeter<u64> {
    let table = builder(limit, when_full, seed).with_capacity(1).unwrap();
    assert_eq!(table.stats().slots as u64, SLOTS);
    table
}

#[test]
fn stressed_full_table_admits_burst_or_nothing() {
    for seed in 0..20 * rounds() {
        let keys = table("5/s", WhenFull::Deny, seed);
        let now = Instant::now();
        let admitted: Vec<AtomicU64> = (0..30).map(|_| AtomicU64::new(0)).collect();
        in_threads(|thread| {
            for step in 0..30 * 6 {
                let key = if thread < 2 { step } else { step * 7 + thread } % 30;
                if keys.check_at(&key, now).is_ok() {
                    admitted[usize::try_from(key).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let admitted: Vec<u64> = admitted.into_iter().map(AtomicU64::into_inner).collect();
        assert!(admitted.iter().all(|cells| matches!(cells, 0 | 5)), "{admitted:?}");
        assert_eq!(admitted.iter().filter(|cells| **cells == 5).count() as u64, SLOTS);
        let stats = keys.stats_at(now);
        assert_eq!((stats.taken as u64, stats.live as u64), (SLOTS, SLOTS));
    }
}

/// In each phase other keys use the slots, all at the phase's instant. A charge that is lost makes a burst larger, one for another key smaller.
#[test]
fn new_keys_of_each_phase_admit_one_burst() {
    let keys = table("3/s", WhenFull::Deny, 1);
    let start = Instant::now();
    let barrier = barrier();
    let counts: Vec<AtomicU64> = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
    in_threads(|thread| {
        let mut random = Random(thread);
        for phase in 0..1_000 * rounds() {
            let at = start + Duration::from_millis(1001) * u32::try_from(phase).unwrap();
            for _ in 0..SLOTS * 4 {
                let number = random.below(SLOTS);
                if keys.check_at(&(phase * SLOTS + number), at).is_ok() {
                    counts[usize::try_from(number).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
            }
            barrier.wait();
            if thread == 0 {
                for (number, count) in (0..).zip(&counts) {
                    let key = phase * SLOTS + number;
                    while keys.check_at(&key, at).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(count.swap(0, Ordering::Relaxed), 3, "phase {phase}, key {key}");
                }
                assert_eq!(keys.stats_at(at).live as u64, SLOTS);
            }
            barrier.wait();
        }
    });
}

/// Charges and refunds keys in turn while hardly any time passes, so that they become idle and lose their slots all the time. Returns how many
/// cells each key was charged and not refunded, and the last instant.
fn charge_and_refund(
    keys: u64,
    seed: u64,
    charge: impl Fn(u64, Instant, &mut Random) -> bool + Sync,
    refund: impl Fn(u64, Instant, &mut Random) + Sync,
) -> (Vec<i64>, Instant) {
    let (start, ns) = (Instant::now(), AtomicU64::new(0));
    let left: Vec<AtomicI64> = (0..keys).map(|_| AtomicI64::new(0)).collect();
    in_threads(|thread| {
        let mut random = Random(seed * 77 + thread);
        let mut held: Vec<u64> = Vec::new();
        for _ in 0..10_000 * rounds() {
            // Some threads stand still in time, some go on by a few units.
            let at = start
                + Duration::from_nanos(match random.below(4) {
                    0 => ns.load(Ordering::Relaxed),
                    _ => ns.fetch_add(random.below(3), Ordering::Relaxed),
                });
            if held.len() as u64 > random.below(3) {
                let held_key = usize::try_from(random.below(held.len() as u64)).unwrap();
                let key = held.swap_remove(held_key);
                refund(key, at, &mut random);
                left[usize::try_from(key).unwrap()].fetch_sub(1, Ordering::Relaxed);
            } else {
                let key = random.below(keys);
                if charge(key, at, &mut random) {
                    left[usize::try_from(key).unwrap()].fetch_add(1, Ordering::Relaxed);
                    held.push(key);
                }
            }
        }
    });
    let end = start + Duration::from_nanos(ns.into_inner() + 1000);
    (left.into_iter().map(AtomicI64::into_inner).collect(), end)
}

/// The debt of a key, in cells.
fn owed(keys: &KeyedMeter<u64>, key: usize, burst: i64, at: Instant) -> i64 {
    let key = keys.key(&(key as u64));
    let owed = burst - i64::from(key.status_at(at).remaining());
    if key.is_live_at(at) { owed } else { 0 }
}

#[test]
fn charges_and_refunds_stay_exact_across_slot_reuse() {
    for seed in 0..4 * rounds() {
        for resets in [false, true] {
            let keys = table("30/h", WhenFull::Deny, seed);
            let charge = |key: u64, at, random: &mut Random| {
                if resets && random.below(8) == 0 {
                    keys.key(&(100 + key)).reset();
                    // Another key, to be reset again.
                    let _ = keys.check_at(&(100 + key), at);
                }
                keys.check_at(&key, at).is_ok()
            };
            let (left, end) = charge_and_refund(12, seed, charge, |key, at, _| keys.key(&key).refund_at(1, at));
            for (key, left) in left.into_iter().enumerate() {
                assert_eq!(owed(&keys, key, 30, end), left, "key {key}, {:?}", keys.stats_at(end));
            }
        }
    }
}

#[test]
fn no_key_pays_for_an_evicted_one() {
    for seed in 0..4 * rounds() {
        let keys = table("30/h", WhenFull::Forgive, seed);
        let charge = |key: u64, at, _: &mut Random| keys.check_at(&key, at).is_ok();
        let (left, end) = charge_and_refund(12, seed, charge, |key, at, _| keys.key(&key).refund_at(1, at));
        let mut short = 0;
        for (key, left) in left.into_iter().enumerate() {
            let owed = owed(&keys, key, 30, end);
            assert!(owed <= left.max(0), "key {key} owes {owed} of {left}");
            short += u64::from(owed < left);
        }
        assert!(short <= keys.stats_at(end).forgiven);
    }
}

#[test]
fn tier_changes_keep_charges() {
    for seed in 0..4 * rounds() {
        let (builder, fast) = builder("40/h", WhenFull::Deny, seed)
            .tier("1000/h".parse().unwrap())
            .unwrap();
        let keys: KeyedMeter<u64> = builder.with_capacity(1).unwrap();
        let tiers = [Tier::FIRST, fast].map(|tier| keys.in_tier(tier).unwrap());
        let any = |random: &mut Random| &tiers[usize::try_from(random.below(2)).unwrap()];
        let charge = |key: u64, at, random: &mut Random| any(random).check_at(&key, at).is_ok();
        let refund = |key: u64, at, random: &mut Random| any(random).key(&key).refund_at(1, at);
        let (left, end) = charge_and_refund(6, seed, charge, refund);
        for (key, left) in left.into_iter().enumerate() {
            let owed = owed(&tiers[1], key, 1000, end);
            // Debts are rounded up from tier to tier, by less than a unit each time.
            assert!((left..=left + 1).contains(&owed), "key {key} owes {owed}, not {left}");
        }
    }
}

/// The quota changes all the time, between two of one burst, so that in the end a key owes its charges.
#[test]
fn quota_changes_keep_charges() {
    for seed in 0..4 * rounds() {
        let keys: KeyedMeter<u64> = builder("40/h", WhenFull::Deny, seed)
            .adjustable()
            .with_capacity(1)
            .unwrap();
        let quotas = ["40/h", "40/d", "40/min"].map(|text| text.parse::<Quota>().unwrap());
        let charge = |key: u64, at, random: &mut Random| {
            if random.below(16) == 0 {
                let quota = quotas[usize::try_from(random.below(3)).unwrap()];
                keys.set_quota_at(Tier::FIRST, quota, at).unwrap();
            }
            let handle = if random.below(2) == 0 { &keys } else { &keys.clone() };
            handle.check_at(&key, at).is_ok()
        };
        let (left, end) = charge_and_refund(6, seed, charge, |key, at, _| keys.key(&key).refund_at(1, at));
        for (key, left) in left.into_iter().enumerate() {
            // Rounded to the strict side by less than a unit at each change and each refund, which is cut to the debt of that time.
            let owed = owed(&keys, key, 40, end);
            assert!((left..=left + 1).contains(&owed), "key {key} owes {owed}, not {left}");
        }
    }
}
