//! The errors that leave no report.

use std::io;
use std::path::Path;

use ratelimit_meter::algorithms::InconsistentCapacity;

use crate::bad::{BadLine, Quoted};
use crate::by::By;
use crate::model::BadModel;
use crate::text;

/// The reason why there is no report. Each is printed in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No limit is given.
    #[error("no limit to try: give at least one, such as --limit 10/s, or see --demo")]
    NoLimit,
    /// No input is given.
    #[error("nothing to replay: name at least one file, or see --demo")]
    NoInput,
    /// The text of a limit cannot be parsed.
    #[error("--limit `{text}`, {place}: {reason}")]
    BadLimit {
        /// The text as it was given.
        text: String,
        /// The problem with the text.
        reason: ratelimit_meter::ParseQuotaError,
        /// The place of the error: the bad part, or the text after a missing part.
        place: String,
    },
    /// The numbers of a limit do not fit together.
    #[error("--limit `{text}`: {source}")]
    InconsistentLimit {
        /// The text of the limit.
        text: String,
        /// The problem with its numbers.
        source: InconsistentCapacity,
    },
    /// The text of a limit names a limiter of other software, and the rest cannot be parsed.
    #[error("--limit `{text}`: {source}")]
    BadModel {
        /// The text as it was given.
        text: String,
        /// The problem with the text.
        source: BadModel,
    },
    /// A row of a file of limits cannot be parsed.
    #[error("{path}:{line}: {reason}")]
    BadRow {
        /// The file.
        path: String,
        /// The line; the first is 1.
        line: u64,
        /// The problem with the row.
        reason: String,
    },
    /// A file of limits has no rows.
    #[error("{path} has no row of KEY,LIMIT, such as `192.0.2.1,10/s`")]
    NoRows {
        /// The file.
        path: String,
    },
    /// A file has many limits, and configuration is written for one. Or no other software can have the burst of a limit of nginx.
    #[error("--emit cannot write `{limit}`: {reason}")]
    NotEmitted {
        /// The limit.
        limit: String,
        /// The reason, and what to do.
        reason: &'static str,
    },
    /// A store keeps meters of this library only, not a limiter of other software or a file of limits.
    #[cfg(feature = "store")]
    #[error("--store takes limits like 10/s, not `{limit}`")]
    NotStored {
        /// The limit.
        limit: String,
    },
    /// A store cannot keep the numbers of a limit.
    #[cfg(feature = "store")]
    #[error("--store cannot keep `{limit}`: {source}")]
    TooFineForStore {
        /// The limit.
        limit: String,
        /// The error of the quota.
        source: ratelimit_meter_store::InvalidQuota,
    },
    /// The URL of a store is not a URL, or its scheme is unknown.
    #[cfg(feature = "store")]
    #[error("--store: {reason}; expected a URL like redis://127.0.0.1:6379/")]
    BadStore {
        /// The error of the URL.
        reason: String,
    },
    /// A store gave no decision.
    #[cfg(feature = "store")]
    #[error("--store: {source}")]
    Store {
        /// The reason.
        source: ratelimit_meter_store::StoreError,
    },
    /// The chosen limit is not among the limits to try.
    #[error("--chosen `{text}` is none of the limits: {limits}")]
    NotChosen {
        /// The text as it was given.
        text: String,
        /// The limits to try.
        limits: String,
    },
    /// The value of an option is not a time.
    #[error("{option} `{text}` is not a time: expected one such as 2024-05-20, 2024-05-20T12:00:00Z or Unix seconds")]
    BadTime {
        /// The option.
        option: &'static str,
        /// The text as it was given.
        text: String,
    },
    /// The conditions select no request.
    #[error("no request in {names} is selected by --only, --since and --until: leave one out, or ask for other values")]
    NoneSelected {
        /// The inputs.
        names: String,
    },
    /// `--follow` needs exactly one input.
    #[error("--follow takes one input: a file, or - for standard input")]
    FollowsOne,
    /// A file cannot be opened or read.
    #[error("{path}: {source}{}", advice_for(.path, .source))]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file of `--limits` cannot be opened or read.
    #[error("--limits {path}: {source}: {}", advice_for_limits(.source))]
    ReadLimits {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The header has no column of a given name.
    #[error("{path}, read as {format}: there is no {called} `{wanted}`; the {called}s are {columns}{advice}")]
    NoColumn {
        /// The file.
        path: String,
        /// The kind of the names: a column, a field, a group.
        called: &'static str,
        /// The format that the file was taken for.
        format: &'static str,
        /// The missing name.
        wanted: String,
        /// Advice in addition to choosing another name.
        advice: &'static str,
        /// The names in the header.
        columns: String,
    },
    /// The first line of delimited text does not split into fields.
    #[error(
        "{path}: the first line is not a header of delimited text: {reason}; name the columns in it, or read the lines with --regex"
    )]
    NoHeader {
        /// The file.
        path: String,
        /// The cause.
        reason: BadLine,
    },
    /// The header has no column with a usual name for the time.
    #[error(
        "{path}, read as {format}: no {called} has a usual name for the time; the {called}s are {columns}: name one with --time, or two as DATE+TIME"
    )]
    NoTimeColumn {
        /// The file.
        path: String,
        /// The kind of the names: columns, fields, groups.
        called: &'static str,
        /// The format that the file was taken for.
        format: &'static str,
        /// The names in the header.
        columns: String,
    },
    /// An input of this format lacks something that an option asks for.
    #[error("{path} is {what}, to which {option} does not apply: {instead}")]
    NotFor {
        /// The input.
        path: String,
        /// The format of the input.
        what: &'static str,
        /// The option.
        option: &'static str,
        /// The rule that applies, or an alternative.
        instead: &'static str,
    },
    /// Access logs have a meter for each ip and delimited text has one meter for all, and one report cannot have both.
    #[error("{first} and {other}: one is an access log, the other is not; say --by ip or --by all for both")]
    Mixed {
        /// The first input.
        first: String,
        /// The first input that differs from it.
        other: String,
    },
    /// Bytes of packets cannot be added to requests.
    #[error("{first} and {other}: one has packets, the other requests; replay them apart")]
    MixedUnits {
        /// The first input.
        first: String,
        /// The first input that differs from it.
        other: String,
    },
    /// No line of any file gave an event.
    #[error("no line could be read; the first of {count} is {first}; the file was taken for {format}{advice}")]
    AllBad {
        /// The number of lines.
        count: u64,
        /// The first bad line.
        first: Box<Quoted>,
        /// The detected format of the file.
        format: String,
        /// The options that could read it.
        advice: String,
    },
    /// All inputs are empty.
    #[error("no requests in {names}: name an input with requests")]
    NoRequests {
        /// The inputs.
        names: String,
    },
    /// Networks are asked for, but the keys are not addresses.
    #[error("{option} does not apply to --by {by}: say --by ip, host or a column of addresses")]
    NoAddresses {
        /// The option.
        option: &'static str,
        /// The key.
        by: By,
    },
    /// Standard input is named more than once.
    #[error("standard input (-) can be read only once: name it once, and files for the rest")]
    StdinTwice,
    /// A file has changed since it was first read.
    #[error("{path}: the file changed while it was read; replay a copy, or say --order as-is")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file was read once, on the assumption that it is like its beginning: in order, with stamps of the same resolution. It is not, so it has to be
    /// read in advance.
    #[error("{path}: the file is not in the order of time, or has stamps of several resolutions; say --order as-is")]
    NotAsAssumed {
        /// The file.
        path: String,
    },
    /// A capture is cut off.
    #[error("{path}: the capture is cut off within {place}: copy or capture it again")]
    CutOff {
        /// The file.
        path: String,
        /// The place where it ends.
        place: String,
    },
    /// A packet states an impossible size.
    #[error("{path}: the capture is broken within packet {number}: copy or capture it again")]
    BrokenPacket {
        /// The file.
        path: String,
        /// The number of the packet; the first is 1.
        number: u64,
    },
    /// The capture was taken from an interface with an unsupported link type.
    #[error(
        "{path} is a packet capture of link type {link}, which is not read (only Ethernet, Linux cooked, raw IP, loopback and PPP): tshark -r FILE -T fields -E header=y -e frame.time_epoch -e ip.src -e frame.len | meter-replay --time frame.time_epoch --key ip.src ... -"
    )]
    Link {
        /// The file.
        path: String,
        /// The number of the link type.
        link: u32,
    },
    /// The capture has an unsupported dialect.
    #[error(
        "{path} is a packet capture with the magic number of the modified format; rewrite it with: editcap -F pcap OLD NEW"
    )]
    ModifiedCapture {
        /// The file.
        path: String,
    },
    /// The file has a format that is not read.
    #[error("{path} is not read, since it is {what}: {instead}")]
    Foreign {
        /// The file.
        path: String,
        /// The format.
        what: &'static str,
        /// A command that makes the file readable, or another file to name.
        instead: &'static str,
    },
    /// The packed data of an input is damaged, and the part before the damage cannot be used.
    #[error("{error}; {damage}")]
    Damaged {
        /// The reason why the undamaged part cannot be used.
        error: Box<Error>,
        /// The damage.
        damage: String,
    },
    /// The file is neither text nor a known binary format.
    #[error("{path} is neither text nor a known binary format: name a log, a table or a capture")]
    Noise {
        /// The file.
        path: String,
    },
    /// The file is a table whose first line has values, not names.
    #[error("{path} is a table without a header: {command}")]
    NoNames {
        /// The file.
        path: String,
        /// The command that puts a header before it, and reads it.
        command: String,
    },
    /// The file is a JSON document, not JSON lines.
    #[error("{path} is a JSON document, not one JSON object a line: jq -c '{filter}' FILE | meter-replay ... -")]
    NotJson {
        /// The file.
        path: String,
        /// The filter of `jq` that extracts its records.
        filter: String,
    },
    /// The file is a JSON list of objects, not JSON lines.
    #[error("{path} is a list in JSON, not one JSON object a line: jq -c '.[]' FILE | meter-replay ... -")]
    JsonList {
        /// The file.
        path: String,
    },
    /// A pattern for splitting lines is invalid, or lacks a required group.
    #[error("{option} `{text}`: {reason}")]
    BadPattern {
        /// The option.
        option: &'static str,
        /// The value of the option.
        text: String,
        /// The problem with the value.
        reason: String,
    },
    /// Requests are to be moved to their start, and no field has their duration.
    #[error(
        "{path}: --time-is end needs the duration of each request: name its column with --duration, like --duration took:ms"
    )]
    NoDuration {
        /// The file.
        path: String,
    },
    /// Requests of an access log are to be moved to their start, and its lines do not end with their duration.
    #[error(
        "{path} is an access log whose lines do not end with how long requests took, which --time-is end needs: if the last field is not in seconds, like 0.005, say its unit with --duration last:us (s, ms, us or ns)"
    )]
    NoLastDuration {
        /// The file.
        path: String,
    },
    /// The unit of a duration is unknown.
    #[error("{path}: the unit of `{column}` is not known: say --duration {column}:s, ms, us or ns")]
    NoDurationUnit {
        /// The file.
        path: String,
        /// The column.
        column: String,
    },
    /// There are more keys than allowed.
    #[error(
        "met {} keys, and --keys allows {}: raise --keys, or group keys by a coarser --by or, for addresses, by --ipv4-prefix and --ipv6-prefix",
        text::grouped(u64::from(*.most) + 1),
        text::grouped(.most)
    )]
    TooManyKeys {
        /// The maximum number of keys.
        most: u32,
    },
    /// The meter of one key would have to measure a longer time than a meter can.
    #[error("the traffic of `{key}` spans more than 10 years in which {limit} is never idle: replay it in parts")]
    SpanTooLong {
        /// The key.
        key: String,
        /// The limit.
        limit: String,
    },
    /// In the given order, the times of one key are farther apart than a meter can measure.
    #[error("the traffic of `{key}` reaches more than 10 years before or after its first request: say --order sort")]
    TooFarApart {
        /// The key.
        key: String,
    },
    /// A file cannot be written.
    #[error("writing {path}: {source}{}", advice_for_output(.source))]
    WriteFile {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// An input is named more than once, so its lines would count more than once.
    #[error("{path} is named twice, so its lines would count twice: name it once")]
    CountedTwice {
        /// The file.
        path: String,
    },
    /// An output would overwrite an input or another output.
    #[error("{path} is named twice, and it would be overwritten: name another output")]
    Overwritten {
        /// The file.
        path: String,
    },
    /// The name of an output is that of another kind of file.
    #[error("{option} writes {form}: name it like {better}, and convert that file, or open it in a browser")]
    OtherForm {
        /// The option.
        option: &'static str,
        /// The kind of file that it writes.
        form: &'static str,
        /// The same name with the usual ending.
        better: String,
    },
    /// The report cannot be written.
    #[error("writing the report: {0}")]
    Write(io::Error),
}

