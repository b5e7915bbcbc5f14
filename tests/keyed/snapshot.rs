//! A table of keys, written and taken up again.

use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::keyed::{KeyHasher, KeyHashes, KeyedBuilder, RestoreKeysError, Tier, WhenFull};
use ratelimit_meter::{Exponential, GCRA, KeyedMeter, LeakyBucket, Meter, Quota, RestoreError};
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};

const SEED: [u64; 3] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x0f1e_2d3c_4b5a_6978];
const NS: Duration = Duration::from_nanos(1);

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

fn table<A: Algorithm>(like: Meter<A>, keys: usize) -> KeyedMeter<u32, Meter<A>> {
    table_and_tier(like, keys).0
}

fn table_and_tier<A: Algorithm>(like: Meter<A>, keys: usize) -> (KeyedMeter<u32, Meter<A>>, Tier) {
    let (tiered, tier) = KeyedBuilder::new(like).tier(quota("50/min")).expect("a tier");
    let hashed = tiered.hashes(KeyHashes::with_seed(SEED));
    (hashed.with_capacity(keys).expect("a table"), tier)
}

fn gcra() -> KeyedMeter<u32> {
    table(GCRA::from_quota(quota("10/s")).expect("a limit"), 100)
}

fn written<A: Algorithm>(table: &KeyedMeter<u32, Meter<A>>, time: (Instant, SystemTime)) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.snapshot_to_at(&mut bytes, time).expect("memory");
    bytes
}

proptest! {
    // Each compares three tables, key by key.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    #[cfg_attr(windows, ignore = "a SystemTime counts 100 ns there")]
    fn restored_keys_owe_their_debt_less_drain(
        charges in prop::collection::vec((0_u32..300, 0_u64..40, any::<bool>()), 0..200),
        elapsed_ns in prop_oneof![Just(0), 0_u64..3_000_000_000, 0_u64..200_000_000_000],
        moved_ns in 0_u64..1_000_000_000_000,
    ) {
        fn check<A: Algorithm>(like: impl Fn() -> Meter<A>, charges: &[(u32, u64, bool)], elapsed: Duration, moved: Duration) {
            let (now, wall) = (Instant::now(), SystemTime::now());
            let (before, tier) = table_and_tier(like(), 600);
            let paying = before.in_tier(tier).expect("a tier");
            for (key, cells, pays) in charges {
                let handle = if *pays { &paying } else { &before };
                assert_eq!(handle.key(key).charge_at(*cells, now), 0);
            }
            let after = table(like(), 600);
            let later = now + moved;
            let restored = after.restore_from_at(&*written(&before, (now, wall)), (later, wall + elapsed)).expect("a snapshot");
            assert_eq!(restored, before.stats_at(now).live as u64);
            for key in 0..300 {
                let [was, is] = [before.key(&key).status_at(now + elapsed), after.key(&key).status_at(later)];
                if was.until_rest() > NS {
                    assert_eq!(was.quota(), is.quota(), "its tier");
                }
                // Times are whole nanoseconds, rounded up on two time lines, and a restored word may be a unit more.
                for (was, is) in [(was.until_rest(), is.until_rest()), (was.until_next(), is.until_next())] {
                    assert!(was <= is + NS && is <= was + NS, "{was:?} {is:?}");
                }
            }
            assert!(after.stats_at(later).live <= before.stats_at(now).live);
        }
        let (elapsed, moved) = (Duration::from_nanos(elapsed_ns), Duration::from_nanos(moved_ns));
        check(|| GCRA::from_quota(quota("10/s")).unwrap(), &charges, elapsed, moved);
        check(|| LeakyBucket::from_quota(quota("7/s burst 20")).unwrap(), &charges, elapsed, moved);
        check(|| Exponential::from_quota(quota("10/s")).unwrap(), &charges, elapsed, moved);
    }
}

