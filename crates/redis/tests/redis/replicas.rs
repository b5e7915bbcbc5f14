//! Replicas that take over: their state, and the losses.

use crate::faults::{check, check_again, remaining};
use crate::support::{OnRuntime, PATIENT, bucket};
use ratelimit_meter_redis::RedisBlockingStore;
use ratelimit_meter_store::StoreError;
use ratelimit_meter_store_check::proxy::{Proxy, Replies};
use ratelimit_meter_store_check::server::{Server, wait_for};

/// Makes `replica` follow the server on a port, and waits until it has all of it.
fn follow(replica: &Server, port: u16) {
    let replicaof = replica.command(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
    assert_eq!(replicaof.unwrap(), "+OK\r\n");
    assert!(wait_for(|| replica
        .command(&["INFO", "replication"])
        .is_ok_and(|info| info.contains("master_link_status:up"))));
}

/// A replica that takes over lacks the admissions of its lag: at most these cells are admitted again.
#[test]
fn failover_to_a_replica_loses_lagging_writes() {
    const KNOWN: u32 = 200;
    const LAGGED: u32 = 50;
    let Some(mut primary) = Server::start(&["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let Some(replica) = Server::start(&[]) else { return };
    // The replica lags once the proxy drops the primary's data.
    let link = Proxy::to(primary.port());
    follow(&replica, link.port());
    let (limit, _) = bucket("1000/d");
    let store = OnRuntime::new(&primary.url());
    for _ in 0..KNOWN {
        assert_eq!(check(&store, "k", &limit, 1), Ok(1));
    }
    // Regression 16: the replica has the effect and the expiry, and decided nothing.
    let value = primary.command(&["GET", "k"]).unwrap();
    assert!(wait_for(|| replica
        .command(&["GET", "k"])
        .is_ok_and(|copy| copy == value)));
    assert_eq!(
        primary.command(&["PEXPIRETIME", "k"]).unwrap(),
        replica.command(&["PEXPIRETIME", "k"]).unwrap()
    );
    link.set(Replies::Lose);
    for _ in 0..LAGGED {
        assert_eq!(check(&store, "k", &limit, 1), Ok(1));
    }
    assert_eq!(replica.command(&["GET", "k"]).unwrap(), value);
    // A replica rejects writes: nothing was counted, and the limiter does not admit.
    let on_replica = OnRuntime::new(&replica.url());
    let answer = check(&on_replica, "k", &limit, 1);
    assert!(matches!(answer, Err(StoreError::Unreachable(_))), "{answer:?}");
    primary.kill();
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]).unwrap(), "+OK\r\n");
    assert_eq!(check_again(&on_replica, "k", &limit), 1);
    // All that the replica knew is owed; the cells of the lag are not, and no more. A cell drains in 86 s.
    let left = remaining(&on_replica, "k", &limit);
    let owed = 1000 - KNOWN - 1;
    assert!((owed..owed + 5).contains(&left), "{left} remain, not {owed}");
}

/// The name of the primary moves to the replica, and the old primary becomes a replica: the store connects again.
#[test]
fn demoted_primary_is_left() {
    let Some(old) = Server::start(&[]) else { return };
    let Some(new) = Server::start(&["--repl-diskless-sync-delay", "0"]) else {
        return;
    };
    let proxy = Proxy::to(old.port());
    let (limit, _) = bucket("10/d");
    let store = OnRuntime::new(&proxy.url());
    let client = redis::Client::open(proxy.url()).unwrap();
    let blocking = RedisBlockingStore::new(client, PATIENT);
    assert_eq!(check(&store, "k", &limit, 1), Ok(1));
    assert_eq!(check(&blocking, "k", &limit, 1), Ok(1));
    proxy.move_to(new.port());
    follow(&old, new.port());
    let mut answer = check(&store, "k", &limit, 1);
    // Connecting takes long on a loaded machine.
    while matches!(&answer, Err(error) if error.to_string().contains("no answer")) {
        answer = check(&store, "k", &limit, 1);
    }
    assert_eq!(answer, Ok(1), "on the new primary");
    assert!(matches!(
        check(&blocking, "k", &limit, 1),
        Err(StoreError::Unreachable(_))
    ));
    assert_eq!(check(&blocking, "k", &limit, 1), Ok(1));
    assert_eq!(remaining(&store, "k", &limit), 8);
}
