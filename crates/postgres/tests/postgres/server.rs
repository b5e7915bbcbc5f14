//! Databases of the tests.

use core::ops::Deref;
use ratelimit_meter_postgres::PostgresStore;
use ratelimit_meter_store_check::certificates::Certificates;
use ratelimit_meter_store_check::clock::FakeClock;
use ratelimit_meter_store_check::postgres::Postgres;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};

/// The longest time for a step of a test, on a loaded machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that hands out databases.
pub(crate) struct Server(Postgres);

impl Server {
    /// The server that most tests share, started with the first of those that run; `None` where there is none.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server of its own, for a test that harms it.
    pub(crate) fn start() -> Option<Self> {
        Postgres::start().map(Self)
    }

    /// The same by a clock that the test steps.
    pub(crate) fn start_at(clock: &FakeClock) -> Option<Self> {
        Postgres::start_at(clock).map(Self)
    }

    /// The same, with TLS.
    pub(crate) fn start_with_tls(certificates: &Certificates) -> Option<Self> {
        Postgres::start_with_tls(certificates).map(Self)
    }

    /// A new database.
    pub(crate) async fn database(&self) -> Config {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let client = connect(&at("postgres", self.port())).await;
        let create = format!("CREATE DATABASE {name}");
        // Fails while another test copies the template.
        let created = async { while client.batch_execute(&create).await.is_err() {} };
        tokio::time::timeout(PATIENCE, created).await.expect("a new database");
        at(&name, self.port())
    }

    /// A store over a new database with the functions installed, and the database.
    pub(crate) async fn store(&self) -> (PostgresStore, Config) {
        let config = self.database().await;
        let store = PostgresStore::connect(config.clone(), 16).with_deadline(PATIENCE);
        store.install().await.expect("installed");
        (store, config)
    }
}

impl Deref for Server {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.0
    }
}

pub(crate) fn at(database: &str, port: u16) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").dbname(database);
    config.connect_timeout(Duration::from_secs(30));
    config
}

/// The same database by another port: through a proxy, or a pooler.
pub(crate) fn through(config: &Config, port: u16) -> Config {
    at(config.get_dbname().expect("a database"), port)
}

/// A connection of a test.
pub(crate) async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Waits until a session of the client's database waits for a lock, or until none does. The client must be outside of a transaction, in which it would
/// see the same sessions throughout.
pub(crate) async fn until_a_session_waits(client: &Client, is_waiting: bool) {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waits = async || client.query_one(count, &[]).await.expect("a count").get::<_, i64>(0) > 0;
    let until = async { while waits().await != is_waiting {} };
    tokio::time::timeout(PATIENCE, until).await.expect("a change");
}

/// Polls a call until its session waits for a lock, and drops it then.
pub(crate) async fn drop_once_it_waits<T: core::fmt::Debug>(client: &Client, call: impl Future<Output = T>) {
    tokio::select! {
        answer = call => panic!("it did not wait: {answer:?}"),
        () = until_a_session_waits(client, true) => {}
    }
}
