//! Writes the report as a page of its own, which needs no script and loads nothing.
//!
//! The page follows the reader's scheme, light or dark, and reflows on a phone. Only shapes are drawn; texts are HTML beside the shapes, so that
//! texts keep their size.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::axis::Tick;
use super::plot::{self, Frame};
use super::{Report, words};
use crate::limit::LimitRule;
use crate::replay::{KeyOutcome, Outcome};
use crate::series::Timeline;
use crate::suggest::SuggestedLimit;
use crate::text::{duration, grouped, percent};

const STYLE: &str = include_str!("html.css");

/// Forbids all fetches and scripts, with any names of keys.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Number of characters shown of a key: an IPv6 address has up to 39.
const KEY_WIDTH: usize = 60;

/// Writes the page.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    let frame = Frame::around(report.outcomes.iter().map(|outcome| &outcome.timeline));
    let keys = report.outcomes.iter().flat_map(|outcome| &outcome.hardest_hit);
    // One scale for all, so that bars can be compared.
    let most = keys.map(|key| key.asked).max().unwrap_or(0).max(1);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "The effect of each limit" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "The effect of each limit" }
                    p class="headline" { (words::headline(report)) }
                    p { (words::requests(report)) }
                    p class="soft" {
                        (words::algorithm_and_meters(report)) br; (words::order(report))
                    }
                    @for input in words::inputs(report) { p class="soft" { "Read: " bdi { (input) } } }
                    @for notice in words::notices(report) { p { "Note: " (notice) } }
                    (summary(report))
                    (matrix(report))
                    (legend())
                    @for outcome in report.outcomes { (candidate(report, outcome, frame, most)) }
                    @if let Some(frame) = frame { (numbers(report, frame)) }
                    @if let Some(configuration) = report.configuration { h3 { "Configuration" } pre { code { (configuration) } } }
                    (footer(report))
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn summary(report: &Report<'_>) -> Markup {
    let too_large = report.outcomes.iter().any(|outcome| outcome.never > 0);
    let delayed = report.outcomes.iter().any(|outcome| outcome.delayed > 0);
    let cell = |name: &str, text: String| html! { td data-name=(name) { (text) } };
    let of_keys = |hit: usize| format!("{} of {}", grouped(hit), grouped(report.keys.len()));
    html! {
        h3 { "In " (words::unit(report)) }
        table class="reflow" {
            thead {
                tr {
                    th { "limit" } th { "asked" } th { "admitted" } th { "denied" } th { "denied %" } th { "keys denied" }
                    @if delayed { th { "requests delayed" } }
                    @if too_large { th { "requests too large" } }
                }
            }
            tbody {
                @for outcome in report.outcomes {
                    tr {
                        td data-name="limit" { code { (outcome.limit) } }
                        (cell("asked", grouped(outcome.asked)))
                        (cell("admitted", grouped(outcome.admitted)))
                        (cell("denied", grouped(outcome.denied)))
                        (cell("denied %", percent(outcome.denied, outcome.asked)))
                        (cell("keys denied", of_keys(outcome.keys_denied)))
                        @if delayed { (cell("requests delayed", grouped(outcome.delayed))) }
                        @if too_large { (cell("requests too large", grouped(outcome.never))) }
                    }
                    @if let Some(spread) = words::spread(outcome) {
                        tr {
                            td data-name="limit" class="soft" { (words::SPREAD) }
                            td {}
                            (cell("admitted", grouped(spread.admitted)))
                            (cell("denied", grouped(spread.denied)))
                            (cell("denied %", percent(spread.denied, outcome.asked)))
                            (cell("keys denied", of_keys(spread.keys_denied)))
                            @if delayed { td {} }
                            @if too_large { td {} }
                        }
                    }
                }
            }
        }
        @if let Some(bounds) = words::bounds(report) { p class="soft" { (bounds) "." } }
    }
}

