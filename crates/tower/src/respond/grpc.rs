//! Denials as gRPC has them.

use super::refusal::{Refusal, Respond};
use crate::head::Head;
use crate::limit::Reason;
use crate::numbers::nanos;
use core::fmt::Write as _;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use std::time::Duration;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
pub(crate) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const RESOURCE_EXHAUSTED: u8 = 8;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// Answers as a gRPC server: HTTP 200 and `grpc-status: 8` (`RESOURCE_EXHAUSTED`), because gRPC clients take HTTP 429 for `UNAVAILABLE`. Adds
/// `google.rpc.RetryInfo` to the nanosecond and `grpc-retry-pushback-ms`, which forbids retries of a request that can never conform.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grpc;

impl<B: Default> Respond<B> for Grpc {
    fn respond(&self, refusal: &Refusal<'_>, parts: Parts) -> Response<B> {
        response(refusal, parts, B::default())
    }
}

/// Returns the response, whose body is empty: its trailers are its headers.
pub(super) fn response<B>(refusal: &Refusal<'_>, mut parts: Parts, body: B) -> Response<B> {
    let (code, message) = match refusal.reason() {
        Reason::Quota => (RESOURCE_EXHAUSTED, "rate limit exceeded"),
        Reason::Never => (RESOURCE_EXHAUSTED, "request costs more than the rate limit ever admits"),
        Reason::NoKey => (UNAUTHENTICATED, "request does not identify its client"),
        Reason::TableFull | Reason::Store | Reason::TooManyWaiting => (UNAVAILABLE, "rate limiter has no capacity"),
    };
    parts.status = StatusCode::OK;
    let headers = &mut parts.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(refusal.head())));
    headers.insert(GRPC_STATUS, u64::from(code).into());
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    if refusal.reason() == Reason::Never {
        // A negative pushback asks the client not to retry (gRFC A6).
        headers.insert(GRPC_PUSHBACK, HeaderValue::from_static("-1"));
    }
    if let Some(wait) = refusal.wait() {
        headers.insert(GRPC_PUSHBACK, crate::numbers::millis(nanos(wait.as_nanos())).into());
        if let Ok(details) = HeaderValue::from_str(&base64(&status(code, message, wait))) {
            headers.insert(GRPC_DETAILS, details);
        }
    }
    Response::from_parts(parts, body)
}

/// The type of the response: a client of gRPC-Web expects its own.
fn content_type(head: Head<'_>) -> &'static str {
    let asked = head.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    match asked {
        _ if asked.starts_with(b"application/grpc-web-text") => "application/grpc-web-text",
        _ if asked.starts_with(b"application/grpc-web") => "application/grpc-web",
        _ => "application/grpc",
    }
}

/// `google.rpc.Status` with a `RetryInfo`, in protobuf's encoding.
fn status(code: u8, message: &str, wait: Duration) -> Vec<u8> {
    let mut delay = Vec::new();
    field(&mut delay, 1, wait.as_secs());
    field(&mut delay, 2, wait.subsec_nanos().into());
    let mut retry_info = Vec::new();
    bytes(&mut retry_info, 1, &delay);
    let mut any = Vec::new();
    bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
    bytes(&mut any, 2, &retry_info);
    let mut status = Vec::new();
    field(&mut status, 1, code.into());
    bytes(&mut status, 2, message.as_bytes());
    bytes(&mut status, 3, &any);
    status
}

/// A field of an integer, which is left out if it is 0.
fn field(message: &mut Vec<u8>, number: u8, value: u64) {
    if value > 0 {
        message.push(number << 3);
        varint(message, value);
    }
}

fn bytes(message: &mut Vec<u8>, number: u8, value: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            message.push(low);
            break;
        }
        message.push(low | 0x80);
    }
}

/// Base64 without padding, as gRPC wants binary metadata.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            let sextet = group >> (18 - 6 * index) & 63;
            let _ = text.write_char(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}
