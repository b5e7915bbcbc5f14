//! Replays recorded traffic through rate limits and reports the effect of each limit on the traffic.
//!
//! This crate is the tool `meter-replay` without its `main`. [`input`] reads files into [`event`]s. [`stream`] puts the events of all files into one
//! order. [`replay`] asks the meters of all limits in one pass, and [`report`] writes down their decisions. Everything between reading and writing is
//! a function of its arguments.

mod address;
pub mod bad;
mod bounds;
pub mod by;
pub mod cli;
mod crowd;
pub mod demo;
pub mod denied;
pub mod emit;
mod error;
pub mod event;
pub mod follow;
pub mod input;
mod lending;
pub mod limit;
mod limiter;
mod lineage;
pub mod model;
pub mod output;
pub mod progress;
pub mod proxies;
mod quotas;
pub mod replay;
pub mod report;
pub mod select;
pub mod series;
pub mod stamp;
#[cfg(feature = "store")]
pub mod stored;
pub mod stream;
pub mod suggest;
pub mod text;
pub mod trace;
mod verdict;

use std::collections::HashSet;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use bounds::Bounds;
use by::By;
use cli::Cli;
use denied::DeniedRows;
pub use error::Error;
use event::{Event, Keys};
use follow::{Stop, Tail};
use input::{Input, Options};
use limit::LimitSpec;
use output::Staged;
use progress::Progress;
use replay::{Outcome, Replay, Settings};
use report::live::Lately;
use report::{Parameters, Report};
use stream::Stream;
use trace::{Order, Trace, Unit};

/// Minimum time between two drawings of a live table.
const REDRAW: Duration = Duration::from_secs(1);

/// The completeness of a finished run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It read everything, except at most a few bad lines.
    Whole,
    /// It read a part: an input is cut off, or more lines are bad than allowed.
    Partial,
}

/// Runs the command line. Writes the report to `out`, and all other messages to `err`.
///
/// # Errors
///
/// Any error that leaves no report. It is no error if the reader of `out` is gone.
pub fn run(cli: &Cli, out: &mut impl Write, err: &mut impl Write, progress: Progress) -> Result<Ended, Error> {
    if let Some(text) = cli.instead()? {
        write(out, &text)?;
        return Ok(Ended::Whole);
    }
    names_nothing_twice(cli)?;
    names_no_other_form(cli)?;
    let limits = cli.limits()?;
    let chosen = cli.chosen(&limits)?;
    let emitted = |by: Option<&By>, unit: Unit| {
        let target = cli.asking.emit;
        target
            .map(|target| emit::render(&limits[chosen], by, cli.networks(unit), target))
            .transpose()
    };
    if cli.files.is_empty() && !cli.demo {
        let Some(configuration) = emitted(cli.options()?.by.as_ref(), Unit::Requests)? else {
            return Err(Error::NoInput);
        };
        write(out, configuration.as_bytes())?;
        return Ok(Ended::Whole);
    }
    let mut denied = None;
    if let Some(path) = cli.asking.denied.as_deref() {
        let rows = denied_rows(cli, path).map_err(|source| Error::write_file(path, source))?;
        denied = Some((path, rows));
    }
    let look = |events: &[Event], replay: &Replay, keys: &Keys| {
        let Some((path, rows)) = &mut denied else { return Ok(()) };
        let mut verdicts = events.iter().zip(replay.verdicts(chosen));
        let written = verdicts.try_for_each(|(event, &verdict)| rows.see(event, verdict, keys));
        written.map_err(|source| Error::write_file(path, source))
    };
    let (trace, outcomes) = if cli.asking.follow {
        // A JSON report is the only thing on its output.
        if cli.prints_json() {
            watch(cli, &limits, err, can_redraw(&io::stderr()), look)?
        } else {
            watch(cli, &limits, out, can_redraw(&io::stdout()), look)?
        }
    } else {
        analyse(cli, &limits, progress, look)?
    };
    let configuration = emitted(Some(&trace.by), trace.unit)?;
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
        configuration: configuration.as_deref(),
    };
    let chart = cli.chart.as_deref().map(|path| (path, report::chart::render(&report)));
    let page = cli.report.as_deref().map(|path| (path, report::html::render(&report)));
    let printed = match cli.prints_json() {
        true => report::json::render(&report),
        false if cli.demo => {
            let table = report::table::render(&report);
            format!("{}\n{table}\n{}", demo::STORY, demo::LEGEND)
        }
        false => report::table::render(&report),
    };
    let mut files = Vec::new();
    if let Some((path, rows)) = denied {
        let file = rows
            .into_inner()
            .and_then(|buffer| buffer.into_inner().map_err(io::IntoInnerError::into_error));
        let file = file.and_then(|file| file.sync().map(|()| file));
        files.push((path, file.map_err(|source| Error::write_file(path, source))?));
    }
    for (path, text) in chart.iter().chain(&page) {
        let staged = Staged::new(path, text.as_bytes());
        files.push((*path, staged.map_err(|source| Error::write_file(path, source))?));
    }
    quote_bad_lines(&trace, err);
    write(out, printed.as_bytes())?;
    for (path, file) in files {
        file.put().map_err(|source| Error::write_file(path, source))?;
    }
    Ok(if is_partial { Ended::Partial } else { Ended::Whole })
}

