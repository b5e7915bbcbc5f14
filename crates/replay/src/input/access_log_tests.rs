use super::*;
use crate::stamp::StampError;

const COMMON: &str = r#"192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;

/// Returns client, request and status.
fn parse(line: &str) -> Result<(String, String, String), BadLine> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut lines = LogLines::default();
    let line = lines.parse(line.as_bytes())?;
    assert_eq!(line.time, 971_211_336_000_000_000);
    Ok((text(line.client), text(line.request), text(line.status)))
}

#[test]
fn common_and_combined_lines_are_read() {
    let head = r#"192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "#;
    let tails = [
        r#""GET /apache_pb.gif HTTP/1.0" 200 2326"#,
        r#""GET / HTTP/1.0" 304 -"#,
        r#""" 400 0"#,
        r#""-" 408 -"#,
        r#""GET /"quoted".gif HTTP/1.0" 404 -"#,
        r#""GET /\"escaped\" HTTP/1.0" 404 12"#,
        r#""GET / HTTP/1.1" 200 5 "-" "curl/7.54.0""#,
        r#""GET / HTTP/1.1" 200 5 "http://example.org/?q=\"a b\"" "Mozilla/5.0 (X11; Linux, like Gecko)""#,
        r#""GET / HTTP/1.1" 200 5 "-" "-" "curl/7.54.0""#,
        r#""GET / HTTP/1.1" 200 5 "-" "curl/7.54.0" 0.005 backend"#,
        r#""GET / HTTP/1.1" 200 5 "-" "curl/7.54.0" "192.0.2.9, 192.0.2.8" rt=0.005 uct="0.000""#,
        r#""GET / HTTP/1.1" 200 5 "-" "a 3" screen" "-""#,
        r#""GET / HTTP/1.1" 200 5 0.005"#,
        r#""GET / HTTP/1.1" 200 5 "192.0.2.9""#,
        r#""\x16\x03\x01" 400 150 "-" "-""#,
    ];
    for tail in tails {
        let line = format!("{head}{tail}");
        let read = parse(&line).unwrap_or_else(|bad| panic!("{line}: {bad}"));
        assert_eq!(read.0, "192.0.2.7", "{line}");
    }
}

#[test]
fn client_may_be_ipv6_name_or_bytes() {
    for client in [
        &b"2001:db8::1"[..],
        b"[2001:db8::1]",
        b"::1",
        b"pppa006.example.com",
        b"-",
        b"\xff\xfe",
    ] {
        let line = [client, &COMMON.as_bytes()[9..]].concat();
        assert_eq!(LogLines::default().parse(&line).map(|line| line.client), Ok(client));
    }
}

#[test]
fn whole_line_may_be_in_quotes() {
    let plain = r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET /"q" HTTP/1.0" 200 5 "" "a\"b""#;
    let doubled = format!("\"{}\"", plain.replace('"', "\"\""));
    let escaped = format!("\"{}\"", plain.replace('\\', r"\\").replace('"', "\\\""));
    let as_it_is = format!("\"{plain}\"");
    for line in [plain, &doubled, &escaped, &as_it_is] {
        let (client, request, status) = parse(line).unwrap_or_else(|bad| panic!("{line}: {bad}"));
        assert_eq!(
            [client, request, status],
            ["192.0.2.7", r#"GET /"q" HTTP/1.0"#, "200"],
            "{line}"
        );
    }
    for line in [
        "\"",
        "\"\"",
        "\"\"\"",
        "\"curl/7.54.0\"\"",
        &doubled[..doubled.len() - 3],
    ] {
        assert_eq!(parse(line), Err(BadLine::NotALogLine), "{line}");
    }
}

#[test]
fn path_excludes_method_query_and_version() {
    let table = [
        ("GET / HTTP/1.1", "/"),
        ("GET /a/b?c=d HTTP/1.1", "/a/b"),
        ("GET /a#b HTTP/1.1", "/a"),
        ("GET /a b?c HTTP/1.0", "/a b"),
        ("GET /a", "/a"),
        ("GET http://www.example.org/a?b HTTP/1.1", "/a"),
        ("GET https://www.example.org HTTP/1.1", "/"),
        ("GET /to?http://www.example.org/a HTTP/1.1", "/to"),
        (
            "GET /to/http://www.example.org/a HTTP/1.1",
            "/to/http://www.example.org/a",
        ),
        ("CONNECT www.example.org:443 HTTP/1.1", "www.example.org:443"),
        ("OPTIONS * HTTP/1.1", "*"),
        ("GET ?a HTTP/1.1", "-"),
        ("GET  HTTP/1.1", "-"),
        (r"\x16\x03\x01", "-"),
        ("-", "-"),
        ("", "-"),
    ];
    for (request, expected) in table {
        assert_eq!(path(request.as_bytes()), expected.as_bytes(), "{request}");
    }
}

#[test]
fn line_of_another_format_is_reported() {
    let table = [
        "",
        r#" "curl/7.54.0""#,
        r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1"#,
        r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] GET / HTTP/1.1 200 5"#,
        r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1 200 5"#,
        r#"[10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5"#,
        "time,key,cost",
    ];
    for line in table {
        assert_eq!(parse(line), Err(BadLine::NotALogLine), "{line}");
    }
    let no_such_day = COMMON.replace("10/Oct", "31/Sep");
    assert_eq!(parse(&no_such_day), Err(BadLine::Stamp(StampError::NoSuchTime)));
}

#[test]
fn no_beginning_of_a_line_panics() {
    let combined = format!(r#"{COMMON} "-" "curl/7.54.0""#);
    for end in 0..combined.len() {
        let _ = parse(&combined[..end]);
    }
}

#[test]
fn last_field_may_be_the_request_duration() {
    let table = [
        (r#" "-" "curl" 0.005"#, Some(5)),
        (r#" "-" "curl" "0.005""#, Some(5)),
        (r#" "-" "curl" 1.250 0.005"#, Some(1_250)),
        (r#" "-" "curl" 0.005 -"#, Some(5)),
        (r#" "-" "curl" rt=0.005"#, Some(5)),
        (r#" "-" "curl" 1234"#, None),
        (r#" "-" "curl" 0.5"#, None),
        (r#" "-" "curl""#, None),
        ("", None),
    ];
    for (tail, ms) in table {
        assert_eq!(
            duration(tail.as_bytes(), None),
            ms.map(|ms: i64| ms * 1_000_000),
            "{tail}"
        );
    }
    assert_eq!(
        duration(br#" "-" "curl" 1234"#, Some(Took::Microseconds)),
        Some(1_234_000)
    );
}

#[test]
fn forwarded_list_follows_the_agent() {
    let table = [
        (r#" "-" "curl" "203.0.113.7, 10.0.0.1""#, "203.0.113.7, 10.0.0.1"),
        (r#" "-" "c\"url" "unknown, 203.0.113.7" 0.005"#, "unknown, 203.0.113.7"),
        (r#" "-" "curl" "gzip" "203.0.113.7""#, "203.0.113.7"),
        (r#" "203.0.113.7" "203.0.113.7" "-""#, ""),
        ("", ""),
    ];
    for (tail, list) in table {
        assert_eq!(forwarded(tail.as_bytes()), list.as_bytes(), "{tail}");
    }
}
