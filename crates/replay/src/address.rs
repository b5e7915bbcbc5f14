//! Addresses as keys: those of one IPv6 network are one.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

/// Writes addresses as keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// How many bits of an IPv6 address matter; without it all do.
    prefix: Option<u8>,
    written: String,
}

impl Addresses {
    /// Those of which the first `prefix` bits are the same are one key; without it each is a key.
    #[must_use]
    pub(crate) fn new(prefix: Option<u8>) -> Self {
        Self {
            prefix,
            written: String::new(),
        }
    }

    /// The key of whoever is named: as it is written, unless it is an IPv6 address (brackets around it, and a zone
    /// behind it, do not matter) and there is a prefix. One that stands for an IPv4 address is that.
    #[must_use]
    pub(crate) fn key<'a>(&'a mut self, name: &'a [u8]) -> &'a [u8] {
        if self.prefix.is_none() || !name.contains(&b':') {
            return name;
        }
        let bare = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        let bare = bare.unwrap_or(name);
        let bare = bare.split(|&byte| byte == b'%').next().unwrap_or(bare);
        let address = std::str::from_utf8(bare).ok().and_then(|text| text.parse().ok());
        match address {
            Some(address) => self.network(IpAddr::V6(address)),
            None => name,
        }
    }

    /// The key of an address: `192.0.2.1`, `2001:db8::1`, or with a prefix below 128 `2001:db8::/64`.
    #[must_use]
    pub(crate) fn network(&mut self, address: IpAddr) -> &[u8] {
        self.written.clear();
        let length = self.prefix.unwrap_or(128);
        // Writing into a `String` cannot fail.
        let _ = match address.to_canonical() {
            IpAddr::V6(address) if length < 128 => {
                // A shift by all 128 bits is not defined; no bit is left then.
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                let network = Ipv6Addr::from_bits(address.to_bits() & mask);
                write!(self.written, "{network}/{length}")
            }
            address => write!(self.written, "{address}"),
        };
        self.written.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_key() {
        let table = [
            (None, "2001:DB8::1", "2001:DB8::1"),
            (Some(64), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            (Some(64), "2001:DB8:1:2::", "2001:db8:1:2::/64"),
            (Some(64), "[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
            (Some(64), "fe80::1%eth0", "fe80::/64"),
            (Some(56), "2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
            (Some(128), "2001:DB8:0::1", "2001:db8::1"),
            (Some(1), "ffff::1", "8000::/1"),
            (Some(0), "ffff::1", "::/0"),
            (Some(64), "::ffff:192.0.2.1", "192.0.2.1"),
            (Some(64), "192.0.2.1", "192.0.2.1"),
            (Some(64), "192.0.2.1:80", "192.0.2.1:80"),
            (Some(64), "www.example.org", "www.example.org"),
            (Some(64), "[::1", "[::1"),
            (Some(64), "", ""),
        ];
        for (prefix, name, key) in table {
            let mut addresses = Addresses::new(prefix);
            assert_eq!(addresses.key(name.as_bytes()), key.as_bytes(), "{name}/{prefix:?}");
        }
        assert_eq!(Addresses::new(Some(64)).key(b":\xff"), b":\xff");
    }
}
