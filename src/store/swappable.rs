//! The word of a meter whose quota changes. Each quota has a word of its own, which is closed when the next quota replaces it.
//!
//! ```text
//!   handle ──▶ Node(quota 1, word CLOSED) ──next──▶ Node(quota 2, word CLOSED) ──next──▶ Node(quota 3, word open)
//!   Latest ─────────────────────────────────────────────────────────────────────────────▶      (decisions)
//! ```
//!
//! To change the quota, a thread makes the next node and stores the converted word there. Then the thread closes the old word by an exchange, and
//! moves `Latest` on. The exchange is the instant of the change. A decision on the old word either came before it and is in the converted word, or
//! finds the word closed. In that case it decides again on the next node.

use super::atomic::{ClosableWord, Closed};
use super::{OwnedStore, Store};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::error::InconsistentCapacity;
use crate::outcome::{Status, Until};
use crate::quota::Quota;
use crate::schedule::{NotAtOnce, NotStored, Schedule, WordStep};
use crate::units::{Nanos, TimeLine, Volume};
use core::fmt;
#[cfg(ratelimit_meter_loom)]
use model::{Arc, Current, Mutex, Next};
#[cfg(not(ratelimit_meter_loom))]
use pointer::{Arc, Current, Mutex, Next};
use std::sync::PoisonError;

/// The store of an [`Adjustable`](crate::Adjustable): the word of the current quota.
pub struct Swappable<A> {
    /// The quota that held when this handle was made.
    node: Arc<Node<A>>,
    latest: Arc<Latest<A>>,
}

impl<A: Algorithm> Swappable<A> {
    /// Sets the quota at the time that `now` returns, and returns the part of a debt that cannot be recorded, in cells of the quota.
    pub(crate) fn set_quota(&self, quota: Quota, now: impl FnOnce() -> Nanos) -> Result<u64, InconsistentCapacity> {
        self.latest.set(quota, now)
    }

    /// Returns the current quota.
    pub(crate) fn quota(&self) -> Option<Quota> {
        self.on_open(|node| node.word.load().map(|_| node.schedule.quota))
    }

    /// Acts on the node whose word is open.
    #[inline]
    fn on_open<T>(&self, act: impl Fn(&Node<A>) -> Result<T, Closed>) -> T {
        act(&self.node).unwrap_or_else(|Closed| self.latest.on_open(act))
    }
}

impl<A: Algorithm> Store<A> for Swappable<A> {
    const NAME: Option<&'static str> = Some("Adjustable");

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.node.schedule.time_line
    }

    #[inline]
    fn counts_denials(&self) -> bool {
        self.node.schedule.algorithm.counts_denials()
    }

    #[inline]
    fn read<T>(&self, _at: Nanos, read: impl FnOnce(&Schedule<A>, u64) -> T) -> T {
        let (schedule, word) = self.on_open(|node| node.word.load().map(|word| (node.schedule, word)));
        read(&schedule, word)
    }

    #[inline]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<T, NotStored> {
        self.on_open(|node| {
            let drained = node.schedule.drained(at);
            node.word.update(|word| step(&node.schedule, word, drained))
        })
    }

    fn update_unchanged<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Option<Result<T, NotStored>> {
        let schedule = &self.node.schedule;
        let drained = schedule.drained(at);
        self.node.word.update(|word| step(schedule, word, drained)).ok()
    }

    #[inline]
    fn decide_at_once<C: Clock>(&self, n: u32, clock: &C) -> Result<Result<(), Until>, NotAtOnce> {
        let decide = |node: &Node<A>| node.word.decide_at_once(&node.schedule, n, clock);
        match decide(&self.node) {
            Err(NotAtOnce::Closed) => self.latest.node.with(decide),
            decided => decided,
        }
    }

    const TAKES_AT_ONCE: bool = true;

    #[inline]
    fn take_at_once<T>(
        &self,
        at: impl FnOnce() -> Nanos,
        n: u32,
        read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        let at = at();
        match self.node.take_at_once(at, n, &read) {
            Err(NotAtOnce::Closed) => self.latest.take_at_once(at, n, read),
            taken => taken,
        }
    }
}

impl<A: Algorithm> OwnedStore<A> for Swappable<A> {
    fn new(schedule: Schedule<A>, word: u64) -> Self {
        let node = Arc::new(Node::new(schedule, Nanos::BEGINNING, word));
        let latest = Arc::new(Latest::new(node.clone()));
        Self { node, latest }
    }

    fn into_parts(self) -> (Schedule<A>, u64) {
        self.read(Nanos::BEGINNING, |schedule, word| (*schedule, word))
    }
}

/// Returns a clone with the current quota, so that the clone is as fast as a plain meter until the next change.
impl<A> Clone for Swappable<A> {
    fn clone(&self) -> Self {
        let node = self.latest.node.get();
        // During a change, the next node is current a moment before `Latest` points to it.
        let next = node.word.load().err().and_then(|Closed| node.next.get());
        Self {
            node: next.unwrap_or(node),
            latest: self.latest.clone(),
        }
    }
}

impl<A> fmt::Debug for Swappable<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swappable").finish_non_exhaustive()
    }
}

/// A quota and its word.
struct Node<A> {
    schedule: Schedule<A>,
    word: ClosableWord,
    /// The time at which the quota was set.
    since: Nanos,
    /// The next node, set before the word is closed and until `Latest` points to that node.
    next: Next<Self>,
}

impl<A: Algorithm> Node<A> {
    #[inline]
    fn take_at_once<T>(
        &self,
        at: Nanos,
        n: u32,
        read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        self.word.take_at_once(&self.schedule, at, n, read)
    }

