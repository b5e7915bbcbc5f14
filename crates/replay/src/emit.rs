//! A limit as configuration for other software, with comments on the differences.
//!
//! The configuration keeps the long-run rate and the number of requests at once, as far as the target can express them. If a number has to be
//! rounded, it is rounded to the stricter side, and a comment notes it.

mod haproxy;
mod nginx;
mod proxies;

use std::fmt::Write as _;

use clap::ValueEnum;
use ratelimit_meter::Quota;

use crate::Error;
use crate::by::By;
use crate::limit::{AlgorithmName, LimitRule, LimitSpec, Quotas};
use crate::model::{Model, WindowKind};
use crate::quotas::common_divisor;
use crate::text::wrapped;

/// The software that the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Software {
    /// The module `limit_req` of nginx.
    Nginx,
    /// The HTTP filter `local_ratelimit` of Envoy.
    Envoy,
    /// A stick table of HAProxy.
    Haproxy,
    /// The middleware `rateLimit` of Traefik.
    Traefik,
    /// This library.
    Rust,
}

impl Software {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx (limit_req)",
            Self::Envoy => "Envoy (local_ratelimit)",
            Self::Haproxy => "HAProxy (stick table)",
            Self::Traefik => "Traefik (rateLimit)",
            Self::Rust => "the crate ratelimit_meter",
        }
    }
}

/// The lengths of the networks whose addresses are one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// The number of bits of an IPv4 address that make a key.
    pub ipv4: u8,
    /// The number of bits of an IPv6 address that make a key.
    pub ipv6: u8,
}

impl Networks {
    /// Returns the networks that have more than one address, in words; `None` if there are none.
    fn words(self) -> Option<String> {
        let ipv4 = (self.ipv4 < 32).then(|| format!("IPv4 addresses of a /{}", self.ipv4));
        let ipv6 = (self.ipv6 < 128).then(|| format!("IPv6 addresses of a /{}", self.ipv6));
        let both: Vec<String> = ipv4.into_iter().chain(ipv6).collect();
        (!both.is_empty()).then(|| both.join(" and the "))
    }
}

/// Requests at a rate, all of one weight: a quota as proxies see it.
#[derive(Debug, Clone, Copy)]
struct Requests {
    /// Number of requests, with `period_ns` in lowest terms.
    count: u128,
    /// The period in nanoseconds.
    period_ns: u128,
    /// Number of requests that may come at once.
    at_once: u128,
}

impl Requests {
    fn of(quota: Quota) -> Self {
        let weight = u128::from(quota.weight().get());
        let (count, period_ns) = (u128::from(quota.cells().get()), quota.period().as_nanos() * weight);
        let divisor = common_divisor(count, period_ns);
        Self {
            count: count / divisor,
            period_ns: period_ns / divisor,
            at_once: u128::from(quota.burst().get()) / weight,
        }
    }

    /// Returns the rate in a period, rounded down, and whether that is exact.
    fn per(self, period_ns: u128) -> (u128, bool) {
        let count = self.count * period_ns;
        (count / self.period_ns, count % self.period_ns == 0)
    }

    /// Returns the nanoseconds in which `at_once` requests pass, rounded up.
    fn span_ns(self) -> u128 {
        (self.at_once * self.period_ns).div_ceil(self.count)
    }
}

/// A configuration under construction: comments first, then the text.
struct Page {
    comment: &'static str,
    notes: Vec<String>,
    text: String,
}

impl Page {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn line(&mut self, line: impl AsRef<str>) {
        self.text += line.as_ref();
        self.text.push('\n');
    }
}

/// Writes a limit for a target; `by` is the kind of the keys, `None` if unknown, and `networks` group the keys that are addresses.
///
/// # Errors
///
/// [`Error::NotEmitted`] for a file of limits, since it has many, and for a burst of nginx that no other software can have.
pub fn render(limit: &LimitSpec, by: Option<&By>, networks: Networks, target: Software) -> Result<String, Error> {
    let (rule, algorithm) = (limit.rule(), limit.algorithm());
    let by = by.unwrap_or(&By::Ip);
    let mut page = Page {
        comment: if target == Software::Rust { "//" } else { "#" },
        notes: Vec::new(),
        text: String::new(),
    };
    let quotas = quotas(&rule, target, &mut page)?;
    if quotas.len() > 1 && !matches!(target, Software::Nginx | Software::Rust) {
        page.note("A request that one of the two limits denies may count under the other; under the replayed limit it counts in neither.");
    }
    if quotas.iter().any(|quota| quota.refill_interval().is_some()) && target != Software::Rust {
        page.note("The replayed limit gives its cells in ticks; here they come one by one.");
    }
    if algorithm == Some(AlgorithmName::Exponential) && target != Software::Rust {
        page.note(
            "The replayed limit is an exponential average: after a burst its cells come back more slowly than here.",
        );
    }
    // HAProxy is written with these networks, and Envoy has one bucket for all addresses.
    let has_each = matches!(target, Software::Nginx | Software::Traefik | Software::Rust)
        && by.parts().iter().any(|part| matches!(part, By::Ip | By::Xff));
    if let Some(words) = networks.words().filter(|_| has_each) {
        page.note(format!(
            "In the replay the {words} are one key. Here each address is a key: {}.",
            match target {
                Software::Traefik => "add `ipv6Subnet` to ipStrategy, if this version of Traefik has it",
                Software::Rust => "cut an address to its network before it becomes a key",
                _ => "limit a variable that holds the network instead",
            }
        ));
    }
    match (target, &rule) {
        (Software::Nginx, LimitRule::Model(Model::Nginx(model))) => nginx::same(&mut page, *model, by),
        (Software::Nginx, _) => nginx::write(&mut page, &quotas, by),
        (Software::Haproxy, _) => haproxy::write(&mut page, &quotas, by, networks),
        (Software::Envoy, _) => proxies::envoy(&mut page, &quotas, by),
        (Software::Traefik, _) => proxies::traefik(&mut page, &quotas, by),
        (Software::Rust, _) => rust(&mut page, &quotas, algorithm, by),
    }
    let mut text = format!("{} {rule} for {}\n", page.comment, target.name());
    for note in &page.notes {
        for line in wrapped(note, 100) {
            let _ = writeln!(text, "{} {line}", page.comment);
        }
    }
    Ok(text + &page.text)
}

