//! `compare --stores`: the cost of a decision for a Redis server, script by script, the calls that the local layer saves, and the decisions of a
//! PostgreSQL server in a second.

mod postgres;
mod scripts;
mod throughput;

use crate::stats::Summary;
use core::fmt;
use ratelimit_meter_store_check::server::Server;
use serde::Serialize;
use std::error::Error;

/// The calls of each script in a round, the rounds, and the checks of a throughput.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) calls: u32,
    pub(crate) checks: u32,
    pub(crate) postgres_rounds: u32,
    pub(crate) postgres_seconds: u32,
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 25,
        calls: 1_000,
        checks: 2_000,
        postgres_rounds: 2,
        postgres_seconds: 1,
    };
    pub(crate) const FULL: Self = Self {
        rounds: 101,
        calls: 2_000,
        checks: 10_000,
        postgres_rounds: 5,
        postgres_seconds: 3,
    };
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    server: String,
    scripts: Vec<ScriptRow>,
    throughput: Vec<ThroughputRow>,
    /// Nothing where PostgreSQL is not installed.
    postgres: Option<postgres::Report>,
}

/// The time of the server for a call of a script.
#[derive(Debug, Serialize)]
struct ScriptRow {
    script: &'static str,
    admitted_us: Summary,
    denied_us: Summary,
    /// Lower quartiles, as a multiple of the float GCRA's: what else the machine does only adds to a time.
    admitted_of_float: f64,
    denied_of_float: f64,
}

/// Checks of one key by 64 tasks.
#[derive(Debug, Serialize)]
struct ThroughputRow {
    setting: &'static str,
    per_second: f64,
    calls_per_check: f64,
    /// As a multiple of the first row's.
    of_plain: f64,
}

/// Runs all, each script in turn in each round; an error where there is no `redis-server`.
pub(crate) fn run(effort: Effort) -> Result<Report, Box<dyn Error>> {
    let server = Server::start(&[]).ok_or("no redis-server: install it, or name one by METER_TEST_REDIS")?;
    let info = server.command(&["INFO", "server"])?;
    let version = |name: &str| info.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    Ok(Report {
        server: version("valkey_version:")
            .or(version("redis_version:"))
            .unwrap_or("unknown")
            .to_owned(),
        scripts: scripts::measure(&server, effort)?,
        throughput: throughput::measure(&server, effort)?,
        postgres: postgres::measure(effort)?,
    })
}

impl Report {
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The aims that were missed: ratios of one run.
    pub(crate) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if let Some(fast) = self.scripts.iter().find(|row| row.script == scripts::FAST) {
            for (kind, ratio, most) in [
                ("admitted", fast.admitted_of_float, 0.95),
                ("denied", fast.denied_of_float, 0.8),
            ] {
                if ratio > most {
                    missed.push(format!("fast.lua, {kind}: {ratio:.2} of the float GCRA, not {most}"));
                }
            }
        }
        for row in &self.throughput {
            if row.setting == throughput::LEASED && row.of_plain < 50.0 {
                missed.push(format!(
                    "a leased hot key: {:.0} times the throughput, not 50",
                    row.of_plain
                ));
            }
            if row.setting == throughput::DENIED && row.calls_per_check > 0.01 {
                missed.push(format!(
                    "remembered denials: {:.3} calls a check, not none",
                    row.calls_per_check
                ));
            }
        }
        missed.extend(self.postgres.iter().flat_map(postgres::Report::missed));
        missed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Server {}; lower quartiles of the server's own time for a call\n",
            self.server
        )?;
        writeln!(
            f,
            "| script | admitted us | x float | denied us | x float |\n|---|---:|---:|---:|---:|"
        )?;
        for row in &self.scripts {
            writeln!(
                f,
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                row.script,
                row.admitted_us.lower_quartile,
                row.admitted_of_float,
                row.denied_us.lower_quartile,
                row.denied_of_float
            )?;
        }
        writeln!(
            f,
            "\n64 tasks of one key, one connection\n\n| | checks/s | x plain | calls a check |\n|---|---:|---:|---:|"
        )?;
        for row in &self.throughput {
            let (setting, per_second) = (row.setting, row.per_second);
            writeln!(
                f,
                "| {setting} | {per_second:.0} | {:.1} | {:.4} |",
                row.of_plain, row.calls_per_check
            )?;
        }
        match &self.postgres {
            Some(postgres) => postgres.fmt(f),
            None => writeln!(f, "\nPostgreSQL is not installed."),
        }
    }
}
