//! The rules of the three RFCs as pure functions on two words.

use super::Colour;
use crate::algorithm::Decide;
use crate::algorithms::VirtualScheduling;
use crate::dual::words::Words;
use crate::error::InconsistentCapacity;
use crate::limit::UnitLimit;
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::time::Instant;
use crate::units::{Nanos, TimeLine, Volume};
use core::fmt;
use core::marker::PhantomData;
use core::num::NonZeroU32;

/// The volumes drained from the committed and from the second bucket.
type Volumes = [Volume; 2];

/// A rule by which two buckets colour a packet. Sealed; its implementations are [`Rfc2697`], [`Rfc2698`] and [`Rfc4115`].
pub trait Rule: sealed::Sealed {}

mod sealed {
    use super::{Colour, Instant, Nanos, TimeLine, Volumes, Words, fmt};

    /// The pure functions of a rule.
    pub trait Sealed: Copy + Send + Sync + 'static {
        /// The name of its marker.
        const NAME: &'static str;

        /// Returns the same rule on the time line of a marker made at `made`.
        #[must_use]
        fn made_at(self, made: Instant) -> Self;

        fn time_line(&self) -> &TimeLine;

        /// Returns the volumes drained from the buckets by `at`.
        fn drained(&self, at: Nanos) -> Volumes;

        /// Marks a packet of `bytes`, at least 1, that came green or yellow. Returns the new words and the colour; `None` if it is red.
        fn mark(&self, words: Words, drained: Volumes, bytes: u32, came: Colour) -> Option<(Words, Colour)>;

        /// Returns how many bytes each bucket holds.
        fn room(&self, words: Words, drained: Volumes) -> [u32; 2];

        /// Returns the instant from which both buckets are full; `None` if no byte was ever taken.
        fn full_from(&self, words: Words) -> Option<Instant>;

        /// Adds the parameters to a debug output.
        fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>);
    }
}

use sealed::Sealed;

/// The rule of [`SingleRate`](super::SingleRate).
///
/// Both buckets are filled by one rate, first the committed bucket and then the excess bucket. So the words are the volumes at which the committed
/// bucket alone, and at which both buckets, are full again:
///
/// ```text
///        drained now       words[0]           words[1]
///   ─────────┼────────────────┼──────────────────┼────▶ volume
///            │◀──committed───▶│◀─────excess─────▶│       bytes taken that have yet to come back
/// ```
///
/// A green packet moves both words by its bytes, a yellow packet the second. *Invariant*: the second word is never below the first.
#[derive(Debug, Clone, Copy)]
pub struct Rfc2697 {
    /// The committed rate and burst.
    quota: Quota,
    /// The time line and the units, of the committed rate and a burst as large as both.
    both: Schedule<VirtualScheduling>,
    committed: PartBucket,
    excess: PartBucket,
}

/// A bucket in units that another bucket shares.
#[derive(Debug, Clone, Copy)]
struct PartBucket {
    /// The burst, in the quota's unit.
    burst: u32,
    /// The most bytes that conform at once.
    most: u32,
    /// The units of one byte.
    byte: u64,
    /// The burst in units, plus one unit because time is rounded.
    tolerance: u64,
}

impl PartBucket {
    /// Makes a bucket of `burst` in the quota's unit, where a byte of `weight` such units is `byte` units of the word.
    fn new(burst: u32, weight: u32, byte: u64) -> Self {
        Self {
            burst,
            most: burst / weight,
            byte,
            tolerance: u64::from(burst) * (byte / u64::from(weight)) + 1,
        }
    }

    /// Returns the units of `bytes`, if they conform at `level`.
    #[inline]
    fn take(self, bytes: u32, level: u64) -> Option<u64> {
        if bytes > self.most {
            return None;
        }
        let cost = u64::from(bytes) * self.byte;
        (level <= self.tolerance - cost).then_some(cost)
    }

    fn room(self, level: u64) -> u32 {
        // At most `most`: the tolerance's one unit is never a byte.
        let bytes = self.tolerance.saturating_sub(level) / self.byte;
        u32::try_from(bytes).unwrap_or(self.most)
    }
}

