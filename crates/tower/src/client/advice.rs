//! The waits that a response asks for.

use super::retry_info::retry_delay;
use crate::fields::RETRY_AFTER_MS;
use crate::respond::{GRPC_DETAILS, GRPC_PUSHBACK, GRPC_STATUS};
use http::header::{AGE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use std::time::{Duration, SystemTime};

/// The waits that a response asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Advice {
    /// The time for which nothing is to be sent.
    pub(super) stay_away: Option<Duration>,
    /// The time between requests at which the remaining quota lasts until more comes; the longest of all policies. Zero if the response has no
    /// fields, and none if it is cached.
    pub(super) gap: Option<Duration>,
    /// Set if the request was denied for now, and may be sent again.
    pub(super) denied: bool,
}

/// The remaining requests, and the window for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    remaining: u64,
    window: Duration,
}

/// Azure's; some of its services send no other.
const X_MS_RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");

/// The longest time that a client obeys, in seconds; a longer one, or one that overflows, counts as this one.
const LONGEST: u64 = 366 * 24 * 3600;

impl Advice {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let sent = sent(headers, now);
        // The fields of a cached response are of another time, and perhaps of another client.
        let cached = headers.get(AGE).is_some_and(|age| age.as_bytes() != b"0");
        let left = if cached { Vec::new() } else { left(headers, sent) };
        let spent = left
            .iter()
            .filter(|left| left.remaining == 0)
            .map(|left| left.window)
            .max();
        let gap = left
            .iter()
            .map(|left| left.window / u32::try_from(left.remaining.max(1)).unwrap_or(u32::MAX))
            .max();
        // RESOURCE_EXHAUSTED, or UNAVAILABLE, which stands for 503.
        let exhausted = matches!(integer(headers, &GRPC_STATUS), Some(8 | 14));
        let denied = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            // GitHub denies with 403; without a time, a 403 is no denial of a limiter.
            StatusCode::FORBIDDEN if spent.is_some() || headers.contains_key(RETRY_AFTER) => true,
            _ => exhausted,
        };
        let asked_for = denied.then(|| retry_after(headers, sent)).flatten();
        // Retry-After takes precedence.
        let stay_away = match asked_for.or(spent) {
            // A denial with a wait of 0 comes from a limiter that rounds down: a part of a second is left.
            Some(Duration::ZERO) if denied => Some(Duration::from_secs(1)),
            stay_away => stay_away,
        };
        // A pushback that is no number, such as -1, asks the client not to try again (gRFC A6).
        let forbids = headers
            .get(GRPC_PUSHBACK)
            .is_some_and(|pushback| digits(pushback).is_none());
        Self {
            stay_away,
            gap: (!cached).then_some(gap.unwrap_or_default()),
            denied: denied && !forbids,
        }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(LONGEST))
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// The time of the response by the server's own clock, so that clocks need not agree.
fn sent(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    headers.get(DATE).and_then(date).unwrap_or(now)
}

/// The time to stay away: the more exact form, if there are two.
fn retry_after(headers: &HeaderMap, sent: SystemTime) -> Option<Duration> {
    let most_ms = LONGEST * 1000;
    let exact = [RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS, GRPC_PUSHBACK];
    if let Some(ms) = exact.iter().find_map(|name| integer(headers, name)) {
        return Some(Duration::from_millis(ms.min(most_ms)));
    }
    let retry_info = headers
        .get(GRPC_DETAILS)
        .and_then(|details| retry_delay(details.as_bytes()));
    if let Some(delay) = retry_info {
        return Some(delay.min(seconds(LONGEST)));
    }
    let delays = headers.get_all(RETRY_AFTER).iter().filter_map(|value| {
        let until = || Some(date(value)?.duration_since(sent).unwrap_or_default());
        decimal(value).map_or_else(until, |number| delay(number, sent))
    });
    // There should be one line. Of several, as limiters behind each other may leave, the longest holds for all.
    Some(delays.max()?.min(seconds(LONGEST)))
}

fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| digits(value)).flatten()
}

