//! Reads logs that name their fields in a line: the W3C Extended Log File Format of IIS, `CloudFront` and Exchange (`#Fields:`), and Zeek's (`#fields`).
//! Also reads VPC flow logs, whose first line is the names alone.

use jiff::tz::TimeZone;
use memchr::{memchr, memchr_iter};

use super::columns::{Columns, HeaderSample};
use super::day::Day;
use super::record::{Fed, Splitter};
use super::{Options, Request, names};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;

/// Lines of named fields.
#[derive(Debug)]
pub(super) struct FieldLines {
    input: String,
    options: Options,
    names: Vec<Vec<u8>>,
    /// The number of fields of a record. If its time of day has no date, one more name is that of the date in the last `#Date:`.
    count: usize,
    day: Option<Day>,
    columns: Columns,
    /// The place of the status of a flow record, which may say that there was no traffic.
    log_status: Option<usize>,
    /// Splits the lines if commas separate the fields.
    csv: Option<Splitter>,
    ends: Vec<(usize, usize)>,
}

/// Returns the names in the line that begins a log of named fields, or a new part of one.
fn names_in(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let marked = || line.strip_prefix(b"#Fields:").or_else(|| line.strip_prefix(b"#fields"));
    let list = if is_of_flows(line) { line } else { marked()? }.trim_ascii();
    let is_csv = is_csv(list);
    let names = list.split(|byte| byte.is_ascii_whitespace() || is_csv && *byte == b',');
    Some(names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Adds a name for the date of `#Date:`, if the records of a log have a time of day but no date.
fn with_date(mut names: Vec<Vec<u8>>, day: Option<&Day>) -> Vec<Vec<u8>> {
    let has = |wanted: &[u8]| names.iter().any(|name| name == wanted);
    if day.is_some() && has(b"time") && !has(b"date") {
        names.push(b"date".to_vec());
    }
    names
}

/// Returns whether commas separate these names.
fn is_csv(list: &[u8]) -> bool {
    memchr(b',', list).is_some() && !list.iter().any(u8::is_ascii_whitespace)
}

/// Returns whether these are the names of the fields of a VPC flow log.
fn is_of_flows(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let is_name = |word: &[u8]| {
        word.iter()
            .all(|byte| byte.is_ascii_lowercase() || b"-123".contains(byte))
    };
    line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        && words.clone().all(is_name)
        && words.clone().any(|word| word == b"start")
        && words.any(|word| word.ends_with(b"srcaddr"))
}

/// Detects lines with named fields; `None` if their fields have no names.
///
/// # Errors
///
/// A name that is asked for is not among the names of the fields.
pub(super) fn detect(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<FieldLines>, Error> {
    let Some(names) = head.iter().take(50).find_map(|line| names_in(line)) else {
        return Ok(None);
    };
    let count = names.len();
    let day = head.iter().find_map(|line| Day::of_line(line));
    let names = with_date(names, day.as_ref());
    // Both formats define their times as UTC, except those that IIS or the firewall of Windows calls local.
    let mut options = options.clone();
    let is_local = names::place(&names, "date-local").is_some() && names::place(&names, "date-UTC").is_none()
        || head.contains(&&b"#Time Format: Local"[..]);
    if !is_local {
        options.stamps.zone.get_or_insert(TimeZone::UTC);
    }
    let mut samples = Vec::new();
    let lines = head.iter().skip_while(|line| names_in(line).is_none());
    let has_commas = |line: &&[u8]| {
        line.strip_prefix(b"#Fields:")
            .is_some_and(|list| is_csv(list.trim_ascii()))
    };
    let mut csv = head.iter().any(has_commas).then(|| Splitter::new(b',', true));
    let mut ends = Vec::new();
    let is_record = |line: &&&[u8]| !line.starts_with(b"#") && !is_of_flows(line);
    for line in lines.filter(is_record).take(100) {
        let Ok(count) = split(line, &mut csv, &mut ends) else {
            continue;
        };
        let value = |at: usize| field(line, at, csv.as_ref(), &ends).to_vec();
        let date = day.as_ref().map(|day| day.today().to_vec());
        samples.push((0..count).map(value).chain(date).take(names.len()).collect());
    }
    let columns = find(input, &names, &samples, &options)?;
    Ok(Some(FieldLines {
        input: input.to_owned(),
        options,
        log_status: log_status(&names),
        names,
        count,
        day,
        columns,
        csv,
        ends,
    }))
}

fn log_status(names: &[Vec<u8>]) -> Option<usize> {
    names.iter().position(|name| name == b"log-status")
}

fn find(input: &str, names: &[Vec<u8>], samples: &[Vec<Vec<u8>>], options: &Options) -> Result<Columns, Error> {
    let header = HeaderSample {
        input,
        called: "field",
        format: "a log of named fields (W3C Extended, Zeek or VPC flow)",
        names,
        samples,
        default: &By::Ip,
    };
    Columns::find(&header, options)
}

impl FieldLines {
    pub(super) fn by(&self) -> &By {
        self.columns.by()
    }

    pub(super) fn request<'a>(&'a mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, BadLine> {
        if line.first() == Some(&b'#')
            || self.names.first().is_some_and(|name| line.starts_with(name)) && is_of_flows(line)
        {
            self.day = Day::of_line(line).or(self.day.take());
            // A restarted server may log other fields.
            if let Some(names) = names_in(line).filter(|names| *names != self.names[..self.count]) {
                self.count = names.len();
                let names = with_date(names, self.day.as_ref());
                self.columns = find(&self.input, &names, &[], &self.options).map_err(|_| BadLine::OtherFields)?;
                self.log_status = log_status(&names);
                self.names = names;
            }
            return Ok(None);
        }
        let found = split(line, &mut self.csv, &mut self.ends)?;
        let expected = self.count;
        if found != expected {
            return Err(BadLine::Fields { found, expected });
        }
        let (csv, ends) = (self.csv.as_ref(), &self.ends);
        let date = match &mut self.day {
            Some(day) if self.names.len() > found => {
                let clock = names::place(&self.names, "time").unwrap_or(found);
                Some(day.date_at(field(line, clock, csv, ends)))
            }
            _ => None,
        };
        let value = |at: usize| match at {
            at if at < found => Some(field(line, at, csv, ends)),
            _ => date,
        };
        if self.log_status.and_then(value).is_some_and(is_no_traffic) {
            return Ok(None);
        }
        self.columns.request(value).map(Some)
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        self.columns.notices(&self.names, input)
    }
}

/// Returns whether a flow record has a status without traffic: there was none, or none was recorded.
pub(super) fn is_no_traffic(log_status: &[u8]) -> bool {
    matches!(log_status, b"NODATA" | b"SKIPDATA")
}

/// Finds the fields of a line, separated by commas if there is a splitter, otherwise by tabs or by blanks. Returns their number.
fn split(line: &[u8], csv: &mut Option<Splitter>, ends: &mut Vec<(usize, usize)>) -> Result<usize, BadLine> {
    if let Some(csv) = csv {
        csv.begin();
        return match csv.feed(line)? {
            Fed::Whole => Ok(csv.len()),
            Fed::Open => Err(BadLine::OpenQuote),
        };
    }
    split_blanks(line, ends);
    Ok(ends.len())
}

/// Returns a field of the line that was split last.
fn field<'a>(line: &'a [u8], at: usize, csv: Option<&'a Splitter>, ends: &[(usize, usize)]) -> &'a [u8] {
    match csv {
        Some(csv) => csv.field(at),
        None => ends.get(at).map_or(&[], |&(start, end)| &line[start..end]),
    }
}

/// Finds the fields of a line, separated by tabs or otherwise by blanks. In the second case, quotes may hold a field together.
fn split_blanks(line: &[u8], ends: &mut Vec<(usize, usize)>) {
    ends.clear();
    let mut start = 0;
    if memchr(b'\t', line).is_some() {
        for end in memchr_iter(b'\t', line).chain([line.len()]) {
            ends.push((start, end));
            start = end + 1;
        }
        return;
    }
    while start < line.len() {
        if line[start] == b' ' {
            start += 1;
            continue;
        }
        let quoted = line[start..].strip_prefix(b"\"").and_then(|rest| memchr(b'"', rest));
        let (from, to, next) = match quoted {
            Some(len) => (start + 1, start + 1 + len, start + len + 2),
            None => {
                let end = memchr(b' ', &line[start..]).map_or(line.len(), |len| start + len);
                (start, end, end)
            }
        };
        ends.push((from, to));
        start = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_by_tabs_or_blanks() {
        let table: &[(&str, &[&str])] = &[
            ("a b  c", &["a", "b", "c"]),
            ("a\tb c\t\td", &["a", "b c", "", "d"]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("\"\" b", &["", "b"]),
            ("\"a b", &["\"a", "b"]),
            ("", &[]),
        ];
        for &(line, fields) in table {
            let mut ends = Vec::new();
            split_blanks(line.as_bytes(), &mut ends);
            let found: Vec<&str> = ends.iter().map(|&(start, end)| &line[start..end]).collect();
            assert_eq!(found, fields, "{line}");
        }
    }
}
