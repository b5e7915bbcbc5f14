//! Decisions by key.

use super::{Entry, KeyedMeter};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::meter::{Meter, MeterKind};
use crate::outcome::{NegativeMultiDecision, NonConformance};
use core::borrow::Borrow;
use core::hash::{BuildHasher, Hash};
use std::time::Instant;

/// Decisions on one key; the meter that [`key`](Self::key) returns has all other methods.
impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Decides one cell of `key` now, and counts it if it conforms. Usually touches one cache line.
    ///
    /// # Errors
    ///
    /// [`NonConformance`], and nothing has changed, if the cell does not conform. The error holds the instant from which it would.
    #[inline]
    pub fn check<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        self.key(key).check()
    }

    /// Decides one cell of `key` at `at`, and counts it if it conforms.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        self.key(key).check_at(at)
    }

    /// Decides a batch of `n` cells of `key` now, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all cells conform now, or if they never would.
    #[inline]
    pub fn check_n<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        self.key(key).check_n(n)
    }

    /// Decides a batch of `n` cells of `key` at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check_n`](Self::check_n).
    #[inline]
    pub fn check_n_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        self.key(key).check_n_at(n, at)
    }
}

impl<A: Algorithm, C: Clock> Meter<A, &C, Entry<'_, A>> {
    /// Returns whether the key is live now, that is, has a meter that is not idle.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.store().is_live(self.clock().position(self.time_line()))
    }

    /// Returns whether the key is live at `at`.
    #[must_use]
    pub fn is_live_at(&self, at: Instant) -> bool {
        self.store().is_live(self.time_line().position(at))
    }
}
