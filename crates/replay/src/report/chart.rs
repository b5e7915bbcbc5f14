//! Draws the report as one picture. For each limit it has the cells admitted and denied over time, and the most denied keys.
//!
//! The picture loads nothing. It is 720 wide and scales. If it is shown narrow, as on a phone, its letters are larger and every other tick is hidden.
//! Colours follow the reader's scheme, light or dark. Blue and orange are distinct under every form of colour blindness, and also differ in
//! lightness.

use maud::{Markup, PreEscaped, html};

use super::plot::{self, Frame};
use super::{Report, words};
use crate::replay::{KeyOutcome, Outcome};
use crate::text::{counted, percent, printable, wrapped};

const STYLE: &str = include_str!("chart.css");

const WIDTH: i64 = 720;
const MARGIN: i64 = 16;
/// Left edge of the plots; labels of heights are to the left of it.
const LEFT: i64 = 66;
const PLOT_WIDTH: i64 = WIDTH - MARGIN - LEFT;
const PLOT_HEIGHT: i64 = 130;
/// Top of a plot within its panel.
const PLOT_TOP: i64 = 96;
/// Distance between lines of text: narrow screens have letters of 21.
const LINE: i64 = 25;
/// Maximum number of characters in a line of text on a narrow screen.
const TEXT_WIDTH: usize = 62;
/// Maximum number of inputs and of notices, all of which the other outputs have. The next constant limits the lines of a long command.
const MOST_NOTES: usize = 3;
const MOST_COMMAND_LINES: usize = 4;
const PANEL: i64 = PLOT_TOP + PLOT_HEIGHT + 52;
const BAR_HEAD: i64 = 40;
const BAR: i64 = 42;

/// Maximum number of keys. All remaining outputs have all keys.
const MOST_KEYS: usize = 10;

/// Maximum number of characters shown of a limit; the next constant is for keys.
const LIMIT_WIDTH: usize = 52;
const KEY_WIDTH: usize = 32;

/// Draws the picture, as SVG.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let frame = Frame::around(report.outcomes.iter().map(|outcome| &outcome.timeline));
    let (head, mut top) = head(report);
    let mut parts = Vec::new();
    if let Some(frame) = frame {
        for outcome in report.outcomes {
            parts.push(panel(report, outcome, frame, top));
            top += PANEL;
        }
        // One scale for all, so that bars can be compared.
        let shown = report.outcomes.iter().flat_map(shown);
        let most = shown.map(|key| key.asked).max().unwrap_or(0).max(1);
        for outcome in report.outcomes.iter().filter(|_| report.parameters.top > 0) {
            let (part, height) = bars(report, outcome, most, top);
            parts.push(part);
            top += height;
        }
    }
    let (foot, height) = lines(
        command_lines(report).iter().map(|line| ("soft", line.as_str())),
        top + 10,
    );
    let height = height + MARGIN;
    let limits = counted(report.outcomes.len(), "limit");
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="group" aria-labelledby="title" {
            title id="title" { "What " (limits) " would have done to " (words::requests(report)) }
            desc { (words::headline(report)) " " (words::command(report)) }
            style { (PreEscaped(STYLE)) }
            rect class="paper" width=(WIDTH) height=(height) {}
            (head)
            @for part in parts { (part) }
            (foot)
        }
    };
    picture.into_string() + "\n"
}

/// Draws lines of text one below the other, and returns the place of the next.
fn lines<'a>(lines: impl Iterator<Item = (&'static str, &'a str)>, top: i64) -> (Markup, i64) {
    let lines: Vec<_> = lines.zip(1..).collect();
    let bottom = top + LINE * i64::try_from(lines.len()).unwrap_or(0);
    let text = html! {
        @for ((class, line), number) in lines { text class=(class) x=(MARGIN) y=(top + LINE * number) { (line) } }
    };
    (text, bottom)
}

/// Draws the part above the plots, and returns its height.
fn head(report: &Report<'_>) -> (Markup, i64) {
    // The span of the requests: the axis may begin earlier and end later.
    let span = report.traffic.first.zip(report.traffic.last);
    let days = span.map_or_else(String::new, |(first, last)| format!(", {}", words::days(first, last)));
    let mut shown: Vec<(&str, String)> = Vec::new();
    let mut add = |class, text: &str| shown.extend(wrapped(text, TEXT_WIDTH).into_iter().map(|line| (class, line)));
    add("headline", &words::headline(report));
    add("soft", &format!("{}{days}", words::things_of(report)));
    add("soft", &words::meters(report));
    let (inputs, notices) = (words::inputs(report), words::notices(report));
    inputs
        .iter()
        .take(MOST_NOTES)
        .for_each(|input| add("soft", &format!("read: {input}")));
    notices
        .iter()
        .take(MOST_NOTES)
        .for_each(|notice| add("soft", &format!("note: {notice}")));
    let hidden = inputs.len().saturating_sub(MOST_NOTES) + notices.len().saturating_sub(MOST_NOTES);
    if hidden > 0 {
        add("soft", &format!("{hidden} more in the other outputs"));
    }
    let (text, bottom) = lines(shown.iter().map(|(class, line)| (*class, line.as_str())), 38);
    let legend = bottom + 32;
    let head = html! {
        text class="title" x=(MARGIN) y="32" { "The effect of each limit" }
        (text)
        rect class="admitted" x=(MARGIN) y=(legend - 14) width="16" height="16" {}
        text x=(MARGIN + 22) y=(legend) { "admitted" }
        rect class="denied" x="140" y=(legend - 14) width="16" height="16" {}
        text x="162" y=(legend) { "denied" }
        rect class="denied" x="248" y=(legend - 5) width="16" height="6" {}
        text x="270" y=(legend) { "any denied" }
        path class="mark" d=(triangle(402, legend)) {}
        text x="416" y=(legend) { "worst minute" }
    };
    (head, legend + 26)
}

