//! Counters of decisions, for any recorder of the `metrics` facade.

use crate::head::Head;
use crate::observe::{Observe, PolicyDecision};
use ratelimit_meter::keyed::Stats;

/// Counts decisions by policy and tier, under names that begin with `ratelimit_`. No label is one that a client can choose.
///
/// | counter | labels |
/// |---|---|
/// | `ratelimit_admitted_total`, `ratelimit_denied_total`, `ratelimit_would_deny_total`, `ratelimit_never_total`, `ratelimit_table_full_total`, `ratelimit_queue_denied_total` | `policy`, `tier` |
/// | `ratelimit_no_key_total`, `ratelimit_store_failed_total`, `ratelimit_store_failed_later_total` | `policy` |
///
/// ```
/// use ratelimit_meter_tower::{Metrics, PeerIp, PerKey, RateLimitLayer};
///
/// let limit = PerKey::new(PeerIp::new(), "100/min".parse()?, 100_000)?.named("ip");
/// let layer = RateLimitLayer::new(limit).observe(Metrics);
/// // Where the metrics are scraped, since it reads the whole table:
/// Metrics::record_table("ip", &layer.limits().stats());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Metrics;

impl Metrics {
    /// Records how a table stands: gauges `ratelimit_table_live`, `ratelimit_table_occupancy`, and the counters
    /// `ratelimit_table_forgiven_total`, `ratelimit_table_denied_total` and `ratelimit_table_admitted_total`.
    #[expect(clippy::cast_precision_loss, reason = "a gauge of 2^53 keys")]
    pub fn record_table(policy: &str, stats: &Stats) {
        let policy = policy.to_owned();
        metrics::gauge!("ratelimit_table_live", "policy" => policy.clone()).set(stats.live as f64);
        metrics::gauge!("ratelimit_table_occupancy", "policy" => policy.clone()).set(stats.occupancy());
        metrics::counter!("ratelimit_table_forgiven_total", "policy" => policy.clone()).absolute(stats.forgiven);
        metrics::counter!("ratelimit_table_denied_total", "policy" => policy.clone()).absolute(stats.denied);
        metrics::counter!("ratelimit_table_admitted_total", "policy" => policy).absolute(stats.admitted);
    }
}

macro_rules! count {
    ($name:literal, $event:expr) => {
        metrics::counter!($name, "policy" => $event.policy().to_owned(), "tier" => $event.tier().to_owned()).increment(1)
    };
}

impl Observe for Metrics {
    fn admitted(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_admitted_total", event);
    }

    fn denied(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_denied_total", event);
    }

    fn would_deny(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_would_deny_total", event);
    }

    fn never(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_never_total", event);
    }

    fn table_full(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_table_full_total", event);
    }

    fn queue_denied(&self, event: &PolicyDecision<'_>) {
        count!("ratelimit_queue_denied_total", event);
    }

    fn no_key(&self, policy: &str, _: &Head<'_>) {
        metrics::counter!("ratelimit_no_key_total", "policy" => policy.to_owned()).increment(1);
    }

    fn store_failed(&self, policy: &str, _: &Head<'_>) {
        metrics::counter!("ratelimit_store_failed_total", "policy" => policy.to_owned()).increment(1);
    }

    fn store_failed_later(&self, policy: &str) {
        metrics::counter!("ratelimit_store_failed_later_total", "policy" => policy.to_owned()).increment(1);
    }
}
