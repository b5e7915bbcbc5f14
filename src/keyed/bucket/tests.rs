use super::*;
use crate::keyed::{Builder, KeyHashes, WhenFull};
use crate::{GCRA, KeyedMeter, Quota};
use std::time::Instant;

/// How many of the live keys of a table are in their home line, and how many in their home slot.
fn at_home(capacity: usize, live: u64) -> (u64, u64) {
    let like = GCRA::from_quota("1/h".parse::<Quota>().unwrap()).unwrap();
    let hashes = KeyHashes::with_seed([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0]);
    let builder = Builder::new(like).hashes(hashes).when_full(WhenFull::Admit);
    let keys: KeyedMeter<u64> = builder.with_capacity(capacity).unwrap();
    let now = Instant::now();
    (0..live).for_each(|key| assert!(keys.check_at(&key, now).is_ok()));
    let (mut in_line, mut in_slot) = (0, 0);
    for bucket in keys.shared.table.buckets() {
        for (line, Line(slots)) in bucket.lines.iter().enumerate() {
            for (index, slot) in slots.iter().enumerate() {
                let pair = slot.load();
                // What an id lacks of the hash is too little to change the line, but for one key in a million.
                let key = Key::of_hash(pair.id);
                let is_at_home = !pair.is_untaken() && key.line() == line;
                in_line += u64::from(is_at_home);
                in_slot += u64::from(is_at_home && key.first() == index);
            }
        }
    }
    (in_line, in_slot)
}

/// The share of the keys for which a decision reads one cache line.
#[test]
fn most_keys_are_in_their_home_line() {
    let (in_line, in_slot) = at_home(100_000, 100_000);
    assert!(in_line >= 84_000, "{in_line} of 100,000 in their line");
    assert!(in_slot >= 50_000, "{in_slot} of 100,000 in their slot");
    let (in_line, in_slot) = at_home(100_000, 50_000);
    assert!(in_line >= 96_000 / 2, "{in_line} of 50,000 in their line, half full");
    assert!(in_slot >= 60_000 / 2, "{in_slot} of 50,000 in their slot, half full");
}
