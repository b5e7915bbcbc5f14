//! Random traces of one bucket: every verb, times in any order, each instant and the microsecond before.

use crate::oracle::ExactBucket;
use crate::{START, bucket, one, some_time};
use fastrand::Rng;
use ratelimit_meter_store::{BlockingStore, Level, StoreLimit, Units, Verb};

/// Quotas that are slow, fast, heavy, in ticks, exact and inexact.
const QUOTAS: [&str; 25] = [
    "1/s",
    "100/min burst 20",
    "1/6s",
    "50/s",
    "10/s burst 1",
    "400000/min burst 100000 weight 2",
    "3/s burst 10 every 1s",
    "999983/d",
    "1/7ms burst 3",
    "4294967295/s",
    "3/1ns burst 4000000000",
    "7/3ns",
    "1/36525d",
    "12345/h burst 99999 weight 7",
    "1000000007/d burst 4294967295",
    "1/142d burst 365",
    "600000001/s burst 17",
    "4294967291/7919h burst 4294967291",
    "17/3s burst 5 every 700ms",
    "1000/s burst 1",
    "1000003/s burst 2",
    "4000000000/s burst 1",
    "65537/257us burst 3 weight 2",
    "2/3s every 5s",
    "250000/d burst 1000",
];

pub(crate) fn traces(store: &impl BlockingStore, steps: usize, rng: &mut Rng) {
    for quota in QUOTAS {
        for ordered in [true, false] {
            RandomTrace::new(quota, rng).run(store, steps / QUOTAS.len() / 2, ordered, rng);
        }
    }
}

struct RandomTrace<'a> {
    quota: &'a str,
    key: String,
    limit: StoreLimit,
    units: Units,
    oracle: ExactBucket,
    now: u64,
    /// The instant that the last denial reported.
    due: Option<u64>,
}

impl<'a> RandomTrace<'a> {
    fn new(quota: &'a str, rng: &mut Rng) -> Self {
        let (limit, units) = bucket(quota);
        Self {
            quota,
            key: format!("bucket:{}:{}", rng.u64(..), quota.replace(' ', "_")),
            limit,
            units,
            oracle: ExactBucket::of(units.quota(), &units),
            now: START + rng.u64(..START),
            due: None,
        }
    }

    fn run(mut self, store: &impl BlockingStore, steps: usize, ordered: bool, rng: &mut Rng) {
        for _ in 0..steps {
            self.pass_time(ordered, rng);
            if !(START / 10..4 * START).contains(&self.now) {
                self.now = START + rng.u64(..START);
                self.due = None;
                self.oracle.reset();
                one(store, Verb::Reset, self.now, &self.key, &self.limit, 1).expect("a reset");
            }
            self.step(store, rng);
        }
        one(store, Verb::Reset, self.now, &self.key, &self.limit, 1).expect("a reset");
    }

    fn pass_time(&mut self, ordered: bool, rng: &mut Rng) {
        #[expect(clippy::cast_precision_loss, reason = "any time will do")]
        let per_cell = self.units.cell() as f64 / self.units.drain() as f64;
        let full = per_cell * (f64::from(self.units.max_batch()) / 2.0 + 1.0);
        match (rng.u8(..100), self.due) {
            (0..35, Some(due)) if due < self.now + 10_000_000_000_000 => {
                self.now = self.now.max(rng.choice([due, due, due - 1, due + 1]).unwrap_or(due));
            }
            (0..50, _) => {}
            (50..90, _) => self.now += some_time(rng, &[per_cell, per_cell, 3.0 * per_cell, full]),
            (90..97, _) if !ordered => {
                let back = some_time(rng, &[per_cell, 3.0 * per_cell, full]);
                self.now = self.now.saturating_sub(back);
            }
            _ => {}
        }
    }

