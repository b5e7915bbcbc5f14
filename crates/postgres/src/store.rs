//! The async store over a pool of connections.

use crate::call::{Call, Statement};
use crate::connecting;
use crate::error::{self, Failure};
use crate::silence::{SILENCE, Silence};
use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use ratelimit_meter_store::{Ask, AsyncStore, Micros, Reply, StoreError, Verb};
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, NoTls, Row, Socket};

/// The number of tries of a transaction that lost a race.
const ATTEMPTS: u32 = 5;

/// The longest time of a sweep, and of a decision whose caller set no deadline. A server that is stopped, not gone, would be waited for without end.
const LONGEST: Duration = Duration::from_secs(10);

/// The time without traffic after which the system asks whether the server is there. Firewalls and address translators forget a connection after some
/// minutes without traffic. Some then drop its packets silently, so calls of a rarely used store would fail.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A store on PostgreSQL 13 or later: one statement for each decision, by the server's clock.
///
/// The functions must be [installed](Self::install) in the database. Statements have no name and no session state, so connections may go
/// through pgbouncer in transaction mode. [`with_prepared_statements`](Self::with_prepared_statements) gives them names, for direct connections. A clone
/// shares the pool.
///
/// A call is tried again only if it was rolled back, because it lost a race (SQLSTATE 40001 and 40P01) or met an upgrade (42703). It is never tried again after a timeout or a lost
/// connection. If a call is dropped before its reply, the server cancels it and its connection is closed: the cells may have been counted. If it is
/// dropped while it connects, a task connects for the next call.
///
/// Idle connections are closed if callers left two calls without an answer, sent a second or more apart, and nothing was answered in between. If the
/// server answers that it takes no writes, idle connections older than a second are closed. The next call connects again: the server's name may have
/// moved to another server.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool,
    deadline: Duration,
    is_prepared: bool,
    cancel: Cancel,
    silence: Arc<Silence>,
}

