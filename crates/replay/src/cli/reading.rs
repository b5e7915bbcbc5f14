//! The options for reading inputs.

use clap::{Args, ValueEnum};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

use crate::input::TimeIs;
use crate::proxies::Proxies;
use crate::stamp::{FirstYear, StampOptions, TimeFormat};

/// The placement of requests with one coarse stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Spread {
    /// Both: all at the stamp, and if that differs, also evenly over its unit.
    #[default]
    Both,
    /// Evenly over the unit of the stamp, for each key.
    Even,
    /// All at the stamp.
    None,
}

/// The options for reading inputs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "How inputs are read")]
pub struct Reading {
    /// Take lines apart by a format of nginx or Apache, as it stands in the configuration, or a named one
    ///
    /// As '$remote_addr [$time_local] "$request" $status', or '%h %l %u %t \"%r\" %>s %b'. Named ones are
    /// common, combined, vhost_combined, main, alb, elb, s3, haproxy, squid, nlb, vpc-flow, tcpdump,
    /// nginx-proxy-manager, gin, istio and envoy.
    #[arg(long, value_name = "FORMAT", conflicts_with = "regex", verbatim_doc_comment)]
    pub log_format: Option<String>,

    /// Take lines apart by a regular expression with the groups `(?<time>...)` and `(?<key>...)`
    ///
    /// Other groups can be named by --by, --key, --cost and --duration.
    #[arg(long, value_name = "REGEX", verbatim_doc_comment)]
    pub regex: Option<String>,

    /// The form of stamps: a format of strptime, or the unit of Unix time (s, ms, us, ns)
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,

    /// The zone of stamps that have none, such as Europe/Berlin, +02:00 or `local`; if not given, UTC
    #[arg(long, value_name = "ZONE", value_parser = zone, allow_hyphen_values = true)]
    pub tz: Option<TimeZone>,

    /// The year of the first line of each file, if stamps have none; if not given, it follows from the file's date
    ///
    /// Stamps of syslog have no year. If not given, the year is the latest in which the first line is not after the
    /// time at which the file was last written. Later lines begin the next year where January follows December.
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=2200), verbatim_doc_comment)]
    pub year: Option<i16>,

    /// The end of a request that its stamp marks; with `end`, requests are moved back by their duration
    ///
    /// A limit acts when a request starts. nginx, IIS, Caddy and CloudFront stamp its end; Apache, HAProxy,
    /// Envoy and Traefik its start. If not given, only the requests of an access log whose lines end with
    /// nginx's $request_time are moved.
    #[arg(
        long,
        value_name = "start|end",
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub time_is: TimeIs,

    /// The column of the duration of a request, and its unit, like `took:ms`; in an access log `last:us`
    #[arg(long, value_name = "COLUMN[:UNIT]")]
    pub duration: Option<String>,

    /// Accept stamps of 1970 to 2200; otherwise those outside of 1990 to 2099 are taken for other numbers
    #[arg(long)]
    pub allow_old: bool,

    /// With --by xff: our own proxies, by their networks or their number
    ///
    /// The client is the first address from the right that belongs to no proxy. If not given, our own proxies are
    /// those with private addresses.
    #[arg(long, value_name = "NETWORKS|HOPS", value_parser = Proxies::parse, verbatim_doc_comment)]
    pub trust: Option<Proxies>,

    /// Paths that begin with the same N segments are one key: `/api` of `/api/users/7` with 1
    #[arg(long, value_name = "N")]
    pub path_depth: Option<usize>,

    /// Space the requests of one stamp evenly over its unit, for each key by itself
    ///
    /// Most logs stamp whole seconds, so the time of a request within its second is unknown. A limit denies
    /// the most if all requests come at the stamp, and the least if they are evenly spaced. If not given, both
    /// bounds are reported wherever they differ. With --spread only the even one is reported, and suggestions
    /// are for it; with --spread=none only the other.
    #[arg(long, value_name = "even|none", value_enum, num_args = 0..=1, require_equals = true, default_value = "both",
        default_missing_value = "even", hide_default_value = true, hide_possible_values = true, verbatim_doc_comment)]
    pub spread: Spread,

    /// The share of bad lines, in percent, above which the exit code is 3; one bad line is always allowed
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
    let no_zone = |_| "no such time zone; a zone is like Europe/Berlin or +02:00".to_owned();
    match name {
        "local" => Ok(TimeZone::system()),
        // A zone of POSIX, such as `UTC+2`, is not taken: its sign is the opposite of the usual one.
        offset if offset.starts_with(['+', '-']) => DateTimeParser::new().parse_time_zone(offset).map_err(no_zone),
        name => TimeZone::get(name).map_err(no_zone),
    }
}

impl Reading {
    /// Returns the options for reading stamps.
    #[must_use]
    pub fn stamps(&self) -> StampOptions {
        StampOptions {
            zone: self.tz.clone(),
            format: self.time_format.as_deref().map(TimeFormat::parse),
            allow_old: self.allow_old,
            year: self.year.map(FirstYear::Given),
        }
    }
}
