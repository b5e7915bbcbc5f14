//! Counting by the response, or by its absence.

use super::limit::{Distributed, StoreAsk};
use super::meter::RemoteMeter;
use crate::head::ResponseHead;
use crate::key::Key;
use crate::limit::After;
use core::future::Future;
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
    /// Changes the store, until the deadline. Returns the request's ask if its cost was charged.
    async fn carry_out<K: Key, M: RemoteMeter>(self, limit: Arc<Distributed<K, M>>) -> Option<StoreAsk> {
        let ask = self.ask;
        match self.change {
            Change::Charge => limit.charge(&ask, ask.cost).await.is_ok().then_some(ask),
            Change::Refund => {
                // If the store fails now, the cells stay counted.
                let _ = limit.refund(&ask, ask.cost).await;
                None
            }
        }
    }

    /// Starts to change the store by a task, which goes on if the returned future is dropped: a client that leaves must not undo a count. Outside of a
    /// runtime the returned future makes the change.
    #[cfg(any(feature = "queue", feature = "store"))]
    pub(super) fn start<K: Key + 'static, M: RemoteMeter>(
        self,
        limit: Arc<Distributed<K, M>>,
    ) -> impl Future<Output = Option<StoreAsk>> + Send {
        let change = self.carry_out(limit);
        let task = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => Ok(runtime.spawn(change)),
            Err(_) => Err(change),
        };
        async move {
            match task {
                Ok(task) => task.await.unwrap_or_default(),
                Err(change) => change.await,
            }
        }
    }

    #[cfg(not(any(feature = "queue", feature = "store")))]
    pub(super) fn start<K: Key + 'static, M: RemoteMeter>(
        self,
        limit: Arc<Distributed<K, M>>,
    ) -> impl Future<Output = Option<StoreAsk>> + Send {
        self.carry_out(limit)
    }
}

/// A request that is dropped before its response has counted, unless its limit refunds cancelled requests.
impl<K: Key + 'static, M: RemoteMeter> Drop for Unsettled<K, M> {
    fn drop(&mut self) {
        if let Some(settlement) = self.by_drop() {
            drop(settlement.start(Arc::clone(&self.limit)));
        }
    }
}
