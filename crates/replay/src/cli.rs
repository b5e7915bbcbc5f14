//! The command line.

pub mod asking;
pub mod reading;

use std::path::PathBuf;
use std::{fs, io};

use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;

use crate::Error;
use crate::by::By;
use crate::demo;
use crate::emit::Networks;
use crate::input::{self, Options};
use crate::limit::RuleFile;
use crate::limit::{AlgorithmName, LimitSpec};
#[cfg(feature = "store")]
use crate::stored::RunStore;
use crate::trace::{Order, Unit};
use asking::Asking;
use reading::Reading;

/// The form of the report, or of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// The report as tables of at most 100 columns.
    Table,
    /// The report as JSON.
    Json,
    /// The input as the log format of this name.
    Log(&'static str),
}

impl Format {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            name => input::log_format_names()
                .find(|known| *known == name)
                .map(Self::Log)
                .ok_or_else(|| {
                    let known: Vec<&str> = input::log_format_names().collect();
                    format!("expected table or json, or the format of a log: {}", known.join(", "))
                }),
        }
    }
}

/// Shows the effect of rate limits on recorded traffic
///
/// Replays access logs, JSON lines, tables and packet captures through one or more limits. Reports the requests
/// that each limit would have admitted and denied, and the keys that it denies most. Detects formats from the
/// contents. Files may be packed (gzip, zstd, xz, bzip2), and may be named in any order.
#[derive(Debug, Parser)]
#[command(name = "meter-replay", version, verbatim_doc_comment, after_long_help = EXAMPLES, after_help = "Examples: see --help")]
pub struct Cli {
    /// A limit to try, like `10/s` or `100/min burst 20`; several limits are compared
    ///
    /// CELLS/PERIOD, then optionally `burst N` (default: CELLS) and `weight N` (default: 1). A period is a unit
    /// (ns, us, ms, s, min, h, d, w) or a number of units: `1/6s`. With `every PERIOD` cells come in ticks.
    /// Two with an & between, like `10/s & 1000/h`, are decided as one: a request that either
    /// denies counts in neither.
    #[arg(long = "limit", value_name = "LIMIT", verbatim_doc_comment)]
    pub limits: Vec<String>,

    /// The algorithm of a meter; for equal limits the first two make the same decisions
    #[arg(long, value_enum, default_value_t)]
    pub algorithm: AlgorithmName,

    /// The key that has a meter of its own: each ip, xff, host, path, method, status or column value, or `all`
    #[arg(long, value_name = "ip|xff|host|path|method|status|all|COLUMN", long_help = BY)]
    pub by: Option<String>,

    /// Give each value of this column a meter, even if the column is named like a word of --by
    #[arg(long, value_name = "COLUMN", conflicts_with = "by")]
    pub key: Option<String>,

    /// IPv6 addresses that begin with the same N bits are one key, as 2001:db8:1:2::/64
    ///
    /// A subscriber can use all addresses of a /64 or more. Applies to every key that is an address.
    /// If not given: 64, but 128 in captures, where neighbours share a network.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=128), verbatim_doc_comment)]
    pub ipv6_prefix: Option<u8>,

    /// IPv4 addresses that begin with the same N bits are one key, as 192.0.2.0/24
    ///
    /// If not given: 32, so that each address is a key.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32), verbatim_doc_comment)]
    pub ipv4_prefix: Option<u8>,

    /// The column of stamps; if not given, one named time, timestamp or the like
    ///
    /// Of two columns, DATE+TIME. Stamps are Unix seconds, milliseconds, microseconds or nanoseconds by their
    /// magnitude, RFC 3339, YYYY-MM-DD HH:MM:SS, or the forms of logs, mails and languages. Without a zone
    /// they are UTC (see --tz and --time-format).
    #[arg(long, value_name = "COLUMN", verbatim_doc_comment)]
    pub time: Option<String>,

