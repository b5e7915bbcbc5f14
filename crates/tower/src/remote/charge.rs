//! Charges that are known only later, of limits that a store elsewhere keeps.

use super::limit::StoreAsk;
use super::meter::{Answer, RemoteMeter, StoreFailed};
use super::settle::Settler;
use crate::charge::{Charge, ChargeDenied};
use crate::key::Key;
use crate::limit::Asked;
use crate::observe::Observe;
use core::error::Error;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use http::Request;
use smallvec::SmallVec;
use std::sync::Arc;

/// Charges the limits of a request that a store elsewhere keeps, after it was admitted: a [`Charge`] whose calls wait for the store. The handler of a
/// [late](crate::Distributed::late) `Distributed` limit finds it in the request's extensions.
///
/// If several such layers are around a handler, the handler finds one `RemoteCharge` for all of them. A request to which none of them applies has one that
/// charges nothing. If the store gave no decision and [`OnStoreFailure::Local`](crate::OnStoreFailure::Local) admitted the request, that limit is
/// charged if it is late.
///
/// A `RemoteCharge` borrows nothing from the request. Keep it as long as there is something to charge. A response need not wait for the store: charge in
/// a task, or where the stream of the response ends.
///
/// ```
/// use ratelimit_meter_tower::RemoteCharge;
///
/// async fn generate(charge: RemoteCharge) -> String {
///     let (text, tokens) = ("...".to_owned(), 1234);
///     if charge.charge(tokens).await.is_err() {
///         // The store does not answer, and these tokens are not counted.
///     }
///     text
/// }
/// ```
#[derive(Clone)]
pub struct RemoteCharge {
    items: Arc<[LateItem]>,
}

#[derive(Clone)]
enum LateItem {
    /// A key of a limit in a store.
    InStore(Arc<dyn LateKey>),
    /// The limit of this process that decided for the store.
    Here(Charge),
}

type StoreCall<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreFailed>> + Send + 'a>>;

/// One key of a limit of any type.
trait LateKey: Send + Sync {
    fn policy(&self) -> &str;
    fn is_trial(&self) -> bool;
    /// The limit, and the key as the store gets it.
    fn identity(&self) -> (*const (), &str);
    fn take(&self, cells: u32) -> StoreCall<'_, Answer>;
    fn charge(&self, cells: u64) -> StoreCall<'_, ()>;
    fn refund(&self, cells: u64) -> StoreCall<'_, ()>;
}

struct StoredKey<K, M, H> {
    settler: Settler<K, M, H>,
    ask: StoreAsk,
}

impl<K: Key + 'static, M: RemoteMeter, H: Observe> LateKey for StoredKey<K, M, H> {
    fn policy(&self) -> &str {
        self.settler.limit.policy().name()
    }

    fn is_trial(&self) -> bool {
        self.settler.limit.rules.dry_run
    }

    fn identity(&self) -> (*const (), &str) {
        (Arc::as_ptr(&self.settler.limit).cast(), &self.ask.key)
    }

    fn take(&self, cells: u32) -> StoreCall<'_, Answer> {
        Box::pin(self.settler.take(&self.ask, cells))
    }

    fn charge(&self, cells: u64) -> StoreCall<'_, ()> {
        Box::pin(self.settler.charge(&self.ask, cells))
    }

    fn refund(&self, cells: u64) -> StoreCall<'_, ()> {
        Box::pin(self.settler.refund(&self.ask, cells))
    }
}

impl LateItem {
    fn is_trial(&self) -> bool {
        match self {
            Self::InStore(key) => key.is_trial(),
            Self::Here(_) => false,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::InStore(a), Self::InStore(b)) => a.identity() == b.identity(),
            (Self::Here(a), Self::Here(b)) => a.is_same(b),
            _ => false,
        }
    }

    /// Counts `cells` if they conform. Returns `true` if they were counted: a meter whose store has failed may admit them uncounted.
    async fn check(&self, cells: u32) -> Result<bool, RemoteChargeError> {
        let answer = match self {
            Self::Here(charge) => return charge.check(cells).map(|()| true).map_err(RemoteChargeError::Denied),
            Self::InStore(key) => key.take(cells).await.map_err(RemoteChargeError::Failed)?,
        };
        match answer.denied {
            None => Ok(answer.is_counted),
            Some(denied) => Err(RemoteChargeError::Denied(denied.into())),
        }
    }

    async fn charge(&self, cells: u64) -> Result<(), StoreFailed> {
        match self {
            Self::InStore(key) => key.charge(cells).await,
            Self::Here(charge) => {
                charge.charge(cells);
                Ok(())
            }
        }
    }

    async fn refund(&self, cells: u64) -> Result<(), StoreFailed> {
        match self {
            Self::InStore(key) => key.refund(cells).await,
            Self::Here(charge) => {
                charge.refund(cells);
                Ok(())
            }
        }
    }
}

