//! Requests that wait for their turn instead of being denied.

use crate::error::InvalidLimit;
use crate::head::Head;
use crate::layer::RateLimitLayer;
use crate::limit::{Asked, Denial, Limiter, Reason, Target};
use crate::meters::Queue;
use crate::numbers::nanos;
use crate::observe::Observe;
use crate::respond::{Problem, Respond};
use crate::service::{Reserved, ResponseFuture};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use http::{Request, Response};
use ratelimit_meter_tokio::{AcquireError, Patience};
use std::sync::Arc;
use tower_layer::Layer;
use tower_service::Service;

/// Makes requests wait until they conform, first come, first served, within the bounds of a `Patience`.
///
/// A request that would wait longer than its deadline gets a 429 at once, with the true wait. If too many requests wait already, a request gets a
/// 503. After the `deadline` of the `Patience`, each request gets a 503. If the future of a request is dropped, the request gives its place back.
/// Times are tokio's.
///
/// If a response, a handler or a reset gives cells back, a waiting request notices it within a second. If the first request has waited for longer than
/// 16 seconds, that is a sixteenth of its wait.
///
/// A server that shuts down gracefully waits for the queue, so set a timeout that is no longer than a shutdown may take.
///
/// A request that waits holds no permit of the inner service, such as one of a `ConcurrencyLimit`: when its turn has come, it waits until the inner
/// service is ready.
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
    shared: Arc<QueuedLimit<T, R, H>>,
}

struct QueuedLimit<T, R, H> {
    layer: RateLimitLayer<Limiter<T>, R, H>,
    queue: Box<dyn Queue>,
    patience: Patience,
}

impl<T: Target, R, H> QueueLayer<T, R, H> {
    /// Returns a layer that waits for the limit of another, and answers and announces as that would.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit::CannotQueue`] if the limit has two quotas, is a dry run, or charges by the response.
    pub fn new(layer: RateLimitLayer<Limiter<T>, R, H>, patience: Patience) -> Result<Self, InvalidLimit> {
        layer.limits().can_queue()?;
        let queue = layer.limits().lane().meters.queue();
        let shared = QueuedLimit { layer, queue, patience };
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
    shared: Arc<QueuedLimit<T, R, H>>,
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
        let mut inner = Reserved::take(&mut self.inner);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let layer = &shared.layer;
            let mut asked = Asked::default();
            {
                let head = Head::of(&request);
                if !layer.settings().is_exempt(&head) {
                    layer.ask_of(layer.limits(), &head, &mut asked);
                }
            }
            let waited = inner.wait(shared.wait(&mut asked)).await;
            layer.report(&asked, &Head::of(&request), waited.is_ok());
            if let Err(denial) = waited {
                if denial.reason == Reason::TooManyWaiting {
                    layer.report_queue_denied(&asked, &Head::of(&request));
                }
                return Ok(layer.deny(&Head::of(&request), &asked, denial));
            }
            let then = layer.settings().admitted(&asked, &mut request);
            drop(asked);
            ResponseFuture::admitted(inner.call(request), then).await
        })
    }
}

impl<T: Target, R, H: Observe> QueuedLimit<T, R, H> {
    async fn wait(&self, asked: &mut Asked<'_>) -> Result<(), Denial> {
        if asked.rejected().is_some() {
            return Err(Denial::of_no_key());
        }
        let Some(&ask) = asked.asks().first() else {
            return Ok(());
        };
        // A late limit of no cost is waited for until a cell conforms, which is not taken.
        let acquired = match u32::try_from(if ask.takes() { ask.cost } else { 1 }) {
            Ok(cells) => self.queue.acquire(ask.ticket, cells, self.patience).await,
            Err(_) => return Err(asked.deny_first(None, Reason::Never)),
        };
        let now = tokio::time::Instant::now().into_std();
        if acquired.is_ok() && !ask.takes() {
            ask.lane.meters.give_back(ask.ticket, 1, now.into());
        }
        asked.stand_at(now.into(), self.layer.settings().detail());
        let (wait_ns, reason) = match acquired {
            Ok(()) => return Ok(()),
            Err(AcquireError::NotYet(denied)) => {
                let wait = denied.wait_time_from(now);
                (Some(nanos(wait.as_nanos())), Reason::Quota)
            }
            Err(AcquireError::TooManyWaiting { .. } | AcquireError::DeadlinePassed) => (None, Reason::TooManyWaiting),
            Err(_) => (None, Reason::Never),
        };
        Err(asked.deny_first(wait_ns, reason))
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
            .field("patience", &self.shared.patience)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, T, R, H> fmt::Debug for Queued<S, T, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued")
            .field("inner", &self.inner)
            .field("layer", &self.shared.layer)
            .finish_non_exhaustive()
    }
}
