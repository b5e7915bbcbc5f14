//! Keys, made anew for each call in place: a list of them would have to come from memory, and that time is not the meter's.

use crate::random::mixed;
use core::fmt;
use core::hash::Hash;
use core::str;

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Text,
    Number,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "String keys",
            Self::Number => "u64 keys",
        })
    }
}

/// A key; below 2^32, each number makes another.
pub(crate) trait NumberedKey: Hash + Eq + Clone + Send + Sync + 'static {
    fn numbered(number: u64) -> Self;

    /// Becomes another key, without allocating.
    fn renumber(&mut self, number: u64);
}

impl NumberedKey for u64 {
    fn numbered(number: u64) -> Self {
        mixed(number)
    }

    #[inline]
    fn renumber(&mut self, number: u64) {
        *self = mixed(number);
    }
}

impl NumberedKey for String {
    fn numbered(number: u64) -> Self {
        // Those of two threads must not share a line.
        let mut key = Self::with_capacity(256);
        key.renumber(number);
        key
    }

    /// Fifteen bytes: `client-` and eight letters, one for each four bits.
    #[inline]
    fn renumber(&mut self, number: u64) {
        let spread = (number | number << 16) & 0x0000_ffff_0000_ffff;
        let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
        let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = (spread + u64::from_ne_bytes([b'a'; 8])).to_be_bytes();
        let mut bytes = *b"client-........";
        bytes[7..].copy_from_slice(&letters);
        self.clear();
        self.push_str(str::from_utf8(&bytes).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_in_eight_bytes_of_the_number() {
        let mut key = String::numbered(0);
        assert_eq!(key, "client-aaaaaaaa");
        key.renumber(0x0123_cdef);
        assert_eq!(key, "client-abcdmnop");
        assert_eq!(key.clone().capacity(), 15);
    }

    #[test]
    fn replaced_number_equals_a_new_key() {
        let mut key = u64::numbered(1);
        key.renumber(2);
        assert_eq!(key, u64::numbered(2));
        assert_ne!(key, u64::numbered(1));
    }
}
