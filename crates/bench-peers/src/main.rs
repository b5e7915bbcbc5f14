//! `compare`: the cost of a decision in this crate, in every peer, and on the bare hardware

mod cases;
mod contender;
mod contenders;
mod entry;
mod floors;
mod http;
mod keyed;
mod measure;
#[cfg(test)]
mod migrating;
mod random;
mod report;
mod run;
mod stats;
mod stores;
mod tables;
mod ticks;
mod timing;
mod versions;
mod waiting;

use cases::Case;
use clap::Parser;
use core::fmt::Display;
use keyed::flood::Flood;
use keyed::memory::Filling;
use keyed::report::KeyedReport;
use report::MeterReport;
use report::heading::Heading;
use run::Effort;
use std::error::Error;
use std::process::ExitCode;
use tables::cases::KeyedCase;

/// Measure the cost of a decision in this crate, in every peer, and on the bare hardware
///
/// All contenders take turns in one process, in an order shuffled anew each round, and every answer is checked. Exits with 1 if an answer
/// was wrong, never because of a time.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
struct Cli {
    /// Fewer and shorter rounds: under a minute in all
    #[arg(long)]
    quick: bool,

    /// JSON instead of tables
    #[arg(long)]
    json: bool,

    /// Only the cases whose names contain this text, such as `admit, own clock` or `two threads`
    #[arg(long, value_name = "FILTER", default_value = "")]
    case: String,

    /// Measure the cost of waiting instead of decisions
    #[arg(long)]
    waiting: bool,

    /// Measure shared meters instead of decisions, on Redis and PostgreSQL servers that it starts
    #[arg(long)]
    stores: bool,

    /// Measure the cost of layers for a request instead of decisions, in process and on loopback
    #[arg(long)]
    http: bool,

    /// With --http, only make N requests of one contender in process, for a tool that counts instructions
    #[arg(long, num_args = 2, value_names = ["CONTENDER", "N"], requires = "http")]
    requests: Option<Vec<String>>,

    /// Print the bytes of one waiter; used by `--waiting` for its child processes
    #[arg(long, value_name = "CONTENDER", hide = true)]
    memory_of: Option<String>,

    /// Number of rounds (101 unless set, or 25 with --quick)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Measure meters with a key instead: String and u64 keys; one, 4096 and a million of them
    #[arg(long)]
    keyed: bool,

    /// Measure the memory of a live key, each table in a process of its own
    #[arg(long)]
    memory: bool,

    /// With --keyed or --memory, also measure ten million keys
    #[arg(long)]
    large: bool,

    /// 100 million keys through a table for a million
    #[arg(long, conflicts_with_all = ["keyed", "memory"])]
    flood: bool,

    /// Fill a table and print its memory: a contender, a kind of keys, a number
    #[arg(long, hide = true, num_args = 3)]
    fill: Option<Vec<String>>,

