//! Detects the format of a file from its beginning.

use memchr::memmem;

use super::access_log::LogLines;
use super::capture::Dialect;
use super::columns::HeaderSample;
use super::lines::Lines;
use super::record::{Fed, Splitter};
use super::{BYTE_ORDER_MARK, Options, access_log, advice, fields, foreign, json, labels, names, pattern, prefix};
use crate::Error;
use crate::address;
use crate::by::By;
use crate::stamp::Stamps;

/// The format of a file.
pub(super) enum InputFormat {
    /// No bytes.
    Empty,
    /// One request a line.
    Lines(Lines),
    /// Text with a header line.
    Delimited(TableForm),
    /// A packet capture.
    Capture(Dialect),
}

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableForm {
    /// The byte between two fields.
    pub(super) delimiter: u8,
    /// Number of lines before the header that begin with `#`.
    pub(super) comments: usize,
    /// True if the header begins with `#`, too.
    pub(super) is_header_comment: bool,
    /// True if fields may be quoted. Between tabs, a quote is an ordinary letter, unless the header begins with one.
    pub(super) has_quotes: bool,
}

/// The delimiters of tables, the rarest in ordinary text first.
const DELIMITERS: [u8; 4] = [b'\t', b';', b',', b'|'];

impl InputFormat {
    /// Returns the format of the file that begins with `head`.
    ///
    /// Captures and JSON objects are detected by their first bytes, logs of named fields by the line that names the fields. Logs of load balancers
    /// are detected by their shape. One log line makes an access log, even after bad lines. Otherwise, if the first line has a usual name for the
    /// time among its fields, it is the header of a table.
    ///
    /// # Errors
    ///
    /// The file has none of these formats, or lacks something that the options ask for.
    pub(super) fn of(head: &[u8], input: &str, options: &Options) -> Result<Self, Error> {
        if let Some(dialect) = Dialect::of(head, input)? {
            return Ok(Self::Capture(dialect));
        }
        let unsupported = |foreign: foreign::Foreign| Error::Foreign {
            path: input.to_owned(),
            what: foreign.what,
            instead: foreign.instead,
        };
        if let Some(foreign) = foreign::binary(head) {
            return Err(unsupported(foreign));
        }
        let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
        let lines: Vec<&[u8]> = head
            .split(|&byte| byte == b'\n')
            .map(|line| line.trim_ascii_end())
            .map(|line| &line[line.iter().take_while(|byte| **byte == 0).count()..])
            .filter(|line| !line.is_empty())
            .collect();
        // The line that sets the delimiter for Excel is not a header.
        let lines = match lines.first() {
            Some(first) if is_separator_line(first) => lines[1..].to_vec(),
            _ => lines,
        };
        if lines.is_empty() {
            return Ok(Self::Empty);
        }
        if let Some(lines) = Self::of_lines(head, &lines, input, options)? {
            return Ok(Self::Lines(lines));
        }
        if let Some(table) = table(&lines, input, options) {
            let within = Lines::in_table(input, &lines[table.comments..], table, options)?;
            return Ok(within.map_or(Self::Delimited(table), Self::Lines));
        }
        if let Some(foreign) = foreign::text(&lines).or_else(|| foreign::of_returns(&lines)) {
            return Err(unsupported(foreign));
        }
        if foreign::is_noise(head) {
            return Err(Error::Noise { path: input.to_owned() });
        }
        let comments = lines.iter().take_while(|line| line.starts_with(b"#")).count();
        if let Some(command) = with_header(&lines[comments..], options) {
            return Err(Error::NoNames {
                path: input.to_owned(),
                command,
            });
        }
        // All lines are bad, and the first of them is quoted in the error.
        Ok(Self::Lines(Lines::unknown(options)))
    }

    /// Returns whether more lines are unlikely to change a format. The first lines of a program may be messages without a time or a client.
    pub(super) fn is_known(format: &Result<Self, Error>) -> bool {
        match format {
            Ok(Self::Lines(Lines::Unknown(_))) | Err(Error::NoTimeColumn { .. }) => false,
            // Each line of these two has names of its own.
            Err(Error::NoColumn { called, format, .. }) => *called != "label" && *format != "JSON lines",
            _ => true,
        }
    }

