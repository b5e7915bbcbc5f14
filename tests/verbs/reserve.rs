//! `reserve` and `cancel`.

use crate::support::exponential::ExactAverage;
use crate::support::subject::singles;
use crate::support::time::{SECOND, YEAR, fixed_time};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota, Reservation};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a check of one meter on GCRA and on the leaky bucket.
macro_rules! on_both {
    ($quota:expr, $check:expr) => {{
        let quota: Quota = $quota.parse().expect("a quota");
        $check(GCRA::from_quota(quota).expect("a limit"));
        $check(LeakyBucket::from_quota(quota).expect("a limit"));
    }};
}

fn exponential(limit: u32, period: Duration) -> (Exponential, Instant) {
    let now = Instant::now();
    (Exponential::new(limit, period).expect("a limit"), now)
}

#[test]
fn reservations_are_exactly_an_interval_apart() {
    fn check<A: Algorithm>(meter: &Meter<A>, now: Instant) {
        let made: Vec<_> = (0..1000)
            .map(|_| meter.reserve_at(1, HOUR, now).expect("within an hour"))
            .collect();
        let times: Vec<_> = made.iter().map(Reservation::time_to_act).collect();
        let waiting = times.iter().position(|time| *time > now).expect("some have to wait");
        assert!(waiting == 10 && times[..10].iter().all(|time| *time == now));
        for (k, time) in (0..).zip(&times[waiting..]) {
            assert_eq!(*time, times[waiting] + k * 100 * MS, "reservation {k} that waits");
        }
    }
    let now = Instant::now();
    on_both!("10/s", |meter| check(&meter, now));
    let (meter, now) = exponential(10, Duration::from_secs(1));
    check(&meter, now);
}

#[test]
fn a_reservation_beyond_the_wait_leaves_no_trace() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let _ = meter.charge_at(20, now);
        for n in [1, 4, 10] {
            let Err(NegativeMultiDecision::BatchNonConforming(_, denied)) = meter.peek_n_at(n, now) else {
                panic!("there is a debt");
            };
            let (wait, before) = (denied.wait_time_from(now), meter.snapshot_at(fixed_time()));
            for longest in [Duration::ZERO, wait - NS] {
                let refused = meter.reserve_at(n, longest, now).map(drop);
                assert_eq!(refused, Err(NegativeMultiDecision::BatchNonConforming(n, denied)));
                assert_eq!(
                    meter.snapshot_at(fixed_time()),
                    before,
                    "a refused reservation changed something"
                );
            }
            let reservation = meter.reserve_at(n, wait, now).expect("within the longest wait");
            assert_eq!(reservation.time_to_act(), denied.earliest_possible());
        }
        let reservation = meter.reserve_at(1, HOUR, now + HOUR).expect("an idle meter");
        assert!(!reservation.delay().is_zero());
        assert!(
            meter.reserve_at(10, Duration::MAX, now).is_ok(),
            "any wait may be too long for a `Duration`"
        );
    }
    on_both!("10/s", |meter| check(&meter));
    check(&exponential(10, Duration::from_secs(1)).0);
    let strict = exponential(10, Duration::from_secs(1)).0.strict();
    check(&strict);
}

/// Cells that are cancelled count as those that drain first, from their time to act on.
#[test]
fn cancelled_reservation_returns_its_undrained_cells() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        // The last of three: ten cells at 0, three at 300 ms, and five at 800 ms.
        for (at, back) in [
            (0, 500),
            (800, 500),
            (801, 499),
            (1000, 300),
            (1299, 1),
            (1300, 0),
            (1800, 0),
            (9000, 0),
        ] {
            assert_gives_back(meter, [10, 3, 5], 2, at, back);
        }
        // The middle reservation gives nothing back while the last one waits, at 800 ms, and then the cells remaining since 500 ms.
        for (at, back) in [(0, 0), (500, 0), (799, 0), (800, 200), (999, 1), (1000, 0)] {
            assert_gives_back(meter, [10, 5, 3], 1, at, back);
        }
        // Three that all act at once give back at once.
        for (at, back) in [(0, 300), (200, 100), (300, 0)] {
            assert_gives_back(meter, [2, 3, 5], 1, at, back);
        }
    }

    /// Makes three reservations, cancels one of them `at` milliseconds later, and expects the meter to be idle `back` milliseconds earlier.
    fn assert_gives_back<A: Algorithm>(meter: &Meter<A>, cells: [u32; 3], cancelled: usize, at: u32, back: u32) {
        let (start, after) = (Instant::now(), at * MS);
        meter.reset();
        let made = cells.map(|n| meter.reserve_at(n, HOUR, start).expect("within an hour"));
        let before = meter.status_at(start + after).until_rest();
        let cancelled = made.into_iter().nth(cancelled).expect("one of three");
        cancelled.cancel_at(start + after);
        let saved = before - meter.status_at(start + after).until_rest();
        // Down to a unit, less than a nanosecond, on the strict side.
        let short = (back * MS).checked_sub(saved).expect("no more than that");
        assert!(short <= NS, "{cells:?} cancelled at {at}: short by {short:?}");
    }
    on_both!("10/s", |meter| check(&meter));
}

