//! The meters of all keys of one limit, in tables of a few bytes a key.
//!
//! A table ([`KeyedMeter`](ratelimit_meter::KeyedMeter)) has room for a fixed number of keys, and measures no longer than a meter. If a key finds no
//! room, a new table, four times as large, joins the older ones. If the newest table is ten years old, a new table of the same size joins. A key is
//! decided by the table in which it is not idle, or by the newest table if it is idle in all. When a table joins, tables in which all keys are idle
//! are dropped. An idle meter and a new meter make the same decisions. So each key is decided as by a meter of its own, for any number of keys and
//! any span of time. If the time between two cells is not a whole number of nanoseconds, a table may admit up to two nanoseconds earlier: the words
//! of its slots are shorter.
//!
//! Tables require that time never goes back, since a table forgets idle keys, even if an earlier time would find cells still owed. Tables also do not
//! support a limit of two quotas. In both cases each key has a [`Lineage`](crate::lineage::Lineage) instead.

use crate::event::Event;
use crate::limit::Single;
use crate::lineage::{HORIZON_NS, Maker};
use crate::table::Table;
use crate::verdict::{Undecided, Verdict};

/// Number of live keys (keys that are not idle) that the first table has room for. The table takes 1 MiB.
const FIRST_KEYS: usize = 1 << 15;

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
