//! Real traffic, from public records, against a second opinion: `check.py` shares no code with the tool.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use flate2::{Compression, write::GzEncoder};
use meter_replay::cli::Cli;
use meter_replay::measure;
use meter_replay::progress::Progress;
use meter_replay::trace::Unit;

use crate::has_program;

/// The folder of the recordings, unless this machine has none, or nothing to run the script.
fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !folder.is_dir() {
        eprintln!("skipped: there is no {}", folder.display());
        return None;
    }
    has_program("python3", "--version").then_some(folder)
}

/// A line for each limit, and the number of bad lines: as the script prints them.
fn ours(arguments: &[String]) -> String {
    let cli = Cli::parse_from(arguments);
    let (trace, outcomes) = measure(&cli, Progress::hidden()).expect("the recordings can be read");
    let mut lines = String::new();
    for (text, outcome) in cli.limits.iter().zip(outcomes) {
        let (asked, admitted, denied) = (outcome.asked, outcome.admitted, outcome.denied);
        lines += &format!("{text}\t{asked}\t{admitted}\t{denied}\t{}\n", outcome.keys_denied);
    }
    lines + &format!("bad\t{}\n", trace.bad.count())
}

fn check(limits: &[&str], options: &[&str], files: impl IntoIterator<Item = PathBuf>) -> String {
    let limits = limits.iter().flat_map(|&limit| ["--limit", limit]);
    let mut arguments: Vec<String> = limits.chain(options.iter().copied()).map(str::to_owned).collect();
    arguments.extend(files.into_iter().map(|file| file.display().to_string()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check.py");
    let output = Command::new("python3")
        .arg(script)
        .args(&arguments)
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = String::from_utf8(output.stdout).expect("numbers");
    // The algorithms decide alike, so one comparison of each kind of file is enough for the second.
    let algorithms = if options.is_empty() {
        &["gcra", "leaky-bucket"][..]
    } else {
        &["gcra"]
    };
    for algorithm in algorithms {
        let mut all = vec![
            "meter-replay".to_owned(),
            "--algorithm".to_owned(),
            (*algorithm).to_owned(),
        ];
        all.extend_from_slice(&arguments);
        assert_eq!(ours(&all), expected, "{algorithm}");
    }
    expected
}

const LIMITS: [&str; 9] = [
    "1/s",
    "100/min burst 20",
    "10/s",
    "1/6s",
    "7/13s burst 3",
    "1000/d burst 50 weight 2",
    "1/h",
    "2/s burst 20 & 600/h",
    "1000/d burst 50 weight 2 & 7/13s burst 3",
];

fn erddap(folder: &Path) -> Vec<PathBuf> {
    (1..=9)
        .map(|day| folder.join(format!("erddap-nginx-2024/tomcat-access.log.{day}")))
        .collect()
}

/// Fails unless the table counts all nine days.
fn assert_whole(table: &str) {
    assert!(table.ends_with("bad\t5796\n") && table.contains("\t10479\t"), "{table}");
}

#[test]
fn rotated_access_log_agrees_in_any_order() {
    let Some(folder) = recordings() else { return };
    let files = erddap(&folder);
    let table = check(&LIMITS, &[], files.clone());
    assert_whole(&table);
    let shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5].map(|at: usize| files[at].clone());
    assert_eq!(check(&LIMITS, &["--by", "ip"], shuffled), table);
    check(&LIMITS, &["--by", "all"], files.clone());
    let oldest_first = files.into_iter().rev();
    assert_eq!(check(&LIMITS, &["--order", "as-is"], oldest_first), table);
}

#[test]
fn other_limiters_and_spread_stamps_agree() {
    let Some(folder) = recordings() else { return };
    let limits = [
        "fixed:60/min",
        "sliding-log:30/min",
        "sliding-window:60/min",
        "nginx:1r/s burst=20 nodelay",
        "nginx:30r/m burst=5",
        "1/s burst 20",
    ];
    for options in [&[][..], &["--spread=even"], &["--by", "all", "--spread=even"]] {
        let table = check(&limits, options, erddap(&folder));
        assert!(table.contains("\t10479\t"), "{table}");
    }
}

#[test]
fn tab_separated_text_agrees() {
    let Some(folder) = recordings() else { return };
    let file = folder.join("nasa-http-19950801.tsv");
    for by in ["host", "all"] {
        let table = check(&LIMITS, &["--by", by], [file.clone()]);
        assert!(table.contains("\t30969\t") && table.ends_with("bad\t0\n"), "{table}");
    }
    check(
        &["100000/min", "2000/s burst 5000000", "100000/min & 1000000/h"],
        &["--by", "host", "--cost", "bytes"],
        [file],
    );
}

#[test]
fn comma_separated_text_with_costs_agrees() {
    let Some(folder) = recordings() else { return };
    let limits = [
        "100000/min",
        "100000/min burst 5000",
        "1000/s burst 3000",
        "400000/min weight 2",
        "3000000/h",
    ];
    for (name, requests, column) in [
        ("azure-llm-code-2023.csv", 8_819, "ContextTokens"),
        ("azure-llm-conv-2023.csv", 19_366, "GeneratedTokens"),
    ] {
        let file = folder.join(name);
        check(&limits, &["--cost", column], [file.clone()]);
        let table = check(&LIMITS, &[], [file]);
        assert!(table.contains(&format!("\t{requests}\t")), "{table}");
    }
}

#[test]
fn traffic_of_several_files_is_one_traffic() {
    let Some(folder) = recordings() else { return };
    let files = ["azure-llm-conv-2023.csv", "azure-llm-code-2023.csv"].map(|name| folder.join(name));
    check(
        &["200000/min", "1000000/h burst 20000"],
        &["--cost", "ContextTokens"],
        files.clone(),
    );
    let logs = erddap(&folder).into_iter().chain(files);
    check(&["1/s", "600/h"], &["--by", "all"], logs);
}

#[test]
fn packet_captures_agree_byte_for_byte() {
    let Some(folder) = recordings() else { return };
    let limits = [
        "1000000/s",
        "125000/s burst 1000000",
        "20000/s burst 3000",
        "10000000/min burst 1500",
        "1514/s",
    ];
    for (name, packets) in [("ndpi-netflix.pcap", 1_793), ("ndpi-teams.pcap", 1_540)] {
        let file = folder.join(name);
        for by in ["ip", "host", "all"] {
            check(&limits, &["--by", by], [file.clone()]);
        }
        check(&limits, &["--ipv6-prefix", "64"], [file.clone()]);
        let cli = Cli::parse_from([OsStr::new("meter-replay"), "--limit=1/s".as_ref(), file.as_ref()]);
        let (trace, _) = measure(&cli, Progress::hidden()).expect("a capture");
        assert_eq!(
            (trace.requests, trace.unit, trace.bad.count()),
            (packets, Unit::Packets, 0)
        );
    }
    let both = ["ndpi-netflix.pcap", "ndpi-teams.pcap"].map(|name| folder.join(name));
    check(&limits, &["--by", "all"], both);
}

#[test]
fn keys_other_than_clients_agree() {
    let Some(folder) = recordings() else { return };
    for by in ["host", "path", "status"] {
        let table = check(&LIMITS, &["--by", by], erddap(&folder));
        assert!(table.contains("\t10479\t"), "{table}");
    }
}

#[test]
fn packed_recordings_agree() {
    let Some(folder) = recordings() else { return };
    let packed = |name: &str, members: &[PathBuf]| {
        let mut bytes = Vec::new();
        for member in members {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let text = std::fs::read(member).expect("a recording");
            encoder.write_all(&text).expect("a vector takes all");
            bytes.extend(encoder.finish().expect("a vector takes all"));
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).expect("a writable folder for tests");
        path
    };
    let days = erddap(&folder);
    // Newest first, as `cat access.log.*.gz` has them: out of order, so it is sorted in memory.
    let all = packed("erddap.gz", &days);
    let table = check(&LIMITS, &[], [all]);
    assert_whole(&table);
    let mixed = [packed("erddap-1-3.gz", &days[..3]), packed("erddap-5.gz", &days[4..5])];
    let plain = [3, 5, 6, 7, 8].map(|day| days[day].clone());
    assert_eq!(check(&LIMITS, &[], mixed.into_iter().chain(plain)), table);
    check(
        &["1000000/s"],
        &[],
        [packed("teams.gz", &[folder.join("ndpi-teams.pcap")])],
    );
}
