//! Lines that give no event. All are counted, and the first few are kept for display.

use std::fmt;

use crate::stamp::StampError;
use crate::text;

/// The reason why a line, or a packet, gives no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLine {
    /// Neither Common nor Combined Log Format.
    #[error("not a line of Common or Combined Log Format")]
    NotALogLine,
    /// Does not match the pattern.
    #[error("not a line of {0}")]
    OtherPattern(&'static str),
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// A JSON object or a row without the field that holds a line in other records.
    #[error("no log line in this object or row")]
    NoMessage,
    /// None of the values has a label.
    #[error("no labelled value in this line")]
    NoLabels,
    /// The field names change, and the new ones lack a required name.
    #[error("from here on the fields differ, and required ones are missing")]
    OtherFields,
    /// A part of the key is missing.
    #[error("the key is missing")]
    NoKey,
    /// There is no stamp.
    #[error("the time is missing")]
    NoTime,
    /// The duration of the request is not a number.
    #[error("the duration is not a number, or above 100 days")]
    Duration,
    /// A packet of an interface that the capture does not describe.
    #[error("the capture does not describe the interface of the packet")]
    NoInterface,
    /// Only the time cannot be read.
    #[error("{0}")]
    Stamp(#[from] StampError),
    /// A record has more or fewer fields than the header.
    #[error("the header has {expected} fields, this has {found}")]
    Fields {
        /// The number of fields in the record.
        found: usize,
        /// The number of fields in the header.
        expected: usize,
    },
    /// The cost is not a number, is negative, or does not fit in 64 bits.
    #[error("the cost is not a whole number of at most 64 bits")]
    Cost,
    /// Too long for a line of text.
    #[error("the line is longer than 1 MiB")]
    TooLong,
    /// A quote opens a field and is not closed within the limit; only its own line is lost.
    #[error("a quote is not closed within the next 100 lines or 64 KiB")]
    OpenQuote,
    /// A quoted field continues after its closing quote; only the line with the opening quote is lost.
    #[error("a quoted field continues after its closing quote")]
    BehindQuote,
    /// The captured part of a packet is too short to contain its addresses.
    #[error("too few bytes of the packet were captured to contain its addresses")]
    CutPacket,
}

/// A bad line, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    file: String,
    line: u64,
    reason: BadLine,
    /// `None` if the line is not text, or must not be shown.
    text: Option<String>,
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
    /// Number of bad lines kept for display.
    const QUOTED: usize = 5;
    /// Number of characters shown of a bad line.
    const WIDTH: usize = 60;

    /// Creates an empty list that never shows the text of lines, since it may contain keys that must stay anonymous.
    #[must_use]
    pub fn without_text() -> Self {
        Self {
            without_text: true,
            ..Self::default()
        }
    }

    /// Counts `lines` lines, starting at line `line` (the first is 1) of `file`, whose text is `text`.
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

    /// Returns the number of bad lines.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the first few bad lines.
    #[must_use]
    pub fn quoted(&self) -> &[Quoted] {
        &self.quoted
    }
}
