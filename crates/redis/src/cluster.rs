//! The async store over a cluster: follows redirections itself, so that no call is sent twice.

use crate::failure;
use crate::runtime::RuntimeMark;
use crate::store::{SILENCE, SendOnce, decide, is_idle};
use crate::tcp;
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, AsyncStore, Micros, Reply, StoreError, Verb};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The time for which the cluster is connected to at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two times at which the cluster is connected to again while a shard stays dead: a second at first, then twice as long each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The number of neighbouring slots whose silence is noticed together; a shard usually has them all.
const NEIGHBOURS: u16 = 16;

/// A store on a cluster of Redis or Valkey: one script call for each decision, on the shard of the key.
///
/// All limits of one call must have keys of one slot, as the limits of one subject have. Otherwise the call is [`StoreError::NotOneSlot`], before anything
/// is sent. The script is sent once to each shard, on its first `NOSCRIPT`.
///
/// A task connects to the cluster again on each of three conditions:
///
/// - Callers left two calls of neighbouring slots without an answer, sent a second or more apart, and nothing was answered there in between. A node
///   may have vanished silently, as with its machine.
/// - A node is a replica (`READONLY`), as after a planned failover.
/// - A connection was lost.
///
/// Calls go over the earlier connection meanwhile. If the runtime that carries the connection has ended, the next call connects in its own.
///
/// A decision takes 10 seconds at most, with all attempts, and is [`StoreError::TimedOut`] then. The first calls wait for the connection as long as that
/// before, and are [`StoreError::Unreachable`] then.
pub struct RedisClusterStore {
    client: ClusterClient,
    shared: Arc<Mutex<CurrentCluster>>,
}

#[derive(Default)]
struct CurrentCluster {
    /// `None` until the cluster was connected to once.
    connection: Option<ClusterConnection>,
    /// The runtime that carries the connection.
    runtime: Option<RuntimeMark>,
    /// By the ranges of neighbouring slots: when the first call was sent that was left without an answer, if none was answered since.
    silent_since: HashMap<u16, Instant>,
    connecting: Option<ConnectingTask>,
    /// The last time at which a task connected again, or failed to.
    renewed: Option<Instant>,
    /// The time after `renewed` in which no task connects again.
    pause: Duration,
    /// The time of the last answer of any node.
    answered: Option<Instant>,
    /// The last time at which a task tried all nodes.
    tried: Option<Instant>,
}

/// A task that connects to the cluster.
struct ConnectingTask {
    began: Instant,
    outcome: ConnectingResult,
}

/// The result of a task that connects. It is closed if the runtime of that task ended before.
type ConnectingResult = watch::Receiver<Option<RedisResult<ClusterConnection>>>;

impl CurrentCluster {
    /// Returns the outcome to come. A task that outlived its time is forgotten: no thread runs its runtime.
    fn outcome(&self) -> Option<ConnectingResult> {
        let ConnectingTask { began, outcome } = self.connecting.as_ref()?;
        let is_on = began.elapsed() < 2 * PATIENCE && outcome.has_changed().is_ok();
        is_on.then(|| outcome.clone())
    }
}

