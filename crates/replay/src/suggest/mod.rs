//! Which limit would have denied nobody: the least burst at a limit's rate, and the least rate at its burst.
//!
//! Both are exact, over all keys, and found in one pass, in integers. The burst is the highest level that any key's bucket
//! would have reached if it had denied nothing; the rate is a steepest line (`hull`). Memory is per key and candidate: a level,
//! and one corner of a hull or a few.
//!
//! Decisions of a meter are those of exact arithmetic up to two of its units of 2^-f cell, always in favour of the request. So
//! a meter with what is suggested denies nobody; one with a cell less denies somebody, unless what was missing drains in less
//! than a nanosecond.

mod hull;
mod least;
mod slope;

use ratelimit_meter::Quota;

use crate::event::Event;
use hull::{Hull, Stop};
use slope::Slope;

/// What would have denied nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// The limit with the least burst that would have.
    pub burst: Answer,
    /// The limit with the least rate that would have. It is told by the limit's own period, or by a longer or shorter one where
    /// that tells it better; a cell less in that period would have denied somebody.
    pub rate: Answer,
}

impl Suggestion {
    /// Neither is told, for this reason.
    #[must_use]
    pub const fn none(reason: Reason) -> Self {
        Self {
            burst: Answer::None(reason),
            rate: Answer::None(reason),
        }
    }
}

/// A limit that would have denied nobody, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// This one; its text can be pasted.
    Quota(Quota),
    /// No such limit.
    None(Reason),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// So much was asked by one key at one instant, which is more than the burst; in the units that the burst has, and
    /// `u64::MAX` for more than that.
    AtOnce(u64),
    /// It would take more than 2^32 cells a second, or a burst of as many.
    TooLarge,
    /// Such a burst would take more than 200 years to drain, which no meter can measure.
    RestTooLong,
    /// So much was asked by one key at one stamp, which is more than the burst; but the stamp is so coarse that it may have
    /// come apart.
    InOneStamp(u64),
    /// A key's requests went back in time, where more of a rate denies more, too.
    BackInTime,
    /// Cells come in ticks: what is sought here is that of limits whose cells come one by one.
    Ticks,
    /// It is two limits, of which either could give way.
    TwoLimits,
    /// It is a limiter of other software.
    OtherLimiter,
    /// It is a limit for each key.
    PerKey,
}

/// Watches the traffic that a limit meets, to tell what would have denied nobody.
///
/// In any order of the events the burst is that of a replay in this order. The rate is only told if no key goes back in time.
///
/// ```
/// use meter_replay::event::{Event, Keys};
/// use meter_replay::suggest::{Answer, Suggester};
///
/// let key = Keys::default().intern(b"a client")?;
/// let mut suggester = Suggester::new("10/s".parse()?);
/// for time in [0, 0, 0, 500_000_000] {
///     suggester.push(&Event::new(time, 4, key));
/// }
/// let suggestion = suggester.finish();
/// assert_eq!(suggestion.burst, Answer::Quota("10/s burst 12".parse()?));
/// assert!(matches!(suggestion.rate, Answer::None(_)), "12 came at once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Suggester {
    quota: Quota,
    period_ns: u64,
    /// The time of the first event, from which drained volume is counted.
    origin: i64,
    /// The highest level, in units times the period in nanoseconds; or why no burst would do.
    level: Result<u128, Reason>,
    steepest: Result<Slope, Reason>,
    seats: Vec<Seat>,
}

/// What is known of a key.
#[derive(Debug)]
struct Seat {
    /// Up to where the key has filled its bucket, in the scale of levels: the level and what had drained by then.
    mark: i128,
    hull: Option<Box<Hull>>,
    /// The latest instant and the units asked at it, once there is no hull to tell them.
    instant: (i64, u64),
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            mark: i128::MIN,
            hull: None,
            instant: (0, 0),
        }
    }
}

impl Suggester {
    /// For a limit, before any traffic.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let ticks = quota.refill_interval().map(|_| Reason::Ticks);
        Self {
            quota,
            period_ns: least::period_ns(quota),
            origin: 0,
            level: ticks.map_or(Ok(0), Err),
            steepest: ticks.map_or(Ok(Slope::ZERO), Err),
            seats: Vec::new(),
        }
    }

    /// Takes the next event, whether it was admitted or not.
    pub fn push(&mut self, event: &Event) {
        if event.cost == 0 {
            // No cells conform at any time, and change nothing.
            return;
        }
        if self.seats.is_empty() {
            self.origin = event.time;
        }
        let index = event.key.index();
        if index >= self.seats.len() {
            self.seats.resize_with(index + 1, Seat::default);
        }
        let units = u128::from(event.cost) * u128::from(self.quota.weight().get());
        self.fill(index, event.time, units);
        self.touch(index, event.time, units);
    }

    /// What would have denied nobody so far.
    #[must_use]
    pub fn finish(&self) -> Suggestion {
        let answer = |found: Result<Quota, Reason>| found.map_or_else(Answer::None, Answer::Quota);
        Suggestion {
            burst: answer(self.level.and_then(|level| least::burst(self.quota, level))),
            rate: answer(self.steepest.and_then(|slope| least::rate(self.quota, slope))),
        }
    }

    /// Raises the level of a key's bucket, which drains at the limit's rate and is as large as it takes.
    fn fill(&mut self, index: usize, time: i64, units: u128) {
        let Ok(highest) = &mut self.level else { return };
        let most = u128::from(u32::MAX) * u128::from(self.period_ns);
        // At most 2^32 * 2^64.
        let drained = (i128::from(time) - i128::from(self.origin)) * i128::from(self.quota.cells().get());
        let mark = &mut self.seats[index].mark;
        let before = (*mark).max(drained);
        let level = units
            .checked_mul(u128::from(self.period_ns))
            .and_then(|volume| volume.checked_add(before.abs_diff(drained)))
            .filter(|level| *level <= most);
        match level.map(|level| (level, i128::try_from(level))) {
            Some((level, Ok(volume))) => {
                *mark = drained + volume;
                *highest = level.max(*highest);
            }
            _ => self.level = Err(Reason::TooLarge),
        }
    }

    /// Raises the rate to what a key takes.
    fn touch(&mut self, index: usize, time: i64, units: u128) {
        let seat = &mut self.seats[index];
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let steepest = match &mut self.steepest {
            Ok(steepest) => steepest,
            Err(Reason::AtOnce(most)) => {
                *most = seat.at_once(time, units).max(*most);
                return;
            }
            Err(_) => return,
        };
        let hull = seat.hull.get_or_insert_with(|| Box::new(Hull::new(time)));
        let burst = u64::from(self.quota.burst().get());
        let Err(stop) = hull.push(time, units, burst, steepest) else {
            return;
        };
        self.steepest = Err(match stop {
            Stop::AtOnce(at_once) => Reason::AtOnce(at_once),
            Stop::TooFast => Reason::TooLarge,
            Stop::BackInTime => Reason::BackInTime,
        });
        for seat in &mut self.seats {
            seat.instant = seat.hull.take().map_or((0, 0), |hull| hull.latest());
        }
    }
}

impl Seat {
    /// The units asked at this instant so far, with these.
    fn at_once(&mut self, time: i64, units: u64) -> u64 {
        let (latest, asked) = self.instant;
        let asked = if latest == time {
            asked.saturating_add(units)
        } else {
            units
        };
        self.instant = (time, asked);
        asked
    }
}

#[cfg(test)]
mod tests;
