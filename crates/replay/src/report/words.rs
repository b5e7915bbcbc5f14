//! The texts that all renderers share.

use std::time::Duration;

use jiff::Timestamp;

use super::Report;
use crate::cli::reading::Spread;
use crate::event::KeyId;
use crate::limit::LimitRule;
use crate::replay::{Outcome, SpreadOutcome};
use crate::stamp::Resolution;
use crate::suggest::{NoSuggestion, SuggestedLimit, Suggestion};
use crate::text::{duration, grouped, percent, printable};
use crate::trace::Unit;

/// Number of characters shown of a column's name.
const COLUMN_WIDTH: usize = 30;

/// Number of characters shown of an input's name.
const INPUT_WIDTH: usize = 40;

/// Number of characters shown of a limit in a sentence.
const LIMIT_WIDTH: usize = 60;

/// Returns the algorithm of the limits, unless all are limiters of other software, and which keys have meters.
pub(super) fn algorithm_and_meters(report: &Report<'_>) -> String {
    let is_model = |outcome: &Outcome| matches!(outcome.limit, LimitRule::Model(_));
    if !report.outcomes.is_empty() && report.outcomes.iter().all(is_model) {
        return meters(report);
    }
    let algorithm = report.parameters.algorithm.name().replace('-', " ");
    format!("{algorithm}, {}", meters(report))
}

/// Returns the number of requests, and their time span.
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

/// Returns the result in a sentence or two: for the first limit and, if there are several, for the limit that denies least.
pub(super) fn headline(report: &Report<'_>) -> String {
    let Some(first) = report.outcomes.first() else {
        return String::new();
    };
    let mut text = String::new();
    if report.traffic.is_partial {
        text += &format!("Of part of the traffic ({}): ", lost(report));
    }
    text += &throttled(report, first);
    let least = report.outcomes.iter().min_by_key(|outcome| outcome.denied);
    if let Some(least) = least.filter(|least| report.outcomes.len() > 1 && least.denied < first.denied) {
        let all = grouped(report.outcomes.len());
        let verdict = match (least.denied, spread(least)) {
            (0, None) => "denies none".to_owned(),
            _ => format!("denies the least: {}", share(report, least)),
        };
        text += &format!(" Of the {all} limits, {} {verdict}.", limit(least, LIMIT_WIDTH));
    }
    text
}

/// Returns why a report covers only part of the traffic.
fn lost(report: &Report<'_>) -> String {
    match report.traffic.bad_lines {
        0 => "an input is cut off".to_owned(),
        1 => format!(
            "1 {} could not be read",
            report.traffic.unit.lines().trim_end_matches('s')
        ),
        bad => format!("{} {} could not be read", grouped(bad), report.traffic.unit.lines()),
    }
}

/// Returns a sentence such as `10/s burst 20 would have throttled 3 of 4,312 keys and denied 2.1% of requests; the smallest burst that denies none is
/// 61.`
fn throttled(report: &Report<'_>, outcome: &Outcome) -> String {
    let mut text = format!("{} would have ", limit(outcome, LIMIT_WIDTH));
    if outcome.denied == 0 && spread(outcome).is_none() {
        text += &format!("denied none of {}.", things_of(report));
        return text;
    }
    if report.parameters.by.is_some() {
        let keys = range(
            outcome.keys_denied,
            outcome.spread.map(|spread| spread.keys_denied),
            grouped,
        );
        text += &format!(
            "throttled {keys} of {} {} and ",
            grouped(report.keys.len()),
            clients(report)
        );
    }
    text += &format!("denied {}", share(report, outcome));
    if let Some(burst) = burst_of(outcome.suggestion) {
        text += &format!("; the smallest burst that denies none is {burst}");
        let even = outcome.spread.and_then(|spread| burst_of(spread.suggestion));
        if let Some(even) = even.filter(|even| *even != burst) {
            text += &format!(", or {even} if they came evenly");
        }
    }
    text.push('.');
    // Bounds that look the same are not a range.
    if spread(outcome).is_some() && text.contains(" to ") {
        text += &format!(" The range is left open by {}.", grains(report));
    }
    text
}

