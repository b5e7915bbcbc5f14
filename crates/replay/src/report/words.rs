//! What all renderers say alike.

use std::time::Duration;

use jiff::Timestamp;

use super::Report;
use crate::event::KeyId;
use crate::limit::Algorithm;
use crate::replay::Outcome;
use crate::suggest::{Answer, Reason};
use crate::text::{counted, duration, grouped, percent, printable};
use crate::trace::Unit;

/// How many characters of the name of a column are shown.
const COLUMN_WIDTH: usize = 30;

/// `gcra`, `leaky bucket` or `exponential`.
pub(super) fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Gcra => "gcra",
        Algorithm::LeakyBucket => "leaky bucket",
        Algorithm::Exponential => "exponential",
    }
}

/// How many requests, and when.
pub(super) fn requests(report: &Report<'_>) -> String {
    let traffic = &report.traffic;
    let requests = things_of(report);
    match (traffic.first, traffic.last) {
        (Some(first), Some(last)) => {
            let span = duration(Duration::from_nanos(last.abs_diff(first)));
            format!("{requests}, {} to {} UTC ({span})", stamp(first), stamp(last))
        }
        _ => requests,
    }
}

/// What requests are called.
pub(super) fn things(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests => "requests",
        Unit::Packets | Unit::CountedPackets => "packets",
    }
}

/// How many requests there were.
pub(super) fn things_of(report: &Report<'_>) -> String {
    let things = things(report.traffic.unit);
    match report.traffic.requests {
        1 => format!("1 {}", things.trim_end_matches('s')),
        requests => format!("{} {things}", grouped(requests)),
    }
}

/// Who has a meter.
pub(super) fn meters(report: &Report<'_>) -> String {
    let parameters = &report.parameters;
    let Some(by) = &parameters.by else {
        return "one meter for all".to_owned();
    };
    let keys = counted(report.keys.len(), "key");
    let mut by = foreign(by.as_bytes(), COLUMN_WIDTH);
    if let Some(bits) = parameters.ipv6_prefix {
        by += &format!(", IPv6 by /{bits}");
    }
    if parameters.anonymise {
        by += ", hashed";
    }
    format!("a meter for each of {keys} (by {by})")
}

/// In which order the requests were replayed, and what could not be.
pub(super) fn order(report: &Report<'_>) -> String {
    let traffic = &report.traffic;
    let lines = traffic.unit.lines();
    let line = lines.trim_end_matches('s');
    let late = match traffic.late {
        0 => format!("no {line} goes back in time"),
        late => {
            let (what, verb) = if late == 1 { (line, "goes") } else { (lines, "go") };
            let by = duration(traffic.latest_by);
            format!("{} {what} {verb} back in time, by up to {by}", grouped(late))
        }
    };
    let bad = match traffic.bad_lines {
        0 => String::new(),
        bad => format!("; {lines} skipped as bad: {}", grouped(bad)),
    };
    format!("order: {}, {late}{bad}", report.parameters.order)
}

/// What is counted: requests, or what the cost is called.
pub(super) fn unit(report: &Report<'_>) -> String {
    match &report.parameters.cost {
        None => "requests".to_owned(),
        Some(cost) => foreign(cost.as_bytes(), COLUMN_WIDTH),
    }
}

/// The name of a key, of at most so many characters.
pub(super) fn key(report: &Report<'_>, key: KeyId, width: usize) -> String {
    match report.keys.name(key) {
        b"" => "(empty)".to_owned(),
        name => foreign(name, width),
    }
}

/// What others wrote, of at most so many characters: nothing in it acts on a terminal, or is forbidden in XML.
pub(super) fn foreign(bytes: &[u8], width: usize) -> String {
    printable(bytes, width).replace(does_harm, "\u{fffd}")
}

