//! Names files that are not read, and the command that makes them readable.

use std::sync::LazyLock;

use memchr::{memchr2, memmem};
use regex::bytes::Regex;

/// A kind of file that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Its name, with an article.
    pub(super) what: &'static str,
    /// The command, or the change of a configuration, that helps.
    pub(super) instead: &'static str,
}

/// Binary files: the offset of a magic number, and the number.
const MAGIC: &[(usize, &[u8], &str, &str)] = &[
    (257, b"ustar", "a tar archive", "tar -xOf FILE | meter-replay ... -"),
    (0, b"PK\x03\x04", "a zip archive", "unzip -p FILE | meter-replay ... -"),
    (
        0,
        b"7z\xbc\xaf\x27\x1c",
        "a 7z archive",
        "7z x -so FILE | meter-replay ... -",
    ),
    (
        0,
        b"\x04\x22\x4d\x18",
        "packed with lz4",
        "lz4 -dc FILE | meter-replay ... -",
    ),
    (0, b"\x1f\x9d", "packed with compress", "zcat FILE | meter-replay ... -"),
    // The first packing is already undone.
    (
        0,
        b"\x1f\x8b",
        "packed with gzip twice",
        "zcat FILE | meter-replay ... -",
    ),
    (
        0,
        b"\x5d\x00\x00",
        "packed with lzma",
        "xz -dc --format=lzma FILE | meter-replay ... -",
    ),
    (
        0,
        b"LPKSHHRH",
        "a file of the systemd journal",
        "journalctl --file FILE -o json | meter-replay ... -",
    ),
    (
        0,
        b"SQLite format 3\0",
        "an SQLite database",
        "sqlite3 -csv -header FILE 'SELECT ...' | meter-replay ... -",
    ),
    (
        0,
        b"PAR1",
        "a Parquet file",
        "duckdb -csv -c \"FROM 'FILE'\" | meter-replay ... -",
    ),
    (
        0,
        b"snoop\0\0\0",
        "a packet capture of snoop",
        "editcap -F pcap OLD NEW",
    ),
    (0, b"ElfFile\0", "a Windows event log", "export it as CSV"),
    (0, b"%PDF-", "a PDF document", "export the log as text"),
];

