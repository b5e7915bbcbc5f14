//! The meter elsewhere, and its answers.

use crate::meters::{Denied, Standing};
use crate::numbers::nanos;
use core::error::Error;
use core::fmt;
use core::future::{Future, ready};
#[cfg(feature = "store")]
use ratelimit_meter::NegativeMultiDecision;
#[cfg(feature = "store")]
use ratelimit_meter_store::{AsyncStore, SharedMeter, Verdict, Via};
use std::sync::Arc;
use std::time::Duration;

/// Decides for keys by asking a store elsewhere: one round trip, all or nothing.
///
/// With the feature `store`, `ratelimit_meter_store::SharedMeter` implements this trait; the example `shared` uses it.
pub trait RemoteMeter: Send + Sync + 'static {
    /// Takes `cells` of `key` if they conform.
    ///
    /// The meter keeps its own deadline. If the future is dropped, the cells may have been counted.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store gave no decision.
    fn take(&self, key: &str, cells: u32) -> impl Future<Output = Result<Answer, StoreFailed>> + Send;

    /// Decides like [`take`](Self::take) and counts nothing; called for [`Distributed::charge_if`](crate::Distributed::charge_if) before the response, and
    /// for a [late](crate::Distributed::late) limit at no cost.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store gave no decision, as in the default implementation. [`OnStoreFailure`](crate::OnStoreFailure) then decides.
    fn peek(&self, _key: &str, _cells: u32) -> impl Future<Output = Result<Answer, StoreFailed>> + Send {
        ready(Err(StoreFailed))
    }

    /// Counts `cells` of `key`, whether they conform or not; called for [`Distributed::charge_if`](crate::Distributed::charge_if) after the response, and
    /// for [`RemoteCharge::charge`](crate::RemoteCharge::charge).
    ///
    /// If the future is dropped, the cells may have been counted.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store gave no answer, as in the default implementation, which counts nothing.
    fn charge(&self, _key: &str, _cells: u64) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        ready(Err(StoreFailed))
    }

    /// Gives back `cells` of `key`, which were taken before; called for [`Distributed::refund_if`](crate::Distributed::refund_if), and if a
    /// handler gives back cells. After a charge that failed, it is also called for [`Distributed::charge_if`](crate::Distributed::charge_if).
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store gave no answer, as in the default implementation, which gives nothing back.
    fn refund(&self, _key: &str, _cells: u64) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        ready(Err(StoreFailed))
    }

    /// Cancels the debt of `key`; called for [`Distributed::reset`](crate::Distributed::reset).
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store gave no answer, as in the default implementation, which cancels nothing.
    fn reset(&self, _key: &str) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        ready(Err(StoreFailed))
    }
}

/// One meter of several limits.
impl<M: RemoteMeter> RemoteMeter for Arc<M> {
    fn take(&self, key: &str, cells: u32) -> impl Future<Output = Result<Answer, StoreFailed>> + Send {
        (**self).take(key, cells)
    }

    fn peek(&self, key: &str, cells: u32) -> impl Future<Output = Result<Answer, StoreFailed>> + Send {
        (**self).peek(key, cells)
    }

    fn charge(&self, key: &str, cells: u64) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        (**self).charge(key, cells)
    }

    fn refund(&self, key: &str, cells: u64) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        (**self).refund(key, cells)
    }

    fn reset(&self, key: &str) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        (**self).reset(key)
    }
}

/// A store gave no decision: it did not answer, or not in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFailed;

impl fmt::Display for StoreFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store gave no decision")
    }
}

impl Error for StoreFailed {}

/// The decision of a [`RemoteMeter`], and the state of the key after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub(super) denied: Option<Denied>,
    pub(super) standing: Option<Standing>,
    /// Set if the store admitted the cells. [`RemoteMeter::take`] has counted them there, so they can be given back.
    pub(super) is_counted: bool,
}

