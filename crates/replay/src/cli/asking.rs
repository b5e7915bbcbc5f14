//! The options that ask for more than the tables: which requests, whose limits, and what to make of a limit.

use std::path::PathBuf;

use clap::Args;

use crate::emit::Target;

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
}
