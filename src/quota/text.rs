//! The text of a quota: `100/min burst 20 weight 2 every 1s`.

use super::{DualQuota, Quota, greatest_common_divisor};
use crate::error::InconsistentCapacity;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;
use core::str::FromStr;
use core::time::Duration;

/// The units of time in nanoseconds, the largest first, with the names that the parser reads. `Display` writes the first name.
const UNITS: [(u64, &[&str]); 7] = [
    (86_400_000_000_000, &["d", "day", "days"]),
    (3_600_000_000_000, &["h", "hr", "hrs", "hour", "hours"]),
    (60_000_000_000, &["min", "m", "mins", "minute", "minutes"]),
    (1_000_000_000, &["s", "sec", "secs", "second", "seconds"]),
    (1_000_000, &["ms", "millisecond", "milliseconds"]),
    (1_000, &["us", "µs", "μs", "microsecond", "microseconds"]),
    (1, &["ns", "nanosecond", "nanoseconds"]),
];

/// The unit that the parser reads in addition. `Display` writes it as days.
const WEEK: (u64, &[&str]) = (604_800_000_000_000, &["w", "week", "weeks"]);

/// The text of [`Display`](fmt::Display).
impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes the canonical text: times in the largest unit that divides them. Burst, weight and ticks are written only if they differ from the default.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.cells)?;
        match in_units(self.period_ns) {
            (1, unit) => f.write_str(unit)?,
            (count, unit) => write!(f, "{count}{unit}")?,
        }
        if self.burst != self.cells {
            write!(f, " burst {}", self.burst)?;
        }
        if self.weight != NonZeroU32::MIN {
            write!(f, " weight {}", self.weight)?;
        }
        if let Some(ns) = self.refill_ns {
            let (count, unit) = in_units(ns.get());
            write!(f, " every {count}{unit}")?;
        }
        Ok(())
    }
}

/// Returns a time in the largest unit that divides it.
fn in_units(time_ns: u64) -> (u64, &'static str) {
    let whole = UNITS.into_iter().find(|(ns, _)| time_ns % ns == 0);
    // A unit is always found: nanoseconds divide every time.
    whole.map_or((time_ns, "ns"), |(ns, names)| (time_ns / ns, names[0]))
}

/// Reads the canonical text, and other common ways to write the same.
///
/// Units may be spelled out (`30/second`) or short (`10/m` for minutes). Blanks may surround the slash (`30 / s`), and `per` may replace the slash
/// (`5 per 2 hours`). A week is seven days (`500/week`); months and years, whose lengths differ, are no units. Numbers may have a fraction (`1.5/s`
/// is `3/2s` exactly), separators (`1_000/s`) and the suffixes `k`, `M` and `G` (`1k/s`).
/// `burst`, `weight` and `every` may come in any order, and in capitals.
impl FromStr for Quota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(and) = text.find('&') {
            return Err(TextProblem::Second.at(and..and + 1));
        }
        let mut words = Tokens { text, at: 0 };
        let Some(slash) = slash(text) else {
            return Err(TextProblem::Slash.at(words.next()));
        };
        let cells_span = trimmed(text, 0..slash.start);
        words.at = slash.end;
        let period_span = words.next_time();
        let (cells, periods) = decimal(text, cells_span.clone())?;
        let period_ns = time(text, period_span.clone())?
            .checked_mul(periods)
            .ok_or(TextProblem::PeriodRange.at(cells_span.start..period_span.end))?;
        let mut quota = Self::per(in_range(cells, cells_span.clone())?, period_ns);
        let (mut burst_span, mut weight_span, mut every_span) = (None, None, None);
        loop {
            let word = words.next();
            let (seen, value) = match &text[word.clone()] {
                "" => break,
                name if name.eq_ignore_ascii_case("burst") => {
                    let value = words.next();
                    quota = quota.allow_burst(whole(text, value.clone())?);
                    (&mut burst_span, value)
                }
                name if name.eq_ignore_ascii_case("weight") => {
                    let value = words.next();
                    quota = quota.cell_weight(whole(text, value.clone())?);
                    (&mut weight_span, value)
                }
                name if name.eq_ignore_ascii_case("every") => {
                    let value = words.next_time();
                    let interval = Duration::from_nanos(time(text, value.clone())?);
                    quota = quota
                        .refill_every(interval)
                        .map_err(|error| TextProblem::Inconsistent(error).at(value.clone()))?;
                    (&mut every_span, value)
                }
                _ => return Err(TextProblem::Word.at(word)),
            };
            if seen.replace(value).is_some() {
                return Err(TextProblem::Twice.at(word));
            }
        }
        quota.validate().map_err(|error| {
            let span = match error {
                InconsistentCapacity::WeightAboveBurst { .. } => weight_span,
                InconsistentCapacity::RestTooLong { .. } => burst_span.or(Some(period_span.clone())),
                InconsistentCapacity::ZeroPeriod => Some(period_span.clone()),
                _ => None,
            };
            TextProblem::Inconsistent(error).at(span.unwrap_or(cells_span.start..period_span.end))
        })?;
        Ok(quota)
    }
}

