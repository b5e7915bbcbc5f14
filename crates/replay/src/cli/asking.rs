//! The options beyond the tables: which requests, the limits of keys, and outputs for one limit.

use std::path::PathBuf;

use clap::Args;
use jiff::tz::TimeZone;

use crate::Error;
use crate::emit::Software;
use crate::select::{BadCondition, Condition, Select};
use crate::stamp::{StampOptions, Stamps};

/// The options that select and analyse traffic.
#[derive(Debug, Clone, Args)]
pub struct Asking {
    /// Limits for each key, from a file of KEY,LIMIT lines; compared like a `--limit`
    ///
    /// The row `*` is for every other key, and `unlimited` is no limit. Without a row `*`, other keys have no
    /// limit.
    #[arg(long = "limits", value_name = "FILE", verbatim_doc_comment)]
    pub limits_file: Option<PathBuf>,

    /// Write every request that a limit denies: input, line, time, key, cells, wait
    ///
    /// It is for the first limit, or the limit that --chosen names.
    #[arg(long, value_name = "FILE.csv", verbatim_doc_comment)]
    pub denied: Option<PathBuf>,

    /// Print a limit as configuration for other software; without files, print nothing else
    ///
    /// It is for the first limit, or the limit that --chosen names. Comments name the differences.
    #[arg(long, value_name = "TARGET", value_enum, verbatim_doc_comment)]
    pub emit: Option<Software>,

    /// The limit that --denied and --emit are about: one of those given, as it was given
    #[arg(long, value_name = "LIMIT")]
    pub chosen: Option<String>,

    /// Replay only requests for which this holds: path=/api/, status=5xx, method=GET|HEAD, COLUMN=VALUE
    ///
    /// A path is compared by its beginning, and after `==` as a whole. `*` is any text, and `x` in a status any
    /// digit. `|` stands between alternatives, and `!=` negates. Several conditions, joined by ` and ` or in
    /// several --only, must all hold.
    #[arg(long, value_name = "EXPR", value_parser = parse_conditions, verbatim_doc_comment)]
    pub only: Vec<Conditions>,

    /// Replay no request before this time: RFC 3339, YYYY-MM-DD, or Unix seconds
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Replay only requests before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// The column of plans: a file of --limits has the limit of each plan, not of each key
    #[arg(long, value_name = "COLUMN", requires = "limits_file")]
    pub plan: Option<String>,

    /// Keep the meters in a running Redis or Valkey, at the times of the traffic: redis://HOST:PORT/
    ///
    /// The decisions are those of a meter here, to the microsecond, and each is one call of the server. Its keys
    /// begin with `meter-replay:` and a number of this run. The server forgets them when they have been idle for
    /// an hour.
    #[cfg(feature = "store")]
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
    pub store: Option<String>,

    /// Follow a growing file or standard input, show a live table, and end with the report
    ///
    /// It takes one input, in the order of its lines. The table has all requests at their stamps, unless --spread is
    /// given. Ctrl-C, or the end of standard input, ends it. On a terminal the table is drawn in place; elsewhere
    /// each is printed below the one before.
    #[arg(long, conflicts_with_all = ["order", "demo"], verbatim_doc_comment)]
    pub follow: bool,
}

/// The conditions of one `--only`.
pub type Conditions = Vec<Condition>;

fn parse_conditions(text: &str) -> Result<Conditions, BadCondition> {
    Condition::parse_all(text)
}

impl Asking {
    /// Returns the requests to replay; times without a zone are in the zone of the stamps.
    ///
    /// # Errors
    ///
    /// [`Error::BadTime`].
    pub fn select(&self, zone: Option<&TimeZone>) -> Result<Select, Error> {
        Ok(Select {
            since: time("--since", self.since.as_deref(), zone)?,
            until: time("--until", self.until.as_deref(), zone)?,
            only: self.only.iter().flatten().cloned().collect(),
        })
    }
}

fn time(option: &'static str, text: Option<&str>, zone: Option<&TimeZone>) -> Result<Option<i64>, Error> {
    let Some(text) = text.map(str::trim) else {
        return Ok(None);
    };
    let mut stamps = Stamps::new(StampOptions {
        zone: zone.cloned(),
        format: None,
        allow_old: true,
        year: None,
    });
    let midnight = format!("{text} 00:00:00");
    let found = stamps.parse(text.as_bytes());
    let found = found.or_else(|error| stamps.parse(midnight.as_bytes()).map_err(|_| error));
    let bad = |_| Error::BadTime {
        option,
        text: text.to_owned(),
    };
    found.map(Some).map_err(bad)
}
