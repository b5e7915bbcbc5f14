//! Reads files of recorded traffic event by event.

pub mod access_log;
mod advice;
pub mod capture;
mod cells;
mod columns;
mod compression;
mod day;
mod delimited;
mod duration;
mod fields;
mod foreign;
mod format;
mod frame;
mod gzip;
mod head;
mod json;
mod keying;
mod labels;
mod lines;
mod log_format;
mod names;
mod pattern;
mod prefix;
mod record;
mod request_line;
mod utf16;
mod window;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::bad::{BadLine, BadLines};
use crate::by::By;
use crate::event::{Event, KeyId, Keys};
use crate::progress::Progress;
use crate::proxies::Proxies;
use crate::select::Select;
use crate::stamp::{FirstYear, Resolution, StampOptions, Stamps};
use crate::trace::Unit;
use compression::Damage;
use format::InputFormat;
use keying::Keying;
use window::InputWindow;

/// Number of bytes from which the format of a file is detected: a few hundred lines, since a log may begin with bad lines.
const HEAD: usize = 1 << 16;

/// Number of first lines of a growing input that may be messages of a program that starts.
const FIRST_LINES: usize = 32;

/// The byte order mark that some programs put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The notice that IPv6 clients were grouped by default.
const IPV6_NOTICE: &str =
    "IPv6 clients are one key for each /64, as a subscriber has at least that (--ipv6-prefix 128 keeps them apart)";

/// The notice that stamps without a zone were read as UTC.
const ZONE_NOTICE: &str = "stamps without a zone are read as UTC (--tz Europe/Berlin or --tz local reads them as that zone's, --tz UTC confirms it)";

/// The notice that the years of stamps were chosen by the dates of files.
const YEAR_NOTICE: &str = "stamps without a year have the year of their file's date, or the year before (--year 2024 names the year of the first line)";

/// The notice that an hour came twice.
const HOUR_NOTICE: &str = "stamps without a zone lie in an hour that came twice: after a quiet time, the second hour may be taken for the first";

/// Returns notices about the assumed meaning of stamps and keys. If `is_utc`, the input declares its times as UTC.
fn assumptions(stamps: &Stamps, is_utc: bool, keying: &Keying) -> impl Iterator<Item = String> {
    let notices = [
        (stamps.has_assumed_utc() && !is_utc, ZONE_NOTICE),
        (stamps.has_assumed_year(), YEAR_NOTICE),
        (stamps.has_repeated_hour(), HOUR_NOTICE),
        (keying.has_assumed_networks(), IPV6_NOTICE),
    ];
    let made = notices.into_iter().filter(|(is_made, _)| *is_made);
    made.map(|(_, notice)| notice.to_owned())
}

/// Returns the log formats that `--log-format` knows by name.
pub fn log_format_names() -> impl Iterator<Item = &'static str> {
    log_format::names().chain(pattern::NAMED.iter().map(|named| named.name))
}

/// A source of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a named pipe.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// Returns the source at a path; `-` is standard input.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::Path(path.to_owned())
        }
    }

    /// Returns its name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// Returns the number of its bytes, if it is a file that can be read again.
    pub(crate) fn len_if_rereadable(&self) -> io::Result<Option<u64>> {
        let Self::Path(path) = self else { return Ok(None) };
        let metadata = fs::metadata(path)?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    /// Returns the time at which it was last written, in nanoseconds since the Unix epoch; of anything but a file, the time now.
    pub(crate) fn last_written(&self) -> i64 {
        let of_file = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file)?.modified().ok();
        let time = match self {
            Self::Path(path) => of_file(path),
            Self::Stdin => None,
        };
        let since = time.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Opens the source. Of a growing file, at most the first `limit` bytes are read.
    fn open(&self, limit: Option<u64>, progress: &Progress) -> io::Result<(Box<dyn Read>, Damage)> {
        let file: Box<dyn Read> = match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin()),
        };
        compression::unpack(progress.counting(file).take(limit.unwrap_or(u64::MAX)))
    }
}

/// The moment that a stamp marks: the start or the end of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum TimeIs {
    /// The start, unless the log is known to stamp the end and to contain the duration.
    #[default]
    Auto,
    /// The start.
    Start,
    /// The end: requests are moved back by their duration.
    End,
}

