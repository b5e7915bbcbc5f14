//! Advises how to read lines that were not read: options that were tried on these lines first.

use memchr::memchr;
use regex::bytes::Regex;

use super::prefix;
use crate::address;
use crate::stamp::{SHARED_LETTERS, StampError, StampOptions, Stamps, TimeFormat};

/// Number of bytes at the beginning of an input from which the advice comes.
pub(super) const HEAD: usize = 1 << 12;

/// Maximum number of lines that are tried.
const LINES: usize = 40;

/// Maximum number of words before and in a stamp.
const WORDS: usize = 12;
const STAMP_WORDS: usize = 6;

/// The advice if nothing better is known.
const GENERAL: &str = "; name its format: --log-format '$remote_addr [$time_local] \"$request\"' as in the server's configuration, or \
                       --regex '(?<time>\\S+) (?<key>\\S+)'";

/// Matches an address of IPv4.
const ADDRESS: &str = r"\b(?:\d{1,3}\.){3}\d{1,3}\b";

/// Matches an address of either kind. A time of day has too few colons.
const EITHER_ADDRESS: &str = r"(?:\b(?:\d{1,3}\.){3}\d{1,3}\b|\b[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){3,7})";

/// Forms of stamps that are rare, or in which the month and the day look alike.
const TIME_FORMATS: [&str; 20] = [
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%y %H:%M:%S",
    "%d/%m/%y %H:%M:%S",
    "%m-%d-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%d.%m.%y %H:%M:%S",
    // The portal of Azure.
    "%m/%d/%Y, %I:%M:%S%.f %p",
    "%m/%d/%y %H:%M:%S%.f",
    // cPanel, Suricata, a firewall of Cisco, MikroTik.
    "%m/%d/%Y:%H:%M:%S %z",
    "%m/%d/%Y-%H:%M:%S%.f",
    "%b/%d/%Y %H:%M:%S",
    // Spark, the servers of Source games, ASSP.
    "%y/%m/%d %H:%M:%S",
    "%m/%d/%Y - %H:%M:%S",
    "%b-%d-%y %H:%M:%S",
    "%m/%d/%y %I:%M:%S %p",
];

/// Returns a regular expression that finds a time, and a client if there is one, in most of the lines.
pub(super) fn regex(head: &[u8], options: &StampOptions) -> String {
    let lines = lines(head);
    let found: Vec<(&[u8], Stamp)> = lines
        .iter()
        .take(5)
        .flat_map(|line| stamps_in(line, options).into_iter().map(|stamp| (*line, stamp)))
        .collect();
    let advised = |is_number: bool| {
        let mut found = found.iter().filter(|(_, stamp)| stamp.is_number == is_number);
        let (regex, more) = found.find_map(|(line, stamp)| regex_of(stamp, line, &lines, options))?;
        let of_part = || part_with_clients(&lines, is_number, options);
        let part = (!more.is_empty())
            .then(of_part)
            .flatten()
            .map_or_else(String::new, |regex| {
                format!("; this reads only its lines with a client: --regex '{regex}' --max-bad 100%")
            });
        Some(format!("; this reads it: --regex '{regex}'{more}{part}"))
    };
    if lines.iter().take(5).any(|line| has_shared_letters(line, options)) {
        return "; its stamps name their zone by letters: name the zone with --tz, such as --tz Asia/Shanghai for CST"
            .to_owned();
    }
    // A number may be anything, so even a rare date comes before it.
    let with_date = advised(false).or_else(|| with_rare_stamps(&lines, options));
    if let Some(advice) = with_date.or_else(|| advised(true)) {
        return advice;
    }
    let has_time = !found.is_empty();
    let part = regex_of_part(&lines, options).map(|(regex, more)| (regex, more.to_owned()));
    if let Some((regex, more)) = part.or_else(|| rare_regex_of_part(&lines, options)) {
        return format!("; this reads its lines with a time: --regex '{regex}'{more} --max-bad 100%");
    }
    if let Some(advice) = without_date(&lines) {
        return advice;
    }
    if has_time {
        GENERAL.to_owned()
    } else {
        "; no time was found in its lines, and a replay needs the time of each request: have it logged; if it is there, name the lines' format with \
         --log-format, or with --regex and --time-format"
            .to_owned()
    }
}

