//! Servers on loopback: axum on HTTP/1.1, h2, a Unix socket and WebSockets.

use crate::support::soon;
use axum::extract::ConnectInfo;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ratelimit_meter_tower::{Charge, Limit, MatchedPath, PeerIp, PerKey, PoliteLayer, RateLimitLayer, Shared};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::{ServiceBuilder, ServiceExt};

type Body = Empty<bytes::Bytes>;

/// Serves a router and returns its address.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    address
}

pub(crate) fn hello<L: Limit + 'static>(limit: L) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::new(limit))
}

fn get_request(address: SocketAddr, path: &str) -> Request<Body> {
    Request::get(format!("http://{address}{path}"))
        .header("host", address.to_string())
        .body(Body::new())
        .unwrap()
}

/// The statuses of requests on one connection of HTTP/1.1.
async fn http1(address: SocketAddr, path: &str, requests: usize) -> Vec<StatusCode> {
    soon(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut statuses = Vec::new();
        for _ in 0..requests {
            sender.ready().await.unwrap();
            let response = sender.send_request(get_request(address, path)).await.unwrap();
            statuses.push(response.status());
            http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        }
        statuses
    })
    .await
}

/// The statuses of requests at once on one connection of h2.
async fn http2(address: SocketAddr, requests: usize) -> Vec<StatusCode> {
    soon(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let calls = (0..requests)
            .map(|_| sender.send_request(get_request(address, "/")))
            .collect::<Vec<_>>();
        let answers = futures_util::future::join_all(calls).await;
        answers.into_iter().map(|answer| answer.unwrap().status()).collect()
    })
    .await
}

fn admitted(statuses: &[StatusCode]) -> usize {
    assert!(
        statuses.iter().all(|status| matches!(status.as_u16(), 200 | 429)),
        "{statuses:?}"
    );
    statuses.iter().filter(|status| **status == StatusCode::OK).count()
}

#[tokio::test]
async fn both_versions_of_http_are_limited_together() {
    let address = serve(hello(PerKey::new(PeerIp::new(), "10/h".parse().unwrap(), 100).unwrap())).await;
    assert_eq!(admitted(&http1(address, "/", 4).await), 4);
    assert_eq!(admitted(&http2(address, 5).await), 5);
    assert_eq!(admitted(&http1(address, "/", 3).await), 1);
    assert_eq!(admitted(&http2(address, 3).await), 0);
}

/// The burst of the server that [`connections_at_once_admit_burst_and_rate`] starts.
const BURST: &str = "TOWER_BURST";

/// Serves until its input ends, in a process of its own. Two ends of 10,000 connections are more files than many systems grant one process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the server of connections_at_once_admit_burst_and_rate, which starts it"]
async fn server_of_connections() {
    let Ok(burst) = std::env::var(BURST) else { return };
    let limit = Shared::new(format!("1/s burst {burst}").parse().unwrap()).unwrap();
    println!("serves {}", serve(hello(limit)).await);
    let mut input = String::new();
    tokio::io::stdin().read_to_string(&mut input).await.unwrap();
}

/// A thousand connections, or `TOWER_CONNECTIONS`, or as many as a process may hold open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_at_once_admit_burst_and_rate() {
    soon(async {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let files = limits.lines().find_map(|line| {
            line.strip_prefix("Max open files")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        let wanted = std::env::var("TOWER_CONNECTIONS")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(1_000);
        let connections = files.unwrap_or(1024_usize).saturating_sub(500).min(wanted);
        let burst = connections * 3 / 10;
        let mut server = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "servers::server_of_connections", "--ignored", "--nocapture"])
            .env(BURST, burst.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap()).lines();
        let address: SocketAddr = loop {
            let line = output
                .next_line()
                .await
                .unwrap()
                .expect("the server prints its address");
            if let Some((_, address)) = line.split_once("serves ") {
                break address.parse().unwrap();
            }
        };
        let mut senders = Vec::new();
        while senders.len() < connections {
            let open = (0..200.min(connections - senders.len())).map(|_| async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
                tokio::spawn(connection);
                sender
            });
            senders.extend(futures_util::future::join_all(open).await);
        }
        let start = Instant::now();
        let calls = senders
            .iter_mut()
            .map(|sender| sender.send_request(get_request(address, "/")));
        let answers = futures_util::future::join_all(calls).await;
        let statuses: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().status()).collect();
        let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
        let admitted = admitted(&statuses);
        println!("{admitted} of {connections} in {seconds} s, burst {burst}");
        assert!(
            (burst..=burst + seconds + 1).contains(&admitted),
            "{admitted} of {connections} in {seconds} s"
        );
    })
    .await
}

