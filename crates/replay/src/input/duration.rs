//! Durations of requests, and the start of a request that was stamped at its end.

use crate::stamp::Resolution;

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// Seconds, mostly with a fraction.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Took {
    /// Returns the unit of this name: `s`, `ms`, `us` or `ns`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "us" => Self::Microseconds,
            "ns" => Self::Nanoseconds,
            _ => return None,
        })
    }

    /// Converts a number in this unit, with or without a fraction, to nanoseconds. A unit after the number takes precedence, as in `1.5ms`.
    pub(super) fn ns(self, text: &[u8]) -> Option<i64> {
        let text = std::str::from_utf8(text.trim_ascii()).ok()?;
        let digits = text.trim_end_matches(|letter: char| letter.is_alphabetic());
        let own = Self::named(&text[digits.len()..].replace(['\u{b5}', '\u{3bc}'], "u"));
        let (text, unit) = own.map_or((text, self), |unit| (digits, unit));
        let number: f64 = text.parse().ok()?;
        let unit = match unit {
            Self::Seconds => 1e9,
            Self::Milliseconds => 1e6,
            Self::Microseconds => 1e3,
            Self::Nanoseconds => 1.0,
        };
        // A hundred days; nothing longer is a request. Below that, exact to a nanosecond.
        let ns = number * unit;
        #[allow(clippy::cast_possible_truncation, reason = "below 2^53")]
        (0.0..8.64e15).contains(&ns).then_some(ns.round() as i64)
    }
}

/// Returns the start of a request with this duration that ended at `time`, in the resolution of that stamp.
///
/// The request ended up to a unit after its stamp. So half a unit is added before the start is rounded down to a stamp.
pub(super) fn started(time: i64, took_ns: i64, resolution: Resolution) -> i64 {
    let unit = resolution.unit_ns();
    let back = (took_ns - unit / 2).max(0);
    // Rounded up, since the time before is rounded down.
    let units = back / unit + i64::from(back % unit > 0);
    time.saturating_sub(units.saturating_mul(unit)).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_they_state() {
        for (text, ns) in [
            ("5", Some(5_000_000)),
            ("1.5ms", Some(1_500_000)),
            ("12\u{b5}s", Some(12_000)),
            ("0.05s", Some(50_000_000)),
        ] {
            assert_eq!(Took::Milliseconds.ns(text.as_bytes()), ns, "{text}");
        }
        for text in ["", "x", "ms", "-1", "5min", "inf", "nan", "1e99"] {
            assert_eq!(Took::Seconds.ns(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn starts_are_stamps_of_the_same_resolution() {
        const S: i64 = 1_000_000_000;
        let table = [
            (100 * S, 0, Resolution::Second, 100 * S),
            (100 * S, 12_000_000, Resolution::Second, 100 * S),
            (100 * S, 500_000_000, Resolution::Second, 100 * S),
            (100 * S, 501_000_000, Resolution::Second, 99 * S),
            (100 * S, 60 * S, Resolution::Second, 40 * S),
            (100 * S, 60 * S + 400_000_000, Resolution::Second, 40 * S),
            (100 * S, 12_345_678, Resolution::Nanosecond, 100 * S - 12_345_678),
            (S, 60 * S, Resolution::Second, 0),
        ];
        for (time, took, resolution, start) in table {
            assert_eq!(started(time, took, resolution), start, "{time} {took} {resolution}");
        }
    }
}
