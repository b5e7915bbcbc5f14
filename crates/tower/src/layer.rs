//! The layer: limits, a responder and an observer.

use crate::after::{Pending, Then};
use crate::charge::Charge;
use crate::fields::{Announcement, Fields, Position, RETRY_AFTER_MS, integer};
use crate::head::Head;
use crate::limit::{Asked, Denial, HeadFn, LaneAsk, Limit, Plain};
use crate::meters::{Denied, Detail, Standing};
use crate::numbers::{millis, nanos, seconds};
use crate::observe::{Observe, PolicyDecision};
use crate::respond::{Grpc, Problem, Refusal, Respond, status};
use core::fmt;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, StatusCode};
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// Limits the requests of the services it wraps.
///
/// `L` are the [limits](Limit), `R` makes the [responses](Respond) of denials and `H` [observes](Observe). Clones, and the services of one layer,
/// share meters; two layers made separately do not.
///
/// ```
/// use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
///
/// struct State { limit: RateLimitLayer<PerKey<PeerIp>> } // a type that can be named
///
/// let limit = RateLimitLayer::new(PerKey::new(PeerIp::new(), "100/min".parse()?, 100_000)?);
/// let state = State { limit: limit.clone() };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The limits of a layer are fixed, except for their [tiers](crate::Limiter::tier_by). To replace them while an axum server runs, as after a change of
/// its configuration, keep the layer in a lock. All keys are then idle:
///
#[cfg_attr(feature = "axum", doc = "```")]
#[cfg_attr(not(feature = "axum"), doc = "```ignore")]
/// use axum::{Router, extract::{Request, State}, middleware::{Next, from_fn_with_state}, response::Response, routing::get};
/// use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
/// use std::{convert::Infallible, sync::{Arc, RwLock}};
/// use tower::{Layer, ServiceExt};
///
/// type InForce = Arc<RwLock<RateLimitLayer<PerKey<PeerIp>>>>;
///
/// async fn limited(State(limit): State<InForce>, request: Request, next: Next) -> Result<Response, Infallible> {
///     let layer = limit.read().unwrap().clone();
///     layer.layer(next).oneshot(request).await
/// }
///
/// let layer = |quota: &str| -> Result<_, Box<dyn std::error::Error>> {
///     Ok(RateLimitLayer::new(PerKey::new(PeerIp::new(), quota.parse()?, 100_000)?))
/// };
/// let in_force = Arc::new(RwLock::new(layer("100/min")?));
/// let routes: Router = Router::new().route("/", get(|| async { "hello" }));
/// let app = routes.layer(from_fn_with_state(Arc::clone(&in_force), limited));
/// *in_force.write().unwrap() = layer("10/min")?; // whenever the configuration has changed
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RateLimitLayer<L, R = Problem, H = ()> {
    limits: Arc<L>,
    respond: Arc<R>,
    observe: Arc<H>,
    settings: LayerSettings,
}

/// The settings that do not depend on type parameters.
#[derive(Clone)]
pub(crate) struct LayerSettings {
    fields: Fields,
    on_denials_only: bool,
    nearest: bool,
    retry_after_ms: bool,
    jitter: Duration,
    status: StatusCode,
    skip: Option<Arc<HeadFn<bool>>>,
    count_preflights: bool,
    /// Set if a limit is late: then each request gets a [`Charge`].
    lends: bool,
}

impl Default for LayerSettings {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            on_denials_only: false,
            nearest: false,
            retry_after_ms: false,
            jitter: Duration::ZERO,
            status: StatusCode::TOO_MANY_REQUESTS,
            skip: None,
            count_preflights: false,
            lends: false,
        }
    }
}

impl<L: Limit> RateLimitLayer<L> {
    /// Returns a layer that answers denials with [`Problem`].
    #[must_use]
    pub fn new(limits: L) -> Self {
        let lends = limits.is_late();
        Self::answering(limits, Problem, lends)
    }
}

impl<L: Limit> RateLimitLayer<L, Grpc> {
    /// Returns a layer that answers denials as gRPC servers do, with any `Content-Type` of the request.
    ///
    /// Put tonic's interceptors outside of this layer as an `InterceptorLayer`, or inside by a service's `with_interceptor`. An `InterceptorLayer`
    /// cannot be inside, because this layer cannot make a body of its type for a denial.
    #[must_use]
    pub fn grpc(limits: L) -> Self {
        let lends = limits.is_late();
        Self::answering(limits, Grpc, lends)
    }
}

