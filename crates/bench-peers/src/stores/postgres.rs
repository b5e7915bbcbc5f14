//! Decisions a second of a PostgreSQL server, by its own `pgbench`: 8 clients, prepared statements, each decision a transaction.

use super::{Aim, Bound, StoresEffort};
use crate::stats::Summary;
use core::fmt;
use ratelimit_meter_store_check::postgres::Postgres;
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const OURS: &str = "ours, meter.check";
const FOR_UPDATE: &str = "SELECT FOR UPDATE in a function";

/// A limit that is never met on one key or on 100,000 keys, or a limit that is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Workload {
    HotKey,
    ManyKeys,
    Denied,
}

const LOADS: [Workload; 3] = [Workload::HotKey, Workload::ManyKeys, Workload::Denied];

/// A decision in SQL, where `KEY` stands for the key.
struct SqlContender {
    name: &'static str,
    admitted: &'static str,
    /// Nothing for contenders that do not decide.
    denied: Option<&'static str>,
}

const CONTENDERS: [SqlContender; 11] = [
    SqlContender {
        name: "SELECT 1",
        admitted: "SELECT 1;",
        denied: None,
    },
    SqlContender {
        name: OURS,
        admitted: "SELECT * FROM meter.check(KEY, 1, 1, 1, 1000000);",
        denied: Some("SELECT * FROM meter.check(KEY, 86400000000, 1, 86400000000, 864000000000);"),
    },
    SqlContender {
        name: FOR_UPDATE,
        admitted: "SELECT * FROM by_lock(KEY, 1, 1, 1000000);",
        denied: Some("SELECT * FROM by_lock(KEY, 1, 86400000000, 864000000000);"),
    },
    SqlContender {
        name: "SELECT FOR UPDATE, four statements",
        admitted: "BEGIN;\nSELECT t, level FROM bucket WHERE key = KEY FOR UPDATE;\n\
            UPDATE bucket SET t = t + 1, level = level WHERE key = KEY;\nCOMMIT;",
        denied: None,
    },
    SqlContender {
        name: "advisory lock in a function",
        admitted: "SELECT * FROM by_advisory_lock(KEY, 1, 1, 1000000);",
        denied: Some("SELECT * FROM by_advisory_lock(KEY, 1, 86400000000, 864000000000);"),
    },
    SqlContender {
        name: "upsert that always writes",
        admitted: "SELECT * FROM by_upsert(KEY, 1, 1, 1000000);",
        denied: Some("SELECT * FROM by_upsert(KEY, 1, 86400000000, 864000000000);"),
    },
    SqlContender {
        name: "window counter",
        admitted: "INSERT INTO windows AS w VALUES (KEY, (extract(epoch FROM clock_timestamp()) / 60)::bigint, 1) \
            ON CONFLICT (key, start) DO UPDATE SET count = w.count + 1 RETURNING count;",
        denied: None,
    },
    SqlContender {
        name: "ours, meter.allow",
        admitted: "SELECT * FROM meter.allow(KEY, '1000000/s');",
        denied: Some("SELECT * FROM meter.allow(KEY, '1/d burst 10');"),
    },
    SqlContender {
        name: "ours, two limits",
        admitted: "SELECT * FROM meter.check_all(ARRAY[KEY || 'a', KEY || 'b'], '{1,1}', '{1,1}', '{1,1}', '{1000000,1000000}', '{0,0}');",
        denied: Some(
            "SELECT * FROM meter.check_all(ARRAY[KEY, KEY || 'a'], '{86400000000,1}', '{1,1}', '{86400000000,1}', \
            '{864000000000,1000000}', '{0,0}');",
        ),
    },
    SqlContender {
        name: "ours, check_rate_limit",
        admitted: "SELECT * FROM check_rate_limit(KEY, 1, 1000000, INTERVAL '1 second');",
        denied: Some("SELECT * FROM check_rate_limit(KEY, 1, 10, INTERVAL '1 day');"),
    },
    SqlContender {
        name: "check_rate_limit as posted, repaired (races)",
        admitted: "SELECT * FROM posted(KEY, 1, 1000000, INTERVAL '1 second');",
        denied: Some("SELECT * FROM posted(KEY, 1, 10, INTERVAL '1 day');"),
    },
];

impl SqlContender {
    /// Returns the script of `pgbench` for a load.
    fn script(&self, load: Workload) -> Option<String> {
        Some(match load {
            Workload::HotKey => self.admitted.replace("KEY", "'hot'"),
            Workload::ManyKeys => format!(
                "\\set i random(1, 100000)\n{}",
                self.admitted.replace("KEY", "('k' || :i)")
            ),
            Workload::Denied => self.denied?.replace("KEY", "'denied'"),
        })
    }
}

