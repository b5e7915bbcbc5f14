//! The wait queue behind its lock, and the wake-ups of its waiters.
//!
//! Only the queue is touched under the lock. Wakers are called, and timers are set, after the lock is released.

use crate::clock::Shift;
use crate::error::AcquireError;
use crate::source::Source;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::timers::{Id, Set, Timer, Timers, current, try_current};
use crate::wait_queue::{QueueTicket, Sleeper, WaitQueue, WaiterState};
use core::ops::{Deref, DerefMut};
use core::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

pub(crate) struct SharedQueue<S: Source> {
    pub(crate) source: S,
    pub(crate) fair: bool,
    /// The shift to the source's time, which the queue uses. Only instants that leave this file are tokio's.
    pub(crate) shift: Shift,
    /// The number of waiters, readable without the lock.
    waiting: AtomicUsize,
    locked: Mutex<Locked<S>>,
    me: Weak<Self>,
}

/// A panic of the user's code leaves the queue valid: under the lock, a meter decides at given times, and no clock, closure or waker is called.
impl<S: Source> RefUnwindSafe for SharedQueue<S> {}

struct Locked<S: Source> {
    queue: WaitQueue<S>,
    timers: Timers,
}

/// The caller of an acquire, and the way to wake it.
#[derive(Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// A future of the current runtime.
    Task(&'a Waker),
    /// A thread, which sleeps by itself.
    Thread(&'a Waker),
}

impl<'a> Caller<'a> {
    const fn waker(self) -> &'a Waker {
        match self {
            Self::Task(waker) | Self::Thread(waker) => waker,
        }
    }

    /// Returns how the caller wakes when it is due.
    fn sleeper(self) -> Sleeper {
        match self {
            Self::Task(_) => Sleeper::Task(current()),
            Self::Thread(_) => Sleeper::Thread(None),
        }
    }
}

/// The result of a waiter's look at the queue.
pub(crate) enum Look<N> {
    Served,
    /// The waiter's cells will never come.
    Over(N),
    /// The waiter waits on; a thread waits until this instant.
    Waits(Option<Instant>),
}

/// The questions that a caller may ask before it waits.
pub(crate) struct Outlook<'a, S: Source> {
    queue: &'a mut WaitQueue<S>,
    source: &'a S,
    n: u64,
    due: Instant,
    now: Instant,
    shift: Shift,
}

impl<S: Source> Outlook<'_, S> {
    /// Returns the instant at which the cells will have come, with the queue as it is; `None` if they never come.
    pub(crate) fn earliest(&mut self) -> Option<Instant> {
        let earliest = self.queue.earliest(self.source, self.n, self.due, self.now);
        earliest.map(|earliest| self.shift.to_tokio(earliest))
    }

    /// Returns the number of waiters.
    pub(crate) const fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

impl<S: Source> SharedQueue<S> {
    pub(crate) fn new(source: S, fair: bool, catch_up: Duration, shift: Shift) -> Arc<Self> {
        let queue = WaitQueue::new(&source, catch_up, shift.now());
        let timers = Timers::new();
        Arc::new_cyclic(|me| Self {
            source,
            fair,
            shift,
            waiting: AtomicUsize::new(0),
            locked: Mutex::new(Locked { queue, timers }),
            me: me.clone(),
        })
    }

