//! A client that keeps to a limit of its own.

use super::message::{ClientError, FindOrigin};
use crate::error::InvalidLimit;
use crate::meters::{self, HashedKey, Queue, Ticket};
use crate::service::Reserved;
use core::fmt;
use core::future::Future;
use core::hash::BuildHasher;
use core::pin::Pin;
use core::task::{Context, Poll};
use ratelimit_meter::keyed::KeyHashes;
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::{AcquireError, Patience};
use std::sync::Arc;
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Makes a client keep to a limit of its own: requests wait for their turn, first come, first served. Their bodies need not be `Clone`.
///
/// ```
/// use ratelimit_meter_tower::PaceLayer;
///
/// let layer = PaceLayer::per_origin("10/s burst 1".parse()?, 1_000)?; // not faster than 10 a second to one origin
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each request is one cell. If requests weigh differently, as exchanges count them, wait before the call instead: by `acquire` of a `Waiting`, or
/// `acquire_key` of a `Keyed`, both of `ratelimit_meter_tokio`. For hosts with different quotas, make a layer for each.
///
/// A limit for all requests takes requests of any type, as tower's own `rate_limit` does. A limit for each origin takes those that implement
/// [`FindOrigin`], such as `http::Request` and `reqwest::Request`.
#[derive(Clone)]
pub struct PaceLayer<O = ()> {
    queue: Arc<dyn Queue>,
    origins: O,
    patience: Patience,
}

/// A limit for each origin, as [`PaceLayer::per_origin`] makes it.
#[derive(Debug, Clone)]
pub struct PerOrigin(KeyHashes);

impl PaceLayer {
    /// Returns a layer with one limit for all requests.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if the quota is invalid for a meter.
    pub fn new(quota: Quota) -> Result<Self, InvalidLimit> {
        let meter = GCRA::from_quota(quota)?;
        Ok(Self {
            queue: meters::Meters::queue(&meter).into(),
            origins: (),
            patience: Patience::unlimited(),
        })
    }
}

impl PaceLayer<PerOrigin> {
    /// Returns a layer with a limit for each origin, in a table for `origins` origins with debt at the same time.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if the quota is invalid for a meter, or a table of that size cannot be made.
    pub fn per_origin(quota: Quota, origins: usize) -> Result<Self, InvalidLimit> {
        let table = meters::table(GCRA::from_quota(quota)?, origins)?;
        Ok(Self {
            queue: table.queue().into(),
            origins: PerOrigin(KeyHashes::random()),
            patience: Patience::unlimited(),
        })
    }
}

impl<O> PaceLayer<O> {
    /// Sets how long a request may wait, and how many may wait at once; no bounds by default.
    #[must_use]
    pub fn patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }
}

impl<O> fmt::Debug for PaceLayer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaceLayer")
            .field("queue", &self.queue)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl<S, O: Clone> Layer<S> for PaceLayer<O> {
    type Service = Pace<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        Pace { inner, layer }
    }
}

/// Calls an inner client when it is a request's turn; made by [`PaceLayer`].
#[derive(Debug, Clone)]
pub struct Pace<S, O = ()> {
    inner: S,
    layer: PaceLayer<O>,
}

/// The response of a paced client.
type Paced<R, E> = Pin<Box<dyn Future<Output = Result<R, ClientError<E>>> + Send>>;

impl<S, Q> Service<Q> for Pace<S>
where
    S: Service<Q, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
    Q: Send + 'static,
{
    type Response = S::Response;
    type Error = ClientError<S::Error>;
    type Future = Paced<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(ClientError::Inner)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        self.call_in_turn(HashedKey(0), request)
    }
}

impl<S, Q> Service<Q> for Pace<S, PerOrigin>
where
    S: Service<Q, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
    Q: FindOrigin + Send + 'static,
{
    type Response = S::Response;
    type Error = ClientError<S::Error>;
    type Future = Paced<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(ClientError::Inner)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let PerOrigin(hashes) = &self.layer.origins;
        let key = HashedKey(hashes.hash_one(request.origin()));
        self.call_in_turn(key, request)
    }
}

impl<S, O> Pace<S, O> {
    /// Calls the inner client when it is the turn of a request with this key.
    fn call_in_turn<Q>(&mut self, key: HashedKey, request: Q) -> Paced<S::Response, S::Error>
    where
        S: Service<Q, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static,
        Q: Send + 'static,
    {
        let mut inner = Reserved::take(&mut self.inner);
        let (queue, patience) = (Arc::clone(&self.layer.queue), self.layer.patience);
        let ticket = Ticket { key, tier: 0 };
        Box::pin(async move {
            let acquired = inner.wait(queue.acquire(ticket, 1, patience)).await;
            acquired.map_err(|error| ClientError::Impatient { wait: wait(error) })?;
            inner.call(request).await.map_err(ClientError::Inner)
        })
    }
}

/// Returns the wait with the queue as it is; the longest if the queue denies for another reason.
fn wait(error: AcquireError) -> Duration {
    match error {
        AcquireError::NotYet(denied) => denied.wait_time_from(tokio::time::Instant::now().into_std()),
        _ => Duration::MAX,
    }
}
