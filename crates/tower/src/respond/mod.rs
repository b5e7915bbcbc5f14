//! Responses to denied requests.

mod grpc;

pub use grpc::Grpc;

use crate::head::Head;
use crate::limit::Reason;
use crate::policy::Policy;
use bytes::Bytes;
use core::fmt;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use std::time::Duration;

/// Makes the response to a denied request: [`Problem`] by default.
///
/// Status, `Retry-After` and the fields are in `parts` before it is called, so that none is forgotten; it may replace them. [`respond_fn`] makes
/// one of a closure.
pub trait Respond<B>: Send + Sync {
    /// Returns the response.
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B>;
}

/// A denied request, and why.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    head: Head<'a>,
    reason: Reason,
    wait: Option<Duration>,
    denying: &'a [&'a Policy],
}

impl<'a> Refusal<'a> {
    pub(crate) fn new(head: Head<'a>, reason: Reason, wait: Option<Duration>, denying: &'a [&'a Policy]) -> Self {
        Self {
            head,
            reason,
            wait,
            denying,
        }
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> Head<'a> {
        self.head
    }

    /// Returns the reason of the denial.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the time until the same request conforms, exact to the nanosecond; `None` if it never will.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// Returns the names of the policies that deny it, without [quiet](crate::Limiter::quiet) ones.
    pub fn violated(&self) -> impl Iterator<Item = &'a str> {
        self.denying.iter().map(|policy| policy.name())
    }

    fn is_for_quota(&self) -> bool {
        matches!(self.reason, Reason::Quota | Reason::Never)
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

/// Sends `application/problem+json` (RFC 9457), of the types that draft-ietf-httpapi-ratelimit-headers asks for, with the names of the policies
/// that were violated. gRPC requests get the form of [`Grpc`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Problem;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const REDUCED: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","#,
    r#""title":"Request cannot be satisfied due to temporary server capacity constraints"}"#
);
const NO_KEY: &str = r#"{"type":"about:blank","title":"Request does not identify its client"}"#;

impl<B: From<Bytes>> Respond<B> for Problem {
    fn respond(&self, refusal: &Refusal<'_>, mut parts: Parts) -> Response<B> {
        if refusal.head.is_grpc() {
            return grpc::response(refusal, parts, Bytes::new().into());
        }
        parts.headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        Response::from_parts(parts, problem(refusal).into())
    }
}

fn problem(refusal: &Refusal<'_>) -> Bytes {
    match refusal.reason {
        _ if refusal.is_for_quota() => match refusal.denying {
            [only] => only.problem().clone(),
            _ => quota_exceeded(refusal.violated()).into(),
        },
        Reason::NoKey => Bytes::from_static(NO_KEY.as_bytes()),
        _ => Bytes::from_static(REDUCED.as_bytes()),
    }
}

/// The problem of violated policies.
pub(crate) fn quota_exceeded<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from(concat!(
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
        r#""title":"Request cannot be satisfied as assigned quota has been exceeded","violated-policies":["#
    ));
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json_string(&mut json, name);
    }
    json.push_str("]}");
    json
}

fn json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// Sends no body. gRPC requests get the form of [`Grpc`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Empty;

impl<B: Default> Respond<B> for Empty {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        if refusal.head.is_grpc() {
            return grpc::response(refusal, parts, B::default());
        }
        Response::from_parts(parts, B::default())
    }
}

/// Sends a text.
#[derive(Debug, Clone)]
pub struct Text(Bytes);

impl Text {
    /// Returns a responder that sends this text.
    #[must_use]
    pub fn new(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }
}

impl<B: From<Bytes>> Respond<B> for Text {
    fn respond(&self, refusal: &Refusal<'_>, mut parts: Parts) -> Response<B> {
        if refusal.head.is_grpc() {
            return grpc::response(refusal, parts, Bytes::new().into());
        }
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        parts.headers.insert(CONTENT_TYPE, plain);
        Response::from_parts(parts, self.0.clone().into())
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

/// The status of a denial, unless the layer has another for used-up quotas.
pub(crate) fn status(reason: Reason, counts_bytes: bool, of_quota: StatusCode) -> StatusCode {
    match reason {
        Reason::Never if counts_bytes => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Quota | Reason::Never => of_quota,
        Reason::NoKey => StatusCode::BAD_REQUEST,
        Reason::TableFull | Reason::Store | Reason::TooManyWaiting => StatusCode::SERVICE_UNAVAILABLE,
    }
}
