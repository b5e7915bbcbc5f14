//! Chooses the year of stamps that have none, such as those of syslog.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::StampError;

/// The year of the first stamp of an input that has no year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstYear {
    /// This year.
    Given(i16),
    /// The latest year in which no stamp is more than a day after this time: nanoseconds since the Unix epoch. (A stamp without a year has no zone.)
    Until(i64),
    /// The same for the first stamp of an input that grows: later stamps may be after this time.
    Growing(i64),
}

/// Number of days within which a stamp of the next year follows.
const AHEAD: i64 = 120;

/// Number of days within which a stamp of the year before is late. If no latest time is known, [`AHEAD`] is used instead: otherwise two logs that
/// alternate would begin a year with each line.
const LATE: i64 = 1;

/// Largest number of years between two leap years.
const LEAP: i16 = 8;

/// Chooses years: the first stamp's by a rule, and each other stamp's by the stamp before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Years {
    first: Option<FirstYear>,
    /// The latest time that is possible.
    latest: Option<DateTime>,
    last: Option<DateTime>,
}

impl Years {
    pub(super) fn new(first: Option<FirstYear>, zone: &TimeZone) -> Self {
        let latest = match first {
            Some(FirstYear::Until(ns) | FirstYear::Growing(ns)) => Timestamp::from_nanosecond(ns.into()).ok(),
            _ => None,
        };
        let latest = latest.and_then(|latest| zone.to_datetime(latest).checked_add(Span::new().days(1)).ok());
        Self {
            first,
            latest,
            last: None,
        }
    }

    /// Returns whether stamps without a year can be read.
    pub(super) fn is_known(&self) -> bool {
        self.first.is_some()
    }

    /// Returns whether a year was chosen by the date of the input.
    pub(super) fn is_assumed(&self) -> bool {
        self.last.is_some() && !matches!(self.first, Some(FirstYear::Given(_)))
    }

