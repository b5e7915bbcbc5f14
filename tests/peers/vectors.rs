//! Textbook traces of GCRA(T, tau), in nanoseconds, microseconds, milliseconds and seconds; a conforming cell must leave the
//! theoretical arrival time of the book.

use ratelimit_meter::GCRA;
use std::time::{Duration, Instant};

/// The expected result of a cell at the first number.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// Conforms, and leaves this theoretical arrival time.
    To(u32),
    /// Does not conform until this instant.
    Not(u32),
}
use Comes::{Not, To};

const UNITS: [Duration; 4] = [
    Duration::from_nanos(1),
    Duration::from_micros(1),
    Duration::from_millis(1),
    Duration::from_secs(1),
];

type StandardParameters = (Duration, Duration, Option<Instant>);

/// Plays the trace in every unit. Each meter has its TAT read back after every cell.
#[track_caller]
fn assert_trace(t: u32, tau: u32, trace: &[(u32, Comes)]) {
    for unit in UNITS {
        let start = Instant::now();
        let meter = GCRA::with_parameters(t * unit, tau * unit, None);
        assert_eq!(
            StandardParameters::from(&meter),
            (t * unit, tau * unit, None),
            "a meter at rest, unit {unit:?}"
        );
        let mut tat = None;
        for &(at, comes) in trace {
            let said = meter.check_at(start + at * unit);
            match comes {
                To(next) => {
                    assert!(said.is_ok(), "cell at {at}, unit {unit:?}");
                    tat = Some(start + next * unit);
                }
                Not(earliest) => {
                    let denied = said.expect_err("does not conform");
                    assert_eq!(
                        denied.earliest_possible(),
                        start + earliest * unit,
                        "cell at {at}, unit {unit:?}"
                    );
                    assert_eq!(
                        denied.wait_time_from(start + at * unit),
                        (earliest - at) * unit,
                        "cell at {at}, unit {unit:?}"
                    );
                }
            }
            assert_eq!(
                StandardParameters::from(&meter),
                (t * unit, tau * unit, tat),
                "after the cell at {at}, unit {unit:?}"
            );
        }
    }
}

/// H. Perros, "Connection-oriented networks": T = 10, tau = 15.
#[test]
fn perros_five_cells_come_to_four() {
    assert_trace(
        10,
        15,
        &[(0, To(10)), (12, To(22)), (18, To(32)), (20, To(42)), (25, Not(27))],
    );
}

#[test]
fn perros_fifth_cell_conforms_at_its_instant() {
    let trace = [
        (0, To(10)),
        (12, To(22)),
        (18, To(32)),
        (20, To(42)),
        (25, Not(27)),
        (26, Not(27)),
        (27, To(52)),
        (27, Not(37)),
    ];
    assert_trace(10, 15, &trace);
}

/// J.-Y. Le Boudec's exercise, T = 100, tau = 500, first sequence.
#[test]
fn le_boudec_burst_is_cut_off_then_readmitted() {
    let trace = [
        (0, To(100)),
        (100, To(200)),
        (110, To(300)),
        (120, To(400)),
        (130, To(500)),
        (140, To(600)),
        (150, To(700)),
        (160, Not(200)),
        (170, Not(200)),
        (180, Not(200)),
        (1000, To(1100)),
        (1010, To(1200)),
    ];
    assert_trace(100, 500, &trace);
}

/// The second sequence: one cell every 30, which is below the rate.
#[test]
fn le_boudec_steady_overload_within_tolerance_conforms() {
    let early = [
        (0, 100),
        (100, 200),
        (130, 300),
        (160, 400),
        (190, 500),
        (220, 600),
        (250, 700),
        (280, 800),
        (310, 900),
    ];
    let late = [(1000, 1100), (1030, 1200)];
    let trace: Vec<_> = early.into_iter().chain(late).map(|(at, tat)| (at, To(tat))).collect();
    assert_trace(100, 500, &trace);
}

/// The third: three cells in 20 every 300, for ever.
#[test]
fn le_boudec_triples_at_the_sustained_rate_conform() {
    let cells = (0..6).flat_map(|triple| [0, 10, 20].map(|cell| 300 * triple + cell));
    let trace: Vec<_> = cells.zip(1..).map(|(at, cell)| (at, To(100 * cell))).collect();
    assert_eq!(trace.len(), 18);
    assert_trace(100, 500, &trace);
}

/// The closed test: at TAT - tau exactly a cell conforms, one unit of time before it does not; tau = 0 allows no cell early.
#[test]
fn a_cell_at_exactly_tat_less_tau_conforms() {
    assert_trace(
        7,
        0,
        &[
            (0, To(7)),
            (6, Not(7)),
            (7, To(14)),
            (7, Not(14)),
            (13, Not(14)),
            (14, To(21)),
        ],
    );
    assert_trace(7, 6, &[(0, To(7)), (0, Not(1)), (1, To(14)), (1, Not(8)), (8, To(21))]);
    assert_trace(7, 7, &[(0, To(7)), (0, To(14)), (0, Not(7)), (6, Not(7)), (7, To(21))]);
    assert_trace(
        3,
        1,
        &[
            (0, To(3)),
            (1, Not(2)),
            (2, To(6)),
            (4, Not(5)),
            (5, To(9)),
            (9, To(12)),
        ],
    );
}

/// A meter made of another's parameters and state goes on where the other stood.
#[test]
fn a_rebuilt_meter_continues_a_trace() {
    for unit in UNITS {
        let start = Instant::now();
        let first = GCRA::with_parameters(10 * unit, 15 * unit, None);
        for at in [0, 12, 18] {
            assert!(first.check_at(start + at * unit).is_ok());
        }
        let second = GCRA::from(StandardParameters::from(&first));
        assert_eq!(StandardParameters::from(&second), StandardParameters::from(&first));
        assert!(second.check_at(start + 20 * unit).is_ok());
        let denied = second.check_at(start + 25 * unit).expect_err("does not conform");
        assert_eq!(denied.earliest_possible(), start + 27 * unit);
        assert_eq!(StandardParameters::from(&second).2, Some(start + 42 * unit));
        assert_eq!(
            StandardParameters::from(&first).2,
            Some(start + 32 * unit),
            "they share nothing"
        );
    }
}
