//! The address of a client as its key.

use super::{Key, KeyWriter, NoKey};
use crate::address::{Bits, InvalidNet, Net, Prefix, any_contains, nets, node, node_and_port};
use crate::forwarded::Chain;
use crate::head::Head;
#[cfg(feature = "axum")]
use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
use http::Extensions;
use http::header::HeaderName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The address of the connection: axum's `ConnectInfo<SocketAddr>` or, in tests, its `MockConnectInfo<SocketAddr>`, tonic's `TcpConnectInfo`, a
/// `SocketAddr` or an `IpAddr` in the extensions.
///
/// All IPv6 addresses of a /64 are one client, because a subscriber usually has a whole /64. Behind a proxy, every connection comes from
/// the proxy: use [`ClientIp`].
///
/// ```
/// use ratelimit_meter_tower::{PeerIp, PerKey};
///
/// let peers = PerKey::new(PeerIp::new().v6_prefix(48)?, "100/min".parse()?, 100_000)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerIp {
    prefix: Prefix,
    read: Option<fn(&Head<'_>) -> Option<IpAddr>>,
}

impl PeerIp {
    /// Returns the key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the address from where a server of another kind left it.
    ///
    /// ```
    /// use ratelimit_meter_tower::PeerIp;
    /// use std::net::SocketAddr;
    ///
    /// #[derive(Clone)]
    /// struct Connection { remote: SocketAddr }
    ///
    /// let key = PeerIp::from_fn(|head| Some(head.extensions().get::<Connection>()?.remote.ip()));
    /// ```
    ///
    /// A tonic server that is given TLS streams leaves a `TlsConnectInfo<TcpConnectInfo>`, whose `get_ref().remote_addr()` is the address.
    #[must_use]
    pub fn from_fn(read: fn(&Head<'_>) -> Option<IpAddr>) -> Self {
        Self {
            read: Some(read),
            ..Self::default()
        }
    }

    /// Sets how many bits of an IPv4 address make a client, 32 by default. With fewer, the clients of a network share a meter.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] above 32.
    pub fn v4_prefix(self, bits: u8) -> Result<Self, InvalidNet> {
        let prefix = self.prefix.with_v4(bits)?;
        Ok(Self { prefix, ..self })
    }

    /// Sets how many bits of an IPv6 address make a client, 64 by default.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] above 128.
    pub fn v6_prefix(self, bits: u8) -> Result<Self, InvalidNet> {
        let prefix = self.prefix.with_v6(bits)?;
        Ok(Self { prefix, ..self })
    }

    /// Writes the key of the clients at an address, as [`Limiter::reset`](crate::Limiter::reset) and [`remaining`](crate::Limiter::remaining) need it. The
    /// prefix is cut as in requests.
    ///
    /// ```
    /// use ratelimit_meter_tower::{PeerIp, PerKey};
    ///
    /// let limit = PerKey::new(PeerIp::new(), "100/min".parse()?, 10_000)?;
    /// let blocked = "2001:db8::7".parse()?;
    /// limit.reset(|key| PeerIp::new().write(blocked, key));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, address: IpAddr, key: &mut KeyWriter<'_>) {
        key.network(self.prefix.cut(address.into()));
    }

    fn address(&self, head: &Head<'_>) -> Option<Bits> {
        match self.read {
            None => connection(head.extensions()),
            Some(read) => read(head).map(Bits::from),
        }
    }
}

/// The address of the connection.
#[inline(always)]
fn connection(extensions: &Extensions) -> Option<Bits> {
    #[cfg(feature = "axum")]
    if let Some(ConnectInfo(address)) = extensions.get::<ConnectInfo<SocketAddr>>() {
        return Some(address.into());
    }
    other_connection(extensions)
}

/// The address of a connection that axum's server did not accept.
#[inline]
fn other_connection(extensions: &Extensions) -> Option<Bits> {
    #[cfg(feature = "axum")]
    if let Some(MockConnectInfo(address)) = extensions.get::<MockConnectInfo<SocketAddr>>() {
        return Some(address.into());
    }
    #[cfg(feature = "tonic")]
    if let Some(info) = extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr().as_ref().map(Bits::from);
    }
    let address = extensions.get::<SocketAddr>().map(Bits::from);
    address.or_else(|| extensions.get::<IpAddr>().copied().map(Bits::from))
}

