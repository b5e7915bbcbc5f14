//! Reads the log lines that a table has in one of its columns, as `CloudWatch`, Loki and Splunk export them.

use super::columns::{Columns, HeaderSample};
use super::format::{TableForm, is_separator_line, without_hash};
use super::json::WRAPPERS;
use super::record::{Fed, Splitter};
use super::{Options, names};
use crate::bad::BadLine;
use crate::by::By;

/// The cells of one column, each with a line of another format.
#[derive(Debug)]
pub(super) struct LineCells {
    splitter: Splitter,
    /// The name of the column.
    name: Vec<u8>,
    at: usize,
    /// True after the first row. Before it stand comments, and the line that sets the delimiter for Excel.
    is_begun: bool,
    /// True if the quote of the last row is not closed, as after a line with its line feed.
    is_open: bool,
}

impl LineCells {
    /// Finds the columns that may hold lines, in a table that does not have the key itself. Returns each with the lines of the first rows.
    pub(super) fn detect(
        input: &str,
        rows: &[&[u8]],
        table: TableForm,
        options: &Options,
    ) -> Vec<(Self, Vec<Vec<u8>>)> {
        let Some((header, rows)) = rows.split_first() else {
            return Vec::new();
        };
        let header = if table.is_header_comment {
            without_hash(header)
        } else {
            header
        };
        let rows = &rows[..rows.len().min(100)];
        let mut splitter = Splitter::new(table.delimiter, table.has_quotes);
        let mut split = |row: &[u8]| -> Option<Vec<Vec<u8>>> {
            splitter.begin();
            let is_whole = splitter.feed(row) == Ok(Fed::Whole);
            is_whole.then(|| splitter.fields().map(<[u8]>::to_vec).collect())
        };
        let Some(names) = split(header) else { return Vec::new() };
        let samples: Vec<Vec<Vec<u8>>> = rows.iter().filter_map(|row| split(row)).collect();
        let sample = HeaderSample {
            input,
            called: "column",
            format: "a table",
            names: &names,
            samples: &samples,
            default: &By::Ip,
        };
        if Columns::find(&sample, options).is_ok() {
            return Vec::new();
        }
        let bare: Vec<&[u8]> = names
            .iter()
            .map(|name| name.strip_prefix(b"@").unwrap_or(name))
            .collect();
        let places = WRAPPERS.iter().filter_map(|wrapper| names::place(&bare, wrapper));
        let cells = |at: usize| Self {
            splitter: Splitter::new(table.delimiter, table.has_quotes),
            name: names[at].clone(),
            at,
            is_begun: false,
            is_open: false,
        };
        let lines = |at: usize| {
            let mut cells = cells(at);
            let lines = rows.iter().filter_map(|row| cells.read(row).ok().map(<[u8]>::to_vec));
            lines.filter(|line| !line.is_empty()).collect::<Vec<_>>()
        };
        places.map(|at| (cells(at), lines(at))).collect()
    }

    /// Returns the line in a row; empty if there is none, as in the header.
    pub(super) fn read(&mut self, row: &[u8]) -> Result<&[u8], BadLine> {
        self.is_begun |= !(row.starts_with(b"#") || is_separator_line(row));
        if !self.is_begun {
            return Ok(b"");
        }
        // The rest of a row whose line ends with a line feed.
        if std::mem::take(&mut self.is_open) && row.starts_with(b"\"") {
            return Ok(b"");
        }
        self.splitter.begin();
        self.is_open = self.splitter.feed(row)? == Fed::Open;
        let whole = self.splitter.len();
        let line = if self.at < whole {
            self.splitter.field(self.at)
        } else if self.is_open && self.at == whole {
            self.splitter.open_field()
        } else {
            return Err(BadLine::NoMessage);
        };
        Ok(if line == self.name { b"" } else { line.trim_ascii() })
    }
}
