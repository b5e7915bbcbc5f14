//! Parses log lines that are not plain Common or Combined: the text before the stamp, and other orders of the fields.

use memchr::{memchr, memchr_iter, memmem};

use super::prefix;
use crate::address;
use crate::bad::BadLine;
use crate::proxies;
use crate::stamp::{StampError, Stamps};

/// Maximum number of brackets that are searched for the stamp.
const BRACKETS: usize = 8;

/// A line split into fields, with its stamp unparsed.
#[derive(Debug, Clone, Copy)]
pub(super) struct SplitLine<'a> {
    pub(super) client: &'a [u8],
    pub(super) forwarded: Option<&'a [u8]>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) stamp: &'a [u8],
    pub(super) request: &'a [u8],
    pub(super) status: &'a [u8],
    pub(super) tail: &'a [u8],
}

/// Splits a line in any order that servers are known to write: an entry has a stamp in brackets, a client before the stamp, and a request in quotes
/// after it. If the log has virtual hosts, the first of two addresses is such a host.
pub(super) fn split<'a>(line: &'a [u8], stamps: &mut Stamps, has_hosts: bool) -> Result<SplitLine<'a>, BadLine> {
    let line = prefix::without(line);
    let (open, close) = stamp(line, 0, stamps)?;
    let found = client(&line[..open], has_hosts).or_else(|| client_after(&line[..open], &line[close + 1..]));
    let (client, forwarded, host) = found.ok_or(BadLine::NotALogLine)?;
    let (request, status, tail) = request(&line[close + 1..]).ok_or(BadLine::NotALogLine)?;
    Ok(SplitLine {
        client,
        forwarded,
        host,
        stamp: &line[open + 1..close],
        request,
        status,
        tail,
    })
}

/// Finds the brackets of the first stamp from `from` on.
fn stamp(line: &[u8], from: usize, stamps: &mut Stamps) -> Result<(usize, usize), BadLine> {
    let mut reason = BadLine::NotALogLine;
    for open in memchr_iter(b'[', &line[from..]).take(BRACKETS).map(|at| at + from) {
        let Some(len) = memchr(b']', &line[open..]) else { break };
        let text = &line[open + 1..open + len];
        // A stamp begins with a digit or a letter and contains a colon; only a few bracketed names do as well.
        if !(16..=48).contains(&text.len()) || !text[0].is_ascii_alphanumeric() || !text.contains(&b':') {
            continue;
        }
        match stamps.parse(text) {
            Ok(_) => return Ok((open, open + len)),
            Err(StampError::UnknownForm | StampError::OtherForm) => {}
            Err(wrong) => reason = wrong.into(),
        }
    }
    Err(reason)
}

/// A client, the list of forwarded addresses, and the virtual host before the client.
type Client<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>);

/// Finds the client among the names before the stamp: the first address, or otherwise the first name that is no virtual host.
fn client(head: &[u8], has_hosts: bool) -> Option<Client<'_>> {
    let names = Names::of(head);
    let names = names.all();
    let first = *names.first()?;
    let is_client = |name: &&[u8]| address::parse(name).is_some() || is_list(name);
    let at = match names.iter().position(is_client) {
        // The virtual host may itself be an address: then it has a port that servers listen on.
        Some(0) if (has_hosts || is_served(first)) && names.get(1).is_some_and(is_client) => 1,
        Some(at) => at,
        // No address: clients are names, and a virtual host with a port is not a client.
        None if names.len() > 1 && has_port(first) => 1,
        None => 0,
    };
    let host = (at == 1).then_some(first);
    let name = unquoted(names.get(at)?);
    // Text that a program puts before a copied line, such as a date, a label or a tag, is not the name of a client.
    // Nor are several fields of a table. nginx writes `unix:` for a client of a socket.
    let is_name = |name: &[u8]| {
        !name.is_empty()
            && (!name.ends_with(b":") || name == b"unix:")
            && !name.ends_with(b"=")
            && !name.iter().any(|byte| b";|".contains(byte))
            && !is_tag(name)
    };
    let is_date = |name: &[u8]| {
        name.len() > 7
            && name
                .iter()
                .all(|byte| byte.is_ascii_digit() || b"-/:.,TZ\"".contains(byte))
    };
    // Several words before the stamp are the text of a program, unless the first is an address or a domain, or a dash follows. Before the dash may be a
    // virtual host.
    let is_of_text = || {
        let has_dash = names.iter().skip(at + 1).take(2).any(|next| *next == b"-");
        names.len() > at + 3 && !has_dash && !name.iter().any(|byte| b".:".contains(byte))
    };
    if !is_name(name) || (is_date(name) || is_of_text()) && !is_client(&name) {
        return None;
    }
    if memchr(b',', name).is_some() {
        // The client is the leftmost; a proxy that does not know the client writes a word instead.
        let mut entries = name.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let client = entries.clone().find(|entry| address::parse(entry).is_some());
        return Some((
            client.or_else(|| entries.find(|entry| !entry.is_empty()))?,
            Some(name),
            host,
        ));
    }
    Some((name, None, host))
}