/// The options for reading inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The key. Without it, the key of logs and captures is the IP address, and all rows of a table share one key.
    pub by: Option<By>,
    /// The column of the stamps; `DATE+TIME` for two columns.
    pub time: Option<String>,
    /// The column of the cells that a request asks for; without it, each request asks for one cell.
    pub cost: Option<String>,
    /// The moment that a stamp marks: the start or the end of its request.
    pub time_is: TimeIs,
    /// The column of the duration of a request, and its unit: `took:ms`.
    pub duration: Option<String>,
    /// The options for reading stamps.
    pub stamps: StampOptions,
    /// A regular expression that splits lines.
    pub regex: Option<String>,
    /// A log format of a server's configuration, or its name, that splits lines.
    pub log_format: Option<String>,
    /// The number of bits of an IPv6 address that make a key; without it, 64 in logs and 128 in captures.
    pub ipv6_prefix: Option<u8>,
    /// The number of bits of an IPv4 address that make a key; without it, 32.
    pub ipv4_prefix: Option<u8>,
    /// The number of path segments that make a key; without it, all.
    pub path_depth: Option<usize>,
    /// The addresses of our own proxies; without it, private ones.
    pub proxies: Option<Proxies>,
    /// The maximum number of keys; without it, as many as [`KeyId`] can number.
    pub most_keys: Option<u32>,
    /// True if no text of the input may be shown.
    pub anonymise: bool,
    /// The column of plans, for limits by plan instead of by key.
    pub plan: Option<String>,
    /// True if the places of events are kept.
    pub places: bool,
    /// The requests to replay.
    pub select: Select,
    /// True if the input is still growing, so that its format is detected from its first lines.
    pub is_growing: bool,
}

/// A request as read from a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request<'a> {
    time: i64,
    cost: u64,
    key: &'a [u8],
    /// The plan of the key, if plans are read.
    plan: Option<&'a [u8]>,
    /// True if it is to be replayed.
    is_selected: bool,
}

impl Request<'_> {
    /// Creates a request that is not to be replayed.
    fn unselected(time: i64) -> Self {
        Self {
            time,
            cost: 0,
            key: b"",
            plan: None,
            is_selected: false,
        }
    }

    /// Returns the event of this request; `None` if it is not to be replayed.
    #[inline]
    fn event(self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        if !self.is_selected {
            return Ok(None);
        }
        let mut event = Event::new(self.time, self.cost, sink.key(self.key)?);
        if let Some(plan) = self.plan {
            event.plan = sink.plan(plan)?;
        }
        Ok(Some(event))
    }
}

/// Receives the names, the bad lines and the notices that readers find in addition to events.
pub trait Sink {
    /// Returns the number of a key.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`].
    fn key(&mut self, name: &[u8]) -> Result<KeyId, Error>;

    /// Returns the number of a plan.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`].
    fn plan(&mut self, _name: &[u8]) -> Result<KeyId, Error> {
        Ok(KeyId::default())
    }

    /// Takes `lines` bad lines of `file`, starting at line `line`.
    fn bad(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]);

    /// Takes a notice that belongs in the report.
    fn notice(&mut self, _notice: String) {}

    /// Takes a notice about a lost part of an input.
    fn cut(&mut self, _notice: String) {}
}

/// A sink that keeps everything.
#[derive(Debug, Default)]
pub struct Collected {
    /// All keys.
    pub keys: Keys,
    /// All bad lines.
    pub bad: BadLines,
    /// Notices for the report, each once.
    pub notices: Vec<String>,
    /// True if part of an input is lost.
    pub is_cut: bool,
    /// All plans.
    pub plans: Keys,
}

impl Sink for Collected {
    #[inline]
    fn key(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        self.keys.intern(name)
    }

    #[inline]
    fn plan(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        self.plans.intern(name)
    }

    fn bad(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]) {
        self.bad.add(file, line, lines, reason, text);
    }

    fn notice(&mut self, notice: String) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    fn cut(&mut self, notice: String) {
        self.is_cut = true;
        self.notice(notice);
    }
}

/// A sink that drops everything, for a reader of times only.
#[derive(Debug, Clone, Copy)]
pub struct TimesOnly;

impl Sink for TimesOnly {
    #[inline]
    fn key(&mut self, _: &[u8]) -> Result<KeyId, Error> {
        Ok(KeyId::default())
    }

    fn bad(&mut self, _: &str, _: u64, _: u64, _: BadLine, _: &[u8]) {}
}

/// One input, of any format.
pub struct Reader {
    name: String,
    by: By,
    reader: FormatReader,
    damage: Damage,
    /// The first lines, to advise from if no line can be read.
    head: Vec<u8>,
    options: StampOptions,
}