fn burst_of(suggestion: Option<Suggestion>) -> Option<u32> {
    match suggestion?.burst {
        SuggestedLimit::Quota(quota) => Some(quota.burst().get()),
        SuggestedLimit::None(_) => None,
    }
}

/// Returns `stamps of whole seconds`, for the coarsest input.
fn grains(report: &Report<'_>) -> String {
    let coarsest = report.inputs.iter().filter_map(|input| input.resolution).max();
    coarsest.map_or_else(|| "coarse stamps".to_owned(), |unit| format!("stamps of whole {unit}s"))
}

/// Returns a line that explains the row of the other bound; `None` if no limit has two bounds.
pub(super) fn bounds(report: &Report<'_>) -> Option<String> {
    let differs = report.outcomes.iter().any(|outcome| spread(outcome).is_some());
    differs.then(|| {
        format!(
            "{} have two bounds: all requests at their stamp (the row of a limit), or spread evenly over it (the row below)",
            grains(report)
        )
    })
}

/// Returns the other bound, if its numbers differ and not only its suggestions.
pub(super) fn spread(outcome: &Outcome) -> Option<SpreadOutcome> {
    let differs = |spread: &SpreadOutcome| (spread.denied, spread.keys_denied) != (outcome.denied, outcome.keys_denied);
    outcome.spread.filter(differs)
}

/// Returns the limits that would have denied nothing if the requests of a stamp came evenly, if these are different.
pub(super) fn spread_suggestion(outcome: &Outcome) -> Option<Suggestion> {
    let suggestion = outcome.spread?.suggestion;
    suggestion.filter(|_| suggestion != outcome.suggestion)
}

/// Returns the one label of a plot, for screen readers.
pub(super) fn plot_label(report: &Report<'_>, outcome: &Outcome) -> String {
    let limit = foreign(outcome.limit.to_string().as_bytes(), LIMIT_WIDTH);
    format!("{limit} over time: {}", verdict(report, outcome))
}

/// The name of the row of the other bound.
pub(super) const SPREAD: &str = "spread evenly";

/// Returns the detected properties of the inputs, with equal ones in one line: `read: 3 inputs as Common or Combined Log Format, stamps of whole
/// seconds`.
pub(super) fn inputs(report: &Report<'_>) -> Vec<String> {
    let mut kinds: Vec<(&str, Option<Resolution>, Vec<&str>)> = Vec::new();
    for input in report.inputs {
        let same =
            |kind: &&mut (&str, Option<Resolution>, Vec<&str>)| kind.0 == input.format && kind.1 == input.resolution;
        match kinds.iter_mut().find(same) {
            Some((.., names)) => names.push(&input.name),
            None => kinds.push((&input.format, input.resolution, vec![&input.name])),
        }
    }
    let line = |(format, resolution, names): &(&str, Option<Resolution>, Vec<&str>)| {
        let names = match names[..] {
            [name] => foreign(name.as_bytes(), INPUT_WIDTH),
            _ => format!("{} inputs", grouped(names.len())),
        };
        let stamps = resolution.map_or_else(String::new, |unit| format!(", stamps of whole {unit}s"));
        format!("{names} as {format}{stamps}")
    };
    kinds.iter().map(line).collect()
}

/// Returns the notices to read with the numbers, as sentences.
pub(super) fn notices(report: &Report<'_>) -> Vec<String> {
    let sentence = |notice: &String| format!("{}.", foreign(notice.trim_end_matches('.').as_bytes(), usize::MAX));
    report.notices.iter().map(sentence).collect()
}

/// Returns the command line, without characters that control a terminal.
pub(super) fn command(report: &Report<'_>) -> String {
    foreign(report.parameters.command.as_bytes(), usize::MAX)
}

/// Returns the letter of a limit in a matrix.
pub(super) fn letter(place: usize) -> String {
    let letter = u8::try_from(place).ok().and_then(|place| b'A'.checked_add(place));
    letter
        .filter(u8::is_ascii_uppercase)
        .map_or_else(|| place.to_string(), |letter| char::from(letter).to_string())
}

