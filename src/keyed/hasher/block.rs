//! What a key's hash is made of.

/// Eight bytes, or less and a length: the upper half below 2^35, the lower below 2^32.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) upper: u64,
    pub(super) lower: u64,
}

impl Block {
    #[inline]
    pub(super) fn of_word([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self {
            upper: quad([e, f, g, h]),
            lower: quad([a, b, c, d]),
        }
    }

    #[inline]
    pub(super) fn of_number(n: u64) -> Self {
        Self {
            upper: n >> 32,
            lower: n & 0xffff_ffff,
        }
    }

    /// What is left of a text of which words of eight bytes were taken, and the last three bits of its length: of longer texts the last
    /// eight bytes, some of them once more.
    #[inline]
    pub(super) fn of_rest(bytes: &[u8]) -> Self {
        let block = if let Some(word) = bytes.last_chunk() {
            Self::of_word(*word)
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            Self {
                upper: quad(*last),
                lower: quad(*first),
            }
        } else if let [first, .., last] = bytes {
            Self::of_number(quad([*first, bytes[bytes.len() / 2], *last, 0]))
        } else {
            Self::of_number(bytes.first().map_or(0, |only| u64::from(*only)))
        };
        Self {
            upper: block.upper | (bytes.len() as u64 & 7) << 32,
            ..block
        }
    }
}

#[inline]
fn quad(bytes: [u8; 4]) -> u64 {
    u32::from_le_bytes(bytes).into()
}
