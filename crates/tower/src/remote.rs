//! Limits that a store elsewhere keeps, for many machines.

use crate::address::{InvalidNet, Net, nets};
use crate::after::Then;
use crate::fields::{Announcement, Position};
use crate::head::{Head, ResponseHead};
use crate::key::{FindAddress, Key, KeyWriter};
use crate::layer::RateLimitLayer;
use crate::limit::{After, Asked, BoxLimit, Denial, KEYLESS, OnNoKey, Reason, Rules, outside, settings};
use crate::meters::{Denied, HashedKey, Standing};
use crate::numbers::nanos;
use crate::observe::{Observe, PolicyDecision};
use crate::policy::Policy;
use crate::respond::{Problem, Respond, status};
use crate::service::{RateLimit, Reserved, ResponseFuture};
use core::error::Error;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use http::{Request, Response, StatusCode};
#[cfg(feature = "store")]
use ratelimit_meter::NegativeMultiDecision;
use ratelimit_meter::Quota;
use ratelimit_meter::keyed::KeyHashes;
#[cfg(feature = "store")]
use ratelimit_meter_store::{AsyncStore, SharedMeter, Via};
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service;

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

    /// Gives back `cells` of `key`, which were taken before; called for [`Distributed::refund_if`].
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if nothing was given back, as in the default implementation. The cells stay counted.
    fn refund(&self, _key: &str, _cells: u32) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        core::future::ready(Err(StoreFailed))
    }
}

/// One meter of several limits.
impl<M: RemoteMeter> RemoteMeter for Arc<M> {
    fn take(&self, key: &str, cells: u32) -> impl Future<Output = Result<Answer, StoreFailed>> + Send {
        (**self).take(key, cells)
    }

    fn refund(&self, key: &str, cells: u32) -> impl Future<Output = Result<(), StoreFailed>> + Send {
        (**self).refund(key, cells)
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
    denied: Option<Denied>,
    standing: Option<Standing>,
    /// Set if the meter has counted the cells, so that they can be given back.
    is_counted: bool,
}

impl Answer {
    /// Returns the answer that the cells were taken.
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
}

/// The decision of the layer if the store gives none.
#[derive(Debug, Default)]
pub enum OnStoreFailure {
    /// Admits, and announces nothing.
    #[default]
    Open,
    /// Denies with 503.
    Closed,
    /// Asks a limit of this process, which should allow a share of the quota. If that limit is [`late`](crate::Limiter::late), a request that the store
    /// decides has a [`Charge`](crate::Charge) that charges nothing.
    Local(BoxLimit),
}

/// A limit for each key that a store elsewhere keeps; [`RateLimitLayer::remote`] takes it.
///
/// The inner service must be `Clone`, because the future of a request calls it after the store's answer. While a request waits for the answer, it holds
/// no permit of the inner service.
///
/// Such a limit has no tiers. For plans, make a layer for each plan, which applies [`only`](Self::only) to requests of that plan. If their meters have one
/// name in one store, a client that changes its plan keeps its debt.
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
    meter: M,
    policy: Policy,
    rules: Rules,
    on_failure: OnStoreFailure,
    deadline: Option<Sleep>,
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
            meter,
            policy: Policy::new("default", "default", quota),
            rules: Rules::default(),
            on_failure: OnStoreFailure::default(),
            deadline: None,
        }
    }

    /// Names the policy; `default` otherwise.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.policy = self.policy.named(name);
        self
    }

    /// Sets the unit that is counted, as [`Limiter::unit`](crate::Limiter::unit) does.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.policy = self.policy.with_unit(unit);
        self
    }

    settings!();

    /// Sets the decision for when the store gives none, [`OnStoreFailure::Open`] by default.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnStoreFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Takes the cost before the response, and gives it back if the closure returns true, as [`Limiter::refund_if`](crate::Limiter::refund_if) does.
    /// Such a response waits for the store once more. If the store fails then, the cost stays counted. The fields report the limit as it was
    /// before.
    #[must_use]
    pub fn refund_if(mut self, refunds: impl Fn(&ResponseHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.rules.after = Some(Arc::new(After::RefundIf(Box::new(refunds))));
        self
    }

    /// Denies nothing, whether the store answers or not, and reports the denials it would have made to the observer: a limit on trial. It is not
    /// announced.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.rules.dry_run = true;
        self
    }

    /// Sets how long an answer may take, by tokio's timer; none by default, since meters have deadlines of their own.
    #[cfg(feature = "queue")]
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(Box::new(move || Box::pin(tokio::time::sleep(deadline))));
        self
    }

    /// Returns the subject by which the meter knows a key, as for a page that shows and resets the limits of clients: `peek` and `reset` of a
    /// `SharedMeter` take it. The closure writes the key as its [`Key`] does; see [`Limiter::remaining`](crate::Limiter::remaining).
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

    /// Asks the meter, until the deadline.
    async fn ask(&self, key: &str, cost: u64) -> Result<Answer, StoreFailed> {
        let Ok(cells) = u32::try_from(cost) else {
            return Ok(Answer::never());
        };
        self.in_time(self.meter.take(key, cells)).await
    }

    /// Gives back cells that the meter took. If the meter fails, they stay counted.
    async fn refund(&self, key: &str, cost: u64) {
        if let Ok(cells) = u32::try_from(cost) {
            let _ = self.in_time(self.meter.refund(key, cells)).await;
        }
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

    /// Returns whether cells that the meter took are given back because of this result.
    fn refunds<C, E>(&self, result: &Result<Response<C>, E>) -> bool {
        match (self.rules.after.as_deref(), result) {
            (Some(After::RefundIf(refunds)), Ok(response)) => refunds(&ResponseHead::of(response)),
            _ => false,
        }
    }

    /// The key of a request; `None` if the limit does not apply to it.
    fn key_of(&self, head: &Head<'_>, no_key: impl FnOnce()) -> Result<Option<StoreKey>, StatusCode> {
        let mut spelled = String::new();
        let mut writer = KeyWriter::spelling(&self.hashes, &mut spelled);
        if let Ok(()) = self.key.find(head, &mut writer) {
            if self.key.ignores_forwarding() {
                self.rules.warned.of_forwarding(head);
            }
            let hash = writer.hashed();
            return Ok(Some(StoreKey { spelled, hash }));
        }
        let action = self.rules.without_key();
        self.rules.warned.of_no_key(action);
        no_key();
        match action {
            OnNoKey::Share => Ok(Some(StoreKey {
                spelled: "no key".to_owned(),
                hash: KEYLESS,
            })),
            OnNoKey::Pass => Ok(None),
            OnNoKey::Reject(status) => Err(status),
        }
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
        Self::answering(limit, Problem).lending(lends)
    }
}

