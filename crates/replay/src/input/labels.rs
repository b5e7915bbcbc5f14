//! Reads lines of labelled values: LTSV (`label:value`, separated by tabs), TSKV (the same with `=`) and logfmt (`label=value`, separated by blanks).
//!
//! Both may stand behind a collector's prefix. If no label of a logfmt line is a time, the stamp in the prefix is, as in Heroku's router log.

use memchr::{memchr, memchr2, memmem, memrchr};

use super::columns::{Columns, HeaderSample};
use super::names;
use super::{BYTE_ORDER_MARK, Options, Request, advice, prefix};
use crate::bad::BadLine;
use crate::by::By;
use crate::stamp::Stamps;
use crate::{Error, address};

/// The way in which values are labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Ltsv,
    /// As LTSV, but with an equals sign.
    Tskv,
    Logfmt,
}

impl Syntax {
    fn name(self) -> &'static str {
        match self {
            Self::Ltsv => "labelled values (LTSV)",
            Self::Tskv => "labelled values (TSKV)",
            Self::Logfmt => "labelled values (logfmt)",
        }
    }
}

/// The name given to the stamp before the first label.
const PREFIX_TIME: &[u8] = b"time";

/// Lines of labelled values.
#[derive(Debug)]
pub(super) struct LabelLines {
    syntax: Syntax,
    names: Vec<Vec<u8>>,
    columns: Columns,
    /// The labels that are read, each with its place among the names.
    wanted: Vec<(Vec<u8>, usize)>,
    /// The place of the stamp before the first label, if it is read.
    stamp: Option<usize>,
    /// The position of each value in the line.
    spans: Vec<Option<(usize, usize)>>,
}

/// Detects labelled lines: most lines consist mostly of labels.
///
/// # Errors
///
/// A name that is asked for is not among the labels.
pub(super) fn detect(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<LabelLines>, Error> {
    let first = &head[..head.len().min(20)];
    let is_most = |syntax: Syntax| first.iter().filter(|line| is_labelled(line, syntax)).count() * 2 > first.len();
    let Some(syntax) = [Syntax::Ltsv, Syntax::Tskv, Syntax::Logfmt]
        .into_iter()
        .find(|syntax| is_most(*syntax))
    else {
        return Ok(None);
    };
    let mut names: Vec<Vec<u8>> = Vec::new();
    let lines: Vec<&[u8]> = head
        .iter()
        .take(100)
        .copied()
        .filter(|line| is_labelled(line, syntax))
        .collect();
    for (label, _) in lines.iter().flat_map(|line| Pairs::new(line, syntax)) {
        if !names.iter().any(|name| name == label) && names.len() < 1_000 {
            names.push(label.to_vec());
        }
    }
    let mut stamps = Stamps::new(options.stamps.clone());
    let mut is_time = |label: &[u8], value: &[u8]| {
        names::place_of_any(&[label], names::TIME).is_some() && stamps.parse(value).is_ok()
    };
    let has_time = lines
        .iter()
        .any(|line| Pairs::new(line, syntax).any(|(label, (start, end))| is_time(label, &line[start..end])));
    let is_stamped = !has_time && lines.iter().any(|line| prefix_stamp(line, syntax).is_some());
    let stamp = is_stamped.then_some(names.len());
    if is_stamped {
        names.push(PREFIX_TIME.to_vec());
    }
    let sample = |line: &&[u8]| {
        let mut values = vec![Vec::new(); names.len()];
        for (label, (start, end)) in Pairs::new(line, syntax) {
            if let Some(at) = names.iter().position(|name| name == label) {
                values[at] = line[start..end].to_vec();
            }
        }
        if let (Some(at), Some((start, end))) = (stamp, prefix_stamp(line, syntax)) {
            values[at] = line[start..end].to_vec();
        }
        values
    };
    let samples: Vec<Vec<Vec<u8>>> = lines.iter().map(sample).collect();
    let header = HeaderSample {
        input,
        called: "label",
        format: syntax.name(),
        names: &names,
        samples: &samples,
        default: &By::Ip,
    };
    let columns = match Columns::find(&header, options) {
        // The advice for lines of no known format is better.
        Err(Error::NoTimeColumn { .. }) if advice::finds_clients(&lines, &options.stamps) => return Ok(None),
        Err(Error::NoColumn { .. })
            if options.by.is_none() && !has_address(&samples) && advice::finds_clients(&lines, &options.stamps) =>
        {
            return Ok(None);
        }
        found => found?,
    };
    let wanted = names
        .iter()
        .cloned()
        .zip(0..)
        .filter(|&(_, at)| columns.uses(at) && Some(at) != stamp);
    Ok(Some(LabelLines {
        syntax,
        wanted: wanted.collect(),
        stamp: stamp.filter(|&at| columns.uses(at)),
        spans: vec![None; names.len()],
        names,
        columns,
    }))
}

/// Returns whether the value of any label is an address.
fn has_address(samples: &[Vec<Vec<u8>>]) -> bool {
    samples.iter().flatten().any(|value| address::parse(value).is_some())
}

/// Returns whether a line consists mostly of labels.
fn is_labelled(line: &[u8], syntax: Syntax) -> bool {
    let mut pairs = Pairs::new(line, syntax);
    let labels = pairs.by_ref().count();
    match syntax {
        Syntax::Ltsv => labels >= 2 && labels == line.split(|&byte| byte == b'\t').count(),
        Syntax::Tskv => {
            let fields = || without_tskv(line).split(|&byte| byte == b'\t');
            // Labels with blanks between are of logfmt.
            let has_label = |word: &[u8]| memchr(b'=', word).is_some_and(|equals| is_label(&word[..equals]));
            let has_one = |field: &[u8]| field.split(|&byte| byte == b' ').filter(|word| has_label(word)).count() == 1;
            labels >= 2 && labels == fields().count() && fields().all(has_one)
        }
        // A collector's prefix has no quotes, but an access log with labels at its end does.
        Syntax::Logfmt => {
            let prefix = line.len() - prefix::without(line).len();
            let is_prefix = pairs
                .first
                .is_some_and(|first| first <= prefix || memchr(b'"', &line[prefix..first]).is_none());
            labels >= 3 && labels > pairs.others && is_prefix
        }
    }
}

impl LabelLines {
    pub(super) fn by(&self) -> &By {
        self.columns.by()
    }

    pub(super) fn format(&self) -> &'static str {
        self.syntax.name()
    }

    pub(super) fn request<'a>(&'a mut self, line: &'a [u8]) -> Result<Request<'a>, BadLine> {
        let Self {
            syntax,
            columns,
            wanted,
            stamp,
            spans,
            ..
        } = self;
        spans.iter_mut().for_each(|span| *span = None);
        let mut has_label = false;
        for (label, span) in Pairs::new(line, *syntax) {
            has_label = true;
            if let Some((_, at)) = wanted.iter().find(|(name, _)| name == label) {
                // Of a repeated label, the first value counts.
                spans[*at].get_or_insert(span);
            }
        }
        if !has_label {
            return Err(BadLine::NoLabels);
        }
        if let Some(at) = *stamp {
            spans[at] = prefix_stamp(line, *syntax);
        }
        columns.request(|at| spans.get(at).copied().flatten().map(|(start, end)| &line[start..end]))
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        self.columns.notices(&self.names, input)
    }
}

