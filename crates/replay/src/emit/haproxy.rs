//! Writes stick tables of HAProxy.

use ratelimit_meter::Quota;

use super::{Networks, Page, Requests, header, seconds};
use crate::by::By;

const MS: u128 = 1_000_000;
/// The longest period of a rate in a stick table: an i32 of milliseconds.
const LONGEST_MS: u128 = i32::MAX as u128;

pub(super) fn write(page: &mut Page, quotas: &[Quota], by: &By, networks: Networks) {
    page.note(
        "HAProxy counts in a sliding window of two counters. The window here is the time in which a full burst drains, \
         so the rate in the long run is kept.",
    );
    page.note(
        "HAProxy counts denied requests, too: a client that goes on asking too fast stays denied, where the replayed limit would \
         admit some of its requests.",
    );
    let mask = networks
        .words()
        .map_or_else(String::new, |_| format!(",ipmask({},{})", networks.ipv4, networks.ipv6));
    let (kind, sample) = match by {
        By::Ip => ("ipv6", format!("src{mask}")),
        By::Xff => {
            page.note("The address is the last that was forwarded, which one proxy in front of HAProxy writes.");
            ("ipv6", format!("hdr_ip(x-forwarded-for,-1){mask}"))
        }
        By::Host => ("string len 256", "req.hdr(host)".to_owned()),
        By::Path => ("string len 256", "path".to_owned()),
        By::Method => ("string len 16", "method".to_owned()),
        By::All => ("integer", "int(1)".to_owned()),
        By::Status | By::Column(_) | By::Each(_) => {
            let name = &by.to_string();
            page.note(format!("The header stands for `{by}` of the replay."));
            ("string len 256", format!("req.hdr({})", header(name)))
        }
    };
    let limits: Vec<(u128, u128)> = quotas.iter().map(|quota| window(page, Requests::of(*quota))).collect();
    for ((_, window_ms), at) in limits.iter().zip(0..) {
        let window = time(*window_ms);
        page.line("");
        page.line(format!("backend meter{at}"));
        page.line(format!(
            "    stick-table type {kind} size 1m expire {window} store http_req_rate({window})"
        ));
    }
    page.line("");
    page.line("# In the frontend to limit:");
    for ((_, _), at) in limits.iter().zip(0..) {
        page.line(format!("    http-request track-sc{at} {sample} table meter{at}"));
    }
    for ((most, _), at) in limits.iter().zip(0..) {
        page.line(format!(
            "    http-request deny deny_status 429 if {{ sc_http_req_rate({at},meter{at}) gt {most} }}"
        ));
    }
}

/// Returns the number of requests and the length of a window in milliseconds.
fn window(page: &mut Page, requests: Requests) -> (u128, u128) {
    let span_ns = requests.span_ns();
    let window_ms = span_ns.div_ceil(MS).clamp(1, LONGEST_MS);
    if window_ms * MS == span_ns {
        return (requests.at_once, window_ms);
    }
    // The number that passes in a window which HAProxy can have.
    let (most, _) = requests.per(window_ms * MS);
    let most = most.max(1);
    page.note(format!(
        "HAProxy has windows of whole milliseconds, at most 24 days: {most} requests in {} s here.",
        seconds(window_ms * MS)
    ));
    (most, window_ms)
}

fn time(ms: u128) -> String {
    if ms % 1_000 == 0 {
        format!("{}s", ms / 1_000)
    } else {
        format!("{ms}ms")
    }
}
