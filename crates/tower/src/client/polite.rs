//! A client that waits as servers ask.

use super::advice::Advice;
use super::message::{ClientError, ClientRequest, ClientResponse};
use crate::service::Reserved;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};
use tower_layer::Layer;
use tower_service::Service;

/// Makes a client obey `Retry-After`, `retry-after-ms`, gRPC's pushback and `RetryInfo`, and the fields of rate limits, in all forms of the draft.
///
/// It reads the older `X-RateLimit-Remaining` and `-Reset`, too, also as `X-Rate-Limit-`. Seconds may have a fraction. A number of seconds above a year is
/// an instant, in seconds since 1970, as GitHub sends it in `-Reset`, and some servers in `Retry-After`.
///
/// It keeps, for each origin, the time before which nothing is sent. After a denial that is the time the server asked for, and after a response that
/// leaves nothing (`r=0`) its window. Fields that are malformed or cached are ignored. Jitter is only added. After a denial with a wait of 0, which
/// limiters that round down send, it waits a second. If a server limits its routes separately, make a layer for each of them.
///
/// Denied requests are those with 429, 503, gRPC's `RESOURCE_EXHAUSTED` or `UNAVAILABLE`, or a 403 that names a time. One is sent again if the server
/// named a time, the method is safe, and the body can be sent again. If the wait would exceed the [patience](Self::patience), the call does not wait.
/// It returns the denial, or, if nothing was sent, fails with [`ClientError::Impatient`].
///
/// ```
/// use ratelimit_meter_tower::PoliteLayer;
/// use std::time::Duration;
///
/// let layer = PoliteLayer::new().patience(Duration::from_secs(30)).retries(3);
/// ```
///
/// If the body of the requests is not `Clone`, as that of tonic, wrap them in [`Once`](crate::Once).
///
/// A timeout outside of this layer includes the waits. A timeout inside is one of each attempt. The error of tower's timeout is boxed, and a boxed error
/// does not implement `Error`, so convert it. Otherwise neither `?` nor an outer layer can box the [`ClientError`]:
///
/// ```
/// use http::{Request, Response};
/// use ratelimit_meter_tower::PoliteLayer;
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # async fn send(_: Request<()>) -> Result<Response<()>, std::convert::Infallible> { Ok(Response::new(())) }
/// # let client = tower::service_fn(send);
/// let mut client = ServiceBuilder::new()
///     .layer(PoliteLayer::new())
///     .map_err(std::io::Error::other)
///     .timeout(Duration::from_secs(5))
///     .service(client);
/// # async {
/// let response = client.ready().await?.call(Request::get("https://example.com").body(())?).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) };
/// ```
///
/// A client of reqwest-middleware is a service by its `execute`:
///
#[cfg_attr(feature = "reqwest", doc = "```")]
#[cfg_attr(not(feature = "reqwest"), doc = "```ignore")]
/// use ratelimit_meter_tower::PoliteLayer;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).build();
/// let client = service_fn(move |request| {
///     let client = client.clone();
///     async move { client.execute(request).await }
/// });
/// let mut polite = PoliteLayer::new().layer(client);
/// # async {
/// let request = reqwest::Request::new(reqwest::Method::GET, "https://example.com".parse()?);
/// let response = polite.ready().await?.call(request).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) };
/// ```
#[derive(Clone)]
pub struct PoliteLayer {
    settings: PoliteSettings,
    origins: Arc<Mutex<Origins>>,
}

#[derive(Debug, Clone, Copy)]
struct PoliteSettings {
    patience: Duration,
    retries: u32,
    jitter: Duration,
    smooth: bool,
    any_method: bool,
}

impl PoliteLayer {
    /// Returns a layer that waits a minute at most, sends a denied request again twice, and adds up to 100 ms of jitter.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: PoliteSettings {
                patience: Duration::from_secs(60),
                retries: 2,
                jitter: Duration::from_millis(100),
                smooth: false,
                any_method: false,
            },
            origins: Arc::default(),
        }
    }

    /// Sets the time after its start within which a call sends its request, retries included; a minute by default. Jitter comes on top.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Sets how often a denied request is sent again, twice by default.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Sets how much is added to each wait at most, at random; 100 ms by default.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// Spreads the remaining requests over their window, one each `t / r`. Otherwise they are sent at once. A call that is dropped while it waits
    /// gives its place back.
    #[must_use]
    pub fn smooth(mut self) -> Self {
        self.settings.smooth = true;
        self
    }

    /// Sends denied requests again with any method. A server that denies has not acted, but one behind a gateway might have.
    #[must_use]
    pub fn retry_any_method(mut self) -> Self {
        self.settings.any_method = true;
        self
    }
}

