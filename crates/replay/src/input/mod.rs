//! Files of recorded traffic, read event by event.

pub mod access_log;
mod delimited;
mod format;
mod log;
pub mod pcap;
mod record;
mod source;
mod window;

use std::io::Read;

pub use format::Format;
pub use source::Input;

use crate::Error;
use crate::bad::{BadLine, BadLines};
use crate::by::By;
use crate::event::{Event, KeyId, Keys};
use crate::progress::Progress;
use crate::select::Select;
use crate::trace::Unit;
use window::Window;

/// How much of a file is looked at to tell its format: a few hundred lines, as a log may begin with bad ones.
const HEAD: usize = 1 << 16;

/// What to make of the inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Who counts as one key; without it access logs and captures go by ip, and delimited text is one key.
    pub by: Option<By>,
    /// The column of the stamps in delimited text.
    pub time: Option<String>,
    /// The column of the cells asked in delimited text; without it each line asks for one.
    pub cost: Option<String>,
    /// How many bits of an IPv6 address make a key; without it, keys are as they are written.
    pub ipv6_prefix: Option<u8>,
    /// How many keys there may be; without it, as many as there are numbers for.
    pub most_keys: Option<u32>,
    /// Whether nothing that was read is to be shown.
    pub anonymise: bool,
    /// The column of plans, for limits that go by plan and not by key.
    pub plan: Option<String>,
    /// Whether the places of events are wanted.
    pub places: bool,
    /// Which requests are wanted.
    pub select: Select,
    /// Whether the input goes on to grow, so that its format is told by its first line.
    pub is_growing: bool,
}

/// Who takes what readers find beside the numbers of an event.
pub trait Sink {
    /// The number of a key.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`].
    fn key(&mut self, name: &[u8]) -> Result<KeyId, Error>;

    /// Takes the plan of the event that is about to be returned.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`].
    fn plan(&mut self, _name: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    /// `lines` bad lines of `file` from line `line` on.
    fn bad(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]);
}

/// Keeps it.
#[derive(Debug, Default)]
pub struct Collected {
    /// All keys.
    pub keys: Keys,
    /// All bad lines.
    pub bad: BadLines,
    /// All plans.
    pub plans: Keys,
    /// The plan of the latest event.
    pub plan: KeyId,
}

impl Sink for Collected {
    #[inline]
    fn key(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        self.keys.intern(name)
    }

    #[inline]
    fn plan(&mut self, name: &[u8]) -> Result<(), Error> {
        self.plan = self.plans.intern(name)?;
        Ok(())
    }

    fn bad(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]) {
        self.bad.add(file, line, lines, reason, text);
    }
}

/// Lets it go: for who looks at times only.
#[derive(Debug, Clone, Copy)]
pub struct TimesOnly;

impl Sink for TimesOnly {
    #[inline]
    fn key(&mut self, _: &[u8]) -> Result<KeyId, Error> {
        Ok(KeyId::default())
    }

    fn bad(&mut self, _: &str, _: u64, _: u64, _: BadLine, _: &[u8]) {}
}

/// One input, whatever its format.
pub struct Reader {
    by: By,
    reader: Kind,
}

enum Kind {
    Log(log::LogReader),
    Delimited(delimited::DelimitedReader),
    Pcap(pcap::PcapReader),
    Empty,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens an input and finds out what format it has. Of a file that grows only the first `limit` bytes are read.
    ///
    /// # Errors
    ///
    /// What cannot be read, or does not go with the options.
    pub fn open(input: &Input, limit: Option<u64>, options: &Options, progress: &Progress) -> Result<Self, Error> {
        let source = input.open(limit, progress);
        Self::of_plain(
            source.map_err(|source| Error::read(&input.name(), source))?,
            input.name(),
            options,
        )
    }

    /// Reads bytes that may be packed, and are called `name` in messages.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn of(packed: impl Read + 'static, name: &str, options: &Options) -> Result<Self, Error> {
        let source = source::unpack(packed).map_err(|source| Error::read(name, source))?;
        Self::of_plain(source, name.to_owned(), options)
    }

    fn of_plain(source: Box<dyn Read>, name: String, options: &Options) -> Result<Self, Error> {
        let mut window = Window::new(source);
        let head = if options.is_growing {
            window.hold_line()
        } else {
            window.hold(HEAD)
        };
        let head = head.map_err(|source| Error::read(&name, source))?;
        let is_empty = head.is_empty();
        let format = Format::of(&head[..head.len().min(HEAD)], options.time.as_deref());
        let (reader, default) = match format {
            Format::AccessLog if is_empty => (Kind::Empty, By::All),
            Format::AccessLog => (Kind::Log(log::LogReader::new(name, window, options)), By::Ip),
            Format::Delimited(delimiter) => (
                Kind::Delimited(delimited::DelimitedReader::new(name, window, delimiter, options)?),
                By::All,
            ),
            Format::Pcap(dialect) => (
                Kind::Pcap(pcap::PcapReader::new(name, window, dialect, options)?),
                By::Ip,
            ),
            Format::PcapNg => return Err(Error::PcapNg { path: name }),
        };
        Ok(Self {
            by: options.by.clone().unwrap_or(default),
            reader,
        })
    }

    /// Who counts as one key here.
    #[must_use]
    pub fn by(&self) -> &By {
        &self.by
    }

    /// The format it is read as.
    #[must_use]
    pub fn format(&self) -> String {
        match self.reader {
            Kind::Log(_) => "Common or Combined Log Format".to_owned(),
            Kind::Delimited(_) => "delimited text".to_owned(),
            Kind::Pcap(_) => "a packet capture".to_owned(),
            Kind::Empty => "an empty input".to_owned(),
        }
    }

    /// The number of the last line, or packet, of the latest event; the first is 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        match &self.reader {
            Kind::Log(reader) => reader.line(),
            Kind::Delimited(reader) => reader.line(),
            Kind::Pcap(reader) => reader.line(),
            Kind::Empty => 0,
        }
    }

    /// What an event is here.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self.reader {
            Kind::Pcap(_) => Unit::Packets,
            _ => Unit::Requests,
        }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    ///
    /// What cannot be read on, or turns out not to go with the options.
    #[inline]
    pub fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        match &mut self.reader {
            Kind::Log(reader) => reader.next(sink),
            Kind::Delimited(reader) => reader.next(sink),
            Kind::Pcap(reader) => reader.next(sink),
            Kind::Empty => Ok(None),
        }
    }
}
