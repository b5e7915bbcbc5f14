//! The bound on the number of keys.

use crate::run::{complaint, file, log_line, meter_replay, report, text};

/// Seven requests of five clients, each of an IPv6 address of its own in one of two networks.
fn log(name: &str) -> String {
    let clients = [1, 2, 3, 1, 4, 5, 1];
    let lines = (1..).zip(clients).map(|(second, client)| {
        let network = client % 2;
        log_line(&format!("2001:db8:0:{network}::{client}"), second)
    });
    file(name, lines.collect::<String>())
}

#[test]
fn rows_may_end_with_a_delimiter() {
    let table = file(
        "ends.csv",
        "time,ip\n1716163218,203.0.113.7,\n1716163218,203.0.113.7,\n",
    );
    assert!(report(&["--limit", "1/s", "--by", "ip", &table]).contains("1 of 1"));
    let other = file(
        "more.csv",
        "time,ip\n1716163218,203.0.113.7,a\n1716163218,203.0.113.7,\n",
    );
    assert!(text(&meter_replay(&["--limit", "1/s", "--by", "ip", &other]).stderr).contains("this has 3"));
    // A comma within the path moves the other fields.
    let moved = file(
        "moved.csv",
        "time,path,ip,note\n1716163218,/a,203.0.113.7,x\n1716163218,/a,b,203.0.113.7,\n",
    );
    assert!(text(&meter_replay(&["--limit", "1/s", "--by", "ip", &moved]).stderr).contains("this has 5"));
}

#[test]
fn ipv4_clients_of_one_network_share_a_meter() {
    let clients = ["192.0.2.1", "192.0.2.200", "192.0.3.1", "2001:db8::1"];
    let log = file("ipv4.log", clients.map(|client| log_line(client, 1)).concat());
    let printed = report(&["--limit", "1/s", "--ipv4-prefix", "24", "--spread=none", &log]);
    assert!(
        printed.contains("1 of 3") && printed.contains("192.0.2.0/24"),
        "{printed}"
    );
    assert!(printed.contains("by ip, IPv4 by /24"), "{printed}");
}

#[test]
fn keys_have_no_surrounding_blanks() {
    let table = file(
        "blanks.csv",
        "time, path\n1716163218, /a\n1716163218,/a \n1716163218,/a\n",
    );
    assert!(report(&["--limit", "1/s", "--by", "path", &table]).contains("1 of 1"));
    assert!(report(&["--limit", "1/s", "--key", "path", &table]).contains("1 of 1"));
}

#[test]
fn one_key_above_the_maximum_is_an_error() {
    let log = log("keys.log");
    for order in ["sort", "as-is"] {
        let asked = |keys| {
            [
                "--limit",
                "1/s",
                "--ipv6-prefix",
                "128",
                "--order",
                order,
                "--keys",
                keys,
                log.as_str(),
            ]
        };
        assert!(report(&asked("5")).contains("0 of 5"));
        assert_eq!(
            complaint(&asked("4")),
            "met 5 keys, and --keys allows 4: raise --keys, or group keys by a coarser --by or, for addresses, by \
             --ipv4-prefix and --ipv6-prefix"
        );
    }
}

#[test]
fn advice_of_the_error_helps() {
    let log = log("keys-advised.log");
    for advice in [&["--by", "status"][..], &["--by", "all"], &["--ipv6-prefix", "64"]] {
        let arguments = [&["--limit", "1/s", "--keys", "2", log.as_str()], advice].concat();
        report(&arguments);
    }
}

#[test]
fn keys_of_lines_held_for_sorting_count_too() {
    let lines: String = (0..9)
        .map(|number| format!("{},key-{number}\n", 1_716_163_209 - number))
        .collect();
    let table = file("keys-back.csv", format!("time,key\n{lines}"));
    let printed = complaint(&["--limit", "1/s", "--key", "key", "--keys", "8", &table]);
    assert!(printed.starts_with("met 9 keys, and --keys allows 8: "), "{printed}");
    report(&["--limit", "1/s", "--key", "key", "--keys", "9", &table]);
    report(&["--limit", "1/s", "--keys", "1", &table]);
}

#[test]
fn nothing_is_written_when_there_are_too_many() {
    let log = log("keys-chart.log");
    let chart = file("keys-chart.svg", "what was there");
    complaint(&[
        "--limit",
        "1/s",
        "--ipv6-prefix",
        "128",
        "--keys",
        "4",
        "--chart",
        &chart,
        &log,
    ]);
    assert_eq!(std::fs::read_to_string(&chart).expect("it is there"), "what was there");
}

#[test]
fn maximum_of_keys_is_a_positive_number() {
    for bound in ["0", "-1", "4294967296", "many"] {
        let output = meter_replay(&["--limit", "1/s", "--keys", bound, "-"]);
        assert_eq!(output.status.code(), Some(2), "{bound}: {}", text(&output.stderr));
    }
    assert!(report(&["--help"]).contains("--keys <N>"));
    assert!(report(&["--man"]).contains("keys"));
    let json = report(&["--limit", "1/s", "--format", "json", &log("keys-json.log")]);
    assert!(json.contains(r#""most_keys":10000000,"#), "{json}");
}
