//! Forwarding headers of any bytes: no panic, and nothing left of an untrusted hop is the client.

#![no_main]

use http::{HeaderValue, Request};
use ratelimit_meter_tower::{ClientIp, Head};
use std::net::{IpAddr, SocketAddr};

const CLIENT: [u8; 4] = [203, 0, 113, 7];

libfuzzer_sys::fuzz_target!(|forged: &[u8]| {
    for (name, appended) in [("x-forwarded-for", "203.0.113.7, 10.0.0.2"), ("forwarded", "for=203.0.113.7, for=10.0.0.2")] {
        let line = [forged, b", ", appended.as_bytes()].concat();
        let (Ok(alone), Ok(line)) = (HeaderValue::from_bytes(forged), HeaderValue::from_bytes(&line)) else { return };
        let key = ClientIp::trusting(["10.0.0.0/8"]).expect("a network");
        let key = if name == "forwarded" { key.forwarded() } else { key };
        let client = |value: HeaderValue| {
            let mut request = Request::new(());
            request.extensions_mut().insert(SocketAddr::from(([10, 0, 0, 1], 443)));
            request.headers_mut().insert(name, value);
            key.address(&Head::of(&request))
        };
        client(alone);
        assert_eq!(client(line), Some(IpAddr::from(CLIENT)));
    }
});
