//! Stamps of recorded traffic, as nanoseconds since the Unix epoch, of the years 1970 to 2200.
//!
//! A leap second (`:60`, only where UTC can have one) counts as the second before it, as the Unix clock
//! has no number for it. Fractions finer than a nanosecond are cut off.

mod common_log;
mod record;
mod resolution;

pub use common_log::CommonLogStamps;
pub use record::parse;
pub use resolution::{Grain, Resolution};

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// The beginning of the year 2201. What is stamped later, or before 1970, is a slip and no traffic: seconds taken
/// for milliseconds, a clock that was never set.
const END_NS: i64 = 7_289_654_400_000_000_000;

/// Why a stamp could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// The stamp of a log line is not written as Common Log Format has it.
    #[error("the stamp is not written like [20/May/2024:00:00:18 +0000]")]
    NotCommonLog,
    /// The stamp of a record has none of the forms that [`parse`] knows.
    #[error("the stamp is neither Unix seconds, nor RFC 3339, nor YYYY-MM-DD HH:MM:SS")]
    UnknownForm,
    /// It begins like a stamp, but goes on otherwise, or the calendar or the clock has no such time.
    #[error("the stamp is malformed or names a time that does not exist")]
    NoSuchTime,
    /// A time, but not one of recorded traffic.
    #[error("the stamp is outside of the years 1970 to 2200")]
    OutOfRange,
}

/// A time, if it is one of the years that traffic can be of.
pub(crate) fn in_range(ns: i128) -> Result<i64, StampError> {
    i64::try_from(ns)
        .ok()
        .filter(|ns| (0..END_NS).contains(ns))
        .ok_or(StampError::OutOfRange)
}

fn at_offset(local: DateTime, east: Offset, leap: bool) -> Result<i64, StampError> {
    let timestamp = east.to_timestamp(local).map_err(|_| StampError::OutOfRange)?;
    if leap && timestamp.as_second().rem_euclid(86_400) != 86_399 {
        return Err(StampError::NoSuchTime);
    }
    in_range(timestamp.as_nanosecond())
}

#[cfg(test)]
mod tests;
