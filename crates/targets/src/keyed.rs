//! Checks of the table of keys, which needs an allocator and a seed of the caller.

use super::{ExactBucket, SECOND, START, next, quota};
use core::array;
use ratelimit_meter::keyed::{Debtor, KeyHashes, KeyedBuilder, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, time};

/// The number of slots of a bucket, and so of the smallest table.
const SLOTS: usize = 508;

/// Returns the smallest table, with a seed that a board would draw from its source of entropy.
fn table(when_full: WhenFull) -> Option<KeyedMeter<u32>> {
    let like = GCRA::from_quota(quota(8, 20)).ok()?;
    let builder = KeyedBuilder::with_hashes(like, KeyHashes::with_seed([1, 2, 3])).when_full(when_full);
    builder.with_memory(8192).ok()
}

pub(super) fn keys_are_exact() -> bool {
    let Some(keys) = table(WhenFull::default()) else {
        return false;
    };
    let mut exact: [ExactBucket; 50] = array::from_fn(|_| ExactBucket {
        cells: 8,
        capacity: 20 * SECOND,
        level: 0,
        at: START,
    });
    let (mut random, mut at) = (6, START);
    (0..20_000).all(|_| {
        at += next(&mut random) % (SECOND / 100);
        let [key, n] = [50, 6].map(|end| u32::try_from(next(&mut random) % end).unwrap_or(0));
        let admits = exact[key as usize].admits(n + 1, at);
        keys.check_n_at(&key, n + 1, time::at(at)).is_ok() == admits
    })
}

pub(super) fn full_tables_deny() -> bool {
    let Some(keys) = table(WhenFull::Deny) else {
        return false;
    };
    let clone = keys.clone();
    let at = time::at(START);
    let admitted = (0..600).filter(|key| clone.check_at(key, at).is_ok()).count();
    // Each key owes one cell, an eighth of a second.
    let later = time::at(START + SECOND / 8);
    let stats = keys.stats_at(at);
    admitted == SLOTS
        && stats.live == SLOTS
        && stats.denied == 600 - SLOTS as u64
        && keys.check_at(&0, at).is_ok()
        && keys.check_at(&1000, at).is_err_and(|denial| denial.is_table_full())
        && keys.top_at(1, at).first().map(Debtor::id) == Some(keys.id(&0))
        && keys.check_at(&1000, later).is_ok()
}