/// Returns the command line, cut after a few lines; the description of the picture has all of it.
fn command_lines(report: &Report<'_>) -> Vec<String> {
    let mut words = words::command(report);
    // A word longer than a line would overflow the picture.
    if words.split(' ').any(|word| word.chars().count() > TEXT_WIDTH) {
        let cut = words.split(' ').map(|word| printable(word.as_bytes(), TEXT_WIDTH));
        words = cut.collect::<Vec<_>>().join(" ");
    }
    let mut lines = wrapped(&words, TEXT_WIDTH);
    if lines.len() > MOST_COMMAND_LINES {
        lines.truncate(MOST_COMMAND_LINES);
        lines.extend(Some("…".to_owned()));
    }
    lines
}

fn panel(report: &Report<'_>, outcome: &Outcome, frame: Frame, top: i64) -> Markup {
    let bottom = PLOT_TOP + PLOT_HEIGHT;
    let name = words::limit(outcome, LIMIT_WIDTH);
    let right = WIDTH - MARGIN;
    let worst = outcome.timeline.worst_minute;
    html! {
        g transform={ "translate(0 " (top) ")" } {
            text class="name" x=(MARGIN) y="24" { (name) }
            text x=(MARGIN) y="50" { (words::verdict(report, outcome)) }
            text class="soft" x=(MARGIN) y="76" { (words::per_bucket(report, frame.bucket_ns())) }
            @if let Some(minute) = worst {
                text class="soft end" x=(right) y="76" {
                    tspan class="wide" { "worst minute " }
                    (frame.minute(minute.start)) ": " (words::number(minute.counts.denied)) " of "
                    (words::number(minute.counts.asked())) " denied"
                }
            }
            @for tick in frame.heights() {
                text class=(tick.class("soft end")) x=(LEFT - 8) y=(y_of(tick.at) + 5) { (tick.label) }
            }
            svg x=(LEFT) y=(PLOT_TOP) width=(PLOT_WIDTH) height=(PLOT_HEIGHT) viewBox=(plot::view_box())
                preserveAspectRatio="none" role="img" aria-label=(words::plot_label(report, outcome)) {
                (frame.shapes(&outcome.timeline))
            }
            @if let Some((x, y)) = frame.mark(&outcome.timeline) {
                path class="mark" d=(triangle(x_of(x), y_of(y))) {}
            }
            @for tick in frame.times() {
                @let (x, side) = label_at(tick.at);
                text class=(tick.class(side)) x=(x) y=(bottom + 20) { (tick.label) }
            }
        }
    }
}

/// Draws the most denied keys of a limit, and returns the height.
fn bars(report: &Report<'_>, outcome: &Outcome, most: u128, top: i64) -> (Markup, i64) {
    let keys = shown(outcome);
    let tops = (0..).map(|row| BAR_HEAD + row * BAR);
    let height = tops.clone().nth(keys.len()).unwrap_or(BAR_HEAD);
    let name = words::limit(outcome, LIMIT_WIDTH);
    let part = html! {
        g transform={ "translate(0 " (top) ")" } {
            text x=(MARGIN) y="28" {
                @if keys.is_empty() { "No key is hit by " } @else { "Hardest hit by " }
                tspan class="name" { (name) }
            }
            @for (key, top) in keys.iter().zip(tops) { (bar(report, key, most, top)) }
        }
    };
    (part, height)
}

fn shown(outcome: &Outcome) -> &[KeyOutcome] {
    &outcome.hardest_hit[..outcome.hardest_hit.len().min(MOST_KEYS)]
}

fn bar(report: &Report<'_>, key: &KeyOutcome, most: u128, top: i64) -> Markup {
    let full = u128::from((WIDTH - 2 * MARGIN).unsigned_abs());
    let length = |cells: u128| cells.saturating_mul(full) / most;
    let denied = length(key.denied).max(1);
    let (hit, asked) = (words::number(key.denied), words::number(key.asked));
    html! {
        text class="key" x=(MARGIN) y=(top + 18) { (words::key(report, key.key, KEY_WIDTH)) }
        text class="soft end" x=(WIDTH - MARGIN) y=(top + 18) {
            (hit) " of " (asked) " denied"
            tspan class="wide" { ", " (percent(key.denied, key.asked)) }
        }
        rect class="admitted" x=(MARGIN) y=(top + 25) width=(length(key.asked).max(denied)) height="9" {}
        rect class="denied" x=(MARGIN) y=(top + 25) width=(denied) height="9" {}
    }
}

/// Converts `x` in a plot's box to a place in its panel.
fn x_of(x: i64) -> i64 {
    LEFT + x * PLOT_WIDTH / plot::WIDTH
}

/// Returns the place and the alignment of a label of time. A label that would not fit below its tick ends at the edge of the picture.
fn label_at(x: i64) -> (i64, &'static str) {
    match x_of(x) {
        x if x > WIDTH - 2 * MARGIN => (WIDTH - 4, "soft end"),
        x => (x, "soft middle"),
    }
}

fn y_of(y: i64) -> i64 {
    PLOT_TOP + y * PLOT_HEIGHT / plot::BOX_HEIGHT
}

/// Draws a triangle that points down at a place.
fn triangle(x: i64, y: i64) -> String {
    format!("M{x},{y}l-6,-10h12z")
}
