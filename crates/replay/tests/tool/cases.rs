//! Logs of real users: each input once failed here or in a tool of the field, and must be read as its users expect.

use crate::run::{meter_replay, text};
use serde_json::Value;

/// An input, its command line, and the expected report.
struct ReportCase {
    /// The folder and file in `tests/cases`.
    input: &'static str,
    arguments: &'static [&'static str],
    requests: u64,
    bad: u64,
    keys: u64,
    denied: u64,
}

const ONE: &[&str] = &["--limit", "1/s burst 1"];
const WIDE: &[&str] = &["--limit", "1000/s"];

const fn case(
    input: &'static str,
    arguments: &'static [&'static str],
    [requests, bad, keys, denied]: [u64; 4],
) -> ReportCase {
    ReportCase {
        input,
        arguments,
        requests,
        bad,
        keys,
        denied,
    }
}

/// Input, arguments, and then requests, bad lines, keys and denied cells.
const CASES: [ReportCase; 25] = [
    case("b01a-quoted-first-field/access.log", ONE, [3, 0, 1, 2]),
    case("b01b-quoted-first-field-and-xff/access.log", ONE, [3, 0, 1, 2]),
    case("b02-forwarded-list-first/access.log", ONE, [3, 0, 1, 2]),
    case("b04-vhost-combined/access.log", ONE, [3, 0, 1, 1]),
    case("b05a-user-with-space/access.log", ONE, [4, 0, 2, 2]),
    case("b07-status-dash/access.log", ONE, [3, 0, 1, 2]),
    case("b08-bom/access.log", ONE, [3, 0, 1, 2]),
    case(
        "b10-fraction-in-stamp/access.log",
        &["--limit", "2/s burst 1"],
        [4, 0, 1, 2],
    ),
    case("b12a-address-with-port/access.log", ONE, [5, 0, 1, 4]),
    case("b13-caddy-json/access.log", ONE, [3, 0, 1, 2]),
    case("b14-cloudfront/cf.log", ONE, [3, 0, 1, 1]),
    case("b16-syslog-prefix/access.log", ONE, [3, 0, 1, 1]),
    case(
        "b17c-epoch-milliseconds/t.csv",
        &["--limit", "1/s burst 1", "--key", "client"],
        [3, 0, 1, 1],
    ),
    case(
        "b18-float-cost/t.csv",
        &["--limit", "400/min", "--key", "tenant", "--cost", "tokens"],
        [2, 1, 1, 0],
    ),
    case("b23-docker-json/c-json.log", ONE, [3, 0, 1, 1]),
    case("b27-stamp-is-the-end/access.log", ONE, [3, 0, 1, 2]),
    case(
        "b29-time-is-a-duration/t.csv",
        &["--limit", "1/s burst 1", "--key", "client"],
        [3, 0, 1, 0],
    ),
    // Of two entries glued together both are read, of a piece and an entry the entry.
    case("b31-glued-lines/access.log", ONE, [4, 1, 2, 2]),
    case("b32-more-names-before-the-stamp/access.log", ONE, [3, 0, 1, 2]),
    case("b33-taken-for-a-table/access.log", ONE, [3, 0, 1, 1]),
    case("c02a-sll/any.pcap", WIDE, [2, 0, 2, 0]),
    case("c03-raw-ip/wg0.pcap", WIDE, [3, 0, 3, 0]),
    case("c04-pppoe/dsl.pcap", WIDE, [3, 0, 2, 0]),
    case(
        "polite-10-per-second/polite_10_per_s.log",
        &["--limit", "10/s burst 1"],
        [600, 0, 1, 540],
    ),
    case(
        "polite-10-per-second/polite_10_per_s_ms.csv",
        &["--limit", "10/s burst 1", "--by", "ip"],
        [600, 0, 1, 0],
    ),
];

fn path(input: &str) -> String {
    format!("{}/tests/cases/{input}", env!("CARGO_MANIFEST_DIR"))
}

/// The report of a run that reports, as JSON.
fn json(arguments: &[&str], input: &str) -> Value {
    let output = meter_replay(&[arguments, &["--format", "json", &path(input)]].concat());
    assert_eq!(output.status.code(), Some(0), "{input}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn every_kind_of_input_is_read_as_expected() {
    for case in CASES {
        let report = json(case.arguments, case.input);
        let numbers = [
            &report["traffic"]["requests"],
            &report["traffic"]["bad_lines"],
            &report["traffic"]["keys"],
            &report["limits"][0]["denied"],
        ];
        let expected = [case.requests, case.bad, case.keys, case.denied];
        assert_eq!(numbers.map(Value::as_u64), expected.map(Some), "{}", case.input);
    }
}

#[test]
fn key_is_the_bare_address_in_any_spelling() {
    for case in &CASES[..10] {
        let report = json(case.arguments, case.input);
        assert_eq!(
            report["limits"][0]["hardest_hit"][0]["key"], "203.0.113.7",
            "{}",
            case.input
        );
    }
}

#[test]
fn modified_capture_format_is_rejected_by_name() {
    let output = meter_replay(&["--limit", "1000/s", &path("c11-modified-magic/mod.pcap")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("capture with the magic number of the modified format"));
}

#[test]
fn whole_seconds_have_two_bounds_and_milliseconds_one() {
    let arguments = ["--limit", "10/s burst 1"];
    let seconds = json(&arguments, "polite-10-per-second/polite_10_per_s.log");
    let limit = &seconds["limits"][0];
    assert_eq!(
        (&limit["denied"], &limit["spread"]["denied"]),
        (&540.into(), &0.into()),
        "{limit}"
    );
    assert_eq!(seconds["inputs"][0]["resolution_ns"], 1_000_000_000);
    let even = json(
        &["--limit", "10/s burst 1", "--spread"],
        "polite-10-per-second/polite_10_per_s.log",
    );
    assert_eq!(even["limits"][0]["denied"], 0);
    assert_eq!(even["limits"][0]["least_rate"]["limit"]["text"], "10/s burst 1");
    let milliseconds = json(
        &["--limit", "10/s burst 1", "--by", "ip"],
        "polite-10-per-second/polite_10_per_s_ms.csv",
    );
    let limit = &milliseconds["limits"][0];
    assert_eq!(
        (&limit["denied"], &limit["spread"]),
        (&0.into(), &Value::Null),
        "{limit}"
    );
    assert_eq!(milliseconds["inputs"][0]["resolution_ns"], 1_000_000);
}
