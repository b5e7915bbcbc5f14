//! Denials as gRPC has them, decoded by tonic.

use crate::support::{answer, field, meter, number, request, shared, soon};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter_tower::{Fields, Grpc, Once, PeerIp, PerKey, PoliteLayer, RateLimitLayer, Shared};
use std::time::{Duration, Instant};
use tonic::Code;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use tower::ServiceBuilder;

fn grpc_request() -> Request<()> {
    let mut request = request();
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    request
}

#[test]
fn r24_grpc_requests_are_answered_in_kind() {
    let clock = ManualClock::new();
    let layer = RateLimitLayer::new(Shared::of(meter("7/s burst 1", &clock)).unwrap());
    answer(&layer, grpc_request());
    let denied = answer(&layer, grpc_request());
    assert_eq!(denied.status(), 200);
    assert_eq!(number(denied.headers(), "grpc-status"), Some(8));
    assert_eq!(number(denied.headers(), "grpc-retry-pushback-ms"), Some(143));
    assert_eq!(field(denied.headers(), "content-type"), "application/grpc");
    let status = tonic::Status::from_header_map(denied.headers()).unwrap();
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(delay, Duration::from_nanos(142_857_143));
    // Clients of gRPC-Web expect their own type.
    let mut web = grpc_request();
    web.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc-web+proto"));
    assert_eq!(
        field(answer(&layer, web).headers(), "content-type"),
        "application/grpc-web"
    );
    // Other requests get HTTP.
    assert_eq!(answer(&layer, request()).status(), 429);
}

#[test]
fn request_above_the_burst_forbids_retries() {
    let layer = RateLimitLayer::grpc(Shared::new("2/h".parse().unwrap()).unwrap().cost(|_| 3));
    let denied = answer(&layer, grpc_request());
    assert_eq!(number(denied.headers(), "grpc-status"), Some(8));
    assert_eq!(field(denied.headers(), "grpc-retry-pushback-ms"), "-1");
}

#[test]
fn waits_of_every_length_are_encoded() {
    for (quota, seconds) in [("1/s", 1), ("1/h", 3600), ("1/365d", 31_536_000)] {
        let clock = ManualClock::new();
        let layer = RateLimitLayer::grpc(Shared::of(meter(quota, &clock)).unwrap());
        answer(&layer, request());
        let status = tonic::Status::from_header_map(answer(&layer, request()).headers()).unwrap();
        let delay = status.get_details_retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_tonic_server_denies_with_resource_exhausted() {
    soon(async {
        let limit = PerKey::new(PeerIp::new(), "3/h".parse().unwrap(), 100).unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        // One interceptor is a layer outside of the limit, and one wraps the service inside.
        let health =
            tonic::service::interceptor::InterceptedService::new(health, Ok::<tonic::Request<()>, tonic::Status>);
        let server = Server::builder()
            .layer(tonic::service::InterceptorLayer::new(
                Ok::<tonic::Request<()>, tonic::Status>,
            ))
            .layer(RateLimitLayer::grpc(limit))
            .add_service(health);
        tokio::spawn(server.serve_with_incoming(incoming));
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut client = HealthClient::new(channel);
        let ask = HealthCheckRequest::default();
        for _ in 0..2 {
            client.check(ask.clone()).await.unwrap();
        }
        // A stream costs one, when it is opened.
        let mut stream = client.watch(ask.clone()).await.unwrap().into_inner();
        assert!(stream.message().await.unwrap().is_some());
        let denials = [
            client.check(ask.clone()).await.unwrap_err(),
            client.watch(ask).await.unwrap_err(),
        ];
        for denied in denials {
            assert_eq!(denied.code(), tonic::Code::ResourceExhausted);
            let delay = denied.get_details_retry_info().unwrap().retry_delay.unwrap();
            assert!(
                delay > Duration::from_secs(1100) && delay <= Duration::from_secs(1200),
                "{delay:?}"
            );
        }
    })
    .await
}

/// A call that fails before its first message is HTTP 200 as well, with its status in a header field.
#[tokio::test]
async fn r18_only_failed_calls_count() {
    soon(async {
        let limit = shared("2/h").refund_if(|reply| !reply.headers().contains_key("grpc-status"));
        let (_, health) = tonic_health::server::health_reporter();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let server = Server::builder().layer(RateLimitLayer::grpc(limit)).add_service(health);
        tokio::spawn(server.serve_with_incoming(incoming));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        let mut client = HealthClient::new(channel.connect().await.unwrap());
        let mut codes = Vec::new();
        for service in ["", "", "", "unknown", "unknown", ""] {
            let service = service.to_owned();
            let answer = client.check(HealthCheckRequest { service }).await;
            codes.push(answer.map_or_else(|status| status.code(), |_| Code::Ok));
        }
        let (ok, failed) = (Code::Ok, Code::NotFound);
        assert_eq!(codes, [ok, ok, ok, failed, failed, Code::ResourceExhausted]);
    })
    .await;
}

/// The body of tonic's requests cannot be cloned (grpc-rust#733), so they are sent once; but they wait.
#[tokio::test]
async fn r30_polite_channel_waits_for_its_server() {
    let codes_of = |server: RateLimitLayer<Shared, Grpc>| async move {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().layer(server).add_service(health);
        tokio::spawn(server.serve_with_incoming(incoming));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = ServiceBuilder::new()
            .map_request(Once)
            .layer(PoliteLayer::new())
            .map_request(|Once(request)| request)
            .service(channel.connect().await.unwrap());
        let mut client = HealthClient::new(channel);
        let mut codes = Vec::new();
        for _ in 0..3 {
            let answer = client.check(HealthCheckRequest::default()).await;
            codes.push(answer.map_or_else(|status| status.code(), |_| Code::Ok));
        }
        codes
    };
    soon(async {
        let limit = |quota: &str| RateLimitLayer::grpc(Shared::new(quota.parse().unwrap()).unwrap());
        let start = Instant::now();
        assert_eq!(codes_of(limit("2/s burst 1")).await, [Code::Ok; 3]);
        assert!(start.elapsed() >= Duration::from_secs(2));
        // Without fields, the second is denied, and the third is not sent.
        let codes = [Code::Ok, Code::ResourceExhausted, Code::Unknown];
        assert_eq!(codes_of(limit("1/h").fields(Fields::None)).await, codes);
    })
    .await;
}
