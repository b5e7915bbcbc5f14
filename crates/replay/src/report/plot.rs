//! The shared parts of the pictures: the shapes of a plot, in a box that is stretched to its place, and the ticks of its axes.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::axis::{self, DAY, MINUTE, Tick};
use super::words;
use crate::series::{Counts, Timeline};

/// The size of the box of a plot's shapes. The box is stretched, so the numbers are not pixels; they set the precision of the shapes.
pub(super) const WIDTH: i64 = 10_000;
const HEIGHT: u128 = 1_000;
/// The height including the strip below.
pub(super) const BOX_HEIGHT: i64 = 1_080;

/// The scales of all plots of a report: the same time span and the same height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    start: i64,
    width: i64,
    count: i64,
    top: u128,
    step: u128,
}

impl Frame {
    /// Creates the frame for these timelines, which are of the same traffic. `None` if there is no traffic.
    pub(super) fn around<'a>(timelines: impl Iterator<Item = &'a Timeline> + Clone) -> Option<Self> {
        let first = timelines.clone().find(|timeline| !timeline.buckets.is_empty())?;
        let highest = timelines
            .flat_map(|timeline| &timeline.buckets)
            .map(|bucket| bucket.asked())
            .max()
            .unwrap_or(0)
            .max(1);
        let step = axis::step_of(highest);
        Some(Self {
            start: first.start,
            width: first.width,
            count: i64::try_from(first.buckets.len()).unwrap_or(i64::MAX),
            top: highest.div_ceil(step).saturating_mul(step),
            step,
        })
    }

    /// Returns the length of a bucket, in nanoseconds.
    pub(super) fn bucket_ns(self) -> i64 {
        self.width
    }

    /// Returns the place of a time in the box.
    pub(super) fn x(self, time: i64) -> i64 {
        let span = i128::from(self.width) * i128::from(self.count);
        let after = i128::from(time) - i128::from(self.start);
        i64::try_from((after * i128::from(WIDTH)).div_euclid(span.max(1))).map_or(WIDTH, |x| x.clamp(0, WIDTH))
    }

    /// Returns the places in the box of the start and the end of a minute.
    fn minute_at(self, start: i64) -> (i64, i64) {
        (self.x(start), self.x(start.saturating_add(MINUTE)))
    }

    /// Returns the place for the mark of the worst minute: on top of the bar, among those of the minute, with the most cells denied.
    pub(super) fn mark(self, timeline: &Timeline) -> Option<(i64, i64)> {
        let minute = timeline.worst_minute?;
        let place = |time: i64| {
            let after = (i128::from(time) - i128::from(self.start)).div_euclid(i128::from(self.width));
            usize::try_from(after.max(0)).unwrap_or(usize::MAX)
        };
        let buckets = place(minute.start)..=place(minute.start.saturating_add(MINUTE - 1));
        let within = timeline
            .buckets
            .iter()
            .enumerate()
            .filter(|(bucket, _)| buckets.contains(bucket));
        // The first if several are equal.
        let (bucket, counts) = within.rev().max_by_key(|(_, counts)| counts.denied)?;
        let x = self.left(bucket) + (self.left(bucket + 1) - self.left(bucket)) / 2;
        Some((x, i64::try_from(self.y(counts.asked())).unwrap_or(0)))
    }

    /// Returns the height of `cells` cells in the box, from above.
    fn y(self, cells: u128) -> u128 {
        // Saturates only past 2^118 cells, which 2^54 requests of 2^64 make.
        HEIGHT - (cells.saturating_mul(HEIGHT) / self.top).min(HEIGHT)
    }

    /// Returns the ticks of the axis of cells, in the box from above.
    pub(super) fn heights(self) -> Vec<Tick> {
        // The top is only a few steps.
        let tick = |number: u128| {
            let cells = number.saturating_mul(self.step);
            Tick {
                at: i64::try_from(self.y(cells)).unwrap_or(0),
                label: words::short(cells),
                is_major: number == 0 || cells == self.top,
            }
        };
        (0..=self.top / self.step).map(tick).collect()
    }

    /// Returns the ticks of the axis of time, which are round times of the clock.
    pub(super) fn times(self) -> Vec<Tick> {
        let span = self.width.saturating_mul(self.count);
        let (times, format) = axis::times(self.start, span);
        let tick = |(number, time)| Tick {
            at: self.x(time),
            label: words::time(time, format),
            is_major: number % 2 == 0,
        };
        times.enumerate().map(tick).collect()
    }

    /// Returns the day or days of the axis of time, and its zone.
    pub(super) fn days(self) -> String {
        let end = self.start.saturating_add(self.width.saturating_mul(self.count) - 1);
        words::days(self.start, end)
    }

    /// Formats a minute, with its date if the plots cover more than one day.
    pub(super) fn minute(self, start: i64) -> String {
        let end = self.start.saturating_add(self.width.saturating_mul(self.count) - 1);
        let day = |time: i64| time.div_euclid(DAY);
        let format = if day(self.start) == day(end) {
            "%H:%M"
        } else {
            "%-d %b %H:%M"
        };
        words::time(start, format)
    }

    /// Draws the shapes of a plot, for an `svg` with [`view_box`]: lines at the ticks, areas, and below them a strip. The strip has a mark wherever
    /// any cell was denied, since a few denied cells among many would be invisible in the areas.
    pub(super) fn shapes(self, timeline: &Timeline) -> Markup {
        let worst = timeline.worst_minute.map(|minute| self.minute_at(minute.start));
        html! {
            @if let Some((left, right)) = worst {
                rect class="minute" x=(left) y="0" width=(right - left) height=(HEIGHT) {}
            }
            @for tick in self.heights() {
                path class=(if tick.label == "0" { "base" } else { "grid" }) d={ "M0," (tick.at) "H" (WIDTH) } {}
            }
            @for tick in self.times() {
                path class="grid" d={ "M" (tick.at) ",0V" (HEIGHT) } {}
            }
            path class="admitted" d=(self.area(timeline, |_| 0, |counts| counts.admitted)) {}
            path class="denied" d=(self.area(timeline, |counts| counts.admitted, Counts::asked)) {}
            path class="denied" d=(self.strip(timeline)) {}
            @if let Some((left, right)) = worst.filter(|(left, right)| right - left < WIDTH / 100) {
                path class="worst" d={ "M" ((left + right) / 2) ",0V" (HEIGHT) } {}
            }
        }
    }

    /// Draws steps from `low` to `high`, where the two differ.
    fn area(self, timeline: &Timeline, low: impl Fn(Counts) -> u128, high: impl Fn(Counts) -> u128) -> String {
        let mut path = String::new();
        let buckets: Vec<Counts> = timeline.buckets.clone();
        let is_something = |counts: &Counts| high(*counts) > low(*counts);
        let mut from = 0;
        while let Some(start) = buckets[from..].iter().position(is_something).map(|at| from + at) {
            let end = buckets[start..]
                .iter()
                .position(|counts| !is_something(counts))
                .map_or(buckets.len(), |at| start + at);
            let steps = || (start..end).map(|at| (self.left(at), self.left(at + 1), buckets[at]));
            let _ = write!(path, "M{},{}", self.left(start), self.y(low(buckets[start])));
            let mut last = None;
            for (_, right, counts) in steps() {
                step_to(&mut path, &mut last, self.y(high(counts)), right);
            }
            last = None;
            for (left, _, counts) in steps().rev() {
                step_to(&mut path, &mut last, self.y(low(counts)), left);
            }
            path.push('z');
            from = end;
        }
        path
    }

    /// Draws the marks in the strip; marks of adjacent buckets are joined.
    fn strip(self, timeline: &Timeline) -> String {
        let mut path = String::new();
        let mut at = 0;
        for run in timeline.buckets.chunk_by(|a, b| (a.denied > 0) == (b.denied > 0)) {
            let (left, right) = (self.left(at), self.left(at + run.len()));
            at += run.len();
            if run[0].denied > 0 {
                // Wide enough to be visible on a phone.
                let width = (right - left).max(WIDTH / 250);
                let _ = write!(path, "M{left},1030h{width}v50h-{width}z");
            }
        }
        path
    }

    /// Returns the start of a bucket, and its left and right edge in the box.
    pub(super) fn bucket_at(self, bucket: usize) -> (i64, i64, i64) {
        let after = i64::try_from(bucket).unwrap_or(i64::MAX).saturating_mul(self.width);
        (
            self.start.saturating_add(after),
            self.left(bucket),
            self.left(bucket + 1),
        )
    }

    fn left(self, bucket: usize) -> i64 {
        let bucket = i64::try_from(bucket).unwrap_or(i64::MAX);
        bucket.saturating_mul(WIDTH) / self.count.max(1)
    }
}

/// Returns the box of [`Frame::shapes`], from its upper edge to the lower edge of its strip.
pub(super) fn view_box() -> String {
    format!("0 0 {WIDTH} {BOX_HEIGHT}")
}

/// Goes up or down to `y` and along to `x`; consecutive steps of the same height are one line.
fn step_to(path: &mut String, last: &mut Option<u128>, y: u128, x: i64) {
    if *last == Some(y) {
        let line = path.rfind('H').map_or(path.len(), |at| at);
        path.truncate(line);
    } else {
        let _ = write!(path, "V{y}");
    }
    let _ = write!(path, "H{x}");
    *last = Some(y);
}
