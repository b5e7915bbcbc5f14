//! Errors: one line each, with nothing written.

use std::fs;

use crate::run::{complaint, file, log_line, meter_replay, report};

#[test]
fn invalid_command_line_fails_in_one_line() {
    let table: &[(&[&str], &str)] = &[
        (&["--frob"], "unexpected argument '--frob' found; see --help"),
        (
            &["--demo", "--order", "x"],
            "invalid value 'x' for '--order <ORDER>', [possible values: sort, as-is]; see --help",
        ),
        (
            &["--limit"],
            "a value is required for '--limit <LIMIT>' but none was supplied",
        ),
        (&["--demo", "--ipv6-prefix", "0"], "0 is not in 1..=128"),
        (&["--demo", "a.log"], "'--demo' cannot be used with '[FILE]...'"),
        (
            &["--demo", "--by", "ip", "--top", "3", "a.log"],
            "cannot be used with: ",
        ),
    ];
    for (arguments, expected) in table {
        let complaint = complaint(arguments);
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
}

#[test]
fn limit_without_quotes_is_advised_to_have_them() {
    let advice = "put a limit of several words in quotes, as in --limit \"10/s burst 20\"";
    for words in [["10/s", "burst", "20"], ["3/s", "every", "1s"], ["3/s", "weight", "2"]] {
        let complaint = complaint(&["--limit", words[0], words[1], words[2]]);
        assert!(complaint.ends_with(advice), "{words:?}: {complaint}");
    }
    for word in ["burst=20", "delay=5", "nodelay"] {
        let complaint = complaint(&["--limit", "nginx:10r/s", word]);
        assert!(
            complaint.ends_with("--limit \"nginx:10r/s burst=20 nodelay\""),
            "{complaint}"
        );
    }
}

#[test]
fn names_of_other_things_are_no_clients() {
    let log = file("key.json", "{\"ts\":1716163218,\"key\":3,\"src\":\"a.go:5\"}\n");
    let printed = complaint(&["--limit", "1/s", &log]);
    assert!(printed.contains("there is no field `ip`"), "{printed}");
    let fields = file(
        "a.log",
        "203.0.113.7;-;[20/May/2024:00:00:18 +0000];\"GET /a HTTP/1.1\";200;5\n",
    );
    let printed = complaint(&["--limit", "1/s", &fields]);
    assert!(printed.contains("(echo 'key;c2;time;c4;c5;c6'; cat FILE)"), "{printed}");
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: 5\n";
    let traces = format!("2024-05-20 00:00:18 203.0.113.7 GET /a\n{trace}").repeat(3);
    let printed = complaint(&["--limit", "1/s", &file("trace.log", traces)]);
    assert!(
        printed.ends_with(
            r"this reads its lines with a time: --regex '^(?<time>\S+\s+\S+).*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)' --max-bad 100%"
        ),
        "{printed}"
    );
    let text = "2024-05-20 00:00:18.2|Warn|Auth|failed ip 203.0.113.7 user a\n";
    let printed = complaint(&["--limit", "1/s", &file("b.log", text)]);
    assert!(printed.contains("this reads it: --regex"), "{printed}");
}

#[cfg(unix)]
#[test]
fn name_with_a_line_feed_fits_one_line() {
    let log = file("line\nfeed\u{1b}.log", "what\n");
    let printed = complaint(&["--limit", "1/s", &log]);
    assert!(printed.contains("line\\nfeed\\u{1b}.log:1: not a line of"), "{printed}");
    assert!(complaint(&["--limit", "1/s", "no\nsuch.log"]).starts_with("no\\nsuch.log: "));
    assert!(complaint(&["--demo", "--limit", "1/s\nburst"]).starts_with("--limit `1/s\\nburst`, at its end"));
}

#[test]
fn input_named_twice_is_an_error() {
    let log = file("twice.log", log_line("192.0.2.1", 1));
    let roundabout = log.replace("twice.log", "./twice.log");
    let printed = complaint(&["--limit", "1/s", &log, &roundabout]);
    assert_eq!(
        printed,
        format!("{roundabout} is named twice, so its lines would count twice: name it once")
    );
}

#[test]
fn output_named_twice_is_an_error() {
    let log = file("once.log", log_line("192.0.2.1", 1));
    let new = log.replace("once.log", "once-new");
    let roundabout = log.replace("once.log", "./once-new");
    let printed = complaint(&["--limit", "1/s", "--chart", &new, "--report", &roundabout, &log]);
    assert!(
        printed.ends_with("is named twice, and it would be overwritten: name another output"),
        "{printed}"
    );
    fs::metadata(new).expect_err("nothing is written");
}

#[test]
fn unknown_format_error_names_a_tool_for_it() {
    for (name, content, expected) in [
        (
            "prose.log",
            "it was a dark\nand stormy night\n",
            "not a line of Common or Combined Log Format",
        ),
        ("prose.log", "it was a dark\nand stormy night\n", "--log-format"),
        ("names.csv", "when,client\n1,a\n", "name one with --time"),
        (
            "names.json",
            "{\"when\":\"2024-05-20T00:00:00Z\",\"until\":\"2024-05-20T00:00:00Z\",\"ip\":\"192.0.2.1\"}\n",
            "name one with --time",
        ),
        (
            "keyless.json",
            "{\"ts\":1716163200,\"who\":\"a\"}\n",
            "keyless.json, read as JSON lines: there is no field `ip`; the fields are `ts`, `who`: name one with --key, or say --by all",
        ),
        (
            "labels.log",
            "when=1 client=192.0.2.1 path=/a status=200\n",
            "read as labelled values (logfmt): no label has a usual name for the time",
        ),
        (
            "broken.json",
            "{\"time\":\"2024\n{\"time\":\"2024\n",
            "jq -c '.' FILE | meter-replay ... -",
        ),
    ] {
        let printed = complaint(&["--limit", "1/s", &file(name, content)]);
        assert!(printed.contains(expected), "{printed}");
    }
    let json = file(
        "names.json",
        "{\"when\":\"2024-05-20T00:00:00Z\",\"until\":\"2024-05-20T00:00:00Z\",\"ip\":\"192.0.2.1\"}\n",
    );
    assert!(report(&["--limit", "1/s", "--time", "when", &json]).contains("0 of 1"));
    let json = file("keyless.json", "{\"ts\":1716163200,\"who\":\"a\"}\n");
    assert!(report(&["--limit", "1/s", "--key", "who", &json]).contains("0 of 1"));
    assert!(report(&["--limit", "1/s", "--by", "all", &json]).contains("0 of 1"));
}

#[test]
fn unreadable_files_are_named_with_a_command() {
    let tar = [
        &vec![0; 257][..],
        b"ustar\0",
        &[0; 300],
        log_line("192.0.2.1", 1).as_bytes(),
    ]
    .concat();
    let event = r#"{"eventTime":"2024-05-20T00:00:01Z","sourceIPAddress":"192.0.2.1"}"#;
    for (name, content, expected) in [
        ("a.tar", tar, "it is a tar archive: tar -xOf FILE | meter-replay ... -"),
        (
            "a.zip",
            b"PK\x03\x04access.log".to_vec(),
            "it is a zip archive: unzip -p FILE",
        ),
        ("a.xlsx", b"PK\x03\x04[Content_Types].xml".to_vec(), "save it as CSV"),
        ("a.journal", b"LPKSHHRH\0\0".to_vec(), "journalctl --file FILE -o json"),
        (
            "noise.bin",
            (0..=255).collect(),
            "is neither text nor a known binary format",
        ),
        (
            "error.log",
            b"2024/05/20 00:00:01 [error] 8#8: *1 limiting requests, client: 192.0.2.1\n".to_vec(),
            "an error log of nginx, which has no line for each request: name its access log",
        ),
        (
            "page.html",
            b"<!DOCTYPE html>\n<html>\n".to_vec(),
            "a document in HTML or XML",
        ),
        (
            "trail.json",
            format!("{{\"Records\":[{event}]}}").into_bytes(),
            "jq -c '.Records[]' FILE | meter-replay ... -",
        ),
        (
            "pretty.json",
            b"{\n  \"events\": [\n    {\"a\": 1}\n  ]\n}\n".to_vec(),
            "jq -c '.events[]' FILE",
        ),
        (
            "nameless.csv",
            b"2024-05-20T00:00:01Z,192.0.2.1\n".to_vec(),
            "a table without a header: (echo 'time,key'; cat FILE)",
        ),
        (
            "bars.log",
            b"HIT|200|1716163218125|412|203.0.113.7|https://e.example/a\n".to_vec(),
            "(echo 'c1|c2|time|c4|key|c6'; cat FILE) | meter-replay --key key ... -",
        ),
        (
            "levels.log",
            b"2024-05-20 00:00:18.5|INFO|Auth|denied 203.0.113.7\n".to_vec(),
            r"this reads it: --regex '^.*?(?<time>\d{4}[-/]\d\d[-/]\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d)\b)?).*?(?<key>",
        ),
        (
            "tabs.tsv",
            b"1716163218.125\t203.0.113.7\t0.002\n".to_vec(),
            "(printf 'time\\tkey\\tc3\\n'; cat FILE)",
        ),
        (
            "simulation.log",
            b"RUN\tx.Sim\tsim\t1716163218000\t \t3.9.5\nREQUEST\t\thome\t1716163218100\t1716163218150\tOK\t \n".to_vec(),
            "(printf 'c1\\tc2\\tc3\\ttime\\tc5\\tc6\\n'; cat FILE)",
        ),
        (
            "returns.csv",
            b"time,ip\r2024-05-20 00:00:01,203.0.113.7\r2024-05-20 00:00:02,203.0.113.7\r".to_vec(),
            r"tr '\r' '\n' <FILE | meter-replay ... -",
        ),
        (
            "batches.json",
            b"{\"owner\":\"1\",\"logEvents\":[{\"timestamp\":1716163218000,\"message\":\"a\"}]}\n".repeat(2),
            "jq -c '.logEvents[]' FILE | meter-replay ... -",
        ),
        (
            "page.har",
            b"{\"log\": {\"pages\": [{\"id\": 1}], \"entries\": [{\"time\": 1.5, \"request\": {\"headers\": [{}]}}]}}\n".to_vec(),
            "jq -c '.log.entries[]' FILE | meter-replay ... -",
        ),
        (
            "otlp.json",
            b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[]}]}]}\n".repeat(2),
            "jq -c '.resourceLogs[].scopeLogs[].logRecords[] | ",
        ),
        (
            "slow.log",
            b"# Time: 2024-05-20T00:00:18Z\n# User@Host: u[u] @  [203.0.113.7]  Id: 5\nSELECT 1;\n".to_vec(),
            "awk '/^# Time:/ {time = $3}",
        ),
        (
            "slashes.csv",
            b"time,key\n5/20/2024 12:00:01 AM,a\n".to_vec(),
            "--time-format '%d/%m/%Y %H:%M:%S'",
        ),
    ] {
        let printed = complaint(&["--limit", "1/s", &file(name, content)]);
        assert!(printed.contains(expected), "{name}: {printed}");
    }
    let rails = "Started GET \"/a\" for 192.0.2.1 at 2024-05-20 00:00:01 +0000\n";
    let printed = complaint(&[
        "--limit",
        "1/s",
        &file("rails.log", format!("{rails}Processing by A#b\n")),
    ]);
    let (_, regex) = printed.split_once("--regex '").expect("a command");
    let (regex, _) = regex.split_once("' ...").expect("a quoted expression");
    assert!(
        report(&[
            "--limit",
            "1/s",
            "--regex",
            regex,
            &file("started.log", rails.repeat(2))
        ])
        .contains("1 of 2")
    );
}

