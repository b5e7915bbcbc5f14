//! Reads delimited text: a header that names the columns, then one record for each request.

use super::columns::{Columns, HeaderSample};
use super::format::{TableForm, is_separator_line, without_hash};
use super::record::{Fed, Splitter};
use super::window::{InputWindow, NextLine};
use super::{BYTE_ORDER_MARK, Events, Options, Sink};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;

/// Maximum number of lines of a record, before the maximum number of bytes: a quote that is still open then is an error in the file.
const MOST_LINES: u64 = 100;
const MOST_BYTES: usize = 1 << 16;

/// A record that was read.
enum Record {
    /// The length of the record in bytes and lines. Its fields are in the splitter.
    Whole(usize, u64),
    /// One line is lost: its length in bytes, or `None` if it is too long to be held.
    Bad(Option<usize>, BadLine),
    End,
}

/// Delimited text. If the delimiter is a tab, a quote is an ordinary letter.
pub(super) struct DelimitedReader {
    name: String,
    window: InputWindow,
    splitter: Splitter,
    names: Vec<Vec<u8>>,
    /// True if lines that begin with `#`, and are no rows, are comments.
    has_comments: bool,
    /// True if a delimiter ends each row, but not the header.
    rows_end_with_delimiter: bool,
    columns: Columns,
    /// True if all rows share one key by default, though they name their clients.
    ignores_clients: bool,
}

impl DelimitedReader {
    pub(super) fn new(
        name: String,
        mut window: InputWindow,
        table: TableForm,
        options: &Options,
    ) -> Result<Self, Error> {
        let networks = match (options.ipv4_prefix, options.ipv6_prefix) {
            (Some(_), _) => Some("--ipv4-prefix"),
            (None, Some(_)) => Some("--ipv6-prefix"),
            (None, None) => None,
        };
        if let Some(option) = networks.filter(|_| options.by.is_none()) {
            return Err(Error::NotFor {
                path: name,
                what: "delimited text",
                option,
                instead: "it has one meter for all, unless --by or --key names a column",
            });
        }
        let mut splitter = Splitter::new(table.delimiter, table.has_quotes);
        if window.text(3) == BYTE_ORDER_MARK {
            window.advance(3, 0);
        }
        let mut records = Records {
            name: &name,
            window: &mut window,
            splitter: &mut splitter,
        };
        records.skip_comments(table.comments)?;
        records.header()?;
        let mut names: Vec<Vec<u8>> = splitter.fields().map(<[u8]>::to_vec).collect();
        if let Some(first) = names.first_mut().filter(|_| table.is_header_comment) {
            *first = without_hash(first).to_vec();
        }
        let samples = samples(window.text(super::HEAD), &mut splitter);
        let header = HeaderSample {
            input: &name,
            called: "column",
            format: "a table",
            names: &names,
            samples: &samples,
            default: &By::All,
        };
        let columns = Columns::find(&header, options)?;
        let has_end = |row: &Vec<Vec<u8>>| row.len() == names.len() + 1 && row[names.len()].trim_ascii().is_empty();
        let rows_end_with_delimiter = !samples.is_empty() && samples.iter().all(has_end);
        let ignores_clients = options.by.is_none() && header.has(&By::Ip);
        Ok(Self {
            name,
            window,
            splitter,
            names,
            has_comments: table.comments > 0 || table.is_header_comment,
            rows_end_with_delimiter,
            columns,
            ignores_clients,
        })
    }

    pub(super) fn by(&self) -> &By {
        self.columns.by()
    }

    pub(super) fn notices(&self) -> Vec<String> {
        let mut notices = self.columns.notices(&self.names, &self.name);
        if self.ignores_clients {
            notices.push(format!(
                "{}: all rows share one key (--by ip gives each client a key)",
                self.name
            ));
        }
        notices
    }

    fn records(&mut self) -> Records<'_> {
        Records {
            name: &self.name,
            window: &mut self.window,
            splitter: &mut self.splitter,
        }
    }
}

impl Events for DelimitedReader {
    fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        loop {
            let record = self.records().record()?;
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
                    let splitter = &self.splitter;
                    let has_end = || {
                        let count = self.names.len();
                        self.rows_end_with_delimiter && splitter.len() == count + 1 && splitter.field(count).is_empty()
                    };
                    let request = if splitter.len() == self.names.len() || has_end() {
                        self.columns.request(|at| Some(splitter.field(at)))
                    } else {
                        Err(BadLine::Fields {
                            found: splitter.len(),
                            expected: self.names.len(),
                        })
                    };
                    let event = match request {
                        Ok(request) => request.event(sink)?,
                        Err(_) if splitter.fields().all(|field| field.trim_ascii().is_empty()) => None,
                        Err(_) if self.has_comments && self.window.text(1) == b"#" => None,
                        Err(_) if is_header(splitter, &self.names) => None,
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

    fn line(&self) -> u64 {
        self.window.lines()
    }
}

/// Returns whether the record that was split last is the header again, as where files were joined or a file was rotated.
fn is_header(splitter: &Splitter, names: &[Vec<u8>]) -> bool {
    let is_name = |(field, name): (&[u8], &Vec<u8>)| field.strip_prefix(BYTE_ORDER_MARK).unwrap_or(field) == name;
    splitter.len() == names.len() && splitter.fields().zip(names).all(is_name)
}

/// The records, one after the other.
struct Records<'a> {
    name: &'a str,
    window: &'a mut InputWindow,
    splitter: &'a mut Splitter,
}

impl Records<'_> {
    /// Skips this number of comments, and other lines between them.
    fn skip_comments(&mut self, count: usize) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let line = self.window.line(0).map_err(|source| Error::read(self.name, source))?;
            let NextLine::End(len) = line else { break };
            left -= usize::from(self.window.text(1) == b"#");
            self.window.advance(len, 1);
        }
        Ok(())
    }

    /// Reads the header, the first line that is not blank.
    fn header(&mut self) -> Result<(), Error> {
        loop {
            match self.record()? {
                Record::Whole(len, lines) => {
                    let line = self.window.text(len);
                    let is_blank = line.trim_ascii().is_empty() || is_separator_line(line);
                    self.window.advance(len, lines);
                    if !is_blank {
                        return Ok(());
                    }
                }
                Record::Bad(_, reason) => {
                    return Err(Error::NoHeader {
                        path: self.name.to_owned(),
                        reason,
                    });
                }
                Record::End => {
                    self.splitter.begin();
                    return Ok(());
                }
            }
        }
    }

    /// Splits the next record, without consuming its text.
    fn record(&mut self) -> Result<Record, Error> {
        let failed = |source| Error::read(self.name, source);
        let mut len = match self.window.line(0).map_err(failed)? {
            NextLine::Nothing => return Ok(Record::End),
            NextLine::TooLong => return Ok(Record::Bad(None, BadLine::TooLong)),
            NextLine::End(len) => len,
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
                NextLine::End(next) if next <= MOST_BYTES => (begin, len) = (len, next),
                _ => break,
            }
        }
        Ok(Record::Bad(first, BadLine::OpenQuote))
    }
}

/// Returns the first few records that are whole on one line.
fn samples(text: &[u8], splitter: &mut Splitter) -> Vec<Vec<Vec<u8>>> {
    let mut samples = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n').take(100) {
        splitter.begin();
        if !line.trim_ascii().is_empty() && splitter.feed(line) == Ok(Fed::Whole) {
            samples.push(splitter.fields().map(<[u8]>::to_vec).collect());
        }
    }
    samples
}

#[cfg(test)]
#[path = "delimited_tests.rs"]
mod tests;
