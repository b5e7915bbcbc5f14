//! Reads Unix time in any of its units, and the ticks of .NET.

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
    /// The ticks of .NET: units of 100 ns since the year 1.
    Ticks,
}

/// The first and the last ticks of the years 1990 to 2099. As nanoseconds they would be in 1989 to 1991.
const TICKS: std::ops::Range<u64> = 627_667_488_000_000_000..662_380_416_000_000_000;

/// The ticks at the Unix epoch.
const EPOCH_TICKS: i128 = 621_355_968_000_000_000;

impl UnixUnit {
    /// Returns the unit of this name, as in `--time-format`: `s`, `ms`, `us` or `ns`.
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

    /// Returns the unit of a number by its magnitude. Seconds are the times from 1970 to 5138; in each other unit they begin in 1973.
    fn of_magnitude(number: u64) -> Self {
        match number {
            0..100_000_000_000 => Self::Seconds,
            100_000_000_000..100_000_000_000_000 => Self::Milliseconds,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Microseconds,
            _ if TICKS.contains(&number) => Self::Ticks,
            _ => Self::Nanoseconds,
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
            Self::Nanoseconds => 0,
            Self::Ticks => 2,
        }
    }
}

impl fmt::Display for UnixUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "Unix seconds",
            Self::Milliseconds => "Unix milliseconds",
            Self::Microseconds => "Unix microseconds",
            Self::Nanoseconds => "Unix nanoseconds",
            Self::Ticks => "ticks of .NET",
        })
    }
}

/// Returns whether a stamp has only digits, points and commas, perhaps after a minus sign. Spreadsheets of many countries write a comma for the point.
pub(super) fn is_number(stamp: &[u8]) -> bool {
    let unsigned = stamp.strip_prefix(b"-").unwrap_or(stamp);
    !unsigned.is_empty()
        && unsigned
            .iter()
            .all(|byte| byte.is_ascii_digit() || b".,".contains(byte))
}

/// Returns whether a number is a date and a time of day in 14 digits, perhaps with a fraction. As Unix time it would be in the year 2572 or later.
pub(super) fn is_date(stamp: &[u8]) -> bool {
    let digits = stamp.split(|byte| *byte == b'.').next().unwrap_or_default();
    digits.len() == 14 && matches!(digits[..2], [b'1', b'9'] | [b'2', b'0']) && digits.iter().all(u8::is_ascii_digit)
}

/// Writes a number without its exponent: `1.716163201e9` becomes `1716163201.0`. Returns `None` if the stamp is no such number.
pub(super) fn without_exponent(stamp: &[u8]) -> Option<String> {
    // Nearly all other stamps have a separator among the first five bytes.
    if !stamp
        .iter()
        .take(5)
        .all(|byte| byte.is_ascii_digit() || b".eE".contains(byte))
    {
        return None;
    }
    let text = std::str::from_utf8(stamp).ok()?;
    let (digits, exponent) = text.split_once(['e', 'E'])?;
    let exponent: usize = exponent
        .trim_start_matches('+')
        .parse()
        .ok()
        .filter(|&exponent| exponent < 20)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let (moved, rest) = fraction.split_at_checked(exponent).unwrap_or((fraction, ""));
    let zeros = "0".repeat(exponent - moved.len());
    Some(format!("{whole}{moved}{zeros}.{rest}0"))
}

/// Converts a number, with or without a fraction, to nanoseconds. Returns the unit, too: the given unit, or otherwise the unit of its magnitude.
pub(super) fn parse(stamp: &[u8], unit: Option<UnixUnit>) -> Result<(i128, UnixUnit), StampError> {
    let unsigned = stamp.strip_prefix(b"-").unwrap_or(stamp);
    let text = std::str::from_utf8(unsigned).map_err(|_| StampError::UnknownForm)?;
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return Err(StampError::UnknownForm);
    }
    let whole: u64 = whole.parse().map_err(|_| StampError::OutOfRange)?;
    let unit = unit.unwrap_or_else(|| UnixUnit::of_magnitude(whole));
    let epoch = if unit == UnixUnit::Ticks { EPOCH_TICKS } else { 0 };
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(unit.digits());
    let ns = fraction.fold(i128::from(whole) - epoch, |ns, digit| {
        ns * 10 + i128::from(digit - b'0')
    });
    Ok((if unsigned.len() < stamp.len() { -ns } else { ns }, unit))
}
