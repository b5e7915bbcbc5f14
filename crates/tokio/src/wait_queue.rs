//! The wait queue as a pure state machine: no lock, clock or timer.
//!
//! A waiter is served at its due instant: the first instant at which its cells conform after all waiters before it have theirs. `now` only bounds
//! which waiters are served. So late or early calls of [`WaitQueue::serve`] lead to the same charges, as long as they are not later than the catch-up
//! bound. A wake-up's lateness is then never part of a charge, and it does not matter which caller serves.
//!
//! Waiters stand in a [`Slab`], in their order.

mod slab;

pub(crate) use slab::{QueueTicket, Sleeper};

use crate::source::{Source, Times, never};
use slab::{Slab, Waiter};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The number of waiters that are served before they are woken.
const BATCH: usize = 128;

/// The shortest time between two looks at a meter that may be changed elsewhere.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The part of the head's waiting time after which the meter is looked at again, if that is longer than the poll interval. So a wait of a year costs
/// about 250 looks.
const POLL_PART: u32 = 16;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The state of a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaiterState {
    /// The waiter is in the queue.
    Waits,
    /// The waiter has its cells.
    Served,
    /// The waiter's cells never come. It has left the queue, and is to be [forgotten](WaitQueue::forget).
    Denied,
}

pub(crate) struct WaitQueue<S: Source> {
    pub(crate) state: S::State,
    waiters: Slab,
    /// The instant at which the head moved up without a serve. Its cells count from there on, not before.
    from: Instant,
    /// The instant at which the next part of the head's cells is due; `None` if no caller waits, or the cells never come.
    due: Option<Instant>,
    /// The instant at which the meter is looked at again, in case it was changed elsewhere.
    look_at: Option<Instant>,
    /// The instant at which the head became the head.
    head_since: Instant,
    /// The maximum time by which a charge may precede the serve.
    pub(crate) catch_up: Duration,
    plan: Option<ServePlan<S>>,
    /// A thread that also wakes soon after the head is due, and serves tasks ahead of it whose runtimes are not driven.
    lookout: Option<QueueTicket>,
    tickets: u64,
}

/// The source after the waiters up to `last` have been served, each at its `planned` instant.
struct ServePlan<S: Source> {
    /// The source when the plan was made, with the waiters that have been served since. If a caller has changed the source without the queue, `base`
    /// differs from it.
    base: S::Ahead,
    ahead: S::Ahead,
    last: QueueTicket,
    /// The instant at which `last` is served.
    latest: Instant,
}

impl<S: Source> WaitQueue<S> {
    pub(crate) fn new(source: &S, catch_up: Duration, now: Instant) -> Self {
        Self {
            state: source.state(),
            waiters: Slab::new(),
            from: now,
            due: None,
            look_at: None,
            head_since: now,
            catch_up,
            plan: None,
            lookout: None,
            tickets: 0,
        }
    }

    pub(crate) const fn waiting(&self) -> usize {
        self.waiters.len
    }

    /// Returns whether the head's cells never come, so that a serve would deny them.
    pub(crate) const fn head_never_comes(&self) -> bool {
        self.waiters.len > 0 && self.due.is_none()
    }

    /// Returns the instant by which a caller has to serve: the head is due, or the meter is to be looked at again.
    pub(crate) fn serve_at(&self) -> Option<Instant> {
        self.due.map(|due| self.look_at.map_or(due, |look_at| due.min(look_at)))
    }

    pub(crate) fn state(&self, ticket: QueueTicket) -> WaiterState {
        match self.waiters.get(ticket) {
            None => WaiterState::Served,
            Some(waiter) if waiter.is_denied => WaiterState::Denied,
            Some(_) => WaiterState::Waits,
        }
    }

    pub(crate) fn head_mut(&mut self) -> Option<&mut Waiter> {
        self.waiters.head_mut()
    }