proptest! {
    /// Words of a table are shorter than those of a meter, but the units of a snapshot are the same.
    #[test]
    #[cfg_attr(windows, ignore = "a SystemTime counts 100 ns there")]
    fn snapshots_move_between_keys_and_meters(
        text in prop::sample::select(&["10/s", "7/h burst 20", "100/min burst 3 weight 2", "3/d", "1000000/s burst 5"][..]),
        more_tiers in 0_u32..15,
        cells in 0_u64..300,
        [early, elapsed] in [0_u64..100_000_000_000, 0_u64..100_000_000_000],
    ) {
        fn check<A: Algorithm>(like: Meter<A>, more_tiers: u32, cells: u64, early: Duration, elapsed: Duration) {
            let mut builder = KeyedBuilder::new(like.clone());
            for _ in 0..more_tiers {
                builder = builder.tier(quota("50/min")).expect("at most 16").0;
            }
            let keys = builder.with_capacity::<u32>(1).expect("a table");
            let (now, wall) = (Instant::now(), SystemTime::now());
            let (before, after) = (now - early, (now, wall + elapsed));
            assert_eq!([keys.key(&1).charge_at(cells, before), like.charge_at(cells, before)], [0; 2]);
            let snapshots = [keys.key(&1).snapshot_at((now, wall)), like.snapshot_at((now, wall))];
            let went_on = like.status_at(now + elapsed);
            like.reset();
            for snapshot in snapshots {
                assert_eq!(like.restore_at(&snapshot, after), Ok(()));
                assert_eq!(keys.key(&2).restore_at(&snapshot, after), Ok(()));
                // A table of 16 tiers drains a unit in at most 9 ns, and is early by less than a unit. Each conversion adds at most a unit.
                let units = Duration::from_nanos(20);
                for restored in [like.status_at(now), keys.key(&2).status_at(now)] {
                    let (was, is) = (went_on.until_rest(), restored.until_rest());
                    assert!(was.abs_diff(is) <= units, "{was:?} {is:?}");
                    let (was, is) = (went_on.until_next(), restored.until_next());
                    assert!(was.abs_diff(is) <= units, "{was:?} {is:?}");
                }
            }
        }
        let [early, elapsed] = [early, elapsed].map(Duration::from_nanos);
        check(GCRA::from_quota(quota(text)).unwrap(), more_tiers, cells, early, elapsed);
        check(LeakyBucket::from_quota(quota(text)).unwrap(), more_tiers, cells, early, elapsed);
        check(Exponential::from_quota(quota("10/s")).unwrap(), more_tiers, cells, early, elapsed);
        let [t, tau] = [7_000_003, 20_000_000_009].map(Duration::from_nanos);
        check(GCRA::with_parameters(t, tau, None), more_tiers, cells, early, elapsed);
    }

    #[test]
    fn a_snapshot_with_any_changed_byte_is_rejected(charges in prop::collection::vec(0_u32..99, 0..50), place: prop::sample::Index, by in 1_u8..) {
        let (before, time) = (gcra(), (Instant::now(), SystemTime::now()));
        for key in &charges {
            before.key(key).charge_at(1, time.0);
        }
        let mut bytes = written(&before, time);
        let place = place.index(bytes.len());
        bytes[place] ^= by;
        let after = gcra();
        let refused = after.restore_from_at(&*bytes, time).expect_err("it was changed");
        let RestoreKeysError::Damaged { restored } = refused else {
            prop_assert_eq!(after.stats_at(time.0).live, 0);
            return Ok(());
        };
        prop_assert_eq!(after.stats_at(time.0).live as u64, restored);
    }

    #[test]
    fn a_truncated_snapshot_is_rejected(charges in prop::collection::vec(0_u32..99, 0..50), length: prop::sample::Index) {
        let (before, time) = (gcra(), (Instant::now(), SystemTime::now()));
        for key in &charges {
            before.key(key).charge_at(1, time.0);
        }
        let bytes = written(&before, time);
        let cut = &bytes[..length.index(bytes.len())];
        let refused = gcra().restore_from_at(cut, time);
        prop_assert!(matches!(refused, Err(RestoreKeysError::Damaged { .. })), "{refused:?}");
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(gcra().restore_from(&*bytes).is_err());
    }

    /// The checksums detect damage, but not a forgery. For all fields, the table stays consistent.
    #[test]
    fn forged_fields_with_valid_checksums_never_panic(
        at in edges(), wall: i128, bits in prop_oneof![9 => 58_u64..63, 1 => any::<u64>()],
        texts in prop::collection::vec(limit_texts(), 2),
        blocks in prop::collection::vec((0_u64..3, prop::collection::vec((any::<bool>(), any::<u64>(), edges()), 1..9)), 0..4),
    ) {
        let time = (Instant::now(), SystemTime::now());
        let head = written(&gcra(), time);
        let mut forged = Forged::default();
        forged.put(&head[..8]);
        forged.put(&head[8..12]);
        forged.put(&at.to_le_bytes());
        forged.put(&wall.to_le_bytes());
        forged.put(&head[36..44]);
        forged.put(&head[44..52]);
        forged.put(&2_u64.to_le_bytes());
        forged.put(&bits.to_le_bytes());
        for text in &texts {
            forged.put(&(text.len() as u64).to_le_bytes());
            forged.put(text.as_bytes());
        }
        forged.put_checksum();
        for (bucket, keys) in &blocks {
            forged.put(&(keys.len() as u64).to_le_bytes());
            forged.put(&bucket.to_le_bytes());
            for &(second, id, word) in keys {
                forged.put(&(u64::from(second) << 48 | id >> 16).to_le_bytes());
                forged.put(&word.to_le_bytes());
            }
            forged.put_checksum();
        }
        forged.put(&0_u64.to_le_bytes());
        forged.put_checksum();
        let table = gcra();
        let _ = table.restore_from_at(&*forged.bytes, time);
        let restored = table.restore_changed_from_at(&*forged.bytes, time);
        let is_damaged = matches!(restored, Err(RestoreKeysError::Damaged { .. }));
        prop_assert!(!is_damaged || blocks.iter().any(|(bucket, _)| *bucket > 0), "the table has one bucket");
        let is_read = !matches!(restored, Err(RestoreKeysError::Io { .. } | RestoreKeysError::NotKeys));
        prop_assert!(is_read, "{restored:?}");
        let stats = table.stats_at(time.0);
        prop_assert!(stats.live <= stats.taken && stats.taken <= stats.slots);
        for debtor in table.top_at(100, time.0) {
            prop_assert!(!debtor.status().until_rest().is_zero());
        }
        prop_assert_eq!(table.snapshot_to_at(io::sink(), time).expect("a sink"), stats.live as u64);
        prop_assert!(table.check_at(&1, time.0 + Duration::from_secs(1)).is_ok());
    }
}

