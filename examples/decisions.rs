//! Makes the given number of decisions at given times and nothing else, to be counted: the difference of two runs is the cost of the decisions.
//!
//! `valgrind --tool=callgrind target/release/examples/decisions admit 100000`, then with 200000.

use ratelimit_meter::{GCRA, Quota, nonzero};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (case, count) = (
        arguments.next(),
        arguments.next().and_then(|text| text.parse::<u32>().ok()),
    );
    let (Some(case @ ("admit" | "deny")), Some(count)) = (case.as_deref(), count) else {
        eprintln!("usage: decisions admit|deny COUNT");
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
    let admitted = (0..count)
        .filter(|_| black_box(&meter).check_at(black_box(at)).is_ok())
        .count();
    println!("{case}: {admitted} of {count} admitted after the first, which was {taken}");
}
