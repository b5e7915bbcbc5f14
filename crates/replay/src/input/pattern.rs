//! Reads lines that a pattern splits: a regular expression of the user, a log format of nginx or Apache, or one of the formats known by name.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use regex::bytes::{CaptureLocations, Regex};

use super::columns::{Columns, HeaderSample};
use super::fields::is_no_traffic;
use super::log_format::{self, Pattern};
use super::{Options, Request, TimeIs, prefix};
use crate::Error;
use crate::bad::BadLine;
use crate::by::By;
use crate::stamp::TimeFormat;

/// A format with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamedFormat {
    /// The name, as `--format` takes it.
    pub(super) name: &'static str,
    /// The name for people.
    what: &'static str,
    regex: &'static str,
    /// True if the time is the end of a request.
    is_end: bool,
    /// True if stamps without a zone are in UTC by the definition of the format.
    is_utc: bool,
}

/// A quoted field: the text between quotes, in which quotes are escaped.
macro_rules! quoted {
    ($name:literal) => {
        concat!(r#""(?<"#, $name, r#">(?:[^"\\]|\\.)*)""#)
    };
}

/// The kind of a flow log for people.
const FLOWS: &str = "AWS VPC flow log";

/// The formats known by name, each distinguished from all other formats by its shape.
pub(super) const NAMED: [NamedFormat; 12] = [
    NamedFormat {
        name: "alb",
        what: "AWS Application Load Balancer log",
        regex: concat!(
            // The client has a port, unless another program removed it: eight groups, or the end of an address after `::`, are no port.
            r#"^(?:http|https|h2|grpcs|ws|wss) (?<end>\S+) (?<elb>\S+) (?<ip>(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|\S*?[^\s:])(?::\d+)? (?<target>\S+) (?<request_processing_time>\S+) (?<target_processing_time>\S+) (?<response_processing_time>\S+) (?<status>\S+) (?<target_status>\S+) (?<received_bytes>\S+) (?<sent_bytes>\S+) "#,
            quoted!("request"),
            r#"(?: "(?:[^"\\]|\\.)*" \S+ \S+ \S+ "[^"]*" "(?<host>[^"]*)" "[^"]*" \S+ (?<time>\S+))?"#
        ),
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "elb",
        what: "AWS Classic Load Balancer log",
        regex: concat!(
            r"^(?<time>\d{4}-\d\d-\d\dT\S+) (?<elb>\S+) (?<ip>[0-9a-fA-F.:\[\]]+):\d+ (?<backend>\S+) (?<request_processing_time>\S+) (?<backend_processing_time>\S+) (?<response_processing_time>\S+) (?<status>\S+) (?<backend_status>\S+) (?<received_bytes>\d+) (?<sent_bytes>\d+) ",
            quoted!("request")
        ),
        is_end: true,
        is_utc: false,
    },
    NamedFormat {
        name: "s3",
        what: "Amazon S3 server access log",
        regex: concat!(
            r"^(?<owner>[0-9a-f]+|-) (?<bucket>\S+) \[(?<time>[^\]]+)\] (?<ip>\S+) (?<requester>\S+) (?<request_id>\S+) (?<operation>[A-Z0-9]+\.\S+) (?<object>\S+) (?:-|",
            quoted!("request"),
            r") (?<status>\S+)"
        ),
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "haproxy",
        what: "HAProxy log",
        regex: concat!(
            r"^(?:.*?\s)?(?<ip>[0-9a-fA-F.:\[\]]+|unix):(?<port>\d+) \[(?<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] (?<frontend>\S+) (?<backend>[^\s/]+)/(?<server>\S+) (?<timers>[-+\d/]+)(?: (?<status>-?\d+) (?<bytes>\+?\d+) \S+ \S+ \S{4} \S+ \S+(?: \{[^}]*\})*(?: ",
            quoted!("request"),
            r")?| \+?\d+ \S+ \S+ \S+)"
        ),
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "squid",
        what: "Squid access log",
        regex: r"^(?<time>\d+\.\d{3}) +(?<duration_ms>\d+) (?<ip>\S+) (?<result>[A-Z_]+)/(?<status>\d{3}) (?<bytes>\d+) (?<method>\S+) (?<url>\S+) ",
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "nlb",
        what: "AWS Network Load Balancer log",
        regex: r"^tls \S+ (?<time>\d{4}-\d\d-\d\dT\S+) net/\S+ (?<listener>\S+) (?<ip>[0-9a-fA-F.:\[\]]+):\d+ ",
        is_end: true,
        is_utc: true,
    },
    NamedFormat {
        name: "vpc-flow",
        what: FLOWS,
        regex: r"^\d \S+ eni-\S+ (?<ip>[0-9a-fA-F.:]+) (?<host>\S+) (?<srcport>\S+) (?<dstport>\S+) (?<protocol>\S+) (?<packets>\S+) (?<bytes>\S+) (?<time>\d+) (?<end>\d+) (?<action>\S+) (?<log_status>\S+)",
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "tcpdump",
        what: "text of tcpdump",
        regex: r"^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+|\d{9,10}\.\d+) (?:\S+ +(?:In|Out|[BMP]) +)?IP6? (?<ip>(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]*:[0-9a-fA-F:]*)(?:\.[\w-]+)? > (?<host>\S+): ",
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "nginx-proxy-manager",
        what: "Nginx Proxy Manager log",
        regex: concat!(
            r"^\[(?<time>[^\]]+)\] (?:\S+ ){0,2}(?<status>\d{3}|-) - (?<method>\S+) \S+ (?<host>\S+) ",
            quoted!("path"),
            r" \[Client (?<ip>[^\]]+)\]"
        ),
        is_end: true,
        is_utc: false,
    },
    NamedFormat {
        name: "gin",
        what: "Gin log",
        regex: r#"^\[GIN\] (?<time>\d{4}/\d\d/\d\d - \d\d:\d\d:\d\d) \| *(?<status>\d{3}) \| *(?<duration>\S+) \| *(?<ip>\S+) \| *(?<method>\S+) +"(?<path>[^"]*)""#,
        is_end: true,
        is_utc: false,
    },
    NamedFormat {
        name: "istio",
        what: "Istio access log",
        regex: concat!(
            r"^(?:\S+ std(?:out|err) [FP] )?\[(?<time>\d{4}-\d\d-\d\dT[^\]]+)\] ",
            quoted!("request"),
            r#" (?<status>\d{1,3}) (?<flags>\S+) (?<details>\S+) (?<termination>\S+) (?:"[^"]*"|-) (?<received_bytes>\S+) (?<sent_bytes>\S+) (?<duration_ms>\S+) (?<service_time>\S+) "(?<xff>[^"]*)" "[^"]*" "[^"]*" "(?<host>[^"]*)" "[^"]*" \S+ \S+ \S+ (?<ip>\S+) \S+ \S+"#
        ),
        is_end: false,
        is_utc: false,
    },
    NamedFormat {
        name: "envoy",
        what: "Envoy access log",
        regex: concat!(
            // Emissary puts a word before the stamp.
            r"^(?:\S+ std(?:out|err) [FP] )?(?:ACCESS )?\[(?<time>\d{4}-\d\d-\d\dT[^\]]+)\] ",
            quoted!("request"),
            r#" (?<status>\d{1,3}) (?<flags>\S+) (?<received_bytes>\d+) (?<sent_bytes>\d+) (?<duration_ms>\S+) (?<service_time>\S+) "(?<ip>[^"]*)" "(?<agent>(?:[^"\\]|\\.)*)" "(?<request_id>[^"]*)" "(?<host>[^"]*)" "(?<upstream>[^"]*)""#
        ),
        is_end: false,
        is_utc: false,
    },
];

/// Common and Combined Log Format, perhaps with a forwarded list behind it. It has the columns that
/// [`AccessLines`](super::access_log::AccessLines) lacks.
const ACCESS: NamedFormat = NamedFormat {
    name: "access",
    what: "Common or Combined Log Format",
    regex: concat!(
        r"^(?<ip>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] ",
        quoted!("request"),
        r" (?<status>\d{3}) (?<bytes>\d+|-)(?: ",
        quoted!("referer"),
        " ",
        quoted!("user_agent"),
        r#"(?: "(?<xff>[^"]*)")?)?"#
    ),
    is_end: false,
    is_utc: false,
};

/// The formats known by name, compiled once: each file is opened at least twice.
static SHAPES: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| NAMED.iter().map(|named| Regex::new(named.regex).ok()).collect());

