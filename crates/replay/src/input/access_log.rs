//! Parses lines of access logs: Common and Combined Log Format and their variants.
//!
//! Nearly all lines are `client ident user [stamp] "request" status bytes ...`, and are split in one pass. All other lines go to `head`, which
//! accepts any order of fields that servers are known to write.

use memchr::{memchr, memchr_iter, memchr2, memmem};

use super::duration::{Took, started};
use super::head::{self, SplitLine};
use super::keying::{Keying, Value};
use super::request_line::method;
pub use super::request_line::path;
use super::{Options, Request, TimeIs};
use crate::bad::BadLine;
use crate::by::By;
use crate::select::{Condition, Select};
use crate::stamp::{Resolution, StampOptions, Stamps};

/// The parts of a log line that a meter or its key may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The client: an address, with a port or quotes as written, or a name.
    pub client: &'a [u8],
    /// The list of forwarded addresses, if the line has one instead of the client.
    pub forwarded: Option<&'a [u8]>,
    /// The virtual host, if the line begins with one.
    pub host: Option<&'a [u8]>,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The request line, as `GET /path HTTP/1.1`.
    pub request: &'a [u8],
    /// The three digits of the status; `-` if there was none.
    pub status: &'a [u8],
    /// Everything after the number of bytes.
    pub tail: &'a [u8],
}

/// Reads the lines of a log.
#[derive(Debug, Clone, Default)]
pub struct LogLines {
    stamps: Stamps,
    unquoted: Vec<u8>,
    /// True if lines begin with the virtual host. Then the host may be an address without a port, as clients that scan networks send it.
    has_hosts: bool,
}

impl LogLines {
    /// Creates a parser that reads stamps with these options.
    #[must_use]
    pub fn new(stamps: StampOptions) -> Self {
        Self {
            stamps: Stamps::new(stamps),
            unquoted: Vec::new(),
            has_hosts: false,
        }
    }

    /// Parses `client ident user [stamp] "request" status bytes`, followed by nothing (Common), by a quoted referer and user agent (Combined), or by
    /// other fields that servers append.
    ///
    /// These variants are accepted:
    ///
    /// - a prefix of syslog, the journal or a container, or a virtual host, before the line
    /// - a client that is quoted, has a port, or is a list of forwarded addresses
    /// - more names before the stamp
    /// - the whole line in quotes, with the inner quotes doubled, escaped with `\`, or unchanged
    ///
    /// # Errors
    ///
    /// [`BadLine`] with the reason.
    #[inline]
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<LogLine<'a>, BadLine> {
        match split_exact(line) {
            Some(fields) => log_line(&mut self.stamps, fields),
            None => self.parse_other(line),
        }
    }

    fn parse_other<'a>(&'a mut self, line: &'a [u8]) -> Result<LogLine<'a>, BadLine> {
        let Self {
            stamps,
            unquoted,
            has_hosts,
        } = self;
        let fields = match split(line).filter(|_| !*has_hosts) {
            Some(fields) => fields,
            None => split_other(line, stamps, unquoted, *has_hosts)?,
        };
        log_line(stamps, fields)
    }

    /// Returns the length of the first entry, if a crash or an interleaved write left two on one line.
    pub(super) fn entry_len(&mut self, line: &[u8]) -> usize {
        head::entry_len(line, &mut self.stamps)
    }
}

#[inline]
fn log_line<'a>(stamps: &mut Stamps, fields: SplitLine<'a>) -> Result<LogLine<'a>, BadLine> {
    Ok(LogLine {
        client: fields.client,
        forwarded: fields.forwarded,
        host: fields.host,
        time: stamps.parse(fields.stamp)?,
        request: fields.request,
        status: fields.status,
        tail: fields.tail,
    })
}

#[cold]
fn split_other<'a>(
    line: &'a [u8],
    stamps: &mut Stamps,
    unquoted: &'a mut Vec<u8>,
    has_hosts: bool,
) -> Result<SplitLine<'a>, BadLine> {
    // The whole line is quoted if the first quote is closed only after the bracket of the stamp.
    let is_quoted =
        line.first() == Some(&b'"') && memchr2(b'"', b'[', &line[1..]).is_none_or(|at| line[1 + at] == b'[');
    if is_quoted {
        unquote(line, stamps, unquoted).ok_or(BadLine::NotALogLine)
    } else {
        head::split(line, stamps, has_hosts)
    }
}

