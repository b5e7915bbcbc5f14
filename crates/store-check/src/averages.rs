//! Random traces of averages against the sum of all cells that were counted, each decayed on its own.

use crate::{START, average, micros, one, some_time};
use fastrand::Rng;
use ratelimit_meter_store::{BlockingStore, Level, StoreLimit, Verb};

const QUOTAS: [&str; 10] = [
    "10/min",
    "3/min",
    "100/min",
    "600/h",
    "5/s",
    "1000/s",
    "1/d",
    "10/365d",
    "400000/min weight 2000",
    "1000000/30d",
];

pub(crate) fn traces(store: &impl BlockingStore, steps: usize, rng: &mut Rng) {
    for quota in QUOTAS {
        for strict in [false, true] {
            trace(store, quota, strict, steps / QUOTAS.len() / 2, rng);
        }
    }
    threshold(store, rng);
}

/// Checks that an admission leaves an average at its threshold at most. Its instant allows for the errors of two logarithms, 2e-15 periods, which
/// is several microseconds only here.
fn threshold(store: &impl BlockingStore, rng: &mut Rng) {
    let average = average("10/36500d");
    let (limit, key) = (StoreLimit::Average(average), format!("threshold:{}", rng.u64(..)));
    let mut now = START;
    for _ in 0..18 {
        let (cells, state) = one(store, Verb::Check, now, &key, &limit, 1).expect("a decision");
        match (cells, state.level) {
            (Some(1), Level::Share(share)) => assert!(share <= 1.0, "an admission leaves {share} of the threshold"),
            (Some(0), _) => {
                let wait = limit.until(state, micros(now), 1).expect("one day");
                now += u64::try_from(wait.as_micros()).expect("before 2112");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(now > START, "the last cells were denied at first");
}

/// A level, and the part cut off when an admission would have left it above the threshold by rounding.
fn level(counted: &[(u64, f64)], now: u64, period: f64) -> f64 {
    counted
        .iter()
        .map(|&(at, share)| share * (-(to_f64(now) - to_f64(at)) / period).exp())
        .sum()
}

fn trace(store: &impl BlockingStore, quota: &str, strict: bool, steps: usize, rng: &mut Rng) {
    let average = if strict {
        average(quota).strict()
    } else {
        average(quota)
    };
    let (period, share, top) = (average.period_us(), average.share(), average.max_batch());
    let limit = StoreLimit::Average(average);
    let key = format!("average:{}", rng.u64(..));
    let mut counted: Vec<(u64, f64)> = Vec::new();
    let (mut now, mut due) = (START + rng.u64(..START / 10), None);
    for _ in 0..steps {
        match (rng.u8(..100), due) {
            (0..40, Some(due)) => now = now.max([due, due, due - 1, due + 1][rng.usize(..4)]),
            (40..80, _) => {
                now += some_time(
                    rng,
                    &[1.0, 1.0, 3.0, f64::from(top) / 2.0 + 1.0].map(|cells| cells * period * share),
                )
            }
            _ => {}
        }
        if now > 4 * START {
            break;
        }
        let verb = [
            Verb::Check,
            Verb::Check,
            Verb::Check,
            Verb::Check,
            Verb::Peek,
            Verb::Charge,
            Verb::UpTo,
            Verb::Refund,
            Verb::Cancel {
                drawn: micros(now - some_time(rng, &[period, period * share])),
            },
        ][rng.usize(..9)];
        let n = match verb {
            Verb::Charge => 1,
            _ => [1, 1, 1, 2, top, top + 1, (top / 2).max(1)][rng.usize(..7)],
        };
        let (cells, state) = one(store, verb, now, &key, &limit, n.into()).expect("a decision");
        let before = level(&counted, now, period);
        let context = format!("{quota} strict {strict}: {verb:?} {n} at {now}, {before}: {cells:?} {state:?}");
        let added = f64::from(n) * share;
        // How much a microsecond, and the roundings of a level, may make of a decision.
        let slack = 1e-11 + 2.0 / period * before.max(1.0);
        match (verb, cells) {
            (Verb::Check | Verb::Peek, None) => assert!(n > top, "{context}"),
            (Verb::Check | Verb::Peek, Some(0)) => {
                assert!(n <= top && before + added > 1.0 - slack, "{context}");
                let wait = limit.until(state, micros(now), n).expect("one day");
                due = Some(now + u64::try_from(wait.as_micros()).expect("before 2112"));
                let denied = if strict && verb == Verb::Check { added } else { 0.0 };
                let then = (before + denied) * (-wait.as_secs_f64() * 1e6 / period).exp() + added;
                assert!((then - 1.0).abs() < slack * 4.0, "{context}: {then} then");
            }
            (Verb::Check | Verb::Peek, Some(all)) => {
                assert_eq!(all, u64::from(n), "{context}");
                assert!(before + added < 1.0 + slack, "{context}");
            }
            (Verb::UpTo, Some(part)) => {
                #[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
                let after = before + part as f64 * share;
                assert!(part == 0 || after < 1.0 + slack, "{context}");
                assert!(
                    part >= u64::from(n.min(top)) || after + share > 1.0 - slack,
                    "{context}"
                );
            }
            (Verb::Charge, Some(all)) => assert_eq!(all, 1, "{context}"),
            (_, Some(none)) => assert_eq!(none, 0, "{context}"),
            (_, None) => panic!("{context}"),
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
        let recorded = match verb {
            Verb::Peek | Verb::Refund | Verb::Cancel { .. } => 0.0,
            _ if strict && cells.is_some() => added,
            _ => cells.unwrap_or(0) as f64 * share,
        };
        if recorded > 0.0 {
            counted.push((now, recorded));
            let after = level(&counted, now, period);
            if verb != Verb::Charge && !strict && after > 1.0 && before <= 1.0 {
                // An admission leaves the average at its threshold at most.
                counted.push((now, 1.0 - after));
            }
        }
        let given_back = match verb {
            Verb::Refund => added,
            Verb::Cancel { drawn } => added * (-(to_f64(now) - to_f64(drawn.get())) / period).exp(),
            _ => 0.0,
        };
        counted.push((now, -given_back.min(before)));
        counted.retain(|&(at, _)| to_f64(now) - to_f64(at) < 50.0 * period);
        let Level::Share(kept) = state.level else {
            panic!("{context}")
        };
        let expected = level(&counted, state.time.get(), period);
        assert!(
            (kept - expected).abs() <= 1e-9 * expected.max(1e-3) + 1e-12,
            "{context}: {kept} for {expected}"
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are below 2^53")]
fn to_f64(us: u64) -> f64 {
    us as f64
}
