//! What there is to tell of traffic once it is read: all but its events.

use clap::ValueEnum;

use crate::bad::BadLines;
use crate::by::By;
use crate::event::{Event, Keys};
use crate::stamp::Resolution;

/// In which order the events of all files are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Order {
    /// By time, over all files: each is read twice, and what is out of order is put in order.
    #[default]
    Sort,
    /// As they come, file by file and line by line, in one pass.
    AsIs,
}

impl Order {
    /// As `--order` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sort => "sort",
            Self::AsIs => "as-is",
        }
    }
}

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// A request for one cell, or as many as a column says.
    #[default]
    Requests,
    /// A packet for as many cells as it had bytes on the wire.
    Packets,
    /// A packet for one cell.
    CountedPackets,
}

impl Unit {
    /// What the pieces of an input are called, each of which is a request or bad.
    #[must_use]
    pub fn lines(self) -> &'static str {
        match self {
            Self::Requests => "lines",
            Self::Packets | Self::CountedPackets => "packets",
        }
    }
}

/// Lines that went back in time: with a stamp before the latest one ahead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Back {
    /// How many did.
    pub lines: u64,
    /// How far the farthest of them went back, in nanoseconds.
    pub most_ns: u64,
    latest: Option<i64>,
}

impl Back {
    /// Sees the next stamp of a file (or of all of them, where their order is kept).
    pub fn see(&mut self, time: i64) {
        match self.latest {
            Some(latest) if time < latest => {
                self.lines += 1;
                self.most_ns = self.most_ns.max(latest.abs_diff(time));
            }
            _ => self.latest = Some(time),
        }
    }

    /// Counts those of another file in.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.most_ns = self.most_ns.max(other.most_ns);
    }
}

/// An input that was read, and what it turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// Its name in messages.
    pub name: String,
    /// The format it was read as: `Common or Combined Log Format`.
    pub format: String,
    /// The resolution of its stamps; none if it has no request.
    pub resolution: Option<Resolution>,
}

/// What there is to tell of the traffic of any number of files, once it is read.
#[derive(Debug, Default)]
pub struct Trace {
    /// How many events there were.
    pub requests: u64,
    /// The earliest stamp, in nanoseconds since the Unix epoch; none if there were no events.
    pub first: Option<i64>,
    /// The latest stamp.
    pub last: Option<i64>,
    /// The names of the events' keys.
    pub keys: Keys,
    /// What the keys are.
    pub by: By,
    /// What an event is.
    pub unit: Unit,
    /// The lines that gave no event.
    pub bad: BadLines,
    /// In which order the events were replayed.
    pub order: Order,
    /// The lines that went back in time: in each file by itself, or with [`Order::AsIs`] in all of them.
    pub back: Back,
    /// Inputs without an event, and without a bad line, beside others that had some.
    pub empty: Vec<String>,
    /// The inputs that were read, in the order in which they ended.
    pub inputs: Vec<InputFacts>,
    /// Notices for every output: assumptions made and data lost. One sentence each, without a full stop.
    pub notices: Vec<String>,
    /// True if part of an input could not be read.
    pub is_cut: bool,
}

impl Trace {
    /// Counts an event in.
    pub fn see(&mut self, event: &Event) {
        self.requests += 1;
        self.first = Some(self.first.map_or(event.time, |first| first.min(event.time)));
        self.last = Some(self.last.map_or(event.time, |last| last.max(event.time)));
    }

    /// Returns whether more lines were bad than the report can be trusted with: more than `percent` of them. One bad line is
    /// always allowed, unless the bound is zero.
    #[must_use]
    pub fn has_too_many_bad(&self, percent: f64) -> bool {
        let bad = self.bad.count();
        // Counts of lines are far below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "a share of lines, compared to a bound")]
        let share = bad as f64 * 100.0 / self.lines().max(1) as f64;
        share > percent && (bad > 1 || percent == 0.0)
    }

    /// How many lines there were, but for headers and blank ones.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.requests.saturating_add(self.bad.count())
    }
}