/// A reader of one kind of input.
trait Events {
    /// Returns the next event; `None` at the end.
    fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error>;

    /// Returns the number of the line, or packet, that was read last; the first is 1.
    fn line(&self) -> u64;
}

/// Adds the next events to `block`, until it has `most`.
///
/// The numbers of their keys are looked up at the end. With 200,000 keys most of such a look-up is waiting for memory, and in a short loop the processor
/// waits for several at once.
fn fill(reader: &mut impl Events, most: usize, sink: &mut impl Sink, block: &mut Vec<Event>) -> Result<(), Error> {
    let first = block.len();
    let mut named = NamingSink {
        sink,
        names: Vec::new(),
        ends: Vec::new(),
    };
    while block.len() < most {
        let Some(mut event) = reader.next(&mut named)? else {
            break;
        };
        event.place.line = reader.line();
        block.push(event);
    }
    let NamingSink { sink, names, ends } = named;
    for event in &mut block[first..] {
        event.key = sink.key(name(&names, &ends, event.key.index()))?;
    }
    Ok(())
}

/// A sink that numbers the names of keys as they come, from 0 for each reading.
struct NamingSink<'a, S> {
    sink: &'a mut S,
    /// All names, one after the other, and their ends.
    names: Vec<u8>,
    ends: Vec<usize>,
}

impl<S: Sink> Sink for NamingSink<'_, S> {
    #[inline]
    fn key(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.names.extend_from_slice(name);
        self.ends.push(self.names.len());
        Ok(KeyId(number))
    }

    fn plan(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        self.sink.plan(name)
    }

    fn bad(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]) {
        self.sink.bad(file, line, lines, reason, text);
    }

    fn notice(&mut self, notice: String) {
        self.sink.notice(notice);
    }

    fn cut(&mut self, notice: String) {
        self.sink.cut(notice);
    }
}

/// Returns the name with this number.
#[inline]
fn name<'a>(names: &'a [u8], ends: &[usize], number: usize) -> &'a [u8] {
    let start = number
        .checked_sub(1)
        .and_then(|before| ends.get(before))
        .map_or(0, |&end| end);
    ends.get(number)
        .and_then(|&end| names.get(start..end))
        .unwrap_or_default()
}

enum FormatReader {
    Lines(lines::LineReader),
    Delimited(Box<delimited::DelimitedReader>),
    Capture(Box<capture::CaptureReader>),
    Empty,
}

impl FormatReader {
    /// Creates the reader of a format.
    fn of(format: InputFormat, window: InputWindow, name: &str, options: &Options) -> Result<Self, Error> {
        let name = name.to_owned();
        Ok(match format {
            InputFormat::Empty => Self::Empty,
            InputFormat::Lines(lines) => Self::Lines(lines::LineReader::new(name, window, lines, options)),
            InputFormat::Delimited(table) => {
                let reader = delimited::DelimitedReader::new(name, window, table, options)?;
                Self::Delimited(Box::new(reader))
            }
            InputFormat::Capture(dialect) => {
                let reader = capture::CaptureReader::new(name, window, dialect, options)?;
                Self::Capture(Box::new(reader))
            }
        })
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens an input and detects its format. Of a growing file only the first `limit` bytes are read.
    ///
    /// # Errors
    ///
    /// The input cannot be read, or does not fit the options.
    pub fn open(input: &Input, limit: Option<u64>, options: &Options, progress: &Progress) -> Result<Self, Error> {
        let source = input.open(limit, progress);
        let (source, damage) = source.map_err(|source| Error::read(&input.name(), source))?;
        let mut options = options.clone();
        let year = &mut options.stamps.year;
        year.get_or_insert_with(|| FirstYear::Until(input.last_written()));
        Self::of_plain(source, damage, input.name(), &options)
    }

    /// Reads bytes that may be packed; messages call them `name`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of(packed: impl Read + 'static, name: &str, options: &Options) -> Result<Self, Error> {
        let (source, damage) = compression::unpack(packed).map_err(|source| Error::read(name, source))?;
        Self::of_plain(source, damage, name.to_owned(), options)
    }