/// The text of [`Display`](fmt::Display).
impl fmt::Debug for DualQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
        let and = ands.next().ok_or(TextProblem::And.at(text.len()..text.len()))?;
        if let Some(third) = ands.next() {
            return Err(TextProblem::Third.at(third..third + 1));
        }
        let (first, after) = (text[..and].parse()?, and + 1);
        let second = text[after..].parse();
        Ok(Self::new(
            first,
            second.map_err(|error: ParseQuotaError| error.later(after))?,
        ))
    }
}

/// The words of a text, as ranges of bytes; empty ranges at its end.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Range<usize> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let word = &self.text[start..];
        self.at = start + word.find(char::is_whitespace).unwrap_or(word.len());
        start..self.at
    }

    /// Returns the next word, together with the word after it if that is the unit of a number.
    fn next_time(&mut self) -> Range<usize> {
        let word = self.next();
        let is_number = self.text[word.clone()]
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"._".contains(&byte));
        let after = self.at;
        let unit = self.next();
        if is_number && nanos_of(&self.text[unit.clone()]).is_some() {
            return word.start..unit.end;
        }
        self.at = after;
        word
    }
}

/// Returns the range of the slash, or of the word `per`, in upper or lower case, if there is no slash.
fn slash(text: &str) -> Option<Range<usize>> {
    const PER: &[u8] = b" per ";
    let slash = text.find('/').map(|at| at..at + 1);
    let mut words = text.as_bytes().windows(PER.len());
    slash.or_else(|| {
        let at = words.position(|word| word.eq_ignore_ascii_case(PER))?;
        Some(at..at + PER.len())
    })
}

/// Returns the range without the blanks at its ends.
fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let part = &text[span.clone()];
    let start = span.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

/// Returns the nanoseconds of a unit of time, in upper or lower case.
fn nanos_of(unit: &str) -> Option<u64> {
    let named = UNITS
        .into_iter()
        .chain([WEEK])
        .find(|(_, names)| names.iter().any(|name| name.eq_ignore_ascii_case(unit)));
    named.map(|(ns, _)| ns)
}

/// Reads a number that has at most a fraction, as a ratio.
fn ratio(text: &str, span: Range<usize>) -> Result<(u128, u64), ParseQuotaError> {
    let number = &text[span.clone()];
    let (mut numerator, mut denominator, mut is_fraction) = (0_u128, 1_u64, false);
    let is_plain = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
    if !is_plain {
        return Err(TextProblem::Number.at(span));
    }
    for byte in number.bytes() {
        match byte {
            b'0'..=b'9' => {
                let too_long = || TextProblem::NumberRange.at(span.clone());
                let next = numerator
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(u128::from(byte - b'0')));
                numerator = next.ok_or_else(too_long)?;
                if is_fraction {
                    denominator = denominator.checked_mul(10).ok_or_else(too_long)?;
                }
            }
            b'_' => {}
            b'.' if !is_fraction => is_fraction = true,
            _ => return Err(TextProblem::Number.at(span)),
        }
    }
    Ok((numerator, denominator))
}

/// Reads a number with a suffix, as a ratio in lowest terms.
fn decimal(text: &str, span: Range<usize>) -> Result<(u128, u64), ParseQuotaError> {
    let (digits, factor) = match text[span.clone()].as_bytes().last() {
        Some(b'k' | b'K') => (span.start..span.end - 1, 1_000),
        Some(b'M') => (span.start..span.end - 1, 1_000_000),
        Some(b'G') => (span.start..span.end - 1, 1_000_000_000),
        _ => (span.clone(), 1),
    };
    let (numerator, denominator) = ratio(text, digits).map_err(|error| ParseQuotaError {
        start: span.start,
        end: span.end,
        ..error
    })?;
    let numerator = numerator.checked_mul(factor).ok_or(TextProblem::NumberRange.at(span))?;
    let common = greatest_common_divisor(numerator, denominator.into());
    // The divisor divides the denominator, so the cast is exact.
    let denominator = u64::try_from(u128::from(denominator) / common).unwrap_or(denominator);
    Ok((numerator / common, denominator))
}

fn in_range(number: u128, span: Range<usize>) -> Result<NonZeroU32, ParseQuotaError> {
    let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
    number.ok_or(TextProblem::NumberRange.at(span))
}

/// Reads a whole number, with or without a suffix.
fn whole(text: &str, span: Range<usize>) -> Result<NonZeroU32, ParseQuotaError> {
    match decimal(text, span.clone())? {
        (number, 1) => in_range(number, span),
        _ => Err(TextProblem::Whole.at(span)),
    }
}

