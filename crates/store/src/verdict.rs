//! The answer to a caller, and by which part of the system it was made.

use crate::error::StoreError;
use crate::known::LazyStatus;
use core::fmt;
use ratelimit_meter::{NegativeMultiDecision, NonConformance, Status};

/// The part of the system that made a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// The store decided this call.
    Store,
    /// A cell of a block that this process had drawn from the store.
    Lease,
    /// An earlier reply of the store, by which no such batch conforms yet.
    RememberedDenial,
    /// The quota alone: no cells were asked, or more than the burst.
    Quota,
    /// The store gave no decision, for this reason; [`OnFailure`](crate::OnFailure) made it.
    Failure(StoreError),
}

/// A decision, the status of the key after it, and the part that made it.
#[derive(Clone)]
#[must_use = "the decision is in it"]
pub struct Verdict {
    pub(crate) decision: Result<(), NegativeMultiDecision>,
    pub(crate) status: Option<LazyStatus>,
    pub(crate) via: Via,
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdict")
            .field("decision", &self.decision)
            .field("status", &self.status())
            .field("via", &self.via)
            .finish()
    }
}

impl Verdict {
    /// Returns the decision.
    ///
    /// The instant of a denial is the earliest at which the batch conforms for certain, if no other cells are counted meanwhile:
    /// the wait that the store computed, from when its reply was received.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], if not all cells conform.
    pub const fn decision(&self) -> Result<(), NegativeMultiDecision> {
        self.decision
    }

    /// Returns `true` if the cells were admitted.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        self.decision.is_ok()
    }

    /// Returns the status of the key after the decision; `None` if it is not known, because the store gave no decision or was not asked.
    ///
    /// If there are several limits, this is the status of the limit that holds back the next cell longest, or that leaves the fewest.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status.as_ref()?.status()
    }

    /// Returns which part of the system decided.
    #[must_use]
    pub const fn via(&self) -> &Via {
        &self.via
    }
}

/// The number of cells of a batch that were admitted.
#[derive(Debug, Clone)]
#[must_use = "the number of admitted cells is in it"]
pub struct AdmittedPart {
    pub(crate) cells: u32,
    pub(crate) next: Option<NonConformance>,
    pub(crate) via: Via,
}

impl AdmittedPart {
    pub(crate) const fn of(cells: u32, next: Option<NonConformance>, via: Via) -> Self {
        Self { cells, next, via }
    }

    /// Converts a verdict on all `n` cells or none to a verdict on a number of cells.
    pub(crate) fn for_all(n: u32, verdict: Verdict) -> Self {
        match verdict.decision {
            Ok(()) => Self::of(n, None, verdict.via),
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => Self::of(0, Some(denial), verdict.via),
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Self::of(0, None, verdict.via),
        }
    }

    /// Returns the decision on all `n` cells that were asked for.
    pub(crate) const fn decision(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        match self.next {
            _ if self.cells >= n => Ok(()),
            Some(next) => Err(NegativeMultiDecision::BatchNonConforming(n, next)),
            None => Err(NegativeMultiDecision::InsufficientCapacity(n)),
        }
    }

    /// Returns how many cells were admitted, of those asked for.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns the instant from which the next cell conforms, if fewer were admitted than asked for.
    #[must_use]
    pub const fn next(&self) -> Option<NonConformance> {
        self.next
    }

    /// Returns which part of the system decided.
    #[must_use]
    pub const fn via(&self) -> &Via {
        &self.via
    }
}

impl Via {
    /// Returns the name of the part, without the reason of a failure: for a label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Lease => "lease",
            Self::RememberedDenial => "remembered denial",
            Self::Quota => "quota",
            Self::Failure(_) => "failure",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(error) => write!(f, "failure: {error}"),
            other => f.write_str(other.name()),
        }
    }
}
