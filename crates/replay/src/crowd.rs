//! The meters of all keys of one limit, in tables of a few bytes a key.
//!
//! A table ([`KeyedMeter`]) has no room for more keys than it was made for, and measures no longer than a meter. So a new one, four
//! times as large, joins the others when a key finds no room, and one as large when the newest is ten years old. A key is asked where it
//! is not at rest, and if that is nowhere, in the newest; a table in which all are at rest is dropped when another joins. A meter at rest
//! and a new one decide alike, so each key is decided as by a meter of its own, however many keys there are and for how long.
//!
//! That takes time that never goes back: a table forgets who is at rest, whatever an earlier time would find still owed. And a limit of
//! two has no table. Both have a [`Lineage`](crate::lineage::Lineage) for each key instead.

use std::time::Instant;

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{Builder, InvalidTable, KeyHashes, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter, NegativeMultiDecision};

use crate::event::{Event, KeyId};
use crate::limit::Single;
use crate::lineage::{HORIZON_NS, Maker, Verdict};

/// For how many keys that are not at rest the first table is made: it takes 1 MiB.
const FIRST_KEYS: usize = 1 << 15;

/// Keys are numbers that nobody chooses, so a seed that everybody knows does no harm; and each run decides alike.
const SEED: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// A table of meters, whatever their algorithm.
pub(crate) trait Table {
    /// As [`KeyedMeter::check_n_at`].
    fn check_n_at(&self, key: KeyId, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Whether the key's meter is not at rest.
    fn is_live(&self, key: KeyId, at: Instant) -> bool;

    /// Whether any is.
    fn has_live(&self, at: Instant) -> bool;
}

impl<A: Algorithm> Table for KeyedMeter<KeyId, Meter<A, ManualClock>> {
    #[inline]
    fn check_n_at(&self, key: KeyId, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        Self::check_n_at(self, &key, n, at)
    }

    fn is_live(&self, key: KeyId, at: Instant) -> bool {
        self.key(&key).is_live_at(at)
    }

    fn has_live(&self, at: Instant) -> bool {
        self.stats_at(at).live > 0
    }
}

/// A table of meters, each of them as `like`; who finds no room is denied.
pub(crate) fn table<A: Algorithm + 'static>(
    like: Meter<A, ManualClock>,
    keys: usize,
) -> Result<Box<dyn Table>, InvalidTable> {
    let builder = Builder::new(like).hashes(KeyHashes::with_seed(SEED));
    let table = builder.when_full(WhenFull::Deny).with_capacity::<KeyId>(keys)?;
    Ok(Box::new(table))
}

/// Why a request could not be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The key was not at rest for longer than a meter can measure.
    TooLong,
    /// There is no memory for another table.
    NoTable(InvalidTable),
}

/// The meters of all keys of one limit.
pub(crate) struct Crowd {
    like: Single,
    /// The newest last.
    tables: Vec<Dated>,
}

/// A table and its time.
struct Dated {
    table: Box<dyn Table>,
    /// How many live keys it was made for.
    keys: usize,
    /// When its meters were made, in the time of the traffic; its clock's now is this time.
    made: i64,
}

impl Crowd {
    /// For keys that each have a meter like this one.
    pub(crate) fn new(like: Single) -> Self {
        Self {
            like,
            tables: Vec::new(),
        }
    }

    /// Decides an event, which is no earlier than any before it.
    #[inline]
    pub(crate) fn check(&mut self, maker: &Maker, event: &Event) -> Result<Verdict, Undecided> {
        let is_aged = |newest: &Dated| event.time.abs_diff(newest.made) > HORIZON_NS / 2;
        if self.tables.last().is_none_or(is_aged) {
            let keys = self.tables.last().map_or(FIRST_KEYS, |newest| newest.keys);
            self.join(maker, keys, maker.limit().tick_by(event.time), event.time)?;
        }
        let Some((newest, older)) = self.tables.split_last() else {
            return Err(Undecided::TooLong);
        };
        let table = older.iter().find(|table| table.is_live(maker, event)).unwrap_or(newest);
        let verdict = table.check(maker, event)?;
        // Whoever is denied has cells that have not drained yet, or has found no room.
        if !matches!(verdict, Verdict::Denied(_)) || table.is_live(maker, event) {
            return Ok(verdict);
        }
        let (keys, made) = (table.keys.saturating_mul(4), table.made);
        self.join(maker, keys, made, event.time)?.check(maker, event)
    }

    /// Makes a table, and drops those that say nothing any more.
    #[cold]
    fn join(&mut self, maker: &Maker, keys: usize, made: i64, now: i64) -> Result<&Dated, Undecided> {
        self.tables.retain(|table| table.has_live(maker, now));
        let table = self.like.table(maker.clock(), keys).map_err(Undecided::NoTable)?;
        let newest = self.tables.len();
        self.tables.push(Dated { table, keys, made });
        Ok(&self.tables[newest])
    }
}

impl Dated {
    #[inline]
    fn check(&self, maker: &Maker, event: &Event) -> Result<Verdict, Undecided> {
        let at = maker.at(self.made, event.time).ok_or(Undecided::TooLong)?;
        Ok(Verdict::of(event.cost, at, |n| self.table.check_n_at(event.key, n, at)))
    }

    /// Whether the key of an event is not at rest here, be that beyond the horizon.
    fn is_live(&self, maker: &Maker, event: &Event) -> bool {
        let at = maker.instant(self.made, event.time);
        at.is_some_and(|at| self.table.is_live(event.key, at))
    }

    fn has_live(&self, maker: &Maker, time: i64) -> bool {
        let at = maker.instant(self.made, time);
        at.is_some_and(|at| self.table.has_live(at))
    }
}

#[cfg(test)]
mod tests;