impl NamedFormat {
    /// Returns the format of this name.
    fn of(name: &str) -> Option<Self> {
        NAMED.into_iter().find(|named| named.name == name)
    }
}

/// Lines that a pattern takes apart.
#[derive(Debug)]
pub(super) struct PatternLines {
    what: &'static str,
    regex: Regex,
    names: Vec<Vec<u8>>,
    columns: Columns,
    found: CaptureLocations,
    /// The optional group of the time, and the group that replaces it.
    other_time: Option<(usize, usize)>,
}

/// Returns the lines that the given regular expression, log format or name splits.
///
/// # Errors
///
/// The pattern is invalid, or lacks a group that is asked for.
pub(super) fn given(input: &str, head: &[&[u8]], options: &Options) -> Result<Option<PatternLines>, Error> {
    let pattern = if let Some(regex) = &options.regex {
        Pattern {
            what: "--regex",
            regex: regex.clone(),
            time: None,
        }
    } else if let Some(format) = &options.log_format {
        if let Some(named) = NamedFormat::of(format) {
            return PatternLines::named(named, input, head, options).map(Some);
        }
        log_format::compile(format).map_err(|reason| Error::BadPattern {
            option: "--log-format",
            text: format.clone(),
            reason,
        })?
    } else {
        return Ok(None);
    };
    PatternLines::new(pattern, input, head, options).map(Some)
}