    /// The column of the cells of a request; if not given, one cell (captures: `bytes`, or `packets` for one cell)
    #[arg(long, value_name = "COLUMN")]
    pub cost: Option<String>,

    /// Maximum number of distinct keys; exceeding it is an error
    ///
    /// Each takes a hundred to a thousand bytes of memory; `--no-suggest` and `--order sort` save most of it.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..), verbatim_doc_comment)]
    pub keys: u32,

    /// The order in which the lines of all files are replayed
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,

    /// The number of hardest-hit keys to name
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,

    /// Skip computing the smallest burst and rate that would have denied nothing
    #[arg(long)]
    pub no_suggest: bool,

    /// Print a `table` (the default) or `json`; or read inputs in the log format of this name
    ///
    /// May be given once for each of the two. The log formats are those that --log-format knows by name;
    /// most are detected without this option.
    #[arg(long = "format", value_name = "table|json|NAME", value_parser = Format::parse, verbatim_doc_comment)]
    pub formats: Vec<Format>,

    /// Draw admitted and denied requests over time, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,

    /// Write the whole report, with the charts, as one HTML page that loads nothing else
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,

    /// Replace keys by hashes that differ in each run, and quote no line
    #[arg(long)]
    pub anonymise: bool,

    /// Replay made-up traffic instead of files, to see an example
    #[arg(long, conflicts_with_all = ["files", "by", "key", "time", "cost", "order", "ipv6_prefix", "ipv4_prefix", "keys"])]
    pub demo: bool,

    /// Print a completion script for a shell, and do nothing else
    #[arg(long, value_name = "SHELL", value_enum, exclusive = true)]
    pub completions: Option<Shell>,

    /// Print the man page, and do nothing else
    #[arg(long, exclusive = true)]
    pub man: bool,

    /// The options for reading inputs.
    #[command(flatten)]
    pub reading: Reading,

    /// The options that select and analyse traffic.
    #[command(flatten)]
    pub asking: Asking,

    /// The words of the command line, as they were given.
    #[arg(skip)]
    pub words: Vec<String>,

    /// Logs, tables or captures, packed or not; `-` is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

const BY: &str = "\
The key that has a meter of its own: each ip, xff, host, path, method, status or column value, or `all`

