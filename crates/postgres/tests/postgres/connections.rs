//! Connections with TLS and with passwords, and the errors of a server that does not take a connection or a call.

use crate::laws::bucket;
use crate::server::{Server, at, connect, drop_once_it_waits, through, until_a_session_waits};
use ratelimit_meter_postgres::{BlockingPostgresStore, PostgresStore};
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, StoreError, Verb};
use ratelimit_meter_store_check::certificates::Certificates;
use ratelimit_meter_store_check::proxy::Proxy;
use ratelimit_meter_store_check::server::{keepalives, wait_for};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connector that trusts the authority, or none.
fn tls(authority: Option<&Certificates>) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    if let Some(certificates) = authority {
        let certificate = CertificateDer::from_pem_file(certificates.path("ca.pem")).expect("a certificate");
        roots.add(certificate).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

/// A store of one connection.
fn store(config: &Config, tls: MakeRustlsConnect) -> PostgresStore {
    PostgresStore::connect_with_tls(config.clone(), tls, 1)
}

async fn connect_tls(config: &Config, tls: MakeRustlsConnect) -> Client {
    let (client, connection) = config.connect(tls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn check(store: &PostgresStore, key: &str) -> Result<bool, StoreError> {
    let limit = bucket("2/d");
    let ask = Ask {
        key,
        limit: &limit,
        n: 1,
    };
    Ok(store.decide(Verb::Check, None, &[ask]).await?.cells == Some(1))
}

/// Checks that a call fails with an error of this name, whose text contains `advice`. No cell was counted.
async fn fails(store: &PostgresStore, name: &str, advice: &str) {
    let error = check(store, "a").await.expect_err(advice);
    assert_eq!(error.name(), name, "{error}");
    assert!(error.to_string().contains(advice), "{error}");
    assert!(!error.is_indeterminate(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_decides_cancels_and_rejects_an_unknown_certificate() {
    let certificates = running!(Certificates::new());
    let server = running!(Server::start_with_tls(&certificates));
    let mut config = at("postgres", server.port());
    config.ssl_mode(SslMode::Require);
    let known = store(&config, tls(Some(&certificates)));
    known.install().await.expect("installed");
    for admitted in [true, true, false] {
        assert_eq!(check(&known, "a").await, Ok(admitted));
    }
    let blocking = BlockingPostgresStore::new(store(&config, tls(Some(&certificates)))).expect("a thread");
    let limit = bucket("2/d");
    let ask = Ask {
        key: "a",
        limit: &limit,
        n: 1,
    };
    let reply = blocking.decide(Verb::Check, None, &[ask]).expect("a reply");
    assert_eq!(reply.cells, Some(0), "the same limit");

    // A dropped call is cancelled, by a request with TLS.
    let holder = connect_tls(&config, tls(Some(&certificates))).await;
    assert_eq!(check(&known, "held").await, Ok(true));
    let hold = "BEGIN; SELECT FROM meter.bucket WHERE key = 'held' FOR UPDATE";
    holder.batch_execute(hold).await.expect("held");
    let watcher = connect_tls(&config, tls(Some(&certificates))).await;
    drop_once_it_waits(&watcher, check(&known, "held")).await;
    until_a_session_waits(&watcher, false).await;
    holder.batch_execute("ROLLBACK").await.expect("released");

    // Another user has a password, which is bound to the channel.
    let create = "SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA meter TO app; \
        GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA meter TO app";
    holder.batch_execute(create).await.expect("a role");
    let mut app = config.clone();
    app.user("app")
        .password("secret")
        .channel_binding(ChannelBinding::Require);
    assert_eq!(check(&store(&app, tls(Some(&certificates))), "app").await, Ok(true));
    let mut wrong = app.clone();
    wrong.password("wrong");
    fails(
        &store(&wrong, tls(Some(&certificates))),
        "refused",
        "check the user and the password",
    )
    .await;

    fails(&store(&config, tls(None)), "unreachable", "invalid peer certificate").await;
    config.ssl_mode(SslMode::Prefer);
    fails(&PostgresStore::connect(config, 1), "refused", "connect_with_tls").await;
    app.ssl_mode(SslMode::Require);
    fails(&PostgresStore::connect(app, 1), "unreachable", "TLS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_errors_are_typed_and_advise() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let of = |change: fn(&mut Config)| {
        let mut config = config.clone();
        change(&mut config);
        PostgresStore::connect(config, 1)
    };
    let client = connect(&config).await;
    client.batch_execute("CREATE ROLE lesser LOGIN").await.expect("a role");
    let lesser = |config: &mut Config| {
        config.user("lesser");
    };
    fails(&of(lesser), "refused", "USAGE on schema meter").await;
    let read_only = |config: &mut Config| {
        config.options("-c default_transaction_read_only=on");
    };
    fails(&of(read_only), "refused", "connect to the primary").await;
    let stranger = |config: &mut Config| {
        config.user("stranger");
    };
    fails(&of(stranger), "refused", "check the user").await;
    let elsewhere = |config: &mut Config| {
        config.dbname("elsewhere");
    };
    fails(&of(elsewhere), "refused", "create the database").await;
    let limit = format!(
        "ALTER DATABASE {} CONNECTION LIMIT 0",
        config.get_dbname().expect("a name")
    );
    client.batch_execute(&limit).await.expect("a limit");
    fails(&of(lesser), "unreachable", "lower the connections").await;
}

#[tokio::test]
async fn server_that_takes_no_writes_is_left() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    let database = config.get_dbname().expect("a database");
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    client.batch_execute(&read_only).await.expect("read-only");
    let one = PostgresStore::connect(config.clone(), 1);
    fails(&one, "refused", "connect to the primary").await;
    // Of the sessions to come, as after a failover.
    let writes = format!("ALTER DATABASE {database} RESET default_transaction_read_only");
    client.batch_execute(&writes).await.expect("not read-only");
    let answer = tokio::time::timeout(Duration::from_secs(60), async {
        while check(&one, "a").await.is_err() {}
    });
    answer.await.expect("another session");
}

/// Idle connections to a server that vanished are closed together, not each after a deadline of its own.
#[tokio::test]
async fn vanished_server_fails_few_calls() {
    const CONNECTIONS: usize = 16;
    const DEADLINE: Duration = Duration::from_millis(400);
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let proxy = Proxy::to(server.port());
    let store = PostgresStore::connect(through(&config, proxy.port()), CONNECTIONS);
    let mut lent = Vec::new();
    for _ in 0..CONNECTIONS {
        lent.push(store.pool().get().await.expect("a connection"));
    }
    drop(lent);
    assert_eq!(store.pool().status().available, CONNECTIONS);
    proxy.vanish();
    let hurried = store.clone().with_deadline(DEADLINE);
    let mut failed = 0;
    while store.pool().status().available > 0 {
        assert_eq!(check(&hurried, "a").await, Err(StoreError::TimedOut));
        failed += 1;
        assert!(failed < CONNECTIONS / 2, "each idle connection costs a deadline");
    }
    check(&store, "a").await.expect("a reply over a new connection");
}

/// A firewall that forgets idle connections and drops their packets would fail the calls of a rarely used store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_kept_alive() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let proxy = Proxy::to(server.port());
    let mut rare = through(&config, proxy.port());
    rare.keepalives_idle(Duration::from_secs(500));
    for (config, most) in [(through(&config, proxy.port()), 30), (rare, 500)] {
        let store = PostgresStore::connect(config, 1);
        let limit = bucket("10/d");
        let asks = [Ask {
            key: "a",
            limit: &limit,
            n: 1,
        }];
        store.decide(Verb::Check, None, &asks).await.expect("a decision");
        // Another timer is set until the last answer is acknowledged.
        let is_kept =
            || keepalives(proxy.port()).is_none_or(|all| matches!(all[..], [s] if s <= most && s + 20 > most));
        assert!(
            tokio::task::block_in_place(|| wait_for(is_kept)),
            "{:?}",
            keepalives(proxy.port())
        );
    }
}
