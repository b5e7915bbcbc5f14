//! The async store over a cluster: follows redirections itself, so that no call is sent twice.

use crate::failure;
use crate::store::{SendOnce, decide};
use core::fmt;
use ratelimit_meter_store::{Ask, AsyncStore, Micros, Reply, StoreError, Verb};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A store on a cluster of Redis or Valkey: one script call for each decision, on the shard of the key.
///
/// All limits of one call must have keys of one slot, as the limits of one subject have. Otherwise the call is [`StoreError::NotOneSlot`], before anything
/// is sent. The script is sent once to each shard, on its first `NOSCRIPT`.
pub struct RedisClusterStore {
    client: ClusterClient,
    connection: Arc<OnceCell<ClusterConnection>>,
}

impl RedisClusterStore {
    /// Returns a store on the cluster to which `nodes` belong, such as `redis://10.0.0.1:7000/`; it connects at the first call.
    ///
    /// # Errors
    ///
    /// The client's error, if an address is not valid.
    pub fn open<T: IntoConnectionInfo>(nodes: impl IntoIterator<Item = T>) -> RedisResult<Self> {
        Self::new(ClusterClient::builder(nodes))
    }

    /// Returns a store on the cluster of a client with settings. Its retries are set to none, because a client that repeats a command after
    /// a lost connection would count it twice.
    ///
    /// # Errors
    ///
    /// The client's error, if the settings are not valid.
    pub fn new(builder: ClusterClientBuilder) -> RedisResult<Self> {
        Ok(Self {
            client: builder.retries(0).build()?,
            connection: Arc::default(),
        })
    }

    /// Returns the connection, or makes it in a task of its own, which goes on if the caller leaves. Without it, no call would be answered where
    /// connecting takes longer than the deadline of a call.
    async fn connection(&self) -> RedisResult<ClusterConnection> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let (client, connection) = (self.client.clone(), Arc::clone(&self.connection));
        let connecting = tokio::spawn(async move {
            let connection = connection.get_or_try_init(|| client.get_async_connection()).await;
            connection.cloned()
        });
        let ended = |_| {
            RedisError::from((
                ErrorKind::Client,
                "the runtime ended while the cluster was connected to",
            ))
        };
        connecting.await.map_err(ended)?
    }
}

impl fmt::Debug for RedisClusterStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClusterStore").finish_non_exhaustive()
    }
}

impl AsyncStore for RedisClusterStore {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let slots = asks.iter().map(|ask| slot(ask.key.as_bytes()));
        if slots.clone().zip(slots.skip(1)).any(|(a, b)| a != b) {
            return Err(StoreError::NotOneSlot);
        }
        let connection = self.connection().await;
        let connection = connection.map_err(|error| failure::connecting(&error))?;
        decide(&Cluster(connection), verb, at, asks).await
    }
}

struct Cluster(ClusterConnection);

impl SendOnce for Cluster {
    async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        let value = redis::aio::ConnectionLike::req_packed_command(&mut self.0.clone(), cmd).await?;
        value.extract_error()
    }

    /// To where the slot is now. The client, which saw the error, has begun to read the slots again.
    async fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> RedisResult<Value> {
        let Some((host, port)) = error.redirect_node().and_then(|(address, _)| address.rsplit_once(':')) else {
            return self.send(cmd).await;
        };
        let Ok(port) = port.parse() else {
            return self.send(cmd).await;
        };
        let node = SingleNodeRoutingInfo::ByAddress {
            host: host.to_owned(),
            port,
        };
        let mut connection = self.0.clone();
        if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
            let value = connection
                .route_command(cmd.clone(), RoutingInfo::SingleNode(node))
                .await?;
            return value.extract_error();
        }
        let mut both = redis::Pipeline::with_capacity(2);
        both.add_command(redis::cmd("ASKING")).add_command(cmd.clone());
        let mut values = connection.route_pipeline(both, 1, 1, node).await?;
        values.pop().unwrap_or(Value::Nil).extract_error()
    }
}

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it if that is empty, modulo 16384.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let after = &key[open + 1..];
        let close = after.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &after[..close])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_meter_store_check::proxy::{Proxy, Replies};
    use ratelimit_meter_store_check::server::{Server, wait_for};
    use std::time::Duration;

    #[test]
    fn connecting_goes_on_after_the_caller_left() {
        let Some(node) = Server::start(&["--cluster-enabled", "yes"]) else {
            return;
        };
        let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
        let words: Vec<_> = ["CLUSTER", "ADDSLOTS"]
            .into_iter()
            .chain(slots.iter().map(String::as_str))
            .collect();
        assert_eq!(node.command(&words).unwrap(), "+OK\r\n");
        let proxy = Proxy::to(node.port());
        let store = RedisClusterStore::open([proxy.url()]).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        proxy.set(Replies::Hold);
        runtime.block_on(async {
            let call = tokio::time::timeout(Duration::from_millis(50), store.connection());
            assert!(call.await.is_err());
        });
        proxy.set(Replies::Pass);
        assert!(wait_for(|| store.connection.get().is_some()));
    }

    /// `CLUSTER KEYSLOT` of Redis.
    #[test]
    fn slots_are_those_of_the_server() {
        let table = [
            ("123456789", 12739),
            ("foo", 12182),
            ("foo{bar}", 5061),
            ("{bar}x", 5061),
            ("", 0),
            ("foo{}bar", 14292),
            ("a{{b}}c", 6215),
        ];
        for (key, expected) in table {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
