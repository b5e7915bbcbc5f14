use super::*;
use proptest::prelude::*;

fn residue(n: u128) -> u64 {
    u64::try_from(n % u128::from(P)).unwrap()
}

/// The same hash, by the definition.
fn by_definition(hashes: &KeyHashes, blocks: &[(u64, u64)], last: Option<u8>) -> u64 {
    let [point, upper] = [hashes.point, hashes.upper].map(u128::from);
    let add = |value: u64, block: &(u64, u64)| {
        let block = residue(u128::from(block.0) * upper + u128::from(block.1));
        residue(u128::from(value) * point + u128::from(block))
    };
    let last = last.map_or(0, |byte| u128::from(byte) + 1);
    let value = blocks.iter().fold(hashes.start, add);
    residue(u128::from(value) + last * u128::from(residue(upper * upper)))
}

fn number(n: u64) -> (u64, u64) {
    (n >> 32, n & 0xffff_ffff)
}

/// The blocks of a text, without the byte behind it.
fn blocks(text: impl AsRef<[u8]>) -> Vec<(u64, u64)> {
    let bytes = text.as_ref();
    let block = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        number(u64::from_le_bytes(word))
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
    blocks
}

#[test]
fn the_largest_numbers_overflow_nothing() {
    let hashes = KeyHashes::with_seed([u64::MAX; 3]);
    for length in 0..64 {
        let bytes = vec![0xff; length];
        let mut all = vec![number(length as u64)];
        all.extend(blocks(&bytes));
        assert_eq!(hashes.hash_one(&bytes), by_definition(&hashes, &all, None));
    }
}

proptest! {
    #[test]
    fn a_hash_is_the_polynomial(seed: [u64; 3], text in ".{0,40}", n: u64, small: u32) {
        let hashes = KeyHashes::with_seed(seed);
        let text = text.as_str();
        prop_assert_eq!(hashes.hash_one(text), by_definition(&hashes, &blocks(text), Some(0xff)));
        prop_assert_eq!(hashes.hash_one(text.to_owned()), hashes.hash_one(text));
        prop_assert_eq!(hashes.hash_one(n), by_definition(&hashes, &[number(n)], None));
        prop_assert_eq!(hashes.hash_one(small), by_definition(&hashes, &[(0, small.into())], None));
    }

    /// A byte that is not the last is a block.
    #[test]
    fn the_hash_of_several_values_is_the_polynomial_of_all(seed: [u64; 3], text in ".{0,40}", n: u64, byte: u8) {
        let hashes = KeyHashes::with_seed(seed);
        let mut all = blocks(&text);
        all.extend([(0, 0xff), (0, byte.into()), number(n)]);
        prop_assert_eq!(hashes.hash_one((&text, byte, n)), by_definition(&hashes, &all, None));
        prop_assert_eq!(hashes.hash_one((n, byte)), by_definition(&hashes, &[number(n)], Some(byte)));
        let mut twice = blocks(&text);
        twice.push((0, 0xff));
        twice.extend(blocks(&text));
        prop_assert_eq!(hashes.hash_one((&text, &text)), by_definition(&hashes, &twice, Some(0xff)));
        prop_assert_eq!(hashes.hash_one(()), by_definition(&hashes, &[], None));
    }

    #[test]
    fn different_texts_are_different_polynomials(one in "[\\x00-\\x08a]{0,17}", other in "[\\x00-\\x08a]{0,17}") {
        prop_assert_eq!(one == other, blocks(&one) == blocks(&other));
    }
}
