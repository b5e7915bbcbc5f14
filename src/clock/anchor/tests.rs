//! Counters that lie, on a machine that knows its true time to the nanosecond.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a model in floating point, of numbers far from the ends of their types"
)]

use super::{Anchor, Broken, NEVER, Rate, Sighting, WINDOW_NS};
use crate::units::{Nanos, Scale, Volume};

/// The time of a plain reading, and of a sighting.
const READ_NS: u64 = 10;
const SIGHTING_NS: u64 = 50;

/// A machine with a counter and a system clock, both functions of the true time.
struct Machine {
    /// The true time in nanoseconds; the origin was long ago.
    now: u64,
    count: f64,
    /// The number of counts in a true nanosecond.
    frequency: f64,
    clock: f64,
    /// The number of nanoseconds of the system clock in a true nanosecond.
    pace: f64,
    /// The time from the reading of the system clock to the end of a sighting.
    read_before_end: u64,
    /// Whether the thread is interrupted now and then, during a sighting.
    is_interrupted: bool,
    sightings: u64,
    anchor: Anchor,
    known: Rate,
    given_up: bool,
    latest: u64,
    /// The most that a reading was ahead of the system clock, and behind it.
    ahead: i64,
    behind: i64,
}

impl Machine {
    fn counting(frequency: f64) -> Self {
        Self {
            now: 0,
            count: 1e12,
            frequency,
            clock: 1e14,
            pace: 1.0,
            read_before_end: SIGHTING_NS / 2,
            is_interrupted: false,
            sightings: 0,
            anchor: Anchor::new(),
            known: 0,
            given_up: false,
            latest: 0,
            ahead: i64::MIN,
            behind: i64::MIN,
        }
    }

    fn passes(&mut self, ns: u64) {
        self.now += ns;
        self.count += ns as f64 * self.frequency;
        self.clock += ns as f64 * self.pace;
    }

    fn counter(&self) -> u64 {
        self.count as u64
    }

    fn clock(&self) -> u64 {
        self.clock as u64
    }

    /// Some pauses are too short to be noticed, and they come in rows.
    fn interruption(&mut self) -> u64 {
        self.sightings += 1;
        match self.sightings % 64 {
            5 | 23 | 40 | 57 if self.is_interrupted => 850,
            7 | 9 | 11 | 12 | 13 | 14 | 38 if self.is_interrupted => 40_000,
            _ => 0,
        }
    }

    fn sight(&mut self) -> Sighting {
        let before = self.counter();
        let interruption = self.interruption();
        self.passes(SIGHTING_NS - self.read_before_end + interruption);
        let ns = self.clock();
        let interruption = self.interruption();
        self.passes(self.read_before_end + interruption);
        let after = self.counter();
        Sighting { before, ns, after }
    }

    /// Makes one reading, as a thread does.
    fn read(&mut self) -> u64 {
        let before = self.clock();
        self.passes(READ_NS);
        let count = self.counter();
        let reading = match self.anchor.read(|| count).filter(|_| !self.given_up) {
            Some(ns) => ns,
            None => {
                let sighting = self.sight();
                if self.given_up {
                    sighting.ns.max(self.anchor.latest())
                } else {
                    self.anchor.renew(sighting, self.known).unwrap_or_else(|Broken| {
                        self.given_up = true;
                        sighting.ns.max(self.anchor.latest())
                    })
                }
            }
        };
        assert!(reading >= self.latest, "time went back by {} ns", self.latest - reading);
        self.latest = reading;
        self.ahead = self.ahead.max(reading as i64 - self.clock() as i64);
        self.behind = self.behind.max(before as i64 - reading as i64);
        reading
    }

    /// Makes readings for this long, some in a row and some after a rest.
    fn works(&mut self, ns: u64) {
        let end = self.now + ns;
        let mut turn = 0_u64;
        while self.now < end {
            self.read();
            turn += 1;
            self.passes([0, 0, 0, 7, 0, 300, 0, 2_000, 0, 12_000][usize::try_from(turn % 10).unwrap()]);
        }
    }

