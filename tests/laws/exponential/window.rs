//! The law of windows of `Exponential`: of any length v at most 1 / (1 - e^(-1/L)) + L/p * v cells, and two units of the word.

use crate::support::exponential::{Seeded, exponential_limits, resolution, threshold, worst_window};
use crate::support::time::{DAY, SECOND, YEAR, instant};
use crate::support::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::Exponential;
use std::time::{Duration, Instant};

fn exponential(limit: u32, period: u64) -> (Exponential, Instant) {
    let origin = Instant::now();
    let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
    (meter, origin)
}

proptest! {
    #[test]
    fn no_window_exceeds_threshold_plus_limit(
        (limit, period) in exponential_limits(),
        questions in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 1..200),
    ) {
        let (meter, origin) = exponential(limit, period);
        let longest = (3 * period).min(4 * YEAR);
        let mut admitted = Vec::new();
        let mut now = 0;
        for (n, at, in_order) in questions {
            let n = u32::try_from(spread(n, 1, u64::from(limit))).expect("at most the limit");
            let step = i128::from(spread(at, 1, longest)) / 4;
            now += if in_order { step } else { -step };
            if meter.check_n_at(n, instant(origin, now)).is_ok() {
                admitted.push((now.max(-i128::from(DAY)), n));
            }
        }
        let above = worst_window(limit, period, &admitted);
        prop_assert!(above <= resolution(limit, period) + 1e-9 * threshold(limit), "{above} cells above the curve");
    }
}

#[test]
fn threads_with_separate_clocks_hold_every_window() {
    let (limit, period) = (50, SECOND / 1000);
    let (meter, origin) = exponential(limit, period);
    let asked = |thread: u32| {
        let (meter, mut chance) = (meter.clone(), Seeded(thread.into()));
        move || {
            let at = (0..20_000).map(|turn| turn * 10_000 + i128::from(chance.below(200_000)));
            let asked = at.map(|at| (at, u32::try_from(1 + at % 3).expect("small")));
            asked
                .filter(|&(at, n)| meter.check_n_at(n, instant(origin, at)).is_ok())
                .collect::<Vec<_>>()
        }
    };
    let threads = [0, 1, 2, 3].map(|thread| std::thread::spawn(asked(thread)));
    let admitted = threads.map(|thread| thread.join().expect("no panic")).concat();
    let above = worst_window(limit, period, &admitted);
    assert!(
        above <= resolution(limit, period) + 1e-6,
        "{above} cells above the curve"
    );
    assert!(admitted.len() > 2000, "nothing to see");
}

/// A caller that asks at each instant gains at most two units, even if two units are a large part of a cell.
#[test]
fn polling_every_nanosecond_gains_at_most_two_units() {
    for (limit, period) in [
        (1, 1),
        (4, 1),
        (3, 7),
        (4_000_000_000, SECOND),
        (4000, 1000),
        (1_000_003, 1_000_000),
    ] {
        for n in [1, 2, 3].into_iter().filter(|n| *n <= limit) {
            let (meter, origin) = exponential(limit, period);
            let mut admitted = Vec::new();
            for at in 0..2000 {
                let most = (0..20)
                    .take_while(|_| meter.check_n_at(n, instant(origin, at)).is_ok())
                    .count();
                admitted.extend((0..most).map(|_| (at, n)));
            }
            let above = worst_window(limit, period, &admitted);
            let allowed = resolution(limit, period);
            assert!(
                above <= allowed + 1e-6,
                "{limit} in {period} ns: {above} cells above the curve, not {allowed}"
            );
        }
    }
}