          access log                      capture       table, JSON, named fields
  ip      the client                      the sender    a field named ip, client_ip, remote_addr, ...
  xff     the client before our proxies   -             the same of x_forwarded_for, ...
  host    the virtual host or the client  the receiver  host, server_name, ...
  path    the path without its query      -             path, uri, or that of a request line
  method  the method                      -             method, or that of a request line
  status  the code of the answer          -             status, status_code, ...
  all     one meter for all               the same      the same
  COLUMN  -                               -             the column; of JSON the path to a field: a.b.c

With commas between, each combination: ip,path. If not given: ip, and in a table all.";

const EXAMPLES: &str = "\
Examples:
  See a report on made-up traffic
      meter-replay --demo
  Ten requests a second for each client, in a log and its rotated file
      meter-replay --limit 10/s access.log.1 access.log.2.gz
  Compare three limits: the burst lets people open pages, the rate slows crawlers
      meter-replay --limit 2/s --limit \"2/s burst 20\" --limit \"10/s burst 200\" access.log
  Ten a second, and no more than a thousand an hour
      meter-replay --limit \"10/s & 1000/h\" access.log
  One limit for the whole server, or for each path
      meter-replay --limit 500/s --by all access.log
      meter-replay --limit 50/s --by path access.log
  IPv6 clients by their network
      meter-replay --limit \"100/min burst 20\" --ipv6-prefix 64 access.log
  Tokens a minute for each tenant, from a table
      meter-replay --limit 100000/min --key tenant --cost tokens requests.csv
  Bytes a second for each receiver, of a capture
      meter-replay --limit \"1000000/s burst 3000000\" --by host lan.pcap
  Write a page to share, without the names of keys
      meter-replay --limit 10/s --report limits.html --anonymise access.log
  From a pipe
      ssh www cat /var/log/nginx/access.log | meter-replay --limit 10/s -

Exit codes: 0 after a report. 3 after a report if more lines were bad than --max-bad allows, or part of an input
could not be read. 2 without a report: the reason is one line on stderr.
";

/// Returns a man page in which indented lines, tables and examples stay as they are.
fn with_tables(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page).replace(".SH EXTRA", ".SH EXAMPLES");
    let mut kept = String::new();
    let mut is_table = false;
    for line in page.split_inclusive('\n') {
        if is_table != line.starts_with(' ') {
            is_table = !is_table;
            kept += if is_table { ".nf\n" } else { ".fi\n" };
        }
        kept += line;
    }
    kept.into_bytes()
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Returns the URL of a store without its user and password, if it has them.
fn without_password(word: &str) -> Option<String> {
    let (scheme, rest) = word.split_once("://")?;
    let (_, server) = rest.rsplit_once('@')?;
    (scheme.ends_with("redis") || scheme.ends_with("rediss")).then(|| format!("{scheme}://...@{server}"))
}

/// Returns the error of the command line, without the usage lines that follow.
#[must_use]
pub fn complaint(error: &clap::Error) -> String {
    let message = error.to_string();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let is_usage = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more information");
    // No input has a name that begins with a dash.
    let is_wrong = |line: &&str| line.starts_with("tip: to pass");
    let mut complaint = String::new();
    let lines = message.lines().map(str::trim).take_while(|line| !is_usage(line));
    for line in lines.filter(|line| !is_wrong(line)) {
        if !(line.is_empty() || complaint.is_empty()) {
            complaint += if complaint.ends_with(':') { " " } else { ", " };
        }
        complaint += line;
    }
    complaint + "; see --help"
}

impl Cli {
    /// Returns whether the report is printed as JSON.
    #[must_use]
    pub fn prints_json(&self) -> bool {
        let printed = self.formats.iter().rfind(|format| !matches!(format, Format::Log(_)));
        printed == Some(&Format::Json)
    }

    /// Returns the log format that splits lines, if one is given.
    fn log_format(&self) -> Option<String> {
        let named = self.formats.iter().find_map(|format| match format {
            Format::Log(name) => Some((*name).to_owned()),
            _ => None,
        });
        self.reading.log_format.clone().or(named)
    }

    /// Returns the command line quoted for a shell, without the password of a store. If keys must not be named, the values of `--only` are left out,
    /// too.
    #[must_use]
    pub fn command_line(&self) -> String {
        let mut line = String::from("meter-replay");
        let mut is_hidden = false;
        for word in &self.words {
            line.push(' ');
            if std::mem::take(&mut is_hidden) {
                line.push_str("...");
            } else if let Some(url) = without_password(word) {
                line += &quoted(&url);
            } else if self.anonymise && word.starts_with("--only=") {
                line.push_str("--only=...");
            } else {
                is_hidden = self.anonymise && word == "--only";
                line += &quoted(word);
            }
        }
        line
    }

    /// Returns whether to compute the limits that would have denied nothing.
    #[must_use]
    pub fn suggests(&self) -> bool {
        !self.no_suggest && self.algorithm.has_burst()
    }

    /// Returns the limits to try.
    ///
    /// # Errors
    ///
    /// There are none, or one is not a limit.
    pub fn limits(&self) -> Result<Vec<LimitSpec>, Error> {
        let parse = |text: &str| LimitSpec::parse(text, self.algorithm);
        let mut limits: Vec<LimitSpec> = self.limits.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
        if let Some(path) = &self.asking.limits_file {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|source| Error::ReadLimits {
                path: name.clone(),
                source,
            })?;
            limits.push(LimitSpec::per_key(RuleFile::parse(&name, &text, self.algorithm)?));
        }
        if limits.is_empty() && self.demo {
            limits = demo::limits(self.algorithm)
                .into_iter()
                .map(parse)
                .collect::<Result<_, _>>()?;
        }
        if limits.is_empty() {
            return Err(Error::NoLimit);
        }
        #[cfg(feature = "store")]
        if let Some(url) = &self.asking.store {
            let store = RunStore::open(url).map_err(|reason| Error::BadStore { reason })?;
            return limits.into_iter().map(|limit| limit.in_store(&store)).collect();
        }
        Ok(limits)
    }

