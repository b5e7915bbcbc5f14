use crate::places::Sleeper;
use crate::runtime;
use std::task::Waker;

/// Who waits, and how it is woken.
#[derive(Clone, Copy)]
pub(crate) enum Waiter<'a> {
    /// A future, of the current runtime.
    Task(&'a Waker),
    /// A thread, which sleeps by itself.
    Thread(&'a Waker),
}

impl<'a> Waiter<'a> {
    pub(super) const fn waker(self) -> &'a Waker {
        match self {
            Self::Task(waker) | Self::Thread(waker) => waker,
        }
    }

    /// How it wakes when it is due.
    pub(super) fn sleeper(self) -> Sleeper {
        match self {
            Self::Task(_) => Sleeper::Task(runtime::current()),
            Self::Thread(_) => Sleeper::Thread(None),
        }
    }
}
