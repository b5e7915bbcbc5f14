//! Faults that users of other shared limiters reported, by number; each is a test here or at the listed place.
//!
//! | | reported | test |
//! |---|---|---|
//! | 1 | spring-cloud-gateway PR 2453: the TTL is 0 s, nothing is stored | `r01` |
//! | 2 | spring-cloud-gateway 1117, 4027: whole seconds | `r02` |
//! | 3 | spring-cloud-gateway 248: CROSSSLOT, and "allowed" | `cluster::limits_of_a_subject_share_a_slot`, `cluster::meters_of_different_slots_cannot_decide_together` |
//! | 4 | rate-limit-redis 251: EVALSHA sent again after a timeout | `faults::lost_replies_count_once` |
//! | 5 | PyrateLimiter 182: NOSCRIPT is an outage | `many::processes_decide_exactly_while_scripts_are_flushed` |
//! | 6 | limits 14: INCR without EXPIRE | `r06` |
//! | 7 | ratelimit-js 95: no TTL after an upgrade | `r07` |
//! | 8 | worldmonitor 8356: a timeout reads as success | `faults::stopped_server_costs_bounded_time`, and `failure` of the store crate |
//! | 9 | envoyproxy/ratelimit 978, 462: 10 s a call, memory grows | `faults::stopped_server_costs_bounded_time` |
//! | 10 | redis 1118, 3224: large numbers lose digits | `r10` |
//! | 11 | redis PR 13115: numbers become `1e9` | `r11` |
//! | 12 | python-redis-cache 45: microseconds without leading zeros | `r12` |
//! | 13 | redis_rate 110: a limit of zero is a script error | `r13` |
//! | 14 | redisson 3025: state that a script cannot unpack | `faults::foreign_values_are_errors_and_stay` |
//! | 15 | redis-cell 54, gubernator 37: a raised limit does not reach live keys | `r15` |
//! | 16 | redis-cell PR 31, 53: replicas decide again | `replicas::failover_to_a_replica_loses_lagging_writes` |
//! | 17 | bucket4j 404: 400 callers of one key time out | `faults::four_hundred_tasks_share_the_exact_burst` |
//! | 18 | bucket4j 501, 8: batches over-consume | `r18`, and `leases` of the store crate |
//! | 19 | limitador PR 288: cells counted during a partition are charged later | `r19` |
//! | 20 | llm-d-async 335: the TTL is not renewed, the key expires in use | `r20` |
//! | 21, 23 | deadlocks and a hot row | of PostgreSQL |
//! | 22 | rate-limit-postgresql 17: the first two calls collide | `many::first_calls_of_a_key_do_not_collide` |
//! | 24 | redis 6565: a full server | `faults::full_memory_follows_the_policy` |
//! | 25 | envoyproxy/ratelimit 185: denied calls count against a raised limit | `faults::denial_writes_nothing` |

use crate::support::{OnRuntime, PATIENT, bucket, connected, runtime};
use ratelimit_meter::Quota;
use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{
    Ask, Average, BlockingStore, LeaseSettings, OnFailure, Reply, SharedMeter, StoreError, StoreLimit, Verb, Via,
};
use ratelimit_meter_store_check::ExactBucket;
use ratelimit_meter_store_check::server::Server;
use std::time::Duration;

fn ask(store: &impl BlockingStore, verb: Verb, key: &str, limit: &StoreLimit, n: u64) -> Reply {
    store.decide(verb, None, &[Ask { key, limit, n }]).unwrap()
}

/// Calls in a row, each as the exact bucket decides at the server's time.
fn calls_in_a_row(store: &OnRuntime, quota: &str, calls: usize) -> u64 {
    let (limit, units) = bucket(quota);
    let (mut oracle, mut admitted, mut last) = (ExactBucket::of(units.quota(), &units), 0, 0);
    for _ in 0..calls {
        let reply = ask(store, Verb::Check, quota, &limit, 1);
        let clock = reply.clock.get();
        assert!(clock >= last, "{quota}: the clock of the replies goes back");
        last = clock;
        let conforms = oracle.conforms(1, clock);
        assert_eq!(reply.cells, Some(u64::from(conforms)), "{quota} at {clock}");
        if conforms {
            oracle.add(1, clock);
            admitted += 1;
        } else {
            let wait = limit.until(reply.states[0], reply.clock, 1).unwrap();
            assert_eq!(wait.as_micros(), u128::from(oracle.due(1) - clock));
        }
    }
    admitted
}