/// Sends a cancel request.
type Cancel = Arc<dyn Fn(CancelToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl PostgresStore {
    /// Returns a store over at most `connections` connections without TLS, each made when it is first needed. A decision takes
    /// 10 seconds at most unless [another deadline is set](Self::with_deadline).
    ///
    /// `config` is for instance the result of `str::parse` for `postgres://meter@127.0.0.1/limits`. Where sessions keep their settings (no pooler
    /// between), `options=-c lock_timeout=50ms -c statement_timeout=50ms` in it ends calls at the server as well. Unless it names another time
    /// (`keepalives_idle`), connections have TCP keepalive after 30 seconds.
    ///
    /// # Panics
    ///
    /// If `connections` is 0.
    #[must_use]
    pub fn connect(config: tokio_postgres::Config, connections: usize) -> Self {
        Self::connect_with_tls(config, NoTls, connections)
    }

    /// Returns the same with a TLS connector, for instance one of the crates `tokio-postgres-rustls` or `postgres-native-tls`. Without
    /// `sslmode=require` in `config`, a server that has no TLS is connected to without it.
    ///
    /// # Panics
    ///
    /// If `connections` is 0.
    #[must_use]
    pub fn connect_with_tls<T>(mut config: tokio_postgres::Config, tls: T, connections: usize) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
        T::Stream: Sync + Send,
        T::TlsConnect: Sync + Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        assert!(connections > 0, "a store needs at least one connection");
        if config.get_keepalives_idle() == tokio_postgres::Config::new().get_keepalives_idle() {
            config.keepalives_idle(KEEPALIVE);
        }
        let recycle = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, tls.clone(), recycle);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .build();
        Self {
            pool: pool.expect("a pool with a runtime is complete"),
            deadline: LONGEST,
            is_prepared: false,
            cancel: cancel_over(tls),
            silence: Arc::default(),
        }
    }

    /// Returns a store over a pool that was made elsewhere.
    ///
    /// Cancel requests are sent without TLS. If the pool's configuration requires TLS, no cancel request is sent: the statement of a dropped call ends by itself, or
    /// by the `statement_timeout` of its session.
    #[must_use]
    pub fn over(pool: Pool) -> Self {
        Self {
            pool,
            deadline: LONGEST,
            is_prepared: false,
            cancel: cancel_over(NoTls),
            silence: Arc::default(),
        }
    }

    /// Sets the time within which a decision returns, connecting included; one that takes longer fails with [`StoreError::TimedOut`]. Without it the
    /// time is 10 seconds.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Prepares each statement once for each connection, so that the server does not parse and plan it in each call. Without this setting it does.
    ///
    /// The first call on a connection takes two round trips. A session may lose its statements (`DISCARD ALL`, `DEALLOCATE ALL`), and an upgrade may
    /// change the result of a function. Then the call runs again without a name, since the server had not begun to run it. The next call prepares the
    /// statement again.
    ///
    /// **Not through pgbouncer** in transaction or statement mode, unless it is of version 1.21 or later and its `max_prepared_statements` is above 0.
    /// The same holds for any pooler that gives a session to several clients. There, another client's statement of the same name may run instead.
    #[must_use]
    pub fn with_prepared_statements(self) -> Self {
        Self {
            is_prepared: true,
            ..self
        }
    }

    /// Returns the pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Creates the schema `meter` and the function `check_rate_limit`, or upgrades their functions; the tables keep their rows.
    ///
    /// The upgrade is all or nothing. If several processes call it at once, they run one after the other. The deadline does not apply. The role needs
    /// CREATE on the database, or owns the schema `meter`; and CREATE on the first schema of its search path, which gets `check_rate_limit`. To upgrade,
    /// the role owns the functions and tables. [`SQL`](crate::SQL) is the text for a migration.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`] without a connection; [`StoreError::Refused`] with the server's message, such as a missing right.
    pub async fn install(&self) -> Result<(), StoreError> {
        let connection = self.pool.get().await.map_err(error::of_pool)?;
        let installed = connection.batch_execute(crate::SQL).await;
        installed.map_err(|error| error::of_install(&error))
    }

    /// Runs a statement to its row, again while it loses races, within the deadline of a decision.
    pub(crate) async fn run<T>(
        &self,
        statement: &Statement,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run_within(self.deadline, statement, read).await
    }

    /// Runs the statement of a sweep, which takes longer than a decision: it reads 256 pages.
    pub(crate) async fn run_sweep<T>(
        &self,
        statement: &Statement,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.run_within(LONGEST, statement, read).await
    }

    async fn run_within<T>(
        &self,
        deadline: Duration,
        statement: &Statement,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let attempts = async {
            let mut tried = 1;
            loop {
                match self.once(statement).await {
                    Ok(row) => return read(&row),
                    Err(Failure::Again(_)) if tried < ATTEMPTS => tried += 1,
                    Err(failure) => return Err(failure.into_error()),
                }
            }
        };
        let run = tokio::time::timeout(deadline, attempts).await;
        run.unwrap_or(Err(StoreError::TimedOut))
    }

    async fn once(&self, statement: &Statement) -> Result<Row, Failure> {
        let got = connecting::connection(&self.pool).await;
        let mut connection = Lent {
            object: Some(got.map_err(|error| Failure::Final(error::of_pool(error)))?),
            store: self,
            sent: Instant::now(),
        };
        let rows = match &connection.object {
            Some(object) => self.rows(object, statement).await,
            None => unreachable!("lent until the reply"),
        };
        // The reply is here: the connection goes back to the pool.
        drop(connection.object.take());
        self.silence.end(Instant::now());
        if rows.as_ref().is_err_and(error::takes_no_writes) {
            // It may be a replica now. A server that takes no writes is connected to once a second for each connection.
            self.pool.retain(|_, metrics| metrics.age() < SILENCE);
        }
        let rows = rows.map_err(|error| error::of_statement(&error))?;
        rows.into_iter()
            .next()
            .ok_or_else(|| Failure::Final(StoreError::Protocol("a reply without a row".into())))
    }

    async fn rows(&self, connection: &Object, statement: &Statement) -> Result<Vec<Row>, tokio_postgres::Error> {
        let params = statement.params();
        if !self.is_prepared {
            return connection.query_typed(statement.sql, &params).await;
        }
        let (values, types): (Vec<_>, Vec<_>) = params.iter().cloned().unzip();
        let named = async {
            let prepared = connection.prepare_typed_cached(statement.sql, &types).await?;
            connection.query(&prepared, &values).await
        };
        match named.await {
            // To prepare it here again could fail again: pgbouncer keeps a statement of the same text.
            Err(error) if error::must_prepare_again(&error) => {
                connection.statement_cache.remove(statement.sql, &types);
                connection.query_typed(statement.sql, &params).await
            }
            rows => rows,
        }
    }
}

/// A connection that waits for its reply. If it is dropped before, the statement is cancelled, and the connection is closed rather than
/// given to a call that would wait behind it.
struct Lent<'a> {
    object: Option<Object>,
    store: &'a PostgresStore,
    sent: Instant,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let cancel = (self.store.cancel)(object.cancel_token());
        // Out of the pool: the connection ends when its last statement does.
        drop(Object::take(object));
        if self.store.silence.has_lasted(self.sent) {
            self.store.pool.retain(|_, _| false);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Best effort: the server ends the statement anyway when it writes to a closed connection.
                let _ = tokio::time::timeout(Duration::from_secs(5), cancel).await;
            });
        }
    }
}

/// Best effort: a request that fails is not repeated.
fn cancel_over<T>(tls: T) -> Cancel
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Send,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    Arc::new(move |token| {
        let tls = tls.clone();
        Box::pin(async move {
            let _ = token.cancel_query(tls).await;
        })
    })
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("pool", &self.pool.status())
            .field("deadline", &self.deadline)
            .finish()
    }
}

impl AsyncStore for PostgresStore {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let call = Call::of(verb, at, asks);
        self.run(&call.statement, |row| call.reply(row)).await
    }
}
