use super::Quota;
use super::text::{ParseQuotaError, Problem};
use core::fmt;
use core::str::FromStr;

/// Two quotas for one subject, as the `Dual` of the feature `dual` holds them.
///
/// The text of a pair is both texts with an `&` between them: `10/s & 1000/h`, `1000/s burst 10 & 1000000/s`. Parsing a text that `Display` wrote
/// returns the same pair. The feature `serde` (de)serialises that text.
///
/// ```
/// use ratelimit_meter::{DualQuota, Quota, nonzero};
///
/// let pair: DualQuota = "10/s & 1000/h".parse()?;
/// assert_eq!(pair.first(), Quota::per_second(nonzero!(10u32)));
/// assert_eq!(pair.second(), Quota::per_hour(nonzero!(1000u32)));
/// assert_eq!(pair.to_string(), "10/s & 1000/h");
/// # Ok::<(), ratelimit_meter::ParseQuotaError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DualQuota {
    first: Quota,
    second: Quota,
}

impl DualQuota {
    /// Returns the pair of two quotas.
    #[must_use]
    pub const fn new(first: Quota, second: Quota) -> Self {
        Self { first, second }
    }

    /// Returns the first quota.
    #[must_use]
    pub const fn first(&self) -> Quota {
        self.first
    }

    /// Returns the second quota.
    #[must_use]
    pub const fn second(&self) -> Quota {
        self.second
    }
}

/// Writes the canonical texts of both.
impl fmt::Display for DualQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} & {}", self.first, self.second)
    }
}

/// Reads two quotas with an `&` between them. White space around the `&` is optional.
impl FromStr for DualQuota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ands = text.match_indices('&').map(|(at, _)| at);
        let and = ands.next().ok_or(Problem::And.at(text.len()..text.len()))?;
        if let Some(third) = ands.next() {
            return Err(Problem::Third.at(third..third + 1));
        }
        let (first, after) = (text[..and].parse()?, and + 1);
        let second = text[after..].parse();
        Ok(Self::new(
            first,
            second.map_err(|error: ParseQuotaError| error.later(after))?,
        ))
    }
}
