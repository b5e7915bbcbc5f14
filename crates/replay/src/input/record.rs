//! Splits records of delimited text into their fields, as RFC 4180 specifies.

use memchr::{memchr, memchr_iter};

use crate::bad::BadLine;

/// The state of a record after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    /// The record is whole.
    Whole,
    /// A quoted field continues on the next line.
    Open,
}

/// Splits one record after the other.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: u8,
    /// True if a quote at the beginning of a field quotes the field; otherwise it is an ordinary letter.
    quoting: bool,
    state: FieldState,
    text: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldState {
    /// At the beginning of a field.
    Begin,
    Plain,
    Quoted,
    /// After a quote in a quoted field: the closing one, or the first of two that stand for one.
    Quote,
}

impl Splitter {
    pub(super) fn new(delimiter: u8, quoting: bool) -> Self {
        Self {
            delimiter,
            quoting,
            state: FieldState::Begin,
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Begins a record.
    pub(super) fn begin(&mut self) {
        self.state = FieldState::Begin;
        self.text.clear();
        self.ends.clear();
    }

    /// Adds the next line of the record, with its line feed.
    pub(super) fn feed(&mut self, line: &[u8]) -> Result<Fed, BadLine> {
        let bare = line
            .strip_suffix(b"\n")
            .map_or(line, |bare| bare.strip_suffix(b"\r").unwrap_or(bare));
        if self.state == FieldState::Begin && !(self.quoting && memchr(b'"', bare).is_some()) {
            self.text.extend_from_slice(bare);
            self.ends.extend(memchr_iter(self.delimiter, bare));
            self.ends.push(bare.len());
            return Ok(Fed::Whole);
        }
        // Within a quoted field the end of a line is text.
        for &byte in line {
            let is_end = byte == self.delimiter;
            self.state = match self.state {
                FieldState::Begin if byte == b'"' => FieldState::Quoted,
                FieldState::Begin | FieldState::Plain | FieldState::Quote if is_end => {
                    self.text.push(byte);
                    self.ends.push(self.text.len() - 1);
                    FieldState::Begin
                }
                FieldState::Quoted if byte == b'"' => FieldState::Quote,
                FieldState::Quote if matches!(byte, b'\r' | b'\n') => FieldState::Quote,
                FieldState::Quote if byte != b'"' => return Err(BadLine::BehindQuote),
                state => {
                    self.text.push(byte);
                    if matches!(state, FieldState::Quoted | FieldState::Quote) {
                        FieldState::Quoted
                    } else {
                        FieldState::Plain
                    }
                }
            };
        }
        if self.state == FieldState::Quoted {
            return Ok(Fed::Open);
        }
        if self.state == FieldState::Plain || self.state == FieldState::Begin {
            self.trim_line_end();
        }
        self.ends.push(self.text.len());
        Ok(Fed::Whole)
    }

    fn trim_line_end(&mut self) {
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
            if self.text.last() == Some(&b'\r') {
                self.text.pop();
            }
        }
    }

    /// Returns the number of fields of the record.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns a field of the record; empty if the record has no field at this place.
    pub(super) fn field(&self, at: usize) -> &[u8] {
        // One delimiter stands after each field, so a field begins one byte after the end of the field before it.
        let start = at
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .map_or(0, |end| end + 1);
        self.ends
            .get(at)
            .and_then(|&end| self.text.get(start..end))
            .unwrap_or_default()
    }

    /// Returns the text so far of the field that continues on the next line.
    pub(super) fn open_field(&self) -> &[u8] {
        let start = self.ends.last().map_or(0, |end| end + 1);
        self.text.get(start..).unwrap_or_default()
    }

    /// Returns all fields of the record.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|at| self.field(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(lines: &[&str]) -> Result<Vec<String>, BadLine> {
        let mut splitter = Splitter::new(b',', true);
        splitter.begin();
        let mut fed = Fed::Open;
        for line in lines {
            assert_eq!(fed, Fed::Open, "{lines:?}");
            fed = splitter.feed(line.as_bytes())?;
        }
        assert_eq!(fed, Fed::Whole, "{lines:?}");
        let text = |field| String::from_utf8(Vec::from(field)).expect("UTF-8");
        Ok(splitter.fields().map(text).collect())
    }

    #[test]
    fn records_are_split_as_they_are_quoted() {
        let table: &[(&[&str], &[&str])] = &[
            (&["a,b\n"], &["a", "b"]),
            (&["a,b"], &["a", "b"]),
            (&["a,b\r\n"], &["a", "b"]),
            (&["\n"], &[""]),
            (&[",,\n"], &["", "", ""]),
            (&["\"a\",\"b\"\r\n"], &["a", "b"]),
            (&["\"a,\"\"b\"\"\",c\n"], &["a,\"b\"", "c"]),
            (&["\"\",\"\"\"\"\n"], &["", "\""]),
            (&["\"a\",\n"], &["a", ""]),
            (&["\"a\",b\r\n"], &["a", "b"]),
            (&["\"a\r\n", "b\n", "\",c"], &["a\r\nb\n", "c"]),
            (&["a\"b,c\"\n"], &["a\"b", "c\""]),
            (&["\"a\""], &["a"]),
        ];
        for (lines, fields) in table {
            assert_eq!(
                split(lines).as_deref(),
                Ok(&fields.iter().map(ToString::to_string).collect::<Vec<_>>()[..])
            );
        }
        assert_eq!(split(&["\"a\"b,c\n"]), Err(BadLine::BehindQuote));
        assert_eq!(split(&["\"a,b\n", "c,\"d\",e\n"]), Err(BadLine::BehindQuote));
    }
}
