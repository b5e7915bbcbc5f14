//! Draws two averages on one subject. They admit the bursts of an occasional client, but not those of a client that never stops.

use crate::Picture;
use crate::drawing::{self, HeightScale, PANEL_HEAD, Panel, Symbol, number};
use crate::plots;
use crate::run::counts;
use maud::{Markup, html};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Dual, Exponential};
use std::error::Error;

const PAIR: &str = "60/min & 600/h";
const MINUTES: u32 = 120;
const MINUTE_MS: u32 = 60_000;

/// The number of requests admitted and denied in each minute.
pub(crate) type PerMinute = Vec<[u32; 2]>;

pub(crate) struct Runs {
    /// 50 requests at once every six minutes, through both limits, and through only the long-run rate of a minute.
    pub(crate) bursts: PerMinute,
    pub(crate) bursts_by_rate: PerMinute,
    /// Ten requests a second without end, through both limits and through only the first.
    pub(crate) endless: PerMinute,
    pub(crate) endless_by_first: PerMinute,
}

impl Runs {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            bursts: both(bursts())?,
            bursts_by_rate: alone("10/min", bursts())?,
            endless: both(endless())?,
            endless_by_first: alone("60/min", endless())?,
        })
    }
}

fn bursts() -> impl Iterator<Item = u32> {
    (0..MINUTES / 6).flat_map(|burst| [burst * 6 * MINUTE_MS; 50])
}

pub(crate) fn endless() -> impl Iterator<Item = u32> {
    (0..MINUTES * MINUTE_MS).step_by(100)
}

fn both(requests: impl Iterator<Item = u32>) -> Result<PerMinute, Box<dyn Error>> {
    let clock = ManualClock::new();
    let pair = Dual::<Exponential>::from_quota(PAIR.parse()?)?.with_clock(clock.clone());
    Ok(counts(&pair, clock.now(), requests, MINUTE_MS))
}

/// Returns the decisions of one average on the requests.
pub(crate) fn alone(quota: &str, requests: impl Iterator<Item = u32>) -> Result<PerMinute, Box<dyn Error>> {
    let clock = ManualClock::new();
    let meter = Exponential::from_quota(quota.parse()?)?.with_clock(clock.clone());
    Ok(counts(&meter, clock.now(), requests, MINUTE_MS))
}

/// Returns the number of admitted requests and of all requests.
pub(crate) fn admitted(minutes: &[[u32; 2]]) -> [u32; 2] {
    let admitted = minutes.iter().map(|[admitted, _]| admitted).sum();
    let denied: u32 = minutes.iter().map(|[_, denied]| denied).sum();
    [admitted, admitted + denied]
}

pub(crate) fn picture(runs: &Runs) -> Picture {
    let svg = drawing::picture(
        "Short bursts admitted, long runs clamped",
        "Two averages, 60 a minute and 600 an hour. A client that asks 50 at once every six minutes is never denied. 10 a minute alone, \
            the same rate, would deny 40 of each 50. A client that asks ten a second without end gets 60 a minute at first and 10 a minute \
            after ten minutes or so. With 60 a minute alone it would get 60 a minute for good.",
        "two hours of two clients, in cells a minute",
        &[
            (16, Symbol::Square("admitted"), "admitted"),
            (160, Symbol::Square("denied"), "denied"),
            (280, Symbol::Line("other"), "admitted by 60/min alone"),
        ],
        &[
            panel(&ClientRun {
                limit: format!("Dual {PAIR}"),
                asks: "50 at once every 6 minutes",
                minutes: &runs.bursts,
                scale: plot(60),
                ticks: &[0, 25, 50],
                by_first: None,
            }),
            panel(&ClientRun {
                limit: "Exponential 10/min".into(),
                asks: "the same 50 at once every 6 minutes",
                minutes: &runs.bursts_by_rate,
                scale: plot(60),
                ticks: &[0, 25, 50],
                by_first: None,
            }),
            panel(&ClientRun {
                limit: format!("Dual {PAIR}"),
                asks: "10 a second without end; the strip: any denied",
                minutes: &runs.endless,
                scale: plot(125),
                ticks: &[0, 60, 120],
                by_first: Some(&runs.endless_by_first),
            }),
        ],
    );
    let name = "which-averages";
    Picture { name, svg }
}

/// The requests of one client, and how many are admitted.
struct ClientRun<'a> {
    limit: String,
    asks: &'static str,
    minutes: &'a [[u32; 2]],
    scale: HeightScale,
    ticks: &'static [u32],
    /// The requests that the first limit alone admits, drawn as a line.
    by_first: Option<&'a [[u32; 2]]>,
}

fn plot(most: u32) -> HeightScale {
    HeightScale {
        top: PANEL_HEAD,
        bottom: PANEL_HEAD + 100,
        most: most.into(),
    }
}

fn panel(client: &ClientRun<'_>) -> Panel {
    let ClientRun { minutes, scale, .. } = client;
    let strip = HeightScale {
        top: scale.bottom + 4,
        bottom: scale.bottom + 10,
        most: 1.0,
    };
    let shown = |[admitted, denied]: &[u32; 2]| {
        (
            *admitted,
            if client.by_first.is_some() {
                *admitted
            } else {
                admitted + denied
            },
        )
    };
    let body = html! {
        text class="soft" x=(drawing::MARGIN) y="48" { (client.asks) }
        (scale.ticks(client.ticks))
        path class="admitted" d=(plots::bars(minutes.iter().map(|[admitted, _]| (0, *admitted)), MINUTES, *scale)) {}
        path class="denied" d=(plots::bars(minutes.iter().map(shown), MINUTES, *scale)) {}
        path class="denied" d=(plots::bars(minutes.iter().map(|[_, denied]| (0, *denied)), MINUTES, strip)) {}
        @if let Some(by_first) = client.by_first { (outline(by_first, *scale)) }
        (drawing::times(strip.bottom, (0..=MINUTES).step_by(20), MINUTES, "min"))
    };
    let [admitted, asked] = admitted(minutes);
    Panel {
        name: client.limit.clone(),
        verdict: format!("{} of {} admitted", number(admitted), number(asked)),
        height: strip.bottom + 38,
        body,
    }
}

/// Draws steps, one a minute.
fn outline(minutes: &[[u32; 2]], scale: HeightScale) -> Markup {
    let steps = (0..)
        .zip(minutes)
        .flat_map(|(minute, [admitted, _])| [minute, minute + 1].map(|at| (at, f64::from(*admitted))));
    html! {
        path class="other" d=(plots::curve(steps, scale, MINUTES)) {}
    }
}
