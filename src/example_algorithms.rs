//! A meter without a limit.

use crate::decider::{Decider, MultiDecider};
use crate::outcome::{NegativeMultiDecision, NonConformance};
use std::time::Instant;

/// Admits every cell: no limit, no state, no clock. Use it for tests, and as the floor for measuring a meter.
///
/// ```
/// use ratelimit_meter::{Decider, example_algorithms::Allower};
///
/// let allower = Allower::new();
/// assert_eq!(allower.check(), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allower {}

impl Allower {
    /// Returns a meter that admits every cell.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl Decider for Allower {
    fn check_at(&self, _at: Instant) -> Result<(), NonConformance> {
        Ok(())
    }

    fn check(&self) -> Result<(), NonConformance> {
        Ok(())
    }
}

impl MultiDecider for Allower {
    fn check_n_at(&self, _n: u32, _at: Instant) -> Result<(), NegativeMultiDecision> {
        Ok(())
    }

    fn check_n(&self, _n: u32) -> Result<(), NegativeMultiDecision> {
        Ok(())
    }
}