/// Returns the command that puts a date before lines with a time of day only.
fn without_date(lines: &[&[u8]]) -> Option<String> {
    let clock = Regex::new(r"^[^0-9]{0,9}[0-9]{2}:[0-9]{2}:[0-9]{2}").ok()?;
    let count = lines.iter().filter(|line| clock.is_match(line)).count();
    (count * 2 > lines.len()).then(|| {
        "; its lines have a time of day but no date; this puts one before the time, and the tool then advises how to read it: sed -E \
         's/^([^0-9]{0,9})([0-9]{2}:)/\\12024-05-20 \\2/' FILE | meter-replay ... -"
            .to_owned()
    })
}

/// Returns whether an expression finds a time and a client in most of the lines.
pub(super) fn finds_clients(lines: &[&[u8]], options: &StampOptions) -> bool {
    let has_client =
        |line: &&[u8], stamp: Stamp| regex_of(&stamp, line, lines, options).is_some_and(|(_, more)| more.is_empty());
    lines.iter().take(5).any(|line| {
        stamps_in(line, options)
            .into_iter()
            .any(|stamp| has_client(line, stamp))
    })
}

/// Returns an expression for a stamp of `line` that fits most of the lines, and the option for lines without a client.
fn regex_of(stamp: &Stamp, line: &[u8], lines: &[&[u8]], options: &StampOptions) -> Option<(String, &'static str)> {
    let of_address = addresses_of(lines)
        .iter()
        .filter_map(|address| with_client(line, stamp, address));
    let mut all = of_address.map(|regex| (regex, "")).chain([(alone(stamp), " --by all")]);
    all.find(|(regex, _)| fits(regex, lines, options))
}

/// Returns the expression that finds a time and a client in the most lines, if these are at least a quarter of all.
fn part_with_clients(lines: &[&[u8]], is_number: bool, options: &StampOptions) -> Option<String> {
    let of_line = |line| {
        let stamps = stamps_in(line, options)
            .into_iter()
            .filter(move |stamp| stamp.is_number == is_number);
        stamps.flat_map(move |stamp| {
            let addresses = addresses_of(lines).iter();
            addresses
                .filter_map(|address| with_client(line, &stamp, address))
                .collect::<Vec<_>>()
        })
    };
    let found = lines.iter().copied().flat_map(of_line);
    // Of equally good expressions, the first.
    let counted: Vec<_> = found.map(|regex| (count(&regex, lines, options), regex)).collect();
    let (count, regex) = counted.into_iter().rev().max_by_key(|(count, _)| *count)?;
    (count * 4 >= lines.len()).then_some(regex)
}

/// Returns an expression for the lines that begin entries of several lines, such as traces, and the option for lines without a client. At least a fifth
/// of the lines begin an entry.
fn regex_of_part(lines: &[&[u8]], options: &StampOptions) -> Option<(String, &'static str)> {
    let of_line = |line| {
        let found = stamps_in(line, options).into_iter().filter_map(move |stamp| {
            let mut reads = reading(&alone(&stamp), options)?;
            let part: Vec<&[u8]> = lines.iter().copied().filter(|line| reads(line)).collect();
            let read = regex_of(&stamp, line, &part, options)?;
            (part.len() * 5 >= lines.len()).then_some((part.len(), read))
        });
        found.collect::<Vec<_>>()
    };
    // Of equally good expressions, the first.
    let found: Vec<_> = lines.iter().copied().flat_map(of_line).collect();
    found
        .into_iter()
        .rev()
        .max_by_key(|(count, _)| *count)
        .map(|(_, read)| read)
}

/// Returns [`regex_of_part`] and its option for stamps of the first of [`TIME_FORMATS`] that at least a fifth of the lines have.
fn rare_regex_of_part(lines: &[&[u8]], options: &StampOptions) -> Option<(String, String)> {
    TIME_FORMATS.iter().find_map(|format| {
        let (regex, more) = regex_of_part(lines, &with_format(format, options))?;
        Some((regex, format!("{more} --time-format '{format}'")))
    })
}

