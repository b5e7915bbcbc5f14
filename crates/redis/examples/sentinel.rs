//! A limit on the primary that Redis Sentinel names: `cargo run -p ratelimit_meter_redis --example sentinel mymaster redis://127.0.0.1:26379/`.
//!
//! Give the name of the primary, and the URL of each Sentinel. The example decides a request twice a second, and prints the answers: also while the primary
//! fails and a replica takes over.
//!
//! A task asks a Sentinel once a second. If the Sentinel names another server, the next call goes there. A call has a deadline and ends at that time if its
//! caller leaves, so a call must not ask itself: a Sentinel that does not answer would end each call.

use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{Ask, AsyncStore, Micros, Reply, SharedMeter, StoreError, Verb};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use std::error::Error;
use std::time::Duration;
use tokio::sync::watch;

/// A store on the server that the Sentinels name.
struct SentinelStore {
    /// `None` until a Sentinel has named a server.
    primary: watch::Receiver<Option<RedisStore>>,
}

impl SentinelStore {
    /// Returns a store, and spawns the task that asks the Sentinels at `urls` for the primary called `name`.
    fn new(name: String, urls: Vec<String>) -> redis::RedisResult<Self> {
        // The user, the password, the database and TLS of the primary belong here too.
        let tcp = TcpSettings::default().set_nodelay(true);
        let settings = SentinelNodeConnectionInfo::default().set_tcp_settings(tcp);
        let role = SentinelServerType::Master;
        let sentinels = SentinelClient::build(urls, name, Some(settings), role)?;
        let (sender, primary) = watch::channel(None);
        tokio::spawn(follow(sentinels, sender));
        Ok(Self { primary })
    }
}

/// Sends a store for each server that becomes the primary, until the store is dropped.
async fn follow(mut sentinels: SentinelClient, primary: watch::Sender<Option<RedisStore>>) {
    let mut address = String::new();
    while !primary.is_closed() {
        if let Ok(client) = sentinels.async_get_client().await {
            let named = client.get_connection_info().addr().to_string();
            if named != address {
                primary.send_replace(Some(RedisStore::new(client)));
                address = named;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl AsyncStore for SentinelStore {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let store = self.primary.borrow().clone();
        match store {
            Some(store) => store.decide(verb, at, asks).await,
            None => Err(StoreError::Unreachable("no Sentinel has named a primary".to_owned())),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("usage: sentinel NAME URL...")?;
    let limit = SharedMeter::builder("demo", "60/min burst 100".parse()?)
        .deadline(Duration::from_millis(200))
        .build(SentinelStore::new(name, arguments.collect())?)?;
    loop {
        match limit.check("alice").await {
            Ok(verdict) => println!("admitted: {}, {:?}", verdict.is_admitted(), verdict.status()),
            Err(error) => println!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
