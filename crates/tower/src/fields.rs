//! The header fields that report a client's quota.

use crate::meters::{Denied, Detail, Standing};
use crate::numbers::seconds;
use crate::policy::{Announced, EFFECTIVE_WINDOW, Policy};
use bytes::Bytes;
use core::num::NonZeroU64;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::time::{Duration, SystemTime};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
static TRIPLE: [HeaderName; 3] = [LIMIT, REMAINING, RESET];

const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static X: [HeaderName; 3] = [X_LIMIT, X_REMAINING, X_RESET];

/// The fields that this crate may set, for `Access-Control-Expose-Headers`: without it, scripts of other origins cannot read them.
///
/// `tower_http::cors::CorsLayer::expose_headers` takes it as it is.
pub const EXPOSED: [HeaderName; 10] = [
    RATELIMIT_POLICY,
    RATELIMIT,
    RETRY_AFTER,
    RETRY_AFTER_MS,
    LIMIT,
    REMAINING,
    RESET,
    X_LIMIT,
    X_REMAINING,
    X_RESET,
];

/// The fields that report a client's quota. `Retry-After` is independent of this choice: it is set on every denial that ends with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fields {
    /// `RateLimit-Policy: "default";q=100;w=60` and `RateLimit: "default";r=50;t=30`, as in drafts 08 to 11 of
    /// draft-ietf-httpapi-ratelimit-headers: the form of the working group, which is not final.
    #[default]
    Draft11,
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, as in drafts 00 to 06; of the limit with the smallest share of its burst left.
    Triple,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which are in no standard; of the limit with the smallest share
    /// of its burst left.
    X(Reset),
    /// Sends no fields about the quota.
    None,
}

/// The form of `X-RateLimit-Reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Seconds from now.
    Delta,
    /// Seconds since 1970, as GitHub has it.
    Epoch,
}

impl Fields {
    pub(crate) const fn detail(self) -> Detail {
        match self {
            Self::None => Detail::Nothing,
            Self::Draft11 => Detail::Next,
            Self::Triple | Self::X(_) => Detail::Rest,
        }
    }
}

/// The position of a request under one policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) standing: Standing,
    pub(crate) denied: Option<Denied>,
}

impl Position<'_> {
    /// The parameter `t`; none if no time will do.
    #[inline]
    fn effective_window(&self) -> Option<NonZeroU64> {
        let Standing {
            remaining,
            until_next_ns,
            ..
        } = self.standing;
        let window = match self.denied {
            None => self.policy.numbers().effective_window(remaining, until_next_ns),
            Some(denied) => seconds(denied.wait_ns()?),
        };
        NonZeroU64::new(window)
    }

    /// Orders by the part of the burst that remains; a denial comes first.
    fn is_nearer_than(&self, other: &Self) -> bool {
        let wait = |position: &Self| position.denied.map(|denied| denied.wait_ns().unwrap_or(u64::MAX));
        match (wait(self), wait(other)) {
            (None, None) => {
                let (burst, others) = (self.policy.numbers().burst, other.policy.numbers().burst);
                let part = |remaining: u64, of: u64| u128::from(remaining) * u128::from(of);
                part(self.standing.remaining, others) < part(other.standing.remaining, burst)
            }
            (wait, others) => wait > others,
        }
    }
}

/// The fields of one response, written when they are set. It is small, since it is part of the future of each request.
#[derive(Debug, Default)]
pub(crate) enum Announcement {
    #[default]
    Nothing,
    /// One policy in the form of the draft.
    One(Item),
    /// Several policies in the form of the draft.
    Several(Box<[Item]>),
    Triple {
        names: Triple,
        values: [u64; 3],
    },
}

/// An item of `RateLimit`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    announced: &'static Announced,
    remaining: u64,
    window: Option<NonZeroU64>,
}

/// The names of three fields with a number each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Triple {
    Plain,
    X,
}

impl Triple {
    const fn names(self) -> &'static [HeaderName; 3] {
        match self {
            Self::Plain => &TRIPLE,
            Self::X => &X,
        }
    }
}

