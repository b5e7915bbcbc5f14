//! Several meters, each with a word of its own, all or nothing.

use crate::adjustable::Adjustable;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decision::NegativeMultiDecision;
use crate::meter::Meter;
use crate::metered::{self, Metered, State, When};
use crate::nanos;
use core::error::Error;
use core::fmt;
use std::time::Instant;

/// What [`check_all`] can check: any kind of meter of this crate, with any clock. Sealed.
pub trait Checkable: Checked + Send + Sync {}

impl<A: Algorithm, C: Clock> Checkable for Meter<A, C> {}

impl<A: Algorithm, C: Clock> Checkable for Adjustable<Meter<A, C>> {}

#[cfg(feature = "keyed")]
impl<A: Algorithm, C: Clock> Checkable for crate::keyed::Entry<'_, A, C> {}

/// What is asked of a meter that is checked with others.
pub trait Checked {
    /// The time now, and how far behind it may be.
    fn now(&self) -> (Instant, u64);

    /// The time now, however dear.
    fn now_exactly(&self) -> Instant;

    /// Where the state is, which clones share; and of what there.
    fn state(&self) -> State;

    /// The answer to `n` cells, which changes nothing.
    fn peek(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Takes `n` cells if they conform.
    fn take(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;
}

impl<M: Metered> Checked for M {
    fn now(&self) -> (Instant, u64) {
        (self.clock().now(), M::Clock::LAG_NS)
    }

    fn now_exactly(&self) -> Instant {
        self.clock().now_exactly()
    }

    fn state(&self) -> State {
        Metered::state(self)
    }

    fn peek(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        metered::peek_n(self, n, When::At(at))
    }

    fn take(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        metered::check_n(self, n, When::At(at))
    }
}

/// How many cells are asked of which meter.
type Batch<'a> = (&'a dyn Checkable, u32);

/// Decides one cell on each of several meters now, and counts it on all of them if it conforms on all.
///
/// The time is read once, from the clock of the first meter; list meters that tell the same time. Each meter is looked at first, so
/// that a refusal changes nothing, also of a strict [`Exponential`](crate::Exponential), whose refusals are not counted here. Then
/// they are charged in order, each in one atomic step. What all of them share is no transaction: another thread may take the last cells
/// of a later meter in between. Then the cells of the earlier ones are **kept** until they drain, and the error says so
/// ([`AllDenied::kept`]). So each meter admits no more than its limit, ever; at worst, of a meter under contention, less. List the
/// meter that is likeliest to refuse first.
///
/// A meter listed more than once (or its clones) decides one batch of the sum. Takes constant time for each meter, and compares each two
/// of them; allocates nothing.
///
/// # Errors
///
/// [`AllDenied`] tells which meter refuses, and from when on all would conform.
///
/// ```
/// use ratelimit_meter::{Exponential, GCRA, Quota, check_all_at};
/// use std::time::{Duration, Instant};
///
/// let service = Exponential::from_quota("100/s".parse::<Quota>()?)?; // all requests together
/// let endpoint = GCRA::from_quota("10/s".parse::<Quota>()?)?; // of which this endpoint's
/// let now = Instant::now();
/// for _ in 0..10 {
///     check_all_at(&[&endpoint, &service], now)?;
/// }
/// let denied = check_all_at(&[&endpoint, &service], now).unwrap_err();
/// assert_eq!(denied.meter(), 0); // the endpoint's,
/// assert_eq!(denied.earliest_possible(), Some(now + Duration::from_millis(100)));
/// assert_eq!(service.status_at(now).remaining(), 90); // and the service's has not counted it
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_all(meters: &[&dyn Checkable]) -> Result<(), AllDenied> {
    decide_now(singles(meters))
}

/// Decides one cell on each of several meters at `at`, and counts it on all of them if it conforms on all; see [`check_all`].
///
/// # Errors
///
/// As [`check_all`].
pub fn check_all_at(meters: &[&dyn Checkable], at: Instant) -> Result<(), AllDenied> {
    decide(singles(meters), at)
}

/// Decides a batch on each of several meters now, and counts all of them if all conform; see [`check_all`].
///
/// # Errors
///
/// As [`check_all`]; [`NegativeMultiDecision::InsufficientCapacity`] goes before any instant.
///
/// ```
/// use ratelimit_meter::{LeakyBucket, check_all_n};
///
/// let (packets, bytes) = (LeakyBucket::per_second(10_000)?, LeakyBucket::per_second(1_000_000)?);
/// assert!(check_all_n(&[(&packets, 1), (&bytes, 1500)]).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_all_n(batches: &[(&dyn Checkable, u32)]) -> Result<(), AllDenied> {
    decide_now(batches.iter().copied())
}

/// Decides a batch on each of several meters at `at`, and counts all of them if all conform; see [`check_all`].
///
/// # Errors
///
/// As [`check_all_n`].
pub fn check_all_n_at(batches: &[(&dyn Checkable, u32)], at: Instant) -> Result<(), AllDenied> {
    decide(batches.iter().copied(), at)
}