    #[track_caller]
    fn assert_true(&self) {
        assert!(!self.given_up, "given up");
        assert!(self.ahead <= 0, "ahead by {} ns", self.ahead);
        assert!(self.behind <= WINDOW_NS as i64, "behind by {} ns", self.behind);
    }
}

const MS: u64 = 1_000_000;

#[test]
fn a_steady_counter_is_read_and_is_true() {
    for frequency in [1.0, 1.7, 2.5, 5.0] {
        let mut machine = Machine::counting(frequency);
        machine.works(20 * MS);
        machine.assert_true();
        assert!(machine.anchor.rate() != 0);
        // In a row of readings, it takes no sighting except one per window.
        let start = machine.now;
        for _ in 0..10_000 {
            machine.read();
        }
        let sightings = (machine.now - start - 10_000 * READ_NS) / SIGHTING_NS;
        assert!(
            (18..=25).contains(&sightings),
            "{sightings} sightings at {frequency} GHz"
        );
        machine.assert_true();
    }
}

#[test]
fn a_change_of_the_high_half_is_followed() {
    for before in [1.0, 1e3, 1e5, 1e7] {
        let mut machine = Machine::counting(2.5);
        machine.count = 2.0_f64.powi(32) * 1000.0 - before;
        machine.works(20 * MS);
        machine.assert_true();
    }
}

#[test]
fn volume_by_counts_is_at_most_that_of_the_reading() {
    let scale = Scale::draining(7, 2).unwrap();
    for frequency in [1.0, 1.7, 2.5, 5.0] {
        let mut machine = Machine::counting(frequency);
        machine.works(5 * MS);
        let mut told = 0;
        for _ in 0..10_000 {
            machine.passes(77);
            let reading = machine.read();
            let count = machine.counter();
            let anchor = &machine.anchor;
            let Some(counts) = anchor.counts(count).filter(|_| anchor.read(|| count) == Some(reading)) else {
                continue;
            };
            let Volume(volume) = scale.volume_at(Nanos::clamped(anchor.from()));
            let volume = volume + Scale::in_counts(counts, scale.per_count(anchor.rate()));
            let [least, most] = [reading, reading + 1].map(|ns| scale.volume_at(Nanos::clamped(ns)).0);
            assert!(least - 3 <= volume && volume <= most, "{volume}, not {least} to {most}");
            told += 1;
        }
        assert!(told > 9_000, "{told}");
    }
}

#[test]
fn an_anchor_2_pow_32_counts_old_is_not_believed() {
    let mut machine = Machine::counting(2.0);
    machine.works(20 * MS);
    for _ in 0..10 {
        machine.passes(2 * WINDOW_NS);
        machine.read();
        machine.passes(1 << 31);
        machine.read();
    }
    machine.assert_true();
}

#[test]
fn a_weighed_anchor_is_not_believed() {
    let mut machine = Machine::counting(2.5);
    machine.works(5 * MS);
    machine.read();
    assert_ne!(machine.anchor.from(), NEVER);
    machine.anchor.weigh();
    assert_eq!(machine.anchor.from(), NEVER);
    assert_eq!(machine.anchor.read(|| unreachable!("nothing is read")), None);
}

#[test]
fn slewing_by_500_ppm_is_followed() {
    for read_before_end in [0, SIGHTING_NS / 2, SIGHTING_NS] {
        let mut machine = Machine::counting(2.5);
        machine.read_before_end = read_before_end;
        for pace in [1.0, 1.0005, 0.9995, 1.0, 0.9995, 1.0005] {
            machine.pace = pace;
            machine.works(15 * MS);
            machine.assert_true();
        }
    }
}

#[test]
fn a_drifting_frequency_is_followed() {
    let mut machine = Machine::counting(2.5);
    for _ in 0..100 {
        machine.frequency *= 1.0002;
        machine.works(2 * MS);
    }
    machine.assert_true();
}