/// Inputs that are not read, each with the options given and a part of the way out that the error must name.
const REFUSED: &[(&str, &str, &[&str], &str)] = &[
    ("empty.log", "", &[], "name an input with requests"),
    ("comments.log", "# nothing\n", &[], "name"),
    ("timeless.log", "GET /a 200 5.123 ms - 612\n", &[], "no time was found"),
    (
        "other.log",
        "1716163218.123 203.0.113.7 GET /a 200\n",
        &[],
        "--regex '^(?<time>",
    ),
    (
        "django.log",
        "[20/May/2024 00:00:18] \"GET /a HTTP/1.1\" 200 5\n",
        &[],
        "--by all",
    ),
    (
        "slashes.csv",
        "time,key\n5/20/2024 12:00:01 AM,a\n",
        &[],
        "--time-format '%m/%d/%Y %I:%M:%S %p'",
    ),
    ("serial.csv", "time,key\n45432.5,a\n", &[], "--allow-old"),
    ("names.csv", "when,client\n1,a\n", &[], "--time"),
    ("nameless.csv", "2024-05-20T00:00:01Z,a\n", &[], "echo 'time,key'"),
    ("keyless.json", "{\"ts\":1716163200,\"who\":\"a\"}\n", &[], "--key"),
    ("list.json", "[{\"ts\":1716163200}]\n", &[], "jq -c '.[]'"),
    ("pretty.json", "{\n  \"events\": [\n    {}\n  ]\n}\n", &[], "jq -c"),
    ("labels.log", "when=1 client=a path=/a status=200\n", &[], "--time"),
    ("fields.log", "#Fields: a b\n1 2\n", &[], "--time"),
    (
        "tcpdump.txt",
        "00:00:18.123456 IP 203.0.113.7.5000 > 10.0.0.2.80: Flags [S]\n",
        &[],
        "tcpdump -tttt",
    ),
    (
        "error.log",
        "2024/05/20 00:00:01 [error] 8#8: *1 x\n",
        &[],
        "name its access log",
    ),
    ("page.html", "<html>\n", &[], "export the log"),
    ("utf-16.log", "\u{0}", &[], "name"),
    ("plain.log", LOG, &["--cost", "tokens"], "the groups are `ip`"),
    (
        "timed.log",
        "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" 0.005\n",
        &["--cost", "bytes"],
        "say --time-is start, or name its columns with --log-format",
    ),
    ("plain.log", LOG, &["--time", "t"], "stamp in brackets"),
    ("plain.log", LOG, &["--key", "tenant"], "or say ip"),
    (
        "plain.log",
        LOG,
        &["--plan", "plan", "--limits", "LIMITS"],
        "the groups are `ip`",
    ),
    ("plain.log", LOG, &["--only", "tenant=a"], "or say ip"),
    ("plain.log", LOG, &["--only", "status>=500"], "status=5xx"),
    ("plain.log", LOG, &["--only", "path=/none"], "--only"),
    ("plain.log", LOG, &["--since", "2025-01-01"], "--since"),
    ("plain.log", LOG, &["--since", "yesterday"], "such as 2024-05-20"),
    ("plain.log", LOG, &["--time-is", "end"], "--duration last:us"),
    ("plain.log", LOG, &["--regex", "("], "--regex"),
    ("plain.log", LOG, &["--regex", "(?<ip>.*)"], "(?<time>"),
    (
        "plain.log",
        LOG,
        &["--regex", "x(?<time>.*)(?<key>.)"],
        "give another --log-format or --regex",
    ),
    ("plain.log", LOG, &["--log-format", "$nothing"], "--log-format"),
    (
        "plain.log",
        LOG,
        &["--by", "path", "--ipv6-prefix", "64"],
        "say --by ip",
    ),
    ("plain.log", LOG, &["--chosen", "9/s"], "none of the limits: 1/s"),
    ("plain.log", LOG, &["--limit", "ten"], "--limit `ten`"),
    (
        "table.csv",
        "time,key\n1716163200,a\n",
        &["--cost", "tokens"],
        "the columns are",
    ),
    (
        "table.csv",
        "time,key\n1716163200,a\n",
        &["--time-is", "end"],
        "--duration",
    ),
    (
        "table.csv",
        "time,took\n1716163200,5\n",
        &["--time-is", "end", "--duration", "took"],
        "--duration took:s",
    ),
];