impl RedisClusterStore {
    /// Returns a store on the cluster to which `nodes` belong, such as `redis://10.0.0.1:7000/`; it connects at the first call.
    ///
    /// Its connections have `TCP_NODELAY`, and TCP keepalive after 30 seconds. A builder for [`new`](Self::new) has settings of its own.
    ///
    /// # Errors
    ///
    /// The client's error, if an address is not valid.
    pub fn open<T: IntoConnectionInfo>(nodes: impl IntoIterator<Item = T>) -> RedisResult<Self> {
        Self::new(ClusterClient::builder(nodes).tcp_settings(tcp::settings()))
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
            shared: Arc::default(),
        })
    }

    fn current(&self) -> MutexGuard<'_, CurrentCluster> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection, or that of the task which makes it and goes on if its callers leave. Without the task, no call would be answered where
    /// connecting takes longer than the deadline of a call.
    async fn connection(&self) -> RedisResult<ClusterConnection> {
        let mut outcome = {
            let mut current = self.current();
            if current.runtime.as_ref().is_some_and(RuntimeMark::has_ended) {
                (current.connection, current.runtime) = (None, None);
            }
            if let Some(connection) = &current.connection {
                return Ok(connection.clone());
            }
            self.begin(&mut current, &Handle::current())
        };
        let error = |text| Err(RedisError::from((ErrorKind::Client, text)));
        match tokio::time::timeout(2 * PATIENCE, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(made)) => made
                .clone()
                .unwrap_or_else(|| error("the cluster was not connected to")),
            Ok(Err(_)) => error("the runtime ended while the cluster was connected to"),
            // The task is of another call.
            Err(_) => error("the runtime that connects to the cluster does not run"),
        }
    }

    /// Connects to the cluster in a task, unless one is at it, and returns the outcome to come.
    fn begin(&self, current: &mut CurrentCluster, runtime: &Handle) -> ConnectingResult {
        if let Some(outcome) = current.outcome() {
            return outcome;
        }
        let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
        let (sender, outcome) = watch::channel(None);
        current.connecting = Some(ConnectingTask {
            began: Instant::now(),
            outcome: outcome.clone(),
        });
        runtime.spawn(async move {
            let made = connect(&client).await;
            let mut current = shared.lock().unwrap_or_else(PoisonError::into_inner);
            current.silent_since.clear();
            current.connecting = None;
            current.renewed = current.connection.as_ref().map(|_| Instant::now());
            if let Ok(connection) = &made {
                current.connection = Some(connection.clone());
                current.runtime = Some(RuntimeMark::current());
            }
            sender.send_replace(Some(made));
        });
        outcome
    }

    /// Notes that a call of a range of slots was answered.
    fn answered(&self, range: u16) {
        let mut current = self.current();
        current.silent_since.remove(&range);
        current.answered = Some(Instant::now());
    }

    /// Notes a call of a range of slots that was left without an answer, and connects again if no call there was answered for long.
    fn unanswered(&self, range: u16, sent: Instant) {
        let first = *self.current().silent_since.entry(range).or_insert(sent);
        if sent.saturating_duration_since(first) >= SILENCE {
            self.renew();
        }
    }

    /// Connects to the cluster again in a task, at most once in a [`pause`], and returns the outcome to come.
    fn renew(&self) -> Option<ConnectingResult> {
        let mut current = self.current();
        let since = current.renewed.map(|renewed| renewed.elapsed());
        let Some(pause) = pause(since, current.pause) else {
            return current.outcome();
        };
        current.pause = pause;
        let runtime = Handle::try_current().ok()?;
        Some(self.begin(&mut current, &runtime))
    }
}

/// Returns the pause to begin if the cluster is connected to again, `since` after the last time, which began `pause`. Returns `None` during that pause.
fn pause(since: Option<Duration>, pause: Duration) -> Option<Duration> {
    match since {
        Some(since) if since < pause => None,
        Some(since) if since < 2 * LONGEST_PAUSE => Some((2 * pause).min(LONGEST_PAUSE)),
        _ => Some(SILENCE),
    }
}

async fn connect(client: &ClusterClient) -> RedisResult<ClusterConnection> {
    let timed_out = |_| RedisError::from((ErrorKind::Io, "connecting to the cluster timed out"));
    tokio::time::timeout(PATIENCE, client.get_async_connection())
        .await
        .map_err(timed_out)?
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
        let slot = asks.first().map_or(0, |ask| slot(ask.key.as_bytes()));
        let connection = self.connection().await;
        let connection = connection.map_err(|error| failure::connecting(&error))?;
        let cluster = Cluster {
            store: self,
            connection,
            slot,
        };
        decide(&cluster, verb, at, asks).await
    }
}

/// The connection of a call, unless there is a newer one, and its slot.
struct Cluster<'a> {
    store: &'a RedisClusterStore,
    connection: ClusterConnection,
    slot: u16,
}

/// A command that was sent. If it is dropped before its answer, its node may have vanished.
struct SentCommand<'a> {
    cluster: &'a Cluster<'a>,
    sent: Instant,
    is_answered: bool,
}

impl Drop for SentCommand<'_> {
    fn drop(&mut self) {
        let Cluster { store, slot, .. } = self.cluster;
        if self.is_answered {
            store.answered(slot / NEIGHBOURS);
        } else {
            store.unanswered(slot / NEIGHBOURS, self.sent);
        }
    }
}

impl Cluster<'_> {
    fn connection(&self) -> ClusterConnection {
        let newer = self.store.current().connection.clone();
        newer.unwrap_or_else(|| self.connection.clone())
    }

    async fn answer<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        let mut command = SentCommand {
            cluster: self,
            sent: Instant::now(),
            is_answered: false,
        };
        let answer = answer.await;
        command.is_answered = true;
        if answer.as_ref().is_err_and(RedisError::is_connection_dropped) {
            // The client connects to a lost node again, unless its own task has ended, with its runtime.
            self.store.renew();
        }
        answer
    }

    /// Tries the node of the slot and, in one task for all calls, all nodes. The client connects again to each node that fails.
    async fn try_if_idle(&self) {
        let is_first = {
            let mut current = self.store.current();
            if !is_idle(current.answered) {
                return;
            }
            let tried = current.tried.filter(|tried| tried.elapsed() < PATIENCE);
            current.tried = tried.or_else(|| Some(Instant::now()));
            tried.is_none()
        };
        let (time, mut connection) = (redis::cmd("TIME"), self.connection());
        if is_first {
            let (mut others, command) = (connection.clone(), time.clone());
            tokio::spawn(async move {
                let nodes = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let _ = tokio::time::timeout(PATIENCE, others.route_command(command, nodes)).await;
            });
        }
        let node = SingleNodeRoutingInfo::SpecificNode(Route::new(self.slot, SlotAddr::Master));
        let answer = connection.route_command(time, RoutingInfo::SingleNode(node));
        let _ = self.answer(answer).await;
    }
}