impl Key for PeerIp {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        let address = self.address(head).ok_or(NoKey)?;
        key.network(self.prefix.cut(address));
        Ok(())
    }

    // Always, although there are two callers: the hasher stays in registers.
    #[inline(always)]
    fn find_at_once(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Option<Result<(), NoKey>> {
        if self.read.is_some() {
            return None;
        }
        let address = connection(head.extensions())?;
        key.network(self.prefix.cut(address));
        Some(Ok(()))
    }

    #[inline]
    fn ignores_forwarding(&self) -> bool {
        self.read.is_none()
    }
}

/// The address of the client, also behind proxies. A client cannot choose this address.
///
/// A header field counts as far as a trusted machine wrote it. [`trusting`](Self::trusting) is the default choice. [`hops`](Self::hops) is for
/// platforms that publish no networks, and [`header`](Self::header) for platforms that write a field of their own.
///
/// ```
/// use ratelimit_meter_tower::{ClientIp, PRIVATE, PerKey};
///
/// let clients = PerKey::new(ClientIp::trusting(PRIVATE)?, "100/min".parse()?, 100_000)?;
/// let of_ours = PerKey::new(ClientIp::trusting(["10.0.0.0/8", "2001:db8::/32"])?, "100/min".parse()?, 100_000)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A connection of a Unix socket has no address. If the last proxy connects by one, name an address for it, and trust that:
///
/// ```
/// use ratelimit_meter_tower::{ClientIp, PeerIp};
/// use std::net::{IpAddr, Ipv4Addr};
///
/// let proxy = PeerIp::from_fn(|_| Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
/// let key = ClientIp::trusting(["127.0.0.1"])?.peer(proxy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientIp {
    peer: PeerIp,
    by: FoundBy,
}

#[derive(Debug, Clone)]
enum FoundBy {
    Trust { nets: Arc<[Net]>, chain: Chain },
    Hops { hops: usize, chain: Chain },
    Field { name: HeaderName, nets: Arc<[Net]> },
}

/// The name under which CloudFront writes an address and a port, with no brackets around IPv6.
const CLOUDFRONT: &str = "cloudfront-viewer-address";

impl ClientIp {
    /// Trusts the machines of these networks to append the address they were connected from to `X-Forwarded-For`.
    ///
    /// The chain is read from the right, beginning at the connection, while its addresses are trusted. The client is the first address that is
    /// not trusted. If there is none, or the next entry cannot be read, it is the last trusted address. All lines are read, 64 entries at most.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if one of them is no network.
    pub fn trusting<I>(trusted: I) -> Result<Self, InvalidNet>
    where
        I: IntoIterator<Item: TryInto<Net, Error: Into<InvalidNet>>>,
    {
        let (nets, chain) = (nets(trusted)?.into(), Chain::default());
        Ok(Self::by(FoundBy::Trust { nets, chain }))
    }

    /// Trusts the last `hops` machines, without regard to their addresses: the client is entry number `hops` of `X-Forwarded-For`, counted from the right.
    /// If there are fewer entries, if that entry cannot be read, or if `hops` is 0, the client is the connection's address. If that
    /// entry is there, the connection needs no address, so the last proxy may connect by a Unix socket.
    ///
    /// Use it only for servers that every client reaches through exactly `hops` proxies.
    #[must_use]
    pub fn hops(hops: usize) -> Self {
        let chain = Chain::default();
        Self::by(FoundBy::Hops { hops, chain })
    }