/// Returns the expressions for addresses, the best first: that of both kinds only if one of the lines has an address of IPv6.
fn addresses_of(lines: &[&[u8]]) -> &'static [&'static str] {
    let has_ipv6 = Regex::new(EITHER_ADDRESS).is_ok_and(|either| {
        let mut found = lines.iter().flat_map(|line| either.find_iter(line));
        found.any(|found| found.as_bytes().contains(&b':') && address::parse(found.as_bytes()).is_some())
    });
    if has_ipv6 {
        &[EITHER_ADDRESS, ADDRESS]
    } else {
        &[ADDRESS]
    }
}

fn with_format(format: &str, options: &StampOptions) -> StampOptions {
    StampOptions {
        format: Some(TimeFormat::Strptime(format.to_owned())),
        ..options.clone()
    }
}

/// Returns the options that read lines whose stamps have one of [`TIME_FORMATS`], with each form that fits.
fn with_rare_stamps(lines: &[&[u8]], options: &StampOptions) -> Option<String> {
    let with = |format: &str| with_format(format, options);
    let mut found = TIME_FORMATS.iter().flat_map(|format| {
        let of_line = |line| {
            stamps_in(line, &with(format))
                .into_iter()
                .map(move |stamp| (line, stamp))
        };
        let stamps = lines.iter().take(5).copied().flat_map(of_line);
        stamps.filter_map(|(line, stamp)| regex_of(&stamp, line, lines, &with(format)))
    });
    let (regex, more) = found.next()?;
    let formats = TIME_FORMATS.iter().filter(|format| fits(&regex, lines, &with(format)));
    let formats: Vec<String> = formats.map(|format| format!("--time-format '{format}'")).collect();
    Some(format!(
        "; this reads it: --regex '{regex}'{more} {}",
        formats.join(" or ")
    ))
}

/// Returns the form of the stamps of a table, if it is known but has to be chosen.
pub(super) fn time_format(head: &[u8], options: &StampOptions) -> String {
    let rows: Vec<&[u8]> = lines(head).into_iter().skip(1).collect();
    let cells = |row: &[u8]| -> Vec<Vec<u8>> {
        let cells = row.split(|byte| b",;\t|".contains(byte));
        // A quoted cell may hold separators.
        cells
            .chain(row.split(|&byte| byte == b'"'))
            .map(|cell| cell.trim_ascii())
            .map(|cell| {
                cell.strip_prefix(b"\"")
                    .and_then(|bare| bare.strip_suffix(b"\""))
                    .unwrap_or(cell)
            })
            .map(<[u8]>::to_vec)
            .collect()
    };
    let reads = |format: &&str| {
        let mut stamps = Stamps::new(StampOptions {
            format: Some(TimeFormat::Strptime((*format).to_owned())),
            ..options.clone()
        });
        !rows.is_empty()
            && rows
                .iter()
                .all(|row| cells(row).iter().any(|cell| stamps.parse(cell).is_ok()))
    };
    let found: Vec<String> = TIME_FORMATS
        .iter()
        .filter(|format| reads(format))
        .map(|format| format!("--time-format '{format}'"))
        .collect();
    if found.is_empty() {
        String::new()
    } else {
        format!("; this reads it: {}", found.join(" or "))
    }
}

fn lines(head: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    // The last line may be cut.
    if lines.len() > 1 {
        lines.pop();
    }
    lines.retain(|line| !line.is_empty());
    lines.truncate(LINES);
    lines
}

/// A stamp in a line.
struct Stamp {
    /// Number of words before it.
    before: usize,
    /// The position of its first byte.
    at: usize,
    /// The expression that matches it, as a group.
    group: String,
    is_number: bool,
    /// Returns whether the line begins with blanks.
    is_indented: bool,
}

