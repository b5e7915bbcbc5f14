//! Cells that are had and not used yet.

use crate::queue::Queue;
use crate::source::Source;
use core::ops::Deref;

/// Cells that go back when it is dropped before they are used.
pub(crate) struct Held<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    queue: Q,
    n: u32,
}

impl<Q, S> Held<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    pub(crate) const fn new(queue: Q, n: u32) -> Self {
        Self { queue, n }
    }

    /// Uses the cells.
    pub(crate) fn use_up(mut self) {
        self.n = 0;
    }
}

impl<Q, S> Drop for Held<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    fn drop(&mut self) {
        if self.n > 0 {
            self.queue.give_back(self.n);
        }
    }
}
