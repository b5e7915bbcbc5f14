//! Where a key's meter is kept, and how it gets there.
//!
//! # What is there
//!
//! A key belongs to one *bucket* of [`LINES`] cache lines of [`WIDTH`] slots, and in it has a *home*, the slot from which its search
//! goes around. A slot holds an id and a word: of nobody (never taken), of a *resident* key and its meter, or of a key that has a
//! *tentative* claim on it. An intent, also a pair, says whether the bucket is moving somebody in; a watermark is the latest time
//! at which a slot was taken from a meter at rest, or a key changed its tier; a [reach](super::reach) says how far from home a search has
//! to go.
//!
//! # How a key moves in
//!
//! Let the intent be idle, of turn s. A claimant who has searched the bucket as far as the reach and not found the key
//!
//! 1. puts a tentative claim in a slot, by one exchange for what it saw there: nobody, a tentative claim of another turn, or a
//!    resident at rest as of the watermark, which it has raised to its own time before;
//! 2. exchanges the idle intent of turn s for one that names the claim;
//! 3. as would anybody who comes by: raises the reach to where the claim is, exchanges the claim for a resident meter at rest, and then
//!    the intent for an idle one of turn s + 1.
//!
//! Who fails in 1 or 2 searches again. A claim is known by its key, its turn and a ticket, and no two are the same.
//!
//! # What holds, and why
//!
//! - **A key is in one slot at most.** It is made a resident only by step 3, which exchanges the one claim that the intent names. While
//!   the intent is idle of turn s nobody is made a resident: claims of earlier intents were exchanged, or lost, before their turn ended,
//!   and a claim never returns. So who has read the intent, searched, and then exchanged the same intent, knows that the key was absent
//!   all the while; nobody is beyond the reach.
//! - **No charge is lost or misplaced.** A charge is one exchange of id and word together: it lands on the key it was decided for, as of
//!   the word it was decided on, or does not happen. What is overwritten is nobody's, a claim, on which no charge can be, or a meter at
//!   rest: the same as none (the lemma of the design).
//! - **Time going back makes no credit.** A slot is taken as of the watermark, not of the claimant's time if that is earlier, and a key
//!   moves in at rest as of the watermark. What was forgotten had drained by then. A key changes its tier as of the watermark, too, which was
//!   raised before by whoever changed it last: no time is credited by two rates.
//! - **Lock-free**, but for one schedule. Whoever meets an intent finishes it, with two exchanges. An exchange of a slot fails because
//!   somebody was charged or put a claim there, and each puts at most one claim per turn; one of the intent, because a turn ended. A
//!   claim whose owner stands still is free in the next turn, and if there is nothing else in this one, others carry it out. A resident
//!   at rest who is not charged yet may lose the slot, to a claimant whose time is later, or who is to be forgiven one: in a full bucket two
//!   claimants at one instant can take each other's, and would go on if each were stopped between moving in and being charged every
//!   time.

mod search;

use super::key::{INDEX_BITS, Key, LINES, TENTATIVE, TICKET_BITS, TURN_BITS, Tiers, WIDTH};
use super::reach::Reach;
use super::slot::{AtomicU64, Ordering, Pair, Slot};
use crate::units::Nanos;
use search::Search;

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// The key may be there now.
    Perhaps,
    /// All slots are others', of which this one rests first.
    Full { nearest: Pair },
    /// A meter that was not at rest made room.
    Forgiven,
}

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Bucket {
    header: Header,
    lines: [Line; LINES],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Header {
    intent: Slot,
    reach: Slot,
    watermark: AtomicU64,
    tickets: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Slot; WIDTH]);

impl Bucket {
    /// How many slots there are.
    pub(super) const SLOTS: usize = LINES * WIDTH;

    /// The slot of a key and what it held; or that it was absent all at one moment.
    pub(super) fn find_or_know(&self, key: Key, tiers: &(impl Tiers + ?Sized)) -> Option<(&Slot, Pair)> {
        loop {
            let idle = self.idle(tiers);
            let found = self.find(key);
            if found.is_some() || self.header.intent.load() == idle {
                return found;
            }
        }
    }

    /// The latest time at which a slot was taken from a meter at rest, or a key changed its tier.
    #[inline]
    pub(super) fn watermark(&self) -> Nanos {
        // ORDERING: relaxed; who acts on a slot that was taken has acquired what was raised before it was, and who does not needs
        // nothing. Test: `tests/loom/keyed.rs`, the last cell of a key whose slot was taken.
        Nanos::clamped(self.header.watermark.load(Ordering::Relaxed))
    }

