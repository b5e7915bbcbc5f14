//! The report, as it is read in a terminal: at most 100 columns wide.

use std::fmt::Write as _;

use super::{Report, words};
use crate::replay::Outcome;
use crate::text::{duration, grouped, percent};

/// How many characters of a key are shown.
const KEY_WIDTH: usize = 36;

/// What fits a terminal.
const WIDTH: usize = 100;

const TOO_LARGE: &str = "  (too large: requests for more cells than the burst has, which no wait makes conform)\n";

/// Tells what each limit would have done to the traffic: a line for each, what would have denied nobody, and the hardest-hit
/// keys of each.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let mut text = format!(
        "{}\n{}, {}\n{}\n\n",
        words::requests(report),
        words::algorithm(report.parameters.algorithm),
        words::meters(report),
        words::order(report)
    );
    let with_never = report.outcomes.iter().any(|outcome| outcome.never > 0);
    let mut rows = vec![row([
        "limit",
        "cells asked",
        "admitted",
        "denied",
        "denied %",
        "keys denied",
        "too large",
    ])];
    for outcome in report.outcomes {
        rows.push(vec![
            outcome.limit.to_string(),
            grouped(outcome.asked),
            grouped(outcome.admitted),
            grouped(outcome.denied),
            percent(outcome.denied, outcome.asked),
            format!("{} of {}", grouped(outcome.keys_denied), grouped(report.keys.len())),
            grouped(outcome.never),
        ]);
    }
    table(&mut text, &rows, with_never);
    if with_never {
        text.push_str(TOO_LARGE);
    }
    suggestions(&mut text, report);
    for outcome in report.outcomes.iter().filter(|_| report.parameters.top > 0) {
        hardest_hit(&mut text, report, outcome, with_never);
    }
    text
}

fn suggestions(text: &mut String, report: &Report<'_>) {
    let mut rows = vec![row(["limit", "least burst at its rate", "least rate at its burst"])];
    for outcome in report.outcomes {
        if let Some(suggestion) = outcome.suggestion {
            rows.push(vec![
                outcome.limit.to_string(),
                words::answer(suggestion.burst, "burst"),
                words::answer(suggestion.rate, "rate"),
            ]);
        }
    }
    if rows.len() > 1 {
        text.push_str("\nWhat would have denied nobody:\n");
        table(text, &rows, true);
    }
}

fn hardest_hit(text: &mut String, report: &Report<'_>, outcome: &Outcome, with_never: bool) {
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
            words::key(report, hit.key, KEY_WIDTH),
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
    if let Some(worst) = outcome.timeline.worst_minute {
        let start = words::time(worst.start, "%F %H:%M");
        let (denied, asked) = (grouped(worst.counts.denied), grouped(worst.counts.asked()));
        let _ = writeln!(text, "  worst minute: {start} UTC, {denied} of {asked} cells denied");
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns as wide as they need to be, the first flush left, all others flush right; the last one only if it says something.
/// Where they are too wide for a terminal, each cell has a line of its own.
fn table(text: &mut String, rows: &[Vec<String>], with_last: bool) {
    let columns = rows.first().map_or(0, Vec::len) - usize::from(!with_last);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    if widths.iter().map(|width| width + 2).sum::<usize>() > WIDTH {
        return list(text, rows, columns);
    }
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

fn list(text: &mut String, rows: &[Vec<String>], columns: usize) {
    let [names, rows @ ..] = rows else { return };
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for row in rows {
        for (column, (name, cell)) in names.iter().zip(row).take(columns).enumerate() {
            let indent = if column == 0 { "  " } else { "    " };
            let width = width + 4 - indent.len();
            let _ = writeln!(text, "{indent}{name:<width$}  {cell}");
        }
    }
}
