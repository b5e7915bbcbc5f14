//! The module `limit_req` of nginx: a leaky bucket in thousandths of a request, on a clock of milliseconds.
//!
//! The rate is stored in thousandths of a request a second and truncated to a whole number, so `100r/m` is 1.666 a second. The first request of a key
//! has an excess of 0. Every later request drains `rate * ms / 1000` (truncated to a whole number) and adds 1000; it is rejected if the result is
//! above the burst. If the excess is above `delay`, the request is delayed by `(excess - delay) / rate`. An empty key is not limited. The zone of the
//! model has room for every key; a real zone evicts the oldest.
//!
//! Source: `ngx_http_limit_req_lookup` and `ngx_http_limit_req_account`, nginx 1.15 and later.

use std::fmt;
use std::num::{NonZeroU32, ParseIntError};
use std::str::FromStr;
use std::time::Duration;

use ratelimit_meter::Quota;

use super::{BadModel, ModelState};
use crate::verdict::EventVerdict;

const MS: i64 = 1_000_000;

/// A rate of nginx, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nginx {
    requests: NonZeroU32,
    per: Per,
    burst: u32,
    delay: Delay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
}

/// The part of the burst that is delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    /// `nodelay`: no request is delayed.
    None,
    /// `delay=N`: requests beyond the first N of the burst. Without the parameter all of them, which is `delay=0`.
    Above(u32),
}

/// The state of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NginxNode {
    /// In thousandths of a request.
    excess: i128,
    last_ms: i64,
}

impl Nginx {
    /// Returns thousandths of a request a second.
    fn rate(&self) -> i128 {
        let seconds = match self.per {
            Per::Second => 1,
            Per::Minute => 60,
        };
        i128::from(self.requests.get()) * 1_000 / seconds
    }

    /// Returns the number of requests at once that are not rejected.
    #[must_use]
    pub fn at_once(&self) -> u64 {
        u64::from(self.burst) + 1
    }

    /// Returns whether some requests are delayed.
    pub(crate) fn delays(&self) -> bool {
        matches!(self.delay, Delay::Above(delay) if delay < self.burst)
    }

    pub(super) fn closest_quota(&self) -> Option<Quota> {
        let period = Duration::from_secs(match self.per {
            Per::Second => 1,
            Per::Minute => 60,
        });
        let burst = NonZeroU32::new(u32::try_from(self.at_once()).ok()?)?;
        Some(Quota::new(self.requests, period).ok()?.allow_burst(burst))
    }

    pub(super) fn check(&self, state: &mut ModelState, time: i64) -> EventVerdict {
        let now = time.div_euclid(MS);
        let ModelState::Nginx(node) = state else {
            *state = ModelState::Nginx(NginxNode {
                excess: 0,
                last_ms: now,
            });
            return EventVerdict::Admitted;
        };
        let passed = match now - node.last_ms {
            ..-60_000 => 1,
            passed => passed.max(0),
        };
        let excess = (node.excess - self.rate() * i128::from(passed) / 1_000 + 1_000).max(0);
        let burst = i128::from(self.burst) * 1_000;
        if excess > burst {
            // The drain that is missing, at the earliest whole millisecond after `last`.
            let missing = (node.excess + 1_000 - burst) * 1_000;
            let passed = (missing + self.rate() - 1) / self.rate();
            let earliest = (i128::from(node.last_ms) + passed) * i128::from(MS);
            let wait = u64::try_from(earliest - i128::from(time)).unwrap_or(u64::MAX);
            return EventVerdict::Denied(Duration::from_nanos(wait));
        }
        node.excess = excess;
        if passed != 0 {
            node.last_ms = now;
        }
        let Delay::Above(delay) = self.delay else {
            return EventVerdict::Admitted;
        };
        let held = (excess - i128::from(delay) * 1_000) * 1_000 / self.rate();
        match u64::try_from(held) {
            Ok(0) | Err(_) => EventVerdict::Admitted,
            Ok(ms) => EventVerdict::Delayed(Duration::from_millis(ms)),
        }
    }
}

impl FromStr for Nginx {
    type Err = BadModel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_whitespace();
        let rate = words.next().unwrap_or_default();
        let rate = rate.strip_prefix("rate=").unwrap_or(rate);
        let (requests, per) = rate_of(rate).ok_or_else(|| BadModel::NginxRate { found: rate.to_owned() })?;
        let (mut burst, mut delay) = (None, None);
        for word in words {
            let bad = |_: ParseIntError| BadModel::NginxWord { found: word.to_owned() };
            let before = if let Some(number) = word.strip_prefix("burst=") {
                burst.replace(number.parse().map_err(bad)?).is_some()
            } else if let Some(number) = word.strip_prefix("delay=") {
                delay.replace(Delay::Above(number.parse().map_err(bad)?)).is_some()
            } else if word == "nodelay" {
                delay.replace(Delay::None).is_some()
            } else {
                return Err(BadModel::NginxWord { found: word.to_owned() });
            };
            if before {
                return Err(BadModel::NginxTwice { found: word.to_owned() });
            }
        }
        Ok(Self {
            requests,
            per,
            burst: burst.unwrap_or(0),
            delay: delay.unwrap_or(Delay::Above(0)),
        })
    }
}

fn rate_of(text: &str) -> Option<(NonZeroU32, Per)> {
    let (number, per) = if let Some(number) = text.strip_suffix("r/s") {
        (number, Per::Second)
    } else {
        (text.strip_suffix("r/m")?, Per::Minute)
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| is_number)?, per))
}

impl Nginx {
    /// Returns the rate as `limit_req_zone` takes it, and the parameters after the zone in `limit_req`.
    pub(crate) fn directive(&self) -> (String, String) {
        let text = self.to_string();
        let text = text.trim_start_matches("nginx:");
        let (rate, parameters) = text.split_at(text.find(' ').unwrap_or(text.len()));
        (rate.to_owned(), parameters.to_owned())
    }
}

/// Formats the model as `--limit` takes it.
impl fmt::Display for Nginx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "s",
            Per::Minute => "m",
        };
        write!(f, "nginx:{}r/{per}", self.requests)?;
        if self.burst > 0 {
            write!(f, " burst={}", self.burst)?;
        }
        match self.delay {
            Delay::None => f.write_str(" nodelay"),
            Delay::Above(0) => Ok(()),
            Delay::Above(delay) => write!(f, " delay={delay}"),
        }
    }
}
