//! Makes the given number of decisions on one key of a table and nothing else, to be counted: the difference of two runs is the cost of the
//! decisions.
//!
//! `valgrind --tool=callgrind target/release/examples/keyed_decisions text admit 100000`, then with 200000. The decisions are made at a given time:
//! under valgrind, reading the clock takes longer than the time for which an anchor is valid, so the clock would dominate the count.

use ratelimit_meter::{KeyedMeter, Quota, nonzero};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (key, admit, count) = match words.as_slice() {
        [key @ ("text" | "number"), case @ ("admit" | "deny"), count] if count.parse::<u32>().is_ok() => {
            (*key, *case == "admit", count.parse::<u32>().unwrap_or(0))
        }
        _ => {
            eprintln!("usage: keyed_decisions text|number admit|deny COUNT");
            std::process::exit(2);
        }
    };
    // The burst: enough for every decision, or one cell, so that every decision after the first is a denial.
    let cells = if admit {
        nonzero!(500_000_000u32)
    } else {
        nonzero!(1u32)
    };
    let quota = Quota::per_hour(nonzero!(1u32));
    let quota = if admit {
        Quota::per_second(nonzero!(100u32)).allow_burst(cells)
    } else {
        quota
    };
    let at = Instant::now() + Duration::from_secs(1);
    let admitted = match key {
        "text" => {
            let table = KeyedMeter::<String>::with_capacity(quota, 1000).expect("a small table");
            let key = String::from("192.168.172.201");
            count_admitted(count, || {
                black_box(&table).check_at(black_box(&key), black_box(at)).is_ok()
            })
        }
        _ => {
            let table = KeyedMeter::<u64>::with_capacity(quota, 1000).expect("a small table");
            count_admitted(count, || {
                black_box(&table).check_at(black_box(&1_234_567), black_box(at)).is_ok()
            })
        }
    };
    println!("{} {}: {admitted} of {count} admitted", words[0], words[1]);
}

fn count_admitted(count: u32, check: impl Fn() -> bool) -> usize {
    (0..count).filter(|_| check()).count()
}