/// Returns whether the limits are compared with each other: there are several, and one denied a request that another admitted.
pub(super) fn has_matrix(report: &Report<'_>) -> bool {
    report
        .outcomes
        .iter()
        .any(|outcome| outcome.admitted_by.iter().any(|&count| count > 0))
}

/// Returns the number of requests denied by a limit and admitted by another; a dash for the limit itself.
pub(super) fn compared(outcome: &Outcome, row: usize, column: usize) -> String {
    match outcome.admitted_by.get(column) {
        Some(_) if row == column => "-".to_owned(),
        Some(&count) => number(count.into()),
        None => String::new(),
    }
}

/// Returns `2.1% of requests`, or the range between the two bounds.
fn share(report: &Report<'_>, outcome: &Outcome) -> String {
    let denied = range(outcome.denied, outcome.spread.map(|spread| spread.denied), |denied| {
        percent(denied, outcome.asked)
    });
    format!("{denied} of {}", unit(report))
}

/// Returns a number, or the range between it and the lower bound if that differs.
pub(super) fn range<T: PartialOrd + Copy>(upper: T, lower: Option<T>, text: impl Fn(T) -> String) -> String {
    let (least, most) = match lower {
        Some(lower) if lower > upper => (upper, lower),
        lower => (lower.unwrap_or(upper), upper),
    };
    let (least, most) = (text(least), text(most));
    if least == most {
        most
    } else {
        format!("{least} to {most}")
    }
}

/// Returns the word for the keys of the traffic: clients if they are addresses.
fn clients(report: &Report<'_>) -> &'static str {
    match report.parameters.by.as_deref() {
        Some("ip") if report.traffic.unit == Unit::Requests => "clients",
        _ => "keys",
    }
}

/// Returns the word for requests.
pub(super) fn things(unit: Unit) -> &'static str {
    match unit {
        Unit::Requests => "requests",
        Unit::Packets | Unit::CountedPackets => "packets",
    }
}

/// Returns the word for requests, at the beginning of a sentence.
pub(super) fn capital_things(report: &Report<'_>) -> &'static str {
    match report.traffic.unit {
        Unit::Requests => "Requests",
        Unit::Packets | Unit::CountedPackets => "Packets",
    }
}

/// Returns the number of requests.
pub(super) fn things_of(report: &Report<'_>) -> String {
    let things = things(report.traffic.unit);
    match report.traffic.requests {
        1 => format!("1 {}", things.trim_end_matches('s')),
        requests => format!("{} {things}", grouped(requests)),
    }
}

/// Returns which keys have meters.
pub(super) fn meters(report: &Report<'_>) -> String {
    let parameters = &report.parameters;
    let Some(by) = &parameters.by else {
        return "one meter for all".to_owned();
    };
    let mut by = foreign(by.as_bytes(), COLUMN_WIDTH);
    for (kind, prefix) in [("IPv4", parameters.ipv4_prefix), ("IPv6", parameters.ipv6_prefix)] {
        if let Some(bits) = prefix {
            by += &format!(", {kind} by /{bits}");
        }
    }
    if parameters.anonymise {
        by += ", hashed";
    }
    match report.keys.len() {
        1 => format!("a meter for the only key (by {by})"),
        keys => format!("a meter for each of {} keys (by {by})", grouped(keys)),
    }
}

/// Returns the order in which the requests were replayed, and the lines that were out of order.
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
    let spread = match report.parameters.spread {
        Spread::Even => "; requests spread evenly over their stamps",
        Spread::None => "; requests all at their stamps",
        Spread::Both => "",
    };
    format!("order: {}, {late}{bad}{spread}", report.parameters.order)
}

/// Returns the unit that is counted: requests, or the name of the cost.
pub(super) fn unit(report: &Report<'_>) -> String {
    match &report.parameters.cost {
        None => "requests".to_owned(),
        Some(cost) => foreign(cost.as_bytes(), COLUMN_WIDTH),
    }
}

