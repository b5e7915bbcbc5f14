//! The default hash of keys: a polynomial over a prime field, with a random point per table.

use core::hash::{BuildHasher, Hasher};
use std::hash::RandomState;

/// The prime 2^61 - 1: products of residues are reduced by shifts and adds.
const P: u64 = (1 << 61) - 1;

/// Builds the hashers of one table, all with the same two random numbers; the default of [`KeyedMeter`](crate::KeyedMeter).
///
/// The bytes of a key, in blocks of 32 bits, are the coefficients of a polynomial over the field of 2^61 - 1 elements, which is read
/// at a random point. Two different keys of at most n blocks then have the same hash at n points at most: whatever the keys, chosen
/// by whomever without knowing the point, they collide in a table with a probability of n / 2^61 at most (Carter and Wegman's
/// universal hashing). So there are no keys that collide whatever the seed, as the fast hashes that multiply and fold have. It is no
/// cipher: somebody who could watch which keys share a slot could solve for the point. Take SipHash
/// ([`RandomState`]) as the type parameter against that.
///
/// ```
/// use core::hash::BuildHasher;
/// use ratelimit_meter::keyed::KeyHashes;
///
/// let seed = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]; // keep it with the snapshots that it goes with
/// assert_eq!(KeyHashes::with_seed(seed).hash_one("key"), KeyHashes::with_seed(seed).hash_one("key"));
/// assert_ne!(KeyHashes::random().hash_one("key"), KeyHashes::random().hash_one("key"));
/// ```
#[derive(Clone)]
pub struct KeyHashes {
    /// The point and its square, residues.
    point: u64,
    square: u64,
    /// What hides where the polynomial starts.
    start: u64,
}

impl KeyHashes {
    /// Returns hashes with a seed of the operating system's.
    #[must_use]
    pub fn random() -> Self {
        let random = RandomState::new();
        Self::with_seed([random.hash_one(0), random.hash_one(1)])
    }

    /// Returns the hashes of a seed, which should be random and nobody else's.
    #[must_use]
    pub fn with_seed([point, start]: [u64; 2]) -> Self {
        // Of the points only 0 is of no use.
        let point = point % (P - 1) + 1;
        Self {
            point,
            square: reduced(u128::from(point) * u128::from(point)),
            start: start % P,
        }
    }
}

impl Default for KeyHashes {
    fn default() -> Self {
        Self::random()
    }
}

/// Does not show the seed.
impl core::fmt::Debug for KeyHashes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyHashes").finish_non_exhaustive()
    }
}

impl BuildHasher for KeyHashes {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher {
            point: self.point,
            square: self.square,
            value: self.start,
        }
    }
}

/// The hasher of one key; see [`KeyHashes`].
#[derive(Clone)]
pub struct KeyHasher {
    point: u64,
    square: u64,
    /// The value of the polynomial so far, below 2^62.
    value: u64,
}

impl core::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

impl KeyHasher {
    /// Two blocks by Horner's rule. Each counts one more than it is, so that no block is lost in front.
    #[inline]
    fn absorb(&mut self, first: u64, second: u64) {
        let sum = u128::from(self.value) * u128::from(self.square)
            + u128::from(first + 1) * u128::from(self.point)
            + u128::from(second + 1);
        self.value = reduced(sum);
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.absorb(little_endian(&word[4..]), little_endian(&word[..4]));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let (low, high) = rest.split_at(rest.len().min(4));
            // With the length, in bits that no other block has.
            self.absorb(little_endian(high) | (rest.len() as u64) << 32, little_endian(low));
        }
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u32(n.into());
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.write_u32(n.into());
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        let sum = u128::from(self.value) * u128::from(self.point) + u128::from(n) + 1;
        self.value = reduced(sum);
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.absorb(n >> 32, n & 0xffff_ffff);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The residue itself, of which there is one.
        let value = (self.value & P) + (self.value >> 61);
        if value >= P { value - P } else { value }
    }
}

/// A number of less than 2^123, as one of less than 2^62 with the same residue.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "masked, and shifted below 2^62")]
const fn reduced(n: u128) -> u64 {
    let once = (n as u64 & P) + (n >> 61) as u64;
    (once & P) + (once >> 61)
}

/// At most four bytes.
#[inline]
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same hash, by the definition and in wide arithmetic.
    fn by_definition(seed: [u64; 2], blocks: &[u64]) -> u64 {
        let point = u128::from(seed[0] % (P - 1) + 1);
        let value = blocks
            .iter()
            .fold(u128::from(seed[1] % P), |value, block| (value * point + u128::from(*block) + 1) % u128::from(P));
        u64::try_from(value).unwrap()
    }

    fn blocks(text: &str) -> Vec<u64> {
        let mut blocks = Vec::new();
        for word in text.as_bytes().chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            let n = u64::from_le_bytes(padded);
            let length = if word.len() < 8 { word.len() as u64 } else { 0 };
            blocks.extend([n >> 32 | length << 32, n & 0xffff_ffff]);
        }
        blocks.push(0xff);
        blocks
    }

    proptest! {
        #[test]
        fn a_hash_is_the_polynomial(seed: [u64; 2], text: String, number: u64, small: u32) {
            let hashes = KeyHashes::with_seed(seed);
            prop_assert_eq!(hashes.hash_one(text.as_str()), by_definition(seed, &blocks(&text)));
            prop_assert_eq!(hashes.hash_one(&text), hashes.hash_one(text.as_str()));
            prop_assert_eq!(hashes.hash_one(number), by_definition(seed, &[number >> 32, number & 0xffff_ffff]));
            prop_assert_eq!(hashes.hash_one(small), by_definition(seed, &[small.into()]));
        }

        #[test]
        fn different_texts_are_different_polynomials(one in "[\\x00-\\x08a]{0,17}", other in "[\\x00-\\x08a]{0,17}") {
            prop_assert_eq!(one == other, blocks(&one) == blocks(&other));
        }
    }
}
