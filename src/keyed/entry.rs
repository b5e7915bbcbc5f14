//! One key's meter, as the verbs see it.

use super::bucket::{Bucket, Claimed};
use super::key::{Key, Tiers};
use super::slot::Pair;
use super::table::Tallies;
use super::{Shared, WhenFull};
use crate::algorithms::{Algorithm, Due};
use crate::cell::{PAUSES, pause};
use crate::clock::Clock;
use crate::decision::Until;
use crate::metered::{Metered, Refusal, State, When};
use crate::nanos::{Nanos, TimeLine};
use crate::rule::{Rule, Stepped};
use crate::status::Status;
use core::fmt;

impl<A: Algorithm> Tiers for [Rule<A>] {
    fn at_rest_from(&self, tier: u8, at: Nanos) -> u64 {
        self[usize::from(tier)].volume(at)
    }

    fn rests_at(&self, tier: u8, word: u64) -> Nanos {
        Nanos::clamped(self[usize::from(tier)].drained_at(Due(word)))
    }
}

/// The meter of one key, to be checked with others: [`KeyedMeter::of`](crate::KeyedMeter::of).
pub struct Entry<'a, A, C> {
    shared: &'a Shared<A>,
    clock: &'a C,
    bucket: &'a Bucket,
    key: Key,
    /// By what it is decided; by what it was the last time if not said.
    tier: Option<u8>,
}

/// Does not tell the key, of which only a hash is known.
impl<A, C> fmt::Debug for Entry<'_, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl<'a, A: Algorithm, C: Clock> Entry<'a, A, C> {
    #[inline]
    pub(super) fn new(shared: &'a Shared<A>, clock: &'a C, key: Key, tier: Option<u8>) -> Self {
        let bucket = shared.table.bucket(key);
        Self {
            shared,
            clock,
            bucket,
            key,
            tier,
        }
    }

    fn tiers(&self) -> &'a [Rule<A>] {
        &self.shared.tiers
    }

    /// The tier that a key which is not there will have.
    fn first_tier(&self) -> u8 {
        self.tier.unwrap_or(0)
    }

    #[inline]
    fn rule(&self, tier: u8) -> &'a Rule<A> {
        &self.shared.tiers[usize::from(tier)]
    }

    /// The rule that the key is decided by, and what its word is by that.
    #[inline]
    fn reading(&self, pair: Pair, at: Nanos) -> (u8, &'a Rule<A>, u64) {
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
    fn decided<T, R: Refusal>(
        &self,
        rule: &Rule<A>,
        word: u64,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<T, R>,
    ) -> Result<T, R> {
        step(rule, word, rule.volume(at)).or_else(|refused| {
            let watermark = self.bucket.watermark();
            if refused.until().is_some() && at < watermark {
                step(rule, word, rule.volume(watermark))
            } else {
                Err(refused)
            }
        })
    }

    /// Whether the key is there and not at rest.
    pub(super) fn is_live(&self, when: When) -> bool {
        let found = self.bucket.find_or_know(self.key, self.tiers());
        found.is_some_and(|(_, pair)| self.tiers().is_live(pair, when.position(self)))
    }

    /// Until when the key is denied for not being there, whatever is asked.
    fn denied_until(&self, at: Nanos) -> Option<Until> {
        if self.shared.when_full != WhenFull::Deny {
            return None;
        }
        let nearest = self.bucket.nearest_if_full(self.key, at, self.tiers())?;
        Some(self.until_rested(nearest))
    }

    fn for_want_of_a_slot<R: Refusal>(&self, until: Until, at: Nanos) -> R {
        R::for_want_of_a_word(until, self.status_without_a_slot(until, at))
    }

    fn status_without_a_slot(&self, until: Until, at: Nanos) -> Status {
        Status::without_a_word(self.rule(self.first_tier()).quota, until, at)
    }

    fn until_rested(&self, nearest: Pair) -> Until {
        // A slot is free once it was at rest before.
        self.rule(nearest.tier()).until(Due(nearest.word + 1))
    }

    /// What is to be done for a key that is not there, and was not for want of room.
    fn without_room<T, R: Refusal>(&self, nearest: Pair, at: Nanos, made: T) -> Option<Result<T, R>> {
        let tallies = &self.shared.table.tallies;
        match self.shared.when_full {
            // Somebody else was faster.
            WhenFull::Forgive => None,
            WhenFull::Deny => {
                Tallies::count(&tallies.denied);
                Some(Err(self.for_want_of_a_slot(self.until_rested(nearest), at)))
            }
            WhenFull::Admit => {
                Tallies::count(&tallies.admitted);
                Some(R::uncounted(made))
            }
        }
    }
}

impl<A: Algorithm, C: Clock> Metered for Entry<'_, A, C> {
    type Algorithm = A;
    type Clock = C;

    #[inline]
    fn clock(&self) -> &C {
        self.clock
    }

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.rule(0).time_line
    }

    fn state(&self) -> State {
        (core::ptr::from_ref(self.bucket).cast(), self.key.resident(0))
    }

    #[inline]
    fn counts_refusals(&self) -> bool {
        self.rule(0).algorithm.counts_refusals()
    }

    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        match self.bucket.find_or_know(self.key, self.tiers()) {
            Some((_, pair)) => {
                let (_, rule, word) = self.reading(pair, at);
                read(rule, word)
            }
            None => read(self.rule(self.first_tier()), self.at_rest()),
        }
    }

    #[inline]
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
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

    fn look<R: Refusal>(&self, at: Nanos, look: impl Fn(&Rule<A>, u64, u64) -> Result<(), R>) -> Result<(), R> {
        if let Some((_, pair)) = self.bucket.find_or_know(self.key, self.tiers()) {
            let (_, rule, word) = self.reading(pair, at);
            return self.decided(rule, word, at, look);
        }
        self.decided(self.rule(self.first_tier()), self.at_rest(), at, look)?;
        match self.denied_until(at) {
            Some(until) => Err(self.for_want_of_a_slot(until, at)),
            None => Ok(()),
        }
    }

    fn status(&self, at: Nanos) -> Status {
        match self.denied_until(at) {
            Some(until) => self.status_without_a_slot(until, at),
            None => self.read(at, |rule, word| rule.status(word, at)),
        }
    }
}

impl<A: Algorithm, C: Clock> Entry<'_, A, C> {
    /// Moves a key in that was not found, for the step to be taken then; or tells what comes of the step without.
    #[cold]
    fn step_absent<T, R: Refusal>(
        &self,
        at: Nanos,
        step: &impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Option<Result<T, R>> {
        let tier = self.first_tier();
        let at_rest = self.at_rest();
        let made = match self.decided(self.rule(tier), at_rest, at, step) {
            Ok((word, made)) if word > at_rest => made,
            // Refused even at rest, or lowered: what changes nothing needs no slot.
            unchanged => {
                let found = self.bucket.find_or_know(self.key, self.tiers());
                return found.is_none().then_some(unchanged.map(|(_, made)| made));
            }
        };
        let forgive = self.shared.when_full == WhenFull::Forgive;
        match self.bucket.claim(self.key, tier, at, forgive, self.tiers()) {
            Claimed::Perhaps => None,
            Claimed::Full { nearest } => self.without_room(nearest, at, made),
            Claimed::Forgiven => {
                Tallies::count(&self.shared.table.tallies.forgiven);
                None
            }
        }
    }
}
