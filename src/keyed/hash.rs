//! The default hash of keys: strongly universal and multilinear, with random coefficients of 128 bits.
//!
//! Let w_1 to w_n be words of 64 bits. The hash is the upper half of b + c_1 w_1 + ... + c_n w_n mod 2^128, with random b and c_i. Any two different
//! keys of up to four words collide with a probability of 2^-64, if they were chosen without knowledge of the coefficients. See Dietzfelbinger,
//! *Universal hashing and k-wise independent random variables via integer arithmetic without primes*, STACS 1996. It is "multilinear" in Lemire and
//! Kaser, *Strongly universal string hashing is fast*, 2014. The hash takes two multiplications a word, none of which waits for another.
//!
//! Longer keys are hashed in pieces of four words, and each part of a key begins a piece. Each piece has the hash of the pieces before it as one word
//! more. So a key of k pieces collides with a probability of at most k / 2^64.
//!
//! A linear hash preserves the steps between keys (1, 256, 2^16), and with 1.3 % of all coefficients such keys crowd into few buckets. So a table
//! applies [`KeyHash::spread`] after any hash; with it, such keys did not crowd for any of 600 seeds.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash, Hasher};
#[cfg(feature = "std")]
use std::hash::RandomState;

/// The number of words in a piece.
const PIECE: usize = 4;

/// The coefficient of the word that holds the end of a text and its length.
const END: usize = PIECE - 1;

/// Builds the hashers of one table, all with the same random numbers; the default of [`KeyedMeter`](crate::KeyedMeter).
///
/// Two different keys of up to 24 bytes collide with a probability of 2^-64, over the choice of the numbers. Keys of k pieces of 32 bytes collide
/// with a probability of k / 2^64, if the keys were chosen without knowledge of the numbers. Each part of a key, such as a field of a tuple, begins
/// a piece. No two keys collide for every seed. The hash is not a cipher: an attacker that could watch which keys share a slot could solve for the
/// numbers. If that is possible, use SipHash ([`RandomState`]) as the type parameter.
///
/// ```
/// use core::hash::BuildHasher;
/// use ratelimit_meter::keyed::KeyHashes;
///
/// let seed = [2024, 11, 28]; // any numbers; keep the seed with its snapshots
/// assert_eq!(KeyHashes::with_seed(seed).hash_one("key"), KeyHashes::with_seed(seed).hash_one("key"));
/// assert_ne!(KeyHashes::random().hash_one("key"), KeyHashes::random().hash_one("key"));
/// ```
#[derive(Clone)]
pub struct KeyHashes {
    /// The constant b.
    begin: u128,
    /// The coefficients c_1 to c_4.
    factors: [u128; PIECE],
    /// The coefficient of the hash of the pieces before.
    before: u128,
    /// The coefficient of a byte that comes last, such as the one after a text.
    last: u128,
    /// The coefficient of a byte that came last in the piece before. (With the coefficient of `last`, two bytes at the end would be a sum.)
    last_before: u128,
}

impl KeyHashes {
    /// Returns hashes with a seed from the operating system.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn random() -> Self {
        let random = RandomState::new();
        Self::with_seed([0, 1, 2].map(|number| random.hash_one(number)))
    }

    /// Returns the hashes of `seed`, which are the same in every process.
    ///
    /// Every seed is safe for the table, including `[0, 0, 0]` and `[1, 2, 3]`: its words are mixed before use, so no seed makes keys share a meter.
    /// Clients that can guess the seed can choose keys that collide, so keep it secret.
    #[must_use]
    pub const fn with_seed(seed: [u64; 3]) -> Self {
        Self {
            begin: coefficient(seed, 0),
            factors: [
                coefficient(seed, 1),
                coefficient(seed, 2),
                coefficient(seed, 3),
                coefficient(seed, 4),
            ],
            before: coefficient(seed, 5),
            last: coefficient(seed, 6),
            last_before: coefficient(seed, 7),
        }
    }

    /// Returns the hasher of one key, which borrows the random numbers. [`build_hasher`](BuildHasher::build_hasher) copies all of them.
    #[inline(always)]
    #[must_use]
    pub fn hasher(&self) -> KeyHasher<&Self> {
        KeyHasher::new(self)
    }
}

/// Draws a coefficient from a seed.
const fn coefficient(seed: [u64; 3], index: u64) -> u128 {
    (drawn(seed, 2 * index) as u128) << 64 | drawn(seed, 2 * index + 1) as u128
}

/// Draws the number `index` from a seed. Each word of the seed goes through a mixer in turn, so each bit of the seed changes half of the bits drawn.
/// For any two words fixed, the number is a bijection of the third.
const fn drawn([first, second, third]: [u64; 3], index: u64) -> u64 {
    /// 2^64 divided by the golden ratio, the increment of `SplitMix64`.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = 3 * index;
    let number = avalanche(first.wrapping_add(STEP.wrapping_mul(step + 1)));
    let number = avalanche((number ^ second).wrapping_add(STEP.wrapping_mul(step + 2)));
    avalanche((number ^ third).wrapping_add(STEP.wrapping_mul(step + 3)))
}