    pub(crate) fn waiting(&self) -> usize {
        // ORDERING: relaxed, here and where it is stored. If a thread knows of a waiter by other means, it reads the waiter's store. If it does not,
        // the thread and the waiter came at the same time.
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes cells without the lock, if no caller waits and the source allows it.
    #[inline]
    fn take_unlocked(&self, n: u64) -> bool {
        n == 0 || self.waiting() == 0 && self.source.take_unlocked(n, self.shift)
    }

    /// Serves the waiters that are due, wakes them, and returns the lock.
    fn served<'a>(&self, mut locked: Guard<'a, S>, now: Instant) -> Guard<'a, S> {
        let mut woken = Vec::new();
        loop {
            let more = locked.queue.serve(&self.source, now, &mut woken);
            if woken.is_empty() {
                return locked;
            }
            locked.unlocked(|| woken.drain(..).for_each(Waker::wake));
            if !more {
                return locked;
            }
        }
    }

    /// Releases the lock, after making sure that the head will wake when it is due or before. If nothing would wake the head, sets the timer of this
    /// thread's runtime if that is the head's runtime. Otherwise wakes the head, which then sets its own timer.
    ///
    /// Every operation ends here, because after any of them the head may be another waiter, or due earlier.
    fn release(&self, mut locked: Guard<'_, S>) {
        if locked.queue.head_never_comes() {
            locked = self.served(locked, self.shift.now());
        }
        let Locked { queue, timers } = &mut *locked;
        let serve_at = queue.serve_at();
        let (Some(head), Some(serve_at)) = (queue.head_mut(), serve_at) else {
            return;
        };
        let wakes = match head.sleeper {
            Sleeper::Task(runtime) => timers.rings_by(runtime, serve_at),
            Sleeper::Thread(until) => until.is_none_or(|until| until <= serve_at),
        };
        if wakes {
            return;
        }
        match head.sleeper {
            Sleeper::Task(runtime) if timers.has(runtime) && try_current() == Some(runtime) => {
                self.set_timer(locked, runtime);
            }
            _ if head.called => {}
            Sleeper::Task(_) | Sleeper::Thread(_) => {
                head.called = true;
                let waker = head.waker.clone();
                drop(locked);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Takes cells now, or returns the instant from which they could be taken.
    pub(crate) fn take(&self, n: u64) -> Result<(), AcquireError> {
        if self.take_unlocked(n) {
            return Ok(());
        }
        self.look(|queue, source, now| {
            source.at_once(n, now)?;
            let Err(due) = queue.take(source, n, self.fair, now) else {
                return Ok(());
            };
            let earliest = if self.fair {
                queue.earliest(source, n, due, now)
            } else {
                Some(due)
            };
            Err(self.not_before(n, earliest.filter(|due| source.reaches(n, *due))))
        })
    }

    /// Takes as many of `n` cells as are there.
    pub(crate) fn take_up_to(&self, n: u64) -> u64 {
        if self.take_unlocked(n) {
            return n;
        }
        self.look(|queue, source, now| queue.take_up_to(source, n, self.fair, now))
    }

    /// Takes cells now, or a place in the queue. `may_wait` may deny the place; so does the source, if the cells never come.
    #[inline]
    pub(crate) fn join<E>(
        &self,
        n: u64,
        caller: Caller<'_>,
        may_wait: impl FnOnce(&mut Outlook<'_, S>) -> Result<(), E>,
    ) -> Result<Option<QueueTicket>, E>
    where
        S::Never: Into<E>,
    {
        if self.take_unlocked(n) {
            return Ok(None);
        }
        let now = self.shift.now_or_just_before();
        let mut locked = self.served(self.lock(), now);
        let joined = self.join_locked(&mut locked, n, now, caller, may_wait);
        let Ok(Some((ticket, sleeper))) = joined else {
            self.release(locked);
            return joined.map(|_| None);
        };
        self.release_for(locked, sleeper);
        crate::trace!(cells = n, "waits");
        Ok(Some(ticket))
    }

    fn join_locked<E>(
        &self,
        Locked { queue, timers }: &mut Locked<S>,
        n: u64,
        now: Instant,
        caller: Caller<'_>,
        may_wait: impl FnOnce(&mut Outlook<'_, S>) -> Result<(), E>,
    ) -> Result<Option<(QueueTicket, Sleeper)>, E>
    where
        S::Never: Into<E>,
    {
        let source = &self.source;
        source.queueable(n, now).map_err(Into::into)?;
        let Err(due) = queue.take(source, n, self.fair, now) else {
            return Ok(None);
        };
        if queue.waiting() == 0 && !source.reaches(n, due) {
            source.over(n, now).map_err(Into::into)?;
        }
        let shift = self.shift;
        may_wait(&mut Outlook {
            queue,
            source,
            n,
            due,
            now,
            shift,
        })?;
        let sleeper = caller.sleeper();
        if let Sleeper::Task(runtime) = sleeper {
            timers.ensure(runtime, || Timer::new(self.bell(runtime)));
        }
        let ticket = queue.join(n, due, now, sleeper, caller.waker());
        Ok(Some((ticket, sleeper)))
    }

    /// Releases the lock, after a waiter with this sleeper has joined or looked.
    fn release_for(&self, locked: Guard<'_, S>, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Task(runtime) => self.set_timer(locked, runtime),
            Sleeper::Thread(_) => self.release(locked),
        }
    }

    /// Returns whether the place has been served. If not, renews the waiter's waker.
    pub(crate) fn poll(&self, ticket: QueueTicket, n: u64, caller: Caller<'_>) -> Look<S::Never> {
        // Dropping a waker may run any code, so it happens after the lock is released, here and below.
        let _replaced;
        let mut locked = self.lock();
        match locked.queue.state(ticket) {
            WaiterState::Waits => {}
            WaiterState::Served => return Look::Served,
            WaiterState::Denied => return self.denied(locked, ticket, n),
        }
        let sleeper = caller.sleeper();
        _replaced = locked.queue.renew(ticket, sleeper, caller.waker());
        let mut locked = self.served(locked, self.shift.now());
        match locked.queue.state(ticket) {
            WaiterState::Waits => {}
            WaiterState::Served => {
                self.release(locked);
                return Look::Served;
            }
            WaiterState::Denied => return self.denied(locked, ticket, n),
        }
        let mut until = None;
        match sleeper {
            Sleeper::Task(runtime) => locked.timers.ensure(runtime, || Timer::new(self.bell(runtime))),
            Sleeper::Thread(_) => until = locked.queue.sleep(&self.source, ticket),
        }
        self.release_for(locked, sleeper);
        Look::Waits(until.map(|until| self.shift.to_tokio(until)))
    }

    /// Forgets a denied waiter for `n` cells, and returns the denial.
    fn denied(&self, mut locked: Guard<'_, S>, ticket: QueueTicket, n: u64) -> Look<S::Never> {
        locked.queue.forget(ticket);
        self.release(locked);
        match self.source.over(n, self.shift.now()) {
            Err(never) => Look::Over(never),
            // A source that denies no cells has no denied waiter.
            Ok(()) => Look::Served,
        }
    }

    /// Gives back the place of a waiter for `n` cells, or the cells.
    pub(crate) fn leave(&self, ticket: QueueTicket, n: u64) {
        crate::trace!(cells = n, "gives up");
        let now = self.shift.now();
        let mut locked = self.lock();
        if locked.queue.state(ticket) == WaiterState::Served {
            locked = self.served(locked, now);
        }
        self.change(locked, now, |queue, source| queue.leave(source, ticket, n, now));
    }

    /// Gives back cells that were taken and not used. Waiters that are due are served before: a meter takes back at most its debt, which includes
    /// their cells.
    pub(crate) fn give_back(&self, n: u64) {
        let now = self.shift.now();
        let locked = self.served(self.lock(), now);
        self.change(locked, now, |queue, source| queue.give_back(source, n, now));
    }

    /// Changes the source between two serves: waiters that were due before the change get their cells from the unchanged source.
    pub(crate) fn change_source<T>(&self, change: impl FnOnce(&S) -> T) -> T {
        self.look(|_, _, _| ());
        let changed = change(&self.source);
        self.refresh();
        changed
    }

    /// Serves the waiters that are due after a change of the source, and makes sure that the head wakes.
    pub(crate) fn refresh(&self) {
        let now = self.shift.now();
        self.change(self.lock(), now, |queue, source| queue.refresh(source, now));
    }

    pub(crate) fn set_catch_up(&self, bound: Duration) {
        let now = self.shift.now();
        self.change(self.lock(), now, |queue, _| queue.catch_up = bound);
    }

    fn change<T>(&self, mut locked: Guard<'_, S>, now: Instant, change: impl FnOnce(&mut WaitQueue<S>, &S) -> T) {
        let gone = change(&mut locked.queue, &self.source);
        self.release(self.served(locked, now));
        drop(gone);
    }

    /// Runs `look` on the queue as it is, and serves no waiter.
    #[cfg(all(test, not(ratelimit_meter_loom)))]
    pub(crate) fn with_queue<T>(&self, look: impl FnOnce(&mut WaitQueue<S>) -> T) -> T {
        look(&mut self.lock().queue)
    }

    /// Runs `look` on the queue after all waiters that are due have been served.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut WaitQueue<S>, &S, Instant) -> T) -> T {
        let now = self.shift.now();
        let mut locked = self.served(self.lock(), now);
        let seen = look(&mut locked.queue, &self.source, now);
        self.release(locked);
        seen
    }

    /// Returns the denial of `n` cells to a caller that waited for them until now.
    pub(crate) fn not_yet(&self, n: u64) -> AcquireError {
        self.look(|queue, source, now| {
            if let Err(never) = source.queueable(n, now) {
                return never.into();
            }
            let due = source.due(&queue.state, n, now);
            self.not_before(n, due.and_then(|due| queue.earliest(source, n, due, now)))
        })
    }

    /// Returns the denial of `n` cells that come at `earliest`, or never.
    fn not_before(&self, n: u64, earliest: Option<Instant>) -> AcquireError {
        AcquireError::not_before(n, earliest.map(|earliest| self.shift.to_tokio(earliest)))
    }

    /// Returns the waker that a timer of the runtime calls.
    fn bell(&self, runtime: Id) -> Waker {
        let queue = self.me.clone();
        Arc::new(Bell { queue, runtime }).into()
    }

    /// Serves the waiters that are due, because the runtime's timer went off, and sets the timer again.
    fn ring(&self, runtime: Id) {
        let mut locked = self.lock();
        let is_set_again = locked.timers.rang(runtime);
        let locked = self.served(locked, self.shift.now());
        if is_set_again {
            self.set_timer(locked, runtime);
        } else {
            self.release(locked);
        }
    }

    /// Sets the runtime's timer for the head. Only threads of that runtime may call it.
    fn set_timer<'a>(&'a self, mut locked: Guard<'a, S>, runtime: Id) {
        loop {
            let Some(due) = locked.queue.serve_at() else {
                let idle = locked.timers.remove(runtime);
                self.release(locked);
                drop(idle);
                return;
            };
            let Some(mut timer) = locked.timers.take_to_set(runtime, due) else {
                return self.release(locked);
            };
            let set = locked.unlocked(|| timer.set(self.shift.to_tokio(due)));
            match set {
                Set::Armed => {
                    locked.timers.put_back(runtime, timer);
                    // The timer may have gone off, or the head may be due earlier now.
                    return self.release(locked);
                }
                Set::Elapsed => {
                    locked.timers.put_back(runtime, timer);
                    locked.timers.rang(runtime);
                    locked = self.served(locked, self.shift.now());
                }
                Set::Dead => {
                    locked.timers.forget(runtime);
                    // Drops the timer after the lock is released.
                    return self.release(locked);
                }
            }
        }
    }

    fn lock(&self) -> Guard<'_, S> {
        let (shared, locked) = (self, self.locked.lock());
        let mut guard = Guard { shared, locked };
        guard.begin();
        guard
    }
}

/// The waker that rings when a timer goes off. It does not keep the queue alive.
struct Bell<S: Source> {
    queue: Weak<SharedQueue<S>>,
    runtime: Id,
}

impl<S: Source> Wake for Bell<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            queue.ring(self.runtime);
        }
    }
}

/// The lock. While it is held, or a caller waits, cells are taken only with the lock.
struct Guard<'a, S: Source> {
    shared: &'a SharedQueue<S>,
    locked: MutexGuard<'a, Locked<S>>,
}

impl<S: Source> Guard<'_, S> {
    fn begin(&mut self) {
        let queue = &mut self.locked.queue;
        if queue.waiting() == 0 {
            self.shared.source.close(&mut queue.state);
        }
    }

    fn end(&self) {
        let queue = &self.locked.queue;
        // ORDERING: relaxed, see `SharedQueue::waiting`.
        self.shared.waiting.store(queue.waiting(), Ordering::Relaxed);
        if queue.waiting() == 0 {
            self.shared.source.open(&queue.state);
        }
    }

    /// Releases the lock while `f` runs.
    fn unlocked<T>(&mut self, f: impl FnOnce() -> T) -> T {
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
