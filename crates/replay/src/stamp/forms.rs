//! Reads stamps that hold a calendar date, in the forms that people, servers and languages print.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::years::Years;
use super::{OwnZone, StampError, at_offset};

/// The known forms, except RFC 3339 and its variants. No form has a zone: [`split_zone`] removes it first.
const FORMS: [&str; 37] = [
    // Common Log Format, with a fraction or without a zone as HAProxy and Tomcat write it.
    "%d/%b/%Y:%H:%M:%S%.f",
    // Proxmox.
    "%d/%m/%Y:%H:%M:%S%.f",
    // `date`, git and C's `asctime`. The year is before or after the zone.
    "%a %b %e %H:%M:%S%.f %Y",
    // RFC 2822 and cookies.
    "%a, %d %b %Y %H:%M:%S%.f",
    "%d %b %Y %H:%M:%S%.f",
    "%d-%b-%Y %H:%M:%S%.f",
    // Go's log package, nginx's error log.
    "%Y/%m/%d %H:%M:%S%.f",
    // ISO 8601, basic.
    "%Y%m%dT%H%M%S%.f",
    "%Y%m%d %H:%M:%S%.f",
    // A time of day without seconds.
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    // Excel in Japan and China.
    "%Y/%m/%d %H:%M",
    // Browsers in Canada.
    "%Y-%m-%d, %H:%M:%S%.f",
    // MariaDB, whose hours have no zero before them.
    "%Y-%m-%d %k:%M:%S%.f",
    // runit's `svlogd`, as in GitLab's packages.
    "%Y-%m-%d_%H:%M:%S%.f",
    "%Y.%m.%d %H:%M:%S%.f",
    // Cisco's NX-OS, and syslog with a year before it.
    "%Y %b %e %H:%M:%S%.f",
    // Python's `http.server`.
    "%d/%b/%Y %H:%M:%S%.f",
    // Gin.
    "%Y/%m/%d - %H:%M:%S%.f",
    // With dots, the day is first. (With slashes, the first number may be the month, so that form is not known.)
    "%d.%m.%Y %H:%M:%S%.f",
    "%d.%m.%Y, %H:%M:%S%.f",
    // GNU `date` in the United States, and in other countries.
    "%a %b %e %I:%M:%S%.f %p %Y",
    "%a %d %b %Y %H:%M:%S%.f",
    "%a %d %b %Y %I:%M:%S%.f %p",
    "%a %d %b %H:%M:%S%.f %Y",
    // JavaScript's `Date`.
    "%a %b %d %Y %H:%M:%S%.f",
    HALVES,
    // Wireshark, and Kibana's exports.
    "%b %e, %Y %H:%M:%S%.f",
    "%b %e, %Y @ %H:%M:%S%.f",
    // Java's `java.util.logging`, and browsers in the United States.
    "%b %e, %Y %I:%M:%S%.f %p",
    "%b %e, %Y, %I:%M:%S%.f %p",
    "%b %d %Y %H:%M:%S%.f",
    // Syslog with a year behind it.
    "%b %e %H:%M:%S%.f %Y",
    // MySQL before 5.7.
    "%y%m%d %k:%M:%S",
    // Firewalls of Sophos.
    "%Y:%m:%d-%H:%M:%S%.f",
    // RFC 850.
    "%A, %d-%b-%y %H:%M:%S%.f",
    // Digits without separators.
    DIGITS,
];

/// The known forms without a year.
const YEARLESS: [&str; 7] = [
    // Syslog, RFC 3164.
    "%b %e %H:%M:%S%.f",
    // Snort.
    "%m/%d-%H:%M:%S%.f",
    // Android.
    "%m-%d %H:%M:%S%.f",
    // Old versions of Redis.
    "%d %b %H:%M:%S%.f",
    // Render.
    "%b %e %I:%M:%S%.f %p",
    // Kubernetes.
    "%m%d %H:%M:%S%.f",
    // Old versions of RouterOS.
    "%b/%e %H:%M:%S%.f",
];

