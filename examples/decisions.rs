//! Makes the given number of decisions and nothing else, to be counted: the difference of two runs is the cost of the decisions. The time of a
//! decision is given (`check_at`), or with `now` read from the meter's own clock (`check`).
//!
//! `valgrind --tool=callgrind target/release/examples/decisions admit 100000`, then with 200000.

use ratelimit_meter::{GCRA, Quota, nonzero};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (case, count, clock) = (
        arguments.next(),
        arguments.next().and_then(|text| text.parse::<u32>().ok()),
        arguments.next(),
    );
    let (Some(case @ ("admit" | "deny")), Some(count), None | Some("now")) = (case.as_deref(), count, clock.as_deref())
    else {
        eprintln!("usage: decisions admit|deny COUNT [now]");
        std::process::exit(2);
    };
    // The burst: enough for every decision, or one cell, so that every decision after the first is a denial.
    let cells = if case == "admit" {
        nonzero!(4_000_000_000u32)
    } else {
        nonzero!(1u32)
    };
    let meter = GCRA::from_quota(Quota::per_second(nonzero!(1u32)).allow_burst(cells)).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    let at = Instant::now() + Duration::from_secs(1);
    let taken = meter.check_at(at).is_ok();
    let admitted = match clock {
        None => (0..count)
            .filter(|_| black_box(&meter).check_at(black_box(at)).is_ok())
            .count(),
        Some(_) => (0..count).filter(|_| black_box(&meter).check().is_ok()).count(),
    };
    println!("{case}: {admitted} of {count} admitted after the first, which was {taken}");
}