/// The labels of a line, each with the position of its value. A quoted value is without its quotes; escapes in it stay.
struct Pairs<'a> {
    line: &'a [u8],
    at: usize,
    syntax: Syntax,
    /// The position of the first label.
    first: Option<usize>,
    /// Number of words without a label after the first label; a quoted value is one word.
    others: usize,
    /// True for CEF and LEEF, in which values have blanks: each value ends before the next label.
    has_blanks: bool,
}

impl<'a> Pairs<'a> {
    fn new(line: &'a [u8], syntax: Syntax) -> Self {
        Self {
            line,
            at: 0,
            syntax,
            first: None,
            others: 0,
            has_blanks: syntax == Syntax::Logfmt && has_event_header(line),
        }
    }

    fn next_of_tabs(&mut self, mark: u8) -> Option<(&'a [u8], (usize, usize))> {
        while self.at < self.line.len() {
            let end = memchr(b'\t', &self.line[self.at..]).map_or(self.line.len(), |len| self.at + len);
            let mut start = self.at;
            self.at = end + 1;
            if self.first.is_none() {
                start = after_prefix(self.line, start, end, mark);
                self.first = Some(start);
            }
            let colon = memchr(mark, &self.line[start..end]).map(|len| start + len);
            if let Some(colon) = colon.filter(|&colon| is_label(&self.line[start..colon])) {
                return Some((&self.line[start..colon], bare(self.line, colon + 1, end)));
            }
        }
        None
    }

