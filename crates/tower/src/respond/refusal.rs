//! Denied requests, and the trait of their responders.

use crate::fields::Position;
use crate::head::Head;
use crate::limit::Reason;
use crate::numbers::{nanos, seconds};
use crate::policy::Policy;
use core::fmt;
use http::response::Parts;
use http::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Makes the response to a denied request: [`Problem`](crate::Problem) by default.
///
/// When a responder is called, `parts` already holds the status, `Retry-After` and the fields, so that none is forgotten. The responder may
/// replace them. [`respond_fn`] makes a responder of a closure.
///
/// [`Problem`](crate::Problem) and [`Text`](crate::Text) make bodies that are `From<Bytes>`, as axum's and `http_body_util::Full` are.
/// [`Grpc`](crate::Grpc) and [`Empty`](crate::Empty) make bodies that are `Default`, as tonic's is. For another body, convert one:
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full, combinators::BoxBody};
/// use ratelimit_meter_tower::{Problem, RateLimitLayer, Respond, Shared, respond_fn};
/// use std::convert::Infallible;
///
/// let limit = Shared::new("10/s".parse()?)?;
/// let layer = RateLimitLayer::new(limit).respond(respond_fn(|refusal, parts| {
///     let response = Problem.respond(refusal, parts);
///     response.map(|body: Full<Bytes>| -> BoxBody<Bytes, Infallible> { body.boxed() })
/// }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// In axum, `parts` come first in a response of an application's own form:
///
/// ```
/// use axum::response::IntoResponse;
/// use ratelimit_meter_tower::{RateLimitLayer, Shared, respond_fn};
///
/// let layer = RateLimitLayer::new(Shared::new("10/s".parse()?)?).respond(respond_fn(|refusal, parts| {
///     let body = format!(r#"{{"error":"rate_limited","retry_after":{}}}"#, refusal.retry_after().unwrap_or(0));
///     (parts, [("content-type", "application/json")], body).into_response() // or `(parts, Json(..))`
/// }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Respond<B>: Send + Sync {
    /// Returns the response.
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B>;
}

/// A denied request, and why.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    head: &'a Head<'a>,
    reason: Reason,
    wait: Option<Duration>,
    positions: &'a [Position<'a>],
}

impl<'a> Refusal<'a> {
    pub(crate) fn new(
        head: &'a Head<'a>,
        reason: Reason,
        wait: Option<Duration>,
        positions: &'a [Position<'a>],
    ) -> Self {
        Self {
            head,
            reason,
            wait,
            positions,
        }
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> Head<'a> {
        *self.head
    }

    /// Returns the reason of the denial.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the time until the same request conforms, exact to the nanosecond, plus the layer's [jitter](crate::RateLimitLayer::jitter) if there is
    /// any; `None` if it never will.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Returns the seconds of `Retry-After`, for a body that repeats them: the wait, rounded up. (`as_secs()` of the wait would round down.)
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.wait.map(|wait| seconds(nanos(wait.as_nanos())))
    }

    /// Returns the names of the policies that deny it, without [quiet](crate::Limiter::quiet) ones.
    pub fn violated(&self) -> impl Iterator<Item = &'a str> {
        self.denying().map(Policy::name)
    }

    pub(super) fn denying(&self) -> impl Iterator<Item = &'a Policy> + use<'a> {
        let denied = self.positions.iter().filter(|position| position.denied.is_some());
        denied.map(|position| position.policy)
    }
}

impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("reason", &self.reason)
            .field("wait", &self.wait)
            .field("violated", &self.violated().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A responder that is a closure; see [`respond_fn`].
#[derive(Clone, Copy)]
pub struct RespondFn<F>(F);

/// Returns a responder that is a closure.
///
/// ```
/// use http::Response;
/// use ratelimit_meter_tower::{RateLimitLayer, Shared, respond_fn};
///
/// let layer = RateLimitLayer::new(Shared::new("10/s".parse()?)?).respond(respond_fn(|refusal, parts| {
///     let wait = refusal.wait().unwrap_or_default();
///     Response::from_parts(parts, format!("come back in {wait:?}"))
/// }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn respond_fn<F, B>(respond: F) -> RespondFn<F>
where
    F: Fn(&Refusal<'_>, Parts) -> Response<B> + Send + Sync,
{
    RespondFn(respond)
}

impl<F, B> Respond<B> for RespondFn<F>
where
    F: Fn(&Refusal<'_>, Parts) -> Response<B> + Send + Sync,
{
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        (self.0)(refusal, parts)
    }
}

impl<F> fmt::Debug for RespondFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondFn").finish_non_exhaustive()
    }
}

/// A responder of any kind.
pub type BoxRespond<B> = Box<dyn Respond<B>>;

impl<B, R: Respond<B> + ?Sized> Respond<B> for Box<R> {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        (**self).respond(refusal, parts)
    }
}

/// One responder of several layers.
impl<B, R: Respond<B> + ?Sized> Respond<B> for Arc<R> {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        (**self).respond(refusal, parts)
    }
}

/// Returns the status of a denial, unless the layer has another for used-up quotas.
pub(crate) fn status(reason: Reason, counts_bytes: bool, of_quota: StatusCode) -> StatusCode {
    match reason {
        Reason::Never if counts_bytes => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Quota | Reason::Never => of_quota,
        Reason::NoKey => StatusCode::BAD_REQUEST,
        Reason::TableFull | Reason::Store | Reason::TooManyWaiting => StatusCode::SERVICE_UNAVAILABLE,
    }
}
