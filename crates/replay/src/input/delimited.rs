//! Delimited text: a header that names the columns, then one record for each request.

use super::record::{Fed, Splitter};
use super::window::{Line, Window};
use super::{Options, Sink};
use crate::address::Addresses;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;
use crate::{Error, stamp, text};

/// The usual names of the column of stamps, the likeliest first.
const TIME_COLUMNS: [&str; 5] = ["time", "timestamp", "datetime", "date", "ts"];

/// A record goes on over no more lines and bytes than these: a quote that is not closed until then is a slip.
const MOST_LINES: u64 = 100;
const MOST_BYTES: usize = 1 << 16;

/// The columns that matter, by their place.
#[derive(Debug)]
struct Columns {
    time: usize,
    key: Option<usize>,
    cost: Option<usize>,
    count: usize,
}

/// The place of `wanted` in a header: the column of just this name, else the first one that differs from
/// it in nothing but the case of its letters.
fn column<T: AsRef<[u8]>>(header: &[T], wanted: &str) -> Option<usize> {
    let at = |same: fn(&[u8], &[u8]) -> bool| {
        header
            .iter()
            .position(|name| same(name.as_ref().trim_ascii(), wanted.as_bytes()))
    };
    at(|name, wanted| name == wanted).or_else(|| at(<[u8]>::eq_ignore_ascii_case))
}

/// The place of the stamps in a header: the column named `wanted`, or else one of a usual name.
pub(super) fn time_column<T: AsRef<[u8]>>(header: &[T], wanted: Option<&str>) -> Option<usize> {
    match wanted {
        Some(wanted) => column(header, wanted),
        None => TIME_COLUMNS.iter().find_map(|usual| column(header, usual)),
    }
}

/// A record that was read.
enum Record {
    /// So many bytes and lines; its fields are in the splitter.
    Whole(usize, u64),
    /// One line is lost: so many bytes of it, `None` if it is too long to be held.
    Bad(Option<usize>, BadLine),
    End,
}

/// Delimited text. Where tabs delimit it, a quote is a letter like any other.
pub(super) struct DelimitedReader {
    name: String,
    window: Window,
    splitter: Splitter,
    columns: Columns,
    addresses: Addresses,
}

impl DelimitedReader {
    pub(super) fn new(name: String, window: Window, delimiter: u8, options: &Options) -> Result<Self, Error> {
        if options.by.is_none() && options.ipv6_prefix.is_some() {
            return Err(Error::NotFor {
                path: name,
                what: "delimited text",
                option: "--ipv6-prefix",
                instead: "it has one meter for all, unless --by or --key names a column",
            });
        }
        let mut reader = Self {
            name,
            window,
            splitter: Splitter::new(delimiter, delimiter == b','),
            columns: Columns {
                time: 0,
                key: None,
                cost: None,
                count: 0,
            },
            addresses: Addresses::new(options.ipv6_prefix),
        };
        reader.header(options)?;
        Ok(reader)
    }

    /// Reads the header, the first line that is not blank.
    fn header(&mut self, options: &Options) -> Result<(), Error> {
        if self.window.text(3) == b"\xef\xbb\xbf" {
            self.window.advance(3, 0);
        }
        loop {
            match self.record()? {
                Record::Whole(len, lines) => {
                    let is_blank = self.window.text(len).trim_ascii().is_empty();
                    self.window.advance(len, lines);
                    if !is_blank {
                        break;
                    }
                }
                Record::Bad(_, reason) => {
                    return Err(Error::NoHeader {
                        path: self.name.clone(),
                        reason,
                    });
                }
                Record::End => break self.splitter.begin(),
            }
        }
        let header: Vec<&[u8]> = self.splitter.fields().collect();
        self.columns = columns(&header, &self.name, options)?;
        Ok(())
    }

    /// The number of the last line that was read.
    pub(super) fn line(&self) -> u64 {
        self.window.lines()
    }