/// Text that has no line for each request, or lines without a time or a client.
const TEXTS: [(&str, &str, &str); 13] = [
    (
        r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?:emerg|alert|crit|error|warn|notice|info|debug)\] \d+#",
        "an error log of nginx, which has no line for each request",
        "name its access log",
    ),
    (
        r"^\[[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}\] \[[a-z0-9_]*:?[a-z0-9]+\]",
        "an error log of Apache, which has no line for each request",
        "name its access log",
    ),
    (
        r"haproxy\[\d+\]: Connect from ",
        "a log of HAProxy without `option httplog` or `option tcplog`, whose lines have no full time",
        "set one of these options",
    ),
    (
        r"^\d\d:\d\d:\d\d\.\d{6} (?:\S+ +(?:In|Out|[BMP]) +)?(?:IP6?|ARP)\b",
        "text of tcpdump without dates",
        "name the capture itself (tcpdump -w FILE), or print its text with tcpdump -tttt",
    ),
    (
        r#"^INFO: +\S+:\d+ - ""#,
        "a log of Uvicorn, whose lines have no time",
        "give `uvicorn.access` a formatter with %(asctime)s, and read it with --regex '^(?<time>\\S+ \\S+).*? (?<key>\\S+):\\d+ -'",
    ),
    (
        r#"^(?:[A-Z], \[[^\]]*\] +[A-Z]+ -- : (?:\[[^\]]*\] )*)?Started [A-Z]+ "\S+" for "#,
        "a log of Rails, with several lines for each request",
        "grep 'Started ' FILE | meter-replay --regex 'for (?<key>\\S+) at (?<time>.+)$' ... -",
    ),
    (
        r" dnsmasq\[\d+\]: ",
        "a log of dnsmasq, with several lines for each query",
        "grep 'query\\[' FILE | meter-replay --regex '^(?<time>\\w+ +\\d+ \\S+|\\S+) .* from (?<key>\\S+)$' ... -",
    ),
    (
        r"^[0-9a-fA-F.:]+, [^,]*, \d{1,2}/\d{1,2}/\d{2,4}, \d{1,2}:\d\d:\d\d, ",
        "a log in the own format of IIS, whose dates have the order of the server's country",
        "add --regex '^(?<key>[^,]+), [^,]*, (?<time>[^,]+, [^,]+),' --time-format '%m/%d/%Y, %H:%M:%S', or %d/%m/%Y",
    ),
    (
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:\S+ ){0,3}[A-Z]+ /\S* (?:-|\S*=\S*) \d{2,5} \S+ [0-9a-fA-F.:%]+ ",
        "a part of a log of IIS without the line that names its fields",
        "put that line before it, as in (grep -m1 '^#Fields:' LOG; cat FILE) | meter-replay ... -",
    ),
    (
        r"^\s*Microsoft DHCP(?:v6)? Service Activity Log",
        "a log of the DHCP server of Windows, with text before its table",
        "sed -n '/^ID,/,$p' FILE | meter-replay --time Date+Time --time-format '%m/%d/%y %H:%M:%S' --key 'IP Address' ... -",
    ),
    (
        r"^# (?:Time|User@Host|Query_time): ",
        "a slow query log of MySQL, with several lines for each query",
        "awk '/^# Time:/ {time = $3} /^# User@Host:/ {print time, $0}' FILE | meter-replay --regex '^(?<time>\\S+).*\\[(?<key>[^\\]]+)\\]' ... -",
    ),
    (
        r"^(?i-u:<!doctype|<html|<\?xml)",
        "a document in HTML or XML",
        "export the log as text, CSV or JSON lines",
    ),
    (
        r"^\$ANSIBLE_VAULT|^-----BEGIN ",
        "an encrypted file",
        "decrypt it to a pipe, and name -",
    ),
];

static TEXT: LazyLock<Vec<Regex>> =
    LazyLock::new(|| TEXTS.iter().filter_map(|(regex, ..)| Regex::new(regex).ok()).collect());

/// Returns the kind of a binary file that begins with `head`.
pub(super) fn binary(head: &[u8]) -> Option<Foreign> {
    let is_it =
        |(at, magic, ..): &&(usize, &[u8], &str, &str)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    let (_, magic, what, instead) = MAGIC.iter().find(is_it)?;
    if *magic == b"PK\x03\x04" && memmem::find(head, b"[Content_Types].xml").is_some() {
        return Some(Foreign {
            what: "a spreadsheet or another Office document",
            instead: "save it as CSV",
        });
    }
    Some(Foreign { what, instead })
}

/// Returns whether text of no known format is no text at all.
pub(super) fn is_noise(head: &[u8]) -> bool {
    let is_control = |byte: &&u8| byte.is_ascii_control() && !matches!(**byte, b'\t' | b'\n' | b'\r' | 0x1b);
    head.iter().filter(is_control).count() * 10 > head.len()
}

/// Returns the kind of text whose only line has carriage returns: they end its lines, as in Excel's CSV for Macintosh.
pub(super) fn of_returns(lines: &[&[u8]]) -> Option<Foreign> {
    (lines.len() == 1 && lines[0].contains(&b'\r')).then_some(Foreign {
        what: "text with carriage returns instead of line feeds",
        instead: "tr '\\r' '\\n' <FILE | meter-replay ... -",
    })
}

/// Returns the kind of text that most of the first lines are.
pub(super) fn text(lines: &[&[u8]]) -> Option<Foreign> {
    let first = &lines[..lines.len().min(20)];
    let matching = |regex: &Regex| first.iter().filter(|line| regex.is_match(line)).count();
    let is_first = |regex: &Regex| first.first().is_some_and(|line| regex.is_match(line));
    let at = TEXT
        .iter()
        .position(|regex| is_first(regex) || matching(regex) * 2 > first.len())?;
    let (_, what, instead) = TEXTS[at];
    Some(Foreign { what, instead })
}

