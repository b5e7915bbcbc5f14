//! Counting after the admission: by the response, by its absence, or by the handler.

use super::limit::{Distributed, StoreAsk};
use super::meter::{Answer, RemoteMeter, StoreFailed};
use crate::head::ResponseHead;
use crate::key::Key;
use crate::limit::After;
use crate::meters::Denied;
use crate::observe::Observe;
use core::future::Future;
use http::Response;
use std::sync::Arc;

/// A limit with the observer of its layer, for the calls of the store after an admission.
pub(super) struct Settler<K, M, H> {
    pub(super) limit: Arc<Distributed<K, M>>,
    observer: Arc<H>,
}

impl<K, M, H> Clone for Settler<K, M, H> {
    fn clone(&self) -> Self {
        Self::new(&self.limit, &self.observer)
    }
}

impl<K, M, H> Settler<K, M, H> {
    pub(super) fn new(limit: &Arc<Distributed<K, M>>, observer: &Arc<H>) -> Self {
        let (limit, observer) = (Arc::clone(limit), Arc::clone(observer));
        Self { limit, observer }
    }
}

impl<K: Key, M: RemoteMeter, H: Observe> Settler<K, M, H> {
    /// Takes cells if they conform, and reports a failure.
    pub(super) async fn take(&self, ask: &StoreAsk, cells: u32) -> Result<Answer, StoreFailed> {
        let answer = self.limit.take(ask, cells).await;
        self.reported(answer.and_then(|answer| match answer.denied {
            // A shared meter answers so if its store failed.
            Some(Denied::Full(_)) => Err(StoreFailed),
            _ => Ok(answer),
        }))
    }

    /// Counts cells, and reports a failure.
    pub(super) async fn charge(&self, ask: &StoreAsk, cells: u64) -> Result<(), StoreFailed> {
        self.reported(self.limit.charge(ask, cells).await)
    }

    /// Gives cells back, and reports a failure.
    pub(super) async fn refund(&self, ask: &StoreAsk, cells: u64) -> Result<(), StoreFailed> {
        self.reported(self.limit.refund(ask, cells).await)
    }

    fn reported<T>(&self, result: Result<T, StoreFailed>) -> Result<T, StoreFailed> {
        result.inspect_err(|_| self.observer.store_failed_later(self.limit.policy().name()))
    }
}

/// A request that is under way, whose count in the store depends on the response.
pub(super) struct Unsettled<K: Key + 'static, M: RemoteMeter, H: Observe + 'static> {
    settler: Settler<K, M, H>,
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

impl Change {
    /// Returns the change that makes a cost counted or not.
    fn of(is_counted: bool, counts: bool) -> Option<Self> {
        match (is_counted, counts) {
            (false, true) => Some(Self::Charge),
            (true, false) => Some(Self::Refund),
            _ => None,
        }
    }
}

impl<K: Key + 'static, M: RemoteMeter, H: Observe + 'static> Unsettled<K, M, H> {
    pub(super) fn new(settler: Settler<K, M, H>, ask: StoreAsk, is_counted: bool) -> Self {
        let ask = Some(ask);
        Self {
            settler,
            ask,
            is_counted,
        }
    }

    /// Returns the change because of the inner service's result.
    pub(super) fn by_result<C, E>(mut self, result: &Result<Response<C>, E>) -> Option<Settlement> {
        let ask = self.ask.take()?;
        let counts = match (self.settler.limit.rules.after.as_deref()?, result) {
            (After::RefundIf(refunds), Ok(response)) => self.is_counted && !refunds(&ResponseHead::of(response)),
            (After::RefundIf(_), Err(_)) => self.is_counted,
            (After::ChargeIf(charges), Ok(response)) => charges(&ResponseHead::of(response)),
            // There is no response to count by.
            (After::ChargeIf(_), Err(_)) => true,
        };
        let change = Change::of(self.is_counted, counts)?;
        Some(Settlement { ask, change })
    }

    /// Returns the change because the future was dropped before the inner service's result.
    fn by_drop(&mut self) -> Option<Settlement> {
        let ask = self.ask.take()?;
        let rules = &self.settler.limit.rules;
        let counts = (self.is_counted || rules.charges_after()) && !rules.refund_cancelled;
        let change = Change::of(self.is_counted, counts)?;
        Some(Settlement { ask, change })
    }
}

impl Settlement {
    /// Changes the store, until the deadline. Returns the request's ask if its cost was charged.
    async fn carry_out<K: Key, M: RemoteMeter, H: Observe>(self, settler: Settler<K, M, H>) -> Option<StoreAsk> {
        let ask = self.ask;
        match self.change {
            Change::Charge => settler.charge(&ask, ask.cost).await.is_ok().then_some(ask),
            Change::Refund => {
                // If the store fails now, the cells stay counted.
                let _ = settler.refund(&ask, ask.cost).await;
                None
            }
        }
    }

    /// Starts to change the store by a task, which goes on if the returned future is dropped: a client that leaves must not undo a count. Outside of a
    /// runtime the returned future makes the change.
    #[cfg(any(feature = "queue", feature = "store"))]
    pub(super) fn start<K: Key + 'static, M: RemoteMeter, H: Observe + 'static>(
        self,
        settler: Settler<K, M, H>,
    ) -> impl Future<Output = Option<StoreAsk>> + Send {
        let change = self.carry_out(settler);
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
    pub(super) fn start<K: Key + 'static, M: RemoteMeter, H: Observe + 'static>(
        self,
        settler: Settler<K, M, H>,
    ) -> impl Future<Output = Option<StoreAsk>> + Send {
        self.carry_out(settler)
    }
}

/// A request that is dropped before its response has counted, unless its limit refunds cancelled requests.
impl<K: Key + 'static, M: RemoteMeter, H: Observe + 'static> Drop for Unsettled<K, M, H> {
    fn drop(&mut self) {
        if let Some(settlement) = self.by_drop() {
            drop(settlement.start(self.settler.clone()));
        }
    }
}
