//! Draws the shared parts of all pictures: size, style, head and axes. The pictures look like the charts of `meter-replay`.
//!
//! A picture is 720 wide and scales. If it is shown narrow, as on a phone, its letters are larger and every other tick is hidden.

use maud::{Markup, PreEscaped, html};

const STYLE: &str = concat!(
    include_str!("../../crates/replay/src/report/chart.css"),
    include_str!("drawing.css")
);

pub(crate) const WIDTH: u32 = 720;
pub(crate) const MARGIN: u32 = 16;
/// Left edge and width of the plots; labels of heights are to the left.
pub(crate) const LEFT: u32 = 64;
pub(crate) const PLOT_WIDTH: u32 = 640;
/// Height of the text above the first panel.
const HEAD: u32 = 92;

/// The symbol of an entry in the legend.
#[derive(Clone, Copy)]
pub(crate) enum Symbol {
    Square(&'static str),
    Line(&'static str),
}

/// One or more plots about one limit.
pub(crate) struct Panel {
    pub(crate) name: String,
    pub(crate) verdict: String,
    pub(crate) height: u32,
    /// Drawn relative to the panel's upper edge; the first plot may begin at [`PANEL_HEAD`].
    pub(crate) body: Markup,
}

/// Height of the name and of the caption of the first plot.
pub(crate) const PANEL_HEAD: u32 = 62;

/// Draws a picture: its title, a line that describes it, the legend and its places, and its panels.
pub(crate) fn picture(
    title: &str,
    description: &str,
    shown: &str,
    legend: &[(u32, Symbol, &str)],
    panels: &[Panel],
) -> String {
    let height = HEAD + panels.iter().map(|panel| panel.height).sum::<u32>() + MARGIN;
    let tops = panels.iter().scan(HEAD, |top, panel| {
        let this = *top;
        *top += panel.height;
        Some(this)
    });
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby="title desc" {
            title id="title" { (title) }
            desc id="desc" { (description) }
            style { (PreEscaped(STYLE)) }
            rect class="paper" width=(WIDTH) height=(height) {}
            text class="title" x=(MARGIN) y="32" { (title) }
            text class="soft" x=(MARGIN) y="58" { (shown) }
            @for (x, key, words) in legend { (entry(*x, *key, words)) }
            @for (panel, top) in panels.iter().zip(tops) {
                g transform={ "translate(0 " (top) ")" } {
                    text class="name" x=(MARGIN) y="24" { (panel.name) }
                    text class="end" x=(WIDTH - MARGIN) y="24" { (panel.verdict) }
                    (panel.body)
                }
            }
        }
    };
    picture.into_string() + "\n"
}

fn entry(x: u32, key: Symbol, words: &str) -> Markup {
    html! {
        @match key {
            Symbol::Square(class) => rect class=(class) x=(x) y="73" width="14" height="14" {},
            Symbol::Line(class) => path class=(class) d={ "M" (x) ",80h18" } {},
        }
        text x=(x + 24) y="86" { (words) }
    }
}

/// A scale of heights, from 0 to `most`, in a plot between two heights of the panel.
#[derive(Clone, Copy)]
pub(crate) struct HeightScale {
    pub(crate) top: u32,
    pub(crate) bottom: u32,
    pub(crate) most: f64,
}

impl HeightScale {
    pub(crate) fn y(&self, value: f64) -> f64 {
        let (top, bottom) = (f64::from(self.top), f64::from(self.bottom));
        bottom - (bottom - top) * value.min(self.most) / self.most
    }

    /// Draws lines at these heights with their labels; every other one is hidden if there is little room.
    pub(crate) fn ticks(&self, values: &[u32]) -> Markup {
        html! {
            @for (number, &value) in values.iter().enumerate() {
                @let y = self.y(value.into());
                path class=(if value == 0 { "base" } else { "grid" }) d={ "M" (LEFT) "," (px(y)) "h" (PLOT_WIDTH) } {}
                text class=(class("soft end", number)) x=(LEFT - 8) y=(px(y + 5.0)) { (value) }
            }
        }
    }
}

/// Draws labels below a plot for these times, of a span in the same unit.
pub(crate) fn times(y: u32, times: impl Iterator<Item = u32>, span: u32, unit: &str) -> Markup {
    html! {
        @for (number, time) in times.enumerate() {
            @let side = if time == span { "soft end" } else { "soft middle" };
            @let x = if time == span { f64::from(WIDTH - MARGIN + 8) } else { x(time.into(), span) };
            text class=(class(side, number)) x=(px(x)) y=(y + 22) { (time) " " (unit) }
        }
    }
}

/// Returns the place of a time in a plot of this span.
pub(crate) fn x(time: f64, span: u32) -> f64 {
    f64::from(LEFT) + time * f64::from(PLOT_WIDTH) / f64::from(span)
}

/// Formats a length, rounded to a tenth, in its shortest form.
pub(crate) fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Formats a number with its thousands separated.
pub(crate) fn number(number: u32) -> String {
    match number {
        ..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

fn class(class: &str, number: usize) -> String {
    let minor = if number % 2 == 0 { "" } else { " minor" };
    format!("{class}{minor}")
}
