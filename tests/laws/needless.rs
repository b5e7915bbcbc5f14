//! Law 3: every denial was necessary, a cell that arrives exactly at its instant conforms, and under saturation the long-run rate
//! is the limit's.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::Subject;
use crate::support::time::{DAY, HORIZON, SECOND, YEAR, earliest_instant, instant};
use crate::support::traffic::{limits, play, steps};
use proptest::prelude::*;
use ratelimit_meter::clock::ManualClock;
use std::time::Instant;

proptest! {
    /// The exact bucket has taken the cells that the meter admitted. If the exact bucket has room, the meter must not deny.
    #[test]
    fn every_denial_is_necessary(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            play(&limit, &steps, |n, at, exact| meter.ask_no_less(n, at, exact));
        }
    }

    #[test]
    fn every_denial_of_the_standards_gcra_is_necessary(t in 1u64..2000, tau in 0u64..9000, waits in prop::collection::vec(0i128..4000, 1..80)) {
        let meter = Subject::standard(t, tau);
        let mut exact = ExactBucket::new(Limit::standard(t, tau));
        let mut now = 0;
        for wait in waits {
            now += wait;
            prop_assert_eq!(meter.single(now), exact.decide(1, now), "at {} ns", now);
        }
    }

    #[test]
    fn saturation_reaches_the_rate_and_never_exceeds_it(limit in limits(), part in 1u32..9) {
        for meter in Subject::each(&limit) {
            saturate(&meter, &limit, 0, (limit.at_once() / part).max(1), 60);
            saturate(&meter, &limit, 100 * limit.time_to_rest(), (limit.at_once() / part).max(1), 60);
        }
    }
}

/// Rates from 1 cell in 100 years to 2^32 a second, nearly all of them without an exact reciprocal.
fn magnitudes() -> Vec<Limit> {
    let slow = (0..18u32).map(|power| Limit::new(3, 10u64.pow(power)).burst(5));
    let slow = slow.filter(|limit| u128::from(limit.cells) * u128::from(SECOND) <= u128::from(limit.period) << 32);
    let odd = (0..10u32).map(|power| Limit::per_second(4_294_967_291 / 10u64.pow(power)).burst(1009));
    let named = [
        Limit::new(1, 100 * YEAR),
        Limit::new(1, 100 * YEAR).burst(2),
        Limit::new(1, YEAR).burst(7),
        Limit::new(7, 3 * YEAR).burst(2),
        Limit::new(4_294_967_291, YEAR),
        Limit::new(2_147_483_648, SECOND / 2).burst(1),
        Limit::per_second(1_250_000_000).weight(64).burst(6400),
        Limit::per_second(700).burst(1),
    ];
    slow.chain(odd).chain(named).collect()
}

/// Takes batches of `n` as early as each conforms, from rest at `start` on, until `n` are denied. All that was admitted after the
/// first burst is at most R*v, and less than a batch short of it: in the long run not 0.999 of R but all of it.
#[track_caller]
fn saturate(meter: &Subject, limit: &Limit, start: i128, n: u32, batches: u32) {
    let burst = limit.at_once();
    if start > HORIZON {
        return;
    }
    assert_eq!(meter.batch(burst, start), Verdict::Conforms);
    let who = meter.name;
    let spare = limit.capacity() - limit.cost(burst);
    let (mut at, mut taken, mut asked) = (start, 0, 0);
    loop {
        match meter.ask(n, at) {
            Verdict::Conforms => taken += limit.cost(n),
            Verdict::From(earliest) if earliest > HORIZON || asked > batches => break,
            Verdict::From(earliest) => at = earliest,
            Verdict::Never => panic!("{who}: {n} cells conform at once: {limit:?}"),
        }
        asked += 1;
        let worth = limit.drained(at - start) + spare;
        assert!(
            taken <= worth + limit.resolution(),
            "{who}: {taken} by {at} ns is too fast: {limit:?}"
        );
    }
    // Instants are whole nanoseconds. If a bucket cannot hold a batch and the drain of a nanosecond, it is empty before the batch conforms.
    if limit.capacity() >= limit.cost(n) + limit.drained(1) {
        assert!(
            taken + limit.cost(n) > limit.drained(at - start),
            "{who}: {taken} by {at} ns is too slow: {limit:?}"
        );
    }
}

#[test]
fn saturation_reaches_the_rate_at_every_magnitude() {
    for limit in magnitudes() {
        for meter in Subject::each(&limit) {
            saturate(&meter, &limit, 0, 1, 4000);
            let later = 4100 * limit.time_to_rest();
            saturate(&meter, &limit, later, limit.at_once() / 2 + 1, 4000);
        }
    }
}

/// The meter's time begins at 0 here, the one place where a rounded `now` loses nothing: the cell after it, at a rate whose
/// reciprocal is rounded down, then finds itself a unit early. The unit of tolerance is for that cell.
#[test]
fn cell_conforms_at_its_instant_where_time_begins() {
    let beginnings = [
        (
            ManualClock::starting_at(instant(Instant::now(), i128::from(YEAR))),
            -i128::from(DAY),
        ),
        (ManualClock::starting_at(earliest_instant()), 0),
    ];
    for (clock, beginning) in beginnings {
        for limit in magnitudes() {
            for meter in Subject::each_on(&limit, &clock) {
                assert_conform_at_their_instants(&meter, &limit, beginning);
            }
        }
    }
}

#[test]
fn cell_exactly_at_its_instant_conforms() {
    for limit in magnitudes() {
        for start in [0, 1, 1_000_000_007, 3 * i128::from(YEAR) + 1] {
            for meter in Subject::each(&limit) {
                assert_conform_at_their_instants(&meter, &limit, start);
            }
        }
    }
}

/// A whole burst at `start`, and then each cell in the first whole nanosecond at which it is due.
#[track_caller]
fn assert_conform_at_their_instants(meter: &Subject, limit: &Limit, start: i128) {
    let mut exact = ExactBucket::new(*limit);
    let who = meter.name;
    assert_eq!(meter.batch(limit.at_once(), start), Verdict::Conforms);
    exact.take(limit.at_once(), start);
    // Multiples of C are whole numbers of periods: cells due at a whole nanosecond, exactly.
    let cells = i128::from(limit.cells);
    let due =
        (1..20)
            .chain([1, 2, 3, 1000].map(|periods| periods * cells))
            .chain([10_000_019, 20 * cells, 100_000 * cells]);
    let mut done = 0;
    for k in due.filter(|&k| k * i128::from(limit.period) <= HORIZON / 2 * cells) {
        let at = start + limit.emission(k);
        let n = exact.room(at);
        if at > HORIZON || k <= done || n == 0 {
            continue;
        }
        assert_eq!(
            meter.ask(n, at),
            Verdict::Conforms,
            "{who}: {n} cells due at {at} ns, the {k}th: {limit:?}"
        );
        exact.take(n, at);
        done = k;
    }
}
