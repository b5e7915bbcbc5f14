//! Properties of any bytes, for the fuzz targets here and for `tests/fuzzed.rs`, which runs them everywhere.

use std::io::{self, Cursor, Read};

use clap::ValueEnum as _;
use meter_replay::by::By;
use meter_replay::emit::{self, Networks, Software};
use meter_replay::input::access_log::{self, LogLines};
use meter_replay::input::{Collected, Options, Reader};
use meter_replay::limit::RuleFile;
use meter_replay::limit::{AlgorithmName, LimitRule, LimitSpec};
use meter_replay::select::Condition;
use meter_replay::stamp::{CommonLogStamps, FirstYear, StampOptions, Stamps};

/// The beginning of the year 2201.
const END_NS: i64 = 7_289_654_400_000_000_000;

/// A log line, plain and in quotes.
pub(crate) fn access_log(data: &[u8]) {
    let mut lines = LogLines::default();
    for line in data.split(|&byte| byte == b'\n') {
        let Ok(read) = lines.parse(line) else { continue };
        assert!(!read.client.is_empty());
        assert!(read.status == b"-" || read.status.len() == 3 && read.status.iter().all(u8::is_ascii_digit));
        assert!((0..END_NS).contains(&read.time));
        let path = access_log::path(read.request);
        assert!(!path.is_empty() && !path.contains(&b'?') && !path.contains(&b'#'));
        // The remains of an earlier line make no difference.
        let mut fresh = LogLines::default();
        assert_eq!(fresh.parse(line), Ok(read));
        // A quote before the stamp may belong to the client.
        let is_bare = line.iter().find(|byte| matches!(byte, b'"' | b'[')) == Some(&b'[');
        // Of a line that only the tolerant reader takes there may be more than one way to double its quotes.
        let mut words = line[..line.len() - read.tail.len()].rsplit(|&byte| byte == b' ');
        let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        let is_strict = words.next().is_some_and(is_number) && words.next() == Some(read.status);
        let is_even = line.iter().filter(|&&byte| byte == b'"').count() % 2 == 0;
        if is_bare && is_even && is_strict && read.request.first() != Some(&b'"') {
            let mut quoted = vec![b'"'];
            for &byte in line {
                quoted.push(byte);
                quoted.extend((byte == b'"').then_some(byte));
            }
            quoted.push(b'"');
            assert_eq!(fresh.parse(&quoted), Ok(read));
        }
    }
}

/// Stamps of any year are meant.
fn old() -> StampOptions {
    StampOptions {
        allow_old: true,
        ..StampOptions::default()
    }
}

/// Stamps of all kinds.
pub(crate) fn stamps(data: &[u8]) {
    let mut remembering = CommonLogStamps::default();
    let mut stamps = Stamps::new(old());
    for text in data.split(|&byte| byte == b'\n') {
        let alone = CommonLogStamps::default().parse(text);
        assert_eq!(remembering.parse(text), alone);
        let fresh = Stamps::new(old()).parse(text);
        assert_eq!(stamps.parse(text), fresh);
        for time in [alone, fresh].into_iter().flatten() {
            assert!((0..END_NS).contains(&time));
        }
    }
    // Years follow each other, so the same stamps have the same years.
    const WRITTEN: i64 = 1_716_163_218_000_000_000;
    for year in [
        FirstYear::Given(2024),
        FirstYear::Until(WRITTEN),
        FirstYear::Growing(WRITTEN),
    ] {
        let [mut one, mut other] = [0, 1].map(|_| {
            Stamps::new(StampOptions {
                year: Some(year),
                ..old()
            })
        });
        for text in data.split(|&byte| byte == b'\n') {
            let read = one.parse(text);
            assert_eq!(other.parse(text), read);
            assert!(read.is_err() || read.is_ok_and(|time| (0..END_NS).contains(&time)));
            if Stamps::new(old()).parse(text).is_ok() {
                assert_eq!(read, Stamps::new(old()).parse(text), "a stamp with a year keeps it");
            }
        }
    }
}

