//! The places of those who wait: a list in a slab, from which any can leave in constant time.

use crate::runtime::Id;
use std::task::Waker;
use std::time::Instant;

/// No slot.
const NONE: u32 = u32::MAX;

/// How many slots are kept when nobody waits.
const KEPT: usize = 64;

/// What a future knows of its place. It outlives the place: a slot may have gone to another since, whose number is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: u32,
    /// The cells asked for in this queue until then, these included.
    pub(crate) number: u64,
}

/// How a waiter wakes when it is due.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sleeper {
    /// A task, by the timer of the runtime that polled it last.
    Task(Id),
    /// A thread, by its own sleep until this instant; `None` while it is awake.
    Thread(Option<Instant>),
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// The cells that it has not got yet; none in a free slot.
    pub(crate) missing: u32,
    before: u32,
    /// In a free slot, the next free one.
    behind: u32,
    pub(crate) sleeper: Sleeper,
    /// Whether it has been woken to look at its due instant, and has not looked yet.
    pub(crate) called: bool,
    pub(crate) waker: Option<Waker>,
}

/// All who wait, first come first.
#[derive(Debug)]
pub(crate) struct Places {
    slots: Vec<Place>,
    free: u32,
    first: u32,
    last: u32,
    len: usize,
}

impl Places {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            first: NONE,
            last: NONE,
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn slot(&self, slot: u32) -> Option<&Place> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Place> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    pub(crate) fn head(&self) -> Option<&Place> {
        self.slot(self.first)
    }

    pub(crate) fn head_mut(&mut self) -> Option<&mut Place> {
        self.slot_mut(self.first)
    }

    pub(crate) fn is_head(&self, ticket: Ticket) -> bool {
        self.first == ticket.slot && self.get(ticket).is_some()
    }

    /// The place of the ticket, unless it is no longer there.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Place> {
        self.slot(ticket.slot)
            .filter(|place| place.missing > 0 && place.number == ticket.number)
    }

    /// The place of the ticket, unless it is no longer there.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Place> {
        self.slot_mut(ticket.slot)
            .filter(|place| place.missing > 0 && place.number == ticket.number)
    }

    /// Puts one who misses some cells behind all others.
    pub(crate) fn push(&mut self, number: u64, missing: u32, sleeper: Sleeper, waker: Waker) -> Ticket {
        let place = Place {
            number,
            missing,
            before: self.last,
            behind: NONE,
            sleeper,
            called: false,
            waker: Some(waker),
        };
        let slot = self.free;
        let slot = if let Some(free) = self.slot_mut(slot) {
            let next = free.behind;
            *free = place;
            self.free = next;
            slot
        } else {
            let slot = u32::try_from(self.slots.len()).expect("memory ends before 2^32 places");
            self.slots.push(place);
            slot
        };
        let last = self.last;
        match self.slot_mut(last) {
            Some(last) => last.behind = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.len += 1;
        Ticket { slot, number }
    }

    /// Takes the head away, and returns its waker.
    pub(crate) fn pop(&mut self) -> Option<Waker> {
        self.take(self.first).1
    }

    /// Takes a place away, and tells how many cells it missed, and its waker, unless it is no longer there.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<(u32, Option<Waker>)> {
        self.get(ticket)?;
        Some(self.take(ticket.slot))
    }

    fn take(&mut self, slot: u32) -> (u32, Option<Waker>) {
        let free = self.free;
        let Some(place) = self.slot_mut(slot) else {
            return (0, None);
        };
        let (before, behind) = (place.before, place.behind);
        let taken = (place.missing, place.waker.take());
        place.missing = 0;
        place.behind = free;
        self.free = slot;
        match self.slot_mut(before) {
            Some(before) => before.behind = behind,
            None => self.first = behind,
        }
        match self.slot_mut(behind) {
            Some(behind) => behind.before = before,
            None => self.last = before,
        }
        self.len -= 1;
        if self.len == 0 {
            self.slots.clear();
            self.slots.shrink_to(KEPT);
            self.free = NONE;
        }
        taken
    }
}
