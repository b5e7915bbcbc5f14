//! The settings of the TCP connections that a store opens by a URL.

use core::time::Duration;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;

/// The time without traffic after which the system asks whether the server is there. Firewalls and address translators forget a connection after some
/// minutes without traffic. Some then drop its packets silently, so calls of a rarely used store would fail.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Returns settings that keep idle connections alive.
pub(crate) fn settings() -> TcpSettings {
    TcpSettings::default().set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Returns the client of a URL with these settings.
pub(crate) fn client(url: &str) -> redis::RedisResult<redis::Client> {
    let info = redis::IntoConnectionInfo::into_connection_info(url)?;
    redis::Client::open(info.set_tcp_settings(settings()))
}