/// Returns the one or two quotas of a limit, or the quotas closest to it.
fn quotas(rule: &LimitRule, target: Software, page: &mut Page) -> Result<Vec<Quota>, Error> {
    let not_emitted = |reason| Error::NotEmitted {
        limit: rule.to_string(),
        reason,
    };
    match rule {
        LimitRule::Meter(Quotas::One(quota)) => Ok(vec![*quota]),
        LimitRule::Meter(Quotas::Two(pair)) => Ok(vec![pair.first(), pair.second()]),
        // nginx is written as it was replayed.
        LimitRule::Model(Model::Nginx(_)) if target == Software::Nginx => Ok(Vec::new()),
        LimitRule::Model(model) => {
            let quota = model.closest_quota();
            let quota =
                quota.ok_or_else(|| not_emitted("its burst is too large for other software: say --emit nginx"))?;
            match model {
                Model::Window(window) => {
                    let cells = window.quota().cells();
                    page.note(match window.kind() {
                        WindowKind::Fixed => format!(
                            "The replayed fixed window lets {cells} pass at its end and {cells} at the start of the next. This limit lets \
                             {cells} pass at once and the rest at an even rate."
                        ),
                        WindowKind::SlidingLog | WindowKind::SlidingWindow => format!(
                            "The replayed window keeps any {cells} requests out for a whole period after them. This limit gives them back at \
                             an even rate, so it admits up to twice {cells} in one period."
                        ),
                    });
                }
                Model::Nginx(model) => {
                    page.note(
                        "The replayed nginx has a clock of milliseconds, and rounds its rate down to thousandths of a request a second. This \
                         limit does not.",
                    );
                    if model.delays() {
                        page.note("The replayed nginx delays a part of its burst. This limit lets the whole burst pass at once.");
                    }
                }
            }
            Ok(vec![quota])
        }
        LimitRule::PerKey(_) => Err(not_emitted(
            "it has a limit for each key: name one of --limit with --chosen",
        )),
    }
}

/// Formats a duration in seconds, exactly: `0.1`, `60`.
fn seconds(ns: u128) -> String {
    let (whole, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{fraction:09}").trim_end_matches('0').to_owned()
}

/// Returns a header name for a column: `X-tenant-id` for `tenant_id`, or `X-Key` if the column is no valid header name.
fn header(column: &str) -> String {
    let is_token = !column.is_empty()
        && column
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_token {
        format!("X-{}", column.replace('_', "-"))
    } else {
        "X-Key".to_owned()
    }
}

/// Writes the meter that was replayed, or a GCRA if the limit has no meter.
fn rust(page: &mut Page, quotas: &[Quota], algorithm: Option<AlgorithmName>, by: &By) {
    let limit = match quotas {
        [first, second] => format!("{first} & {second}"),
        _ => quotas.iter().map(ToString::to_string).collect(),
    };
    let is_pair = quotas.len() > 1;
    if algorithm.is_some() {
        page.note("This is the meter that was replayed; decisions are the same.");
    }
    let meter = match algorithm.unwrap_or_default() {
        AlgorithmName::Gcra => "GCRA",
        AlgorithmName::LeakyBucket => "LeakyBucket",
        AlgorithmName::Exponential => "Exponential",
    };
    if is_pair {
        page.note("It needs the feature `dual`.");
    } else if *by != By::All {
        page.note("It needs the feature `keyed`. A table of 100,000 keys takes about 2 MB.");
    }
    let (mut names, function, expression) = match (is_pair, by) {
        (false, By::All) => (
            vec!["Quota", meter],
            format!("limit() -> Result<{meter}, "),
            format!("{meter}::from_quota({limit:?}.parse::<Quota>()?)?"),
        ),
        (false, _) => {
            // A table has GCRA meters unless it names another type.
            let (other, arguments) = if meter == "GCRA" {
                (None, "String".to_owned())
            } else {
                (Some(meter), format!("String, {meter}"))
            };
            (
                ["KeyedMeter", "Quota"].into_iter().chain(other).collect(),
                format!("limits() -> Result<KeyedMeter<{arguments}>, "),
                format!("KeyedMeter::with_capacity({limit:?}.parse::<Quota>()?, 100_000)?"),
            )
        }
        (true, _) => {
            if *by != By::All {
                page.note("It is one meter; keep one for each key.");
            }
            (
                vec!["Dual", "DualQuota", meter],
                format!("limit() -> Result<Dual<{meter}>, "),
                format!("Dual::from_quota({limit:?}.parse::<DualQuota>()?)?"),
            )
        }
    };
    names.sort_unstable();
    page.line("");
    page.line(format!("use ratelimit_meter::{{{}}};", names.join(", ")));
    page.line("");
    page.line(format!("pub fn {function}Box<dyn std::error::Error>> {{"));
    page.line(format!("    Ok({expression})"));
    page.line("}");
}

#[cfg(test)]
mod tests;
