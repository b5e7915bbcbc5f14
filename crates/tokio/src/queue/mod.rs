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
use crate::places::{Sleeper, Ticket};
use crate::runtime::{Timer, try_current};
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

    /// Lets the lock go. If nothing wakes the head at its due instant or before, sets the timer of this thread's runtime if that is the
    /// head's, and else wakes the head, which then sets its own.
    ///
    /// Every verb ends here: the head may be another, or due earlier, after any of them.
    fn release(&self, mut locked: Guard<'_, S>) {
        let Locked { line, alarms } = &mut *locked;
        let Some((head, due, last)) = line.head_mut(&self.source) else {
            return;
        };
        let is_called = head.called
            || match head.sleeper {
                Sleeper::Task(runtime) => alarms.rings_by(runtime, due),
                Sleeper::Thread(until) => until.is_none_or(|until| until <= last),
            };
        if is_called {
            return;
        }
        match head.sleeper {
            Sleeper::Task(runtime) if alarms.has(runtime) && try_current() == Some(runtime) => {
                self.set_alarm(locked, runtime);
            }
            Sleeper::Task(_) | Sleeper::Thread(_) => {
                head.called = true;
                let waker = head.waker.clone();
                drop(locked);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Takes cells now, or tells from when on they could be had.
    pub(crate) fn take(&self, n: u32) -> Result<(), AcquireError> {
        if self.take_unlocked(n) {
            return Ok(());
        }
        self.look(|line, source, now| {
            source.at_once(n, now)?;
            line.take(source, n, self.fair, now).map_err(|due| {
                let earliest = if self.fair { line.plan(source, n, due) } else { due };
                AcquireError::NotYet(NotYet::new(n, earliest))
            })
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
        let joined = self.join_line(&mut locked, n, now, waiter, may_wait);
        match joined {
            Ok(Some((ticket, sleeper))) => {
                self.see_to(locked, sleeper);
                crate::trace!(cells = n, "waits");
                Ok(Some(ticket))
            }
            Ok(None) => {
                self.release(locked);
                Ok(None)
            }
            Err(refused) => {
                self.release(locked);
                Err(refused)
            }
        }
    }

    fn join_line<E>(
        &self,
        locked: &mut Locked<S>,
        n: u32,
        now: Instant,
        waiter: Waiter<'_>,
        may_wait: impl FnOnce(&Outlook<'_, S>) -> Result<(), E>,
    ) -> Result<Option<(Ticket, Sleeper)>, E>
    where
        S::Never: Into<E>,
    {
        let Locked { line, alarms } = locked;
        let source = &self.source;
        source.queueable(n, now).map_err(Into::into)?;
        let Err(due) = line.take(source, n, self.fair, now) else {
            return Ok(None);
        };
        may_wait(&Outlook { line, source, n, due })?;
        let sleeper = waiter.sleeper();
        if let Sleeper::Task(runtime) = sleeper {
            alarms.ensure(runtime, || Timer::new(self.bell(runtime)));
        }
        let ticket = line.join(source, n, now, sleeper, waiter.waker());
        Ok(Some((ticket, sleeper)))
    }

    /// Lets the lock go, after one who sleeps so has joined or looked.
    fn see_to(&self, locked: Guard<'_, S>, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Task(runtime) => self.set_alarm(locked, runtime),
            Sleeper::Thread(_) => self.release(locked),
        }
    }

    /// Whether the place has been served; if not, its waker is renewed, and it is told until when to sleep if it is a thread.
    pub(crate) fn poll(&self, ticket: Ticket, waiter: Waiter<'_>) -> Result<(), Option<Instant>> {
        // Dropping a waker may run anything, so that comes after the lock is let go, here and below.
        let _replaced;
        let mut locked = self.lock();
        if !locked.line.is_waiting(ticket) {
            return Ok(());
        }
        let sleeper = waiter.sleeper();
        _replaced = locked.line.renew(ticket, sleeper, waiter.waker());
        let mut locked = self.served(locked, now());
        if !locked.line.is_waiting(ticket) {
            self.release(locked);
            return Ok(());
        }
        let mut until = None;
        match sleeper {
            Sleeper::Task(runtime) => locked.alarms.ensure(runtime, || Timer::new(self.bell(runtime))),
            Sleeper::Thread(_) => {
                until = locked.line.due_of(&self.source, ticket);
                locked.line.sleep_until(ticket, until);
            }
        }
        self.see_to(locked, sleeper);
        Err(until)
    }

    /// Gives back the place of one who asked for `n` cells, or the cells.
    pub(crate) fn leave(&self, ticket: Ticket, n: u32) {
        crate::trace!(cells = n, "gives up");
        self.change(|line, source, now| line.leave(source, ticket, n, now));
    }

    /// Gives back cells that were had and not used.
    pub(crate) fn give_back(&self, n: u32) {
        self.change(|line, source, now| line.give_back(source, n, now));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Line<S>, &S, Instant) -> T) {
        let now = now();
        let mut locked = self.lock();
        let gone = change(&mut locked.line, &self.source, now);
        self.release(self.served(locked, now));
        drop(gone);
    }

    /// Looks at the line, and serves nobody.
    #[cfg(all(test, not(ratelimit_meter_loom)))]
    pub(crate) fn with_line<T>(&self, look: impl FnOnce(&mut Line<S>) -> T) -> T {
        look(&mut self.lock().line)
    }

    /// Asks the state about now, when everybody due has been served.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Line<S>, &S, Instant) -> T) -> T {
        let now = now();
        let mut locked = self.served(self.lock(), now);
        let seen = look(&mut locked.line, &self.source, now);
        self.release(locked);
        seen
    }

    /// When one who came now would have had `n` cells.
    pub(crate) fn earliest(&self, n: u32) -> Instant {
        self.look(|line, source, now| line.plan(source, n, source.due(&line.state, n, now)))
    }
}
