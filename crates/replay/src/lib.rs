//! Replays recorded traffic through rate limits and tells what each would have done to it.
//!
//! This is all of the tool `meter-replay` but its `main`: [`input`] reads files into [`event`]s, [`merge`]
//! brings those into the order of time, [`replay`] asks the meters of all limits in one pass, and [`report`]
//! writes down what they said. Everything between reading and writing is a function of its arguments.

pub mod cli;
pub mod demo;
mod error;
pub mod event;
pub mod input;
pub mod limit;
mod lineage;
pub mod merge;
pub mod replay;
pub mod report;
pub mod stamp;
pub mod text;

use std::io::{self, Write};

use cli::Cli;
pub use error::Error;

/// Does what the command line says: the report to `out`, what else is to be told to `err`.
///
/// # Errors
///
/// Whatever leaves nothing to report. That nobody reads `out` any more is no error.
pub fn run(cli: &Cli, out: &mut impl Write, err: &mut impl Write) -> Result<(), Error> {
    let limits = cli.limits()?;
    if cli.files.is_empty() && !cli.demo {
        return Err(Error::NoInput);
    }
    let trace = if cli.demo {
        demo::trace()?
    } else {
        input::read(&cli.files, &cli.options())?
    };
    let outcomes = replay::replay(&trace, &limits, cli.top)?;
    tell_bad_lines(&trace, err);
    let mut report = report::render(&trace, cli.algorithm, &outcomes, cli.top);
    if cli.demo {
        report = format!("{}\n{report}\n{}", demo::STORY, demo::LEGEND);
    }
    match out.write_all(report.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Write(error)),
        _ => Ok(()),
    }
}

/// Quotes the first few bad lines. If nobody reads that, the report still counts them.
fn tell_bad_lines(trace: &event::Trace, err: &mut impl Write) {
    for quoted in trace.bad.quoted() {
        let _ = writeln!(err, "{quoted}");
    }
    let bad = trace.bad.count();
    if bad > 0 {
        let (all, bad) = (text::grouped(trace.lines()), text::grouped(bad));
        let _ = writeln!(
            err,
            "meter-replay: skipped {bad} of {all} lines as bad; the first few are above"
        );
    }
}