/// Returns the name of a key, cut to `width` characters.
pub(super) fn key(report: &Report<'_>, key: KeyId, width: usize) -> String {
    match report.keys.name(key) {
        b"" => "(empty)".to_owned(),
        name => foreign(name, width),
    }
}

/// Returns foreign text, cut to `width` characters, without characters that control a terminal or are forbidden in XML.
pub(super) fn foreign(bytes: &[u8], width: usize) -> String {
    printable(bytes, width).replace(does_harm, "\u{fffd}")
}

/// Returns whether a character that is not a control is forbidden in XML, or changes the direction of the text around it.
fn does_harm(character: char) -> bool {
    matches!(character, '\u{fffe}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the limit that would have denied nothing, or why there is none. `kind` is the number that was sought, `rate` or `burst`.
pub(super) fn answer(answer: SuggestedLimit, kind: &str) -> String {
    match answer {
        SuggestedLimit::Quota(quota) => quota.to_string(),
        SuggestedLimit::None(reason) => match reason {
            NoSuggestion::AtOnce(units) => format!("no {kind} would do: {} at once", short(units.into())),
            NoSuggestion::InOneStamp(units) => format!("not known: {} in one stamp", short(units.into())),
            NoSuggestion::TooLarge => format!("no {kind} would do: above 2^32"),
            NoSuggestion::RestTooLong => format!("no {kind} would do: 200 years to drain"),
            NoSuggestion::BackInTime => "no value: time goes back".to_owned(),
            NoSuggestion::Ticks => "no value: cells come in ticks".to_owned(),
            NoSuggestion::TwoLimits => "no value: two limits".to_owned(),
            NoSuggestion::OtherLimiter => "no value: another limiter".to_owned(),
            NoSuggestion::PerKey => "no value: a limit per key".to_owned(),
        },
    }
}

/// Returns the unit of one bucket of a timeline: `requests per 5 s`.
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

/// Returns the text of a limit, cut to `width` characters.
pub(super) fn limit(outcome: &Outcome, width: usize) -> String {
    printable(outcome.limit.to_string().as_bytes(), width)
}

/// Returns the share of cells that a limit denies, and the number of keys it denies; if there are two bounds, the range between them.
pub(super) fn verdict(report: &Report<'_>, outcome: &Outcome) -> String {
    let keys = grouped(report.keys.len());
    let spread = outcome.spread;
    let denied = range(outcome.denied, spread.map(|spread| spread.denied), |denied| {
        percent(denied, outcome.asked)
    });
    match &report.parameters.by {
        _ if outcome.denied == 0 && spread.is_none_or(|spread| spread.denied == 0) => "no cell denied".to_owned(),
        None => format!("{denied} denied"),
        Some(_) => {
            let hit = range(outcome.keys_denied, spread.map(|spread| spread.keys_denied), |hit| {
                grouped(hit)
            });
            format!("{denied} denied, {hit} of {keys} keys")
        }
    }
}

/// Formats a number with its thousands separated, or in short form if that is long.
pub(super) fn number(number: u128) -> String {
    if number < 10_000_000 {
        grouped(number)
    } else {
        short(number)
    }
}

/// Formats a time to the second.
pub(super) fn stamp(ns: i64) -> String {
    time(ns, "%F %T")
}

/// Formats the day or days from one time to another, and their zone.
pub(super) fn days(first: i64, last: i64) -> String {
    let [first, last] = [first, last].map(|ns| time(ns, "%-d %b %Y"));
    if first == last {
        format!("{first}, UTC")
    } else {
        format!("{first} to {last}, UTC")
    }
}

/// Formats a time by a format of `strftime`, in UTC.
pub(super) fn time(ns: i64, format: &str) -> String {
    // All nanoseconds of an i64 are within the years of jiff.
    Timestamp::from_nanosecond(ns.into()).map_or_else(|_| ns.to_string(), |time| time.strftime(format).to_string())
}

/// Formats a number in at most five characters, rounded down: `999`, `1.2k`, `34k`, `5.6M`.
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
