//! The settings of the TCP connections that a store opens by a URL.

use core::time::Duration;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;

/// The time without traffic after which the system asks whether the server is there. Firewalls and address translators forget a connection after some
/// minutes without traffic. Some then drop its packets silently, so calls of a rarely used store would fail.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Returns settings that keep idle connections alive and send each call at once.
///
/// By default the system holds a small write back until the server has acknowledged the one before. A call that shares a connection would wait for the
/// replies to earlier calls. Versions of the client up to 1.8 leave that default.
pub(crate) fn settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive)
}

/// Returns the client of a URL with these settings.
pub(crate) fn client(url: &str) -> redis::RedisResult<redis::Client> {
    let info = redis::IntoConnectionInfo::into_connection_info(url)?;
    redis::Client::open(info.set_tcp_settings(settings()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_connection_are_sent_at_once() {
        let client = client("redis://127.0.0.1/").unwrap();
        assert!(client.get_connection_info().tcp_settings().nodelay());
    }
}