/// Returns whether a name is a tag in brackets, such as `[BACKEND]`, and no address.
fn is_tag(name: &[u8]) -> bool {
    name.starts_with(b"[") && name.ends_with(b"]") && address::parse(name).is_none()
}

/// Finds the client after a stamp that begins its line, or that only tags precede: an address, directly after the stamp as in Apache's
/// `ssl_request_log`, or after the virtual host.
fn client_after<'a>(before: &[u8], rest: &'a [u8]) -> Option<Client<'a>> {
    let words = |text: &'a [u8]| text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut after = words(rest);
    let (first, second) = (after.next()?, after.next());
    let is_address = |word: &&[u8]| address::parse(word).is_some();
    if !before
        .split(u8::is_ascii_whitespace)
        .all(|word| word.is_empty() || is_tag(word))
    {
        return None;
    }
    if is_address(&first) {
        return Some((first, None, None));
    }
    // A status or another word may stand before the address of an upstream server.
    let is_domain = || {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:".contains(byte);
        first.contains(&b'.') && first.iter().all(is_part) && first.iter().any(u8::is_ascii_alphabetic)
    };
    let is_host = matches!(first, b"-" | b"_") || first.starts_with(b"localhost") || is_domain();
    Some((second.filter(is_address).filter(|_| is_host)?, None, Some(first)))
}

/// Returns whether this is a list of forwarded addresses.
pub(super) fn is_list(text: &[u8]) -> bool {
    let mut entries = unquoted(text).split(|&byte| byte == b',').map(proxies::node);
    entries.clone().any(|entry| address::parse(entry).is_some())
        && entries.all(|entry| matches!(entry, b"unknown" | b"-") || address::parse(entry).is_some())
}

/// Returns a field without the quotes around it, and without blanks within these.
pub(super) fn unquoted(field: &[u8]) -> &[u8] {
    let bare = field.strip_prefix(b"\"").and_then(|bare| bare.strip_suffix(b"\""));
    bare.unwrap_or(field).trim_ascii()
}

fn port(name: &[u8]) -> Option<u16> {
    let at = memchr::memrchr(b':', name)?;
    std::str::from_utf8(&name[at + 1..]).ok()?.parse().ok()
}

fn has_port(name: &[u8]) -> bool {
    memchr(b'.', name).is_some() && port(name).is_some() || name.starts_with(b"localhost:")
}

/// Returns whether this is an address with a port that servers listen on, and that clients do not use.
fn is_served(name: &[u8]) -> bool {
    let is_with_port = memchr_iter(b':', name).count() == 1 || name.starts_with(b"[");
    is_with_port && port(name).is_some_and(|port| port < 1024 || matches!(port, 8000 | 8080 | 8081 | 8443 | 8888))
}

/// Maximum number of names that are split before a stamp.
const NAMES: usize = 12;

/// The names before a stamp.
struct Names<'a> {
    names: [&'a [u8]; NAMES],
    count: usize,
}

