//! Compiles the log formats of servers, `log_format` of nginx and `LogFormat` of Apache, to regular expressions.
//!
//! Each variable becomes a group of the same name, between the literal texts around it.

use std::fmt::Write as _;

/// A pattern that splits a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The name of the format in messages.
    pub(super) what: &'static str,
    /// The expression, with a named group for each value.
    pub(super) regex: String,
    /// The `strptime` format of the time, if the log format states it.
    pub(super) time: Option<String>,
}

/// Common and Combined Log Format, for use by name.
const APACHE: [(&str, &str); 4] = [
    ("common", "%h %l %u %t \"%r\" %>s %b"),
    (
        "combined",
        "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"",
    ),
    (
        "vhost_combined",
        "%v:%p %h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"",
    ),
    (
        "main",
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\"",
    ),
];

/// Returns the names of the formats that are known in full.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    APACHE.iter().map(|(name, _)| *name)
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A variable, by the name of its group.
    Variable(String),
    /// A part of the time, as a `strptime` format; with `None`, in brackets as in Common Log Format.
    Time(Option<String>),
}

/// Compiles a format.
///
/// # Errors
///
/// The reason why it is invalid.
pub(super) fn compile(format: &str) -> Result<Pattern, String> {
    let known = APACHE.iter().find(|(name, _)| *name == format);
    let format = known.map_or(format, |(_, format)| format);
    // The format may be copied from a configuration: with its directive, name and quotes.
    let format = unquoted(format);
    let pieces = if format.contains('$') {
        nginx(&format)
    } else if format.contains('%') {
        apache(&format)?
    } else {
        return Err(
            "it has neither variables like $remote_addr nor directives like %h, and is no name of a format: give \
             the format as it stands in the server's configuration"
                .to_owned(),
        );
    };
    let pieces = with_one_time(pieces);
    let mut regex = String::from("^");
    let mut time = None;
    let mut seen: Vec<String> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => push_text(&mut regex, text),
            Piece::Time(format) => {
                time.clone_from(format);
                regex += if format.is_some() {
                    "(?<time>.+?)"
                } else {
                    r"\[(?<time>[^\]]+)\]"
                };
                seen.push("time".to_owned());
            }
            Piece::Variable(name) => {
                let value = value(name, pieces.get(at + 1));
                // A group name may occur only once.
                if seen.contains(name) {
                    let _ = write!(regex, "(?:{value})");
                } else {
                    let _ = write!(regex, "(?<{name}>{value})");
                    seen.push(name.clone());
                }
            }
        }
    }
    regex += r"\s*$";
    Ok(Pattern {
        what: "--log-format",
        regex,
        time,
    })
}

/// Returns a format without the directive that sets it, and without its quotes.
fn unquoted(format: &str) -> String {
    let format = format.trim().trim_end_matches(';');
    let bare = format
        .strip_prefix("log_format")
        .or_else(|| format.strip_prefix("LogFormat"));
    let Some(bare) = bare.filter(|bare| bare.starts_with(char::is_whitespace)) else {
        return format.to_owned();
    };
    // nginx takes several quoted pieces; Apache takes one, and a name after it.
    let mut text = String::new();
    let mut open = None;
    let mut characters = bare.chars();
    while let Some(character) = characters.next() {
        match (open, character) {
            (None, '\'' | '"') => open = Some(character),
            (Some(quote), character) if character == quote => open = None,
            (Some('"'), '\\') => text.extend(characters.next()),
            (Some(_), character) => text.push(character),
            (None, _) => {}
        }
    }
    text
}

fn nginx(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('$') {
        push(&mut pieces, &rest[..at]);
        let after = &rest[at + 1..];
        let is_braced = after.starts_with('{');
        let name = after.trim_start_matches('{');
        let len = name.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let name = &name[..len.unwrap_or(name.len())];
        if name.is_empty() || name.starts_with(|letter: char| letter.is_ascii_digit()) {
            push(&mut pieces, "$");
            rest = after;
            continue;
        }
        pieces.push(Piece::Variable(name.to_owned()));
        rest = &after[name.len() + usize::from(is_braced)..];
        rest = if is_braced {
            rest.strip_prefix('}').unwrap_or(rest)
        } else {
            rest
        };
    }
    push(&mut pieces, rest);
    pieces
}

