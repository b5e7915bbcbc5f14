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
            Some(FirstYear::Until(ns)) => Timestamp::from_nanosecond(ns.into()).ok(),
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
        self.last.is_some() && matches!(self.first, Some(FirstYear::Until(_)))
    }

    /// Returns a date and a time of day in the year that suits them.
    ///
    /// # Errors
    ///
    /// There is no such date in any suitable year, or no year is known.
    pub(super) fn complete(&mut self, mut parsed: BrokenDownTime) -> Result<DateTime, StampError> {
        let latest = self.latest;
        let mut is_date = false;
        let mut of = |year: i16| {
            parsed.set_year(Some(year)).ok()?;
            let local = parsed.to_datetime().ok()?;
            is_date = true;
            latest.is_none_or(|latest| local <= latest).then_some(local)
        };
        let chosen = match (self.last, self.first.ok_or(StampError::UnknownForm)?) {
            (Some(last), _) => {
                let year = last.year();
                let follows = |local: &DateTime| last.duration_until(*local).as_hours() <= AHEAD * 24;
                let most = if latest.is_some() { LATE } else { AHEAD };
                let is_late = |local: &DateTime| local.duration_until(last).as_hours() <= most * 24;
                let next = of(year + 1).filter(follows);
                let before = next.or_else(|| of(year - 1).filter(is_late));
                before.or_else(|| of(year)).or_else(|| of(year - 1))
            }
            (None, FirstYear::Given(year)) => of(year),
            (None, FirstYear::Until(_)) => {
                let year = latest.map_or(0, DateTime::year);
                (0..=LEAP).find_map(|years| of(year - years))
            }
        };
        self.last = chosen.or(self.last);
        chosen.ok_or_else(|| match (parsed.month(), parsed.day()) {
            (Some(2), Some(29)) => StampError::OtherYear,
            _ if is_date => StampError::OutOfRange,
            _ => StampError::NoSuchTime,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn years(first: FirstYear, stamps: &[&str]) -> Vec<Result<i16, StampError>> {
        let mut years = Years::new(Some(first), &TimeZone::UTC);
        let read = |stamp: &&str| {
            let parsed = BrokenDownTime::parse("%b %e %H:%M:%S", stamp.as_bytes()).expect("a date");
            years.complete(parsed).map(DateTime::year)
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
        let parsed = BrokenDownTime::parse("%b %e %H:%M:%S", b"May 20 00:00:18").expect("a date");
        assert_eq!(unknown.complete(parsed), Err(StampError::UnknownForm));
    }
}
