//! The options that ask for more than the tables: which requests, whose limits, and what to make of a limit.

use std::path::PathBuf;

use clap::Args;

use crate::emit::Target;
use crate::select::{BadCondition, Condition, Select};
use crate::stamp;

/// What is asked of the traffic.
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
    /// It is for the first limit, or for the one that --chosen names.
    #[arg(long, value_name = "FILE.csv", verbatim_doc_comment)]
    pub denied: Option<PathBuf>,

    /// Print a limit as configuration for other software; without files, print nothing else
    ///
    /// It is for the first limit, or for the one that --chosen names. Comments say what will differ.
    #[arg(long, value_name = "TARGET", value_enum, verbatim_doc_comment)]
    pub emit: Option<Target>,

    /// The limit that --denied and --emit are about: one of those given, as it was given
    #[arg(long, value_name = "LIMIT")]
    pub chosen: Option<String>,

    /// Replay only requests for which this holds: path=/api/, status=5xx, method=GET|HEAD, COLUMN=VALUE
    ///
    /// A path is compared by its beginning, `x` in a status is any digit, `|` stands between alternatives, and
    /// `!=` is for all others. Several conditions, joined by ` and ` or in several --only, must all hold.
    #[arg(long, value_name = "EXPR", value_parser = parse_conditions, verbatim_doc_comment)]
    pub only: Vec<Conditions>,

    /// Replay no request before this time: RFC 3339, YYYY-MM-DD, or Unix seconds
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<i64>,

    /// Replay only requests before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<i64>,

    /// The column of plans: a file of --limits has the limit of each plan, not of each key
    #[arg(long, value_name = "COLUMN", requires = "limits_file")]
    pub plan: Option<String>,

    /// Follow a growing file or standard input, show a live table, and end with the report
    ///
    /// It takes one input, in the order of its lines. Ctrl-C, or the end of standard input, ends it. On a terminal
    /// the table is drawn in place; elsewhere each is printed below the one before.
    #[arg(long, conflicts_with_all = ["order", "demo"], verbatim_doc_comment)]
    pub follow: bool,
}

/// The conditions of one `--only`.
pub type Conditions = Vec<Condition>;

fn parse_conditions(text: &str) -> Result<Conditions, BadCondition> {
    Condition::parse_all(text)
}

fn time(text: &str) -> Result<i64, String> {
    let stamp = text.trim();
    let midnight = format!("{stamp}T00:00:00Z");
    let found = stamp::parse(stamp.as_bytes()).or_else(|error| stamp::parse(midnight.as_bytes()).map_err(|_| error));
    found.map_err(|error| error.to_string())
}

impl Asking {
    /// Which requests are replayed.
    #[must_use]
    pub fn select(&self) -> Select {
        Select {
            since: self.since,
            until: self.until,
            only: self.only.iter().flatten().cloned().collect(),
        }
    }
}