const LOG: &str = "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5\n";

#[test]
fn every_error_names_its_way_out() {
    let limits = file("limits.txt", "*,1/s\n");
    for (name, content, options, expected) in REFUSED {
        let path = file(name, content);
        let options = options
            .iter()
            .map(|option| if *option == "LIMITS" { &limits } else { *option });
        let arguments: Vec<&str> = ["--limit", "1/s"]
            .into_iter()
            .chain(options)
            .chain([&path[..]])
            .collect();
        let printed = complaint(&arguments);
        let names_it = printed.contains(&path)
            || arguments
                .iter()
                .any(|word| word.starts_with("--") && printed.contains(word));
        assert!(names_it, "{arguments:?}: {printed}");
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
    for (path, expected) in [
        ("no-such.log", "name a file, or -"),
        (env!("CARGO_TARGET_TMPDIR"), "name its files"),
    ] {
        let printed = complaint(&["--limit", "1/s", path]);
        assert!(printed.starts_with(path) && printed.contains(expected), "{printed}");
    }
}

#[test]
fn advice_of_an_unknown_format_reads_it() {
    for (name, line) in [
        ("msec.log", "1716163218.123 203.0.113.7 GET /a 200"),
        (
            "behind.log",
            "app1 203.0.113.7:5000 x [20/May/2024:00:00:18 +0000] GET /a",
        ),
        ("python.log", "INFO 2024-05-20 00:00:18,123 client=203.0.113.7 took 5"),
        ("django.log", "[20/May/2024 00:00:18] \"GET /a HTTP/1.1\" 200 5"),
        ("date.log", "Mon May 20 00:00:18 2024: login from 203.0.113.7"),
        (
            "env_logger.log",
            "[2024-05-20T00:00:18Z INFO  actix_web::middleware::logger] 203.0.113.7 \"GET /a HTTP/1.1\" 200",
        ),
        ("six.log", "2024-05-20 00:00:18 [info] 2001:db8::7 GET /a"),
        (
            "exim.log",
            "2024-05-20 00:00:18 1abcde-000abc-Xx <= a@b.example H=mail.example [203.0.113.7] P=esmtps S=1234",
        ),
        (
            "fast.log",
            "05/20/2024-00:00:18.123456  [**] [1:2:3] X [**] {TCP} 203.0.113.7:50000 -> 10.0.0.1:80",
        ),
        (
            "asa.log",
            "May 20 2024 00:00:18 fw : %ASA-6-302013: Built outside:203.0.113.7/5000",
        ),
        (
            "vaultwarden.log",
            "[2024-05-20 00:00:18.219][vaultwarden::api][ERROR] Login denied. IP: 203.0.113.7.",
        ),
        (
            "nest.log",
            "[Nest] 7  - 05/20/2024, 12:00:18 AM    WARN [Auth] Failed login from 203.0.113.7",
        ),
        (
            "cpanel.log",
            "203.0.113.7 - - [05/20/2024:00:00:18 -0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"-\"",
        ),
        (
            "pfsense.log",
            "<134>1 2024-05-20T00:00:18.868451+00:00 fw filterlog 9 - - 7,,,1000000102,tcp,60,203.0.113.7,10.0.0.1;S;TS;nop",
        ),
        (
            "routeros.log",
            "may/20/2024 00:00:18 firewall,info input: 203.0.113.7:50000->10.0.0.1:22",
        ),
        (
            "comma.log",
            "2024-05-20 00:00:18,123 INFO:     203.0.113.7:53122 - \"GET / HTTP/1.1\" 200",
        ),
        ("two-columns.tsv", "2024-05-20\t00:00:18\t203.0.113.7\tGET\t/a\t200"),
        // A number in the line is not taken for its time.
        (
            "game.log",
            "L 05/20/2024 - 00:00:18: Rcon from \"203.0.113.7:27005\" with challenge 1146003691 ",
        ),
        (
            "multilog.log",
            "@40000000664a929c1cc9fec0 tcpserver: pid 812 from 203.0.113.7",
        ),
        (
            "mysql.log",
            "240520  0:00:18 [Warning] Access denied for user 'a'@'203.0.113.7'",
        ),
        (
            "asa.log",
            "<166>May 20 2024 00:00:18 fw : %ASA-6-302013: Built inbound TCP connection 812 for outside:203.0.113.7/50000",
        ),
        (
            "ios.log",
            "*May 20 2024 00:00:18: %SEC-6-IPACCESSLOGP: list 101 denied tcp 203.0.113.7(50000) -> 10.0.0.1(22)",
        ),
        (
            "glog.log",
            "I20240520 00:00:18.123456   812 a.cc:1] from 203.0.113.7:50000",
        ),
        (
            "radius.log",
            "Mon May 20 00:00:18 2024 : Auth: (0) Login OK: [jo] (cli 203.0.113.7)",
        ),
        (
            "postgres.log",
            "2024-05-20 02:00:18.123 CEST [812] jo@db 203.0.113.7(50000) LOG:  a",
        ),
        ("assp.log", "May-20-24 00:00:18 [SSL-out] 203.0.113.7 info: greeting"),
    ] {
        let path = file(name, format!("{line}\n").repeat(2));
        let printed = complaint(&["--limit", "1/s", &path]);
        let (_, advice) = printed.split_once("--regex '").expect("an expression");
        let (regex, more) = advice.split_once('\'').expect("in quotes");
        let mut arguments = vec!["--limit", "1/s", "--spread=none", "--regex", regex];
        match more.split_once("--time-format '") {
            Some((_, format)) => arguments.extend(["--time-format", format.trim_end_matches('\'')]),
            None => arguments.extend(more.split_whitespace()),
        }
        arguments.push(&path);
        assert!(
            report(&arguments).contains("2 requests, 2024-05-20 00:00:18"),
            "{printed}"
        );
    }
}

#[test]
fn advised_client_is_behind_a_hosts_address() {
    for prefix in [
        "2024-05-20T00:00:18+00:00 10.0.0.5 proxy[812]:",
        "<134>1 2024-05-20T00:00:18Z 10.0.0.5 app 812 - -",
    ] {
        let path = file("host.log", format!("{prefix} user jo from 203.0.113.7\n").repeat(2));
        let printed = complaint(&["--limit", "1/s", &path]);
        let (_, advice) = printed.split_once("--regex '").expect("an expression");
        let (regex, _) = advice.split_once('\'').expect("in quotes");
        let report = report(&["--limit", "1/s", "--regex", regex, &path]);
        assert!(report.contains("203.0.113.7"), "{report}");
    }
}

#[cfg(unix)]
#[test]
fn advised_commands_read_their_files() {
    use crate::run::text;
    use std::process::Command;

    let dhcp = "\t\tMicrosoft DHCP Service Activity Log\r\n\r\nEvent ID  Meaning\r\n10\tA new IP address was leased to a client.\r\n\r\n\
                ID,Date,Time,Description,IP Address,Host Name,MAC Address\r\n\
                11,05/20/24,00:00:18,Renew,203.0.113.7,h1,AABBCCDDEEFF\r\n10,05/20/24,00:00:19,Assign,203.0.113.8,h2,AABBCCDDEE00\r\n";
    let game = "[00:00:18] [Server thread/INFO]: Steve[/203.0.113.7:50000] logged in\n\
                [00:00:19] [Server thread/INFO]: Alex[/203.0.113.8:50000] logged in\n";
    let names = "2024-05-20T00:00:18+00:00 h dnsmasq[9]: query[A] a.example from 203.0.113.7\n\
                 2024-05-20T00:00:18+00:00 h dnsmasq[9]: forwarded a.example to 198.51.100.1\n\
                 2024-05-20T00:00:18+00:00 h dnsmasq[9]: query[AAAA] a.example from 2001:db8::1\n\
                 2024-05-20T00:00:18+00:00 h dnsmasq[9]: reply a.example is 198.51.100.2\n";
    for (name, content, command) in [
        ("dhcp.log", dhcp, "sed -n"),
        ("game.log", game, "sed -E"),
        ("dns.log", names, "grep"),
    ] {
        let path = file(name, content);
        let printed = complaint(&["--limit", "1/s", &path]);
        let (_, advised) = printed.split_once(command).expect("a command");
        let tool = concat!("'", env!("CARGO_BIN_EXE_meter-replay"), "'");
        let advised = advised.replace("meter-replay", tool).replace("FILE", &path);
        let run = |more: &str| {
            let advised = advised.replace("... -", more);
            let output = Command::new("sh").args(["-c", &format!("{command}{advised}")]).output();
            let output = output.expect("a shell");
            text(&output.stdout) + &text(&output.stderr)
        };
        let mut report = run("--limit 1/s -");
        // The second advice is for the lines with a date.
        if let Some((_, advice)) = report.split_once("this reads it: ") {
            report = run(&format!("--limit 1/s {} -", advice.trim_end()));
        }
        assert!(
            report.contains("2 requests, 2024-05-20 00:00:18") && report.contains("2 keys"),
            "{report}"
        );
    }
}

#[test]
fn advice_skips_the_text_before_a_log() {
    let before = "DNS Server log file creation at 5/20/2024 12:00:10 AM\r\nLog file wrap at 5/20/2024 12:00:10 AM\r\n\r\n\
                  Message logging key (for packets):\r\n\tField #  Information\r\n";
    let lines: String = (0..9)
        .map(|at| format!("5/20/2024 12:00:1{at} AM 0F1C PACKET  000001D3 UDP Rcv 203.0.113.{at}     5c2f   Q A (7)example(3)org(0)\r\n"))
        .collect();
    let log = file("dns.log", format!("{before}{lines}"));
    let printed = complaint(&["--limit", "1/s", &log]);
    let (_, advice) = printed.split_once("--regex '").expect("an expression");
    let (regex, advice) = advice.split_once("' --time-format '").expect("a form");
    let (form, more) = advice.split_once('\'').expect("in quotes");
    assert_eq!(more, " --max-bad 100%", "{printed}");
    let arguments = [
        "--limit",
        "1/s",
        "--regex",
        regex,
        "--time-format",
        form,
        "--max-bad",
        "100%",
        &log,
    ];
    let report = report(&arguments);
    assert!(
        report.contains("9 requests, 2024-05-20 00:00:10") && report.contains("9 keys"),
        "{report}"
    );
}

#[test]
fn advice_for_iis_reads_its_own_format() {
    let iis = "203.0.113.7, -, 5/13/2024, 10:00:00, W3SVC1, WEB1, 10.0.0.1, 15, 300, 1200, 200, 0, GET, /x, -,\n";
    let iis = file("iis.log", iis.repeat(2));
    let printed = complaint(&["--limit", "1/s", &iis]);
    let (_, advice) = printed.split_once("--regex '").expect("an expression");
    let (regex, advice) = advice.split_once("' --time-format '").expect("in quotes");
    let (format, _) = advice.split_once('\'').expect("in quotes");
    let report = report(&["--limit", "1/s", "--regex", regex, "--time-format", format, &iis]);
    assert!(report.contains("2 requests, 2024-05-13 10:00:00"), "{report}");
}

#[test]
fn ipv6_prefix_without_keys_is_an_error() {
    let table = file(
        "networks.csv",
        "time,ip\n1716163201,2001:db8::1\n1716163201,2001:db8::2\n",
    );
    let printed = complaint(&["--limit", "1/s", "--ipv6-prefix", "64", &table]);
    assert!(
        printed.contains("--ipv6-prefix does not apply: it has one meter for all, unless"),
        "{printed}"
    );
    assert!(report(&["--limit", "1/s", "--ipv6-prefix", "64", "--by", "ip", &table]).contains("1 of 1"));
}

#[test]
fn failure_on_one_output_replaces_neither_file() {
    // With bad lines, which are not reported then.
    let log = file("two-files.log", log_line("192.0.2.1", 1) + "what\n");
    let chart = file("two-files.svg", "old");
    let page = log.replace("two-files.log", "no-such-folder/page.html");
    let printed = complaint(&["--limit", "1/s", "--chart", &chart, "--report", &page, &log]);
    assert!(
        printed.starts_with(&format!("writing {page}: ")) && !printed.contains(".meter-replay-"),
        "{printed}"
    );
    assert_eq!(fs::read_to_string(&chart).expect("it is there"), "old");
}

#[cfg(target_os = "linux")]
#[test]
fn failure_to_print_replaces_no_file() {
    use crate::run::text;
    use std::process::{Command, Stdio};

    let chart = file("unprinted.svg", "old");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a full device");
    let output = Command::new(env!("CARGO_BIN_EXE_meter-replay"))
        .args(["--demo", "--chart", &chart])
        .stdout(Stdio::from(full))
        .output()
        .expect("the tool runs");
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(
        printed.starts_with("meter-replay: writing the report: ") && printed.lines().count() == 1,
        "{printed}"
    );
    assert_eq!(fs::read_to_string(&chart).expect("it is there"), "old");
}

#[test]
fn tables_of_the_man_page_stay_tables() {
    let man = report(&["--man"]);
    assert!(
        man.contains(".nf\n          access log") && man.contains(".SH EXAMPLES"),
        "{man}"
    );
    assert_eq!(man.matches(".nf\n").count(), man.matches(".fi\n").count());
    assert!(meter_replay(&["--man", "--demo"]).stdout.is_empty());
}