    /// To be done before an exchange that is made as of a time and that nothing may be made as of an earlier one after.
    pub(super) fn raise_watermark(&self, at: Nanos) {
        // ORDERING: relaxed; the exchange of the slot that follows releases it. Test: `tests/loom/keyed.rs`, the last cell of a key whose
        // slot was taken, and a key that changes its tier.
        self.header.watermark.fetch_max(at.get(), Ordering::Relaxed);
    }

    /// Tries once to move a key in that was not found, at rest; `forgive` says whether somebody may be moved out who is not.
    pub(super) fn claim(&self, key: Key, tier: u8, at: Nanos, forgive: bool, tiers: &(impl Tiers + ?Sized)) -> Claimed {
        let idle = self.idle(tiers);
        let now = at.max(self.watermark());
        let (index, seen, forgiven) = match self.search(key, idle, now, tiers) {
            Search::Present => return Claimed::Perhaps,
            Search::Room(index, seen) => (index, seen, false),
            Search::Claim(claim) => {
                // Its claimant found its key absent in this turn, which has not ended if the exchange succeeds.
                let _ = self.header.intent.exchange(idle, intended(claim));
                return Claimed::Perhaps;
            }
            // Who has moved in and is not charged yet is forgiven nothing.
            Search::Full(index, seen) if forgive => (index, seen, tiers.is_live(seen, now)),
            Search::Full(_, nearest) if self.header.intent.load() == idle => return Claimed::Full { nearest },
            Search::Full(..) => return Claimed::Perhaps,
        };
        if !seen.is_untaken() && !seen.is_tentative() {
            self.raise_watermark(now);
        }
        // ORDERING: relaxed; only that no two are the same. They come around after 2^18, by when the turn has changed.
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed) % (1 << TICKET_BITS);
        let mark = idle.word | ticket << INDEX_BITS | index as u64;
        let intent = Pair {
            id: key.resident(tier),
            word: mark,
        };
        if self.slot(index).exchange(seen, tentative(intent)).is_err() {
            return Claimed::Perhaps;
        }
        if self.header.intent.exchange(idle, intent).is_ok() {
            self.finish(intent, tiers);
        }
        if forgiven { Claimed::Forgiven } else { Claimed::Perhaps }
    }

    /// Who rests first of those that leave no room for a key that is not there.
    pub(super) fn nearest_if_full(&self, key: Key, at: Nanos, tiers: &(impl Tiers + ?Sized)) -> Option<Pair> {
        let idle = self.idle(tiers);
        match self.search(key, idle, at.max(self.watermark()), tiers) {
            Search::Full(_, nearest) => Some(nearest),
            _ => None,
        }
    }

    /// All residents.
    pub(super) fn residents(&self) -> impl Iterator<Item = Pair> {
        let pairs = self.lines.iter().flat_map(|Line(slots)| slots.iter().map(Slot::load));
        pairs.filter(|pair| !pair.is_untaken() && !pair.is_tentative())
    }

    /// The intent once there is none, what was intended having been done.
    fn idle(&self, tiers: &(impl Tiers + ?Sized)) -> Pair {
        loop {
            let intent = self.header.intent.load();
            if intent.id == 0 {
                return intent;
            }
            self.finish(intent, tiers);
        }
    }

    /// Does what is intended, unless that is done.
    fn finish(&self, intent: Pair, tiers: &(impl Tiers + ?Sized)) {
        let index = (intent.word % (1 << INDEX_BITS)) as usize;
        let key = Key::of_id(intent.id);
        let distance = key.distance(index / WIDTH);
        if distance > 0 {
            let is_over = || self.header.intent.load() != intent;
            Reach::raise(&self.header.reach, key, distance, intent.turn(), is_over);
        }
        let resident = Pair {
            id: intent.id,
            word: tiers.at_rest_from(intent.tier(), self.watermark()),
        };
        // Whoever fails finds it done.
        let _ = self.slot(index).exchange(tentative(intent), resident);
        let turn = (intent.turn() + 1) % (1 << TURN_BITS);
        let idle = Pair {
            id: 0,
            word: turn << (INDEX_BITS + TICKET_BITS),
        };
        let _ = self.header.intent.exchange(intent, idle);
    }

    fn slot(&self, index: usize) -> &Slot {
        &self.lines[index / WIDTH].0[index % WIDTH]
    }
}

/// The claim that an intent names.
const fn tentative(intent: Pair) -> Pair {
    Pair {
        id: intent.id | TENTATIVE,
        word: intent.word,
    }
}

/// The intent that names a claim.
const fn intended(claim: Pair) -> Pair {
    Pair {
        id: claim.id & !TENTATIVE,
        word: claim.word,
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
