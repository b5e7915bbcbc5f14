//! Warnings, events and counters.

use crate::support::{answer, request};
use http::Request;
use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer, Shared};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

fn from_peer() -> Request<()> {
    let mut request = request();
    request
        .extensions_mut()
        .insert(SocketAddr::from(([192, 0, 2, 1], 4711)));
    request
}

#[test]
fn denials_are_events() {
    let layer = RateLimitLayer::new(Shared::new("1/h".parse().unwrap()).unwrap().named("user"));
    answer(&layer, request());
    let events = events_of(tracing::Level::DEBUG, || drop(answer(&layer, request())));
    assert_eq!(events, ["denied"]);
}

#[test]
fn metrics_are_counted_by_policy_and_tier() {
    use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use ratelimit_meter_tower::Metrics;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Count(AtomicU64);

    // The facade has this for `AtomicU64` on targets of 64 bits only.
    impl CounterFn for Count {
        fn increment(&self, by: u64) {
            self.0.fetch_add(by, Ordering::Relaxed);
        }
        fn absolute(&self, to: u64) {
            self.0.fetch_max(to, Ordering::Relaxed);
        }
    }

    #[derive(Default)]
    struct CounterMap(Mutex<BTreeMap<String, Arc<Count>>>);

    impl Recorder for CounterMap {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            Counter::from_arc(Arc::clone(self.0.lock().unwrap().entry(name).or_default()))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let counters = CounterMap::default();
    metrics::with_local_recorder(&counters, || {
        let limit = PerKey::new(PeerIp::new(), "2/h".parse().unwrap(), 100)
            .unwrap()
            .named("ip");
        let layer = RateLimitLayer::new((
            limit,
            Shared::new("1/h".parse().unwrap()).unwrap().named("trial").dry_run(),
        ))
        .observe(Metrics);
        (0..3).for_each(|_| drop(answer(&layer, from_peer())));
        answer(&layer, request());
        Metrics::record_table("ip", &layer.limits().0.stats());
    });
    let counted = counters.0.lock().unwrap();
    let counted: Vec<_> = counted
        .iter()
        .map(|(name, count)| (name.as_str(), count.0.load(Ordering::Relaxed)))
        .collect();
    let expected = [
        ("ratelimit_admitted_total policy=ip tier=default", 3),
        ("ratelimit_admitted_total policy=trial tier=default", 1),
        ("ratelimit_denied_total policy=ip tier=default", 1),
        ("ratelimit_no_key_total policy=ip", 1),
        ("ratelimit_table_admitted_total policy=ip", 0),
        ("ratelimit_table_denied_total policy=ip", 0),
        ("ratelimit_table_forgiven_total policy=ip", 0),
        ("ratelimit_would_deny_total policy=trial tier=default", 2),
    ];
    assert_eq!(counted, expected);
}

/// The warnings that a piece of code gives.
pub(crate) fn warnings_of(act: impl FnOnce()) -> Vec<String> {
    events_of(tracing::Level::WARN, act)
}

/// The messages of the events of one level that a piece of code gives.
pub(crate) fn events_of(level: tracing::Level, act: impl FnOnce()) -> Vec<String> {
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};

    #[derive(Clone)]
    struct EventLog(Arc<Mutex<Vec<String>>>, tracing::Level);

    impl Visit for EventLog {
        fn record_debug(&mut self, field: &Field, value: &dyn core::fmt::Debug) {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
    }

    impl tracing::Subscriber for EventLog {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == self.1 && metadata.target() == "ratelimit_meter_tower"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    let events = EventLog(Arc::default(), level);
    // With a single dispatcher, an event asks the thread that meets it first, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    tracing::subscriber::with_default(events.clone(), act);
    let told = events.0.lock().unwrap();
    told.clone()
}