fn milliseconds_to_live(server: &Server, key: &str) -> u64 {
    let reply = server.command(&["PTTL", key]).unwrap();
    reply
        .trim_start_matches(':')
        .trim()
        .parse()
        .expect("the key has a time to live")
}

#[test]
fn r01_fast_rates_and_small_bursts_are_stored() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    for quota in [
        "1/3s burst 1",
        "2/s burst 1",
        "1000/s burst 1",
        "1000000/s burst 3",
        "4294967295/s burst 1",
    ] {
        calls_in_a_row(&store, quota, 100);
    }
    let (limit, _) = bucket("1/300s burst 1");
    assert_eq!(ask(&store, Verb::Check, "ttl", &limit, 1).cells, Some(1));
    assert!((200_000..=300_002).contains(&milliseconds_to_live(&server, "ttl")));
}

#[test]
fn r02_cells_come_back_within_a_second() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("10/s");
    ask(&store, Verb::Charge, "k", &limit, 10);
    let denied = ask(&store, Verb::Peek, "k", &limit, 1);
    let wait = limit.until(denied.states[0], denied.clock, 1).unwrap();
    assert!(wait <= Duration::from_millis(100));
    assert!(calls_in_a_row(&store, "50/s burst 1", 400) >= 1);
}

/// After each verb, for each kind of limit.
#[test]
fn r06_every_key_has_a_time_to_live() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let average = Average::of("10/d".parse().unwrap()).unwrap();
    let limits = [
        bucket("10/d").0,
        bucket("10/d every 1h").0,
        StoreLimit::Average(average),
        StoreLimit::Average(average.strict()),
    ];
    for (i, limit) in limits.iter().enumerate() {
        for verb in [
            Verb::Check,
            Verb::UpTo,
            Verb::Charge,
            Verb::Refund,
            Verb::Lease { at_most: 3 },
            Verb::Check,
            Verb::Reset,
        ] {
            let key = format!("ttl:{i}");
            ask(&store, verb, &key, limit, 5);
            let reply = server.command(&["PTTL", &key]).unwrap();
            assert_ne!(reply, ":-1\r\n", "{verb:?} of {limit:?}");
        }
        // By a caller's time too, and into a debt of years.
        let key = format!("debt:{i}");
        store
            .decide(
                Verb::Charge,
                None,
                &[Ask {
                    key: &key,
                    limit,
                    n: 100_000,
                }],
            )
            .unwrap();
        assert!(milliseconds_to_live(&server, &key) > 86_400_000);
    }
}

#[test]
fn r07_quota_change_keeps_the_time_to_live() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    for quota in ["10/d", "1/6s burst 100", "999983/d", "7/3s", "10/d"] {
        let (limit, _) = bucket(quota);
        // A debt of hours by each quota.
        ask(&store, Verb::Charge, "k", &limit, 100_000);
        milliseconds_to_live(&server, "k");
    }
}

#[test]
fn r10_sixteen_digit_times_and_levels_are_exact() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, units) = bucket("1/142d burst 365");
    let reply = ask(&store, Verb::Check, "k", &limit, 364);
    assert_eq!(reply.cells, Some(364));
    let level = 364 * units.cell();
    assert!(level > 4_000_000_000_000_000);
    let state = server.command(&["GET", "k"]).unwrap();
    assert!(
        state.contains(&format!("{} {level} {}", reply.clock, limit.scale())),
        "{state}"
    );
}

#[test]
fn r11_long_times_to_live_are_exact() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    for (quota, ms) in [
        ("1/30d burst 1", 2_592_000_000),
        ("1/36500d burst 1", 3_153_600_000_000),
    ] {
        let (limit, _) = bucket(quota);
        ask(&store, Verb::Check, quota, &limit, 1);
        assert!(
            (ms - 60_000..=ms + 2).contains(&milliseconds_to_live(&server, quota)),
            "{quota}"
        );
    }
}

