use super::KeyedMeter;
use super::bucket::Bucket;
use super::limits::Limits;
use super::line::Ordering;
use crate::clock::When;
use crate::meter::MeterKind;
use std::time::Instant;

/// The occupancy of a table, and counts of the events in which a key found no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of live keys: those that are not idle.
    pub live: usize,
    /// The number of slots that hold a key, live or idle.
    pub taken: usize,
    /// The number of slots.
    pub slots: usize,
    /// The number of live keys that were evicted to make room, with their debts forgiven.
    pub forgiven: u64,
    /// The number of times that, because a key found no slot, a request was denied, or a charge or a restored key was not recorded.
    pub denied: u64,
    /// The number of times that, because a key found no slot, a request was admitted and not counted, or a charge or a restored key was not recorded.
    pub admitted: u64,
}

impl Stats {
    /// Returns the share of the slots whose keys are live.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of 2^53 slots")]
    pub fn occupancy(&self) -> f64 {
        self.live as f64 / self.slots as f64
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the statistics of the table now. Reads the whole table, which takes a millisecond for some hundred thousand keys.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_when(When::Now)
    }

    /// Returns the statistics of the table at `at`; see [`stats`](Self::stats).
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// let keys = KeyedMeter::<u32>::with_capacity("1/s".parse::<Quota>()?, 1000)?;
    /// let now = Instant::now();
    /// for key in 0..100 {
    ///     keys.check_at(&key, now).unwrap();
    /// }
    /// assert_eq!(keys.stats_at(now).live, 100);
    /// assert_eq!(keys.stats_at(now + Duration::from_secs(1)).live, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats_at(&self, at: Instant) -> Stats {
        self.stats_when(When::At(at))
    }

    fn stats_when(&self, when: When) -> Stats {
        let table = &self.shared.table;
        let at = when.position(&self.clock, &self.limits.schedule(0).time_line);
        let count = |limits: &Limits<M::Algorithm>| {
            let (mut live, mut taken) = (0, 0);
            for (_, state) in table.buckets().iter().flat_map(Bucket::residents) {
                taken += 1;
                live += usize::from(limits.is_live(state, at)?);
            }
            Ok((live, taken))
        };
        let (live, taken) = self.shared.latest.act(count);
        // ORDERING: relaxed. Counts of events, which order nothing.
        let [denied, admitted] =
            [&table.tallies.denied, &table.tallies.admitted].map(|tally| tally.load(Ordering::Relaxed));
        let forgiven = table.buckets().iter().map(Bucket::forgiven).sum();
        Stats {
            live,
            taken,
            slots: table.slots(),
            forgiven,
            denied,
            admitted,
        }
    }
}
