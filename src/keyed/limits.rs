//! The limits by which the words of a table are read: one for each tier, and the one that a changed tier had before.
//!
//! A state names its limit by a number. An adjustable table has one number more than there are tiers, so that a tier whose quota changes takes the
//! free number ([`Limits::changed`]). Its former limit stays known until all keys have been converted; then its number is free.
//!
//! A thread may hold limits that have been superseded, in which numbers mean something else. So
//!
//! > a thread that has read states acts on them only after it has seen, by a later load, that its limits are *not superseded*.
//!
//! *Proof* that this suffices. A change supersedes the limits first and then replaces each resident's state. A thread that read a state from
//! before the replacement fails to exchange it. A thread that read a later state has acquired the flag.
//!
//! The next change takes the number of the former limit, and other threads may use that number before these limits are superseded. So the former
//! limit is no longer known once all keys have been converted ([`Limits::forget_former`]), which is before the next change begins.

use super::WhenFull;
use super::line::{AtomicBool, Ordering};
use super::state::{Form, State};
use crate::algorithms::Algorithm;
use crate::schedule::Schedule;
use crate::units::{Nanos, Volume};
#[cfg(not(ratelimit_meter_loom))]
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The limits have been superseded: load the latest and begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superseded;

/// What a tier decides by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<A> {
    pub(super) schedule: Schedule<A>,
    /// Its number in states.
    number: u8,
    /// Since when it holds.
    since: Nanos,
    /// A key without a slot has at least this word: what was idle when the quota changed has no more available than the former burst.
    floor: u64,
}

/// The limit that a tier had before its quota changed.
#[derive(Debug, Clone, Copy)]
struct Former<A> {
    limit: Limit<A>,
    tier: u8,
    /// When the quota changed.
    since: Nanos,
}

#[derive(Debug)]
pub(super) struct Limits<A> {
    /// Of tier 0, and here so that it is found without a further pointer.
    first: Limit<A>,
    /// Of the other tiers.
    more: Box<[Limit<A>]>,
    former: Option<Former<A>>,
    form: Form,
    /// The tier of each number, as far as it is in use.
    tiers: [Option<u8>; super::state::MOST_LIMITS],
    superseded: AtomicBool,
    /// Whether all keys have been converted from the former limit.
    converted: AtomicBool,
    pub(super) when_full: WhenFull,
}

impl<A: Algorithm> Limit<A> {
    /// The word of a key that is idle from `at` on, and not before.
    #[inline]
    fn idle_word(&self, at: Nanos) -> u64 {
        self.schedule.drained(at).0.max(self.floor)
    }

    /// The word by the schedule `next`, which holds from `at` on, that leaves available what `word` does; of a debt as much as fits.
    fn carried(&self, word: u64, next: &Schedule<A>, at: Nanos) -> u64 {
        let (drained, next_drained) = (self.schedule.drained(at), next.drained(at));
        let part = self.schedule.credited_too_much(self.since, at);
        let algorithm = &self.schedule.algorithm;
        algorithm.carry(word, drained, part, &next.algorithm, next_drained).0
    }
}

