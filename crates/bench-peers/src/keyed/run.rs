//! Rounds: at each case every table has a turn, in an order shuffled anew each time.

use crate::contenders;
use crate::measure::Answers;
use crate::random::Random;
use crate::run::{Effort, length};
use crate::tables::cases::{KeyedCase, MANY};
use crate::tables::contender::{KeyedEntry, TakesTurns};
use crate::timing::Length;

/// The results of all rounds of one contender at one case.
#[derive(Debug, Clone)]
pub(crate) struct KeyedOutcome {
    pub(crate) case: KeyedCase,
    pub(crate) entry: KeyedEntry,
    /// Per call and thread, one value a round.
    pub(crate) ns: Vec<f64>,
    pub(crate) answers: Answers,
}

/// The longest turn; a key of [`MeterLimit::HELD`](crate::cases::MeterLimit::HELD) is asked far less often than it admits.
const LONGEST: Length = 100_000_000;

/// The factor by which turns are longer, and fewer, with many keys: each begins with the other contenders' lines in the caches.
const STRETCH: u32 = 10;

/// Runs all rounds of these cases, one case after the other, so that only the large tables of one case are in memory.
pub(crate) fn rounds(cases: &[KeyedCase], effort: Effort, seed: u64) -> Vec<KeyedOutcome> {
    cases.iter().flat_map(|&case| case_rounds(case, effort, seed)).collect()
}

fn case_rounds(case: KeyedCase, effort: Effort, seed: u64) -> Vec<KeyedOutcome> {
    let stretch = if case.keys < MANY { 1 } else { STRETCH };
    let turn = effort.turn * stretch;
    let entries = contenders::keyed(case.kind).into_iter();
    let mut runs: Vec<TableRun> = entries
        .filter(|entry| entry.takes(case.hasher))
        .map(|entry| {
            let mut table = (entry.table)(case);
            let length = length(turn, LONGEST, |length| table.turn(length));
            let outcome = KeyedOutcome {
                case,
                entry,
                ns: Vec::new(),
                answers: Answers::default(),
            };
            TableRun { table, length, outcome }
        })
        .collect();
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let mut random = Random::new(seed);
    for _ in 0..effort.rounds.div_ceil(stretch) {
        random.shuffle(&mut order);
        order.iter().for_each(|&run| runs[run].turn());
    }
    runs.into_iter().map(|run| run.outcome).collect()
}

struct TableRun {
    table: Box<dyn TakesTurns>,
    length: Length,
    outcome: KeyedOutcome,
}

impl TableRun {
    fn turn(&mut self) {
        let measured = self.table.turn(self.length);
        self.outcome.ns.push(measured.ns_per_call);
        self.outcome.answers = self.outcome.answers.and(measured.answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::ContenderKind;
    use std::time::Duration;

    #[test]
    fn every_keyed_contender_answers_every_case_rightly() {
        let effort = Effort {
            rounds: 2,
            turn: Duration::from_micros(20),
            single_calls: 0,
        };
        let cases = KeyedCase::all(false);
        let few: Vec<_> = cases.into_iter().filter(|case| case.keys < MANY).collect();
        for outcome in rounds(&few, effort, 7) {
            let (case, name, answers) = (outcome.case, outcome.entry.name, outcome.answers);
            assert!(answers.given >= 1024, "{name}, {case}: hardly asked");
            assert_eq!(answers.wrong, 0, "{name}, {case}: {answers:?}");
        }
    }

    #[test]
    fn each_case_has_ours_once_and_a_peer() {
        for case in KeyedCase::all(true) {
            let kinds = contenders::keyed(case.kind)
                .into_iter()
                .filter(|entry| entry.takes(case.hasher))
                .map(|entry| entry.kind);
            let kinds: Vec<ContenderKind> = kinds.collect();
            let count = |kind| kinds.iter().filter(|&&other| other == kind).count();
            assert_eq!(
                (count(ContenderKind::Ours), count(ContenderKind::Floor)),
                (1, 1),
                "{case}"
            );
            assert!(count(ContenderKind::Peer) > 1, "{case}");
        }
    }
}
