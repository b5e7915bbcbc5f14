//! A cluster of three: one slot for each subject, typed errors for several, slots that move, a shard that dies.

use crate::support::{PATIENT, bucket, first_answer, runtime, until_connected};
use ratelimit_meter_redis::RedisClusterStore;
use ratelimit_meter_store::{Ask, AsyncStore, SharedMeter, StoreError, Verb};
use ratelimit_meter_store_check::server::{Server, wait_for};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const SLOTS: u16 = 16384;

/// The settings of a node. No test waits until nodes find out that another has failed, and a loaded machine may hold a node up for seconds.
const NODE: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "600000",
    "--cluster-require-full-coverage",
    "no",
    "--repl-diskless-sync-delay",
    "0",
];

/// A cluster of one node, which has all slots.
fn whole_cluster(node: Server) -> Server {
    let slots: Vec<_> = (0..SLOTS).map(|slot| slot.to_string()).collect();
    let mut words = vec!["CLUSTER", "ADDSLOTS"];
    words.extend(slots.iter().map(String::as_str));
    assert_eq!(node.command(&words).unwrap(), "+OK\r\n");
    assert!(wait_for(|| {
        let info = node.command(&["CLUSTER", "INFO"]).unwrap_or_default();
        info.contains("cluster_state:ok")
    }));
    node
}

/// Three masters, a third of the slots each.
fn start() -> Option<Vec<Server>> {
    let mut nodes = Vec::new();
    for i in 0..3 {
        let node = node(i + 1)?;
        let slots: Vec<_> = (0..SLOTS)
            .filter(|slot| slot / (SLOTS / 3 + 1) == i)
            .map(|slot| slot.to_string())
            .collect();
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        assert_eq!(node.command(&words).unwrap(), "+OK\r\n");
        nodes.push(node);
    }
    join(&nodes.iter().collect::<Vec<_>>());
    let whole = |node: &Server| {
        let info = node.command(&["CLUSTER", "INFO"]).unwrap_or_default();
        info.contains("cluster_state:ok")
            && info.contains("cluster_slots_ok:16384")
            && info.contains("cluster_known_nodes:3")
    };
    assert!(wait_for(|| nodes.iter().all(whole)), "the cluster forms");
    Some(nodes)
}

/// A node with an epoch of its own: of nodes with one epoch, some would choose another epoch later.
fn node(epoch: u16) -> Option<Server> {
    let node = Server::start(&NODE)?;
    let set = node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]);
    assert_eq!(set.unwrap(), "+OK\r\n");
    Some(node)
}

/// Introduces nodes to each other, again if a meeting is lost.
fn join(nodes: &[&Server]) {
    let ids: Vec<_> = nodes.iter().map(|node| id(node)).collect();
    let all_met = || {
        let mut have_met = true;
        for (i, node) in nodes.iter().enumerate() {
            let known = node.command(&["CLUSTER", "NODES"]).unwrap();
            for (j, other) in nodes.iter().enumerate().filter(|&(j, _)| !known.contains(&ids[j])) {
                have_met = false;
                if j < i {
                    // Changes nothing while the two meet.
                    let port = other.port().to_string();
                    node.command(&["CLUSTER", "MEET", "127.0.0.1", &port]).unwrap();
                }
            }
        }
        have_met
    };
    assert!(wait_for(all_met), "the nodes meet");
}

/// The name by which the nodes of a cluster know a node.
fn id(node: &Server) -> String {
    let reply = node.command(&["CLUSTER", "MYID"]).unwrap();
    reply.lines().nth(1).unwrap().to_owned()
}

fn store(nodes: &[Server]) -> RedisClusterStore {
    RedisClusterStore::open(nodes.iter().map(Server::url)).unwrap()
}

#[test]
fn limits_of_a_subject_share_a_slot() {
    let Some(nodes) = start() else { return };
    runtime().block_on(async {
        let store = Arc::new(store(&nodes));
        until_connected(&*store).await;
        let (ten, _) = bucket("10/d");
        let (three, _) = bucket("3/d");
        // The script is loaded on each shard by the first call there.
        let mut admitted = 0;
        for user in 0..60 {
            let key = format!("rlm:{{user{user}}}");
            for _ in 0..12 {
                let reply = store
                    .decide(
                        Verb::Check,
                        None,
                        &[Ask {
                            key: &key,
                            limit: &ten,
                            n: 1,
                        }],
                    )
                    .await
                    .unwrap();
                admitted += reply.cells.unwrap();
            }
        }
        assert_eq!(admitted, 600);
        let pair = |second| {
            [
                Ask {
                    key: "rlm:{a}:0",
                    limit: &ten,
                    n: 1,
                },
                Ask {
                    key: second,
                    limit: &three,
                    n: 1,
                },
            ]
        };
        let mut pairs = 0;
        for _ in 0..5 {
            pairs += store
                .decide(Verb::Check, None, &pair("rlm:{a}:1"))
                .await
                .unwrap()
                .cells
                .unwrap();
        }
        assert_eq!(pairs, 3);
        // Regression 3.
        assert_eq!(
            store.decide(Verb::Check, None, &pair("rlm:{b}:1")).await.unwrap_err(),
            StoreError::NotOneSlot
        );
        assert!(
            nodes
                .iter()
                .filter(|node| node.info("number_of_cached_scripts").is_some_and(|scripts| scripts > 0))
                .count()
                == 3
        );
    });
}