#[test]
fn after_a_jump_of_the_counter_an_anchor_comes_first() {
    for jump in [1e5, 1e9, 1e13, -1e4, -1e9, -9e11] {
        let mut machine = Machine::counting(2.5);
        machine.works(5 * MS);
        machine.count += jump;
        machine.works(5 * MS);
        machine.assert_true();
    }
}

#[test]
fn a_jump_of_the_system_clock_is_seen_within_a_window() {
    let mut machine = Machine::counting(2.5);
    machine.works(5 * MS);
    for _ in 0..10 {
        // The machine stood still, and so did its counter.
        machine.clock += 1e8;
        let counted_out = machine.now + 2 * WINDOW_NS;
        while machine.now < counted_out {
            machine.read();
        }
        machine.behind = i64::MIN;
        machine.works(5 * MS);
        machine.assert_true();
    }
}

#[test]
fn a_false_frequency_is_believed_for_a_window_at_most_and_given_up_or_followed() {
    for factor in [0.3, 0.5, 0.9, 1.1, 2.0, 3.0] {
        let mut machine = Machine::counting(2.5);
        machine.works(5 * MS);
        machine.frequency *= factor;
        machine.works(5 * MS);
        let bound = WINDOW_NS as i64 * if factor < 0.5 { 3 } else { 1 };
        assert!(machine.ahead <= bound, "{factor}: ahead by {} ns", machine.ahead);
        assert!(machine.behind <= bound, "{factor}: behind by {} ns", machine.behind);
        // A small error is within the bound, and is followed.
        assert!(machine.given_up || (0.9..1.2).contains(&factor), "{factor}");
    }
}

#[test]
fn a_frequency_that_others_found_wrong_is_not_believed_for_long() {
    for factor in [0.5, 0.9, 1.1, 2.0] {
        let mut machine = Machine::counting(2.5);
        machine.known = ((1_u64 << 32) as f64 / 2.5 * factor) as u64;
        machine.works(5 * MS);
        assert!(
            machine.ahead <= WINDOW_NS as i64,
            "{factor}: ahead by {} ns",
            machine.ahead
        );
        assert!(
            machine.behind <= WINDOW_NS as i64,
            "{factor}: behind by {} ns",
            machine.behind
        );
        assert!(machine.given_up, "{factor}");
    }
}

#[test]
fn a_sighting_that_was_interrupted_anchors_nothing() {
    let mut machine = Machine::counting(2.5);
    machine.works(5 * MS);
    machine.passes(2 * WINDOW_NS);
    let before = machine.counter();
    let ns = machine.clock();
    machine.passes(MS);
    let after = machine.counter();
    assert_eq!(machine.anchor.renew(Sighting { before, ns, after }, 0), Ok(ns));
    assert_eq!(machine.anchor.read(|| machine.counter()), None);
    machine.works(5 * MS);
    machine.assert_true();
}

#[test]
fn a_thread_that_is_interrupted_keeps_a_true_clock() {
    for read_before_end in [0, SIGHTING_NS / 2, SIGHTING_NS] {
        let mut machine = Machine::counting(2.5);
        machine.read_before_end = read_before_end;
        machine.is_interrupted = true;
        for pace in [1.0, 1.0005, 0.9995] {
            machine.pace = pace;
            machine.works(100 * MS);
            assert!(!machine.given_up, "given up");
            assert!(machine.ahead <= 0, "ahead by {} ns", machine.ahead);
        }
        assert!(machine.anchor.rate() != 0);
    }
}

#[test]
fn a_thread_that_rests_for_days_is_true_at_once() {
    let mut machine = Machine::counting(2.5);
    for rest in [1, 1_000, 100_000, 86_400_000] {
        machine.works(2 * MS);
        machine.passes(rest * MS);
        machine.works(2 * MS);
        machine.assert_true();
    }
}
