//! Inputs of the tool: packed, piped, captured, out of order, or broken.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::run::{complaint, file, log_line, meter_replay, report, text};
use flate2::{Compression, write::GzEncoder};

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_ref()).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn log(seconds: impl IntoIterator<Item = u32>) -> String {
    seconds
        .into_iter()
        .map(|second| log_line("192.0.2.1", second))
        .collect()
}

/// The table of a report, without the parts that depend on the names and the number of the inputs.
fn table(report: &str) -> &str {
    &report[report.find("  limit").expect("a table")..]
}

fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meter-replay"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // The tool may end before it has read all of it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the tool ends")
}

/// A capture of packets, all between the same two, by their seconds and sizes.
pub(crate) fn capture(packets: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1_u32]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let mut frame = vec![0; 12];
    frame.extend_from_slice(&[0x08, 0]);
    frame.extend_from_slice(&[0x45; 12]);
    frame.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
    for &(second, size) in packets {
        bytes.extend([second, 0, 34, size].iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend_from_slice(&frame);
    }
    bytes
}

#[test]
fn packed_and_piped_inputs_equal_plain_files() {
    let whole = log([1, 1, 2, 3, 5, 8]);
    let expected = report(&["--limit", "1/s", &file("whole.log", &whole)]);
    let expected = table(&expected);
    let packed = file("whole.log.gz", gzip(&whole));
    // By their contents, not their names.
    let disguised = file("packed.log", gzip(&whole));
    let members = file("members.gz", [gzip(log([1, 1])), gzip(log([2, 3, 5, 8]))].concat());
    for path in [&packed, &disguised, &members] {
        assert_eq!(table(&report(&["--limit", "1/s", path])), expected, "{path}");
    }
    for order in ["sort", "as-is"] {
        for input in [whole.as_bytes(), &gzip(&whole)] {
            let output = piped(&["--limit", "1/s", "--order", order, "-"], input);
            assert_eq!(table(&text(&output.stdout)), expected, "{}", text(&output.stderr));
        }
        let first = file("first.log.gz", gzip(log([1, 1, 2])));
        let output = piped(
            &["--limit", "1/s", "--order", order, &first, "-"],
            log([3, 5, 8]).as_bytes(),
        );
        assert_eq!(table(&text(&output.stdout)), expected, "{}", text(&output.stderr));
    }
    // Standard input comes first in time, though it is named last.
    let last = file("last.log", log([2, 3, 5, 8]));
    let output = piped(&["--limit", "1/s", &last, "-"], log([1, 1]).as_bytes());
    assert_eq!(table(&text(&output.stdout)), expected);
}

#[test]
fn unordered_lines_are_sorted_or_kept_as_given() {
    let mixed = file("mixed-up.log", log([5, 1, 9, 1, 5, 20]));
    let sorted = file("sorted.log", log([1, 1, 5, 5, 9, 20]));
    let expected = report(&["--limit", "1/s", &sorted]);
    let printed = report(&["--limit", "1/s", &mixed]);
    assert_eq!(table(&printed), table(&expected));
    // At 5 and 9 one is admitted; earlier requests are denied then.
    let as_is = report(&["--limit", "1/s", "--order", "as-is", &mixed]);
    assert!(table(&as_is).contains("6         3       3"), "{as_is}");
}

