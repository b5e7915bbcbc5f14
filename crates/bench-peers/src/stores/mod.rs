//! `compare --stores`: the cost of a decision for a Redis server, script by script. Also the calls that the local layer saves, and the decisions of a
//! PostgreSQL server in a second.

mod postgres;
mod scripts;
mod throughput;

use crate::stats::Summary;
use core::fmt;
use ratelimit_meter_store_check::server::Server;
use serde::Serialize;
use std::error::Error;

/// The rounds of each part, the calls of each script in a round, and the checks of a throughput. A round of PostgreSQL takes half a minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoresEffort {
    pub(crate) rounds: u32,
    pub(crate) calls: u32,
    pub(crate) throughput_rounds: u32,
    pub(crate) checks: u32,
    pub(crate) postgres_rounds: u32,
}

impl StoresEffort {
    /// About a minute and a half.
    pub(crate) const QUICK: Self = Self {
        rounds: 25,
        calls: 1_000,
        throughput_rounds: 3,
        checks: 2_048,
        postgres_rounds: 2,
    };
    /// About five minutes.
    pub(crate) const FULL: Self = Self {
        rounds: 101,
        calls: 2_000,
        throughput_rounds: 9,
        checks: 8_192,
        postgres_rounds: 7,
    };
}

/// The aim of a ratio.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A ratio of this run with its bound.
#[derive(Debug, Serialize)]
struct Aim {
    aim: String,
    ratio: f64,
    bound: Bound,
}

impl Aim {
    fn new(aim: impl Into<String>, ratio: f64, bound: Bound) -> Self {
        let aim = aim.into();
        Self { aim, ratio, bound }
    }

    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.ratio <= most,
            Bound::AtLeast(least) => self.ratio >= least,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (aim, ratio) = (&self.aim, self.ratio);
        let met = if self.is_met() { "met" } else { "MISSED" };
        match self.bound {
            Bound::AtMost(most) => write!(f, "| {aim} | {ratio:.2} | at most {most} | {met} |"),
            Bound::AtLeast(least) => write!(f, "| {aim} | {ratio:.2} | at least {least} | {met} |"),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct StoresReport {
    server: String,
    scripts: Vec<ScriptRow>,
    throughput: Vec<ThroughputRow>,
    /// Empty if PostgreSQL is not installed.
    postgres: Option<postgres::PostgresReport>,
    aims: Vec<Aim>,
}

/// The time of the server for a call of a script.
#[derive(Debug, Serialize)]
struct ScriptRow {
    script: &'static str,
    admitted_us: Summary,
    denied_us: Summary,
    /// Lower quartiles, as a multiple of the float GCRA's: other work of the machine only adds to a time.
    admitted_of_float: f64,
    denied_of_float: f64,
}

/// Checks of one key by 64 tasks.
#[derive(Debug, Serialize)]
struct ThroughputRow {
    setting: &'static str,
    per_second: Summary,
    calls_per_check: f64,
    /// The median over rounds of the multiple of the first row's.
    of_plain: f64,
}

/// Runs all, each script in turn in each round; an error where there is no `redis-server`.
pub(crate) fn run(effort: StoresEffort) -> Result<StoresReport, Box<dyn Error>> {
    let server = Server::start(&[]).ok_or("no redis-server: install it, or name one by METER_TEST_REDIS")?;
    let info = server.command(&["INFO", "server"])?;
    let version = |name: &str| info.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    let mut report = StoresReport {
        server: version("valkey_version:")
            .or(version("redis_version:"))
            .unwrap_or("unknown")
            .to_owned(),
        scripts: scripts::measure(&server, effort)?,
        throughput: throughput::measure(&server, effort)?,
        postgres: postgres::measure(effort)?,
        aims: Vec::new(),
    };
    report.aims = report.judge();
    Ok(report)
}

impl StoresReport {
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    fn judge(&self) -> Vec<Aim> {
        let mut aims = Vec::new();
        if let Some(fast) = self.scripts.iter().find(|row| row.script == scripts::FAST) {
            for (kind, ratio, most) in [
                ("admitted", fast.admitted_of_float, 0.95),
                ("denied", fast.denied_of_float, 0.8),
            ] {
                let aim = format!("server time of fast.lua, of a float GCRA, {kind}");
                aims.push(Aim::new(aim, ratio, Bound::AtMost(most)));
            }
        }
        for row in &self.throughput {
            if row.setting == throughput::LEASED {
                let aim = "checks a second of a leased hot key, of one call a check";
                aims.push(Aim::new(aim, row.of_plain, Bound::AtLeast(50.0)));
            }
            if row.setting == throughput::DENIED {
                let aim = "calls for each remembered denial";
                aims.push(Aim::new(aim, row.calls_per_check, Bound::AtMost(0.001)));
            }
        }
        aims.extend(self.postgres.iter().flat_map(postgres::PostgresReport::judge));
        aims
    }

    /// The aims that were missed.
    pub(crate) fn missed(&self) -> impl Iterator<Item = &impl fmt::Display> {
        self.aims.iter().filter(|aim| !aim.is_met())
    }
}

impl fmt::Display for StoresReport {
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
            writeln!(
                f,
                "| {} | {:.0} | {:.1} | {:.4} |",
                row.setting, row.per_second.median, row.of_plain, row.calls_per_check
            )?;
        }
        match &self.postgres {
            Some(postgres) => postgres.fmt(f)?,
            None => writeln!(f, "\nPostgreSQL is not installed.")?,
        }
        writeln!(f, "\n| aim | this run | | |\n|---|---:|---|---|")?;
        self.aims.iter().try_for_each(|aim| writeln!(f, "{aim}"))
    }
}
