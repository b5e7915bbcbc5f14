//! Counting by the response, or by its absence.

use super::limit::{Distributed, StoreAsk};
use super::meter::RemoteMeter;
use crate::head::ResponseHead;
use crate::key::Key;
use crate::limit::After;
use http::Response;
use std::sync::Arc;

/// A request that is under way, whose count in the store depends on the response.
pub(super) struct Unsettled<K: Key + 'static, M: RemoteMeter> {
    limit: Arc<Distributed<K, M>>,
    /// `None` once the response is there.
    ask: Option<StoreAsk>,
    /// Set if the store has taken the cost.
    is_counted: bool,
}

/// A change of the store that a response leaves.
pub(super) struct Settlement {
    ask: StoreAsk,
    change: Change,
}

#[derive(Clone, Copy)]
enum Change {
    Charge,
    Refund,
}

impl<K: Key + 'static, M: RemoteMeter> Unsettled<K, M> {
    pub(super) fn new(limit: Arc<Distributed<K, M>>, ask: StoreAsk, is_counted: bool) -> Self {
        let ask = Some(ask);
        Self { limit, ask, is_counted }
    }

    /// Returns the change because of the inner service's result.
    pub(super) fn by_result<C, E>(mut self, result: &Result<Response<C>, E>) -> Option<Settlement> {
        let ask = self.ask.take()?;
        let change = match (self.limit.rules.after.as_deref()?, result) {
            (After::RefundIf(refunds), Ok(response)) if self.is_counted && refunds(&ResponseHead::of(response)) => {
                Change::Refund
            }
            (After::ChargeIf(charges), Ok(response)) if charges(&ResponseHead::of(response)) => Change::Charge,
            // There is no response to count by.
            (After::ChargeIf(_), Err(_)) => Change::Charge,
            _ => return None,
        };
        Some(Settlement { ask, change })
    }

    /// Returns the change because the future was dropped before the inner service's result.
    fn by_drop(&mut self) -> Option<Settlement> {
        let ask = self.ask.take()?;
        let rules = &self.limit.rules;
        let change = match (rules.charges_after(), rules.refund_cancelled) {
            (true, false) => Change::Charge,
            (false, true) if self.is_counted => Change::Refund,
            _ => return None,
        };
        Some(Settlement { ask, change })
    }
}

impl Settlement {
    /// Changes the store, until the deadline. Returns `true` if the cost was charged.
    pub(super) async fn carry_out<K: Key, M: RemoteMeter>(&self, limit: &Distributed<K, M>) -> bool {
        let ask = &self.ask;
        match self.change {
            Change::Charge => limit.charge(ask, ask.cost).await.is_ok(),
            Change::Refund => {
                // The store took a number of cells of 32 bits. If it fails now, they stay counted.
                if let Ok(cells) = u32::try_from(ask.cost) {
                    let _ = limit.refund(ask, cells).await;
                }
                false
            }
        }
    }

    pub(super) const fn ask(&self) -> &StoreAsk {
        &self.ask
    }
}

/// A request that is dropped before its response has counted, unless its limit refunds cancelled requests.
impl<K: Key + 'static, M: RemoteMeter> Drop for Unsettled<K, M> {
    fn drop(&mut self) {
        if let Some(settlement) = self.by_drop() {
            in_background(Arc::clone(&self.limit), settlement);
        }
    }
}

/// Changes the store by a task, because a dropped future cannot wait. Without a runtime nothing is changed.
#[cfg(any(feature = "queue", feature = "store"))]
fn in_background<K: Key + 'static, M: RemoteMeter>(limit: Arc<Distributed<K, M>>, settlement: Settlement) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { settlement.carry_out(&limit).await });
    }
}

#[cfg(not(any(feature = "queue", feature = "store")))]
fn in_background<K, M>(_: Arc<Distributed<K, M>>, _: Settlement) {}
