//! Instants as signed nanoseconds from an origin; spans may be longer than a `Duration` of nanoseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
/// A year of 365 days, so that a number of years is never longer than the same number under any other definition.
pub(crate) const YEAR: u64 = 365 * DAY;
/// Time after a meter was made for which denials are guaranteed to be necessary and exact.
pub(crate) const HORIZON: i128 = 20 * YEAR as i128;

/// Returns the instant `ns` after `origin`, if the platform has one.
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

/// Returns the instant `ns` after `origin`, or the platform's first or last if it has none.
pub(crate) fn instant(origin: Instant, ns: i128) -> Instant {
    let beyond = || if ns < 0 { earliest_instant() } else { latest_instant() };
    try_instant(origin, ns).unwrap_or_else(beyond)
}

/// Returns the nanoseconds from `origin` to `at`; negative if `at` is before.
pub(crate) fn since(origin: Instant, at: Instant) -> i128 {
    let ns = |span: Duration| i128::from(span.as_secs()) * i128::from(SECOND) + i128::from(span.subsec_nanos());
    if at < origin {
        -ns(origin.duration_since(at))
    } else {
        ns(at.duration_since(origin))
    }
}

/// Returns the time of the wall clock this many nanoseconds after the summer of 2026.
pub(crate) fn wall(ns: i128) -> SystemTime {
    let summer = UNIX_EPOCH + Duration::from_secs(1_782_000_000);
    let span = Duration::from_nanos(u64::try_from(ns.unsigned_abs()).expect("some centuries"));
    if ns < 0 { summer - span } else { summer + span }
}

/// Returns the earliest instant that the platform can represent.
pub(crate) fn earliest_instant() -> Instant {
    as_far_as_it_goes(Instant::checked_sub)
}

/// Returns the latest instant that the platform can represent.
pub(crate) fn latest_instant() -> Instant {
    as_far_as_it_goes(Instant::checked_add)
}

/// Takes ever smaller steps from now, each as often as possible.
fn as_far_as_it_goes(step: fn(&Instant, Duration) -> Option<Instant>) -> Instant {
    let seconds = (0..64).rev().map(|bit| Duration::from_secs(1 << bit));
    let nanos = (0..30).rev().map(|bit| Duration::from_nanos(1 << bit));
    seconds.chain(nanos).fold(Instant::now(), |mut at, by| {
        while let Some(further) = step(&at, by) {
            at = further;
        }
        at
    })
}

/// Returns the same times at each call, for snapshots that are equal if the meter has not changed.
pub(crate) fn fixed_time() -> (Instant, SystemTime) {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    (*NOW.get_or_init(Instant::now), UNIX_EPOCH)
}
