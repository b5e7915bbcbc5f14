//! Header fields of any bytes: no key, cost or tier panics, and the layer answers.

#![no_main]

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use ratelimit_meter_tower::{
    BearerKey, BoxLimit, ClientIp, Head, HeaderKey, Net, OnNoKey, PRIVATE, PeerIp, PerKey, content_length,
};
use std::net::SocketAddr;
use std::sync::LazyLock;

const NAMES: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("cloudfront-viewer-address"),
    HeaderName::from_static("x-api-key"),
];

static LIMITS: LazyLock<Vec<BoxLimit>> = LazyLock::new(|| {
    let quota = || "1000000/s".parse().expect("a quota");
    let field = |name| ClientIp::header(HeaderName::from_static(name), PRIVATE).expect("networks");
    let (bearer, api_key) = (BearerKey::new(), HeaderKey::new(HeaderName::from_static("x-api-key")));
    vec![
        PerKey::new((field("x-real-ip"), field("cloudfront-viewer-address")), quota(), 10).expect("a table").boxed(),
        PerKey::new((ClientIp::hops(2), ClientIp::hops(1).forwarded()), quota(), 10).expect("a table").boxed(),
        PerKey::new(bearer, quota(), 10).expect("a table").cost(content_length).on_no_key(OnNoKey::Pass).boxed(),
        PerKey::new(api_key, quota(), 10).expect("a table").on_no_key(OnNoKey::Reject(StatusCode::UNAUTHORIZED)).boxed(),
        PerKey::new(PeerIp::new(), quota(), 10).expect("a table").boxed(),
    ]
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut request = Request::new(());
    request.extensions_mut().insert(SocketAddr::from(([10, 0, 0, 1], 443)));
    // Lines of a byte that chooses the field, and its value.
    for line in data.split(|byte| *byte == b'\n') {
        let Some((first, value)) = line.split_first() else { continue };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(&NAMES[usize::from(*first) % NAMES.len()], value);
        }
    }
    let head = Head::of(&request);
    let _ = (head.is_grpc(), head.is_preflight(), content_length(&head));
    let mut asked = ratelimit_meter_tower::Asked::default();
    for limit in &*LIMITS {
        ratelimit_meter_tower::Limit::ask(limit, &head, &mut asked);
    }
    // A network that is read is written as it was.
    if let Ok(net) = String::from_utf8_lossy(data).parse::<Net>() {
        assert_eq!(net.to_string().parse::<Net>(), Ok(net));
    }
});