impl RemoteCharge {
    /// Returns the charge of a request to a limit in a store.
    pub(super) fn of<K, M, H>(settler: Settler<K, M, H>, ask: &StoreAsk) -> Self
    where
        K: Key + 'static,
        M: RemoteMeter,
        H: Observe + 'static,
    {
        let ask = ask.clone();
        Self::of_items(vec![LateItem::InStore(Arc::new(StoredKey { settler, ask }))])
    }

    /// Returns the charge of a request that limits of this process have decided.
    pub(super) fn of_local(asked: &Asked<'_>) -> Self {
        let charge = Charge::of(asked.asks());
        Self::of_items(charge.into_iter().map(LateItem::Here).collect())
    }

    /// Returns the charge that charges nothing.
    pub(super) fn nothing() -> Self {
        Self::of_items(Vec::new())
    }

    fn of_items(mut items: Vec<LateItem>) -> Self {
        // Trials come last, because they count the messages that the enforced limits admit.
        items.sort_by_key(LateItem::is_trial);
        Self { items: items.into() }
    }

    /// Puts it into the extensions of a request, beside that of outer layers. A limit that both layers have is charged once.
    pub(super) fn lend<B>(self, request: &mut Request<B>) {
        let extensions = request.extensions_mut();
        let charge = match extensions.remove::<Self>() {
            Some(outer) => {
                let is_new = |item: &&LateItem| !outer.items.iter().any(|other| other.is_same(item));
                let added = self.items.iter().filter(is_new);
                Self::of_items(outer.items.iter().chain(added).cloned().collect())
            }
            None => self,
        };
        extensions.insert(charge);
    }

    /// Returns the charge of the late limit of this name alone. If there is none, the result charges nothing and its checks succeed.
    #[must_use]
    pub fn of_policy(&self, name: &str) -> Self {
        let items = self.items.iter().filter_map(|item| match item {
            LateItem::InStore(key) => (key.policy() == name).then(|| item.clone()),
            LateItem::Here(charge) => Some(LateItem::Here(charge.of_policy(name))),
        });
        Self { items: items.collect() }
    }

    /// Counts `cells`, whether they conform or not. Cells that do not conform become a debt, and later requests are denied until it has drained.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if a store gave no answer. The cells may have been counted there, and are counted by the other limits. Until that store counts
    /// again, it decides requests of no [`cost`](crate::Distributed::cost) by a call that writes. The failure of a
    /// [`dry_run`](crate::Distributed::dry_run) limit is not an error.
    pub async fn charge(&self, cells: u64) -> Result<(), StoreFailed> {
        let mut result = Ok(());
        for item in &*self.items {
            let charged = item.charge(cells).await;
            if !item.is_trial() {
                result = charged.and(result);
            }
        }
        result
    }

    /// Counts `cells` if they conform to every late limit: the decision about one message of a WebSocket. If a limit denies, the cells that limits before
    /// it have counted are given back. A [`dry_run`](crate::Distributed::dry_run) limit denies nothing here either, and counts if the cells conform to it.
    ///
    /// # Errors
    ///
    /// [`RemoteChargeError`], if the cells do not conform now, or if a store gave no decision. A denial is that of the first limit that denies. A later
    /// limit may deny longer, but its store is not called.
    pub async fn check(&self, cells: u32) -> Result<(), RemoteChargeError> {
        let mut counted = SmallVec::<[&LateItem; 4]>::new();
        for item in &*self.items {
            match item.check(cells).await {
                Ok(true) => counted.push(item),
                Err(error) if !item.is_trial() => {
                    for before in counted {
                        // If the store fails, the cells stay counted there.
                        let _ = before.refund(cells.into()).await;
                    }
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives `cells` back, but no more than makes the key idle.
    ///
    /// # Errors
    ///
    /// As [`charge`](Self::charge). The cells may have been given back there, and are given back by the other limits.
    pub async fn refund(&self, cells: u64) -> Result<(), StoreFailed> {
        let mut result = Ok(());
        for item in &*self.items {
            let refunded = item.refund(cells).await;
            if !item.is_trial() {
                result = refunded.and(result);
            }
        }
        result
    }
}

impl fmt::Debug for RemoteCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for item in &*self.items {
            match item {
                LateItem::InStore(key) => list.entry(&key.policy()),
                LateItem::Here(charge) => list.entry(charge),
            };
        }
        list.finish()
    }
}

/// A message or another part of a request was not counted; see [`RemoteCharge::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteChargeError {
    /// The cells do not conform now.
    Denied(ChargeDenied),
    /// A store gave no decision. The cells may have been counted there.
    Failed(StoreFailed),
}

impl fmt::Display for RemoteChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl Error for RemoteChargeError {}