    fn step(&mut self, store: &impl BlockingStore, rng: &mut Rng) {
        let top = u64::from(self.units.max_batch());
        let n = [
            1,
            1,
            1,
            2,
            top,
            top + 1,
            (top / 2).max(1),
            rng.u64(1..top + 2),
            u32::MAX.into(),
        ][rng.usize(..9)];
        let verb = match rng.u8(..100) {
            0..60 => Verb::Check,
            60..70 => Verb::Peek,
            70..80 => Verb::UpTo,
            80..90 => Verb::Lease {
                at_most: [1, 10, self.units.max_batch()][rng.usize(..3)],
            },
            90..94 => Verb::Charge,
            94..98 => Verb::Refund,
            _ => Verb::Reset,
        };
        let now = self.now;
        let (cells, state) = one(store, verb, now, &self.key, &self.limit, n).expect("a decision");
        let oracle = &mut self.oracle;
        let context = || format!("{}: {verb:?} {n} at {now}: {cells:?}, {state:?}", self.quota);
        match verb {
            Verb::Check | Verb::Peek | Verb::Lease { .. } if !oracle.ever(n) => {
                assert_eq!(cells, None, "{}", context())
            }
            Verb::Check | Verb::Peek | Verb::Lease { .. } if !oracle.conforms(n, now) => {
                assert_eq!(cells, Some(0), "{}", context());
                let due = oracle.due(n);
                self.due = Some(due);
                let n = u32::try_from(n).expect("it conforms one day");
                let wait = self
                    .limit
                    .until(state, crate::micros(now), n)
                    .map(|wait| wait.as_micros());
                assert_eq!(wait, Some(u128::from(due - now)), "{}", context());
                assert!(due > now);
            }
            Verb::Check | Verb::Peek | Verb::Lease { .. } => {
                let counted = match verb {
                    Verb::Lease { at_most } => n.max(u64::from(at_most).min(oracle.room(now) / 2)),
                    _ => n,
                };
                assert_eq!(cells, Some(counted), "{}", context());
                if verb != Verb::Peek {
                    oracle.add(counted, now);
                }
            }
            Verb::UpTo => {
                let counted = n.min(oracle.room(now));
                assert_eq!(cells, Some(counted), "{}", context());
                if counted > 0 {
                    oracle.add(counted, now);
                }
            }
            Verb::Charge => {
                let counted = cells.expect("a number");
                assert!(counted <= n);
                oracle.add(counted, now);
                if counted < n {
                    // The largest level: no number and no time to drain is above 2^53.
                    const TOP: u64 = (1 << 53) - 1;
                    let most = TOP.min((TOP - state.time.get()).saturating_mul(self.units.drain()));
                    assert!(level(state.level) + self.units.cell() > most, "{}", context());
                }
            }
            Verb::Refund => oracle.refund(n, now),
            Verb::Reset => oracle.reset(),
            Verb::Cancel { .. } => unreachable!("has a check of its own"),
        }
        self.compare(state, &context());
    }

    /// All values that a caller computes from a state equal those of the exact bucket.
    fn compare(&self, state: ratelimit_meter_store::State, context: &str) {
        let (oracle, now) = (&self.oracle, self.now);
        assert!(
            oracle.owes(&self.units, state.time.get(), level(state.level), now),
            "{context}: {oracle:?}"
        );
        let at = crate::micros(now);
        assert_eq!(
            u64::from(self.limit.remaining(state, at)),
            oracle.room(now),
            "{context}"
        );
        let next = if oracle.conforms(1, now) {
            0
        } else {
            oracle.due(1) - now
        };
        assert_eq!(
            self.limit.until(state, at, 1).map(|wait| wait.as_micros()),
            Some(next.into()),
            "{context}"
        );
        let rest = oracle.rest().saturating_sub(now);
        assert_eq!(
            self.limit.until_rest(state, at).as_micros(),
            u128::from(rest),
            "{context}"
        );
    }
}

pub(crate) fn level(level: Level) -> u64 {
    match level {
        Level::Units(units) => units,
        Level::Share(share) => panic!("a bucket has the level {share}"),
    }
}
