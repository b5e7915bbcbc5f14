//! One key of a table, as the store of a meter.

use super::bucket::{Bucket, Claimed};
use super::key::{Key, Tiers};
use super::slot::Pair;
use super::table::Tallies;
use super::{Shared, WhenFull};
use crate::algorithms::Algorithm;
use crate::outcome::{Status, Until};
use crate::schedule::{NotStored, Schedule, Step};
use crate::store::{PAUSES, Store, pause};
use crate::units::{Nanos, TimeLine, Volume};
use core::fmt;

impl<A: Algorithm> Tiers for [Schedule<A>] {
    fn at_rest_from(&self, tier: u8, at: Nanos) -> u64 {
        self[usize::from(tier)].drained(at).0
    }

    fn rests_at(&self, tier: u8, word: u64) -> Nanos {
        Nanos::clamped(self[usize::from(tier)].until(Volume(word)).nanos())
    }
}

/// The store of one key's meter, which [`KeyedMeter::key`](crate::KeyedMeter::key) returns.
pub struct Entry<'a, A> {
    shared: &'a Shared<A>,
    bucket: &'a Bucket,
    key: Key,
    /// By what it is decided; by what it was the last time if not said.
    tier: Option<u8>,
}

/// Does not tell the key, of which only a hash is known.
impl<A> fmt::Debug for Entry<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl<'a, A: Algorithm> Entry<'a, A> {
    #[inline]
    pub(super) fn new(shared: &'a Shared<A>, key: Key, tier: Option<u8>) -> Self {
        let bucket = shared.table.bucket(key);
        Self {
            shared,
            bucket,
            key,
            tier,
        }
    }

    fn tiers(&self) -> &'a [Schedule<A>] {
        &self.shared.tiers
    }

    /// The tier that a key which is not there will have.
    fn first_tier(&self) -> u8 {
        self.tier.unwrap_or(0)
    }

    #[inline]
    fn rule(&self, tier: u8) -> &'a Schedule<A> {
        &self.shared.tiers[usize::from(tier)]
    }

    /// The rule that the key is decided by, and what its word is by that.
    #[inline]
    fn reading(&self, pair: Pair, at: Nanos) -> (u8, &'a Schedule<A>, u64) {
        let was = pair.tier();
        let tier = self.tier.unwrap_or(was);
        let rule = self.rule(tier);
        if tier == was {
            return (tier, rule, pair.word);
        }
        // Time that was credited by one tier must not be credited by another once more.
        let (old, at) = (self.rule(was), at.max(self.bucket.watermark()));
        (tier, rule, old.owing(pair.word, at, rule))
    }

    /// The word of a key that is not there.
    fn at_rest(&self) -> u64 {
        self.tiers().at_rest_from(self.first_tier(), self.bucket.watermark())
    }

    /// Decides as of a time, and what is refused for that once more as of the watermark.
    #[inline]
    fn decided<T>(
        &self,
        rule: &Schedule<A>,
        word: u64,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<T, NotStored>,
    ) -> Result<T, NotStored> {
        step(rule, word, rule.drained(at)).or_else(|refused| {
            let watermark = self.bucket.watermark();
            if refused.until().is_some() && at < watermark {
                step(rule, word, rule.drained(watermark))
            } else {
                Err(refused)
            }
        })
    }

    /// Whether the key is there and not at rest.
    pub(super) fn is_live(&self, at: Nanos) -> bool {
        let found = self.bucket.find_or_know(self.key, self.tiers());
        found.is_some_and(|(_, pair)| self.tiers().is_live(pair, at))
    }

    /// Until when the key is denied for not being there, whatever is asked.
    fn denied_until(&self, at: Nanos) -> Option<Until> {
        if self.shared.when_full != WhenFull::Deny {
            return None;
        }
        let nearest = self.bucket.nearest_if_full(self.key, at, self.tiers())?;
        Some(self.until_rested(nearest))
    }

    fn until_rested(&self, nearest: Pair) -> Until {
        // A slot is free once it was at rest before.
        self.rule(nearest.tier()).until(Volume(nearest.word + 1))
    }

    /// What is to be done for a key that is not there, and was not for want of room.
    fn without_room<T>(&self, nearest: Pair) -> Option<Result<T, NotStored>> {
        let tallies = &self.shared.table.tallies;
        match self.shared.when_full {
            // Somebody else was faster.
            WhenFull::Forgive => None,
            WhenFull::Deny => {
                Tallies::count(&tallies.denied);
                Some(Err(NotStored::NoSlot(self.until_rested(nearest))))
            }
            WhenFull::Admit => {
                Tallies::count(&tallies.admitted);
                Some(Err(NotStored::Forgotten))
            }
        }
    }
}

