//! The responders that are ready made.

use super::grpc;
use super::refusal::{Refusal, Respond};
use crate::limit::Reason;
use crate::policy::quota_exceeded;
use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::response::Parts;

/// Sends `application/problem+json` (RFC 9457), of the types that draft-ietf-httpapi-ratelimit-headers asks for, with the names of the policies
/// that were violated. gRPC requests get the form of [`Grpc`](crate::Grpc).
#[derive(Debug, Clone, Copy, Default)]
pub struct Problem;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const REDUCED: &str = concat!(
    r#"{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity","#,
    r#""title":"Request cannot be satisfied due to temporary server capacity constraints"}"#
);
const NO_KEY: &str = r#"{"type":"about:blank","title":"Request does not identify its client"}"#;

impl<B: From<Bytes>> Respond<B> for Problem {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        response(refusal, parts, PROBLEM_JSON, || problem(refusal))
    }
}

/// Returns the response of this body, or the form of gRPC for its requests.
fn response<B: From<Bytes>>(
    refusal: &Refusal<'_>,
    mut parts: Parts,
    content_type: HeaderValue,
    body: impl FnOnce() -> Bytes,
) -> Response<B> {
    if refusal.head().is_grpc() {
        return grpc::response(refusal, parts, Bytes::new().into());
    }
    parts.headers.insert(CONTENT_TYPE, content_type);
    Response::from_parts(parts, body().into())
}

fn problem(refusal: &Refusal<'_>) -> Bytes {
    match refusal.reason() {
        Reason::Quota | Reason::Never => {
            let mut denying = refusal.denying();
            match (denying.next(), denying.next()) {
                (Some(only), None) => only.announced().problem.clone(),
                _ => quota_exceeded(refusal.violated()).into(),
            }
        }
        Reason::NoKey => Bytes::from_static(NO_KEY.as_bytes()),
        _ => Bytes::from_static(REDUCED.as_bytes()),
    }
}

/// Sends no body. gRPC requests get the form of [`Grpc`](crate::Grpc).
#[derive(Debug, Clone, Copy, Default)]
pub struct Empty;

impl<B: Default> Respond<B> for Empty {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        if refusal.head().is_grpc() {
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
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response(refusal, parts, plain, || self.0.clone())
    }
}