#[test]
fn packet_costs_its_bytes_on_the_wire() {
    let lan = file("lan.pcap", capture(&[(1, 1_500), (1, 1_500), (2, 1_500), (9, 60)]));
    let printed = report(&["--limit", "1500/s", "--limit", "4/h burst 4000", &lan]);
    assert!(
        printed.contains("1500/s                4,560     3,060   1,500"),
        "{printed}"
    );
    assert!(printed.contains("192.0.2.1"), "{printed}");
    assert!(report(&["--limit", "1500/s", "--by", "host", &lan]).contains("192.0.2.2"));
    let packed = file("lan.pcap.gz", gzip(fs::read(&lan).expect("as written")));
    assert_eq!(
        table(&report(&["--limit", "1500/s", &packed])),
        table(&report(&["--limit", "1500/s", &lan]))
    );
    for (option, value) in [("--by", "path"), ("--by", "status"), ("--key", "ip")] {
        let printed = complaint(&["--limit", "1/s", option, value, &lan]);
        assert!(
            printed.ends_with("say --by ip (the sender), host (the receiver) or all"),
            "{printed}"
        );
    }
    assert!(complaint(&["--limit", "1/s", "--cost", "n", &lan]).contains("a packet costs its bytes on the wire"));
    assert!(report(&["--limit", "1/s", "--cost", "packets", &lan]).contains("1/s              4         3       1"));
    let printed = complaint(&["--limit", "1/s", &file("beside.log", log([1])), &lan]);
    assert!(
        printed.ends_with("one has packets, the other requests; replay them apart"),
        "{printed}"
    );
}

#[test]
fn paths_statuses_and_hosts_are_keys() {
    let line = |request: &str, status: u32| {
        format!("www.example.org - - [20/May/2024:00:00:01 +0000] \"{request}\" {status} 5\n")
    };
    let log = file(
        "keys.log",
        [
            line("GET /a?1 HTTP/1.1", 200),
            line("GET /a?2 HTTP/1.1", 404),
            line("GET /b HTTP/1.1", 404),
        ]
        .concat(),
    );
    for (by, key) in [("path", "  /a "), ("status", "  404 "), ("host", "  www.example.org ")] {
        let printed = report(&["--limit", "1/s", "--by", by, &log]);
        assert!(printed.contains(key), "{printed}");
    }
}

#[test]
fn ipv6_network_is_one_key_by_default() {
    let log: String = [
        "2001:db8:1:2::a",
        "2001:DB8:1:2:ffff::",
        "2001:db8:1:3::",
        "192.0.2.1",
        "192.0.2.2",
    ]
    .map(|client| log_line(client, 1))
    .concat();
    let log = file("ipv6.log", log);
    let printed = report(&["--limit", "1/s", &log]);
    assert!(
        printed.contains("  2001:db8:1:2::/64 ") && printed.contains("1 of 4"),
        "{printed}"
    );
    assert!(printed.contains("IPv6 clients are one key for each /64"), "{printed}");
    let printed = report(&["--limit", "1/s", "--ipv6-prefix", "128", &log]);
    assert!(printed.contains("0 of 5") && !printed.contains("/64"), "{printed}");
    let table = file(
        "ipv6.csv",
        "time,client\n1716163201,2001:db8:1:2::a\n1716163201,2001:db8:1:2::b\n",
    );
    let printed = report(&["--limit", "1/s", "--key", "client", "--ipv6-prefix", "48", &table]);
    assert!(printed.contains("  2001:db8:1::/48 "), "{printed}");
    assert_eq!(meter_replay(&["--demo", "--ipv6-prefix", "0"]).status.code(), Some(2));
}

#[test]
fn broken_or_missing_input_fails_in_one_line() {
    let whole = gzip(log(0..60));
    let packets = capture(&[(1, 60), (2, 60)]);
    let mut other_link = packets.clone();
    other_link[20] = 105;
    let modified = [&[0x34, 0xcd, 0xb2, 0xa1][..], &[0; 60]].concat();
    let table: [(&str, Vec<u8>, &str); 8] = [
        ("cut-header.gz", whole[..5].to_vec(), "the gzip data is cut off"),
        ("cut-header.pcap", packets[..20].to_vec(), "cut off within its header"),
        ("cut.pcap.gz", gzip(&packets[..50]), "cut off within packet 1"),
        ("wireless.pcap", other_link, "packet capture of link type 105"),
        ("modified.pcap", modified, "editcap -F pcap"),
        (
            "archive.zip",
            b"PK\x03\x04 and so on".to_vec(),
            "unzip -p FILE | meter-replay",
        ),
        (
            "list.json",
            b"[\n  {\n    \"time\": 1\n  }\n]\n".to_vec(),
            "jq -c '.[]'",
        ),
        ("pretty.json", b"{\n  \"time\": 1\n}\n".to_vec(), "jq -c '.'"),
    ];
    for (name, content, expected) in table {
        let path = file(name, content);
        for order in ["sort", "as-is"] {
            let printed = complaint(&["--limit", "1/s", "--order", order, &path]);
            assert!(printed.starts_with(&path) && printed.contains(expected), "{printed}");
        }
        let output = piped(&["--limit", "1/s", "-"], &fs::read(&path).expect("as written"));
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "");
        assert!(
            text(&output.stderr).contains("standard input"),
            "{}",
            text(&output.stderr)
        );
    }
    for order in ["sort", "as-is"] {
        let folder = env!("CARGO_TARGET_TMPDIR");
        assert!(complaint(&["--limit", "1/s", "--order", order, folder]).starts_with(folder));
        let missing = complaint(&["--limit", "1/s", "--order", order, "no-such.log"]);
        assert!(missing.starts_with("no-such.log: "), "{missing}");
    }
    assert_eq!(piped(&["--limit", "1/s", "-"], b"").status.code(), Some(2));
}

