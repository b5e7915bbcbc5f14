//! Addresses as keys: all spellings of an address are one key, and so are all addresses of one IPv6 network.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Writes addresses as keys.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The number of bits of an IPv6 address that make a key.
    prefix: u8,
    /// The same of an IPv4 address.
    ipv4_prefix: u8,
    written: String,
    /// True if an IPv6 address was written as its network.
    has_networks: bool,
}

/// Returns the address that `name` consists of: alone, or with a port, brackets, quotes or a zone.
#[must_use]
pub(crate) fn parse(name: &[u8]) -> Option<IpAddr> {
    parse_with(name, is_port)
}

fn parse_with(name: &[u8], is_port: fn(&str) -> bool) -> Option<IpAddr> {
    // The longest is an IPv6 address with brackets, a zone and a port, in quotes.
    if name.len() > 96 {
        return None;
    }
    let text = std::str::from_utf8(name).ok()?.trim_matches(['"', ' ', '\'']);
    // Java writes a slash between the name of a host, which may be empty, and its address.
    let text = text.strip_prefix('/').unwrap_or(text);
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_end = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
            is_end.then_some(address)?
        }
        None => match text.split_once(':') {
            Some((address, rest)) if address.contains('.') && is_port(rest) => address,
            _ => text,
        },
    };
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    let address = bare.parse::<IpAddr>().ok().or_else(|| ipv6_before_port(bare));
    address.map(|address| address.to_canonical())
}

