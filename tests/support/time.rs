//! Instants as signed nanoseconds from an origin; spans longer than a `Duration` of nanoseconds are none the worse for it.

use std::time::{Duration, Instant};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
/// Of 365 days, so that a number of years is never longer than the same number of anybody else's.
pub(crate) const YEAR: u64 = 365 * DAY;
/// How long after a meter was made denials are promised to be necessary and exact.
pub(crate) const HORIZON: i128 = 20 * YEAR as i128;

/// The instant `ns` after `origin`, if the platform has one.
pub(crate) fn try_instant(origin: Instant, ns: i128) -> Option<Instant> {
    let span = ns.unsigned_abs();
    let second = u128::from(SECOND);
    let secs = u64::try_from(span / second).ok()?;
    let nanos = u32::try_from(span % second).ok()?;
    let span = Duration::new(secs, nanos);
    if ns < 0 {
        origin.checked_sub(span)
    } else {
        origin.checked_add(span)
    }
}

/// The instant `ns` after `origin`.
pub(crate) fn instant(origin: Instant, ns: i128) -> Instant {
    try_instant(origin, ns).expect("an instant of the platform")
}

/// How many nanoseconds after `origin` it is; negative before.
pub(crate) fn since(origin: Instant, at: Instant) -> i128 {
    let ns = |span: Duration| i128::from(span.as_secs()) * i128::from(SECOND) + i128::from(span.subsec_nanos());
    if at < origin {
        -ns(origin.duration_since(at))
    } else {
        ns(at.duration_since(origin))
    }
}

/// The earliest instant that the platform can represent.
pub(crate) fn earliest_instant() -> Instant {
    let steps = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
    let steps = steps.chain((0..30).rev().map(|bit| Duration::from_nanos(1 << bit)));
    steps.fold(Instant::now(), |mut at, step| {
        while let Some(earlier) = at.checked_sub(step) {
            at = earlier;
        }
        at
    })
}

/// The latest instant that the platform can represent.
pub(crate) fn latest_instant() -> Instant {
    let steps = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
    let steps = steps.chain((0..30).rev().map(|bit| Duration::from_nanos(1 << bit)));
    steps.fold(Instant::now(), |mut at, step| {
        while let Some(later) = at.checked_add(step) {
            at = later;
        }
        at
    })
}
