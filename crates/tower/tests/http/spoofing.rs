//! Keys that clients try to choose: a table of connections and header lines, and the client that is found.

use crate::support::from;
use http::HeaderName;
use http::Request;
use proptest::prelude::*;
use ratelimit_meter_tower::{ClientIp, Head, Net, PRIVATE};
use std::net::{IpAddr, SocketAddr};

/// Trusted networks, the connection, header lines, and the client.
const TABLE: &[(Trust, &str, &[&str], &str)] = &[
    // A chain of trusted proxies.
    (Nets, "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7,10.0.0.3,10.0.0.2"], "203.0.113.7"),
    (Nets, "2001:db8::1", &["2a00:1450::5, 10.0.0.2"], "2a00:1450::5"),
    (Nets, "::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
    // Untrusted connections may send any value.
    (Nets, "198.51.100.9", &["203.0.113.7"], "198.51.100.9"),
    (Nets, "198.51.100.9", &["10.0.0.1"], "198.51.100.9"),
    (Nets, "198.51.100.9", &[], "198.51.100.9"),
    (Nets, "2a00::1", &["203.0.113.7"], "2a00::1"),
    // Entries at the left are forged.
    (Nets, "10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["10.0.0.9, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
    (
        Nets,
        "10.0.0.1",
        &["1.1.1.1, 2.2.2.2", "3.3.3.3, 203.0.113.7", "10.0.0.2"],
        "203.0.113.7",
    ),
    // All of the chain is trusted: the last is the client.
    (Nets, "10.0.0.1", &[], "10.0.0.1"),
    (Nets, "10.0.0.1", &[""], "10.0.0.1"),
    (Nets, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    // An unreadable entry ends the walk at the last trusted address.
    (Nets, "10.0.0.1", &["unknown"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
    (Nets, "10.0.0.1", &["1.1.1.1, _hidden, 10.0.0.2"], "10.0.0.2"),
    (Nets, "10.0.0.1", &["1.1.1.1, localhost"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 203.0.113.7.example"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 0x7f.1"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 010.0.0.1"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 256.1.1.1"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 1.1.1"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 203.0.113.7:99999"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, 203.0.113.7:"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, [203.0.113.7]"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, [2a00::1"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1, \"203.0.113.7"], "10.0.0.1"),
    (Nets, "10.0.0.1", &["1.1.1.1; 203.0.113.7"], "10.0.0.1"),
    // Empty entries mean nothing in a list.
    (Nets, "10.0.0.1", &["203.0.113.7,"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7,, ,\t,"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7", ""], "203.0.113.7"),
    // Ports, brackets, zones, quotes and space go.
    (Nets, "10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7:0"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["[2a00:1450::5]:4711"], "2a00:1450::5"),
    (Nets, "10.0.0.1", &["[2a00:1450::5]"], "2a00:1450::5"),
    (Nets, "10.0.0.1", &["\"[2a00:1450::5]:4711\""], "2a00:1450::5"),
    (Nets, "10.0.0.1", &["fe80::1%eth0"], "fe80::1"),
    (Nets, "10.0.0.1", &["  203.0.113.7\t"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
    (Nets, "10.0.0.1", &["203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
    // A count of proxies: too few entries, or one that cannot be read, is the connection.
    (Hops(1), "198.51.100.9", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
    (
        Hops(2),
        "198.51.100.9",
        &["1.1.1.1, 203.0.113.7, 10.0.0.2"],
        "203.0.113.7",
    ),
    (Hops(2), "198.51.100.9", &["203.0.113.7"], "198.51.100.9"),
    (Hops(2), "198.51.100.9", &["203.0.113.7", "10.0.0.2"], "203.0.113.7"),
    (Hops(1), "198.51.100.9", &["203.0.113.7, unknown"], "198.51.100.9"),
    (Hops(0), "198.51.100.9", &["203.0.113.7"], "198.51.100.9"),
    (Hops(1), "198.51.100.9", &[], "198.51.100.9"),
    // A field of a platform.
    (Field("cf-connecting-ip"), "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
    (
        Field("cf-connecting-ip"),
        "198.51.100.9",
        &["203.0.113.7"],
        "198.51.100.9",
    ),
    (
        Field("cf-connecting-ip"),
        "10.0.0.1",
        &["1.1.1.1", "203.0.113.7"],
        "10.0.0.1",
    ),
    (
        Field("cf-connecting-ip"),
        "10.0.0.1",
        &["1.1.1.1, 203.0.113.7"],
        "10.0.0.1",
    ),
    (Field("x-real-ip"), "10.0.0.1", &["unknown"], "10.0.0.1"),
    (Field("x-real-ip"), "10.0.0.1", &[""], "10.0.0.1"),
    (Field("true-client-ip"), "10.0.0.1", &["2a00:1450::5"], "2a00:1450::5"),
    (
        Field("cloudfront-viewer-address"),
        "10.0.0.1",
        &["203.0.113.7:4711"],
        "203.0.113.7",
    ),
    (
        Field("cloudfront-viewer-address"),
        "10.0.0.1",
        &["2a00:1450::5:4711"],
        "2a00:1450::5",
    ),
    (
        Field("cloudfront-viewer-address"),
        "10.0.0.1",
        &["[2a00:1450::5]:4711"],
        "2a00:1450::5",
    ),
    (
        Field("cloudfront-viewer-address"),
        "10.0.0.1",
        &["2a00:1450::5"],
        "10.0.0.1",
    ),
    // Forwarded, RFC 7239.
    (Forwarded, "10.0.0.1", &["for=203.0.113.7"], "203.0.113.7"),
    (
        Forwarded,
        "10.0.0.1",
        &["For=\"203.0.113.7:4711\";proto=http;by=10.0.0.1"],
        "203.0.113.7",
    ),
    (
        Forwarded,
        "10.0.0.1",
        &["proto=https; for=203.0.113.7 , for=10.0.0.2"],
        "203.0.113.7",
    ),
    (Forwarded, "10.0.0.1", &["for=\"[2a00:1450::5]:_port\""], "2a00:1450::5"),
    (
        Forwarded,
        "10.0.0.1",
        &["for=1.1.1.1, for=unknown, for=10.0.0.2"],
        "10.0.0.2",
    ),
    (Forwarded, "10.0.0.1", &["for=1.1.1.1, for=_hidden"], "10.0.0.1"),
    (Forwarded, "10.0.0.1", &["for=1.1.1.1, proto=http"], "10.0.0.1"),
    (Forwarded, "10.0.0.1", &["for=1.1.1.1;for=203.0.113.7"], "10.0.0.1"),
    (
        Forwarded,
        "10.0.0.1",
        &["for=\"1.1.1.1, for=203.0.113.7"],
        "203.0.113.7",
    ),
    (
        Forwarded,
        "10.0.0.1",
        &["for=203.0.113.7;host=\"a, for=1.1.1.1\""],
        "203.0.113.7",
    ),
    (
        Forwarded,
        "10.0.0.1",
        &["for=203.0.113.7;host=\"a\\\", for=1.1.1.1\""],
        "203.0.113.7",
    ),
    (
        Forwarded,
        "10.0.0.1",
        &["for=1.1.1.1", "for=203.0.113.7, for=10.0.0.2"],
        "203.0.113.7",
    ),
    (Forwarded, "198.51.100.9", &["for=203.0.113.7"], "198.51.100.9"),
];

#[derive(Debug, Clone, Copy)]
enum Trust {
    Nets,
    Hops(usize),
    Field(&'static str),
    Forwarded,
}
use Trust::{Field, Forwarded, Hops, Nets};

const NETS: [&str; 2] = ["10.0.0.0/8", "2001:db8::/32"];

impl Trust {
    fn key(self) -> ClientIp {
        match self {
            Nets => ClientIp::trusting(NETS).unwrap(),
            Hops(hops) => ClientIp::hops(hops),
            Field(name) => ClientIp::header(HeaderName::from_static(name), NETS).unwrap(),
            Forwarded => ClientIp::trusting(NETS).unwrap().forwarded(),
        }
    }

    fn field(self) -> HeaderName {
        HeaderName::from_static(match self {
            Field(name) => name,
            Forwarded => "forwarded",
            Nets | Hops(_) => "x-forwarded-for",
        })
    }
}

fn client(trust: Trust, peer: &str, lines: &[&[u8]]) -> IpAddr {
    let mut request = Request::new(());
    let peer: IpAddr = peer.parse().unwrap();
    request.extensions_mut().insert(SocketAddr::new(peer, 4711));
    for line in lines {
        request
            .headers_mut()
            .append(trust.field(), line.to_vec().try_into().unwrap());
    }
    trust.key().address(&Head::of(&request)).unwrap()
}

#[test]
fn clients_cannot_choose_their_address() {
    assert!(TABLE.len() >= 60);
    for (trust, peer, lines, expected) in TABLE {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        let expected: IpAddr = expected.parse().unwrap();
        assert_eq!(client(*trust, peer, &lines), expected, "{trust:?} {peer} {lines:?}");
    }
}

#[test]
fn non_text_bytes_end_the_walk() {
    for trust in [Nets, Forwarded] {
        assert_eq!(
            client(trust, "10.0.0.1", &[b"1.1.1.1, \xff\xfe"]).to_string(),
            "10.0.0.1"
        );
    }
}

#[test]
fn ten_thousand_entries_cost_like_sixty_four() {
    let line = b"10.0.0.2,".repeat(10_000);
    assert_eq!(
        client(Nets, "10.0.0.1", &[b"203.0.113.7", &line]).to_string(),
        "10.0.0.2"
    );
    let commas = b",".repeat(10_000);
    assert_eq!(
        client(Nets, "10.0.0.1", &[b"203.0.113.7", &commas]).to_string(),
        "10.0.0.1"
    );
}

/// Header lines of proxies and attackers.
fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "1.1.1.1",
            "10.0.0.2",
            "[2a00::1]:1",
            "\"",
            "\\",
            ",",
            ";",
            "for=",
            "=",
            "unknown",
            "%",
            ":",
            " ",
            "::ffff:1.2.3.4",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..6),
    ];
    let line = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    prop::collection::vec(line, 0..4)
}

proptest! {
    /// For any text of a client, the entries that proxies append decide.
    #[test]
    fn nothing_left_of_an_untrusted_hop_matters(forged in lines(), same_line in any::<bool>()) {
        for (trust, appended) in [(Nets, &b"203.0.113.7, 10.0.0.2"[..]), (Forwarded, b"for=203.0.113.7, for=10.0.0.2")] {
            let mut lines = forged.clone();
            match lines.pop().filter(|_| same_line) {
                Some(last) => lines.push([&last[..], b", ", appended].concat()),
                None => lines.push(appended.to_vec()),
            }
            let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(client(trust, "10.0.0.1", &lines).to_string(), "203.0.113.7");
        }
    }

    #[test]
    fn no_header_panics(lines in lines()) {
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
        for trust in [Nets, Forwarded, Hops(2), Field("x-real-ip"), Field("cloudfront-viewer-address")] {
            client(trust, "10.0.0.1", &lines);
        }
    }
}

#[test]
fn hops_need_no_address_of_the_connection() {
    let mut request = Request::new(());
    let client =
        |key: ClientIp, request: &Request<()>| key.address(&Head::of(request)).map(|client| client.to_string());
    assert_eq!(client(ClientIp::hops(1), &request), None);
    let chain = "1.1.1.1, 203.0.113.7".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", chain);
    assert_eq!(client(ClientIp::hops(1), &request).as_deref(), Some("203.0.113.7"));
    assert_eq!(client(ClientIp::hops(3), &request), None);
    assert_eq!(client(ClientIp::hops(0), &request), None);
    assert_eq!(client(ClientIp::trusting(PRIVATE).unwrap(), &request), None);
    assert_eq!(client(Field("x-forwarded-for").key(), &request), None);
}

#[test]
fn networks_are_given_in_every_form() {
    const TEXTS: &[&str] = &["10.0.0.0/8", "2001:db8::/32"];
    let nets: Vec<Net> = TEXTS.iter().map(|text| text.parse().unwrap()).collect();
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    let owned: Vec<_> = TEXTS.iter().copied().map(String::from).collect();
    for key in [
        ClientIp::trusting(TEXTS),
        ClientIp::trusting(&nets),
        ClientIp::trusting(&owned),
        ClientIp::trusting([&proxy]),
        ClientIp::trusting([std::net::Ipv4Addr::new(10, 0, 0, 1)]),
        ClientIp::trusting(owned.clone()),
    ] {
        let mut request = from("10.0.0.1");
        request
            .headers_mut()
            .insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
        let client = key.unwrap().address(&Head::of(&request));
        assert_eq!(client, Some("192.0.2.7".parse().unwrap()));
    }
    let loopback = ClientIp::trusting([std::net::Ipv6Addr::LOCALHOST]);
    assert_eq!(format!("{loopback:?}").matches("::1").count(), 1);
}
