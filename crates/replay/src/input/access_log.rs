//! Lines of access logs: Common and Combined Log Format.

use memchr::{memchr, memchr_iter};

use crate::bad::BadLine;
use crate::stamp::CommonLogStamps;

/// Of a log line, what a meter or its key may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The first field: the client's address, or its name where the server looks that up.
    pub client: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// What was asked for, as `GET /path HTTP/1.1`.
    pub request: &'a [u8],
    /// The three digits of the answer.
    pub status: &'a [u8],
}

/// Reads the lines of a log.
#[derive(Debug, Clone, Default)]
pub struct LogLines {
    stamps: CommonLogStamps,
    unquoted: Vec<u8>,
}

impl LogLines {
    /// Reads `client ident user [stamp] "request" status bytes`, and after it nothing (Common), a quoted referer and
    /// user agent (Combined), or whatever servers append to these, unread: only its quotes must be even in number
    /// or at least four. The whole line may be in quotes itself, those in it doubled, escaped with `\`, or as they
    /// are.
    ///
    /// # Errors
    ///
    /// [`BadLine`] with the reason.
    #[inline]
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<LogLine<'a>, BadLine> {
        let fields = if line.first() == Some(&b'"') {
            unquote(line, &mut self.unquoted)
        } else {
            split(line)
        };
        let Fields {
            client,
            stamp,
            request,
            status,
        } = fields.ok_or(BadLine::NotALogLine)?;
        let time = self.stamps.parse(stamp)?;
        Ok(LogLine {
            client,
            time,
            request,
            status,
        })
    }
}

/// The path of a request, without its query: `/a b` of `GET /a b?c=d HTTP/1.0`, also where the whole URL is asked for.
/// `-` if there is none, as where somebody speaks TLS to a port for plain HTTP.
#[must_use]
pub fn path(request: &[u8]) -> &[u8] {
    let Some(at) = memchr(b' ', request) else { return b"-" };
    let target = &request[at + 1..];
    let version = target.windows(6).rposition(|window| window == b" HTTP/");
    let target = target[..version.unwrap_or(target.len())].trim_ascii();
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let target = &target[..end.unwrap_or(target.len())];
    let path = match find(target, b"://") {
        Some(at) if !target[..at].contains(&b'/') => {
            let authority = &target[at + 3..];
            memchr(b'/', authority).map_or(&b"/"[..], |slash| &authority[slash..])
        }
        _ => target,
    };
    if path.is_empty() { b"-" } else { path }
}

struct Fields<'a> {
    client: &'a [u8],
    stamp: &'a [u8],
    request: &'a [u8],
    status: &'a [u8],
}

#[inline]
fn split(line: &[u8]) -> Option<Fields<'_>> {
    let space = memchr(b' ', line).filter(|&at| at > 0)?;
    let (client, rest) = (&line[..space], &line[space + 1..]);
    let bracket = memchr_iter(b'[', rest).find(|&at| at > 0 && rest[at - 1] == b' ')?;
    // With one name more, the line begins with a virtual host, and the client is not what comes first.
    if memchr_iter(b' ', &rest[..bracket - 1]).count() != 1 {
        return None;
    }
    let rest = &rest[bracket + 1..];
    let end = find(rest, b"] \"")?;
    let (stamp, rest) = (&rest[..end], &rest[end + 3..]);
    // Old servers write quotes within a request as they are: any quote with a status behind it may be the one that
    // ends it.
    memchr_iter(b'"', rest).find_map(|quote| {
        let status = status(rest.get(quote + 1..)?.strip_prefix(b" ")?)?;
        Some(Fields {
            client,
            stamp,
            request: &rest[..quote],
            status,
        })
    })
}

/// The status, if this is `status bytes`, and nothing or more fields.
fn status(tail: &[u8]) -> Option<&[u8]> {
    let (status, rest) = tail.split_at_checked(3)?;
    let rest = rest.strip_prefix(b" ")?;
    let end = memchr(b' ', rest).unwrap_or(rest.len());
    let (bytes, more) = rest.split_at(end);
    let is_number = |field: &[u8]| !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    let quotes = memchr_iter(b'"', more).take(4).count();
    let whole = is_number(status) && (is_number(bytes) || bytes == b"-") && (quotes == 4 || quotes % 2 == 0);
    whole.then_some(status)
}

/// Splits a line that is in quotes as a whole, in whichever way makes a log line of it.
#[cold]
fn unquote<'a>(line: &[u8], unquoted: &'a mut Vec<u8>) -> Option<Fields<'a>> {
    let inner = line.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    for way in [Some(b'"'), Some(b'\\'), None] {
        unquoted.clear();
        let mut bytes = inner.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = bytes.next_if(|&next| Some(byte) == way && (next == b'"' || next == byte));
            unquoted.push(escaped.unwrap_or(byte));
        }
        if split(unquoted).is_some() {
            break;
        }
    }
    split(unquoted)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, _) = wanted.split_first()?;
    memchr_iter(*first, text).find(|&at| text[at..].starts_with(wanted))
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