/// Begins the table of denied requests.
fn denied_rows(cli: &Cli, path: &Path) -> io::Result<DeniedRows<BufWriter<Staged>>> {
    let inputs = cli.files.iter().map(|file| file.display().to_string()).collect();
    DeniedRows::new(BufWriter::new(Staged::open(path)?), inputs, cli.anonymise)
}

fn parameters(cli: &Cli, trace: &Trace) -> Parameters {
    let names = cli.files.iter().map(|file| file.display().to_string());
    let bytes = (trace.unit == Unit::Packets).then(|| "bytes".to_owned());
    Parameters {
        command: cli.command_line(),
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
        ipv4_prefix: cli.ipv4_prefix,
        most_keys: cli.keys,
        order: trace.order.name(),
        top: cli.top,
        suggest: cli.suggests(),
        spread: cli.reading.spread,
        anonymise: cli.anonymise,
    }
}

/// Checks that every file to read or write is named once, and that the outputs can be created.
fn names_nothing_twice(cli: &Cli) -> Result<(), Error> {
    let mut named = HashSet::new();
    if let Some(limits) = &cli.asking.limits_file {
        named.extend(limits.canonicalize());
    }
    for path in cli.files.iter().filter(|path| path.as_os_str() != "-") {
        // If there is no such file, the path stays as given; reading the file reports the error.
        if !named.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
            return Err(Error::CountedTwice {
                path: path.display().to_string(),
            });
        }
    }
    for path in cli.chart.iter().chain(&cli.report).chain(&cli.asking.denied) {
        let place = output::resolve(path).map_err(|source| Error::write_file(path, source))?;
        if !named.insert(place) {
            return Err(Error::Overwritten {
                path: path.display().to_string(),
            });
        }
    }
    Ok(())
}

/// Checks that no output has the name of a picture or a document that it will not be.
fn names_no_other_form(cli: &Cli) -> Result<(), Error> {
    let chart = cli.chart.iter().map(|path| (path, "--chart", "SVG", "svg"));
    let page = cli.report.iter().map(|path| (path, "--report", "HTML", "html"));
    let is_other = |path: &Path| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| {
            ["png", "jpg", "jpeg", "gif", "webp", "pdf"]
                .into_iter()
                .any(|other| ending == other)
        })
    };
    match chart.chain(page).find(|(path, ..)| is_other(path)) {
        Some((path, option, form, ending)) => Err(Error::OtherForm {
            option,
            form,
            better: path.with_extension(ending).display().to_string(),
        }),
        None => Ok(()),
    }
}

/// Writes a text. Returns whether it can still be read, as it cannot if the reader of a pipe is gone.
fn write(out: &mut impl Write, text: &[u8]) -> Result<bool, Error> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(Error::Write),
    }
}

/// Replays the inputs of the command line. Returns the facts about the traffic, and the outcome of each limit.
///
/// # Errors
///
/// Any error that leaves no report.
pub fn measure(cli: &Cli, progress: Progress) -> Result<(Trace, Vec<Outcome>), Error> {
    if cli.files.is_empty() && !cli.demo {
        return Err(Error::NoInput);
    }
    analyse(cli, &cli.limits()?, progress, |_, _, _| Ok(()))
}

/// Replays as [`measure`], and calls `look` with each block of events after its decisions. Of two bounds, `look` sees the bound that denies more.
fn analyse(
    cli: &Cli,
    limits: &[LimitSpec],
    progress: Progress,
    mut look: impl FnMut(&[Event], &Replay, &Keys) -> Result<(), Error>,
) -> Result<(Trace, Vec<Outcome>), Error> {
    let options = cli.options()?;
    if cli.demo {
        return decide_all(cli, limits, demo::stream()?, look);
    }
    // Rows that are written cannot be taken back, and a pipe is read only once.
    let can_start_over = || {
        let mut inputs = cli.files.iter().map(|path| Input::of(path).len_if_rereadable());
        !options.places && inputs.all(|len| len.is_ok_and(|len| len.is_some()))
    };
    if cli.order == Order::Sort && can_start_over() {
        let stream = Stream::open_assuming_order(&cli.files, options.clone(), progress.clone());
        match stream.and_then(|stream| decide_all(cli, limits, stream, &mut look)) {
            // Start over, and read each file in advance.
            Err(Error::NotAsAssumed { .. }) => {}
            decided => return decided,
        }
    }
    decide_all(
        cli,
        limits,
        Stream::open(&cli.files, cli.order, options, progress)?,
        look,
    )
}