fn singles<'a>(meters: &'a [&'a dyn Checkable]) -> impl Iterator<Item = Batch<'a>> + Clone {
    meters.iter().map(|meter| (*meter, 1))
}

fn decide_now<'a>(batches: impl Iterator<Item = Batch<'a>> + Clone) -> Result<(), AllDenied> {
    let Some((first, _)) = batches.clone().next() else {
        return Ok(());
    };
    let (at, lag_ns) = first.now();
    let soon = nanos::after(at, lag_ns);
    decide(batches.clone(), at).or_else(|denied| match denied.earliest_possible() {
        // Who waited until the instant of a denial must not be denied for a clock that is behind.
        Some(earliest) if earliest <= soon && denied.kept == 0 => decide(batches, first.now_exactly()),
        _ => Err(denied),
    })
}

fn decide<'a>(batches: impl Iterator<Item = Batch<'a>> + Clone, at: Instant) -> Result<(), AllDenied> {
    look(batches.clone(), at)?;
    for (index, meter, cells) in merged(batches.clone()) {
        if let Err(decision) = cells.and_then(|n| meter.take(n, at)) {
            let lost = AllDenied::new(index, decision);
            // What was kept has to drain too before all conform.
            let latest = look(batches, at).err().map_or(lost, |other| lost.later(other));
            return Err(AllDenied { kept: index, ..latest });
        }
    }
    Ok(())
}

/// The refusal that lasts longest, if any.
fn look<'a>(batches: impl Iterator<Item = Batch<'a>> + Clone, at: Instant) -> Result<(), AllDenied> {
    merged(batches)
        .filter_map(|(index, meter, cells)| {
            let decision = cells.and_then(|n| meter.peek(n, at)).err()?;
            Some(AllDenied::new(index, decision))
        })
        .reduce(AllDenied::later)
        .map_or(Ok(()), Err)
}

/// Each meter in its first place, with all the cells that are asked of it.
fn merged<'a>(
    batches: impl Iterator<Item = Batch<'a>> + Clone,
) -> impl Iterator<Item = (usize, &'a dyn Checkable, Result<u32, NegativeMultiDecision>)> {
    let all = batches.clone();
    batches.enumerate().filter_map(move |(index, (meter, _))| {
        let is_same = |(other, _): &Batch<'_>| other.state() == meter.state();
        if all.clone().take(index).any(|batch| is_same(&batch)) {
            return None;
        }
        let mut same = all.clone().skip(index).filter(is_same);
        let cells = same.try_fold(0_u32, |sum, (_, n)| sum.checked_add(n));
        // No meter takes so many at once.
        let cells = cells.ok_or(NegativeMultiDecision::InsufficientCapacity(u32::MAX));
        Some((index, meter, cells))
    })
}

/// A denial by several meters: which of them refuses longest, until when, and what the others keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllDenied {
    meter: usize,
    kept: usize,
    decision: NegativeMultiDecision,
}

impl AllDenied {
    const fn new(meter: usize, decision: NegativeMultiDecision) -> Self {
        let kept = 0;
        Self { meter, kept, decision }
    }

    /// Whichever lasts longer; this one if neither does.
    fn later(self, other: Self) -> Self {
        match (self.earliest_possible(), other.earliest_possible()) {
            (Some(_), None) => other,
            (Some(this), Some(that)) if that > this => other,
            _ => self,
        }
    }

    /// Returns the place in the list, from 0, of the meter that refuses longest (its first, if it is listed more than once).
    #[must_use]
    pub const fn meter(&self) -> usize {
        self.meter
    }

    /// Returns what that meter says of all the cells that are asked of it.
    #[must_use]
    pub const fn decision(&self) -> NegativeMultiDecision {
        self.decision
    }

    /// Returns the earliest instant at which all would conform, if nobody else took cells; `None` if they never will.
    #[must_use]
    pub fn earliest_possible(&self) -> Option<Instant> {
        match self.decision {
            NegativeMultiDecision::BatchNonConforming(_, denial) => Some(denial.earliest_possible()),
            NegativeMultiDecision::InsufficientCapacity(_) => None,
        }
    }

    /// Returns how many meters, from the first of the list, keep the cells that were asked of them although nothing was admitted: 0,
    /// unless another thread took the last cells of a later meter while this one charged them.
    ///
    /// They drain like all others. Who would rather have them back can [`refund`](crate::Meter::refund) them, and law 1 then counts net.
    /// (Of a meter listed more than once the cells of all its places are kept.)
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.kept
    }
}

/// Tells the wait from `Instant::now()`, rounded up to a whole unit, and what is kept.
impl fmt::Display for AllDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meter {}: {}", self.meter, self.decision)?;
        match self.kept {
            0 => Ok(()),
            kept => write!(f, " (the first {kept} keep their cells)"),
        }
    }
}

impl Error for AllDenied {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.decision)
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
