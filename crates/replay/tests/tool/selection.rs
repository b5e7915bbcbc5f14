//! `--only`, `--since`, `--until` and `--plan`, over the kinds of inputs.

use crate::run::{complaint, file, report};

/// Requests: second, client, method, path, status.
const REQUESTS: [(u32, &str, &str, &str, u32); 6] = [
    (1, "192.0.2.1", "GET", "/api/users", 200),
    (2, "192.0.2.1", "POST", "/api/users", 201),
    (3, "192.0.2.2", "GET", "/static/a.css", 304),
    (4, "192.0.2.2", "GET", "/api/orders", 503),
    (5, "192.0.2.3", "HEAD", "/", 200),
    (6, "192.0.2.1", "GET", "/api/users?page=2", 429),
];

fn log() -> String {
    let line = |(second, client, method, path, status): (u32, &str, &str, &str, u32)| {
        format!("{client} - - [20/May/2024:12:00:{second:02} +0000] \"{method} {path} HTTP/1.1\" {status} 5\n")
    };
    REQUESTS.map(line).concat()
}

fn table() -> String {
    let line = |(second, client, method, path, status): (u32, &str, &str, &str, u32)| {
        format!("2024-05-20T12:00:{second:02}Z,{client},{method},{path},{status}\n")
    };
    format!("time,ip,method,path,status\n{}", REQUESTS.map(line).concat())
}

fn json() -> String {
    let line = |(second, client, method, path, status): (u32, &str, &str, &str, u32)| {
        format!(
            "{{\"time\":\"2024-05-20T12:00:{second:02}Z\",\"ip\":\"{client}\",\"method\":\"{method}\",\"path\":\"{path}\",\"status\":{status}}}\n"
        )
    };
    REQUESTS.map(line).concat()
}

/// The numbers of replayed requests and keys.
fn selected(options: &[&str], path: &str) -> (u64, u64) {
    let mut arguments = vec!["--limit", "1/s", "--by", "ip", "--format", "json"];
    arguments.extend(options);
    arguments.push(path);
    let json: serde_json::Value = serde_json::from_str(&report(&arguments)).expect("JSON");
    let number = |name: &str| json["traffic"][name].as_u64().expect("a number");
    (number("requests"), number("keys"))
}

#[test]
fn requests_are_selected_alike_in_all_formats() {
    let inputs = [
        file("select.log", log()),
        file("select.csv", table()),
        file("select.json", json()),
    ];
    for (options, expected) in [
        (&["--only", "path=/api/"][..], (4, 2)),
        (&["--only", "path!=/api/"], (2, 2)),
        (&["--only", "status=5xx|429"], (2, 2)),
        (&["--only", "method=post|head"], (2, 2)),
        (&["--only", "ip=192.0.2.1"], (3, 1)),
        (&["--only", "path=/api/ and method=GET"], (3, 2)),
        (&["--only", "path==/"], (1, 1)),
        (&["--only", "path=*.css && method=GET"], (1, 1)),
        (&["--only", "path=/api/", "--only", "status!=200"], (3, 2)),
        (&["--since", "2024-05-20T12:00:03Z"], (4, 3)),
        (&["--until", "2024-05-20T12:00:03Z"], (2, 1)),
        (&["--since", "1716206403", "--until", "2024-05-20 12:00:05"], (2, 1)),
        (&["--since", "2024-05-20", "--until", "2024-05-21"], (6, 3)),
        (&["--tz", "Europe/Berlin", "--since", "2024-05-20 14:00:06"], (1, 1)),
        (&["--tz", "+02:00", "--since", "2024-05-20 14:00:06"], (1, 1)),
        (&["--tz", "-01:00", "--since", "2024-05-20 11:00:06"], (1, 1)),
        (&["--since", "2024-05-20T12:00:03Z", "--only", "path=/api/"], (2, 2)),
    ] {
        for input in &inputs {
            assert_eq!(selected(options, input), expected, "{options:?} {input}");
        }
    }
    for input in &inputs {
        let none = complaint(&["--limit", "1/s", "--by", "ip", "--only", "status=418", input]);
        assert_eq!(
            none,
            format!(
                "no request in {input} is selected by --only, --since and --until: leave one out, or ask for other values"
            )
        );
    }
}

#[test]
fn access_log_has_columns_of_its_format() {
    let line = |second: u32, user: &str, bytes: &str, agent: &str| {
        let stamp = format!("20/May/2024:12:00:{second:02} +0000");
        format!("192.0.2.1 - {user} [{stamp}] \"GET /a HTTP/1.1\" 200 {bytes} \"-\" \"{agent}\"\n")
    };
    let lines = [
        line(1, "ann", "500", "curl/8"),
        line(2, "bob", "-", "kube-probe/1.27"),
        line(3, "ann", "700", "Mozilla \\\"x\\\""),
    ]
    .concat();
    let plain = file("columns.log", &lines);
    let copied: String = lines
        .lines()
        .map(|line| format!("[pod/web-1/nginx] {line}\n"))
        .collect();
    for path in [plain, file("columns-kubectl.log", copied)] {
        assert_eq!(selected(&["--only", "user_agent!=kube-probe/*"], &path), (2, 1));
        assert_eq!(selected(&["--only", "user=ann"], &path), (2, 1));
        let bytes = report(&["--limit", "1000/s", "--cost", "bytes", &path]);
        assert!(bytes.contains("1000/s        1,200     1,200       0"), "{bytes}");
        assert!(report(&["--limit", "1/min", "--by", "user,path", &path]).contains("1 of 2"));
    }
}

