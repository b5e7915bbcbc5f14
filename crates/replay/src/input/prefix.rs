//! Removes the text that a collector puts before each line.

use std::sync::LazyLock;

use memchr::{memchr, memchr_iter};
use regex::bytes::Regex;

use crate::address;

/// Matches the prefix of Docker Compose (also in colours), Swarm and PM2, of `kubectl --prefix`, and of syslog (RFC 5424 and 3164). Also the journal
/// in each of its short forms, Python's `logging`, Gunicorn, Hypercorn and Twisted, and the stamps of containers, Heroku, Fly, Loki and CloudWatch.
/// And the nine columns of Papertrail's archives, one of which is the address of the sender.
static PREFIX: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)^(?:
            (?: (?: \x1b\[ [\d;]* m )? [\w.@|-]+ \s+ \| \s+ (?: \x1b\[ [\d;]* m )? )
          | (?: \[ pod/[^\]]+ \] \s+ )
          | (?: (?: \d+ \s )? <\d{1,3}> 1 \s \S+ \s \S+ \s \S+ \s \S+ \s \S+ \s (?: (?: - | (?: \[ (?: [^\]\\] | \\. )* \] )+ ) \s (?: \u{FEFF} )? )? )
          | (?: (?: <\d{1,3}> )? [A-Z][a-z]{2} \s+ \d{1,2} \s \d\d:\d\d:\d\d (?: \.\d+ )? \s (?: \S+ \s+ )?? [^\s:\[\x22]+ (?: \[\d+\] )? : \s+ )
          | (?: (?: [A-Z][a-z]{2} \s \d{4}-\d\d-\d\d \s \d\d:\d\d:\d\d \s [A-Z]{2,5} | \d{9,10}\.\d{6} | \[ \s* \d+\.\d{6} \] )
              \s \S+ \s [^\s:\[\x22]+ (?: \[\d+\] )? : \s+ )
          | (?: (?: DEBUG | INFO | WARNING | ERROR ) : [\w.]+ : )
          | (?: \d+ \t (?: \d{4}-\d\d-\d\dT \d\d:\d\d:\d\d [^\t]* \t ){2} \d+ \t (?: [^\t]* \t ){5} )
          | (?: \[ \d{4}-\d\d-\d\d \s \d\d:\d\d:\d\d \s [+-]\d{4} \] \s (?: \[\d+\] \s )? \[[A-Z]+\] \s+ )
          | (?: (?: <\d{1,3}> )? \d{4}-\d\d-\d\d[T\x20_]\d\d:\d\d:\d\d [\d.,:+Zz-]* \s+ (?: std(?: out | err) \s [FP] \s
              | (?: \S+ \s+ )? [^\s:\[\x22]+ (?: \[[\w.-]+\] )? : \s+ | \{ [^}]* \} \s+ | \[ [a-zA-Z_-][\w.\#-]* \] \s+
              | app\[\w+\] \s \w+ \s \[\w+\] \s* )? )
        )"#,
    )
    .ok()
});

/// Matches a stamp: a date and a time of day, with or without a zone.
pub(super) const STAMP: &str = r"\d{4}[-/]\d\d[-/]\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d)\b)?";

/// Matches the letters of a zone after a stamp.
const LETTERS: &str = r"(?: (?:UTC|GMT|MSK|JST|[ECMP][SD]T|[WCE]ES?T)\b)?";

static STAMPS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("{STAMP}{LETTERS}")).ok());

/// Matches the stamp of syslog (RFC 3164), perhaps with a zone and a year behind it, or of Sophos, at the beginning of a line.
static OTHER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:<\d{1,3}>)?(?<stamp>(?:[A-Z][a-z]{2} +\d{1,2} \d\d|\d{4}:\d\d:\d\d-\d\d):\d\d:\d\d(?:\.\d+)?(?: [AP]M)?(?:(?: [A-Z]{3,4})? (?:19|20)\d\d)?)\b")
        .ok()
});

/// Returns the position of the stamp in the text before the fields of a line: the first like `2024-05-20T00:00:18Z`, or otherwise that of syslog or
/// Sophos.
pub(super) fn stamp(before: &[u8]) -> Option<(usize, usize)> {
    dated_stamp(before).or_else(|| {
        let found = OTHER.as_ref()?.captures(before)?.name("stamp")?;
        Some((found.start(), found.end()))
    })
}

/// Returns the position of the first stamp like `2024-05-20T00:00:18Z`.
pub(super) fn dated_stamp(text: &[u8]) -> Option<(usize, usize)> {
    let found = STAMPS.as_ref()?.find(text)?;
    // With a half of the day it is another time.
    let is_half = [&b" AM"[..], b" PM"]
        .iter()
        .any(|half| text[found.end()..].starts_with(half));
    (!is_half).then_some((found.start(), found.end()))
}

/// Removes a collector's prefix from a line.
pub(super) fn without(line: &[u8]) -> &[u8] {
    let mut bare = line;
    // Prefixes nest, as when Docker Compose wraps a container's, but at most three levels.
    for _ in 0..3 {
        // The line itself begins at an address.
        let first = memchr(b' ', bare).map_or(bare, |at| &bare[..at]);
        if address::parse(first.trim_ascii_end()).is_some() || first.starts_with(b"\"") {
            break;
        }
        match PREFIX.as_ref().and_then(|prefix| prefix.find(bare)) {
            Some(found) => bare = &bare[found.end()..],
            None => break,
        }
    }
    bare
}

