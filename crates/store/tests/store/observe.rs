//! Metrics and events of a meter.

use crate::probe::{Network, Probe};
use core::fmt::Debug;
use metrics::{Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use ratelimit_meter_store::{LeaseSettings, SharedMeter, StoreError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};

/// The recorded metrics, by name and labels: the sum of a counter, the last value of a gauge, the number of values of a histogram.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, f64>>>);

/// One metric.
struct Metric(Recorded, String);

impl Metric {
    fn change(&self, new: impl FnOnce(f64) -> f64) {
        let mut recorded = self.0.0.lock().unwrap();
        let value = recorded.entry(self.1.clone()).or_default();
        *value = new(*value);
    }
}

impl metrics::CounterFn for Metric {
    fn increment(&self, value: u64) {
        self.change(|sum| sum + f64::from(u32::try_from(value).unwrap()));
    }
    fn absolute(&self, _: u64) {
        unreachable!("counters are incremented");
    }
}

impl GaugeFn for Metric {
    fn increment(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn decrement(&self, _: f64) {
        unreachable!("gauges are set");
    }
    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl HistogramFn for Metric {
    fn record(&self, seconds: f64) {
        assert!((0.0..1.0).contains(&seconds));
        self.change(|number| number + 1.0);
    }
}

impl Recorded {
    fn metric(&self, key: &Key) -> Arc<Metric> {
        let labels = key
            .labels()
            .map(|label| format!(" {}={:?}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(Metric(self.clone(), name))
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

/// Runs on a paused runtime of this thread, whose recorder and subscriber are the test's.
fn on_paused_time(act: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(act);
}

#[test]
fn decisions_failures_and_round_trips_are_counted() {
    let recorded = Recorded::default();
    metrics::with_local_recorder(&recorded, || {
        on_paused_time(async {
            let probe = Probe::new();
            let meter = SharedMeter::builder("api", "2/h".parse().unwrap())
                .build(probe.clone())
                .unwrap();
            for _ in 0..4 {
                let _ = meter.check("a").await.unwrap();
            }
            let _ = meter.check_n("a", 3).await.unwrap();
            let _ = meter.check_up_to("b", 1).await.unwrap();
            meter.refund("a", 1).await.unwrap();
            probe.set(Network::Fail(StoreError::Refused("full".to_owned())));
            assert!(meter.check("c").await.is_err());
            probe.set(Network::Hang);
            for _ in 0..6 {
                assert!(meter.check("c").await.is_err());
            }
            assert_eq!(
                recorded.0.lock().unwrap()[r#"ratelimit_store_breaker_open meter="api""#],
                1.0
            );
            tokio::time::sleep(Duration::from_secs(10)).await;
            probe.set(Network::Instant);
            let _ = meter.check("c").await.unwrap();
            meter.record_stats();
            assert!(!meter.stats().is_breaker_open);
        });
    });
    let expected = [
        (r#"ratelimit_store_breaker_open meter="api""#, 0.0),
        (r#"ratelimit_store_calls_in_flight meter="api""#, 0.0),
        (
            r#"ratelimit_store_decisions_total meter="api" decision="admitted" via="store""#,
            4.0,
        ),
        (
            r#"ratelimit_store_decisions_total meter="api" decision="denied" via="remembered denial""#,
            2.0,
        ),
        (
            r#"ratelimit_store_decisions_total meter="api" decision="never" via="quota""#,
            1.0,
        ),
        (
            r#"ratelimit_store_failures_total meter="api" reason="breaker open""#,
            1.0,
        ),
        (r#"ratelimit_store_failures_total meter="api" reason="refused""#, 1.0),
        (r#"ratelimit_store_failures_total meter="api" reason="timed out""#, 5.0),
        (r#"ratelimit_store_leased_cells meter="api""#, 0.0),
        (r#"ratelimit_store_remembered_subjects meter="api""#, 1.0),
        (r#"ratelimit_store_round_trip_seconds meter="api" verb="check""#, 9.0),
        (r#"ratelimit_store_round_trip_seconds meter="api" verb="refund""#, 1.0),
        (r#"ratelimit_store_round_trip_seconds meter="api" verb="upto""#, 1.0),
    ];
    let recorded = recorded.0.lock().unwrap();
    let recorded: Vec<_> = recorded.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(recorded, expected);
}

#[test]
fn stats_report_the_local_layer() {
    on_paused_time(async {
        let meter = SharedMeter::builder("api", "1000/s".parse().unwrap())
            .lease(LeaseSettings::kept_for(Duration::from_millis(20)))
            .build(Probe::with(Network::Delay(Duration::from_millis(1))))
            .unwrap();
        assert_eq!(meter.stats().remembered_subjects, 0);
        while meter.stats().leased_cells == 0 {
            let _ = meter.check("a").await.unwrap();
        }
        let stats = meter.stats();
        assert_eq!((stats.remembered_subjects, stats.calls_in_flight), (1, 0));
        assert!(stats.leased_cells < 20, "{stats:?}");
        meter.give_back().await.unwrap();
        assert_eq!(meter.stats().leased_cells, 0);
    });
}

/// The messages of events, with their levels.
#[derive(Clone, Default)]
struct EventLog(Arc<Mutex<Vec<String>>>);

impl Visit for EventLog {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            *self.0.lock().unwrap().last_mut().unwrap() += &format!(" {value:?}");
        }
    }
}

impl tracing::Subscriber for EventLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "ratelimit_meter_store"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(event.metadata().level().to_string());
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn breaker_and_calls_are_events() {
    let events = EventLog::default();
    // With a single dispatcher, an event asks the thread that meets it first, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    tracing::subscriber::with_default(events.clone(), || {
        on_paused_time(async {
            let probe = Probe::with(Network::Hang);
            let meter = SharedMeter::builder("api", "2/h".parse().unwrap())
                .build(probe.clone())
                .unwrap();
            for _ in 0..6 {
                assert!(meter.check("a").await.is_err());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            probe.set(Network::Instant);
            assert!(meter.check("a").await.unwrap().is_admitted());
        });
    });
    let failed = ["DEBUG call failed"; 5];
    let opened = "WARN the store failed repeatedly and is not asked for a while";
    let closed = "INFO the store answers again";
    let expected: Vec<_> = failed.into_iter().chain([opened, "DEBUG call", closed]).collect();
    assert_eq!(*events.0.lock().unwrap(), expected);
}
