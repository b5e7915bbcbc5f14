//! One quota on two servers: a store keeps the limit of each address.
//!
//! `cargo run -p ratelimit_meter_tower --example shared --features store`, then `curl -i http://127.0.0.1:3001` and `curl -i http://127.0.0.1:3002`
//! in turn: four requests are admitted at once, whichever server they come to.

use axum::{Router, routing::get};
use ratelimit_meter::Quota;
use ratelimit_meter_store::{MemoryStore, SharedMeter};
use ratelimit_meter_tower::{Distributed, OnStoreFailure, PeerIp, RateLimitLayer};
use std::net::SocketAddr;
use std::time::Duration;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // For servers on several machines: `RedisStore::open("redis://..")?` of `ratelimit_meter_redis`, or `PostgresStore::connect(..)` of
    // `ratelimit_meter_postgres`.
    let store = MemoryStore::new();
    tokio::try_join!(serve(3001, store.clone()), serve(3002, store))?;
    Ok(())
}

async fn serve(port: u16, store: MemoryStore) -> Result<(), Error> {
    let quota: Quota = "10/min burst 4".parse()?;
    let meter = SharedMeter::builder("api", quota)
        .deadline(Duration::from_millis(50))
        .build(store)?;
    let limit = Distributed::new(PeerIp::new(), quota, meter).on_failure(OnStoreFailure::Closed);
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::remote(limit));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
