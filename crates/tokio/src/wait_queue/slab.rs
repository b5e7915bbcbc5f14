//! The waiters of a queue, in their order. Their slots are linked, so that any waiter leaves in constant time.

use crate::timers::Id;
use std::task::Waker;
use std::time::Instant;

/// Marks the absence of a slot.
const NONE: u32 = u32::MAX;

/// The number of slots that are kept when no caller waits.
const KEPT: usize = 64;

/// A future's reference to its waiter. It can outlive the waiter. If another waiter has the slot then, that waiter has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueTicket {
    slot: u32,
    number: u64,
}

/// The way in which a waiter wakes when it is due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sleeper {
    /// A task, by the timer of the runtime that polled it last.
    Task(Id),
    /// A thread, by its own sleep until this instant; `None` while it is awake.
    Thread(Option<Instant>),
}

/// A task or a thread that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    number: u64,
    /// The cells that the waiter has not got yet; zero in a free slot.
    pub(super) missing: u64,
    before: u32,
    /// The next waiter, or the next free slot if this slot is free.
    pub(super) behind: u32,
    pub(crate) sleeper: Sleeper,
    /// True if the waiter has been woken to look at its due instant, and has not looked yet.
    pub(crate) called: bool,
    /// True if the waiter's cells never come. It then has a slot, but no place in the order.
    pub(super) is_denied: bool,
    /// The instant at which the waiter is served, by the latest plan.
    pub(super) planned: Option<Instant>,
    pub(crate) waker: Option<Waker>,
}

/// The waiters, in their order.
#[derive(Debug)]
pub(super) struct Slab {
    slots: Vec<Waiter>,
    free: u32,
    pub(super) first: u32,
    last: u32,
    /// The number of waiters in the order.
    pub(super) len: usize,
    /// The number of denied waiters.
    denied: usize,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            len: 0,
            denied: 0,
        }
    }

    fn slot(&self, slot: u32) -> Option<&Waiter> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Waiter> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    pub(super) fn head(&self) -> Option<&Waiter> {
        self.slot(self.first)
    }

    pub(super) fn head_mut(&mut self) -> Option<&mut Waiter> {
        self.slot_mut(self.first)
    }

    pub(super) fn is_head(&self, ticket: QueueTicket) -> bool {
        self.first == ticket.slot && self.get(ticket).is_some()
    }

    /// Returns whether the waiter has a place in the order.
    pub(super) fn is_in_order(&self, ticket: QueueTicket) -> bool {
        self.get(ticket).is_some_and(|waiter| !waiter.is_denied)
    }

    /// Returns the waiter of the ticket, unless it has left.
    pub(super) fn get(&self, ticket: QueueTicket) -> Option<&Waiter> {
        self.slot(ticket.slot)
            .filter(|waiter| waiter.missing > 0 && waiter.number == ticket.number)
    }

    /// Returns the waiter of the ticket, unless it has left.
    pub(super) fn get_mut(&mut self, ticket: QueueTicket) -> Option<&mut Waiter> {
        self.slot_mut(ticket.slot)
            .filter(|waiter| waiter.missing > 0 && waiter.number == ticket.number)
    }

    /// Returns the slot behind the ticket's slot, or the first slot if the waiter has left.
    pub(super) fn behind(&self, ticket: QueueTicket) -> u32 {
        self.get(ticket).map_or(self.first, |waiter| waiter.behind)
    }

    /// Returns the first waiter that is a thread.
    pub(super) fn first_thread(&self) -> Option<QueueTicket> {
        let mut slot = self.first;
        loop {
            let &Waiter {
                number,
                behind,
                sleeper,
                ..
            } = self.slot(slot)?;
            if let Sleeper::Thread(_) = sleeper {
                return Some(QueueTicket { slot, number });
            }
            slot = behind;
        }
    }

    pub(super) fn last_ticket(&self) -> Option<QueueTicket> {
        let (slot, number) = (self.last, self.slot(self.last)?.number);
        Some(QueueTicket { slot, number })
    }

    /// Adds a waiter at the end.
    pub(super) fn push(&mut self, number: u64, missing: u64, sleeper: Sleeper, waker: Waker) -> QueueTicket {
        let waiter = Waiter {
            number,
            missing,
            before: self.last,
            behind: NONE,
            sleeper,
            called: false,
            is_denied: false,
            planned: None,
            waker: Some(waker),
        };
        let slot = self.free;
        let slot = if let Some(free) = self.slot_mut(slot) {
            let next = free.behind;
            *free = waiter;
            self.free = next;
            slot
        } else {
            let slot = u32::try_from(self.slots.len()).expect("memory ends before 2^32 waiters");
            self.slots.push(waiter);
            slot
        };
        let last = self.last;
        match self.slot_mut(last) {
            Some(last) => last.behind = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.len += 1;
        QueueTicket { slot, number }
    }

    /// Removes the head, and returns its waker.
    pub(super) fn pop(&mut self) -> Option<Waker> {
        self.take(self.first).1
    }

    /// Takes the head out of the order, keeps its slot, and returns its waker.
    pub(super) fn deny_head(&mut self) -> Option<Waker> {
        let head = self.first;
        self.unlink(head);
        self.denied += 1;
        let waiter = self.slot_mut(head)?;
        waiter.is_denied = true;
        waiter.waker.take()
    }

    /// Removes a waiter. Returns the number of its missing cells and its waker, unless it has left.
    pub(super) fn remove(&mut self, ticket: QueueTicket) -> Option<(u64, Option<Waker>)> {
        self.get(ticket)?;
        Some(self.take(ticket.slot))
    }

    /// Removes the waiter in a slot that is not free.
    fn take(&mut self, slot: u32) -> (u64, Option<Waker>) {
        if self.slot(slot).is_some_and(|waiter| waiter.is_denied) {
            self.denied -= 1;
        } else {
            self.unlink(slot);
        }
        let free = self.free;
        let Some(waiter) = self.slot_mut(slot) else {
            return (0, None);
        };
        let taken = (waiter.missing, waiter.waker.take());
        waiter.missing = 0;
        waiter.behind = free;
        self.free = slot;
        if self.len == 0 && self.denied == 0 {
            self.slots.clear();
            self.slots.shrink_to(KEPT);
            self.free = NONE;
        }
        taken
    }

    /// Takes a waiter out of the order.
    fn unlink(&mut self, slot: u32) {
        let Some(&Waiter { before, behind, .. }) = self.slot(slot) else {
            return;
        };
        match self.slot_mut(before) {
            Some(before) => before.behind = behind,
            None => self.first = behind,
        }
        match self.slot_mut(behind) {
            Some(behind) => behind.before = before,
            None => self.last = before,
        }
        self.len -= 1;
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_are_freed_with_the_last_waiter() {
        let mut slab = Slab::new();
        let [denied, _] = [1, 2].map(|number| slab.push(number, 1, Sleeper::Thread(None), Waker::noop().clone()));
        assert!(slab.deny_head().is_some() && slab.pop().is_some());
        assert_eq!(
            (slab.slots.len(), slab.len),
            (2, 0),
            "the denied waiter has yet to look"
        );
        assert!(slab.remove(denied).is_some());
        assert!(slab.slots.is_empty());
    }
}