    fn of_lines(head: &[u8], lines: &[&[u8]], input: &str, options: &Options) -> Result<Option<Lines>, Error> {
        if options.regex.is_none() && options.log_format.is_none() {
            if let Some(fields) = fields::detect(input, lines, options)? {
                return Ok(Some(Lines::Fields(Box::new(fields))));
            }
        }
        if options.regex.is_none() && options.log_format.is_none() && is_plain_log(lines) {
            return access(lines, input, options);
        }
        let not_json = |document| Error::NotJson {
            path: input.to_owned(),
            filter: foreign::jq(document),
        };
        let is_json = |line: &&&[u8]| prefix::object(line).is_some();
        let in_list = lines.iter().filter(|line| !matches!(**line, b"[" | b"]")).take(20);
        if in_list.clone().filter(is_json).count() * 2 > in_list.count() {
            return match Lines::json(input, lines, options) {
                Ok(None) => Err(not_json(head)),
                // The records of a document are in a list.
                Err(Error::NoTimeColumn { .. })
                    if memmem::find(lines[0], b"[{").is_some()
                        && (lines.len() == 1 || lines[0].starts_with(b"{\"resource")) =>
                {
                    Err(not_json(head))
                }
                // Batches of records, one in each line.
                Err(Error::NoTimeColumn { .. }) if json::has_records_in_list(lines, &options.stamps) => {
                    Err(not_json(lines[0]))
                }
                read => read,
            };
        }
        if lines[0].starts_with(b"__CURSOR=") && options.regex.is_none() && options.log_format.is_none() {
            if let Some(exported) = Lines::exported(input, lines, options)? {
                return Ok(Some(exported));
            }
        }
        if let Some(pattern) = pattern::given(input, lines, options)? {
            return Ok(Some(Lines::Pattern(Box::new(pattern))));
        }
        // An object over several lines, formatted for people.
        if matches!(lines[0], b"{") {
            return Err(not_json(head));
        }
        if let Some(pattern) = pattern::detect(input, lines, pattern::most(lines), options)? {
            return Ok(Some(Lines::Pattern(Box::new(pattern))));
        }
        if lines[0].starts_with(b"[") && lines[0].len() < 3 || lines[0].starts_with(b"[{") {
            return Err(Error::JsonList { path: input.to_owned() });
        }
        if let Some(labels) = labels::detect(input, lines, options)? {
            return Ok(Some(Lines::Labels(Box::new(labels))));
        }
        // Requests among many messages, such as those of HAProxy about broken handshakes, unless more lines are of an access log.
        let first = &lines[..lines.len().min(100)];
        let mut logs = LogLines::new(options.stamps.clone());
        let of_logs = first.iter().filter(|line| logs.parse(line).is_ok()).count();
        if let Some(pattern) = pattern::detect(input, lines, of_logs.max(first.len() / 10 + 1), options)? {
            return Ok(Some(Lines::Pattern(Box::new(pattern))));
        }
        access(lines, input, options)
    }
}

/// Returns an access log, if these are lines of one.
fn access(lines: &[&[u8]], input: &str, options: &Options) -> Result<Option<Lines>, Error> {
    match Lines::access(input, lines, options)? {
        Some(Lines::Access(lines)) if lines.lacks_durations() => Err(Error::NoLastDuration { path: input.to_owned() }),
        lines => Ok(lines),
    }
}

/// Returns whether a line sets the delimiter of the table for Excel: `sep=;`.
pub(super) fn is_separator_line(line: &[u8]) -> bool {
    line.trim_ascii_end().len() == 5 && line.starts_with(b"sep=")
}

/// Returns whether most of the first lines look like nearly all access logs, so that no other format is possible.
fn is_plain_log(lines: &[&[u8]]) -> bool {
    let first = &lines[..lines.len().min(20)];
    let plain = first.iter().filter(|line| access_log::is_plain(line)).count();
    plain * 2 > first.len()
}