/// Returns the IPv6 address before a port without brackets, as load balancers of AWS write it. If the port is also a group of an address, the text is
/// that address.
fn ipv6_before_port(text: &str) -> Option<IpAddr> {
    let (address, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok().map(IpAddr::V6)
}

/// Returns whether a name has only digits and points: nearly all keys are an IPv4 address and nothing else.
#[inline]
pub(crate) fn is_digits_and_points(name: &[u8]) -> bool {
    name.iter().all(|&byte| byte.wrapping_sub(b'0') < 10 || byte == b'.')
}

/// Returns whether this is a port, perhaps with an interface after it, as firewalls of SonicWall write it: `50000:X0`.
fn is_port(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    match text.split_once(':') {
        Some((port, interface)) => (port.is_empty() || is_number(port)) && is_name(interface),
        None => is_number(text),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Addresses {
    /// Creates a writer that treats IPv6 addresses with the same first `prefix` bits as one key.
    #[must_use]
    pub(crate) fn new(prefix: u8) -> Self {
        Self {
            prefix,
            ipv4_prefix: 32,
            written: String::new(),
            has_networks: false,
        }
    }

    /// Treats IPv4 addresses with the same first `prefix` bits as one key, too.
    #[must_use]
    pub(crate) fn with_ipv4(self, prefix: u8) -> Self {
        Self {
            ipv4_prefix: prefix,
            ..self
        }
    }

    /// Returns whether each IPv4 address is a key of its own.
    #[inline]
    pub(crate) fn keeps_ipv4(&self) -> bool {
        self.ipv4_prefix >= 32
    }

    /// Returns the key of a client: its address without port, quotes or zone, or the network of an IPv6 address. A name is a key as it is written.
    #[must_use]
    #[inline]
    pub(crate) fn key<'a>(&'a mut self, name: &'a [u8]) -> &'a [u8] {
        match parse(name) {
            Some(address) => self.network(address),
            None => name,
        }
    }

    /// Returns the same for a value that need not be a client. With a slash before it, or a name after its port, such as `192.0.2.1:443:x`, it is no
    /// address.
    #[must_use]
    pub(crate) fn key_of_text<'a>(&'a mut self, text: &'a [u8]) -> &'a [u8] {
        match parse_with(text, is_number).filter(|_| !text.starts_with(b"/")) {
            Some(address) => self.network(address),
            None => text,
        }
    }

    /// Returns the key of an address: `192.0.2.1`, `2001:db8::1`, or its network if keys have fewer bits, such as `2001:db8::/64`.
    #[must_use]
    pub(crate) fn network(&mut self, address: IpAddr) -> &[u8] {
        self.written.clear();
        // Writing into a `String` cannot fail.
        let _ = match address.to_canonical() {
            IpAddr::V6(address) if self.prefix < 128 => {
                self.has_networks = true;
                // A shift by all 128 bits is undefined; no bit is left then.
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                let network = Ipv6Addr::from_bits(address.to_bits() & mask);
                write!(self.written, "{network}/{}", self.prefix)
            }
            IpAddr::V4(address) if self.ipv4_prefix < 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.ipv4_prefix)).unwrap_or(0);
                let network = Ipv4Addr::from_bits(address.to_bits() & mask);
                write!(self.written, "{network}/{}", self.ipv4_prefix)
            }
            address => write!(self.written, "{address}"),
        };
        self.written.as_bytes()
    }

    /// Returns whether an IPv6 address was written as its network.
    #[must_use]
    pub(crate) fn has_networks(&self) -> bool {
        self.has_networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_key() {
        let table = [
            (64, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            (64, "2001:DB8:1:2::", "2001:db8:1:2::/64"),
            (64, "fe80::1%eth0", "fe80::/64"),
            (56, "2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
            (128, "2001:DB8:0::1", "2001:db8::1"),
            (1, "ffff::1", "8000::/1"),
            (0, "ffff::1", "::/0"),
            (64, "::ffff:192.0.2.1", "192.0.2.1"),
        ];
        for (prefix, name, key) in table {
            let mut addresses = Addresses::new(prefix);
            assert_eq!(addresses.key(name.as_bytes()), key.as_bytes(), "{name}/{prefix}");
        }
    }

    #[test]
    fn ipv4_addresses_of_one_network_are_one_key() {
        for (prefix, name, key) in [
            (24, "192.0.2.77", "192.0.2.0/24"),
            (24, "[::ffff:192.0.2.77]:443", "192.0.2.0/24"),
            (9, "10.200.3.4", "10.128.0.0/9"),
            (0, "192.0.2.77", "0.0.0.0/0"),
            (32, "192.0.2.77", "192.0.2.77"),
            (24, "2001:db8:1:2::3", "2001:db8:1:2::/64"),
            (24, "1716163201.5", "1716163201.5"),
        ] {
            let mut addresses = Addresses::new(64).with_ipv4(prefix);
            assert_eq!(addresses.key(name.as_bytes()), key.as_bytes(), "{name}/{prefix}");
        }
    }

    #[test]
    fn spellings_of_an_address_are_one_key() {
        let table = [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("\"192.0.2.1\"", "192.0.2.1"),
            ("\"192.0.2.1:50000\"", "192.0.2.1"),
            ("[192.0.2.1]:80", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8:1:2:3:4:5:6:50000", "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6:80", "2001:db8:1:2:3:4:5:6"),
            ("2001:db8::1:50000", "2001:db8::1"),
            ("[fe80::1%eth0]:443", "fe80::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("192.0.2.1:50000:X0", "192.0.2.1"),
            ("/192.0.2.1:50000", "192.0.2.1"),
            ("/[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.1::X1-V20:www.example.org", "192.0.2.1"),
        ];
        for (name, key) in table {
            assert_eq!(Addresses::new(128).key(name.as_bytes()), key.as_bytes(), "{name}");
        }
    }

    #[test]
    fn text_around_an_address_is_no_client() {
        for (text, key) in [
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.1:443:tenant", "192.0.2.1:443:tenant"),
            ("192.0.2.1:443:9", "192.0.2.1:443:9"),
            // A path, such as one that asks for the place of an address.
            ("/8.8.8.8", "/8.8.8.8"),
        ] {
            assert_eq!(
                Addresses::new(128).key_of_text(text.as_bytes()),
                key.as_bytes(),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_keys_as_they_are_written() {
        for name in [
            "www.example.org",
            "www.example.org:80",
            "[::1",
            "",
            "-",
            "192.0.2.1:",
            "192.0.2.1:80:",
            "192.0.2.1:80:90",
            "192.0.2.1:x:X0",
            "00:11:22:33:44:55",
            "2001:db8::1:99999",
            "2001:db8::1:",
            "a:1",
            "unix:",
        ] {
            assert_eq!(Addresses::new(64).key(name.as_bytes()), name.as_bytes());
        }
        assert_eq!(Addresses::new(64).key(b":\xff"), b":\xff");
    }
}
