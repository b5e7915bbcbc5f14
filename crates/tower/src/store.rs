//! Meters that Redis, Valkey or PostgreSQL keep, as they are.

use crate::remote::{Answer, RemoteMeter, StoreFailed};
use ratelimit_meter::NegativeMultiDecision;
use ratelimit_meter_store::{SharedMeter, Store, Via};
use std::time::Duration;

/// A shared meter decides with its own deadline. If it fails, its own [`OnFailure`](ratelimit_meter_store::OnFailure) goes first: what `Deny` denies
/// is a 503, what `Allow` admits is not announced, and an `Error` is left to the layer's.
impl<S: Store> RemoteMeter for SharedMeter<S> {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        let verdict = self.check_n(key, cells).await.map_err(|_| StoreFailed)?;
        let failed = matches!(verdict.via(), Via::Failure(_));
        let answer = match verdict.decision() {
            Ok(()) => Answer::admitted(),
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Answer::never(),
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) if failed => {
                Answer::unavailable(denial.wait_time())
            }
            // The store counts time in its own units: a denial that is over by now is so for less than one of them.
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                Answer::denied(denial.wait_time().max(Duration::from_nanos(1)))
            }
        };
        Ok(match verdict.status() {
            Some(status) if !failed => {
                answer.standing(status.remaining().into(), status.until_next(), status.until_rest())
            }
            _ => answer,
        })
    }
}
