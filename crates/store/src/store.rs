//! The trait of a store: one call, one decision.

use crate::error::StoreError;
use crate::limit::{State, StoreLimit};
use crate::time::Micros;

/// A step on the states of one or several keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Counts all cells of all asks if they conform, or none.
    Check,
    /// Decides like [`Check`](Self::Check) and changes nothing.
    Peek,
    /// Counts as many cells, up to `n`, as conform on every ask. The asks have one `n`.
    UpTo,
    /// Counts `n` cells if they conform, and more, up to `at_most`, but not more than half of those that conform.
    Lease {
        /// The largest block.
        at_most: u32,
    },
    /// Counts all cells, into debt if necessary, up to the largest level.
    Charge,
    /// Gives back `n` cells, but no more than makes the key idle.
    Refund,
    /// Gives back the part of `n` cells counted at `drawn` that certainly has not drained.
    Cancel {
        /// The clock of the reply that counted the cells.
        drawn: Micros,
    },
    /// Cancels the debt.
    Reset,
}

impl Verb {
    /// Returns the name, as the scripts and functions of the stores have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Peek => "peek",
            Self::UpTo => "upto",
            Self::Lease { .. } => "lease",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Cancel { .. } => "cancel",
            Self::Reset => "reset",
        }
    }
}

/// A limit and the cells that are asked of it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The key that holds the state.
    pub key: &'a str,
    /// The limit.
    pub limit: &'a StoreLimit,
    /// The number of cells; at least 1 for `Check`, `Peek`, `UpTo` and `Lease`.
    pub n: u64,
}

/// The result of a step: from it and the limits a caller computes the remaining cells and the time of the next ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The cells that were counted (for `Peek`, that would be counted), the smallest number of all asks; `None` if a batch can never conform.
    pub cells: Option<u64>,
    /// The time of the decision.
    pub clock: Micros,
    /// The state of each ask's key after the step, in the order of the asks.
    pub states: Vec<State>,
}

impl Reply {
    /// Returns the reply, if it has a state for each ask.
    pub(crate) fn for_asks(self, asks: &[Ask<'_>]) -> Result<Self, StoreError> {
        if self.states.len() == asks.len() {
            Ok(self)
        } else {
            Err(StoreError::Protocol(format!(
                "{} states for {} keys",
                self.states.len(),
                asks.len()
            )))
        }
    }
}

/// A store of states, called from async code.
///
/// `decide` is one atomic step on all keys, by the clock of the store, or by the caller's time where `at` is given. Several asks are
/// all or nothing: each limit has its own key, and no key is asked twice.
///
/// # Laws
///
/// 1. All replies of a key equal those of an exact bucket that decided the same calls in some order of non-decreasing clocks.
/// 2. A denial writes nothing, except for a strict average that is asked alone (its denied cells count) and after the store's clock was set back.
/// 3. If the call fails with an [indeterminate](StoreError::is_indeterminate) error, the cells were counted once or not at all. With any other error
///    no cell was counted. An implementation repeats a call only after an answer by which nothing ran.
/// 4. A state is removed no earlier than its key is idle.
pub trait AsyncStore: Send + Sync + 'static {
    /// Decides a step.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn decide(
        &self,
        verb: Verb,
        at: Option<Micros>,
        asks: &[Ask<'_>],
    ) -> impl Future<Output = Result<Reply, StoreError>> + Send;
}

/// A store of states, called from threads that may block. It obeys the laws of [`AsyncStore`].
pub trait BlockingStore: Send + Sync + 'static {
    /// Decides a step.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError>;
}
