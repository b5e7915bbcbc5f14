//! Reads logs with one request a line, in any line format.

use std::io;

use memchr::memchr;

use super::BYTE_ORDER_MARK;
use super::access_log::{self, AccessLines, LogLines};
use super::cells::LineCells;
use super::fields::FieldLines;
use super::format::TableForm;
use super::json::{self, JsonLines, Messages};
use super::labels::{self, LabelLines};
use super::pattern::{self, PatternLines};
use super::window::{InputWindow, NextLine};
use super::{Events, Options, Request, Sink, advice, prefix};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;
use crate::select::Condition;
use crate::stamp::StampOptions;

/// The format of the lines of a log, with its parser.
#[derive(Debug)]
pub(super) enum Lines {
    Access(Box<AccessLines>),
    Fields(Box<FieldLines>),
    Json(Box<JsonLines>),
    Pattern(Box<PatternLines>),
    Labels(Box<LabelLines>),
    /// Lines of another format, each within a line of the input.
    Within(Box<(Envelope, Lines)>),
    /// Lines of no known format, all of which are bad.
    Unknown(Box<AccessLines>),
}

/// The format of lines that hold lines of another format.
#[derive(Debug)]
pub(super) enum Envelope {
    /// A field of a JSON object.
    Json(Messages),
    /// A column of a table.
    Table(LineCells),
    /// The journal's export format (`journalctl -o export`): in each entry, one of several lines is a log line.
    Export,
}

/// The beginning of the line of a journal entry that is a log line.
const MESSAGE: &[u8] = b"MESSAGE=";

impl Envelope {
    fn name(&self) -> &'static str {
        match self {
            Self::Json(_) => "JSON lines",
            Self::Table(_) => "a table",
            Self::Export => "the journal's export format",
        }
    }

    /// Returns the line within a line; empty if there is none.
    fn read<'a>(&'a mut self, line: &'a [u8]) -> Result<&'a [u8], BadLine> {
        match self {
            Self::Json(messages) => messages.read(line),
            Self::Table(cells) => cells.read(line),
            // A message with line feeds is written with its length, in several lines.
            Self::Export if line == b"MESSAGE" => Err(BadLine::NoMessage),
            Self::Export => Ok(line.strip_prefix(MESSAGE).unwrap_or_default().trim_ascii()),
        }
    }
}

