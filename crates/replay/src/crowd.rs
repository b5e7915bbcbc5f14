//! The meters of all keys of one limit, in tables of a few bytes a key.
//!
//! A table ([`KeyedMeter`]) has room for a fixed number of keys, and measures no longer than a meter. If a key finds no room, a new table, four times
//! as large, joins the others. If the newest table is ten years old, a new table of the same size joins. A key is decided by the table in which it is
//! not idle, or by the newest table if it is idle in all. When a table joins, tables in which all keys are idle are dropped. An idle meter and a new
//! meter make the same decisions. So each key is decided as by a meter of its own, for any number of keys and any span of time. If the time between
//! two cells is not a whole number of nanoseconds, a table may admit up to two nanoseconds earlier: the words of its slots are shorter.
//!
//! Tables require that time never goes back, since a table forgets idle keys, even if an earlier time would find cells still owed. Tables also do not
//! support a limit of two quotas. In both cases each key has a [`Lineage`](crate::lineage::Lineage) instead.

use std::time::Instant;

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{InvalidTable, KeyHashes, KeyedBuilder, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter, NegativeMultiDecision};

use crate::event::{Event, KeyId};
use crate::limit::Single;
use crate::lineage::{HORIZON_NS, Maker, Verdict};

/// Number of live keys (keys that are not idle) that the first table has room for. The table takes 1 MiB.
const FIRST_KEYS: usize = 1 << 15;

/// Keys are numbers that no client chooses, so a public seed does no harm, and every run makes the same decisions.
const SEED: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// A table of meters of any algorithm.
pub(crate) trait Table {
    /// As [`KeyedMeter::check_n_at`].
    fn check_n_at(&self, key: KeyId, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Returns whether the key's meter is live: it is not idle.
    fn is_live(&self, key: KeyId, at: Instant) -> bool;

    /// Returns whether any meter is live.
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

/// Creates a table of meters, each of them like `like`. A key without room is denied.
pub(crate) fn table<A: Algorithm + 'static>(
    like: Meter<A, ManualClock>,
    keys: usize,
) -> Result<Box<dyn Table>, InvalidTable> {
    let builder = KeyedBuilder::new(like).hashes(KeyHashes::with_seed(SEED));
    let table = builder.when_full(WhenFull::Deny).with_capacity::<KeyId>(keys)?;
    Ok(Box::new(table))
}

/// The reason why a request could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The key stayed live, with no idle time, for longer than a meter can measure.
    TooLong,
    /// There is not enough memory for another table.
    NoTable(InvalidTable),
    /// The store that has the meters gave no decision.
    #[cfg(feature = "store")]
    Store(Box<ratelimit_meter_store::StoreError>),
}

/// The meters of all keys of one limit.
pub(crate) struct Crowd {
    like: Single,
    /// Oldest first.
    tables: Vec<Dated>,
}

/// A table, its size and the time when it was made.
struct Dated {
    table: Box<dyn Table>,
    /// Number of live keys for which it was made.
    keys: usize,
    /// The time of the traffic when its meters were made. Its clock stands at this time.
    made: i64,
}

impl Crowd {
    /// Creates the meters, one like `like` for each key.
    pub(crate) fn new(like: Single) -> Self {
        Self {
            like,
            tables: Vec::new(),
        }
    }

    /// Decides an event, which is no earlier than the events before it.
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
        // A denied key either has cells that have not drained yet, or has found no room.
        if !matches!(verdict, Verdict::Denied(_)) || table.is_live(maker, event) {
            return Ok(verdict);
        }
        let (keys, made) = (table.keys.saturating_mul(4), table.made);
        self.join(maker, keys, made, event.time)?.check(maker, event)
    }

    /// Adds a table, and drops the tables in which all keys are idle.
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

    /// Returns whether the key of an event is live here, even if the event is beyond the horizon.
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