/// Writes the matrix of requests that one limit denies and another admits.
fn matrix(report: &Report<'_>) -> Markup {
    let places = 0..report.outcomes.len();
    html! {
        @if words::has_matrix(report) {
            h3 { (words::capital_things(report)) " denied by one limit but not by another" }
            div class="numbers" tabindex="0" role="region" aria-label="Limits compared" {
                table {
                    thead { tr { th { "denied by" } @for place in places.clone() { th { "not " (words::letter(place)) } } } }
                    tbody {
                        @for (place, outcome) in report.outcomes.iter().enumerate() {
                            tr {
                                td { (words::letter(place)) " " code { (outcome.limit) } }
                                @for column in places.clone() { td { (words::compared(outcome, place, column)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Writes the numbers behind all plots as a table: each bucket that is not empty.
fn numbers(report: &Report<'_>, frame: Frame) -> Markup {
    let [first, ..] = report.outcomes else { return html! {} };
    let rows = first
        .timeline
        .buckets
        .iter()
        .enumerate()
        .filter(|(_, counts)| counts.asked() > 0);
    let denied = |outcome: &Outcome, bucket: usize| {
        outcome
            .timeline
            .buckets
            .get(bucket)
            .map_or_else(String::new, |counts| grouped(counts.denied))
    };
    html! {
        details {
            summary { "The numbers of the plots, " (words::per_bucket(report, frame.bucket_ns())) }
            div class="numbers" tabindex="0" role="region" aria-label="Numbers of the plots" {
                table {
                    thead {
                        tr {
                            th { "from (UTC)" } th { "asked" }
                            @for outcome in report.outcomes { th { "denied by " code { (outcome.limit) } } }
                        }
                    }
                    tbody {
                        @for (bucket, counts) in rows {
                            tr {
                                td { (words::stamp(frame.bucket_at(bucket).0)) }
                                td { (grouped(counts.asked())) }
                                @for outcome in report.outcomes { td { (denied(outcome, bucket)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        p class="legend" {
            span { i class="admitted" {} "admitted" }
            span { i class="denied" {} "denied" }
            span { i class="denied thin" {} "any denied" }
            span { i class="mark" {} "worst minute" }
        }
    }
}

fn candidate(report: &Report<'_>, outcome: &Outcome, frame: Option<Frame>, most: u128) -> Markup {
    html! {
        section {
            div class="name" { h2 { (outcome.limit) } span { (words::verdict(report, outcome)) } }
            @if let Some(frame) = frame { (figure(report, outcome, frame)) }
            @if let Some(suggestion) = outcome.suggestion.filter(|_| matches!(outcome.limit, LimitRule::Meter(_))) {
                h3 { "Smallest limits without denials" }
                dl {
                    dt { "least burst at this rate" } dd { (answer(suggestion.burst, "burst")) }
                    dt { "least rate at this burst" } dd { (answer(suggestion.rate, "rate")) }
                    @if let Some(even) = words::spread_suggestion(outcome) {
                        dt { "least burst, " (words::SPREAD) } dd { (answer(even.burst, "burst")) }
                        dt { "least rate, " (words::SPREAD) } dd { (answer(even.rate, "rate")) }
                    }
                }
            }
            @if report.parameters.top > 0 && !outcome.hardest_hit.is_empty() {
                h3 { "Hardest hit" }
                ol { @for key in &outcome.hardest_hit { (bar(report, key, most)) } }
            }
        }
    }
}

/// Writes a quota to paste, or the reason why there is none.
fn answer(answer: SuggestedLimit, kind: &str) -> Markup {
    let text = words::answer(answer, kind);
    html! {
        @match answer {
            SuggestedLimit::Quota(_) => code { (text) },
            SuggestedLimit::None(_) => (text),
        }
    }
}

fn figure(report: &Report<'_>, outcome: &Outcome, frame: Frame) -> Markup {
    let timeline = &outcome.timeline;
    html! {
        figure {
            figcaption {
                span { (words::per_bucket(report, frame.bucket_ns())) ", " (frame.days()) }
                @if let Some(minute) = timeline.worst_minute {
                    span {
                        "worst minute " (frame.minute(minute.start)) ": " (words::number(minute.counts.denied)) " of "
                        (words::number(minute.counts.asked())) " denied"
                    }
                }
            }
            div class="box" {
                svg viewBox=(plot::view_box()) preserveAspectRatio="none" role="img"
                    aria-label=(words::plot_label(report, outcome)) {
                    (frame.shapes(timeline))
                    (tips(timeline, frame))
                }
                @for tick in frame.heights() {
                    span class=(tick.class("y")) style={ "top:" (share(tick.at, plot::BOX_HEIGHT)) } { (tick.label) }
                }
                @for tick in frame.times() {
                    span class=(tick.class(time_class(&tick))) style={ "left:" (share(tick.at, plot::WIDTH)) } { (tick.label) }
                }
                @if let Some((x, y)) = frame.mark(timeline) {
                    i class="mark" style={ "left:" (share(x, plot::WIDTH)) ";top:" (share(y, plot::BOX_HEIGHT)) } {}
                }
            }
        }
    }
}

/// Returns the class of a label of time. A label that would not fit below its tick ends at the edge of the picture.
fn time_class(tick: &Tick) -> &'static str {
    if tick.at > plot::WIDTH / 100 * 97 { "x end" } else { "x" }
}

/// Writes the tooltips of all buckets that are not empty.
fn tips(timeline: &Timeline, frame: Frame) -> Markup {
    let buckets = timeline.buckets.iter().enumerate();
    html! {
        @for (number, counts) in buckets.filter(|(_, counts)| counts.asked() > 0) {
            @let (start, left, right) = frame.bucket_at(number);
            rect class="hit" x=(left) y="0" width=(right - left) height=(plot::BOX_HEIGHT) {
                title { (words::stamp(start)) ": " (grouped(counts.admitted)) " admitted, " (grouped(counts.denied)) " denied" }
            }
        }
    }
}

fn bar(report: &Report<'_>, key: &KeyOutcome, most: u128) -> Markup {
    let length = |cells: u128| {
        let length = cells.saturating_mul(10_000) / most;
        share(i64::try_from(length).unwrap_or(10_000), 10_000)
    };
    html! {
        li {
            div class="key" {
                bdi { (words::key(report, key.key, KEY_WIDTH)) }
                span class="soft" {
                    (grouped(key.denied)) " of " (grouped(key.asked)) " denied, " (percent(key.denied, key.asked))
                    @if !key.longest_wait.is_zero() {
                        span class="wide" { "; longest wait " (duration(key.longest_wait)) }
                    }
                    @if key.never > 0 { "; " (grouped(key.never)) " too large" }
                }
            }
            span class="bar" {
                i class="admitted" style={ "width:" (length(key.asked)) } {}
                i class="denied" style={ "width:" (length(key.denied)) } {}
            }
        }
    }
}

fn footer(report: &Report<'_>) -> Markup {
    let parameters = &report.parameters;
    html! {
        footer {
            p { "Replayed: " @for (number, input) in parameters.inputs.iter().enumerate() {
                @if number > 0 { ", " }
                bdi { (words::foreign(input.as_bytes(), 120)) }
            } }
            p { "Command: " code class="command" { (words::command(report)) } }
            p {
                "A denied request is not asked again. Times are UTC. meter-replay " (env!("CARGO_PKG_VERSION")) "."
            }
        }
    }
}

/// Returns a part of a whole in CSS units.
fn share(part: i64, whole: i64) -> String {
    let hundredths = part.saturating_mul(10_000) / whole.max(1);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}