impl Announcement {
    /// Writes down positions, in the order of the limits. If `nearest` is set, or the form has room for one, writes only the position of the policy
    /// nearest to its end.
    pub(crate) fn of(fields: Fields, nearest: bool, positions: &[Position<'_>]) -> Self {
        match (fields, positions) {
            (Fields::None, _) | (_, []) => Self::Nothing,
            (Fields::Draft11, [_, _, ..]) if !nearest => Self::Several(positions.iter().map(Item::of).collect()),
            (_, [first, rest @ ..]) => {
                let position = rest.iter().fold(first, |a, b| if b.is_nearer_than(a) { b } else { a });
                Self::of_one(fields, position)
            }
        }
    }

    /// Writes down the position under one policy.
    #[inline]
    pub(crate) fn of_one(fields: Fields, position: &Position<'_>) -> Self {
        match fields {
            Fields::None => Self::Nothing,
            Fields::Draft11 => Self::One(Item::of(position)),
            Fields::Triple => Self::triple(Triple::Plain, position, None),
            Fields::X(Reset::Delta) => Self::triple(Triple::X, position, None),
            Fields::X(Reset::Epoch) => Self::triple(Triple::X, position, Some(SystemTime::now())),
        }
    }

    fn triple(names: Triple, position: &Position<'_>, from: Option<SystemTime>) -> Self {
        let rest = Duration::from_nanos(position.standing.until_rest_ns);
        let reset = from.map_or(rest, |from| {
            rest.saturating_add(from.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
        });
        let reset = reset.as_secs() + u64::from(reset.subsec_nanos() > 0);
        Self::Triple {
            names,
            values: [position.policy.numbers().burst, position.standing.remaining, reset],
        }
    }

    /// Adds the fields to those that an inner layer has set. Lists are appended; of two triples the one with fewer remaining is kept.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nothing => {}
            Self::One(item) => {
                headers.append(RATELIMIT_POLICY, item.announced.policy.clone());
                headers.append(RATELIMIT, Item::list(core::slice::from_ref(item)));
            }
            Self::Several(items) => {
                headers.append(
                    RATELIMIT_POLICY,
                    Announced::joined(items.iter().map(|item| item.announced)),
                );
                headers.append(RATELIMIT, Item::list(items));
            }
            Self::Triple { names, values } => {
                let names = names.names();
                let there = headers
                    .get(&names[1])
                    .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                if there.is_none_or(|remaining| values[1] < remaining) {
                    for (name, value) in names.iter().zip(values) {
                        headers.insert(name, integer(*value));
                    }
                }
            }
        }
    }
}

/// Writes a number as the value of a field. Numbers below 100, as most waits in seconds are, allocate nothing; larger ones allocate once.
pub(crate) fn integer(n: u64) -> HeaderValue {
    /// The numbers from 10 to 99.
    const TENS: &str = "101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354\
        555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    /// The numbers below 10.
    const ONES: &str = "0123456789";
    let digits = usize::try_from(n).ok().and_then(|n| match n {
        0..=9 => ONES.get(n..=n),
        10..=99 => TENS.get(2 * (n - 10)..2 * (n - 10) + 2),
        _ => None,
    });
    digits.map_or_else(
        || value(itoa::Buffer::new().format(n).as_bytes()),
        HeaderValue::from_static,
    )
}

impl Item {
    #[inline]
    fn of(position: &Position<'_>) -> Self {
        Self {
            announced: position.policy.announced(),
            remaining: position.standing.remaining,
            window: position.effective_window(),
        }
    }

    /// Returns the value of `RateLimit`, in one allocation.
    fn list(items: &[Self]) -> HeaderValue {
        const SEPARATOR: &[u8] = b", ";
        let bytes: usize = items.iter().map(|item| SEPARATOR.len() + item.len()).sum();
        let mut list = Vec::with_capacity(bytes.saturating_sub(SEPARATOR.len()));
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                list.extend_from_slice(SEPARATOR);
            }
            item.write(&mut list);
        }
        // A vector that is full becomes `Bytes` as it is.
        HeaderValue::from_maybe_shared(Bytes::from(list)).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Returns the number of bytes that `write` appends.
    fn len(&self) -> usize {
        let window = self
            .window
            .map_or(0, |window| 2 + EFFECTIVE_WINDOW.len() + digits(window.get()));
        self.announced.item.len() + digits(self.remaining) + window
    }

    fn write(&self, list: &mut Vec<u8>) {
        list.extend_from_slice(self.announced.item.as_bytes());
        let mut digits = itoa::Buffer::new();
        list.extend_from_slice(digits.format(self.remaining).as_bytes());
        if let Some(window) = self.window {
            list.push(b';');
            list.extend_from_slice(EFFECTIVE_WINDOW.as_bytes());
            list.push(b'=');
            list.extend_from_slice(digits.format(window.get()).as_bytes());
        }
    }
}

/// Returns the number of decimal digits.
fn digits(n: u64) -> usize {
    1 + n.checked_ilog10().unwrap_or(0) as usize
}

fn value(bytes: &[u8]) -> HeaderValue {
    // Strings of printable ASCII and digits are always a value.
    HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal() {
        for n in (0..=1000).chain([u64::MAX]) {
            assert_eq!(integer(n), n.to_string());
        }
    }
}