/// Returns whether a line is plain Common or Combined, or begins like one.
pub(super) fn is_plain(line: &[u8]) -> bool {
    split(line).is_some()
}

/// The length of `20/May/2024:00:00:18 +0000`.
const STAMP: usize = 26;

/// The bytes of addresses without brackets, ports and zones.
const IN_ADDRESS: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        bytes[byte as usize] = byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
        byte += 1;
    }
    bytes
};

/// Splits a line that is exactly Common or Combined: an address, no names, and either no more fields or two without quotes in them.
///
/// Such a line is a single entry. Nearly all lines are such lines, and each of their bytes is looked at once.
#[inline]
fn split_exact(line: &[u8]) -> Option<SplitLine<'_>> {
    let len = line.iter().position(|&byte| !IN_ADDRESS[usize::from(byte)])?;
    let (client, rest) = line.split_at(len);
    let rest = rest.strip_prefix(b" - - [").filter(|_| len >= 2)?;
    let (stamp, rest) = rest.split_at_checked(STAMP)?;
    let rest = rest.strip_prefix(b"] \"")?;
    let (request, rest) = rest.split_at(memchr(b'"', rest)?);
    let (status, rest) = rest.strip_prefix(b"\" ")?.split_at_checked(3)?;
    let rest = rest.strip_prefix(b" ").filter(|_| is_number(status))?;
    let bytes = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
    let (bytes, tail) = rest.split_at(bytes);
    if !(is_number(bytes) || bytes == b"-") {
        return None;
    }
    if !tail.is_empty() {
        let referer = tail.strip_prefix(b" \"")?;
        let agent = referer[memchr(b'"', referer)?..].strip_prefix(b"\" \"")?;
        if memchr(b'"', agent)? + 1 < agent.len() {
            return None;
        }
    }
    Some(SplitLine {
        client,
        forwarded: None,
        host: None,
        stamp,
        request,
        status,
        tail,
    })
}

fn is_number(field: &[u8]) -> bool {
    !field.is_empty() && field.iter().all(u8::is_ascii_digit)
}

/// Splits a line whose client is an address, with two names between the client and the stamp.
#[inline]
fn split(line: &[u8]) -> Option<SplitLine<'_>> {
    let space = memchr(b' ', line)?;
    let (client, rest) = (&line[..space], &line[space + 1..]);
    // If the client is a name, a list, or quoted, `head` has to split the line.
    if client.len() < 2 || !client.iter().all(|byte| IN_ADDRESS[usize::from(*byte)]) {
        return None;
    }
    let rest = match rest.strip_prefix(b"- - [") {
        Some(rest) => rest,
        None => {
            let bracket = memchr_iter(b'[', rest).find(|&at| at > 0 && rest[at - 1] == b' ')?;
            if memchr_iter(b' ', &rest[..bracket - 1]).count() != 1 {
                return None;
            }
            &rest[bracket + 1..]
        }
    };
    // Nearly all stamps have this length.
    let end = match rest.get(STAMP..STAMP + 3) {
        Some(b"] \"") => STAMP,
        _ => memmem::find(rest, b"] \"")?,
    };
    let (stamp, rest) = (&rest[..end], &rest[end + 3..]);
    // Old servers do not escape quotes within a request: any quote before a status may end the request.
    memchr_iter(b'"', rest).find_map(|quote| {
        let (status, tail) = status(rest.get(quote + 1..)?.strip_prefix(b" ")?)?;
        Some(SplitLine {
            client,
            forwarded: None,
            host: None,
            stamp,
            request: &rest[..quote],
            status,
            tail,
        })
    })
}

/// Returns the status and everything after the bytes, if this is `status bytes`, alone or followed by more fields.
fn status(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    let (status, rest) = tail.split_at_checked(3)?;
    let rest = rest.strip_prefix(b" ")?;
    let end = memchr(b' ', rest).unwrap_or(rest.len());
    let (bytes, more) = rest.split_at(end);
    if !(is_number(status) && (is_number(bytes) || bytes == b"-")) {
        return None;
    }
    let quotes = memchr_iter(b'"', more).count();
    let whole = quotes >= 4 || quotes % 2 == 0;
    whole.then_some((status, more))
}

/// Returns whether every run of quotes has an even length.
fn is_doubled(text: &[u8]) -> bool {
    let mut runs = text.chunk_by(|one, next| (*one == b'"') == (*next == b'"'));
    runs.all(|run| run.first() != Some(&b'"') || run.len() % 2 == 0)
}

