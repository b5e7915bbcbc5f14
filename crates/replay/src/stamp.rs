//! Stamps of recorded traffic, as nanoseconds since the Unix epoch.
//!
//! A leap second (`:60`, only where UTC can have one) counts as the second before it, as the Unix clock
//! has no number for it. Fractions finer than a nanosecond are cut off.

use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

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
    /// Outside of what 64 bits of nanoseconds hold.
    #[error("the stamp is outside of the years 1678 to 2261")]
    OutOfRange,
}

/// Reads the stamp of Common Log Format, without its brackets: `20/May/2024:00:00:18 +0000`.
///
/// # Errors
///
/// [`StampError`], telling a wrong form from a time that does not exist.
pub fn parse_common_log(stamp: &[u8]) -> Result<i64, StampError> {
    let shape = |at: usize, byte: u8| stamp.get(at) == Some(&byte);
    let separated = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if stamp.len() != 26 || !separated.iter().all(|&(at, byte)| shape(at, byte)) {
        return Err(StampError::NotCommonLog);
    }
    let number = |from: usize, digits: usize| {
        stamp[from..from + digits]
            .iter()
            .try_fold(0_i16, |sum, byte| match byte {
                b'0'..=b'9' => Ok(sum * 10 + i16::from(byte - b'0')),
                _ => Err(StampError::NotCommonLog),
            })
    };
    let small = |from: usize| number(from, 2).and_then(|n| i8::try_from(n).map_err(|_| StampError::NotCommonLog));
    let month = month(&stamp[3..6])?;
    let second = small(18)?;
    let local = DateTime::new(
        number(7, 4)?,
        month,
        small(0)?,
        small(12)?,
        small(15)?,
        second.min(59),
        0,
    )
    .map_err(|_| StampError::NoSuchTime)?;
    let sign = match stamp[21] {
        b'+' => 1,
        b'-' => -1,
        _ => return Err(StampError::NotCommonLog),
    };
    let (hours, minutes) = (small(22)?, small(24)?);
    if second > 60 || hours > 23 || minutes > 59 {
        return Err(StampError::NoSuchTime);
    }
    let east = Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
        .map_err(|_| StampError::NoSuchTime)?;
    at_offset(local, east, second == 60)
}

/// Reads the stamp of a record: Unix seconds with or without a fraction, RFC 3339, or
/// `YYYY-MM-DD HH:MM:SS` with or without a fraction; UTC where no zone stands.
///
/// # Errors
///
/// [`StampError`], telling a wrong form from a time that does not exist.
pub fn parse(stamp: &[u8]) -> Result<i64, StampError> {
    let stamp = stamp.trim_ascii();
    let unsigned = stamp.strip_prefix(b"-").unwrap_or(stamp);
    if unsigned.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.') {
        let ns = unix(unsigned)?;
        return i64::try_from(if unsigned.len() < stamp.len() { -ns } else { ns }).map_err(|_| StampError::OutOfRange);
    }
    // jiff knows more forms than these, some of which a wrong column could hold by accident.
    let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
    let shaped = stamp.len() >= 19
        && digits.iter().all(|&at| stamp[at].is_ascii_digit())
        && [stamp[4], stamp[7], stamp[13], stamp[16]] == *b"--::"
        && matches!(stamp[10], b'T' | b't' | b' ');
    if !shaped {
        return Err(StampError::UnknownForm);
    }
    let pieces = Pieces::parse(stamp).map_err(|_| StampError::NoSuchTime)?;
    let (Some(time), None) = (pieces.time(), pieces.time_zone_annotation()) else {
        return Err(StampError::UnknownForm);
    };
    let east = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    at_offset(pieces.date().to_datetime(time), east, stamp[17..19] == *b"60")
}

/// Unix seconds without a sign, as nanoseconds.
fn unix(stamp: &[u8]) -> Result<i128, StampError> {
    let text = std::str::from_utf8(stamp).map_err(|_| StampError::UnknownForm)?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if seconds.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(StampError::UnknownForm);
    }
    let seconds: u64 = seconds.parse().map_err(|_| StampError::OutOfRange)?;
    let fraction = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Ok(fraction.fold(i128::from(seconds), |ns, digit| ns * 10 + i128::from(digit - b'0')))
}

fn month(name: &[u8]) -> Result<i8, StampError> {
    const NAMES: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    let found = (1..).zip(NAMES).find(|(_, known)| name.eq_ignore_ascii_case(known));
    found.map(|(month, _)| month).ok_or(StampError::NotCommonLog)
}

