//! What the limits would have done, written down: in a terminal, for programs, and to look at.
//!
//! Each renderer is a function from a [`Report`] to text.

mod axis;
pub mod chart;
pub mod html;
pub mod json;
pub mod live;
mod plot;
pub mod table;
mod words;

use std::time::Duration;

use crate::cli::reading::Spread;
use crate::event::Keys;
use crate::limit::Algorithm;
use crate::replay::Outcome;
use crate::trace::{InputFacts, Unit};

/// What was asked of the tool.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// The command line, as a shell takes it.
    pub command: String,
    /// The files, as they were named.
    pub inputs: Vec<String>,
    /// How the meters kept their accounts.
    pub algorithm: Algorithm,
    /// Who has a meter, as one says it to `--by`; none if there is one for all.
    pub by: Option<String>,
    /// The column of stamps, where one was named.
    pub time: Option<String>,
    /// What tells how many cells a request asks for, such as a column; none if each asks for one.
    pub cost: Option<String>,
    /// How many bits of an IPv6 address make a key, where addresses are keys.
    pub ipv6_prefix: Option<u8>,
    /// How many keys there may be.
    pub most_keys: u32,
    /// The order of the events: `sort` or `as-is`.
    pub order: &'static str,
    /// How many of the hardest-hit keys are named.
    pub top: usize,
    /// Whether it is told what would have denied nobody.
    pub suggest: bool,
    /// Where the requests of one coarse stamp are placed.
    pub spread: Spread,
    /// Whether keys are hashes of what they were.
    pub anonymise: bool,
}

/// What there was to replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// What a request is.
    pub unit: Unit,
    /// Requests replayed.
    pub requests: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// The earliest time, in nanoseconds since the Unix epoch.
    pub first: Option<i64>,
    /// The latest time.
    pub last: Option<i64>,
    /// Lines whose time was before one of an earlier line.
    pub late: u64,
    /// The most by which one was.
    pub latest_by: Duration,
    /// Whether the numbers are of part of the traffic: an input is cut off, or too many lines are bad.
    pub is_partial: bool,
}

/// All there is to tell.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What was asked of the tool.
    pub parameters: Parameters,
    /// What there was to replay.
    pub traffic: Traffic,
    /// What each input turned out to be: its format, how finely it is stamped.
    pub inputs: &'a [InputFacts],
    /// What must be read with the numbers: what was assumed, and what was lost. Each is a sentence.
    pub notices: &'a [String],
    /// The names of the keys.
    pub keys: &'a Keys,
    /// What each limit would have done.
    pub outcomes: &'a [Outcome],
    /// The chosen limit as configuration, if that was asked.
    pub configuration: Option<&'a str>,
}

/// A time with a fraction of as many digits as it takes, as that is what `%.f` writes.
pub(crate) fn rfc3339(ns: i64) -> String {
    words::time(ns, "%FT%T%.fZ")
}

#[cfg(test)]
mod tests;
