//! Draws the plots: requests as squares, a measured state as a curve, counts as bars.

use crate::drawing::{HeightScale, PLOT_WIDTH, px, x};
use std::fmt::Write as _;

/// Requests within this many milliseconds share one column, with a square each.
const COLUMN_MS: u32 = 100;
/// The distance between squares; the next constant is their size.
const PITCH: u32 = 8;
const SQUARE: u32 = 7;

/// The maximum number of squares that a plot of [`squares`] has room for.
pub(crate) const HIGHEST: u32 = 14;
/// The height of that many squares.
pub(crate) const SQUARES_HEIGHT: u32 = HIGHEST * PITCH;

/// Draws squares above `bottom`: the admitted requests of each column, and above them the denied ones.
pub(crate) fn squares(decisions: &[(u32, bool)], bottom: u32) -> [String; 2] {
    let mut paths = [String::new(), String::new()];
    for column in decisions.chunk_by(|(a, _), (b, _)| a / COLUMN_MS == b / COLUMN_MS) {
        let left = f64::from(column[0].0 / COLUMN_MS * COLUMN_MS);
        let left = x(left, crate::traffic::SPAN_MS);
        let admitted = column.iter().filter(|(_, is_admitted)| *is_admitted);
        let denied = column.iter().filter(|(_, is_admitted)| !is_admitted);
        for (row, (_, is_admitted)) in (1..).zip(admitted.chain(denied)) {
            let path = &mut paths[usize::from(!is_admitted)];
            let _ = write!(
                path,
                "M{},{}h{SQUARE}v{SQUARE}h-{SQUARE}z",
                px(left),
                bottom - row * PITCH
            );
        }
    }
    paths
}

/// Draws a line through all points.
pub(crate) fn curve(points: impl Iterator<Item = (u32, f64)>, scale: HeightScale, span: u32) -> String {
    let mut path = String::new();
    let mut last = None;
    for (time, value) in points {
        let point = format!("{},{}", px(x(time.into(), span)), px(scale.y(value)));
        if last.as_ref() != Some(&point) {
            let _ = write!(path, "{}{point}", if last.is_none() { "M" } else { "L" });
            last = Some(point);
        }
    }
    path
}

/// Draws bars side by side, each from one height to another; `room` is the number of bars that the plot has room for.
pub(crate) fn bars(heights: impl Iterator<Item = (u32, u32)>, room: u32, scale: HeightScale) -> String {
    let width = px(f64::from(PLOT_WIDTH) / f64::from(room) - 0.7);
    let mut path = String::new();
    for (bar, (from, to)) in (0_u32..).zip(heights).filter(|(_, (from, to))| to > from) {
        let [low, high] = [from, to].map(|height| px(scale.y(height.into())));
        let _ = write!(path, "M{},{low}h{width}V{high}h-{width}z", px(x(bar.into(), room)));
    }
    path
}
