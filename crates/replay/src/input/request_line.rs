//! Splits the first line of a request: `GET /path?query HTTP/1.1`.

use memchr::{memchr, memmem};

/// Returns the path of a request, without its query: `/a b` of `GET /a b?c=d HTTP/1.0`, also if the request has a full URL. Returns `-` if there is
/// none, as when a client speaks TLS to a port for plain HTTP.
#[must_use]
pub fn path(request: &[u8]) -> &[u8] {
    let Some(at) = memchr(b' ', request) else { return b"-" };
    let target = &request[at + 1..];
    let version = target.windows(6).rposition(|window| window == b" HTTP/");
    target_path(target[..version.unwrap_or(target.len())].trim_ascii())
}

/// Returns the path of a request target: `/a` of `/a?b` and of `https://example.org/a?b`; `-` if there is none.
#[must_use]
pub(super) fn target_path(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let target = &target[..end.unwrap_or(target.len())];
    let path = match memmem::find(target, b"://") {
        Some(at) if !target[..at].contains(&b'/') => {
            let authority = &target[at + 3..];
            memchr(b'/', authority).map_or(&b"/"[..], |slash| &authority[slash..])
        }
        _ => target,
    };
    if path.is_empty() { b"-" } else { path }
}

/// Returns the method of a request: `GET` of `GET / HTTP/1.1`; `-` if there is none.
#[must_use]
pub(super) fn method(request: &[u8]) -> &[u8] {
    let method = memchr(b' ', request).map_or(&[][..], |at| &request[..at]);
    if method.is_empty() { b"-" } else { method }
}
