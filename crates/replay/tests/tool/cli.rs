//! The tool itself: its output, its errors, and its exit codes.

use std::process::{Command, Stdio};

use crate::run::{complaint, file, log_line, meter_replay, report, text};

#[test]
fn demo_explains_itself_and_never_changes() {
    let demo = report(&["--demo"]);
    assert_eq!(report(&["--demo"]), demo);
    assert!(demo.lines().all(|line| line.chars().count() <= 100), "{demo}");
    let table = "
  limit           cells asked  admitted  denied  denied %  keys denied
  2/s                  11,369     3,538   7,831     68.9%     42 of 42
  2/s burst 20         11,369     9,027   2,342     20.6%      2 of 42
  10/s burst 200       11,369    11,068     301      2.6%      1 of 42

Smallest limits without denials:
  limit           least burst at its rate  least rate at its burst
  2/s                      2/s burst 1801           1084/s burst 2
  2/s burst 20             2/s burst 1801        3489/min burst 20
  10/s burst 200           10/s burst 501       2402/min burst 200

Requests denied by one limit but not by another:
  denied by          not A  not B  not C
  A  2/s                 -  5,489  7,530
  B  2/s burst 20        0      -  2,041
  C  10/s burst 200      0      0      -

Hardest hit by 2/s:
  key         cells asked  denied  denied %  longest wait
  crawler           3,000   1,799     60.0%      404.8 ms
";
    assert!(demo.contains(table), "{demo}");
    assert_eq!(
        report(&["--demo", "--algorithm", "leaky-bucket"]),
        demo.replace("\ngcra", "\nleaky bucket").replace(
            "meter-replay --demo\n",
            "meter-replay --demo --algorithm leaky-bucket\n"
        )
    );
}

#[test]
fn exponential_average_has_no_burst_and_no_minimum() {
    let demo = report(&["--demo", "--algorithm", "exponential"]);
    assert!(demo.contains("\nexponential, a meter for each of 42 keys"), "{demo}");
    assert!(demo.contains("  200/20s  "), "{demo}");
    assert!(!demo.contains("Smallest limits without denials"), "{demo}");
    assert_eq!(
        complaint(&["--demo", "--algorithm", "exponential", "--limit", "9/s burst 5"]),
        "--limit `9/s burst 5`: an exponential limit of 9 cells cannot have a burst of 5"
    );
}

#[test]
fn two_limits_are_one_in_every_output() {
    // Ten at once, ten a second; thirty an hour. The fourth second's are all too many for the second limit.
    let log: String = (0..6)
        .flat_map(|second| (0..12).map(move |_| log_line("192.0.2.1", second)))
        .collect();
    let log = file("two-limits.log", log);
    let limit = "10/s & 30/h";
    let (chart, page) = (file("two-limits.svg", ""), file("two-limits.html", ""));
    for (algorithm, name) in [("gcra", "gcra"), ("leaky-bucket", "leaky bucket")] {
        let table = report(&[
            "--limit",
            limit,
            "--algorithm",
            algorithm,
            "--chart",
            &chart,
            "--report",
            &page,
            &log,
        ]);
        let expected = "

  limit        cells asked  admitted  denied  denied %  keys denied
  10/s & 30/h           72        30      42     58.3%       1 of 1

Smallest limits without denials:
  limit        least burst at its rate  least rate at its burst
  10/s & 30/h     no value: two limits     no value: two limits

Hardest hit by 10/s & 30/h:
  key        cells asked  denied  denied %  longest wait
  192.0.2.1           72      42     58.3%";
        assert!(table.contains(expected), "{table}");
        assert!(
            table.contains(&format!("\n{name}, a meter for the only key (by ip)\n")),
            "{table}"
        );
        let [chart, page] = [&chart, &page].map(|path| std::fs::read_to_string(path).expect("it is written"));
        assert!(chart.contains("10/s &amp; 30/h"), "{chart}");
        assert!(
            page.contains("10/s &amp; 30/h") && page.contains("no value: two limits"),
            "{page}"
        );
        let json = report(&["--limit", limit, "--algorithm", algorithm, "--format", "json", &log]);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let outcome = &json["limits"][0];
        assert_eq!(outcome["limit"]["text"], limit);
        assert_eq!(outcome["limit"]["cells"], serde_json::Value::Null);
        assert_eq!(outcome["limit"]["each"][0]["cells"], 10);
        assert_eq!(outcome["limit"]["each"][1]["text"], "30/h");
        assert_eq!((&outcome["admitted"], &outcome["denied"]), (&30.into(), &42.into()));
        assert_eq!(outcome["least_burst"]["reason"], "two-limits");
    }
    let average = report(&["--limit", limit, "--algorithm", "exponential", &log]);
    assert!(
        average.contains("  10/s & 30/h           72        30      42"),
        "{average}"
    );
    assert!(!average.contains("Smallest limits without denials"), "{average}");
}