#[test]
fn two_cancels_give_back_no_drained_cell() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let start = Instant::now();
        let [first, second] = [3, 3].map(|n| meter.reserve_at(n, HOUR, start).expect("there is room"));
        first.cancel_at(start);
        let later = start + Duration::from_secs(4);
        assert_eq!(meter.check_n_at(3, later), Ok(()));
        second.cancel_at(later);
        assert_eq!(
            meter.status_at(later).remaining(),
            3,
            "as if the second had drained first"
        );
    }
    on_both!("1/s burst 6", |meter| check(&meter));
}

proptest! {
    /// Cells that are reserved and cancelled, in any order, leave no more room than if they had never been reserved. Those that are left act as the
    /// limit drains. Times are whole quarters of an interval, so that words meet by chance.
    #[test]
    fn cancelled_cells_never_make_room(is_strict: bool, steps in prop::collection::vec((1_u32..7, 0_u32..5, any::<u16>()), 1..40)) {
        const BURST: u32 = 6;
        let quota = "1/s burst 6".parse::<Quota>().expect("a quota");
        let meter = LeakyBucket::from_quota(quota).expect("a limit");
        let start = Instant::now();
        let mut at = start;
        let mut counted = Vec::new();
        for (n, verb, draw) in steps {
            let longest = if is_strict { Duration::ZERO } else { HOUR };
            match verb {
                0 | 1 => counted.extend(meter.reserve_at(n, longest, at).ok().map(|made| (at, n, made.time_to_act(), Some(made)))),
                2 if !counted.is_empty() => {
                    let (.., made) = &counted[usize::from(draw) % counted.len()];
                    if made.is_some() {
                        let (.., made) = counted.remove(usize::from(draw) % counted.len());
                        made.expect("a reservation").cancel_at(at);
                    }
                }
                3 if meter.check_n_at(n, at).is_ok() => counted.push((at, n, at, None)),
                _ => at += Duration::from_millis(250 * u64::from(draw % 16)),
            }
            let spared = LeakyBucket::from_quota(quota).expect("a limit");
            for (at, n, ..) in &counted {
                spared.charge_at(u64::from(*n), *at);
            }
            let [left, most] = [&meter, &spared].map(|meter| meter.status_at(at).until_rest());
            prop_assert!(left + NS >= most, "rests in {left:?}, and would in {most:?}");
        }
        counted.sort_by_key(|(_, _, acts, _)| *acts);
        for first in 0..counted.len() {
            let mut cells = 0;
            for (_, n, acts, _) in &counted[first..] {
                cells += n;
                let window = (*acts - counted[first].2).as_secs_f64();
                prop_assert!(f64::from(cells) <= f64::from(BURST) + window + 1e-6, "{cells} cells in {window} s");
            }
        }
    }
}

proptest! {
    /// The law of reservations, at rates of many cells a nanosecond and of one.
    #[test]
    fn reservations_act_at_most_as_the_limit_drains(rate in 1_u32.., burst in 1_u32..20, sizes in prop::collection::vec(1_u32..20, 1..200)) {
        let quota = Quota::per_second(rate.try_into().expect("not zero")).allow_burst(burst.try_into().expect("not zero"));
        let meter = GCRA::from_quota(quota).expect("a limit");
        let start = Instant::now();
        let acts: Vec<(u128, u32)> = sizes
            .iter()
            .map(|size| {
                let n = size % burst + 1;
                let made = meter.reserve_at(n.min(burst), HOUR * 24 * 365, start).expect("within a year");
                (made.delay_from(start).as_nanos(), made.cells())
            })
            .collect();
        for first in 0..acts.len() {
            let mut cells = 0;
            for (at, n) in &acts[first..] {
                cells += u128::from(*n);
                let window = at - acts[first].0 + 1;
                // In billionths of a cell; the word's resolution is two units, each less than a cell.
                let most = u128::from(burst) * 1_000_000_000 + u128::from(rate) * window;
                prop_assert!(cells * 1_000_000_000 <= most + 1_000_000_000, "{cells} cells in {window} ns");
            }
        }
    }
}

#[test]
fn cancel_after_a_refund_is_no_credit() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let reservation = meter.reserve_at(5, Duration::ZERO, now).expect("an idle meter");
        meter.refund_at(5, now);
        reservation.cancel_at(now);
        assert!(meter.check_at(now - Duration::from_secs(1)).is_err());
    }
    on_both!("10/s", |meter| check(&meter));
}