impl Lines {
    /// Returns the lines inside a container's log or the journal, if those are log lines or JSON.
    ///
    /// # Errors
    ///
    /// The lines do not have a name that an option gives.
    pub(super) fn within(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<Self>, Error> {
        if let Some(pattern) = pattern::given(input, head, options)? {
            return Ok(Some(Self::Pattern(Box::new(pattern))));
        }
        if let Some(pattern) = pattern::detect(input, head, pattern::most(head), options)? {
            return Ok(Some(Self::Pattern(Box::new(pattern))));
        }
        if let Some(labels) = labels::detect(input, head, options)? {
            return Ok(Some(Self::Labels(Box::new(labels))));
        }
        if let Some(access) = Self::access(input, head, options)? {
            return Ok(Some(access));
        }
        Self::json(input, head, options)
    }

    /// Returns JSON lines, or the lines of another format within them; `None` if the lines are not JSON.
    ///
    /// # Errors
    ///
    /// The lines do not have a name that an option gives.
    pub(super) fn json(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<Self>, Error> {
        // The first wrapper whose lines seem to be of another format, but cannot be read: such as a message with labels, for people.
        let mut unread = None;
        if options.time.is_none() && options.regex.is_none() {
            for (messages, lines) in json::messages(head) {
                let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
                let within = || Self::within(input, &lines, options);
                let wrapped = |inner| Self::Within(Box::new((Envelope::Json(messages), inner)));
                match within() {
                    Ok(None) => {}
                    Ok(Some(mut inner)) => {
                        let is_read = lines.iter().any(|line| matches!(inner.request(line), Ok(Some(_))));
                        // A reader that has read nothing yet.
                        let found = within().map(|inner| inner.map(wrapped));
                        if is_read {
                            return found;
                        }
                        unread.get_or_insert(found);
                    }
                    Err(error) => {
                        unread.get_or_insert(Err(error));
                    }
                }
            }
        }
        match (json::detect(input, head, options), unread) {
            (Ok(Some(lines)), _) => Ok(Some(Self::Json(Box::new(lines)))),
            (_, Some(unread)) => unread,
            (found, None) => found.map(|_| None),
        }
    }

    /// Returns the lines in a column of a table, if those are log lines or JSON, and the table itself names no clients.
    ///
    /// # Errors
    ///
    /// The lines do not have a name that an option gives.
    pub(super) fn in_table(
        input: &str,
        rows: &[&[u8]],
        table: TableForm,
        options: &Options,
    ) -> Result<Option<Self>, Error> {
        if options.time.is_some() || options.regex.is_some() || options.log_format.is_some() {
            return Ok(None);
        }
        let mut unread = Ok(None);
        for (cells, messages) in LineCells::detect(input, rows, table, options) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let within = || Self::within(input, &messages, options);
            match within() {
                Ok(Some(mut inner)) => {
                    let is_read = |line: &&&[u8]| matches!(inner.request(line), Ok(Some(_)));
                    if messages.iter().filter(is_read).count() * 2 > messages.len() {
                        // A reader that has read nothing yet.
                        return Ok(within()?.map(|inner| Self::Within(Box::new((Envelope::Table(cells), inner)))));
                    }
                }
                Ok(None) => {}
                // Without a key, the rows of the table can be counted.
                Err(error @ Error::NoColumn { .. }) if options.by.is_some() => unread = Err(error),
                Err(_) => {}
            }
        }
        unread
    }

    /// Returns the log lines in the journal's export format.
    ///
    /// # Errors
    ///
    /// The lines do not have a name that an option gives.
    pub(super) fn exported(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<Self>, Error> {
        let messages: Vec<&[u8]> = head.iter().filter_map(|line| line.strip_prefix(MESSAGE)).collect();
        let inner = Self::within(input, &messages, options)?;
        Ok(inner.map(|inner| Self::Within(Box::new((Envelope::Export, inner)))))
    }

    /// Returns an access log, if any of these lines belongs to one. If a column is asked for, a plain log has the columns of its format.
    ///
    /// # Errors
    ///
    /// The format does not have a column that an option names.
    pub(super) fn access(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<Self>, Error> {
        let mut lines = LogLines::new(options.stamps.clone());
        if !head.iter().any(|line| lines.parse(line).is_ok()) {
            return Ok(None);
        }
        let access = AccessLines::new(options, head);
        let first = &head[..head.len().min(20)];
        let is_plain = |line: &&&[u8]| access_log::is_plain(prefix::without(line));
        let has_columns = options.time.is_none() && first.iter().filter(is_plain).count() * 2 > first.len();
        match rejected(options).filter(|_| has_columns) {
            None => Ok(Some(Self::Access(Box::new(access)))),
            Some((option, _)) if access.moves_requests() => Err(Error::NotFor {
                path: input.to_owned(),
                what: "an access log whose requests are moved to their start",
                option,
                instead: "say --time-is start, or name its columns with --log-format",
            }),
            Some(_) => PatternLines::access(input, head, options).map(|lines| Some(Self::Pattern(Box::new(lines)))),
        }
    }

    /// Creates lines of unknown format, all of which are bad.
    pub(super) fn unknown(options: &Options) -> Self {
        Self::Unknown(Box::new(AccessLines::new(options, &[])))
    }

    /// Reads a line; `None` if it has no request and is not bad.
    #[inline]
    pub(super) fn request<'a>(&'a mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, BadLine> {
        match self {
            Self::Access(lines) | Self::Unknown(lines) => lines.request(line).map(Some),
            Self::Fields(lines) => lines.request(line),
            Self::Json(lines) => match lines.request(line) {
                // The brackets and commas of a list, with an object in each line.
                Err(BadLine::NotJson) if matches!(line, b"[" | b"]" | b",") => Ok(None),
                read => read.map(Some),
            },
            Self::Pattern(lines) => lines.request(line),
            Self::Labels(lines) => lines.request(line).map(Some),
            Self::Within(within) => {
                let (envelope, inner) = &mut **within;
                match envelope.read(line)? {
                    b"" => Ok(None),
                    line => inner.request(line),
                }
            }
        }
    }

    /// Returns whether these are lines of an access log, possibly within other lines.
    fn is_access(&self) -> bool {
        match self {
            Self::Access(_) | Self::Unknown(_) => true,
            Self::Within(within) => within.1.is_access(),
            Self::Fields(_) | Self::Json(_) | Self::Pattern(_) | Self::Labels(_) => false,
        }
    }

    /// Reads a line, and returns an error if it has two entries.
    #[inline]
    fn request_of_one<'a>(&'a mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, BadLine> {
        match self {
            Self::Access(lines) | Self::Unknown(lines) => lines.request_of_one(line).map(Some),
            other => other.request(line),
        }
    }

    /// Returns the length of the first entry, if a line has two entries, or a fragment and an entry.
    fn entry_len(&mut self, line: &[u8]) -> usize {
        let len = match self {
            Self::Access(lines) | Self::Unknown(lines) => lines.entry_len(line),
            Self::Json(_) => json::entry_len(line),
            Self::Within(within) if matches!(within.0, Envelope::Json(_)) => json::entry_len(line),
            _ => line.len(),
        };
        // Bytes that a crash left unwritten are zeros.
        memchr(0, line).filter(|&at| at > 0).map_or(len, |at| len.min(at))
    }

    pub(super) fn by(&self) -> &By {
        match self {
            Self::Access(lines) | Self::Unknown(lines) => lines.by(),
            Self::Fields(lines) => lines.by(),
            Self::Json(lines) => lines.by(),
            Self::Pattern(lines) => lines.by(),
            Self::Labels(lines) => lines.by(),
            Self::Within(within) => within.1.by(),
        }
    }

    pub(super) fn format(&self) -> String {
        match self {
            Self::Access(_) => "access log (Common or Combined Log Format)".to_owned(),
            Self::Fields(_) => "log of named fields (W3C Extended, Zeek or VPC flow)".to_owned(),
            Self::Json(_) => "JSON lines".to_owned(),
            Self::Pattern(lines) => match lines.what() {
                option if option.starts_with("--") => format!("lines of {option}"),
                known => known.to_owned(),
            },
            Self::Labels(lines) => lines.format().to_owned(),
            Self::Within(within) => format!("{}, within {}", within.1.format(), within.0.name()),
            Self::Unknown(_) => "text of no known format".to_owned(),
        }
    }

    /// Returns the options that could read the lines, if none of them could be read.
    pub(super) fn advice(&self, head: &[u8], stamps: &StampOptions) -> String {
        match self {
            Self::Unknown(_) => advice::regex(head, stamps),
            Self::Pattern(_) => "; give another --log-format or --regex".to_owned(),
            _ => advice::time_format(head, stamps),
        }
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        match self {
            Self::Access(lines) | Self::Unknown(lines) => lines.notices(input),
            Self::Fields(lines) => lines.notices(input),
            Self::Json(lines) => lines.notices(input),
            Self::Pattern(lines) => lines.notices(input),
            Self::Labels(lines) => lines.notices(input),
            Self::Within(within) => within.1.notices(input),
        }
    }
}

/// A log of one request a line.
pub(super) struct LineReader {
    name: String,
    window: InputWindow,
    lines: Lines,
    /// An option that such a log does not support, with advice.
    rejected: Option<(&'static str, &'static str)>,
}

impl LineReader {
    pub(super) fn new(name: String, window: InputWindow, lines: Lines, options: &Options) -> Self {
        let rejected = lines.is_access().then(|| rejected(options)).flatten();
        Self {
            name,
            window,
            lines,
            rejected,
        }
    }

    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Skips bytes that no line begins with: zeros, if a log was truncated while its server kept writing, and the UTF-8 byte order mark with which
    /// some programs begin a file.
    #[inline]
    fn skip_filling(&mut self) -> io::Result<()> {
        match self.window.text(1).first() {
            Some(0) => self.window.skip_zeros(),
            Some(0xef) => {
                if self.window.hold(BYTE_ORDER_MARK.len())?.starts_with(BYTE_ORDER_MARK) {
                    self.window.advance(BYTE_ORDER_MARK.len(), 0);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Events for LineReader {
    #[inline]
    fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        loop {
            self.skip_filling().map_err(|source| Error::read(&self.name, source))?;
            let line = self.window.line(0).map_err(|source| Error::read(&self.name, source))?;
            let number = self.window.lines() + 1;
            let len = match line {
                NextLine::Nothing => return Ok(None),
                NextLine::End(len) => len,
                NextLine::TooLong => {
                    sink.bad(&self.name, number, 1, BadLine::TooLong, self.window.text(100));
                    self.window
                        .skip_line()
                        .map_err(|source| Error::read(&self.name, source))?;
                    continue;
                }
            };
            let mut text = self.window.text(len).trim_ascii_end();
            let whole = text.len();
            let mut read = event(self.lines.request_of_one(text), sink)?;
            if read.is_err() && !text.is_empty() {
                text = &text[..self.lines.entry_len(text)];
                if text.len() < whole {
                    read = event(self.lines.request(text), sink)?;
                }
            }
            // After the first of two entries, the rest of the line is read as if it were the next line.
            let is_whole = text.len() == whole;
            let end = if is_whole { len } else { text.len() };
            let event = match read {
                Ok(event) => event,
                Err(_) if text.is_empty() => None,
                Err(reason) => {
                    sink.bad(&self.name, number, 1, reason, text);
                    None
                }
            };
            self.window.advance(end, u64::from(is_whole));
            if event.is_some() {
                return match self.rejected {
                    Some((option, instead)) => Err(Error::NotFor {
                        path: self.name.clone(),
                        what: "an access log",
                        option,
                        instead,
                    }),
                    None => Ok(event),
                };
            }
        }
    }

    fn line(&self) -> u64 {
        self.window.lines()
    }
}

/// Returns the event of a request, or the reason why there is none.
#[inline]
fn event(
    request: Result<Option<Request<'_>>, BadLine>,
    sink: &mut impl Sink,
) -> Result<Result<Option<Event>, BadLine>, Error> {
    Ok(match request {
        Ok(Some(request)) => Ok(request.event(sink)?),
        Ok(None) => Ok(None),
        Err(reason) => Err(reason),
    })
}

fn rejected(options: &Options) -> Option<(&'static str, &'static str)> {
    let has_column = options
        .by
        .as_ref()
        .is_some_and(|by| by.parts().iter().any(|part| matches!(part, By::Column(_))));
    match options {
        Options { plan: Some(_), .. } => Some(("--plan", "it has no columns; give the limits of keys instead")),
        _ if options.select.only.iter().any(Condition::is_of_column) => Some((
            "a column in --only",
            "say path, status, method, ip, xff or host, or name its columns with --log-format",
        )),
        Options { cost: Some(_), .. } => Some((
            "--cost",
            "each of its lines asks for one cell, unless --log-format names its columns",
        )),
        Options { time: Some(_), .. } => Some(("--time", "each of its lines has its stamp in brackets")),
        _ if has_column => Some((
            "a key column",
            "say --by ip, xff, host, path, method, status or all, or name its columns with --log-format",
        )),
        _ => None,
    }
}