    /// Serves the waiters that are due by `now`, in order, and denies a head whose cells never come. Appends the wakers of waiters that must be woken
    /// to `woken`. Returns whether more waiters may be due.
    pub(crate) fn serve(&mut self, source: &S, now: Instant, woken: &mut Vec<Waker>) -> bool {
        let floor = now.checked_sub(self.catch_up);
        let mut is_checked = false;
        while let Some(head) = self.waiters.head_mut() {
            if woken.len() >= BATCH {
                return true;
            }
            let Some(due) = self.due else {
                woken.extend(self.waiters.deny_head());
                self.head_left(now);
                self.refresh(source, now);
                is_checked = false;
                continue;
            };
            if due > now {
                // Once for each head, so that the loop always ends.
                if !S::CHANGES_ELSEWHERE || is_checked {
                    break;
                }
                is_checked = true;
                match source.recheck(head.missing, now) {
                    Some(sooner) if sooner >= due => break,
                    Some(sooner) => {
                        self.due = Some(sooner);
                        self.plan = None;
                        self.from = now;
                    }
                    None => self.due = None,
                }
                continue;
            }
            // A nanosecond before the due instant the cells do not conform yet, so they are charged at the exact position at which they conform.
            let from = due
                .checked_sub(NANOSECOND)
                .map_or(self.from, |before| before.max(self.from));
            if floor.is_some_and(|floor| due < floor) {
                // The plan includes cells that are lost by the stall.
                self.plan = None;
            }
            let times = Times { from, due, now, floor };
            match source.serve(&mut self.state, head.missing, times) {
                Ok(part) => {
                    if let Some(plan) = &mut self.plan {
                        source.take_ahead(&mut plan.base, part.cells, from, now);
                    }
                    head.missing -= part.cells;
                    self.due = Some(part.at);
                    if head.missing == 0 {
                        woken.extend(self.waiters.pop());
                        self.head_since = now;
                        is_checked = false;
                    }
                }
                Err(next) if next > now => self.due = Some(next),
                Err(next) if !source.reaches(head.missing, next) => self.due = None,
                // The cells are denied at an instant before `due`; for example, by a table whose slot becomes free only at `due`.
                Err(next) if from < now => {
                    self.due = Some(next);
                    self.from = if from < next { next } else { now };
                }
                Err(_) => {
                    self.due = Some(now + NANOSECOND);
                    break;
                }
            }
        }
        if self.waiters.len == 0 {
            self.due = None;
            self.plan = None;
        }
        self.look_at = S::CHANGES_ELSEWHERE.then(|| {
            let waited = now.saturating_duration_since(self.head_since);
            now + POLL_INTERVAL.max(waited / POLL_PART)
        });
        self.wake_lookout(woken);
        false
    }

    /// Computes the head's due instant again, because the source may have changed.
    pub(crate) fn refresh(&mut self, source: &S, now: Instant) {
        self.plan = None;
        let waits = self.waiters.head().map(|head| head.missing);
        self.due = waits.and_then(|missing| source.due(&self.state, missing, now));
    }

    /// Takes cells for a caller that does not wait. A denial holds the instant at which they would conform if no caller waited.
    pub(crate) fn take(&mut self, source: &S, n: u64, fair: bool, now: Instant) -> Result<(), Instant> {
        let queued = self.waiters.len > 0;
        if fair && queued {
            return Err(now);
        }
        source.take(&mut self.state, n, now, queued)?;
        if queued {
            self.refresh(source, now);
        }
        Ok(())
    }

    /// Takes as many of `n` cells as are there, for a caller that does not wait.
    pub(crate) fn take_up_to(&mut self, source: &S, n: u64, fair: bool, now: Instant) -> u64 {
        let queued = self.waiters.len > 0;
        if fair && queued {
            return 0;
        }
        let taken = source.take_up_to(&mut self.state, n, now, queued);
        if queued && taken > 0 {
            self.refresh(source, now);
        }
        taken
    }

    /// Adds a waiter at the end. If no caller waits, its cells are due at `due`.
    pub(crate) fn join(&mut self, n: u64, due: Instant, now: Instant, sleeper: Sleeper, waker: &Waker) -> QueueTicket {
        if self.waiters.len == 0 {
            self.due = Some(due);
            self.from = now;
            self.head_since = now;
            self.look_at = S::CHANGES_ELSEWHERE.then(|| now + POLL_INTERVAL);
        }
        self.tickets += 1;
        self.waiters.push(self.tickets, n, sleeper, waker.clone())
    }

    /// Records that a waiter is awake and looks. Renews its waker, and returns the old one if that was different.
    pub(crate) fn renew(&mut self, ticket: QueueTicket, sleeper: Sleeper, waker: &Waker) -> Option<Waker> {
        let waiter = self.waiters.get_mut(ticket)?;
        waiter.sleeper = sleeper;
        waiter.called = false;
        if waiter.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        waiter.waker.replace(waker.clone())
    }

    /// Returns the instant until which the thread of a waiter sleeps, and records it.
    pub(crate) fn sleep(&mut self, source: &S, ticket: QueueTicket) -> Option<Instant> {
        let until = if self.waiters.is_head(ticket) {
            self.serve_at()
        } else {
            Some(self.behind_until(source, ticket)?)
        };
        self.waiters.get_mut(ticket)?.sleeper = Sleeper::Thread(until);
        until
    }

