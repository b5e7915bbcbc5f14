//! Users, protocols, databases and keys that differ from the usual.

#[cfg(feature = "tls")]
use crate::support::until_connected;
use crate::support::{OnRuntime, PATIENT, bucket, connected, runtime};
use ratelimit_meter_redis::{RedisBlockingStore, RedisStore};
use ratelimit_meter_store::{Ask, BlockingStore, SharedMeter, StoreError, Verb};
#[cfg(feature = "tls")]
use ratelimit_meter_store_check::certificates::Certificates;
use ratelimit_meter_store_check::server::{Server, keepalives, wait_for};

async fn meter(url: &str, name: &str) -> SharedMeter<RedisStore> {
    SharedMeter::builder(name, "2/d".parse().unwrap())
        .deadline(PATIENT)
        .build(connected(url).await)
        .unwrap()
}

/// Two cells conform, the third does not, until they are given back.
async fn holds(meter: &SharedMeter<RedisStore>, subject: &str) {
    for admitted in [true, true, false] {
        let verdict = meter.check(subject).await.unwrap();
        assert_eq!(verdict.is_admitted(), admitted, "{subject:?}");
    }
    meter.refund(subject, 1).await.unwrap();
    assert!(meter.check(subject).await.unwrap().is_admitted(), "{subject:?}");
    meter.reset(subject).await.unwrap();
    assert!(meter.check_n(subject, 2).await.unwrap().is_admitted(), "{subject:?}");
}

#[test]
fn documented_rights_suffice_and_lesser_are_errors() {
    let Some(server) = Server::start(&[]) else { return };
    let user = |name: &str, rights: &[&str]| {
        let command = [&["ACL", "SETUSER", name, "on", ">secret", "-@all"], rights].concat();
        assert_eq!(server.command(&command).unwrap(), "+OK\r\n");
        format!("redis://{name}:secret@127.0.0.1:{}/", server.port())
    };
    let documented = ["+evalsha", "+eval", "+get", "+set", "+del", "+time", "~api*"];
    let app = user("app", &documented);
    let reader = user("reader", &["+get", "~api*"]);
    runtime().block_on(async {
        let limit = meter(&app, "api").await;
        holds(&limit, "alice").await;
        let flushed = server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(flushed.unwrap(), "+OK\r\n");
        holds(&limit, "bob").await;
        let average = SharedMeter::average_builder("api", "2/d".parse().unwrap()).deadline(PATIENT);
        let average = average.build(connected(&app).await).unwrap();
        assert!(average.check("average").await.unwrap().is_admitted());
        for (url, name) in [(&app, "other"), (&reader, "api")] {
            let answer = meter(url, name).await.check("alice").await;
            let is_refused = |message: &String| message.contains("permission") || message.contains("NOPERM");
            assert!(
                matches!(&answer, Err(StoreError::Refused(message)) if is_refused(message)),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn resp3_gives_the_same_decisions() {
    let Some(server) = Server::start(&[]) else { return };
    runtime().block_on(async {
        let url = format!("redis://127.0.0.1:{}/?protocol=resp3", server.port());
        holds(&meter(&url, "api").await, "alice").await;
        let quota = "10/d".parse().unwrap();
        let average = SharedMeter::strict_average_builder("average", quota).deadline(PATIENT);
        let average = average.build(connected(&url).await).unwrap();
        let mut admitted = 0;
        while average.check("alice").await.unwrap().is_admitted() {
            admitted += 1;
        }
        assert_eq!(admitted, 10);
    });
}

/// A firewall that forgets idle connections and drops their packets would fail the calls of a rarely used store.
#[test]
fn idle_connections_are_kept_alive() {
    let Some(server) = Server::start(&[]) else { return };
    let (limit, _) = bucket("10/d");
    let asks = [Ask {
        key: "k",
        limit: &limit,
        n: 1,
    }];
    let (several, blocking) = (
        OnRuntime::new(&server.url()),
        RedisBlockingStore::open(&server.url(), PATIENT).unwrap(),
    );
    let stores: [&dyn BlockingStore; 2] = [&several, &blocking];
    for store in stores {
        store.decide(Verb::Check, None, &asks).unwrap();
    }
    // Another timer is set until the last answer is acknowledged.
    let are_kept = || keepalives(server.port()).is_none_or(|all| all.len() == 2 && all.iter().all(|&s| s <= 30));
    assert!(wait_for(are_kept), "{:?}", keepalives(server.port()));
}

#[test]
fn databases_of_one_server_have_separate_limits() {
    let Some(server) = Server::start(&[]) else { return };
    runtime().block_on(async {
        for database in [0, 3] {
            let url = format!("redis://127.0.0.1:{}/{database}", server.port());
            holds(&meter(&url, "api").await, "alice").await;
        }
    });
    let keyspace = server.command(&["INFO", "keyspace"]).unwrap();
    assert!(
        keyspace.contains("db0:keys=1,expires=1") && keyspace.contains("db3:keys=1,expires=1"),
        "{keyspace}"
    );
}

#[test]
fn subjects_of_any_bytes_have_separate_limits() {
    let Some(server) = Server::start(&[]) else { return };
    let long = "k".repeat(1 << 20);
    let subjects = [
        "",
        " ",
        "a\0b",
        "a\0c",
        "a\r\nb",
        "кошка",
        "{",
        "}",
        "{}",
        "{a}b",
        "a{b",
        "%s %.0f",
        "'\"\\",
        &long,
    ];
    runtime().block_on(async {
        let limit = meter(&server.url(), "api").await;
        for subject in subjects {
            holds(&limit, subject).await;
        }
    });
    let size = server.command(&["DBSIZE"]).unwrap();
    assert_eq!(size, format!(":{}\r\n", subjects.len()));
}

/// Without a provider of cryptography the client panics at its first connection.
#[cfg(feature = "tls")]
#[test]
fn tls_decides_and_rejects_an_unknown_certificate() {
    if std::env::var_os("METER_TEST_REDIS").is_some() {
        return println!("skipped: the named server may lack TLS");
    }
    // A server that listens on no port exits at once.
    let probe = std::process::Command::new("redis-server")
        .args(["--port", "0", "--tls-port", "0"])
        .output();
    if probe.is_ok_and(|probe| String::from_utf8_lossy(&probe.stderr).contains("Bad directive")) {
        return ratelimit_meter_store_check::skipped("redis-server with TLS");
    }
    let Some(certificates) = Certificates::new() else {
        return;
    };
    let port = ratelimit_meter_store_check::server::free_port();
    let path = |name: &str| certificates.path(name).to_string_lossy().into_owned();
    let Some(_server) = Server::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.pem"),
        "--tls-key-file",
        &path("key.pem"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]) else {
        return;
    };
    let url = format!("rediss://127.0.0.1:{port}/");
    let root_cert = Some(std::fs::read(certificates.path("ca.pem")).expect("a certificate"));
    let authority = redis::TlsCertificates {
        client_tls: None,
        root_cert,
    };
    let client = redis::Client::build_with_tls(url.as_str(), authority).unwrap();
    let store = RedisStore::new(client);
    let known = SharedMeter::builder("api", "2/d".parse().unwrap()).deadline(PATIENT);
    let known = known.build(store.clone()).unwrap();
    runtime().block_on(async {
        until_connected(&store).await;
        holds(&known, "alice").await;
        // The system's authorities did not sign this certificate.
        let answer = meter(&url, "api").await.check("alice").await;
        let is_of_certificate = |message: &String| message.contains("certificate");
        assert!(
            matches!(&answer, Err(StoreError::Unreachable(message)) if is_of_certificate(message)),
            "{answer:?}"
        );
    });
}
