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
    word: Line,
    next: Once<Arc<Self>>,
}

impl<A: Algorithm> Node<A> {
    pub(super) fn new(rule: Rule<A>, word: u64) -> Self {
        Self {
            rule,
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
        let next = self.next.fill(Arc::new(Self::new(rule, 0)));
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
