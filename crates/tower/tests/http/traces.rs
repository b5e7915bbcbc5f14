//! The table of docs/fields.md, row by row, and the example of the READMEs.

use crate::support::{answer, field, meter, request};
use http::Request;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter_tower::{Head, RateLimitLayer, Shared};
use std::fs;
use std::time::{Duration, Instant};

const DOCS: &str = include_str!("../../docs/fields.md");

#[test]
fn every_row_of_the_docs_holds() {
    let table = DOCS.split("# Traces").nth(1).expect("a chapter of traces");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.map(replay).count(), 27);
}

fn replay(row: &str) {
    let cells: Vec<_> = row
        .trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'))
        .collect();
    let [policies, before, asked, status, policy, limit, retry_after] = cells[..] else {
        panic!("seven columns: {row}")
    };
    let start = Instant::now();
    let clock = ManualClock::starting_at(start);
    let limits: Vec<_> = policies.split(", ").map(|text| limit_of(text, &clock)).collect();
    let layer = RateLimitLayer::new(limits);
    for earlier in before.split(", ").filter(|text| !text.is_empty()) {
        let (count, what) = earlier.split_once(' ').unwrap();
        for _ in 0..count.parse().unwrap() {
            answer(&layer, step(what, start, &clock));
        }
    }
    let response = answer(&layer, step(asked, start, &clock));
    let headers = response.headers();
    assert_eq!(response.status().as_str(), status, "{row}");
    assert_eq!(field(headers, "ratelimit-policy"), policy, "{row}");
    assert_eq!(field(headers, "ratelimit"), limit, "{row}");
    assert_eq!(field(headers, "retry-after"), retry_after, "{row}");
    assert_eq!(clock.now() - start, time_of(asked), "{row}");
}

/// `name: quota`, or a quota alone.
fn limit_of(text: &str, clock: &ManualClock) -> Shared {
    let (name, quota) = text.split_once(": ").unwrap_or(("default", text));
    let mine = name.to_owned();
    Shared::of(meter(quota, clock))
        .unwrap()
        .named(name)
        .only(move |head| header(head, "x-on").is_none_or(|on| on == mine))
        .cost(|head| header(head, "x-cost").map_or(1, |cost| cost.parse().unwrap()))
}

fn header<'a>(head: &Head<'a>, name: &str) -> Option<&'a str> {
    head.headers().get(name).map(|value| value.to_str().unwrap())
}

/// A request `of COST at TIME on NAME`, of which only the time must be there.
fn step(text: &str, start: Instant, clock: &ManualClock) -> Request<()> {
    clock.set(start + time_of(text));
    let mut request = request();
    for (word, name) in [("of ", "x-cost"), ("on ", "x-on")] {
        if let Some((_, after)) = format!(" {text}").split_once(&format!(" {word}")) {
            let value = after.split(' ').next().unwrap().parse().unwrap();
            request.headers_mut().insert(name, value);
        }
    }
    request
}

fn time_of(text: &str) -> Duration {
    let (_, after) = text.split_once("at ").unwrap();
    let mut words = after.split(' ');
    let number: u64 = words.next().unwrap().parse().unwrap();
    match words.next().unwrap() {
        "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        unit => panic!("no unit {unit}"),
    }
}

/// The code of a text from the first `use axum` on, without white space, trailing commas and the path of `SocketAddr`.
fn example_of(text: &str) -> String {
    let code = text.split("use axum::").nth(1).expect("an example");
    let code = code
        .split("```")
        .next()
        .expect("the code")
        .replace("use std::net::SocketAddr;", "");
    let code = code.replace("std::net::SocketAddr", "SocketAddr");
    code.chars().filter(|character| !character.is_whitespace()).collect()
}

#[test]
fn readmes_show_the_example_that_is_compiled() {
    let compiled = example_of(include_str!("../../examples/axum.rs"));
    assert_eq!(example_of(include_str!("../../README.md")), compiled);
    // The README of the repository is not in the package.
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    match fs::read_to_string(repository) {
        Ok(readme) => assert_eq!(example_of(&readme), compiled),
        Err(_) => println!("skipped: no {repository}"),
    }
}
