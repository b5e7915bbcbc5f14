//! The chain of limits that an adjustable meter had, each with its word, which is closed when the next takes its place.

use super::pointer::{Arc, Once};
use crate::algorithms::Algorithm;
use crate::cell::{Closed, Line};
use crate::metered::Refusal;
use crate::nanos::Nanos;
use crate::rule::{Rule, Stepped};

/// A limit, its word, and what came after them.
pub(super) struct Node<A> {
    pub(super) rule: Rule<A>,
    /// When the limit was set.
    since: Nanos,
    word: Line,
    next: Once<Arc<Self>>,
}

impl<A: Algorithm> Node<A> {
    pub(super) fn new(rule: Rule<A>, since: Nanos, word: u64) -> Self {
        Self {
            rule,
            since,
            word: Line::new(word),
            next: Once::new(),
        }
    }

    /// Reads the word of the limit that holds, once.
    #[inline]
    pub(super) fn read<T>(&self, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        let (node, word) = self.on_open(|node| node.word.load().map(|word| (node, word)));
        read(&node.rule, word)
    }

    /// Takes a step on the word of the limit that holds.
    #[inline]
    pub(super) fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
        self.on_open(|node| {
            let now = node.rule.volume(at);
            node.word.update(|word| step(&node.rule, word, now))
        })
    }

    /// Acts on the first node from here whose word is open. There is one step to take for each change since this one was current.
    #[inline]
    fn on_open<'a, T>(&'a self, act: impl Fn(&'a Self) -> Result<T, Closed>) -> T {
        let mut node = self;
        loop {
            match act(node) {
                Ok(acted) => return acted,
                Err(Closed) => node = node.successor(),
            }
        }
    }

    #[cold]
    fn successor(&self) -> &Self {
        let next = self.next.get();
        next.expect("a word is closed after its successor was published, and `Closed` tells that both are visible")
    }

    /// Gives this node a successor with the limit `rule`, in which what is available of this one at `at` stays available, and closes
    /// this one. Returns it, and what of a debt it cannot record.
    ///
    /// Only one thread may do this, and once. The closing is the instant of the change: what was decided on this word before is in
    /// the word that it is made of, and what comes later finds the successor.
    pub(super) fn succeed(&self, rule: Rule<A>, at: Nanos) -> (Arc<Self>, u64) {
        // Time that was credited by one limit must not be credited by another once more.
        let at = at.max(self.since);
        let next = self.next.fill(Arc::new(Self::new(rule, at, 0)));
        let (now, next_now) = (self.rule.volume(at), next.rule.volume(at));
        let unrecorded = self.word.close(|word| {
            let algorithm = &self.rule.algorithm;
            let (word, unrecorded) = algorithm.carry(word, now, &next.rule.algorithm, next_now);
            next.word.set(word);
            unrecorded
        });
        (next.clone(), unrecorded)
    }
}

/// One after the other: a thread that held on to an old node may drop a chain of any length.
impl<A> Drop for Node<A> {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(node) = next {
            next = Arc::try_unwrap(node).ok().and_then(|mut node| node.next.take());
        }
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;
    use crate::algorithms::{Decide, VirtualScheduling};
    use crate::quota::Quota;
    use core::num::NonZeroU32;
    use std::time::Instant;

    fn rule(cells: u32) -> Rule<VirtualScheduling> {
        let quota = Quota::per_second(NonZeroU32::new(cells).unwrap());
        Rule::made_at(
            Instant::now(),
            VirtualScheduling::from_quota(quota).unwrap(),
            Some(quota),
        )
    }

    #[test]
    fn who_slept_through_many_changes_goes_on_and_may_drop_what_he_held() {
        let first = Arc::new(Node::new(rule(2), Nanos::BEGINNING, 0));
        let last = (0..200_000).fold(first.clone(), |node, turn| {
            node.succeed(rule(3 + turn % 2), Nanos::BEGINNING).0
        });
        let admitted = (0..5).filter(|_| {
            first
                .step(Nanos::BEGINNING, |rule, word, now| rule.decide(word, now, 1))
                .is_ok()
        });
        assert_eq!(admitted.count(), 2);
        let status = last.read(|rule, word| rule.status(word, Nanos::BEGINNING));
        assert_eq!(status.remaining(), 0, "it was the last one's word");
        drop(last);
        // By recursion this would take more than the stack.
        drop(first);
    }
}
