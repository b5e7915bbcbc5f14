//! Keys and pairs as slots hold them, and what their words mean.

use super::slot::Pair;
use crate::units::Nanos;

/// How many cache lines of slots a bucket has.
pub(super) const LINES: usize = if cfg!(ratelimit_meter_loom) { 2 } else { 15 };

/// How many slots a line has.
pub(super) const WIDTH: usize = if cfg!(ratelimit_meter_loom) { 1 } else { 4 };

/// The bits of an id that are not the key's: the tier, and whether the claim is tentative.
pub(super) const TIER: u64 = 0b0_1111;
pub(super) const TENTATIVE: u64 = 0b1_0000;

/// The mark of a claim: the index of its slot, a ticket, and the turn.
pub(super) const INDEX_BITS: u32 = 6;
pub(super) const TICKET_BITS: u32 = 18;
pub(super) const TURN_BITS: u32 = 64 - INDEX_BITS - TICKET_BITS;

/// A key as slots know it: the bits of an id, as good as random.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

impl Key {
    #[inline]
    pub(super) const fn of_hash(hash: u64) -> Self {
        const LEAST: u64 = TENTATIVE << 1;
        let bits = hash & !(LEAST - 1);
        // An id of 0 is nobody's.
        Self(if bits == 0 { LEAST } else { bits })
    }

    /// The key of a resident's id.
    pub(super) const fn of_id(id: u64) -> Self {
        Self::of_hash(id)
    }

    /// Whether a pair can be a resident's.
    pub(super) const fn is_of(pair: Pair) -> bool {
        !pair.is_tentative() && pair.id > TENTATIVE
    }

    /// Which of so many buckets is its, by the upper bits.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of buckets")]
    pub(super) const fn bucket_of(self, buckets: usize) -> usize {
        ((self.0 as u128 * buckets as u128) >> u64::BITS) as usize
    }

    #[inline]
    pub(super) const fn resident(self, tier: u8) -> u64 {
        self.0 | tier as u64
    }

    #[inline]
    pub(super) const fn is_resident_in(self, pair: Pair) -> bool {
        pair.id & !TIER == self.0
    }

    /// The line of its home.
    #[inline]
    pub(super) const fn line(self) -> usize {
        (((self.0 & 0xffff_ffff) * LINES as u64) >> 32) as usize
    }

    /// The slot of its home, in that line.
    #[inline]
    pub(super) const fn first(self) -> usize {
        (self.0 >> 32) as usize % WIDTH
    }

    /// The lines of its bucket, from its home on.
    pub(super) fn lines(self) -> impl Iterator<Item = usize> {
        (self.line()..LINES).chain(0..self.line())
    }

    /// How many lines past its home a line is.
    pub(super) const fn distance(self, line: usize) -> usize {
        (line + LINES - self.line()) % LINES
    }

    /// The slots of a line, in the order of its search.
    pub(super) fn slots(self) -> impl Iterator<Item = usize> {
        (self.first()..WIDTH).chain(0..self.first())
    }
}

impl Pair {
    /// Nobody was ever here.
    #[inline]
    pub(super) const fn is_untaken(self) -> bool {
        self.id == 0
    }

    pub(super) const fn is_tentative(self) -> bool {
        self.id & TENTATIVE != 0
    }

    #[inline]
    pub(super) const fn tier(self) -> u8 {
        (self.id & TIER) as u8
    }

    /// Of a claim or an intent.
    pub(super) const fn turn(self) -> u64 {
        self.word >> (INDEX_BITS + TICKET_BITS)
    }
}

/// What the words of each tier mean.
pub(super) trait Tiers {
    /// The word of a meter that is at rest from `at` on, and not before.
    fn at_rest_from(&self, tier: u8, at: Nanos) -> u64;

    /// Whether the meter is at rest, and was before.
    fn was_at_rest(&self, tier: u8, word: u64, at: Nanos) -> bool {
        word < self.at_rest_from(tier, at)
    }

    /// Whether a resident's meter is not at rest.
    fn is_live(&self, resident: Pair, at: Nanos) -> bool {
        resident.word > self.at_rest_from(resident.tier(), at)
    }

    /// From when on the meter is at rest.
    fn rests_at(&self, tier: u8, word: u64) -> Nanos;
}
