//! The report, as it is read in a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::Trace;
use crate::input::By;
use crate::limit::Algorithm;
use crate::replay::Outcome;
use crate::text::{counted, duration, grouped, percent, printable};

/// How many characters of a key are shown.
const KEY_WIDTH: usize = 36;

const TOO_LARGE: &str = "  (too large: requests for more cells than the burst has, which no wait makes conform)\n";

/// Tells what each limit would have done to the traffic: a line for each, and then its hardest-hit keys.
#[must_use]
pub fn render(trace: &Trace, algorithm: Algorithm, outcomes: &[Outcome], top: usize) -> String {
    let mut text = headline(trace, algorithm);
    text.push('\n');
    let with_never = outcomes.iter().any(|outcome| outcome.never > 0);
    let mut rows = vec![row([
        "limit",
        "cells asked",
        "admitted",
        "denied",
        "denied %",
        "keys denied",
        "too large",
    ])];
    for outcome in outcomes {
        rows.push(vec![
            outcome.limit.to_string(),
            grouped(outcome.asked),
            grouped(outcome.admitted),
            grouped(outcome.denied),
            percent(outcome.denied, outcome.asked),
            format!("{} of {}", grouped(outcome.keys_denied), grouped(trace.keys.len())),
            grouped(outcome.never),
        ]);
    }
    table(&mut text, &rows, with_never);
    if with_never {
        text.push_str(TOO_LARGE);
    }
    for outcome in outcomes.iter().filter(|_| top > 0) {
        hardest_hit(&mut text, trace, outcome, with_never);
    }
    text
}

fn headline(trace: &Trace, algorithm: Algorithm) -> String {
    let algorithm = match algorithm {
        Algorithm::Gcra => "gcra",
        Algorithm::LeakyBucket => "leaky bucket",
    };
    let keys = counted(trace.keys.len(), "key");
    let meters = match &trace.by {
        By::All => "one meter for all".to_owned(),
        By::Ip => format!("a meter for each of {keys} (by ip)"),
        By::Column(name) => format!(
            "a meter for each of {keys} (by {})",
            printable(name.as_bytes(), KEY_WIDTH)
        ),
    };
    let mut text = counted(trace.events.len(), "request");
    if let (Some(first), Some(last)) = (trace.events.first(), trace.events.last()) {
        let span = duration(Duration::from_nanos(last.time.abs_diff(first.time)));
        let _ = write!(text, ", {} to {} UTC ({span})", utc(first.time), utc(last.time));
    }
    let _ = write!(text, "\n{algorithm}, {meters}");
    if trace.bad.count() > 0 {
        let _ = write!(text, "; lines skipped as bad: {}", grouped(trace.bad.count()));
    }
    text.push('\n');
    text
}

fn hardest_hit(text: &mut String, trace: &Trace, outcome: &Outcome, with_never: bool) {
    if outcome.hardest_hit.is_empty() {
        let _ = writeln!(text, "\nNobody is hit by {}.", outcome.limit);
        return;
    }
    let _ = writeln!(text, "\nHardest hit by {}:", outcome.limit);
    let mut rows = vec![row([
        "key",
        "cells asked",
        "denied",
        "denied %",
        "longest wait",
        "too large",
    ])];
    for hit in &outcome.hardest_hit {
        rows.push(vec![
            match trace.keys.name(hit.key) {
                b"" => "(empty)".to_owned(),
                name => printable(name, KEY_WIDTH),
            },
            grouped(hit.asked),
            grouped(hit.denied),
            percent(hit.denied, hit.asked),
            if hit.longest_wait.is_zero() {
                "-".to_owned()
            } else {
                duration(hit.longest_wait)
            },
            grouped(hit.never),
        ]);
    }
    table(text, &rows, with_never);
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as they need to be, the first flush left, all others flush right; the last one only if
/// it says something.
fn table(text: &mut String, rows: &[Vec<String>], with_last: bool) {
    let columns = rows.first().map_or(0, Vec::len) - usize::from(!with_last);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from("  ");
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(line, "{cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn utc(ns: i64) -> String {
    // All of an i64's nanoseconds are within what jiff has years for.
    Timestamp::from_nanosecond(ns.into()).map_or_else(|_| ns.to_string(), |time| time.strftime("%F %T").to_string())
}