/// Returns the `jq` filter that extracts the records of a JSON document: those in its longest list of objects.
pub(super) fn jq(head: &[u8]) -> String {
    // A response of Loki's HTTP interface: pairs of a time and a line.
    if memmem::find(head, b"\"resultType\"").is_some() && memmem::find(head, b"\"values\"").is_some() {
        return ".data.result[].values[] | {time: .[0], line: .[1]}".to_owned();
    }
    // The files of OpenTelemetry's collector.
    for (head_name, inner, record, time) in [
        ("resourceLogs", "scopeLogs", "logRecords", "timeUnixNano"),
        ("resourceSpans", "scopeSpans", "spans", "startTimeUnixNano"),
    ] {
        if memmem::find(head, head_name.as_bytes()).is_some() {
            let attributes = "(.attributes | map({(.key): (.value | to_entries[0].value)}) | add)";
            return format!(".{head_name}[].{inner}[].{record}[] | {attributes} + {{time: .{time}}}");
        }
    }
    match longest_list(head) {
        // A response of Elasticsearch or OpenSearch.
        Some(path) if path == ".hits.hits" => format!("{path}[]._source"),
        Some(path) => format!("{path}[]"),
        None => ".".to_owned(),
    }
}

/// Returns the path to the longest list of objects in a JSON document, of which only the beginning may be known. Lists within lists do not count. There is
/// none if a second document follows in a new line: then each document is a record.
fn longest_list(document: &[u8]) -> Option<String> {
    // The names of the open objects' current fields; `None` for a list.
    let mut open: Vec<Option<&[u8]>> = Vec::new();
    let mut found: Option<(usize, String)> = None;
    let mut list: Option<(usize, String)> = None;
    let mut text: &[u8] = b"";
    let mut at = 0;
    while let Some(&byte) = document.get(at) {
        match byte {
            b'"' => {
                let rest = &document[at + 1..];
                let len = closing_quote(rest).unwrap_or(rest.len());
                text = &rest[..len];
                at += len + 1;
            }
            b':' => {
                if let Some(Some(name)) = open.last_mut() {
                    *name = text;
                }
            }
            b'{' if open.is_empty() && at > 0 => {
                // Without a line feed between them, the first document is like those after it.
                if document[..at].ends_with(b"\n") {
                    return None;
                }
                break;
            }
            b'{' => open.push(Some(b"")),
            b'[' => {
                if list.is_none() && document[at + 1..].trim_ascii_start().first() == Some(&b'{') {
                    list = path(&open).map(|path| (at, path));
                }
                open.push(None);
            }
            b']' | b'}' => {
                open.pop();
                if !open.contains(&None) {
                    let ended = list.take().map(|(start, path)| (at - start, path));
                    found = found.into_iter().chain(ended).max_by_key(|(len, _)| *len);
                }
            }
            _ => {}
        }
        at += 1;
    }
    let cut = list.map(|(start, path)| (document.len() - start, path));
    found
        .into_iter()
        .chain(cut)
        .max_by_key(|(len, _)| *len)
        .map(|(_, path)| path)
}

/// Returns the filter of `jq` for these names, one in the other; none if a name needs quotes.
fn path(names: &[Option<&[u8]>]) -> Option<String> {
    let is_plain = |name: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        name.bytes().next().is_some_and(is_letter) && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
    };
    let name = |name: &Option<&[u8]>| {
        let name = std::str::from_utf8((*name)?).ok().filter(is_plain)?;
        Some(format!(".{name}"))
    };
    let names: Option<String> = names.iter().map(name).collect();
    names.filter(|path| !path.is_empty())
}

