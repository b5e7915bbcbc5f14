//! The service that decides before it calls an inner one.

use crate::after::Pending;
use crate::charge::Charge;
use crate::fields::Announcement;
use crate::head::Head;
use crate::layer::{RateLimitLayer, Settings};
use crate::limit::{Asked, Limit};
use crate::observe::Observe;
use crate::respond::{Problem, Respond};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::sync::Arc;
use tower_layer::Layer;
use tower_service::Service;

/// Decides before each call of an inner service; made by [`RateLimitLayer`].
///
/// It is ready when the inner service is: a limit never makes it pending, since readiness does not belong to one request, and a pending limit would
/// stall all keys. A denied request leaves the inner service ready and uncalled, with the permit it may have reserved, until the next call. So
/// put this layer outside of `ConcurrencyLimit` and `Buffer`.
pub struct RateLimit<S, L, R = Problem, H = ()> {
    inner: S,
    layer: Arc<RateLimitLayer<L, R, H>>,
}

impl<S, L, R, H> Layer<S> for RateLimitLayer<L, R, H> {
    type Service = RateLimit<S, L, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.clone())
    }
}

impl<S, L, R, H> RateLimit<S, L, R, H> {
    pub(crate) fn new(inner: S, layer: RateLimitLayer<L, R, H>) -> Self {
        let layer = Arc::new(layer);
        Self { inner, layer }
    }

    pub(crate) fn shared_layer(&self) -> &Arc<RateLimitLayer<L, R, H>> {
        &self.layer
    }

    /// Returns the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, L, R, H, B, C> Service<Request<B>> for RateLimit<S, L, R, H>
where
    S: Service<Request<B>, Response = Response<C>>,
    L: Limit,
    R: Respond<C>,
    H: Observe,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let head = Head::of(&request);
        let mut asked = Asked::default();
        match self.layer.decide(&head, &mut asked) {
            Ok(()) => pass(&mut self.inner, request, &asked, self.layer.settings()),
            Err(denial) => ResponseFuture::denied(self.layer.refuse(head, &asked, denial)),
        }
    }
}

/// Calls the inner service with an admitted request.
#[inline]
pub(crate) fn pass<S, B, C>(
    inner: &mut S,
    request: Request<B>,
    asked: &Asked<'_>,
    settings: &Settings,
) -> ResponseFuture<S::Future, C>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    let (fields, nearest) = settings.fields_after();
    let pending = Pending::of(asked.asks(), fields, nearest);
    let announcement = match pending {
        // Made when the response is known.
        Some(_) => Announcement::Nothing,
        None => settings.announce_admitted(asked),
    };
    let response = match Charge::of(asked.asks()) {
        None => inner.call(request),
        Some(charge) => inner.call(with(request, charge)),
    };
    ResponseFuture::admitted(response, announcement, pending)
}

// Out of line, so that a request without a charge need not be moved.
#[cold]
fn with<B>(mut request: Request<B>, charge: Charge) -> Request<B> {
    request.extensions_mut().insert(charge);
    request
}

/// Takes the service that was ready, to move it into a future, and leaves its clone, which has yet to become ready.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    core::mem::replace(service, clone)
}

impl<S: Clone, L, R, H> Clone for RateLimit<S, L, R, H> {
    fn clone(&self) -> Self {
        let (inner, layer) = (self.inner.clone(), Arc::clone(&self.layer));
        Self { inner, layer }
    }
}

impl<S: fmt::Debug, L, R, H> fmt::Debug for RateLimit<S, L, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`RateLimit`]: the inner service's with fields added, or a denial.
    ///
    /// If it is dropped before the inner response, the request has counted, unless its limit [refunds it](crate::Limiter::refund_cancelled).
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, B> {
        Admitted {
            #[pin]
            inner: F,
            announcement: Announcement,
            pending: Option<Box<Pending>>,
        },
        Denied { response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    fn admitted(inner: F, announcement: Announcement, pending: Option<Box<Pending>>) -> Self {
        let state = State::Admitted {
            inner,
            announcement,
            pending,
        };
        Self { state }
    }

    fn denied(response: Response<B>) -> Self {
        let response = Some(response);
        let state = State::Denied { response };
        Self { state }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    /// # Panics
    ///
    /// Panics if it is polled again after it returned a denial.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Denied { response } => {
                let response = response.take().expect("polled after it returned");
                Poll::Ready(Ok(response))
            }
            Projected::Admitted {
                inner,
                announcement,
                pending,
            } => {
                let mut result = ready!(inner.poll(cx));
                match &mut result {
                    Ok(response) => {
                        if let Some(pending) = pending.take() {
                            *announcement = pending.settle(response);
                        }
                        if !matches!(announcement, Announcement::Nothing) {
                            std::mem::take(announcement).set(response.headers_mut());
                        }
                    }
                    Err(_) => {
                        if let Some(pending) = pending.take() {
                            pending.keep();
                        }
                    }
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