    /// The seed that shuffles the order of turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = if let Some(arguments) = &cli.fill {
        fill(arguments)
    } else if let Some(name) = &cli.memory_of {
        bytes_of_waiting(name)
    } else if cli.stores {
        stores(&cli)
    } else if cli.http {
        http(&cli)
    } else if cli.waiting {
        waiting(&cli)
    } else if cli.flood {
        Ok(flood())
    } else if cli.keyed || cli.memory {
        keyed(&cli)
    } else {
        single(&cli)
    };
    match done {
        Ok(Printed { text, wrong }) => {
            println!("{text}");
            wrong.iter().for_each(|line| eprintln!("compare: {line}"));
            if wrong.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}

/// The printed text, and the problems found.
struct Printed {
    text: String,
    wrong: Vec<String>,
}

/// One meter.
fn single(cli: &Cli) -> Result<Printed, Box<dyn Error>> {
    let cases = cli.named(Case::all())?;
    let effort = cli.effort();
    let report = MeterReport::of(&run::rounds(&cases, effort, cli.seed), effort, cli.seed);
    let text = if cli.json { report.json()? } else { report.tables() };
    let wrong = report.wrong();
    Ok(Printed { text, wrong })
}

/// A meter for each key.
fn keyed(cli: &Cli) -> Result<Printed, Box<dyn Error>> {
    let effort = cli.effort();
    let outcomes = if cli.keyed {
        let cases = cli.named(KeyedCase::all(cli.large).into_iter())?;
        keyed::run::rounds(&cases, effort, cli.seed)
    } else {
        Vec::new()
    };
    let memory = if cli.memory {
        keyed::memory::tables(cli.large)?
    } else {
        Vec::new()
    };
    let report = KeyedReport::of(&outcomes, memory, Heading::now(effort, cli.seed));
    let text = if cli.json { report.json()? } else { report.tables() };
    let wrong = report.wrong();
    Ok(Printed { text, wrong })
}

fn flood() -> Printed {
    let flooded = Flood::WHOLE.run(&keyed::flood::progress());
    Printed {
        text: flooded.to_string(),
        wrong: flooded.wrong(),
    }
}

/// Runs a child process of `--memory`.
fn fill(arguments: &[String]) -> Result<Printed, Box<dyn Error>> {
    let filling = Filling::of(arguments).ok_or("no contender of that name takes such keys")?;
    let bytes = filling.bytes().ok_or("this system does not report resident memory")?;
    Ok(Printed {
        text: bytes.to_string(),
        wrong: Vec::new(),
    })
}

impl Cli {
    fn effort(&self) -> Effort {
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        Effort {
            rounds: self.rounds.unwrap_or(effort.rounds),
            ..effort
        }
    }

    /// The cases that were asked for.
    fn named<C: Display>(&self, all: impl Iterator<Item = C>) -> Result<Vec<C>, String> {
        let (named, others): (Vec<C>, Vec<C>) = all.partition(|case| case.to_string().contains(&self.case));
        if named.is_empty() {
            let names: String = others.iter().map(|case| format!("\n  {case}")).collect();
            return Err(format!("no case is called {:?}; there are:{names}", self.case));
        }
        Ok(named)
    }
}

/// Measures decisions of a store. A time never fails the run: aims that were missed are printed.
fn stores(cli: &Cli) -> Result<Printed, Box<dyn Error>> {
    let effort = if cli.quick {
        stores::StoresEffort::QUICK
    } else {
        stores::StoresEffort::FULL
    };
    let report = stores::run(effort)?;
    report.missed().for_each(|aim| eprintln!("compare: {aim}"));
    let text = if cli.json { report.json()? } else { report.to_string() };
    Ok(Printed {
        text,
        wrong: Vec::new(),
    })
}

/// Measures the cost of layers.
fn http(cli: &Cli) -> Result<Printed, Box<dyn Error>> {
    if let Some([contender, n]) = cli.requests.as_deref() {
        let text = http::requests(contender, n.parse()?).ok_or("no layer of that name")?;
        return Ok(Printed {
            text,
            wrong: Vec::new(),
        });
    }
    let mut effort = if cli.quick {
        http::HttpEffort::QUICK
    } else {
        http::HttpEffort::FULL
    };
    effort.rounds = cli.rounds.unwrap_or(effort.rounds);
    let report = http::run(effort, cli.seed);
    let text = if cli.json { report.json()? } else { report.to_string() };
    let wrong = report.wrong().to_vec();
    Ok(Printed { text, wrong })
}

/// Measures the cost of waiting.
fn waiting(cli: &Cli) -> Result<Printed, Box<dyn Error>> {
    let effort = if cli.quick {
        waiting::WaitingEffort::QUICK
    } else {
        waiting::WaitingEffort::FULL
    };
    let report = waiting::run(effort);
    let text = if cli.json { report.json()? } else { report.to_string() };
    Ok(Printed {
        text,
        wrong: Vec::new(),
    })
}

/// Runs a child process of `--waiting`.
fn bytes_of_waiting(name: &str) -> Result<Printed, Box<dyn Error>> {
    let text = waiting::bytes_here(name).ok_or("no contender of that name waits")?;
    Ok(Printed {
        text,
        wrong: Vec::new(),
    })
}
