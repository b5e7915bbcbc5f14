//! Writes token buckets of other proxies.

use ratelimit_meter::Quota;

use super::{Page, Requests, header, seconds};
use crate::by::By;

const MS: u128 = 1_000_000;
/// The shortest interval that Envoy accepts, in milliseconds.
const SHORTEST_FILL_MS: u128 = 50;
/// Number of intervals to choose from.
const FILLS: usize = 100;

pub(super) fn envoy(page: &mut Page, quotas: &[Quota], by: &By) {
    page.note(
        "Before version 1.31, Envoy fills its bucket at the end of each interval, so tokens come that much later, several together.",
    );
    if *by != By::All {
        page.note(format!(
            "This is one bucket for the whole process, not one for each {by}: for that, name descriptors in `rate_limits`, or use the \
             global rate limit service."
        ));
    }
    page.line("");
    for (quota, at) in quotas.iter().zip(1..) {
        let requests = Requests::of(*quota);
        let (tokens, interval_ms) = fill(requests);
        let interval = seconds(interval_ms * MS);
        if requests.per(interval_ms * MS) != (tokens, true) {
            page.note(format!(
                "Envoy's intervals are whole milliseconds, and a bucket gets at most its {} tokens in one. So the rate is at most \
                 {tokens} in {interval} s.",
                requests.at_once,
            ));
        }
        let name = if at == 1 {
            "meter".to_owned()
        } else {
            format!("meter{at}")
        };
        for line in [
            "- name: envoy.filters.http.local_ratelimit".to_owned(),
            "  typed_config:".to_owned(),
            "    \"@type\": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
                .to_owned(),
            format!("    stat_prefix: {name}"),
            "    token_bucket:".to_owned(),
            format!("      max_tokens: {}", requests.at_once),
            format!("      tokens_per_fill: {tokens}"),
            format!("      fill_interval: {interval}s"),
            "    filter_enabled:".to_owned(),
            format!("      runtime_key: {name}_enabled"),
            "      default_value: { numerator: 100, denominator: HUNDRED }".to_owned(),
            "    filter_enforced:".to_owned(),
            format!("      runtime_key: {name}_enforced"),
            "      default_value: { numerator: 100, denominator: HUNDRED }".to_owned(),
        ] {
            page.line(line);
        }
    }
}

/// Returns the tokens of an interval, and the interval in milliseconds: the fastest that is not above the rate, and the shortest of those.
///
/// Envoy drops the fraction of a millisecond of an interval, which would raise the rate.
pub(super) fn fill(requests: Requests) -> (u128, u128) {
    let least = (SHORTEST_FILL_MS * MS * requests.count).div_ceil(requests.period_ns);
    let fills = (least..=requests.at_once).take(FILLS).map(|tokens| {
        let interval_ms = (tokens * requests.period_ns).div_ceil(requests.count * MS);
        let (tokens, _) = requests.per(interval_ms * MS);
        (tokens.min(requests.at_once), interval_ms)
    });
    let faster = |best: (u128, u128), next: (u128, u128)| if next.0 * best.1 > best.0 * next.1 { next } else { best };
    fills.reduce(faster).unwrap_or((requests.at_once, SHORTEST_FILL_MS))
}

pub(super) fn traefik(page: &mut Page, quotas: &[Quota], by: &By) {
    page.note(
        "Traefik holds a request back for up to half the time between two requests of the rate (at most 0.5 s) before it denies it.",
    );
    page.note("Traefik keeps 65,536 keys at most, and each instance counts for itself.");
    page.line("");
    page.line("http:");
    page.line("  middlewares:");
    for (quota, at) in quotas.iter().zip(1..) {
        let requests = Requests::of(*quota);
        page.line(if at == 1 {
            "    meter:".to_owned()
        } else {
            format!("    meter{at}:")
        });
        page.line("      rateLimit:");
        page.line(format!("        average: {}", requests.count));
        page.line(format!("        period: {}ns", requests.period_ns));
        page.line(format!("        burst: {}", requests.at_once));
        page.line("        sourceCriterion:");
        match by {
            By::Ip | By::Xff => {
                let depth = u8::from(*by == By::Xff);
                page.line("          ipStrategy:");
                page.line(format!("            depth: {depth}"));
            }
            By::All | By::Host => page.line("          requestHost: true"),
            By::Path | By::Status | By::Method | By::Column(_) | By::Each(_) => {
                let name = header(&by.to_string());
                page.line(format!("          requestHeaderName: {name}"));
            }
        }
    }
    match by {
        By::Ip | By::Host => {}
        By::Xff => page.note("The address is the last that was forwarded, which one proxy in front of Traefik writes."),
        By::All => page.note("There is no bucket for all requests: this is one for each host name that is asked for."),
        By::Path | By::Status | By::Method | By::Column(_) | By::Each(_) => {
            page.note(format!(
                "The header stands for `{by}` of the replay: Traefik cannot go by it."
            ));
        }
    }
}
