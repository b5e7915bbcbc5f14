//! Writes token buckets of other proxies.

use ratelimit_meter::Quota;

use super::{Page, Requests, header, seconds};
use crate::by::By;

/// The shortest interval that Envoy accepts.
const SHORTEST_FILL_NS: u128 = 50_000_000;

pub(super) fn envoy(page: &mut Page, quotas: &[Quota], by: &By) {
    page.note(
        "Envoy fills its bucket at intervals of at least 50 ms, so tokens may come that much later, several together.",
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
        let times = SHORTEST_FILL_NS.div_ceil(requests.period_ns).max(1);
        let (tokens, interval_ns) = (requests.count * times, requests.period_ns * times);
        if tokens > requests.at_once {
            page.note(format!(
                "The bucket holds {} tokens and {tokens} come at an interval, so the rate is {} in {} s at most.",
                requests.at_once,
                requests.at_once,
                seconds(interval_ns)
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
            format!("      tokens_per_fill: {}", tokens.min(requests.at_once)),
            format!("      fill_interval: {}s", seconds(interval_ns)),
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
