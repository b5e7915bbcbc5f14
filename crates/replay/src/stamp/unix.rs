//! Reads Unix time in any of its units.

use std::fmt;

use super::StampError;

/// A unit of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnixUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl UnixUnit {
    /// Returns the unit that `--time-format` takes by this name: `s`, `ms`, `us`, `ns`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "us" => Self::Microseconds,
            "ns" => Self::Nanoseconds,
            _ => return None,
        })
    }

    /// Returns the unit in which a number of this magnitude is a time of 1973 to 5138. The ranges do not overlap.
    fn of_magnitude(number: u64) -> Self {
        match number {
            0..100_000_000_000 => Self::Seconds,
            100_000_000_000..100_000_000_000_000 => Self::Milliseconds,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Microseconds,
            _ => Self::Nanoseconds,
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
            Self::Nanoseconds => 0,
        }
    }
}

impl fmt::Display for UnixUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        })
    }
}

/// Returns whether a stamp is written as a number, so that it can only be Unix time.
pub(super) fn is_number(stamp: &[u8]) -> bool {
    let unsigned = stamp.strip_prefix(b"-").unwrap_or(stamp);
    !unsigned.is_empty() && unsigned.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.')
}

/// Converts a number, with or without a fraction, to nanoseconds, and returns its unit: the given one, or otherwise by its magnitude.
pub(super) fn parse(stamp: &[u8], unit: Option<UnixUnit>) -> Result<(i128, UnixUnit), StampError> {
    let unsigned = stamp.strip_prefix(b"-").unwrap_or(stamp);
    let text = std::str::from_utf8(unsigned).map_err(|_| StampError::UnknownForm)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(StampError::UnknownForm);
    }
    let whole: u64 = whole.parse().map_err(|_| StampError::OutOfRange)?;
    let unit = unit.unwrap_or_else(|| UnixUnit::of_magnitude(whole));
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(unit.digits());
    let ns = fraction.fold(i128::from(whole), |ns, digit| ns * 10 + i128::from(digit - b'0'));
    Ok((if unsigned.len() < stamp.len() { -ns } else { ns }, unit))
}
