//! The report of a run: tables for people, JSON for programs.

pub(crate) mod heading;
mod tables;

use crate::cases::Case;
use crate::contender::ContenderKind;
use crate::run::{CaseOutcome, Effort};
use crate::stats::Summary;
use heading::Heading;
use serde::Serialize;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct MeterReport {
    heading: Heading,
    cases: Vec<MeterTable>,
}

/// One case.
#[derive(Debug, Serialize)]
struct MeterTable {
    case: String,
    /// The name of the row that is the floor of this case.
    floor: &'static str,
    /// The name of the fastest row of a peer.
    best_peer: Option<&'static str>,
    /// Fastest first, floors last.
    rows: Vec<MeterRow>,
}

/// One contender at one case.
#[derive(Debug, Serialize)]
struct MeterRow {
    contender: &'static str,
    kind: ContenderKind,
    /// Nanoseconds per call and thread, over rounds.
    ns: Summary,
    /// The median as a multiple of the best peer's.
    to_best_peer: Option<f64>,
    /// The median as a multiple of the floor's.
    to_floor: Option<f64>,
    /// For cases of two threads: the 50th percentile of single calls, over rounds.
    p50_ns: Option<Summary>,
    /// The 99.9th.
    p99_9_ns: Option<Summary>,
    answers: u64,
    wrong_answers: u64,
}

impl MeterReport {
    pub(crate) fn of(outcomes: &[CaseOutcome], effort: Effort, seed: u64) -> Self {
        let mut cases: Vec<Case> = outcomes.iter().map(|outcome| outcome.case).collect();
        cases.dedup();
        Self {
            heading: Heading::now(effort, seed),
            cases: cases.into_iter().map(|case| MeterTable::of(case, outcomes)).collect(),
        }
    }

    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// A line for each row with wrong answers.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let rows = self
            .cases
            .iter()
            .flat_map(|table| table.rows.iter().map(|row| (&table.case, row)));
        rows.filter(|(_, row)| row.wrong_answers > 0)
            .map(|(case, row)| {
                let (name, wrong, all) = (row.contender, row.wrong_answers, row.answers);
                format!("{name} was wrong in {wrong} of {all} answers: {case}")
            })
            .collect()
    }
}

impl MeterTable {
    fn of(case: Case, outcomes: &[CaseOutcome]) -> Self {
        let mut rows: Vec<MeterRow> = outcomes
            .iter()
            .filter(|outcome| outcome.case == case)
            .filter_map(MeterRow::of)
            .collect();
        rows.sort_by(|a, b| {
            let key = |row: &MeterRow| (row.kind == ContenderKind::Floor, row.ns.median);
            key(a).partial_cmp(&key(b)).unwrap_or(core::cmp::Ordering::Equal)
        });
        let is_peer = |row: &&MeterRow| matches!(row.kind, ContenderKind::Peer | ContenderKind::KeyedPeer);
        let best = rows.iter().find(is_peer).map(|row| (row.contender, row.ns.median));
        let floor = rows.iter().find(|row| row.contender == case.floor());
        let floor = floor.map(|row| row.ns.median);
        for row in &mut rows {
            row.to_best_peer = best.map(|(_, best)| row.ns.median / best);
            row.to_floor = floor.map(|floor| row.ns.median / floor);
        }
        Self {
            case: case.to_string(),
            floor: case.floor(),
            best_peer: best.map(|(name, _)| name),
            rows,
        }
    }
}

impl MeterRow {
    fn of(outcome: &CaseOutcome) -> Option<Self> {
        Some(Self {
            contender: outcome.entry.name,
            kind: outcome.entry.kind,
            ns: Summary::of(&outcome.ns)?,
            to_best_peer: None,
            to_floor: None,
            p50_ns: Summary::of(&outcome.half_ns),
            p99_9_ns: Summary::of(&outcome.most_ns),
            answers: outcome.answers.given,
            wrong_answers: outcome.answers.wrong,
        })
    }
}
