//! Several limits in one step, cells that are given back, and quotas that change.

use crate::buckets::level;
use crate::oracle::ExactBucket;
use crate::{START, bucket, micros, one, some_time};
use fastrand::Rng;
use ratelimit_meter_store::{Ask, BlockingStore, StoreLimit, Units, Verb};

const SETS: [&[&str]; 3] = [
    &["10/s", "1000/h"],
    &["1000/s burst 10", "1000000/s", "7/3s burst 2"],
    &["100/min burst 20 weight 3", "5/s burst 40 every 250ms"],
];

struct LimitedKey {
    key: String,
    limit: StoreLimit,
    units: Units,
    oracle: ExactBucket,
}

/// Checks that all limits count a batch, or no limit counts it.
pub(crate) fn all_or_nothing(store: &impl BlockingStore, steps: usize, rng: &mut Rng) {
    for quotas in SETS {
        let set = rng.u64(..);
        let mut each: Vec<_> = quotas
            .iter()
            .enumerate()
            .map(|(i, quota)| {
                let (limit, units) = bucket(quota);
                let oracle = ExactBucket::of(units.quota(), &units);
                let key = format!("several:{{{set}}}:{i}");
                LimitedKey {
                    key,
                    limit,
                    units,
                    oracle,
                }
            })
            .collect();
        let (mut now, mut due) = (START + rng.u64(..START), None);
        for _ in 0..steps / SETS.len() {
            match (rng.u8(..100), due) {
                (0..40, Some(due)) => now = now.max([due, due, due - 1, due + 1][rng.usize(..4)]),
                (40..80, _) => now += some_time(rng, &[200_000.0]),
                (80..85, _) => now -= some_time(rng, &[100_000.0]),
                _ => {}
            }
            let verb = [Verb::Check, Verb::Check, Verb::Check, Verb::Peek, Verb::UpTo][rng.usize(..5)];
            let up_to = [1, 3, 30][rng.usize(..3)];
            let mixed = rng.bool();
            let numbers: Vec<u64> = each
                .iter()
                .map(|each| {
                    let top = u64::from(each.units.max_batch());
                    match verb {
                        Verb::UpTo => up_to,
                        _ if mixed => [1, 1, 2, top, top + 1][rng.usize(..5)],
                        _ => 1,
                    }
                })
                .collect();
            let asks: Vec<_> = each
                .iter()
                .zip(&numbers)
                .map(|(each, &n)| Ask {
                    key: &each.key,
                    limit: &each.limit,
                    n,
                })
                .collect();
            let reply = store.decide(verb, Some(micros(now)), &asks).expect("a decision");
            let context = format!("{quotas:?}: {verb:?} {numbers:?} at {now}: {reply:?}");
            let pairs = || each.iter().zip(&numbers);
            if verb == Verb::UpTo {
                let counted = each
                    .iter()
                    .map(|each| each.oracle.room(now))
                    .min()
                    .map(|room| room.min(up_to));
                assert_eq!(reply.cells, counted, "{context}");
                let counted = counted.expect("some limits");
                if counted > 0 {
                    each.iter_mut().for_each(|each| each.oracle.add(counted, now));
                }
            } else if !pairs().all(|(each, &n)| each.oracle.ever(n)) {
                assert_eq!(reply.cells, None, "{context}");
            } else if pairs().all(|(each, &n)| each.oracle.conforms(n, now)) {
                assert_eq!(reply.cells, numbers.iter().min().copied(), "{context}");
                if verb == Verb::Check {
                    each.iter_mut()
                        .zip(&numbers)
                        .for_each(|(each, &n)| each.oracle.add(n, now));
                }
            } else {
                assert_eq!(reply.cells, Some(0), "{context}");
                let last = pairs().map(|(each, &n)| each.oracle.due(n)).max();
                let until = |((each, state), &n): ((&LimitedKey, _), _)| {
                    each.limit
                        .until(state, micros(now), u32::try_from(n).expect("small"))
                        .expect("one day")
                };
                let wait = each.iter().zip(reply.states.clone()).zip(&numbers).map(until).max();
                assert_eq!(
                    wait.map(|wait| wait.as_micros()),
                    last.map(|last| u128::from(last - now)),
                    "{context}"
                );
                due = last;
            }
            for (each, state) in each.iter().zip(&reply.states) {
                assert!(
                    each.oracle.owes(&each.units, state.time.get(), level(state.level), now),
                    "{context}"
                );
                assert_eq!(
                    u64::from(each.limit.remaining(*state, micros(now))),
                    each.oracle.room(now),
                    "{context}"
                );
            }
        }
    }
}