/// Makes each bit depend on all bits (the finalizer of `SplitMix64`, by Stafford, "variant 13").
const fn avalanche(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(feature = "std")]
impl Default for KeyHashes {
    fn default() -> Self {
        Self::random()
    }
}

/// Omits the seed.
impl fmt::Debug for KeyHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHashes").finish_non_exhaustive()
    }
}

impl BuildHasher for KeyHashes {
    type Hasher = KeyHasher;

    #[inline(always)]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher::new(self.clone())
    }

    /// Borrows the coefficients instead of copying them: a hot `String` costs 10 ns less.
    #[inline(always)]
    fn hash_one<T: Hash>(&self, key: T) -> u64 {
        let mut hasher = KeyHasher::new(self);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

/// The hasher of one key; see [`KeyHashes`].
///
/// It owns or borrows the hashes. It inlines where it is used, so that only the coefficients which the key needs are read.
#[derive(Clone)]
pub struct KeyHasher<H = KeyHashes> {
    sum: u128,
    /// True if bytes were written to this piece.
    is_begun: bool,
    /// A single byte that came last, like the one after a text, plus one; zero if there is none. If more bytes follow, it becomes a word.
    last: u64,
    hashes: H,
}

/// Omits the seed.
impl<H> fmt::Debug for KeyHasher<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

impl<H: Borrow<KeyHashes>> KeyHasher<H> {
    #[inline(always)]
    fn new(hashes: H) -> Self {
        Self {
            sum: hashes.borrow().begin,
            is_begun: false,
            last: 0,
            hashes,
        }
    }

    /// Adds the product of `factor` and `word`.
    // The product of the upper half is added first, while the processor still computes that of the lower half. A hot `u64` is denied in 24.0 ns instead
    // of 24.7.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn add(&mut self, factor: u128, word: u64) {
        let low = u128::from(factor as u64) * u128::from(word);
        let high = upper(factor).wrapping_mul(word);
        self.sum = self.sum.wrapping_add(u128::from(high) << 64).wrapping_add(low);
    }

    /// Adds the word of a piece that has this index.
    #[inline(always)]
    fn add_word(&mut self, index: usize, word: u64) {
        self.add(self.hashes.borrow().factors[index], word);
    }

    /// Begins a new piece if the current one has bytes.
    #[inline(always)]
    fn begin(&mut self) {
        if self.is_begun {
            self.begin_next();
        }
        self.is_begun = true;
    }

    /// Begins a piece with the hash of the pieces before, and with the byte that came last.
    #[inline(always)]
    fn begin_next(&mut self) {
        let (before, last) = (upper(self.sum), self.last);
        self.sum = self.hashes.borrow().begin;
        self.last = 0;
        self.add(self.hashes.borrow().before, before);
        self.add(self.hashes.borrow().last_before, last);
    }

    #[inline(always)]
    fn write_word(&mut self, word: u64) {
        self.begin();
        self.add_word(0, word);
    }

    /// Adds the words of a text shorter than a piece, and one word more for its end and length, which is never zero.
    #[inline(always)]
    fn add_text(&mut self, bytes: &[u8]) {
        self.add_word(END, end_of(bytes) | (bytes.len() as u64 % 32 + 1) << 56);
        // Not a loop: coefficients with a known index are operands.
        let Some((word, rest)) = bytes.split_first_chunk() else {
            return;
        };
        self.add_word(0, u64::from_le_bytes(*word));
        let Some((word, rest)) = rest.split_first_chunk() else {
            return;
        };
        self.add_word(1, u64::from_le_bytes(*word));
        let Some((word, _)) = rest.split_first_chunk() else {
            return;
        };
        self.add_word(2, u64::from_le_bytes(*word));
    }

    /// Writes a text that is long, or that follows other bytes.
    // By value, so that a hasher of short keys need not be in memory.
    #[inline(never)]
    fn written(mut self, bytes: &[u8]) -> Self {
        self.begin();
        let mut rest = bytes;
        while let Some((piece, more)) = rest.split_first_chunk::<{ 8 * PIECE }>() {
            for (index, word) in piece.chunks_exact(8).enumerate() {
                let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                self.add_word(index, word);
            }
            self.begin_next();
            rest = more;
        }
        self.add_text(rest);
        self
    }
}

#[inline(always)]
fn upper(sum: u128) -> u64 {
    (sum >> 64) as u64
}

/// Returns the bytes of a text after its last whole word, as a number below 2^56.
#[inline(always)]
fn end_of(bytes: &[u8]) -> u64 {
    match bytes.last_chunk() {
        // Shifts by 64 in two steps if there are none.
        Some(last) => u64::from_le_bytes(*last) >> 8 >> (8 * (7 - bytes.len() % 8)),
        None => short(bytes),
    }
}

