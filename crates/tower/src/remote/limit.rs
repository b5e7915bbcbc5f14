//! The limit for each key, with its settings.

use super::doubt::Doubts;
use super::meter::{Answer, RemoteMeter, StoreFailed};
use crate::address::{InvalidNet, Net, nets};
use crate::error::InvalidLimit;
use crate::head::Head;
use crate::key::{FindAddress, Key, KeyWriter};
use crate::layer::RateLimitLayer;
use crate::limit::{BASE_TIER, BoxLimit, HeadFn, KEYLESS, OnNoKey, Rules, TierName, outside, settings};
use crate::meters::HashedKey;
use crate::policy::Policy;
use crate::respond::Problem;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use http::StatusCode;
use ratelimit_meter::Quota;
use ratelimit_meter::keyed::KeyHashes;
#[cfg(feature = "queue")]
use std::time::Duration;

/// The decision of the layer if the store gives none.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Admits, and announces nothing.
    #[default]
    Open,
    /// Denies with 503.
    Closed,
    /// Asks a limit of this process, which should allow a share of the quota. If that limit is [`late`](crate::Limiter::late), a request that the store
    /// decides has a [`Charge`](crate::Charge) that charges nothing. The [`RemoteCharge`](crate::RemoteCharge) of a [late](Distributed::late) limit charges the
    /// limit that decided.
    Local(BoxLimit),
}

/// A limit for each key that a store elsewhere keeps; [`RateLimitLayer::remote`] takes it.
///
/// The inner service must be `Clone`, because the future of a request calls it after the store's answer. While a request waits for the answer, it holds
/// no permit of the inner service.
///
/// ```
/// use ratelimit_meter_tower::{Answer, Distributed, OnStoreFailure, PeerIp, RateLimitLayer, RemoteMeter, StoreFailed};
/// use std::time::Duration;
///
/// struct Sidecar;
///
/// impl RemoteMeter for Sidecar {
///     async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
///         Ok(Answer::admitted().standing(9, Duration::ZERO, Duration::from_secs(6)))
///     }
/// }
///
/// let limit = Distributed::new(PeerIp::new(), "10/min".parse()?, Sidecar).on_failure(OnStoreFailure::Closed);
/// let layer = RateLimitLayer::remote(limit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Distributed<K, M> {
    key: K,
    hashes: KeyHashes,
    /// At least one.
    tiers: Vec<RemoteTier<M>>,
    tier_by: Option<HeadFn<Option<TierName>>>,
    pub(super) rules: Rules,
    pub(super) on_failure: OnStoreFailure,
    deadline: Option<Sleep>,
    doubts: Doubts,
}

/// A meter elsewhere, and its policy.
pub(super) struct RemoteTier<M> {
    pub(super) meter: M,
    pub(super) policy: Policy,
}

