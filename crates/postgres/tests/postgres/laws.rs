//! The laws of all stores, and the same replies as the reference store's.

use crate::server::{Server, connect};
use fastrand::Rng;
use ratelimit_meter_postgres::{BlockingPostgresStore, PostgresStore};
use ratelimit_meter_store::{
    Ask, AsyncStore, Average, BlockingStore, Level, MemoryStore, Micros, Reply, StoreLimit, Units, Verb,
};
use ratelimit_meter_store_check::{Plan, check};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::{Client, Config};

#[test]
fn postgres_store_decides_like_the_exact_oracles() {
    let server = running!(Server::shared());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = runtime.block_on(server.database());
    let store = BlockingPostgresStore::new(PostgresStore::connect(config, 1)).expect("a thread");
    store.install().expect("installed");
    check(&store, Plan::from_env());
}

/// A database whose clock the test sets.
pub(crate) struct ClockedDatabase {
    client: Client,
    shared: Arc<AtomicU64>,
}

impl ClockedDatabase {
    /// Replaces the function that reads the clock; a sequence, since every connection sees it at once.
    pub(crate) async fn replace(config: &Config) -> Self {
        let client = connect(config).await;
        let replaced = client
            .batch_execute(
                "CREATE SEQUENCE public.test_clock MINVALUE 0;
                 CREATE OR REPLACE FUNCTION meter.clock() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT last_value FROM public.test_clock'",
            )
            .await;
        replaced.expect("a clock");
        Self {
            client,
            shared: Arc::default(),
        }
    }

    pub(crate) async fn set(&self, us: u64) {
        self.shared.store(us, Ordering::SeqCst);
        let set = format!("SELECT setval('public.test_clock', {us})");
        self.client.batch_execute(&set).await.expect("set");
    }

    /// The reference store by the same clock.
    pub(crate) fn memory(&self) -> MemoryStore {
        let shared = self.shared.clone();
        MemoryStore::with_clock(move || Micros::new(shared.load(Ordering::SeqCst)))
    }
}

pub(crate) fn bucket(quota: &str) -> StoreLimit {
    StoreLimit::Bucket(Units::of(quota.parse().expect("a quota")).expect("a quota that a store can keep"))
}

pub(crate) fn average(quota: &str) -> Average {
    Average::of(quota.parse().expect("a quota")).expect("a quota that an average can have")
}

fn some_time(rng: &mut Rng, typical_us: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let us = (-(1.0 - rng.f64()).ln() * typical_us) as u64;
    us
}

/// By the server's clock, forward and set back, with several limits on one key: the paths that no caller's time takes.
#[tokio::test]
async fn replies_by_the_servers_clock_equal_the_reference() {
    let server = running!(Server::shared());
    let (store, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let memory = clock.memory();
    let plan = Plan::from_env();
    let mut rng = Rng::with_seed(plan.seed);
    let sets: [(&[StoreLimit], f64); 8] = [
        (&[bucket("10/s burst 5")], 1e5),
        (&[bucket("100/min burst 20"), bucket("1000003/s burst 100")], 6e5),
        (&[bucket("999983/d burst 7"), bucket("7/3s burst 5")], 86e3),
        (&[bucket("997/s burst 9"), bucket("1009/s burst 9")], 4e3),
        (&[bucket("3/s burst 10 every 1s")], 5e5),
        (&[bucket("17/3s burst 5 every 700ms")], 2e5),
        (
            &[
                StoreLimit::Average(average("10/min")),
                StoreLimit::Average(average("100/30s weight 3")),
            ],
            6e6,
        ),
        (&[StoreLimit::Average(average("10/min").strict())], 6e6),
    ];
    // In the year 2109, where drained units are most.
    let mut now = 4_400_000_000_000_000;
    for (limits, typical_us) in sets {
        let key = format!("key{}", rng.u64(..));
        for _ in 0..plan.steps / sets.len() {
            match rng.u8(..100) {
                0..60 => now += some_time(&mut rng, typical_us),
                60..63 => now -= some_time(&mut rng, typical_us * 3.0),
                _ => {}
            }
            clock.set(now).await;
            let limit = &limits[rng.usize(..limits.len())];
            let top = limit.max_batch();
            let verb = match rng.u8(..100) {
                0..70 => Verb::Check,
                70..78 => Verb::Peek,
                78..86 => Verb::UpTo,
                86..90 => Verb::Lease { at_most: 4 },
                90..93 => Verb::Charge,
                93..96 => Verb::Refund,
                96..98 => Verb::Cancel {
                    drawn: Micros::new(now - some_time(&mut rng, typical_us)).expect("a time"),
                },
                _ => Verb::Reset,
            };
            let n = [1, 1, 1, 2, top, top + 1][rng.usize(..6)].into();
            let asks = [Ask { key: &key, limit, n }];
            let ours = store.decide(verb, None, &asks).await.expect("a reply");
            let reference = BlockingStore::decide(&memory, verb, None, &asks).expect("a reply");
            let context = format!("{:?}: {verb:?} {n} at {now}: {ours:?} for {reference:?}", limit.quota());
            same(&ours, &reference, &context);
        }
    }
}

fn same(ours: &Reply, reference: &Reply, context: &str) {
    assert_eq!(
        (ours.cells, ours.clock),
        (reference.cells, reference.clock),
        "{context}"
    );
    for (ours, reference) in ours.states.iter().zip(&reference.states) {
        assert_eq!(ours.time, reference.time, "{context}");
        match (ours.level, reference.level) {
            (Level::Share(ours), Level::Share(reference)) => {
                // The reference drops a debt worth less than a microsecond, and finds it again if the clock is set back soon after.
                assert!((ours - reference).abs() <= 1e-9 * reference + 4e-6, "{context}");
            }
            (ours, reference) => assert_eq!(ours, reference, "{context}"),
        }
    }
}
