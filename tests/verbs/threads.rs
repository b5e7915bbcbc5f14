//! All verbs on one meter, from several threads; and GCRA and the leaky bucket side by side.

use crate::support::exponential::{Seeded, threshold};
use crate::support::limit::Limit;
use crate::support::oracle::ExactBucket;
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::threads::{barrier, in_threads};
use crate::support::time::{DAY, SECOND, instant, since};
use crate::support::traffic::{limits, spread};
use crate::support::verb::{
    Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait, sequences,
};
use crate::support::window::{NetAdmissions, worst_net_window};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, Meter, NegativeMultiDecision};
use std::time::{Duration, Instant};

proptest! {
    /// For any limit, both algorithms agree.
    #[test]
    fn both_algorithms_agree_on_any_sequence(limit in limits(), verbs in sequences()) {
        let clock = ManualClock::new();
        let gcra = gcra(&limit).with_clock(clock.clone());
        let bucket = leaky_bucket(&limit).with_clock(clock.clone());
        for (verb, size, wait) in verbs {
            let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
            let at = clock.advance(Duration::from_nanos(spread(wait, 1, DAY))).expect("some days");
            prop_assert_eq!(tell(&gcra, verb, n, at), tell(&bucket, verb, n, at), "{:?} of {:?}", verb, limit);
        }
    }
}

/// The answer of the verb, as numbers: cells, and instants.
fn tell<A: Algorithm, C: Clock>(meter: &Meter<A, C>, verb: Verb, n: u32, at: Instant) -> (u32, Option<i128>) {
    let earliest = |denied: NegativeMultiDecision| match denied {
        NegativeMultiDecision::BatchNonConforming(_, denied) => since(at, denied.earliest_possible()),
        NegativeMultiDecision::InsufficientCapacity(_) => -1,
    };
    let told = |said: Result<(), NegativeMultiDecision>| (u32::from(said.is_ok()), said.err().map(earliest));
    match verb {
        Check => told(meter.check_n_at(n, at)),
        Peek => told(meter.peek_n_at(n, at)),
        Take => told(meter.take_at(n, at).decision()),
        UpTo => (meter.check_up_to_at(n, at).cells(), None),
        Charge => (u32::from(meter.charge_at(u64::from(n) << 8, at) > 0), None),
        Refund => {
            meter.refund_at(n.into(), at);
            (0, None)
        }
        Reserve | Cancel => match meter.reserve_at(n, Duration::from_nanos(DAY), at) {
            Ok(made) => {
                let acts = since(at, made.time_to_act());
                if matches!(verb, Cancel) {
                    made.cancel_at(at + Duration::from_secs(1));
                }
                (1, Some(acts))
            }
            Err(denied) => (0, Some(earliest(denied))),
        },
        Reset => {
            meter.reset();
            (0, None)
        }
        Status | Wait => (meter.status_at(at).remaining(), None),
    }
}

/// Four threads, all verbs that move cells, in rounds at one instant each: after each round the meter holds exactly the charges less the refunds.
#[test]
fn all_verbs_in_threads_keep_cells_exact() {
    fn check<A: Algorithm>(meter: &Meter<A>, limit: &Limit) {
        let (origin, barrier) = (Instant::now(), barrier());
        let threads = in_threads(|thread| {
            let (mut chance, mut net) = (Seeded(thread + 1), NetAdmissions::new());
            for round in 0..40 {
                let (now, at) = (
                    i128::from(round) * 777_777,
                    instant(origin, i128::from(round) * 777_777),
                );
                barrier.wait();
                for _ in 0..500 {
                    let n = u32::try_from(1 + chance.below(5)).expect("small");
                    let cells = match chance.below(5) {
                        0 => u32::from(meter.check_n_at(n, at).is_ok()) * n,
                        1 => u32::from(meter.take_at(n, at).decision().is_ok()) * n,
                        2 => meter.check_up_to_at(n, at).cells(),
                        3 if meter.check_n_at(n, at).is_ok() => {
                            meter.refund_at(n.into(), at);
                            0
                        }
                        4 => {
                            if let Ok(made) = meter.reserve_at(n, Duration::ZERO, at) {
                                made.cancel_at(at);
                            }
                            0
                        }
                        _ => 0,
                    };
                    net.push((now, limit.cost(cells), true));
                }
            }
            net
        });
        let mut net = threads.concat();
        net.sort_by_key(|(at, ..)| *at);
        assert!(
            worst_net_window(limit, &net) <= limit.resolution(),
            "{}",
            worst_net_window(limit, &net)
        );
        let mut exact = ExactBucket::new(*limit);
        for (at, cost, _) in net {
            exact.take(u32::try_from(cost / limit.cost(1)).expect("small"), at);
        }
        let end = 39 * 777_777;
        assert_eq!(meter.status_at(instant(origin, end)).remaining(), exact.room(end));
    }
    let limit = Limit::per_second(1_000_000).burst(900);
    check(&gcra(&limit), &limit);
    check(&leaky_bucket(&limit), &limit);
}

/// The meter holds exactly the cells that four threads admit, charge and give back at one instant, and never admits more than the limit.
#[test]
fn exponential_verbs_in_threads_keep_cells_exact() {
    let meter = Exponential::new(1000, Duration::from_nanos(SECOND)).expect("a limit");
    for round in 0..20 {
        let now = Instant::now();
        let totals = in_threads(|thread| {
            let mut chance = Seeded(4 * round + thread);
            let mut total = 0;
            for _ in 0..500 {
                let n = u32::try_from(1 + chance.below(4)).expect("small");
                let cells = match chance.below(4) {
                    0 => meter.check_up_to_at(n, now).cells(),
                    1 if meter.check_n_at(n, now).is_ok() => n,
                    2 if meter.check_n_at(n, now).is_ok() => {
                        meter.refund_at(n.into(), now);
                        0
                    }
                    3 if meter
                        .reserve_at(n, Duration::ZERO, now)
                        .map(|made| made.cancel_at(now))
                        .is_ok() =>
                    {
                        0
                    }
                    _ => 0,
                };
                total += cells;
            }
            total
        });
        let total: u32 = totals.iter().sum();
        let level = meter.rate_at(now) / 1000.0 * threshold(1000);
        assert!(
            (level - f64::from(total)).abs() < 1e-3,
            "{total} cells at a level of {level}"
        );
        assert!(total <= 1000 && total > 500, "{total}");
        meter.reset();
    }
}
