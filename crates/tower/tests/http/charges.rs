//! Costs that differ by request, and those known after the response. Tests are named after rows R1 to R30 of the design: bug reports of other limiters' users.

use crate::support::{
    answer, answer_of, field, from, hourly, meter, number, quota, request, shared, status, still, with,
};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter_tower::{
    Asked, Charge, Head, Limit, OnNoKey, PeerIp, PerKey, RateLimitLayer, Shared, content_length,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// If two limits deny, the status is 413 only if a limit of bytes never admits the request.
#[test]
fn r17_byte_limit_that_admits_later_is_no_413() {
    let bytes = shared("1000/min").unit("content-bytes").cost(content_length);
    let cells = shared("10/min").cost(|head| if head.method() == Method::POST { 11 } else { 1 });
    let layer = RateLimitLayer::new((bytes, cells));
    assert_eq!(status(&layer, with("content-length", "600")), 200);
    let mut post = with("content-length", "600");
    *post.method_mut() = Method::POST;
    assert_eq!(status(&layer, post), 429);
}

/// The charge that the handler of an admitted request finds.
fn charge_of<L: Limit>(layer: &RateLimitLayer<L>) -> Charge {
    let kept: Arc<Mutex<Option<Charge>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let handler = tower::service_fn(move |request: Request<()>| {
        *keep.lock().unwrap() = request.extensions().get::<Charge>().cloned();
        core::future::ready(Ok::<_, core::convert::Infallible>(Response::new(
            Full::<Bytes>::default(),
        )))
    });
    let mut service = tower::Layer::layer(layer, handler);
    let answered = futures_util::FutureExt::now_or_never(tower::Service::call(&mut service, from("192.0.2.1")));
    assert_eq!(answered.unwrap().unwrap().status(), 200);
    kept.lock().unwrap().take().unwrap()
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
    let charge = charge_of(&layer);
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
    let meter = meter("10/h", &still());
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

/// The ban that the docs of `Charge` have.
#[test]
fn debt_bans_a_client_for_an_hour() {
    let clock = ManualClock::new();
    let limit = PerKey::like(PeerIp::new(), meter("5/10min", &clock), 100).unwrap();
    let layer = RateLimitLayer::new(limit.cost(|_| 0).late());
    let log_in_failed = |charge: &Charge| {
        let is_fifth = charge.remaining() == 1;
        charge.charge(if is_fifth { 30 } else { 1 });
        is_fifth
    };
    let in_parallel = [(); 2].map(|()| charge_of(&layer));
    let failures = [(); 5].map(|()| log_in_failed(&charge_of(&layer)));
    assert_eq!(failures, [false, false, false, false, true]);
    let wait = || number(answer(&layer, from("192.0.2.1")).headers(), "retry-after");
    assert_eq!(wait(), Some(3600));
    assert_eq!(in_parallel.each_ref().map(log_in_failed), [false; 2]);
    assert_eq!(wait(), Some(3600 + 2 * 120));
    clock
        .advance(Duration::from_secs(3840) - Duration::from_nanos(1))
        .unwrap();
    assert_eq!(status(&layer, from("192.0.2.1")), 429);
    assert_eq!(status(&layer, from("192.0.2.2")), 200);
    clock.advance(Duration::from_nanos(1)).unwrap();
    assert_eq!(status(&layer, from("192.0.2.1")), 200);
}

/// Calls a handler inside of an inner layer, which is inside of an outer one. The handler charges 3 cells.
fn charge_inside<L: Limit, M: Limit>(outer: &RateLimitLayer<L>, inner: &RateLimitLayer<M>, request: Request<()>) {
    let handler = tower::service_fn(|request: Request<()>| {
        let charge = request.extensions().get::<Charge>().expect("an inner limit is late");
        charge.charge(3);
        core::future::ready(Ok::<_, core::convert::Infallible>(Response::new(
            Full::<Bytes>::default(),
        )))
    });
    let mut service = tower::Layer::layer(outer, tower::Layer::layer(inner, handler));
    let answered = futures_util::FutureExt::now_or_never(tower::Service::call(&mut service, request));
    assert_eq!(answered.unwrap().unwrap().status(), 200);
}

#[test]
fn r16_nested_layers_share_one_charge() {
    let meters = [(); 2].map(|()| meter("10/h", &still()));
    let left = || meters.each_ref().map(|meter| meter.status().remaining());
    let layers = meters
        .each_ref()
        .map(|meter| RateLimitLayer::new(Shared::of(meter.clone()).unwrap().cost(|_| 0).late()));
    charge_inside(&layers[0], &layers[1], request());
    assert_eq!(left(), [7, 7]);
    // A limit that both layers have is charged once.
    charge_inside(&layers[0], &layers[0], request());
    assert_eq!(left(), [4, 7]);
    // An inner layer without late limits leaves the charge alone.
    charge_inside(&layers[0], &RateLimitLayer::new(shared("10/h")), request());
    assert_eq!(left(), [1, 7]);
}

#[test]
fn r19_exempt_requests_have_an_empty_charge() {
    let meter = meter("10/h", &still());
    let limit = || Shared::of(meter.clone()).unwrap().late();
    let by_address = || PerKey::new(PeerIp::new(), quota("1/h"), 10).unwrap().late();
    let any = RateLimitLayer::new(Option::<Shared>::None);
    let allowed = from("192.0.2.1");
    charge_inside(
        &any,
        &RateLimitLayer::new(by_address().allow(["192.0.2.0/24"]).unwrap()),
        allowed,
    );
    charge_inside(&any, &RateLimitLayer::new(limit().only(|_| false).boxed()), request());
    charge_inside(&any, &RateLimitLayer::new(limit()).skip_if(|_| true), request());
    charge_inside(
        &any,
        &RateLimitLayer::new((shared("9/h"), Some(limit()))).skip_if(|_| true),
        request(),
    );
    charge_inside(
        &any,
        &RateLimitLayer::new(vec![std::sync::Arc::new(limit())]).skip_if(|_| true),
        request(),
    );
    charge_inside(
        &any,
        &RateLimitLayer::new(by_address().on_no_key(OnNoKey::Pass)),
        request(),
    );
    charge_inside(&any, &RateLimitLayer::new(Own(limit())).skip_if(|_| true), request());
    assert_eq!(meter.status().remaining(), 10);
}

/// A limit that a user of the crate has written.
struct Own<L>(L);

impl<L: Limit> Limit for Own<L> {
    fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
        self.0.ask(head, asked);
    }
}

#[test]
fn denial_of_a_message_has_the_longest_wait() {
    let clock = ManualClock::new();
    let late = |quota: &str| Shared::of(meter(quota, &clock)).unwrap().late();
    for limits in [[late("2/s"), late("2/h")], [late("2/h"), late("2/s")]] {
        let charge = charge_of(&RateLimitLayer::new(Vec::from(limits)));
        charge.check(1).unwrap();
        assert_eq!(charge.check(1).unwrap_err().wait(), Some(Duration::from_secs(1800)));
        assert_eq!(charge.check(3).unwrap_err().wait(), None);
        clock.advance(Duration::from_secs(1800)).unwrap();
        charge.check(1).unwrap();
    }
}

#[test]
fn trials_deny_nothing_and_count_admitted_messages() {
    let trial = meter("3/h", &still());
    let limit = Shared::of(trial.clone()).unwrap().named("trial").late().dry_run();
    let charge = charge_of(&RateLimitLayer::new((limit, shared("6/h").late())));
    assert_eq!((charge.remaining(), trial.status().remaining()), (5, 2));
    charge.check(2).unwrap();
    assert_eq!((charge.remaining(), trial.status().remaining()), (3, 0));
    charge.check(2).unwrap(); // the trial would deny
    assert!(charge.conforms(1));
    charge.check(2).unwrap_err();
    assert_eq!((charge.remaining(), trial.status().remaining()), (1, 0));
    assert!(charge.of_policy("trial").check(1).is_ok());
}

#[test]
fn messages_count_by_all_quotas_of_a_trial() {
    let (hour, day) = (meter("9/h", &still()), meter("3/d", &still()));
    let trial = Shared::dual_of(hour.clone(), day.clone()).unwrap().late().dry_run();
    let charge = charge_of(&RateLimitLayer::new(trial));
    for _ in 0..3 {
        charge.check(1).unwrap();
    }
    assert_eq!([hour, day].map(|meter| meter.status().remaining()), [6, 0]);
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
fn requests_of_no_cost_pass_without_cells() {
    let cost = |head: &Head<'_>| u64::from(head.method() == Method::POST);
    let failures = || shared("2/h").named("failures").charge_if(|_| true).cost(cost);
    let send = |layer: &dyn Fn(Request<()>) -> StatusCode, method: Method| {
        layer(Request::builder().method(method).body(()).unwrap())
    };
    let alone = RateLimitLayer::new(failures());
    let beside = RateLimitLayer::new((failures(), shared("9/h")));
    let layers: [&dyn Fn(Request<()>) -> StatusCode; 2] =
        [&|request| status(&alone, request), &|request| status(&beside, request)];
    for layer in layers {
        let statuses = [Method::POST, Method::POST, Method::POST, Method::GET].map(|method| send(layer, method));
        assert_eq!(statuses, [200, 200, 429, 200]);
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
fn trial_of_two_quotas_counts_by_both() {
    let trial = || Shared::dual("5/h & 1/d".parse().unwrap()).unwrap();
    let trial = || trial().named_both("hour", "day").dry_run().announce();
    let limits = [
        (trial().refund_if(|reply| reply.status() == 200), [500, 200]),
        (trial().charge_if(|_| true), [200, 200]),
        (trial().charge_if(|_| true), [500, 500]),
    ];
    for (limit, inner) in limits {
        let layer = RateLimitLayer::new(limit);
        let left = inner.map(|status| {
            let inner = Response::builder().status(status).body(Full::default()).unwrap();
            let told = field(answer_of(&layer, request(), inner).headers(), "ratelimit");
            told.split(';').nth(1).unwrap().to_owned()
        });
        // The day denies the second request, so the hour does not count it.
        assert_eq!(left, ["r=4", "r=4"]);
    }
}
