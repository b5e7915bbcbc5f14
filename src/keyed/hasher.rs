//! The default hash of keys: a polynomial over a prime field, with a random point per table.

use core::fmt;
use core::hash::{BuildHasher, Hasher};
use std::hash::RandomState;

/// The prime 2^61 - 1: products are reduced by a shift and an addition.
const P: u64 = (1 << 61) - 1;

/// The bits of a point: few enough that values need one reduction a block.
const POINT_BITS: u32 = 58;

/// Builds the hashers of one table, all with the same random numbers; the default of [`KeyedMeter`](crate::KeyedMeter).
///
/// A key's blocks of eight bytes are the coefficients of a polynomial over the field of 2^61 - 1 elements, which is read at a random point.
/// A polynomial of n blocks has n zeros at most: so two different keys, whatever they are and whoever chose them without knowing the
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
}

impl KeyHashes {
    /// Returns hashes with a seed of the operating system's.
    #[must_use]
    pub fn random() -> Self {
        let random = RandomState::new();
        Self::with_seed([0, 1, 2].map(|number| random.hash_one(number)))
    }

    /// Returns the hashes of a seed, which should be random and nobody else's.
    #[must_use]
    pub const fn with_seed([point, upper, start]: [u64; 3]) -> Self {
        Self {
            point: point >> (u64::BITS - POINT_BITS),
            upper: upper % P,
            start: start % (P - 1) + 1,
        }
    }
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
            value: self.start,
        }
    }
}

/// The hasher of one key; see [`KeyHashes`].
#[derive(Clone)]
pub struct KeyHasher {
    point: u64,
    upper: u64,
    /// The value of the polynomial so far, below 2^62.
    value: u64,
}

/// Does not show the seed.
impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

impl KeyHasher {
    /// A block by Horner's rule; either half below 2^35.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked; and shifted, below 2^60")]
    fn absorb(&mut self, upper: u64, lower: u64) {
        let sum = u128::from(self.value) * u128::from(self.point)
            + u128::from(upper) * u128::from(self.upper)
            + u128::from(lower);
        self.value = (sum as u64 & P) + (sum >> 61) as u64;
    }

    #[inline]
    fn absorb_bytes(&mut self, word: [u8; 8]) {
        self.write_u64(u64::from_le_bytes(word));
    }
}

impl Hasher for KeyHasher {
    /// Absorbs words of eight bytes and, as one block more with the length's last three bits, what is left: of longer texts the last
    /// eight bytes, some of them once more.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (mut rest, length) = (bytes, (bytes.len() as u64 & 7) << 32);
        while let [a, b, c, d, e, f, g, h, more @ ..] = rest {
            if more.is_empty() {
                break;
            }
            self.absorb_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            rest = more;
        }
        let (upper, lower) = if let Some([a, b, c, d, e, f, g, h]) = bytes.last_chunk() {
            (quad([*e, *f, *g, *h]), quad([*a, *b, *c, *d]))
        } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
            (quad(*last), quad(*first))
        } else if let [first, .., last] = rest {
            (0, quad([*first, rest[rest.len() / 2], *last, 0]))
        } else {
            (0, rest.first().map_or(0, |only| u64::from(*only)))
        };
        self.absorb(upper | length, lower);
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.absorb(0, n.into());
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.absorb(0, n.into());
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.absorb(0, n.into());
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.absorb(n >> 32, n & 0xffff_ffff);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    /// Returns the residue itself, of which there is one.
    #[inline]
    fn finish(&self) -> u64 {
        let value = (self.value & P) + (self.value >> 61);
        if value >= P { value - P } else { value }
    }
}

#[inline]
fn quad(bytes: [u8; 4]) -> u64 {
    u32::from_le_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn residue(n: u128) -> u64 {
        u64::try_from(n % u128::from(P)).unwrap()
    }

    /// The same hash, by the definition.
    fn by_definition(hashes: &KeyHashes, blocks: &[(u64, u64)]) -> u64 {
        let [point, upper] = [hashes.point, hashes.upper].map(u128::from);
        let add = |value: u64, block: &(u64, u64)| {
            let block = residue(u128::from(block.0) * upper + u128::from(block.1));
            residue(u128::from(value) * point + u128::from(block))
        };
        blocks.iter().fold(hashes.start, add)
    }

    /// The blocks of a text, as `str` hashes itself.
    fn blocks(text: &str) -> Vec<(u64, u64)> {
        let bytes = text.as_bytes();
        let block = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let n = u64::from_le_bytes(word);
            (n >> 32, n & 0xffff_ffff)
        };
        let mut blocks: Vec<_> = bytes.chunks(8).map(block).collect();
        let last = match bytes {
            [] => (0, 0),
            [only] => (0, u64::from(*only)),
            [a, b] => block(&[*a, *b, *b]),
            [_, _, _] => block(bytes),
            [.., a, b, c, d] if bytes.len() < 8 => (block(&[*a, *b, *c, *d]).1, block(&bytes[..4]).1),
            _ => block(&bytes[bytes.len() - 8..]),
        };
        blocks.pop();
        blocks.push((last.0 | (bytes.len() as u64 % 8) << 32, last.1));
        blocks.push((0, 0xff));
        blocks
    }

    proptest! {
        #[test]
        fn a_hash_is_the_polynomial(seed: [u64; 3], text: String, number: u64, small: u32) {
            let hashes = KeyHashes::with_seed(seed);
            prop_assert_eq!(hashes.hash_one(text.as_str()), by_definition(&hashes, &blocks(&text)));
            prop_assert_eq!(hashes.hash_one(&text), hashes.hash_one(text.as_str()));
            prop_assert_eq!(hashes.hash_one(number), by_definition(&hashes, &[(number >> 32, number & 0xffff_ffff)]));
            prop_assert_eq!(hashes.hash_one(small), by_definition(&hashes, &[(0, small.into())]));
        }

        #[test]
        fn different_texts_are_different_polynomials(one in "[\\x00-\\x08a]{0,17}", other in "[\\x00-\\x08a]{0,17}") {
            prop_assert_eq!(one == other, blocks(&one) == blocks(&other));
        }
    }
}
