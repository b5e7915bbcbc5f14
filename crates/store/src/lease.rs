//! Cells drawn in blocks: how large a block is, and how long its cells may be used.

use crate::limit::StoreLimit;
use crate::time::Micros;
use std::time::{Duration, Instant};

/// The settings by which a shared meter draws cells in blocks, so that a hot key is served without a round trip for each cell.
///
/// A cell is used within `keep` of the instant at which the call that drew it was sent, or it is lost. So in every window of length v at most
/// B + R * (v + keep) cells are admitted, for burst B and rate R. That holds for any number of processes, even if some crash. If the lease is
/// [`strict`](Self::strict), the bound is B + R * v, the window law of one meter. In exchange, R * keep cells are taken off the burst.
///
/// *Proof.* A cell used in [a, a + v] was drawn in [a - keep, a + v], since its draw came after its call was sent. The store admits at
/// most B + R * (v + keep) cells in that window. Cells that were lost, by a crash or a pause, were drawn and are not used. With
/// B - R * keep in place of B, `keep` cancels.
///
/// A block has about as many cells as the key lately used in four round trips. A key whose calls come `keep` or more apart draws no block,
/// and loses nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    pub(crate) keep: Duration,
    pub(crate) at_most: u32,
    pub(crate) strict: bool,
}

impl LeaseSettings {
    /// Returns a lease whose cells are used within `keep`. Choose the time of a few round trips to the store, such as 20 ms.
    #[must_use]
    pub const fn kept_for(keep: Duration) -> Self {
        Self {
            keep,
            at_most: u32::MAX,
            strict: false,
        }
    }

    /// Sets the largest block in cells. A block never exceeds R * keep cells, which is also the default.
    #[must_use]
    pub const fn at_most(self, cells: u32) -> Self {
        Self { at_most: cells, ..self }
    }

    /// Sets that R * keep is taken off the burst in the store, so that windows are no fuller than without leases.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Returns `keep` in microseconds.
    pub(crate) fn keep_us(&self) -> u64 {
        u64::try_from(self.keep.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns the largest block for some limits, in cells: the drain of `keep`. An average has none.
    pub(crate) fn largest_block(&self, limits: &[StoreLimit]) -> u32 {
        let drained = limits.iter().map(|limit| match limit {
            StoreLimit::Bucket(units) => self.keep_us().saturating_mul(units.drain()) / units.cell(),
            StoreLimit::Average(_) => 0,
        });
        let drained = drained.min().unwrap_or(0);
        u32::try_from(drained).unwrap_or(u32::MAX).min(self.at_most)
    }
}

/// Cells that were drawn and are not used yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub(crate) cells: u32,
    /// The store's time of the draw.
    pub(crate) drawn: Micros,
    /// The time from which the cells are lost.
    pub(crate) expires: Instant,
}

impl Block {
    /// Joins the cells of two blocks to one block, which is as old as the older.
    pub(crate) fn joined(self, other: Self) -> Self {
        Self {
            cells: self.cells.saturating_add(other.cells),
            drawn: self.drawn.min(other.drawn),
            expires: self.expires.min(other.expires),
        }
    }
}

/// The rate at which a key uses cells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// The last draw.
    since: Option<Instant>,
    /// The cells used since.
    cells: u32,
}

impl Usage {
    pub(crate) fn used(&mut self, cells: u32) {
        self.cells = self.cells.saturating_add(cells);
    }

    /// Restarts the count, and returns the cells to draw beyond those that wait: as many as four round trips lately used.
    pub(crate) fn draw(&mut self, now: Instant, keep: Duration, round_trip: Duration) -> u32 {
        let lately = self.since.map(|since| now.saturating_duration_since(since));
        let extra = match lately {
            Some(lately) if lately < keep => {
                let round_trips = 4.0 * round_trip.as_secs_f64() / lately.as_secs_f64().max(1e-6);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let extra = (f64::from(self.cells) * round_trips) as u32;
                extra
            }
            _ => 0,
        };
        *self = Self {
            since: Some(now),
            cells: 0,
        };
        extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn joined_block_is_as_old_as_the_older() {
        let now = Instant::now();
        let block = |cells, drawn, ms| Block {
            cells,
            drawn: Micros::new(drawn).unwrap(),
            expires: now + Duration::from_millis(ms),
        };
        let (older, newer) = (block(2, 7, 10), block(3, 8, 20));
        for joined in [older.joined(newer), newer.joined(older)] {
            assert_eq!(
                (joined.cells, joined.drawn, joined.expires),
                (5, older.drawn, older.expires)
            );
        }
    }

    #[test]
    fn block_never_exceeds_the_drain_of_its_lifetime() {
        let limit = |quota: &str| StoreLimit::Bucket(Units::of(quota.parse().unwrap()).unwrap());
        let lease = LeaseSettings::kept_for(20 * MS);
        assert_eq!(lease.largest_block(&[limit("1000/s")]), 20);
        assert_eq!(lease.at_most(7).largest_block(&[limit("1000/s")]), 7);
        assert_eq!(lease.largest_block(&[limit("1000/s"), limit("100/s")]), 2);
        assert_eq!(lease.largest_block(&[limit("10/s")]), 0);
    }

    #[test]
    fn key_asked_once_per_lifetime_draws_no_block() {
        let (mut usage, mut now) = (Usage::default(), Instant::now());
        for _ in 0..5 {
            assert_eq!(usage.draw(now, 20 * MS, MS), 0);
            usage.used(1);
            now += 20 * MS;
        }
    }

    #[test]
    fn block_grows_with_use_of_its_key() {
        let (mut usage, mut now) = (Usage::default(), Instant::now());
        assert_eq!(usage.draw(now, 20 * MS, MS), 0);
        let mut last = 0;
        for _ in 0..4 {
            usage.used(1 + last);
            now += MS;
            let next = usage.draw(now, 20 * MS, MS);
            assert_eq!(next, 4 * (1 + last));
            last = next;
        }
    }
}
