//! Draws the same eight seconds of bursty requests through each kind of limit.

use crate::Picture;
use crate::drawing::{self, HeightScale, LEFT, PANEL_HEAD, PLOT_WIDTH, Panel, Symbol, px};
use crate::plots::{self, SQUARES_HEIGHT};
use crate::run::{Run, run};
use crate::traffic::{SPAN_MS, requests};
use maud::{Markup, html};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Decider, Dual, Exponential, GCRA, LeakyBucket, Status};
use std::error::Error;
use std::time::Instant;

/// The rate of all limits.
pub(crate) const RATE: &str = "10/s";
pub(crate) const SPACED: &str = "10/s burst 1";
pub(crate) const DUAL: &str = "10/s & 40/min";

/// The decisions of each limit.
pub(crate) struct Runs {
    pub(crate) gcra: Run<0>,
    pub(crate) spaced: Run<0>,
    /// Measures the level in cells.
    pub(crate) bucket: Run<1>,
    /// Measures the rate in cells a second.
    pub(crate) average: Run<1>,
    pub(crate) strict: Run<1>,
    /// Measures the used part of each burst, in percent.
    pub(crate) dual: Run<2>,
}

impl Runs {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let clock = ManualClock::new();
        let gcra = GCRA::from_quota(RATE.parse()?)?.with_clock(clock.clone());
        let spaced = GCRA::from_quota(SPACED.parse()?)?.with_clock(clock.clone());
        let bucket = LeakyBucket::from_quota(RATE.parse()?)?.with_clock(clock.clone());
        let average = Exponential::from_quota(RATE.parse()?)?.with_clock(clock.clone());
        let strict = average.clone().strict();
        let dual = Dual::<GCRA>::from_quota(DUAL.parse()?)?.with_clock(clock.clone());
        let start = clock.now();
        Ok(Self {
            gcra: through(&gcra, start, |_| []),
            spaced: through(&spaced, start, |_| []),
            bucket: through(&bucket, start, |at| [taken(bucket.status_at(at))]),
            average: through(&average, start, |at| [average.rate_at(at)]),
            strict: through(&strict, start, |at| [strict.rate_at(at)]),
            dual: through(&dual, start, |at| {
                let status = dual.status_at(at);
                [status.first(), status.second()].map(share)
            }),
        })
    }
}

fn through<const N: usize>(limit: &impl Decider, start: Instant, measure: impl Fn(Instant) -> [f64; N]) -> Run<N> {
    run(limit, start, requests(), SPAN_MS, measure)
}

/// Returns the number of cells that have yet to drain, with fractions.
fn taken(status: Status) -> f64 {
    status.quota().map_or(0.0, |quota| {
        status.until_rest().as_secs_f64() * f64::from(quota.cells().get()) / quota.period().as_secs_f64()
    })
}

/// Returns the used part of the burst, in percent.
fn share(status: Status) -> f64 {
    let burst = status.quota().map_or(1, |quota| quota.burst().get());
    100.0 * taken(status) / f64::from(burst)
}

