//! The limits by which the words of a table are read: one for each tier, and the former limit of a tier whose quota has changed.
//!
//! A state names its limit by a number. An adjustable table has one number more than it has tiers, so a tier whose quota changes takes the free
//! number ([`Limits::changed`]). Its former limit stays known until all keys have been converted; then the former number is free.
//!
//! A thread may hold limits that have been superseded, in which numbers mean something else. So this rule applies:
//!
//! > A thread that has read states acts on them only after it has seen, by a later load, that its limits are *not superseded*.
//!
//! *Proof* that the rule suffices: a change supersedes the limits first, and then replaces each resident's state. If a thread read a state from
//! before the replacement, its exchange of that state fails. If a thread read a later state, it has acquired the flag.
//!
//! The next change takes the number of the former limit, and other threads may use that number before these limits are superseded. So the former
//! limit is no longer known once all keys have been converted ([`Limits::forget_former`]), which is before the next change begins.

use super::WhenFull;
use super::slot::{AtomicBool, Form, LimitStates, MOST_LIMITS, Ordering, SlotState};
use crate::algorithm::Algorithm;
use crate::schedule::Schedule;
use crate::units::{Nanos, Volume};
use alloc::boxed::Box;
use alloc::sync::Arc;
#[cfg(ratelimit_meter_loom)]
use std::sync::PoisonError;

/// The limits have been superseded: load the latest limits and begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superseded;

/// The limit of a tier.
#[derive(Debug, Clone, Copy)]
pub(super) struct TierLimit<A> {
    pub(super) schedule: Schedule<A>,
    /// The number of this limit in states.
    pub(super) number: u8,
    /// The states of the residents that this limit decides.
    pub(super) states: LimitStates,
    /// The time from which this limit holds.
    since: Nanos,
    /// The minimum word of a key without a slot. A key that was idle when the quota changed has no more cells available than the former burst.
    floor: u64,
}

/// The limit that a tier had before its quota changed.
#[derive(Debug, Clone, Copy)]
struct Former<A> {
    limit: TierLimit<A>,
    tier: u8,
}

#[derive(Debug)]
pub(super) struct Limits<A> {
    /// The limit of tier 0, stored inline to save a pointer.
    first: TierLimit<A>,
    /// The limits of the other tiers.
    more: Box<[TierLimit<A>]>,
    former: Option<Former<A>>,
    form: Form,
    /// The tier of each number that is in use.
    tiers: [Option<u8>; MOST_LIMITS],
    superseded: AtomicBool,
    /// True once all keys have been converted from the former limit.
    converted: AtomicBool,
    pub(super) when_full: WhenFull,
}

impl<A: Algorithm> TierLimit<A> {
    /// Returns the word of a key that becomes idle exactly at `at`.
    #[inline]
    fn idle_word(&self, at: Nanos) -> u64 {
        self.schedule.drained(at).0.max(self.floor)
    }

    /// Converts `word` to the limit `next` at the time from which `next` holds. Keeps the available cells, and as much of the debt as fits.
    fn carried(&self, word: u64, next: &Self) -> u64 {
        let (schedule, at) = (&self.schedule, next.since);
        let (drained, next_drained) = (schedule.drained(at), next.schedule.drained(at));
        let part = schedule.credited_too_much(self.since, at);
        let next = &next.schedule.algorithm;
        schedule.algorithm.carry(word, drained, part, next, next_drained).0
    }
}

impl<A: Algorithm> Limits<A> {
    /// Returns the limits of the tiers' schedules, whose words must fit `form`.
    pub(super) fn new(schedules: &[Schedule<A>], form: Form, when_full: WhenFull) -> Option<Self> {
        let mut limits = schedules.iter().zip(0..).map(|(schedule, number)| TierLimit {
            schedule: *schedule,
            number,
            states: form.decided_by(number),
            since: Nanos::BEGINNING,
            floor: 0,
        });
        let (first, more) = (limits.next()?, limits.collect());
        let mut tiers = [None; MOST_LIMITS];
        for (tier, place) in (0..).zip(tiers.iter_mut().take(schedules.len())) {
            *place = Some(tier);
        }
        Some(Self {
            first,
            more,
            former: None,
            form,
            tiers,
            superseded: AtomicBool::new(false),
            converted: AtomicBool::new(false),
            when_full,
        })
    }

    #[inline]
    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn tiers(&self) -> usize {
        self.more.len() + 1
    }

    /// Returns the limit of an existing tier.
    #[inline]
    pub(super) fn of_tier(&self, tier: u8) -> &TierLimit<A> {
        match tier {
            0 => &self.first,
            tier => &self.more[usize::from(tier) - 1],
        }
    }