impl<'a> Names<'a> {
    fn of(head: &'a [u8]) -> Self {
        let mut names = Self {
            names: [&[]; NAMES],
            count: 0,
        };
        let mut at = 0;
        while names.count < NAMES {
            at += head[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if at >= head.len() {
                break;
            }
            let start = at;
            loop {
                at += word_len(&head[at..]);
                // A comma continues a list of addresses.
                let blanks = head[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if head[at - 1] != b',' || at + blanks >= head.len() {
                    break;
                }
                at += blanks;
            }
            names.names[names.count] = &head[start..at];
            names.count += 1;
        }
        names
    }

    fn all(&self) -> &[&'a [u8]] {
        &self.names[..self.count]
    }
}

/// Returns the length of the word that begins here, at least one byte: up to the next blank, or up to the closing quote.
fn word_len(text: &[u8]) -> usize {
    let quoted = text.strip_prefix(b"\"").and_then(|rest| memchr(b'"', rest));
    let end = quoted.map_or_else(|| text.iter().position(u8::is_ascii_whitespace), |at| Some(at + 2));
    end.unwrap_or(text.len()).max(1)
}

/// Splits the text after the stamp into the request, the status and everything after.
fn request(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let open = memchr(b'"', rest)?;
    let text = &rest[open + 1..];
    // Usually the request is the first quoted field, directly followed by the status.
    for quote in memchr_iter(b'"', text) {
        // The request may contain a quote, but not the end of one field and the start of the next.
        if text[..quote].ends_with(b"\" ") {
            break;
        }
        if let Some((status, tail)) = status(&text[quote + 1..]) {
            return Some((&text[..quote], status, tail));
        }
    }
    // Otherwise, the first quoted field that is a request, with the status before it or anywhere after.
    let mut from = 0;
    while let Some(open) = memchr(b'"', &rest[from..]).map(|at| from + at) {
        let close = open + 1 + closing(&rest[open + 1..])?;
        let request = &rest[open + 1..close];
        let method = memchr(b' ', request).map_or(&[][..], |at| &request[..at]);
        if !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) {
            let is_status = |word: &&[u8]| {
                word.len() == 3 && (b'1'..=b'5').contains(&word[0]) && word.iter().all(u8::is_ascii_digit)
            };
            let before = rest[..open].split(u8::is_ascii_whitespace).find(is_status);
            let status = before.or_else(|| rest[close + 1..].split(u8::is_ascii_whitespace).find(is_status));
            return Some((request, status.unwrap_or(b"-"), &rest[close + 1..]));
        }
        from = close + 1;
    }
    None
}

/// Finds the quote that closes a field: the first that is not escaped.
fn closing(text: &[u8]) -> Option<usize> {
    let is_escaped = |at: usize| text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
    memchr_iter(b'"', text).find(|&at| !is_escaped(at))
}

/// Returns the status and the text after the bytes, if this begins with ` status bytes`. Either may be `-`, and the bytes may be missing.
fn status(tail: &[u8]) -> Option<(&[u8], &[u8])> {
    let words = tail.trim_ascii_start();
    if words.len() == tail.len() {
        return None;
    }
    let end = words.iter().position(u8::is_ascii_whitespace).unwrap_or(words.len());
    let (status, rest) = words.split_at(end);
    let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    if !(status == b"-" || status.len() == 3 && is_number(status)) {
        return None;
    }
    let more = rest.trim_ascii_start();
    let end = more.iter().position(u8::is_ascii_whitespace).unwrap_or(more.len());
    let bytes = &more[..end];
    if bytes == b"-" || is_number(bytes) {
        Some((status, &more[end..]))
    } else {
        // A dash alone could be any field.
        (status != b"-").then_some((status, rest))
    }
}

/// Returns the length of the first entry, if a line has two entries, or a fragment and an entry. Otherwise returns the length of the line.
pub(super) fn entry_len(line: &[u8], stamps: &mut Stamps) -> usize {
    let mut from = 0;
    let prefix = line.len() - prefix::without(line).len();
    while let Ok((open, close)) = stamp(line, from, stamps) {
        let start = start_of_entry(line, open);
        // The quote before a client is a part of its entry.
        let is_piece = |text: &[u8]| text != b"\"" && (memchr(b'[', text).is_some() || memchr(b'"', text).is_some());
        if start > prefix && is_piece(&line[prefix..start]) && memmem::find(&line[close..], b"] \"").is_some() {
            return start;
        }
        from = close + 1;
    }
    line.len()
}

/// Finds the start of the entry whose stamp opens at `open`: the nearest address before the stamp. The address may follow the end of another entry
/// without a blank.
fn start_of_entry(line: &[u8], open: usize) -> usize {
    let mut end = open;
    for _ in 0..6 {
        let head = line[..end].trim_ascii_end();
        let start = memchr::memrchr(b' ', head).map_or(0, |at| at + 1);
        let word = &head[start..];
        let from = word.len().saturating_sub(50);
        if let Some(at) = (from..word.len()).find(|&at| is_client_from(word, at)) {
            return start + at;
        }
        end = start;
        if start == 0 {
            break;
        }
    }
    // Without an address, nothing is known about the start except that it has three names.
    0
}

fn is_client_from(word: &[u8], at: usize) -> bool {
    matches!(word[at], b'0'..=b'9' | b'[' | b':' | b'a'..=b'f' | b'A'..=b'F') && address::parse(&word[at..]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<[String; 4]> {
        let fields = split(line.as_bytes(), &mut Stamps::default(), false).ok()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some([
            text(fields.client),
            text(fields.host.unwrap_or_default()),
            text(fields.request),
            text(fields.status),
        ])
    }

    #[test]
    fn heads_of_all_kinds_have_a_client() {
        const END: &str = "[20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5";
        let table = [
            ("203.0.113.7 - -", "203.0.113.7", ""),
            ("\"203.0.113.7\" - -", "203.0.113.7", ""),
            ("203.0.113.7  -   -  ", "203.0.113.7", ""),
            ("203.0.113.7 - jo doe", "203.0.113.7", ""),
            ("203.0.113.7 - jo doe the third", "203.0.113.7", ""),
            ("203.0.113.7:50000 - -", "203.0.113.7:50000", ""),
            ("[2001:db8::1]:50000 - -", "[2001:db8::1]:50000", ""),
            ("203.0.113.7, 10.0.0.1 - -", "203.0.113.7", ""),
            ("203.0.113.7,10.0.0.1 - -", "203.0.113.7", ""),
            ("unknown, 203.0.113.7, 10.0.0.1 - -", "203.0.113.7", ""),
            ("\"203.0.113.7, 10.0.0.1\" - -", "203.0.113.7", ""),
            ("\"-\" 203.0.113.7 - -", "203.0.113.7", "\"-\""),
            ("- 203.0.113.7 - -", "203.0.113.7", "-"),
            ("www.example.org 203.0.113.7 - -", "203.0.113.7", "www.example.org"),
            (
                "www.example.org:443 203.0.113.7 - -",
                "203.0.113.7",
                "www.example.org:443",
            ),
            ("198.51.100.1:443 203.0.113.7 - -", "203.0.113.7", "198.51.100.1:443"),
            (
                "www.example.org:443 client.example.net - -",
                "client.example.net",
                "www.example.org:443",
            ),
            ("client.example.net - -", "client.example.net", ""),
            ("203.0.113.7 - - www.example.org", "203.0.113.7", ""),
            ("203.0.113.7 - www.example.org www.example.org -", "203.0.113.7", ""),
            ("203.0.113.7 - [203.0.113.7] - -", "203.0.113.7", ""),
            ("203.0.113.7", "203.0.113.7", ""),
            ("unix: - -", "unix:", ""),
            ("May 20 00:00:18 web1 nginx: 203.0.113.7 - -", "203.0.113.7", ""),
            (
                "May  2 00:00:18 10.0.0.5 nginx[812]: 203.0.113.7 - -",
                "203.0.113.7",
                "",
            ),
            ("<190>May 20 00:00:18 web1 nginx: 203.0.113.7 - -", "203.0.113.7", ""),
            ("<190>May 20 00:00:18 nginx: 203.0.113.7 - -", "203.0.113.7", ""),
            (
                "2024-05-20T00:00:18.123456+00:00 10.0.0.5 nginx: 203.0.113.7 - -",
                "203.0.113.7",
                "",
            ),
            (
                "<165>1 2024-05-20T00:00:18Z 10.0.0.5 nginx 812 - - 203.0.113.7 - -",
                "203.0.113.7",
                "",
            ),
            (
                "2024-05-20T00:00:18.123456789Z stdout F 203.0.113.7 - -",
                "203.0.113.7",
                "",
            ),
            ("2024-05-20T00:00:18.123456789Z 203.0.113.7 - -", "203.0.113.7", ""),
            ("web-1  | 203.0.113.7 - -", "203.0.113.7", ""),
            (
                "web-1  | 2024-05-20T00:00:18.123456789Z 203.0.113.7 - -",
                "203.0.113.7",
                "",
            ),
            ("[pod/web-6d4b75cb6d-hx2lq/nginx] 203.0.113.7 - -", "203.0.113.7", ""),
        ];
        for (head, client, host) in table {
            let [found, at, request, status] = parts(&format!("{head} {END}")).unwrap_or_else(|| panic!("{head}"));
            assert_eq!((found.as_str(), at.as_str()), (client, host), "{head}");
            assert_eq!(
                (request.as_str(), status.as_str()),
                ("GET /a HTTP/1.1", "200"),
                "{head}"
            );
        }
    }

    #[test]
    fn requests_and_statuses_are_found_in_any_order() {
        const HEAD: &str = "203.0.113.7 - -";
        let table = [
            (
                "[20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" - 154 \"-\" \"x\"",
                "GET /a HTTP/1.1",
                "-",
            ),
            (
                "[20/May/2024:00:00:18 +0000]  \"GET /a HTTP/1.1\"  200  5",
                "GET /a HTTP/1.1",
                "200",
            ),
            (
                "[20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200",
                "GET /a HTTP/1.1",
                "200",
            ),
            (
                "[20/May/2024:00:00:18 +0000] 0.005 \"GET /a HTTP/1.1\" 200 5",
                "GET /a HTTP/1.1",
                "200",
            ),
            (
                "[20/May/2024:00:00:18 +0000] 200 \"GET /a HTTP/1.1\" \"x\"",
                "GET /a HTTP/1.1",
                "200",
            ),
            (
                "[20/May/2024:00:00:18 +0000] www.example.org \"GET /a HTTP/1.1\" \"-\" 404",
                "GET /a HTTP/1.1",
                "404",
            ),
            (
                "[2024-05-20T00:00:18+00:00] \"GET /a HTTP/1.1\" 200 5",
                "GET /a HTTP/1.1",
                "200",
            ),
            (
                "[20/May/2024:00:00:18.483 +0000] \"GET /a\\\"b HTTP/1.1\" 200 5",
                "GET /a\\\"b HTTP/1.1",
                "200",
            ),
        ];
        for (rest, request, status) in table {
            let [_, _, found, code] = parts(&format!("{HEAD} {rest}")).unwrap_or_else(|| panic!("{rest}"));
            assert_eq!((found.as_str(), code.as_str()), (request, status), "{rest}");
        }
    }

    #[test]
    fn lines_of_other_formats_are_none() {
        for line in [
            "",
            "2024/05/20 00:00:18 [error] 8#8: *1 open() \"/a\" failed, client: 203.0.113.7, request: \"GET /a HTTP/1.1\"",
            "[Mon May 20 00:00:18.123456 2024] [core:error] [pid 1] [client 203.0.113.7:1] AH00126: Invalid URI",
            "[2024-05-20T00:00:18.123Z] \"GET /a HTTP/1.1\" 200 - 0 5 1 1 \"-\" \"curl\"",
            "May 20 00:00:18 web1 sshd[1]: Failed password for root from 203.0.113.7 port 22",
            "203.0.113.7 - - [20/May/2024:00:00:18 +0000]",
            "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /a",
            "203.0.113.7;-;[20/May/2024:00:00:18 +0000];\"GET /a HTTP/1.1\";200;5",
            "203.0.113.7|[20/May/2024:00:00:18 +0000]|\"GET /a HTTP/1.1\"|200",
            "[20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 203.0.113.7 200 5",
            "[20/May/2024:00:00:18 +0000] 200 10.0.0.5:8080 203.0.113.7 \"GET /a HTTP/1.1\" 5",
            "[20/May/2024:00:00:18 +0000] upstream 10.0.0.5 \"GET /a HTTP/1.1\" 200 5",
            "[20/May/2024:00:00:18 +0000] 0.002 10.0.0.5 \"GET /a HTTP/1.1\" 200 5",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    #[test]
    fn entries_on_one_line_are_separated() {
        let entry = |client: &str| format!("{client} - - [20/May/2024:00:00:18 +0000] \"GET /a HTTP/1.1\" 200 5");
        let (one, two) = (entry("203.0.113.7"), entry("198.51.100.9"));
        let pieces = [
            one.clone(),
            format!("{one} \"-\" \"Mozilla/5.0 (X11)\""),
            "203.0.113.7 - - [20/May/2024:00:".to_owned(),
            "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET /a HT".to_owned(),
        ];
        let len = |line: &str| entry_len(line.as_bytes(), &mut Stamps::default());
        for piece in &pieces {
            assert_eq!(len(&format!("{piece}{two}")), piece.len(), "{piece}");
        }
        for whole in [
            &one,
            &two,
            &format!("May 20 00:00:18 web1 nginx: {one}"),
            "",
            "what [is] this",
        ] {
            assert_eq!(len(whole), whole.len(), "{whole}");
        }
    }
}
