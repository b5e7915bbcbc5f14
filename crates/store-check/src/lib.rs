//! Holds a store to the laws of [`ratelimit_meter_store`]: call [`check`] with any [`BlockingStore`].
//!
//! All times are the caller's, so that a trace is the same on every store and no check waits. A failed check panics with the
//! step that failed.

mod averages;
mod buckets;
pub mod certificates;
pub mod clock;
mod core;
mod oracle;
pub mod postgres;
pub mod proxy;
pub mod server;
mod several;
mod tables;

pub use oracle::ExactBucket;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use ratelimit_meter_store::{Ask, Average, BlockingStore, Micros, Reply, State, StoreError, StoreLimit, Units, Verb};

/// The number of steps to check, and the seed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Steps of random traces in all, about.
    pub steps: usize,
    /// The seed of the traces.
    pub seed: u64,
}

impl Plan {
    /// Reads the number of steps from `STORE_STEPS` (5000 unless set) and the seed from `PROPTEST_RNG_SEED` (random unless set), and prints both.
    #[must_use]
    pub fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let plan = Self {
            steps: number("STORE_STEPS")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(5000),
            seed: number("PROPTEST_RNG_SEED").unwrap_or_else(|| fastrand::u64(..)),
        };
        println!("STORE_STEPS={} PROPTEST_RNG_SEED={}", plan.steps, plan.seed);
        plan
    }
}

/// Checks everything: tables, traces of buckets, of several limits, of averages, and the same decisions as the core.
///
/// # Panics
///
/// At the first step that breaks a law.
pub fn check(store: &impl BlockingStore, plan: Plan) {
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    tables::check(store);
    buckets::traces(store, plan.steps / 2, &mut rng);
    several::all_or_nothing(store, plan.steps / 10, &mut rng);
    several::cancels(store, plan.steps / 10, &mut rng);
    several::other_quotas(store, plan.steps / 20, &mut rng);
    several::ticks_of_one_rate(store, &mut rng);
    averages::traces(store, plan.steps / 10, &mut rng);
    core::same_decisions(store, plan.steps / 10, &mut rng);
}

/// The first time of a trace: in 2001, so that callers' times are not near any clock.
const START: u64 = 1_000_000_000_000_000;

/// Reports that a test is skipped because `program` is not installed, once for each program in a process.
///
/// # Panics
///
/// If `CI` is `true`.
pub fn skipped(program: &str) {
    static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!is_ci, "no {program}, but CI=true");
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if reported.insert(program.to_owned()) {
        // Not by `println`, whose text the test harness hides if the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no {program}");
    }
}

fn bucket(quota: &str) -> (StoreLimit, Units) {
    let units = Units::of(quota.parse().expect("a quota")).expect("a quota that a store can keep");
    (StoreLimit::Bucket(units), units)
}

fn average(quota: &str) -> Average {
    Average::of(quota.parse().expect("a quota")).expect("a quota that an average can have")
}

fn micros(us: u64) -> Micros {
    Micros::new(us).expect("before 2112")
}

/// One key, one limit.
fn one(
    store: &impl BlockingStore,
    verb: Verb,
    now: u64,
    key: &str,
    limit: &StoreLimit,
    n: u64,
) -> Result<(Option<u64>, State), StoreError> {
    let ask = Ask { key, limit, n };
    let Reply { cells, clock, states } = store.decide(verb, Some(micros(now)), &[ask])?;
    assert_eq!(clock.get(), now, "{key}: {verb:?} is decided at the caller's time");
    assert_eq!(states.len(), 1);
    Ok((cells, states[0]))
}

/// A random multiple of one of the times, short ones likeliest.
fn some_time(rng: &mut fastrand::Rng, typical_us: &[f64]) -> u64 {
    let typical_us = typical_us[rng.usize(..typical_us.len())];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let us = (-(1.0 - rng.f64()).ln() * typical_us) as u64;
    us
}