    /// Returns the instant until which the thread of a waiter behind the head sleeps. Makes the thread the lookout if there is none.
    fn behind_until(&mut self, source: &S, ticket: QueueTicket) -> Option<Instant> {
        let lookout = self.lookout.filter(|lookout| self.waiters.is_in_order(*lookout));
        let is_lookout = *self.lookout.insert(lookout.unwrap_or(ticket)) == ticket;
        let looks = self.lookout_at().filter(|_| is_lookout);
        // No waiter is served before the head is due, so a lookout that wakes by then needs no plan.
        if looks.is_some() && looks <= self.due {
            return looks;
        }
        self.plan_all(source);
        // If its cells never come, the waiter is woken when it becomes the head.
        let planned = self.waiters.get(ticket)?.planned.unwrap_or_else(|| never(self.from));
        Some(looks.map_or(planned, |looks| looks.min(planned)))
    }

    /// Returns the instant at which the lookout looks at the head. Half of the bound is left for the lateness of the wake-up itself, so that the head
    /// is charged at its due instant.
    fn lookout_at(&self) -> Option<Instant> {
        self.serve_at()?.checked_add(self.catch_up / 2)
    }

    /// Appends the waker of the lookout to `woken` if it sleeps for longer than it may now: the head is due earlier, or the first thread has become the
    /// lookout because the former one has left.
    ///
    /// No thread is before a lookout that was served, so each waiter is passed over once in all.
    fn wake_lookout(&mut self, woken: &mut Vec<Waker>) {
        let Some(lookout) = self.lookout else { return };
        if !self.waiters.is_in_order(lookout) {
            self.lookout = self.waiters.first_thread();
        }
        let looks = self.lookout_at();
        let Some(lookout) = self.lookout.and_then(|lookout| self.waiters.get_mut(lookout)) else {
            return;
        };
        let is_late = |until| looks.is_some_and(|looks| looks < until);
        if matches!(lookout.sleeper, Sleeper::Thread(Some(until)) if is_late(until)) {
            lookout.sleeper = Sleeper::Thread(None);
            woken.extend(lookout.waker.clone());
        }
    }

    /// Gives back the place of a waiter for `n` cells and its cells so far, which are all cells if it has been served. Returns its waker.
    pub(crate) fn leave(&mut self, source: &S, ticket: QueueTicket, n: u64, now: Instant) -> Option<Waker> {
        let was_head = self.waiters.is_head(ticket);
        let (missing, waker) = self.waiters.remove(ticket).unwrap_or((0, None));
        if was_head {
            self.head_left(now);
        }
        self.give_back(source, n - missing, now);
        waker
    }

    /// Records that the head has left unserved. The waiters behind move up now, not before.
    fn head_left(&mut self, now: Instant) {
        self.due = None;
        self.from = now;
        self.head_since = now;
    }

    /// Removes a waiter that was denied.
    pub(crate) fn forget(&mut self, ticket: QueueTicket) {
        self.waiters.remove(ticket);
    }

    /// Gives back cells that were taken and not used.
    pub(crate) fn give_back(&mut self, source: &S, n: u64, now: Instant) {
        if n > 0 {
            source.give_back(&mut self.state, n, now);
        }
        // If the head was due before now, it still is.
        let before = self.due;
        self.refresh(source, now);
        self.due = self.due.map(|due| before.map_or(due, |before| due.min(before)));
    }

    /// Returns the instant at which `n` cells behind all waiters will have come, if no waiter leaves but those denied. Returns `None` if they never
    /// come. If no caller waits, the next part of them is due at `due`.
    pub(crate) fn earliest(&mut self, source: &S, n: u64, due: Instant, now: Instant) -> Option<Instant> {
        if self.waiters.len == 0 {
            return Some(source.all_due(&self.state, n, due, now));
        }
        self.plan_all(source);
        let plan = self.plan.as_ref()?;
        let due = source.due_ahead(&plan.ahead, n, self.from)?;
        Some(due.max(plan.latest))
    }