/// Finds the stamps in a line: first those that are no numbers, since a number may be anything.
fn stamps_in(line: &[u8], options: &StampOptions) -> Vec<Stamp> {
    let mut words = Vec::new();
    let mut at = 0;
    for word in line.split(u8::is_ascii_whitespace) {
        if !word.is_empty() {
            words.push((at, at + word.len()));
        }
        at += word.len() + 1;
    }
    let mark = mark(line);
    if let Some((start, _)) = words.first_mut() {
        *start += mark.map_or(0, |(len, _)| len);
    }
    let is_indented = line.first().is_some_and(u8::is_ascii_whitespace);
    let (mut dates, mut numbers) = (Vec::new(), Vec::new());
    let mut stamps = Stamps::new(options.clone());
    for (before, &(start, _)) in words.iter().enumerate().take(WORDS) {
        let longest = words.len().min(before + STAMP_WORDS);
        for (count, &(_, end)) in words[before..longest].iter().enumerate().rev() {
            let Some((bare, group)) = group(&line[start..end], count) else {
                continue;
            };
            if stamps.parse(bare).is_ok() {
                let group = mark
                    .filter(|_| before == 0)
                    .map_or_else(String::new, |(_, mark)| mark.to_owned())
                    + &group;
                let is_number = bare.iter().all(|byte| byte.is_ascii_digit() || b".,".contains(byte));
                let found = if is_number { &mut numbers } else { &mut dates };
                found.push(Stamp {
                    before,
                    at: start,
                    group,
                    is_number,
                    is_indented,
                });
                break;
            }
        }
    }
    // A stamp that no blank separates from other text.
    let glued = prefix::dated_stamp(line).filter(|&(start, end)| stamps.parse(&line[start..end]).is_ok());
    dates.extend(glued.map(|(at, _)| Stamp {
        before: 0,
        at,
        group: format!(".*?(?<time>{})", prefix::STAMP),
        is_number: false,
        is_indented: false,
    }));
    dates.append(&mut numbers);
    dates
}

/// Returns whether a line has a stamp whose zone is known only with `--tz`.
fn has_shared_letters(line: &[u8], options: &StampOptions) -> bool {
    let words: Vec<&[u8]> = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .collect();
    let is_shared = |word: &&[u8]| SHARED_LETTERS.iter().any(|letters| letters.as_bytes() == *word);
    let Some(at) = words.iter().take(WORDS).position(is_shared) else {
        return false;
    };
    let mut stamps = Stamps::new(options.clone());
    // A year may follow the zone.
    (0..at).any(|from| {
        (at + 1..words.len().min(at + 2) + 1).any(|to| {
            let stamp = words[from..to].join(&b' ');
            stamps.parse(&stamp) == Err(StampError::ZoneLetters)
        })
    })
}

/// Returns the length of the mark that a line begins with, and an expression for it: the priority of syslog, a level, or a mark of Cisco for an unset
/// clock.
fn mark(line: &[u8]) -> Option<(usize, &'static str)> {
    let priority = line
        .strip_prefix(b"<")
        .and_then(|rest| memchr(b'>', rest))
        .filter(|len| (1..=3).contains(len));
    // The level before the stamp, as programs of Google and Kubernetes write it: `I0520 00:00:18.123456`.
    let is_level = || {
        let digits = line.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        b"DIWEF".contains(&line[0]) && matches!(digits, 4 | 8)
    };
    let is_unset = || line.len() > 1 && matches!(line[0], b'*' | b'.') && line[1].is_ascii_alphanumeric();
    let priority = priority.filter(|len| line[1..=*len].iter().all(u8::is_ascii_digit));
    priority
        .map(|len| (len + 2, r"<\d+>"))
        .or_else(|| is_unset().then_some((1, r"[*.]?")))
        .or_else(|| (!line.is_empty() && is_level()).then_some((1, "[A-Z]")))
}

