//! How a meter stands, and what some verbs tell along with it.

use crate::algorithms::{Algorithm, Due};
use crate::decision::{NegativeMultiDecision, NonConformance, Until};
use crate::nanos::Nanos;
use crate::quota::Quota;
use crate::rule::Rule;
use crate::scale::Scale;
use std::time::Duration;

/// How a meter stands at one time, all from one read of its word.
///
/// The times are computed when asked for, a division each.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    at: Nanos,
    scale: Scale,
    remaining: u32,
    next: Due,
    rested: Due,
    quota: Option<Quota>,
}

impl Status {
    pub(crate) fn of(rule: &Rule<impl Algorithm>, word: u64, at: Nanos) -> Self {
        let algorithm = &rule.algorithm;
        Self {
            at,
            scale: algorithm.scale(),
            remaining: algorithm.room(word, rule.volume(at)),
            next: rule.drained(algorithm.due(word, 1)),
            rested: rule.drained(algorithm.rested(word)),
            quota: rule.quota,
        }
    }

    /// How a meter of that quota stands that has no word until then.
    #[cfg_attr(
        not(feature = "keyed"),
        expect(dead_code, reason = "only a table has meters without a word")
    )]
    pub(crate) const fn without_a_word(quota: Option<Quota>, until: Until, at: Nanos) -> Self {
        Self {
            at,
            scale: until.scale,
            remaining: 0,
            next: until.due,
            rested: until.due,
            quota,
        }
    }

    /// Returns how many cells would conform at once, as one batch.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns the time until a cell conforms, zero if one does; rounded up to a nanosecond.
    #[must_use]
    pub fn until_next(&self) -> Duration {
        self.until(self.next)
    }

    /// Returns the time until everything has drained (for [`Exponential`](crate::Exponential), until a full batch conforms), zero at
    /// rest; rounded up to a nanosecond.
    #[must_use]
    pub fn until_rest(&self) -> Duration {
        self.until(self.rested)
    }

    /// Returns what the meter was made of; `None` if of T and tau.
    #[must_use]
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }

    fn until(&self, due: Due) -> Duration {
        Duration::from_nanos(self.scale.nanos_at(due.0).saturating_sub(self.at.get()))
    }
}

/// A decision and the status with it: after an admission, or at a denial.
#[derive(Debug, Clone, Copy)]
#[must_use = "what was decided is in it"]
pub struct Taken {
    decision: Result<(), NegativeMultiDecision>,
    status: Status,
}

impl Taken {
    pub(crate) const fn new(decision: Result<(), NegativeMultiDecision>, status: Status) -> Self {
        Self { decision, status }
    }

    /// Returns the decision.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all cells conform.
    pub const fn decision(&self) -> Result<(), NegativeMultiDecision> {
        self.decision
    }

    /// Returns how the meter stood after the decision.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

/// What [`Meter::check_up_to`](crate::Meter::check_up_to) let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    cells: u32,
    next: Option<NonConformance>,
}

impl Admitted {
    pub(crate) const fn new(cells: u32, next: Option<NonConformance>) -> Self {
        Self { cells, next }
    }

    /// Returns how many cells were admitted, of those asked for; perhaps none.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns, if fewer were admitted than asked for, from when on the next cell conforms.
    #[must_use]
    pub const fn next(&self) -> Option<NonConformance> {
        self.next
    }
}
