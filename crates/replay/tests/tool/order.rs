//! The order of events: over several files, and while they are read.

use std::fs;
use std::path::{Path, PathBuf};

use meter_replay::Error;
use meter_replay::event::Event;
use meter_replay::input::Options;
use meter_replay::progress::Progress;
use meter_replay::stamp::StampOptions;
use meter_replay::stream::Stream;
use meter_replay::trace::{Order, Trace};
use proptest::prelude::*;

use crate::run;

fn file(name: &str, times: &[i64]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let lines: String = times
        .iter()
        .zip(1..)
        .map(|(time, cost)| format!("{time},{cost}\n"))
        .collect();
    fs::write(&path, format!("time,cost\n{lines}")).expect("a writable folder for tests");
    path
}

fn open(paths: &[PathBuf], order: Order) -> Result<Stream, Error> {
    let options = Options {
        cost: Some("cost".to_owned()),
        stamps: StampOptions {
            allow_old: true,
            ..StampOptions::default()
        },
        ..Options::default()
    };
    Stream::open(paths, order, options, Progress::hidden())
}

/// Seconds and costs in the order they come, and the expected report.
fn read(paths: &[PathBuf], order: Order) -> Result<(Vec<(i64, u64)>, Trace), Error> {
    let mut stream = open(paths, order)?;
    let mut events = Vec::new();
    while let Some(Event { time, cost, .. }) = stream.next_event()? {
        events.push((time / 1_000_000_000, cost));
    }
    Ok((events, stream.finish()?))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_order_by_time_then_file_then_line(
        files in prop::collection::vec((prop::collection::vec(0_i64..40, 1..20), any::<bool>()), 1..5),
    ) {
        let mut files: Vec<Vec<i64>> = files.into_iter().map(|(mut times, sorted)| {
            if sorted {
                times.sort_unstable();
            }
            times
        }).collect();
        let name = |at: usize| format!("order-{at}.csv");
        let paths: Vec<PathBuf> = files.iter().enumerate().map(|(at, times)| file(&name(at), times)).collect();
        let (events, trace) = read(&paths, Order::Sort).expect("good files");
        let mut back = (0, 0);
        for times in &files {
            let mut latest = 0;
            for &time in times {
                back.0 += u64::from(time < latest);
                back.1 = back.1.max(latest - time);
                latest = latest.max(time);
            }
        }
        prop_assert_eq!((trace.back.lines, trace.back.most_ns), (back.0, u64::try_from(back.1 * 1_000_000_000).unwrap()));
        // The expected result, computed in the slow way.
        let as_is: Vec<(i64, u64)> = files.iter().flat_map(|times| times.iter().copied().zip(1..)).collect();
        files.sort_by_key(|times| (times.iter().min().copied(), times.iter().max().copied()));
        let mut expected: Vec<(i64, u64)> = files.iter().flat_map(|times| times.iter().copied().zip(1..)).collect();
        expected.sort_by_key(|&(time, _)| time);
        prop_assert_eq!(events, expected);
        prop_assert_eq!(read(&paths, Order::AsIs).expect("good files").0, as_is);
    }
}

#[test]
fn events_beyond_one_sort_batch_stay_in_order() {
    // Two interleaved halves, each line a second before or after its neighbours.
    let times: Vec<i64> = (0..300_000).map(|line| line ^ 1).collect();
    let path = file("order-many.csv", &times);
    let (events, trace) = read(&[path], Order::Sort).expect("a good file");
    assert!(events.iter().map(|&(time, _)| time).eq(0..300_000));
    assert_eq!((trace.back.lines, trace.back.most_ns), (150_000, 1_000_000_000));
    assert_eq!((trace.first, trace.last), (Some(0), Some(299_999_000_000_000)));
}

#[test]
fn decreasing_times_between_files_are_reported_if_kept() {
    let paths = [file("order-late.csv", &[5, 6]), file("order-early.csv", &[1, 2, 7])];
    let (events, trace) = read(&paths, Order::AsIs).expect("good files");
    assert_eq!(events, [(5, 1), (6, 2), (1, 1), (2, 2), (7, 3)]);
    assert_eq!((trace.back.lines, trace.back.most_ns), (2, 5_000_000_000));
    let (_, trace) = read(&paths, Order::Sort).expect("good files");
    assert_eq!((trace.back.lines, trace.back.most_ns), (0, 0));
}

