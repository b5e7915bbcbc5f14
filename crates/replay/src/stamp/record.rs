//! The stamps of delimited text.

use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::{StampError, at_offset, in_range};

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
        return in_range(if unsigned.len() < stamp.len() { -ns } else { ns });
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
