//! Finds the limits that would have denied nothing: the least burst at a limit's rate, and the least rate at its burst.
//!
//! Both are exact, over all keys, and found in one pass, in integers. The burst is the highest level that any key's bucket would have reached if it
//! had denied nothing. The rate is the slope of a steepest line (`hull`). Memory is per key and candidate: a level, and one or a few corners of a
//! hull.
//!
//! Decisions of a meter equal exact arithmetic up to two of its units (fractions of a cell), always in favour of the request. So a meter with the
//! suggested limit denies nothing. A meter with one cell less denies at least one request, unless the missing amount drains in less than a
//! nanosecond.

mod hull;
mod least;

use std::fmt;
use std::hint::black_box;

use ratelimit_meter::Quota;

use crate::event::Event;
use hull::{Hull, NoRate, Slope};

/// The limits that would have denied nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// The limit with the least burst.
    pub burst: SuggestedLimit,
    /// The limit with the least rate. The rate is in the limit's own period, or in a longer or shorter one if that states it better. With a cell less
    /// in that period, the limit would have denied at least one request.
    pub rate: SuggestedLimit,
}

impl Suggestion {
    /// Returns a suggestion without limits, for this reason.
    #[must_use]
    pub const fn none(reason: NoSuggestion) -> Self {
        Self {
            burst: SuggestedLimit::None(reason),
            rate: SuggestedLimit::None(reason),
        }
    }
}

/// A limit that would have denied nothing, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuggestedLimit {
    /// This limit; its text can be pasted.
    Quota(Quota),
    /// No limit, for this reason.
    None(NoSuggestion),
}

/// The reason why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSuggestion {
    /// One key asked for this much at one instant, more than the burst. The number is in the units of the burst, and `u64::MAX` if it is larger.
    AtOnce(u64),
    /// The rate would have to be above 2^32 cells a second, or the burst above 2^32 cells.
    TooLarge,
    /// Such a burst would take more than 200 years to drain, which no meter can measure.
    RestTooLong,
    /// One key asked for this much at one stamp, more than the burst. The stamp is so coarse that the requests may have come at different times.
    InOneStamp(u64),
    /// The requests of a key went back in time. Then a higher rate may also deny more.
    BackInTime,
    /// Cells come in ticks; the search is for limits whose cells come one by one.
    Ticks,
    /// The limit has two parts, and raising either could help.
    TwoLimits,
    /// The limit is a limiter of other software.
    OtherLimiter,
    /// The limit is a file with a limit for each key.
    PerKey,
}

/// Watches the traffic of a limit, to compute the limits that would have denied nothing.
///
/// For any order of the events, the burst is the smallest for a replay in this order. The rate is only reported if no key goes back in time.
///
/// ```
/// use meter_replay::event::{Event, Keys};
/// use meter_replay::suggest::{SuggestedLimit, Suggester};
///
/// let key = Keys::default().intern(b"a client")?;
/// let mut suggester = Suggester::new("10/s".parse()?);
/// for time in [0, 0, 0, 500_000_000] {
///     suggester.push(&Event::new(time, 4, key));
/// }
/// let suggestion = suggester.finish();
/// assert_eq!(suggestion.burst, SuggestedLimit::Quota("10/s burst 12".parse()?));
/// assert!(matches!(suggestion.rate, SuggestedLimit::None(_)), "12 came at once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Suggester {
    quota: Quota,
    period_ns: u64,
    /// The time of the first event, from which drained volume is counted.
    origin: i64,
    /// The highest level, in units times the period in nanoseconds; or why no burst is enough.
    level: Result<u128, NoSuggestion>,
    steepest: Result<Slope, NoSuggestion>,
    histories: Vec<KeyHistory>,
}

/// Omits the states of the keys, which may be many.
impl fmt::Debug for Suggester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suggester")
            .field("quota", &format_args!("{}", self.quota))
            .field("keys", &self.histories.len())
            .finish_non_exhaustive()
    }
}

/// The state of a key, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct KeyHistory {
    /// The drained volume at which the key's bucket is empty, in the scale of levels: its level plus the volume that had drained by then.
    mark: i128,
    past: Past,
}

/// The part of a key's past that matters to the least rate.
#[derive(Debug, Default)]
enum Past {
    #[default]
    Nothing,
    Hull(Hull),
    /// The latest instant and the units asked at it, once no rate is enough.
    Instant(i64, u64),
}

impl Default for KeyHistory {
    fn default() -> Self {
        Self {
            mark: i128::MIN,
            past: Past::Nothing,
        }
    }
}