#[test]
fn file_that_changes_while_read_is_reported() {
    let names = [
        "order-gone.csv",
        "order-other.csv",
        "order-short.csv",
        "order-swapped.csv",
    ];
    let paths = names.map(|name| file(name, &[1, 2, 3]));
    for (at, path) in paths.iter().enumerate() {
        let mut stream = open(std::slice::from_ref(path), Order::Sort).expect("a good file");
        match at {
            0 => fs::remove_file(path).expect("a file of our own"),
            1 => drop(file(names[1], &[2, 3, 4])),
            2 => drop(file(names[2], &[1, 2])),
            _ => drop(file(names[3], &[1, 3, 2])),
        }
        let error = loop {
            match stream.next_event() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{}: nothing was read", names[at]),
                Err(error) => break error,
            }
        };
        match (at, error) {
            (0, Error::Read { .. }) | (1.., Error::Changed { .. }) => {}
            (_, other) => panic!("{}: {other}", names[at]),
        }
    }
}

#[test]
fn growing_log_is_read_to_its_initial_end() {
    let path = file("order-growing.csv", &[1, 2, 3]);
    let mut stream = open(std::slice::from_ref(&path), Order::Sort).expect("a good file");
    file("order-growing.csv", &[1, 2, 3, 4, 5]);
    let mut events = 0;
    while stream.next_event().expect("as it was").is_some() {
        events += 1;
    }
    assert_eq!(events, 3);
}

/// The report on a table of these stamps, after 1,200 even ones, however often its file is read.
fn reports(name: &str, last: &[&str]) -> [serde_json::Value; 2] {
    let mut table = String::from("time,key\n");
    for line in 0..1_200 {
        table += &format!("{},{}\n", 1_716_163_200 + line / 3 * 60, line % 2);
    }
    for stamp in last {
        table += &format!("{stamp},0\n");
    }
    let table = run::file(name, table);
    let rows = table.replace(name, "denied.csv");
    // Rows of denied requests are written at once, so the file is read in advance.
    let asked: [&[&str]; 2] = [&[], &["--denied", &rows]];
    asked.map(|more| {
        let arguments = [
            &["--limit", "2/min burst 2", "--key", "key", "--format", "json", &table],
            more,
        ]
        .concat();
        let mut report: serde_json::Value = serde_json::from_str(&run::report(&arguments)).expect("JSON");
        report["parameters"]["command"].take();
        report
    })
}

#[test]
fn files_unlike_their_beginning_give_the_same_report() {
    for (name, last, resolution_ns, late) in [
        ("even.csv", &["1716999900"][..], 60_000_000_000_u64, 0),
        ("finer.csv", &["1716999900", "1716999900.25"], 1_000_000, 0),
        ("seconds.csv", &["1716999901"], 1_000_000_000, 0),
        ("back.csv", &["1716163200", "1716999900"], 60_000_000_000, 1),
    ] {
        let [once, twice] = reports(name, last);
        assert_eq!(once, twice, "{name}");
        assert_eq!(once["inputs"][0]["resolution_ns"], resolution_ns, "{name}");
        assert_eq!(once["traffic"]["late_lines"], late, "{name}: {once}");
        assert_eq!(once["traffic"]["requests"], 1_200 + last.len(), "{name}");
    }
}

#[test]
fn stamps_of_whole_minutes_are_recognized_at_end() {
    let table = |minutes: u32| {
        let lines = (0..1_500).map(|line| format!("{},a\n", 1_716_163_200 + line * minutes / 1_500 * 60));
        format!("time,key\n{}", lines.collect::<String>())
    };
    for (name, minutes, resolution_ns) in [("few.csv", 7, 1_000_000_000_u64), ("many.csv", 9, 60_000_000_000)] {
        let table = run::file(name, table(minutes));
        let report = run::report(&["--limit", "1/s", "--key", "key", "--format", "json", &table]);
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["inputs"][0]["resolution_ns"], resolution_ns, "{name}");
    }
}

#[test]
fn files_beginning_at_one_stamp_keep_order() {
    let table = |key: &str, lines: u32| {
        let rows = (0..lines).map(|line| format!("{},{key}\n", 1_716_163_200 + line / 2));
        format!("time,key\n{}", rows.collect::<String>())
    };
    let (long, short) = (
        run::file("long.csv", table("a", 2_000)),
        run::file("short.csv", table("b", 1_500)),
    );
    let numbers = |files: [&str; 2]| {
        let arguments = [&["--limit", "1/s burst 3", "--format", "json"][..], &files].concat();
        let mut report: serde_json::Value = serde_json::from_str(&run::report(&arguments)).expect("JSON");
        (report["limits"].take(), report["traffic"].take())
    };
    assert_eq!(numbers([&long, &short]), numbers([&short, &long]));
}