impl Default for PoliteLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PoliteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is not held while the caller's writer runs.
        let origins = self.origins.try_lock().ok().map(|origins| origins.gates.len());
        let mut fields = f.debug_struct("PoliteLayer");
        fields.field("settings", &self.settings);
        match origins {
            Some(origins) => fields.field("origins", &origins),
            None => fields.field("origins", &format_args!("<locked>")),
        };
        fields.finish()
    }
}

impl<S> Layer<S> for PoliteLayer {
    type Service = Polite<S>;

    fn layer(&self, inner: S) -> Polite<S> {
        let layer = self.clone();
        Polite { inner, layer }
    }
}

/// The times at which origins may be asked again.
#[derive(Default)]
struct Origins {
    gates: HashMap<String, OriginGate>,
    /// The number of gates after the last removal of open ones.
    kept: usize,
}

#[derive(Debug)]
struct OriginGate {
    /// The time before which nothing is sent.
    opens: Instant,
    /// The time between requests after that, as the last response announced it.
    gap: Duration,
    /// The latest slot of a request that was sent, or the time of the last response.
    used: Instant,
    /// The slots for which requests wait, and the number of requests for each.
    awaited: BTreeMap<Instant, usize>,
}

impl OriginGate {
    /// Returns the time from `now` on at which the next request may be sent: the first that is a gap away from each slot that is used or awaited.
    fn next(&self, now: Instant) -> Instant {
        let opens = self.opens.max(now);
        if self.gap.is_zero() {
            return opens;
        }
        let mut next = opens.max(self.used + self.gap);
        for slot in self.awaited.keys() {
            // A dropped call has left a slot before this one.
            if *slot >= next + self.gap {
                break;
            }
            next = next.max(*slot + self.gap);
        }
        next
    }

    /// Ends the wait for a slot, which is used or free again.
    fn leave(&mut self, slot: Instant, is_used: bool) {
        if let Some(waiting) = self.awaited.get_mut(&slot) {
            *waiting -= 1;
            if *waiting == 0 {
                self.awaited.remove(&slot);
            }
        }
        if is_used {
            self.used = self.used.max(slot);
        }
    }
}

/// The slots of a request that waits. If the request is not sent, they are free again.
struct HeldSlots<'a> {
    layer: &'a PoliteLayer,
    origins: [&'a str; 2],
    slots: [Instant; 2],
    is_used: bool,
}

impl HeldSlots<'_> {
    /// Returns the time at which both slots have come.
    fn at(&self) -> Instant {
        self.slots[0].max(self.slots[1])
    }

    fn use_up(mut self) {
        self.is_used = true;
    }
}

impl Drop for HeldSlots<'_> {
    fn drop(&mut self) {
        let mut origins = self.layer.origins();
        for (origin, slot) in self.origins.into_iter().zip(self.slots) {
            if let Some(gate) = origins.gates.get_mut(origin) {
                gate.leave(slot, self.is_used);
            }
        }
    }
}

impl Origins {
    /// Takes a slot of each origin for a request that passes both, or returns the time at which the request might be sent. The origins may be the
    /// same. A request that need not wait passes even after `by`.
    fn pass(&mut self, origins: [&str; 2], by: Instant) -> Result<[Instant; 2], Instant> {
        let now = Instant::now();
        let slots = origins.map(|origin| self.gates.get(origin).map_or(now, |gate| gate.next(now)));
        let at = slots[0].max(slots[1]);
        if at > by.max(now) {
            return Err(at);
        }
        for (origin, slot) in origins.into_iter().zip(slots) {
            if let Some(gate) = self.gates.get_mut(origin) {
                *gate.awaited.entry(slot).or_default() += 1;
            }
        }
        Ok(slots)
    }

    /// Returns whether a request whose slots have come may be sent.
    fn are_open(&self, origins: [&str; 2]) -> bool {
        let now = Instant::now();
        let mut gates = origins.into_iter().filter_map(|origin| self.gates.get(origin));
        gates.all(|gate| gate.opens <= now)
    }