/// Digits and nothing else; a number past 64 bits is the largest.
fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim_ascii();
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Seconds that may have a fraction, as Discord and Reddit send them; the fraction is rounded up to nanoseconds.
fn decimal(value: &HeaderValue) -> Option<Duration> {
    let Some((whole, fraction)) = value.to_str().ok()?.trim_ascii().split_once('.') else {
        return digits(value).map(Duration::from_secs);
    };
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all(whole) || !all(fraction) {
        return None;
    }
    let nanos = fraction.bytes().chain(core::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0'));
    let rest = fraction.bytes().skip(9).any(|digit| digit != b'0');
    let fraction = Duration::from_nanos(nanos + u64::from(rest));
    Some(Duration::from_secs(whole.parse().unwrap_or(u64::MAX)).saturating_add(fraction))
}

/// Returns the time that a number of seconds names. A number above the longest time is an instant, in seconds since 1970, as some servers send it.
fn delay(number: Duration, sent: SystemTime) -> Option<Duration> {
    let longest = seconds(LONGEST);
    if number <= longest {
        return Some(number);
    }
    let at = SystemTime::UNIX_EPOCH.checked_add(number)?;
    let wait = at.duration_since(sent).unwrap_or_default();
    (wait <= longest).then_some(wait)
}

/// Reads the fields of any form, by policy.
fn left(headers: &HeaderMap, sent: SystemTime) -> Vec<Left> {
    let lists = headers
        .get_all("ratelimit")
        .iter()
        .filter_map(|line| line.to_str().ok());
    let left: Vec<_> = lists.flat_map(items).collect();
    if !left.is_empty() {
        return left;
    }
    let triple = |prefix: &str| {
        let read = |name: &str| headers.get(format!("{prefix}-{name}")).and_then(decimal);
        let (remaining, reset) = (read("remaining")?.as_secs(), read("reset")?);
        let window = delay(reset, sent)?;
        Some(Left { remaining, window })
    };
    // The last is the form of X, formerly Twitter, and of Okta.
    let prefixes = ["ratelimit", "x-ratelimit", "x-rate-limit"];
    prefixes.into_iter().find_map(triple).into_iter().collect()
}

/// The items of `RateLimit`: `"default";r=50;t=30` (drafts 08 to 11), or all of `limit=100, remaining=50, reset=30` (draft 07).
fn items(list: &str) -> Vec<Left> {
    let mut left = Vec::new();
    let (mut remaining, mut reset) = (None, None);
    for item in outside_strings(list, ',') {
        let mut parts = outside_strings(item, ';');
        let name = parts.next().unwrap_or_default().trim();
        let value = |text: &str, key: &str| {
            let (name, value) = text.trim().split_once('=')?;
            let digits = !value.is_empty() && value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit());
            (name == key && digits).then(|| value.parse::<u64>().ok()).flatten()
        };
        remaining = remaining.or(value(name, "remaining"));
        reset = reset.or(value(name, "reset"));
        let (mut r, mut t) = (None, None);
        for parameter in parts {
            r = value(parameter, "r").or(r);
            t = value(parameter, "t").or(t);
        }
        if let (Some(remaining), Some(window)) = (r, t.map(seconds)) {
            left.push(Left { remaining, window });
        }
    }
    if let (Some(remaining), Some(window)) = (remaining, reset.map(seconds)) {
        left.push(Left { remaining, window });
    }
    left
}

