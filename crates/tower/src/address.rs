//! Addresses of clients: networks, and how nodes are written in header fields.

use core::convert::Infallible;
use core::error::Error;
use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A network: an address and how many of its bits all members share. Written `10.0.0.0/8`; an address alone is a network of one.
///
/// ```
/// use ratelimit_meter_tower::Net;
///
/// let net: Net = "2001:db8::/32".parse()?;
/// assert!(net.contains("2001:db8::7".parse().unwrap()));
/// assert_eq!("10.1.2.3/8".parse::<Net>().unwrap_err().to_string(), "10.1.2.3/8 sets bits past its prefix: write 10.0.0.0/8");
/// # Ok::<(), ratelimit_meter_tower::InvalidNet>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

/// The networks that are not reachable from outside: loopback, private, link-local. Your own proxies usually have such addresses.
pub const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
];

impl Net {
    /// Returns the network of the addresses that share the first `prefix` bits of `address`. An IPv4 address that is mapped to IPv6 is
    /// an IPv4 address, also in a prefix.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if the prefix is longer than the address, or the address has bits past the prefix.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, InvalidNet> {
        let written = || format!("{address}/{prefix}");
        let (address, prefix) = match address {
            IpAddr::V6(v6) if prefix >= 96 && v6.to_ipv4_mapped().is_some() => (address.to_canonical(), prefix - 96),
            _ => (address, prefix),
        };
        if prefix > bits(address) {
            return Err(InvalidNet(Fault::PrefixTooLong(written())));
        }
        let first = masked(address, prefix);
        if first != address {
            let net = Self { address: first, prefix };
            return Err(InvalidNet(Fault::BitsPastPrefix(written(), net)));
        }
        Ok(Self { address, prefix })
    }

    /// Returns whether an address is one of the network's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address) == bits(self.address) && masked(address, self.prefix) == self.address
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Net {
    type Err = InvalidNet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || InvalidNet(Fault::Unreadable(text.to_owned()));
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        match prefix {
            None => Ok(address.into()),
            Some(prefix) => Self::new(address, prefix.parse().map_err(|_| unreadable())?),
        }
    }
}

impl From<IpAddr> for Net {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix = bits(address);
        Self { address, prefix }
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $text:ty),*) => {$(
        $(#[$doc])*
        impl TryFrom<$text> for Net {
            type Error = InvalidNet;

            fn try_from(text: $text) -> Result<Self, InvalidNet> {
                text.parse()
            }
        }
    )*};
}

texts!(
    &str,
    String,
    /// As from a constant `&[&str]`.
    &&str,
    /// As from a list of texts in a configuration.
    &String
);

/// As from a list of networks that is kept.
impl From<&Self> for Net {
    fn from(net: &Self) -> Self {
        *net
    }
}

impl From<Ipv4Addr> for Net {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Net {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<&IpAddr> for Net {
    fn from(address: &IpAddr) -> Self {
        Self::from(*address)
    }
}

/// The error of a text, or an address and a prefix, that is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNet(Fault);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Unreadable(String),
    PrefixTooLong(String),
    BitsPastPrefix(String, Net),
}

impl fmt::Display for InvalidNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::Unreadable(text) => {
                write!(
                    f,
                    "{text:?} is no network: write an address, or one and a prefix as in 10.0.0.0/8"
                )
            }
            Fault::PrefixTooLong(text) => {
                write!(
                    f,
                    "the prefix of {text} is too long: an IPv4 address has 32 bits, an IPv6 address 128"
                )
            }
            Fault::BitsPastPrefix(text, net) => write!(f, "{text} sets bits past its prefix: write {net}"),
        }
    }
}

impl Error for InvalidNet {}

impl From<Infallible> for InvalidNet {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Collects networks of texts, addresses and [`Net`]s.
pub(crate) fn nets<I>(nets: I) -> Result<Vec<Net>, InvalidNet>
where
    I: IntoIterator<Item: TryInto<Net, Error: Into<InvalidNet>>>,
{
    nets.into_iter().map(|net| net.try_into().map_err(Into::into)).collect()
}

pub(crate) fn any_contains(nets: &[Net], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(address))
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Clears the bits past a prefix.
pub(crate) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let past = |bits: u8| u32::from(bits - prefix.min(bits));
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(past(32)).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(past(128)).unwrap_or(0)).into(),
    }
}

