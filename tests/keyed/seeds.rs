//! Any seed hashes well: the seeds that people type, over the keys that people have.

use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Seeds as they stand in configuration files.
const SEEDS: [[u64; 3]; 16] = [
    [0, 0, 0],
    [1, 2, 3],
    [42, 42, 42],
    [1, 1, 1],
    [0, 0, 1],
    [1, 0, 0],
    [2024, 11, 28],
    [20_241_128, 0, 0],
    [1_732_752_000, 0, 0],
    [u64::MAX, u64::MAX, u64::MAX],
    [u64::MAX, 0, 0],
    [1 << 63, 0, 0],
    [1 << 32, 1 << 32, 1 << 32],
    [0xdead_beef, 0xdead_beef, 0xdead_beef],
    [0x6868_6868_6868_6868, 0, 0],
    // 2^61 - 1, the prime of a hash this crate once used.
    [0x1fff_ffff_ffff_ffff, 0x1fff_ffff_ffff_ffff, 0x1fff_ffff_ffff_fffe],
];

/// As many as fill ten buckets, of which none must overflow.
const KEYS: u32 = 4_150;

/// Fails if two of the keys share a meter, as keys that hash alike do. Also fails if a table made for them runs out of slots.
fn assert_apart<K: Hash>(seed: [u64; 3], what: &str, key: impl Fn(u32) -> K) {
    let hashes = KeyHashes::with_seed(seed);
    let clock = ManualClock::new();
    let like = GCRA::from_quota("1/h".parse::<Quota>().unwrap()).unwrap();
    let builder = KeyedBuilder::new(like.with_clock(clock.clone())).hashes(hashes);
    let table = builder.when_full(WhenFull::Admit).with_capacity(KEYS as usize);
    let keys: KeyedMeter<K, GCRA<ManualClock>> = table.unwrap();
    let admitted = (0..KEYS).filter(|&number| keys.check(&key(number)).is_ok()).count();
    assert_eq!(admitted, KEYS as usize, "meters of {what} by {seed:?}");
    assert_eq!(keys.stats_at(clock.now()).admitted, 0, "slots for {what} by {seed:?}");
}

/// Every family of keys under every seed. At random two of 4,150 hashes of 64 bits are equal in 1 of 10^12 runs.
#[test]
fn typed_seeds_keep_common_keys_apart() {
    for seed in SEEDS {
        assert_apart(seed, "counters", |n| n);
        assert_apart(seed, "long counters", u64::from);
        assert_apart(seed, "ids in steps of 2^8", |n| u64::from(n) << 8);
        assert_apart(seed, "ids in steps of 2^32", |n| u64::from(n) << 32);
        assert_apart(seed, "addresses", |n| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n)));
        assert_apart(seed, "networks", |n| {
            IpAddr::from(Ipv6Addr::from((0x2001_0db8_u128 << 32 | u128::from(n)) << 64))
        });
        assert_apart(seed, "addresses as text", |n| format!("10.0.{}.{}", n >> 8, n & 255));
        assert_apart(seed, "mail addresses", |n| format!("user{n}@example.com"));
        assert_apart(seed, "paths with a common prefix", |n| {
            format!("/api/v1/tenants/acme/users/{n}")
        });
        assert_apart(seed, "suffixes", |n| format!("{n}:login"));
        assert_apart(seed, "small pairs", |n| (n / 64, n % 64));
        assert_apart(seed, "pairs of words", |n| (u64::from(n / 64), u64::from(n % 64)));
        assert_apart(seed, "a tenant and a name", |n| (n % 7, format!("user{n}")));
        assert_apart(seed, "byte strings", |n| n.to_be_bytes());
        assert_apart(seed, "pairs of bytes", |n| {
            let [_, _, upper, lower] = n.to_be_bytes();
            (upper, lower)
        });
        assert_apart(seed, "a name and bytes", |n| {
            let [_, _, upper, lower] = n.to_be_bytes();
            ("user", upper, lower, true)
        });
    }
}

/// Parts of a key, in the ways in which implementations of `Hash` write them.
const PARTS: [fn(&mut dyn Hasher); 9] = [
    |hasher| hasher.write_u8(0),
    |hasher| hasher.write_u8(1),
    |hasher| hasher.write_u64(1),
    |hasher| hasher.write_u64(2),
    |hasher| hasher.write(b""),
    |hasher| hasher.write(b"a"),
    |hasher| hasher.write(b"b"),
    |hasher| hasher.write(&[1; 32]),
    |hasher| hasher.write(&[1; 40]),
];

#[test]
fn keys_of_different_parts_differ() {
    for seed in SEEDS {
        let hashes = KeyHashes::with_seed(seed);
        let mut distinct = HashSet::new();
        let keys = (0..=4).flat_map(|parts| (0..PARTS.len().pow(parts)).map(move |number| (parts, number)));
        for (parts, number) in keys {
            let mut hasher = hashes.build_hasher();
            for place in 0..parts {
                PARTS[number / PARTS.len().pow(place) % PARTS.len()](&mut hasher);
            }
            assert!(
                distinct.insert(hasher.finish()),
                "key {number} of {parts} parts by {seed:?}"
            );
        }
    }
}

/// Counts the bits of 64 that differ, over all 192 bits of a seed: 32 at random, with a deviation of 4 each.
#[test]
fn seed_bit_changes_half_of_a_hash() {
    for seed in SEEDS {
        for bit in 0..192 {
            let mut other = seed;
            other[bit / 64] ^= 1 << (bit % 64);
            let differing = |key: &str| {
                let [one, other] = [seed, other].map(|seed| KeyHashes::with_seed(seed).hash_one(key));
                (one ^ other).count_ones()
            };
            let bits: u32 = (0..64).map(|key| differing(&format!("user{key}"))).sum();
            // 64 hashes: 2048 bits expected, with a deviation of 32.
            assert!((1_700..=2_300).contains(&bits), "bit {bit} of {seed:?}: {bits}");
        }
    }
}
