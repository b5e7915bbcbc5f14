//! The limits that an adjustable meter has had, each with a word of its own, which is closed when the next limit takes its place.

use super::pointer::{Arc, Current, Mutex, Next};
use crate::algorithms::Algorithm;
use crate::cell::{Closed, Line};
use crate::error::InconsistentCapacity;
use crate::nanos::Nanos;
use crate::quota::Quota;
use crate::rule::Rule;
use std::sync::PoisonError;

/// A limit and its word.
pub(super) struct Node<A> {
    pub(super) rule: Rule<A>,
    pub(super) word: Line,
    /// When the limit was set.
    since: Nanos,
    /// The next limit, from before the word is closed until `Latest` points there.
    next: Next<Self>,
}

impl<A: Algorithm> Node<A> {
    pub(super) fn new(rule: Rule<A>, since: Nanos, word: u64) -> Self {
        Self {
            rule,
            word: Line::new(word),
            since,
            next: Next::none(),
        }
    }

    /// Hands this limit's word over to the `next` and closes it; returns what of a debt the next one cannot record.
    ///
    /// The closing is the instant of the change: what was decided on this word before is in what was handed over, and what comes later
    /// finds the next.
    fn hand_over(&self, next: &Self) -> u64 {
        let (now, next_now) = (self.rule.volume(next.since), next.rule.volume(next.since));
        self.word.close(|word| {
            let algorithm = &self.rule.algorithm;
            let (word, unrecorded) = algorithm.carry(word, now, &next.rule.algorithm, next_now);
            next.word.set(word);
            unrecorded
        })
    }
}

/// The limit that holds, for all handles.
pub(super) struct Latest<A> {
    node: Current<Node<A>>,
    /// Held by who changes the limit; no decision asks for it.
    changing: Mutex<()>,
}

impl<A: Algorithm> Latest<A> {
    pub(super) fn new(node: Arc<Node<A>>) -> Self {
        Self {
            node: Current::new(node),
            changing: Mutex::new(()),
        }
    }

    pub(super) fn get(&self) -> Arc<Node<A>> {
        self.node.get()
    }

    /// Acts on the limit whose word is open.
    ///
    /// Lock-free: a closed word has a next one until the pointer is past it, so that each further turn is another change of quota.
    pub(super) fn on_open<T>(&self, act: impl Fn(&Node<A>) -> Result<T, Closed>) -> T {
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

    /// Sets the quota as of the time that `now` tells, and returns what of a debt cannot be recorded.
    pub(super) fn set(&self, quota: Quota, now: impl FnOnce() -> Nanos) -> Result<u64, InconsistentCapacity> {
        // A panic while it was held would have left a limit that holds all the same.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.get();
        if current.rule.quota == Some(quota) {
            return Ok(0);
        }
        let rule = current.rule.with_quota(quota)?;
        // Time that was credited by one limit must not be credited by another once more.
        let next = Arc::new(Node::new(rule, now().max(current.since), 0));
        current.next.set(Some(next.clone()));
        let unrecorded = current.hand_over(&next);
        self.node.set(next);
        // Lest a handle that is never used again keeps all that come after it.
        current.next.set(None);
        Ok(unrecorded)
    }
}