/// The number of the error of a process with too many open files, on Linux, macOS and the BSDs. `io::ErrorKind` has no name for it.
const TOO_MANY_OPEN: i32 = 24;

/// The advice for an input that is a folder.
const FOLDER: &str = ": name its files, as in FOLDER/*.log";

/// Returns the advice for an input that cannot be opened or read.
fn advice_for(path: &str, source: &io::Error) -> &'static str {
    match source.kind() {
        // A word of a limit, which the shell took for a file.
        io::ErrorKind::NotFound if matches!(path, "burst" | "every" | "weight") => {
            ": put a limit of several words in quotes, as in --limit \"10/s burst 20\""
        }
        io::ErrorKind::NotFound
            if path == "nodelay"
                || path.starts_with("burst=")
                || path.starts_with("delay=")
                || path.starts_with("rate=") =>
        {
            ": put a limit of several words in quotes, as in --limit \"nginx:10r/s burst=20 nodelay\""
        }
        io::ErrorKind::NotFound => ": name a file, or - for standard input",
        io::ErrorKind::IsADirectory => FOLDER,
        // Windows opens no folder.
        io::ErrorKind::PermissionDenied if cfg!(windows) && Path::new(path).is_dir() => FOLDER,
        io::ErrorKind::PermissionDenied => ": read it with the rights for it, as in sudo cat FILE | meter-replay ... -",
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ": copy it again, or unpack its readable part to a pipe, and name -"
        }
        _ if cfg!(unix) && source.raw_os_error() == Some(TOO_MANY_OPEN) => {
            ": raise the limit with ulimit -n, or join the files: cat FILES | meter-replay ... -"
        }
        _ => "",
    }
}

/// Returns the advice for a file of limits that cannot be opened or read.
fn advice_for_limits(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "copy it to a file that you may read, as in sudo cat FILE > COPY",
        _ => "name a file of KEY,LIMIT lines, in UTF-8",
    }
}

/// Returns the advice for an output that cannot be written.
fn advice_for_output(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => ": create its folder, or name a file in another",
        io::ErrorKind::IsADirectory => ": name a file in it",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ": name a file in a folder where you may write"
        }
        io::ErrorKind::InvalidInput => ": name a file; /dev/stdout is standard output",
        _ => "",
    }
}

impl Error {
    /// Returns whether the input has nothing to read yet, and can be read on later.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_limits_have_advice() {
        let advice = |kind: io::ErrorKind| {
            let path = "plans.csv".to_owned();
            let source = kind.into();
            Error::ReadLimits { path, source }.to_string()
        };
        assert!(
            advice(io::ErrorKind::PermissionDenied)
                .ends_with("copy it to a file that you may read, as in sudo cat FILE > COPY")
        );
        assert!(advice(io::ErrorKind::NotFound).ends_with("name a file of KEY,LIMIT lines, in UTF-8"));
    }
}
