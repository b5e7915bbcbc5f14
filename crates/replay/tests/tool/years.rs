//! Stamps without a year, as syslog writes them.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::run::{complaint, file, meter_replay, report, text};

/// 2025-01-15 12:00:00 UTC.
const WRITTEN_S: u64 = 1_736_942_400;

/// Writes a file that seems to have been written on 2025-01-15.
fn dated(name: &str, content: &str) -> String {
    let path = file(name, content);
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN_S);
    let file = File::options().append(true).open(&path).expect("the file");
    file.set_modified(written).expect("a file system with times");
    path
}

const NOTE: &str = "stamps without a year have the year of their file's date";

#[test]
fn advised_expressions_read_stamps_without_a_year() {
    for (name, lines, time) in [
        (
            "sshd.log",
            [
                "Dec 31 23:59:58 host sshd[8]: Failed password for root from 203.0.113.7 port 41234 ssh2",
                "Jan  1 00:00:01 host sshd[8]: Failed password for root from 203.0.113.8 port 41234 ssh2",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "snort.log",
            [
                "12/31-23:59:58.500000  [**] [1:1:1] ICMP test [**] {ICMP} 203.0.113.7 -> 10.0.0.1",
                "01/01-00:00:01.250000  [**] [1:1:1] ICMP test [**] {ICMP} 203.0.113.8 -> 10.0.0.1",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "asterisk.log",
            [
                "[Dec 31 23:59:58] SECURITY[77]: res_security_log.c: RemoteAddress=\"IPV4/UDP/203.0.113.7/55287\"",
                "[Jan  1 00:00:01] SECURITY[77]: res_security_log.c: RemoteAddress=\"IPV4/UDP/203.0.113.8/55287\"",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "klog.log",
            [
                "I1231 23:59:58.500000     812 server.go:1] GET /a from 203.0.113.7:50000",
                "W0101 00:00:01.250000     812 server.go:1] GET /a from 203.0.113.8:50000",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "redis.log",
            [
                "[812] 31 Dec 23:59:58.500 - Accepted 203.0.113.7:41234",
                "[812] 01 Jan 00:00:01.250 - Accepted 203.0.113.8:41234",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "routeros.log",
            [
                "dec/31 23:59:58 firewall,info input: in:ether1, 203.0.113.7:50000->10.0.0.1:22",
                "jan/01 00:00:01 firewall,info input: in:ether1, 203.0.113.8:50000->10.0.0.1:22",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
        (
            "logcat.log",
            [
                "12-31 23:59:58.500  1702  2395 D net: connect 203.0.113.7",
                "01-01 00:00:01.250  1702  2395 D net: connect 203.0.113.8",
            ],
            "2024-12-31 23:59:58 to 2025-01-01 00:00:01",
        ),
    ] {
        let path = dated(name, &format!("{}\n{}\n", lines[0], lines[1]));
        let printed = complaint(&["--limit", "1/s", &path]);
        let (_, advice) = printed.split_once("--regex '").expect("an expression");
        let (regex, more) = advice.split_once('\'').expect("in quotes");
        assert_eq!(more, "", "{printed}");
        let report = report(&["--limit", "1/s", "--spread=none", "--regex", regex, &path]);
        assert!(report.contains(&format!("2 requests, {time} UTC")), "{report}");
        assert!(
            report.contains("a meter for each of 2 keys") && report.contains("no line goes back in time"),
            "{report}"
        );
        assert!(report.contains(NOTE), "{report}");
    }
}

#[test]
fn labels_and_objects_behind_syslog_have_its_time() {
    for (name, line) in [
        (
            "kernel.log",
            "May 11 10:00:00 host kernel: [1.5] [UFW BLOCK] IN=eth0 SRC=203.0.113.7 DST=10.0.0.1 LEN=40 TTL=244 ID=5 SPT=41234 DPT=23",
        ),
        (
            "json.log",
            "<190>May 11 10:00:00 host app[8]: {\"ip\":\"203.0.113.7\",\"path\":\"/a\"}",
        ),
        (
            "render.log",
            "May 11 10:00:00 AM  [GET]200 example.org/a clientIP=\"203.0.113.7\" requestID=\"x\" responseTimeMS=5",
        ),
        (
            "sophos.log",
            "2024:05:11-10:00:00 fw httpproxy[812]: id=\"0001\" severity=\"info\" srcip=\"203.0.113.7\" dstip=\"10.0.0.1\"",
        ),
    ] {
        let path = dated(name, &format!("{line}\n{line}\n"));
        let report = report(&["--limit", "1/s", "--spread=none", &path]);
        assert!(report.contains("2 requests, 2024-05-11 10:00:00"), "{report}");
        assert!(report.contains("by ip") && report.contains("203.0.113.7"), "{report}");
    }
}

#[test]
fn named_year_is_that_of_the_first_line() {
    let log = "time,ip\nDec 31 23:59:58,203.0.113.7\nJan  1 00:00:01,203.0.113.7\nDec 31 23:59:59,203.0.113.7\n";
    let path = dated("requests.csv", log);
    let printed = report(&["--limit", "1/s", "--year", "2019", "--spread=none", &path]);
    assert!(
        printed.contains("3 requests, 2019-12-31 23:59:58 to 2020-01-01 00:00:01"),
        "{printed}"
    );
    assert!(
        printed.contains("1 line goes back in time") && !printed.contains(NOTE),
        "{printed}"
    );
    let printed = report(&["--limit", "1/s", "--time-format", "%b %d %H:%M:%S", &path]);
    assert!(
        printed.contains("2024-12-31 23:59:58 to 2025-01-01 00:00:01") && printed.contains(NOTE),
        "{printed}"
    );
    let full = dated("full.csv", "time,ip\n2024-05-20 00:00:18,203.0.113.7\n");
    assert!(!report(&["--limit", "1/s", &full]).contains(NOTE));
    let printed = complaint(&["--limit", "1/s", "--year", "24", &path]);
    assert!(printed.contains("24 is not in 1970..=2200"), "{printed}");
}

#[test]
fn rotated_logs_have_the_year_of_each_file() {
    let rotated = dated(
        "auth.csv.1",
        "time,ip\nDec 30 10:00:00,203.0.113.7\nDec 31 10:00:00,203.0.113.7\n",
    );
    let current = dated(
        "auth.csv",
        "time,ip\nJan  1 10:00:00,203.0.113.7\nJan  2 10:00:00,203.0.113.7\n",
    );
    let report = report(&["--limit", "1/s", &current, &rotated]);
    assert!(
        report.contains("4 requests, 2024-12-30 10:00:00 to 2025-01-02 10:00:00")
            && report.contains("no line goes back"),
        "{report}"
    );
}

#[test]
fn leap_day_in_another_year_names_the_option() {
    let path = dated(
        "leap.csv",
        "time,ip\nFeb 28 23:00:00,203.0.113.7\nFeb 29 01:00:00,203.0.113.7\nMar  1 01:00:00,203.0.113.7\n",
    );
    let printed = report(&["--limit", "1/s", &path]);
    assert!(
        printed.contains("2024-02-28 23:00:00 to 2024-03-01 01:00:00"),
        "{printed}"
    );
    let output = meter_replay(&["--limit", "1/s", "--year", "2023", &path]);
    let printed = text(&output.stderr);
    assert!(
        printed.contains("leap.csv:3: the stamp has no year") && printed.contains("--year"),
        "{printed}"
    );
    assert!(text(&output.stdout).contains("2 requests"));
}
