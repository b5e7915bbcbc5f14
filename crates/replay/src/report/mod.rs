//! Writes reports: for a terminal, for programs, and as pictures.
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
use crate::limit::AlgorithmName;
use crate::replay::Outcome;
use crate::trace::{InputFacts, Unit};

/// The parameters of the run.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// The command line, quoted for a shell.
    pub command: String,
    /// The files, as they were named.
    pub inputs: Vec<String>,
    /// The algorithm of the meters.
    pub algorithm: AlgorithmName,
    /// The key, as `--by` takes it; `None` if all requests share one meter.
    pub by: Option<String>,
    /// The column of stamps, if one was named.
    pub time: Option<String>,
    /// The source of the cells that a request asks for, such as a column; `None` if each asks for one.
    pub cost: Option<String>,
    /// The number of bits of an IPv6 address that make a key, if addresses are keys.
    pub ipv6_prefix: Option<u8>,
    /// The same of an IPv4 address.
    pub ipv4_prefix: Option<u8>,
    /// The maximum number of keys.
    pub most_keys: u32,
    /// The order of the events: `sort` or `as-is`.
    pub order: &'static str,
    /// The number of most denied keys to name.
    pub top: usize,
    /// True if the limits that would have denied nothing were computed.
    pub suggest: bool,
    /// The placement of requests with one coarse stamp.
    pub spread: Spread,
    /// True if keys are hashes of their names.
    pub anonymise: bool,
}

/// The traffic that was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// The unit of traffic.
    pub unit: Unit,
    /// Requests replayed.
    pub requests: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// The earliest time, in nanoseconds since the Unix epoch.
    pub first: Option<i64>,
    /// The latest time.
    pub last: Option<i64>,
    /// Lines with a time before that of an earlier line.
    pub late: u64,
    /// The largest step back.
    pub latest_by: Duration,
    /// True if the numbers cover only part of the traffic: an input is cut off, or too many lines are bad.
    pub is_partial: bool,
}

/// All results of a run.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The parameters of the run.
    pub parameters: Parameters,
    /// The traffic that was replayed.
    pub traffic: Traffic,
    /// The detected properties of each input: its format and its resolution.
    pub inputs: &'a [InputFacts],
    /// Notices to read with the numbers: assumptions made and data lost. Each is a sentence.
    pub notices: &'a [String],
    /// The names of the keys.
    pub keys: &'a Keys,
    /// The outcome of each limit.
    pub outcomes: &'a [Outcome],
    /// The chosen limit as configuration, if requested.
    pub configuration: Option<&'a str>,
}

/// Formats a time with as many digits of a fraction as needed, like `%.f`.
pub(crate) fn rfc3339(ns: i64) -> String {
    words::time(ns, "%FT%T%.fZ")
}

#[cfg(test)]
mod tests;