/// Checks that blocks that are given back, in any order, never make more cells conform than if the blocks had not been drawn.
pub(crate) fn cancels(store: &impl BlockingStore, steps: usize, rng: &mut Rng) {
    const STEPS: usize = 60;
    for trial in 0..(steps / STEPS).max(4) {
        let quotas = [
            "10/s",
            "100/min burst 20",
            "3/7ms burst 50",
            "999983/d",
            "10/s every 500ms",
        ];
        let quota = quotas[trial % quotas.len()];
        let (limit, units) = bucket(quota);
        let key = format!("cancel:{}", rng.u64(..));
        let mut actual = ExactBucket::of(units.quota(), &units);
        let mut without = actual.clone();
        #[expect(clippy::cast_precision_loss, reason = "any time will do")]
        let per_cell = units.cell() as f64 / units.drain() as f64;
        let burst = u64::from(units.max_batch());
        let (mut now, mut blocks) = (START, Vec::new());
        for _ in 0..STEPS {
            now += some_time(
                rng,
                &[1.0, 1.0, 5.0, f64::from(units.max_batch()) / 2.0].map(|cells| cells * per_cell),
            );
            if rng.u8(..10) < 7 || blocks.is_empty() {
                let n = rng.u64(1..=(burst / 3).max(1));
                let (cells, _) = one(store, Verb::Lease { at_most: 1 }, now, &key, &limit, n).expect("a lease");
                assert_eq!(cells == Some(n), actual.conforms(n, now), "{quota}");
                if cells == Some(n) {
                    actual.add(n, now);
                    if rng.bool() {
                        blocks.push((n, micros(now)));
                    } else {
                        assert!(without.conforms(n, now));
                        without.add(n, now);
                    }
                }
            } else {
                let (n, drawn) = blocks.swap_remove(rng.usize(..blocks.len()));
                let (_, state) = one(store, Verb::Cancel { drawn }, now, &key, &limit, n).expect("a cancel");
                actual.cancel(n, drawn.get(), now);
                assert!(
                    actual.owes(&units, state.time.get(), level(state.level), now),
                    "{quota}: {actual:?} {state:?}"
                );
            }
            assert!(
                actual.room(now) <= without.room(now),
                "{quota}: {actual:?} has more room than {without:?}"
            );
        }
    }
}

/// Checks that a quota with ticks and one of its rate without, side by side on one key, drain no volume twice. The clock is the store's.
pub(crate) fn ticks_of_one_rate(store: &impl BlockingStore, rng: &mut Rng) {
    // The tick began in 2010, and ends in 2050.
    let [plain, ticks] = ["10/d burst 5", "10/d burst 5 every 14610d"].map(|quota| bucket(quota).0);
    let key = &format!("ticks:{}", rng.u64(..));
    for (limit, n, counted) in [(&plain, 4, 4), (&ticks, 1, 0), (&plain, 1, 1), (&plain, 1, 0)] {
        let reply = store
            .decide(Verb::Check, None, &[Ask { key, limit, n }])
            .expect("a decision");
        assert_eq!(reply.cells, Some(counted), "{:?}: {reply:?}", limit.quota());
    }
}

/// Checks that cells owed by a quota are owed by the next, rounded up by at most two units.
pub(crate) fn other_quotas(store: &impl BlockingStore, trials: usize, rng: &mut Rng) {
    const QUOTAS: [&str; 8] = [
        "10/s",
        "1/6s",
        "999983/d",
        "7/3ns",
        "100/min burst 20",
        "1000000007/d burst 4294967295",
        "17/3s burst 5",
        "17/3s burst 5 every 700ms",
    ];
    for _ in 0..trials {
        // The last quota has ticks: the volume that drains between two ticks belongs to the next quota, so only the new quota has ticks here.
        let [(old_limit, old), (new_limit, new)] = [1, 0].map(|less| bucket(QUOTAS[rng.usize(..QUOTAS.len() - less)]));
        let key = format!("other:{}", rng.u64(..));
        let (mut oracle, mut now) = (ExactBucket::of(old.quota(), &old), START + rng.u64(..START));
        let n = rng.u64(1..=old.max_batch().into());
        one(store, Verb::Check, now, &key, &old_limit, n).expect("a decision");
        oracle.add(n, now);
        now += rng.u64(..(n * old.cell() / old.drain() + 2));
        let (owed, parts) = oracle.owed_cells(now);
        let (_, state) = one(store, Verb::Charge, now, &key, &new_limit, 1).expect("a charge");
        // The remaining state at `now`, without the charged cell, in units of the new quota; ticks drain later.
        let kept = i128::from(level(state.level)) - i128::from(new.one());
        let since = i128::from(now - state.time.get());
        let [one, drain] = [new.one(), new.drain()].map(i128::from);
        let drained = since * drain;
        let most = i128::from((1_u64 << 53) - 1);
        if owed * one / parts < most.min((most - i128::from(now)) * drain) - 3 * one {
            let short = owed * one - kept * parts;
            assert!(short <= 0, "{old:?} to {new:?}: less is owed than {owed}/{parts} cells");
            // At the tick before, the debt is larger by the volume that the new quota, or the old one, drains until `now`.
            let tick = i128::from(new.tick_us());
            let slack = (2 + drained + tick * drain) * parts + tick * i128::from(old.drain()) * one;
            assert!(-short <= slack, "{old:?} to {new:?}: {kept} for {owed}/{parts} cells");
        }
    }
}