/// Reads a unit of time, or a number of such units, in nanoseconds.
fn time(text: &str, span: Range<usize>) -> Result<u64, ParseQuotaError> {
    let time = &text[span.clone()];
    let digits = time
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || b"._".contains(byte))
        .count();
    let unit_span = trimmed(text, span.start + digits..span.end);
    let ns = nanos_of(&text[unit_span.clone()]).ok_or(TextProblem::Unit.at(unit_span))?;
    if digits == 0 {
        return Ok(ns);
    }
    let (numerator, denominator) =
        ratio(text, span.start..span.start + digits).map_err(|error| match error.problem {
            TextProblem::NumberRange => TextProblem::PeriodRange.at(span.clone()),
            _ => error,
        })?;
    let scaled = numerator.checked_mul(ns.into());
    let scaled = scaled.ok_or(TextProblem::PeriodRange.at(span.clone()))?;
    if scaled % u128::from(denominator) != 0 {
        return Err(TextProblem::WholeNanos.at(span));
    }
    u64::try_from(scaled / u128::from(denominator)).map_err(|_| TextProblem::PeriodRange.at(span))
}

/// The reason why a text is not a quota, and the part of the text at fault.
///
/// ```
/// use ratelimit_meter::Quota;
///
/// let error = "100/min brust 20".parse::<Quota>().unwrap_err();
/// assert_eq!(error.span(), 8..13);
/// assert_eq!(
///     error.to_string(),
///     "expected `burst`, `weight` or `every` and a value, like `100/min burst 20` (bytes 8 to 13)"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseQuotaError {
    problem: TextProblem,
    start: usize,
    end: usize,
}

impl ParseQuotaError {
    /// Returns the byte range of the text that is wrong, on character boundaries. The range is empty where something is missing.
    #[must_use]
    pub const fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the same error for a text that begins this many bytes earlier.
    pub(super) const fn later(self, by: usize) -> Self {
        Self {
            problem: self.problem,
            start: self.start + by,
            end: self.end + by,
        }
    }
}

impl fmt::Display for ParseQuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            TextProblem::Slash => f.write_str("expected cells per period, like `100/min`")?,
            TextProblem::Number => f.write_str("expected a number, like `100`")?,
            TextProblem::Whole => f.write_str("expected a whole number, like `100`")?,
            TextProblem::NumberRange => f.write_str("expected a number from 1 to 4294967295, like `100`")?,
            TextProblem::Unit => {
                f.write_str("expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min`")?
            }
            TextProblem::PeriodRange => f.write_str("expected a period of at most 200 years, like `100/365d`")?,
            TextProblem::WholeNanos => f.write_str("expected a whole number of nanoseconds, like `1500ms`")?,
            TextProblem::Word => {
                f.write_str("expected `burst`, `weight` or `every` and a value, like `100/min burst 20`")?
            }
            TextProblem::Twice => f.write_str("given twice, expected once, like `100/min burst 20`")?,
            TextProblem::And => f.write_str("expected `&` and a second quota, like `10/s & 1000/h`")?,
            TextProblem::Second => {
                f.write_str("expected one quota, like `100/min`; two quotas are read as a `DualQuota` of a dual limit")?
            }
            TextProblem::Third => f.write_str("expected two quotas and no third, like `10/s & 1000/h`")?,
            TextProblem::Inconsistent(error) => error.fmt(f)?,
        }
        if self.start == self.end {
            write!(f, " (at byte {})", self.start)
        } else {
            write!(f, " (bytes {} to {})", self.start, self.end)
        }
    }
}

impl Error for ParseQuotaError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextProblem {
    Slash,
    Number,
    Whole,
    NumberRange,
    Unit,
    PeriodRange,
    WholeNanos,
    Word,
    Twice,
    And,
    Second,
    Third,
    Inconsistent(InconsistentCapacity),
}

impl TextProblem {
    pub(super) const fn at(self, span: Range<usize>) -> ParseQuotaError {
        ParseQuotaError {
            problem: self,
            start: span.start,
            end: span.end,
        }
    }
}

#[cfg(feature = "serde")]
pub(crate) use as_text::deserialize;

/// Serialises quotas as their text, in any serde format.
#[cfg(feature = "serde")]
mod as_text {
    use super::{DualQuota, Quota};
    use core::fmt::{self, Display};
    use core::marker::PhantomData;
    use core::str::FromStr;
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    /// Reads a text.
    pub(crate) fn deserialize<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_str(TextVisitor(expected, PhantomData))
    }

    /// The description of the expected text, and the type as which it is read.
    struct TextVisitor<T>(&'static str, PhantomData<T>);

    impl<T: FromStr<Err: Display>> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    impl Serialize for Quota {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl Serialize for DualQuota {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Quota {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserialize(deserializer, "a quota like `100/min burst 20`")
        }
    }

    impl<'de> Deserialize<'de> for DualQuota {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserialize(deserializer, "two quotas like `10/s & 1000/h`")
        }
    }
}