/// Delimited text, with any bytes after its header.
pub(crate) fn delimited(data: &[u8]) {
    for (header, by) in [("time,key,cost\n", "key"), ("time\tkey\tcost\n", "key")] {
        let text = [header.as_bytes(), data].concat();
        let options = Options {
            by: Some(By::Column(by.to_owned())),
            cost: Some("cost".to_owned()),
            ipv6_prefix: Some(64),
            ..Options::default()
        };
        let (good, bad) = same_however_it_comes(&text, &options);
        let lines = data.split(|&byte| byte == b'\n').count();
        assert!(good + bad <= lines, "{good} good and {bad} bad of {lines}");
        let filled = |line: &&[u8]| line.iter().any(|byte| !byte.is_ascii_whitespace() && *byte != b',');
        if is_table(&text, &options) && !data.contains(&b'"') {
            let filled = data.split(|&byte| byte == b'\n').filter(filled).count();
            assert!(good + bad >= filled, "{good} good and {bad} bad of {filled}");
        }
    }
}

fn is_table(text: &[u8], options: &Options) -> bool {
    Reader::of(Cursor::new(text.to_vec()), "input", options).is_ok_and(|reader| reader.format() == "table")
}

/// A capture, with any bytes after its header.
pub(crate) fn pcap(data: &[u8]) {
    const MAGIC: [[u8; 4]; 4] = [
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
    ];
    let Some((&way, packets)) = data.split_first() else {
        return;
    };
    let magic = MAGIC[usize::from(way) % 4];
    let link: [u8; 4] = if magic[0] == 0xa1 { [0, 0, 0, 1] } else { [1, 0, 0, 0] };
    let capture = [&magic[..], &[0; 16], &link, packets].concat();
    let by = [By::Ip, By::Host, By::All][usize::from(way / 4) % 3].clone();
    let options = Options {
        by: Some(by),
        ipv6_prefix: Some(1 + way % 128),
        ..Options::default()
    };
    same_however_it_comes(&capture, &options);
}

/// A capture of the next generation, with any bytes after its first blocks.
pub(crate) fn pcapng(data: &[u8]) {
    const SECTION: &[u8] =
        b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0";
    const INTERFACE: &[u8] = b"\x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\x04\0\x14\0\0\0";
    same_however_it_comes(&[SECTION, INTERFACE, data].concat(), &Options::default());
}

/// An access log with bad lines, entries on one line, and zeros.
pub(crate) fn log(data: &[u8]) {
    const LINE: &[u8] = b"192.0.2.7 - - [20/May/2024:00:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n";
    for by in [None, Some(By::parse("xff,path,host"))] {
        let options = Options {
            by,
            path_depth: Some(1),
            ..Options::default()
        };
        same_however_it_comes(&[LINE, data].concat(), &options);
        same_however_it_comes(&[LINE, &LINE[..LINE.len() / 2], data, LINE].concat(), &options);
    }
}

/// JSON lines, with any bytes after the first.
pub(crate) fn json(data: &[u8]) {
    let options = Options {
        by: Some(By::parse("ip,h.0")),
        ..Options::default()
    };
    for head in [
        &b"{\"ts\":1716163200.5,\"request\":{\"remote_ip\":\"192.0.2.7\"},\"h\":[\"a\"]}\n"[..],
        b"{\"log\":\"192.0.2.7 - - [20/May/2024:00:00:00 +0000] \\\"GET / HTTP/1.1\\\" 200 5\",\"h\":[\"a\"]}\n",
    ] {
        let text = [head, data].concat();
        same_however_it_comes(&text, &options);
        same_however_it_comes(&text, &Options::default());
    }
}

/// Lines of labelled values, in either syntax.
pub(crate) fn labels(data: &[u8]) {
    const LTSV: &[u8] = b"time:20/May/2024:00:00:00 +0000\thost:192.0.2.7\treq:GET / HTTP/1.1\n";
    const LOGFMT: &[u8] = b"2024-05-20T00:00:00Z app[web.1]: at=info fwd=192.0.2.7 path=\"/a b\"\n";
    for head in [LTSV, LOGFMT] {
        let options = Options {
            by: Some(By::parse("ip,path")),
            ..Options::default()
        };
        same_however_it_comes(&[head, data].concat(), &options);
        same_however_it_comes(&[head, data].concat(), &Options::default());
    }
}

