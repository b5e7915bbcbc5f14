//! Ten lines: 100 requests a minute for each address, 20 at once.
//!
//! `cargo run -p ratelimit_meter_tower --example axum`, then `curl -i http://127.0.0.1:3000`.

use axum::{Router, routing::get};
use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
use std::net::SocketAddr;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = PerKey::new(PeerIp::new(), "100/min burst 20".parse()?, 100_000)?;
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::new(limit));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
