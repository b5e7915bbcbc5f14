//! Reads stamps of recorded traffic, as nanoseconds since the Unix epoch.
//!
//! A stamp outside of the years 1990 to 2099 is usually not the time of a request. It is a duration, the serial number of a date in a spreadsheet, or
//! the time of a clock that was never set. Such a stamp is an error unless the user allows it.
//!
//! A leap second (`:60`) counts as the second before it, because Unix time has no number for it. It is an error at times when UTC has no leap seconds.
//! Fractions finer than a nanosecond are truncated.

mod common_log;
mod forms;
mod resolution;
mod unix;
mod years;

pub use common_log::CommonLogStamps;
pub use resolution::{Grain, Resolution};
pub use unix::UnixUnit;
pub use years::FirstYear;

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use years::Years;

/// The beginning of the year 2201. Stamps at this time or later, and stamps before 1970, are always errors.
const END_NS: i64 = 7_289_654_400_000_000_000;
/// The years 1990 to 2099. Stamps of other years are errors unless the user allows them.
const USUAL_NS: std::ops::Range<i64> = 631_152_000_000_000_000..4_102_444_800_000_000_000;

/// The time by which a line of a repeated hour may be late. By this much, both times of its stamp are equally near to the last stamp.
const LATE: SignedDuration = SignedDuration::from_mins(30);

/// The reason why a stamp could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// The stamp of a log line is not in Common Log Format.
    #[error("the stamp is not written like [20/May/2024:00:00:18 +0000]")]
    NotCommonLog,
    /// The stamp has none of the known forms.
    #[error("the stamp has no known form: give it with --time-format, such as --time-format '%d/%m/%Y %H:%M:%S'")]
    UnknownForm,
    /// The stamp does not have the given form.
    #[error("the stamp does not match --time-format")]
    OtherForm,
    /// The stamp begins in a known form but does not end in it, or its date or time of day does not exist.
    #[error("the stamp is malformed or names a time that does not exist")]
    NoSuchTime,
    /// The stamp has letters that may name a zone, but no known one.
    #[error(
        "the stamp has letters that name no known zone: if they are a zone, name it with --tz, such as --tz Asia/Shanghai for CST"
    )]
    ZoneLetters,
    /// The stamp has no year. In the year of the stamps before it, it would not exist, or be after the date of the file.
    #[error(
        "the stamp has no year, and does not fit the year of the lines before it: give the year of the first line with --year"
    )]
    OtherYear,
    /// The time is before 1970 or after 2200.
    #[error("the stamp is outside of the years 1970 to 2200")]
    OutOfRange,
    /// The time is unlikely for traffic: the stamp is probably a duration or a serial number.
    #[error(
        "the stamp is outside of the years 1990 to 2099: a duration or a serial number? If it is a time, say --allow-old"
    )]
    Unlikely,
}

/// Options for reading stamps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StampOptions {
    /// The zone of stamps that name none. Without it, UTC is assumed.
    pub zone: Option<TimeZone>,
    /// The only form that is accepted. Without it, all known forms are.
    pub format: Option<TimeFormat>,
    /// True if all years from 1970 to 2200 are allowed, not only 1990 to 2099.
    pub allow_old: bool,
    /// The year of stamps that have none. Without it, such stamps are errors.
    pub year: Option<FirstYear>,
}

/// A form of stamps, given by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// Unix time in this unit.
    Unix(UnixUnit),
    /// A format of `strptime`.
    Strptime(String),
}

impl TimeFormat {
    /// Reads `s`, `ms`, `us` and `ns` as units, and any other text as a format of `strptime`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let form = || String::from_utf8_lossy(&with_plain_blanks(text.as_bytes())).into_owned();
        UnixUnit::named(text).map_or_else(|| Self::Strptime(form()), Self::Unix)
    }
}

/// The zone for stamps that name none, and the time of the last stamp that has needed it.
#[derive(Debug, Clone)]
struct OwnZone {
    zone: TimeZone,
    last: Option<Timestamp>,
    /// True if a stamp was of an hour that came twice.
    has_repeated_hour: bool,
}

