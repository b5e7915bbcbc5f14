//! Reads logs that name their fields in a comment line: the W3C Extended Log File Format of IIS and `CloudFront` (`#Fields:`), and Zeek's
//! (`#fields`).

use jiff::tz::TimeZone;
use memchr::{memchr, memchr_iter};

use super::columns::{Columns, HeaderSample};
use super::{Options, Request};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;

/// Lines of named fields.
#[derive(Debug)]
pub(super) struct FieldLines {
    input: String,
    options: Options,
    names: Vec<Vec<u8>>,
    columns: Columns,
    ends: Vec<(usize, usize)>,
}

/// Returns the names in the line that begins a log of named fields, or a new part of one.
fn names(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let list = line
        .strip_prefix(b"#Fields:")
        .or_else(|| line.strip_prefix(b"#fields"))?;
    let names = list.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty());
    Some(names.map(<[u8]>::to_vec).collect())
}

/// Detects lines with named fields; `None` if their fields have no names.
///
/// # Errors
///
/// A name that is asked for is not among the names of the fields.
pub(super) fn detect(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<FieldLines>, Error> {
    let Some(names) = head.iter().take(50).find_map(|line| names(line)) else {
        return Ok(None);
    };
    // Both formats define their times as UTC.
    let mut options = options.clone();
    options.stamps.zone.get_or_insert(TimeZone::UTC);
    let mut samples = Vec::new();
    let lines = head.iter().skip_while(|line| self::names(line).is_none());
    for line in lines.filter(|line| !line.starts_with(b"#")) {
        let mut ends = Vec::new();
        split(line, &mut ends);
        samples.push(ends.iter().map(|&(start, end)| line[start..end].to_vec()).collect());
    }
    let columns = find(input, &names, &samples, &options)?;
    Ok(Some(FieldLines {
        input: input.to_owned(),
        options,
        names,
        columns,
        ends: Vec::new(),
    }))
}

fn find(input: &str, names: &[Vec<u8>], samples: &[Vec<Vec<u8>>], options: &Options) -> Result<Columns, Error> {
    let header = HeaderSample {
        input,
        called: "field",
        format: "a log of named fields (W3C Extended or Zeek)",
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
        if line.first() == Some(&b'#') {
            // A restarted server may log other fields.
            if let Some(names) = names(line).filter(|names| *names != self.names) {
                self.columns = find(&self.input, &names, &[], &self.options).map_err(|_| BadLine::OtherFields)?;
                self.names = names;
            }
            return Ok(None);
        }
        split(line, &mut self.ends);
        if self.ends.len() != self.names.len() {
            return Err(BadLine::Fields {
                found: self.ends.len(),
                expected: self.names.len(),
            });
        }
        let ends = &self.ends;
        let value = |at: usize| ends.get(at).map(|&(start, end)| &line[start..end]);
        self.columns.request(value).map(Some)
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        self.columns.notices(&self.names, input)
    }
}

/// Finds the fields of a line, separated by tabs or otherwise by blanks. In the second case, quotes may hold a field together.
fn split(line: &[u8], ends: &mut Vec<(usize, usize)>) {
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
            split(line.as_bytes(), &mut ends);
            let found: Vec<&str> = ends.iter().map(|&(start, end)| &line[start..end]).collect();
            assert_eq!(found, fields, "{line}");
        }
    }
}
