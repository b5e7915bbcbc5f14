//! A count of cells that do not come back.

use core::cell::Cell;
use core::error::Error;
use core::fmt;

/// A fixed number of cells for one thread: no time, no refill, no atomic.
///
/// It may move to another thread, but is not shared, and has no clones. If the cells should come back, use a [`LocalMeter`](crate::LocalMeter); for
/// several threads, use a [`GCRA`](crate::GCRA).
///
/// ```
/// use ratelimit_meter::Budget;
///
/// // At most ten redirects for this request.
/// let redirects = Budget::new(10);
/// assert_eq!((0..100).filter(|_| redirects.check().is_ok()).count(), 10);
/// assert_eq!(redirects.check().unwrap_err().to_string(), "denied: 1 cell of a budget that has 0 left");
/// ```
#[derive(Debug)]
pub struct Budget {
    cells: u64,
    left: Cell<u64>,
}

impl Budget {
    /// Returns a budget of `cells` unspent cells.
    #[must_use]
    pub const fn new(cells: u64) -> Self {
        Self {
            cells,
            left: Cell::new(cells),
        }
    }

    /// Decides one cell, and spends it if one is left.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], and nothing has changed, if no cell is left.
    #[inline]
    pub fn check(&self) -> Result<(), OverBudget> {
        self.check_n(1)
    }

    /// Decides a batch of `n` cells, and spends all of them if at least `n` are left.
    ///
    /// # Errors
    ///
    /// [`OverBudget`], and nothing has changed, if fewer than `n` are left.
    #[inline]
    pub fn check_n(&self, n: u64) -> Result<(), OverBudget> {
        let remaining = self.left.get();
        let left = remaining.checked_sub(n).ok_or(OverBudget { asked: n, remaining })?;
        self.left.set(left);
        Ok(())
    }

    /// Spends as many of `n` cells as are left, and returns their number.
    #[must_use = "it is the number of spent cells"]
    pub fn check_up_to(&self, n: u64) -> u64 {
        let left = self.left.get();
        let spent = n.min(left);
        self.left.set(left - spent);
        spent
    }

    /// Gives back `n` cells, but no more than were spent.
    pub fn refund(&self, n: u64) {
        let left = self.left.get().saturating_add(n);
        self.left.set(left.min(self.cells));
    }

    /// Returns how many cells are left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left.get()
    }
}

/// The denial of a [`Budget`] that has fewer cells left than requested.
///
/// Waiting does not help. The error holds the number of cells left, so that the caller can ask for fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    asked: u64,
    remaining: u64,
}

impl OverBudget {
    /// Returns how many cells were requested.
    #[must_use]
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    /// Returns how many cells are left.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, remaining } = self;
        let cells = if *asked == 1 { "cell" } else { "cells" };
        write!(f, "denied: {asked} {cells} of a budget that has {remaining} left")
    }
}

impl Error for OverBudget {}