#[test]
fn truncated_input_is_read_to_its_end() {
    let whole = gzip(log(0..60));
    let mut broken = whole.clone();
    let checksum = broken.len() - 6;
    broken[checksum] ^= 1;
    let packets = capture(&[(1, 60), (2, 60), (3, 60)]);
    let broken_packet = [&packets[..], &[0; 8], &[0xff; 8]].concat();
    let table: [(&str, Vec<u8>, &str); 4] = [
        (
            "cut.gz",
            whole[..whole.len() / 2].to_vec(),
            "the gzip data is cut off: the rest is lost",
        ),
        ("broken.gz", broken, "the gzip data is broken"),
        (
            "cut.pcap",
            packets[..packets.len() - 1].to_vec(),
            "the capture is cut off within packet 3: the rest is lost",
        ),
        ("broken.pcap", broken_packet, "the capture is broken within packet 4"),
    ];
    for (name, content, expected) in table {
        let path = file(name, content);
        for arguments in [&["--limit", "1/s"][..], &["--limit", "1/s", "--order", "as-is"]] {
            let output = meter_replay(&[arguments, &["--format", "json", &path]].concat());
            assert_eq!(output.status.code(), Some(3), "{name}");
            assert!(text(&output.stdout).contains(expected), "{}", text(&output.stdout));
        }
    }
}

#[test]
fn damage_is_named_beside_an_unreadable_format() {
    let document = gzip("{\n  \"events\": [\n    {}\n  ]\n}\n");
    let mut broken = document.clone();
    let checksum = broken.len() - 6;
    broken[checksum] ^= 1;
    let path = file("broken.json.gz", broken);
    let printed = complaint(&["--limit", "1/s", &path]);
    let expected = "jq -c '.events[]' FILE | meter-replay ... -; the gzip data is broken: ";
    assert!(printed.contains(expected), "{printed}");
    let whole = complaint(&["--limit", "1/s", &file("whole.json.gz", document)]);
    assert!(whole.ends_with("FILE | meter-replay ... -"), "{whole}");
}

#[test]
fn unlikely_years_are_bad_lines_without_an_option() {
    let years = [1969, 1970, 1989, 1990, 2099, 2100, 2200, 2201];
    let lines = years.map(|year| log_line("192.0.2.1", 7).replace("2024", &year.to_string()));
    let log = file("years.log", lines.concat());
    for (arguments, bad) in [(&["--limit", "1/d"][..], 6), (&["--limit", "1/d", "--allow-old"], 2)] {
        let output = meter_replay(&[arguments, &["--format", "json", &log]].concat());
        assert_eq!(output.status.code(), Some(3));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["traffic"]["bad_lines"], bad);
    }
    let printed = text(&meter_replay(&["--limit", "1/d", &log]).stderr);
    assert!(
        printed.contains("outside of the years 1990 to 2099") && printed.contains("--allow-old"),
        "{printed}"
    );
}