/// Numbers near powers of two, which include the ends of the ranges of words and times, and random numbers.
fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u32..64, 0_u64..3).prop_map(|(bit, below)| (1_u64 << bit).wrapping_sub(below))
    ]
}

/// Mostly limits that the table can carry over.
fn limit_texts() -> impl Strategy<Value = String> {
    let good = [
        "GCRA 10/s",
        "GCRA 50/min",
        "GCRA 1/8760h burst 4294967295",
        "GCRA 99999999/s",
    ];
    let bad = [
        "GCRA 4294967295/s",
        "GCRA T 10ms tau 5ms",
        "LeakyBucket 10/s",
        "GCRA ",
        "",
    ];
    let one_of = |texts: &[&str]| prop::sample::select(texts.iter().map(ToString::to_string).collect::<Vec<_>>());
    prop_oneof![
        18 => one_of(&good),
        1 => one_of(&bad),
        1 => "GCRA \\PC{0,20}",
    ]
}

/// A snapshot by another author than this crate, with the same checksum.
struct Forged {
    bytes: Vec<u8>,
    sum: KeyHasher,
}

impl Default for Forged {
    fn default() -> Self {
        let hashes = KeyHashes::with_seed([0x9e37_79b9_7f4a_7c15, 0xf39c_c060_5ced_c834, 0x1082_276b_f3a2_7251]);
        let (bytes, sum) = (Vec::new(), hashes.build_hasher());
        Self { bytes, sum }
    }
}