/// A key as the store gets it, and its hash for observers.
struct StoreKey {
    spelled: String,
    hash: HashedKey,
}

/// The result for one request.
enum Conclusion<B> {
    Admitted(Then),
    Denied(Response<B>),
}

impl<K: Key, M: RemoteMeter, R, H: Observe> RateLimitLayer<Distributed<K, M>, R, H> {
    /// Returns the key of a request and its cost; no key if the limit does not apply, or the status of a rejection.
    fn plan(&self, head: &Head<'_>) -> (Result<Option<StoreKey>, StatusCode>, u64) {
        let limit = self.limits();
        if self.settings().is_exempt(head) || !limit.rules.apply_to(head) {
            return (Ok(None), 0);
        }
        let found = limit.key_of(head, || self.observer().no_key(limit.policy.name(), head));
        (found, limit.rules.cost_of(head))
    }

    fn conclude<B, C>(
        &self,
        request: &mut Request<B>,
        asked: (HashedKey, u64),
        answer: Result<Answer, StoreFailed>,
    ) -> Conclusion<C>
    where
        R: Respond<C>,
    {
        let Ok(answer) = answer else {
            return self.without_store(request);
        };
        let (policy, rules) = (&self.limits().policy, &self.limits().rules);
        let position = Position {
            policy,
            standing: answer.standing.unwrap_or_default(),
            denied: answer.denied,
        };
        let announced = if rules.is_announced() {
            core::slice::from_ref(&position)
        } else {
            &[]
        };
        // Without a standing there is nothing to announce.
        let stands = announced.iter().copied().filter(|_| answer.standing.is_some());
        let head = Head::of(request);
        let event = PolicyDecision::of_store(policy, asked, answer.denied, position.standing.remaining, &head);
        let Some(denied) = answer.denied else {
            self.observer().admitted(&event);
            return Conclusion::Admitted(self.admitted_by_store(stands, request));
        };
        let reason = match denied {
            Denied::For(_) => Reason::Quota,
            Denied::Never => Reason::Never,
            Denied::Full(_) => Reason::Store,
        };
        match reason {
            Reason::Store => self.observer().store_failed(policy.name(), &head),
            _ if rules.dry_run => self.observer().would_deny(&event),
            _ => self.report_denied(&event, denied),
        }
        if rules.dry_run {
            return Conclusion::Admitted(self.admitted_by_store(stands, request));
        }
        let wait_ns = denied.wait_ns();
        let status = status(reason, policy.counts_bytes(), self.settings().status_of_quota());
        let denial = Denial { wait_ns, reason };
        let fields = self.settings().announce(stands);
        Conclusion::Denied(self.answer_with(&head, status, denial, announced, &fields))
    }

