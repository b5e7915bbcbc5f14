//! Answers to denied requests. Tests are named after rows R1 to R30 of the design: bug reports of other limiters' users.

use crate::support::{EventCounts, answer, body, field, from, meter, number, quota, request, shared, status};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::WhenFull;
use ratelimit_meter_tower::{Empty, PeerIp, PerKey, Problem, RateLimitLayer, Respond, Shared, Text, respond_fn};
use std::time::Duration;

#[test]
fn r1_retry_after_is_positive_and_then_admitted() {
    // Waits of 1 ms, 1 s and 1.5 s.
    for (quota, seconds, ms) in [
        ("1000/s burst 1", 1, 1),
        ("1/s burst 1", 1, 1000),
        ("2/3s burst 1", 2, 1500),
    ] {
        let clock = ManualClock::new();
        let respond = respond_fn(move |refusal, parts| {
            assert_eq!(refusal.retry_after(), Some(seconds), "{quota}");
            Problem.respond(refusal, parts)
        });
        let layer = RateLimitLayer::new(Shared::of(meter(quota, &clock)).unwrap()).respond(respond);
        let layer = layer.retry_after_ms();
        assert_eq!(status(&layer, request()), 200);
        let denied = answer(&layer, request());
        let waits = ["retry-after", "retry-after-ms"].map(|name| number(denied.headers(), name));
        assert_eq!(waits, [Some(seconds), Some(ms)], "{quota}");
        clock.advance(Duration::from_secs(seconds)).unwrap();
        assert_eq!(status(&layer, request()), 200, "{quota}");
    }
}

#[test]
fn r2_custom_responders_keep_every_field() {
    let limit = || shared("1/h");
    let check = |answer: &dyn Fn() -> Response<Full<Bytes>>, expected: &str| {
        assert_eq!(answer().status(), 200);
        let denied = answer();
        assert_eq!(denied.status(), 429);
        assert_eq!(number(denied.headers(), "retry-after"), Some(3600));
        assert_eq!(field(denied.headers(), "ratelimit"), "\"default\";r=0;t=3600");
        assert_eq!(body(denied), expected);
    };
    let layer = RateLimitLayer::new(limit()).respond(respond_fn(|refusal, parts| {
        let names: Vec<_> = refusal.violated().collect();
        Response::from_parts(parts, Full::from(names.join(",")))
    }));
    check(&|| answer(&layer, request()), "default");
    let layer = RateLimitLayer::new(limit()).respond(Text::new("slow down"));
    check(&|| answer(&layer, request()), "slow down");
    let layer = RateLimitLayer::new(limit()).respond(Empty);
    check(&|| answer(&layer, request()), "");
}

#[test]
fn r2_problems_name_the_violated_limit() {
    let layer = RateLimitLayer::new((
        shared("1/h").named("a"),
        shared("2/h").named("b"),
        shared("1/d").named("\"c\""),
    ));
    answer(&layer, request());
    let denied = answer(&layer, request());
    assert_eq!(field(denied.headers(), "content-type"), "application/problem+json");
    let expected = concat!(
        r#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","#,
        r#""title":"Request cannot be satisfied as assigned quota has been exceeded","violated-policies":["a","\"c\""]}"#
    );
    assert_eq!(body(denied), expected);
}

#[test]
fn r14_r15_free_denial_names_its_limit() {
    let layer = RateLimitLayer::new((shared("100/min").named("ip"), shared("2/h").named("user")));
    let statuses = [(); 10].map(|()| status(&layer, request()));
    assert_eq!(statuses[..3], [200, 200, 429]);
    let denied = answer(&layer, request());
    assert_eq!(
        field(denied.headers(), "ratelimit"),
        "\"ip\";r=98;t=59, \"user\";r=0;t=1800"
    );
    assert!(body(denied).contains(r#""violated-policies":["user"]"#));
}

#[test]
fn r28_full_table_without_evictable_key_is_unavailable() {
    let count = EventCounts::default();
    let limit = PerKey::new(PeerIp::new(), quota("1/h"), 1)
        .unwrap()
        .when_full(WhenFull::Deny)
        .unwrap();
    let layer = RateLimitLayer::new(limit).observe(count.clone());
    let of = |n: u32| from(&std::net::Ipv4Addr::from(n).to_string());
    let statuses: Vec<_> = (0..1000).map(|n| status(&layer, of(n)).as_u16()).collect();
    assert_eq!(statuses[0], 200);
    assert!(statuses.contains(&503) && !statuses.contains(&429));
    let full = answer(&layer, of(5000));
    assert!(number(full.headers(), "retry-after").is_some_and(|seconds| seconds <= 3600));
    assert!(body(full).contains("temporary-reduced-capacity"));
    assert_eq!(status(&layer, of(0)), 429);
    assert_eq!(
        count.all()[4],
        statuses.iter().filter(|status| **status == 503).count() as u64 + 1
    );
}

#[test]
fn jitter_is_only_added() {
    let layer = RateLimitLayer::new(shared("1/min")).jitter(Duration::from_secs(30));
    answer(&layer, request());
    let told: Vec<_> = (0..200)
        .map(|_| number(answer(&layer, request()).headers(), "retry-after").unwrap())
        .collect();
    assert!(told.iter().all(|seconds| (60..=90).contains(seconds)), "{told:?}");
    assert!(told.iter().any(|seconds| *seconds > 60));
}

#[test]
fn status_of_a_denial_can_be_chosen() {
    let layer = RateLimitLayer::new(shared("1/h")).status(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!([(); 2].map(|()| status(&layer, request())), [200, 503]);
}