/// Returns the number of lines that are most of the first hundred.
pub(super) fn most(head: &[&[u8]]) -> usize {
    head.len().min(100) / 2 + 1
}

/// Detects lines of one of the formats known by name: at least `least` of the first hundred lines.
///
/// # Errors
///
/// A name that is asked for is not in lines of this format.
pub(super) fn detect(
    input: &str,
    head: &[&[u8]],
    least: usize,
    options: &Options,
) -> Result<Option<PatternLines>, Error> {
    for (named, regex) in NAMED.into_iter().zip(&*SHAPES) {
        let Some(regex) = regex else { continue };
        let lines = &head[..head.len().min(100)];
        let is_match = |line: &&&[u8]| regex.is_match(line) || regex.is_match(prefix::without(line));
        let matching = lines.iter().filter(is_match).count();
        if matching >= least {
            return PatternLines::named(named, input, head, options).map(Some);
        }
    }
    Ok(None)
}

impl PatternLines {
    /// Returns the lines of an access log with a name for each field.
    ///
    /// # Errors
    ///
    /// None of the fields has a name that is asked for.
    pub(super) fn access(input: &str, head: &[&[u8]], options: &Options) -> Result<Self, Error> {
        Self::named(ACCESS, input, head, options).map_err(|error| match error {
            Error::NoColumn {
                path,
                called,
                format,
                wanted,
                columns,
                ..
            } if options.cost.as_ref() != Some(&wanted) && options.plan.as_ref() != Some(&wanted) => Error::NoColumn {
                path,
                called,
                format,
                wanted,
                advice: ": name one of them, or say ip, xff, path, method or status",
                columns,
            },
            other => other,
        })
    }