impl SendOnce for Cluster<'_> {
    async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        self.try_if_idle().await;
        let mut connection = self.connection();
        let answer = redis::aio::ConnectionLike::req_packed_command(&mut connection, cmd);
        self.answer(answer).await?.extract_error()
    }

    /// Sends the command to the node that has the slot now. After `MOVED` and `ASK` the client reads the slots again by itself.
    async fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> RedisResult<Value> {
        if error.redirect_node().is_none() {
            if let Some(mut outcome) = self.store.renew() {
                // If it fails, so does the call, by the answer to its next try.
                let _ = tokio::time::timeout(PATIENCE, outcome.wait_for(Option::is_some)).await;
            }
        }
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
        let mut connection = self.connection();
        if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
            let answer = connection.route_command(cmd.clone(), RoutingInfo::SingleNode(node));
            return self.answer(answer).await?.extract_error();
        }
        let mut both = redis::Pipeline::with_capacity(2);
        both.add_command(redis::cmd("ASKING")).add_command(cmd.clone());
        let mut values = self.answer(connection.route_pipeline(both, 1, 1, node)).await?;
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
    use crate::store::{IDLE, LONGEST};
    use ratelimit_meter_store::{StoreLimit, Units};
    use ratelimit_meter_store_check::proxy::{Proxy, Replies};
    use ratelimit_meter_store_check::server::{Server, wait_for};
    use std::time::Duration;
    use tokio::runtime::Runtime;

    /// A store on a cluster of one node, by a proxy that holds replies back; `None` where there is no server.
    fn held_store() -> Option<(Server, Proxy, RedisClusterStore)> {
        let node = Server::start(&["--cluster-enabled", "yes"])?;
        let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
        let words: Vec<_> = ["CLUSTER", "ADDSLOTS"]
            .into_iter()
            .chain(slots.iter().map(String::as_str))
            .collect();
        assert_eq!(node.command(&words).unwrap(), "+OK\r\n");
        let proxy = Proxy::to(node.port());
        proxy.set(Replies::Hold);
        let store = RedisClusterStore::open([proxy.url()]).unwrap();
        Some((node, proxy, store))
    }

    fn runtime() -> Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().build().unwrap()
    }

    /// Returns `true` if a call gets the connection within a short deadline.
    async fn is_connected(store: &RedisClusterStore) -> bool {
        let call = tokio::time::timeout(Duration::from_millis(20), store.connection());
        call.await.is_ok_and(|made| made.is_ok())
    }

    #[test]
    fn connecting_goes_on_after_the_caller_left() {
        let Some((_node, proxy, store)) = held_store() else {
            return;
        };
        let runtime = runtime();
        assert!(!runtime.block_on(is_connected(&store)));
        proxy.set(Replies::Pass);
        assert!(wait_for(|| store.current().connection.is_some()));
    }

    #[test]
    fn callers_that_left_share_one_task() {
        const CALLS: usize = 30;
        let Some((_node, _proxy, store)) = held_store() else {
            return;
        };
        let runtime = runtime();
        for _ in 0..CALLS {
            assert!(!runtime.block_on(is_connected(&store)));
        }
        let tasks = runtime.metrics().num_alive_tasks();
        assert!(tasks < CALLS / 2, "{tasks} tasks");
    }

    /// As with the setting `timeout` of the server, or with the idle timeout of a proxy.
    #[test]
    fn connection_closed_while_idle_fails_no_call() {
        let Some((node, proxy, store)) = held_store() else {
            return;
        };
        proxy.set(Replies::Pass);
        let limit = StoreLimit::Bucket(Units::of("10/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        let runtime = runtime();
        let check = || runtime.block_on(store.decide(Verb::Check, None, &asks));
        assert!(wait_for(|| check().is_ok()), "the cluster is up");
        for _ in 0..3 {
            assert!(node.command(&["CLIENT", "KILL", "TYPE", "normal"]).is_ok());
            let idle = Instant::now().checked_sub(IDLE);
            store.current().answered = idle;
            assert_eq!(check().unwrap().cells, Some(1));
        }
    }

    #[test]
    fn idle_calls_share_one_trial_of_all_nodes() {
        const CALLS: usize = 30;
        let Some((node, proxy, store)) = held_store() else {
            return;
        };
        proxy.set(Replies::Pass);
        let runtime = runtime();
        assert!(wait_for(|| runtime.block_on(is_connected(&store))));
        store.current().answered = Instant::now().checked_sub(IDLE);
        node.signal("-STOP");
        let limit = StoreLimit::Bucket(Units::of("10/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        for _ in 0..CALLS {
            let call = store.decide(Verb::Check, None, &asks);
            let limited = async { tokio::time::timeout(Duration::from_millis(20), call).await };
            assert!(runtime.block_on(limited).is_err(), "no reply");
        }
        let tasks = runtime.metrics().num_alive_tasks();
        assert!(tasks < CALLS / 2, "{tasks} tasks");
    }

    /// A call without a deadline. The clock of the runtime is paused, and goes to the end of each wait.
    #[test]
    fn idle_call_to_a_silent_node_ends() {
        let Some((node, proxy, store)) = held_store() else {
            return;
        };
        proxy.set(Replies::Pass);
        let limit = StoreLimit::Bucket(Units::of("10/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        assert!(wait_for(|| runtime.block_on(is_connected(&store))));
        store.current().answered = Instant::now().checked_sub(IDLE);
        node.signal("-STOP");
        let answer = runtime.block_on(async {
            tokio::time::pause();
            tokio::time::timeout(2 * LONGEST, store.decide(Verb::Check, None, &asks)).await
        });
        assert!(matches!(answer, Ok(Err(StoreError::TimedOut))), "{answer:?}");
    }

    #[test]
    fn pauses_double_while_a_shard_stays_dead() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(None, Duration::ZERO), Some(second));
        for (ended, next) in [(1, 2), (2, 4), (4, 4)] {
            let ended = ended * second;
            assert_eq!(pause(Some(ended - Duration::from_millis(1)), ended), None);
            assert_eq!(pause(Some(ended), ended), Some(next * second));
        }
        assert_eq!(pause(Some(8 * second), 4 * second), Some(second));
    }

    #[test]
    fn silence_while_connecting_is_an_error_with_advice() {
        let Some((_node, proxy, _)) = held_store() else { return };
        let builder = ClusterClient::builder([proxy.url()]).connection_timeout(Duration::from_millis(20));
        let store = RedisClusterStore::new(builder).unwrap();
        let error = runtime().block_on(store.decide(Verb::Check, None, &[])).unwrap_err();
        assert!(
            matches!(&error, StoreError::Unreachable(text) if text.contains("with TLS if")),
            "{error}"
        );
    }

    #[test]
    fn wrong_settings_are_errors_with_advice() {
        let Some((node, proxy, _)) = held_store() else { return };
        proxy.set(Replies::Pass);
        let password = ["CONFIG", "SET", "requirepass", "secret"];
        assert_eq!(node.command(&password).unwrap(), "+OK\r\n");
        let Some(single) = Server::start(&[]) else { return };
        let table = [
            (node.url(), "put the password into the URL"),
            (
                node.url().replace("redis://", "redis://:wrong@"),
                "check the user and the password",
            ),
            (single.url(), "use RedisStore"),
        ];
        for (url, advice) in table {
            let store = RedisClusterStore::open([url]).unwrap();
            let error = runtime().block_on(store.decide(Verb::Check, None, &[])).unwrap_err();
            assert!(
                matches!(&error, StoreError::Refused(text) if text.contains(advice)),
                "{error}"
            );
        }
    }

    /// As in a runtime of one thread that has left it.
    #[test]
    fn task_that_nothing_runs_is_replaced() {
        let (_sender, outcome) = watch::channel(None);
        let since = |elapsed| CurrentCluster {
            connecting: Some(ConnectingTask {
                began: Instant::now().checked_sub(elapsed).unwrap(),
                outcome: outcome.clone(),
            }),
            ..CurrentCluster::default()
        };
        assert!(since(Duration::ZERO).outcome().is_some());
        assert!(since(2 * PATIENCE).outcome().is_none());
    }

    /// A call waits for the task of another runtime, which no thread runs any more, for a while only.
    #[test]
    fn wait_for_a_runtime_that_stands_still_ends() {
        let Some((_node, _proxy, store)) = held_store() else {
            return;
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let left = builder.enable_all().build().unwrap();
        assert!(!left.block_on(is_connected(&store)));
        // The clock of this runtime goes forward while its calls wait.
        let other = builder.start_paused(true).build().unwrap();
        let call = async { tokio::time::timeout(Duration::from_secs(60), store.connection()).await };
        let error = other.block_on(call).expect("an answer").err().expect("an error");
        assert!(error.to_string().contains("does not run"), "{error}");
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