impl<L, R> RateLimitLayer<L, R> {
    /// Returns a layer with default settings. If `lends` is set, each request gets a [`Charge`].
    pub(crate) fn answering(limits: L, respond: R, lends: bool) -> Self {
        Self {
            limits: Arc::new(limits),
            respond: Arc::new(respond),
            observe: Arc::new(()),
            settings: LayerSettings {
                lends,
                ..LayerSettings::default()
            },
        }
    }
}

impl<L, R, H> RateLimitLayer<L, R, H> {
    /// Sets how denials are answered.
    #[must_use]
    pub fn respond<S>(self, respond: S) -> RateLimitLayer<L, S, H> {
        RateLimitLayer {
            limits: self.limits,
            respond: Arc::new(respond),
            observe: self.observe,
            settings: self.settings,
        }
    }

    /// Sets the observer of decisions.
    #[must_use]
    pub fn observe<O>(self, observe: O) -> RateLimitLayer<L, R, O> {
        RateLimitLayer {
            limits: self.limits,
            respond: self.respond,
            observe: Arc::new(observe),
            settings: self.settings,
        }
    }

    /// Sets which fields are sent, [`Fields::Draft11`] by default.
    #[must_use]
    pub fn fields(mut self, fields: Fields) -> Self {
        self.settings.fields = fields;
        self
    }

    /// Sends the fields with denials only.
    #[must_use]
    pub fn fields_on_refusals_only(mut self) -> Self {
        self.settings.on_denials_only = true;
        self
    }

    /// Sends the fields of one policy only: of the policy that denies longest, or if none denies, of that with the smallest share of its burst left.
    #[must_use]
    pub fn nearest_only(mut self) -> Self {
        self.settings.nearest = true;
        self
    }

    /// Sends `retry-after-ms` beside `Retry-After`: the same wait in milliseconds, which the clients of some vendors read first.
    #[must_use]
    pub fn retry_after_ms(mut self) -> Self {
        self.settings.retry_after_ms = true;
        self
    }

    /// Adds up to `jitter` at random to each `Retry-After`, so that clients denied together do not come back together.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// Sets the status of a request whose quota is used up, 429 by default.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.settings.status = status;
        self
    }

    /// Exempts requests for which the closure returns `true`, such as those of health probes.
    #[must_use]
    pub fn skip_if(mut self, skip: impl Fn(&Head<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.settings.skip = Some(Arc::new(Box::new(skip)));
        self
    }

    /// Counts preflights, which are free otherwise. A browser sends preflights by itself, and to a page a denied preflight looks like a failure of the
    /// network.
    #[must_use]
    pub fn count_preflights(mut self) -> Self {
        self.settings.count_preflights = true;
        self
    }

    /// Returns the limits, as for the statistics of a table.
    #[must_use]
    pub fn limits(&self) -> &L {
        &self.limits
    }

    pub(crate) const fn shared_limits(&self) -> &Arc<L> {
        &self.limits
    }

    #[inline]
    pub(crate) const fn settings(&self) -> &LayerSettings {
        &self.settings
    }

    pub(crate) const fn observer(&self) -> &Arc<H> {
        &self.observe
    }
}

impl<L: Limit, R, H: Observe> RateLimitLayer<L, R, H> {
    /// Returns the cell of a request that asks for one cell of one meter, and needs nothing else; `None` if it may need more.
    #[inline]
    pub(crate) fn plain<'a>(&'a self, head: &Head<'_>) -> Option<Plain<'a>> {
        if self.settings.may_exempt(head) {
            return None;
        }
        self.limits.plain(head)
    }

    /// Takes a plain cell if it conforms, and writes the standing. Returns the reason of a denial.
    #[inline]
    pub(crate) fn decide_plain(&self, plain: &Plain<'_>, standing: &mut Standing) -> Option<Denied> {
        plain.decide(self.settings.detail(), standing)
    }

    /// Reports an admission to the observer.
    #[inline]
    pub(crate) fn report_admitted(&self, ask: &LaneAsk<'_>, head: &Head<'_>) {
        self.observe.admitted(&PolicyDecision::new(ask, head));
    }

    /// Returns the fields of the response to a plain request.
    #[inline(always)]
    pub(crate) fn announce_plain(&self, plain: &Plain<'_>, standing: Standing) -> Announcement {
        self.settings.announce_one(&plain.ask(None, standing))
    }