/// Makes a future that ends when a call has taken too long.
type Sleep = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl<K: Key, M: RemoteMeter> Distributed<K, M> {
    /// Returns a limit for each key by a meter elsewhere. `quota` must be the meter's, and is announced to clients.
    #[must_use]
    pub fn new(key: K, quota: Quota, meter: M) -> Self {
        Self {
            key,
            hashes: KeyHashes::random(),
            tiers: vec![RemoteTier {
                meter,
                policy: Policy::new("default", BASE_TIER, quota),
            }],
            tier_by: None,
            rules: Rules::default(),
            on_failure: OnStoreFailure::default(),
            deadline: None,
            doubts: Doubts::default(),
        }
    }

    /// Names the policy; `default` otherwise.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.policies(|policy| policy.named(name))
    }

    /// Sets the unit that is counted, as [`Limiter::unit`](crate::Limiter::unit) does.
    #[must_use]
    pub fn unit(self, unit: &str) -> Self {
        self.policies(|policy| policy.with_unit(unit))
    }

    fn policies(mut self, change: impl Fn(&Policy) -> Policy) -> Self {
        for tier in &mut self.tiers {
            tier.policy = change(&tier.policy);
        }
        self
    }

    settings! {
        /// Denies nothing, whether the store answers or not, and reports the denials it would have made to the observer: a limit on trial. It is not
        /// announced.
        dry_run,
        /// Takes the cost before the response, and gives it back if the closure returns true, as [`Limiter::refund_if`](crate::Limiter::refund_if) does.
        /// Such a response waits for the store once more. If the store fails then, the cost stays counted. The fields report the limit as it was
        /// before. For log-ins, of which most succeed, [`charge_if`](Self::charge_if) calls the store less often.
        refund_if,
        /// Charges the cost after the response, if the closure returns true, as [`Limiter::charge_if`](crate::Limiter::charge_if) does. Before the response,
        /// the store only decides whether the cost conforms. So requests in flight at once, on all machines, may overdraw, into debt.
        ///
        /// Only a charged response waits for the store once more. A request that is admitted by [`OnStoreFailure::Open`] is charged, too, because the
        /// store may answer by then. A request that [`OnStoreFailure::Local`] decides is charged by that limit alone.
        ///
        /// If the store fails at the charge, the response is passed on as it is, and its cost may not be counted. From then on, requests of that key are
        /// decided as by [`refund_if`](Self::refund_if), until the store has counted one. The store takes the cost before the response, and it is given back
        /// after a response that is not charged. While a store can read but not write, as a Redis without memory, each such decision fails, and
        /// [`on_failure`](Self::on_failure) applies. If that is not [`OnStoreFailure::Open`], only requests that were under way at the first failed charge are
        /// lost, in each process.
        ///
        /// A request whose future is dropped before its response is charged by a task of the tokio runtime, with the features `store` or `queue`. Without
        /// them, or outside of a runtime, it is not charged.
        ///
        /// The [`RemoteMeter`] needs [`peek`](RemoteMeter::peek), [`charge`](RemoteMeter::charge) and [`refund`](RemoteMeter::refund). `SharedMeter` has them.
        ///
        /// ```
        /// use ratelimit_meter_tower::{Distributed, PeerIp, RateLimitLayer, RemoteMeter};
        ///
        /// /// Only failed log-ins count.
        /// fn failures<M: RemoteMeter>(meter: M) -> Result<RateLimitLayer<Distributed<PeerIp, M>>, Box<dyn std::error::Error>> {
        ///     let limit = Distributed::new(PeerIp::new(), "5/h".parse()?, meter).charge_if(|reply| reply.status() == 401);
        ///     Ok(RateLimitLayer::remote(limit))
        /// }
        /// ```
        charge_if,
        /// Does not count a request whose future is dropped before its response, as [`Limiter::refund_cancelled`](crate::Limiter::refund_cancelled) does.
        /// A task of the tokio runtime gives its cost back. A request that is dropped while it waits for the store may have counted.
        #[cfg(any(feature = "queue", feature = "store"))]
        refund_cancelled,
        /// Puts a [`RemoteCharge`](crate::RemoteCharge) into the extensions of the request, with which its handler charges or refunds cells that are known
        /// only later, such as tokens. The fields of the response report the limit as it was when the request was admitted.
        ///
        /// With a [`cost`](Self::cost) of 0 the request itself takes nothing. It is admitted if a cell conforms, so not while the key is in debt; for this
        /// the [`RemoteMeter`] needs [`peek`](RemoteMeter::peek).
        ///
        /// ```
        /// use ratelimit_meter_tower::{BearerKey, Distributed, RateLimitLayer, RemoteMeter};
        ///
        /// fn tokens<M: RemoteMeter>(meter: M) -> Result<RateLimitLayer<Distributed<BearerKey, M>>, Box<dyn std::error::Error>> {
        ///     let limit = Distributed::new(BearerKey::new(), "100000/min".parse()?, meter).named("tokens").cost(|_| 0).late();
        ///     Ok(RateLimitLayer::remote(limit))
        /// }
        /// ```
        late,
    }

    /// Sets the decision for when the store gives none, [`OnStoreFailure::Open`] by default.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnStoreFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Adds a tier: another quota, kept by another meter, for the requests that [`tier_by`](Self::tier_by) puts there.
    ///
    /// Give the meters of all tiers one name in the store. Then a key that changes tiers keeps its debt.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit::DuplicateTier`] if there is a tier of this name.
    ///
    #[cfg_attr(feature = "store", doc = "```")]
    #[cfg_attr(not(feature = "store"), doc = "```ignore")]
    /// use ratelimit_meter::Quota;
    /// use ratelimit_meter_store::{MemoryStore, SharedMeter};
    /// use ratelimit_meter_tower::{BearerKey, Distributed, RateLimitLayer};
    ///
    /// #[derive(Clone)]
    /// struct Plan { name: &'static str } // which an outer layer has found
    ///
    /// let store = MemoryStore::new(); // in production: of ratelimit_meter_redis or ratelimit_meter_postgres
    /// let meter = |quota: Quota| SharedMeter::builder("users", quota).build(store.clone());
    /// let (free, pro): (Quota, Quota) = ("60/min".parse()?, "600/min".parse()?);
    /// let limit = Distributed::new(BearerKey::new(), free, meter(free)?)
    ///     .tier("pro", pro, meter(pro)?)?
    ///     .tier_by(|head| head.extensions().get::<Plan>().map(|plan| plan.name));
    /// let layer = RateLimitLayer::remote(limit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tier(mut self, name: &str, quota: Quota, meter: M) -> Result<Self, InvalidLimit> {
        if self.tiers.iter().any(|tier| tier.policy.tier() == name) {
            let tier = name.to_owned();
            return Err(InvalidLimit::DuplicateTier { tier });
        }
        let policy = self.policy().for_tier(name, quota);
        self.tiers.push(RemoteTier { meter, policy });
        Ok(self)
    }

    /// Sets how a request's tier is found, by name or number, as [`Limiter::tier_by`](crate::Limiter::tier_by) does.
    #[must_use]
    pub fn tier_by<N: Into<TierName>>(mut self, tier: impl Fn(&Head<'_>) -> Option<N> + Send + Sync + 'static) -> Self {
        self.tier_by = Some(Box::new(move |head| tier(head).map(Into::into)));
        self
    }

    /// Sets how long an answer may take, by tokio's timer; none by default, since meters have deadlines of their own.
    #[cfg(feature = "queue")]
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(Box::new(move || Box::pin(tokio::time::sleep(deadline))));
        self
    }

    /// Cancels the debt of a key by the meters of all tiers, as after a log-in, or when support lifts a block. The closure writes the key as for
    /// [`subject`](Self::subject).
    ///
    /// ```
    /// use ratelimit_meter_tower::{Distributed, PeerIp, RemoteMeter, StoreFailed};
    /// use std::net::IpAddr;
    ///
    /// async fn lift<M: RemoteMeter>(limit: &Distributed<PeerIp, M>, client: IpAddr) -> Result<(), StoreFailed> {
    ///     limit.reset(|key| PeerIp::new().write(client, key)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if a store gave no answer. The debt may have been cancelled there, and is cancelled by the other meters.
    pub async fn reset(&self, key: impl FnOnce(&mut KeyWriter<'_>)) -> Result<(), StoreFailed> {
        let subject = self.subject(key);
        let mut result = Ok(());
        for tier in &self.tiers {
            result = self.in_time(tier.meter.reset(&subject)).await.and(result);
        }
        result
    }

    /// Returns the subject by which the meter knows a key, as for a page that shows the limits of clients: `peek` of a `SharedMeter`
    /// takes it. The closure writes the key as its [`Key`] does; see [`Limiter::remaining`](crate::Limiter::remaining).
    ///
    /// ```
    /// # struct Sidecar;
    /// # impl ratelimit_meter_tower::RemoteMeter for Sidecar {
    /// #     async fn take(&self, _: &str, _: u32) -> Result<ratelimit_meter_tower::Answer, ratelimit_meter_tower::StoreFailed> {
    /// #         Ok(ratelimit_meter_tower::Answer::admitted())
    /// #     }
    /// # }
    /// use ratelimit_meter_tower::{Distributed, PeerIp, RateLimitLayer};
    ///
    /// let layer = RateLimitLayer::remote(Distributed::new(PeerIp::new(), "10/min".parse()?, Sidecar));
    /// let client = "192.0.2.1".parse()?;
    /// assert_eq!(layer.limits().subject(|key| PeerIp::new().write(client, key)), "192.0.2.1|");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subject(&self, key: impl FnOnce(&mut KeyWriter<'_>)) -> String {
        let mut spelled = String::new();
        key(&mut KeyWriter::spelling(&self.hashes, &mut spelled));
        spelled
    }

    /// Asks the meter, until the deadline. If the answer is counted, the store has taken the cost.
    pub(super) async fn ask(&self, ask: &StoreAsk) -> Result<Answer, StoreFailed> {
        let Ok(cells) = u32::try_from(ask.cost) else {
            return Ok(Answer::never());
        };
        let only_reads = self.rules.charges_after() || self.rules.late && cells == 0;
        if !only_reads {
            return self.take(ask, cells).await;
        }
        // A late limit admits no request in debt, even at no cost.
        let asked = cells.max(self.rules.late.into());
        if !self.doubts.contains(ask.hash) {
            let is_counted = false;
            let answer = self.peek(ask, asked).await?;
            return Ok(Answer { is_counted, ..answer });
        }
        let answer = self.take(ask, asked).await?;
        if answer.is_counted && asked > cells {
            // If the store fails now, the cell stays counted.
            let _ = self.refund(ask, 1).await;
        }
        Ok(answer)
    }

    /// Decides cells and counts nothing, until the deadline.
    pub(super) async fn peek(&self, ask: &StoreAsk, cells: u32) -> Result<Answer, StoreFailed> {
        self.in_time(self.tier_for(ask).meter.peek(&ask.key, cells)).await
    }

    /// Takes cells if they conform, until the deadline.
    pub(super) async fn take(&self, ask: &StoreAsk, cells: u32) -> Result<Answer, StoreFailed> {
        let answer = self.in_time(self.tier_for(ask).meter.take(&ask.key, cells)).await?;
        if answer.is_counted && cells > 0 {
            self.doubts.remove(ask.hash);
        }
        Ok(answer)
    }

    /// Counts cells, until the deadline.
    pub(super) async fn charge(&self, ask: &StoreAsk, cells: u64) -> Result<(), StoreFailed> {
        let charged = self.in_time(self.tier_for(ask).meter.charge(&ask.key, cells)).await;
        if charged.is_err() {
            self.doubts.insert(ask.hash);
        }
        charged
    }

    /// Gives back cells that the meter took, until the deadline.
    pub(super) async fn refund(&self, ask: &StoreAsk, cells: u64) -> Result<(), StoreFailed> {
        self.in_time(self.tier_for(ask).meter.refund(&ask.key, cells)).await
    }

    /// Returns `true` if the response, or its absence, may change the count in the store.
    pub(super) fn counts_after(&self) -> bool {
        self.rules.after.is_some() || self.rules.refund_cancelled
    }

    pub(super) fn tier_for(&self, ask: &StoreAsk) -> &RemoteTier<M> {
        &self.tiers[ask.tier]
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, StoreFailed>>) -> Result<T, StoreFailed> {
        let mut answer = pin!(answer);
        let mut deadline = self.deadline.as_ref().map(|sleep| sleep());
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => match &mut deadline {
                Some(deadline) => deadline.as_mut().poll(cx).map(|()| Err(StoreFailed)),
                None => Poll::Pending,
            },
        })
        .await
    }

    /// Returns the cells that a request asks for; `None` if the limit does not apply to it, or the status of a rejection.
    pub(super) fn plan(&self, head: &Head<'_>, no_key: impl FnOnce()) -> Result<Option<StoreAsk>, StatusCode> {
        if !self.rules.apply_to(head) {
            return Ok(None);
        }
        let mut key = String::new();
        let mut writer = KeyWriter::spelling(&self.hashes, &mut key);
        if let Ok(()) = self.key.find(head, &mut writer) {
            if self.key.ignores_forwarding() {
                self.rules.warned.of_forwarding(head);
            }
            return Ok(Some(StoreAsk {
                hash: writer.hashed(),
                key,
                tier: self.tier_of(head),
                cost: self.rules.cost_of(head),
            }));
        }
        let action = self.rules.without_key();
        self.rules.warned.of_no_key(action);
        no_key();
        match action {
            OnNoKey::Share => Ok(Some(StoreAsk {
                key: "no key".to_owned(),
                hash: KEYLESS,
                tier: 0,
                cost: self.rules.cost_of(head),
            })),
            OnNoKey::Pass => Ok(None),
            OnNoKey::Reject(status) => Err(status),
        }
    }

    fn tier_of(&self, head: &Head<'_>) -> usize {
        let Some(name) = self.tier_by.as_ref().and_then(|tier_by| tier_by(head)) else {
            return 0;
        };
        let number = match &name {
            TierName::Number(number) => Some(usize::from(*number)).filter(|number| *number < self.tiers.len()),
            TierName::Name(name) => self.tiers.iter().position(|tier| tier.policy.tier() == name),
        };
        number.unwrap_or_else(|| {
            self.rules.warned.of_tier(&name);
            0
        })
    }
}