impl Rfc2697 {
    pub(super) fn new(made: Instant, committed: Quota, excess_burst: u32) -> Result<Self, InconsistentCapacity> {
        committed.validate()?;
        let (burst, weight) = (committed.burst().get(), committed.weight().get());
        let too_large = InconsistentCapacity::BurstsTooLarge {
            committed: burst,
            excess: excess_burst,
        };
        let together = burst.checked_add(excess_burst).and_then(NonZeroU32::new);
        let both = committed.allow_burst(together.ok_or(too_large)?);
        let byte = UnitLimit::of_quota(both)?.cell;
        Ok(Self {
            quota: committed,
            both: schedule(made, both)?,
            committed: PartBucket::new(burst, weight, byte),
            excess: PartBucket::new(excess_burst, weight, byte),
        })
    }

    /// Returns the levels of both buckets.
    #[inline]
    fn levels([committed, both]: Words, Volume(drained): Volume) -> [u64; 2] {
        let level = committed.saturating_sub(drained);
        [level, both.saturating_sub(drained) - level]
    }
}

impl Rule for Rfc2697 {}

impl Sealed for Rfc2697 {
    const NAME: &'static str = "SingleRate";

    fn made_at(self, made: Instant) -> Self {
        let both = Schedule::made_at(made, self.both.algorithm, self.both.quota);
        Self { both, ..self }
    }

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.both.time_line
    }

    #[inline]
    fn drained(&self, at: Nanos) -> Volumes {
        [self.both.drained(at); 2]
    }

    #[inline]
    fn mark(&self, words: Words, [drained, _]: Volumes, bytes: u32, came: Colour) -> Option<(Words, Colour)> {
        let [committed, excess] = Self::levels(words, drained);
        let [first, second] = words.map(|word| word.max(drained.0));
        if let (Colour::Green, Some(cost)) = (came, self.committed.take(bytes, committed)) {
            return Some(([first + cost, second + cost], Colour::Green));
        }
        let cost = self.excess.take(bytes, excess)?;
        Some(([words[0], second + cost], Colour::Yellow))
    }

    fn room(&self, words: Words, [drained, _]: Volumes) -> [u32; 2] {
        let [committed, excess] = Self::levels(words, drained);
        [self.committed.room(committed), self.excess.room(excess)]
    }

    fn full_from(&self, [_, both]: Words) -> Option<Instant> {
        self.both.idle_from(both)
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        fields
            .field("committed", &format_args!("{}", self.quota))
            .field("excess_burst", &self.excess.burst);
    }
}

/// The rule of [`TwoRate`](super::TwoRate).
pub type Rfc2698 = TwoBuckets<Peak>;

/// The rule of [`ExcessRate`](super::ExcessRate).
pub type Rfc4115 = TwoBuckets<Excess>;

/// Two buckets that fill independently. Each word is the word of a GCRA.
#[derive(Debug, Clone, Copy)]
pub struct TwoBuckets<K> {
    committed: Schedule<VirtualScheduling>,
    second: Schedule<VirtualScheduling>,
    kind: PhantomData<K>,
}

/// The second bucket bounds the whole rate: a green packet takes its bytes from both buckets.
#[derive(Debug, Clone, Copy)]
pub enum Peak {}

/// The second bucket bounds the rate above the committed one: a green packet takes its bytes from the committed bucket alone.
#[derive(Debug, Clone, Copy)]
pub enum Excess {}

impl<K> TwoBuckets<K> {
    fn of_quotas(made: Instant, committed: Quota, second: Quota) -> Result<Self, InconsistentCapacity> {
        Ok(Self {
            committed: schedule(made, committed)?,
            second: schedule(made, second)?,
            kind: PhantomData,
        })
    }
}

impl Rfc2698 {
    pub(super) fn new(made: Instant, committed: Quota, peak: Quota) -> Result<Self, InconsistentCapacity> {
        let buckets = Self::of_quotas(made, committed, peak)?;
        // A rate is cells over the period and the weight.
        let over = |quota: Quota, other: Quota| {
            u128::from(quota.cells().get()) * u128::from(other.weight().get()) * u128::from(other.period_ns())
        };
        if over(peak, committed) < over(committed, peak) {
            return Err(InconsistentCapacity::PeakBelowCommitted);
        }
        Ok(buckets)
    }
}