    #[inline]
    pub(super) fn schedule(&self, tier: u8) -> &Schedule<A> {
        &self.of_tier(tier).schedule
    }

    #[inline]
    pub(super) fn number(&self, tier: u8) -> u8 {
        self.of_tier(tier).number
    }

    /// Fails if the limits are superseded. Call it after states were read and before anything is done about them.
    #[inline]
    pub(super) fn hold(&self) -> Result<(), Superseded> {
        // ORDERING: acquire. Pairs with `LatestLimits::replace`, so that a thread that finds the flag set also loads the later limits, and does not
        // retry in vain. (The thread finds the flag set in time without this order: it acquired the states that it read before.)
        if self.superseded.load(Ordering::Acquire) {
            Err(Superseded)
        } else {
            Ok(())
        }
    }

    /// Returns the tier of a resident, and its word by the limit that the tier has now.
    #[inline]
    pub(super) fn read(&self, state: SlotState) -> Result<(u8, u64), Superseded> {
        self.hold()?;
        let number = self.form.limit(state);
        match self.tiers[usize::from(number)] {
            Some(tier) => Ok((tier, self.form.word(state))),
            None => self.read_former(state),
        }
    }

    #[cold]
    fn read_former(&self, state: SlotState) -> Result<(u8, u64), Superseded> {
        let Former { limit, tier } = self.former_with(self.form.limit(state))?;
        Ok((*tier, limit.carried(self.form.word(state), self.of_tier(*tier))))
    }

    /// Returns the former limit if it has that number and keys may still have it. Any other number belongs to later limits.
    fn former_with(&self, number: u8) -> Result<&Former<A>, Superseded> {
        // ORDERING: acquire. Pairs with `forget_former`, so that a thread that finds the flag set then reads converted states, and does not retry in
        // vain. Weaker breaks `keyed::split::charge_beside_*` in `tests/loom`. (The thread finds the flag set in time without this order: it
        // acquired a state of the next change, before which the flag was set.)
        let is_known = !self.converted.load(Ordering::Acquire);
        let former = self
            .former
            .as_ref()
            .filter(|former| is_known && former.limit.number == number);
        former.ok_or(Superseded)
    }

    /// Records that all keys have been converted to these limits.
    pub(super) fn forget_former(&self) {
        // ORDERING: release. Pairs with `former_with`.
        self.converted.store(true, Ordering::Release);
    }

    /// Returns the time of the last change of a tier's quota.
    pub(super) fn since(&self) -> Nanos {
        let former = self.former.as_ref();
        former.map_or(Nanos::BEGINNING, |former| self.of_tier(former.tier).since)
    }

    /// Returns the word of a key of `tier` that becomes idle exactly at `at`.
    #[inline]
    pub(super) fn idle_word(&self, tier: u8, at: Nanos) -> u64 {
        self.of_tier(tier).idle_word(at)
    }

    /// Returns the word of a key that becomes idle exactly at `at`, by the limit with that number.
    pub(super) fn idle_word_by(&self, number: u8, at: Nanos) -> Result<u64, Superseded> {
        self.hold()?;
        match self.tiers[usize::from(number)] {
            Some(tier) => Ok(self.idle_word(tier, at)),
            None => Ok(self.former_with(number)?.limit.idle_word(at)),
        }
    }

    /// Returns whether a resident has a debt; if not, its slot may be taken.
    pub(super) fn is_live(&self, state: SlotState, at: Nanos) -> Result<bool, Superseded> {
        let (tier, word) = self.read(state)?;
        Ok(word > self.idle_word(tier, at))
    }

    /// Returns whether a key that takes the resident's slot at `at` begins at a larger word by any limit: if the resident was idle before `at`, by a
    /// limit that holds.
    pub(super) fn was_idle(&self, state: SlotState, at: Nanos) -> Result<bool, Superseded> {
        let (tier, word) = self.read(state)?;
        let holds = self.tiers[usize::from(self.form.limit(state))].is_some();
        Ok(holds && word < self.idle_word(tier, at))
    }

    /// Returns the time from which a resident is idle.
    pub(super) fn idle_from(&self, state: SlotState) -> Result<Nanos, Superseded> {
        let (tier, word) = self.read(state)?;
        Ok(Nanos::clamped(self.schedule(tier).until(Volume(word)).nanos()))
    }