    /// Returns the index among `limits` of the limit that `--chosen` names, or of the first without it.
    ///
    /// # Errors
    ///
    /// [`Error::NotChosen`].
    pub fn chosen(&self, limits: &[LimitSpec]) -> Result<usize, Error> {
        let Some(text) = &self.asking.chosen else { return Ok(0) };
        let names: Vec<String> = limits.iter().map(|limit| limit.rule().to_string()).collect();
        // As it was given, or as the report writes it.
        let given = self.limits.iter().position(|limit| limit == text);
        let wanted =
            LimitSpec::parse(text, self.algorithm).map_or_else(|_| text.clone(), |limit| limit.rule().to_string());
        let found = given.or_else(|| names.iter().position(|name| *name == wanted));
        found.ok_or_else(|| Error::NotChosen {
            text: text.clone(),
            limits: names.join(", "),
        })
    }

    /// Returns the networks whose addresses are one key. In a capture, each address is a key, unless an option sets a length.
    #[must_use]
    pub fn networks(&self, unit: Unit) -> Networks {
        let ipv6 = if unit == Unit::Requests { 64 } else { 128 };
        Networks {
            ipv4: self.ipv4_prefix.unwrap_or(32),
            ipv6: self.ipv6_prefix.unwrap_or(ipv6),
        }
    }

    /// Returns the options for reading the inputs.
    ///
    /// # Errors
    ///
    /// [`Error::NoAddresses`] if keys that are not addresses are to be grouped by network.
    pub fn options(&self) -> Result<Options, Error> {
        let by = self.by.as_deref().map(By::parse);
        let key = self.key.clone().map(By::Column);
        let by = by.or(key);
        let no_address = by.as_ref().filter(|by| !by.may_be_address());
        for (prefix, option) in [(self.ipv4_prefix, "--ipv4-prefix"), (self.ipv6_prefix, "--ipv6-prefix")] {
            if let (Some(by), Some(_)) = (no_address, prefix) {
                return Err(Error::NoAddresses { option, by: by.clone() });
            }
        }
        let stamps = self.reading.stamps();
        Ok(Options {
            by,
            time: self.time.clone(),
            cost: self.cost.clone(),
            time_is: self.reading.time_is,
            duration: self.reading.duration.clone(),
            regex: self.reading.regex.clone(),
            log_format: self.log_format(),
            path_depth: self.reading.path_depth,
            proxies: self.reading.trust.clone(),
            ipv6_prefix: self.ipv6_prefix,
            ipv4_prefix: self.ipv4_prefix,
            most_keys: Some(self.keys),
            anonymise: self.anonymise,
            places: self.asking.denied.is_some(),
            plan: self.asking.plan.clone(),
            select: self.asking.select(stamps.zone.as_ref())?,
            stamps,
            ..Options::default()
        })
    }

    /// Returns the text to print instead of a report, if requested: completions or the man page.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn instead(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut command = Self::command();
        let mut text = Vec::new();
        if let Some(shell) = self.completions {
            clap_complete::generate(shell, &mut command, "meter-replay", &mut text);
        } else if self.man {
            let man = clap_mangen::Man::new(command);
            man.render(&mut text).map_err(|error: io::Error| Error::Write(error))?;
            text = with_tables(&text);
        } else {
            return Ok(None);
        }
        Ok(Some(text))
    }
}