impl Rfc4115 {
    pub(super) fn new(made: Instant, committed: Quota, excess: Quota) -> Result<Self, InconsistentCapacity> {
        Self::of_quotas(made, committed, excess)
    }
}

/// The order in which a packet is tried on two buckets.
pub trait TrialOrder: Copy + Send + Sync + 'static {
    /// The name of the marker.
    const NAME: &'static str;

    /// The name of the second bucket.
    const SECOND: &'static str;

    /// Returns the new words and the colour, from the words after the packet took its bytes from a bucket: `None` if the bucket lacks them.
    fn colour(words: Words, taken: [Option<u64>; 2]) -> Option<(Words, Colour)>;
}

impl TrialOrder for Peak {
    const NAME: &'static str = "TwoRate";
    const SECOND: &'static str = "peak";

    #[inline]
    fn colour([committed, _]: Words, taken: [Option<u64>; 2]) -> Option<(Words, Colour)> {
        match taken {
            [_, None] => None,
            [None, Some(peak)] => Some(([committed, peak], Colour::Yellow)),
            [Some(committed), Some(peak)] => Some(([committed, peak], Colour::Green)),
        }
    }
}

impl TrialOrder for Excess {
    const NAME: &'static str = "ExcessRate";
    const SECOND: &'static str = "excess";

    #[inline]
    fn colour([committed, excess]: Words, taken: [Option<u64>; 2]) -> Option<(Words, Colour)> {
        match taken {
            [None, None] => None,
            [None, Some(excess)] => Some(([committed, excess], Colour::Yellow)),
            [Some(committed), _] => Some(([committed, excess], Colour::Green)),
        }
    }
}

impl<K: TrialOrder> Rule for TwoBuckets<K> {}

impl<K: TrialOrder> Sealed for TwoBuckets<K> {
    const NAME: &'static str = K::NAME;

    fn made_at(self, made: Instant) -> Self {
        let on = |schedule: Schedule<VirtualScheduling>| Schedule::made_at(made, schedule.algorithm, schedule.quota);
        Self {
            committed: on(self.committed),
            second: on(self.second),
            kind: self.kind,
        }
    }

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.committed.time_line
    }

    #[inline]
    fn drained(&self, at: Nanos) -> Volumes {
        [self.committed.drained(at), self.second.drained(at)]
    }

    #[inline]
    fn mark(&self, words: Words, drained: Volumes, bytes: u32, came: Colour) -> Option<(Words, Colour)> {
        let take = |schedule: &Schedule<VirtualScheduling>, word, drained| {
            let decided =
                (bytes <= schedule.algorithm.max_batch()).then(|| schedule.algorithm.decide(word, drained, bytes).ok());
            decided.flatten()
        };
        let committed = match came {
            Colour::Green => take(&self.committed, words[0], drained[0]),
            Colour::Yellow | Colour::Red => None,
        };
        K::colour(words, [committed, take(&self.second, words[1], drained[1])])
    }

    fn room(&self, words: Words, drained: Volumes) -> [u32; 2] {
        [
            self.committed.algorithm.room(words[0], drained[0]),
            self.second.algorithm.room(words[1], drained[1]),
        ]
    }

    fn full_from(&self, words: Words) -> Option<Instant> {
        self.committed.idle_from(words[0]).max(self.second.idle_from(words[1]))
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        for (name, quota) in [("committed", self.committed.quota), (K::SECOND, self.second.quota)] {
            quota.map(|quota| fields.field(name, &format_args!("{quota}")));
        }
    }
}

fn schedule(made: Instant, quota: Quota) -> Result<Schedule<VirtualScheduling>, InconsistentCapacity> {
    let algorithm = VirtualScheduling::from_quota(quota)?;
    Ok(Schedule::made_at(made, algorithm, Some(quota)))
}
