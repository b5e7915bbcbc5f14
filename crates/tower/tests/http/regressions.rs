//! Bug reports of other limiters' users, a test for each; rows R1 to R30 of the design, unless another module has them.

use crate::events::warnings_of;
use crate::support::{answer, answer_of, field, meter, number, request, status};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::WhenFull;
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tower::{
    BearerKey, ByKey, Charge, ClientIp, EXPOSED, Empty, ExtensionKey, Head, HeaderKey, InvalidLimit, Limiter,
    MethodKey, Observe, OnNoKey, PeerIp, PerKey, PolicyDecision, RateLimitLayer, Shared, Text, TierName,
    content_length, key_fn, respond_fn,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

fn shared(text: &str) -> Shared {
    Shared::new(quota(text)).unwrap()
}

/// A limit of one request an hour for each address.
fn hourly<K: ratelimit_meter_tower::Key>(key: K) -> PerKey<K> {
    PerKey::new(key, quota("1/h"), 1000).unwrap()
}

fn from(peer: &str) -> Request<()> {
    let mut request = request();
    let peer: IpAddr = peer.parse().unwrap();
    request.extensions_mut().insert(SocketAddr::new(peer, 4711));
    request
}

fn with(name: &'static str, value: &str) -> Request<()> {
    let mut request = request();
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

fn body(response: Response<Full<Bytes>>) -> String {
    use futures_util::FutureExt;
    let collected = response.into_body().collect().now_or_never().unwrap().unwrap();
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

#[test]
fn r1_retry_after_is_positive_and_then_admitted() {
    let clock = ManualClock::new();
    let layer = RateLimitLayer::new(Shared::of(meter("1000/s burst 1", &clock)).unwrap()).retry_after_ms();
    assert_eq!(status(&layer, request()), 200);
    let denied = answer(&layer, request());
    assert_eq!(
        (
            number(denied.headers(), "retry-after"),
            number(denied.headers(), "retry-after-ms")
        ),
        (Some(1), Some(1))
    );
    clock.advance(Duration::from_secs(1)).unwrap();
    assert_eq!(status(&layer, request()), 200);
}

#[test]
fn r2_responders_of_ones_own_lose_nothing() {
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
fn r10_mapped_addresses_are_ipv4() {
    let layer = RateLimitLayer::new(hourly(PeerIp::new()));
    let statuses = ["::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1"].map(|peer| status(&layer, from(peer)));
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
fn r12_limits_apply_to_methods_paths_and_routes() {
    let writes = shared("1/h")
        .methods([Method::POST, Method::PUT])
        .only(|head| head.uri().path().starts_with("/api"));
    let layer = RateLimitLayer::new(writes);
    let send =
        |method: Method, path: &str| status(&layer, Request::builder().method(method).uri(path).body(()).unwrap());
    let statuses = [
        send(Method::GET, "/api"),
        send(Method::POST, "/"),
        send(Method::POST, "/api"),
        send(Method::PUT, "/api/1"),
    ];
    assert_eq!(statuses, [200, 200, 200, 429]);
    let per_method = RateLimitLayer::new(hourly((MethodKey::new(), key_fn(|head| Some(head.uri().path().len())))));
    let send = |method: Method, path: &str| {
        status(
            &per_method,
            Request::builder().method(method).uri(path).body(()).unwrap(),
        )
    };
    assert_eq!(
        [
            send(Method::GET, "/a"),
            send(Method::POST, "/a"),
            send(Method::GET, "/ab"),
            send(Method::GET, "/b")
        ],
        [200, 200, 200, 429]
    );
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct User(u32, &'static str);

fn by(user: User) -> Request<()> {
    let mut request = request();
    request.extensions_mut().insert(user);
    request
}

#[test]
fn r13_plan_has_its_own_quota() {
    let limit = PerKey::new(ExtensionKey::<User>::new(), quota("1/h"), 1000)
        .unwrap()
        .tier("pro", quota("3/h"))
        .unwrap();
    let limit = limit
        .tier("team", quota("9/h"))
        .unwrap()
        .tier_by(|head| head.extensions().get::<User>().map(|user| user.1));
    let layer = RateLimitLayer::new(limit);
    let remaining = |user| field(answer(&layer, by(user)).headers(), "ratelimit");
    assert_eq!(remaining(User(1, "default")), "\"default\";r=0;t=3600");
    assert_eq!(remaining(User(2, "pro")), "\"default\";r=2;t=2400");
    assert_eq!(remaining(User(3, "team")), "\"default\";r=8;t=3200");
    let policy = field(answer(&layer, by(User(2, "pro"))).headers(), "ratelimit-policy");
    assert_eq!(policy, "\"default\";q=3;w=3600");
    let warnings = warnings_of(|| drop(answer(&layer, by(User(4, "gold")))));
    assert!(warnings[0].contains("gold"), "{warnings:?}");
}

#[test]
fn r13_tiers_that_cannot_be_are_errors() {
    let limit = || hourly(PeerIp::new());
    assert!(matches!(
        limit().tier("default", quota("2/h")),
        Err(InvalidLimit::DuplicateTier { .. })
    ));
    assert!(matches!(
        limit().dual_tier("pro", "1/s & 2/h".parse().unwrap()),
        Err(InvalidLimit::TierOfAnotherShape { .. })
    ));
    let many = (1..16_u32).try_fold(limit(), |limit, n| limit.tier(&n.to_string(), quota("2/h")));
    assert!(matches!(
        many.and_then(|limit| limit.tier("16", quota("2/h"))),
        Err(InvalidLimit::Table(_))
    ));
    assert!(matches!(
        PerKey::new(PeerIp::new(), quota("2/h"), 0),
        Err(InvalidLimit::Table(_))
    ));
    let of_tau = GCRA::with_parameters(Duration::from_secs(1), Duration::from_secs(1), None);
    assert!(matches!(Shared::of(of_tau), Err(InvalidLimit::NoQuota)));
    let numbered = limit()
        .tier("pro", quota("2/h"))
        .unwrap()
        .tier_by(|_: &Head<'_>| Some(TierName::Number(1)));
    assert_eq!(
        field(
            answer(&RateLimitLayer::new(numbered), from("192.0.2.1")).headers(),
            "ratelimit"
        ),
        "\"default\";r=1;t=1800"
    );
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
fn r14_dual_limits_are_atomic_per_key() {
    let limit = PerKey::dual(PeerIp::new(), "10/s & 12/h".parse().unwrap(), 1000)
        .unwrap()
        .named_both("burst", "hour");
    let layer = RateLimitLayer::new(limit);
    let statuses = [(); 12].map(|()| status(&layer, from("192.0.2.1")));
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    let other = answer(&layer, from("192.0.2.2"));
    assert_eq!(
        field(other.headers(), "ratelimit"),
        "\"burst\";r=9;t=1, \"hour\";r=11;t=3300"
    );
    let tiered = PerKey::dual(PeerIp::new(), "1/s & 2/h".parse().unwrap(), 1000).unwrap();
    let tiered = tiered
        .dual_tier("pro", "3/s & 9/h".parse().unwrap())
        .unwrap()
        .tier_by(|_: &Head<'_>| Some("pro"));
    let told = field(
        answer(&RateLimitLayer::new(tiered), from("192.0.2.1")).headers(),
        "ratelimit",
    );
    assert_eq!(told, "\"default\";r=2;t=1, \"sustained\";r=8;t=3200");
}

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
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
            .map(|name| field(answered.headers(), name));
        assert_eq!(told, ["5", "4", "12"]);
    }
}

#[test]
fn r17_request_cost_follows_the_request() {
    let layer = RateLimitLayer::new(shared("10/min").cost(|head| if head.method() == Method::POST { 5 } else { 1 }));
    let send = |method: Method| status(&layer, Request::builder().method(method).body(()).unwrap());
    assert_eq!([Method::POST, Method::POST, Method::GET].map(send), [200, 200, 429]);
    let bytes = RateLimitLayer::new(shared("1000/min").unit("content-bytes").cost(content_length));
    let policy = answer(&bytes, with("content-length", "600"));
    assert_eq!(
        field(policy.headers(), "ratelimit-policy"),
        "\"default\";q=1000;qu=\"content-bytes\";w=60"
    );
    assert_eq!(status(&bytes, with("content-length", "500")), 429);
    for never in ["1001", "99999999999", "99999999999999999999999", "-1"] {
        let denied = answer(&bytes, with("content-length", never));
        assert_eq!(
            (denied.status(), denied.headers().get(RETRY_AFTER)),
            (StatusCode::PAYLOAD_TOO_LARGE, None)
        );
    }
}

#[test]
fn r17_cost_known_later_is_charged_later() {
    let limit = hourly(PeerIp::new()).named("tokens").late();
    let layer = RateLimitLayer::new(
        PerKey::new(PeerIp::new(), quota("1000/h"), 100)
            .unwrap()
            .named("tokens")
            .late(),
    );
    drop(limit);
    let kept: Arc<Mutex<Option<Charge>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let handler = tower::service_fn(move |request: Request<()>| {
        *keep.lock().unwrap() = request.extensions().get::<Charge>().cloned();
        core::future::ready(Ok::<_, core::convert::Infallible>(Response::new(
            Full::<Bytes>::default(),
        )))
    });
    let mut service = tower::Layer::layer(&layer, handler);
    let answered = futures_util::FutureExt::now_or_never(tower::Service::call(&mut service, from("192.0.2.1")));
    assert_eq!(answered.unwrap().unwrap().status(), 200);
    let charge = kept.lock().unwrap().take().unwrap();
    assert_eq!(charge.remaining(), 999);
    charge.charge(2000); // into debt
    assert!(!charge.conforms(1));
    charge.refund(1001);
    assert_eq!((charge.remaining(), charge.of_policy("tokens").remaining()), (0, 0));
    assert_eq!(charge.of_policy("others").remaining(), u64::MAX);
    assert_eq!(status(&layer, from("192.0.2.1")), 429);
    assert_eq!(status(&layer, from("192.0.2.2")), 200);
}

#[test]
fn r17_debts_deny_requests_that_cost_nothing_yet() {
    let meter = GCRA::from_quota(quota("10/h")).unwrap();
    let layer = RateLimitLayer::new(Shared::of(meter.clone()).unwrap().cost(|_| 0).late());
    assert_eq!([(); 20].map(|()| status(&layer, request())), [200; 20]);
    meter.charge(11);
    let denied = answer(&layer, request());
    assert_eq!(
        (denied.status().as_u16(), number(denied.headers(), "retry-after")),
        (429, Some(720))
    );
    let both = RateLimitLayer::new((shared("9/h"), Shared::of(meter).unwrap().cost(|_| 0).late()));
    assert_eq!(status(&both, request()), 429);
}

#[test]
fn r18_only_failed_logins_count() {
    let answered = |layer: &RateLimitLayer<PerKey<PeerIp>>, inner: u16| {
        let inner = Response::builder().status(inner).body(Full::default()).unwrap();
        let response = answer_of(layer, from("192.0.2.1"), inner);
        (response.status().as_u16(), field(response.headers(), "ratelimit"))
    };
    let limit = || PerKey::new(PeerIp::new(), quota("2/h"), 100).unwrap();
    for limit in [
        limit().refund_if(|reply| reply.status().is_success()),
        limit().charge_if(|reply| reply.status() == 401),
    ] {
        let layer = RateLimitLayer::new(limit);
        for _ in 0..5 {
            let (status, told) = answered(&layer, 200);
            assert_eq!((status, told.split(';').nth(1)), (200, Some("r=2")));
        }
        let left = [401, 401, 401, 200].map(|inner| answered(&layer, inner));
        assert_eq!(left.clone().map(|(status, _)| status), [401, 401, 429, 429]);
        assert_eq!(
            left.map(|(_, told)| told.split(';').nth(1).unwrap().to_owned()),
            ["r=1", "r=0", "r=0", "r=0"]
        );
    }
}

#[test]
fn r18_leaving_early_is_no_way_around() {
    let pending = || {
        tower::service_fn(|_: Request<()>| {
            core::future::pending::<Result<Response<Full<Bytes>>, core::convert::Infallible>>()
        })
    };
    let limit = || PerKey::new(PeerIp::new(), quota("3/h"), 100).unwrap();
    let left = |limit: PerKey<PeerIp>| {
        let layer = RateLimitLayer::new(limit);
        let mut service = tower::Layer::layer(&layer, pending());
        drop(tower::Service::call(&mut service, from("192.0.2.1"))); // never polled
        let mut future = Box::pin(tower::Service::call(&mut service, from("192.0.2.1")));
        assert!(futures_util::FutureExt::now_or_never(&mut future).is_none());
        drop(future);
        layer
            .limits()
            .remaining(|key| key.address("192.0.2.1".parse().unwrap()))
    };
    assert_eq!(left(limit()), 1);
    assert_eq!(left(limit().refund_if(|_| true)), 1);
    assert_eq!(left(limit().charge_if(|_| false)), 1);
    assert_eq!(left(limit().refund_cancelled()), 3);
    assert_eq!(left(limit().refund_if(|_| true).refund_cancelled()), 3);
    assert_eq!(left(limit().charge_if(|_| false).refund_cancelled()), 3);
}

#[test]
fn r19_allowed_networks_and_probes_are_free() {
    let limit = hourly(PeerIp::new()).allow(["10.0.0.0/8", "::1"]).unwrap();
    let layer = RateLimitLayer::new(limit).skip_if(|head| head.uri().path() == "/health");
    assert_eq!(
        ["10.1.2.3", "10.1.2.3", "::1", "::1", "192.0.2.1", "192.0.2.1"].map(|peer| status(&layer, from(peer))),
        [200, 200, 200, 200, 200, 429]
    );
    let mut probe = from("192.0.2.1");
    *probe.uri_mut() = "/health".parse().unwrap();
    assert_eq!(status(&layer, probe), 200);
    assert!(hourly(PeerIp::new()).allow(["10.0.0.1/8"]).is_err());
}

#[derive(Default, Clone)]
struct Count(Arc<[AtomicU64; 6]>);

impl Count {
    fn add(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> [u64; 6] {
        core::array::from_fn(|index| self.0[index].load(Ordering::Relaxed))
    }
}

impl Observe for Count {
    fn admitted(&self, event: &PolicyDecision<'_>) {
        assert!(event.wait().is_none() && event.cost() > 0);
        self.add(0);
    }

    fn denied(&self, event: &PolicyDecision<'_>) {
        assert!(event.wait().is_some() && event.remaining() < event.cost());
        self.add(1);
    }

    fn would_deny(&self, event: &PolicyDecision<'_>) {
        assert_eq!(event.policy(), "trial");
        self.add(2);
    }

    fn never(&self, event: &PolicyDecision<'_>) {
        assert_eq!((event.tier(), event.wait()), ("default", None));
        self.add(3);
    }

    fn table_full(&self, _: &PolicyDecision<'_>) {
        self.add(4);
    }

    fn no_key(&self, policy: &str, _: &Head<'_>) {
        assert_eq!(policy, "default");
        self.add(5);
    }
}

#[test]
fn r20_trial_limit_denies_nothing_and_reports() {
    let count = Count::default();
    let layer = RateLimitLayer::new((shared("3/h"), shared("1/h").named("trial").dry_run())).observe(count.clone());
    let answers = [(); 5].map(|()| answer(&layer, request()));
    assert_eq!(
        answers.each_ref().map(|answer| answer.status().as_u16()),
        [200, 200, 200, 429, 429]
    );
    assert_eq!(field(answers[0].headers(), "ratelimit"), "\"default\";r=2;t=2400");
    // Three admitted by the limit and one by the trial; two denied by the limit, two by the trial.
    assert_eq!(count.all(), [4, 2, 2, 0, 0, 0]);
    let announced = RateLimitLayer::new(shared("1/h").named("trial").dry_run().announce());
    assert_eq!(
        field(answer(&announced, request()).headers(), "ratelimit"),
        "\"trial\";r=0;t=3600"
    );
    assert_eq!(status(&announced, request()), 200);
}

#[test]
fn r21_preflights_are_free() {
    let preflight = || {
        let mut request = Request::options("/").body(()).unwrap();
        request
            .headers_mut()
            .insert(ORIGIN, HeaderValue::from_static("https://example.org"));
        request
            .headers_mut()
            .insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        request
    };
    let layer = RateLimitLayer::new(shared("1/h"));
    assert_eq!([(); 3].map(|()| status(&layer, preflight())), [200; 3]);
    assert_eq!(status(&layer, Request::options("/").body(()).unwrap()), 200);
    assert_eq!(status(&layer, Request::options("/").body(()).unwrap()), 429);
    let counting = RateLimitLayer::new(shared("1/h")).count_preflights();
    assert_eq!([(); 2].map(|()| status(&counting, preflight())), [200, 429]);
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
}

#[test]
fn r28_full_table_without_evictable_key_is_unavailable() {
    let count = Count::default();
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
fn quiet_limits_send_the_wait_only() {
    let layer = RateLimitLayer::new((shared("9/h"), shared("1/h").named("name").quiet()));
    let admitted = answer(&layer, request());
    assert_eq!(field(admitted.headers(), "ratelimit"), "\"default\";r=8;t=3200");
    let denied = answer(&layer, request());
    assert_eq!(number(denied.headers(), "retry-after"), Some(3600));
    assert_eq!(field(denied.headers(), "ratelimit"), "\"default\";r=8;t=3200");
    assert!(body(denied).contains(r#""violated-policies":[]"#));
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
fn statuses_are_ones_choice() {
    let layer = RateLimitLayer::new(shared("1/h")).status(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!([(); 2].map(|()| status(&layer, request())), [200, 503]);
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

#[test]
fn types_can_be_named_boxed_and_shared() {
    use ratelimit_meter_tower::{BoxKey, BoxLimit, BoxRespond, Grpc, Limit};
    struct Fields {
        _named: RateLimitLayer<PerKey<PeerIp>>,
        _service: ratelimit_meter_tower::RateLimit<(), Shared>,
        _grpc: RateLimitLayer<Shared, Grpc>,
        _key: Option<Limiter<ByKey<BoxKey>>>,
        _respond: Option<BoxRespond<Full<Bytes>>>,
    }
    let boxed: Vec<BoxLimit> = vec![shared("9/h").boxed(), hourly(PeerIp::new()).boxed()];
    let key: BoxKey = Box::new(PeerIp::new());
    let all = Arc::new(shared("1/h"));
    let layers = [(); 2].map(|()| RateLimitLayer::new(Arc::clone(&all)));
    assert_eq!(layers.map(|layer| status(&layer, request())), [200, 429]);
    let fields = Fields {
        _named: RateLimitLayer::new(hourly(PeerIp::new())),
        _service: tower::Layer::layer(&RateLimitLayer::new(shared("1/h")), ()),
        _grpc: RateLimitLayer::grpc(shared("1/h")),
        _key: Some(PerKey::new(key, quota("1/h"), 10).unwrap()),
        _respond: Some(Box::new(Empty)),
    };
    let service = tower::ServiceBuilder::new()
        .layer(tower::util::BoxCloneSyncServiceLayer::new(RateLimitLayer::new(shared(
            "9/h",
        ))))
        .service(tower::service_fn(|_: Request<()>| async {
            Ok::<_, core::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    drop(service.clone());
    fn is_limit(_: &impl Limit) {}
    is_limit(&boxed);
    assert_eq!(status(&RateLimitLayer::new(boxed), request()), 200);
    drop(fields);
}