/// Returns the command that puts a header before a table that begins with a row: several fields, one of them a time. The first field with an address
/// is the key.
fn with_header(lines: &[&[u8]], options: &Options) -> Option<String> {
    let first = *lines.first()?;
    let mut stamps = Stamps::new(options.stamps.clone());
    DELIMITERS.into_iter().find_map(|delimiter| {
        if delimiter == b',' && has_comma_in_stamp(first) {
            return None;
        }
        let mut splitter = Splitter::new(delimiter, delimiter != b'\t');
        splitter.begin();
        if splitter.feed(&[first, b"\n"].concat()) != Ok(Fed::Whole) || splitter.len() < 2 {
            return None;
        }
        let fields: Vec<&[u8]> = splitter.fields().map(<[u8]>::trim_ascii).collect();
        let is_number = |field: &[u8]| field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        let times = (0..fields.len()).filter(|&at| stamps.parse(fields[at]).is_ok());
        let time = times.min_by_key(|&at| is_number(fields[at]))?;
        // A number is the time only if the line has no other.
        if is_number(fields[time]) && prefix::stamp(first).is_some() {
            return None;
        }
        let key = fields.iter().position(|field| address::parse(field).is_some());
        // Of two fields, the other is the key.
        let key = key.or_else(|| (fields.len() == 2).then(|| 1 - time));
        // A client within a field: an expression finds it.
        if key.is_none() && advice::finds_clients(lines, &options.stamps) {
            return None;
        }
        let name = |at: usize| match at {
            at if at == time => "time".to_owned(),
            at if Some(at) == key => "key".to_owned(),
            at => format!("c{}", at + 1),
        };
        let names: Vec<String> = (0..fields.len()).map(name).collect();
        let header = match delimiter {
            b'\t' => format!("printf '{}\\n'", names.join("\\t")),
            delimiter => format!("echo '{}'", names.join(&char::from(delimiter).to_string())),
        };
        let key = if key.is_some() { " --key key" } else { "" };
        Some(format!("({header}; cat FILE) | meter-replay{key} ... -"))
    })
}

/// Returns whether a comma stands before the milliseconds of a stamp, as Python's `logging` writes it: `10:00:00,123 `.
fn has_comma_in_stamp(line: &[u8]) -> bool {
    let is_digit = |pattern: u8, byte: u8| {
        if pattern == b'0' {
            byte.is_ascii_digit()
        } else {
            pattern == byte
        }
    };
    let is_stamp = |text: &[u8]| {
        text.iter()
            .zip(b":00,000")
            .all(|(&byte, &pattern)| is_digit(pattern, byte))
    };
    line.windows(8)
        .any(|text| is_stamp(&text[..7]) && !text[7].is_ascii_digit() && !b",.".contains(&text[7]))
}

/// Returns the form of a table, if these are lines of one. Comments may stand before its header, and the header may be the last comment.
fn table(lines: &[&[u8]], input: &str, options: &Options) -> Option<TableForm> {
    let comments = lines.iter().take_while(|line| line.starts_with(b"#")).count();
    let rows = &lines[comments..];
    let first = rows.first()?;
    if let Some(delimiter) = delimiter(rows, input, options) {
        return Some(TableForm {
            delimiter,
            comments,
            is_header_comment: false,
            has_quotes: has_quotes(delimiter, first),
        });
    }
    let header = without_hash(lines[..comments].last()?);
    let delimiter = delimiter(&[&[header], rows].concat(), input, options)?;
    let count = |line: &[u8]| line.iter().filter(|byte| **byte == delimiter).count();
    (count(header) == count(first)).then_some(TableForm {
        delimiter,
        comments: comments - 1,
        is_header_comment: true,
        has_quotes: has_quotes(delimiter, header),
    })
}

fn has_quotes(delimiter: u8, header: &[u8]) -> bool {
    delimiter != b'\t' || header.starts_with(b"\"")
}

/// Returns the text of a comment.
pub(super) fn without_hash(line: &[u8]) -> &[u8] {
    let text = line.iter().position(|byte| *byte != b'#').unwrap_or(line.len());
    line[text..].trim_ascii_start()
}

