//! The service that decides before it calls an inner one.

use crate::after::Then;
use crate::head::Head;
use crate::layer::RateLimitLayer;
use crate::limit::{Asked, Limit};
use crate::meters::Standing;
use crate::observe::Observe;
use crate::respond::{Problem, Respond};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use http::{Request, Response};
use pin_project_lite::pin_project;
use std::sync::Arc;
use tower_layer::Layer;
use tower_service::Service;

/// Decides before each call of an inner service; made by [`RateLimitLayer`].
///
/// It is ready when the inner service is: a limit never makes it pending, since readiness does not belong to one request, and a pending limit would
/// stall all keys. A denied request leaves the inner service ready and uncalled, with the permit it may have reserved, until the next call or its drop.
/// axum, tonic and hyper-util drop a clone after each request. Elsewhere, put this layer inside of `ConcurrencyLimit` and `Buffer`, so that a
/// denial holds no permit.
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
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let then = if let Some(plain) = self.layer.plain(&Head::of(&request)) {
            let mut standing = Standing::default();
            if let Some(denied) = self.layer.decide_plain(&plain, &mut standing) {
                let ask = plain.ask(Some(denied), standing);
                return ResponseFuture::denied(self.layer.deny_plain(request, &ask, denied));
            }
            self.layer
                .report_admitted(&plain.ask(None, standing), &Head::of(&request));
            Then::Announce(self.layer.announce_plain(&plain, standing))
        } else {
            // A request of which code out of line has a reference can only be passed on as a copy. So that code gets another place.
            let mut lent = request;
            match self.layer.decided_by_list(&mut lent) {
                Ok(then) => {
                    request = lent;
                    then
                }
                Err(response) => return ResponseFuture::denied(response),
            }
        };
        ResponseFuture::admitted(self.inner.call(request), then)
    }
}

impl<L: Limit, R, H: Observe> RateLimitLayer<L, R, H> {
    /// Decides a request that asks several meters, or needs other code: exemptions, filters, tiers, work after the response.
    #[inline(never)]
    fn decided_by_list<B, C>(&self, request: &mut Request<B>) -> Result<Then, Response<C>>
    where
        R: Respond<C>,
    {
        let head = Head::of(request);
        if self.settings().is_exempt(&head) {
            return Ok(self.settings().lend_nothing(request));
        }
        let mut asked = Asked::default();
        if let Err(denial) = self.decide(&head, &mut asked) {
            return Err(self.deny(&head, &asked, denial));
        }
        Ok(self.settings().admitted(&asked, request))
    }
}

/// A service that was ready, in a future that may wait before it calls the service.
pub(crate) struct Reserved<S> {
    service: S,
    is_ready: bool,
}

impl<S: Clone> Reserved<S> {
    /// Takes the service that was ready, and leaves its clone, which has yet to become ready.
    pub(crate) fn take(service: &mut S) -> Self {
        let clone = service.clone();
        Self {
            service: core::mem::replace(service, clone),
            is_ready: true,
        }
    }

    /// Waits for `future`. If it is pending, drops the service that was ready, so that a request that waits holds no permit of a concurrency limit.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            if poll.is_pending() && core::mem::take(&mut self.is_ready) {
                self.service = self.service.clone();
            }
            poll
        })
        .await
    }

    /// Calls the service, as soon as it is ready.
    pub(crate) async fn call<Q>(&mut self, request: Q) -> Result<S::Response, S::Error>
    where
        S: Service<Q>,
    {
        if !core::mem::take(&mut self.is_ready) {
            poll_fn(|cx| self.service.poll_ready(cx)).await?;
        }
        self.service.call(request).await
    }
}

impl<S: Clone, L, R, H> Clone for RateLimit<S, L, R, H> {
    fn clone(&self) -> Self {
        let (inner, layer) = (self.inner.clone(), Arc::clone(&self.layer));
        Self { inner, layer }
    }
}

impl<S: fmt::Debug, L: fmt::Debug, R, H> fmt::Debug for RateLimit<S, L, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`RateLimit`]: the inner service's with fields added, or a denial.
    ///
    /// If it is dropped before the inner response, the request has counted, unless its limit [refunds it](crate::Limiter::refund_cancelled).
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: FutureState<F, B>,
    }
}

pin_project! {
    #[project = Projected]
    enum FutureState<F, B> {
        Admitted {
            #[pin]
            inner: F,
            then: Then,
        },
        Denied { response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(crate) fn admitted(inner: F, then: Then) -> Self {
        let state = FutureState::Admitted { inner, then };
        Self { state }
    }

    fn denied(response: Response<B>) -> Self {
        let response = Some(response);
        let state = FutureState::Denied { response };
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
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Denied { response } => {
                let response = response.take().expect("polled after it returned");
                Poll::Ready(Ok(response))
            }
            Projected::Admitted { inner, then } if then.is_nothing() => inner.poll(cx),
            Projected::Admitted { inner, then } => {
                // The response is changed where it is returned: to move it costs more than to add its fields.
                let mut poll = inner.poll(cx);
                if let Poll::Ready(result) = &mut poll {
                    then.finish(result);
                }
                poll
            }
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