/// Returns the text between the marks around a stamp, and an expression that matches text of as many words between such marks.
fn group(text: &[u8], blanks: usize) -> Option<(&[u8], String)> {
    let (first, last) = (*text.first()?, *text.last()?);
    let close = match first {
        b'[' => Some(b']'),
        b'(' => Some(b')'),
        b'"' => Some(b'"'),
        _ => None,
    };
    let blanks = r"\s+\S+".repeat(blanks);
    if let Some(close) = close {
        let (open, close_at) = (char::from(first), text.iter().rposition(|&byte| byte == close));
        let Some(end) = close_at.filter(|&end| end > 0) else {
            // More words follow before the closing mark.
            return Some((&text[1..], format!(r"\{open}(?<time>\S+{blanks})")));
        };
        let close = char::from(close);
        return Some((&text[1..end], format!(r"\{open}(?<time>[^\{close}]+)\{close}")));
    }
    if b",;|:".contains(&last) {
        // A mark that stands alone is no part of the stamp.
        if text.len() < 2 || text[text.len() - 2].is_ascii_whitespace() {
            return None;
        }
        let mark = char::from(last);
        return Some((&text[..text.len() - 1], format!(r"(?<time>\S+{blanks})\{mark}")));
    }
    Some((text, format!(r"(?<time>\S+{blanks})")))
}

fn words(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(r"(?:\S+\s+){{{count}}}"),
    }
}

fn alone(stamp: &Stamp) -> String {
    let blanks = if stamp.is_indented { r"\s*" } else { "" };
    format!("^{blanks}{}{}", words(stamp.before), stamp.group)
}

/// Returns an expression for the stamp and the first text that matches `address`, if there is one.
fn with_client(line: &[u8], stamp: &Stamp, address: &str) -> Option<String> {
    let key = format!("(?<key>{address})");
    let finder = Regex::new(address).ok()?;
    let first = finder.find(line)?;
    if first.start() > stamp.at {
        // An address in a collector's prefix is that of a host.
        let prefix = line.len() - prefix::without(line).len();
        let is_host = first.start() < prefix && finder.is_match_at(line, prefix);
        let host = if is_host {
            format!(".*?{address}")
        } else {
            String::new()
        };
        return Some(format!("{}{host}.*?{key}", alone(stamp)));
    }
    let address = first;
    let between = line[address.end()..stamp.at].split(u8::is_ascii_whitespace);
    let between = between.filter(|word| !word.is_empty()).count();
    let is_attached = !line[address.end()].is_ascii_whitespace();
    let (end, between) = if is_attached {
        (r"\S*", between.saturating_sub(1))
    } else {
        ("", between)
    };
    Some(format!(r"^.*?{key}{end}\s+{}{}", words(between), stamp.group))
}

/// Returns whether an expression reads most of the lines.
fn fits(regex: &str, lines: &[&[u8]], options: &StampOptions) -> bool {
    count(regex, lines, options) * 10 >= lines.len() * 8
}

/// Returns the number of lines that an expression reads.
fn count(regex: &str, lines: &[&[u8]], options: &StampOptions) -> usize {
    reading(regex, options).map_or(0, |mut reads| lines.iter().filter(|line| reads(line)).count())
}

