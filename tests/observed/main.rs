//! Observed meters: the counters of `metrics` as Prometheus text, and the events of `tracing`.

mod debug;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use ratelimit_meter::observed::{Observed, record_clock};
use ratelimit_meter::{Decider, GCRA, KeyedMeter, LeasedMeter, MultiDecider, Quota, nonzero};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

/// Runs `act` with a recorder, and returns the Prometheus text.
fn recorded(act: impl FnOnce()) -> String {
    let recorder: PrometheusRecorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, act);
    recorder.handle().render()
}

/// Returns the series of a Prometheus text, without comments.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| line.rsplit_once(' ').expect("a name and a value"));
    parts
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect()
}

#[track_caller]
fn assert_counts(text: &str, admitted: [u32; 2], denied: [u32; 2]) {
    let series = series(text);
    for (outcome, [decisions, cells]) in [("admitted", admitted), ("denied", denied)] {
        for (name, count) in [("decisions", decisions), ("cells", cells)] {
            let name = format!(r#"ratelimit_meter_{name}_total{{limit="api",outcome="{outcome}"}}"#);
            assert_eq!(series.get(name.as_str()), Some(&f64::from(count)), "{name} of {text}");
        }
    }
}

#[test]
fn observed_meters_go_anywhere() {
    const fn everywhere<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    everywhere::<Observed<GCRA>>();
}

#[test]
fn each_decision_and_its_cells_are_counted() {
    let now = Instant::now();
    let text = recorded(|| {
        let meter = Observed::new("api", GCRA::from_quota(quota("10/h")).expect("a meter"));
        let clone = meter.clone();
        assert!(meter.check().is_ok() && clone.check_at(now).is_ok());
        assert!(meter.check_n(3).is_ok() && meter.check_n_at(2, now).is_ok());
        assert!(meter.check_n(4).is_err() && meter.check_n_at(11, now).is_err());
        assert!(meter.check_n(3).is_ok() && meter.check().is_err() && meter.check_at(now).is_err());
    });
    assert_counts(&text, [5, 10], [4, 17]);
}

#[test]
fn decisions_through_the_traits_are_counted() {
    let now = Instant::now();
    let text = recorded(|| {
        let meter = Observed::new("api", GCRA::from_quota(quota("4/h")).expect("a meter"));
        let decider: &dyn Decider = &meter;
        assert!(decider.check().is_ok() && decider.check_at(now).is_ok());
        let decider: &dyn MultiDecider = &meter;
        assert!(decider.check_n(2).is_ok() && decider.check_n_at(1, now).is_err());
    });
    assert_counts(&text, [3, 4], [1, 1]);
}

#[test]
fn take_and_check_up_to_are_counted() {
    let now = Instant::now();
    let text = recorded(|| {
        let meter = Observed::new("api", GCRA::from_quota(quota("10/h")).expect("a meter"));
        assert!(meter.take(4).decision().is_ok());
        assert!(meter.take_at(7, now).decision().is_err());
        assert_eq!(meter.check_up_to(8).cells(), 6);
        assert_eq!(meter.check_up_to_at(3, now).cells(), 0);
        assert_eq!(meter.check_up_to(0).cells(), 0);
    });
    assert_counts(&text, [3, 10], [3, 12]);
}

#[test]
fn a_table_reports_its_keys() {
    let text = recorded(|| {
        let table = KeyedMeter::<u32>::with_capacity(quota("2/h"), 100).expect("a table");
        let table = Observed::new("api", table);
        let now = Instant::now();
        for key in 0..10 {
            assert!(table.check_at(&key, now).is_ok() && table.check_n(&key, 1).is_ok());
        }
        assert!(table.check(&1).is_err() && table.check_n_at(&2, 1, now).is_err());
        table.record();
    });
    assert_counts(&text, [20, 20], [2, 2]);
    let series = series(&text);
    let of = |name: &str| {
        series
            .get(format!(r#"ratelimit_meter_keys_{name}{{limit="api"}}"#).as_str())
            .copied()
    };
    assert_eq!(
        [of("live"), of("taken"), of("evicted_total")],
        [Some(10.0), Some(10.0), Some(0.0)]
    );
    assert!(of("slots") >= Some(100.0));
    let no_slot = r#"ratelimit_meter_keys_no_slot_total{limit="api",outcome="denied"}"#;
    assert_eq!(series.get(no_slot), Some(&0.0));
}

#[test]
fn leases_report_stranded_cells() {
    let text = recorded(|| {
        let meter = LeasedMeter::new(quota("1000/s"), nonzero!(4u32), nonzero!(50u32)).expect("a meter");
        let meter = Observed::new("api", meter);
        let mut leases = [(); 3].map(|()| meter.meter().lease().expect("a lease"));
        // The first two draw a block each, of which they use a cell and three.
        assert!(leases[0].check().is_ok() && leases[1].check_n(3).is_ok());
        meter.record();
    });
    let series = series(&text);
    assert_eq!(series.get(r#"ratelimit_meter_leases_taken{limit="api"}"#), Some(&3.0));
    assert_eq!(
        series.get(r#"ratelimit_meter_leases_cells_stranded{limit="api"}"#),
        Some(&(49.0 + 47.0))
    );
}

#[test]
fn the_clock_reports_its_source() {
    let is_counter = ratelimit_meter::clock::source() == ratelimit_meter::clock::ClockSource::Counter;
    let meter = GCRA::from_quota(quota("10/s")).expect("a meter");
    assert!(meter.check().is_ok());
    let text = recorded(record_clock);
    let series = series(&text);
    let counter = series["ratelimit_meter_clock_counter"];
    assert_eq!(counter > 0.0, is_counter);
    assert_eq!(series["ratelimit_meter_clock_anchors_total"] > 0.0, is_counter);
    assert!(series["ratelimit_meter_clock_given_up"] < 1.0);
}

/// Parses the text with the client library of Prometheus for Python, which `.ci/setup` fetches, and returns the names of the families.
const PARSE: &str = "import sys; from prometheus_client.parser import text_string_to_metric_families as parse; \
    print(' '.join(sorted(f'{family.type}:{family.name}' for family in parse(sys.stdin.read()))))";

#[test]
fn a_prometheus_parser_reads_the_text() {
    let text = recorded(|| {
        let meter = Observed::new(
            "a \"quoted\" \\ limit",
            GCRA::from_quota(quota("1/h")).expect("a meter"),
        );
        assert!(meter.check().is_ok() && meter.check().is_err());
        let table = KeyedMeter::<u32>::with_capacity(quota("2/h"), 100).expect("a table");
        Observed::new("table", table).record();
        record_clock();
    });
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
    let path = std::env::var("PYTHONPATH").map_or(fetched.to_owned(), |path| format!("{path}:{fetched}"));
    let python = Command::new("python3")
        .args(["-c", PARSE])
        .env("PYTHONPATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let output = python.and_then(|mut python| {
        // A parser that could not be loaded closes the pipe.
        let _ = python.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
        python.wait_with_output()
    });
    match output {
        Ok(output) if output.status.success() => {
            let families = String::from_utf8(output.stdout).expect("text");
            for family in [
                "counter:ratelimit_meter_decisions",
                "counter:ratelimit_meter_cells",
                "gauge:ratelimit_meter_keys_live",
                "counter:ratelimit_meter_keys_evicted",
                "counter:ratelimit_meter_clock_anchors",
            ] {
                assert!(
                    families.split_whitespace().any(|name| name == family),
                    "{family} in {families}"
                );
            }
        }
        _ => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "no prometheus_client: run .ci/setup"
            );
            // Not by `println`, whose text the test harness hides if the test passes.
            let _ = writeln!(std::io::stderr(), "skipped: no prometheus_client for python3");
        }
    }
}

/// The queries of the dashboard ask for metrics that exist.
#[test]
fn the_dashboard_asks_for_existing_metrics() {
    let dashboard = include_str!("../../examples/prometheus/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let documented = include_str!("../../src/observed.rs");
    assert!(panels.len() >= 4);
    for panel in panels {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let names = expression.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let names: Vec<_> = names.filter(|name| name.starts_with("ratelimit_meter_")).collect();
            assert!(!names.is_empty(), "{expression}");
            for name in names {
                assert!(documented.contains(&format!("!(\"{name}\"")), "{name} is not recorded");
            }
        }
    }
}

/// Gathers the fields of events.
#[derive(Clone, Default)]
struct Gathered(Arc<Mutex<Vec<(Level, String)>>>);

struct FieldText(String);

impl Visit for FieldText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").expect("a string");
    }
}

impl Subscriber for Gathered {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ratelimit_meter"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = FieldText(String::new());
        event.record(&mut fields);
        let seen = (*event.metadata().level(), fields.0);
        self.0.lock().expect("no panic").push(seen);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn only_denials_are_events() {
    let gathered = Gathered::default();
    // With a single dispatcher, an event asks the thread that meets it first, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    tracing::subscriber::with_default(gathered.clone(), || {
        let meter = Observed::new("api", GCRA::from_quota(quota("10/h")).expect("a meter"));
        assert!(meter.check_n(10).is_ok());
        assert!(meter.check_n(11).is_err());
        assert!(meter.check().is_err());
    });
    let seen = gathered.0.lock().expect("no panic");
    let [never, later] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(never.0, Level::DEBUG);
    assert!(
        never.1.contains("limit=\"api\"") && never.1.contains("cells=11"),
        "{never:?}"
    );
    assert!(
        later.1.contains("cells=1 ") && later.1.contains("denied: next cell conforms"),
        "{later:?}"
    );
}