/// Splits a line that is quoted as a whole. Tries each way of unquoting, and prefers a plain log line.
fn unquote<'a>(line: &[u8], stamps: &mut Stamps, unquoted: &'a mut Vec<u8>) -> Option<SplitLine<'a>> {
    let inner = line.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_line = |text: &[u8], is_plain: bool, stamps: &mut Stamps| match is_plain {
        true => split(text).is_some(),
        false => head::split(text, stamps, false).is_ok(),
    };
    let all = [Some(b'"'), Some(b'\\'), None];
    // If all quotes come in pairs, each stands for one.
    let ways = if is_doubled(inner) { &all[..1] } else { &all };
    let ways = [true, false]
        .into_iter()
        .flat_map(|is_plain| ways.iter().map(move |way| (is_plain, *way)));
    for (is_plain, way) in ways {
        unquoted.clear();
        let mut bytes = inner.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = bytes.next_if(|&next| Some(byte) == way && (next == b'"' || next == byte));
            unquoted.push(escaped.unwrap_or(byte));
        }
        if is_line(unquoted, is_plain, stamps) {
            break;
        }
    }
    split(unquoted).or_else(|| head::split(unquoted, stamps, false).ok())
}

/// Reads requests of an access log.
#[derive(Debug)]
pub(super) struct AccessLines {
    lines: LogLines,
    keying: Keying,
    select: Select,
    /// The unit of the duration in the last field, if requests are moved to their start.
    took: Option<Option<Took>>,
    has_durations: bool,
}

impl AccessLines {
    /// Creates a reader for a log that begins with these lines.
    pub(super) fn new(options: &Options, head: &[&[u8]]) -> Self {
        let mut lines = LogLines::new(options.stamps.clone());
        let unit = options.duration.as_deref().and_then(|text| text.rsplit_once(':'));
        let unit = unit.and_then(|(_, unit)| Took::named(unit));
        let (mut all, mut timed, mut timed_by_nginx, mut hosted) = (0, 0, 0, 0);
        for text in head.iter().take(200) {
            if let Ok(line) = lines.parse(text) {
                let is_timed = duration(line.tail, unit).is_some();
                all += 1;
                timed += usize::from(is_timed);
                timed_by_nginx += usize::from(is_timed && !has_dated_stamp(text));
                hosted += usize::from(line.host.is_some_and(|host| host.iter().any(u8::is_ascii_alphabetic)));
            }
        }
        lines.has_hosts = hosted * 2 > all;
        let took = match options.time_is {
            TimeIs::Start => None,
            TimeIs::End => Some(unit),
            TimeIs::Auto if options.duration.is_some() => Some(unit),
            TimeIs::Auto => (timed_by_nginx > 0 && timed_by_nginx * 10 >= all * 9).then_some(None),
        };
        // A log has no columns; the message states this once a file turns out to be a log.
        let compares_column = options.select.only.iter().any(Condition::is_of_column);
        let select = (!compares_column).then(|| options.select.clone());
        Self {
            lines,
            keying: Keying::new(options.by.clone().unwrap_or(By::Ip), options),
            select: select.unwrap_or_default(),
            took,
            has_durations: timed > 0,
        }
    }

    /// Returns whether requests are to be moved to their start.
    pub(super) fn moves_requests(&self) -> bool {
        self.took.is_some()
    }

    /// Returns whether requests are to be moved by their duration, and no line has one.
    pub(super) fn lacks_durations(&self) -> bool {
        self.took.is_some() && !self.has_durations
    }

    pub(super) fn by(&self) -> &By {
        self.keying.by()
    }

    /// Reads a line, and returns an error if it has two entries.
    #[inline]
    pub(super) fn request_of_one<'a>(&'a mut self, text: &'a [u8]) -> Result<Request<'a>, BadLine> {
        match split_exact(text) {
            Some(fields) => {
                let line = log_line(&mut self.lines.stamps, fields)?;
                request(line, self.took, &self.select, &mut self.keying)
            }
            None if may_be_two(text) && self.entry_len(text) < text.len() => Err(BadLine::NotALogLine),
            None => self.request(text),
        }
    }

    pub(super) fn request<'a>(&'a mut self, text: &'a [u8]) -> Result<Request<'a>, BadLine> {
        request(self.lines.parse(text)?, self.took, &self.select, &mut self.keying)
    }

