//! The order of work among the copies. A target stays with one copy, since its first build costs most. A copy without work takes from the target with
//! the most work left.

use crate::list::{Mutation, TestTarget};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct MutationQueue(Mutex<BTreeMap<TestTarget, Group>>);

/// The mutations that tests of one binary catch.
#[derive(Debug, Default)]
struct Group {
    left: VecDeque<Mutation>,
    /// The tests that are to be run without a mutation before any is applied.
    unproven: BTreeSet<String>,
    /// The number of copies that have built it.
    copies: usize,
}

#[derive(Debug)]
pub(crate) enum Job {
    /// These tests must pass as long as nothing is mutated.
    Unmutated {
        target: TestTarget,
        tests: BTreeSet<String>,
    },
    Mutated(Mutation),
}

impl MutationQueue {
    pub(crate) fn new(mutations: Vec<Mutation>) -> Self {
        let mut groups: BTreeMap<TestTarget, Group> = BTreeMap::new();
        for mutation in mutations {
            let group = groups.entry(mutation.target.clone()).or_default();
            group.unproven.insert(mutation.test.clone());
            group.left.push_back(mutation);
        }
        Self(Mutex::new(groups))
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<TestTarget, Group>> {
        self.0.lock().expect("no thread panics while it holds the lock")
    }

    /// Returns the next job of a copy whose last one was of target `last`.
    pub(crate) fn next(&self, last: Option<&TestTarget>) -> Option<Job> {
        let mut groups = self.groups();
        let is_last = |target: &TestTarget| last == Some(target);
        let (target, group) = groups
            .iter_mut()
            .filter(|(_, group)| !group.left.is_empty())
            .max_by_key(|(target, group)| (is_last(target), group.copies == 0, group.left.len()))?;
        if !is_last(target) {
            group.copies += 1;
        }
        if group.unproven.is_empty() {
            return group.left.pop_front().map(Job::Mutated);
        }
        Some(Job::Unmutated {
            target: target.clone(),
            tests: std::mem::take(&mut group.unproven),
        })
    }

    /// Removes and returns the mutations that this test would have to catch.
    pub(crate) fn remove(&self, target: &TestTarget, test: &str) -> Vec<Mutation> {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(target) else {
            return Vec::new();
        };
        let (removed, left) = group.left.drain(..).partition(|mutation| mutation.test == test);
        group.left = left;
        Vec::from(removed)
    }
}
