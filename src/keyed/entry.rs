//! One key's meter, as the verbs see it.

use super::bucket::{Bucket, Moved};
use super::limits::{Limits, Superseded};
use super::line::Key;
use super::state::State;
use super::table::Tallies;
use super::{Shared, WhenFull};
use crate::algorithms::{Algorithm, Due};
use crate::cell::{PAUSES, pause};
use crate::clock::Clock;
use crate::decision::{NonConformance, Until};
use crate::metered::{self, Metered, Refusal, When};
use crate::nanos::{Nanos, TimeLine};
use crate::rule::{Rule, Stepped};
use crate::status::Status;
use core::fmt;

/// The meter of one key, to be checked with others: [`KeyedMeter::of`](crate::KeyedMeter::of).
pub struct Entry<'a, A, C> {
    shared: &'a Shared<A>,
    /// The latest when the table's handle was made; see [`limits`](super::limits).
    limits: &'a Limits<A>,
    clock: &'a C,
    bucket: &'a Bucket,
    key: Key,
    /// The tier to decide by; the key's own if `None`.
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
    pub(super) fn new(shared: &'a Shared<A>, limits: &'a Limits<A>, clock: &'a C, key: Key, tier: Option<u8>) -> Self {
        let bucket = shared.table.bucket(key);
        Self {
            shared,
            limits,
            clock,
            bucket,
            key,
            tier,
        }
    }

    /// The tier that a key without a slot will have.
    fn first_tier(&self) -> u8 {
        self.tier.unwrap_or(0)
    }

    /// Acts by limits that hold.
    #[inline]
    fn by_limits<T>(&self, act: impl Fn(&Limits<A>) -> Result<T, Superseded>) -> T {
        act(self.limits).unwrap_or_else(|Superseded| self.shared.latest.act(act))
    }

    /// Decides one cell at a position of the clock if that is plain: the key is in its home line, in the first tier, no other thread charges it
    /// meanwhile, and a denial would not be retried. Otherwise changes nothing.
    ///
    /// This is nearly every call, in one piece: it looks, decides and exchanges once. By callgrind a hit takes a third fewer instructions than
    /// by `step`.
    #[inline(always)]
    pub(super) fn check_plainly(&self, at: Nanos) -> Option<Result<(), NonConformance>> {
        let (slot, state) = self.bucket.find_at_home(self.key)?;
        let (rule, word) = self.limits.read_first(state)?;
        if rule.algorithm.counts_refusals() {
            return None;
        }
        match rule.algorithm.decide(word, rule.volume(at), 1) {
            // The word has grown by the same limit, so the version stays.
            Ok(new) => slot.exchange(state, State(state.0 - word + new)).then_some(Ok(())),
            Err(due) => {
                let until = rule.until(due);
                let latest = at.later(C::LAG_NS).max(self.bucket.watermark());
                let is_final = slot.load() == state && !until.is_over_at(latest);
                is_final.then(|| Err(NonConformance::new(rule.time_line.beginning(), until)))
            }
        }
    }

    /// The rule of the tier by which the key is decided, and its word by that.
    #[inline]
    fn reading<'l>(
        &self,
        limits: &'l Limits<A>,
        state: State,
        at: Nanos,
    ) -> Result<(u8, u8, &'l Rule<A>, u64), Superseded> {
        let (was, word) = limits.read(state)?;
        let tier = self.tier.unwrap_or(was);
        let rule = limits.rule(tier);
        if tier == was {
            return Ok((was, tier, rule, word));
        }
        // Time that was credited by one tier must not be credited by another once more.
        let at = at.max(self.bucket.watermark());
        Ok((was, tier, rule, limits.rule(was).owing(word, at, rule)))
    }

    /// Decides as of a time, and what is denied for that once more as of the watermark.
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

    /// The state of the key, if it has a slot: read in one moment, in which it was in that slot.
    fn state_of(&self, limits: &Limits<A>) -> Result<Option<State>, Superseded> {
        loop {
            match self.bucket.find_or_know(self.key, limits)? {
                None => return limits.hold().map(|()| None),
                Some((slot, state)) if slot.load() == state => return Ok(Some(state)),
                Some(_) => {}
            }
        }
    }

    /// Whether the key is there and owes something.
    pub(super) fn is_live(&self, when: When) -> bool {
        let at = when.position(self);
        self.by_limits(|limits| {
            let state = self.state_of(limits)?;
            state.map_or(Ok(false), |state| limits.is_live(state, at))
        })
    }

    /// Until when the key is denied for lack of a slot, whatever is asked.
    fn denied_until(&self, limits: &Limits<A>, at: Nanos) -> Result<Option<Until>, Superseded> {
        if limits.when_full != WhenFull::Deny {
            return Ok(None);
        }
        let nearest = self.bucket.nearest_if_full(self.key, at, limits)?;
        nearest.map(|nearest| self.until_idle(limits, nearest)).transpose()
    }

    /// Until when the slot is another key's: it is free as soon as that key is idle.
    fn until_idle(&self, limits: &Limits<A>, nearest: State) -> Result<Until, Superseded> {
        let (tier, word) = limits.read(nearest)?;
        Ok(limits.rule(tier).until(Due(word)))
    }

    fn for_want_of_a_slot<R: Refusal>(&self, limits: &Limits<A>, until: Until, at: Nanos) -> R {
        R::for_want_of_a_word(until, self.status_without_a_slot(limits, until, at))
    }

    fn status_without_a_slot(&self, limits: &Limits<A>, until: Until, at: Nanos) -> Status {
        Status::without_a_word(limits.rule(self.first_tier()).quota, until, at)
    }

    #[inline]
    fn step_by<T, R: Refusal>(
        &self,
        limits: &Limits<A>,
        at: Nanos,
        step: &impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<Result<T, R>, Superseded> {
        let mut pauses = PAUSES;
        loop {
            let Some((slot, state)) = self.bucket.find(self.key) else {
                match self.step_absent(limits, at, step)? {
                    Some(done) => return Ok(done),
                    None => continue,
                }
            };
            let (was, tier, rule, word) = self.reading(limits, state, at)?;
            match self.decided(rule, word, at, step) {
                // The state and the id belonged together if the state is still the same.
                Err(refused) if slot.load() == state => return Ok(Err(refused)),
                Err(_) => {}
                Ok((new, made)) => {
                    if tier != was {
                        self.bucket.raise_watermark(at);
                    }
                    let new = limits.form().next(state, limits.number(tier), new);
                    if slot.exchange(state, new) {
                        return Ok(Ok(made));
                    }
                    if pauses > 0 {
                        pauses -= 1;
                        pause();
                    }
                }
            }
        }
    }

    /// Moves a key in that was not found, and takes its step; or returns the outcome of the step if it needs no slot. `None` if the key may be
    /// there now.
    #[cold]
    #[inline(never)]
    fn step_absent<T, R: Refusal>(
        &self,
        limits: &Limits<A>,
        at: Nanos,
        step: &impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<Option<Result<T, R>>, Superseded> {
        let tier = self.first_tier();
        let rule = limits.rule(tier);
        let charged = |idle| {
            let decided = self.decided(rule, idle, at, step);
            // Denied even when idle, or lowered: what changes nothing needs no slot.
            match decided {
                Ok((word, made)) if word > idle => Ok((word, made)),
                unchanged => Err(unchanged.map(|(_, made)| made)),
            }
        };
        let made = match charged(limits.idle_word(tier, self.bucket.watermark())) {
            Ok((_, made)) => made,
            Err(unchanged) => {
                let found = self.bucket.find_or_know(self.key, limits)?;
                limits.hold()?;
                return Ok(found.is_none().then_some(unchanged));
            }
        };
        let forgive = limits.when_full == WhenFull::Forgive;
        let moved = self
            .bucket
            .move_in(self.key, tier, at, forgive, limits, |idle| charged(idle).ok())?;
        match moved {
            Moved::Perhaps => Ok(None),
            Moved::Charged(made) => Ok(Some(Ok(made))),
            Moved::Full { nearest } => self.without_room(limits, nearest, at, made),
        }
    }

    /// What is done about a key for which there is no room.
    fn without_room<T, R: Refusal>(
        &self,
        limits: &Limits<A>,
        nearest: State,
        at: Nanos,
        made: T,
    ) -> Result<Option<Result<T, R>>, Superseded> {
        let tallies = &self.shared.table.tallies;
        Ok(match limits.when_full {
            // Another thread was faster.
            WhenFull::Forgive => None,
            WhenFull::Deny => {
                let until = self.until_idle(limits, nearest)?;
                Tallies::count(&tallies.denied);
                Some(Err(self.for_want_of_a_slot(limits, until, at)))
            }
            WhenFull::Admit => {
                Tallies::count(&tallies.admitted);
                Some(R::uncounted(made))
            }
        })
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
        &self.limits.rule(0).time_line
    }

    fn state(&self) -> metered::State {
        (core::ptr::from_ref(self.bucket).cast(), self.key.id())
    }

    #[inline]
    fn counts_refusals(&self) -> bool {
        self.limits.rule(0).algorithm.counts_refusals()
    }

    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        let (rule, word) = self.by_limits(|limits| {
            Ok(match self.state_of(limits)? {
                Some(state) => {
                    let (_, _, rule, word) = self.reading(limits, state, at)?;
                    (*rule, word)
                }
                None => {
                    let tier = self.first_tier();
                    (*limits.rule(tier), limits.idle_word(tier, self.bucket.watermark()))
                }
            })
        });
        read(&rule, word)
    }

    #[inline]
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
        self.by_limits(|limits| self.step_by(limits, at, &step))
    }

    fn look<R: Refusal>(&self, at: Nanos, look: impl Fn(&Rule<A>, u64, u64) -> Result<(), R>) -> Result<(), R> {
        self.by_limits(|limits| {
            if let Some(state) = self.state_of(limits)? {
                let (_, _, rule, word) = self.reading(limits, state, at)?;
                return Ok(self.decided(rule, word, at, &look));
            }
            let tier = self.first_tier();
            let idle = limits.idle_word(tier, self.bucket.watermark());
            if let Err(refused) = self.decided(limits.rule(tier), idle, at, &look) {
                return Ok(Err(refused));
            }
            let until = self.denied_until(limits, at)?;
            Ok(until.map_or(Ok(()), |until| Err(self.for_want_of_a_slot(limits, until, at))))
        })
    }

    fn status(&self, at: Nanos) -> Status {
        let without_a_slot = self.by_limits(|limits| {
            let until = self.denied_until(limits, at)?;
            Ok(until.map(|until| self.status_without_a_slot(limits, until, at)))
        });
        without_a_slot.unwrap_or_else(|| self.read(at, |rule, word| rule.status(word, at)))
    }
}
