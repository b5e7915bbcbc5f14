//! How far from their homes the keys of a bucket are: what a search may stop at.
//!
//! A word of the bucket's header holds, for each line, how many lines further the farthest resident is whose home it is. Nearly always
//! that is none or one, so that a key is shown absent by two or three lines instead of fifteen.
//!
//! # What holds, and why
//!
//! - **No resident is beyond the reach of its home.** Whoever makes a claim a resident raises it before, and stamps the turn beside it
//!   even where the reach was enough. He reads this word, and then that the turn is not over, before he exchanges what he read: who
//!   stood still changes nothing.
//! - **It is lowered only to what a whole search found** while nobody was made a resident: who searched has read the idle intent, this
//!   word, the slots, and the same intent again, before he exchanges the word he read. Where somebody is being made a resident
//!   meanwhile, either his stamp is there first and the exchange fails, or he sees what it left, and raises that.

use super::key::{Key, LINES};
use super::slot::{Pair, Slot};

/// The bits of a distance: less than the number of lines.
const BITS: usize = 4;

const FARTHEST: u64 = (1 << BITS) - 1;

const _: () = assert!(LINES <= 1 << BITS && LINES * BITS <= u64::BITS as usize);

/// The reach of every line, and the turn after the one in which one was raised last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach(Pair);

impl Reach {
    #[inline]
    pub(super) fn load(word: &Slot) -> Self {
        Self(word.load())
    }

    /// How many lines past its home a key may be.
    #[inline]
    pub(super) const fn of(self, key: Key) -> usize {
        (self.0.id >> Self::shift(key) & FARTHEST) as usize
    }

    /// Raises it for a key that is being made a resident in a turn, so far from home; unless that `is_over`.
    pub(super) fn raise(word: &Slot, key: Key, distance: usize, turn: u64, is_over: impl Fn() -> bool) {
        loop {
            let seen = Self::load(word);
            if is_over() {
                return;
            }
            let raised = seen.with(key, distance.max(seen.of(key)));
            let stamped = Pair {
                word: turn + 1,
                ..raised
            };
            if word.exchange(seen.0, stamped).is_ok() {
                return;
            }
        }
    }

    /// Lowers it to what was found, if nobody has changed it since it was read.
    pub(super) fn lower(self, word: &Slot, key: Key, distance: usize) {
        let _ = word.exchange(self.0, self.with(key, distance));
    }

    const fn with(self, key: Key, distance: usize) -> Pair {
        let shift = Self::shift(key);
        Pair {
            id: self.0.id & !(FARTHEST << shift) | (distance as u64) << shift,
            word: self.0.word,
        }
    }

    const fn shift(key: Key) -> usize {
        key.line() * BITS
    }
}
