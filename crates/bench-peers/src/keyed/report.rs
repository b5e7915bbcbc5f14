//! The report of a run over keyed cases: tables for people, JSON for programs.

use super::memory::{MemoryTable, met};
use super::run::KeyedOutcome;
use crate::contender::ContenderKind;
use crate::report::heading::Heading;
use crate::stats::Summary;
use crate::tables::cases::{Hasher, KeyedCase};
use core::fmt::{self, Write as _};
use serde::Serialize;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct KeyedReport {
    heading: Heading,
    cases: Vec<KeyedTable>,
    memory: Vec<MemoryTable>,
}

/// One case.
#[derive(Debug, Serialize)]
struct KeyedTable {
    case: String,
    /// The time to make the key, by which all results were reduced; the median of rounds.
    key_ns: f64,
    /// The name of the fastest row of a peer.
    best_peer: Option<&'static str>,
    /// The largest part of the best peer's time, if there is such an aim; it is for default hashers.
    target: Option<f64>,
    /// Fastest first, the key alone last.
    rows: Vec<KeyedRow>,
}

/// One contender at one case.
#[derive(Debug, Serialize)]
struct KeyedRow {
    contender: &'static str,
    kind: ContenderKind,
    hasher: Option<Hasher>,
    /// Nanoseconds per call and thread, over rounds, with the making of the key.
    ns: Summary,
    /// The median without the making of the key.
    net_ns: f64,
    /// That as a multiple of the best peer's.
    to_best_peer: Option<f64>,
    answers: u64,
    wrong_answers: u64,
}

impl KeyedReport {
    pub(crate) fn of(outcomes: &[KeyedOutcome], memory: Vec<MemoryTable>, heading: Heading) -> Self {
        let mut cases: Vec<KeyedCase> = outcomes.iter().map(|outcome| outcome.case).collect();
        cases.dedup();
        let cases = cases.into_iter().map(|case| KeyedTable::of(case, outcomes));
        Self {
            heading,
            cases: cases.collect(),
            memory,
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
            .flat_map(|table| table.rows.iter().map(move |row| (table, row)));
        rows.filter(|(_, row)| row.wrong_answers > 0)
            .map(|(table, row)| {
                let (name, wrong, all) = (row.contender, row.wrong_answers, row.answers);
                format!("{name} was wrong in {wrong} of {all} answers: {}", table.case)
            })
            .collect()
    }

    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", self.heading);
        if !self.cases.is_empty() {
            let _ = writeln!(
                text,
                "\n## Aims\n\n| case | ours, ns | best peer, ns | x peer | aim | |\n|---|---|---|---|---|---|"
            );
            for table in &self.cases {
                let _ = table.aim(&mut text);
            }
        }
        for table in &self.cases {
            let _ = write!(text, "\n{table}");
        }
        for table in &self.memory {
            let _ = write!(text, "\n{table}");
        }
        text
    }
}

impl KeyedTable {
    fn of(case: KeyedCase, outcomes: &[KeyedOutcome]) -> Self {
        let of_case = outcomes.iter().filter(|outcome| outcome.case == case);
        let mut rows: Vec<KeyedRow> = of_case.filter_map(KeyedRow::of).collect();
        rows.sort_by(|a, b| {
            let key = |row: &KeyedRow| (row.kind == ContenderKind::Floor, row.ns.median);
            key(a).partial_cmp(&key(b)).unwrap_or(core::cmp::Ordering::Equal)
        });
        let key = rows.iter().find(|row| row.kind == ContenderKind::Floor);
        let key_ns = key.map_or(0.0, |row| row.ns.median);
        rows.iter_mut().for_each(|row| row.net_ns -= key_ns);
        let best = rows.iter().find(|row| row.kind == ContenderKind::Peer);
        let best = best.map(|row| (row.contender, row.net_ns));
        for row in rows.iter_mut().filter(|row| row.kind != ContenderKind::Floor) {
            row.to_best_peer = best.map(|(_, best)| row.net_ns / best);
        }
        Self {
            case: case.to_string(),
            key_ns,
            best_peer: best.map(|(name, _)| name),
            target: case.hasher.is_none().then(|| case.target()),
            rows,
        }
    }

    /// A line of the table of aims, if there is one.
    fn aim(&self, text: &mut String) -> fmt::Result {
        let ours = self.rows.iter().find(|row| row.kind == ContenderKind::Ours);
        let peer = self.rows.iter().find(|row| row.kind == ContenderKind::Peer);
        let (Some(ours), Some(peer), Some(target)) = (ours, peer, self.target) else {
            return Ok(());
        };
        let ratio = ours.net_ns / peer.net_ns;
        writeln!(
            text,
            "| {} | {:.1} | {} {:.1} | {ratio:.2} | {target:.2} | {} |",
            self.case,
            ours.net_ns,
            peer.contender,
            peer.net_ns,
            met(ratio <= target)
        )
    }
}

impl KeyedRow {
    fn of(outcome: &KeyedOutcome) -> Option<Self> {
        let ns = Summary::of(&outcome.ns)?;
        Some(Self {
            contender: outcome.entry.name,
            kind: outcome.entry.kind,
            hasher: outcome.entry.hasher,
            ns,
            net_ns: ns.median,
            to_best_peer: None,
            answers: outcome.answers.given,
            wrong_answers: outcome.answers.wrong,
        })
    }
}

impl fmt::Display for KeyedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.case)?;
        let peer = self.best_peer.unwrap_or("none");
        writeln!(
            f,
            "Best peer: {peer}. Making the key took {:.1} ns, taken off in `net`.\n",
            self.key_ns
        )?;
        writeln!(
            f,
            "| contender | hasher | net ns | x peer | ns | quartiles | least..most |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| row.fmt(f))
    }
}

impl fmt::Display for KeyedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ContenderKind::Ours => write!(f, "| **{}**", self.contender)?,
            ContenderKind::Peer | ContenderKind::KeyedPeer => write!(f, "| {}", self.contender)?,
            ContenderKind::Floor => write!(f, "| _{}_", self.contender)?,
        }
        if self.wrong_answers > 0 {
            write!(f, " **{} WRONG ANSWERS**", self.wrong_answers)?;
        }
        let hasher = self.hasher.map(|hasher| hasher.to_string()).unwrap_or_default();
        write!(f, " | {hasher} | {:.1} | ", self.net_ns)?;
        if let Some(ratio) = self.to_best_peer {
            write!(f, "{ratio:.2}")?;
        }
        let ns = self.ns;
        write!(
            f,
            " | {:.1} | {:.1}..{:.1}",
            ns.median, ns.lower_quartile, ns.upper_quartile
        )?;
        writeln!(f, " | {:.1}..{:.1} |", ns.min, ns.max)
    }
}
