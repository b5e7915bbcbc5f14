//! Lines that give no event: counted, and the first few kept to be shown.

use std::fmt;

use crate::stamp::StampError;
use crate::text;

/// Why a line, or a packet, gives no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLine {
    /// Neither Common nor Combined Log Format.
    #[error("not a line of Common or Combined Log Format")]
    NotALogLine,
    /// Not what the pattern describes.
    #[error("not a line of {0}")]
    OtherPattern(&'static str),
    /// No object of JSON.
    #[error("not an object of JSON")]
    NotJson,
    /// An object without the line that others have.
    #[error("no log line in this object")]
    NoMessage,
    /// The names of the fields change to such as have not what is asked for.
    #[error("from here on the fields are others, without those that are needed")]
    OtherFields,
    /// What the key is made of is missing.
    #[error("the key is missing")]
    NoKey,
    /// There is no stamp.
    #[error("the time is missing")]
    NoTime,
    /// How long the request took is no number.
    #[error("the duration is no number of less than 100 days")]
    Duration,
    /// A packet of an interface that the capture does not describe.
    #[error("the packet is of an interface that is not described")]
    NoInterface,
    /// The rest is fine, the time is not.
    #[error("{0}")]
    Stamp(#[from] StampError),
    /// A record is not as long as the header.
    #[error("the header has {expected} fields, this has {found}")]
    Fields {
        /// How many fields the record has.
        found: usize,
        /// How many fields the header has.
        expected: usize,
    },
    /// The cells asked are not a number, or less than zero.
    #[error("the cost is not a whole number")]
    Cost,
    /// No line of text is this long.
    #[error("the line is longer than 1 MiB")]
    TooLong,
    /// A quote opens a field and nothing closes it soon; only its own line is lost.
    #[error("a quote is not closed within the next 100 lines or 64 KiB")]
    OpenQuote,
    /// A quoted field goes on behind its closing quote; only the line with the opening one is lost.
    #[error("a quoted field goes on behind its closing quote")]
    BehindQuote,
    /// So little of a packet was captured that its addresses are not there.
    #[error("too little of the packet was captured to have its addresses")]
    CutPacket,
}

/// A bad line, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    file: String,
    line: u64,
    reason: BadLine,
    /// Nothing for what is no text, or is not to be shown.
    text: Option<String>,
}

impl Quoted {
    /// The options that could read the line, where its format is not known.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.reason {
            BadLine::NotALogLine => {
                "; name its format: --log-format '$remote_addr [$time_local] \"$request\"' as in the server's configuration, or \
                 --regex '(?<time>\\S+) (?<key>\\S+)'"
            }
            BadLine::OtherPattern(_) => "; give another --log-format or --regex",
            _ => "",
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            reason,
            text,
        } = self;
        write!(f, "{file}:{line}: {reason}")?;
        text.as_ref().map_or(Ok(()), |text| write!(f, ": `{text}`"))
    }
}

/// All bad lines of a run.
#[derive(Debug, Default)]
pub struct BadLines {
    count: u64,
    quoted: Vec<Quoted>,
    without_text: bool,
}

impl BadLines {
    /// How many bad lines are kept to be shown.
    const QUOTED: usize = 5;
    /// How many characters of a bad line are shown.
    const WIDTH: usize = 60;

    /// No bad lines yet; what they read is never shown, as it may hold what is to be anonymous.
    #[must_use]
    pub fn without_text() -> Self {
        Self {
            without_text: true,
            ..Self::default()
        }
    }

    /// Counts `lines` lines from line `line` (the first is 1) of `file` on, which together read `text`.
    pub fn add(&mut self, file: &str, line: u64, lines: u64, reason: BadLine, text: &[u8]) {
        self.count += lines;
        if self.quoted.len() < Self::QUOTED {
            let shown = !self.without_text && !text.is_empty();
            self.quoted.push(Quoted {
                file: file.to_owned(),
                line,
                reason,
                text: shown.then(|| text::printable(text, Self::WIDTH)),
            });
        }
    }

    /// How many lines were bad.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first few of them.
    #[must_use]
    pub fn quoted(&self) -> &[Quoted] {
        &self.quoted
    }
}
