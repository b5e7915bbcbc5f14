use super::Kind;
use crate::error::InconsistentCapacity;
use crate::quota::Quota;
use crate::scale::Scale;
use core::fmt::{self, Debug};

/// A metering algorithm: what a [`Meter`](crate::Meter) asks for each decision.
///
/// Sealed: [`VirtualScheduling`](super::VirtualScheduling), [`ContinuousState`](super::ContinuousState) and
/// [`ExponentialAverage`](super::ExponentialAverage) are all there are.
pub trait Algorithm: Decide {}

/// The volume that has to drain before cells conform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due(pub(crate) u64);

/// The pure functions of an algorithm, from the word of a meter, the volume drained by now and a number of cells. They know no
/// atomics, no clock and no allocation.
pub trait Decide: Copy + Debug + Send + Sync {
    /// What the meter is called.
    const NAME: &'static str;

    /// The algorithm for a quota.
    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity>;

    /// Which algorithm it is.
    fn kind(&self) -> Kind;

    /// T and tau in whole nanoseconds, as the standard has them: what tells limits apart that were made of no quota.
    fn parameters(&self) -> (u64, u64);

    /// The same algorithm for another quota.
    fn with_quota(&self, quota: Quota) -> Result<Self, InconsistentCapacity> {
        Self::from_quota(quota)
    }

    /// The same algorithm for `quota`, or for its own T and tau if there is none, in words that all stay below `end`; `None` if they
    /// cannot.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has smaller words"))]
    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self>;

    /// How time becomes volume.
    fn scale(&self) -> Scale;

    /// The last word there is.
    fn last_word(&self) -> u64;

    /// The most cells that can conform at once.
    fn max_batch(&self) -> u32;

    /// Decides `n` cells, at least 1 and at most the largest batch: the new word, larger by at least one unit, or a denial.
    fn decide(&self, word: u64, now: u64, n: u32) -> Result<u64, Due>;

    /// What refused cells leave behind: the new word, if they count.
    #[inline]
    fn refuse(&self, _word: u64, _now: u64, _n: u32) -> Option<u64> {
        None
    }

    /// Whether refused cells count.
    #[inline]
    fn counts_refusals(&self) -> bool {
        false
    }

    /// From when on `n` cells, at most the largest batch, conform.
    fn due(&self, word: u64, n: u32) -> Due;

    /// From when on the meter is at rest.
    fn rested(&self, word: u64) -> Due;

    /// How many cells conform at once now.
    fn room(&self, word: u64, now: u64) -> u32;

    /// Counts `n` cells whether they conform or not: the new word, and how many of them no word can record.
    fn charge(&self, word: u64, now: u64, n: u64) -> (u64, u64);

    /// Gives back what has not drained now of `n` cells that were counted when `at` had drained and made the word `counted`, but no
    /// more than brings the meter to rest.
    fn cancel(&self, word: u64, now: u64, n: u32, at: u64, counted: u64) -> u64;

    /// Gives back `n` cells, but no more than brings the meter to rest. The same word where there is nothing to give back to.
    fn refund(&self, word: u64, now: u64, n: u64) -> u64;

    /// The word that leaves available of the `next` limit, of which `next_now` has drained, what is available of this one now, cut to
    /// all there is; and what of a debt no word of it can record, in what a quota counts, rounded up.
    fn carry(&self, word: u64, now: u64, next: &Self, next_now: u64) -> (u64, u64);

    /// The word of the `next` limit, of which `next_now` has drained, that owes what this one does now; its last word, if that is more.
    fn owing(&self, word: u64, now: u64, next: &Self, next_now: u64) -> u64;

    /// The word of a meter of which just `n` cells, at most the largest batch, are available now.
    fn leaving(&self, n: u32, now: u64) -> u64;

    /// Tells what the limit is.
    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>);
}
