use super::decision::NegativeDualDecision;
use crate::status::Status;
use std::time::Duration;

/// How both limits of a [`Dual`](crate::Dual) stand at one time, all from one read of its words.
#[derive(Debug, Clone, Copy)]
pub struct DualStatus {
    first: Status,
    second: Status,
}

impl DualStatus {
    pub(super) const fn new(first: Status, second: Status) -> Self {
        Self { first, second }
    }

    /// Returns how the first limit stands.
    #[must_use]
    pub const fn first(&self) -> Status {
        self.first
    }

    /// Returns how the second limit stands.
    #[must_use]
    pub const fn second(&self) -> Status {
        self.second
    }

    /// Returns how many cells would conform at once, as one batch of as many for either limit: the less of the two.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.first.remaining().min(self.second.remaining())
    }

    /// Returns the time until a cell conforms to both, zero if one does; rounded up to a nanosecond.
    #[must_use]
    pub fn until_next(&self) -> Duration {
        self.first.until_next().max(self.second.until_next())
    }

    /// Returns the time until both are at rest, as [`Status::until_rest`]; zero if they are.
    #[must_use]
    pub fn until_rest(&self) -> Duration {
        self.first.until_rest().max(self.second.until_rest())
    }
}

/// A decision by a [`Dual`](crate::Dual) and the status with it: after an admission, or at a denial.
#[derive(Debug, Clone, Copy)]
#[must_use = "what was decided is in it"]
pub struct DualTaken {
    decision: Result<(), NegativeDualDecision>,
    status: DualStatus,
}

impl DualTaken {
    pub(super) const fn new(decision: Result<(), NegativeDualDecision>, status: DualStatus) -> Self {
        Self { decision, status }
    }

    /// Returns the decision.
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`], and nothing has changed, if not all cells conform to both limits.
    pub const fn decision(&self) -> Result<(), NegativeDualDecision> {
        self.decision
    }

    /// Returns how both limits stood after the decision.
    #[must_use]
    pub const fn status(&self) -> DualStatus {
        self.status
    }
}
