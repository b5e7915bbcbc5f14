//! Stamps of recorded traffic, as nanoseconds since the Unix epoch.
//!
//! A time outside of 1990 to 2100 is mostly none: a duration, the serial number of a spreadsheet, a clock that was never
//! set. Such a stamp is bad unless the user says otherwise. A leap second (`:60`, only where UTC can have one) counts as
//! the second before it, as the Unix clock has no number for it. Fractions finer than a nanosecond are cut off.

mod common_log;
mod forms;
mod resolution;
mod unix;

pub use common_log::CommonLogStamps;
pub use resolution::{Grain, Resolution};
pub use unix::UnixUnit;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// The beginning of the year 2201: what is stamped later, or before 1970, is never traffic.
const END_NS: i64 = 7_289_654_400_000_000_000;
/// The years that recorded traffic is of, unless its user knows better.
const USUAL_NS: std::ops::Range<i64> = 631_152_000_000_000_000..4_102_444_800_000_000_000;

/// Why a stamp could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// The stamp of a log line is not written as Common Log Format has it.
    #[error("the stamp is not written like [20/May/2024:00:00:18 +0000]")]
    NotCommonLog,
    /// The stamp has none of the known forms.
    #[error("the stamp has no known form: give it with --time-format")]
    UnknownForm,
    /// The stamp is not written in the form given.
    #[error("the stamp is not written as --time-format says")]
    OtherForm,
    /// It begins like a stamp, but goes on otherwise, or the calendar or the clock has no such time.
    #[error("the stamp is malformed or names a time that does not exist")]
    NoSuchTime,
    /// A time before 1970 or after 2200.
    #[error("the stamp is outside of the years 1970 to 2200")]
    OutOfRange,
    /// A time that traffic is rarely of: rather a duration or a serial number.
    #[error(
        "the stamp is outside of the years 1990 to 2100: a duration or a serial number? If it is a time, say --allow-old"
    )]
    Unlikely,
}

/// Options for reading stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampOptions {
    /// The zone of stamps that have none.
    pub zone: TimeZone,
    /// The form of all stamps, where it is given.
    pub format: Option<TimeFormat>,
    /// True if times outside of 1990 to 2100 are meant.
    pub allow_old: bool,
}

/// A form of stamps, given by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// Unix time in this unit.
    Unix(UnixUnit),
    /// As `strptime` has it.
    Strptime(String),
}

impl TimeFormat {
    /// `s`, `ms`, `us` or `ns`, or else a format of `strptime`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        UnixUnit::named(text).map_or_else(|| Self::Strptime(text.to_owned()), Self::Unix)
    }
}

impl Default for StampOptions {
    fn default() -> Self {
        Self {
            zone: TimeZone::UTC,
            format: None,
            allow_old: false,
        }
    }
}

/// Reads the stamps of an input one after the other.
#[derive(Debug, Clone, Default)]
pub struct Stamps {
    options: StampOptions,
    common: CommonLogStamps,
    /// Which of the known forms the last stamp had: the next one mostly has the same.
    form: usize,
    unix: Option<UnixUnit>,
}

impl Stamps {
    /// For stamps of any known form, or of the one given.
    #[must_use]
    pub fn new(options: StampOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Reads a stamp: Unix seconds, milliseconds, microseconds or nanoseconds by their magnitude, RFC 3339,
    /// `YYYY-MM-DD HH:MM:SS`, Common Log Format, RFC 2822, or as Go, Ruby, git and `date` print times.
    ///
    /// # Errors
    ///
    /// [`StampError`], which tells a wrong form from a time that does not exist.
    #[inline]
    pub fn parse(&mut self, stamp: &[u8]) -> Result<i64, StampError> {
        if self.options.format.is_none() {
            if let Ok(ns) = self.common.parse(stamp) {
                return self.check(ns.into());
            }
        }
        self.parse_other(stamp.trim_ascii())
    }

    fn parse_other(&mut self, stamp: &[u8]) -> Result<i64, StampError> {
        let zone = &self.options.zone;
        let ns = match &self.options.format {
            Some(TimeFormat::Unix(unit)) => unix::parse(stamp, Some(*unit))?.0,
            Some(TimeFormat::Strptime(format)) => forms::parse_as(format, stamp, zone)?,
            None if unix::is_number(stamp) => {
                let (ns, unit) = unix::parse(stamp, None)?;
                self.unix = Some(unit);
                ns
            }
            None => forms::parse(stamp, zone, &mut self.form)?,
        };
        self.check(ns)
    }

    /// The unit of the Unix stamps read, if any were.
    #[must_use]
    pub fn unix_unit(&self) -> Option<UnixUnit> {
        self.unix
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

/// A time, if it is one of the years that traffic can be of.
fn in_range(ns: i128) -> Result<i64, StampError> {
    i64::try_from(ns)
        .ok()
        .filter(|ns| (0..END_NS).contains(ns))
        .ok_or(StampError::OutOfRange)
}

/// A time of a zone by its offset.
fn at_offset(local: DateTime, east: Offset, leap: bool) -> Result<i128, StampError> {
    let timestamp = east.to_timestamp(local).map_err(|_| StampError::OutOfRange)?;
    if leap && timestamp.as_second().rem_euclid(86_400) != 86_399 {
        return Err(StampError::NoSuchTime);
    }
    Ok(timestamp.as_nanosecond())
}

#[cfg(test)]
mod tests;
