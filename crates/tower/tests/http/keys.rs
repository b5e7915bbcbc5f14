//! Clients: the keys that distinguish them. Tests are named after rows R1 to R30 of the design: bug reports of other limiters' users.

use crate::events::warnings_of;
use crate::support::{answer, from, hourly, meter, quota, request, status, with};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter_tower::{BearerKey, ClientIp, HeaderKey, OnNoKey, PeerIp, PerKey, RateLimitLayer};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn r7_shared_proxy_limit_warns_once() {
    let mut request = from("10.0.0.1");
    request
        .headers_mut()
        .append("x-forwarded-for", "203.0.113.7".parse().unwrap());
    let warnings = warnings_of(|| {
        let layer = RateLimitLayer::new(hourly(PeerIp::new()));
        (0..3).for_each(|_| drop(answer(&layer, request.clone())));
        let layer = RateLimitLayer::new(hourly(ClientIp::trusting(["10.0.0.0/8"]).unwrap()));
        answer(&layer, request.clone());
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("ClientIp::trusting"));
}

#[test]
fn r8_a_port_makes_no_new_client() {
    let layer = RateLimitLayer::new(hourly(PeerIp::new()));
    let of_port = |port| {
        let mut request = request();
        request
            .extensions_mut()
            .insert(SocketAddr::from(([203, 0, 113, 7], port)));
        request
    };
    assert_eq!(status(&layer, of_port(1)), 200);
    assert_eq!(status(&layer, of_port(2)), 429);
}

#[test]
fn r9_an_ipv6_client_is_a_network() {
    let layer = RateLimitLayer::new(hourly(PeerIp::new()));
    assert_eq!(status(&layer, from("2001:db8::1")), 200);
    assert_eq!(status(&layer, from("2001:db8::ffff:1")), 429);
    assert_eq!(status(&layer, from("2001:db8:0:1::1")), 200);
    let wider = (
        hourly(PeerIp::new()),
        PerKey::new(PeerIp::new().v6_prefix(48).unwrap(), quota("2/h"), 1000)
            .unwrap()
            .named("48"),
    );
    let layer = RateLimitLayer::new(wider);
    let statuses =
        ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:1::1"].map(|peer| status(&layer, from(peer)));
    assert_eq!(statuses, [200, 200, 429, 200]);
    assert!(PeerIp::new().v6_prefix(129).is_err());
}

#[test]
fn r9_ipv4_network_may_be_one_client() {
    let network = PeerIp::new().v4_prefix(24).unwrap();
    let limit = PerKey::new(network, quota("2/h"), 1000).unwrap();
    let layer = RateLimitLayer::new(limit);
    let peers = [
        "192.0.2.1",
        "::ffff:192.0.2.255",
        "192.0.2.7",
        "192.0.3.1",
        "2001:db8::1",
    ];
    assert_eq!(peers.map(|peer| status(&layer, from(peer))), [200, 200, 429, 200, 200]);
    let left = |peer: &str| {
        layer
            .limits()
            .remaining(|key| network.write(peer.parse().unwrap(), key))
    };
    assert_eq!(["192.0.2.9", "192.0.3.9"].map(left), [0, 1]);
    let behind = ClientIp::trusting(["10.0.0.0/8"]).unwrap().v4_prefix(16).unwrap();
    let behind = behind.peer(PeerIp::new().v4_prefix(32).unwrap());
    let layer = RateLimitLayer::new(hourly(behind));
    let forwarded = ["198.51.100.1", "198.51.7.1", "198.52.100.1"].map(|client| {
        let mut request = from("10.0.0.1");
        let client = client.parse().expect("a value");
        request.headers_mut().insert("x-forwarded-for", client);
        status(&layer, request)
    });
    assert_eq!(forwarded, [200, 429, 200]);
    assert!(PeerIp::new().v4_prefix(0).is_ok());
    let error = PeerIp::new().v4_prefix(33).unwrap_err();
    assert!(error.to_string().contains("0.0.0.0/33"), "{error}");
}

#[test]
fn r10_mapped_addresses_are_ipv4() {
    let layer = RateLimitLayer::new(hourly(PeerIp::new()));
    let statuses = ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1"].map(|peer| status(&layer, from(peer)));
    assert_eq!(statuses, [200, 200, 429]);
}

/// axum's own stand-in for the connection, in tests of a router.
#[test]
fn mocked_connections_have_addresses() {
    use axum::extract::connect_info::MockConnectInfo;
    let layer = RateLimitLayer::new(hourly(PeerIp::new()));
    let statuses = ["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(|peer| {
        let mut request = request();
        let address = std::net::SocketAddr::new(peer.parse().expect("an address"), 1);
        request.extensions_mut().insert(MockConnectInfo(address));
        status(&layer, request)
    });
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn r11_keyless_requests_share_limit_and_warning() {
    let warnings = warnings_of(|| {
        let layer = RateLimitLayer::new(hourly(PeerIp::new()));
        assert_eq!([(); 2].map(|()| status(&layer, request())), [200, 429]);
        assert_eq!(status(&layer, from("192.0.2.1")), 200);
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let rejecting = RateLimitLayer::new(hourly(PeerIp::new()).on_no_key(OnNoKey::Reject(StatusCode::FORBIDDEN)));
    let denied = answer(&rejecting, request());
    assert_eq!(
        (denied.status(), denied.headers().get(RETRY_AFTER)),
        (StatusCode::FORBIDDEN, None)
    );
    // Other limits were not asked, so nothing is known of them.
    let users = hourly(BearerKey::new()).on_no_key(OnNoKey::Reject(StatusCode::UNAUTHORIZED));
    let denied = answer(&RateLimitLayer::new((hourly(PeerIp::new()), users)), from("192.0.2.1"));
    assert_eq!(denied.status(), StatusCode::UNAUTHORIZED);
    assert!(!denied.headers().contains_key("ratelimit"), "{:?}", denied.headers());
    let passing = RateLimitLayer::new(hourly(PeerIp::new()).on_no_key(OnNoKey::Pass));
    assert_eq!([(); 3].map(|()| status(&passing, request())), [200; 3]);
}

#[test]
fn r11_empty_and_doubled_fields_are_no_keys() {
    let key = || HeaderKey::new(HeaderName::from_static("x-api-key"));
    let layer = RateLimitLayer::new(hourly(key()).on_no_key(OnNoKey::Reject(StatusCode::UNAUTHORIZED)));
    let mut doubled = with("x-api-key", "a");
    doubled.headers_mut().append("x-api-key", "b".parse().unwrap());
    assert_eq!(
        [with("x-api-key", ""), request(), doubled].map(|request| status(&layer, request)),
        [401; 3]
    );
    assert_eq!(status(&layer, with("x-api-key", "a")), 200);
    let layer = RateLimitLayer::new(hourly(BearerKey::new()).on_no_key(OnNoKey::Reject(StatusCode::UNAUTHORIZED)));
    let statuses = ["Bearer abc", "bearer  abc", "Bearer ", "Basic abc", "Bear"]
        .map(|value| status(&layer, with("authorization", value)));
    assert_eq!(statuses, [200, 429, 401, 401, 401]);
}

#[test]
fn one_key_is_looked_at_and_reset() {
    let layer = RateLimitLayer::new(hourly(HeaderKey::new(HeaderName::from_static("x-user"))));
    let alice = || with("x-user", "alice");
    assert_eq!([alice(), alice()].map(|request| status(&layer, request)), [200, 429]);
    assert_eq!(layer.limits().remaining(|key| key.value(&b"alice"[..])), 0);
    assert_eq!(layer.limits().stats().live, 1);
    layer.limits().reset(|key| key.value(&b"alice"[..]));
    assert_eq!(status(&layer, alice()), 200);
}

/// The keys of `1/s` are idle a second later, when those of `1/h` have filled their table.
#[test]
fn statistics_of_a_dual_limit_have_both_tables() {
    let clock = ManualClock::new();
    let dual = |keys| PerKey::dual_like(PeerIp::new(), meter("1/s", &clock), meter("1/h", &clock), keys).unwrap();
    let layers = [1, 10_000].map(|keys| RateLimitLayer::new(dual(keys)));
    for client in 0..1000 {
        let client = format!("192.0.{}.{}", client / 250, client % 250);
        for layer in &layers {
            assert_eq!(status(layer, from(&client)), 200);
        }
        clock.advance(Duration::from_secs(1)).unwrap();
    }
    let [small, large] = layers.map(|layer| layer.limits().stats());
    assert_eq!((large.live, large.forgiven), (1000, 0));
    assert_eq!(small.live, small.slots);
    assert_eq!(small.forgiven, 1000 - small.live as u64);
}

/// Support names a client by its whole address.
#[test]
fn address_is_reset_as_it_is_limited() {
    for (blocked, given) in [("192.0.2.7", "::ffff:192.0.2.7"), ("2001:db8::7", "2001:db8::8")] {
        let layer = RateLimitLayer::new(hourly(PeerIp::new()));
        assert_eq!(
            [from(blocked), from(blocked)].map(|request| status(&layer, request)),
            [200, 429]
        );
        let given = given.parse().unwrap();
        assert_eq!(layer.limits().remaining(|key| PeerIp::new().write(given, key)), 0);
        layer.limits().reset(|key| ClientIp::hops(1).write(given, key));
        assert_eq!(status(&layer, from(blocked)), 200);
    }
}

#[test]
fn hostile_keys_are_only_keys() {
    let layer = RateLimitLayer::new(hourly(HeaderKey::new(HeaderName::from_static("x-user"))));
    let values: [&[u8]; 5] = [b"\xff\xfe", &[b'a'; 100_000], b" ", b"a", b"a,b"];
    for value in values {
        let mut request = request();
        request
            .headers_mut()
            .insert("x-user", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(
            [request.clone(), request].map(|request| status(&layer, request)),
            [200, 429]
        );
    }
    // The parts of a key are kept apart.
    let parts = RateLimitLayer::new(hourly((
        HeaderKey::new(HeaderName::from_static("x-a")),
        HeaderKey::new(HeaderName::from_static("x-b")),
    )));
    let of = |a: &str, b: &str| {
        let mut request = with("x-a", a);
        request.headers_mut().insert("x-b", b.parse().unwrap());
        status(&parts, request)
    };
    assert_eq!([of("ab", "c"), of("a", "bc"), of("ab", "c")], [200, 200, 429]);
}