#[tokio::test]
async fn nested_layers_and_routes_have_their_own_limits() {
    let route = PerKey::new(MatchedPath::new(), "2/h".parse().unwrap(), 100)
        .unwrap()
        .named("route");
    let app = Router::new()
        .route("/users/{id}", get(|| async { "user" }))
        .route("/other", get(|| async { "other" }))
        .route_layer(RateLimitLayer::new(route))
        .layer(RateLimitLayer::new(
            PerKey::new(PeerIp::new(), "5/h".parse().unwrap(), 100)
                .unwrap()
                .named("ip"),
        ));
    let address = serve(app).await;
    assert_eq!(http1(address, "/users/1", 1).await, [200]);
    assert_eq!(http1(address, "/users/2", 2).await, [200, 429]);
    assert_eq!(http1(address, "/nowhere", 1).await, [404]);
    assert_eq!(http1(address, "/other", 2).await, [200, 429]);
}

#[tokio::test]
async fn a_missing_connect_info_is_no_error() {
    let app = hello(PerKey::new(PeerIp::new(), "1/h".parse().unwrap(), 100).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    assert_eq!(http1(address, "/", 2).await, [200, 429]);
}

#[cfg(unix)]
#[tokio::test]
async fn unix_socket_has_no_address_and_is_limited() {
    soon(async {
        let path = std::env::temp_dir().join(format!("ratelimit-meter-tower-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let app = hello(PerKey::new(PeerIp::new(), "1/h".parse().unwrap(), 100).unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            let response = sender
                .send_request(Request::get("/").header("host", "unix").body(Body::new()).unwrap())
                .await;
            statuses.push(response.unwrap().status());
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(statuses, [200, 429]);
    })
    .await
}

#[tokio::test]
async fn handlers_charge_their_usage() {
    let tokens = PerKey::new(PeerIp::new(), "1000/h".parse().unwrap(), 100)
        .unwrap()
        .named("tokens")
        .late();
    let app = Router::new()
        .route(
            "/",
            get(
                |Extension(charge): Extension<Charge>, ConnectInfo(_): ConnectInfo<SocketAddr>| async move {
                    charge.charge(1500)
                },
            ),
        )
        .layer(RateLimitLayer::new(tokens));
    let address = serve(app).await;
    assert_eq!(http1(address, "/", 2).await, [200, 429]);
}

/// Answers each message of a WebSocket with itself, as long as the limit of messages admits it.
async fn echo(Extension(charge): Extension<Charge>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            let answer = match charge.check(1) {
                Ok(()) => message,
                Err(denied) => Message::Close(Some(CloseFrame {
                    code: 1008, // policy violation
                    reason: denied.to_string().into(),
                })),
            };
            if socket.send(answer).await.is_err() {
                break;
            }
        }
    })
}

#[tokio::test]
async fn r25_messages_of_a_websocket_are_limited() {
    soon(async {
        let key = || PerKey::new(PeerIp::new(), "3/h".parse().unwrap(), 100).unwrap();
        let connections = key().named("connections");
        let messages = key().named("messages").cost(|_| 0).late();
        let app = Router::new()
            .route("/", get(echo))
            .layer(RateLimitLayer::new((connections, messages)));
        let address = serve(app).await;
        let mut answers = Vec::new();
        // Connections share the limit of messages.
        for messages in [2, 2] {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut socket, upgrade) = tokio_tungstenite::client_async(format!("ws://{address}/"), stream)
                .await
                .unwrap();
            assert_eq!(upgrade.status(), StatusCode::SWITCHING_PROTOCOLS);
            assert!(
                upgrade.headers()["ratelimit"]
                    .to_str()
                    .unwrap()
                    .contains("\"connections\";r=")
            );
            for _ in 0..messages {
                socket.send("hello".into()).await.unwrap();
                answers.push(socket.next().await.unwrap().unwrap().to_string());
            }
        }
        assert_eq!(answers[..3], ["hello"; 3]);
        assert!(answers[3].starts_with("denied: conforms in "), "{answers:?}");
        // A client without a message left opens no further connection.
        let stream = TcpStream::connect(address).await.unwrap();
        let denied = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await;
        let Err(tokio_tungstenite::tungstenite::Error::Http(denied)) = denied else {
            panic!("{denied:?}")
        };
        assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    })
    .await
}

#[tokio::test]
async fn reqwest_waits_for_an_axum_server() {
    soon(async {
        let address = serve(hello(Shared::new("5/s burst 1".parse().unwrap()).unwrap())).await;
        let mut client = ServiceBuilder::new()
            .layer(PoliteLayer::new().patience(Duration::from_secs(60)).retries(9))
            .service(reqwest::Client::new());
        for _ in 0..3 {
            let request = reqwest::Request::new(reqwest::Method::GET, format!("http://{address}/").parse().unwrap());
            let response = tower::Service::call(client.ready().await.unwrap(), request)
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.unwrap(), "hello");
        }
    })
    .await
}