fn at_offset(local: DateTime, east: Offset, leap: bool) -> Result<i64, StampError> {
    let timestamp = east.to_timestamp(local).map_err(|_| StampError::OutOfRange)?;
    if leap && timestamp.as_second().rem_euclid(86_400) != 86_399 {
        return Err(StampError::NoSuchTime);
    }
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| StampError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::StampError::{NoSuchTime, NotCommonLog, OutOfRange, UnknownForm};
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn common_log_stamps_are_read() {
        let table: &[(&str, i64)] = &[
            ("01/Jan/1970:00:00:00 +0000", 0),
            ("20/May/2024:00:00:18 +0000", 1_716_163_218),
            ("20/May/2024:02:00:18 +0200", 1_716_163_218),
            ("19/May/2024:16:30:18 -0730", 1_716_163_218),
            ("20/May/2024:00:00:18 -0000", 1_716_163_218),
            ("20/MAY/2024:00:00:18 +0000", 1_716_163_218),
            ("29/Feb/2024:23:59:59 +0000", 1_709_251_199),
            ("29/Feb/2000:00:00:00 +0000", 951_782_400),
            ("31/Dec/1969:23:59:59 +0000", -1),
            ("31/Dec/2016:23:59:60 +0000", 1_483_228_799),
            ("01/Jan/2017:05:29:60 +0530", 1_483_228_799),
        ];
        for &(stamp, seconds) in table {
            assert_eq!(parse_common_log(stamp.as_bytes()), Ok(seconds * SECOND), "{stamp}");
        }
    }

    #[test]
    fn common_log_stamps_that_are_none_are_told_apart() {
        let table = [
            ("", NotCommonLog),
            ("20/May/2024:00:00:18", NotCommonLog),
            ("20/May/2024:00:00:18 +000", NotCommonLog),
            ("20/May/2024:00:00:18 +00000", NotCommonLog),
            ("20/May/2024:00:00:18 00000", NotCommonLog),
            ("20/Mai/2024:00:00:18 +0000", NotCommonLog),
            (" 1/May/2024:00:00:18 +0000", NotCommonLog),
            ("20/May/2024 00:00:18 +0000", NotCommonLog),
            ("2\u{e9}/ay/2024:00:00:18 +0000", NotCommonLog),
            ("+1/May/2024:00:00:18 +0000", NotCommonLog),
            ("31/Apr/2024:00:00:00 +0000", NoSuchTime),
            ("29/Feb/2023:00:00:00 +0000", NoSuchTime),
            ("29/Feb/1900:00:00:00 +0000", NoSuchTime),
            ("00/May/2024:00:00:00 +0000", NoSuchTime),
            ("32/May/2024:00:00:00 +0000", NoSuchTime),
            ("20/May/2024:24:00:00 +0000", NoSuchTime),
            ("20/May/2024:00:60:00 +0000", NoSuchTime),
            ("20/May/2024:00:00:61 +0000", NoSuchTime),
            ("20/May/2024:12:00:60 +0000", NoSuchTime),
            ("31/Dec/2016:23:59:60 +0100", NoSuchTime),
            ("20/May/2024:00:00:00 +2400", NoSuchTime),
            ("20/May/2024:00:00:00 +0060", NoSuchTime),
            ("20/May/1600:00:00:00 +0000", OutOfRange),
            ("20/May/9999:00:00:00 +0000", OutOfRange),
        ];
        for (stamp, error) in table {
            assert_eq!(parse_common_log(stamp.as_bytes()), Err(error), "{stamp}");
        }
    }

    #[test]
    fn stamps_of_records_are_read_to_the_nanosecond() {
        let table: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("807256800", 807_256_800 * SECOND),
            (" 1716163218 ", 1_716_163_218 * SECOND),
            ("1716163218.5", 1_716_163_218_500_000_000),
            ("1716163218.000000001", 1_716_163_218_000_000_001),
            ("1716163218.0000000019", 1_716_163_218_000_000_001),
            ("-1.25", -1_250_000_000),
            ("9223372036.854775807", i64::MAX),
            ("2024-05-20T00:00:18Z", 1_716_163_218 * SECOND),
            ("2024-05-20t00:00:18z", 1_716_163_218 * SECOND),
            ("2024-05-20T02:00:18+02:00", 1_716_163_218 * SECOND),
            ("2024-05-19 16:30:18.125-07:30", 1_716_163_218_125_000_000),
            ("2024-05-20 00:00:18", 1_716_163_218 * SECOND),
            ("2023-11-16 18:17:03.9799600", 1_700_158_623_979_960_000),
            ("2023-11-16T18:17:03.123456789Z", 1_700_158_623_123_456_789),
            ("2016-12-31T23:59:60Z", 1_483_228_799 * SECOND),
            ("1969-12-31 23:59:59.5", -500_000_000),
        ];
        for &(stamp, ns) in table {
            assert_eq!(parse(stamp.as_bytes()), Ok(ns), "{stamp}");
        }
    }

    #[test]
    fn stamps_of_records_that_are_none_are_told_apart() {
        let table = [
            ("", UnknownForm),
            ("-", UnknownForm),
            (".5", UnknownForm),
            ("5.", UnknownForm),
            ("1.2.3", UnknownForm),
            ("1e9", UnknownForm),
            ("+5", UnknownForm),
            ("yesterday", UnknownForm),
            ("2024-05-20", UnknownForm),
            ("20240520T000018Z", UnknownForm),
            ("2024-05-20T00:00", UnknownForm),
            ("2024-05-20 00:00:18[Europe/Berlin]", UnknownForm),
            ("2024-05-20 00:00:18 and more", NoSuchTime),
            ("2024-04-31 00:00:00", NoSuchTime),
            ("2023-02-29T00:00:00Z", NoSuchTime),
            ("2024-13-01T00:00:00Z", NoSuchTime),
            ("2024-05-20T24:00:00Z", NoSuchTime),
            ("2024-05-20T12:00:60Z", NoSuchTime),
            ("2024-05-20T00:00:61Z", NoSuchTime),
            ("2024-05-20T00:00:00+99:00", NoSuchTime),
            ("1600-01-01T00:00:00Z", OutOfRange),
            ("1716163218123", OutOfRange),
            ("99999999999999999999999", OutOfRange),
        ];
        for (stamp, error) in table {
            assert_eq!(parse(stamp.as_bytes()), Err(error), "{stamp}");
        }
        assert_eq!(parse(b"2024-05-20 00:00:18\xff"), Err(NoSuchTime));
        assert_eq!(parse(b"\xff\xfe"), Err(UnknownForm));
    }
}
