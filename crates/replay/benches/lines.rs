//! Lines a second, from bytes in memory to decisions: `cargo bench -p ratelimit_meter_replay`.
//!
//! The goal is 1.5 million lines of Combined Log Format a second on one core, with one limit, by ip. The unit `elem/s` is lines a second. Lines,
//! clients and their times are made up: 10,000 clients, some of them far busier than the rest, 2,000 lines a second of the log's own time.

#![allow(missing_docs, reason = "the macros of criterion make public functions")]

mod support;

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use meter_replay::by::By;
use meter_replay::input::{Collected, Options, Reader};
use meter_replay::limit::{AlgorithmName, LimitSpec};
use meter_replay::replay::{Replay, Settings};
use meter_replay::stream::BLOCK;
use meter_replay::trace::Order;
use support::random;

const LINES: u64 = 200_000;

/// Bytes that many readers share.
#[derive(Clone)]
struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A client's number: the lower, the busier.
fn client(state: &mut u64) -> u64 {
    let most = 1 + random(state) % 10_000;
    random(state) % most
}

fn combined() -> SharedBytes {
    let mut text = String::new();
    let mut state = 1;
    for line in 0..LINES {
        let (client, page, second) = (client(&mut state), random(&mut state) % 500, line / 2_000);
        let _ = writeln!(
            text,
            "198.51.{}.{} - - [20/May/2024:12:{:02}:{:02} +0000] \"GET /articles/{page}/index.html?from=search&page={} \
             HTTP/1.1\" 200 {} \"https://www.example.org/articles/{page}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) \
             Gecko/20100101 Firefox/125.0\"",
            client / 256,
            client % 256,
            second / 60,
            second % 60,
            random(&mut state) % 10,
            random(&mut state) % 100_000,
        );
    }
    SharedBytes(Arc::new(text.into_bytes()))
}

fn table() -> SharedBytes {
    let mut text = String::from("time,client,cost\n");
    let mut state = 2;
    for line in 0..LINES {
        let client = client(&mut state);
        let _ = writeln!(
            text,
            "{}.{:06},client-{client},1",
            1_716_206_400 + line / 2_000,
            line % 2_000 * 500
        );
    }
    SharedBytes(Arc::new(text.into_bytes()))
}

/// Replays all of it, and returns how many cells were asked and denied.
fn replay(text: &SharedBytes, options: &Options, limits: &[LimitSpec]) -> (u128, u128) {
    let mut collected = Collected::default();
    let settings = Settings {
        order: Order::AsIs,
        suggest: false,
        anonymise: false,
    };
    let mut replay = Replay::new(limits, settings);
    let mut reader = Reader::of(Cursor::new(text.clone()), "lines", options).expect("text in memory");
    let mut block = Vec::new();
    while let Some(event) = reader.next(&mut collected).expect("text in memory") {
        block.push(event);
        if block.len() == BLOCK {
            replay.take(&block, &collected.keys, None).expect("minutes");
            block.clear();
        }
    }
    replay.take(&block, &collected.keys, None).expect("minutes");
    assert_eq!(collected.bad.count(), 0);
    let outcome = &replay.outcomes(&collected.keys, 5)[0];
    (outcome.asked, outcome.denied)
}

fn lines(criterion: &mut Criterion) {
    let limit = |text| LimitSpec::parse(text, AlgorithmName::Gcra).expect("a limit");
    let by = |by| Options {
        by: Some(by),
        ..Options::default()
    };
    let mut group = criterion.benchmark_group("lines");
    group.throughput(Throughput::Elements(LINES)).sample_size(20);
    let (combined, table) = (combined(), table());
    for (name, text, options, limits) in [
        ("combined by ip", &combined, by(By::Ip), &["1/s burst 20"][..]),
        ("combined by path", &combined, by(By::Path), &["1/s burst 20"]),
        (
            "combined by ip, four limits",
            &combined,
            by(By::Ip),
            &["1/s", "1/s burst 20", "10/s", "100/min"],
        ),
        (
            "table by column",
            &table,
            by(By::Column("client".to_owned())),
            &["1/s burst 20"],
        ),
    ] {
        let limits: Vec<LimitSpec> = limits.iter().map(|text| limit(text)).collect();
        let expected = replay(text, &options, &limits);
        assert!(
            expected.0 == u128::from(LINES) && expected.1 > 0,
            "{name}: {expected:?}"
        );
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| assert_eq!(replay(black_box(text), &options, &limits), expected));
        });
    }
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