/// The form of SQL Server and of spreadsheets.
const HALVES: &str = "%Y-%m-%d %I:%M:%S%.f %p";

/// The form of a stamp of 14 digits, perhaps with a fraction.
const DIGITS: &str = "%Y%m%d%H%M%S%.f";

/// Reads a stamp of any known form. `hint` is the index of the last stamp's form in [`FORMS`] and [`YEARLESS`], which is tried first.
pub(super) fn parse(stamp: &[u8], zone: &mut OwnZone, years: &mut Years, hint: &mut usize) -> Result<i128, StampError> {
    if let Some(label) = stamp.strip_prefix(b"@") {
        return tai64n(label).ok_or(StampError::UnknownForm);
    }
    if !stamp.first().is_some_and(u8::is_ascii_alphanumeric) || stamp.len() > 64 {
        return Err(StampError::UnknownForm);
    }
    // The date and the time of day come from two columns of a text.
    if stamp.contains(&b'\t') {
        let words: Vec<&[u8]> = stamp.split(u8::is_ascii_whitespace).collect();
        return parse(&words.join(&b' '), zone, years, hint);
    }
    if is_iso(stamp) {
        return iso(stamp, zone);
    }
    if stamp.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        let text = std::str::from_utf8(stamp).map_err(|_| StampError::UnknownForm)?;
        let (local, leap) = civil(DIGITS, text)?;
        return instant(local, None, zone, leap);
    }
    let text = std::str::from_utf8(stamp).map_err(|_| StampError::UnknownForm)?;
    let (text, named) = split_zone(text);
    let text = with_point(text);
    let mut reason = StampError::UnknownForm;
    let count = FORMS.len() + if years.is_known() { YEARLESS.len() } else { 0 };
    for at in std::iter::once(*hint).chain(0..count) {
        let read = match FORMS.get(at) {
            Some(form) => civil(form, &text),
            None => without_year(YEARLESS[at - FORMS.len()], &text, years),
        };
        match read {
            Ok((local, leap)) => {
                *hint = at;
                return instant(local, named, zone, leap);
            }
            Err(StampError::UnknownForm) => {}
            Err(wrong) => reason = wrong,
        }
    }
    Err(reason)
}

/// Reads a stamp by a format of `strptime`.
pub(super) fn parse_as(format: &str, stamp: &[u8], zone: &mut OwnZone, years: &mut Years) -> Result<i128, StampError> {
    let mut parsed = BrokenDownTime::parse(format, stamp).map_err(|_| StampError::OtherForm)?;
    // A format with a month but no year, that is not of an instant (`%s`).
    if parsed.year().is_none() && parsed.month().is_some() && parsed.to_timestamp().is_err() && years.is_known() {
        years.complete(&mut parsed)?;
    }
    if parsed.offset().is_some() || parsed.iana_time_zone().is_some() {
        return parsed
            .to_zoned()
            .map(|zoned| zoned.timestamp())
            .or_else(|_| parsed.to_timestamp())
            .map(|timestamp| timestamp.as_nanosecond())
            .map_err(|_| StampError::NoSuchTime);
    }
    // `%s` is an instant, not a civil time.
    if let Ok(timestamp) = parsed.to_timestamp() {
        return Ok(timestamp.as_nanosecond());
    }
    let local = parsed.to_datetime().map_err(|_| StampError::NoSuchTime)?;
    instant(local, None, zone, false)
}

/// Reads a label of TAI64N, as `multilog` of daemontools writes it: 16 hexadecimal digits for the second, and 8 for the nanosecond.
///
/// As `tai64nlocal` does, it takes TAI to be 10 s ahead of UTC: daemontools adds this offset in all years.
fn tai64n(label: &[u8]) -> Option<i128> {
    const EPOCH: u64 = (1 << 62) + 10;
    let digits = label.len() == 24 && label.iter().all(u8::is_ascii_hexdigit);
    let (second, nanosecond) = std::str::from_utf8(label).ok().filter(|_| digits)?.split_at(16);
    let second = u64::from_str_radix(second, 16).ok()?.checked_sub(EPOCH)?;
    let nanosecond = u32::from_str_radix(nanosecond, 16)
        .ok()
        .filter(|ns| *ns < 1_000_000_000)?;
    Some(i128::from(second) * 1_000_000_000 + i128::from(nanosecond))
}

