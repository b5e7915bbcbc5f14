//! Finds the resolution of recorded stamps from the stamps themselves.

use std::fmt;

/// The resolution of the stamps of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Resolution {
    /// One nanosecond, also for stamps of unknown resolution.
    #[default]
    Nanosecond,
    /// One microsecond.
    Microsecond,
    /// One millisecond.
    Millisecond,
    /// One second, as in most access logs.
    Second,
    /// One minute, as in some spreadsheets.
    Minute,
}

impl Resolution {
    /// Returns the length of one unit, in nanoseconds.
    #[must_use]
    pub const fn unit_ns(self) -> i64 {
        match self {
            Self::Nanosecond => 1,
            Self::Microsecond => 1_000,
            Self::Millisecond => 1_000_000,
            Self::Second => 1_000_000_000,
            Self::Minute => 60_000_000_000,
        }
    }

    /// Returns the next finer resolution.
    const fn finer(self) -> Self {
        match self {
            Self::Minute => Self::Second,
            Self::Second => Self::Millisecond,
            Self::Millisecond => Self::Microsecond,
            Self::Microsecond | Self::Nanosecond => Self::Nanosecond,
        }
    }
}

/// Formats the name of the unit: `second`.
impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanosecond => "nanosecond",
            Self::Microsecond => "microsecond",
            Self::Millisecond => "millisecond",
            Self::Second => "second",
            Self::Minute => "minute",
        })
    }
}

/// Finds the coarsest resolution of which all stamps of one input are multiples.
///
/// The digits written are no evidence: programs append `.000` to whole seconds, and omit a fraction that is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grain {
    coarsest: Option<Resolution>,
    latest: i64,
    distinct: u32,
}

impl Grain {
    /// Number of distinct stamps at which whole minutes count as stamps without seconds, and not as chance.
    const MINUTES: u32 = 8;

    /// Includes the next stamp, in nanoseconds since the Unix epoch.
    #[inline]
    pub fn see(&mut self, time: i64) {
        let mut coarsest = self.coarsest.unwrap_or(Resolution::Minute);
        if self.coarsest.is_none() || self.latest != time {
            self.latest = time;
            self.distinct = self.distinct.saturating_add(1);
            while coarsest != Resolution::Nanosecond && time % coarsest.unit_ns() != 0 {
                coarsest = coarsest.finer();
            }
        }
        self.coarsest = Some(coarsest);
    }

    /// Returns the resolution so far; `None` before the first stamp.
    #[must_use]
    pub fn resolution(&self) -> Option<Resolution> {
        match self.coarsest? {
            Resolution::Minute if self.distinct < Self::MINUTES => Some(Resolution::Second),
            coarsest => Some(coarsest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolution(times: impl IntoIterator<Item = i64>) -> Option<Resolution> {
        let mut grain = Grain::default();
        times.into_iter().for_each(|time| grain.see(time));
        grain.resolution()
    }

    #[test]
    fn the_finest_stamp_sets_the_resolution() {
        const SECOND: i64 = 1_000_000_000;
        let table: &[(&[i64], Option<Resolution>)] = &[
            (&[], None),
            (&[0], Some(Resolution::Second)),
            (&[SECOND, 3 * SECOND, 3 * SECOND], Some(Resolution::Second)),
            (&[SECOND, 1_500_000_000, SECOND], Some(Resolution::Millisecond)),
            (&[SECOND, 1_500_001_000], Some(Resolution::Microsecond)),
            (&[SECOND, 1_500_001_001, 2 * SECOND], Some(Resolution::Nanosecond)),
        ];
        for &(times, expected) in table {
            assert_eq!(resolution(times.iter().copied()), expected, "{times:?}");
        }
    }

    #[test]
    fn minute_resolution_needs_eight_distinct_stamps() {
        let minutes = |count| (0..count).map(|minute| minute * 60_000_000_000);
        assert_eq!(resolution(minutes(7)), Some(Resolution::Second));
        assert_eq!(resolution(minutes(8)), Some(Resolution::Minute));
        assert_eq!(
            resolution(minutes(8).flat_map(|time| [time; 9]).take(20)),
            Some(Resolution::Second)
        );
    }
}
