//! The fields of several layers and limits. Tests are named after rows R1 to R30 of the design: bug reports of other limiters' users.

use crate::support::{answer, answer_of, body, field, number, request, shared};
use http::HeaderValue;
use http::header::{HOST, RETRY_AFTER};
use ratelimit_meter_tower::{EXPOSED, RateLimitLayer};

#[test]
fn r16_layers_append_their_fields() {
    let inner = answer(&RateLimitLayer::new(shared("5/min").named("inner")), request());
    let mut inner = inner;
    inner.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("77"));
    let outer = answer_of(&RateLimitLayer::new(shared("9/min").named("outer")), request(), inner);
    assert_eq!(
        field(outer.headers(), "ratelimit"),
        "\"inner\";r=4;t=48, \"outer\";r=8;t=54"
    );
    assert_eq!(
        field(outer.headers(), "ratelimit-policy"),
        "\"inner\";q=5;w=60, \"outer\";q=9;w=60"
    );
    assert_eq!(field(outer.headers(), "retry-after"), "77");
}

#[test]
fn r16_of_two_triples_the_nearer_is_kept() {
    use ratelimit_meter_tower::{Fields, Reset};
    for (inner, outer) in [("5/min", "9/min"), ("9/min", "5/min")] {
        let layer = |quota| RateLimitLayer::new(shared(quota)).fields(Fields::X(Reset::Delta));
        let answered = answer_of(&layer(outer), request(), answer(&layer(inner), request()));
        let sent = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
            .map(|name| field(answered.headers(), name));
        assert_eq!(sent, ["5", "4", "12"]);
    }
}

#[test]
fn r23_every_field_is_among_the_exposed() {
    use ratelimit_meter_tower::{Fields, Reset};
    for fields in [Fields::Draft11, Fields::Triple, Fields::X(Reset::Delta)] {
        let layer = RateLimitLayer::new(shared("1/h")).fields(fields).retry_after_ms();
        answer(&layer, request());
        let denied = answer(&layer, request());
        let names = denied
            .headers()
            .keys()
            .filter(|name| *name != HOST && *name != "content-type");
        assert!(names.into_iter().all(|name| EXPOSED.contains(name)));
    }
    let grpc = RateLimitLayer::grpc(shared("1/h").cost(|head| head.uri().path().len() as u64));
    for path in ["/", "/", "/never"] {
        let mut call = request();
        *call.uri_mut() = path.parse().unwrap();
        let answered = answer(&grpc, call);
        let mut names = answered.headers().keys().filter(|name| *name != "content-type");
        assert!(names.all(|name| EXPOSED.contains(name)));
    }
}

#[test]
fn quiet_limits_send_the_wait_only() {
    let layer = RateLimitLayer::new((shared("9/h"), shared("1/h").named("name").quiet()));
    let admitted = answer(&layer, request());
    assert_eq!(field(admitted.headers(), "ratelimit"), "\"default\";r=8;t=3200");
    let denied = answer(&layer, request());
    assert_eq!(number(denied.headers(), "retry-after"), Some(3600));
    assert_eq!(field(denied.headers(), "ratelimit"), "\"default\";r=8;t=3200");
    assert!(body(denied).contains(r#""violated-policies":[]"#));

    let alone = RateLimitLayer::new(shared("1/h").quiet());
    let answers = [(); 2].map(|()| answer(&alone, request()));
    assert!(
        answers
            .iter()
            .all(|answer| field(answer.headers(), "ratelimit").is_empty())
    );
    assert_eq!(number(answers[1].headers(), "retry-after"), Some(3600));
}

#[test]
fn fields_follow_the_configuration() {
    let both = || (shared("9/h").named("a"), shared("2/h").named("b"));
    let refusals = RateLimitLayer::new(both()).fields_on_refusals_only();
    let answers = [(); 3].map(|()| field(answer(&refusals, request()).headers(), "ratelimit"));
    assert_eq!(answers, ["", "", "\"a\";r=7;t=2800, \"b\";r=0;t=1800"]);
    let nearest = RateLimitLayer::new(both()).nearest_only();
    assert_eq!(
        field(answer(&nearest, request()).headers(), "ratelimit"),
        "\"b\";r=1;t=1800"
    );
    let none = RateLimitLayer::new(both()).fields(ratelimit_meter_tower::Fields::None);
    let answers = [(); 3].map(|()| answer(&none, request()));
    assert!(
        answers
            .iter()
            .all(|answer| field(answer.headers(), "ratelimit").is_empty())
    );
    assert_eq!(number(answers[2].headers(), "retry-after"), Some(1800));
}