impl OwnZone {
    fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            last: None,
            has_repeated_hour: false,
        }
    }

    /// Returns the time of a stamp that names no zone.
    ///
    /// If clocks are set back, an hour comes twice. The first is meant, unless the stamp would then be more than [`LATE`] before the last one. A late
    /// stamp does not become the last one. If clocks are set forward, an hour that does not exist is read with the offset before it.
    fn time_of(&mut self, local: DateTime) -> Result<Timestamp, StampError> {
        let times = self.zone.to_ambiguous_timestamp(local);
        let is_twice = matches!(times.offset(), AmbiguousOffset::Fold { .. });
        self.has_repeated_hour |= is_twice;
        let time = match self.last.filter(|_| is_twice) {
            None => times.compatible(),
            Some(last) => times.earlier().and_then(|earlier| {
                let is_past = last.duration_since(earlier) > LATE;
                if is_past { times.later() } else { Ok(earlier) }
            }),
        };
        let time = time.map_err(|_| StampError::OutOfRange)?;
        let is_late = |last: Timestamp| last > time && last.duration_since(time) <= LATE;
        if !self.last.is_some_and(is_late) {
            self.last = Some(time);
        }
        Ok(time)
    }

    /// Returns the time of a stamp that names its zone by letters, such as `CEST`: those of this zone, or letters with one usual meaning.
    fn time_in(&self, local: DateTime, letters: &str) -> Result<Timestamp, StampError> {
        let (first, second) = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, offset),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => (before, after),
        };
        let is_named = |east: &Offset| {
            let time = east.to_timestamp(local);
            time.is_ok_and(|time| self.zone.to_offset_info(time).abbreviation() == letters)
        };
        let own = [first, second].into_iter().find(is_named);
        let east = own.or_else(|| usual_offset(letters)).ok_or(StampError::ZoneLetters)?;
        east.to_timestamp(local).map_err(|_| StampError::OutOfRange)
    }
}

/// Letters with several usual meanings: `CST` is both American and Chinese.
pub(crate) const SHARED_LETTERS: [&str; 4] = ["CST", "IST", "BST", "AST"];

/// Returns the offset of a zone that is named by letters, if they have one usual meaning.
fn usual_offset(letters: &str) -> Option<Offset> {
    let hours = match letters {
        "PST" => -8,
        "PDT" | "MST" => -7,
        "MDT" => -6,
        "EST" | "CDT" => -5,
        "EDT" => -4,
        "WET" => 0,
        "CET" | "WEST" => 1,
        "CEST" | "EET" => 2,
        "EEST" | "MSK" => 3,
        "HKT" => 8,
        "JST" | "KST" => 9,
        "AEST" => 10,
        "AEDT" => 11,
        "NZST" => 12,
        "NZDT" => 13,
        _ => return None,
    };
    Some(Offset::constant(hours))
}

impl Default for OwnZone {
    fn default() -> Self {
        Self::new(TimeZone::UTC)
    }
}

/// Reads the stamps of an input one after the other.
#[derive(Debug, Clone, Default)]
pub struct Stamps {
    options: StampOptions,
    common: CommonLogStamps,
    zone: OwnZone,
    years: Years,
    /// The index of the last stamp's form among the known forms. The next stamp usually has the same form.
    form: usize,
    unix: Option<UnixUnit>,
}

impl Stamps {
    /// Creates a reader of stamps of any known form, or of the given one.
    #[must_use]
    pub fn new(options: StampOptions) -> Self {
        let zone = OwnZone::new(options.zone.clone().unwrap_or(TimeZone::UTC));
        Self {
            years: Years::new(options.year, &zone.zone),
            zone,
            options,
            ..Self::default()
        }
    }