/// 3000 calls pass many microseconds below 100,000; the clock never goes back, nor far forward.
#[test]
fn r12_microseconds_have_their_leading_zeros() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let (limit, _) = bucket("1000000/s");
    let (mut last, mut small) = (0, false);
    for _ in 0..200_000 {
        let clock = ask(&store, Verb::Check, "k", &limit, 1).clock.get();
        assert!(last == 0 || (last..last + 60_000_000).contains(&clock));
        small |= clock % 1_000_000 < 100_000;
        last = clock;
        if small {
            return;
        }
    }
    panic!("no call came in the first tenth of a second");
}

#[test]
fn r13_limit_of_zero_is_no_quota() {
    assert!("0/s".parse::<Quota>().is_err());
    assert!("10/s burst 0".parse::<Quota>().is_err());
}

#[test]
fn r15_raised_limit_reaches_live_keys() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    let [(old, _), (new, _)] = ["10/d", "20/d"].map(bucket);
    assert_eq!(ask(&store, Verb::Check, "k", &old, 10).cells, Some(10));
    assert_eq!(ask(&store, Verb::Check, "k", &new, 11).cells, Some(0), "ten are owed");
    assert_eq!(ask(&store, Verb::Check, "k", &new, 9).cells, Some(9));
    assert_eq!(
        ask(&store, Verb::Check, "k", &old, 1).cells,
        Some(0),
        "nineteen are owed"
    );
}

/// Processes that draw blocks together admit no more than the burst and the drain.
#[test]
fn r18_blocks_total_no_more_than_the_burst() {
    let Some(server) = Server::start(&[]) else { return };
    runtime().block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let meter = SharedMeter::builder("api", "10000/d burst 2000".parse().unwrap())
                .deadline(PATIENT)
                .lease(LeaseSettings::kept_for(Duration::from_secs(3600)).at_most(50))
                .build(connected(&server.url()).await)
                .unwrap();
            tasks.spawn(async move {
                let mut cells = (0, 0);
                for _ in 0..1000 {
                    let verdict = meter.check("a").await.unwrap();
                    if verdict.is_admitted() {
                        cells.0 += 1;
                        cells.1 += u32::from(verdict.via() == &Via::Lease);
                    }
                }
                meter.give_back().await.unwrap();
                cells
            });
        }
        let (admitted, leased) = tasks
            .join_all()
            .await
            .into_iter()
            .fold((0, 0), |sum, cells| (sum.0 + cells.0, sum.1 + cells.1));
        // In some minutes a few cells drain.
        assert!(
            (1500..=2050).contains(&admitted) && leased > 500,
            "{admitted} admitted, {leased} from blocks"
        );
    });
}

#[test]
fn r19_partition_charges_nothing_later() {
    let Some(server) = Server::start(&[]) else { return };
    runtime().block_on(async {
        let meter = SharedMeter::builder("api", "1000/d".parse().unwrap())
            .deadline(Duration::from_millis(100))
            .on_failure(OnFailure::Allow)
            .build(RedisStore::open(&server.url()).unwrap())
            .unwrap();
        // A call that timed out may have been counted, once.
        let (mut admitted, mut in_flight) = (0, 0);
        let mut check = async || {
            let verdict = meter.check("a").await.unwrap();
            in_flight += u32::from(verdict.via() == &Via::Failure(StoreError::TimedOut));
            !matches!(verdict.via(), Via::Failure(_))
        };
        while admitted == 0 {
            admitted += u32::from(check().await);
        }
        server.signal("-STOP");
        for _ in 0..500 {
            assert!(!check().await, "a stopped server decides nothing");
        }
        server.signal("-CONT");
        let remaining = loop {
            if let Ok(verdict) = meter.peek("a").await {
                break verdict.status().unwrap().remaining();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(in_flight < 100, "most of 500 calls were not sent");
        assert!(
            remaining >= 1000 - admitted - in_flight,
            "{remaining} remain, {in_flight} calls timed out"
        );
    });
}

/// A key in use for many times its time to live.
#[test]
fn r20_key_in_use_does_not_expire() {
    let Some(server) = Server::start(&[]) else { return };
    let store = OnRuntime::new(&server.url());
    // Idle after 2 ms; in use for hundreds of times that.
    let admitted = calls_in_a_row(&store, "1000/s burst 2", 3000);
    assert!(admitted > 2);
}
