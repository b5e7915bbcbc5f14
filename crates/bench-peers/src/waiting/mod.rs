//! The cost of waiting: crates that add `acquire().await` to a meter, side by side.

mod contender;
mod contenders;
mod measure;

use crate::contender::{ContenderKind, Package};
use crate::stats::{Summary, float};
use crate::versions;
use core::fmt;
use serde::Serialize;
use std::env;
use std::process::Command;

/// The number of timings of a ready acquire, and of a crowd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitingEffort {
    pub(crate) ready_rounds: u32,
    pub(crate) crowd_rounds: u32,
}

impl WaitingEffort {
    pub(crate) const QUICK: Self = Self {
        ready_rounds: 25,
        crowd_rounds: 3,
    };
    pub(crate) const FULL: Self = Self {
        ready_rounds: 101,
        crowd_rounds: 9,
    };
}

/// A contender as a row.
#[derive(Debug, Clone, Copy)]
struct WaitingEntry {
    name: &'static str,
    kind: ContenderKind,
    package: Package,
    ready_ns: fn() -> f64,
    crowd: fn() -> measure::CrowdResult,
    bytes: fn() -> f64,
}

/// The results of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct WaitingReport {
    rows: Vec<WaitingRow>,
}

#[derive(Debug, Serialize)]
struct WaitingRow {
    contender: &'static str,
    kind: ContenderKind,
    version: &'static str,
    /// Nanoseconds of an acquire that need not wait.
    ready_ns: Summary,
    /// Processor time for each cell that a thousand tasks wait for at a million a second.
    crowd_cpu_ns: Summary,
    /// The cells that these tasks got, as a part of the limit.
    crowd_share: f64,
    /// Bytes of memory for each waiter.
    bytes: f64,
}

/// Takes turns.
pub(crate) fn run(effort: WaitingEffort) -> WaitingReport {
    let entries = contenders::entries();
    let mut ready = vec![Vec::new(); entries.len()];
    let mut crowds = vec![Vec::new(); entries.len()];
    let mut shares = vec![0.0; entries.len()];
    for round in 0..effort.ready_rounds {
        for turn in 0..entries.len() {
            let seat = (turn + usize::try_from(round).unwrap_or(0)) % entries.len();
            ready[seat].push((entries[seat].ready_ns)());
        }
    }
    for _ in 0..effort.crowd_rounds {
        for (seat, entry) in entries.iter().enumerate() {
            let crowd = (entry.crowd)();
            crowds[seat].push(crowd.cpu_ns_per_cell);
            shares[seat] += crowd.share / f64::from(effort.crowd_rounds);
        }
    }
    let rows = entries.iter().enumerate().filter_map(|(seat, entry)| {
        Some(WaitingRow {
            contender: entry.name,
            kind: entry.kind,
            version: versions::of(entry.package).unwrap_or("this"),
            ready_ns: Summary::of(&ready[seat])?,
            crowd_cpu_ns: Summary::of(&crowds[seat])?,
            crowd_share: shares[seat],
            bytes: bytes(entry.name)?,
        })
    });
    WaitingReport { rows: rows.collect() }
}

/// The memory of one waiter, measured by a process of its own, whose pages are otherwise untouched.
fn bytes(name: &str) -> Option<f64> {
    let output = Command::new(env::current_exe().ok()?)
        .args(["--memory-of", name])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Prints the bytes of one waiter, in a process of its own.
pub(crate) fn bytes_here(name: &str) -> Option<String> {
    let entry = contenders::entries().into_iter().find(|entry| entry.name == name)?;
    Some((entry.bytes)().to_string())
}

impl WaitingReport {
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    fn best(&self, of: impl Fn(&WaitingRow) -> f64) -> f64 {
        let peers = self.rows.iter().filter(|row| row.kind == ContenderKind::Peer).map(of);
        peers.fold(f64::INFINITY, f64::min)
    }
}

impl fmt::Display for WaitingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ready, crowd, bytes) = (
            self.best(|row| row.ready_ns.median),
            self.best(|row| row.crowd_cpu_ns.median),
            self.best(|row| row.bytes),
        );
        writeln!(f, "## waiting\n")?;
        let (tasks, rate) = (measure::TASKS, float(contender::RATE));
        writeln!(
            f,
            "Ready: an acquire that need not wait. Crowd: {tasks} tasks through {rate:e} cells a second, processor time per cell"
        )?;
        writeln!(
            f,
            "and the share of the limit they got. Bytes: resident, per boxed future that waits.\n"
        )?;
        writeln!(
            f,
            "| contender | ready ns | quartiles | x peer | crowd ns | quartiles | x peer | share | bytes | x peer |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let bold = if row.kind == ContenderKind::Ours { "**" } else { "" };
            write!(f, "| {bold}{}{bold} {}", row.contender, row.version)?;
            for (summary, best) in [(row.ready_ns, ready), (row.crowd_cpu_ns, crowd)] {
                let (low, median, high) = (summary.lower_quartile, summary.median, summary.upper_quartile);
                write!(f, " | {median:.1} | {low:.1}..{high:.1} | {:.2}", median / best)?;
            }
            writeln!(
                f,
                " | {:.3} | {:.0} | {:.2} |",
                row.crowd_share,
                row.bytes,
                row.bytes / bytes
            )?;
        }
        Ok(())
    }
}