/// Returns whether a stamp begins like RFC 3339 or `YYYY-MM-DD HH:MM:SS`.
fn is_iso(stamp: &[u8]) -> bool {
    let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
    stamp.len() >= 19
        && digits.iter().all(|&at| stamp[at].is_ascii_digit())
        && [stamp[4], stamp[7], stamp[13], stamp[16]] == *b"--::"
        && matches!(stamp[10], b'T' | b't' | b' ')
}

fn iso(stamp: &[u8], zone: &mut OwnZone) -> Result<i128, StampError> {
    // A colon precedes the milliseconds, as in the patterns of many Java programs.
    if stamp.get(19) == Some(&b':') {
        let stamp = [&stamp[..19], b".", &stamp[20..]].concat();
        return iso(&stamp, zone);
    }
    let leap = stamp[17..19] == *b"60";
    let is_strict = stamp.len() == 19 || matches!(stamp.last(), Some(b'Z' | b'z')) || !stamp[19..].contains(&b' ');
    if is_strict && !stamp[19..].contains(&b',') {
        if let Some(read) = pieces(stamp, zone, leap) {
            return read;
        }
    }
    // A space precedes the zone (Ruby, Go, git), or a comma precedes the fraction (Python).
    let text = std::str::from_utf8(stamp).map_err(|_| StampError::NoSuchTime)?;
    let (text, named) = split_zone(text);
    if text.ends_with(['M', 'm']) {
        let (local, leap) = civil(HALVES, &text)?;
        return instant(local, named, zone, leap);
    }
    let text = text.replace(',', ".");
    match pieces(text.as_bytes(), &mut OwnZone::default(), leap) {
        Some(Ok(_)) => {}
        Some(Err(reason)) => return Err(reason),
        None => return Err(StampError::NoSuchTime),
    }
    let pieces = Pieces::parse(text.as_bytes()).map_err(|_| StampError::NoSuchTime)?;
    let time = pieces.time().ok_or(StampError::NoSuchTime)?;
    instant(pieces.date().to_datetime(time), named, zone, leap)
}

/// Reads a stamp as RFC 3339 or 9557 writes it, with or without a zone. Returns `None` if it has another form.
fn pieces(stamp: &[u8], zone: &mut OwnZone, leap: bool) -> Option<Result<i128, StampError>> {
    let pieces = Pieces::parse(stamp).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    if pieces.time_zone_annotation().is_some() {
        let zoned = pieces.to_time_zone().ok()??.to_zoned(local);
        return Some(
            zoned
                .map(|zoned| zoned.timestamp().as_nanosecond())
                .map_err(|_| StampError::NoSuchTime),
        );
    }
    let named = pieces.to_numeric_offset().map(NamedZone::Offset);
    Some(instant(local, named, zone, leap))
}

fn civil(form: &str, text: &str) -> Result<(DateTime, bool), StampError> {
    let parsed = BrokenDownTime::parse(form, text).map_err(|_| StampError::UnknownForm)?;
    // jiff reads a leap second as the second before it.
    let leap = text.contains(":60");
    let local = parsed.to_datetime().map_err(|_| StampError::NoSuchTime)?;
    // jiff also reads two digits as a year, such as the month of `5/6/24 10:18`.
    if local.year() < 1_000 {
        return Err(StampError::UnknownForm);
    }
    Ok((local, leap))
}

/// Reads a date and a time of day by a form without a year.
fn without_year(form: &str, text: &str, years: &mut Years) -> Result<(DateTime, bool), StampError> {
    let mut parsed = BrokenDownTime::parse(form, text).map_err(|_| StampError::UnknownForm)?;
    Ok((years.complete(&mut parsed)?, text.contains(":60")))
}

