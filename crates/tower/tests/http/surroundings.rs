//! The layer among other layers and routes, and in front of clients of every method and version of HTTP.

use crate::servers::{hello, serve};
use crate::support::{shared, soon};
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{BoxError, Router};
use core::convert::Infallible;
use http::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ratelimit_meter_tower::{Charge, ExtensionKey, PeerIp, PerKey, RateLimitLayer, Shared};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

fn hourly(requests: u32) -> Shared {
    shared(&format!("{requests}/h"))
}

/// Returns the status of a request that the router itself is asked, without a connection.
async fn ask(app: &Router, method: Method, path: &str) -> Response {
    let request = http::Request::builder().method(method).uri(path);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let mut app = app.clone();
    app.as_service().ready().await.unwrap().call(request).await.unwrap()
}

async fn statuses(app: &Router, paths: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(ask(app, Method::GET, path).await.status().as_u16());
    }
    statuses
}

/// Sends bytes over a connection of its own, and returns all that comes back until the server closes it.
async fn raw(address: SocketAddr, request: &str) -> String {
    soon(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap().to_ascii_lowercase()
    })
    .await
}

#[tokio::test]
async fn clients_of_http_1_0_are_limited() {
    let address = serve(hello(hourly(1))).await;
    let admitted = raw(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(admitted.starts_with("http/1.0 200"), "{admitted}");
    assert!(admitted.contains("ratelimit: \"default\";r=0;t=3600"), "{admitted}");
    let denied = raw(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(denied.starts_with("http/1.0 429"), "{denied}");
    assert!(denied.contains("retry-after: 3600"), "{denied}");
}

#[tokio::test]
async fn head_denial_has_fields_and_no_body() {
    let address = serve(hello(hourly(1))).await;
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(raw(address, head).await.starts_with("http/1.1 200"));
    let denied = raw(address, head).await;
    assert!(
        denied.starts_with("http/1.1 429") && denied.contains("retry-after: 3600"),
        "{denied}"
    );
    assert!(denied.ends_with("\r\n\r\n"), "a response to HEAD has no body: {denied}");
}

#[tokio::test]
async fn options_without_preflight_fields_count() {
    let app = hello(hourly(1));
    assert_eq!(
        ask(&app, Method::OPTIONS, "/").await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        ask(&app, Method::OPTIONS, "/").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn folded_and_broken_requests_do_not_count() {
    let address = serve(hello(hourly(1))).await;
    let folded = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.1,\r\n 192.0.2.2\r\nconnection: close\r\n\r\n";
    for broken in [folded, "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for\r\n\r\n"] {
        assert!(raw(address, broken).await.starts_with("http/1.1 400"));
    }
    let whole = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(raw(address, whole).await.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn upgrades_carry_the_fields() {
    let upgrade = get(|upgrade: axum::extract::ws::WebSocketUpgrade| async { upgrade.on_upgrade(|_| async {}) });
    let app = Router::new().route("/", upgrade).layer(RateLimitLayer::new(hourly(1)));
    let address = serve(app).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let upgraded = raw(address, request).await;
    assert!(upgraded.starts_with("http/1.1 101"), "{upgraded}");
    assert!(upgraded.contains("ratelimit: \"default\";r=0;t=3600"), "{upgraded}");
    // Denied before the upgrade, as a response that a browser's console shows.
    let denied = raw(
        address,
        &request.replace("connection: upgrade", "connection: upgrade, close"),
    )
    .await;
    assert!(denied.starts_with("http/1.1 429"), "{denied}");
}

#[tokio::test]
async fn reset_stream_counts_once_and_affects_no_other() {
    soon(async {
        let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (starting, waiting) = (Arc::clone(&started), Arc::clone(&go));
        let slow = get(move || {
            let (started, go) = (Arc::clone(&starting), Arc::clone(&waiting));
            async move {
                started.notify_one();
                go.notified().await;
                "slow"
            }
        });
        let limit = PerKey::new(PeerIp::new(), "3/h".parse().unwrap(), 100).unwrap();
        let app = Router::new().route("/slow", slow).route("/", get(|| async { "fast" }));
        let address = serve(app.layer(RateLimitLayer::new(limit))).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let request = |path: &str| {
            let request = http::Request::get(format!("http://{address}{path}"));
            request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
        };
        let reset = tokio::spawn(sender.send_request(request("/slow")));
        started.notified().await;
        reset.abort(); // resets the stream
        assert!(reset.await.unwrap_err().is_cancelled());
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(sender.send_request(request("/")).await.unwrap().status().as_u16());
        }
        assert_eq!(answers, [200, 200, 429]);
    })
    .await
}

#[tokio::test]
async fn layer_counts_requests_that_match_no_route() {
    let routes = || Router::new().route("/", get(|| async { "hello" }));
    let layer = routes().layer(RateLimitLayer::new(hourly(2)));
    assert_eq!(statuses(&layer, &["/nowhere", "/", "/"]).await, [404, 200, 429]);
    let route_layer = routes().route_layer(RateLimitLayer::new(hourly(1)));
    assert_eq!(statuses(&route_layer, &["/nowhere", "/", "/"]).await, [404, 200, 429]);
    // A route that is added after the layer is not limited.
    let later = routes()
        .layer(RateLimitLayer::new(hourly(1)))
        .route("/free", get(|| async { "free" }));
    assert_eq!(
        statuses(&later, &["/", "/free", "/free", "/"]).await,
        [200, 200, 200, 429]
    );
}

#[tokio::test]
async fn nested_and_merged_routers_keep_their_own_limits() {
    let inner = |requests| {
        let routes = Router::new().route("/", get(|| async { "inner" }));
        routes
            .fallback(|| async { (StatusCode::NOT_FOUND, "inner") })
            .layer(RateLimitLayer::new(hourly(requests)))
    };
    let merged = Router::new()
        .route("/merged", get(|| async { "merged" }))
        .layer(RateLimitLayer::new(hourly(1)));
    let app = Router::new()
        .route("/", get(|| async { "outer" }))
        .nest("/a", inner(2))
        .nest("/b", inner(1))
        .merge(merged)
        .fallback(|| async { (StatusCode::NOT_FOUND, "outer") });
    let paths = [
        "/a",
        "/a/nowhere",
        "/a",
        "/b",
        "/b",
        "/merged",
        "/merged",
        "/",
        "/nowhere",
        "/",
    ];
    let expected = [200, 404, 429, 200, 429, 200, 429, 200, 404, 200];
    assert_eq!(statuses(&app, &paths).await, expected);
}

#[tokio::test]
async fn state_is_inferred_past_the_layer() {
    #[derive(Clone)]
    struct App(&'static str);
    let hello = get(
        |State(App(name)): State<App>, charge: Option<axum::Extension<Charge>>| async move {
            assert!(charge.is_none(), "only late limits have one");
            name
        },
    );
    let app = Router::new()
        .route("/", hello)
        .layer(RateLimitLayer::new(hourly(1)))
        .with_state(App("state"));
    assert_eq!(statuses(&app, &["/", "/"]).await, [200, 429]);
}

#[tokio::test]
async fn outer_middleware_provides_the_key() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct User(String);
    async fn authenticate(mut request: Request, next: Next) -> Response {
        let user = request.uri().path().trim_start_matches('/').to_owned();
        request.extensions_mut().insert(User(user));
        next.run(request).await
    }
    let limit = PerKey::new(ExtensionKey::<User>::new(), "1/h".parse().unwrap(), 100).unwrap();
    // `ServiceBuilder` reads from the top: authentication comes first.
    let layers = ServiceBuilder::new()
        .layer(from_fn(authenticate))
        .layer(RateLimitLayer::new(limit));
    let app = Router::new().route("/{user}", get(|| async { "hello" })).layer(layers);
    assert_eq!(statuses(&app, &["/alice", "/bob", "/alice"]).await, [200, 200, 429]);
}

#[tokio::test]
async fn errors_inside_pass_to_the_handler_of_errors() {
    let failing = tower::service_fn(|_: Request| async { Err::<Response, BoxError>("down".into()) });
    let service = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|error: BoxError| async move {
            (StatusCode::BAD_GATEWAY, error.to_string())
        }))
        .layer(RateLimitLayer::new(hourly(2)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(failing);
    let app = Router::new().route_service("/", service);
    // The denial is a response, not an error.
    assert_eq!(statuses(&app, &["/", "/", "/"]).await, [502, 502, 429]);
}

#[tokio::test]
async fn panicking_handler_counts_and_harms_no_other() {
    let layer = RateLimitLayer::new(hourly(2));
    let panics = ServiceBuilder::new()
        .layer(layer.clone())
        .service(tower::service_fn(|_: http::Request<()>| async {
            if true {
                panic!("a handler's fault");
            }
            Ok::<_, Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
        }));
    let crashed = tokio::spawn(panics.oneshot(http::Request::new(()))).await;
    assert!(crashed.unwrap_err().is_panic());
    let app = Router::new().route("/", get(|| async { "hello" })).layer(layer);
    assert_eq!(statuses(&app, &["/", "/"]).await, [200, 429]);
}

/// In one `ServiceBuilder`, a layer of another type of body stands inside of a limit.
#[tokio::test]
async fn wrapped_bodies_are_converted_before_the_limit() {
    type Wrapped = http_body_util::Limited<axum::body::Body>;
    let wrap = |response: Response| response.map(|body| Wrapped::new(body, 1000));
    let layers = ServiceBuilder::new()
        .layer(RateLimitLayer::new(hourly(1)))
        .map_response(|response: Response<_>| response.map(axum::body::Body::new))
        .map_response(wrap);
    let app = Router::new().route("/", get(|| async { "hello" })).layer(layers);
    assert_eq!(statuses(&app, &["/", "/"]).await, [200, 429]);
}
