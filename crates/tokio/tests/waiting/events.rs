//! The events that a subscriber gets with the feature `tracing`.

use crate::support::{ByHand, ms};
use ratelimit_meter_tokio::RateLimiter;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Collects the events of the crate, each as a line.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

impl Collector {
    /// Returns the events since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct EventLine(String);

impl Visit for EventLine {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "ratelimit_meter_tokio"
    }

    fn event(&self, event: &Event<'_>) {
        assert_eq!(*event.metadata().level(), Level::TRACE);
        let mut line = EventLine(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        panic!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn each_wait_reports_one_start_and_one_end() {
    let told = Collector::default();
    // With a single dispatcher, an event asks the thread that meets it first, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _subscribed = tracing::subscriber::set_default(told.clone());
    let limiter = RateLimiter::builder().initial(1).interval(ms(100)).build();
    limiter.acquire(1).await;
    limiter.acquire(0).await;
    assert!(limiter.acquire_timeout(1, ms(99)).await.is_err());
    assert!(limiter.try_acquire(1).is_err());
    assert_eq!(told.take(), [""; 0], "had or refused at once");

    let mut first = ByHand::new(limiter.acquire(2));
    let mut second = ByHand::new(limiter.acquire(3));
    assert!(first.is_pending() && second.is_pending());
    assert_eq!(told.take(), [" message=waits cells=2", " message=waits cells=3"]);
    sleep(ms(200)).await;
    assert_eq!(told.take(), [""; 0], "it is told when it looks");
    assert!(!first.is_pending() && second.is_pending());
    drop(first);
    drop(second);
    assert_eq!(told.take(), [" message=is served cells=2", " message=gives up cells=3"]);
}

#[test]
fn real_time_a_thread_waits_and_is_served() {
    let told = Collector::default();
    // With a single dispatcher, an event asks the thread that meets it first, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _subscribed = tracing::subscriber::set_default(told.clone());
    // However late it comes, one at most is there.
    let limiter = RateLimiter::builder().max(1).interval(Duration::from_millis(5)).build();
    limiter.acquire_blocking(2);
    assert_eq!(told.take(), [" message=waits cells=2", " message=is served cells=2"]);
}