    fn next_logfmt(&mut self) -> Option<(&'a [u8], (usize, usize))> {
        loop {
            self.at += self.line[self.at..]
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            if self.at >= self.line.len() {
                return None;
            }
            if self.line[self.at..].starts_with(BYTE_ORDER_MARK) {
                self.at += BYTE_ORDER_MARK.len();
                continue;
            }
            let mut start = self.at;
            let mut word = self.line[start..]
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(self.line.len() - start);
            // The header of CEF ends with a bar.
            if self.first.is_none() {
                let equals = memchr(b'=', &self.line[start..start + word]).unwrap_or(0);
                let header = memrchr(b'|', &self.line[start..start + equals]).map_or(0, |bar| bar + 1);
                (start, word) = (start + header, word - header);
            }
            let rest = &self.line[start..];
            let equals = memchr(b'=', &rest[..word]).filter(|&len| is_label(&rest[..len]));
            let Some(equals) = equals else {
                self.others += usize::from(self.first.is_some());
                self.at = start + word;
                continue;
            };
            self.first.get_or_insert(start);
            let value = start + equals + 1;
            let quoted = quoted_len(&self.line[value..]);
            let to_label = || self.has_blanks.then(|| len_to_label(&self.line[value..]));
            self.at = value + quoted.or_else(to_label).unwrap_or(word - equals - 1);
            return Some((&rest[..equals], bare(self.line, value, self.at)));
        }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], (usize, usize));

    fn next(&mut self) -> Option<Self::Item> {
        match self.syntax {
            Syntax::Ltsv => self.next_of_tabs(b':'),
            Syntax::Tskv => self.next_of_tabs(b'='),
            Syntax::Logfmt => self.next_logfmt(),
        }
    }
}

/// Returns whether a line has the header of CEF or LEEF: `CEF:0|`, `LEEF:1.0|`.
fn has_event_header(line: &[u8]) -> bool {
    memmem::find(line, b"EF:").is_some_and(|at| {
        let version = line[at + 3..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
        line.get(at + 3 + version.count()) == Some(&b'|')
    })
}

/// Returns the length of a value that ends before the next label.
fn len_to_label(text: &[u8]) -> usize {
    let mut end = 0;
    for word in text.split(u8::is_ascii_whitespace) {
        if end > 0 && memchr(b'=', word).is_some_and(|equals| is_label(&word[..equals])) {
            break;
        }
        end += word.len() + 1;
    }
    text[..(end.max(1) - 1).min(text.len())].trim_ascii_end().len()
}

fn is_label(text: &[u8]) -> bool {
    text.first()
        .is_some_and(|first| first.is_ascii_alphabetic() || matches!(first, b'_' | b'@'))
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-@/[]".contains(byte))
}

/// Returns a line without the word that some programs begin lines of TSKV with.
fn without_tskv(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"tskv\t").unwrap_or(line)
}

/// Returns the start of the first label between `start` and `end`: the first word that has a label and a value.
fn after_prefix(line: &[u8], start: usize, end: usize, mark: u8) -> usize {
    let mut at = start;
    for word in line[start..end].split(u8::is_ascii_whitespace) {
        let bare = word.strip_prefix(BYTE_ORDER_MARK).unwrap_or(word);
        let is_first = memchr(mark, bare).is_some_and(|colon| colon + 1 < bare.len() && is_label(&bare[..colon]));
        if is_first {
            return at + word.len() - bare.len();
        }
        at += word.len() + 1;
    }
    start
}

/// Returns the length of a value in quotes or brackets, with these.
fn quoted_len(value: &[u8]) -> Option<usize> {
    match value.first()? {
        b'[' => memchr(b']', value).map(|at| at + 1),
        b'"' => {
            let mut at = 1;
            loop {
                at += memchr2(b'"', b'\\', &value[at..])?;
                if value[at] == b'"' {
                    return Some(at + 1);
                }
                at += 2;
                if at > value.len() {
                    return None;
                }
            }
        }
        _ => None,
    }
}

/// Returns the position of a value without its quotes or brackets.
fn bare(line: &[u8], start: usize, end: usize) -> (usize, usize) {
    match (line[start..end].first(), line[start..end].last()) {
        (Some(b'"'), Some(b'"')) | (Some(b'['), Some(b']')) if end - start > 1 => (start + 1, end - 1),
        _ => (start, end),
    }
}