/// The cells that a request asks of a meter elsewhere.
#[derive(Clone)]
pub(super) struct StoreAsk {
    /// As the store gets it.
    pub(super) key: String,
    /// For observers.
    pub(super) hash: HashedKey,
    tier: usize,
    pub(super) cost: u64,
}

impl<K, M> Distributed<K, M> {
    /// Returns the policy of the first tier.
    pub(super) fn policy(&self) -> &Policy {
        &self.tiers[0].policy
    }
}

impl<K: Key + FindAddress + Clone + 'static, M: RemoteMeter> Distributed<K, M> {
    /// Does not apply to clients of these networks, as [`Limiter::allow`](crate::Limiter::allow) does.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if one of them is no network.
    pub fn allow<I>(self, allowed: I) -> Result<Self, InvalidNet>
    where
        I: IntoIterator<Item: TryInto<Net, Error: Into<InvalidNet>>>,
    {
        let key = self.key.clone();
        Ok(self.only(outside(key, nets(allowed)?)))
    }
}

impl<K, M> RateLimitLayer<Distributed<K, M>> {
    /// Returns a layer whose limit is kept by a store elsewhere. It answers with [`Problem`]; for a tonic server, add
    /// [`.respond(Grpc)`](RateLimitLayer::respond).
    #[must_use]
    pub fn remote(limit: Distributed<K, M>) -> Self {
        let lends = matches!(&limit.on_failure, OnStoreFailure::Local(local) if local.is_late());
        Self::answering(limit, Problem, lends)
    }
}

impl<K: fmt::Debug, M> fmt::Debug for Distributed<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distributed")
            .field("key", &self.key)
            .field("policy", &self.policy().name())
            .field("quota", &format_args!("{}", self.policy().quota()))
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}
