//! The limiters of other software, as models: pure functions of a key's state, a time and a cost.
//!
//! Each model is exact in integers and is compared with an independent script (`tests/check.py`). The model of nginx is also compared with a running
//! nginx (`tests/tool/nginx.rs`). A denied request changes no state. Zero cells are admitted and change no state, except under nginx, which counts
//! requests and not cells.

mod nginx;
mod window;

use std::fmt;

use ratelimit_meter::Quota;

pub use nginx::Nginx;
pub use window::{Window, WindowKind};

use crate::verdict::EventVerdict;

/// A limiter of other software.
///
/// ```
/// use meter_replay::model::Model;
///
/// let model = Model::parse("nginx:10r/s burst=20 nodelay").expect("it names a model")?;
/// assert_eq!(model.to_string(), "nginx:10r/s burst=20 nodelay");
/// assert!(Model::parse("10/s burst 20").is_none());
/// # Ok::<(), meter_replay::model::BadModel>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Counts cells in windows of time.
    Window(Window),
    /// The module `limit_req` of nginx.
    Nginx(Nginx),
}

/// The reason why a text that names a model is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadModel {
    /// The rate of a window is not a quota.
    #[error("at `{found}`: {reason}")]
    Quota {
        /// The bad part.
        found: String,
        /// The parser's error.
        reason: ratelimit_meter::ParseQuotaError,
    },
    /// A window has only a number of cells and a period.
    #[error("a window takes CELLS/PERIOD and no burst, weight or ticks, like {kind}:100/min")]
    MoreThanAWindow {
        /// The name of the model.
        kind: &'static str,
    },
    /// No limiter has this name.
    #[error(
        "`{found}` is no limiter: expected fixed, sliding-log, sliding-window or nginx, or a limit without a name, like 10/s; the README lists \
         the limits of other software"
    )]
    Name {
        /// The name.
        found: String,
    },
    /// A rate of nginx without the name of nginx.
    #[error("this is a rate of nginx: write nginx:{found}, or without nginx a limit like 10/s burst 20")]
    NginxUnnamed {
        /// The text without a name.
        found: String,
    },
    /// The rate of nginx is missing or malformed.
    #[error("`{found}` is not a rate of nginx: expected one like 10r/s or 100r/m")]
    NginxRate {
        /// The text instead of the rate.
        found: String,
    },
    /// `limit_req` does not have this word.
    #[error("`{found}` is not a parameter of limit_req: expected burst=N, delay=N or nodelay")]
    NginxWord {
        /// The word.
        found: String,
    },
    /// A parameter of `limit_req` appears twice, or `delay` beside `nodelay`.
    #[error("`{found}` contradicts an earlier parameter: give burst once, and either delay or nodelay")]
    NginxTwice {
        /// The later of the two.
        found: String,
    },
}

/// State of one key under a [`Model`].
#[derive(Debug, Default)]
pub(crate) enum ModelState {
    /// The key has not asked yet.
    #[default]
    New,
    Counted(window::Counted),
    Logged(window::Logged),
    Nginx(nginx::NginxNode),
}

impl Model {
    /// Parses `fixed:100/min`, `sliding-log:100/min`, `sliding-window:100/min` or `nginx:10r/s burst=20 nodelay`. Returns `None` if the text does not
    /// begin with a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, BadModel>> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once(':') else {
            let first = text.split_ascii_whitespace().next()?;
            let rate = first.strip_prefix("rate=").unwrap_or(first);
            let is_of_nginx = rate.starts_with(|digit: char| digit.is_ascii_digit())
                && (rate.ends_with("r/s") || rate.ends_with("r/m"));
            let found = text.to_owned();
            return is_of_nginx.then_some(Err(BadModel::NginxUnnamed { found }));
        };
        if name == "nginx" {
            return Some(rest.parse().map(Self::Nginx));
        }
        let found = name.to_owned();
        let kind = WindowKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or(BadModel::Name { found });
        Some(kind.and_then(|kind| Window::parse(kind, rest).map(Self::Window)))
    }

    /// Decides a request of `cost` cells at `time`, in nanoseconds since the Unix epoch. A time before the key's latest counts as the latest, except
    /// under nginx, which has a rule of its own.
    pub(crate) fn check(&self, state: &mut ModelState, time: i64, cost: u64) -> EventVerdict {
        match self {
            Self::Window(window) => window.check(state, time, cost),
            Self::Nginx(nginx) => nginx.check(state, time),
        }
    }

    /// Returns the quota of a meter that is closest to this model: the same long-run rate and as many cells at once.
    #[must_use]
    pub fn closest_quota(&self) -> Option<Quota> {
        match self {
            Self::Window(window) => Some(window.quota()),
            Self::Nginx(nginx) => nginx.closest_quota(),
        }
    }
}

/// Formats the model as `--limit` takes it.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(window) => window.fmt(f),
            Self::Nginx(nginx) => nginx.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