pub(crate) fn pictures(runs: &Runs) -> Vec<Picture> {
    let asked = requests().count();
    let shown = format!("{asked} requests in 8 s: singles, bursts, a loop, bursts");
    let decided = [
        (16, Symbol::Square("admitted"), "admitted"),
        (160, Symbol::Square("denied"), "denied"),
    ];
    let (all, spaced) = (runs.gcra.admitted(), runs.spaced.admitted());
    let burst = drawing::picture(
        "The effect of a limit's burst",
        &format!(
            "With a burst of 10, the limit of 10 a second admits {all} of {asked} requests: ten of a burst of 13, all of a burst of 8, and \
            one in four of the loop. With a burst of 1 it admits {spaced}, never two within 100 milliseconds."
        ),
        &shown,
        &decided,
        &[
            panel(format!("GCRA {RATE}"), &runs.gcra, None),
            panel(format!("GCRA {SPACED}"), &runs.spaced, None),
        ],
    );
    let level = StatePlot {
        name: "level of the bucket, in cells (dotted: full)",
        most: 12,
        ticks: &[0, 5, 10],
        limit: 10,
    };
    let bucket = drawing::picture(
        "A leaky bucket and its level",
        &format!(
            "A bucket for 10 cells that drains 10 a second admits {} of {asked} requests, the same as GCRA. Its level rises by one \
            with each and falls steadily; a request that would overflow it is denied.",
            runs.bucket.admitted()
        ),
        &shown,
        &with(&decided, (280, Symbol::Line("curve"), "level")),
        &[panel(format!("LeakyBucket {RATE}"), &runs.bucket, Some(&level))],
    );
    let rate = StatePlot {
        name: "measured rate, a second (dotted: the limit)",
        most: 45,
        ticks: &[0, 10, 20, 30, 40],
        limit: 10,
    };
    let average = drawing::picture(
        "An average, and one that counts denials",
        &format!(
            "The average admits {} of {asked} requests. Its measured rate stays at 10 a second in the loop, and \
            a second after it there is room for some. The strict one admits {}: it counts denied requests, too, and denies everything \
            from the loop on until that rate has decayed below the limit.",
            runs.average.admitted(),
            runs.strict.admitted()
        ),
        &shown,
        &with(&decided, (280, Symbol::Line("curve"), "measured rate")),
        &[
            panel(format!("Exponential {RATE}"), &runs.average, Some(&rate)),
            panel(format!("Exponential {RATE}, strict"), &runs.strict, Some(&rate)),
        ],
    );
    let taken = StatePlot {
        name: "taken of each burst, in percent (dotted: all)",
        most: 115,
        ticks: &[0, 50, 100],
        limit: 100,
    };
    let dual = drawing::picture(
        "Two limits in one decision",
        &format!(
            "Of {asked} requests {} are admitted. Until the middle of the loop the limit of 10 a second denies. Then the 40 \
            a minute are spent, and only drained cells are left.",
            runs.dual.admitted()
        ),
        &shown,
        &[
            decided[0],
            decided[1],
            (280, Symbol::Line("curve"), "of 10/s"),
            (410, Symbol::Line("other"), "of 40/min"),
        ],
        &[panel(format!("Dual {DUAL}"), &runs.dual, Some(&taken))],
    );
    let named = [
        ("which-burst", burst),
        ("which-level", bucket),
        ("which-average", average),
        ("which-dual", dual),
    ];
    named.map(|(name, svg)| Picture { name, svg }).into()
}

type LegendEntry = (u32, Symbol, &'static str);

fn with(decided: &[LegendEntry; 2], third: LegendEntry) -> [LegendEntry; 3] {
    [decided[0], decided[1], third]
}

/// The way in which a limit's state is drawn.
struct StatePlot {
    name: &'static str,
    most: u32,
    ticks: &'static [u32],
    /// The value above which the limit denies.
    limit: u32,
}

const STATE_HEIGHT: u32 = 88;

fn panel<const N: usize>(name: String, run: &Run<N>, state: Option<&StatePlot>) -> Panel {
    let scale = HeightScale {
        top: PANEL_HEAD,
        bottom: PANEL_HEAD + SQUARES_HEIGHT,
        most: plots::HIGHEST.into(),
    };
    let [admitted, denied] = plots::squares(&run.decisions, scale.bottom);
    let bottom = scale.bottom + state.map_or(0, |_| 42 + STATE_HEIGHT);
    let body = html! {
        text class="soft" x=(drawing::MARGIN) y="48" { "requests in 100 ms, a square each" }
        (scale.ticks(&[0, 5, 10]))
        path class="admitted" d=(admitted) {}
        path class="denied" d=(denied) {}
        @if let Some(state) = state { (course(run, state, HeightScale { top: bottom - STATE_HEIGHT, bottom, most: state.most.into() })) }
        (drawing::times(bottom, 0..=SPAN_MS / 1000, SPAN_MS / 1000, "s"))
    };
    let verdict = format!("{} of {} admitted", run.admitted(), run.decisions.len());
    Panel {
        name,
        verdict,
        height: bottom + 38,
        body,
    }
}

fn course<const N: usize>(run: &Run<N>, state: &StatePlot, scale: HeightScale) -> Markup {
    html! {
        text class="soft" x=(drawing::MARGIN) y=(scale.top - 14) { (state.name) }
        (scale.ticks(state.ticks))
        path class="limit" d={ "M" (LEFT) "," (px(scale.y(state.limit.into()))) "h" (PLOT_WIDTH) } {}
        @for (measure, class) in (0..N).zip(["curve", "other"]) {
            path class=(class) d=(plots::curve(run.course(measure), scale, SPAN_MS)) {}
        }
    }
}
