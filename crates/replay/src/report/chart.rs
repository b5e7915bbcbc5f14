//! The report as one picture: for each limit what was admitted and denied over time, and whom it hits hardest.
//!
//! The picture needs nothing but itself. It is 720 wide and scales; where it is shown narrow, as on a phone, its letters are
//! larger and every other tick goes. Colours follow the reader's scheme, light or dark; blue and orange differ to every eye, and
//! in lightness, too.

use maud::{Markup, PreEscaped, html};

use super::axis::Tick;
use super::plot::{self, Frame};
use super::{Report, words};
use crate::replay::{KeyOutcome, Outcome};
use crate::text::percent;

const STYLE: &str = include_str!("chart.css");

const WIDTH: i64 = 720;
const MARGIN: i64 = 16;
/// Where plots begin: labels of heights stand left of it.
const LEFT: i64 = 66;
const PLOT_WIDTH: i64 = WIDTH - MARGIN - LEFT;
const PLOT_HEIGHT: i64 = 130;
/// Of a plot within its panel.
const PLOT_TOP: i64 = 70;
const HEAD: i64 = 146;
const PANEL: i64 = PLOT_TOP + PLOT_HEIGHT + 52;
const BAR_HEAD: i64 = 40;
const BAR: i64 = 42;

/// More keys than this are for other outputs.
const MOST_KEYS: usize = 10;

/// How many characters of a limit and of a key are shown.
const LIMIT_WIDTH: usize = 30;
const KEY_WIDTH: usize = 32;

/// Draws the picture, as SVG.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let frame = Frame::around(report.outcomes.iter().map(|outcome| &outcome.timeline));
    let mut top = HEAD;
    let mut parts = Vec::new();
    if let Some(frame) = frame {
        for outcome in report.outcomes {
            parts.push(panel(report, outcome, frame, top));
            top += PANEL;
        }
        // One measure for all, so that bars can be compared.
        let shown = report.outcomes.iter().flat_map(shown);
        let most = shown.map(|key| key.asked).max().unwrap_or(0).max(1);
        for outcome in report.outcomes.iter().filter(|_| report.parameters.top > 0) {
            let (part, height) = bars(report, outcome, most, top);
            parts.push(part);
            top += height;
        }
    }
    let height = top + MARGIN;
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby="title" {
            title id="title" { "What " (report.outcomes.len()) " limits would have done to " (words::requests(report)) }
            style { (PreEscaped(STYLE)) }
            rect class="paper" width=(WIDTH) height=(height) {}
            (head(report))
            @for part in parts { (part) }
        }
    };
    picture.into_string() + "\n"
}

fn head(report: &Report<'_>) -> Markup {
    // Of the requests: the axis may begin earlier and end later.
    let span = report.traffic.first.zip(report.traffic.last);
    let days = span.map_or_else(String::new, |(first, last)| format!(", {}", words::days(first, last)));
    html! {
        text class="title" x=(MARGIN) y="32" { "What each limit would have done" }
        text class="soft" x=(MARGIN) y="58" { (words::things_of(report)) (days) }
        text class="soft" x=(MARGIN) y="82" { (words::meters(report)) }
        rect class="admitted" x=(MARGIN) y="105" width="16" height="16" {}
        text x=(MARGIN + 22) y="119" { "admitted" }
        rect class="denied" x="140" y="105" width="16" height="16" {}
        text x="162" y="119" { "denied" }
        rect class="denied" x="248" y="114" width="16" height="6" {}
        text x="270" y="119" { "any denied" }
        path class="mark" d=(triangle(402, 119)) {}
        text x="416" y="119" { "worst minute" }
    }
}

fn panel(report: &Report<'_>, outcome: &Outcome, frame: Frame, top: i64) -> Markup {
    let bottom = PLOT_TOP + PLOT_HEIGHT;
    let name = words::limit(outcome, LIMIT_WIDTH);
    let right = WIDTH - MARGIN;
    let worst = outcome.timeline.worst_minute;
    html! {
        g transform={ "translate(0 " (top) ")" } {
            text class="name" x=(MARGIN) y="24" { (name) }
            text class="end" x=(right) y="24" { (words::verdict(report, outcome)) }
            text class="soft" x=(MARGIN) y="50" { (words::per_bucket(report, frame.bucket_ns())) }
            @if let Some(minute) = worst {
                text class="soft end" x=(right) y="50" {
                    tspan class="wide" { "worst minute " }
                    (frame.minute(minute.start)) ": " (words::number(minute.counts.denied)) " of "
                    (words::number(minute.counts.asked())) " denied"
                }
                path class="mark" d=(triangle(x_of(frame.x_of_minute(minute.start)), PLOT_TOP)) {}
            }
            @for tick in frame.heights() {
                text class=(class("soft end", &tick)) x=(LEFT - 8) y=(y_of(tick.at) + 5) { (tick.label) }
            }
            svg x=(LEFT) y=(PLOT_TOP) width=(PLOT_WIDTH) height=(PLOT_HEIGHT) viewBox=(plot::view_box())
                preserveAspectRatio="none" { (frame.shapes(&outcome.timeline)) }
            @for tick in frame.times() {
                @let (x, side) = label_at(tick.at);
                text class=(class(side, &tick)) x=(x) y=(bottom + 20) { (tick.label) }
            }
        }
    }
}

/// The hardest-hit keys of a limit, and how high that is.
fn bars(report: &Report<'_>, outcome: &Outcome, most: u128, top: i64) -> (Markup, i64) {
    let keys = shown(outcome);
    let tops = (0..).map(|row| BAR_HEAD + row * BAR);
    let height = tops.clone().nth(keys.len()).unwrap_or(BAR_HEAD);
    let name = words::limit(outcome, LIMIT_WIDTH);
    let part = html! {
        g transform={ "translate(0 " (top) ")" } {
            text x=(MARGIN) y="28" {
                @if keys.is_empty() { "Nobody is hit by " } @else { "Hardest hit by " }
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

fn class(class: &str, tick: &Tick) -> String {
    let minor = if tick.is_major { "" } else { " minor" };
    format!("{class}{minor}")
}

/// In a panel, what stands at `x` in a plot's box.
fn x_of(x: i64) -> i64 {
    LEFT + x * PLOT_WIDTH / plot::WIDTH
}

/// Where a label of time stands, and how it lies there: what would not fit below its tick ends with the picture.
fn label_at(x: i64) -> (i64, &'static str) {
    match x_of(x) {
        x if x > WIDTH - 2 * MARGIN => (WIDTH - 4, "soft end"),
        x => (x, "soft middle"),
    }
}

fn y_of(y: i64) -> i64 {
    PLOT_TOP + y * PLOT_HEIGHT / plot::BOX_HEIGHT
}

/// One that points down at a place.
fn triangle(x: i64, y: i64) -> String {
    format!("M{x},{y}l-6,-10h12z")
}
