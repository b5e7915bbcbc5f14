//! `meter-replay`: what would a rate limit have done to yesterday's traffic?

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use meter_replay::cli::Cli;

fn main() -> ExitCode {
    let done = meter_replay::run(&Cli::parse(), &mut io::stdout(), &mut io::stderr());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nobody to read it, the exit code has to do.
            let _ = writeln!(io::stderr(), "meter-replay: {error}");
            ExitCode::from(2)
        }
    }
}