impl<A: Algorithm> Store<A> for Entry<'_, A> {
    const NAME: Option<&'static str> = Some("Key");

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.rule(0).time_line
    }

    #[inline]
    fn counts_denials(&self) -> bool {
        self.rule(0).algorithm.counts_denials()
    }

    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Schedule<A>, u64) -> T) -> T {
        match self.bucket.find_or_know(self.key, self.tiers()) {
            Some((_, pair)) => {
                let (_, rule, word) = self.reading(pair, at);
                read(rule, word)
            }
            None => read(self.rule(self.first_tier()), self.at_rest()),
        }
    }

    #[inline]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<Step<T>, NotStored>,
    ) -> Result<T, NotStored> {
        let mut pauses = PAUSES;
        loop {
            if let Some((slot, pair)) = self.bucket.find(self.key) {
                let (tier, rule, word) = self.reading(pair, at);
                let (new, made) = self.decided(rule, word, at, &step)?;
                if tier != pair.tier() {
                    self.bucket.raise_watermark(at);
                }
                let new = Pair {
                    id: self.key.resident(tier),
                    word: new,
                };
                if slot.exchange(pair, new).is_ok() {
                    return Ok(made);
                }
                if pauses > 0 {
                    pauses -= 1;
                    pause();
                }
            } else if let Some(done) = self.step_absent(at, &step) {
                return done;
            }
        }
    }

    fn look(
        &self,
        at: Nanos,
        look: impl Fn(&Schedule<A>, u64, Volume) -> Result<(), NotStored>,
    ) -> Result<(), NotStored> {
        if let Some((_, pair)) = self.bucket.find_or_know(self.key, self.tiers()) {
            let (_, rule, word) = self.reading(pair, at);
            return self.decided(rule, word, at, look);
        }
        self.decided(self.rule(self.first_tier()), self.at_rest(), at, look)?;
        match self.denied_until(at) {
            Some(until) => Err(NotStored::NoSlot(until)),
            None => Ok(()),
        }
    }

    fn status(&self, at: Nanos) -> Status {
        match self.denied_until(at) {
            Some(until) => self.rule(self.first_tier()).status_without_slot(until, at),
            None => self.read(at, |rule, word| rule.status(word, at)),
        }
    }
}

impl<A: Algorithm> Entry<'_, A> {
    /// Moves a key in that was not found, for the step to be taken then; or tells what comes of the step without.
    #[cold]
    fn step_absent<T>(
        &self,
        at: Nanos,
        step: &impl Fn(&Schedule<A>, u64, Volume) -> Result<Step<T>, NotStored>,
    ) -> Option<Result<T, NotStored>> {
        let tier = self.first_tier();
        let at_rest = self.at_rest();
        match self.decided(self.rule(tier), at_rest, at, step) {
            Ok((word, _)) if word > at_rest => {}
            // Refused even at rest, or lowered: what changes nothing needs no slot.
            unchanged => {
                let found = self.bucket.find_or_know(self.key, self.tiers());
                return found.is_none().then_some(unchanged.map(|(_, made)| made));
            }
        }
        let forgive = self.shared.when_full == WhenFull::Forgive;
        match self.bucket.claim(self.key, tier, at, forgive, self.tiers()) {
            Claimed::Perhaps => None,
            Claimed::Full { nearest } => self.without_room(nearest),
            Claimed::Forgiven => {
                Tallies::count(&self.shared.table.tallies.forgiven);
                None
            }
        }
    }
}
