//! Reads the stamps of access logs.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::{StampError, at_offset, in_range};

/// Length of a stamp.
const LEN: usize = 26;

const MINUTE_NS: i64 = 60_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// Reads stamps of Common Log Format, and remembers the last one. A stamp in the same hour is computed from it, without the calendar. (This halves the
/// time to read a line.)
#[derive(Debug, Clone, Default)]
pub struct CommonLogStamps {
    last: Option<Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    text: [u8; LEN],
    ns: i64,
    hour_ns: i64,
}

impl CommonLogStamps {
    /// Reads a stamp without its brackets: `20/May/2024:00:00:18 +0000`.
    ///
    /// # Errors
    ///
    /// [`StampError`]: the stamp has a wrong form, or names a time that does not exist.
    #[inline]
    pub fn parse(&mut self, stamp: &[u8]) -> Result<i64, StampError> {
        let text: &[u8; LEN] = stamp.try_into().map_err(|_| StampError::NotCommonLog)?;
        // The stamp equals the last one, or differs only in its minute (at byte 15) and second (at byte 18).
        if let Some(last) = &mut self.last {
            if *text == last.text {
                return Ok(last.ns);
            }
            if text[..15] == last.text[..15] && text[17] == b':' && text[20..] == last.text[20..] {
                if let (Some(minute), Some(second)) = (sixtieth(text[15], text[16]), sixtieth(text[18], text[19])) {
                    last.text = *text;
                    last.ns = last.hour_ns + minute * MINUTE_NS + second * SECOND_NS;
                    return Ok(last.ns);
                }
            }
        }
        let ns = parse(text)?;
        self.last = sixtieth(text[15], text[16])
            .zip(sixtieth(text[18], text[19]))
            .map(|(minute, second)| ns - minute * MINUTE_NS - second * SECOND_NS)
            // An hour that begins before 1970 is not remembered: not all of its stamps are in range.
            .filter(|&hour_ns| hour_ns >= 0)
            .map(|hour_ns| Last {
                text: *text,
                ns,
                hour_ns,
            });
        Ok(ns)
    }
}

/// Returns the number that two digits form, if it is below sixty.
fn sixtieth(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 6 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

fn parse(stamp: &[u8; LEN]) -> Result<i64, StampError> {
    let separated = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if !separated.iter().all(|&(at, byte)| stamp[at] == byte) {
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
    in_range(at_offset(local, east, second == 60)?)
}

fn month(name: &[u8]) -> Result<i8, StampError> {
    const NAMES: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
    ];
    let found = (1..).zip(NAMES).find(|(_, known)| name.eq_ignore_ascii_case(known));
    found.map(|(month, _)| month).ok_or(StampError::NotCommonLog)
}