/// Returns the group name of an Apache directive.
fn directive(letter: char, argument: &str) -> Option<String> {
    Some(match (letter, argument) {
        ('h', _) => "ip".to_owned(),
        ('a', "c") => "peer".to_owned(),
        ('a', _) => "remote_addr".to_owned(),
        ('l', _) => "ident".to_owned(),
        ('u', _) => "user".to_owned(),
        ('r', _) => "request".to_owned(),
        ('s', _) => "status".to_owned(),
        ('m', _) => "method".to_owned(),
        ('U', _) => "path".to_owned(),
        ('q', _) => "query".to_owned(),
        ('v' | 'V', _) => "host".to_owned(),
        ('p', _) => "port".to_owned(),
        ('B' | 'b' | 'O', _) => "bytes".to_owned(),
        ('I', _) => "received".to_owned(),
        ('D', _) => "D".to_owned(),
        ('T', "ms") => "duration_ms".to_owned(),
        ('T', "us") => "D".to_owned(),
        ('T', _) => "T".to_owned(),
        ('i' | 'o' | 'e' | 'n' | 'C' | 'x', name) => {
            let name = name
                .to_ascii_lowercase()
                .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
            if name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                name
            } else {
                format!("h_{name}")
            }
        }
        (letter, _) if letter.is_ascii_alphabetic() => format!("p_{letter}"),
        _ => return None,
    })
}

fn apache(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        push(&mut pieces, &rest[..at].replace("\\\"", "\"").replace("\\t", "\t"));
        let mut after = &rest[at + 1..];
        if let Some(behind) = after.strip_prefix('%') {
            push(&mut pieces, "%");
            rest = behind;
            continue;
        }
        // Conditions: `%!200,304{..}i`, and which of two statuses: `%>s`.
        after =
            after.trim_start_matches(|letter: char| matches!(letter, '<' | '>' | '!' | ',') || letter.is_ascii_digit());
        let mut argument = "";
        if let Some(inner) = after.strip_prefix('{') {
            let (name, behind) = inner.split_once('}').ok_or("a { is not closed")?;
            (argument, after) = (name, behind);
        }
        after = after.trim_start_matches(['<', '>', '^']);
        let Some(letter) = after.chars().next() else {
            return Err("it ends within a directive".to_owned());
        };
        rest = &after[letter.len_utf8()..];
        if letter == 't' && after.starts_with("ti") && argument.is_empty() {
            rest = &after[2..];
        }
        if letter == 't' {
            pieces.push(Piece::Time(time(argument)));
        } else {
            let name = directive(letter, argument).ok_or_else(|| format!("%{letter} is no directive"))?;
            pieces.push(Piece::Variable(name));
        }
    }
    push(&mut pieces, &rest.replace("\\\"", "\"").replace("\\t", "\t"));
    Ok(pieces)
}

/// Returns the `strptime` format of `%{...}t`; none for `%t`.
fn time(argument: &str) -> Option<String> {
    let argument = argument
        .strip_prefix("begin:")
        .or_else(|| argument.strip_prefix("end:"))
        .unwrap_or(argument);
    Some(match argument {
        "" | "begin" | "end" => return None,
        "sec" | "msec" | "usec" => "%s".to_owned(),
        "msec_frac" | "usec_frac" => "%f".to_owned(),
        strftime => strftime.to_owned(),
    })
}

/// Joins the parts of the time that have only text between them.
fn with_one_time(pieces: Vec<Piece>) -> Vec<Piece> {
    let is_part = |piece: &Piece| matches!(piece, Piece::Time(Some(_)));
    let (Some(first), Some(last)) = (pieces.iter().position(is_part), pieces.iter().rposition(is_part)) else {
        return pieces;
    };
    let mut format = String::new();
    for piece in &pieces[first..=last] {
        match piece {
            Piece::Time(Some(part)) => format += part,
            Piece::Text(text) => format += &text.replace('%', "%%"),
            _ => return pieces,
        }
    }
    // A Unix time is known by its magnitude.
    let format = (format != "%s").then_some(format);
    let mut joined = pieces[..first].to_vec();
    joined.push(match format {
        Some(format) => Piece::Time(Some(format)),
        None => Piece::Variable("time".to_owned()),
    });
    joined.extend_from_slice(&pieces[last + 1..]);
    joined
}

fn push(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Adds literal text of the format; blanks may be repeated.
fn push_text(regex: &mut String, text: &str) {
    let mut is_blank = false;
    for character in text.chars() {
        if character.is_whitespace() {
            if !is_blank {
                *regex += r"\s+";
            }
        } else {
            regex.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
        }
        is_blank = character.is_whitespace();
    }
}

/// Returns the expression for a variable, by its name and by the text after it.
fn value(name: &str, next: Option<&Piece>) -> &'static str {
    let is_quoted = matches!(next, Some(Piece::Text(text)) if text.starts_with('"'));
    match name {
        _ if is_quoted => r#"(?:[^"\\]|\\.)*"#,
        "status" => r"\d{3}|-",
        "time_local" => r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}",
        // Names of users and lists of addresses contain blanks.
        "remote_user"
        | "user"
        | "http_x_forwarded_for"
        | "proxy_add_x_forwarded_for"
        | "x_forwarded_for"
        | "request" => r".*?",
        _ if matches!(next, Some(Piece::Text(text)) if text.starts_with(char::is_whitespace)) => r"\S*",
        _ => r".*?",
    }
}

