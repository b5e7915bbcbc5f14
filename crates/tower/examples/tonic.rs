//! A gRPC server whose denials are `RESOURCE_EXHAUSTED` with `RetryInfo`.
//!
//! `cargo run -p ratelimit_meter_tower --example tonic --features tonic` calls it and prints the answers.

use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = PerKey::new(PeerIp::new(), "50/s burst 3".parse()?, 100_000)?;
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    let server = Server::builder().layer(RateLimitLayer::grpc(limit)).add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = HealthClient::new(channel);
    for _ in 0..5 {
        match client.check(HealthCheckRequest::default()).await {
            Ok(_) => println!("served"),
            Err(status) => {
                let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
                println!("{:?}: again in {wait:?}", status.code());
            }
        }
    }
    Ok(())
}