    pub(super) fn entry_len(&mut self, line: &[u8]) -> usize {
        self.lines.entry_len(line)
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        let mut notices = Vec::new();
        if self.took.is_some() {
            notices.push(format!(
                "{input}: requests are moved back to their start by the duration at the end of each line (--time-is start leaves them)"
            ));
        }
        notices.extend(super::assumptions(&self.lines.stamps, false, &self.keying));
        notices
    }
}

/// Returns whether a line has a stamp like `[2024-05-20 00:00:18 +0000]`, which nginx cannot write. Granian does, with a duration in milliseconds.
fn has_dated_stamp(line: &[u8]) -> bool {
    memchr_iter(b'[', line).any(|at| line.get(at + 5) == Some(&b'-') && line.get(at + 11) == Some(&b' '))
}

/// Returns the request of a line, moved to its start by its duration in the unit `took` if that is given.
#[inline]
fn request<'a>(
    line: LogLine<'a>,
    took: Option<Option<Took>>,
    select: &Select,
    keying: &'a mut Keying,
) -> Result<Request<'a>, BadLine> {
    let mut time = line.time;
    if let Some(unit) = took {
        time = started(time, duration(line.tail, unit).unwrap_or(0), resolution(time));
    }
    let text_of = |part: &By| match part {
        By::Ip | By::Column(_) => Some(line.client),
        By::Host => Some(line.host.unwrap_or(line.client)),
        By::Path => Some(path(line.request)),
        By::Status => Some(line.status),
        By::Method => Some(method(line.request)),
        By::Xff | By::All | By::Each(_) => None,
    };
    let list_and_peer = || match line.forwarded {
        Some(list) => (list, None),
        None => (forwarded(line.tail), Some(line.client)),
    };
    let compared = |part: &By| match part {
        By::Xff => {
            let (list, peer) = list_and_peer();
            keying.client(list, peer)
        }
        part => text_of(part),
    };
    if !(select.has_time(time) && select.has(|_, part| compared(part))) {
        return Ok(Request::unselected(time));
    }
    let key = keying.key(|_, part| {
        Some(match part {
            By::Xff => {
                let (list, peer) = list_and_peer();
                Value::Forwarded(list, peer)
            }
            part => Value::Text(text_of(part)?),
        })
    })?;
    Ok(Request {
        time,
        cost: 1,
        key,
        plan: None,
        is_selected: true,
    })
}

/// Returns whether a readable line may contain a second entry.
fn may_be_two(text: &[u8]) -> bool {
    memmem::find(text, b"] \"").is_some_and(|at| memmem::find(&text[at + 3..], b"] \"").is_some())
}

/// Returns the resolution of a log line, as far as its stamp alone shows it.
fn resolution(time: i64) -> Resolution {
    [Resolution::Second, Resolution::Millisecond, Resolution::Microsecond]
        .into_iter()
        .find(|resolution| time % resolution.unit_ns() == 0)
        .unwrap_or_default()
}

/// Returns the duration of a request from the last field: in the given unit, or otherwise as nginx writes `$request_time`, in seconds with three
/// digits after the point. If `$upstream_response_time` is beside it, the longer of the two is the request's.
fn duration(tail: &[u8], unit: Option<Took>) -> Option<i64> {
    let mut longest = None;
    for field in tail.rsplit(|&byte| byte == b' ').take(4) {
        let field = field.rsplit(|&byte| byte == b'=').next().unwrap_or(field);
        let bare = head::unquoted(field);
        if let Some(unit) = unit {
            return unit.ns(bare);
        }
        let is_seconds = bare.split_last_chunk::<4>().is_some_and(|(whole, fraction)| {
            !whole.is_empty() && whole.iter().chain(&fraction[1..]).all(u8::is_ascii_digit) && fraction[0] == b'.'
        });
        match bare {
            bare if is_seconds => longest = longest.max(Took::Seconds.ns(bare)),
            b"-" if longest.is_none() => {}
            _ => break,
        }
    }
    longest
}

/// Returns the list of forwarded addresses: the first quoted field after referer and user agent that is such a list.
fn forwarded(tail: &[u8]) -> &[u8] {
    let mut quotes = memchr_iter(b'"', tail).filter(|&at| at == 0 || tail[at - 1] != b'\\');
    let mut fields = std::iter::from_fn(|| Some((quotes.next()?, quotes.next()?)));
    let list = fields.by_ref().skip(2).map(|(open, close)| &tail[open + 1..close]);
    let mut lists = list.filter(|list| head::is_list(list));
    lists.next().unwrap_or_default()
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