impl Suggester {
    /// Creates a suggester for a limit, before any traffic.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let ticks = quota.refill_interval().map(|_| NoSuggestion::Ticks);
        Self {
            quota,
            period_ns: least::period_ns(quota),
            origin: 0,
            level: ticks.map_or(Ok(0), Err),
            steepest: ticks.map_or(Ok(Slope::ZERO), Err),
            histories: Vec::new(),
        }
    }

    /// Takes the next events, whether they were admitted or not.
    pub fn push_all(&mut self, events: &[Event]) {
        self.load(events);
        events.iter().for_each(|event| self.push(event));
    }

    /// Reads the state of each event's key, so that it is in the cache when the event is taken.
    ///
    /// The state of a key is a chain of three places in memory. In short loops without branches on loaded values, the processor waits for many keys at
    /// once. With 200,000 keys, this halves the time of a suggester.
    fn load(&self, events: &[Event]) {
        let histories = || events.iter().filter_map(|event| self.histories.get(event.key.index()));
        let levels = histories().fold(0, |sum: i128, history| sum ^ history.mark);
        let hulls = || {
            histories().filter_map(|history| match &history.past {
                Past::Hull(hull) => Some(hull),
                _ => None,
            })
        };
        let corners = hulls().fold(0, |sum, hull| sum ^ hull.corners());
        let latest = hulls().fold(0, |sum, hull| sum ^ hull.latest().0);
        black_box((levels, corners, latest));
    }

    /// Takes the next event, whether it was admitted or not.
    pub fn push(&mut self, event: &Event) {
        if event.cost == 0 {
            // Zero cells conform at any time and change nothing.
            return;
        }
        if self.histories.is_empty() {
            self.origin = event.time;
        }
        let index = event.key.index();
        if index >= self.histories.len() {
            self.histories.resize_with(index + 1, KeyHistory::default);
        }
        let units = u128::from(event.cost) * u128::from(self.quota.weight().get());
        self.fill(index, event.time, units);
        self.touch(index, event.time, units);
    }

    /// Returns the limits that would have denied nothing so far.
    #[must_use]
    pub fn finish(&self) -> Suggestion {
        let answer =
            |found: Result<Quota, NoSuggestion>| found.map_or_else(SuggestedLimit::None, SuggestedLimit::Quota);
        Suggestion {
            burst: answer(self.level.and_then(|level| least::burst(self.quota, level))),
            rate: answer(self.steepest.and_then(|slope| least::rate(self.quota, slope))),
        }
    }

    /// Raises the level of a key's bucket, which drains at the limit's rate and has no capacity limit.
    fn fill(&mut self, index: usize, time: i64, units: u128) {
        let Ok(highest) = &mut self.level else { return };
        let most = u128::from(u32::MAX) * u128::from(self.period_ns);
        // At most 2^32 * 2^64.
        let drained = (i128::from(time) - i128::from(self.origin)) * i128::from(self.quota.cells().get());
        let mark = &mut self.histories[index].mark;
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
            _ => self.level = Err(NoSuggestion::TooLarge),
        }
    }

    /// Raises the rate to the rate that a key needs.
    fn touch(&mut self, index: usize, time: i64, units: u128) {
        let history = &mut self.histories[index];
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let steepest = match &mut self.steepest {
            Ok(steepest) => steepest,
            Err(NoSuggestion::AtOnce(most)) => {
                *most = history.at_once(time, units).max(*most);
                return;
            }
            Err(_) => return,
        };
        if let Past::Nothing = history.past {
            history.past = Past::Hull(Hull::new(time));
        }
        let Past::Hull(hull) = &mut history.past else { return };
        let burst = u64::from(self.quota.burst().get());
        let Err(stop) = hull.push(time, units, burst, steepest) else {
            return;
        };
        self.steepest = Err(match stop {
            NoRate::AtOnce(at_once) => NoSuggestion::AtOnce(at_once),
            NoRate::TooFast => NoSuggestion::TooLarge,
            NoRate::BackInTime => NoSuggestion::BackInTime,
        });
        for history in &mut self.histories {
            if let Past::Hull(hull) = &history.past {
                let (time, asked) = hull.latest();
                history.past = Past::Instant(time, asked);
            }
        }
    }
}

impl KeyHistory {
    /// Adds `units` to the units asked at this instant, and returns the sum.
    fn at_once(&mut self, time: i64, units: u64) -> u64 {
        let asked = match self.past {
            Past::Instant(latest, asked) if latest == time => asked.saturating_add(units),
            _ => units,
        };
        self.past = Past::Instant(time, asked);
        asked
    }
}

const _: () = assert!(size_of::<KeyHistory>() == 64);

#[cfg(test)]
mod tests;
