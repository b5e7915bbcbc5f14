//! Requests that wait for their turn instead of being denied.

use crate::after::Pending;
use crate::charge::Charge;
use crate::error::BuildError;
use crate::fields::{Announcement, Position};
use crate::head::Head;
use crate::layer::RateLimitLayer;
use crate::limit::{Asked, Denial, Limiter, Reason, Target};
use crate::meters::{HashedKey, Ticket};
use crate::numbers::nanos;
use crate::observe::Observe;
use crate::respond::{Problem, Respond};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use http::{Request, Response};
use ratelimit_meter_tokio::{AcquireError, Keyed, Patience, PerKey, Source, Waiting};
use std::sync::Arc;
use tower_layer::Layer;
use tower_service::Service;

/// The answer of a queue, sooner or later.
pub(crate) type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<(), AcquireError>> + Send + 'a>>;

/// A queue in front of meters.
pub(crate) trait Queue: Send + Sync {
    fn acquire(&self, ticket: Ticket, n: u32, patience: Patience) -> Acquiring<'_>;
}

impl<S: Source> Queue for Waiting<S> {
    fn acquire(&self, _: Ticket, n: u32, patience: Patience) -> Acquiring<'_> {
        Box::pin(self.acquire_with(n, patience))
    }
}

/// A queue for each key, by tier.
impl<P: PerKey<HashedKey>> Queue for Vec<Keyed<HashedKey, P>> {
    fn acquire(&self, ticket: Ticket, n: u32, patience: Patience) -> Acquiring<'_> {
        let keyed = &self[usize::from(ticket.tier)];
        Box::pin(async move { keyed.acquire_key_with(&ticket.key, n, patience).await })
    }
}

/// Lets requests wait until they conform, first come, first served, as long as `Patience` says.
///
/// A request that would wait longer than its deadline is a 429 at once, with the true wait; one that finds too many waiting is a 503. A
/// request whose future is dropped gives its place back. Times are tokio's.
///
/// ```
/// use ratelimit_meter_tokio::Patience;
/// use ratelimit_meter_tower::{PeerIp, PerKey, QueueLayer, RateLimitLayer};
/// use std::time::Duration;
///
/// let limit = RateLimitLayer::new(PerKey::new(PeerIp::new(), "10/s burst 1".parse()?, 10_000)?);
/// let layer = QueueLayer::new(limit, Patience::unlimited().timeout(Duration::from_secs(2)).max_waiters(100))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct QueueLayer<T, R = Problem, H = ()> {
    shared: Arc<Shared<T, R, H>>,
}

struct Shared<T, R, H> {
    layer: RateLimitLayer<Limiter<T>, R, H>,
    queue: Box<dyn Queue>,
    patience: Patience,
}

impl<T: Target, R, H> QueueLayer<T, R, H> {
    /// Returns a layer that waits for the limit of another, and answers and announces as that would.
    ///
    /// # Errors
    ///
    /// [`BuildError::CannotQueue`] if the limit has two quotas, is a dry run, or charges by the response.
    pub fn new(layer: RateLimitLayer<Limiter<T>, R, H>, patience: Patience) -> Result<Self, BuildError> {
        layer.limits().can_queue()?;
        let queue = layer.limits().lane().meters.queue();
        let shared = Shared { layer, queue, patience };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl<T, R, H> Clone for QueueLayer<T, R, H> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl<S, T, R, H> Layer<S> for QueueLayer<T, R, H> {
    type Service = Queued<S, T, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = Arc::clone(&self.shared);
        Queued { inner, shared }
    }
}

/// Calls an inner service when it is a request's turn; made by [`QueueLayer`].
pub struct Queued<S, T, R = Problem, H = ()> {
    inner: S,
    shared: Arc<Shared<T, R, H>>,
}

impl<S, T, R, H, B, C> Service<Request<B>> for Queued<S, T, R, H>
where
    S: Service<Request<B>, Response = Response<C>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    T: Target + 'static,
    R: Respond<C> + 'static,
    H: Observe + 'static,
    B: Send + 'static,
    C: Send + 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<C>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was ready goes into the future; its clone has yet to become so.
        let clone = self.inner.clone();
        let mut inner = core::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut asked = shared.layer.ask(&Head::of(&request));
            if let Err(denial) = shared.wait(&mut asked).await {
                shared.layer.tell(&asked, Head::of(&request), false);
                return Ok(shared.layer.refuse(Head::of(&request), &asked, denial));
            }
            shared.layer.tell(&asked, Head::of(&request), true);
            let announcement = shared.announce(&asked);
            let (fields, nearest) = shared.layer.settings().fields_after();
            let pending = Pending::of(asked.asks(), fields, nearest);
            if let Some(charge) = Charge::of(asked.asks()) {
                request.extensions_mut().insert(charge);
            }
            drop(asked);
            let result = inner.call(request).await;
            match (result, pending) {
                (Ok(mut response), pending) => {
                    let settled = pending.map(|pending| pending.settle(&response));
                    settled.unwrap_or(announcement).set(response.headers_mut());
                    Ok(response)
                }
                (Err(error), pending) => {
                    if let Some(pending) = pending {
                        pending.keep();
                    }
                    Err(error)
                }
            }
        })
    }
}

impl<T: Target, R, H: Observe> Shared<T, R, H> {
    async fn wait(&self, asked: &mut Asked<'_>) -> Result<(), Denial> {
        if asked.rejected().is_some() {
            return Err(Denial::of_no_key());
        }
        let Some(ask) = asked.asks().first() else { return Ok(()) };
        let acquired = match u32::try_from(ask.cost) {
            Ok(cells) => self.queue.acquire(ask.ticket, cells, self.patience).await,
            Err(_) => return Err(asked.deny_first(None, Reason::Never)),
        };
        let (wait_ns, reason) = match acquired {
            Ok(()) => return Ok(()),
            Err(AcquireError::NotYet(denied)) => {
                let wait = denied.wait_time_from(tokio::time::Instant::now().into_std());
                (Some(nanos(wait.as_nanos())), Reason::Quota)
            }
            Err(AcquireError::TooManyWaiting { .. }) => (None, Reason::TooManyWaiting),
            Err(_) => (None, Reason::Never),
        };
        Err(asked.deny_first(wait_ns, reason))
    }

    /// The fields as of now, after the wait.
    fn announce(&self, asked: &Asked<'_>) -> Announcement {
        let (fields, nearest) = self.layer.settings().fields_after();
        let now = tokio::time::Instant::now().into_std();
        let announced = asked.asks().iter().filter(|ask| ask.rules.is_announced());
        let positions: Vec<_> = announced
            .map(|ask| Position {
                standing: ask.lane.meters.standing(ask.ticket, now, fields.detail()),
                ..ask.position()
            })
            .collect();
        match nearest {
            true => Announcement::of_nearest(fields, &positions),
            false => Announcement::of(fields, &positions),
        }
    }
}

impl<S: Clone, T, R, H> Clone for Queued<S, T, R, H> {
    fn clone(&self) -> Self {
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Self { inner, shared }
    }
}

impl<T, R, H> fmt::Debug for QueueLayer<T, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueLayer")
            .field("layer", &self.shared.layer)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, T, R, H> fmt::Debug for Queued<S, T, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
