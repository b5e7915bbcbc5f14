//! Where a key is, and where there is room for it.

use super::Bucket;
use crate::keyed::key::{Key, Tiers, WIDTH};
use crate::keyed::reach::Reach;
use crate::keyed::slot::{Pair, Slot};
use crate::units::Nanos;
use core::hint::black_box;

/// What a search by a claimant came to.
pub(super) enum Search {
    Present,
    Room(usize, Pair),
    /// A claim of this turn, and else only live ones.
    Claim(Pair),
    Full(usize, Pair),
}

impl Bucket {
    /// The slot of a key and what it held, if the key is there.
    #[inline]
    pub(in super::super) fn find(&self, key: Key) -> Option<(&Slot, Pair)> {
        let home = &self.lines[key.line()].0[key.first()];
        let pair = home.load();
        if key.is_resident_in(pair) {
            return Some((home, pair));
        }
        self.find_further(key)
    }

    /// Begins to fetch the line of a key's home: who does not need what it read does not wait for it.
    #[inline]
    pub(in super::super) fn fetch(&self, key: Key) {
        black_box(self.lines[key.line()].0[key.first()].load());
    }

    fn find_further(&self, key: Key) -> Option<(&Slot, Pair)> {
        let mut lines = key.lines();
        let found = |line: usize| {
            let mut slots = key.slots().map(|slot| &self.lines[line].0[slot]);
            slots.find_map(|slot| Some((slot, slot.load())).filter(|(_, pair)| key.is_resident_in(*pair)))
        };
        found(lines.next()?).or_else(|| {
            let reach = Reach::load(&self.header.reach).of(key);
            lines.take(reach).find_map(found)
        })
    }

    /// Looks for a key as far as it may be, and for room for it as far as there is none.
    pub(super) fn search(&self, key: Key, idle: Pair, now: Nanos, tiers: &(impl Tiers + ?Sized)) -> Search {
        let mut room: Option<(usize, Pair)> = None;
        let mut claim = None;
        let mut nearest: Option<(usize, Pair, Nanos)> = None;
        let reach = Reach::load(&self.header.reach);
        let mut farthest = 0;
        for (distance, line) in key.lines().enumerate() {
            if room.is_some() && distance > reach.of(key) {
                break;
            }
            for slot in key.slots() {
                let index = line * WIDTH + slot;
                let pair = self.slot(index).load();
                if key.is_resident_in(pair) {
                    return Search::Present;
                }
                if pair.is_untaken() {
                    // Rather than a slot of this line that somebody may come back to.
                    if room.is_none_or(|(other, seen)| other / WIDTH == line && !seen.is_untaken()) {
                        room = Some((index, pair));
                    }
                    continue;
                }
                if pair.is_tentative() {
                    if pair.turn() == idle.turn() {
                        claim = Some(pair);
                    } else {
                        room = room.or(Some((index, pair)));
                    }
                    continue;
                }
                if Key::of_id(pair.id).line() == key.line() {
                    farthest = distance;
                }
                if tiers.was_at_rest(pair.tier(), pair.word, now) {
                    room = room.or(Some((index, pair)));
                } else if room.is_none() {
                    let rests = tiers.rests_at(pair.tier(), pair.word);
                    if nearest.is_none_or(|(.., sooner)| rests < sooner) {
                        nearest = Some((index, pair, rests));
                    }
                }
            }
        }
        if farthest < reach.of(key) && self.header.intent.load() == idle {
            reach.lower(&self.header.reach, key, farthest);
        }
        match (room, nearest, claim) {
            (Some((index, pair)), ..) => Search::Room(index, pair),
            // It may be the key's own, or a slot that is free in the next turn: it must not count as somebody in the way.
            (None, _, Some(claim)) => Search::Claim(claim),
            (None, Some((index, pair, _)), None) => Search::Full(index, pair),
            // A slot is nobody's, a claim, at rest or not.
            (None, None, None) => Search::Present,
        }
    }
}
