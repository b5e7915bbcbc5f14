//! Rounds: every contender has a turn at every case, in an order shuffled anew each time.

use crate::cases::Case;
use crate::entry::MeterEntry;
use crate::measure::{Answers, Measured, longest};
use crate::random::Random;
use crate::timing::Length;
use crate::{contenders, floors};
use std::time::Duration;

/// The amount of measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    /// The duration of a turn.
    pub(crate) turn: Duration,
    /// The number of calls that each thread times one by one, in cases of two threads.
    pub(crate) single_calls: Length,
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 25,
        turn: Duration::from_micros(1500),
        single_calls: 10_000,
    };
    pub(crate) const FULL: Self = Self {
        rounds: 101,
        turn: Duration::from_millis(3),
        single_calls: 20_000,
    };
}

/// The results of all rounds of one contender at one case.
#[derive(Debug, Clone)]
pub(crate) struct CaseOutcome {
    pub(crate) case: Case,
    pub(crate) entry: MeterEntry,
    length: Length,
    /// Per call and thread, one value a round.
    pub(crate) ns: Vec<f64>,
    /// The 50th percentile of single calls, one value a round.
    pub(crate) half_ns: Vec<f64>,
    /// The 99.9th.
    pub(crate) most_ns: Vec<f64>,
    pub(crate) answers: Answers,
}

/// All contenders and floors.
pub(crate) fn entries() -> Vec<MeterEntry> {
    [contenders::entries(), floors::entries()].concat()
}

/// Runs all rounds of these cases.
pub(crate) fn rounds(cases: &[Case], effort: Effort, seed: u64) -> Vec<CaseOutcome> {
    let mut outcomes: Vec<CaseOutcome> = cases.iter().flat_map(|&case| seats(case, effort)).collect();
    let mut order: Vec<usize> = (0..outcomes.len()).collect();
    let mut random = Random::new(seed);
    for _ in 0..effort.rounds {
        random.shuffle(&mut order);
        for &seat in &order {
            outcomes[seat].turn(effort);
        }
    }
    outcomes
}

/// The contenders that support the case.
fn seats(case: Case, effort: Effort) -> impl Iterator<Item = CaseOutcome> {
    let able = entries().into_iter().filter(move |entry| (entry.takes)(case));
    able.map(move |entry| CaseOutcome {
        case,
        entry,
        length: length(effort.turn, longest(case), |length| (entry.measure)(case, length)),
        ns: Vec::new(),
        half_ns: Vec::new(),
        most_ns: Vec::new(),
        answers: Answers::default(),
    })
}

/// The number of calls that take about as long as a turn.
pub(crate) fn length(turn: Duration, longest: Length, mut measure: impl FnMut(Length) -> Measured) -> Length {
    let mut length = 512;
    loop {
        let tried = measure(length);
        if tried.elapsed * 2 >= turn || length >= longest {
            let calls = turn.as_nanos() / u128::from(length_ns(tried.ns_per_call));
            return Length::try_from(calls).map_or(longest, |calls| calls.min(longest));
        }
        length *= 2;
    }
}

/// The whole nanoseconds of a call, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from float saturates"
)]
fn length_ns(ns_per_call: f64) -> u64 {
    (ns_per_call as u64).max(1)
}

impl CaseOutcome {
    fn turn(&mut self, effort: Effort) {
        let measured = (self.entry.measure)(self.case, self.length);
        self.ns.push(measured.ns_per_call);
        self.answers = self.answers.and(measured.answers);
        if self.case.threads > 1 {
            let single = (self.entry.percentiles)(self.case, effort.single_calls);
            self.half_ns.push(single.half);
            self.most_ns.push(single.most);
            self.answers = self.answers.and(single.answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_answers_every_case_rightly() {
        let effort = Effort {
            rounds: 2,
            turn: Duration::from_micros(20),
            single_calls: 512,
        };
        let cases: Vec<Case> = Case::all().collect();
        for outcome in rounds(&cases, effort, 7) {
            let (case, name, answers) = (outcome.case, outcome.entry.name, outcome.answers);
            assert!(answers.given >= 1024, "{name}, {case}: hardly asked");
            assert_eq!(answers.wrong, 0, "{name}, {case}: {answers:?}");
        }
    }

    #[test]
    fn every_case_has_a_floor_and_a_contender() {
        for case in Case::all() {
            let able: Vec<MeterEntry> = entries().into_iter().filter(|entry| (entry.takes)(case)).collect();
            assert!(able.iter().any(|entry| entry.name == case.floor()), "{case}");
            assert!(able.len() > floors::entries().len(), "{case}");
        }
    }
}