/// Creates the replays of a stream in this order.
fn bounds(cli: &Cli, limits: &[LimitSpec], order: Order, stream: &Stream) -> Bounds {
    let settings = Settings {
        order,
        suggest: cli.suggests(),
        anonymise: cli.anonymise,
    };
    Bounds::new(cli.reading.spread, stream.may_be_coarse(), limits, settings)
}

/// Replays all events of a stream.
fn decide_all(
    cli: &Cli,
    limits: &[LimitSpec],
    mut stream: Stream,
    mut look: impl FnMut(&[Event], &Replay, &Keys) -> Result<(), Error>,
) -> Result<(Trace, Vec<Outcome>), Error> {
    let mut bounds = bounds(cli, limits, cli.order, &stream);
    let mut block = Vec::new();
    loop {
        stream.next_block(&mut block)?;
        bounds.take(&block, stream.keys(), stream.plans(), &mut look)?;
        if block.is_empty() {
            break;
        }
    }
    finish(stream, &bounds, cli, limits)
}

/// Ends a stream and its replays. Adds a notice of the rows in a file of limits whose key or plan came in no request.
fn finish(stream: Stream, bounds: &Bounds, cli: &Cli, limits: &[LimitSpec]) -> Result<(Trace, Vec<Outcome>), Error> {
    let (names, called) = stream.plans().map_or((stream.keys(), "key"), |plans| (plans, "plan"));
    let notices = limits
        .iter()
        .filter_map(|limit| limit.notice_of_unmet(names, called, cli.anonymise));
    let notices: Vec<_> = notices.collect();
    let mut trace = stream.finish()?;
    trace.notices.extend(notices);
    let outcomes = bounds.outcomes(&trace.keys, cli.top);
    Ok((trace, outcomes))
}

/// Replays an input as it grows, and draws a table at intervals.
fn watch(
    cli: &Cli,
    limits: &[LimitSpec],
    out: &mut impl Write,
    is_drawn_in_place: bool,
    mut look: impl FnMut(&[Event], &Replay, &Keys) -> Result<(), Error>,
) -> Result<(Trace, Vec<Outcome>), Error> {
    let [path] = &cli.files[..] else {
        return Err(Error::FollowsOne);
    };
    let stop = Stop::default();
    let (on_signal, unread) = (stop.clone(), stop.clone());
    // A second signal ends the process at once. Without a handler the first signal does.
    let _ = ctrlc::set_handler(move || {
        if on_signal.stop() {
            process::exit(130);
        }
    });
    let options = Options {
        is_growing: true,
        ..cli.options()?
    };
    let input = Input::of(path);
    let tail = Tail::of(path, stop).map_err(|source| Error::read(&input.name(), source))?;
    let mut stream = Stream::tail(tail, input, options)?;
    let mut bounds = bounds(cli, limits, Order::AsIs, &stream);
    let mut lately = Lately::new(limits.len());
    let mut latest = None;
    let (mut requests, mut drawn, mut due) = (0, 0, Instant::now());
    let mut draw = |bounds: &Bounds, lately: &Lately, latest, requests, keys: &Keys| {
        let table = report::live::render(lately, latest, requests, keys, &bounds.outcomes(keys, 1), cli.anonymise);
        let clear = if is_drawn_in_place { "\u{1b}[H\u{1b}[2J" } else { "" };
        write(out, format!("{clear}{table}\n").as_bytes())
    };
    let mut is_end = false;
    while !is_end {
        let mut is_pause = false;
        match stream.next_event() {
            Ok(event) => {
                is_end = event.is_none();
                bounds.take(
                    event.as_slice(),
                    stream.keys(),
                    stream.plans(),
                    &mut |events, replay, keys| {
                        for (at, event) in events.iter().enumerate() {
                            lately.see(event.time, replay.denied_by(at));
                        }
                        look(events, replay, keys)
                    },
                )?;
                let Some(event) = event else { continue };
                (latest, requests) = (latest.max(Some(event.time)), requests + 1);
            }
            Err(error) if error.is_pause() => is_pause = true,
            Err(error) => return Err(error),
        }
        // Reading the clock costs about as much as a request, and the requests of a flood come in thousands.
        if requests > drawn && (is_pause || requests % 64 == 0) && Instant::now() >= due {
            if !draw(&bounds, &lately, latest, requests, stream.keys())? {
                unread.stop();
            }
            (drawn, due) = (requests, Instant::now() + REDRAW);
        }
    }
    if is_drawn_in_place {
        write(out, b"\x1b[H\x1b[2J")?;
    }
    finish(stream, &bounds, cli, limits)
}

/// Returns whether the output is a terminal that has a cursor to move.
fn can_redraw(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Quotes the first few bad lines, and names empty inputs. If nothing reads `err`, the report still counts them.
fn quote_bad_lines(trace: &Trace, err: &mut impl Write) {
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
