//! Replays recorded traffic through rate limits and tells what each would have done to it.
//!
//! This is all of the tool `meter-replay` but its `main`: [`input`] reads files into [`event`]s, [`stream`] brings
//! those of all files into one order, [`replay`] asks the meters of all limits in one pass, and [`report`] writes down
//! what they said. Everything between reading and writing is a function of its arguments.

mod address;
pub mod bad;
pub mod by;
pub mod cli;
mod crowd;
pub mod demo;
mod error;
pub mod event;
pub mod input;
pub mod limit;
mod lineage;
pub mod output;
pub mod progress;
pub mod proxies;
pub mod replay;
pub mod report;
pub mod series;
pub mod stamp;
pub mod stream;
pub mod suggest;
pub mod text;
pub mod trace;

use std::collections::HashSet;
use std::io::{self, Write};
use std::time::Duration;

use cli::reading::Spread;
use cli::{Cli, Format};
pub use error::Error;
use output::Staged;
use progress::Progress;
use replay::{Outcome, Replay, Settings};
use report::{Parameters, Report};
use stream::{Spreader, Stream};
use trace::{Trace, Unit};

/// How a run ended that has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// From all there was to read, but for few bad lines.
    Whole,
    /// From part of it: an input is cut off, or more lines are bad than allowed.
    Partial,
}

/// Does what the command line says: the report to `out`, what else is to be told to `err`.
///
/// # Errors
///
/// Whatever leaves nothing to report. That nobody reads `out` any more is no error.
pub fn run(cli: &Cli, out: &mut impl Write, err: &mut impl Write, progress: Progress) -> Result<Ended, Error> {
    if let Some(text) = cli.instead()? {
        write(out, &text)?;
        return Ok(Ended::Whole);
    }
    names_nothing_twice(cli)?;
    let (trace, outcomes) = measure(cli, progress)?;
    let is_partial = trace.is_cut || trace.has_too_many_bad(cli.reading.max_bad);
    let report = Report {
        parameters: parameters(cli, &trace),
        traffic: report::Traffic {
            unit: trace.unit,
            requests: trace.requests,
            bad_lines: trace.bad.count(),
            first: trace.first,
            last: trace.last,
            late: trace.back.lines,
            latest_by: Duration::from_nanos(trace.back.most_ns),
            is_partial,
        },
        inputs: &trace.inputs,
        notices: &trace.notices,
        keys: &trace.keys,
        outcomes: &outcomes,
    };
    let chart = cli.chart.as_deref().map(|path| (path, report::chart::render(&report)));
    let page = cli.report.as_deref().map(|path| (path, report::html::render(&report)));
    let printed = match cli.format {
        Format::Json => report::json::render(&report),
        Format::Table if cli.demo => {
            let table = report::table::render(&report);
            format!("{}\n{table}\n{}", demo::STORY, demo::LEGEND)
        }
        Format::Table => report::table::render(&report),
    };
    let mut files = Vec::new();
    for (path, text) in chart.iter().chain(&page) {
        let staged = Staged::new(path, text.as_bytes());
        files.push((path, staged.map_err(|source| Error::write_file(path, source))?));
    }
    tell_aside(&trace, err);
    write(out, printed.as_bytes())?;
    for (path, file) in files {
        file.put().map_err(|source| Error::write_file(path, source))?;
    }
    Ok(if is_partial { Ended::Partial } else { Ended::Whole })
}

fn parameters(cli: &Cli, trace: &Trace) -> Parameters {
    let names = cli.files.iter().map(|file| file.display().to_string());
    let bytes = (trace.unit == Unit::Packets).then(|| "bytes".to_owned());
    Parameters {
        inputs: if cli.demo {
            vec!["demo".to_owned()]
        } else {
            names.collect()
        },
        algorithm: cli.algorithm,
        by: trace.by.name(),
        time: cli.time.clone(),
        cost: cli.cost.clone().or(bytes),
        ipv6_prefix: cli.ipv6_prefix,
        most_keys: cli.keys,
        order: trace.order.name(),
        top: cli.top,
        suggest: cli.suggests(),
        spread: cli.reading.spread,
        anonymise: cli.anonymise,
    }
}