/// The parts of a text between separators that are not in a quoted string.
fn outside_strings(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        let ends = character == separator && !quoted;
        let was_escaped = core::mem::take(&mut escaped);
        match character {
            '"' if !was_escaped => quoted = !quoted,
            '\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(status: u16, fields: &[(&str, &str)]) -> Advice {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        Advice::of(StatusCode::from_u16(status).unwrap(), &headers, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn every_form_is_read() {
        type Row = (u16, &'static [(&'static str, &'static str)], Option<u64>);
        const DATE: (&str, &str) = ("date", "Sat, 28 Nov 2026 06:00:00 GMT");
        const RETRY_INFO: (&str, &str) = (
            "grpc-status-details-bin",
            "CAgSCXNsb3cgZG93bho2Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgoKCAgBEIDKte4B",
        );
        let table: &[Row] = &[
            (429, &[("retry-after", "7")], Some(7_000)),
            (503, &[("retry-after", "7")], Some(7_000)),
            (200, &[("retry-after", "7")], None),
            (429, &[("retry-after", "7"), ("retry-after-ms", "6400")], Some(6_400)),
            (429, &[("x-ms-retry-after-ms", "6400")], Some(6_400)),
            // A date against the server's own clock, which is years ahead of ours.
            (
                429,
                &[DATE, ("retry-after", "Sat, 28 Nov 2026 06:00:09 GMT")],
                Some(9_000),
            ),
            (
                429,
                &[DATE, ("retry-after", "Sat, 28 Nov 2026 05:00:00 GMT")],
                Some(1_000),
            ),
            (429, &[("retry-after", "0")], Some(1_000)),
            (429, &[("retry-after", "1"), ("retry-after", "7")], Some(7_000)),
            (429, &[("retry-after", "soon"), ("retry-after", "7")], Some(7_000)),
            (429, &[("ratelimit", "\"a\";r=0;t=0")], Some(1_000)),
            (
                429,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "0")],
                Some(1_000),
            ),
            (200, &[("ratelimit", "\"a\";r=0;t=0")], Some(0)),
            (429, &[("retry-after", "-7")], None),
            (429, &[("retry-after", "soon")], None),
            // An instant, which servers of three reports sent: not a wait of 56 years.
            (429, &[DATE, ("retry-after", "1795845609")], Some(9_000)),
            (429, &[DATE, ("retry-after", "1795845500")], Some(1_000)),
            (429, &[DATE, ("retry-after", "1795845609000")], None),
            (429, &[("retry-after", "99999999999999999999999")], None),
            (429, &[("retry-after", "64.57")], Some(64_570)),
            (429, &[("retry-after", "0.0")], Some(1_000)),
            (429, &[("retry-after", "1.")], None),
            (429, &[("retry-after", ".5")], None),
            (429, &[("retry-after", "1.5.5")], None),
            (429, &[("retry-after", "99999999999999999999999.9")], None),
            (403, &[("retry-after", "7")], Some(7_000)),
            (403, &[], None),
            (
                200,
                &[("grpc-status", "8"), ("grpc-retry-pushback-ms", "250")],
                Some(250),
            ),
            (200, &[("grpc-status", "5"), ("grpc-retry-pushback-ms", "250")], None),
            (
                200,
                &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "250")],
                Some(250),
            ),
            (200, &[("grpc-status", "8"), RETRY_INFO], Some(1_500)),
            (200, &[("grpc-status", "5"), RETRY_INFO], None),
            (
                200,
                &[("grpc-status", "8"), RETRY_INFO, ("grpc-retry-pushback-ms", "1501")],
                Some(1_501),
            ),
            (
                200,
                &[
                    ("grpc-status", "8"),
                    ("grpc-status-details-bin", "!"),
                    ("retry-after", "3"),
                ],
                Some(3_000),
            ),
            (200, &[("ratelimit", "\"a\";r=0;t=12")], Some(12_000)),
            (200, &[("ratelimit", "\"a\";r=3;t=12, \"b;r=0\";r=0;t=4")], Some(4_000)),
            (
                200,
                &[("ratelimit", "\"a\";r=0;t=3"), ("ratelimit", "\"b\";r=0;t=5")],
                Some(5_000),
            ),
            (200, &[("ratelimit", "\"a\";r=0")], None),
            (200, &[("ratelimit", "\"a\";r=x;t=3")], None),
            (200, &[("ratelimit", "limit=10, remaining=0, reset=30")], Some(30_000)),
            (
                200,
                &[("ratelimit-remaining", "0"), ("ratelimit-reset", "20")],
                Some(20_000),
            ),
            (
                200,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20")],
                Some(20_000),
            ),
            (
                429,
                &[
                    DATE,
                    ("x-rate-limit-limit", "900"),
                    ("x-rate-limit-remaining", "0"),
                    ("x-rate-limit-reset", "1795845630"),
                ],
                Some(30_000),
            ),
            // An instant: by the server's own clock.
            (
                200,
                &[
                    DATE,
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1795845630"),
                ],
                Some(30_000),
            ),
            (
                429,
                &[
                    DATE,
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1795845601.25"),
                ],
                Some(1_250),
            ),
            (
                429,
                &[
                    DATE,
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1795845500"),
                ],
                Some(1_000),
            ),
            (
                200,
                &[
                    DATE,
                    ("x-ratelimit-remaining", "7"),
                    ("x-ratelimit-reset", "1795845630"),
                ],
                None,
            ),
            // Milliseconds since 1970 are not read, and no wait is past the longest.
            (
                200,
                &[
                    DATE,
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "1795845630000"),
                ],
                None,
            ),
            (
                200,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795000000")],
                None,
            ),
            (
                200,
                &[("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "412.0")],
                Some(412_000),
            ),
            (200, &[("age", "3"), ("ratelimit", "\"a\";r=0;t=12")], None),
            (
                429,
                &[("retry-after", "1"), ("ratelimit", "\"a\";r=0;t=12")],
                Some(1_000),
            ),
        ];
        for (status, fields, expected) in table {
            let stay_away = advice(*status, fields).stay_away;
            assert_eq!(stay_away, expected.map(Duration::from_millis), "{fields:?}");
        }
    }

    #[test]
    fn pushback_that_is_no_number_forbids_a_retry() {
        let denied = |pushback: &str| {
            let fields = [
                ("grpc-status", "8"),
                ("ratelimit", "\"a\";r=0;t=3"),
                ("grpc-retry-pushback-ms", pushback),
            ];
            let advice = advice(200, &fields);
            assert!(advice.stay_away.is_some());
            advice.denied
        };
        assert_eq!(["250", "-1", "soon"].map(denied), [true, false, false]);
    }

    #[test]
    fn gaps_are_of_the_slowest_policy() {
        let gap = advice(200, &[("ratelimit", "\"a\";r=10;t=1, \"b\";r=4;t=10")]).gap;
        assert_eq!(gap, Some(Duration::from_millis(2500)));
        assert_eq!(advice(200, &[]).gap, Some(Duration::ZERO));
        assert_eq!(advice(200, &[("age", "3"), ("ratelimit", "\"a\";r=10;t=1")]).gap, None);
    }

    proptest::proptest! {
        #[test]
        fn no_field_panics(line in "[\"\\\\;,=a-z0-9 ]{0,40}", other in "\\PC{0,20}") {
            for (name, value) in [("ratelimit", &line), ("retry-after", &other), ("retry-after-ms", &line), ("x-ratelimit-reset", &other)] {
                let mut headers = HeaderMap::new();
                if let Ok(value) = HeaderValue::from_str(value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
                Advice::of(StatusCode::TOO_MANY_REQUESTS, &headers, SystemTime::UNIX_EPOCH);
            }
        }
    }
}
