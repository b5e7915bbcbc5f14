//! The cells admitted and denied over time, in bounded memory for any length of time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The widths of buckets in nanoseconds, in customary units of time. Each is a multiple of the one before it, so that buckets can be joined. With the
/// last width, the whole range of time fits in a few hundred buckets.
const WIDTHS: [i64; 23] = [
    MS,
    5 * MS,
    10 * MS,
    50 * MS,
    100 * MS,
    500 * MS,
    SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
    728 * DAY,
];

/// Maximum number of buckets before they are joined: each has two or three pixels in a picture.
const MOST: usize = 360;

/// Cells asked, admitted and denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Cells admitted.
    pub admitted: u128,
    /// Cells denied.
    pub denied: u128,
}

impl Counts {
    /// Returns the cells asked.
    #[must_use]
    pub fn asked(self) -> u128 {
        self.admitted.saturating_add(self.denied)
    }

    fn add(&mut self, other: Self) {
        self.admitted = self.admitted.saturating_add(other.admitted);
        self.denied = self.denied.saturating_add(other.denied);
    }
}

/// The cells admitted and denied in consecutive parts of equal length.
#[derive(Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The start of the first bucket, in nanoseconds since the Unix epoch; a multiple of the width.
    pub start: i64,
    /// The length of a bucket, in nanoseconds.
    pub width: i64,
    /// The buckets; empty if there was no event.
    pub buckets: Vec<Counts>,
    /// The minute of the clock (UTC) with the most cells denied, the earliest if several are equal; `None` if no cell was denied.
    pub worst_minute: Option<Minute>,
}

/// Omits the counts of the buckets, which are several hundred.
impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("start", &self.start)
            .field("width", &self.width)
            .field("buckets", &self.buckets.len())
            .field("worst_minute", &self.worst_minute)
            .finish()
    }
}

/// A minute of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// The start, in nanoseconds since the Unix epoch.
    pub start: i64,
    /// The cells of the minute.
    pub counts: Counts,
}

/// Counts the events of one limit, bucket by bucket; buckets grow wider as time goes on.
///
/// ```
/// use meter_replay::series::{Counts, Series};
///
/// let mut series = Series::new(false);
/// for second in 0..100_000 {
///     let denied = u128::from(second % 10 == 0);
///     series.add(second * 1_000_000_000, Counts { admitted: 1 - denied, denied });
/// }
/// let timeline = series.finish();
/// assert_eq!(timeline.width, 300_000_000_000);
/// assert_eq!(timeline.buckets.len(), 334);
/// assert_eq!((timeline.buckets[0].admitted, timeline.buckets[0].denied), (270, 30));
/// assert_eq!(timeline.worst_minute.map(|minute| minute.counts.denied), Some(6));
/// ```
pub struct Series {
    /// The index of the width in [`WIDTHS`].
    width: usize,
    /// The first bucket's number, counted from the epoch.
    first: i64,
    buckets: VecDeque<Counts>,
    /// The index of the latest bucket, and the times that it holds: most events need no division.
    latest: (usize, Range<i64>),
    minutes: Minutes,
}

/// Omits the counts of the buckets, which are several hundred.
impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}

impl Series {
    /// Creates an empty series. Memory is bounded if time never goes back; otherwise it grows with the number of minutes.
    #[must_use]
    pub fn new(may_go_back: bool) -> Self {
        Self {
            width: 0,
            first: 0,
            buckets: VecDeque::new(),
            latest: (0, 0..0),
            minutes: Minutes {
                latest: None,
                worst: None,
                others: may_go_back.then(HashMap::new),
            },
        }
    }

    /// Counts requests of one time.
    pub fn add(&mut self, time: i64, counts: Counts) {
        self.minutes.push(time, counts);
        if !self.latest.1.contains(&time) {
            let at = self.reach(time);
            let start = time.saturating_sub(time.rem_euclid(WIDTHS[self.width]));
            self.latest = (at, start..start.saturating_add(WIDTHS[self.width]));
        }
        self.buckets[self.latest.0].add(counts);
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn finish(&self) -> Timeline {
        let width = WIDTHS[self.width];
        Timeline {
            // The bucket that holds the earliest possible time begins before that time.
            start: self.first.saturating_mul(width),
            width,
            buckets: self.buckets.iter().copied().collect(),
            worst_minute: self.minutes.worst(),
        }
    }

    /// Returns the index of the bucket that holds `time`, and creates the bucket if needed.
    fn reach(&mut self, time: i64) -> usize {
        loop {
            let bucket = time.div_euclid(WIDTHS[self.width]);
            if self.buckets.is_empty() {
                self.first = bucket;
            }
            let end = self.first.saturating_add_unsigned(self.buckets.len() as u64);
            let (first, last) = (self.first.min(bucket), (end - 1).max(bucket));
            let needed = usize::try_from(last.abs_diff(first)).map_or(usize::MAX, |apart| apart.saturating_add(1));
            if needed > MOST && self.width + 1 < WIDTHS.len() {
                self.widen();
                continue;
            }
            while self.first > first {
                self.buckets.push_front(Counts::default());
                self.first -= 1;
            }
            if self.buckets.len() < needed {
                self.buckets.resize(needed, Counts::default());
            }
            return usize::try_from(bucket.abs_diff(self.first)).unwrap_or(0);
        }
    }

    /// Joins the buckets into buckets of the next width.
    fn widen(&mut self) {
        let times = WIDTHS[self.width + 1] / WIDTHS[self.width];
        let first = self.first.div_euclid(times);
        let mut joined: VecDeque<Counts> = VecDeque::new();
        for (number, counts) in (self.first..).zip(&self.buckets) {
            let at = usize::try_from(number.div_euclid(times).abs_diff(first)).unwrap_or(0);
            if at >= joined.len() {
                joined.resize(at + 1, Counts::default());
            }
            joined[at].add(*counts);
        }
        self.width += 1;
        self.first = first;
        self.buckets = joined;
    }
}

/// The minute being counted, and the worst minute before it.
#[derive(Debug)]
struct Minutes {
    latest: Option<Minute>,
    worst: Option<Minute>,
    /// All minutes except the latest, if time may go back to them.
    others: Option<HashMap<i64, Counts>>,
}

impl Minutes {
    fn push(&mut self, time: i64, counts: Counts) {
        match &mut self.latest {
            Some(latest) if (0..MINUTE).contains(&time.saturating_sub(latest.start)) => latest.counts.add(counts),
            _ => {
                let start = time.saturating_sub(time.rem_euclid(MINUTE));
                self.worst = self.worst();
                let mut earlier = Counts::default();
                if let Some(others) = &mut self.others {
                    if let Some(latest) = self.latest {
                        others.insert(latest.start, latest.counts);
                    }
                    earlier = others.remove(&start).unwrap_or_default();
                }
                earlier.add(counts);
                self.latest = Some(Minute { start, counts: earlier });
            }
        }
    }

    /// Returns the worst minute, including the latest. A minute to which time came back can only have become worse.
    fn worst(&self) -> Option<Minute> {
        let hit = |minute: &Minute| minute.counts.denied > 0;
        let minutes = self.worst.into_iter().chain(self.latest).filter(hit);
        minutes.max_by_key(|minute| (minute.counts.denied, Reverse(minute.start)))
    }
}

#[cfg(test)]
mod tests;
