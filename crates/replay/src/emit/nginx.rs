//! Writes `limit_req` of nginx.

use ratelimit_meter::Quota;

use super::{Page, Requests};
use crate::by::By;
use crate::model::Nginx;

const SECOND: u128 = 1_000_000_000;

pub(super) fn write(page: &mut Page, quotas: &[Quota], by: &By) {
    page.note(
        "nginx counts requests in thousandths on a clock of milliseconds, so a request may be decided up to a millisecond of the \
         rate differently.",
    );
    if quotas.iter().any(|quota| quota.weight().get() > 1) {
        page.note("nginx has no weights: the rate and the burst are divided by the weight.");
    }
    let mut directives = Vec::new();
    for (quota, zone) in quotas.iter().zip(["meter", "meter2"]) {
        let requests = Requests::of(*quota);
        let rate = rate(page, requests);
        let burst = burst(page, requests);
        directives.push((zone, rate, burst));
    }
    finish(page, &directives, by);
}

/// Writes the replayed model itself.
pub(super) fn same(page: &mut Page, model: Nginx, by: &By) {
    page.note("This is the limit that was replayed; its clock has milliseconds, so decisions may differ by one.");
    let (rate, parameters) = model.directive();
    finish(page, &[("meter", rate, parameters)], by);
}

/// Returns a rate such as `10r/s`: by the second if that is exact, otherwise by the minute.
fn rate(page: &mut Page, requests: Requests) -> String {
    let (by_second, is_exact) = requests.per(SECOND);
    if is_exact && by_second > 0 {
        return format!("{by_second}r/s");
    }
    let (by_minute, is_exact) = requests.per(60 * SECOND);
    if by_minute == 0 {
        page.note("nginx has no rate below 1r/m, which is faster than the replayed limit: this admits more.");
        return "1r/m".to_owned();
    }
    let thousandths = by_minute * 1_000 / 60;
    if !is_exact || by_minute * 1_000 % 60 != 0 {
        page.note(format!(
            "nginx rounds rates down to whole requests a minute and thousandths of a request a second: {}.{:03} a second here.",
            thousandths / 1_000,
            thousandths % 1_000
        ));
    }
    format!("{by_minute}r/m")
}

/// Returns the burst, which is one less than the requests at once, since the first request of a key has no excess.
fn burst(page: &mut Page, requests: Requests) -> String {
    let most = u128::from(u32::MAX) / 1_000;
    if requests.at_once > most {
        page.note(format!("nginx has no burst above {most}."));
    }
    match requests.at_once.min(most) {
        0 | 1 => " nodelay".to_owned(),
        at_once => format!(" burst={} nodelay", at_once - 1),
    }
}

fn finish(page: &mut Page, directives: &[(&str, String, String)], by: &By) {
    page.note("A zone of 10m holds about 80,000 keys; when it is full, nginx evicts the keys that asked longest ago.");
    let parts: Option<String> = by.parts().iter().map(variable).collect();
    // nginx does not limit an empty key.
    let parts = parts.map(|key| if key.is_empty() { "\"all\"".to_owned() } else { key });
    let key = parts.unwrap_or_else(|| {
        page.note(format!(
            "Set $limit_key to the value of `{by}` in the replay, such as a header: nginx does not know it by that name."
        ));
        "$limit_key".to_owned()
    });
    if by.parts().contains(&By::Xff) {
        page.note("Name your proxies with set_real_ip_from and real_ip_header, so that the address is the client's.");
    }
    page.line("");
    for (zone, rate, _) in directives {
        page.line(format!("limit_req_zone {key} zone={zone}:10m rate={rate};"));
    }
    page.line("limit_req_status 429;");
    page.line("");
    page.line("# In the server or location to limit:");
    for (zone, _, parameters) in directives {
        page.line(format!("limit_req zone={zone}{parameters};"));
    }
}

/// Returns the variable that holds a part of a key, if nginx has one. The part `all` is the same for all requests, so it needs none.
fn variable(part: &By) -> Option<&'static str> {
    match part {
        By::Ip | By::Xff => Some("$binary_remote_addr"),
        By::Host => Some("$host"),
        By::Path => Some("$uri"),
        By::Method => Some("$request_method"),
        By::All => Some(""),
        By::Status | By::Column(_) | By::Each(_) => None,
    }
}