/// Whether every file that is to be read or written is named once, and what is to be written has a place.
fn names_nothing_twice(cli: &Cli) -> Result<(), Error> {
    let mut named = HashSet::new();
    for path in cli.files.iter().filter(|path| path.as_os_str() != "-") {
        // As it is named where there is no such file, which is told when it is read.
        if !named.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(Error::CountedTwice {
                path: path.display().to_string(),
            });
        }
    }
    for path in cli.chart.iter().chain(&cli.report) {
        let place = output::resolve(path).map_err(|source| Error::write_file(path, source))?;
        if !named.insert(place) {
            return Err(Error::Overwritten {
                path: path.display().to_string(),
            });
        }
    }
    Ok(())
}

fn write(out: &mut impl Write, text: &[u8]) -> Result<(), Error> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Write(error)),
        _ => Ok(()),
    }
}

/// Replays what the command line names: what there is to tell of the traffic, and what each limit did to it.
///
/// # Errors
///
/// Whatever leaves nothing to report.
pub fn measure(cli: &Cli, progress: Progress) -> Result<(Trace, Vec<Outcome>), Error> {
    let limits = cli.limits()?;
    if cli.files.is_empty() && !cli.demo {
        return Err(Error::NoInput);
    }
    let options = cli.options()?;
    let settings = Settings {
        order: cli.order,
        suggest: cli.suggests(),
        anonymise: cli.anonymise,
    };
    let mut stream = if cli.demo {
        demo::stream()?
    } else {
        Stream::open(&cli.files, cli.order, options, progress)?
    };
    let replay = |is_asked: bool| is_asked.then(|| Replay::new(&limits, settings));
    let mut at_stamp = replay(cli.reading.spread != Spread::Even);
    // Made-up traffic has no coarse stamps.
    let mut even = replay(cli.reading.spread == Spread::Even || cli.reading.spread == Spread::Both && !cli.demo);
    let mut spreader = Spreader::default();
    while let Some(event) = stream.next_event()? {
        if let Some(replay) = &mut at_stamp {
            replay.take(&event, stream.keys())?;
        }
        if let Some(replay) = &mut even {
            spreader.push(event, |event| replay.take(&event, stream.keys()))?;
        }
    }
    if let Some(replay) = &mut even {
        spreader.finish(|event| replay.take(&event, stream.keys()))?;
    }
    let trace = stream.finish()?;
    let outcomes = |replay: &Replay| replay.outcomes(&trace.keys, cli.top);
    let even = even.as_ref().map(outcomes).unwrap_or_default();
    let outcomes = match at_stamp.as_ref().map(outcomes) {
        Some(outcomes) => with_bounds(outcomes, &even),
        None => even,
    };
    Ok((trace, outcomes))
}

/// Adds the bound of evenly spaced requests to each outcome that it differs from.
fn with_bounds(mut outcomes: Vec<Outcome>, even: &[Outcome]) -> Vec<Outcome> {
    for (outcome, even) in outcomes.iter_mut().zip(even) {
        let bound = even.as_spread();
        outcome.spread = (bound != outcome.as_spread()).then_some(bound);
    }
    outcomes
}

/// Quotes the first few bad lines, and names what was empty. If nobody reads that, the report still counts them.
fn tell_aside(trace: &Trace, err: &mut impl Write) {
    for quoted in trace.bad.quoted() {
        let _ = writeln!(err, "{}", text::one_line(quoted));
    }
    let bad = trace.bad.count();
    if bad > 0 {
        let (all, bad) = (text::grouped(trace.lines()), text::grouped(bad));
        let _ = writeln!(
            err,
            "meter-replay: skipped {bad} of {all} {} as bad; the first few are above",
            trace.unit.lines()
        );
    }
    for name in &trace.empty {
        let _ = writeln!(err, "meter-replay: no requests in {}", text::one_line(name));
    }
}