/// Returns the delimiter of a table, if the first line is the header of one.
fn delimiter(lines: &[&[u8]], input: &str, options: &Options) -> Option<u8> {
    let first = lines[0];
    let is_prefixed = prefix::without(first).len() < first.len();
    if is_prefixed || first.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    let names = |delimiter: u8| {
        let mut splitter = Splitter::new(delimiter, has_quotes(delimiter, first));
        splitter.begin();
        // A quoted name may continue on the next line.
        for line in lines.iter().take(10) {
            match splitter.feed(&[line, &b"\n"[..]].concat()) {
                Ok(Fed::Whole) => return splitter.fields().map(<[u8]>::to_vec).collect(),
                Ok(Fed::Open) => {}
                Err(_) => break,
            }
        }
        Vec::new()
    };
    let has_time = |names: &[Vec<u8>]| match &options.time {
        Some(wanted) => wanted.split('+').all(|wanted| names::place(names, wanted).is_some()),
        None => HeaderSample {
            input,
            called: "column",
            format: "a table",
            names,
            samples: &[],
            default: &By::All,
        }
        .has_time(),
    };
    let with_time = DELIMITERS.into_iter().find(|&delimiter| has_time(&names(delimiter)));
    // Even without a time, the line is a header if all of its fields are names. Then the error message can list them.
    let is_name = |name: &Vec<u8>| {
        !name.is_empty()
            && name.len() < 40
            && name[0].is_ascii_alphabetic()
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b" _-.@()[]/".contains(byte))
    };
    with_time.or_else(|| {
        DELIMITERS.into_iter().find(|&delimiter| {
            let names = names(delimiter);
            names.len() > 1 && names.iter().all(is_name)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead as _, Read};

    use super::super::{Collected, Reader};
    use super::*;
    use crate::by::By;

    /// Returns a line at a time, as a growing log does.
    struct Growing(io::Cursor<String>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line = self.0.fill_buf()?.split_inclusive(|&byte| byte == b'\n').next();
            let len = line.map_or(0, <[u8]>::len).min(buffer.len());
            self.0.read(&mut buffer[..len])
        }
    }

    /// An input without another line: a read would wait for it.
    struct Quiet;

    impl Read for Quiet {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("it waits for another line")
        }
    }

    #[test]
    fn missing_names_are_errors_after_one_line() {
        for (lines, regex) in [
            ("2024-05-20T00:00:00Z a\n", Some(r"^(?<time>\S+) (?<user>\S+)")),
            ("#Fields: date time c-ip\n2024-05-20 12:00:00 192.0.2.1\n", None),
        ] {
            let options = Options {
                is_growing: true,
                regex: regex.map(str::to_owned),
                by: Some(By::Column("usr".to_owned())),
                ..Options::default()
            };
            let growing = io::Cursor::new(lines).chain(Quiet);
            let error = Reader::of(growing, "f", &options)
                .map(|_| ())
                .expect_err("no such name");
            assert!(matches!(error, Error::NoColumn { .. }), "{error}");
        }
    }

    #[test]
    fn growing_log_may_begin_with_messages() {
        const REQUEST: &str = "{\"time\":1716163201000,\"req\":{\"remoteAddress\":\"203.0.113.7\"}}\n";
        let options = Options {
            is_growing: true,
            ..Options::default()
        };
        for messages in [
            "{\"time\":1716163200000,\"msg\":\"listening\"}\n",
            "{\"msg\":\"started\"}\n{\"time\":1716163200000,\"msg\":\"listening\"}\n",
            "> app@1.0.0 start\n\nlistening\n",
        ] {
            let lines = messages.to_owned() + &REQUEST.repeat(6);
            let mut reader = Reader::of(Growing(io::Cursor::new(lines)), "f", &options).expect("JSON");
            let mut collected = Collected::default();
            while reader.next(&mut collected).expect("no device").is_some() {}
            assert_eq!(reader.format(), "JSON lines", "{messages}");
            let names: Vec<&[u8]> = collected.keys.ids().map(|key| collected.keys.name(key)).collect();
            assert!(names.contains(&&b"203.0.113.7"[..]), "{messages}");
        }
    }
}