#[test]
fn meters_of_different_slots_cannot_decide_together() {
    let Some(nodes) = start() else { return };
    runtime().block_on(async {
        let build = |name: &str, slot: Option<&str>| {
            let builder = SharedMeter::builder(name, "5/d".parse().unwrap()).deadline(PATIENT);
            let builder = if let Some(slot) = slot {
                builder.in_slot(slot)
            } else {
                builder
            };
            builder
                .on_failure(ratelimit_meter_store::OnFailure::Allow)
                .build(store(&nodes))
                .unwrap()
        };
        let (tenant, user) = (build("tenant", None), build("user", None));
        // An error also where failures are allowed: it would never limit anything.
        assert_eq!(
            tenant.check_with("t7", &[(&user, "alice")]).await.unwrap_err(),
            StoreError::NotOneSlot
        );
        let (tenant, user) = (build("tenant", Some("t7")), build("user", Some("t7")));
        assert!(
            tenant
                .check_with("t7", &[(&user, "alice")])
                .await
                .unwrap()
                .is_admitted()
        );
    });
}

#[test]
fn slot_that_moves_keeps_its_limits() {
    let Some(nodes) = start() else { return };
    runtime().block_on(async {
        let store = store(&nodes);
        until_connected(&store).await;
        let (limit, _) = bucket("10/d");
        let (moved, fresh) = ("m:{user1}:0", "m:{user1}:1");
        let check = async |key: &str| {
            store
                .decide(
                    Verb::Check,
                    None,
                    &[Ask {
                        key,
                        limit: &limit,
                        n: 1,
                    }],
                )
                .await
                .map(|reply| reply.cells.unwrap())
        };
        for _ in 0..4 {
            assert_eq!(check(moved).await, Ok(1));
        }
        let slot = nodes[0]
            .command(&["CLUSTER", "KEYSLOT", moved])
            .unwrap()
            .trim_start_matches(':')
            .trim()
            .to_owned();
        let from = nodes
            .iter()
            .position(|node| node.command(&["EXISTS", moved]).unwrap() == ":1\r\n")
            .unwrap();
        let (from, to) = (&nodes[from], &nodes[(from + 1) % 3]);
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)])
            .unwrap();
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)])
            .unwrap();
        assert_eq!(check(moved).await, Ok(1), "still where it was");
        let port = to.port().to_string();
        assert_eq!(
            from.command(&["MIGRATE", "127.0.0.1", &port, moved, "0", "60000"])
                .unwrap(),
            "+OK\r\n"
        );
        assert_eq!(check(moved).await, Ok(1), "ASK is followed");
        assert_eq!(check(fresh).await, Ok(1), "a new key is made where the slot goes");
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(to)]).unwrap();
        }
        for left in [1, 1, 1, 1, 0, 0] {
            assert_eq!(check(moved).await, Ok(left), "MOVED is followed");
        }
    });
}

#[test]
fn documented_rights_suffice_in_a_cluster() {
    let Some(node) = Server::start(&NODE) else { return };
    let node = whole_cluster(node);
    let user = |name: &str, rights: &[&str]| {
        let command = [&["ACL", "SETUSER", name, "on", ">secret", "-@all", "~api*"], rights].concat();
        assert_eq!(node.command(&command).unwrap(), "+OK\r\n");
        let url = node.url().replace("redis://", &format!("redis://{name}:secret@"));
        let meter = SharedMeter::builder("api", "2/d".parse().unwrap()).deadline(PATIENT);
        meter.build(RedisClusterStore::open([url]).unwrap()).unwrap()
    };
    let scripts = ["+evalsha", "+eval", "+get", "+set", "+del", "+time"];
    let app = user("app", &[&scripts[..], &["+cluster|slots", "+asking"]].concat());
    let lesser = user("lesser", &scripts);
    runtime().block_on(async {
        for admitted in [true, true, false] {
            assert_eq!(app.check("alice").await.unwrap().is_admitted(), admitted);
        }
        let error = lesser.check("alice").await.unwrap_err();
        assert_eq!(error.name(), "refused", "{error}");
        assert!(error.to_string().contains("+cluster"), "{error}");
    });
}