/// Decisions a second.
#[derive(Debug, Serialize)]
struct PostgresRow {
    contender: &'static str,
    load: Workload,
    per_second: Summary,
    /// The median over rounds of the multiple of `SELECT FOR UPDATE` in a function.
    of_for_update: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct PostgresReport {
    server: String,
    rows: Vec<PostgresRow>,
    /// Returns whether a round of this crate's denials left the row unchanged.
    denials_write_nothing: bool,
}

/// Runs all, each contender in turn in each round; `None` where PostgreSQL is not installed.
pub(crate) fn measure(effort: StoresEffort) -> Result<Option<PostgresReport>, Box<dyn Error>> {
    let Some(server) = Postgres::start() else {
        return Ok(None);
    };
    let client = ServerPrograms::of(&server)?;
    client.psql("-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../postgres/sql/meter.sql"))?;
    client.psql("-c", include_str!("sql/contenders.sql"))?;
    client.psql("-c", "VACUUM ANALYZE")?;
    let cells: Vec<_> = LOADS
        .into_iter()
        .flat_map(|load| CONTENDERS.iter().map(move |contender| (contender, load)))
        .filter_map(|(contender, load)| Some((contender.name, load, contender.script(load)?)))
        .collect();
    let mut rates = vec![Vec::new(); cells.len()];
    for _ in 0..effort.postgres_rounds {
        for ((_, _, script), rates) in cells.iter().zip(&mut rates) {
            rates.push(client.per_second(script)?);
        }
    }
    let base = |load| {
        let is_base = |cell: &(&str, Workload, String)| (cell.0, cell.1) == (FOR_UPDATE, load);
        cells.iter().position(is_base).map(|at| &rates[at])
    };
    let row = |(&(contender, load, _), rates): (&(&'static str, Workload, String), &Vec<f64>)| {
        let multiples: Vec<_> = rates.iter().zip(base(load)?).map(|(rate, base)| rate / base).collect();
        Some(PostgresRow {
            contender,
            load,
            per_second: Summary::of(rates)?,
            of_for_update: Summary::of(&multiples)?.median,
        })
    };
    let rows: Option<Vec<_>> = cells.iter().zip(&rates).map(row).collect();
    let denied = cells.iter().find(|cell| (cell.0, cell.1) == (OURS, Workload::Denied));
    let (_, _, denied) = denied.ok_or("no denials of ours")?;
    let version = || client.psql("-c", "SELECT xmin, xmax, ctid FROM meter.bucket WHERE key = 'denied'");
    // The first calls are admitted.
    client.per_second(denied)?;
    let before = version()?;
    client.per_second(denied)?;
    Ok(Some(PostgresReport {
        server: client.psql("-c", "SHOW server_version")?.trim().to_owned(),
        rows: rows.ok_or("no rounds")?,
        denials_write_nothing: version()? == before,
    }))
}

/// The programs of a server's own version, and a folder for scripts.
struct ServerPrograms<'a> {
    server: &'a Postgres,
    folder: PathBuf,
}

impl<'a> ServerPrograms<'a> {
    fn of(server: &'a Postgres) -> Result<Self, Box<dyn Error>> {
        let folder = std::env::temp_dir().join(format!("ratelimit-meter-pgbench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { server, folder })
    }

    /// Runs one command of `psql` and returns its output.
    fn psql(&self, option: &str, value: &str) -> Result<String, Box<dyn Error>> {
        self.run("psql", &["-XqAt", "-v", "ON_ERROR_STOP=1", option, value])
    }

    /// Returns the transactions a second of a script, counted for a second.
    fn per_second(&self, script: &str) -> Result<f64, Box<dyn Error>> {
        let file = self.folder.join("script.sql");
        fs::write(&file, script)?;
        let file = file.to_string_lossy();
        let printed = self.run(
            "pgbench",
            &["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", "1", "-f", &file],
        )?;
        let rate = printed.lines().rev().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate
            .and_then(|rate| rate.split(' ').next())
            .ok_or("pgbench printed no tps")?;
        Ok(rate.parse()?)
    }

    fn run(&self, program: &str, options: &[&str]) -> Result<String, Box<dyn Error>> {
        let beside = self.server.programs().join(program);
        let path = if beside.exists() { beside } else { program.into() };
        let output = Command::new(path)
            .args([
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-p",
                &self.server.port().to_string(),
            ])
            .args(options)
            .arg("postgres")
            .output()?;
        if output.status.success() {
            Ok(String::from_utf8(output.stdout)?)
        } else {
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
    }
}

impl Drop for ServerPrograms<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl PostgresReport {
    pub(super) fn judge(&self) -> Vec<Aim> {
        let is_hot = |row: &&PostgresRow| row.contender == OURS && row.load == Workload::HotKey;
        let hot = self.rows.iter().find(is_hot).map(|row| {
            let aim = "PostgreSQL decisions a second of a hot key, of SELECT FOR UPDATE in a function";
            Aim::new(aim, row.of_for_update, Bound::AtLeast(1.5))
        });
        let writes = if self.denials_write_nothing { 0.0 } else { 1.0 };
        let writes = Aim::new(
            "row versions that PostgreSQL writes for a denial",
            writes,
            Bound::AtMost(0.0),
        );
        hot.into_iter().chain([writes]).collect()
    }
}

impl fmt::Display for PostgresReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nPostgreSQL {}, unlogged tables, 8 clients of pgbench; decisions a second\n\n\
             | | hot key | x FOR UPDATE | 100,000 keys | x FOR UPDATE | denied | x FOR UPDATE |\n|---|---:|---:|---:|---:|---:|---:|",
            self.server
        )?;
        for contender in &CONTENDERS {
            write!(f, "| {} |", contender.name)?;
            for load in LOADS {
                let row = self
                    .rows
                    .iter()
                    .find(|row| (row.contender, row.load) == (contender.name, load));
                match row {
                    Some(row) => write!(f, " {:.0} | {:.2} |", row.per_second.median, row.of_for_update)?,
                    None => f.write_str(" | |")?,
                }
            }
            writeln!(f)?;
        }
        let writes = if self.denials_write_nothing {
            "nothing"
        } else {
            "row versions"
        };
        writeln!(f, "\nA denial of meter.check writes {writes}.")
    }
}