impl<A: Algorithm> Limits<A> {
    /// The limits of the tiers' schedules, whose words must fit `form`.
    pub(super) fn new(schedules: &[Schedule<A>], form: Form, when_full: WhenFull) -> Option<Self> {
        let limits = schedules.iter().zip(0..).map(|(schedule, number)| Limit {
            schedule: *schedule,
            number,
            since: Nanos::BEGINNING,
            floor: 0,
        });
        let mut limits: Vec<_> = limits.collect();
        let first = *limits.first()?;
        limits.remove(0);
        let mut tiers = [None; _];
        for (tier, place) in (0..).zip(tiers.iter_mut().take(schedules.len())) {
            *place = Some(tier);
        }
        Some(Self {
            first,
            more: limits.into_boxed_slice(),
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

    /// The limit of a tier that there is.
    #[inline]
    fn of_tier(&self, tier: u8) -> &Limit<A> {
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

    /// Fails if the limits are superseded; to be called after states were read and before anything is done about them.
    #[inline]
    pub(super) fn hold(&self) -> Result<(), Superseded> {
        // ORDERING: acquire. Pairs with `Latest::replace`, so that a thread that finds the flag set also loads the later limits and does not turn in
        // vain. (That it finds the flag set in time needs no order here: the states that it read before were acquired.)
        if self.superseded.load(Ordering::Acquire) {
            Err(Superseded)
        } else {
            Ok(())
        }
    }

    /// The tier of a resident's state and its word by the limit that the tier has now.
    #[inline]
    pub(super) fn read(&self, state: State) -> Result<(u8, u64), Superseded> {
        self.hold()?;
        let number = self.form.limit(state);
        match self.tiers[usize::from(number)] {
            Some(tier) => Ok((tier, self.form.word(state))),
            None => self.read_former(state),
        }
    }

    /// The schedule of the first tier and the word by it, if a resident is in that tier and its limit still holds.
    #[inline]
    pub(super) fn read_first(&self, state: State) -> Option<(&Schedule<A>, u64)> {
        let holds = self.hold().is_ok() && self.form.limit(state) == self.first.number;
        holds.then_some((&self.first.schedule, self.form.word(state)))
    }

    #[cold]
    fn read_former(&self, state: State) -> Result<(u8, u64), Superseded> {
        let former = self.former_with(self.form.limit(state))?;
        Ok((former.tier, self.carried(former, self.form.word(state))))
    }

    /// The former limit if it has that number and keys may still have it. Another number is that of later limits.
    fn former_with(&self, number: u8) -> Result<&Former<A>, Superseded> {
        // ORDERING: acquire. Pairs with `forget_former`, so that a thread that finds the flag set then reads converted states and does not turn in
        // vain. Weaker breaks `tests/loom/split.rs`, a charge beside a change of quota. (That it finds the flag set in time needs no
        // order here: it acquired a state of the next change, before which the flag was set.)
        let is_known = !self.converted.load(Ordering::Acquire);
        let former = self
            .former
            .as_ref()
            .filter(|former| is_known && former.limit.number == number);
        former.ok_or(Superseded)
    }

    /// Tells that all keys have been converted to these limits.
    pub(super) fn forget_former(&self) {
        // ORDERING: release. Pairs with `former_with`.
        self.converted.store(true, Ordering::Release);
    }

    /// When the quota of a tier was changed last.
    pub(super) fn since(&self) -> Nanos {
        self.former.as_ref().map_or(Nanos::BEGINNING, |former| former.since)
    }

    /// The word by a tier's limit that leaves available what the word by its former limit left when the quota changed.
    fn carried(&self, former: &Former<A>, word: u64) -> u64 {
        let next = self.schedule(former.tier);
        former.limit.carried(word, next, former.since)
    }

    /// The word of a key of that tier that is idle from `at` on, and not before.
    #[inline]
    pub(super) fn idle_word(&self, tier: u8, at: Nanos) -> u64 {
        self.of_tier(tier).idle_word(at)
    }

    /// The word of a key that is idle from `at` on by the limit with that number.
    pub(super) fn idle_word_by(&self, number: u8, at: Nanos) -> Result<u64, Superseded> {
        self.hold()?;
        match self.tiers[usize::from(number)] {
            Some(tier) => Ok(self.idle_word(tier, at)),
            None => Ok(self.former_with(number)?.limit.idle_word(at)),
        }
    }

    /// Whether a resident owes something; if not, its slot may be taken.
    pub(super) fn is_live(&self, state: State, at: Nanos) -> Result<bool, Superseded> {
        let (tier, word) = self.read(state)?;
        Ok(word > self.idle_word(tier, at))
    }

    /// Whether who takes a resident's slot as of `at` begins at a larger word by any limit: the resident was idle before, by a limit that holds.
    pub(super) fn was_idle(&self, state: State, at: Nanos) -> Result<bool, Superseded> {
        let (tier, word) = self.read(state)?;
        let holds = self.tiers[usize::from(self.form.limit(state))].is_some();
        Ok(holds && word < self.idle_word(tier, at))
    }

    /// From when on a resident is idle.
    pub(super) fn idle_from(&self, state: State) -> Result<Nanos, Superseded> {
        let (tier, word) = self.read(state)?;
        Ok(Nanos::clamped(self.schedule(tier).until(Volume(word)).nanos()))
    }

    /// These limits with another one for a tier from `at` on, or from the last change; `schedule` on the same time line, in words of the same form.
    ///
    /// All keys must have been converted to these limits.
    pub(super) fn changed(&self, tier: u8, schedule: Schedule<A>, at: Nanos) -> Option<Self> {
        // Time that was credited by one limit must not be credited by another once more.
        let at = at.max(self.since());
        let former = *self.of_tier(tier);
        let number = (0..)
            .take(self.form.limits())
            .find(|&number| self.tiers[usize::from(number)].is_none())?;
        let idle = former.idle_word(at);
        let floor = former.carried(idle, &schedule, at);
        let limit = Limit {
            schedule,
            number,
            since: at,
            floor,
        };
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
            former: Some(Former {
                limit: former,
                tier,
                since: at,
            }),
            form: self.form,
            tiers,
            superseded: AtomicBool::new(false),
            converted: AtomicBool::new(false),
            when_full: self.when_full,
        })
    }
}

/// The limits that hold, for all handles of a table.
#[derive(Debug)]
pub(super) struct Latest<A> {
    #[cfg(not(ratelimit_meter_loom))]
    limits: ArcSwap<Limits<A>>,
    // What the models have in its place.
    #[cfg(ratelimit_meter_loom)]
    limits: loom::sync::Mutex<Arc<Limits<A>>>,
}

impl<A: Algorithm> Latest<A> {
    pub(super) fn new(limits: Arc<Limits<A>>) -> Self {
        Self { limits: limits.into() }
    }

    /// Replaces the limits. The new ones can be loaded before the old ones are superseded, so nobody waits.
    pub(super) fn replace(&self, limits: Limits<A>) -> Arc<Limits<A>> {
        let (old, new) = (self.get(), Arc::new(limits));
        self.set(new.clone());
        // ORDERING: release. Pairs with `Limits::hold`; and the exchanges of states and intents by which a change goes through the table release it.
        old.superseded.store(true, Ordering::Release);
        new
    }

    /// Acts by limits that hold.
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

#[cfg(not(ratelimit_meter_loom))]
impl<A> Latest<A> {
    pub(super) fn get(&self) -> Arc<Limits<A>> {
        self.limits.load_full()
    }

    fn set(&self, limits: Arc<Limits<A>>) {
        self.limits.store(limits);
    }
}

#[cfg(ratelimit_meter_loom)]
impl<A> Latest<A> {
    pub(super) fn get(&self) -> Arc<Limits<A>> {
        self.limits
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn set(&self, limits: Arc<Limits<A>>) {
        *self.limits.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = limits;
    }
}
