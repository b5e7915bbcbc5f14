//! The options that say how inputs are read.

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use crate::input::TimeIs;
use crate::input::pattern::Named;
use crate::proxies::Proxies;
use crate::stamp::{StampOptions, TimeFormat};

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

    /// Take lines apart by a format of nginx (`log_format`) or Apache (`LogFormat`), or one that is named
    ///
    /// As it stands in the server's configuration: '$remote_addr [$time_local] "$request" $status'. Known by name:
    /// common, combined, vhost_combined, main, alb, elb, s3, haproxy, envoy, istio.
    #[arg(long, value_name = "FORMAT", conflicts_with = "regex")]
    pub log_format: Option<String>,

    /// Take lines apart by a regular expression with the groups (?<time>...) and (?<key>...)
    ///
    /// Other groups can be named by --by, --key, --cost and --duration.
    #[arg(long, value_name = "REGEX")]
    pub regex: Option<String>,

    /// How stamps are written, as strptime has it, or the unit of Unix time: s, ms, us, ns
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,

    /// The zone of stamps that have none, such as Europe/Berlin, or `local`; if not given, UTC
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub tz: Option<TimeZone>,

    /// Which end of a request its stamp is of: with `end`, requests are moved back by how long they took
    ///
    /// A limit acts when a request starts; nginx, IIS, Caddy and CloudFront stamp its end, Apache, HAProxy, Envoy and
    /// Traefik its start. `auto` moves those of an access log whose lines end with nginx's $request_time.
    #[arg(
        long,
        value_name = "auto|start|end",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub time_is: TimeIs,

    /// The column of how long a request took, and its unit, like `took:ms`; in an access log `last:us`
    #[arg(long, value_name = "COLUMN[:UNIT]")]
    pub duration: Option<String>,

    /// Take stamps outside of 1990 to 2100 for times, and not for durations or serial numbers
    #[arg(long)]
    pub allow_old: bool,

    /// With --by xff: our own proxies, by their networks, or how many there are
    ///
    /// The client is the first address from the right that is none of them. If not given, those with private addresses.
    #[arg(long, value_name = "NETWORKS|HOPS", value_parser = Proxies::parse)]
    pub trust: Option<Proxies>,

    /// Paths that begin with the same N segments are one key: `/api` of `/api/users/7` with 1
    #[arg(long, value_name = "N")]
    pub path_depth: Option<usize>,

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

fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|_| "no such time zone; a name is like Europe/Berlin".to_owned()),
    }
}

impl Reading {
    /// How stamps are to be read.
    #[must_use]
    pub fn stamps(&self) -> StampOptions {
        StampOptions {
            zone: self.tz.clone().unwrap_or(TimeZone::UTC),
            format: self.time_format.as_deref().map(TimeFormat::parse),
            allow_old: self.allow_old,
        }
    }

    /// The format that takes lines apart: that of `--log-format`, or a name that was given to `--format`.
    #[must_use]
    pub fn log_format(&self, format: Option<Named>) -> Option<String> {
        self.log_format
            .clone()
            .or_else(|| format.map(|named| named.name.to_owned()))
    }
}