#[test]
fn unselected_sorted_or_piped_requests_are_not_counted() {
    let mut lines: Vec<String> = log().lines().map(str::to_owned).collect();
    lines.reverse();
    let backward = file("select-backward.log", lines.join("\n"));
    assert_eq!(selected(&["--only", "path=/api/"], &backward), (4, 2));
    assert_eq!(
        selected(&["--only", "path=/api/", "--order", "as-is"], &backward),
        (4, 2)
    );
}

#[test]
fn nonsensical_conditions_are_errors() {
    let (log, table) = (file("status.log", log()), file("status.csv", table()));
    assert!(complaint(&["--limit", "1/s", "--only", "status", &log]).contains("`status` is not a condition"));
    assert!(complaint(&["--limit", "1/s", "--only", "tenant=a", &log]).contains("no group `tenant`"));
    assert!(complaint(&["--limit", "1/s", "--only", "tenant=a", &table]).contains("`tenant`"));
    assert!(complaint(&["--limit", "1/s", "--since", "noon", &log]).starts_with("--since `noon` is not a time"));
    assert!(complaint(&["--limit", "1/s", "--plan", "plan", &log]).contains("--limits"));
}

#[test]
fn plans_are_looked_up_by_their_column() {
    let rows = "time,key,plan\n1716206400,a,free\n1716206400,a,free\n1716206400,b,paid\n1716206400,b,paid\n1716206400,c,\n1716206401,a,paid\n1716206401,a,paid\n";
    let (table, limits) = (
        file("plans.csv", rows),
        file("plan-limits.csv", "free,1/min\npaid,2/min\n*,unlimited\n"),
    );
    let arguments = [
        "--limits",
        &limits,
        "--plan",
        "plan",
        "--key",
        "key",
        "--spread=none",
        "--format",
        "json",
        &table,
    ];
    let json: serde_json::Value = serde_json::from_str(&report(&arguments)).expect("JSON");
    // A key that changes its plan starts without debt.
    assert_eq!(
        (&json["limits"][0]["denied"], &json["limits"][0]["keys_denied"]),
        (&1.into(), &1.into())
    );
    let lines: String = rows
        .lines()
        .skip(1)
        .map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            format!(
                "{{\"time\":{},\"key\":\"{}\",\"account\":{{\"plan\":\"{}\"}}}}\n",
                fields[0], fields[1], fields[2]
            )
        })
        .collect();
    let lines = file("plans.json", lines);
    let nested = [
        "--limits",
        &limits,
        "--plan",
        "account.plan",
        "--key",
        "key",
        "--spread=none",
        "--format",
        "json",
        &lines,
    ];
    let nested: serde_json::Value = serde_json::from_str(&report(&nested)).expect("JSON");
    assert_eq!(
        (&nested["limits"][0]["denied"], &nested["traffic"]["requests"]),
        (&1.into(), &7.into())
    );
}

#[test]
fn addresses_are_selected_in_any_spelling() {
    let line = |client: &str| {
        format!(
            "{client} - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" \"198.51.100.9, 10.0.0.1\"\n"
        )
    };
    let clients = [
        "203.0.113.7:5000",
        "\"203.0.113.7\"",
        "203.0.113.7, 10.0.0.1",
        "203.0.113.70",
        "[2001:db8::1]:443",
    ];
    let log = file("spellings.log", clients.map(line).concat());
    let json = file(
        "spellings.json",
        "{\"time\":1716163218,\"ip\":\"203.0.113.7:5000\",\"xff\":\"198.51.100.9, 10.0.0.1\"}\n".repeat(2),
    );
    for (path, condition, selected) in [
        (&log, "ip=203.0.113.7", 3),
        (&log, "ip!=203.0.113.7", 2),
        (&log, "ip=203.0.113.0/24", 4),
        (&log, "ip=2001:db8::/64", 1),
        (&log, "xff=203.0.113.7", 3),
        (&json, "ip=203.0.113.7", 2),
        (&json, "xff=198.51.100.9|10.0.0.1", 0),
        (&json, "xff=203.0.113.0/24", 2),
    ] {
        let arguments = ["--limit", "1/s", "--spread=none", "--only", condition, path];
        if selected == 0 {
            assert!(complaint(&arguments).contains("no request"), "{condition}");
        } else {
            let requests = if selected == 1 {
                "1 request, ".to_owned()
            } else {
                format!("{selected} requests, ")
            };
            let report = report(&arguments);
            assert!(report.contains(&requests), "{condition}: {report}");
        }
    }
}