/// Returns a function that reports whether an expression reads a line.
fn reading(regex: &str, options: &StampOptions) -> Option<impl FnMut(&[u8]) -> bool + use<>> {
    let regex = Regex::new(regex).ok()?;
    let mut stamps = Stamps::new(options.clone());
    Some(move |line: &[u8]| {
        let Some(found) = regex.captures(line) else {
            return false;
        };
        let is_address = |key: regex::bytes::Match<'_>| address::parse(key.as_bytes()).is_some();
        let time = found.name("time").map_or(&[][..], |time| time.as_bytes());
        found.name("key").is_none_or(is_address) && stamps.parse(time).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regex_is_found_for_lines_with_a_time() {
        for (line, expected) in [
            (
                "1716163218.123 203.0.113.7 GET /a 200",
                r"; this reads it: --regex '^(?<time>\S+).*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)'",
            ),
            (
                "app1 203.0.113.7:5000 x [20/May/2024:00:00:18 +0000] GET /a",
                r"; this reads it: --regex '^.*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)\S*\s+(?:\S+\s+){1}\[(?<time>[^\]]+)\]'",
            ),
            (
                "INFO 2024-05-20 00:00:18,123 client=203.0.113.7 took 5",
                r"; this reads it: --regex '^(?:\S+\s+){1}(?<time>\S+\s+\S+).*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)'",
            ),
            (
                "[20/May/2024 00:00:18] \"GET /a HTTP/1.1\" 200 5",
                r"; this reads it: --regex '^\[(?<time>[^\]]+)\]' --by all",
            ),
        ] {
            let lines = format!("{line}\n").repeat(3);
            assert_eq!(regex(lines.as_bytes(), &StampOptions::default()), expected, "{line}");
        }
        assert_eq!(
            regex(
                b"17/06/09 20:10:40 INFO x\n17/06/10 20:10:40 INFO y\n",
                &StampOptions::default()
            ),
            r"; this reads it: --regex '^(?<time>\S+\s+\S+)' --by all --time-format '%d/%m/%y %H:%M:%S' or --time-format '%y/%m/%d %H:%M:%S'"
        );
        // The events of `tracing`, printed for people.
        let indented =
            b"  2024-05-20T00:00:18.123456Z  INFO a: b, ip: 203.0.113.7\n    at src/main.rs:10\n\n".repeat(3);
        assert_eq!(
            regex(&indented, &StampOptions::default()),
            r"; this reads its lines with a time: --regex '^\s*(?<time>\S+).*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)' --max-bad 100%"
        );
        let shared = b"Mon May 20 08:00:18 CST 2024 203.0.113.7 a\nMon May 20 08:00:18 CST 2024 203.0.113.7 b\n";
        assert_eq!(
            regex(shared, &StampOptions::default()),
            "; its stamps name their zone by letters: name the zone with --tz, such as --tz Asia/Shanghai for CST"
        );
        let partly = b"2024-05-20 00:00:18 sshd: Failed password from 203.0.113.7\n2024-05-20 00:00:19 cron: a\n";
        assert_eq!(
            regex(partly, &StampOptions::default()),
            r"; this reads it: --regex '^(?<time>\S+\s+\S+)' --by all; this reads only its lines with a client: --regex '^(?<time>\S+\s+\S+).*?(?<key>\b(?:\d{1,3}\.){3}\d{1,3}\b)' --max-bad 100%"
        );
        let number =
            b"1234567890,5 2024-05-20 00:00:18 203.0.113.7 a\n1234567890,5 2024-05-20 00:00:18 203.0.113.7 b\n";
        let dated = regex(number, &StampOptions::default());
        assert!(dated.contains(r"'^(?:\S+\s+){1}(?<time>\S+\s+\S+)"), "{dated}");
        let timeless = regex(b"GET /a 200 5.123 ms - 612\n", &StampOptions::default());
        assert!(timeless.starts_with("; no time was found"), "{timeless}");
        let lines = b"2024-05-20 00:00:18 203.0.113.7 a\n2024-05-20 00:00:18 2001:db8::1 a\n";
        assert_eq!(
            regex(lines, &StampOptions::default()),
            format!(r"; this reads it: --regex '^(?<time>\S+\s+\S+).*?(?<key>{EITHER_ADDRESS})'")
        );
    }

    #[test]
    fn time_formats_are_tried_on_all_rows() {
        let form = |rows: &str| time_format(format!("time,ip\n{rows}\n").as_bytes(), &StampOptions::default());
        assert_eq!(
            form("5/20/2024 12:00:11 AM,203.0.113.7"),
            "; this reads it: --time-format '%m/%d/%Y %I:%M:%S %p'"
        );
        assert_eq!(
            form("5/4/2024 12:00:11,a\n6/4/2024 12:00:11,a"),
            "; this reads it: --time-format '%m/%d/%Y %H:%M:%S' or --time-format '%d/%m/%Y %H:%M:%S'"
        );
        assert_eq!(
            form("\"5/20/2024, 12:00:11.123 AM\",\"203.0.113.7\""),
            "; this reads it: --time-format '%m/%d/%Y, %I:%M:%S%.f %p'"
        );
        assert_eq!(form("yesterday,a"), "");
    }
}
