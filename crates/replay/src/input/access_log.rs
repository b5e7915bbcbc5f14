//! Lines of access logs: Common and Combined Log Format.

use super::BadLine;
use crate::stamp;

/// Of a log line, what a meter needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The first field: the client's address, or its name where the server looks that up.
    pub client: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
}

/// Reads `client ident user [stamp] "request" status bytes`, and after it either nothing (Common) or at
/// least a quoted referer and user agent (Combined); servers append more fields to these, unread.
///
/// # Errors
///
/// [`BadLine`] with the reason.
pub fn parse_line(line: &[u8]) -> Result<LogLine<'_>, BadLine> {
    let (client, rest) = split_at(line, b" ").ok_or(BadLine::NotALogLine)?;
    let (names, rest) = split_at(rest, b" [").ok_or(BadLine::NotALogLine)?;
    let (stamp, rest) = split_at(rest, b"] \"").ok_or(BadLine::NotALogLine)?;
    // With one name more, the line begins with a virtual host, and the client is not what comes first.
    let two_names = names.iter().filter(|&&byte| byte == b' ').count() == 1;
    if client.is_empty() || !two_names || !ends_like_a_log_line(rest) {
        return Err(BadLine::NotALogLine);
    }
    let time = stamp::parse_common_log(stamp)?;
    Ok(LogLine { client, time })
}

/// Whether, from within the request on, a line goes on as a log line does. Old servers write quotes
/// within a request as they are: any quote with a status behind it may be the one that ends it.
fn ends_like_a_log_line(mut request: &[u8]) -> bool {
    while let Some((_, rest)) = split_at(request, b"\" ") {
        if is_tail(rest) {
            return true;
        }
        request = rest;
    }
    false
}

/// Whether this is `status bytes`, and nothing, or at least two quoted fields.
fn is_tail(tail: &[u8]) -> bool {
    let Some((status, rest)) = split_at(tail, b" ") else {
        return false;
    };
    let (bytes, more) = split_at(rest, b" ").unwrap_or((rest, b""));
    let is_number = |field: &[u8]| !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let quotes = || more.iter().filter(|&&byte| byte == b'"').count();
    status.len() == 3
        && is_number(status)
        && (is_number(bytes) || bytes == b"-")
        && (more.is_empty() || (more.starts_with(b"\"") && quotes() >= 4))
}

fn split_at<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::StampError;

    const COMMON: &str = r#"192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;

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
            r#""\x16\x03\x01" 400 150 "-" "-""#,
        ];
        for tail in tails {
            let line = format!("{head}{tail}");
            let read = parse_line(line.as_bytes()).unwrap_or_else(|bad| panic!("{line}: {bad}"));
            assert_eq!(
                read,
                LogLine {
                    client: b"192.0.2.7",
                    time: 971_211_336_000_000_000
                },
                "{line}"
            );
        }
    }

    #[test]
    fn a_client_may_be_ipv6_or_a_name_or_not_text_at_all() {
        for client in [
            &b"2001:db8::1"[..],
            b"[2001:db8::1]",
            b"::1",
            b"pppa006.example.com",
            b"-",
            b"\xff\xfe",
        ] {
            let line = [client, &COMMON.as_bytes()[9..]].concat();
            assert_eq!(parse_line(&line).map(|line| line.client), Ok(client));
        }
    }

    #[test]
    fn what_is_no_log_line_is_told() {
        let table = [
            "",
            r#" "curl/7.54.0""#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] GET / HTTP/1.1 200 5"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1 200 5"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 20 5"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 five"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 "-""#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 "-" "curl"#,
            r#"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 0.005"#,
            r#"192.0.2.7 [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5"#,
            r#"www.example.org:80 192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5"#,
            "time,key,cost",
        ];
        for line in table {
            assert_eq!(parse_line(line.as_bytes()), Err(BadLine::NotALogLine), "{line}");
        }
        let no_such_day = COMMON.replace("10/Oct", "31/Sep");
        assert_eq!(
            parse_line(no_such_day.as_bytes()),
            Err(BadLine::Stamp(StampError::NoSuchTime))
        );
    }

    #[test]
    fn no_beginning_of_a_line_panics() {
        let combined = format!(r#"{COMMON} "-" "curl/7.54.0""#);
        for end in 0..combined.len() {
            let _ = parse_line(&combined.as_bytes()[..end]);
        }
    }
}
