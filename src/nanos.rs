//! Integer time: a meter's time line, and the only conversions to and from `Duration` and `Instant`.

use std::time::{Duration, Instant};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// How long before a meter is made its time line begins, so that an `Instant` taken just before building is exact.
const LEAD: u64 = 86_400 * NANOS_PER_SEC;

/// A time in whole nanoseconds since the beginning of a meter's time line, at most [`Nanos::END`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(u64);

impl Nanos {
    /// The bits of a time: the line is 2^60 ns long, 36.5 years.
    pub(crate) const BITS: u32 = 60;

    /// The end of the line; whatever is later counts as this.
    pub(crate) const END: Self = Self((1 << Self::BITS) - 1);

    /// The time `ns` after the beginning, or the end of the line.
    pub(crate) const fn clamped(ns: u64) -> Self {
        if ns < Self::END.0 { Self(ns) } else { Self::END }
    }

    /// The nanoseconds since the beginning.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The stretch of time on which one meter counts, from a day before it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeLine {
    beginning: Instant,
}

impl TimeLine {
    /// The time line of a meter made at `made`: it begins a day earlier, or as early as the platform's `Instant` allows.
    pub(crate) fn of_meter_made(made: Instant) -> Self {
        Self {
            beginning: as_far_as_possible(made, LEAD, Instant::checked_sub),
        }
    }

    /// Where `at` lies; the beginning for what is earlier, the end for what is later.
    #[inline]
    pub(crate) fn position(self, at: Instant) -> Nanos {
        Nanos::clamped(self.nanos_until(at))
    }

    /// The time from the beginning to `at`, be that on the line or after its end; zero for what is earlier.
    #[inline]
    pub(crate) fn nanos_until(self, at: Instant) -> u64 {
        match at.checked_duration_since(self.beginning) {
            None => 0,
            Some(since) if since.as_secs() < Nanos::END.0 / NANOS_PER_SEC => {
                since.as_secs() * NANOS_PER_SEC + u64::from(since.subsec_nanos())
            }
            Some(since) => whole_nanos(since).unwrap_or(u64::MAX),
        }
    }

    /// The `Instant` that lies `ns` after the beginning, or the last one the platform has.
    pub(crate) fn instant(self, ns: u64) -> Instant {
        as_far_as_possible(self.beginning, ns, Instant::checked_add)
    }
}

/// The whole of `duration` in nanoseconds, unless that exceeds 64 bits (584 years).
pub(crate) fn whole_nanos(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok()
}

/// Goes `ns` from `from`, or, where the platform's `Instant` ends before that, to the very end.
fn as_far_as_possible(from: Instant, ns: u64, step: impl Fn(&Instant, Duration) -> Option<Instant>) -> Instant {
    if let Some(there) = step(&from, Duration::from_nanos(ns)) {
        return there;
    }
    // Binary descent over the distance: at each bit the longest step that is still possible.
    (0..u64::BITS).rev().fold(from, |reached, bit| {
        step(&reached, Duration::from_nanos(1 << bit)).unwrap_or(reached)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_nanos(LEAD);

    /// The earliest (or latest) `Instant` of this platform.
    fn edge(step: impl Fn(&Instant, Duration) -> Option<Instant>) -> Instant {
        let coarse = (0..63).rev().fold(Instant::now(), |reached, bit| {
            step(&reached, Duration::from_secs(1 << bit)).unwrap_or(reached)
        });
        as_far_as_possible(coarse, u64::MAX, step)
    }

    #[test]
    fn a_time_line_begins_a_day_before_its_meter() {
        let made = Instant::now();
        let line = TimeLine::of_meter_made(made);
        assert_eq!(line.position(made), Nanos(LEAD));
        assert_eq!(line.position(made - DAY), Nanos(0));
        assert_eq!(line.position(made - DAY * 1000), Nanos(0));
    }

    #[test]
    fn a_time_line_begins_as_early_as_the_platform_allows() {
        let earliest = edge(Instant::checked_sub);
        assert_eq!(earliest.checked_sub(Duration::from_nanos(1)), None);
        assert_eq!(TimeLine::of_meter_made(earliest).position(earliest), Nanos(0));
        let hour = Duration::from_secs(3600);
        let line = TimeLine::of_meter_made(earliest + hour);
        assert_eq!(line.position(earliest + hour), Nanos(3600 * NANOS_PER_SEC));
    }

    #[test]
    fn positions_and_instants_are_inverse_up_to_the_end_of_the_line() {
        let line = TimeLine::of_meter_made(Instant::now());
        for ns in [0, 1, NANOS_PER_SEC - 1, NANOS_PER_SEC, (1 << 60) - 2, (1 << 60) - 1] {
            assert_eq!(line.position(line.instant(ns)), Nanos(ns));
        }
        for late in [1 << 60, (1 << 60) + NANOS_PER_SEC, u64::MAX] {
            assert_eq!(line.position(line.instant(late)), Nanos::END);
        }
    }

    #[test]
    fn an_instant_past_the_platforms_last_is_its_last() {
        let latest = edge(Instant::checked_add);
        assert_eq!(latest.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(TimeLine { beginning: latest }.instant(u64::MAX), latest);
    }
}
