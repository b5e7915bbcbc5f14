//! The chain of addresses in `X-Forwarded-For` and `Forwarded`, read from the right.
//!
//! Each proxy appends the address it was connected from. So the last proxy wrote the rightmost entry, and the client may have invented the
//! leftmost. A reader therefore begins at the right and stops at the first entry that it cannot trust or read.

use crate::address::node;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use std::net::IpAddr;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The number of entries read at most: more than the proxies of any chain, and a bound on the work for a request.
const MOST_ENTRIES: usize = 64;

/// The field that the proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chain {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl Chain {
    /// Returns the entries of all lines from the right: each an address, or `None` if it is unreadable. Empty entries, which mean nothing, are left out.
    pub(crate) fn right_to_left(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let name = match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        };
        let lines = headers.get_all(name).into_iter().rev();
        let entries = lines.flat_map(move |line| Entries {
            rest: Some(line.as_bytes()),
            quotes: self == Self::Forwarded,
        });
        entries
            .take(MOST_ENTRIES)
            .map(<[u8]>::trim_ascii)
            .filter(|entry| !entry.is_empty())
            .map(move |entry| match self {
                Self::XForwardedFor => node(entry),
                Self::Forwarded => forwarded_for(entry),
            })
    }

    /// Returns `true` if the request has a field of proxies.
    pub(crate) fn is_there(headers: &HeaderMap) -> bool {
        headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED)
    }
}

/// The parts of a line between commas, from the right.
struct Entries<'a> {
    rest: Option<&'a [u8]>,
    /// Set if a comma may stand in a quoted string.
    quotes: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match last_outside_quotes(rest, b',', self.quotes) {
            None => self.rest.take(),
            Some(comma) => {
                self.rest = Some(&rest[..comma]);
                Some(&rest[comma + 1..])
            }
        }
    }
}

/// Finds the last separator outside of quoted strings. Reads from the right too: a quote that a client leaves open at the left
/// must not swallow the entries that proxies appended.
fn last_outside_quotes(text: &[u8], separator: u8, quotes: bool) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        if *byte == b'"' && quotes {
            let escapes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            quoted ^= escapes % 2 == 0;
        } else if *byte == separator && !quoted {
            return Some(at);
        }
    }
    None
}

/// The one `for` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let (mut rest, mut found) = (Some(element), None);
    while let Some(pairs) = rest {
        let pair = match last_outside_quotes(pairs, b';', true) {
            None => {
                rest = None;
                pairs
            }
            Some(at) => {
                rest = Some(&pairs[..at]);
                &pairs[at + 1..]
            }
        };
        let mut parts = pair.trim_ascii().splitn(2, |byte| *byte == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
                return None; // ambiguous
            }
        }
    }
    node(found?)
}
