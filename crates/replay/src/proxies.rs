//! Finds the client behind proxies in the list of addresses they forwarded.
//!
//! Each proxy appends the address it was asked from: `X-Forwarded-For: client, proxy1`. Only addresses that a trusted proxy appended are reliable; a
//! client can forge everything to the left of them. So the list is read from the right, starting with the address that the server itself saw.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address;

/// The set of a server's own proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxies {
    /// Addresses in these networks are proxies.
    Networks(Vec<IpNet>),
    /// The nearest addresses, this many of them, are proxies.
    Hops(usize),
}

/// Networks that hold no client of the Internet.
const PRIVATE: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Default for Proxies {
    /// Trusts private addresses.
    fn default() -> Self {
        Self::Networks(PRIVATE.iter().filter_map(|network| network.parse().ok()).collect())
    }
}

impl Proxies {
    /// Parses `--trust`: a number of hops, or networks and addresses joined by commas.
    ///
    /// # Errors
    ///
    /// The text that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(hops) = text.trim().parse() {
            return Ok(Self::Hops(hops));
        }
        let network = |text: &str| {
            let text = text.trim();
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse()
                .or_else(|_| address())
                .map_err(|_| format!("`{text}` is neither a network like 10.0.0.0/8 nor a number of proxies"))
        };
        text.split(',')
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self::Networks)
    }

    /// Returns whether this is an address of one of the networks, or a local socket, whose peer is never a client.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        match self {
            Self::Hops(_) => false,
            Self::Networks(networks) => {
                let address = address::parse(name);
                is_local(name)
                    || address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
            }
        }
    }

    /// Returns the client of a request. Reads the peer's address and then the forwarded addresses from the right. Returns the first that is no
    /// trusted proxy; if all are proxies, returns the leftmost.
    #[must_use]
    pub(crate) fn client<'a>(&self, forwarded: &'a [u8], peer: Option<&'a [u8]>) -> Option<&'a [u8]> {
        let listed = forwarded
            .split(|&byte| byte == b',')
            .map(node)
            .filter(|entry| !matches!(*entry, b"" | b"-"));
        let peer = peer.filter(|peer| !matches!(*peer, b"" | b"-"));
        let chain: Vec<&[u8]> = listed.chain(peer).collect();
        let at = match self {
            Self::Hops(hops) => chain.len().saturating_sub(hops.saturating_add(1)),
            Self::Networks(_) => chain.iter().rposition(|entry| !self.has(entry)).unwrap_or(0),
        };
        chain.get(at).copied()
    }
}

/// Returns whether this is a name that servers log for a peer on the same machine: nginx and HAProxy, Go, or a reverse look-up.
fn is_local(name: &[u8]) -> bool {
    name.starts_with(b"unix:") || matches!(name, b"@" | b"localhost")
}

/// Returns the leftmost address in a list of forwarded addresses.
#[must_use]
pub(crate) fn leftmost(forwarded: &[u8]) -> Option<&[u8]> {
    let mut listed = forwarded.split(|&byte| byte == b',').map(node);
    listed.find(|entry| address::parse(entry).is_some())
}

/// Returns the address of an entry: the entry itself, or its parameter `for` in the form of `Forwarded` (RFC 7239).
pub(crate) fn node(entry: &[u8]) -> &[u8] {
    let entry = unquoted(without_blank(entry.trim_ascii()));
    let mut parameters = entry.split(|&byte| byte == b';');
    parameters.find_map(value_of_for).map_or(entry, unquoted)
}

/// Returns an entry without the blank before it as IIS (`+`) and `CloudFront` (`%20`) write it.
fn without_blank(entry: &[u8]) -> &[u8] {
    let blanks = [&b"+"[..], b"%20", b"%2520"];
    let bare = blanks.into_iter().find_map(|blank| entry.strip_prefix(blank));
    bare.unwrap_or(entry)
}

fn value_of_for(parameter: &[u8]) -> Option<&[u8]> {
    let (name, value) = parameter.trim_ascii().split_at_checked(4)?;
    name.eq_ignore_ascii_case(b"for=").then_some(value)
}

fn unquoted(entry: &[u8]) -> &[u8] {
    let entry = entry.strip_prefix(b"\"").unwrap_or(entry);
    entry.strip_suffix(b"\"").unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_from_the_right() {
        let table: &[(&str, &str, &str, &str)] = &[
            ("10.0.0.0/8", "203.0.113.7, 10.0.0.5", "10.0.0.1", "203.0.113.7"),
            ("10.0.0.0/8", "6.6.6.6, 203.0.113.7", "10.0.0.1", "203.0.113.7"),
            (
                "10.0.0.0/8",
                "203.0.113.7:50000,+10.0.0.5:1",
                "10.0.0.1",
                "203.0.113.7:50000",
            ),
            (
                "10.0.0.0/8",
                "6.6.6.6,%20203.0.113.7,%2010.0.0.5",
                "10.0.0.1",
                "203.0.113.7",
            ),
            ("10.0.0.0/8", "6.6.6.6", "203.0.113.7", "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.9, 10.0.0.8", "10.0.0.1", "10.0.0.9"),
            ("10.0.0.0/8", "-", "203.0.113.7", "203.0.113.7"),
            (
                "10.0.0.0/8,198.51.100.2",
                "203.0.113.7:5000, 198.51.100.2",
                "10.0.0.1",
                "203.0.113.7:5000",
            ),
            ("10.0.0.0/8", "unknown", "10.0.0.1", "unknown"),
            (
                "10.0.0.0/8",
                "for=203.0.113.7;proto=http;by=10.0.0.2",
                "10.0.0.1",
                "203.0.113.7",
            ),
            (
                "10.0.0.0/8",
                "proto=https; For=\"[2001:db8::7]:443\", for=10.0.0.2",
                "10.0.0.1",
                "[2001:db8::7]:443",
            ),
            ("0", "6.6.6.6", "203.0.113.7", "203.0.113.7"),
            ("1", "6.6.6.6, 203.0.113.7", "10.0.0.1", "203.0.113.7"),
            ("2", "203.0.113.7, 198.51.100.2", "10.0.0.1", "203.0.113.7"),
            ("9", "203.0.113.7", "10.0.0.1", "203.0.113.7"),
        ];
        for &(trust, forwarded, peer, client) in table {
            let proxies = Proxies::parse(trust).expect("a list of proxies");
            let found = proxies.client(forwarded.as_bytes(), Some(peer.as_bytes()));
            assert_eq!(found, Some(client.as_bytes()), "{trust}: {forwarded} {peer}");
        }
        let private = Proxies::default();
        assert_eq!(
            private.client(b"203.0.113.7, 192.168.1.1", Some(b"[fd00::1]:80")),
            Some(&b"203.0.113.7"[..])
        );
        assert_eq!(private.client(b"-", None), None);
        for peer in ["unix:", "unix:1", "@", "localhost"] {
            let client = private.client(b"203.0.113.7, 10.0.0.1", Some(peer.as_bytes()));
            assert_eq!(client, Some(&b"203.0.113.7"[..]), "{peer}");
        }
        Proxies::parse("10.0.0.0/8,nonsense").expect_err("no network");
    }
}
