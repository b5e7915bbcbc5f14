//! The default hash of keys: a polynomial over a prime field, with a random point per table.

mod block;
mod field;

use block::Block;
use core::fmt;
use core::hash::{BuildHasher, Hasher};
use field::{P, folded, product, wide};
use std::hash::RandomState;

/// The bits of a point: few enough that values need one reduction a block.
const POINT_BITS: u32 = 58;

/// Builds the hashers of one table, all with the same random numbers; the default of [`KeyedMeter`](crate::KeyedMeter).
///
/// A key's blocks of eight bytes are the coefficients of a polynomial over the field of 2^61 - 1 elements, which is read at a random point.
/// (The byte that ends a text is a term with a random factor of its own.) A polynomial of n blocks has n zeros at most: so two different keys, whatever they are and whoever chose them without knowing the
/// point, collide in a table with a probability of (n + 1) / 2^58 at most (Carter and Wegman's universal hashing). There are no keys
/// that collide whatever the seed, as with some fast hashes that multiply and fold. It is no cipher: somebody who could watch which
/// keys share a slot could solve for the point. Take SipHash ([`RandomState`]) as the type parameter against that.
///
/// ```
/// use core::hash::BuildHasher;
/// use ratelimit_meter::keyed::KeyHashes;
///
/// let seed = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0]; // keep it with the snapshots it goes with
/// assert_eq!(KeyHashes::with_seed(seed).hash_one("key"), KeyHashes::with_seed(seed).hash_one("key"));
/// assert_ne!(KeyHashes::random().hash_one("key"), KeyHashes::random().hash_one("key"));
/// ```
#[derive(Clone)]
pub struct KeyHashes {
    /// Where polynomials are read.
    point: u64,
    /// What the upper half of a block is multiplied by, so that a block is one number of the field.
    upper: u64,
    /// The first coefficient of all, not zero.
    start: u64,
    powers: Powers,
}

/// Products of the point and the factor of upper halves, for what is done at once.
#[derive(Clone, Copy)]
struct Powers {
    /// The point times the point.
    point_twice: u64,
    /// The point times the factor.
    point_upper: u64,
    /// The factor times the factor.
    upper_twice: u64,
}

impl KeyHashes {
    /// Returns hashes with a seed of the operating system's.
    #[must_use]
    pub fn random() -> Self {
        let random = RandomState::new();
        Self::with_seed([0, 1, 2].map(|number| random.hash_one(number)))
    }

    /// Returns the hashes of a seed, the same in every process.
    ///
    /// Every seed is safe for the table, `[0, 0, 0]` and `[1, 2, 3]` included: its words are mixed before use, so no seed makes keys share
    /// a meter. Only a seed that clients cannot guess keeps them from choosing keys that collide.
    #[must_use]
    pub const fn with_seed(seed: [u64; 3]) -> Self {
        let (point, upper, start) = (drawn(seed, 0), drawn(seed, 1), drawn(seed, 2));
        let (point, upper) = (point >> (u64::BITS - POINT_BITS), upper % P);
        Self {
            point,
            upper,
            start: start % (P - 1) + 1,
            powers: Powers {
                point_twice: product(point, point),
                point_upper: product(point, upper),
                upper_twice: product(upper, upper),
            },
        }
    }
}

/// Draws the number `index` of a seed: each word of the seed goes through a mixer in turn, so each bit of it changes half of the bits drawn,
/// and for any two words the number is a bijection of the third.
const fn drawn([first, second, third]: [u64; 3], index: u64) -> u64 {
    /// 2^64 divided by the golden ratio, the increment of `SplitMix64`.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = 3 * index;
    let number = avalanche(first.wrapping_add(STEP.wrapping_mul(step + 1)));
    let number = avalanche((number ^ second).wrapping_add(STEP.wrapping_mul(step + 2)));
    avalanche((number ^ third).wrapping_add(STEP.wrapping_mul(step + 3)))
}

/// Makes each bit depend on all (the finalizer of `SplitMix64`, by Stafford, "variant 13").
const fn avalanche(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

impl Default for KeyHashes {
    fn default() -> Self {
        Self::random()
    }
}

/// Does not show the seed.
impl fmt::Debug for KeyHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHashes").finish_non_exhaustive()
    }
}

impl BuildHasher for KeyHashes {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            point: self.point,
            upper: self.upper,
            powers: self.powers,
            value: self.start,
            last: 0,
        }
    }
}

/// The hasher of one key; see [`KeyHashes`].
#[derive(Clone)]
pub struct KeyHasher {
    point: u64,
    upper: u64,
    powers: Powers,
    /// The value of the polynomial so far, below 2^62.
    value: u64,
    /// A byte of its own that came last, like that behind a text, and one; or none. It is a block if more comes, and a term of its own if not:
    /// its factor is known before the value is.
    last: u64,
}

/// Does not show the seed.
impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

impl KeyHasher {
    /// A block by Horner's rule.
    #[inline]
    fn absorb(&mut self, block: Block) {
        self.absorb_last();
        self.add_block(block);
    }

    #[inline]
    fn absorb_last(&mut self) {
        if self.last > 0 {
            self.add_block(Block::of_number(self.last - 1));
            self.last = 0;
        }
    }

    #[inline]
    fn add_block(&mut self, block: Block) {
        // Below 2^121, of which a fold leaves less than 2^62.
        self.value = folded(wide(self.value, self.point) + self.term(block));
    }

    /// Two blocks at once: as `absorb` of one and the other, but that no product waits for another.
    #[inline]
    fn absorb_both(&mut self, first: Block, second: Block) {
        self.absorb_last();
        let first = wide(first.upper, self.powers.point_upper) + wide(first.lower, self.point);
        // Below 2^124: the first fold leaves less than 2^63.
        let sum = wide(self.value, self.powers.point_twice) + first + self.term(second);
        self.value = folded(folded(sum).into());
    }

    #[inline]
    fn term(&self, block: Block) -> u128 {
        wide(block.upper, self.upper) + u128::from(block.lower)
    }
}

impl Hasher for KeyHasher {
    /// Absorbs words of eight bytes and, as one block more with the length's last three bits, what is left.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (mut rest, last) = (bytes, Block::of_rest(bytes));
        while let [a, b, c, d, e, f, g, h, more @ ..] = rest {
            let first = Block::of_word([*a, *b, *c, *d, *e, *f, *g, *h]);
            match more {
                [] => break,
                [a, b, c, d, e, f, g, h, more @ ..] if !more.is_empty() => {
                    self.absorb_both(first, Block::of_word([*a, *b, *c, *d, *e, *f, *g, *h]));
                    rest = more;
                }
                _ => return self.absorb_both(first, last),
            }
        }
        self.absorb(last);
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.absorb_last();
        self.last = u64::from(n) + 1;
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.absorb(Block::of_number(n.into()));
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.absorb(Block::of_number(n.into()));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.absorb(Block::of_number(n));
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    /// Returns the residue itself, of which there is one.
    #[inline]
    fn finish(&self) -> u64 {
        let value = self.value + folded(wide(self.last, self.powers.upper_twice));
        let value = folded(value.into());
        if value >= P { value - P } else { value }
    }
}

#[cfg(test)]
mod tests;
