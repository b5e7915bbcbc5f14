//! Who waits for what, and since when it is theirs: everything of a queue that needs no lock, no clock and no timer.
//!
//! A place is served at its due instant: the first at which its cells conform once all before it have theirs. `now` only bounds what
//! is served; late or early calls of [`Line::serve`] lead to the same charges. So a wake-up's lateness is never part of a charge,
//! and it does not matter who comes by.

use crate::places::{Place, Places, Sleeper, Ticket};
use crate::source::Source;
use std::task::Waker;
use std::time::Instant;

/// How many are served before they are woken.
const BATCH: usize = 128;

pub(crate) struct Line<S: Source> {
    pub(crate) state: S::State,
    places: Places,
    /// When the next part of what the head misses is due; of nobody's, none.
    due: Option<Instant>,
    /// The cells that all places miss.
    missing: u64,
    /// The cells ever asked for here.
    asked: u64,
}

impl<S: Source> Line<S> {
    pub(crate) fn new(source: &S) -> Self {
        Self {
            state: source.state(),
            places: Places::new(),
            due: None,
            missing: 0,
            asked: 0,
        }
    }

    pub(crate) const fn waiting(&self) -> usize {
        self.places.len()
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.places.get(ticket).is_some()
    }

    /// Serves the places that are due by `now`, in order; those who are to be woken go to `woken`. Whether there may be more.
    pub(crate) fn serve(&mut self, source: &S, now: Instant, woken: &mut Vec<Waker>) -> bool {
        while let (Some(head), Some(due)) = (self.places.head_mut(), self.due) {
            if woken.len() >= BATCH {
                self.due = Some(source.due(&self.state, head.missing, due));
                return true;
            }
            let from = match due <= now {
                true => due,
                false if source.is_sooner(head.missing, now) => now,
                false => return false,
            };
            // What is behind a part is due when that was, or later: the next turn tells.
            match source.serve(&mut self.state, head.missing, from, now) {
                Ok(part) => {
                    self.missing -= u64::from(part.cells);
                    head.missing -= part.cells;
                    if head.missing == 0 {
                        woken.extend(self.places.pop());
                    }
                    self.due = Some(part.at).filter(|_| !self.places.is_empty());
                }
                Err(due) => {
                    self.due = Some(due);
                    // Nor is it sooner than the source has just said.
                    if due > now {
                        return false;
                    }
                }
            }
        }
        false
    }

    /// The head, when its next part is due, and when its last is.
    pub(crate) fn head_mut(&mut self, source: &S) -> Option<(&mut Place, Instant, Instant)> {
        let (head, due) = (self.places.head_mut()?, self.due?);
        let last = source.plan(&self.state, head.missing, due, head.missing.into());
        Some((head, due, last))
    }

    /// Takes cells for one who does not wait, or tells from when on they could be had, were nobody before it.
    pub(crate) fn take(&mut self, source: &S, n: u32, fair: bool, now: Instant) -> Result<(), Instant> {
        let queued = !self.places.is_empty();
        if fair && queued {
            return Err(now);
        }
        source.take(&mut self.state, n, now, queued)?;
        if let Some(head) = self.places.head() {
            self.due = Some(source.due(&self.state, head.missing, now));
        }
        Ok(())
    }

    /// When `n` cells behind all others will have been had, if they would be due at `due`, were nobody before them.
    pub(crate) fn plan(&self, source: &S, n: u32, due: Instant) -> Instant {
        let cells = self.missing + u64::from(n);
        let (first, due) = match (self.places.head(), self.due) {
            (Some(head), Some(due)) => (head.missing, due),
            _ => (n, due),
        };
        source.plan(&self.state, first, due, cells)
    }

    /// Waits for `n` cells behind all others.
    pub(crate) fn join(&mut self, source: &S, n: u32, now: Instant, sleeper: Sleeper, waker: &Waker) -> Ticket {
        if self.places.is_empty() {
            self.due = Some(source.due(&self.state, n, now));
        }
        self.asked = self.asked.wrapping_add(n.into());
        self.missing += u64::from(n);
        self.places.push(self.asked, n, sleeper, waker.clone())
    }

    /// Notes that a waiter is awake and looks; renews its waker, and returns the old one, if that was another.
    pub(crate) fn renew(&mut self, ticket: Ticket, sleeper: Sleeper, waker: &Waker) -> Option<Waker> {
        let place = self.places.get_mut(ticket)?;
        place.sleeper = sleeper;
        place.called = false;
        if place.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        place.waker.replace(waker.clone())
    }

    /// Notes until when a thread sleeps.
    pub(crate) fn sleep_until(&mut self, ticket: Ticket, until: Option<Instant>) {
        if let Some(place) = self.places.get_mut(ticket) {
            place.sleeper = Sleeper::Thread(until);
        }
    }

    /// When a place will have been served, if nobody leaves the queue; those who have left since it came still count.
    pub(crate) fn due_of(&self, source: &S, ticket: Ticket) -> Option<Instant> {
        let (head, due) = (self.places.head()?, self.due?);
        let cells = ticket.number.wrapping_sub(head.number) + u64::from(head.missing);
        Some(source.plan(&self.state, head.missing, due, cells))
    }

    /// Gives back the place of one who asked for `n` cells, and what it got of them; or, if it has been served, all of them. Returns
    /// its waker.
    pub(crate) fn leave(&mut self, source: &S, ticket: Ticket, n: u32, now: Instant) -> Option<Waker> {
        let was_head = self.places.is_head(ticket);
        let (missing, waker) = self.places.remove(ticket).unwrap_or((0, None));
        self.missing -= u64::from(missing);
        if was_head {
            // Those behind move up now, not before.
            self.due = None;
        }
        self.give_back(source, n - missing, now);
        waker
    }

    /// Gives back cells that were had and not used.
    pub(crate) fn give_back(&mut self, source: &S, n: u32, now: Instant) {
        if n > 0 {
            source.give_back(&mut self.state, n, now);
        }
        let Some(head) = self.places.head() else {
            self.due = None;
            return;
        };
        let due = source.due(&self.state, head.missing, now);
        // What was due before now still is.
        self.due = Some(self.due.map_or(due, |before| due.min(before)));
    }
}
