//! `meter-replay`: the effect of rate limits on recorded traffic.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use meter_replay::Ended;
use meter_replay::cli::{self, Cli};
use meter_replay::progress::Progress;
use meter_replay::text;

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return print_error(&cli::complaint(&error)),
        Err(help) => help.exit(),
    };
    cli.words = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match meter_replay::run(&cli, &mut io::stdout(), &mut io::stderr(), Progress::on_stderr()) {
        Ok(Ended::Whole) => ExitCode::SUCCESS,
        Ok(Ended::Partial) => ExitCode::from(3),
        Err(error) => print_error(&error),
    }
}

/// Prints the reason why there is no report.
fn print_error(error: &impl Display) -> ExitCode {
    // If nothing reads stderr, the exit code has to suffice.
    let _ = writeln!(io::stderr(), "meter-replay: {}", text::one_line(error));
    ExitCode::from(2)
}
