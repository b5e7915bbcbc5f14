//! The facts about traffic once it is read: everything except its events.

use clap::ValueEnum;

use crate::bad::BadLines;
use crate::by::By;
use crate::event::{Event, Keys};
use crate::stamp::Resolution;

/// The order in which the events of all files are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Order {
    /// By time, over all files. If a file is out of order, each file is read twice.
    #[default]
    Sort,
    /// In the order of files and lines, in one pass.
    AsIs,
}

impl Order {
    /// Returns the name that `--order` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sort => "sort",
            Self::AsIs => "as-is",
        }
    }
}

/// The unit of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// A request for one cell, or for the number of cells in a column.
    #[default]
    Requests,
    /// A packet for as many cells as it had bytes on the wire.
    Packets,
    /// A packet for one cell.
    CountedPackets,
}

impl Unit {
    /// Returns the plural for the pieces of an input, each of which is a request or bad.
    #[must_use]
    pub fn lines(self) -> &'static str {
        match self {
            Self::Requests => "lines",
            Self::Packets | Self::CountedPackets => "packets",
        }
    }
}

/// Lines that went back in time: a later stamp precedes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Back {
    /// The number of these lines.
    pub lines: u64,
    /// The largest step back, in nanoseconds.
    pub most_ns: u64,
    latest: Option<i64>,
}

impl Back {
    /// Takes the next stamp of a file, or of all files if their order is kept.
    pub fn see(&mut self, time: i64) {
        match self.latest {
            Some(latest) if time < latest => {
                self.lines += 1;
                self.most_ns = self.most_ns.max(latest.abs_diff(time));
            }
            _ => self.latest = Some(time),
        }
    }

    /// Adds the lines of another file.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.most_ns = self.most_ns.max(other.most_ns);
    }
}

/// An input that was read, and its detected properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// Its name in messages.
    pub name: String,
    /// The detected format: `Common or Combined Log Format`.
    pub format: String,
    /// The resolution of its stamps; `None` if it has no request.
    pub resolution: Option<Resolution>,
}

/// The facts about the traffic of any number of files, once it is read.
#[derive(Debug, Default)]
pub struct Trace {
    /// The number of events.
    pub requests: u64,
    /// The earliest stamp, in nanoseconds since the Unix epoch; `None` if there were no events.
    pub first: Option<i64>,
    /// The latest stamp.
    pub last: Option<i64>,
    /// The names of the events' keys.
    pub keys: Keys,
    /// The kind of the keys.
    pub by: By,
    /// The unit of an event.
    pub unit: Unit,
    /// The lines that gave no event.
    pub bad: BadLines,
    /// The order in which the events were replayed.
    pub order: Order,
    /// The lines that went back in time: within each file, or with [`Order::AsIs`] within all of them.
    pub back: Back,
    /// Inputs without an event and without a bad line, while other inputs had some.
    pub empty: Vec<String>,
    /// The inputs that were read, in the order in which they ended.
    pub inputs: Vec<InputFacts>,
    /// Notices for every output: assumptions made and data lost. One sentence each, without a full stop.
    pub notices: Vec<String>,
    /// True if part of an input could not be read.
    pub is_cut: bool,
}

impl Trace {
    /// Counts an event.
    pub fn see(&mut self, event: &Event) {
        self.requests += 1;
        self.first = Some(self.first.map_or(event.time, |first| first.min(event.time)));
        self.last = Some(self.last.map_or(event.time, |last| last.max(event.time)));
    }

    /// Returns whether the share of bad lines is above `percent`, too many to trust the report. One bad line is always allowed, unless `percent` is
    /// zero.
    #[must_use]
    pub fn has_too_many_bad(&self, percent: f64) -> bool {
        let bad = self.bad.count();
        // Counts of lines are far below 2^53.
        #[allow(clippy::cast_precision_loss, reason = "a share of lines, compared to a bound")]
        let share = bad as f64 * 100.0 / self.lines().max(1) as f64;
        share > percent && (bad > 1 || percent == 0.0)
    }

    /// Returns the number of lines, without headers and blank lines.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.requests.saturating_add(self.bad.count())
    }
}
