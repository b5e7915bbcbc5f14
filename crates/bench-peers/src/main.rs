//! `compare`: what does a decision cost, here, in every peer, and on the bare hardware?

mod cases;
mod contender;
mod contenders;
mod floors;
mod measure;
mod report;
mod run;
mod stats;
mod ticks;
mod timing;
mod versions;
mod waiting;

use cases::Case;
use clap::Parser;
use report::Report;
use run::Effort;
use std::process::ExitCode;

/// What does a decision cost, here, in every peer, and on the bare hardware?
///
/// All take turns in one process, in an order shuffled anew each round, and each has every answer counted. Exits with 1 when an
/// answer was wrong, never because of a time.
#[derive(Debug, Parser)]
#[command(name = "compare", version)]
struct Cli {
    /// Fewer and shorter rounds: under a minute in all
    #[arg(long)]
    quick: bool,

    /// JSON instead of tables
    #[arg(long)]
    json: bool,

    /// Only the cases whose name holds this, like `admit, own clock` or `two threads`
    #[arg(long, value_name = "FILTER", default_value = "")]
    case: String,

    /// Instead of decisions, what it costs to wait for them
    #[arg(long)]
    waiting: bool,

    /// The bytes of one that waits; what `--waiting` calls itself with
    #[arg(long, value_name = "CONTENDER", hide = true)]
    memory_of: Option<String>,

    /// Rounds, instead of 101, or 25 if quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// What the order of turns is shuffled by
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(name) = &cli.memory_of {
        return if waiting::print_bytes(name) {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    }
    if cli.waiting {
        return waiting(&cli);
    }
    let cases: Vec<Case> = Case::all()
        .filter(|case| case.to_string().contains(&cli.case))
        .collect();
    if cases.is_empty() {
        eprintln!("compare: no case is called {:?}; there are:", cli.case);
        Case::all().for_each(|case| eprintln!("  {case}"));
        return ExitCode::from(2);
    }
    let effort = if cli.quick { Effort::QUICK } else { Effort::FULL };
    let effort = Effort {
        rounds: cli.rounds.unwrap_or(effort.rounds),
        ..effort
    };

    let results = run::rounds(&cases, effort, cli.seed);
    let report = Report::of(&results, effort, cli.seed);
    let text = if cli.json { report.json() } else { Ok(report.tables()) };
    match text {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("compare: {error}");
            return ExitCode::from(2);
        }
    }

    let wrong = report.wrong();
    if wrong.is_empty() {
        return ExitCode::SUCCESS;
    }
    wrong.iter().for_each(|line| eprintln!("compare: {line}"));
    ExitCode::FAILURE
}

fn waiting(cli: &Cli) -> ExitCode {
    let effort = if cli.quick {
        waiting::Effort::QUICK
    } else {
        waiting::Effort::FULL
    };
    let report = waiting::run(effort);
    match if cli.json {
        report.json()
    } else {
        Ok(report.to_string())
    } {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("compare: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
