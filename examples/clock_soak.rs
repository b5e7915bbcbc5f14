//! Compares the default clock with `Instant::now` for ten minutes (or as many seconds as given) in two threads, and prints the largest differences.
//!
//! `cargo run --release --example clock_soak -- 10` takes ten seconds.

use ratelimit_meter::clock::{Clock, DefaultClock, source};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Seen {
    readings: u64,
    uncounted: u64,
    ahead_ns: i128,
    behind_ns: i128,
    back_ns: i128,
}

/// Returns how much later `one` is than `other`.
fn lead(one: Instant, other: Instant) -> i128 {
    let ns = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    ns(one.saturating_duration_since(other)) - ns(other.saturating_duration_since(one))
}

fn watch(end: Instant) -> Seen {
    let clock = DefaultClock;
    let mut seen = Seen::default();
    let mut latest = clock.now();
    loop {
        let before = Instant::now();
        let reading = clock.now();
        let after = Instant::now();
        seen.back_ns = seen.back_ns.max(lead(latest, reading));
        latest = reading;
        // If the thread was preempted in between, the difference is not the clock's.
        if after - before > Duration::from_micros(1) {
            seen.uncounted += 1;
        } else {
            seen.readings += 1;
            seen.ahead_ns = seen.ahead_ns.max(lead(reading, after));
            seen.behind_ns = seen.behind_ns.max(lead(before, reading));
        }
        if after >= end {
            return seen;
        }
    }
}

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(600);
    println!("{seconds} s of the default clock, which reads the {:?}", source());
    let end = Instant::now() + Duration::from_secs(seconds);
    let threads = [(); 2].map(|()| thread::spawn(move || watch(end)));
    for (number, thread) in threads.into_iter().enumerate() {
        let Ok(seen) = thread.join() else { continue };
        println!(
            "thread {number}: {} readings ({} not counted), ahead by {} ns, behind by {} ns, back by {} ns at most",
            seen.readings, seen.uncounted, seen.ahead_ns, seen.behind_ns, seen.back_ns
        );
    }
    println!("the default clock reads the {:?}", source());
}
