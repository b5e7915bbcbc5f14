//! The decisions of a store are those of the core.

use crate::{START, bucket, one, some_time};
use fastrand::Rng;
use ratelimit_meter::{Exponential, GCRA, MultiDecider, NegativeMultiDecision};
use ratelimit_meter_store::{BlockingStore, StoreLimit, Verb};
use std::time::{Duration, Instant};

/// Quotas that both keep exactly.
const QUOTAS: [&str; 8] = [
    "1/s",
    "100/min burst 20",
    "1/6s",
    "50/s",
    "10/s burst 1",
    "400000/min burst 100000 weight 2",
    "250000/d burst 1000",
    "17/3s burst 5",
];

const AVERAGES: [&str; 5] = ["10/min", "3/min", "100/min", "600/h", "5/s"];

pub(crate) fn same_decisions(store: &impl BlockingStore, steps: usize, rng: &mut Rng) {
    let steps = steps / (QUOTAS.len() + AVERAGES.len());
    for quota in QUOTAS {
        let (limit, units) = bucket(quota);
        let meter = GCRA::from_quota(units.quota()).expect("a quota");
        let per_cell_us = units.cell().div_ceil(units.drain());
        compare(store, quota, &limit, &meter, per_cell_us, steps, rng);
    }
    for quota in AVERAGES {
        let average = crate::average(quota);
        let meter = Exponential::from_quota(average.quota()).expect("a quota");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive time")]
        let per_cell_us = (average.period_us() * average.share()) as u64;
        compare(
            store,
            quota,
            &StoreLimit::Average(average),
            &meter,
            per_cell_us,
            steps,
            rng,
        );
    }
}

/// Both decide the same cells at the same whole microseconds; waits are those of the core, rounded up.
fn compare(
    store: &impl BlockingStore,
    quota: &str,
    limit: &StoreLimit,
    meter: &impl MultiDecider,
    per_cell_us: u64,
    steps: usize,
    rng: &mut Rng,
) {
    let (key, origin) = (format!("core:{}", rng.u64(..)), Instant::now());
    let top = limit.max_batch();
    let (mut now, mut due) = (0, None);
    for _ in 0..steps {
        match (rng.u8(..100), due) {
            (0..45, Some(due)) => now = now.max([due, due, due - 1, due + 1][rng.usize(..4)]),
            (45..85, _) => {
                #[expect(clippy::cast_precision_loss, reason = "any time will do")]
                let typical = [1.0, 1.0, 3.0, f64::from(top) / 2.0 + 1.0].map(|cells| cells * per_cell_us as f64);
                now += some_time(rng, &typical);
            }
            _ => {}
        }
        let n = [1, 1, 1, 2, top, top + 1, (top / 2).max(1)][rng.usize(..7)];
        let decision = meter.check_n_at(n, origin + Duration::from_micros(now));
        let (cells, state) = one(store, Verb::Check, START + now, &key, limit, n.into()).expect("a decision");
        let context = format!("{quota}: {n} at {now}: {decision:?} and {cells:?} {state:?}");
        if is_at_the_instant(limit, decision, cells, origin + Duration::from_micros(now), || {
            limit.until(state, crate::micros(START + now), n)
        }) {
            return; // from here on one has counted cells that the other has not
        }
        match decision {
            Ok(()) => assert_eq!(cells, Some(n.into()), "{context}"),
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => assert_eq!(cells, None, "{context}"),
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                assert_eq!(cells, Some(0), "{context}");
                let wait = limit.until(state, crate::micros(START + now), n).expect("one day");
                let core = denial.wait_time_from(origin + Duration::from_micros(now));
                assert!(
                    wait.as_nanos() + 2000 >= core.as_nanos() && wait.as_nanos() < core.as_nanos() + 2000,
                    "{context}"
                );
                due = Some(now + u64::try_from(wait.as_micros()).expect("before 2112"));
            }
        }
    }
}

/// Returns `true` if one of the two admits at `at`, and for the other the same cells of an average conform a microsecond later: their instants are doubles.
fn is_at_the_instant(
    limit: &StoreLimit,
    decision: Result<(), NegativeMultiDecision>,
    cells: Option<u64>,
    at: Instant,
    until: impl FnOnce() -> Option<Duration>,
) -> bool {
    const MICROSECOND: Duration = Duration::from_micros(1);
    match (limit, decision, cells) {
        (StoreLimit::Average(_), Ok(()), Some(0)) => until().is_some_and(|wait| wait <= MICROSECOND),
        (StoreLimit::Average(_), Err(NegativeMultiDecision::BatchNonConforming(_, denial)), Some(1..)) => {
            denial.wait_time_from(at) <= MICROSECOND
        }
        _ => false,
    }
}