/// Logs of named fields.
pub(crate) fn fields(data: &[u8]) {
    for head in ["#Fields: date time c-ip cs-uri-stem\n", "#fields\tts\tid.orig_h\turi\n"] {
        let options = Options {
            by: Some(By::parse("ip,path")),
            ..Options::default()
        };
        same_however_it_comes(&[head.as_bytes(), data].concat(), &options);
    }
}

/// A log format in the first line, and lines that it takes apart.
pub(crate) fn pattern(data: &[u8]) {
    let (format, lines) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let formats = [
        "$remote_addr [$time_local] \"$request\" $status",
        "alb",
        "haproxy",
        "istio",
        "s3",
    ];
    // A format is named in messages as it was given.
    let format = String::from_utf8_lossy(format).replace(char::is_control, " ");
    // Which of those that are known is up to the data: to compile one takes longer than to read with it.
    let known = formats[data.len() % formats.len()];
    for format in [known, &format] {
        let options = Options {
            log_format: Some(format.to_owned()),
            ..Options::default()
        };
        same_however_it_comes(lines.trim_ascii_start(), &options);
    }
}

/// Any bytes, packed or not, in any format.
pub(crate) fn input(data: &[u8]) {
    for by in [None, Some(By::Ip), Some(By::Path)] {
        let options = Options {
            by,
            ..Options::default()
        };
        same_however_it_comes(data, &options);
    }
}

/// Gives a few bytes at a time, as a pipe may.
struct Drops(Cursor<Vec<u8>>);

impl Read for Drops {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(7);
        self.0.read(&mut buffer[..end])
    }
}

/// Reads all of it at once and in drops, and checks that this makes no difference. Returns the numbers of events and bad lines.
fn same_however_it_comes(data: &[u8], options: &Options) -> (usize, usize) {
    let read_whole = read(Cursor::new(data.to_vec()), options);
    let dropped = read(Drops(Cursor::new(data.to_vec())), options);
    // How much is read of broken packed data depends on the pieces it comes in.
    let is_damaged = |read: &ReadEvents| read.4 || read.3.as_ref().is_some_and(|reason| reason.contains(" data is "));
    if !is_damaged(&read_whole) || !is_damaged(&dropped) {
        assert_eq!(dropped, read_whole);
    }
    let (events, bad, ..) = read_whole;
    (events.len(), usize::try_from(bad).unwrap_or(usize::MAX))
}

/// Events, the number of bad lines, their texts, the final error, and a flag for lost data.
type ReadEvents = (Vec<(i64, u64, Vec<u8>)>, u64, Vec<String>, Option<String>, bool);

fn read(source: impl Read + 'static, options: &Options) -> ReadEvents {
    let mut collected = Collected::default();
    let mut events = Vec::new();
    let mut failure = None;
    match Reader::of(source, "input", options) {
        Err(error) => failure = Some(error.to_string()),
        Ok(mut reader) => loop {
            match reader.next(&mut collected) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    assert!((0..END_NS).contains(&event.time));
                    events.push((event.time, event.cost, collected.keys.name(event.key).to_vec()));
                }
                Err(error) => {
                    failure = Some(error.to_string());
                    break;
                }
            }
        },
    }
    let shown: Vec<String> = collected.bad.quoted().iter().map(ToString::to_string).collect();
    for text in shown.iter().chain(&failure) {
        assert!(!text.chars().any(char::is_control), "{text:?} is not one harmless line");
    }
    (events, collected.bad.count(), shown, failure, collected.is_cut)
}

/// Limits, conditions and files of limits, as the command line has them.
pub(crate) fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        if let Ok(limit) = LimitSpec::parse(line, AlgorithmName::Gcra) {
            let rule = limit.rule();
            // As it is written, it is read again.
            assert_eq!(rule.to_string().parse::<LimitRule>().ok(), Some(rule), "{line}");
            for target in Software::value_variants() {
                assert!(
                    emit::render(&limit, None, Networks { ipv4: 24, ipv6: 64 }, *target).is_ok(),
                    "{line}"
                );
            }
        }
        if let Ok(conditions) = Condition::parse_all(line) {
            for condition in conditions {
                assert_eq!(condition.to_string().parse().as_ref(), Ok(&condition), "{line}");
                let _ = condition.holds(line.as_bytes());
            }
        }
    }
    let _ = RuleFile::parse("limits.csv", text, AlgorithmName::Gcra);
}