    /// Trusts a field that the machines of these networks overwrite, such as `CF-Connecting-IP`, `True-Client-IP`, `Fly-Client-IP`,
    /// `X-Real-IP`, `X-Envoy-External-Address` or `CloudFront-Viewer-Address`.
    ///
    /// If the connection is from another network, the field occurs twice, or it cannot be read, the client is the connection's address.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] if one of them is no network.
    pub fn header<I>(name: HeaderName, trusted: I) -> Result<Self, InvalidNet>
    where
        I: IntoIterator<Item: TryInto<Net, Error: Into<InvalidNet>>>,
    {
        let nets = nets(trusted)?.into();
        Ok(Self::by(FoundBy::Field { name, nets }))
    }

    fn by(by: FoundBy) -> Self {
        let peer = PeerIp::new();
        Self { peer, by }
    }

    /// Reads `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        if let FoundBy::Trust { chain, .. } | FoundBy::Hops { chain, .. } = &mut self.by {
            *chain = Chain::Forwarded;
        }
        self
    }

    /// Sets how many bits of an IPv4 address make a client, 32 by default; see [`PeerIp::v4_prefix`].
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] above 32.
    pub fn v4_prefix(self, bits: u8) -> Result<Self, InvalidNet> {
        let peer = self.peer.v4_prefix(bits)?;
        Ok(Self { peer, ..self })
    }

    /// Sets how many bits of an IPv6 address make a client, 64 by default.
    ///
    /// # Errors
    ///
    /// [`InvalidNet`] above 128.
    pub fn v6_prefix(self, bits: u8) -> Result<Self, InvalidNet> {
        let peer = self.peer.v6_prefix(bits)?;
        Ok(Self { peer, ..self })
    }

    /// Finds the address of the connection in another way; see [`PeerIp::from_fn`].
    #[must_use]
    pub fn peer(self, peer: PeerIp) -> Self {
        let peer = PeerIp {
            prefix: self.peer.prefix,
            ..peer
        };
        Self { peer, ..self }
    }

    /// Writes the key of the clients at an address; see [`PeerIp::write`].
    pub fn write(&self, address: IpAddr, key: &mut KeyWriter<'_>) {
        self.peer.write(address, key);
    }

    /// Returns the whole address of the client, as an access log would want it. `None` if the connection has no address, unless
    /// [`hops`](Self::hops) finds one in the field.
    #[must_use]
    pub fn address(&self, head: &Head<'_>) -> Option<IpAddr> {
        let peer = self.peer.address(head).map(IpAddr::from);
        match &self.by {
            FoundBy::Hops { hops, chain } => {
                let nth = hops
                    .checked_sub(1)
                    .and_then(|n| chain.right_to_left(head.headers()).nth(n));
                nth.flatten().or(peer)
            }
            FoundBy::Trust { nets, chain } => Some(behind(peer?, nets, chain.right_to_left(head.headers()))),
            FoundBy::Field { name, nets } if any_contains(nets, peer?) => field(head, name).or(peer),
            FoundBy::Field { .. } => peer,
        }
    }
}

/// Walks from the connection through trusted machines.
fn behind(peer: IpAddr, trusted: &[Net], entries: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
    let mut client = peer;
    for entry in entries {
        match entry {
            Some(entry) if any_contains(trusted, client) => client = entry,
            _ => break,
        }
    }
    client
}

fn field(head: &Head<'_>, name: &HeaderName) -> Option<IpAddr> {
    let mut values = head.headers().get_all(name).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else {
        return None;
    };
    match name.as_str() {
        CLOUDFRONT => node_and_port(value),
        _ => node(value),
    }
}

impl Key for ClientIp {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        self.write(self.address(head).ok_or(NoKey)?, key);
        Ok(())
    }
}

/// Finds the address that [`allow`](crate::Limiter::allow) compares with its networks.
pub trait FindAddress {
    /// Returns the whole address of the client.
    fn find_address(&self, head: &Head<'_>) -> Option<IpAddr>;
}

impl FindAddress for PeerIp {
    fn find_address(&self, head: &Head<'_>) -> Option<IpAddr> {
        self.address(head).map(IpAddr::from)
    }
}

impl FindAddress for ClientIp {
    fn find_address(&self, head: &Head<'_>) -> Option<IpAddr> {
        self.address(head)
    }
}