    /// Gives a date and a time of day the year that suits them, and returns them.
    ///
    /// # Errors
    ///
    /// There is no such date in any suitable year, or no year is known.
    pub(super) fn complete(&mut self, parsed: &mut BrokenDownTime) -> Result<DateTime, StampError> {
        let first = self.first.ok_or(StampError::UnknownForm)?;
        let latest = self.latest;
        let is_possible = |local: &DateTime| latest.is_none_or(|latest| *local <= latest);
        let mut is_date = false;
        let mut of = |year: i16| {
            parsed.set_year(Some(year)).ok()?;
            let local = parsed.to_datetime().ok();
            is_date |= local.is_some();
            local
        };
        let chosen = match (self.last, first) {
            (Some(last), _) => {
                let year = last.year();
                let is_within =
                    |days: i64, from: DateTime, to: DateTime| from.duration_until(to).as_hours() <= days * 24;
                let late = if latest.is_some() { LATE } else { AHEAD };
                let next = of(year + 1).filter(is_possible);
                next.filter(|next| is_within(AHEAD, last, *next))
                    .or_else(|| of(year - 1).filter(|before| is_within(late, *before, last)))
                    .or_else(|| of(year).filter(is_possible))
                    // The latest time excludes this year. If the year before is not near, the stamps before this one have a wrong year.
                    .or_else(|| of(year - 1).filter(|before| is_within(AHEAD, *before, last)))
            }
            (None, FirstYear::Given(year)) => of(year),
            (None, FirstYear::Until(_) | FirstYear::Growing(_)) => {
                let year = latest.map_or(0, DateTime::year);
                (0..=LEAP).find_map(|years| of(year - years).filter(is_possible))
            }
        };
        let Some(chosen) = chosen else {
            let is_leap_day = (parsed.month(), parsed.day()) == (Some(2), Some(29));
            return Err(if is_date || is_leap_day {
                StampError::OtherYear
            } else {
                StampError::NoSuchTime
            });
        };
        if matches!(first, FirstYear::Growing(_)) {
            self.latest = None;
        }
        self.last = Some(chosen);
        parsed
            .set_year(Some(chosen.year()))
            .map_err(|_| StampError::OutOfRange)?;
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn years(first: FirstYear, stamps: &[&str]) -> Vec<Result<i16, StampError>> {
        let mut years = Years::new(Some(first), &TimeZone::UTC);
        let read = |stamp: &&str| {
            let mut parsed = BrokenDownTime::parse("%b %e %H:%M:%S", stamp.as_bytes()).expect("a date");
            years.complete(&mut parsed).map(DateTime::year)
        };
        stamps.iter().map(read).collect()
    }

    /// A log that was last written at this time.
    fn until(time: &str) -> FirstYear {
        let time: Timestamp = time.parse().expect("a time");
        FirstYear::Until(i64::try_from(time.as_nanosecond()).expect("a time of today"))
    }

    #[test]
    fn first_year_is_the_latest_possible() {
        for (written, stamp, year) in [
            ("2024-05-20T00:00:18Z", "May 20 00:00:18", 2024),
            // The stamp may be in a zone east of Greenwich.
            ("2024-05-20T00:00:18Z", "May 20 14:00:18", 2024),
            ("2024-05-20T00:00:18Z", "May 22 00:00:18", 2023),
            ("2024-12-31T23:59:59Z", "Jan  1 05:59:59", 2025),
            ("2025-01-01T00:00:00Z", "Dec 31 23:59:59", 2024),
            ("2024-03-01T00:00:00Z", "Feb 29 00:00:00", 2024),
            ("2027-03-01T00:00:00Z", "Feb 29 00:00:00", 2024),
            ("2103-03-01T00:00:00Z", "Feb 29 00:00:00", 2096),
        ] {
            assert_eq!(years(until(written), &[stamp]), [Ok(year)], "{written} {stamp}");
        }
    }

    #[test]
    fn years_follow_the_stamps() {
        let table: [(FirstYear, &[&str], &[i16]); 8] = [
            // A log of two years.
            (
                FirstYear::Given(2023),
                &[
                    "Jul  1 00:00:00",
                    "Dec 31 23:59:59",
                    "Jan  1 00:00:00",
                    "Jul  1 00:00:00",
                    "Jan  1 00:00:00",
                ],
                &[2023, 2023, 2024, 2024, 2024],
            ),
            (
                FirstYear::Given(2023),
                &[
                    "Dec 31 23:59:59",
                    "Jan  1 00:00:00",
                    "May  1 00:00:00",
                    "Sep  3 00:00:00",
                    "Jan  1 00:00:00",
                ],
                &[2023, 2024, 2024, 2024, 2025],
            ),
            // A late line.
            (
                FirstYear::Given(2023),
                &[
                    "Dec 31 23:59:59",
                    "Jan  1 00:00:00",
                    "Dec 31 23:59:59",
                    "Jan  1 00:00:00",
                ],
                &[2023, 2024, 2023, 2024],
            ),
            // Two logs that alternate.
            (
                FirstYear::Given(2023),
                &[
                    "Nov 30 00:00:00",
                    "Jan  5 00:00:00",
                    "Nov 30 00:00:00",
                    "Jan  5 00:00:00",
                ],
                &[2023, 2024, 2023, 2024],
            ),
            // A quiet quarter.
            (
                FirstYear::Given(2023),
                &["Nov 20 00:00:00", "Mar  1 00:00:00"],
                &[2023, 2024],
            ),
            // A clock that starts in January.
            (
                until("2024-12-15T12:00:00Z"),
                &["Dec 15 10:00:00", "Jan  1 00:00:00", "Dec 15 11:00:00"],
                &[2024, 2024, 2024],
            ),
            // Two logs in one file.
            (
                until("2025-01-05T00:00:00Z"),
                &[
                    "Dec 20 00:00:00",
                    "Jan  5 00:00:00",
                    "Dec 20 00:00:00",
                    "Jan  5 00:00:00",
                ],
                &[2024, 2025, 2024, 2025],
            ),
            (
                until("2025-01-05T00:00:00Z"),
                &["Jan  5 00:00:00", "Jan  4 00:00:00", "Dec 20 00:00:00"],
                &[2025, 2025, 2024],
            ),
        ];
        for (first, stamps, expected) in table {
            let expected: Vec<Result<i16, StampError>> = expected.iter().map(|year| Ok(*year)).collect();
            assert_eq!(years(first, stamps), expected, "{first:?} {stamps:?}");
        }
    }

    #[test]
    fn stamps_past_the_logs_date_are_errors() {
        // The log is of 15 months, so its first stamps are of 2023.
        let stamps = [
            "Mar 31 00:00:00",
            "May 31 00:00:00",
            "Jul  1 00:00:00",
            "Sep 28 00:00:00",
        ];
        let wrong = Err(StampError::OtherYear);
        let read = years(until("2024-06-01T00:00:00Z"), &stamps);
        assert_eq!(read, [Ok(2024), Ok(2024), wrong, wrong]);
        assert_eq!(years(FirstYear::Given(2023), &stamps), [Ok(2023); 4]);
    }

    #[test]
    fn growing_log_has_stamps_past_its_first_date() {
        let FirstYear::Until(opened) = until("2024-12-30T00:00:00Z") else {
            unreachable!()
        };
        let stamps = [
            "Dec 29 00:00:00",
            "Dec 31 12:00:00",
            "Jan  1 00:00:00",
            "Apr 30 00:00:00",
            "Jun  1 00:00:00",
        ];
        let read = years(FirstYear::Growing(opened), &stamps);
        assert_eq!(read, [2024, 2024, 2025, 2025, 2025].map(Ok));
        let read = years(FirstYear::Growing(opened), &["Jan  1 00:00:00"]);
        assert_eq!(read, [Ok(2024)], "the first stamp is not after the date");
    }

    #[test]
    fn leap_day_of_another_year_is_an_error() {
        let read = years(
            FirstYear::Given(2023),
            &["Feb 28 00:00:00", "Feb 29 00:00:00", "Mar  1 00:00:00"],
        );
        assert_eq!(read, [Ok(2023), Err(StampError::OtherYear), Ok(2023)]);
        assert_eq!(
            years(FirstYear::Given(2023), &["Feb 30 00:00:00"]),
            [Err(StampError::NoSuchTime)]
        );
        let mut unknown = Years::default();
        let mut parsed = BrokenDownTime::parse("%b %e %H:%M:%S", b"May 20 00:00:18").expect("a date");
        assert_eq!(unknown.complete(&mut parsed), Err(StampError::UnknownForm));
    }
}
