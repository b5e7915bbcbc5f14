//! The futures that wait.

use crate::places::Ticket;
use crate::queue::{Outlook, Queue, Waiter};
use crate::source::Source;
use core::fmt;
use core::ops::Deref;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Waits for `n` cells of the queue that `Q` leads to.
pub(crate) struct Wait<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    queue: Q,
    n: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Not polled yet.
    Idle,
    /// In the queue; or served, and not told yet.
    Queued(Ticket),
    /// Over.
    Done,
}

impl<Q, S> Wait<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    pub(crate) const fn new(queue: Q, n: u32) -> Self {
        let stage = Stage::Idle;
        Self { queue, n, stage }
    }

    #[inline]
    pub(crate) fn poll<E>(
        &mut self,
        waker: &Waker,
        may_wait: impl FnOnce(&Outlook<'_, S>) -> Result<(), E>,
    ) -> Poll<Result<(), E>>
    where
        S::Never: Into<E>,
    {
        let waiter = Waiter::Task(waker);
        match self.stage {
            Stage::Done => panic!("an acquire was polled after it was ready: call it again for more cells"),
            Stage::Idle => match self.queue.join(self.n, waiter, may_wait) {
                Ok(Some(ticket)) => {
                    self.stage = Stage::Queued(ticket);
                    return Poll::Pending;
                }
                Ok(None) => {}
                Err(refused) => {
                    self.stage = Stage::Done;
                    return Poll::Ready(Err(refused));
                }
            },
            Stage::Queued(ticket) => {
                if self.queue.poll(ticket, waiter).is_err() {
                    return Poll::Pending;
                }
                crate::trace!(cells = self.n, "is served");
            }
        }
        self.stage = Stage::Done;
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_outcome(&mut self, cx: &Context<'_>) -> Poll<S::Outcome> {
        self.poll::<S::Never>(cx.waker(), |_| Ok(())).map(S::outcome)
    }
}

/// A place that is given up goes to those behind it, and so do cells that were never told of.
impl<Q, S> Drop for Wait<Q, S>
where
    Q: Deref<Target = Queue<S>>,
    S: Source,
{
    fn drop(&mut self) {
        if let Stage::Queued(ticket) = self.stage {
            self.queue.leave(ticket, self.n);
        }
    }
}

/// The future of [`Waiting::acquire`](crate::Waiting::acquire).
///
/// It asks when it is first polled, and holds a place in the queue from then on. Dropping it gives the place back; forgetting it
/// costs the cells that it waits for, and holds up nobody.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a, S: Source>(pub(crate) Wait<&'a Queue<S>, S>);

/// The future of [`Waiting::acquire_owned`](crate::Waiting::acquire_owned), as [`Acquire`], but it keeps the limiter.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireOwned<S: Source>(pub(crate) Wait<Arc<Queue<S>>, S>);

impl<S: Source> Unpin for Acquire<'_, S> {}
impl<S: Source> Unpin for AcquireOwned<S> {}

impl<S: Source> Future for Acquire<'_, S> {
    type Output = S::Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Outcome> {
        self.0.poll_outcome(cx)
    }
}

impl<S: Source> Future for AcquireOwned<S> {
    type Output = S::Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Outcome> {
        self.0.poll_outcome(cx)
    }
}

impl<S: Source> fmt::Debug for Acquire<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("cells", &self.0.n)
            .field("stage", &self.0.stage)
            .finish_non_exhaustive()
    }
}

impl<S: Source> fmt::Debug for AcquireOwned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOwned")
            .field("cells", &self.0.n)
            .field("stage", &self.0.stage)
            .finish_non_exhaustive()
    }
}