/// Whether a character, though no control, is forbidden in XML or turns the direction of what stands around it.
fn does_harm(character: char) -> bool {
    matches!(character, '\u{fffe}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The limit that would have denied nobody, or that none would; `kind` is what was sought, `rate` or `burst`.
pub(super) fn answer(answer: Answer, kind: &str) -> String {
    match answer {
        Answer::Quota(quota) => quota.to_string(),
        Answer::None(reason) => match reason {
            Reason::AtOnce(units) => format!("no {kind} would do: {} at once", short(units.into())),
            Reason::TooLarge => format!("no {kind} would do: above 2^32"),
            Reason::RestTooLong => format!("no {kind} would do: 200 years to drain"),
            Reason::BackInTime => "not told: time goes back".to_owned(),
            Reason::Ticks => "not told: cells come in ticks".to_owned(),
            Reason::TwoLimits => "not told: two limits".to_owned(),
        },
    }
}

/// The cells of one bucket of a timeline: `requests per 5 s`.
pub(super) fn per_bucket(report: &Report<'_>, width: i64) -> String {
    let long = duration(Duration::from_nanos(width.unsigned_abs()));
    let long = match long.as_str() {
        "1 s" => "second",
        "1 min" => "minute",
        "1 h" => "hour",
        "1 d" => "day",
        long => long,
    };
    format!("{} per {long}", unit(report))
}

/// The text of a limit, of at most so many characters.
pub(super) fn limit(outcome: &Outcome, width: usize) -> String {
    printable(outcome.limit.to_string().as_bytes(), width)
}

/// What share of the cells a limit denies, and how many keys it hits.
pub(super) fn verdict(report: &Report<'_>, outcome: &Outcome) -> String {
    let (denied, asked) = (outcome.denied, outcome.asked);
    let keys = grouped(report.keys.len());
    match &report.parameters.by {
        _ if denied == 0 => "nobody denied".to_owned(),
        None => format!("{} denied", percent(denied, asked)),
        Some(_) => format!(
            "{} denied, {} of {keys} keys",
            percent(denied, asked),
            grouped(outcome.keys_denied)
        ),
    }
}

/// A number with its thousands apart, or in short where that is long.
pub(super) fn number(number: u128) -> String {
    if number < 10_000_000 {
        grouped(number)
    } else {
        short(number)
    }
}

/// A time to the second.
pub(super) fn stamp(ns: i64) -> String {
    time(ns, "%F %T")
}

/// The day or days from one time to another, and their zone.
pub(super) fn days(first: i64, last: i64) -> String {
    let [first, last] = [first, last].map(|ns| time(ns, "%-d %b %Y"));
    if first == last {
        format!("{first}, UTC")
    } else {
        format!("{first} to {last}, UTC")
    }
}

/// A time, as `strftime` has it; UTC.
pub(super) fn time(ns: i64, format: &str) -> String {
    // All of an i64's nanoseconds are within what jiff has years for.
    Timestamp::from_nanosecond(ns.into()).map_or_else(|_| ns.to_string(), |time| time.strftime(format).to_string())
}

/// A number in at most five characters, rounded down: `999`, `1.2k`, `34k`, `5.6M`.
pub(super) fn short(number: u128) -> String {
    let mut unit = 1_u128;
    for suffix in ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R"] {
        let whole = number / unit;
        if whole < 1_000 {
            let tenths = number / (unit / 10).max(1) % 10;
            return if unit > 1 && whole < 10 && tenths > 0 {
                format!("{whole}.{tenths}{suffix}")
            } else {
                format!("{whole}{suffix}")
            };
        }
        unit = unit.saturating_mul(1_000);
    }
    format!("{}Q", number / 10_u128.pow(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let table = [
            (0, "0"),
            (999, "999"),
            (1_000, "1k"),
            (1_250, "1.2k"),
            (12_999, "12k"),
            (999_999, "999k"),
            (5_600_000, "5.6M"),
            (10_u128.pow(27), "1R"),
            (u128::MAX, "340282366Q"),
        ];
        for (number, text) in table {
            assert_eq!(short(number), text);
        }
    }
}