impl Forged {
    /// Writes a field, which is one part of the checksum.
    fn put(&mut self, bytes: &[u8]) {
        self.sum.write(bytes);
        self.bytes.extend_from_slice(bytes);
    }

    fn put_checksum(&mut self) {
        self.bytes.extend_from_slice(&self.sum.finish().to_le_bytes());
    }
}

#[test]
fn a_different_table_rejects_the_snapshot() {
    let (before, time) = (gcra(), (Instant::now(), SystemTime::now()));
    before.key(&7).charge_at(5, time.0);
    let bytes = written(&before, time);
    let like = || GCRA::from_quota(quota("10/s")).unwrap();
    let refusal =
        |table: Result<KeyedMeter<u32>, _>| table.unwrap().restore_from_at(&*bytes, time).unwrap_err().to_string();

    let tiered = |limit| KeyedBuilder::new(like()).tier(quota(limit)).unwrap().0;
    let larger = tiered("50/min").hashes(KeyHashes::with_seed(SEED));
    assert_eq!(
        refusal(larger.with_capacity(1000)),
        "the snapshot is of a table of 508 slots, and this one has 2032: build it for as many keys"
    );
    let seeded = tiered("50/min");
    assert_eq!(
        refusal(seeded.with_capacity(100)),
        "the snapshot is of a table with other hashes: restore with the same seed"
    );
    let other = tiered("51/min").hashes(KeyHashes::with_seed(SEED));
    assert_eq!(
        refusal(other.with_capacity(100)),
        "the snapshot is of a table for GCRA 10/s, GCRA 50/min, and this one is for GCRA 10/s, GCRA 51/min: restore_changed_from takes other quotas, in as many tiers of the same algorithm"
    );
    let fewer = KeyedBuilder::new(like()).hashes(KeyHashes::with_seed(SEED));
    assert!(refusal(fewer.with_capacity(100)).contains("and this one is for GCRA 10/s: "));
    let bucket = table(LeakyBucket::from_quota(quota("10/s")).unwrap(), 100);
    let refused = bucket.restore_from_at(&*bytes, time);
    assert!(
        matches!(refused, Err(RestoreKeysError::AnotherLimit { .. })),
        "{refused:?}"
    );
    assert_eq!(
        gcra()
            .restore_from(&b"something else entirely"[..])
            .unwrap_err()
            .to_string(),
        "not a snapshot of keys"
    );
    for version in [1, 3] {
        let mut other = bytes.clone();
        other[8] = version;
        let refused = gcra().restore_from(&*other).unwrap_err();
        let message = format!(
            "the snapshot has format version {version}, this crate restores version 2: start with an empty table"
        );
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    let (before, after, time) = (gcra(), gcra(), (Instant::now(), SystemTime::now()));
    before.key(&7).charge_at(5, time.0);
    let mut bytes = written(&before, time);
    let length = bytes.len() as u64;
    bytes.push(0);
    let refused = after.restore_from_at(&*bytes, time).unwrap_err();
    assert!(
        matches!(refused, RestoreKeysError::BytesAfterEnd { restored: 1 }),
        "{refused:?}"
    );
    assert_eq!(
        refused.to_string(),
        "further bytes follow the snapshot, of which all 1 keys were restored"
    );
    assert_eq!(after.key(&7).status_at(time.0).remaining(), 5);
    assert_eq!(after.restore_from_at((&*bytes).take(length), time).unwrap(), 1);
}

/// From 10/s to other quotas, after a second: the available cells stay, cut to the new burst; so do debts.
#[test]
fn a_snapshot_of_another_quota_is_carried_over() {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let before = gcra();
    for (key, cells) in [(1, 5), (2, 10), (3, 30), (4, 12)] {
        assert_eq!(before.key(&key).charge_at(cells, now), 0);
    }
    let bytes = written(&before, (now, wall));
    let table = |limit: &str, adjustable: bool| -> KeyedMeter<u32> {
        let like = GCRA::from_quota(quota(limit)).unwrap();
        let builder = KeyedBuilder::new(like)
            .hashes(KeyHashes::with_seed(SEED))
            .tier(quota("50/min"))
            .unwrap()
            .0;
        let builder = if adjustable { builder.adjustable() } else { builder };
        builder.with_capacity(100).unwrap()
    };
    let later = (now + Duration::from_millis(400), wall + Duration::from_millis(400));
    for adjustable in [false, true] {
        for (limit, remaining, wait) in [
            ("10/s", [9, 4, 0, 2], 1_700),
            ("100/s burst 50", [9, 4, 0, 2], 170),
            ("10/s burst 3", [3, 3, 0, 2], 1_700),
        ] {
            let after = table(limit, adjustable);
            let restored = after.restore_changed_from_at(&*bytes, later).unwrap();
            assert_eq!(restored, 4, "{limit}");
            let left = [1, 2, 3, 4].map(|key| after.key(&key).status_at(later.0).remaining());
            assert_eq!(left, remaining, "{limit}, adjustable: {adjustable}");
            let until = after.key(&3).status_at(later.0).until_next();
            let exact = Duration::from_millis(wait);
            assert!(until.abs_diff(exact) <= Duration::from_nanos(5), "{limit}: {until:?}");
            let refused = after.restore_from_at(&*bytes, later);
            assert_eq!(
                refused.is_ok(),
                limit == "10/s",
                "the same limit, in words of any length"
            );
        }
    }
    let bucket = table_and_tier(LeakyBucket::from_quota(quota("10/s")).unwrap(), 100).0;
    let refused = bucket.restore_changed_from_at(&*bytes, later);
    assert!(
        matches!(refused, Err(RestoreKeysError::AnotherLimit { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_seed_is_not_in_a_snapshot() {
    let (before, time) = (gcra(), (Instant::now(), SystemTime::now()));
    assert!((0..50).all(|key| before.check_at(&key, time.0).is_ok()));
    let bytes = written(&before, time);
    for part in SEED {
        assert!(!bytes.windows(8).any(|window| window == part.to_le_bytes()));
    }
}

#[test]
fn a_wall_clock_set_back_drains_nothing() {
    let (before, now, wall) = (gcra(), Instant::now(), SystemTime::now());
    before.key(&1).charge_at(10, now);
    let bytes = written(&before, (now, wall));
    let after = gcra();
    let earlier = wall - Duration::from_secs(3600);
    after.restore_from_at(&*bytes, (now, earlier)).unwrap();
    assert_eq!(after.key(&1).status_at(now).until_rest(), Duration::from_secs(1));
}

/// A table of two buckets with room for one more key, and a snapshot of forty other keys for it.
fn nearly_full(when_full: WhenFull, now: Instant) -> (KeyedMeter<u32>, Vec<u8>) {
    let table = || {
        let like = KeyedBuilder::new(GCRA::from_quota(quota("10/h")).expect("a limit"));
        let builder = like.hashes(KeyHashes::with_seed(SEED)).when_full(when_full);
        builder.with_memory(2 * 8192).expect("a table")
    };
    let (before, after) = (table(), table());
    assert!((0..40).all(|key| before.key(&key).charge_at(5, now) == 0));
    let mut bytes = Vec::new();
    before
        .snapshot_to_at(&mut bytes, (now, SystemTime::UNIX_EPOCH))
        .expect("memory");
    let mut others = 1000..;
    while after.stats_at(now).live < 1015 {
        after.key(&others.next().expect("another")).charge_at(1, now);
    }
    (after, bytes)
}

#[test]
fn restoring_counts_keys_without_a_slot() {
    let now = Instant::now();
    for when_full in [WhenFull::Deny, WhenFull::Admit] {
        let (table, bytes) = nearly_full(when_full, now);
        let refused = table
            .restore_from_at(&*bytes, (now, SystemTime::UNIX_EPOCH))
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "39 keys of the snapshot found no slot or owe more than a word can record, 1 were restored"
        );
        assert!(
            matches!(
                refused,
                RestoreKeysError::LeftOut {
                    restored: 1,
                    left_out: 39
                }
            ),
            "{refused:?}"
        );
        assert_eq!(
            (0..40)
                .filter(|key| table.key(key).status_at(now).remaining() == 5)
                .count(),
            1
        );
        assert_eq!(table.stats_at(now).live, 1016);
    }
    let (table, bytes) = nearly_full(WhenFull::Forgive, now);
    let forgiven = table.stats_at(now).forgiven;
    assert_eq!(
        table.restore_from_at(&*bytes, (now, SystemTime::UNIX_EPOCH)).unwrap(),
        40
    );
    assert!((0..40).all(|key| table.key(&key).status_at(now).remaining() == 5));
    assert_eq!(table.stats_at(now).forgiven - forgiven, 39);
}

#[test]
fn restoring_counts_unrecordable_debts() {
    let (before, after, now, wall) = (gcra(), gcra(), Instant::now(), SystemTime::now());
    assert!(before.key(&0).charge_at(u64::MAX, now) > 0);
    assert!((1..9).all(|key| before.key(&key).charge_at(10, now) == 0));
    let (bytes, later) = (written(&before, (now, wall)), now + Duration::from_secs(86_400));
    let refused = after.restore_from_at(&*bytes, (later, wall));
    assert!(
        matches!(
            refused,
            Err(RestoreKeysError::LeftOut {
                restored: 8,
                left_out: 1
            })
        ),
        "{refused:?}"
    );
    assert!((1..9).all(|key| after.key(&key).peek_at(later).is_err()));
}

#[test]
fn a_failed_read_reports_keys_restored_so_far() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into) {
                Ok(0) => Err(io::Error::other("no route")),
                some => some,
            }
        }
    }
    let (before, now, wall) = (gcra(), Instant::now(), SystemTime::now());
    assert!((0..50).all(|key| before.key(&key).charge_at(10, now) == 0));
    let bytes = written(&before, (now, wall));
    for length in 0..bytes.len() {
        let after = gcra();
        let refused = after
            .restore_from_at(Failing(&bytes[..length]), (now, wall))
            .unwrap_err();
        let RestoreKeysError::Io { error, restored } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(error.to_string(), "no route");
        assert_eq!(after.stats_at(now).live as u64, *restored);
        assert_eq!(
            refused.to_string(),
            format!("the snapshot could not be read after {restored} keys, which were restored: no route")
        );
        assert!(refused.source().is_none(), "its text is that of the cause");
    }
}

#[test]
fn restoring_a_key_without_slot_is_an_error() {
    let time = (Instant::now(), SystemTime::now());
    for when_full in [WhenFull::Deny, WhenFull::Admit] {
        let builder = KeyedBuilder::new(GCRA::from_quota(quota("2/h")).unwrap()).when_full(when_full);
        let keys = builder.with_memory::<u32>(8192).expect("one bucket");
        assert!((0..508).all(|key| keys.check_at(&key, time.0).is_ok()));
        let snapshot = keys.key(&1).snapshot_at(time);
        let refused = keys.key(&999).restore_at(&snapshot, time).unwrap_err();
        assert_eq!(refused, RestoreError::NoSlot);
        assert_eq!(
            refused.to_string(),
            "the table has no slot for the key: restore it later, or build a larger table"
        );
    }
}