/// The bits of an address that identify a client: all 32 of IPv4, and 64 of IPv6, which is the network of one subscriber, unless set otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// The mask of the bits, for IPv4; their number, for IPv6.
    v4: u32,
    v6: u8,
}

impl Prefix {
    pub(crate) fn with_v4(self, bits: u8) -> Result<Self, InvalidNet> {
        match bits {
            0..=32 => {
                let v4 = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Ok(Self { v4, ..self })
            }
            _ => Err(InvalidNet(Fault::PrefixTooLong(format!("0.0.0.0/{bits}")))),
        }
    }

    pub(crate) fn with_v6(self, bits: u8) -> Result<Self, InvalidNet> {
        match bits {
            0..=128 => Ok(Self { v6: bits, ..self }),
            _ => Err(InvalidNet(Fault::PrefixTooLong(format!("::/{bits}")))),
        }
    }

    /// Returns the prefix of an address.
    #[inline]
    pub(crate) fn cut(self, address: Bits) -> Bits {
        match address.v4() {
            Some(v4) => Bits::of_v4(Ipv4Addr::from_bits(v4 & self.v4)),
            None => Bits(address.0 & u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0)),
        }
    }
}

/// An address as 128 bits. An IPv4 address is held as the IPv6 address that is mapped to it, which is the same client. (An `IpAddr` has 17 bytes,
/// which move one by one.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bits(u128);

/// The prefix of mapped addresses, `::ffff:0:0/96`, without its last 32 bits.
const MAPPED: u128 = 0xffff;

impl Bits {
    #[inline]
    pub(crate) const fn halves(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, (self.0 & 0xffff_ffff_ffff_ffff) as u64]
    }

    /// Returns the bits of an IPv4 address.
    #[inline]
    pub(crate) fn v4(self) -> Option<u32> {
        (self.0 >> 32 == MAPPED).then_some((self.0 & 0xffff_ffff) as u32)
    }

    #[inline]
    fn of_v4(address: Ipv4Addr) -> Self {
        Self(MAPPED << 32 | u128::from(address.to_bits()))
    }
}

impl From<&SocketAddr> for Bits {
    #[inline]
    fn from(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::of_v4(*v4.ip()),
            SocketAddr::V6(v6) => Self(v6.ip().to_bits()),
        }
    }
}

impl From<IpAddr> for Bits {
    #[inline]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self(v6.to_bits()),
        }
    }
}

impl From<Bits> for IpAddr {
    fn from(bits: Bits) -> Self {
        Ipv6Addr::from_bits(bits.0).to_canonical()
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self { v4: u32::MAX, v6: 64 }
    }
}

/// Reads a node as proxies write it: an address, perhaps in brackets, with a port, a zone or in quotes. `None` for anything else, such
/// as `unknown`, `_hidden` or a name.
pub(crate) fn node(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let text = match text.strip_prefix('"') {
        None => text,
        Some(quoted) => quoted.strip_suffix('"')?,
    };
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return None;
            }
            IpAddr::V6(zoneless(address).parse().ok()?)
        }
        // One colon is that of a port; an IPv6 address has at least two.
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                let address: Ipv4Addr = address.parse().ok()?;
                return is_port(port).then_some(address.into());
            }
            _ => zoneless(text).parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// Reads an address and, behind its last colon, a port: IPv6 without brackets, as CloudFront writes it.
pub(crate) fn node_and_port(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    if text.starts_with('[') {
        return node(text.as_bytes());
    }
    let (address, port) = text.rsplit_once(':')?;
    let address: IpAddr = zoneless(address).parse().ok()?;
    is_port(port).then(|| address.to_canonical())
}

/// A port of RFC 7239, section 6: up to five digits, or a name that begins with `_`.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// An IPv6 address without its zone, which means something to its own host only.
fn zoneless(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}