    /// Returns these limits with another limit for `tier`, from `at` on or from the last change if that is later. `schedule` must be on the same time
    /// line, in words of the same form.
    ///
    /// All keys must have been converted to these limits.
    pub(super) fn changed(&self, tier: u8, schedule: Schedule<A>, at: Nanos) -> Option<Self> {
        // Time that one limit has credited must not be credited again by another limit.
        let at = at.max(self.since());
        let former = *self.of_tier(tier);
        let number = (0..)
            .take(self.form.limits())
            .find(|&number| self.tiers[usize::from(number)].is_none())?;
        let mut limit = TierLimit {
            schedule,
            number,
            states: self.form.decided_by(number),
            since: at,
            floor: 0,
        };
        limit.floor = former.carried(former.idle_word(at), &limit);
        let mut tiers = self.tiers;
        tiers[usize::from(former.number)] = None;
        tiers[usize::from(number)] = Some(tier);
        let (mut first, mut more) = (self.first, self.more.clone());
        match tier {
            0 => first = limit,
            tier => more[usize::from(tier) - 1] = limit,
        }
        Some(Self {
            first,
            more,
            former: Some(Former { limit: former, tier }),
            form: self.form,
            tiers,
            superseded: AtomicBool::new(false),
            converted: AtomicBool::new(false),
            when_full: self.when_full,
        })
    }
}

/// The limits that hold now, shared by all handles of a table.
#[derive(Debug)]
pub(super) struct LatestLimits<A> {
    #[cfg(all(feature = "std", not(ratelimit_meter_loom)))]
    limits: arc_swap::ArcSwap<Limits<A>>,
    // Replaces `ArcSwap` in the loom models.
    #[cfg(ratelimit_meter_loom)]
    limits: loom::sync::Mutex<Arc<Limits<A>>>,
    // Without `std` the limits never change.
    #[cfg(not(feature = "std"))]
    limits: Arc<Limits<A>>,
}

impl<A: Algorithm> LatestLimits<A> {
    pub(super) fn new(limits: Arc<Limits<A>>) -> Self {
        Self {
            #[cfg(feature = "std")]
            limits: limits.into(),
            #[cfg(not(feature = "std"))]
            limits,
        }
    }

    /// Returns the limits that hold now.
    pub(super) fn get(&self) -> Arc<Limits<A>> {
        #[cfg(all(feature = "std", not(ratelimit_meter_loom)))]
        return self.limits.load_full();
        #[cfg(ratelimit_meter_loom)]
        return self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        #[cfg(not(feature = "std"))]
        self.limits.clone()
    }

    /// Replaces the limits. The new limits can be loaded before the old ones are superseded, so no thread waits.
    #[cfg(feature = "std")]
    pub(super) fn replace(&self, limits: Limits<A>) -> Arc<Limits<A>> {
        let (old, new) = (self.get(), Arc::new(limits));
        #[cfg(not(ratelimit_meter_loom))]
        self.limits.store(new.clone());
        #[cfg(ratelimit_meter_loom)]
        self.limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&new);
        // ORDERING: release. Pairs with `Limits::hold`. The exchanges of states and intents by which a change goes through the table release the
        // flag, too.
        old.superseded.store(true, Ordering::Release);
        new
    }

    /// Runs `act` with limits that hold.
    // Out of line: handles nearly always have limits that hold.
    #[cold]
    #[inline(never)]
    pub(super) fn act<T>(&self, act: impl Fn(&Limits<A>) -> Result<T, Superseded>) -> T {
        loop {
            if let Ok(done) = act(&self.get()) {
                return done;
            }
        }
    }
}

#[cfg(all(test, not(any(ratelimit_meter_loom, ratelimit_meter_stress))))]
mod tests {
    use super::*;
    use crate::GCRA;
    use crate::keyed::{KeyedBuilder, KeyedMeter, Tier};
    use crate::quota::Quota;

    /// The next change uses the number again, and other threads may store it before these limits are superseded.
    #[test]
    fn former_limit_is_unknown_once_keys_are_converted() {
        let like = GCRA::from_quota("3/h".parse::<Quota>().unwrap()).unwrap();
        let keys: KeyedMeter<u32> = KeyedBuilder::new(like).adjustable().with_capacity(1).unwrap();
        let before = keys.table.latest.get();
        let state = before.form().resident(0, before.number(0), 1);
        assert_eq!(before.read(state), Ok((0, 1)));
        keys.set_quota(Tier::FIRST, "2/h".parse().unwrap()).unwrap();
        let after = keys.table.latest.get();
        assert_ne!(after.number(0), before.number(0));
        assert_eq!(after.read(state), Err(Superseded));
    }
}