    /// Plans the waiters that have no plan yet, by serving each in turn, with the source's own arithmetic.
    fn plan_all(&mut self, source: &S) {
        let (Some(head), Some(due)) = (self.waiters.head(), self.due) else {
            self.plan = None;
            return;
        };
        // A plan is kept as long as it includes the head, which is not due later, and no caller changes the source without the queue. A head without a
        // slot in a full table is due later if the owners of the slots are charged.
        let is_timely = head.planned.is_some_and(|planned| due <= planned);
        let is_kept = |plan: &ServePlan<S>| is_timely && source.is_as(&plan.base, self.from);
        let kept = self.plan.take().filter(is_kept);
        let (base, mut ahead, mut next, mut latest) = match kept {
            Some(plan) => (plan.base, plan.ahead, self.waiters.behind(plan.last), plan.latest),
            None => (
                source.ahead(&self.state),
                source.ahead(&self.state),
                self.waiters.first,
                due,
            ),
        };
        while let Some(waiter) = self.waiters.slot_mut(next) {
            waiter.planned = source.due_ahead(&ahead, waiter.missing, self.from);
            // A waiter whose cells never come will be denied as the head.
            if let Some(planned) = waiter.planned.as_mut() {
                source.take_ahead(&mut ahead, waiter.missing, self.from, *planned);
                latest = latest.max(*planned);
                *planned = latest;
            }
            next = waiter.behind;
        }
        let last = self.waiters.last_ticket();
        self.plan = last.map(|last| ServePlan {
            base,
            ahead,
            last,
            latest,
        });
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;
    use ratelimit_meter::{GCRA, Quota};

    const SECOND: Duration = Duration::from_secs(1);

    /// A meter that has no cell at `start`, and the queue of two waiters for one cell each.
    struct Two {
        meter: GCRA,
        queue: WaitQueue<GCRA>,
        start: Instant,
        tickets: [QueueTicket; 2],
    }

    fn two_waiters(quota: &str) -> Two {
        let meter = GCRA::from_quota(quota.parse::<Quota>().unwrap()).unwrap();
        let start = Instant::now();
        meter.check_at(start).unwrap();
        let mut queue = WaitQueue::new(&meter, SECOND, start);
        let tickets = [(); 2].map(|()| {
            let due = queue.take(&meter, 1, true, start).unwrap_err();
            queue.join(1, due, start, Sleeper::Thread(None), Waker::noop())
        });
        Two {
            meter,
            queue,
            start,
            tickets,
        }
    }

    #[test]
    fn overdue_head_keeps_its_instant_when_another_leaves() {
        let mut two = two_waiters("10/s burst 1");
        let (due, now) = (Duration::from_millis(100), two.start + Duration::from_millis(105));
        two.queue.leave(&two.meter, two.tickets[1], 1, now);
        assert_eq!(two.queue.serve_at(), Some(two.start + due));
    }

    /// A head that has waited for long is looked at less often, but not the head after it.
    #[test]
    fn new_head_is_looked_at_within_a_second() {
        let now = |two: &Two| two.start + 160 * SECOND;
        let mut left = two_waiters("1/h burst 1");
        let at = now(&left);
        left.queue.leave(&left.meter, left.tickets[0], 1, at);
        left.queue.serve(&left.meter, at, &mut Vec::new());
        assert_eq!(left.queue.serve_at(), Some(at + SECOND));

        let mut served = two_waiters("1/160s burst 1");
        let (at, mut woken) = (now(&served), Vec::new());
        served.queue.serve(&served.meter, at, &mut woken);
        assert_eq!((woken.len(), served.queue.serve_at()), (1, Some(at + SECOND)));

        let mut denied = two_waiters("1/h burst 1");
        let (at, mut woken) = (now(&denied), Vec::new());
        denied.queue.due = None;
        denied.queue.serve(&denied.meter, at, &mut woken);
        assert_eq!((woken.len(), denied.queue.serve_at()), (1, Some(at + SECOND)));
        let ticket = denied.tickets[0];
        assert_eq!(denied.queue.state(ticket), WaiterState::Denied);
        denied.queue.forget(ticket);
        assert_eq!(denied.queue.state(ticket), WaiterState::Served);
    }

    /// A plan visits all waiters, which is too much for a thread that wakes for each head.
    #[test]
    fn lookout_waking_with_the_head_makes_no_plan() {
        let mut two = two_waiters("10/s burst 1");
        let start = two.start;
        let mut sleep = |bound| {
            two.queue.catch_up = bound;
            let until = two.queue.sleep(&two.meter, two.tickets[1]);
            (until.map(|until| until - start), two.queue.plan.is_some())
        };
        let at = |ms| Some(Duration::from_millis(ms));
        assert_eq!(sleep(Duration::ZERO), (at(100), false));
        assert_eq!(sleep(SECOND), (at(200), true));
    }

    #[test]
    fn renewed_head_can_be_called_again() {
        let mut two = two_waiters("1/h burst 1");
        two.queue.head_mut().unwrap().called = true;
        two.queue.renew(two.tickets[0], Sleeper::Thread(None), Waker::noop());
        assert!(!two.queue.head_mut().unwrap().called);
    }
}