/// Returns the JSON object that a line consists of or ends with. The text before an object contains no quote, except in a collector's prefix.
#[inline]
pub(super) fn object(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii_start();
    if line.first() == Some(&b'{') {
        return Some(line);
    }
    let line = without(line);
    let at = memchr_iter(b'{', line).find(|at| line[at + 1..].trim_ascii_start().first() == Some(&b'"'))?;
    (line.last() == Some(&b'}') && memchr(b'"', &line[..at]).is_none()).then_some(&line[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_collectors_are_removed() {
        for prefix in [
            "May 20 00:00:18 web1 nginx: ",
            "<190>May  2 00:00:18 nginx[812]: ",
            "<165>1 2024-05-20T00:00:18.003Z web1 nginx 812 ID47 [id@1 a=\"b\\]c\"] ",
            "83 <40>1 2024-05-20T00:00:18+00:00 host heroku router - ",
            "2024-05-20T00:00:18.123456+00:00 web1 nginx[812]: ",
            "2024-05-20T00:00:18.123456+00:00 app[web.1]: ",
            "2024-05-20T00:00:18.1Z stdout F ",
            "2024-05-20_00:00:18.12345 ",
            "2024-05-20T00:00:18Z {app=\"web\", job=\"x\"} ",
            "Mon 2024-05-20 00:00:18 UTC web1 nginx[812]: ",
            "1716163218.123456 web1 nginx[812]: ",
            "[ 5024.688384] web1 nginx[812]: ",
            "web-1  | 2024-05-20T00:00:18Z ",
            "web.1.k2x7@node1    | ",
            "\u{1b}[36mweb-1  | \u{1b}[0m",
            "2024-05-20T00:00:18Z app[91857c6f] lhr [info]",
            "0|web  | ",
            "[pod/web-6d4b/nginx] ",
            "INFO:werkzeug:",
            "700\t2024-05-20T00:00:18\t2024-05-20T00:00:18Z\t31181206313902080\tweb1\t198.51.100.9\tUser\tInfo\tnginx\t",
            "[2024-05-20 00:00:18 +0000] [812] [INFO] ",
            "2024-05-20T00:00:18+0000 [twisted.python.log#info] ",
            "",
        ] {
            let line = format!("{prefix}203.0.113.7 - -");
            assert_eq!(without(line.as_bytes()), b"203.0.113.7 - -", "{prefix}");
        }
    }

    #[test]
    fn stamps_are_found_in_prefixes() {
        for (before, found) in [
            (
                "83 <40>1 2024-05-20T00:00:18+00:00 host heroku router - ",
                "2024-05-20T00:00:18+00:00",
            ),
            ("[2024-05-20 00:00:18,123] INFO ", "2024-05-20 00:00:18,123"),
            ("2024/05/20 00:00:18.123\tinfo\thttp\t", "2024/05/20 00:00:18.123"),
            ("2024-05-20 00:00:18 +0200\tnginx\t", "2024-05-20 00:00:18 +0200"),
            ("2024-05-20 02:00:18 CEST INFO x ", "2024-05-20 02:00:18 CEST"),
            ("<190>May  2 00:00:18 web1 kernel: ", "May  2 00:00:18"),
            ("May 20 00:00:18 web1 app: 2024-05-20 00:00:17 ", "2024-05-20 00:00:17"),
            ("2024:05:20-00:00:18 fw httpproxy[812]: ", "2024:05:20-00:00:18"),
            ("May 20 01:00:18 PM  [GET]200 ", "May 20 01:00:18 PM"),
            ("May 20 00:00:18 2024 fw kernel: ", "May 20 00:00:18 2024"),
            ("May 20 00:00:18 CEST 2024 fw kernel: ", "May 20 00:00:18 CEST 2024"),
            ("May 20 00:00:18 2024x kernel: ", "May 20 00:00:18"),
            ("2024-05-20 01:00:18 PM  [GET]200 ", ""),
            ("web-1 | May 20 00:00:18 ", ""),
            ("web-1 | ", ""),
        ] {
            let at = stamp(before.as_bytes()).map_or("", |(start, end)| &before[start..end]);
            assert_eq!(at, found, "{before}");
        }
    }

    #[test]
    fn objects_are_found_after_text_without_quotes() {
        for (line, found) in [
            ("{\"a\":1}", Some("{\"a\":1}")),
            (" {", Some("{")),
            ("web-1  | {\"a\":\"{\\\"\"}", Some("{\"a\":\"{\\\"\"}")),
            ("2024-05-20 INFO x { \"a\": 1 }", Some("{ \"a\": 1 }")),
            ("2024-05-20 {x} {   \"a\": 1 }", Some("{   \"a\": 1 }")),
            ("203.0.113.7 \"GET /\" {\"a\":1}", None),
            ("x {\"a\":1} y", None),
            ("x", None),
        ] {
            assert_eq!(object(line.as_bytes()), found.map(str::as_bytes), "{line}");
        }
    }
}