    pub(super) fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        loop {
            let record = self.record()?;
            let number = self.window.lines() + 1;
            match record {
                Record::End => return Ok(None),
                Record::Bad(len, reason) => {
                    sink.bad(
                        &self.name,
                        number,
                        1,
                        reason,
                        self.window.text(len.unwrap_or(100)).trim_ascii_end(),
                    );
                    match len {
                        Some(len) => self.window.advance(len, 1),
                        None => self
                            .window
                            .skip_line()
                            .map_err(|source| Error::read(&self.name, source))?,
                    }
                }
                Record::Whole(len, lines) => {
                    let event = match event(&self.splitter, &self.columns) {
                        Ok((time, cost)) => {
                            let key = self.columns.key.map_or(&b"all"[..], |key| self.splitter.field(key));
                            let key = sink.key(self.addresses.key(key))?;
                            Some(Event::new(time, cost, key))
                        }
                        Err(_) if self.splitter.fields().all(|field| field.trim_ascii().is_empty()) => None,
                        Err(reason) => {
                            let text = self.window.text(len).trim_ascii_end();
                            sink.bad(&self.name, number, lines, reason, text);
                            None
                        }
                    };
                    self.window.advance(len, lines);
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// Splits the next record, and stays where it begins.
    fn record(&mut self) -> Result<Record, Error> {
        let failed = |source| Error::read(&self.name, source);
        let mut len = match self.window.line(0).map_err(failed)? {
            Line::Nothing => return Ok(Record::End),
            Line::TooLong => return Ok(Record::Bad(None, BadLine::TooLong)),
            Line::End(len) => len,
        };
        let first = Some(len);
        let mut begin = 0;
        self.splitter.begin();
        for lines in 1..=MOST_LINES {
            let line = self.window.text(len).get(begin..).unwrap_or_default();
            match self.splitter.feed(line) {
                Ok(Fed::Whole) => return Ok(Record::Whole(len, lines)),
                Ok(Fed::Open) => {}
                Err(reason) => return Ok(Record::Bad(first, reason)),
            }
            match self.window.line(len).map_err(failed)? {
                Line::End(next) if next <= MOST_BYTES => (begin, len) = (len, next),
                _ => break,
            }
        }
        Ok(Record::Bad(first, BadLine::OpenQuote))
    }
}

fn columns(header: &[&[u8]], name: &str, options: &Options) -> Result<Columns, Error> {
    let listed = || {
        if options.anonymise {
            // What has no header has data where that should be.
            return format!("{} (not shown, as they may be data)", header.len());
        }
        let names = header
            .iter()
            .map(|name| format!("`{}`", text::printable(name.trim_ascii(), 40)));
        names.collect::<Vec<_>>().join(", ")
    };
    let find = |wanted: &str| {
        let missing = || Error::NoColumn {
            path: name.to_owned(),
            wanted: wanted.to_owned(),
            columns: listed(),
        };
        column(header, wanted).ok_or_else(missing)
    };
    let time = match &options.time {
        Some(wanted) => find(wanted)?,
        None => time_column(header, None).ok_or_else(|| Error::NoTimeColumn {
            path: name.to_owned(),
            columns: listed(),
        })?,
    };
    let key = options.by.as_ref().and_then(By::column).map(find).transpose()?;
    let cost = options.cost.as_deref().map(find).transpose()?;
    Ok(Columns {
        time,
        key,
        cost,
        count: header.len(),
    })
}

/// When a record asks, and for how much.
fn event(record: &Splitter, columns: &Columns) -> Result<(i64, u64), BadLine> {
    if record.len() != columns.count {
        return Err(BadLine::Fields {
            found: record.len(),
            expected: columns.count,
        });
    }
    let time = stamp::parse(record.field(columns.time))?;
    let cost = columns.cost.map_or(Ok(1), |cost| parse_cost(record.field(cost)))?;
    Ok((time, cost))
}

/// A number of cells. Past 64 bits it counts as the largest there is: no limit admits that many either.
fn parse_cost(field: &[u8]) -> Result<u64, BadLine> {
    let digits = field.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadLine::Cost);
    }
    let cell = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    Ok(digits.iter().try_fold(0, cell).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "delimited_tests.rs"]
mod tests;
