//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::Error;
use crate::demo;
use crate::input::{By, Options};
use crate::limit::{Algorithm, Limit};

/// What would a rate limit have done to yesterday's traffic?
///
/// Replays access logs (Common or Combined Log Format) and text delimited by commas or tabs, with a
/// header, through one or more limits, and tells what each would have admitted and denied, and whom it
/// hits hardest. The files of a rotated log may be named in any order.
#[derive(Debug, Parser)]
#[command(name = "meter-replay", version, verbatim_doc_comment)]
pub struct Cli {
    /// A limit to try, like `10/s` or `100/min burst 20`; more than one are compared
    #[arg(long = "limit", value_name = "LIMIT")]
    pub limits: Vec<String>,

    /// How a meter keeps its account; for equal limits both decide alike
    #[arg(long, value_enum, default_value_t)]
    pub algorithm: Algorithm,

    /// Who has a meter: each ip, all together, or each value of a column
    ///
    /// If not given: each ip in access logs, all together in delimited text.
    #[arg(long, value_name = "ip|all|COLUMN")]
    pub by: Option<String>,

    /// Each value of this column has a meter, even where it is named `all`
    #[arg(long, value_name = "COLUMN", conflicts_with = "by")]
    pub key: Option<String>,

    /// The column of stamps; if not given, one named time, timestamp or the like
    ///
    /// Stamps are Unix seconds, RFC 3339, or YYYY-MM-DD HH:MM:SS, the first and the last with or without
    /// a fraction; UTC where no zone stands.
    #[arg(long, value_name = "COLUMN", verbatim_doc_comment)]
    pub time: Option<String>,

    /// The column of how many cells a request asks for; if not given, one
    #[arg(long, value_name = "COLUMN")]
    pub cost: Option<String>,

    /// How many of the hardest-hit keys to name
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,

    /// Replay made-up traffic instead of files, to see what this does
    #[arg(long, conflicts_with_all = ["files", "by", "key", "time", "cost"])]
    pub demo: bool,

    /// Access logs, or delimited text with a header; not compressed
    pub files: Vec<PathBuf>,
}

impl Cli {
    /// The limits to try.
    ///
    /// # Errors
    ///
    /// None are given, or one is not a limit.
    pub fn limits(&self) -> Result<Vec<Limit>, Error> {
        let parse = |text: &str| Limit::parse(text, self.algorithm);
        if !self.limits.is_empty() {
            self.limits.iter().map(|text| parse(text)).collect()
        } else if self.demo {
            demo::LIMITS.into_iter().map(parse).collect()
        } else {
            Err(Error::NoLimit)
        }
    }

    /// What to make of the files.
    #[must_use]
    pub fn options(&self) -> Options {
        let by = self.by.clone().map(|by| match by.as_str() {
            "ip" => By::Ip,
            "all" => By::All,
            _ => By::Column(by),
        });
        let key = self.key.clone().map(By::Column);
        Options {
            by: by.or(key),
            time: self.time.clone(),
            cost: self.cost.clone(),
        }
    }
}
