//! The text of a quota: `100/min burst 20 weight 2 every 1s`.

use super::Quota;
use crate::error::InconsistentCapacity;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;
use core::ops::Range;
use core::str::FromStr;
use std::time::Duration;

/// The units of a period in nanoseconds, the largest first.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Writes the canonical text: times in the largest unit that divides them, the burst, the weight and the ticks only where they say more.
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

/// A time in the largest unit that divides it.
fn in_units(time_ns: u64) -> (u64, &'static str) {
    let whole = UNITS.into_iter().find(|(_, ns)| time_ns % ns == 0);
    // Never absent: nanoseconds divide everything.
    let (unit, ns) = whole.unwrap_or(("ns", 1));
    (time_ns / ns, unit)
}

/// Reads the canonical text; `burst`, `weight` and `every` may change places, and any white space will do between words.
impl FromStr for Quota {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = Words { text, at: 0 };
        let rate = words.next();
        let slash = text[rate.clone()]
            .find('/')
            .map(|offset| rate.start + offset)
            .ok_or(Problem::Slash.at(rate.clone()))?;
        let cells_span = rate.start..slash;
        let period_span = slash + 1..rate.end;
        let cells = number(text, cells_span.clone())?;
        let mut quota = Self::per(cells, period(text, period_span.clone())?);
        let (mut burst_span, mut weight_span, mut every_span) = (None, None, None);
        loop {
            let word = words.next();
            let (seen, set): (&mut Option<_>, Set) = match &text[word.clone()] {
                "" => break,
                "burst" => (&mut burst_span, |quota, text, value| {
                    Ok(quota.allow_burst(number(text, value)?))
                }),
                "weight" => (&mut weight_span, |quota, text, value| {
                    Ok(quota.cell_weight(number(text, value)?))
                }),
                "every" => (&mut every_span, |quota, text, value| {
                    let interval = Duration::from_nanos(period(text, value.clone())?);
                    let ticking = quota.refill_every(interval);
                    ticking.map_err(|error| Problem::Inconsistent(error).at(value))
                }),
                _ => return Err(Problem::Word.at(word)),
            };
            let value = words.next();
            quota = set(quota, text, value.clone())?;
            if seen.replace(value).is_some() {
                return Err(Problem::Twice.at(word));
            }
        }
        quota.validate().map_err(|error| {
            let span = match error {
                InconsistentCapacity::WeightAboveBurst { .. } => weight_span,
                InconsistentCapacity::RestTooLong { .. } => burst_span.or(Some(period_span)),
                InconsistentCapacity::ZeroPeriod => Some(period_span),
                _ => None,
            };
            Problem::Inconsistent(error).at(span.unwrap_or(rate))
        })?;
        Ok(quota)
    }
}

/// Sets what a word names to the value that follows it.
type Set = fn(Quota, &str, Range<usize>) -> Result<Quota, ParseQuotaError>;

/// The words of a text, as the bytes they take; empty ones at its end.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Range<usize> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start().len());
        let word = &self.text[start..];
        self.at = start + word.find(char::is_whitespace).unwrap_or(word.len());
        start..self.at
    }
}

fn number(text: &str, span: Range<usize>) -> Result<NonZeroU32, ParseQuotaError> {
    let digits = &text[span.clone()];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Number.at(span));
    }
    digits.parse().map_err(|_| Problem::NumberRange.at(span))
}

/// A unit, or a whole number of it, in nanoseconds.
fn period(text: &str, span: Range<usize>) -> Result<u64, ParseQuotaError> {
    let period = &text[span.clone()];
    let digits = period.bytes().take_while(u8::is_ascii_digit).count();
    let unit_span = span.start + digits..span.end;
    let (_, ns) = UNITS
        .into_iter()
        .find(|(unit, _)| *unit == &text[unit_span.clone()])
        .ok_or(Problem::Unit.at(unit_span))?;
    let count: u64 = match &period[..digits] {
        "" => 1,
        digits => digits.parse().map_err(|_| Problem::PeriodRange.at(span.clone()))?,
    };
    count.checked_mul(ns).ok_or(Problem::PeriodRange.at(span))
}

/// Why a text is no quota, and which part of it is to blame.
///
/// ```
/// use ratelimit_meter::Quota;
///
/// let error = "100/min brust 20".parse::<Quota>().unwrap_err();
/// assert_eq!(error.span(), 8..13);
/// assert_eq!(error.to_string(), "expected `burst`, `weight` or `every` and a value (bytes 8 to 13)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseQuotaError {
    problem: Problem,
    start: usize,
    end: usize,
}

impl ParseQuotaError {
    /// Returns the bytes of the text that are wrong, on character boundaries; empty where something is missing.
    #[must_use]
    pub const fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The same of a text that begins so many bytes earlier.
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
            Problem::Slash => f.write_str("expected cells per period, like `100/min`")?,
            Problem::Number => f.write_str("expected a whole number")?,
            Problem::NumberRange => f.write_str("expected a number from 1 to 4294967295")?,
            Problem::Unit => f.write_str("expected a unit of time: ns, us, ms, s, min, h or d")?,
            Problem::PeriodRange => f.write_str("expected a period of at most 200 years")?,
            Problem::Word => f.write_str("expected `burst`, `weight` or `every` and a value")?,
            Problem::Twice => f.write_str("said twice")?,
            Problem::And => f.write_str("expected `&` and a second quota")?,
            Problem::Third => f.write_str("expected two quotas and no third")?,
            Problem::Inconsistent(error) => error.fmt(f)?,
        }
        if self.start == self.end {
            write!(f, " (at byte {})", self.start)
        } else {
            write!(f, " (bytes {} to {})", self.start, self.end)
        }
    }
}

impl Error for ParseQuotaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Inconsistent(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    Slash,
    Number,
    NumberRange,
    Unit,
    PeriodRange,
    Word,
    Twice,
    And,
    Third,
    Inconsistent(InconsistentCapacity),
}

impl Problem {
    pub(super) const fn at(self, span: Range<usize>) -> ParseQuotaError {
        ParseQuotaError {
            problem: self,
            start: span.start,
            end: span.end,
        }
    }
}
