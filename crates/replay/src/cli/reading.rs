//! The options that say how inputs are read.

use clap::{Args, ValueEnum};

/// Where the requests of one coarse stamp are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Spread {
    /// All at the stamp, and where that differs evenly over its unit, too.
    #[default]
    Both,
    /// Evenly over the unit of the stamp, for each key.
    Even,
    /// All at the stamp.
    None,
}

/// How inputs are read.
#[derive(Debug, Clone, Args)]
pub struct Reading {
    /// Space the requests of one stamp evenly over its unit, for each key by itself
    ///
    /// Most logs have whole seconds, and do not say when within its second a request came. All at the stamp is the
    /// most a limit can deny, evenly spaced the least. If this is not given, both bounds are reported wherever they
    /// differ; with --spread only the even one, and suggestions are for it; with --spread=none only the other.
    #[arg(verbatim_doc_comment, long, value_name = "even|none", value_enum, num_args = 0..=1, require_equals = true,
        default_value = "both", default_missing_value = "even", hide_default_value = true, hide_possible_values = true)]
    pub spread: Spread,

    /// The share of bad lines, in percent, above which the exit code is 3; a single one is always allowed
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    pub max_bad: f64,
}

fn percent(text: &str) -> Result<f64, String> {
    let bare = text.trim().trim_end_matches('%');
    match bare.trim_end().parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}
