//! Random sequences of all verbs on `Exponential`, against the sum of its impulses in floating point.

use crate::support::exponential::{ExactAverage, float, threshold};
use crate::support::time::{SECOND, instant};
use crate::support::traffic::spread;
use crate::support::verb::{Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Wait, sequences};
use proptest::prelude::*;
use ratelimit_meter::Exponential;
use std::time::{Duration, Instant};

proptest! {
    #[test]
    fn verb_sequences_match_the_sum_of_impulses(limit in 1_u32..300, period in SECOND..3600 * SECOND, verbs in sequences()) {
        let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
        let origin = Instant::now();
        let (mut sum, mut now) = (ExactAverage::new(limit, period), 0);
        for (verb, size, wait) in verbs {
            let n = u32::try_from(spread(size, 1, limit.into())).expect("at most the limit");
            let (at, room) = (instant(origin, now), sum.room(now));
            // At an edge both answers are right.
            let near = |n: u32| (room - f64::from(n)).abs() < 1e-5;
            let conforms = |said: bool| near(n) || said == (room > f64::from(n));
            let count = |sum: &mut ExactAverage, cells: f64| sum.count(cells, now);
            match verb {
                Check | Take | Peek => {
                    let ok = match verb {
                        Check => meter.check_n_at(n, at).is_ok(),
                        Take => meter.take_at(n, at).decision().is_ok(),
                        _ => meter.peek_n_at(n, at).is_ok(),
                    };
                    prop_assert!(conforms(ok), "{verb:?}: {room} for {n}");
                    if ok && !matches!(verb, Peek) {
                        count(&mut sum, n.into());
                    }
                }
                UpTo => {
                    let cells = f64::from(meter.check_up_to_at(n, at).cells());
                    prop_assert!(cells <= room.max(0.0) + 1e-5 && (cells > room - 1.0 - 1e-5 || (cells - f64::from(n)).abs() < 0.5));
                    count(&mut sum, cells);
                }
                Charge => {
                    prop_assert_eq!(meter.charge_at(n.into(), at), 0);
                    count(&mut sum, n.into());
                }
                Refund => {
                    meter.refund_at(n.into(), at);
                    count(&mut sum, -f64::from(n));
                }
                Reserve => if let Ok(made) = meter.reserve_at(n, Duration::MAX, at) {
                    let delay = float(i128::try_from(made.delay_from(at).as_nanos()).expect("some hours"));
                    let exact = sum.wait(n, now).max(0.0);
                    prop_assert!((delay - exact).abs() <= 40.0 + 1e-6 * float(period.into()), "{delay}, not {exact}");
                    // As much as they are when they count, seen from now.
                    count(&mut sum, f64::from(n) * (delay / float(period.into())).exp());
                    if size % 2 == 0 {
                        made.cancel_at(at);
                        count(&mut sum, -f64::from(n) * (delay / float(period.into())).exp());
                    }
                }
                Status | Cancel => {
                    let remaining = f64::from(meter.status_at(at).remaining());
                    prop_assert!(remaining <= room.max(0.0) + 1e-5 && remaining > room - 1.0 - 1e-5, "{remaining}, not {room}");
                }
                Reset => {
                    meter.reset();
                    sum = ExactAverage::new(limit, period);
                }
                Wait => now += i128::from(spread(wait, 1, 2 * period)),
            }
            let (level, exact) = (meter.rate_at(instant(origin, now)) / f64::from(limit) * threshold(limit), sum.level(now));
            prop_assert!((level - exact).abs() <= 1e-6 * (1.0 + exact), "after {verb:?}: {level}, not {exact}");
        }
    }
}
