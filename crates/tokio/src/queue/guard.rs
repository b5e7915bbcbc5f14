//! The lock of a queue, and what others can see without it.

use super::{Locked, Queue};
use crate::source::Source;
use crate::sync::{MutexGuard, Ordering};
use core::ops::{Deref, DerefMut};

/// The lock. While it is held, or somebody waits, nobody takes cells without it.
pub(super) struct Guard<'a, S: Source> {
    queue: &'a Queue<S>,
    locked: MutexGuard<'a, Locked<S>>,
}

impl<S: Source> Queue<S> {
    pub(super) fn lock(&self) -> Guard<'_, S> {
        let (queue, locked) = (self, self.locked.lock());
        let mut guard = Guard { queue, locked };
        guard.begin();
        guard
    }
}

impl<S: Source> Guard<'_, S> {
    fn begin(&mut self) {
        let line = &mut self.locked.line;
        if line.waiting() == 0 {
            self.queue.source.close(&mut line.state);
        }
    }

    fn end(&self) {
        let line = &self.locked.line;
        // ORDERING: relaxed, see `Queue::waiting`.
        self.queue.waiting.store(line.waiting(), Ordering::Relaxed);
        if line.waiting() == 0 {
            self.queue.source.open(&line.state);
        }
    }

    /// Lets the lock go for as long as `f` runs.
    pub(super) fn unlocked<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.end();
        let result = MutexGuard::unlocked(&mut self.locked, f);
        self.begin();
        result
    }
}

impl<S: Source> Drop for Guard<'_, S> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<S: Source> Deref for Guard<'_, S> {
    type Target = Locked<S>;

    fn deref(&self) -> &Locked<S> {
        &self.locked
    }
}

impl<S: Source> DerefMut for Guard<'_, S> {
    fn deref_mut(&mut self) -> &mut Locked<S> {
        &mut self.locked
    }
}