#[test]
fn a_dropped_reservation_keeps_its_cells() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let reservation = meter.reserve_at(10, Duration::ZERO, now).expect("at rest");
        let before = meter.snapshot_at(fixed_time());
        drop(reservation);
        assert_eq!(meter.snapshot_at(fixed_time()), before);
        assert!(meter.check_at(now).is_err());
    }
    on_both!("10/s", |meter| check(&meter));
    check(&exponential(10, Duration::from_secs(1)).0);
}

#[test]
fn cancelled_exponential_reservation_returns_its_remainder() {
    for (at, n) in [(0, 10), (30, 10), (200, 5), (1000, 5), (5000, 1)] {
        let (meter, now) = exponential(10, Duration::from_secs(1));
        let mut sum = ExactAverage::new(10, SECOND);
        let first = meter.reserve_at(6, Duration::ZERO, now).expect("at rest");
        sum.count(6.0, 0);
        let second = meter.reserve_at(n, HOUR, now).expect("within an hour");
        let acts = i128::try_from(second.delay_from(now).as_nanos()).expect("an hour");
        let cancelled = now + at * MS;
        second.cancel_at(cancelled);
        // As if it had never been.
        let later = now + 6 * 1000 * MS;
        let exact = sum.level(6_000_000_000);
        let level = meter.rate_at(later) / 10.0 * crate::support::exponential::threshold(10);
        assert!(
            (level - exact).abs() < 1e-6,
            "{level}, not {exact}: {n} for {acts} ns, cancelled after {at} ms"
        );
        first.cancel_at(cancelled);
        assert!(meter.rate_at(later) < 1e-6);
    }
}

/// The word that is left must be the one from before, also of averages and of ticks: otherwise the next cancel finds cells ahead.
#[test]
fn cancels_from_last_to_first_give_back_all() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let state = || {
            let status = meter.status_at(now);
            (status.remaining(), status.until_rest())
        };
        let idle = state();
        let mut made: Vec<_> = (0..100)
            .map(|n| meter.reserve_at(1 + n % 2, Duration::MAX, now).expect("any wait"))
            .collect();
        while let Some(last) = made.pop() {
            last.cancel_at(now);
        }
        assert_eq!(state(), idle, "{meter:?}");
    }
    for quota in ["60/s burst 2", "10/s burst 5 every 1s", "997/13s burst 5"] {
        on_both!(quota, |meter| check(&meter));
    }
    for limit in [2, 5, 30, 1000] {
        check(&exponential(limit, Duration::from_secs(1)).0);
    }
}

/// So long before the cells count, a level that decays to them exceeds any number.
#[test]
fn distant_reservation_returns_exactly_its_own_cells() {
    let (meter, now) = exponential(1000, Duration::from_millis(1));
    let ahead = now + Duration::from_secs(2);
    assert_eq!(meter.check_n_at(1000, ahead), Ok(()));
    let reservation = meter.reserve_at(400, HOUR, now).expect("within an hour");
    assert!(reservation.time_to_act() > ahead);
    reservation.cancel_at(now);
    assert!(meter.check_at(ahead).is_err(), "the other thousand are gone");
    assert_eq!(singles(&meter, ahead + MS), 632, "and nothing else is");
}

#[test]
fn a_reservation_off_the_time_line_is_immediate() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let late = now + Duration::from_nanos(100 * YEAR);
        let reservation = meter.reserve_at(10, Duration::ZERO, late).expect("at rest");
        assert_eq!(reservation.delay_from(late), Duration::ZERO);
        assert!(
            meter.reserve_at(1, Duration::MAX, late).is_err(),
            "after the end of time there is no later"
        );
    }
    on_both!("10/s", |meter| check(&meter));
    check(&exponential(10, Duration::from_secs(1)).0);
}

/// The wait that a reservation reports at once.
#[test]
fn check_within_conforms_where_reserve_would() {
    fn check<A: Algorithm>([reserved, taken]: [Meter<A>; 2]) {
        let start = Instant::now();
        let mut told = [0; 2];
        for step in 0..200_u32 {
            let (n, from, wait) = (step * 7 % 13, start + step * 37 * MS, step * 29 % 600 * MS);
            let ok = taken.check_n_within(n, from, from + wait).is_ok();
            assert_eq!(ok, reserved.reserve_at(n, wait, from).is_ok(), "{n} within {wait:?}");
            for at in [from, from + wait] {
                assert_eq!(taken.status_at(at).remaining(), reserved.status_at(at).remaining());
            }
            told[usize::from(ok)] += 1;
        }
        assert!(told.iter().all(|times| *times > 20), "{told:?}");
        assert!(taken.check_n_within(21, start, start + HOUR * 1000).is_err());
    }
    let quota = "10/s burst 20".parse::<Quota>().expect("a quota");
    check([(); 2].map(|()| GCRA::from_quota(quota).expect("a limit")));
    check([(); 2].map(|()| LeakyBucket::from_quota(quota).expect("a limit")));
}
