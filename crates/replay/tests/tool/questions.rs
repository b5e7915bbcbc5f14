//! Options that ask for more than the tables.

use crate::inputs::capture;
use crate::run::{complaint, file, log_line, meter_replay, report, text};

/// Twelve requests of one client in a second, then one of another.
fn log() -> String {
    let mut log: String = (0..12).map(|_| log_line("192.0.2.1", 1)).collect();
    log += "garbage\n";
    log += &log_line("2001:db8::1", 2);
    log
}

#[test]
fn denials_are_listed_with_line_key_and_wait() {
    let (log, out) = (file("denied.log", log()), file("denied.csv", "old"));
    let arguments = ["--limit", "10/s", "--limit", "5/min burst 10", "--denied", &out, &log];
    report(&arguments);
    let row = |line: u32, wait: &str| format!("{log},{line},2024-05-20T00:00:01Z,192.0.2.1,1,{wait}\n");
    let header = "input,line,time,key,cells,wait_s\n";
    let first = format!("{header}{}{}", row(11, "0.100000000"), row(12, "0.100000000"));
    assert_eq!(std::fs::read_to_string(&out).expect("it is written"), first);
    // Another limit is chosen; lines that were sorted in memory keep their numbers.
    let shuffled = file(
        "denied-shuffled.log",
        format!(
            "{}{}",
            log_line("192.0.2.9", 9),
            std::fs::read_to_string(&log).expect("a log")
        ),
    );
    let chosen = [
        "--limit",
        "10/s",
        "--limit",
        "5/min burst 10",
        "--chosen",
        "5/min burst 10",
        "--denied",
        &out,
        &shuffled,
    ];
    report(&chosen);
    let listed = std::fs::read_to_string(&out).expect("it is written");
    assert!(
        listed.contains(",12,2024-05-20T00:00:01Z,192.0.2.1,1,12.000000000\n"),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 3, "{listed}");
    // As many rows as the report counts, by the same hashes.
    let hidden = report(&["--limit", "10/s", "--anonymise", "--denied", &out, &log]);
    let listed = std::fs::read_to_string(&out).expect("it is written");
    let key = listed
        .lines()
        .nth(1)
        .and_then(|line| line.split(',').nth(3))
        .expect("a key");
    assert!(
        key.starts_with("key-") && hidden.contains(key) && !listed.contains("192.0.2.1"),
        "{listed}"
    );
}

#[test]
fn spread_denials_have_their_new_times() {
    let (log, out) = (file("spread.log", log()), file("spread.csv", ""));
    report(&["--limit", "10/s burst 1", "--spread", "--denied", &out, &log]);
    let listed = std::fs::read_to_string(&out).expect("it is written");
    assert!(
        listed.contains(",2,2024-05-20T00:00:01.083333333Z,192.0.2.1,1,0.016666667\n"),
        "{listed}"
    );
}

#[test]
fn rows_that_match_no_key_are_noted() {
    let log = file("unmet.log", log());
    let limits = file("unmet.csv", "192.0.2.9,1/h\n192.0.2.0/24,1/h\n192.0.2.1,unlimited\n");
    let notices = |options: &[&str]| {
        let told = report(&[&["--limits", &limits, "--format", "json", &log], options].concat());
        let json: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let notices = json["notices"].as_array().expect("an array").iter();
        notices
            .map(|notice| notice.as_str().expect("a text").to_owned())
            .collect::<Vec<_>>()
    };
    let noted = format!("2 of the keys in {limits} came in no request");
    assert!(
        notices(&[])
            .iter()
            .any(|notice| notice.ends_with(&format!("{noted}, such as `192.0.2.0/24`")))
    );
    assert!(notices(&["--anonymise"]).iter().any(|notice| notice.ends_with(&noted)));
}

#[test]
fn limits_of_a_file_apply_by_key() {
    let log = file("per-key.log", log());
    let limits = file("limits.csv", "key,limit\n192.0.2.1,fixed:4/s\n*,unlimited\n");
    let printed = report(&["--limits", &limits, "--limit", "10/s", "--format", "json", &log]);
    let json: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let denied: Vec<_> = json["limits"]
        .as_array()
        .expect("limits")
        .iter()
        .map(|limit| limit["denied"].as_u64())
        .collect();
    assert_eq!(denied, [Some(2), Some(8)]);
    assert_eq!(json["limits"][1]["limit"]["kind"], "per-key");
    assert_eq!(json["limits"][1]["admitted_by"], serde_json::json!([6, 0]));
    let alone = report(&["--limits", &limits, &log]);
    assert!(alone.contains(&format!("limits of {limits}")), "{alone}");
    let bad = file("bad-limits.csv", "192.0.2.1,4/fortnight\n");
    assert!(complaint(&["--limits", &bad, &log]).contains("bad-limits.csv:1: --limit `4/fortnight`"));
    let missing = complaint(&["--limits", "no-such.csv", &log]);
    assert!(missing.starts_with("--limits no-such.csv: "), "{missing}");
    assert!(
        missing.ends_with(": name a file of KEY,LIMIT lines, in UTF-8"),
        "{missing}"
    );
    let twice = complaint(&["--limits", &limits, "--denied", &limits, &log]);
    assert!(
        twice.ends_with("is named twice, and it would be overwritten: name another output"),
        "{twice}"
    );
    assert!(complaint(&["--limits", &limits, "--emit", "nginx", &log]).contains("it has a limit for each key"));
}

