//! What can be wrong with what was asked of the tool.

use std::io;

use ratelimit_meter::algorithms::InconsistentCapacity;

use crate::input::Quoted;

/// Why there is no report. Each is told in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no limit to replay the traffic through.
    #[error("no limit to try: give at least one, such as --limit 10/s, or see --demo")]
    NoLimit,
    /// There is no traffic to replay.
    #[error("nothing to replay: name at least one file, or see --demo")]
    NoInput,
    /// The text of a limit is not one.
    #[error("--limit `{text}`, {place}: {reason}")]
    BadLimit {
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        reason: ratelimit_meter::ParseQuotaError,
        /// Where: at the bad part of it, or before what stands behind something missing.
        place: String,
    },
    /// The numbers of a limit do not go together.
    #[error("--limit `{text}`: {source}")]
    InconsistentLimit {
        /// The text of the limit.
        text: String,
        /// What is wrong with its numbers.
        source: InconsistentCapacity,
    },
    /// A file cannot be opened or read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The header has no column of a name that was given.
    #[error("{path}: there is no column `{wanted}`; the columns are {columns}")]
    NoColumn {
        /// The file.
        path: String,
        /// The name.
        wanted: String,
        /// The names there are.
        columns: String,
    },
    /// The header has no column of a usual name for the time.
    #[error("{path}: no column has a usual name for the time; the columns are {columns}: name one with --time")]
    NoTimeColumn {
        /// The file.
        path: String,
        /// The names there are.
        columns: String,
    },
    /// An option asks for a column of an access log.
    #[error("{path} is an access log, to which {option} does not apply: {instead}")]
    NotForLogs {
        /// The file.
        path: String,
        /// The option.
        option: &'static str,
        /// What holds or helps instead.
        instead: &'static str,
    },
    /// Access logs go by ip and delimited text by nothing, and one report cannot have both.
    #[error("{first} and {other}: one is an access log, the other is not; say --by ip or --by all for both")]
    Mixed {
        /// The first file.
        first: String,
        /// The first that is not like it.
        other: String,
    },
    /// No line of any file gave an event.
    #[error("no line could be read; the first of {count} is {first}")]
    AllBad {
        /// How many there are.
        count: u64,
        /// The first of them.
        first: Quoted,
    },
    /// More keys than there are numbers for them.
    #[error("more than 2^32 keys")]
    TooManyKeys,
    /// The meter of one key would have to measure a longer time than a meter can.
    #[error("the traffic of `{key}` spans more than 20 years in which {limit} never comes to rest: replay it in parts")]
    SpanTooLong {
        /// The key.
        key: String,
        /// The limit.
        limit: ratelimit_meter::Quota,
    },
    /// The report cannot be written.
    #[error("writing the report: {0}")]
    Write(io::Error),
}
