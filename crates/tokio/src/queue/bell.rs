//! What rings when somebody is due: the queue's timers.

use super::{Guard, Queue};
use crate::clock::now;
use crate::runtime::{Id, Set};
use crate::source::Source;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

impl<S: Source> Queue<S> {
    /// What a timer of the runtime wakes.
    pub(super) fn bell(&self, runtime: Id) -> Waker {
        let queue = self.me.clone();
        Arc::new(Bell { queue, runtime }).into()
    }

    /// Serves whoever is due, since the runtime's timer went off, and sets it anew.
    fn ring(&self, runtime: Id) {
        let mut locked = self.lock();
        let is_set_again = locked.alarms.rang(runtime);
        let locked = self.served(locked, now());
        if is_set_again {
            self.set_alarm(locked, runtime);
        } else {
            self.release(locked);
        }
    }

    /// Sees to it that the runtime's timer goes off when the head is due. It is called by the runtime's own threads.
    pub(super) fn set_alarm<'a>(&'a self, mut locked: Guard<'a, S>, runtime: Id) {
        loop {
            let Some(due) = locked.line.due() else {
                let idle = locked.alarms.remove(runtime);
                drop(locked);
                drop(idle);
                return;
            };
            let Some(mut timer) = locked.alarms.take_to_set(runtime, due) else {
                return self.release(locked);
            };
            let set = locked.unlocked(|| timer.set(due));
            // What is left of it here is dropped after the lock is let go.
            let mut timer = Some(timer);
            match set {
                Set::Armed if locked.alarms.put_back(runtime, &mut timer, due) => return self.release(locked),
                Set::Armed => {}
                Set::Elapsed => {
                    locked.alarms.put_back(runtime, &mut timer, due);
                    locked.alarms.rang(runtime);
                    locked = self.served(locked, now());
                }
                Set::Dead => {
                    locked.alarms.forget(runtime);
                    return self.release(locked);
                }
            }
        }
    }
}

/// Rings when a timer goes off. It does not keep the queue.
struct Bell<S: Source> {
    queue: Weak<Queue<S>>,
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
