//! `meter-replay`: what would a rate limit have done to yesterday's traffic?

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use meter_replay::cli::Cli;
use meter_replay::progress::Progress;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match meter_replay::run(&cli, &mut io::stdout(), &mut io::stderr(), Progress::on_stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nobody to read it, the exit code has to do.
            let _ = writeln!(io::stderr(), "meter-replay: {error}");
            ExitCode::from(2)
        }
    }
}
