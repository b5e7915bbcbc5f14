//! The reports of one meter: metrics and events. Without the features `metrics` and `tracing` it reports nothing.

use crate::error::StoreError;
use crate::store::Verb;
use crate::verdict::Via;
use ratelimit_meter::NegativeMultiDecision;
use std::sync::Arc;
use std::time::Duration;

/// The state of a meter's local layer and breaker: numbers for a health check or for gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LocalStats {
    /// The subjects of which this process remembers something, at most
    /// [`remembered_subjects`](crate::SharedMeterBuilder::remembered_subjects).
    pub remembered_subjects: usize,
    /// The cells that were drawn in blocks and may still be used.
    pub leased_cells: u64,
    /// The calls that wait for the store.
    pub calls_in_flight: usize,
    /// `true` while the breaker keeps calls from the store.
    pub is_breaker_open: bool,
}

/// Reports under the name of a meter. No label is one that a client can choose.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(dead_code, reason = "it reports nothing")
)]
pub(crate) struct Observer {
    meter: Arc<str>,
}

#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "the reports of a feature")
)]
impl Observer {
    pub(crate) fn of(meter: &str) -> Self {
        Self { meter: meter.into() }
    }

    /// Records that a batch was decided.
    pub(crate) fn decided(&self, decision: Result<(), NegativeMultiDecision>, via: &Via) {
        #[cfg(feature = "metrics")]
        {
            let decision = match decision {
                Ok(()) => "admitted",
                Err(NegativeMultiDecision::BatchNonConforming(..)) => "denied",
                Err(NegativeMultiDecision::InsufficientCapacity(_)) => "never",
            };
            let labels = [
                ("meter", self.label()),
                ("decision", decision.into()),
                ("via", via.name().into()),
            ];
            metrics::counter!("ratelimit_store_decisions_total", &labels).increment(1);
        }
    }

    /// Records that a call of the store has ended.
    pub(crate) fn called(&self, verb: Verb, error: Option<&StoreError>, took: Duration) {
        #[cfg(feature = "metrics")]
        {
            let labels = [("meter", self.label()), ("verb", verb.name().into())];
            metrics::histogram!("ratelimit_store_round_trip_seconds", &labels).record(took.as_secs_f64());
        }
        #[cfg(feature = "tracing")]
        match error {
            None => {
                tracing::debug!(target: "ratelimit_meter_store", meter = &*self.meter, verb = verb.name(), ?took, "call")
            }
            Some(error) => {
                tracing::debug!(target: "ratelimit_meter_store", meter = &*self.meter, verb = verb.name(), ?took, %error, "call failed");
            }
        }
    }

    /// Records that the store gave no decision.
    pub(crate) fn failed(&self, error: &StoreError) {
        #[cfg(feature = "metrics")]
        {
            let labels = [("meter", self.label()), ("reason", error.name().into())];
            metrics::counter!("ratelimit_store_failures_total", &labels).increment(1);
        }
    }

    /// Records that the breaker was opened, or closed by an answer.
    pub(crate) fn breaker(&self, is_open: bool) {
        #[cfg(feature = "metrics")]
        {
            let labels = [("meter", self.label())];
            metrics::gauge!("ratelimit_store_breaker_open", &labels).set(if is_open { 1.0 } else { 0.0 });
        }
        #[cfg(feature = "tracing")]
        if is_open {
            tracing::warn!(target: "ratelimit_meter_store", meter = &*self.meter, "the store failed repeatedly and is not asked for a while");
        } else {
            tracing::info!(target: "ratelimit_meter_store", meter = &*self.meter, "the store answers again");
        }
    }

    /// Sets the gauges.
    #[cfg(feature = "metrics")]
    pub(crate) fn stats(&self, stats: LocalStats) {
        let labels = [("meter", self.label())];
        #[expect(clippy::cast_precision_loss, reason = "a gauge of 2^53 cells")]
        let (subjects, cells, calls) = (
            stats.remembered_subjects as f64,
            stats.leased_cells as f64,
            stats.calls_in_flight as f64,
        );
        metrics::gauge!("ratelimit_store_remembered_subjects", &labels).set(subjects);
        metrics::gauge!("ratelimit_store_leased_cells", &labels).set(cells);
        metrics::gauge!("ratelimit_store_calls_in_flight", &labels).set(calls);
        metrics::gauge!("ratelimit_store_breaker_open", &labels).set(f64::from(u8::from(stats.is_breaker_open)));
    }

    #[cfg(feature = "metrics")]
    fn label(&self) -> metrics::SharedString {
        Arc::clone(&self.meter).into()
    }
}