#[test]
fn dead_shard_fails_its_own_subjects_only() {
    let Some(mut nodes) = start() else { return };
    runtime().block_on(async {
        let meter = SharedMeter::builder("api", "1000/d".parse().unwrap())
            .deadline(PATIENT)
            .remember_denials(Duration::ZERO)
            .build(store(&nodes))
            .unwrap();
        for user in 0..30 {
            assert!(meter.check(&user.to_string()).await.unwrap().is_admitted());
        }
        nodes[1].kill();
        let (mut well, mut failed) = (0, 0);
        for user in 0..30 {
            match meter.check(&user.to_string()).await {
                Ok(verdict) => well += usize::from(verdict.is_admitted()),
                Err(_) => failed += 1,
            }
        }
        assert!(well >= 10 && failed >= 1, "{well} admitted, {failed} failed");
    });
}

/// A store, its runtime, the master that has the key of its subject, and a replica of that master.
fn replicated<'a>(
    nodes: &'a [Server],
    quota: &str,
    deadline: Duration,
) -> Option<(SharedMeter<RedisClusterStore>, Runtime, &'a Server, Server)> {
    let replica = node(4)?;
    let meter = SharedMeter::builder("api", quota.parse().unwrap()).deadline(deadline);
    let meter = meter.build(store(nodes)).unwrap();
    let runtime = runtime();
    assert!(wait_for(|| runtime.block_on(meter.check("k")).is_ok()));
    let holds_the_key = |node: &&Server| node.command(&["EXISTS", "api:{k}:0"]).unwrap() == ":1\r\n";
    let master = nodes.iter().find(holds_the_key).unwrap();
    join(&nodes.iter().chain([&replica]).collect::<Vec<_>>());
    let id = id(master);
    assert!(wait_for(
        || replica.command(&["CLUSTER", "REPLICATE", &id]).unwrap() == "+OK\r\n"
    ));
    let is_up = || {
        let info = replica.command(&["INFO", "replication"]).unwrap();
        info.contains("master_link_status:up")
    };
    assert!(wait_for(is_up));
    // Other nodes follow only a replica that they know.
    let replica_id = self::id(&replica);
    let knows = |node: &Server| {
        let known = node.command(&["CLUSTER", "NODES"]).unwrap();
        let mut lines = known.lines();
        lines.any(|line| line.starts_with(&replica_id) && line.contains(&format!("slave {id} ")))
    };
    assert!(wait_for(|| nodes.iter().all(knows)));
    Some((meter, runtime, master, replica))
}

/// A node that vanishes keeps its connections open, and its replica takes over: the store follows, although no connection was lost.
#[test]
fn store_follows_a_slot_from_a_vanished_node() {
    let Some(nodes) = start() else { return };
    let Some((meter, runtime, vanishing, replica)) = replicated(&nodes, "1000000/d", Duration::from_millis(100)) else {
        return;
    };
    let ask = || runtime.block_on(meter.check("k"));
    vanishing.signal("-STOP");
    assert!(ask().unwrap_err().is_indeterminate());
    let taken = replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    assert_eq!(taken.unwrap(), "+OK\r\n");
    assert!(wait_for(|| ask().is_ok()));
    vanishing.signal("-CONT");
}

/// After a planned failover the earlier master answers reads, as a replica, over the same connection. The replica takes over without votes: a new
/// cluster may deny them, and a failover that was denied is not tried again.
#[test]
fn store_follows_a_planned_failover() {
    let Some(nodes) = start() else { return };
    let Some((meter, runtime, master, replica)) = replicated(&nodes, "1000/d", PATIENT) else {
        return;
    };
    assert_eq!(
        replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]).unwrap(),
        "+OK\r\n"
    );
    assert!(wait_for(|| {
        let info = master.command(&["INFO", "replication"]).unwrap();
        info.contains("role:slave")
    }));
    assert!(wait_for(|| runtime.block_on(meter.check("k")).is_ok()));
    for _ in 0..20 {
        assert!(runtime.block_on(meter.check("k")).unwrap().is_admitted());
    }
}

/// A connection ends with the runtime of its first call; calls of the next runtime make another.
#[test]
fn store_outlives_the_runtime_of_its_first_call() {
    let Some(nodes) = start() else { return };
    let store = store(&nodes);
    for _ in 0..3 {
        runtime().block_on(first_answer(&store)).expect("an answer");
    }
}
