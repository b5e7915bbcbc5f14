//! A reqwest client that waits for the server's `Retry-After`, and keeps to a limit of its own.
//!
//! `cargo run -p ratelimit_meter_tower --example client --features reqwest` starts a server that allows 2 a second.

use axum::{Router, routing::get};
use ratelimit_meter_tower::{PaceLayer, PoliteLayer, RateLimitLayer, Shared};
use std::time::{Duration, Instant};
use tower::{Service, ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = RateLimitLayer::new(Shared::new("2/s".parse()?)?);
    let app = Router::new().route("/", get(|| async { "hello" })).layer(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut client = ServiceBuilder::new()
        .layer(PoliteLayer::new().patience(Duration::from_secs(30)).retries(3))
        .layer(PaceLayer::per_origin("10/s burst 1".parse()?, 1_000)?)
        .service(reqwest::Client::new());
    let start = Instant::now();
    for _ in 0..6 {
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse()?);
        let response = client.ready().await?.call(request).await?;
        println!("{:4} ms: {}", start.elapsed().as_millis(), response.status());
    }
    Ok(())
}
