//! Limits in a running Redis, which the tests start: the decisions of meters here.

use std::fmt::Write as _;

use ratelimit_meter_store_check::server::Server;

use crate::run::{complaint, file, meter_replay, report, text};

/// Limits whose instants are whole microseconds, since a store knows no finer ones.
const LIMITS: [&str; 5] = [
    "10/s burst 3",
    "2/s burst 20 & 60/min",
    "3/s burst 10 every 1s",
    "100/min burst 30 weight 3",
    "1/5s burst 2",
];

/// Requests of four keys, in floods and pauses, stamped with milliseconds.
fn table(name: &str, requests: u64) -> String {
    let mut rows = String::from("time,key,cost\n");
    let mut ms = 1_700_000_000_000_u64;
    for i in 0..requests {
        ms += [0, 0, 0, 1, 40, 250, 1900][usize::try_from(i * i % 7).unwrap()];
        let key = ["alice", "bob", "c{o}l", "dan"][usize::try_from(i / 3 % 4).unwrap()];
        let cost = if i % 29 == 0 { 100 } else { 1 + i % 5 / 4 };
        writeln!(rows, "{}.{:03},{key},{cost}", ms / 1000, ms % 1000).unwrap();
    }
    file(name, rows)
}

/// The lines of a JSON report without those of the command line.
fn without_command(report: &str) -> Vec<&str> {
    report.lines().filter(|line| !line.contains("\"command\"")).collect()
}

#[test]
fn store_makes_the_decisions_of_meters_here() {
    let Some(server) = Server::start(&[]) else { return };
    let table = table("stored.csv", 400);
    let url = server.url();
    for (algorithm, order) in [("gcra", "sort"), ("leaky-bucket", "as-is"), ("exponential", "sort")] {
        let limits: &[&str] = if algorithm == "exponential" {
            &["60/min", "5/s"]
        } else {
            &LIMITS
        };
        let options = limits.iter().flat_map(|limit| ["--limit", limit]);
        let mut arguments: Vec<&str> = options.collect();
        arguments.extend([
            "--key",
            "key",
            "--format",
            "json",
            "--algorithm",
            algorithm,
            "--order",
            order,
        ]);
        arguments.push(&table);
        let here = report(&arguments);
        let there = report(&[&arguments[..], &["--store", &url]].concat());
        assert!(here.contains("\"denied\""));
        assert_eq!(without_command(&here), without_command(&there), "{algorithm}");
    }
    // A key for each limit and subject, all of which expire.
    let keys = server.command(&["KEYS", "meter-replay:*"]).unwrap();
    let keys: Vec<_> = keys.lines().filter(|line| line.starts_with("meter-replay:")).collect();
    assert!(keys.len() > 4 * LIMITS.len(), "{keys:?}");
    for key in keys {
        assert_ne!(server.command(&["PTTL", key]).unwrap(), ":-1\r\n", "{key}");
    }
    // The command line in a report holds no password: here, of a user that the server does not have.
    server
        .command(&["ACL", "SETUSER", "me", "on", ">secret", "~*", "+@all"])
        .unwrap();
    let with_user = url.replace("redis://", "redis://me:secret@");
    let report = report(&[
        "--limit", "10/s", "--key", "key", "--format", "json", "--store", &with_user, &table,
    ]);
    assert!(
        report.contains("redis://...@127.0.0.1") && !report.contains("secret"),
        "{report}"
    );
}

#[test]
fn store_without_decision_fails_in_one_line() {
    let table = table("unstored.csv", 3);
    let of = |url: &str, limit: &str| complaint(&["--limit", limit, "--key", "key", "--store", url, &table]);
    assert!(of("redis://127.0.0.1:1/", "10/s").starts_with("--store: store is unreachable"));
    assert!(of("mysql://127.0.0.1/", "10/s").contains("expected a URL like redis://"));
    assert_eq!(
        of("redis://127.0.0.1:1/", "fixed:5/s"),
        "--store takes limits like 10/s, not `fixed:5/s`"
    );
    assert!(of("redis://127.0.0.1:1/", "1/500d burst 120").starts_with("--store cannot keep"));
    let help = text(&meter_replay(&["--help"]).stdout);
    assert!(help.contains("--store <URL>"));
}