/// Returns the position of a stamp like `2024-05-20T00:00:18Z` before the first label.
fn prefix_stamp(line: &[u8], syntax: Syntax) -> Option<(usize, usize)> {
    let (_, (value, _)) = Pairs::new(line, syntax).next()?;
    prefix::stamp(&line[..value])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str, syntax: Syntax) -> Vec<(&str, &str)> {
        let label = |label| std::str::from_utf8(label).expect("UTF-8");
        let pairs = Pairs::new(line.as_bytes(), syntax);
        pairs
            .map(|(name, (start, end))| (label(name), &line[start..end]))
            .collect()
    }

    #[test]
    fn labels_of_ltsv_are_separated_by_tabs() {
        let line = "time:[20/May/2024:00:00:18 +0000]\thost:203.0.113.7\treq:GET /a HTTP/1.1\tua:\tx";
        let expected = [
            ("time", "20/May/2024:00:00:18 +0000"),
            ("host", "203.0.113.7"),
            ("req", "GET /a HTTP/1.1"),
            ("ua", ""),
        ];
        assert_eq!(pairs(line, Syntax::Ltsv), expected);
        let line = format!("<190>May 20 00:00:18 web1 nginx: {line}");
        assert_eq!(pairs(&line, Syntax::Ltsv), expected);
        assert!(
            !is_labelled(line.as_bytes(), Syntax::Ltsv),
            "its last field has no label"
        );
        assert!(is_labelled(b"time:1\thost:a", Syntax::Ltsv));
        assert!(!is_labelled(b"time:1", Syntax::Ltsv) && !is_labelled(b"12:30\t12:40", Syntax::Ltsv));
    }

    #[test]
    fn labels_of_tskv_are_separated_by_tabs() {
        let line = "tskv\tts=2024-05-20 00:00:18\tip=203.0.113.7\treq=GET /a?b=c HTTP/1.1\tua=";
        let expected = [
            ("ts", "2024-05-20 00:00:18"),
            ("ip", "203.0.113.7"),
            ("req", "GET /a?b=c HTTP/1.1"),
            ("ua", ""),
        ];
        assert_eq!(pairs(line, Syntax::Tskv), expected);
        assert!(is_labelled(line.as_bytes(), Syntax::Tskv));
        for other in ["a=b c=d\te=f", "a=b\tc", "a=b", "tskv\ta=b"] {
            assert!(!is_labelled(other.as_bytes(), Syntax::Tskv), "{other}");
        }
    }

    #[test]
    fn labels_of_logfmt_are_separated_by_blanks() {
        let line = r#"ts=2024-05-20T00:00:18Z msg="a \"b\" c=d" debug client=203.0.113.7:50000 open="x y"#;
        let expected = [
            ("ts", "2024-05-20T00:00:18Z"),
            ("msg", r#"a \"b\" c=d"#),
            ("client", "203.0.113.7:50000"),
            ("open", "\"x"),
        ];
        assert_eq!(pairs(line, Syntax::Logfmt), expected);
        assert!(is_labelled(line.as_bytes(), Syntax::Logfmt));
        assert_eq!(
            pairs("t=[20/May/2024:00:00:18 +0000] a=\"\\", Syntax::Logfmt)[0].1,
            "20/May/2024:00:00:18 +0000"
        );
        let values = "src=203.0.113.7 rt=May 20 2024 00:00:18 msg= request=/a?b=c";
        let expected = [
            ("src", "203.0.113.7"),
            ("rt", "May 20 2024 00:00:18"),
            ("msg", ""),
            ("request", "/a?b=c"),
        ];
        for header in [
            "CEF:0|V|WAF|1|1|a b|3|",
            "LEEF:1.0|V|P|1|a b|",
            "May 20 00:00:18 fw CEF:1|V|W|1|1|a|3|",
        ] {
            let event = format!("{header}{values}");
            assert_eq!(pairs(&event, Syntax::Logfmt), expected, "{event}");
            assert!(is_labelled(event.as_bytes(), Syntax::Logfmt), "{event}");
        }
        for other in [
            "203.0.113.7 - - [20/May/2024:00:00:18 +0000] \"GET / HTTP/1.1\" 200 5 rt=0.1 uct=0.2 urt=0.3",
            "GET /?a=b&c=d",
            "a=b c=d",
        ] {
            assert!(!is_labelled(other.as_bytes(), Syntax::Logfmt), "{other}");
        }
    }

    #[test]
    fn stamp_of_a_prefix_is_found_before_labels() {
        for (line, stamp) in [
            (
                "2024-05-20T00:00:18.1+00:00 heroku[router]: at=info a=b",
                Some("2024-05-20T00:00:18.1+00:00"),
            ),
            (
                "83 <40>1 2024-05-20T00:00:18Z host heroku router - at=info",
                Some("2024-05-20T00:00:18Z"),
            ),
            (
                "I, [2024-05-20T00:00:18.123456 #812]  INFO -- : method=GET",
                Some("2024-05-20T00:00:18.123456"),
            ),
            ("May 20 00:00:18 web1 kernel: SRC=203.0.113.7", Some("May 20 00:00:18")),
            ("at=2024-05-20T00:00:18Z", None),
        ] {
            let found = prefix_stamp(line.as_bytes(), Syntax::Logfmt).map(|(start, end)| &line[start..end]);
            assert_eq!(found, stamp, "{line}");
        }
    }
}