    /// Reads a stamp. Accepts Unix seconds, milliseconds, microseconds or nanoseconds by their magnitude, RFC 3339, `YYYY-MM-DD HH:MM:SS`, Common Log
    /// Format and RFC 2822. Also accepts the forms in which Go, Ruby, git and `date` print times. If the options have a
    /// rule for the year, stamps of syslog are accepted, too.
    ///
    /// # Errors
    ///
    /// [`StampError`]: the stamp has a wrong form, or names a time that does not exist or is unlikely.
    #[inline]
    pub fn parse(&mut self, stamp: &[u8]) -> Result<i64, StampError> {
        if self.options.format.is_none() {
            if let Ok(ns) = self.common.parse(stamp) {
                return self.check(ns.into());
            }
        }
        let stamp = stamp.trim_ascii();
        let bare = stamp.strip_prefix(b"[").and_then(|bare| bare.strip_suffix(b"]"));
        self.parse_other(&with_plain_blanks(bare.unwrap_or(stamp)))
    }

    fn parse_other(&mut self, stamp: &[u8]) -> Result<i64, StampError> {
        let zone = &mut self.zone;
        let ns = match &self.options.format {
            Some(TimeFormat::Unix(unit)) => unix::parse(stamp, Some(*unit))?.0,
            Some(TimeFormat::Strptime(format)) => forms::parse_as(format, stamp, zone, &mut self.years)?,
            None if unix::is_number(stamp) && !unix::is_date(stamp) => {
                let (ns, unit) = unix::parse(stamp, None)?;
                self.unix = Some(unit);
                ns
            }
            None => match unix::without_exponent(stamp) {
                Some(number) => {
                    let (ns, unit) = unix::parse(number.as_bytes(), None)?;
                    self.unix = Some(unit);
                    ns
                }
                None => forms::parse(stamp, zone, &mut self.years, &mut self.form)?,
            },
        };
        self.check(ns)
    }

    /// Returns the unit of the last Unix stamp; `None` if none was read.
    #[must_use]
    pub fn unix_unit(&self) -> Option<UnixUnit> {
        self.unix
    }

    /// Returns whether a stamp was read as UTC because neither the stamp nor the options name a zone.
    #[must_use]
    pub fn has_assumed_utc(&self) -> bool {
        self.zone.last.is_some() && self.options.zone.is_none()
    }

    /// Returns whether a stamp without a zone was of an hour that came twice, as clocks were set back.
    #[must_use]
    pub fn has_repeated_hour(&self) -> bool {
        self.zone.has_repeated_hour
    }

    /// Returns whether the year of a stamp was chosen by the date of the input, because neither the stamp nor the options name a year.
    #[must_use]
    pub fn has_assumed_year(&self) -> bool {
        self.years.is_assumed()
    }

    #[inline]
    fn check(&self, ns: i128) -> Result<i64, StampError> {
        match i64::try_from(ns) {
            Ok(ns) if USUAL_NS.contains(&ns) => Ok(ns),
            _ if self.options.allow_old => in_range(ns),
            _ => Err(StampError::Unlikely),
        }
    }
}

/// Replaces the blanks that keep words on one line. Java, browsers and Windows write one before AM and PM.
fn with_plain_blanks(stamp: &[u8]) -> Cow<'_, [u8]> {
    if stamp.is_ascii() {
        return stamp.into();
    }
    let text = String::from_utf8_lossy(stamp);
    text.replace(['\u{a0}', '\u{202f}'], " ").into_bytes().into()
}

/// Returns a time if its year is 1970 to 2200.
fn in_range(ns: i128) -> Result<i64, StampError> {
    i64::try_from(ns)
        .ok()
        .filter(|ns| (0..END_NS).contains(ns))
        .ok_or(StampError::OutOfRange)
}

/// Converts a local time with an offset to nanoseconds since the Unix epoch.
fn at_offset(local: DateTime, east: Offset, leap: bool) -> Result<i128, StampError> {
    let timestamp = east.to_timestamp(local).map_err(|_| StampError::OutOfRange)?;
    if leap && timestamp.as_second().rem_euclid(86_400) != 86_399 {
        return Err(StampError::NoSuchTime);
    }
    Ok(timestamp.as_nanosecond())
}

#[cfg(test)]
mod tests;