#[test]
fn configuration_is_printed_alone_or_after_the_report() {
    let alone = report(&["--limit", "10/s burst 20", "--emit", "nginx"]);
    assert!(alone.starts_with("# 10/s burst 20 for nginx (limit_req)\n"), "{alone}");
    assert!(alone.contains("limit_req zone=meter burst=19 nodelay;"), "{alone}");
    let log = file("emit.log", log());
    let arguments = [
        "--limit", "10/s", "--limit", "5/s", "--chosen", "5/s", "--by", "path", "--emit", "haproxy", &log,
    ];
    let printed = report(&arguments);
    assert!(
        printed.contains("\n# 5/s for HAProxy") && printed.contains("track-sc0 path "),
        "{printed}"
    );
    let json = report(&["--limit", "10/s", "--emit", "rust", "--format", "json", &log]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        json["configuration"]
            .as_str()
            .is_some_and(|text| text.contains("\"10/s\".parse")),
        "{json}"
    );
    // In a capture each address is a key.
    let packets = file("emit.pcap", capture(&[(1, 60), (2, 60)]));
    for (input, is_masked) in [(&log, true), (&packets, false)] {
        let printed = report(&["--limit", "10/s", "--emit", "haproxy", input]);
        assert_eq!(printed.contains("src,ipmask(32,64)"), is_masked, "{printed}");
    }
    let printed = complaint(&["--limit", "10/s", "--chosen", "3/s", "--emit", "rust"]);
    assert_eq!(printed, "--chosen `3/s` is none of the limits: 10/s");
    assert!(complaint(&["--limit", "10/s", "--emit", "apache"]).contains("nginx, envoy, haproxy, traefik, rust"));
}

/// The output of `--emit rust` is compiled here.
#[allow(unreachable_pub, reason = "what is emitted is for a library")]
mod emitted {
    mod keyed {
        include!("emitted/keyed.rs");
    }
    mod single {
        include!("emitted/single.rs");
    }
    mod keyed_average {
        include!("emitted/keyed_average.rs");
    }
    mod two_buckets {
        include!("emitted/two_buckets.rs");
    }

    #[test]
    fn rust_of_emit_compiles_and_decides() {
        let out = crate::run::report(&["--limit", "100/min burst 20", "--emit", "rust"]);
        assert_eq!(out, include_str!("emitted/keyed.rs"));
        let out = crate::run::report(&["--limit", "10/s", "--by", "all", "--emit", "rust"]);
        assert_eq!(out, include_str!("emitted/single.rs"));
        let average = ["--limit", "100/min", "--algorithm", "exponential", "--emit", "rust"];
        assert_eq!(crate::run::report(&average), include_str!("emitted/keyed_average.rs"));
        let buckets = [
            "--limit",
            "10/s & 1000/h",
            "--algorithm",
            "leaky-bucket",
            "--by",
            "all",
            "--emit",
            "rust",
        ];
        assert_eq!(crate::run::report(&buckets), include_str!("emitted/two_buckets.rs"));
        let keyed = keyed::limits().expect("a table");
        assert!(keyed.check("a").is_ok());
        assert!(single::limit().expect("a meter").check().is_ok());
        assert!(keyed_average::limits().expect("a table").check("a").is_ok());
        assert!(two_buckets::limit().expect("two meters").check().is_ok());
    }
}

#[test]
fn every_output_has_headline_and_command_line() {
    let log = file("it's a.log", log());
    let (chart, page) = (file("command.svg", ""), file("command.html", ""));
    let arguments = [
        "--limit",
        "10/s",
        "--max-bad",
        "50",
        "--chart",
        &chart,
        "--report",
        &page,
        &log,
    ];
    let table = report(&arguments);
    // The paths of Windows have a character that is quoted.
    let quote = if cfg!(windows) { "'" } else { "" };
    let command = format!(
        "meter-replay --limit 10/s --max-bad 50 --chart {quote}{chart}{quote} --report {quote}{page}{quote} '{}'",
        log.replace('\'', "'\\''")
    );
    assert!(table.contains(&command), "{table}");
    let headline = "10/s would have throttled 0 to 1 of 2 clients and denied 0.0% to 15.4% of requests";
    assert!(table.replace('\n', " ").starts_with(headline), "{table}");
    let json = report(&["--format", "json", "--limit", "10/s", "--max-bad", "50", &log]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        json["headline"].as_str().is_some_and(|text| text.starts_with(headline)),
        "{json}"
    );
    assert!(
        json["parameters"]["command"]
            .as_str()
            .is_some_and(|text| text.starts_with("meter-replay --format json"))
    );
    assert_eq!(json["inputs"][0]["resolution_ns"], 1_000_000_000);
    assert_eq!(json["limits"][0]["spread"]["denied"], 0);
    for path in [&chart, &page] {
        let picture = std::fs::read_to_string(path).expect("it is written");
        assert!(picture.contains("meter-replay --limit 10/s --max-bad 50"), "{picture}");
        assert!(
            picture.contains("would have throttled 0 to 1 of 2 clients"),
            "{picture}"
        );
    }
}

#[test]
fn many_bad_lines_change_headline_and_exit_code() {
    let log = file("too-bad.log", log());
    let output = meter_replay(&["--limit", "10/s", "--max-bad", "0", &log]);
    assert_eq!(output.status.code(), Some(3));
    let table = text(&output.stdout);
    assert!(
        table.starts_with("Of part of the traffic (1 line could not be read): 10/s would have"),
        "{table}"
    );
}