#[test]
fn pipe_beside_a_late_file_is_read() {
    // In order for its first thousand requests, so that the tool starts over.
    let late = log((0..2_000).map(|line| if line == 1_500 { 1 } else { line / 100 }));
    let late = file("late.log", late);
    let output = piped(&["--limit", "1/d", "-", &late], log([3, 4]).as_bytes());
    let report = text(&output.stdout);
    assert!(
        output.status.success() && report.contains("\n2,002 requests, "),
        "{report}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn small_files_are_closed_once_read() {
    let names: Vec<String> = (0..50)
        .map(|name| file(&format!("{name}.log"), log([name, 59])))
        .collect();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_meter-replay"), "--limit", "1/d"])
        .args(&names)
        .output()
        .expect("a shell");
    let report = text(&output.stdout);
    assert!(report.contains("\n100 requests, "), "{report}{}", text(&output.stderr));
}

#[test]
fn zoneless_stamps_are_reported_as_utc() {
    const NOTICE: &str = "note: stamps without a zone are read as UTC";
    let iis = "#Fields: date time c-ip\n2024-05-20 00:00:18 203.0.113.7\n";
    let nlb = "tls 2.0 2024-05-20T00:00:18 net/web/c6e7 g3d4 203.0.113.7:51341 10.0.0.1:443 5 2 98 246\n";
    for (name, text, is_assumed) in [
        ("table.csv", "time,ip\n2024-05-20 00:00:18,203.0.113.7\n", true),
        ("named.csv", "time [UTC],ip\n2024-05-20 00:00:18,203.0.113.7\n", false),
        ("offset.csv", "time,ip\n2024-05-20 02:00:18 +0200,203.0.113.7\n", false),
        ("unix.csv", "time,ip\n1716163218,203.0.113.7\n", false),
        (
            "lines.json",
            "{\"time\":\"2024-05-20 00:00:18,250\",\"ip\":\"203.0.113.7\"}\n",
            true,
        ),
        (
            "zulu.json",
            "{\"time\":\"2024-05-20T00:00:18Z\",\"ip\":\"203.0.113.7\"}\n",
            false,
        ),
        (
            "tomcat.log",
            "203.0.113.7 - - [20/May/2024:00:00:18] \"GET /a HTTP/1.1\" 200 5\n",
            true,
        ),
        ("access.log", &log([18]), false),
        (
            "gin.log",
            "[GIN] 2024/05/20 - 00:00:18 | 200 | 15.2ms | 203.0.113.7 | GET \"/a\"\n",
            true,
        ),
        // These formats define their times as UTC.
        ("iis.log", iis, false),
        ("nlb.log", nlb, false),
    ] {
        let path = file(name, text);
        assert_eq!(
            report(&["--limit", "1/s", &path]).contains(NOTICE),
            is_assumed,
            "{name}"
        );
        assert!(
            !report(&["--limit", "1/s", "--tz", "UTC", &path]).contains(NOTICE),
            "{name}"
        );
    }
    let dutch = file("dutch.csv", "dutch_time,ip\n2024-05-20 00:00:18,203.0.113.7\n");
    assert!(report(&["--limit", "1/s", "--time", "dutch_time", &dutch]).contains(NOTICE));
}

/// A report with single blanks instead of the breaks of its lines.
fn unwrapped(arguments: &[&str]) -> String {
    report(arguments).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn sole_column_of_times_is_the_time() {
    for (name, text, time) in [
        (
            "german.csv",
            "Zeitstempel;IP\n20.05.2024 00:00:18;203.0.113.7\n",
            "Zeitstempel",
        ),
        ("hour.csv", "hour,id\n2024-05-20 00:00,1716163218\n", "hour"),
        (
            "mongo.json",
            "{\"t\":{\"$date\":\"2024-05-20T00:00:18Z\"},\"attr\":{\"remote\":\"203.0.113.7:4123\"}}\n",
            "t.$date",
        ),
    ] {
        let report = unwrapped(&["--limit", "1/s", &file(name, text)]);
        let notice = format!("`{time}` is taken for the time, as its values are the only times");
        assert!(
            report.contains(&notice) && report.contains("1 request, 2024-05-20 00:00"),
            "{report}"
        );
    }
    for (name, text) in [
        (
            "wireshark.csv",
            "frame.time,ip.src\n\"May 20, 2024 00:00:18.5 UTC\",203.0.113.7\n",
        ),
        (
            "kibana.csv",
            "@timestamp,client.ip\n\"May 20, 2024 @ 00:00:18.500\",203.0.113.7\n",
        ),
        (
            "linkerd.json",
            "{\"client.addr\":\"203.0.113.7:51234\",\"timestamp\":\"2024-05-20T00:00:18.5Z\"}\n",
        ),
        (
            "log4j.json",
            "{\"instant\":{\"epochSecond\":1716163218},\"ip\":\"203.0.113.7\"}\n",
        ),
    ] {
        let report = report(&["--limit", "1/s", "--by", "ip", &file(name, text)]);
        assert!(
            report.contains("1 request, 2024-05-20 00:00:18") && report.contains("by ip"),
            "{report}"
        );
    }
}

#[test]
fn shared_key_of_named_clients_is_reported() {
    let named = file("named.csv", "time,ip\n1716163218,203.0.113.7\n1716163218,203.0.113.8\n");
    let notice = "all rows share one key (--by ip gives each client a key)";
    assert!(unwrapped(&["--limit", "1/s", &named]).contains(notice));
    assert!(!unwrapped(&["--limit", "1/s", "--by", "ip", &named]).contains(notice));
    assert!(!unwrapped(&["--limit", "1/s", "--by", "all", &named]).contains(notice));
    let nameless = file("nameless.csv", "time,tokens\n1716163218,5\n");
    assert!(!unwrapped(&["--limit", "1/s", &nameless]).contains(notice));
}

#[test]
fn anonymous_output_shows_no_input_text() {
    let mut content = log_line("198.51.100.7", 1).repeat(3);
    content += "198.51.100.8 is not a log line\n";
    let log = file("secret.log", content);
    let run = || {
        let output = meter_replay(&["--limit", "1/s", "--anonymise", &log]);
        assert_eq!(output.status.code(), Some(0));
        (text(&output.stdout), text(&output.stderr))
    };
    let (printed, aside) = run();
    assert!(
        !printed.contains("198.51") && !aside.contains("198.51"),
        "{printed}{aside}"
    );
    assert!(
        printed.contains("key-") && aside.contains("secret.log:4: not a line of"),
        "{printed}{aside}"
    );
    assert_ne!(run().0, printed, "the secret is another in each run");
    let data = file("secret.csv", "198.51.100.7,1\n198.51.100.8,2\n");
    let decades = file(
        "secret-decades.csv",
        "time,ip\n0,198.51.100.7\n400000000,198.51.100.7\n900000000,198.51.100.7\n",
    );
    for arguments in [
        &["--limit", "1/s", "--anonymise", &data][..],
        &[
            "--limit",
            "1/20000d",
            "--anonymise",
            "--allow-old",
            "--by",
            "ip",
            &decades,
        ],
        &[
            "--limit",
            "1/20000d",
            "--anonymise",
            "--allow-old",
            "--by",
            "ip",
            "--order",
            "as-is",
            &decades,
        ],
        &[
            "--limit",
            "1/s",
            "--anonymise",
            &file("secret-bad.log", "198.51.100.7\n"),
        ],
    ] {
        let printed = complaint(arguments);
        assert!(!printed.contains("198.51"), "{printed}");
    }
}

#[test]
fn failed_run_writes_nothing_and_inputs_stay_unwritten() {
    let broken = file("half.log.gz", &gzip(log(0..60))[..40]);
    let (page, chart) = (file("half.html", "as it was"), file("half.svg", "as it was"));
    for order in ["sort", "as-is"] {
        complaint(&[
            "--limit", "1/s", "--order", order, "--report", &page, "--chart", &chart, &broken,
        ]);
        for path in [&page, &chart] {
            assert_eq!(fs::read(path).expect("still there"), b"as it was");
        }
    }
    let log = file("never.log", log([1, 2]));
    for arguments in [
        &["--report", &log][..],
        &["--chart", &log],
        &["--chart", &page, "--report", &page],
    ] {
        let printed = complaint(&[&["--limit", "1/s", &log], arguments].concat());
        assert!(
            printed.ends_with("is named twice, and it would be overwritten: name another output"),
            "{printed}"
        );
    }
    let printed = complaint(&["--limit", "1/s", "--report", "no-such-folder/page.html", &log]);
    assert!(
        printed.starts_with("writing no-such-folder/page.html: ")
            && printed.ends_with(": create its folder, or name a file in another"),
        "{printed}"
    );
    let printed = complaint(&["--limit", "1/s", "--denied", "-", &log]);
    assert!(
        printed.contains("`-` is not a file: name a file; /dev/stdout is standard output"),
        "{printed}"
    );
}

#[test]
fn order_and_decreasing_times_are_reported() {
    let mixed = file("back.log", log([5, 1, 9, 1, 5, 20]));
    for (order, lines) in [("sort", 3), ("as-is", 3)] {
        let printed = report(&["--limit", "1/s", "--order", order, &mixed]);
        assert!(
            printed.contains(&format!("order: {order}, {lines} lines go back in time")),
            "{printed}"
        );
        assert!(printed.contains("8 s"), "{printed}");
        let is_warned = printed.contains("denials may come from their order");
        assert_eq!(is_warned, order == "as-is", "{printed}");
    }
}

#[test]
fn chart_is_dated_by_requests_not_its_axis() {
    let table = file("dated.csv", "time\n0\n2200-12-31 23:59:59\n");
    let chart = file("dated.svg", "");
    report(&["--limit", "1/s", "--allow-old", "--chart", &chart, &table]);
    let chart = fs::read_to_string(&chart).expect("it is written");
    assert!(chart.contains("2 requests, 1 Jan 1970 to 31 Dec 2200, UTC"), "{chart}");
}

/// Events are read in blocks of 1024.
#[test]
fn input_that_fills_its_blocks_counts_once() {
    for events in [1023, 1024, 1025, 2048] {
        let path = file("blocks.log", log((0..events).map(|_| 7)));
        let printed = report(&["--limit", "1/s", "--format", "json", &path]);
        let printed: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(printed["inputs"].as_array().map(Vec::len), Some(1), "{events} events");
        assert_eq!(printed["traffic"]["requests"], events, "{printed}");
    }
}

#[test]
fn comments_around_a_table_are_skipped() {
    for (name, table) in [
        (
            "before.csv",
            "# made by \"x\n\n#\ntime,ip\n1716163201,203.0.113.7\n# a note, of two\n1716163202,203.0.113.8\n#\n",
        ),
        (
            "header.csv",
            "# made by x\n# time,ip\n1716163201,203.0.113.7\n1716163202,203.0.113.8\n",
        ),
        (
            "tabs.tsv",
            "#time\tip\n1716163201\t203.0.113.7\n1716163202\t203.0.113.8\n",
        ),
        // A name that begins with a hash is a row, as it has all fields.
        (
            "channel.csv",
            "#\nip,time\n#general,1716163201\n203.0.113.8,1716163202\n",
        ),
    ] {
        let report = report(&["--limit", "1/s", "--by", "ip", &file(name, table)]);
        assert!(report.contains("2 requests, 2024-05-20 00:00:01"), "{name}: {report}");
        assert!(report.contains("a meter for each of 2 keys"), "{name}: {report}");
    }
    let bare = file(
        "bare.csv",
        "# no header\n2024-05-20 00:00:18,203.0.113.7\n2024-05-20 00:00:19,203.0.113.8\n",
    );
    let printed = complaint(&["--limit", "1/s", &bare]);
    assert!(
        printed.contains("a table without a header: (echo 'time,key'; cat FILE)"),
        "{printed}"
    );
    let comments = file("comments.csv", "# a\n# b\n");
    assert!(complaint(&["--limit", "1/s", &comments]).contains("no line could be read"));
    let lost = file(
        "lost.csv",
        "time,ip\n1716163201,203.0.113.7\n# a note\n1716163202,203.0.113.8\n",
    );
    let output = meter_replay(&["--limit", "1/s", &lost]);
    assert!(
        text(&output.stderr).contains("lost.csv:3:"),
        "without comments at its beginning, the line is bad"
    );
}

#[test]
fn utf16_reads_as_utf8() {
    let table = "time,ip,path\r\n1716163201,203.0.113.7,/\u{e9}\u{1f980}\r\n1716163202,203.0.113.8,/b\r\n";
    let units: Vec<u16> = format!("\u{feff}{table}").encode_utf16().collect();
    let little: Vec<u8> = units.iter().copied().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units.iter().copied().flat_map(u16::to_be_bytes).collect();
    for (name, bytes) in [
        ("little.csv", little.clone()),
        ("big.csv", big),
        ("packed.csv.gz", gzip(&little)),
    ] {
        let path = file(name, bytes);
        let printed = report(&["--limit", "1/d", "--by", "path", "--spread=none", &path]);
        assert!(printed.contains("2 requests, 2024-05-20 00:00:01"), "{printed}");
        assert!(printed.contains("a meter for each of 2 keys"), "{printed}");
        let printed = report(&[
            "--limit",
            "1/d",
            "--by",
            "all",
            "--only",
            "path=/\u{e9}\u{1f980}",
            &path,
        ]);
        assert!(printed.contains("1 request, 2024-05-20 00:00:01"), "{printed}");
    }
    let output = piped(&["--limit", "1/d", "--by", "path", "-"], &little);
    assert!(text(&output.stdout).contains("2 requests"), "{}", text(&output.stderr));
}

#[test]
fn firewall_of_windows_has_local_times() {
    let log = |form: &str| {
        let head = format!("#Version: 1.5\r\n#Software: Microsoft Windows Firewall\r\n#Time Format: {form}\r\n");
        let fields = "#Fields: date time action protocol src-ip dst-ip src-port dst-port size\r\n\r\n";
        let lines = "2024-05-20 00:00:18 ALLOW TCP 203.0.113.7 10.0.0.1 50000 80 60\r\n\
                     2024-05-20 00:00:19 DROP UDP 203.0.113.8 10.0.0.1 50000 53 60\r\n";
        file(&format!("pfirewall-{form}.log"), format!("{head}{fields}{lines}"))
    };
    let note = "stamps without a zone are read as UTC";
    let local = report(&["--limit", "1/s", &log("Local")]);
    assert!(
        local.contains("2 requests, 2024-05-20 00:00:18") && local.contains("2 keys (by ip)"),
        "{local}"
    );
    assert!(local.contains(note), "{local}");
    let berlin = report(&["--limit", "1/s", "--tz", "Europe/Berlin", &log("Local")]);
    assert!(
        berlin.contains("2 requests, 2024-05-19 22:00:18") && !berlin.contains(note),
        "{berlin}"
    );
    assert!(!report(&["--limit", "1/s", &log("UTC")]).contains(note));
}

#[test]
fn clients_of_firewalls_are_addresses() {
    for (name, line) in [
        (
            "sonicwall.log",
            "<134>  id=firewall sn=00 time=\"2024-05-20 00:00:18\" fw=1.2.3.4 pri=6 m=98 src=203.0.113.7:50000:X0 dst=10.0.0.1:80:X1",
        ),
        (
            "juniper.log",
            "<14>1 2024-05-20T00:00:18.123Z srx RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1 source-address=\"203.0.113.7\" \
             source-port=\"50000\" destination-address=\"10.0.0.1\"]",
        ),
    ] {
        let more = line.replace(":50000", ":50001").replace("\"50000\"", "\"50001\"");
        let printed = report(&[
            "--limit",
            "1/d",
            "--spread=none",
            &file(name, format!("{line}\n{more}\n")),
        ]);
        assert!(printed.contains("2 requests, 2024-05-20 00:00:18"), "{printed}");
        assert!(
            printed.contains("a meter for the only key (by ip)") && printed.contains("203.0.113.7 "),
            "{printed}"
        );
    }
}
