//! When a queue is due to be looked at: one timer for each runtime that waits, which belongs to the queue.
//!
//! No waiting future owns a timer, so none can stop the others by being forgotten, and a thousand waiters cost one timer. The timer
//! wakes the queue itself, which then serves whoever is due and sets it anew. There is one for each runtime, since one that nobody
//! drives must not hold up another; each is set for the head, whoever that is.
//!
//! A timer is set, and dropped, without the queue's lock: it may go off while it is being set, and it takes locks of the runtime's.
//! Meanwhile it is missing here, and who wants it set earlier only says so: who sets it looks once more when it is done.

use crate::runtime::{Id, Timer};
use std::time::Instant;

/// The timer of one runtime.
struct Alarm {
    runtime: Id,
    /// When it goes off; none if it has.
    at: Option<Instant>,
    /// None while somebody sets it.
    timer: Option<Timer>,
}

/// The timers of all runtimes that wait.
pub(crate) struct Alarms(Vec<Alarm>);

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn has(&mut self, runtime: Id) -> bool {
        self.of(runtime).is_some()
    }

    fn of(&mut self, runtime: Id) -> Option<&mut Alarm> {
        self.0.iter_mut().find(|alarm| alarm.runtime == runtime)
    }

    /// Sees to it that the runtime has a timer.
    pub(crate) fn ensure(&mut self, runtime: Id, timer: impl FnOnce() -> Timer) {
        if self.of(runtime).is_none() {
            let timer = Some(timer());
            let at = None;
            self.0.push(Alarm { runtime, at, timer });
        }
    }

    /// Notes that the runtime's timer has gone off. Whether there is one.
    pub(crate) fn rang(&mut self, runtime: Id) -> bool {
        self.of(runtime).is_some_and(|alarm| {
            alarm.at = None;
            true
        })
    }

    /// Whether the runtime's timer goes off at `due` or before, or somebody sets it and will see that it has to.
    pub(crate) fn rings_by(&mut self, runtime: Id, due: Instant) -> bool {
        self.of(runtime).is_some_and(|alarm| {
            let is_in_time = alarm.at.is_some_and(|at| at <= due);
            if !is_in_time && alarm.timer.is_none() {
                // Whoever sets it finds that it is not what they set, and looks again.
                alarm.at = None;
            }
            is_in_time || alarm.timer.is_none()
        })
    }

    /// Takes the runtime's timer to set it for `due`, unless it will go off by then or somebody sets it: they will see it.
    pub(crate) fn take_to_set(&mut self, runtime: Id, due: Instant) -> Option<Timer> {
        let alarm = self.of(runtime)?;
        if alarm.at.is_some_and(|at| at <= due) {
            return None;
        }
        let timer = alarm.timer.take();
        // Whoever sets it finds that it is not what they set, and looks again.
        alarm.at = timer.as_ref().map(|_| due);
        timer
    }

    /// Puts the timer back that was set for `due`, or leaves it if the runtime is forgotten. Whether it is right like that.
    pub(crate) fn put_back(&mut self, runtime: Id, timer: &mut Option<Timer>, due: Instant) -> bool {
        self.of(runtime).is_none_or(|alarm| {
            alarm.timer = timer.take();
            let is_right = alarm.at == Some(due);
            if !is_right {
                alarm.at = None;
            }
            is_right
        })
    }

    /// Takes the runtime's timer away, if it is not being set.
    pub(crate) fn remove(&mut self, runtime: Id) -> Option<Timer> {
        let index = self
            .0
            .iter()
            .position(|alarm| alarm.runtime == runtime && alarm.timer.is_some())?;
        self.0.swap_remove(index).timer
    }

    /// Forgets the timer of a runtime that is no more, which is being set.
    pub(crate) fn forget(&mut self, runtime: Id) {
        self.0.retain(|alarm| alarm.runtime != runtime);
    }
}