/// Returns the last line of a regular expression error, which has its reason.
pub(super) fn one_reason(error: &regex::Error) -> String {
    let error = error.to_string();
    let last = error
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it is no regular expression");
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::Regex;

    fn groups(format: &str, line: &str) -> Vec<(String, String)> {
        let pattern = compile(format).expect(format);
        let regex = Regex::new(&pattern.regex).expect(format);
        let found = regex
            .captures(line.as_bytes())
            .unwrap_or_else(|| panic!("{line}: {regex}"));
        let names = regex.capture_names().flatten();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        names
            .map(|name| {
                (
                    name.to_owned(),
                    found
                        .name(name)
                        .map_or_else(String::new, |group| text(group.as_bytes())),
                )
            })
            .collect()
    }

    fn has(format: &str, line: &str, expected: &[(&str, &str)]) {
        let groups = groups(format, line);
        for &(name, value) in expected {
            let found = groups
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str());
            assert_eq!(found, Some(value), "{format}: {name} of {line}");
        }
    }

    #[test]
    fn formats_of_nginx_take_lines_apart() {
        let line = r#"203.0.113.7 - jo doe [20/May/2024:00:00:18 +0000] "GET /a b HTTP/1.1" 200 5 "-" "x\"y" "198.51.100.9, 10.0.0.1" 0.005"#;
        let expected = [
            ("remote_addr", "203.0.113.7"),
            ("remote_user", "jo doe"),
            ("time_local", "20/May/2024:00:00:18 +0000"),
            ("request", "GET /a b HTTP/1.1"),
            ("status", "200"),
            ("http_x_forwarded_for", "198.51.100.9, 10.0.0.1"),
            ("request_time", "0.005"),
        ];
        let format = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" $request_time"#;
        has(format, line, &expected);
        let whole = format!("log_format  main  '{}'\n '{}';", &format[..40], &format[40..]);
        has(&whole, line, &expected);
        has(
            "${remote_addr}|$msec|$status",
            "203.0.113.7|1716163218.483|200",
            &[("msec", "1716163218.483")],
        );
        has(
            "rt=$request_time ip=$remote_addr t=$time_iso8601",
            "rt=0.1 ip=::1 t=2024-05-20T00:00:18+00:00",
            &[("remote_addr", "::1")],
        );
    }

    #[test]
    fn formats_of_apache_take_lines_apart() {
        has(
            r#"%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D"#,
            r#"www.example.org:443 203.0.113.7 - jo doe [20/May/2024:00:00:18 +0000] "GET /a HTTP/1.1" 200 5 "-" "x" 1234"#,
            &[
                ("host", "www.example.org"),
                ("ip", "203.0.113.7"),
                ("time", "20/May/2024:00:00:18 +0000"),
                ("D", "1234"),
            ],
        );
        has(
            r#"LogFormat "%a [%{%Y-%m-%d %H:%M:%S}t.%{msec_frac}t %{%z}t] \"%r\" %s \"%{X-Forwarded-For}i\"" custom"#,
            r#"203.0.113.7 [2024-05-20 00:00:18.483 +0000] "GET /a HTTP/1.1" 200 "-""#,
            &[
                ("remote_addr", "203.0.113.7"),
                ("time", "2024-05-20 00:00:18.483 +0000"),
                ("x_forwarded_for", "-"),
            ],
        );
        let pattern = compile("%a [%{%Y-%m-%d %H:%M:%S}t.%{msec_frac}t %{%z}t]").expect("a format");
        assert_eq!(pattern.time.as_deref(), Some("%Y-%m-%d %H:%M:%S.%f %z"));
        has(
            "%h %{msec}t %U",
            "203.0.113.7 1716163218483 /a",
            &[("time", "1716163218483"), ("path", "/a")],
        );
    }

    #[test]
    fn invalid_formats_have_an_explanation() {
        for (format, reason) in [
            ("main2", "neither variables"),
            ("%{Referer i", "not closed"),
            ("%h %", "ends within"),
            ("%h %-", "no directive"),
        ] {
            let error = compile(format).expect_err(format);
            assert!(error.contains(reason), "{format}: {error}");
        }
    }
}
