//! The header fields that report a client's quota.

use crate::meters::{Denied, Detail, Standing};
use crate::numbers::seconds;
use crate::policy::{Announced, EFFECTIVE_WINDOW, Policy};
use crate::respond::{GRPC_DETAILS, GRPC_MESSAGE, GRPC_PUSHBACK, GRPC_STATUS};
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
pub const EXPOSED: [HeaderName; 14] = [
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
    GRPC_STATUS,
    GRPC_MESSAGE,
    GRPC_DETAILS,
    GRPC_PUSHBACK,
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
    /// The parameter `t`; `None` if the request never conforms.
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
// The tag fills a word, because a moved byte is stored alone and loaded with its neighbours, which waits until the store is done.
#[derive(Debug, Default)]
#[repr(u64)]
pub(crate) enum Announcement {
    #[default]
    Nothing,
    /// One policy in the form of the draft.
    One(Item),
    /// Several policies in the form of the draft.
    Several(Vec<Item>),
    /// Three fields with a number each.
    Triple {
        names: &'static [HeaderName; 3],
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

impl Announcement {
    /// Writes down positions, in the order of the limits. If `nearest` is set, or the form has room for one, writes only the position of the policy
    /// nearest to its end.
    #[inline]
    pub(crate) fn of<'p>(fields: Fields, nearest: bool, mut positions: impl Iterator<Item = Position<'p>>) -> Self {
        match (fields, positions.next()) {
            (Fields::None, _) | (_, None) => Self::Nothing,
            (Fields::Draft11, Some(first)) if !nearest => match positions.next() {
                None => Self::of_one(fields, &first),
                Some(second) => {
                    let (_, more) = positions.size_hint();
                    let mut items = Vec::with_capacity(2 + more.unwrap_or(0));
                    items.push(Item::of(&first));
                    items.push(Item::of(&second));
                    for position in positions {
                        items.push(Item::of(&position));
                    }
                    Self::Several(items)
                }
            },
            (_, Some(first)) => {
                let position = positions.fold(first, |a, b| if b.is_nearer_than(&a) { b } else { a });
                Self::of_one(fields, &position)
            }
        }
    }

    /// Writes down the position under one policy.
    #[inline(always)]
    pub(crate) fn of_one(fields: Fields, position: &Position<'_>) -> Self {
        match fields {
            Fields::None => Self::Nothing,
            Fields::Draft11 => Self::One(Item::of(position)),
            Fields::Triple => Self::triple(&TRIPLE, position, None),
            Fields::X(Reset::Delta) => Self::triple(&X, position, None),
            Fields::X(Reset::Epoch) => Self::triple(&X, position, Some(SystemTime::now())),
        }
    }

    #[inline(never)]
    fn triple(names: &'static [HeaderName; 3], position: &Position<'_>, from: Option<SystemTime>) -> Self {
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

/// The largest number whose digits are ready made: the seconds of an hour.
const READY_MADE: usize = 3600;

/// The numbers up to [`READY_MADE`], each with four digits.
static DIGITS: &str = {
    const BYTES: [u8; 4 * (READY_MADE + 1)] = {
        let mut digits = [0; 4 * (READY_MADE + 1)];
        let mut place = 0;
        while place < digits.len() {
            let power = [1000, 100, 10, 1][place % 4];
            digits[place] = b"0123456789"[place / 4 / power % 10];
            place += 1;
        }
        digits
    };
    match core::str::from_utf8(&BYTES) {
        Ok(digits) => digits,
        Err(_) => "",
    }
};

/// Writes a number as the value of a field. Numbers up to 3600, as most waits in seconds are, allocate nothing; larger ones allocate once.
pub(crate) fn integer(n: u64) -> HeaderValue {
    let ready_made = usize::try_from(n).ok().filter(|n| *n <= READY_MADE).and_then(|n| {
        let leading_zeros = 3_usize.saturating_sub(n.checked_ilog10().unwrap_or(0) as usize);
        DIGITS.get(4 * n + leading_zeros..4 * n + 4)
    });
    ready_made.map_or_else(
        || value(itoa::Buffer::new().format(n).as_bytes()),
        HeaderValue::from_static,
    )
}

impl Item {
    /// The bytes of a list that is written on the stack, as nearly all are.
    const SHORT_LIST: usize = 256;
    /// The most bytes of an item besides its name: two numbers and their separators.
    const NUMBERS: usize = 48;

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
        let most = items.iter().map(|item| item.announced.item.len() + Self::NUMBERS).sum();
        let (mut short, mut long) = ([0; Self::SHORT_LIST], Vec::new());
        let list = match short.get_mut(..most) {
            Some(short) => short,
            None => {
                long.resize(most, 0);
                &mut long
            }
        };
        let (mut digits, mut room) = (itoa::Buffer::new(), &mut *list);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                room = write(room, ", ");
            }
            room = write(room, &item.announced.item);
            room = write(room, digits.format(item.remaining));
            if let Some(window) = item.window {
                room = write(room, EFFECTIVE_WINDOW);
                room = write(room, digits.format(window.get()));
            }
        }
        let length = most - room.len();
        value(&list[..length])
    }
}

/// Writes a text, and returns the room that is left after it.
#[inline]
fn write<'a>(room: &'a mut [u8], text: &str) -> &'a mut [u8] {
    let (place, room) = room.split_at_mut(text.len());
    place.copy_from_slice(text.as_bytes());
    room
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
        for n in (0..=5000).chain([u64::MAX]) {
            assert_eq!(integer(n), n.to_string());
        }
    }

    #[test]
    fn list_of_long_names_is_whole() {
        let quota = "100/min".parse().unwrap();
        for count in [1, 3, 20] {
            let name = |index: usize| format!("{}{index}", "a-name".repeat(index));
            let policies: Vec<_> = (0..count)
                .map(|index| Policy::new(&name(index), "default", quota))
                .collect();
            let position = |policy| Position {
                policy,
                standing: Standing {
                    remaining: u64::MAX,
                    ..Standing::default()
                },
                denied: Some(Denied::For(u64::MAX)),
            };
            let items: Vec<_> = policies.iter().map(|policy| Item::of(&position(policy))).collect();
            let item = |index| format!("\"{}\";r={};t=18446744074", name(index), u64::MAX);
            let expected: Vec<_> = (0..count).map(item).collect();
            assert_eq!(Item::list(&items), expected.join(", "));
        }
    }
}