    /// Answers a request that one meter denied.
    // By value, since a request that is lent to code out of line can only be passed on as a copy.
    #[cold]
    #[inline(never)]
    pub(crate) fn deny_plain<B, C>(&self, request: Request<B>, ask: &LaneAsk<'_>, denied: Denied) -> Response<C>
    where
        R: Respond<C>,
    {
        let head = &Head::of(&request);
        self.report_ask(ask, head, false);
        let (denial, position) = (Denial::from(denied), ask.position());
        let status = status(denial.reason, position.policy.counts_bytes(), self.settings.status);
        let positions = core::slice::from_ref(&position);
        let announced = if ask.rules.is_announced() { positions } else { &[] };
        self.answer(head, status, denial, announced)
    }

    /// Decides a request that is not exempt.
    // The list is filled in place: to return it would copy it.
    #[inline]
    pub(crate) fn decide<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) -> Result<(), Denial> {
        self.decide_by(&*self.limits, head, asked)
    }
}

impl<L, R, H: Observe> RateLimitLayer<L, R, H> {
    /// Decides a request by these limits.
    #[inline]
    pub(crate) fn decide_by<'a, M: Limit + ?Sized>(
        &self,
        limits: &'a M,
        head: &Head<'_>,
        asked: &mut Asked<'a>,
    ) -> Result<(), Denial> {
        self.ask_of(limits, head, asked);
        let decided = match asked.rejected() {
            Some(_) => Err(Denial::of_no_key()),
            None => asked.decide(self.settings.detail()),
        };
        self.report(asked, head, decided.is_ok());
        decided
    }

    /// Collects the cells that a request asks of these limits.
    #[inline]
    pub(crate) fn ask_of<'a, M: Limit + ?Sized>(&self, limits: &'a M, head: &Head<'_>, asked: &mut Asked<'a>) {
        limits.ask(head, asked);
        for policy in asked.without_key() {
            self.observe.no_key(policy, head);
        }
    }

    /// Reports all decisions to the observer.
    #[inline]
    pub(crate) fn report(&self, asked: &Asked<'_>, head: &Head<'_>, admitted: bool) {
        asked.asks().iter().for_each(|ask| self.report_ask(ask, head, admitted));
    }

    #[inline]
    fn report_ask(&self, ask: &LaneAsk<'_>, head: &Head<'_>, admitted: bool) {
        let event = PolicyDecision::new(ask, head);
        match ask.denied {
            None if admitted => self.observe.admitted(&event),
            None => {}
            Some(_) if ask.rules.dry_run => self.observe.would_deny(&event),
            Some(denied) => self.report_denied(&event, denied),
        }
    }

    /// Reports a denial by the queue to the observer, and as an event.
    #[cfg(feature = "queue")]
    pub(crate) fn report_queue_denied(&self, asked: &Asked<'_>, head: &Head<'_>) {
        for ask in asked.asks() {
            let event = PolicyDecision::new(ask, head);
            emit(&event);
            self.observe.queue_denied(&event);
        }
    }

    /// Reports a denial to the observer, and as an event.
    pub(crate) fn report_denied(&self, event: &PolicyDecision<'_>, denied: Denied) {
        emit(event);
        match denied {
            Denied::For(_) => self.observe.denied(event),
            Denied::Never => self.observe.never(event),
            Denied::Full(_) => self.observe.table_full(event),
        }
    }
}

impl<L, R, H> RateLimitLayer<L, R, H> {
    /// Answers a denied request.
    pub(crate) fn deny<B>(&self, head: &Head<'_>, asked: &Asked<'_>, denial: Denial) -> Response<B>
    where
        R: Respond<B>,
    {
        if let Some(status) = asked.rejected() {
            // No meter was asked, so there is nothing to announce.
            return self.answer(head, status, denial, &[]);
        }
        let mut never = asked.asks().iter().filter(|ask| ask.denied == Some(Denied::Never));
        let counts_bytes = never.any(|ask| ask.policy().counts_bytes());
        let status = status(denial.reason, counts_bytes, self.settings.status);
        let positions: SmallVec<[_; 4]> = asked.positions().collect();
        self.answer(head, status, denial, &positions)
    }