/// Returns a text of less than eight bytes as a number.
#[inline(never)]
fn short(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
        first | last << (8 * (bytes.len() - 4))
    } else {
        bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

impl<H: Borrow<KeyHashes> + Clone> Hasher for KeyHasher<H> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        if self.is_begun || bytes.len() >= 8 * END {
            *self = self.clone().written(bytes);
            return;
        }
        self.is_begun = true;
        self.add_text(bytes);
    }

    #[inline(always)]
    fn write_u8(&mut self, n: u8) {
        if self.last > 0 {
            self.begin_next();
        }
        self.is_begun = true;
        self.last = u64::from(n) + 1;
    }

    #[inline(always)]
    fn write_u16(&mut self, n: u16) {
        self.write_word(n.into());
    }

    #[inline(always)]
    fn write_u32(&mut self, n: u32) {
        self.write_word(n.into());
    }

    #[inline(always)]
    fn write_u64(&mut self, n: u64) {
        self.write_word(n);
    }

    #[inline(always)]
    fn write_usize(&mut self, n: usize) {
        self.write_word(n as u64);
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        upper(
            self.sum
                .wrapping_add(self.hashes.borrow().last.wrapping_mul(self.last.into())),
        )
    }
}

/// The number of slots in a line: four states of eight bytes, four ids of six, and a reach of four make 64 bytes.
pub(super) const WIDTH: usize = if cfg!(ratelimit_meter_loom) { 1 } else { 4 };

/// The number of lines in a bucket: with its header, 8 KiB. Models and the stress test have few lines, so that slots change owners all the time.
pub(super) const LINES: usize = if cfg!(any(ratelimit_meter_loom, ratelimit_meter_stress)) {
    2
} else {
    127
};

/// The hash by which a table knows a key: 64 bits, nearly random.
///
/// The upper bits choose the bucket. The lower 48 bits are the id that a slot holds. Of the id, the lower 32 bits choose the home line. The upper 16
/// choose the slot of that line at which a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(pub(super) u64);

impl KeyHash {
    /// The number of bits of a key that a slot holds.
    pub(super) const ID_BITS: u32 = 48;

    /// Spreads the differences of hashes over the upper bits, which choose the bucket. It is a bijection, so keys agree only if their hashes do, for
    /// any hasher.
    #[inline]
    pub(super) const fn spread(hash: u64) -> Self {
        Self((hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns the key that has the lower bits of `id` as its id and belongs to bucket `bucket` of `buckets`; `None` if there is none.
    pub(super) fn with_id(id: u64, bucket: u64, buckets: usize) -> Option<Self> {
        const ID: u64 = (1 << KeyHash::ID_BITS) - 1;
        let buckets_wide = u128::try_from(buckets).ok()?;
        // `first` is the lowest number in the bucket. The next number that ends in the id belongs to this bucket or to a later one.
        let first = u64::try_from((u128::from(bucket) << u64::BITS).div_ceil(buckets_wide)).ok()?;
        let key = first & !ID | id & ID;
        let key = if key < first { key.checked_add(ID + 1)? } else { key };
        Some(Self(key)).filter(|key| key.bucket_of(buckets) as u64 == bucket)
    }

    /// Returns the key's bucket among `buckets`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of buckets")]
    pub(super) const fn bucket_of(self, buckets: usize) -> usize {
        ((self.0 as u128 * buckets as u128) >> u64::BITS) as usize
    }

    #[inline]
    pub(super) const fn id(self) -> u64 {
        self.0 & ((1 << Self::ID_BITS) - 1)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
    pub(super) const fn lower(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the middle bits are meant")]
    pub(super) const fn upper(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Returns the key's home line.
    #[inline]
    pub(super) const fn home(self) -> usize {
        ((self.lower() as u64 * LINES as u64) >> 32) as usize
    }

    /// Returns the slot of a line at which the key's search begins.
    #[inline]
    pub(super) const fn first(self) -> usize {
        (self.upper() as usize * WIDTH) >> 16
    }

    /// Returns the lines of a bucket in the order of the key's search, from its home on.
    pub(super) fn lines(self) -> impl Iterator<Item = usize> {
        (self.home()..LINES).chain(0..self.home())
    }

    /// Returns the number of lines from the key's home to `line`.
    pub(super) const fn distance(self, line: usize) -> usize {
        (line + LINES - self.home()) % LINES
    }

    /// Returns the slots of a line in the order of the key's search.
    pub(super) fn slots(self) -> impl Iterator<Item = usize> {
        (self.first()..WIDTH).chain(0..self.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_upper_half_of_linear_form() {
        let hashes = KeyHashes::with_seed([1, 2, 3]);
        for word in [0, 1, 77, 0x0123_4567_89ab_cdef, 1 << 63, u64::MAX] {
            let form = hashes.begin.wrapping_add(hashes.factors[0].wrapping_mul(word.into()));
            assert_eq!(hashes.hash_one(word), upper(form), "{word}");
        }
        // A whole word, the seven bytes after it with the length plus one, and the byte that ends a text plus one.
        let words = [*b"client-a", *b"bcdefgh\x10"].map(u64::from_le_bytes);
        let terms = [
            hashes.factors[0].wrapping_mul(words[0].into()),
            hashes.factors[END].wrapping_mul(words[1].into()),
            hashes.last.wrapping_mul(0x100),
        ];
        let form = terms.into_iter().fold(hashes.begin, u128::wrapping_add);
        assert_eq!(hashes.hash_one("client-abcdefgh"), upper(form));
    }
}