    fn new(schedule: Schedule<A>, since: Nanos, word: u64) -> Self {
        Self {
            schedule,
            word: ClosableWord::new(word),
            since,
            next: Next::none(),
        }
    }

    /// Converts this node's word for the `next` node and closes it. Returns the part of a debt that `next` cannot record.
    ///
    /// The volumes at both ends of this node's time are rounded down, so this node may have credited a part of a unit too much. The next one owes that
    /// part, so any number of changes adds less than one unit in all.
    ///
    /// *Invariant*: every decision is on exactly one node. The closing exchange fails if a decision came in between, and then the word is
    /// converted again.
    fn hand_over(&self, next: &Self) -> u64 {
        let (drained, next_drained) = (self.schedule.drained(next.since), next.schedule.drained(next.since));
        let part = self.schedule.credited_too_much(self.since, next.since);
        self.word.close(|word| {
            let algorithm = &self.schedule.algorithm;
            let (word, unrecorded) = algorithm.carry(word, drained, part, &next.schedule.algorithm, next_drained);
            next.word.set(word);
            unrecorded
        })
    }
}

/// The node whose quota is current, for all handles.
struct Latest<A> {
    node: Current<Node<A>>,
    /// Held while a thread changes the quota. Decisions never take it.
    changing: Mutex<()>,
}

impl<A: Algorithm> Latest<A> {
    fn new(node: Arc<Node<A>>) -> Self {
        Self {
            node: Current::new(node),
            changing: Mutex::new(()),
        }
    }

    /// Acts on the node whose word is open.
    ///
    /// Lock-free: a closed word has a next node until `Latest` is past it, so each further turn of the loop is another change of quota.
    fn on_open<T>(&self, act: impl Fn(&Node<A>) -> Result<T, Closed>) -> T {
        loop {
            let acted = self.node.with(|node| {
                act(node).or_else(|closed| match node.next.get() {
                    Some(next) => act(&next),
                    None => Err(closed),
                })
            });
            if let Ok(acted) = acted {
                return acted;
            }
        }
    }

    // Out of line, so that the case of an open word inlines.
    #[cold]
    #[inline(never)]
    fn take_at_once<T>(
        &self,
        at: Nanos,
        n: u32,
        read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        self.node.with(|node| node.take_at_once(at, n, read))
    }

    fn set(&self, quota: Quota, now: impl FnOnce() -> Nanos) -> Result<u64, InconsistentCapacity> {
        // A thread that panicked while it held the lock left a valid node.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.node.get();
        if current.schedule.quota == Some(quota) {
            return Ok(0);
        }
        let schedule = current.schedule.with_quota(quota)?;
        // Time that one quota has credited must not be credited again by the next quota.
        let next = Arc::new(Node::new(schedule, now().max(current.since), 0));
        current.next.set(Some(next.clone()));
        let unrecorded = current.hand_over(&next);
        self.node.set(next);
        // Otherwise a handle that is never used again would keep all later nodes.
        current.next.set(None);
        Ok(unrecorded)
    }
}

/// Shared pointers that change.
#[cfg(not(ratelimit_meter_loom))]
mod pointer {
    use arc_swap::{ArcSwap, ArcSwapOption};
    pub(super) use std::sync::{Arc, Mutex};

    /// A pointer that is read without a lock and without counting.
    pub(super) struct Current<T>(ArcSwap<T>);

    impl<T> Current<T> {
        pub(super) fn new(value: Arc<T>) -> Self {
            Self(ArcSwap::new(value))
        }

        /// Reads the value that the pointer points to. The value lives at least as long as the reading takes.
        #[inline]
        pub(super) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.0.load())
        }

        pub(super) fn get(&self) -> Arc<T> {
            self.0.load_full()
        }

        pub(super) fn set(&self, value: Arc<T>) {
            self.0.store(value);
        }
    }

    /// A pointer to the next node, set for a while.
    pub(super) struct Next<T>(ArcSwapOption<T>);

    impl<T> Next<T> {
        pub(super) fn none() -> Self {
            Self(ArcSwapOption::empty())
        }

        pub(super) fn get(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        pub(super) fn set(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }
    }
}

/// The same pointers as loom can model them.
#[cfg(ratelimit_meter_loom)]
mod model {
    use loom::sync::atomic::{AtomicBool, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
    use std::sync::PoisonError;

    pub(super) struct Current<T>(Mutex<Arc<T>>);

    impl<T> Current<T> {
        pub(super) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(super) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.get())
        }

        pub(super) fn get(&self) -> Arc<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        pub(super) fn set(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    /// A pointer that orders nothing: loom does not know its lock.
    pub(super) struct Next<T> {
        value: std::sync::Mutex<Option<Arc<T>>>,
        is_set: AtomicBool,
    }

    impl<T> Next<T> {
        pub(super) fn none() -> Self {
            Self {
                value: std::sync::Mutex::new(None),
                is_set: AtomicBool::new(false),
            }
        }

        pub(super) fn get(&self) -> Option<Arc<T>> {
            // ORDERING: relaxed, here and in `set`. They must form no edge, so that loom shows an edge that is missing elsewhere.
            let is_set = self.is_set.load(Ordering::Relaxed);
            let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            value.as_ref().filter(|_| is_set).cloned()
        }

        pub(super) fn set(&self, value: Option<Arc<T>>) {
            let is_set = value.is_some();
            let old = std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), value);
            self.is_set.store(is_set, Ordering::Relaxed);
            drop(old);
        }
    }
}