    /// Answers a denied request with a status, and with the fields of its positions under the announced policies.
    pub(crate) fn answer<B>(
        &self,
        head: &Head<'_>,
        status: StatusCode,
        denial: Denial,
        positions: &[Position<'_>],
    ) -> Response<B>
    where
        R: Respond<B>,
    {
        let fields = self.settings.announce(positions.iter().copied());
        self.answer_with(head, status, denial, positions, &fields)
    }

    /// Answers a denied request with a status and with these fields.
    pub(crate) fn answer_with<B>(
        &self,
        head: &Head<'_>,
        status: StatusCode,
        denial: Denial,
        positions: &[Position<'_>],
        fields: &Announcement,
    ) -> Response<B>
    where
        R: Respond<B>,
    {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        fields.set(&mut parts.headers);
        // Never 0, which clients take for an invitation.
        let wait = denial.wait_ns.map(|ns| self.settings.with_jitter(ns.max(1)));
        if let Some(ns) = wait {
            parts.headers.insert(RETRY_AFTER, integer(seconds(ns)));
            if self.settings.retry_after_ms {
                parts.headers.insert(RETRY_AFTER_MS, integer(millis(ns)));
            }
        }
        let wait = wait.map(Duration::from_nanos);
        self.respond
            .respond(&Refusal::new(head, denial.reason, wait, positions), parts)
    }
}

/// Emits the event of a denial.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "there are no events"))]
fn emit(denial: &PolicyDecision<'_>) {
    crate::denial_event!(
        policy = denial.policy(),
        tier = denial.tier(),
        wait = ?denial.wait(),
        "denied"
    );
}

impl LayerSettings {
    #[inline]
    pub(crate) fn is_exempt(&self, head: &Head<'_>) -> bool {
        self.skip.as_ref().is_some_and(|skip| skip(head)) || !self.count_preflights && head.is_preflight()
    }

    /// Returns `true` if [`is_exempt`](Self::is_exempt) has to be asked.
    #[inline]
    fn may_exempt(&self, head: &Head<'_>) -> bool {
        self.skip.is_some() || *head.method() == Method::OPTIONS
    }

    #[inline]
    pub(crate) fn detail(&self) -> Detail {
        self.fields.detail()
    }

    /// The fields of a response.
    pub(crate) fn announce<'p>(&self, positions: impl Iterator<Item = Position<'p>>) -> Announcement {
        Announcement::of(self.fields, self.nearest, positions)
    }

    /// Gives a request that no limit of this process has decided a charge that charges nothing, if a limit is late.
    #[inline]
    pub(crate) fn lend_nothing<B>(&self, request: &mut Request<B>) -> Then {
        Charge::lend(&[], self.lends, request);
        Then::NOTHING
    }

    /// Gives an admitted request the charge of its late limits, and returns the work that its response leaves.
    pub(crate) fn admitted<B>(&self, asked: &Asked<'_>, request: &mut Request<B>) -> Then {
        Charge::lend(asked.asks(), self.lends, request);
        let (fields, nearest) = self.fields_after();
        match Pending::of(asked.asks(), fields, nearest) {
            Some(pending) => Then::Settle(pending),
            None => Then::Announce(self.announce_admitted(asked)),
        }
    }

    /// The fields of the response to an admitted request.
    #[inline]
    pub(crate) fn announce_admitted(&self, asked: &Asked<'_>) -> Announcement {
        match asked.asks() {
            _ if self.on_denials_only || self.fields == Fields::None => Announcement::Nothing,
            [only] => self.announce_one(only),
            _ => self.announce(asked.positions()),
        }
    }

    /// The fields of the response to a request that one meter admitted.
    #[inline(always)]
    pub(crate) fn announce_one(&self, ask: &LaneAsk<'_>) -> Announcement {
        match self.fields {
            Fields::None => Announcement::Nothing,
            _ if self.on_denials_only || !ask.rules.is_announced() => Announcement::Nothing,
            fields => Announcement::of_one(fields, &ask.position()),
        }
    }

    pub(crate) const fn status_of_quota(&self) -> StatusCode {
        self.status
    }

    #[inline]
    pub(crate) fn fields_after(&self) -> (Fields, bool) {
        let fields = if self.on_denials_only {
            Fields::None
        } else {
            self.fields
        };
        (fields, self.nearest)
    }

    fn with_jitter(&self, ns: u64) -> u64 {
        if self.jitter.is_zero() {
            return ns;
        }
        let most = nanos(self.jitter.as_nanos());
        ns.saturating_add(fastrand::u64(..=most))
    }
}

impl<L, R, H> Clone for RateLimitLayer<L, R, H> {
    fn clone(&self) -> Self {
        Self {
            limits: Arc::clone(&self.limits),
            respond: Arc::clone(&self.respond),
            observe: Arc::clone(&self.observe),
            settings: self.settings.clone(),
        }
    }
}

impl<L: fmt::Debug, R, H> fmt::Debug for RateLimitLayer<L, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limits", &self.limits)
            .field("fields", &self.settings.fields)
            .finish_non_exhaustive()
    }
}
