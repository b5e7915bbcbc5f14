//! Many processes on one key: each reply equals the exact bucket's, in the order of the server's clock.

use crate::support::{PATIENT, bucket, connected, runtime};
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, Verb};
use ratelimit_meter_store_check::ExactBucket;
use ratelimit_meter_store_check::server::Server;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The process of [`processes_decide_exactly_while_scripts_are_flushed`]: prints `clock cells wait` for each call.
#[test]
#[ignore = "is run as a child by the test of all of them"]
fn child_process_prints_its_decisions() {
    let (Ok(url), Ok(quota), Ok(n)) = (std::env::var("URL"), std::env::var("QUOTA"), std::env::var("CELLS")) else {
        return;
    };
    let n: u32 = n.parse().unwrap();
    let (limit, _) = bucket(&quota);
    runtime().block_on(async {
        let store = Arc::new(connected(&url).await);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut lines = String::new();
                for _ in 0..150 {
                    let ask = Ask {
                        key: "many",
                        limit: &limit,
                        n: n.into(),
                    };
                    let reply = store.decide(Verb::Check, None, &[ask]).await.unwrap();
                    let wait = limit.until(reply.states[0], reply.clock, n).unwrap().as_micros();
                    lines += &format!("{} {} {wait}\n", reply.clock, reply.cells.unwrap());
                }
                lines
            });
        }
        println!();
        for lines in tasks.join_all().await {
            print!("{lines}");
        }
    });
}

#[test]
fn processes_decide_exactly_while_scripts_are_flushed() {
    const PROCESSES: usize = 4;
    let Some(server) = Server::start(&[]) else { return };
    for (quota, n) in [
        ("500/d", 1),
        ("1000/s burst 50", 1),
        ("999983/min burst 1000", 7),
        ("3/7ms", 1),
    ] {
        server.command(&["FLUSHALL"]).unwrap();
        let children: Vec<_> = (0..PROCESSES)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "many::child_process_prints_its_decisions",
                        "--ignored",
                        "--nocapture",
                        "--test-threads=1",
                    ])
                    .envs([
                        ("URL", server.url()),
                        ("QUOTA", quota.to_owned()),
                        ("CELLS", n.to_string()),
                    ])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let running = AtomicBool::new(true);
        let mut log: Vec<(u64, u64, u64)> = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while running.load(Ordering::Relaxed) {
                    server.command(&["SCRIPT", "FLUSH"]).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            for child in children {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success());
                let text = String::from_utf8(output.stdout).unwrap();
                let numbers = |line: &str| {
                    let mut numbers = line.split(' ').map(str::parse);
                    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
                };
                log.extend(text.lines().filter_map(numbers));
            }
            running.store(false, Ordering::Relaxed);
        });
        assert_eq!(log.len(), PROCESSES * 600, "{quota}");
        // At one microsecond admissions come first: a denial changes nothing.
        log.sort_unstable_by_key(|&(clock, cells, _)| (clock, std::cmp::Reverse(cells)));
        let (_, units) = bucket(quota);
        let mut oracle = ExactBucket::of(units.quota(), &units);
        let mut admitted = 0;
        for &(clock, cells, wait) in &log {
            let conforms = oracle.conforms(n, clock);
            assert_eq!(cells, if conforms { n } else { 0 }, "{quota} at {clock}");
            if conforms {
                oracle.add(n, clock);
                admitted += n;
            } else {
                assert_eq!(oracle.due(n) - clock, wait, "{quota} at {clock}");
            }
        }
        if quota == "500/d" {
            assert_eq!(admitted, 500);
        }
        println!("{quota}: {admitted} cells in {} calls", log.len());
    }
}

/// First calls of one key at once are counted one by one.
#[test]
fn first_calls_of_a_key_do_not_collide() {
    let Some(server) = Server::start(&[]) else { return };
    let store = ratelimit_meter_redis::RedisBlockingStore::open(&server.url(), PATIENT).unwrap();
    let (limit, _) = bucket("5/d");
    for key in 0..50 {
        let key = format!("first {key}");
        let admitted: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let ask = Ask {
                        key: &key,
                        limit: &limit,
                        n: 1,
                    };
                    let store = &store;
                    scope.spawn(move || {
                        BlockingStore::decide(store, Verb::Check, None, &[ask])
                            .unwrap()
                            .cells
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 5);
    }
}
