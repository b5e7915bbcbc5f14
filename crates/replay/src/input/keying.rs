//! Builds keys from the requested parts of a request.

use memchr::memchr;

use super::Options;
use crate::address::{Addresses, is_digits_and_points};
use crate::bad::BadLine;
use crate::by::By;
use crate::proxies::{self, Proxies};

/// The default length of an IPv6 client's network: the least that one subscriber has.
pub(super) const SUBSCRIBER: u8 = 64;

/// The value from which a part of a key is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A text, or an address, which has one spelling.
    Text(&'a [u8]),
    /// The list of forwarded addresses, and the address of the peer.
    Forwarded(&'a [u8], Option<&'a [u8]>),
}

/// Writes keys.
#[derive(Debug, Clone)]
pub(super) struct Keying {
    by: By,
    addresses: Addresses,
    path_depth: Option<usize>,
    proxies: Proxies,
    /// True if the user did not choose the network of IPv6 clients.
    is_default_network: bool,
    written: Vec<u8>,
}

impl Keying {
    pub(super) fn new(by: By, options: &Options) -> Self {
        Self {
            by,
            addresses: Addresses::new(options.ipv6_prefix.unwrap_or(SUBSCRIBER))
                .with_ipv4(options.ipv4_prefix.unwrap_or(32)),
            path_depth: options.path_depth,
            proxies: options.proxies.clone().unwrap_or_default(),
            is_default_network: options.ipv6_prefix.is_none(),
            written: Vec::new(),
        }
    }

    pub(super) fn by(&self) -> &By {
        &self.by
    }

    /// Returns whether IPv6 clients were grouped by default.
    pub(super) fn has_assumed_networks(&self) -> bool {
        self.is_default_network && self.addresses.has_networks()
    }

    /// Returns the client behind our proxies, by the list of forwarded addresses and the address of the peer.
    pub(super) fn client<'a>(&self, forwarded: &'a [u8], peer: Option<&'a [u8]>) -> Option<&'a [u8]> {
        self.proxies.client(forwarded, peer)
    }

    /// Returns the key whose parts have these values, by their index.
    #[inline]
    pub(super) fn key<'a>(
        &'a mut self,
        mut value: impl FnMut(usize, &By) -> Option<Value<'a>>,
    ) -> Result<&'a [u8], BadLine> {
        let Self {
            by,
            addresses,
            path_depth,
            proxies,
            written,
            ..
        } = self;
        let parts = by.parts();
        if let [part] = parts {
            if *part == By::All {
                return Ok(b"all");
            }
            let value = value(0, part).ok_or(BadLine::NoKey)?;
            return text_of(part, value, addresses, *path_depth, proxies).ok_or(BadLine::NoKey);
        }
        written.clear();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                written.push(b' ');
            }
            if *part == By::All {
                written.extend_from_slice(b"all");
                continue;
            }
            let value = value(at, part).ok_or(BadLine::NoKey)?;
            let text = text_of(part, value, addresses, *path_depth, proxies);
            write_part(written, text.ok_or(BadLine::NoKey)?);
        }
        Ok(written)
    }
}

/// Writes one of several parts of a key. A part with blanks is quoted, so that the parts of two keys never look alike.
fn write_part(written: &mut Vec<u8>, text: &[u8]) {
    if memchr(b' ', text).is_none() && text.first() != Some(&b'"') {
        return written.extend_from_slice(text);
    }
    written.push(b'"');
    for &byte in text {
        written.push(byte);
        if byte == b'"' {
            written.push(byte);
        }
    }
    written.push(b'"');
}

#[inline]
fn text_of<'a>(
    part: &By,
    value: Value<'a>,
    addresses: &'a mut Addresses,
    path_depth: Option<usize>,
    proxies: &Proxies,
) -> Option<&'a [u8]> {
    Some(match (part, value) {
        (_, Value::Forwarded(list, peer)) => addresses.key(proxies.client(list, peer)?),
        (By::Path, Value::Text(path)) => path_depth.map_or(path, |depth| shallow(path, depth)),
        (By::Status | By::Method, Value::Text(text)) => text,
        (_, Value::Text(address)) if addresses.keeps_ipv4() && is_digits_and_points(address) => address,
        // Of a list of forwarded addresses, the leftmost is the client.
        (By::Ip, Value::Text(list)) if memchr(b',', list).is_some() => {
            addresses.key(proxies::leftmost(list).unwrap_or(list))
        }
        (By::Ip | By::Host, Value::Text(text)) => addresses.key(text),
        // Firewalls of SonicWall call their fields so.
        (By::Column(name), Value::Text(text)) if matches!(name.as_str(), "src" | "dst") => addresses.key(text),
        (_, Value::Text(text)) => addresses.key_of_text(text),
    })
}

/// Returns the first `depth` segments of a path: `/a/b` of `/a/b/c`.
fn shallow(path: &[u8], depth: usize) -> &[u8] {
    let slashes = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0);
    match slashes.map(|(at, _)| at).nth(depth.saturating_sub(1)) {
        _ if depth == 0 => b"/",
        Some(end) => &path[..end],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_of_their_parts() {
        let options = Options {
            path_depth: Some(1),
            ..Options::default()
        };
        let mut keying = Keying::new(By::parse("ip,path,all"), &options);
        let value = |_: usize, part: &By| {
            Some(Value::Text(match part {
                By::Ip => b"[2001:db8::1]:80".as_slice(),
                _ => b"/api/v1/users",
            }))
        };
        assert_eq!(keying.key(value), Ok(&b"2001:db8::/64 /api all"[..]));
        assert!(keying.has_assumed_networks());
        assert_eq!(keying.key(|_, _| None), Err(BadLine::NoKey));
        assert_eq!(Keying::new(By::All, &options).key(|_, _| None), Ok(&b"all"[..]));
    }

    #[test]
    fn different_parts_make_different_keys() {
        let mut keying = Keying::new(By::parse("a,b"), &Options::default());
        let mut key = |parts: [&'static str; 2]| {
            let key = keying.key(|at, _| Some(Value::Text(parts[at].as_bytes())));
            String::from_utf8(key.expect("a key").to_vec()).expect("text")
        };
        for (parts, expected) in [
            (["x y", "z"], "\"x y\" z"),
            (["x", "y z"], "x \"y z\""),
            (["", "x"], " x"),
            (["x", ""], "x "),
            (["\"x", "y\""], "\"\"\"x\" y\""),
            (["a \"b\"", "c"], "\"a \"\"b\"\"\" c"),
        ] {
            assert_eq!(key(parts), expected);
        }
    }

    #[test]
    fn paths_are_cut_to_their_depth() {
        let table = [
            ("/", 1, "/"),
            ("/a", 1, "/a"),
            ("/a/b/c", 1, "/a"),
            ("/a/b/c", 2, "/a/b"),
            ("/a/b/c", 9, "/a/b/c"),
            ("/a/b/c", 0, "/"),
            ("*", 1, "*"),
        ];
        for (path, depth, cut) in table {
            assert_eq!(shallow(path.as_bytes(), depth), cut.as_bytes(), "{path} {depth}");
        }
    }
}