    fn note(&mut self, origin: String, advice: Advice, smooth: bool) {
        let now = Instant::now();
        let open = OriginGate {
            opens: now,
            gap: Duration::ZERO,
            used: now,
            awaited: BTreeMap::new(),
        };
        let gate = self.gates.entry(origin).or_insert(open);
        gate.opens = gate.opens.max(now + advice.stay_away.unwrap_or_default());
        if let Some(gap) = advice.gap.filter(|_| smooth) {
            (gate.gap, gate.used) = (gap, gate.used.max(now));
        }
        self.drop_open_ones(now);
    }

    /// Removes open gates whenever the number of origins has doubled: constant time for each origin, amortised.
    fn drop_open_ones(&mut self, now: Instant) {
        if self.gates.len() > 2 * self.kept.max(64) {
            self.gates
                .retain(|_, gate| !gate.awaited.is_empty() || gate.next(now) > now);
            self.kept = self.gates.len();
        }
    }
}

/// Calls an inner client when its server may be asked; made by [`PoliteLayer`].
#[derive(Debug, Clone)]
pub struct Polite<S> {
    inner: S,
    layer: PoliteLayer,
}

impl<S, Q> Service<Q> for Polite<S>
where
    S: Service<Q, Response: ClientResponse + Send, Error: Send, Future: Send> + Clone + Send + 'static,
    Q: ClientRequest + Send + 'static,
{
    type Response = S::Response;
    type Error = ClientError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(ClientError::Inner)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let inner = Reserved::take(&mut self.inner);
        let layer = self.layer.clone();
        Box::pin(layer.send(inner, request))
    }
}

impl PoliteLayer {
    async fn send<S, Q>(self, mut inner: Reserved<S>, mut request: Q) -> Result<S::Response, ClientError<S::Error>>
    where
        S: Service<Q, Response: ClientResponse> + Clone,
        Q: ClientRequest,
    {
        let PoliteSettings {
            patience,
            retries,
            smooth,
            any_method,
            ..
        } = self.settings;
        let origin = request.origin().unwrap_or_default();
        let by = after(patience);
        let passed = inner.wait(self.pass([&origin, &origin], by)).await;
        passed.map_err(|opens| ClientError::Impatient {
            wait: opens.saturating_duration_since(Instant::now()),
        })?;
        for retry in 0.. {
            // Copied only if it may be needed, because a body can be large.
            let may_retry = retry < retries && (any_method || request.method().is_safe());
            let again = may_retry.then(|| request.try_clone()).flatten();
            let response = inner.call(request).await.map_err(ClientError::Inner)?;
            let advice = Advice::of(response.status(), response.headers(), SystemTime::now());
            let answered = response.origin().unwrap_or_else(|| origin.clone());
            self.origins().note(answered.clone(), advice, smooth);
            let (true, Some(_), Some(again)) = (advice.denied, advice.stay_away, again) else {
                return Ok(response);
            };
            // After a redirect, the origin that answered has shut its gate, and the request passes its own origin first.
            if self.pass([&origin, &answered], by).await.is_err() {
                return Ok(response);
            }
            request = again;
        }
        unreachable!("the number of retries is finite")
    }

    /// Waits until a request may be sent. If it may not be sent by `by`, returns the time at which it might.
    async fn pass(&self, origins: [&str; 2], by: Instant) -> Result<(), Instant> {
        loop {
            let slots = self.origins().pass(origins, by)?;
            let held = HeldSlots {
                layer: self,
                origins,
                slots,
                is_used: false,
            };
            let is_open = held.at() <= Instant::now() || {
                self.wait_until(held.at()).await;
                // A response that came meanwhile may have shut a gate, for longer than the slot that was taken.
                self.origins().are_open(origins)
            };
            if is_open {
                held.use_up();
                return Ok(());
            }
        }
    }

    fn origins(&self) -> std::sync::MutexGuard<'_, Origins> {
        // A panic cannot leave a gate half written.
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until(&self, at: Instant) {
        let most = u64::try_from(self.settings.jitter.as_nanos()).unwrap_or(u64::MAX);
        sleep_until(at + Duration::from_nanos(fastrand::u64(..=most))).await;
    }
}

/// The instant after `wait`; a wait that no `Instant` can hold is one of a century.
fn after(wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + CENTURY)
}
