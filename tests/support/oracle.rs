//! The exact bucket: a level in 1/period of a unit that falls by `cells` every nanosecond. Whole numbers, nothing rounded.

use super::limit::Limit;

/// The answer of an oracle, a twin or a meter; instants are nanoseconds from the origin of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Conforms,
    /// Denied; conforms from this instant on.
    From(i128),
    /// More cells than ever conform at once.
    Never,
}

#[derive(Clone, Debug)]
pub(crate) struct ExactBucket {
    limit: Limit,
    /// The time when cells last went in, and the level just after. Before that, the bucket has always been empty.
    last: Option<(i128, i128)>,
}

impl ExactBucket {
    pub(crate) fn new(limit: Limit) -> ExactBucket {
        ExactBucket { limit, last: None }
    }

    /// Creates a bucket found at `level` (in 1/period of a unit) at instant `at`.
    pub(crate) fn filled(limit: Limit, level: i128, at: i128) -> ExactBucket {
        ExactBucket {
            limit,
            last: Some((at, level)),
        }
    }

    /// Returns the bucket of another limit with as much available at `at`, capped at its capacity. The periods must be the same, so that nothing is
    /// rounded.
    pub(crate) fn changed(&self, limit: Limit, at: i128) -> ExactBucket {
        assert_eq!(limit.period, self.limit.period);
        let available = self.limit.capacity() - self.level(at);
        ExactBucket::filled(limit, limit.capacity() - available.min(limit.capacity()), at)
    }

    /// Returns the level at `at`. An instant before the last cells has a higher level, by the volume that had not yet drained.
    pub(crate) fn level(&self, at: i128) -> i128 {
        self.last
            .map_or(0, |(then, level)| (level - self.limit.drained(at - then)).max(0))
    }

    /// Returns by how much `n` cells at `at` overflow the bucket; not positive if they conform.
    pub(crate) fn excess(&self, n: u32, at: i128) -> i128 {
        self.level(at) + self.limit.cost(n) - self.limit.capacity()
    }

    /// Returns how many cells conform at `at`.
    pub(crate) fn room(&self, at: i128) -> u32 {
        let free = (self.limit.capacity() - self.level(at)).max(0);
        u32::try_from(free / self.limit.cost(1)).unwrap_or(u32::MAX)
    }

    /// Returns the right answer to `n` cells at `at`.
    pub(crate) fn judge(&self, n: u32, at: i128) -> Verdict {
        if self.limit.cost(n) > self.limit.capacity() {
            return Verdict::Never;
        }
        match self.excess(n, at) {
            excess if excess > 0 && n > 0 => Verdict::From(at + self.limit.time_to_drain(excess)),
            _ => Verdict::Conforms,
        }
    }

    /// Puts `n` cells in, whether they conform or not.
    pub(crate) fn take(&mut self, n: u32, at: i128) {
        if n > 0 {
            self.last = Some((at, self.level(at) + self.limit.cost(n)));
        }
    }

    /// Puts any number of cells in, into debt if necessary.
    pub(crate) fn charge(&mut self, n: u64, at: i128) {
        let cost = i128::from(n) * self.limit.cost(1);
        self.last = Some((at, self.level(at) + cost));
    }

    /// Takes any number of cells out, at most as many as there are.
    pub(crate) fn refund(&mut self, n: u64, at: i128) {
        let cost = i128::from(n) * self.limit.cost(1);
        self.last = Some((at, (self.level(at) - cost).max(0)));
    }

    /// Judges `n` cells and puts them in if they conform.
    pub(crate) fn decide(&mut self, n: u32, at: i128) -> Verdict {
        let verdict = self.judge(n, at);
        if verdict == Verdict::Conforms {
            self.take(n, at);
        }
        verdict
    }
}