#[test]
fn asked_is_admitted_and_denied_together() {
    let demo = report(&[
        "--demo",
        "--limit",
        "1/s",
        "--limit",
        "5/s burst 9",
        "--limit",
        "10000000/s",
    ]);
    let mut limits = 0;
    for line in demo.lines().filter(|line| line.ends_with(" of 42")) {
        let numbers: Vec<u64> = line
            .split_whitespace()
            .filter_map(|word| word.replace(',', "").parse().ok())
            .collect();
        let [asked, admitted, denied] = numbers[numbers.len() - 5..numbers.len() - 2] else {
            panic!("{line}")
        };
        assert_eq!(asked, admitted + denied, "{line}");
        limits += 1;
    }
    assert_eq!(limits, 3, "{demo}");
    assert!(demo.contains("No key is hit by 10000000/s."), "{demo}");
}

#[test]
fn missing_or_bad_option_fails_in_one_line() {
    let log = file("complaints.log", log_line("192.0.2.1", 1));
    let table: &[(&[&str], &str)] = &[
        (
            &[],
            "no limit to try: give at least one, such as --limit 10/s, or see --demo",
        ),
        (
            &[&log],
            "no limit to try: give at least one, such as --limit 10/s, or see --demo",
        ),
        (
            &["--limit", "10/s"],
            "nothing to replay: name at least one file, or see --demo",
        ),
        (
            &["--limit", "10/s", "--cost", "tokens", &log],
            "there is no group `tokens`; the groups are `ip`, `ident`, `user`, `time`, `request`, `status`, `bytes`, `referer`, `user_agent`, `xff`",
        ),
        (
            &["--limit", "10/s", "--time", "date", &log],
            "each of its lines has its stamp in brackets",
        ),
        (
            &["--limit", "10/s", "--by", "tenant", &log],
            ": name one of them, or say ip, xff, path, method or status",
        ),
        (
            &["--limit", "10/s", "--by", "path", "--ipv6-prefix", "64", &log],
            "--ipv6-prefix does not apply to --by path: say --by ip, host or a column of addresses",
        ),
        (
            &["--limit", "10/s", "--by", "path", "--ipv4-prefix", "24", &log],
            "--ipv4-prefix does not apply to --by path: say --by ip, host or a column of addresses",
        ),
        (
            &["--limit", "10/s", "--tz", "UTC+2", &log],
            "no such time zone; a zone is like Europe/Berlin or +02:00",
        ),
        (
            &["--limit", "10/s", "--chart", "day.PNG", &log],
            "--chart writes SVG: name it like day.svg, and convert that file, or open it in a browser",
        ),
        (
            &["--limit", "10/s", "--report", "day.pdf", &log],
            "--report writes HTML: name it like day.html",
        ),
        (
            &["--limit", "10r/s burst=20", &log],
            "this is a rate of nginx: write nginx:10r/s burst=20, or without nginx",
        ),
        (
            &["--limit", "10/s", "-", &log, "-"],
            "standard input (-) can be read only once",
        ),
        (&["--limit", "ten/s", "--demo"], "`ten`"),
        (&["--limit", "10/fortnight", "--demo"], "`fortnight`"),
        (&["--limit", "100/min brust 20", "--demo"], "`brust`"),
        (&["--limit", "100/min burst", "--demo"], "at its end"),
        (&["--limit", "0/s", "--demo"], "`0`"),
        (&["--limit", "1/s weight 2", "--demo"], "weight 2"),
        (&["--limit", "10/s", "--limit", "1/201000d", "--demo"], "200"),
        (&["--limit", "10/s & 5/y", "--demo"], "at `y`"),
        (&["--limit", "10/s &", "--demo"], "at its end"),
        (
            &["--limit", "10/s & 5/h & 1/d", "--demo"],
            "at `&`: expected two quotas and no third",
        ),
    ];
    for (arguments, expected) in table {
        let complaint = complaint(arguments);
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
    let missing = complaint(&["--limit", "10/s", &log, "no-such-file.log"]);
    assert!(missing.starts_with("no-such-file.log: "), "{missing}");
    assert!(complaint(&["--limit", "10/s", env!("CARGO_TARGET_TMPDIR")]).starts_with(env!("CARGO_TARGET_TMPDIR")));
}

#[test]
fn missing_column_error_lists_columns() {
    let table = file("columns.csv", "when,user,n\n1,a,1\n");
    let columns = "the columns are `when`, `user`, `n`";
    assert!(complaint(&["--limit", "1/s", &table]).contains(columns));
    assert!(complaint(&["--limit", "1/s", "--time", "when", "--by", "ip", &table]).contains(columns));
    assert!(complaint(&["--limit", "1/s", "--time", "when", "--cost", "cells", &table]).contains(columns));
    report(&[
        "--limit",
        "1/s",
        "--allow-old",
        "--time",
        "when",
        "--key",
        "user",
        "--cost",
        "n",
        &table,
    ]);
}

#[test]
fn key_column_and_key_kind_are_exclusive() {
    for arguments in [
        &["--by", "ip", "--key", "user"][..],
        &["--demo", "--by", "all"],
        &["--demo", "a.log"],
    ] {
        assert_eq!(meter_replay(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn column_named_all_needs_its_own_option() {
    let table = file("all.csv", "time,all\n1,a\n1,b\n");
    assert!(report(&["--limit", "1/s", "--allow-old", "--key", "all", &table]).contains("0 of 2"));
    assert!(report(&["--limit", "1/s", "--allow-old", "--by", "all", &table]).contains("1 of 1"));
}

#[test]
fn bad_lines_are_counted_and_first_few_quoted() {
    let mut log: Vec<u8> = b" \"curl/7.54.0\"\n\n   \n".to_vec();
    log.extend(log_line("2001:db8::1", 1).bytes());
    for number in 0..9 {
        log.extend_from_slice(format!("what {number} \u{1b}[31m").as_bytes());
        log.extend_from_slice(b"\xff\r\n");
    }
    let log = file("bad.log", log);
    let output = meter_replay(&["--limit", "1/s", &log]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stdout).contains("\n1 request, "),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&output.stdout).contains("lines skipped as bad: 10"));
    let printed = text(&output.stderr);
    let quoted: Vec<&str> = printed.lines().collect();
    let reason = "not a line of Common or Combined Log Format";
    assert_eq!(quoted.len(), 6, "{printed}");
    assert_eq!(quoted[0], format!("{log}:1: {reason}: ` \"curl/7.54.0\"`"));
    assert_eq!(quoted[1], format!("{log}:5: {reason}: `what 0 \\u{{1b}}[31m\u{fffd}`"));
    assert_eq!(
        quoted[5],
        "meter-replay: skipped 10 of 11 lines as bad; the first few are above"
    );
}

#[test]
fn input_without_a_good_line_is_an_error() {
    let bad = file("all-bad.log", "one\ntwo\n\n");
    let blank = file("blank.log", "\n\r\n");
    let empty = file("empty.log", "");
    let printed = complaint(&["--limit", "1/s", &bad, &empty]);
    assert!(
        printed.starts_with("no line could be read; the first of 2 is "),
        "{printed}"
    );
    assert!(
        printed.contains(
            "all-bad.log:1: not a line of Common or Combined Log Format: `one`; the file was taken for text of no known format"
        ),
        "{printed}"
    );
    let header = file("header.csv", "time,key\n");
    for order in ["sort", "as-is"] {
        assert_eq!(
            complaint(&["--limit", "1/s", "--order", order, &blank, &empty, &header]),
            format!("no requests in {blank}, {empty}, {header}: name an input with requests")
        );
        let log = file("not-empty.log", log_line("192.0.2.1", 1));
        let output = meter_replay(&["--limit", "1/s", "--order", order, &empty, &log]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), format!("meter-replay: no requests in {empty}\n"));
    }
}

#[test]
fn rotated_files_give_the_same_in_any_order() {
    let older: String = [1, 5, 5, 3].map(|second| log_line("192.0.2.1", second)).concat();
    let newer: String = [5, 6, 8].map(|second| log_line("192.0.2.1", second)).concat();
    let (older, newer) = (file("rotated.log.1", older), file("rotated.log", newer));
    let expected = report(&["--limit", "1/2s", &older, &newer]);
    assert!(expected.contains("7         4       3"), "{expected}");
    let other = report(&["--limit", "1/2s", &newer, &older]);
    assert_eq!(without_command(&other), without_command(&expected));
}

fn without_command(report: &str) -> Vec<&str> {
    report.lines().filter(|line| !line.starts_with("command: ")).collect()
}

#[test]
fn logs_and_tables_mix_only_with_one_key() {
    let log = file("mixed.log", log_line("192.0.2.1", 1));
    let table = file("mixed.csv", "time,ip\n2024-05-20T00:00:01Z,192.0.2.1\n");
    assert!(complaint(&["--limit", "1/s", &log, &table]).contains("say --by ip or --by all for both"));
    assert!(report(&["--limit", "1/s", "--by", "ip", &log, &table]).contains("1 of 1"));
    assert!(report(&["--limit", "1/s", "--by", "all", &table, &log]).contains("1 of 1"));
}

#[test]
fn ticking_limit_is_replayed_without_a_minimum() {
    let table = file("ticks.csv", "time\n0.5\n0.75\n0.999999999\n1\n1.25\n");
    let report = report(&["--limit", "1/s every 1s", "--limit", "1/s", "--allow-old", &table]);
    assert!(
        report.contains("1/s every 1s            5         2       3"),
        "{report}"
    );
    assert!(report.contains("no value: cells come in ticks"), "{report}");
}

#[test]
fn requests_larger_than_the_burst_are_counted_apart() {
    let table = file(
        "large.csv",
        "time,cost\n0,10\n1,0\n1,11\n1,4294967296\n2,18446744073709551615\n9,1\n",
    );
    let report = report(&["--limit", "10/min", "--allow-old", "--cost", "cost", &table]);
    // Too wide for a terminal as a line of a table.
    let expected = "
  limit          10/min
    cells asked  18,446,744,078,004,518,933
    admitted     11
    denied       18,446,744,078,004,518,922
    denied %     >99.9%
    keys denied  1 of 1
    too large    3
";
    assert!(report.contains(expected), "{report}");
}

#[test]
fn traffic_of_decades_is_measured_or_an_error() {
    let table = file("decades.csv", "time\n0\n3600000000\n3600000000\n7200000000\n");
    assert!(report(&["--limit", "1/d", "--allow-old", &table]).contains("  4         3       1"));
    let yearly: String = (0..30_u64).map(|year| format!("{}\n", year * 31_557_600)).collect();
    let table = file("yearly.csv", format!("time\n{yearly}"));
    assert!(report(&["--limit", "1/7000d", "--allow-old", &table]).contains("  30         2      28"));
    let printed = complaint(&["--limit", "1/10000d", "--allow-old", &table]);
    assert!(
        printed.contains("`all` spans more than 10 years in which 1/10000d is never idle"),
        "{printed}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let log = file("one.log", log_line("192.0.2.1", 1));
    let mut arguments = vec![&log[..], "--order", "as-is"];
    for _ in 0..1_200 {
        arguments.extend(["--limit", "1/s"]);
    }
    // More than any pipe holds, so the tool does come to write to the closed one.
    let long = report(&arguments);
    assert!(long.len() > 100_000, "{}", long.len());
    let mut child = Command::new(env!("CARGO_BIN_EXE_meter-replay"))
        .args(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the tool ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn help_completions_and_manual_agree() {
    let help = report(&["--help"]);
    assert!(
        help.contains("Examples:") && help.contains("meter-replay --demo"),
        "{help}"
    );
    assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let completions = report(&["--completions", shell]);
        assert!(
            completions.contains("ipv6-prefix") && completions.contains("as-is"),
            "{shell}"
        );
    }
    let man = report(&["--man"]);
    assert!(man.contains(".TH meter-replay 1") && man.contains("ipv6"), "{man}");
}

#[test]
fn bad_object_behind_prefix_counts_once() {
    let good = r#"web-1  | {"ts":1716163218,"remote_ip":"203.0.113.7"}"#;
    let bad = r#"web-1  | {"ts":1716163218,"msg":"started"}"#;
    let log = file("compose.log", format!("{good}\n{bad}\n{good}\n{bad}{good}\n"));
    let output = meter_replay(&["--limit", "1/s", &log]);
    assert_eq!(output.status.code(), Some(3));
    let printed = text(&output.stderr);
    assert!(
        printed.ends_with("skipped 2 of 5 lines as bad; the first few are above\n"),
        "{printed}"
    );
    assert!(printed.contains(":2: the key is missing: `web-1  | {"), "{printed}");
}