/// The zone that a stamp names.
enum NamedZone<'a> {
    Offset(Offset),
    /// Letters, such as `CEST`.
    Letters(&'a str),
}

fn instant(local: DateTime, named: Option<NamedZone<'_>>, zone: &mut OwnZone, leap: bool) -> Result<i128, StampError> {
    let timestamp = match named {
        Some(NamedZone::Offset(east)) => return at_offset(local, east, leap),
        Some(NamedZone::Letters(letters)) => zone.time_in(local, letters)?,
        None => zone.time_of(local)?,
    };
    if leap && timestamp.as_second().rem_euclid(86_400) != 86_399 {
        return Err(StampError::NoSuchTime);
    }
    Ok(timestamp.as_nanosecond())
}

/// Removes the zone from a stamp (`+0200`, `+02:00`, `GMT+0200`, `Z`, `UTC`, `CEST`), and returns both. Also removes the parts that Go, mails and
/// JavaScript append: the name of the zone after its offset, and the reading of Go's monotonic clock.
fn split_zone(text: &str) -> (String, Option<NamedZone<'_>>) {
    let mut named = None;
    let mut kept: Vec<&str> = Vec::new();
    let text = match text.find(" (") {
        Some(at) if text.ends_with(')') => &text[..at],
        _ => text,
    };
    for word in text.split_ascii_whitespace() {
        let is_second = !kept.is_empty();
        match offset(word) {
            Some(offset) if is_second && named.is_none() => named = Some(NamedZone::Offset(offset)),
            // The name of a zone after its offset: `+0200 CEST`, `+0000 UTC`.
            _ if named.is_some() && word.bytes().all(|byte| byte.is_ascii_uppercase()) => {}
            _ if is_second && word.starts_with("m=") => {}
            _ if is_second && is_zone(word) => named = Some(NamedZone::Letters(word)),
            _ => kept.push(word),
        }
    }
    // The zone follows the time of day without a space, as in a basic ISO stamp: `000018Z`, `000018+0200`.
    if let (None, Some(last)) = (&named, kept.last_mut()) {
        let at = last
            .rfind(['+', 'Z'])
            .or_else(|| last.rfind('-').filter(|_| last.contains('T')));
        if let Some((bare, zone)) = at.and_then(|at| last.split_at_checked(at)) {
            if let Some(offset) = offset(zone).filter(|_| bare.ends_with(|end: char| end.is_ascii_digit())) {
                (*last, named) = (bare, Some(NamedZone::Offset(offset)));
            }
        }
    }
    (kept.join(" "), named)
}

/// Replaces the comma before the fraction of a second by a point. Log4j writes `00:00:18,125`.
fn with_point(mut text: String) -> String {
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    // Behind the seconds: a comma may also be between a date and a year or a time.
    let is_second = |at: usize| at >= 6 && (bytes[at - 3] == b':' || (at - 6..at).all(is_digit));
    let comma = memchr::memrchr(b',', bytes).filter(|&at| is_second(at) && is_digit(at + 1));
    if let Some(at) = comma {
        text.replace_range(at..=at, ".");
    }
    text
}

/// Returns whether a word may be the letters of a zone. A name of a month or a day is not.
fn is_zone(word: &str) -> bool {
    let is_part_of_date = |form: &str| BrokenDownTime::parse(form, word).is_ok();
    (3..=5).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_uppercase())
        && !["%b", "%a"].into_iter().any(is_part_of_date)
}

fn offset(word: &str) -> Option<Offset> {
    if matches!(word, "Z" | "UTC" | "GMT") {
        return Some(Offset::UTC);
    }
    let word = word
        .strip_prefix("GMT")
        .or_else(|| word.strip_prefix("UTC"))
        .unwrap_or(word);
    let (sign, digits) = match word.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.split(':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    let (hours, minutes) = if digits.len() == 2 {
        (number, 0)
    } else {
        (number / 100, number % 100)
    };
    (hours < 24 && minutes < 60)
        .then(|| Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok())
        .flatten()
}
