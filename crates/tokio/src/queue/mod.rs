//! The queue: a line of places under a lock, and what wakes those who wait.
//!
//! Nothing but the line is touched under the lock: wakers are called, and timers set, after it is let go.

mod bell;
mod guard;
mod waiter;

pub(crate) use waiter::Waiter;

use crate::alarm::Alarms;
use crate::clock::{now, now_or_just_before};
use crate::error::{AcquireError, NotYet};
use crate::line::Line;
use crate::places::Ticket;
use crate::runtime::Timer;
use crate::source::Source;
use crate::sync::{AtomicUsize, Mutex, Ordering};
use guard::Guard;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

pub(crate) struct Queue<S: Source> {
    pub(crate) source: S,
    pub(crate) fair: bool,
    /// How many wait, to be read without the lock.
    waiting: AtomicUsize,
    locked: Mutex<Locked<S>>,
    me: Weak<Self>,
}

struct Locked<S: Source> {
    line: Line<S>,
    alarms: Alarms,
}

/// What one who has to wait may ask beforehand.
pub(crate) struct Outlook<'a, S: Source> {
    line: &'a Line<S>,
    source: &'a S,
    n: u32,
    due: Instant,
}

impl<S: Source> Outlook<'_, S> {
    /// When the cells will have been had, as the queue stands.
    pub(crate) fn earliest(&self) -> Instant {
        self.line.plan(self.source, self.n, self.due)
    }

    /// How many wait already.
    pub(crate) const fn waiting(&self) -> usize {
        self.line.waiting()
    }
}

impl<S: Source> Queue<S> {
    pub(crate) fn new(source: S, fair: bool) -> Arc<Self> {
        let line = Line::new(&source);
        let alarms = Alarms::new();
        Arc::new_cyclic(|me| Self {
            source,
            fair,
            waiting: AtomicUsize::new(0),
            locked: Mutex::new(Locked { line, alarms }),
            me: me.clone(),
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        // ORDERING: relaxed, here and where it is stored; who knows of a waiter by other means reads what that one stored, and for
        // who does not, the two came at the same time.
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes cells without the lock, if nobody waits and the source can.
    #[inline]
    fn take_unlocked(&self, n: u32) -> bool {
        n == 0 || self.waiting() == 0 && self.source.take_unlocked(n)
    }

    /// Serves whoever is due, wakes them, and returns with the lock.
    fn served<'a>(&self, mut locked: Guard<'a, S>, now: Instant) -> Guard<'a, S> {
        let mut woken = Vec::new();
        loop {
            let more = locked.line.serve(&self.source, now, &mut woken);
            if woken.is_empty() {
                return locked;
            }
            locked.unlocked(|| woken.drain(..).for_each(Waker::wake));
            if !more {
                return locked;
            }
        }
    }

    /// Takes cells now, or tells from when on they could be had.
    pub(crate) fn take(&self, n: u32) -> Result<(), AcquireError> {
        if self.take_unlocked(n) {
            return Ok(());
        }
        let now = now();
        let locked = &mut *self.served(self.lock(), now);
        self.source.at_once(n, now)?;
        let taken = locked.line.take(&self.source, n, self.fair, now);
        taken.map_err(|due| {
            let earliest = if self.fair {
                locked.line.plan(&self.source, n, due)
            } else {
                due
            };
            AcquireError::NotYet(NotYet::new(n, earliest))
        })
    }

    /// Takes cells now, or a place in the queue. `may_wait` may refuse that, and the source if there can never be so many.
    #[inline]
    pub(crate) fn join<E>(
        &self,
        n: u32,
        waiter: Waiter<'_>,
        may_wait: impl FnOnce(&Outlook<'_, S>) -> Result<(), E>,
    ) -> Result<Option<Ticket>, E>
    where
        S::Never: Into<E>,
    {
        if self.take_unlocked(n) {
            return Ok(None);
        }
        self.join_locked(n, waiter, may_wait)
    }

    fn join_locked<E>(
        &self,
        n: u32,
        waiter: Waiter<'_>,
        may_wait: impl FnOnce(&Outlook<'_, S>) -> Result<(), E>,
    ) -> Result<Option<Ticket>, E>
    where
        S::Never: Into<E>,
    {
        let now = now_or_just_before();
        let mut locked = self.served(self.lock(), now);
        self.source.queueable(n, now).map_err(Into::into)?;
        let Err(due) = locked.line.take(&self.source, n, self.fair, now) else {
            return Ok(None);
        };
        let (line, source) = (&locked.line, &self.source);
        may_wait(&Outlook { line, source, n, due })?;
        let runtime = waiter.runtime();
        if let Some(runtime) = runtime {
            locked.alarms.ensure(runtime, || Timer::new(self.bell(runtime)));
        }
        let ticket = locked
            .line
            .join(&self.source, n, now, runtime.is_none(), waiter.waker());
        match runtime {
            Some(runtime) => self.set_alarm(locked, runtime),
            None => drop(locked),
        }
        crate::trace!(cells = n, "waits");
        Ok(Some(ticket))
    }

    /// Whether the place has been served; if not, its waker is renewed, and it is told until when to sleep if it is a thread.
    pub(crate) fn poll(&self, ticket: Ticket, waiter: Waiter<'_>) -> Result<(), Option<Instant>> {
        // Dropping a waker may run anything, so that comes after the lock is let go, here and below.
        let _replaced;
        let mut locked = self.lock();
        if !locked.line.is_waiting(ticket) {
            return Ok(());
        }
        _replaced = locked.line.renew(ticket, waiter.waker());
        let mut locked = self.served(locked, now());
        if !locked.line.is_waiting(ticket) {
            return Ok(());
        }
        let Some(runtime) = waiter.runtime() else {
            return Err(locked.line.due_of(&self.source, ticket));
        };
        locked.alarms.ensure(runtime, || Timer::new(self.bell(runtime)));
        self.set_alarm(locked, runtime);
        Err(None)
    }

    /// Gives back the place of one who asked for `n` cells, or the cells.
    pub(crate) fn leave(&self, ticket: Ticket, n: u32) {
        crate::trace!(cells = n, "gives up");
        self.change(|line, source, now, woken| line.leave(source, ticket, n, now, woken));
    }

    /// Gives back cells that were had and not used.
    pub(crate) fn give_back(&self, n: u32) {
        self.change(|line, source, now, woken| line.give_back(source, n, now, woken));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Line<S>, &S, Instant, &mut Vec<Waker>) -> T) {
        let now = now();
        let mut woken = Vec::new();
        let mut locked = self.lock();
        let gone = change(&mut locked.line, &self.source, now, &mut woken);
        drop(self.served(locked, now));
        drop(gone);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Asks the state about now, when everybody due has been served.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Line<S>, &S, Instant) -> T) -> T {
        let now = now();
        let mut locked = self.served(self.lock(), now);
        look(&mut locked.line, &self.source, now)
    }

    /// When one who came now would have had `n` cells.
    pub(crate) fn earliest(&self, n: u32) -> Instant {
        self.look(|line, source, now| line.plan(source, n, source.due(&line.state, n, now)))
    }
}