    /// Returns the work that is left of a request that the store has decided.
    fn admitted_by_store<'p, B>(&self, stands: impl Iterator<Item = Position<'p>>, request: &mut Request<B>) -> Then {
        let (fields, nearest) = self.settings().fields_after();
        self.settings().exempt(request);
        Then::Announce(Announcement::of(fields, nearest, stands))
    }

    fn without_store<B, C>(&self, request: &mut Request<B>) -> Conclusion<C>
    where
        R: Respond<C>,
    {
        let (limit, head) = (self.limits(), Head::of(request));
        self.observer().store_failed(limit.policy.name(), &head);
        match &limit.on_failure {
            _ if limit.rules.dry_run => Conclusion::Admitted(self.settings().exempt(request)),
            OnStoreFailure::Open => Conclusion::Admitted(Then::NOTHING),
            OnStoreFailure::Closed => {
                let denial = Denial {
                    wait_ns: None,
                    reason: Reason::Store,
                };
                Conclusion::Denied(self.answer(&head, StatusCode::SERVICE_UNAVAILABLE, denial, &[]))
            }
            OnStoreFailure::Local(local) => {
                let mut asked = Asked::default();
                match self.decide_by(&**local, &head, &mut asked) {
                    Ok(()) => Conclusion::Admitted(self.settings().admitted(&asked, request)),
                    Err(denial) => Conclusion::Denied(self.deny(&head, &asked, denial)),
                }
            }
        }
    }
}

impl<S, K, M, R, H, B, C> Service<Request<B>> for RateLimit<S, Distributed<K, M>, R, H>
where
    S: Service<Request<B>, Response = Response<C>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    K: Key + 'static,
    M: RemoteMeter,
    R: Respond<C> + 'static,
    H: Observe + 'static,
    B: Send + 'static,
    C: Send + 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<C>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.get_mut().poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = Reserved::take(self.get_mut());
        let layer = Arc::clone(self.shared_layer());
        Box::pin(async move {
            let limit = layer.limits();
            let mut counted = None;
            let outcome = match layer.plan(&Head::of(&request)) {
                (Ok(None), _) => Conclusion::Admitted(layer.settings().exempt(&mut request)),
                (Ok(Some(key)), cost) => {
                    let answer = inner.wait(limit.ask(&key.spelled, cost)).await;
                    let conclusion = layer.conclude(&mut request, (key.hash, cost), answer);
                    if limit.rules.after.is_some() && answer.is_ok_and(|answer| answer.is_counted) {
                        counted = Some((key.spelled, cost));
                    }
                    conclusion
                }
                (Err(status), _) => {
                    Conclusion::Denied(layer.answer(&Head::of(&request), status, Denial::of_no_key(), &[]))
                }
            };
            let then = match outcome {
                Conclusion::Denied(response) => return Ok(response),
                Conclusion::Admitted(then) => then,
            };
            let result = ResponseFuture::admitted(inner.call(request), then).await;
            if let Some((key, cost)) = counted.filter(|_| limit.refunds(&result)) {
                limit.refund(&key, cost).await;
            }
            result
        })
    }
}

impl<K: fmt::Debug, M> fmt::Debug for Distributed<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distributed")
            .field("key", &self.key)
            .field("policy", &self.policy.name())
            .field("quota", &format_args!("{}", self.policy.quota()))
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}

/// A shared meter decides with its own deadline. If it fails, its own [`OnFailure`](ratelimit_meter_store::OnFailure) applies first: `Deny` gives
/// a 503, `Allow` admits, `Local` decides by its own meter, and an `Error` is left to the layer's [`OnStoreFailure`]. None of them sends fields.
#[cfg(feature = "store")]
impl<S: AsyncStore> RemoteMeter for SharedMeter<S> {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        let verdict = self.check_n(key, cells).await.map_err(|_| StoreFailed)?;
        let failed = matches!(verdict.via(), Via::Failure(_));
        // Only a meter of this process has a status when the store has failed.
        let is_local = failed && verdict.status().is_some();
        let answer = match verdict.decision() {
            Ok(()) => Answer {
                is_counted: !failed,
                ..Answer::admitted()
            },
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Answer::never(),
            // Its table may be full, too.
            Err(NegativeMultiDecision::BatchNonConforming(_, denial))
                if failed && (!is_local || denial.is_table_full()) =>
            {
                Answer::unavailable(denial.wait_time())
            }
            // A store counts time in its own units: a denial that is over by now is so for less than one of them.
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

    async fn refund(&self, key: &str, cells: u32) -> Result<(), StoreFailed> {
        Self::refund(self, key, cells.into()).await.map_err(|_| StoreFailed)
    }
}
