//! Writes the report for a terminal, at most 100 columns wide.

use std::fmt::Write as _;

use super::{Report, words};
use crate::limit::LimitRule;
use crate::replay::Outcome;
use crate::suggest::Suggestion;
use crate::text::{duration, grouped, percent, wrapped};

/// Number of characters shown of a key.
const KEY_WIDTH: usize = 36;

/// Width of a terminal.
const WIDTH: usize = 100;

const TOO_LARGE: &str = "  (too large: requests for more cells than the burst, which never conform)\n";

/// Writes the effect of each limit on the traffic: a row for each limit, the limits that would have denied nothing, and the most denied keys
/// of each.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    paragraph(&mut text, "", &words::headline(report));
    let _ = write!(
        text,
        "\n{}\n{}\n{}\n",
        words::requests(report),
        words::algorithm_and_meters(report),
        words::order(report)
    );
    for input in words::inputs(report) {
        paragraph(&mut text, "read: ", &input);
    }
    for notice in words::notices(report) {
        paragraph(&mut text, "note: ", &notice);
    }
    paragraph(&mut text, "command: ", &words::command(report));
    text.push('\n');
    outcomes(&mut text, report);
    suggestions(&mut text, report);
    matrix(&mut text, report);
    for outcome in report.outcomes.iter().filter(|_| report.parameters.top > 0) {
        hardest_hit(&mut text, report, outcome);
    }
    if let Some(configuration) = report.configuration {
        let _ = write!(text, "\n{configuration}");
    }
    text
}

/// Writes words after a label, wrapped. A command is never wrapped, since it could not be pasted then.
fn paragraph(text: &mut String, label: &str, words: &str) {
    let lines = match label {
        "command: " => vec![words.to_owned()],
        label => wrapped(words, WIDTH - label.len()),
    };
    for (number, line) in lines.iter().enumerate() {
        let indent = if number == 0 {
            label.to_owned()
        } else {
            " ".repeat(label.len())
        };
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn outcomes(text: &mut String, report: &Report<'_>) {
    let with_never = report.outcomes.iter().any(|outcome| outcome.never > 0);
    let with_delays = report.outcomes.iter().any(|outcome| outcome.delayed > 0);
    let keys = grouped(report.keys.len());
    let mut names = row(["limit", "cells asked", "admitted", "denied", "denied %", "keys denied"]);
    names.extend(with_delays.then(|| "delayed".to_owned()));
    names.extend(with_never.then(|| "too large".to_owned()));
    let mut rows = vec![names];
    for outcome in report.outcomes {
        let mut cells = vec![
            outcome.limit.to_string(),
            grouped(outcome.asked),
            grouped(outcome.admitted),
            grouped(outcome.denied),
            percent(outcome.denied, outcome.asked),
            format!("{} of {keys}", grouped(outcome.keys_denied)),
        ];
        cells.extend(with_delays.then(|| match outcome.delayed {
            0 => "-".to_owned(),
            delayed => format!("{} (to {})", grouped(delayed), duration(outcome.longest_delay)),
        }));
        cells.extend(with_never.then(|| grouped(outcome.never)));
        let columns = cells.len();
        rows.push(cells);
        if let Some(spread) = words::spread(outcome) {
            let mut cells = vec![
                format!("  {}", words::SPREAD),
                String::new(),
                grouped(spread.admitted),
                grouped(spread.denied),
                percent(spread.denied, outcome.asked),
                format!("{} of {keys}", grouped(spread.keys_denied)),
            ];
            cells.resize(columns, String::new());
            rows.push(cells);
        }
    }
    table(text, &rows);
    if let Some(bounds) = words::bounds(report) {
        paragraph(text, "  ", &format!("({bounds})"));
    }
    if with_never {
        text.push_str(TOO_LARGE);
    }
}

fn suggestions(text: &mut String, report: &Report<'_>) {
    let mut rows = vec![row(["limit", "least burst at its rate", "least rate at its burst"])];
    let mut add = |name: String, suggestion: Option<Suggestion>| {
        rows.extend(suggestion.map(|suggestion| {
            vec![
                name,
                words::answer(suggestion.burst, "burst"),
                words::answer(suggestion.rate, "rate"),
            ]
        }));
    };
    for outcome in report.outcomes {
        if !matches!(outcome.limit, LimitRule::Meter(_)) {
            continue;
        }
        add(outcome.limit.to_string(), outcome.suggestion);
        add(format!("  {}", words::SPREAD), words::spread_suggestion(outcome));
    }
    if rows.len() > 1 {
        text.push_str("\nSmallest limits without denials:\n");
        table(text, &rows);
    }
}

/// Writes the matrix of requests that one limit denies and another admits.
fn matrix(text: &mut String, report: &Report<'_>) {
    if !words::has_matrix(report) {
        return;
    }
    let places = 0..report.outcomes.len();
    let mut rows = vec![vec!["denied by".to_owned()]];
    rows[0].extend(places.clone().map(|place| format!("not {}", words::letter(place))));
    for (place, outcome) in report.outcomes.iter().enumerate() {
        let mut cells = vec![format!("{}  {}", words::letter(place), outcome.limit)];
        cells.extend(places.clone().map(|column| words::compared(outcome, place, column)));
        rows.push(cells);
    }
    let _ = writeln!(
        text,
        "\n{} denied by one limit but not by another:",
        words::capital_things(report)
    );
    table(text, &rows);
}

fn hardest_hit(text: &mut String, report: &Report<'_>, outcome: &Outcome) {
    if outcome.hardest_hit.is_empty() {
        let _ = writeln!(text, "\nNo key is hit by {}.", outcome.limit);
        return;
    }
    let _ = writeln!(text, "\nHardest hit by {}:", outcome.limit);
    let with_never = report.outcomes.iter().any(|outcome| outcome.never > 0);
    let mut names = row(["key", "cells asked", "denied", "denied %", "longest wait"]);
    names.extend(with_never.then(|| "too large".to_owned()));
    let mut rows = vec![names];
    for hit in &outcome.hardest_hit {
        let mut cells = vec![
            words::key(report, hit.key, KEY_WIDTH),
            grouped(hit.asked),
            grouped(hit.denied),
            percent(hit.denied, hit.asked),
            if hit.longest_wait.is_zero() {
                "-".to_owned()
            } else {
                duration(hit.longest_wait)
            },
        ];
        cells.extend(with_never.then(|| grouped(hit.never)));
        rows.push(cells);
    }
    table(text, &rows);
    if let Some(worst) = outcome.timeline.worst_minute {
        let start = words::time(worst.start, "%F %H:%M");
        let (denied, asked) = (grouped(worst.counts.denied), grouped(worst.counts.asked()));
        let _ = writeln!(text, "  worst minute: {start} UTC, {denied} of {asked} cells denied");
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Writes columns as wide as needed, the first aligned left and the rest right. If they are too wide for a terminal, each cell has a line of its
/// own.
pub(super) fn table(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    if widths.iter().map(|width| width + 2).sum::<usize>() > WIDTH {
        return list(text, rows);
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

fn list(text: &mut String, rows: &[Vec<String>]) {
    let [names, rows @ ..] = rows else { return };
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for row in rows {
        for (column, (name, cell)) in names
            .iter()
            .zip(row)
            .enumerate()
            .filter(|(_, (_, cell))| !cell.is_empty())
        {
            let indent = if column == 0 { "  " } else { "    " };
            let width = width + 4 - indent.len();
            let _ = writeln!(text, "{indent}{name:<width$}  {cell}");
        }
    }
}