/// Returns the position of the quote that closes a JSON string.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_files_are_named_with_a_command() {
        for (at, magic, what, instead) in MAGIC {
            let head = [&vec![b'x'; *at][..], magic, &[0; 20]].concat();
            assert_eq!(binary(&head), Some(Foreign { what, instead }));
        }
        let spreadsheet = binary(b"PK\x03\x04\0\0[Content_Types].xml").expect("a spreadsheet");
        assert_eq!(spreadsheet.instead, "save it as CSV");
        assert_eq!(binary(b"203.0.113.7 - -"), None);
        assert!(is_noise(&[0, 1, 2, b'a', b'\n']) && !is_noise(b"text\n") && !is_noise(b""));
    }

    #[test]
    fn every_pattern_of_text_compiles() {
        assert_eq!(TEXT.len(), TEXTS.len());
    }

    #[test]
    fn kernel_messages_are_not_of_apache() {
        for (line, is_apache) in [
            ("[Mon May 20 00:00:18 2024] [UFW BLOCK] IN=eth0 SRC=203.0.113.7", false),
            ("[Mon May 20 00:00:18 2024] [error] [client 203.0.113.7] x", true),
            ("[Mon May 20 00:00:18.123456 2024] [core:error] [pid 1] x", true),
            ("[Mon May 20 00:00:18.123456 2024] [:error] [pid 1] x", true),
        ] {
            assert_eq!(text(&[line.as_bytes()]).is_some(), is_apache, "{line}");
        }
    }

    #[test]
    fn records_of_iis_need_their_names() {
        for (line, is_iis) in [
            (
                "2024-05-20 00:00:18 10.0.0.5 GET /a - 443 - 203.0.113.7 curl - 200 0 0 15",
                true,
            ),
            (
                "2024-05-20 00:00:18 W3SVC1 WEB1 10.0.0.5 POST /a b=c 80 jo ::1%0 HTTP/1.1 curl",
                true,
            ),
            ("2024-05-20 00:00:18 INFO GET /a 200 15 - 203.0.113.7 x", false),
        ] {
            assert_eq!(text(&[line.as_bytes()]).is_some(), is_iis, "{line}");
        }
    }

    #[test]
    fn document_records_are_its_longest_list() {
        for (document, filter) in [
            (r#"{"Records":[{"eventTime":1}]}"#, ".Records[]"),
            ("{\n  \"events\": [\n    {", ".events[]"),
            ("{\n  \"a\": 1\n}", "."),
            // HAR.
            (
                r#"{"log":{"pages":[{"id":"a"}],"entries":[{"time":1,"request":{"headers":[{"name":"]}","value":"\\"["}]}},{"time":2"#,
                ".log.entries[]",
            ),
            (
                r#"{"took":5,"_shards":{"failures":[]},"hits":{"total":{"value":2},"hits":[{"_source":{"a":[1]}}]}}"#,
                ".hits.hits[]._source",
            ),
            // ClickHouse.
            (
                r#"{"meta":[{"name":"a"}],"data":[{"a":1},{"a":2},{"a":3}],"rows":3}"#,
                ".data[]",
            ),
            // Events, printed for people.
            (
                "{\n  \"ips\": [\n    \"a\"\n  ],\n  \"of\": [\n    {}\n  ]\n}\n{\n  \"ips\": [",
                ".",
            ),
            ("{\n  \"ips\": [\n    \"a\"\n  ]", "."),
            (r#"{"a-b":[{}]}"#, "."),
            // Batches of CloudWatch, one after the other.
            (
                r#"{"owner":"1","logEvents":[{"id":"1"}]}{"owner":"1","logEvents":[{"id":"2"}]}"#,
                ".logEvents[]",
            ),
            (
                r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1","x"]]}]}}"#,
                ".data.result[].values[] | {time: .[0], line: .[1]}",
            ),
        ] {
            assert_eq!(jq(document.as_bytes()), filter, "{document}");
        }
    }
}
