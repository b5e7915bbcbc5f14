#![doc = include_str!("../../JSON.md")]

use serde::Serialize;

use ratelimit_meter::Quota;

use super::{Report, rfc3339, words};
use crate::cli::reading;
use crate::limit::{LimitRule, Quotas};
use crate::model::Model;
use crate::replay::{KeyOutcome, Outcome};
use crate::series::{Minute, Timeline};
use crate::stamp::Resolution;
use crate::suggest::{NoSuggestion, SuggestedLimit};
use crate::trace::InputFacts;

/// The version of the format. It rises when a field changes its meaning or is removed; fields may be added without a rise.
pub const SCHEMA: u32 = 1;

/// Writes all results, in one line.
#[must_use]
pub fn render(report: &Report<'_>) -> String {
    // Only strings and numbers, all of which JSON can represent.
    let text = serde_json::to_string(&Document::of(report));
    text.map_or_else(|_| String::new(), |text| text + "\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    tool: Tool,
    headline: String,
    notices: &'a [String],
    parameters: ParametersObject<'a>,
    inputs: Vec<InputObject<'a>>,
    traffic: TrafficObject,
    limits: Vec<CandidateObject>,
    configuration: Option<&'a str>,
}

#[derive(Serialize)]
struct InputObject<'a> {
    name: &'a str,
    format: &'a str,
    resolution_ns: Option<i64>,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct ParametersObject<'a> {
    command: &'a str,
    inputs: &'a [String],
    algorithm: &'static str,
    by: Option<&'a str>,
    time: Option<&'a str>,
    cost: Option<&'a str>,
    ipv6_prefix: Option<u8>,
    ipv4_prefix: Option<u8>,
    most_keys: u32,
    order: &'static str,
    top: usize,
    suggest: bool,
    spread: &'static str,
    anonymise: bool,
}

#[derive(Serialize)]
struct TrafficObject {
    unit: &'static str,
    requests: u64,
    cells: u128,
    keys: usize,
    first: Option<String>,
    last: Option<String>,
    bad_lines: u64,
    is_partial: bool,
    late_lines: u64,
    latest_by_ns: u128,
}

#[derive(Serialize)]
struct CandidateObject {
    limit: LimitObject,
    asked: u128,
    admitted: u128,
    denied: u128,
    requests_denied: u64,
    admitted_by: Vec<u64>,
    delayed: u64,
    longest_delay_ns: u128,
    too_large: u64,
    keys_denied: usize,
    spread: Option<SpreadObject>,
    least_burst: Option<Least>,
    least_rate: Option<Least>,
    worst_minute: Option<Worst>,
    hardest_hit: Vec<HitObject>,
    series: SeriesObject,
}

#[derive(Serialize)]
struct SpreadObject {
    admitted: u128,
    denied: u128,
    keys_denied: usize,
    least_burst: Option<Least>,
    least_rate: Option<Least>,
}

#[derive(Serialize)]
struct LimitObject {
    text: String,
    kind: &'static str,
    cells: Option<u32>,
    period_ns: Option<u128>,
    burst: Option<u32>,
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refill_interval_ns: Option<u128>,
    each: Option<Vec<LimitObject>>,
}

#[derive(Serialize)]
struct Least {
    limit: Option<LimitObject>,
    reason: Option<&'static str>,
    at_once: Option<u64>,
}

#[derive(Serialize)]
struct Worst {
    start: String,
    admitted: u128,
    denied: u128,
}

#[derive(Serialize)]
struct HitObject {
    key: String,
    asked: u128,
    denied: u128,
    too_large: u64,
    longest_wait_ns: u128,
}

#[derive(Serialize)]
struct SeriesObject {
    start: Option<String>,
    width_ns: i64,
    admitted: Vec<u128>,
    denied: Vec<u128>,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'_>) -> Self {
        let parameters = &report.parameters;
        let traffic = report.traffic;
        Self {
            schema: SCHEMA,
            tool: Tool {
                name: "meter-replay",
                version: env!("CARGO_PKG_VERSION"),
            },
            headline: words::headline(report),
            notices: report.notices,
            parameters: ParametersObject {
                command: &parameters.command,
                inputs: &parameters.inputs,
                algorithm: parameters.algorithm.name(),
                by: parameters.by.as_deref(),
                time: parameters.time.as_deref(),
                cost: parameters.cost.as_deref(),
                ipv6_prefix: parameters.ipv6_prefix,
                ipv4_prefix: parameters.ipv4_prefix,
                most_keys: parameters.most_keys,
                order: parameters.order,
                top: parameters.top,
                suggest: parameters.suggest,
                spread: match parameters.spread {
                    reading::Spread::Both => "both",
                    reading::Spread::Even => "even",
                    reading::Spread::None => "none",
                },
                anonymise: parameters.anonymise,
            },
            inputs: report.inputs.iter().map(input).collect(),
            traffic: TrafficObject {
                unit: words::things(traffic.unit),
                requests: traffic.requests,
                cells: report.outcomes.first().map_or(0, |outcome| outcome.asked),
                keys: report.keys.len(),
                first: traffic.first.map(rfc3339),
                last: traffic.last.map(rfc3339),
                bad_lines: traffic.bad_lines,
                is_partial: traffic.is_partial,
                late_lines: traffic.late,
                latest_by_ns: traffic.latest_by.as_nanos(),
            },
            limits: report
                .outcomes
                .iter()
                .map(|outcome| candidate(report, outcome))
                .collect(),
            configuration: report.configuration,
        }
    }
}

