//! What can be wrong with what was asked of the tool.

use std::io;
use std::path::Path;

use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::keyed::InvalidTable;

use crate::bad::{BadLine, Quoted};
use crate::by::By;
use crate::limit::Rule;
use crate::model::BadModel;
use crate::text;

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
    /// The text of a limit names a limiter of other software, and goes on badly.
    #[error("--limit `{text}`: {source}")]
    BadModel {
        /// The text as it was given.
        text: String,
        /// What is wrong with it.
        source: BadModel,
    },
    /// A row of a file of limits is not one.
    #[error("{path}:{line}: {reason}")]
    BadRow {
        /// The file.
        path: String,
        /// The line; the first is 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of limits is empty.
    #[error("{path} has no row of KEY,LIMIT, such as `192.0.2.1,10/s`")]
    NoRows {
        /// The file.
        path: String,
    },
    /// Limits of a file are many, and configuration is for one.
    #[error("--emit takes one limit, and `{limit}` is many: name one of --limit with --chosen")]
    NotEmitted {
        /// The limit.
        limit: String,
    },
    /// The limit that is chosen is none of those to try.
    #[error("--chosen `{text}` is none of the limits: {limits}")]
    NotChosen {
        /// The text as it was given.
        text: String,
        /// The limits to try.
        limits: String,
    },
    /// The time of an option is none.
    #[error("{option} `{text}` is no time: expected one such as 2024-05-20, 2024-05-20T12:00:00Z or Unix seconds")]
    BadTime {
        /// The option.
        option: &'static str,
        /// The text as it was given.
        text: String,
    },
    /// No request is one of those that are asked for.
    #[error("no request in {names} is selected by --only, --since and --until")]
    NoneSelected {
        /// The inputs.
        names: String,
    },
    /// More than one input is to be followed, or none.
    #[error("--follow takes one input: a file, or - for standard input")]
    FollowsOne,
    /// A file cannot be opened or read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The header has no column of a name that was given.
    #[error("{path}: there is no {called} `{wanted}`; the {called}s are {columns}{advice}")]
    NoColumn {
        /// The file.
        path: String,
        /// What it is: a column, a field, a group.
        called: &'static str,
        /// The name.
        wanted: String,
        /// What helps, beside another name.
        advice: &'static str,
        /// The names there are.
        columns: String,
    },
    /// The first line of delimited text does not split into fields.
    #[error("{path}: the first line is no header of delimited text: {reason}")]
    NoHeader {
        /// The file.
        path: String,
        /// Why not.
        reason: BadLine,
    },
    /// The header has no column of a usual name for the time.
    #[error("{path}: no {called} has a usual name for the time; the {called}s are {columns}: name one with --time")]
    NoTimeColumn {
        /// The file.
        path: String,
        /// What the names are of: columns, fields, groups.
        called: &'static str,
        /// The names there are.
        columns: String,
    },
    /// An option asks for what an input of this format has not.
    #[error("{path} is {what}, to which {option} does not apply: {instead}")]
    NotFor {
        /// The input.
        path: String,
        /// What it is.
        what: &'static str,
        /// The option.
        option: &'static str,
        /// What holds or helps instead.
        instead: &'static str,
    },
    /// Access logs go by ip and delimited text by nothing, and one report cannot have both.
    #[error("{first} and {other}: one is an access log, the other is not; say --by ip or --by all for both")]
    Mixed {
        /// The first input.
        first: String,
        /// The first that is not like it.
        other: String,
    },
    /// The bytes of packets and requests do not add up.
    #[error("{first} and {other}: one has packets, the other requests; replay them apart")]
    MixedUnits {
        /// The first input.
        first: String,
        /// The first that is not like it.
        other: String,
    },
    /// No line of any file gave an event.
    #[error("no line could be read; the first of {count} is {first}; the file was taken for {format}{}", .first.advice())]
    AllBad {
        /// How many there are.
        count: u64,
        /// The first of them.
        first: Quoted,
        /// What the file was taken for.
        format: String,
    },
    /// No input has anything in it.
    #[error("no requests in {names}")]
    NoRequests {
        /// The inputs.
        names: String,
    },
    /// Networks are asked for where there are no addresses.
    #[error("--ipv6-prefix does not apply to --by {by}: say --by ip, host or a column of addresses")]
    NoAddresses {
        /// What the keys are.
        by: By,
    },
    /// Standard input is named more than once.
    #[error("standard input (-) can be read only once")]
    StdinTwice,
    /// A file is not what it was when it was looked through.
    #[error("{path}: the file changed while it was read; replay a copy, or say --order as-is")]
    Changed {
        /// The file.
        path: String,
    },
    /// A capture ends where it should go on.
    #[error("{path}: the capture is cut off within {place}")]
    CutOff {
        /// The file.
        path: String,
        /// Where it ends.
        place: String,
    },
    /// A packet cannot be as large as it says.
    #[error("{path}: the capture is broken within packet {number}")]
    BrokenPacket {
        /// The file.
        path: String,
        /// Which packet; the first is 1.
        number: u64,
    },
    /// The capture was taken from an interface whose frames are not known.
    #[error(
        "{path} is a packet capture of link type {link}, which is not read: only Ethernet, Linux cooked, raw IP, loopback and PPP"
    )]
    Link {
        /// The file.
        path: String,
        /// The number of what it was taken from.
        link: u32,
    },
    /// A capture of a dialect that is not read.
    #[error(
        "{path} is a packet capture with the magic number of the modified format; rewrite it with: editcap -F pcap OLD NEW"
    )]
    ModifiedCapture {
        /// The file.
        path: String,
    },
    /// Text in another encoding.
    #[error("{path} is text in UTF-16; convert it with: iconv -f UTF-16 -t UTF-8 OLD > NEW")]
    Utf16 {
        /// The file.
        path: String,
    },
    /// Most lines look like JSON, and none is.
    #[error("{path} looks like JSON lines, but no line is an object: put each on a line with: jq -c . OLD > NEW")]
    NotJson {
        /// The file.
        path: String,
    },
    /// A list of objects, not lines.
    #[error("{path} is a list in JSON, not JSON lines: put each object on a line with: jq -c '.[]' OLD > NEW")]
    JsonList {
        /// The file.
        path: String,
    },
    /// A pattern that takes lines apart is none, or has not what is needed.
    #[error("{option} `{text}`: {reason}")]
    BadPattern {
        /// The option.
        option: &'static str,
        /// What it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Requests are to be moved to their start, and nothing tells how long they took.
    #[error(
        "{path}: --time-is end needs the duration of each request: name its column with --duration, like --duration took:ms"
    )]
    NoDuration {
        /// The file.
        path: String,
    },
    /// Requests of an access log are to be moved to their start, and its lines do not end with how long they took.
    #[error(
        "{path} is an access log whose lines do not end with how long requests took, which --time-is end needs: if that is no number of seconds like 0.005, say its unit with --duration last:us (s, ms, us or ns)"
    )]
    NoLastDuration {
        /// The file.
        path: String,
    },
    /// The unit of a duration is not known.
    #[error("{path}: the unit of `{column}` is not known: say --duration {column}:s, ms, us or ns")]
    NoDurationUnit {
        /// The file.
        path: String,
        /// The column.
        column: String,
    },
    /// More keys than there may be.
    #[error(
        "met {} keys, and --keys allows {}: raise that, or make fewer with a coarser --by or, of IPv6 addresses, with --ipv6-prefix",
        text::grouped(u64::from(*.most) + 1),
        text::grouped(.most)
    )]
    TooManyKeys {
        /// How many there may be.
        most: u32,
    },
    /// The meters of all keys would take more memory than there is.
    #[error(
        "--limit `{limit}`: {source}: replay it in parts, or name what makes fewer keys with --by or --ipv6-prefix"
    )]
    NoTable {
        /// The limit.
        limit: Rule,
        /// What was wanted.
        source: InvalidTable,
    },
    /// The meter of one key would have to measure a longer time than a meter can.
    #[error("the traffic of `{key}` spans more than 10 years in which {limit} never comes to rest: replay it in parts")]
    SpanTooLong {
        /// The key.
        key: String,
        /// The limit.
        limit: Rule,
    },
    /// In the order given, a key's traffic reaches farther than a meter can measure.
    #[error("the traffic of `{key}` reaches more than 10 years before or after its first request: say --order sort")]
    TooFarApart {
        /// The key.
        key: String,
    },
    /// A file cannot be written.
    #[error("writing {path}: {source}")]
    WriteFile {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// An input is named more than once, so that its lines would count as often.
    #[error("{path} is named twice: its lines would count twice")]
    CountedTwice {
        /// The file.
        path: String,
    },
    /// What is to be written would replace what is read, or something else that is written.
    #[error("{path} is named twice: it would be overwritten")]
    Overwritten {
        /// The file.
        path: String,
    },
    /// The report cannot be written.
    #[error("writing the report: {0}")]
    Write(io::Error),
}

impl Error {
    /// Whether reading has nothing to give yet, and can go on later.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn read(path: &str, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write_file(path: &Path, source: io::Error) -> Self {
        Self::WriteFile {
            path: path.display().to_string(),
            source,
        }
    }
}