    fn named(named: NamedFormat, input: &str, head: &[&[u8]], options: &Options) -> Result<Self, Error> {
        let pattern = Pattern {
            what: named.what,
            regex: named.regex.to_owned(),
            time: None,
        };
        let has_duration = named.regex.contains("(?<duration>");
        if named.is_end && !has_duration && options.time_is == TimeIs::End && options.duration.is_none() {
            return Err(Error::NoDuration { path: input.to_owned() });
        }
        let mut options = options.clone();
        if named.is_utc {
            options.stamps.zone.get_or_insert(TimeZone::UTC);
        }
        Self::new(pattern, input, head, &options)
    }

    fn new(pattern: Pattern, input: &str, head: &[&[u8]], options: &Options) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadPattern {
            option: if options.regex.is_some() {
                "--regex"
            } else {
                "--log-format"
            },
            text: options
                .regex
                .clone()
                .or_else(|| options.log_format.clone())
                .unwrap_or_default(),
            reason,
        };
        let regex = Regex::new(&pattern.regex).map_err(|error| bad(log_format::one_reason(&error)))?;
        let names: Vec<Vec<u8>> = regex
            .capture_names()
            .map(|name| name.unwrap_or_default().as_bytes().to_vec())
            .collect();
        let mut options = options.clone();
        if let (None, Some(format)) = (&options.stamps.format, pattern.time) {
            options.stamps.format = Some(TimeFormat::Strptime(format));
        }
        let mut samples = Vec::new();
        for line in head.iter().take(100) {
            let bare = prefix::without(line);
            if let Some(found) = regex.captures(line).or_else(|| regex.captures(bare)) {
                let value = |at: usize| found.get(at).map_or(Vec::new(), |value| value.as_bytes().to_vec());
                samples.push((0..names.len()).map(value).collect());
            }
        }
        let default = if names.iter().any(|name| name == b"key") {
            By::Column("key".to_owned())
        } else {
            By::Ip
        };
        let header = HeaderSample {
            input,
            called: "group",
            format: pattern.what,
            names: &names,
            samples: &samples,
            default: &default,
        };
        if options.time.is_none() && !header.has_time() {
            return Err(bad("it has no group named `time`, like (?<time>\\S+)".to_owned()));
        }
        if options.by.is_none() && default == By::Ip && !header.has(&By::Ip) {
            return Err(bad(
                "it has no group named `key` or `ip`, like (?<key>\\S+): add one, or say --by all".to_owned(),
            ));
        }
        let columns = Columns::find(&header, &options)?;
        let place = |name: &[u8]| names.iter().position(|known| known == name);
        Ok(Self {
            other_time: place(b"time").zip(place(b"end")),
            found: regex.capture_locations(),
            what: pattern.what,
            regex,
            names,
            columns,
        })
    }

    pub(super) fn by(&self) -> &By {
        self.columns.by()
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    /// Reads a line; `None` if it records no traffic.
    pub(super) fn request<'a>(&'a mut self, line: &'a [u8]) -> Result<Option<Request<'a>>, BadLine> {
        let Self {
            regex,
            columns,
            found,
            other_time,
            what,
            ..
        } = self;
        let mut line = line;
        if regex.captures_read(found, line).is_none() {
            line = prefix::without(line);
            if regex.captures_read(found, line).is_none() {
                let has_status = || line.rsplit(|&byte| byte == b' ').next().is_some_and(is_no_traffic);
                let is_empty = *what == FLOWS && has_status();
                return if is_empty {
                    Ok(None)
                } else {
                    Err(BadLine::OtherPattern(what))
                };
            }
        }
        let value = |at: usize| found.get(at).map(|(start, end)| &line[start..end]);
        let request = columns.request(|at| match *other_time {
            Some((time, other)) if at == time => value(time).or_else(|| value(other)),
            _ => value(at),
        });
        request.map(Some)
    }

    pub(super) fn notices(&self, input: &str) -> Vec<String> {
        self.columns.notices(&self.names, input)
    }
}