fn input(input: &InputFacts) -> InputObject<'_> {
    InputObject {
        name: &input.name,
        format: &input.format,
        resolution_ns: input.resolution.map(Resolution::unit_ns),
    }
}

fn candidate(report: &Report<'_>, outcome: &Outcome) -> CandidateObject {
    let suggestion = outcome.suggestion;
    CandidateObject {
        limit: limits(&outcome.limit),
        asked: outcome.asked,
        admitted: outcome.admitted,
        denied: outcome.denied,
        requests_denied: outcome.requests_denied,
        admitted_by: outcome.admitted_by.clone(),
        delayed: outcome.delayed,
        longest_delay_ns: outcome.longest_delay.as_nanos(),
        too_large: outcome.never,
        keys_denied: outcome.keys_denied,
        spread: outcome.spread.map(|spread| SpreadObject {
            admitted: spread.admitted,
            denied: spread.denied,
            keys_denied: spread.keys_denied,
            least_burst: spread.suggestion.map(|suggestion| least(suggestion.burst)),
            least_rate: spread.suggestion.map(|suggestion| least(suggestion.rate)),
        }),
        least_burst: suggestion.map(|suggestion| least(suggestion.burst)),
        least_rate: suggestion.map(|suggestion| least(suggestion.rate)),
        worst_minute: outcome.timeline.worst_minute.map(worst),
        hardest_hit: outcome.hardest_hit.iter().map(|key| hit(report, key)).collect(),
        series: series(&outcome.timeline),
    }
}

fn limits(rule: &LimitRule) -> LimitObject {
    let kind = match rule {
        LimitRule::Meter(Quotas::One(quota)) => return limit(*quota),
        LimitRule::Meter(Quotas::Two(pair)) => {
            return LimitObject {
                each: Some(vec![limit(pair.first()), limit(pair.second())]),
                ..LimitObject::of_text(pair, "meter")
            };
        }
        LimitRule::Model(Model::Window(window)) => {
            return LimitObject {
                text: window.to_string(),
                kind: window.kind().name(),
                ..limit(window.quota())
            };
        }
        LimitRule::Model(Model::Nginx(_)) => "nginx",
        LimitRule::PerKey(_) => "per-key",
    };
    LimitObject::of_text(rule, kind)
}

impl LimitObject {
    /// Creates a limit without numbers of its own.
    fn of_text(text: &impl ToString, kind: &'static str) -> Self {
        Self {
            text: text.to_string(),
            kind,
            cells: None,
            period_ns: None,
            burst: None,
            weight: None,
            refill_interval_ns: None,
            each: None,
        }
    }
}

fn limit(quota: Quota) -> LimitObject {
    LimitObject {
        cells: Some(quota.cells().get()),
        period_ns: Some(quota.period().as_nanos()),
        burst: Some(quota.burst().get()),
        weight: Some(quota.weight().get()),
        refill_interval_ns: quota.refill_interval().map(|interval| interval.as_nanos()),
        ..LimitObject::of_text(&quota, "meter")
    }
}

fn least(answer: SuggestedLimit) -> Least {
    let (reason, at_once) = match answer {
        SuggestedLimit::Quota(quota) => {
            return Least {
                limit: Some(limit(quota)),
                reason: None,
                at_once: None,
            };
        }
        SuggestedLimit::None(NoSuggestion::AtOnce(units)) => ("at-once", Some(units)),
        SuggestedLimit::None(NoSuggestion::InOneStamp(units)) => ("in-one-stamp", Some(units)),
        SuggestedLimit::None(NoSuggestion::TooLarge) => ("too-large", None),
        SuggestedLimit::None(NoSuggestion::RestTooLong) => ("rest-too-long", None),
        SuggestedLimit::None(NoSuggestion::BackInTime) => ("back-in-time", None),
        SuggestedLimit::None(NoSuggestion::Ticks) => ("ticks", None),
        SuggestedLimit::None(NoSuggestion::TwoLimits) => ("two-limits", None),
        SuggestedLimit::None(NoSuggestion::OtherLimiter) => ("other-limiter", None),
        SuggestedLimit::None(NoSuggestion::PerKey) => ("per-key", None),
    };
    Least {
        limit: None,
        reason: Some(reason),
        at_once,
    }
}

fn worst(minute: Minute) -> Worst {
    Worst {
        start: rfc3339(minute.start),
        admitted: minute.counts.admitted,
        denied: minute.counts.denied,
    }
}

fn hit(report: &Report<'_>, key: &KeyOutcome) -> HitObject {
    HitObject {
        key: String::from_utf8_lossy(report.keys.name(key.key)).into_owned(),
        asked: key.asked,
        denied: key.denied,
        too_large: key.never,
        longest_wait_ns: key.longest_wait.as_nanos(),
    }
}

fn series(timeline: &Timeline) -> SeriesObject {
    SeriesObject {
        start: (!timeline.buckets.is_empty()).then(|| rfc3339(timeline.start)),
        width_ns: timeline.width,
        admitted: timeline.buckets.iter().map(|bucket| bucket.admitted).collect(),
        denied: timeline.buckets.iter().map(|bucket| bucket.denied).collect(),
    }
}