    fn of_plain(source: Box<dyn Read>, damage: Damage, name: String, options: &Options) -> Result<Self, Error> {
        let source = utf16::decode(source).map_err(|source| Error::read(&name, source))?;
        let mut window = InputWindow::new(source);
        // A capture has no lines.
        let is_capture = |head: &[u8]| !matches!(capture::Dialect::of(head, &name), Ok(None));
        let mut lines = 1;
        let (head, format) = loop {
            let head = match options.is_growing {
                true if window.hold(capture::MAGIC).is_ok_and(is_capture) => window.hold(capture::MAGIC),
                true => window.hold_lines(lines),
                false => window.hold(HEAD),
            };
            let head = head.map_err(|source| Error::read(&name, source))?;
            let format = InputFormat::of(&head[..head.len().min(HEAD)], &name, options);
            if !options.is_growing || lines > FIRST_LINES || InputFormat::is_known(&format) {
                break (head[..head.len().min(advice::HEAD)].to_vec(), format);
            }
            lines *= 2;
        };
        let reader = format.and_then(|format| FormatReader::of(format, window, &name, options));
        // Before it finds the damage, a decoder may return wrong text.
        let reader = reader.map_err(|error| match (error, damage.take()) {
            (Error::Noise { path }, Some(damage)) => {
                Error::read(&path, io::Error::new(io::ErrorKind::InvalidData, damage))
            }
            (error, Some(damage)) => Error::Damaged {
                error: Box::new(error),
                damage,
            },
            (error, None) => error,
        })?;
        let by = match &reader {
            FormatReader::Lines(reader) => reader.lines().by().clone(),
            FormatReader::Delimited(reader) => reader.by().clone(),
            FormatReader::Capture(reader) => reader.by().clone(),
            FormatReader::Empty => By::All,
        };
        Ok(Self {
            name,
            by,
            reader,
            damage,
            head,
            options: options.stamps.clone(),
        })
    }

    /// Returns the key of this input.
    #[must_use]
    pub fn by(&self) -> &By {
        &self.by
    }

    /// Returns the format of this input.
    #[must_use]
    pub fn format(&self) -> String {
        match &self.reader {
            FormatReader::Lines(reader) => reader.lines().format(),
            FormatReader::Delimited(_) => "table".to_owned(),
            FormatReader::Capture(_) => "packet capture".to_owned(),
            FormatReader::Empty => "nothing".to_owned(),
        }
    }

    /// Returns the options that could read this input, of which no line could be read.
    #[must_use]
    pub fn advice(&self) -> String {
        match &self.reader {
            FormatReader::Lines(reader) => reader.lines().advice(&self.head, &self.options),
            FormatReader::Delimited(_) => advice::time_format(&self.head, &self.options),
            FormatReader::Capture(_) | FormatReader::Empty => String::new(),
        }
    }

    /// Returns the coarsest possible resolution of its stamps, in any multiple.
    #[must_use]
    pub fn coarsest(&self) -> Resolution {
        match &self.reader {
            FormatReader::Capture(_) => Resolution::Microsecond,
            _ => Resolution::Minute,
        }
    }

    /// Returns the unit of its events.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match &self.reader {
            FormatReader::Capture(reader) if !reader.counts_packets() => Unit::Packets,
            FormatReader::Capture(_) => Unit::CountedPackets,
            _ => Unit::Requests,
        }
    }

    /// Returns the next event; `None` at the end.
    ///
    /// # Errors
    ///
    /// The input cannot be read further, or turns out not to fit the options.
    pub fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        let mut block = Vec::with_capacity(1);
        self.fill(1, sink, &mut block)?;
        Ok(block.pop())
    }

    /// Adds the next events to `block`, until it has `most`. It stays smaller only at the end.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next). Events before the error may be in `block`.
    pub fn fill(&mut self, most: usize, sink: &mut impl Sink, block: &mut Vec<Event>) -> Result<(), Error> {
        match &mut self.reader {
            FormatReader::Lines(reader) => fill(reader, most, sink, block),
            FormatReader::Delimited(reader) => fill(&mut **reader, most, sink, block),
            FormatReader::Capture(reader) => fill(&mut **reader, most, sink, block),
            FormatReader::Empty => Ok(()),
        }?;
        if block.len() < most {
            self.end(sink);
        }
        Ok(())
    }

    /// Adds the notices about an input that are known once it is read.
    #[cold]
    fn end(&mut self, sink: &mut impl Sink) {
        let notices = match &self.reader {
            FormatReader::Lines(reader) => reader.lines().notices(&self.name),
            FormatReader::Delimited(reader) => reader.notices(),
            _ => Vec::new(),
        };
        notices.into_iter().for_each(|notice| sink.notice(notice));
        if let Some(damage) = self.damage.take() {
            sink.cut(format!("{}: {damage}", self.name));
        }
    }
}