impl Answer {
    /// Returns the answer that the cells conform. [`RemoteMeter::take`] has taken them.
    #[must_use]
    pub const fn admitted() -> Self {
        Self {
            denied: None,
            standing: None,
            is_counted: true,
        }
    }

    /// Returns the answer that the cells conform after `wait`.
    #[must_use]
    pub fn denied(wait: Duration) -> Self {
        Self::of_denial(Denied::For(nanos(wait.as_nanos())))
    }

    /// Returns the answer that the store decided nothing, and may be asked again after `wait`: a 503.
    #[must_use]
    pub fn unavailable(wait: Duration) -> Self {
        Self::of_denial(Denied::Full(nanos(wait.as_nanos())))
    }

    /// Returns the answer that this number of cells never conforms at once.
    #[must_use]
    pub const fn never() -> Self {
        Self::of_denial(Denied::Never)
    }

    const fn of_denial(denied: Denied) -> Self {
        Self {
            denied: Some(denied),
            standing: None,
            is_counted: false,
        }
    }

    /// Adds the state of the key: the cells that remain, the time until the next one conforms, and the time until the key is idle. Without it,
    /// no fields are sent.
    #[must_use]
    pub fn standing(mut self, remaining: u64, until_next: Duration, until_rest: Duration) -> Self {
        self.standing = Some(Standing {
            remaining,
            until_next_ns: nanos(until_next.as_nanos()),
            until_rest_ns: nanos(until_rest.as_nanos()),
        });
        self
    }

    #[cfg(feature = "store")]
    fn of_verdict(verdict: &Verdict) -> Self {
        let failed = matches!(verdict.via(), Via::Failure(_));
        // Only a meter of this process has a status when the store has failed.
        let is_local = failed && verdict.status().is_some();
        let answer = match verdict.decision() {
            Ok(()) => Self {
                is_counted: !failed,
                ..Self::admitted()
            },
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Self::never(),
            // Its table may be full, too.
            Err(NegativeMultiDecision::BatchNonConforming(_, denial))
                if failed && (!is_local || denial.is_table_full()) =>
            {
                Self::unavailable(denial.wait_time())
            }
            // A store counts time in its own units: a denial that is over by now is so for less than one of them.
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                Self::denied(denial.wait_time().max(Duration::from_nanos(1)))
            }
        };
        match verdict.status() {
            Some(status) if !failed => {
                answer.standing(status.remaining().into(), status.until_next(), status.until_rest())
            }
            _ => answer,
        }
    }
}

/// A shared meter decides with its own deadline. If it fails, its own [`OnFailure`](ratelimit_meter_store::OnFailure) applies first: `Deny` gives
/// a 503, `Allow` admits, `Local` decides by its own meter, and an `Error` is left to the layer's [`OnStoreFailure`](crate::OnStoreFailure). None of
/// them sends fields, and the response gives no cells of theirs back. [`Distributed::charge_if`](crate::Distributed::charge_if) charges a request that
/// they admit, because the store may answer by then.
#[cfg(feature = "store")]
impl<S: AsyncStore> RemoteMeter for SharedMeter<S> {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        let verdict = self.check_n(key, cells).await.map_err(|_| StoreFailed)?;
        Ok(Answer::of_verdict(&verdict))
    }

    async fn peek(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        let verdict = self.precheck_n(key, cells).await.map_err(|_| StoreFailed)?;
        Ok(Answer::of_verdict(&verdict))
    }

    async fn charge(&self, key: &str, cells: u64) -> Result<(), StoreFailed> {
        Self::charge(self, key, cells)
            .await
            .map(|_| ())
            .map_err(|_| StoreFailed)
    }

    async fn refund(&self, key: &str, cells: u64) -> Result<(), StoreFailed> {
        Self::refund(self, key, cells).await.map_err(|_| StoreFailed)
    }

    async fn reset(&self, key: &str) -> Result<(), StoreFailed> {
        Self::reset(self, key).await.map_err(|_| StoreFailed)
    }
}
