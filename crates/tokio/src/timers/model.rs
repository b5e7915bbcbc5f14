//! Runtimes for loom's models and for the simulation. Time stands still until a test moves it, and the timers of a runtime go off when the test
//! drives that runtime.

use super::Set;
use crate::sync::Mutex;
use core::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// A runtime, identified by its number.
pub(crate) type Id = u8;

/// The time, and the timers of all runtimes.
struct World {
    /// The nanoseconds that have passed. Not a modelled atomic, because the models do not check the clock.
    now: AtomicU64,
    timers: Mutex<Vec<ModelTimer>>,
}

/// A timer: its runtime, unless it was dropped, the instant at which it goes off, and the waker that it calls then.
#[derive(Default)]
struct ModelTimer {
    runtime: Option<Id>,
    set: Option<(Instant, Waker)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: AtomicU64::new(0),
            timers: Mutex::new(Vec::new()),
        }
    }
}

#[cfg(ratelimit_meter_loom)]
mod world {
    use super::{Cell, Id, World};

    loom::lazy_static! {
        static ref WORLD: World = World::new();
    }

    loom::thread_local! {
        pub(super) static CURRENT: Cell<Option<Id>> = Cell::new(Some(0));
    }

    pub(super) fn world<T>(f: impl FnOnce(&World) -> T) -> T {
        f(&WORLD)
    }
}

/// One world for each thread, because tests run in parallel.
#[cfg(not(ratelimit_meter_loom))]
mod world {
    use super::{Cell, Id, World};

    thread_local! {
        static WORLD: World = World::new();

        pub(super) static CURRENT: Cell<Option<Id>> = const { Cell::new(Some(0)) };
    }

    pub(super) fn world<T>(f: impl FnOnce(&World) -> T) -> T {
        WORLD.with(f)
    }
}

use world::{CURRENT, world};

pub(crate) fn now() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    let passed = world(|world| world.now.load(Ordering::SeqCst));
    *BEGINNING.get_or_init(Instant::now) + Duration::from_nanos(passed)
}

pub(crate) fn current() -> Id {
    try_current().expect("the test is in a runtime")
}

pub(crate) fn try_current() -> Option<Id> {
    CURRENT.with(Cell::get)
}

/// A timer, which wakes a queue.
pub(crate) struct Timer {
    index: usize,
    waker: Waker,
}

impl Timer {
    pub(crate) fn new(waker: Waker) -> Self {
        let runtime = current();
        let index = world(|world| {
            let mut timers = world.timers.lock();
            let free = timers.iter().position(|timer| timer.runtime.is_none());
            let index = free.unwrap_or(timers.len());
            if free.is_none() {
                timers.push(ModelTimer::default());
            }
            timers[index].runtime = Some(runtime);
            index
        });
        Self { index, waker }
    }

    pub(crate) fn set(&mut self, due: Instant) -> Set {
        if due <= now() {
            return Set::Elapsed;
        }
        world(|world| world.timers.lock()[self.index].set = Some((due, self.waker.clone())));
        Set::Armed
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let unset = world(|world| core::mem::take(&mut world.timers.lock()[self.index]));
        drop(unset);
    }
}

/// Drives the runtimes.
#[cfg(test)]
pub(crate) mod driver {
    #[cfg(not(ratelimit_meter_loom))]
    use super::Instant;
    use super::{CURRENT, Duration, Id, ModelTimer, Ordering, now, world};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    /// A flag that is set when its waker is called.
    #[derive(Default)]
    pub(crate) struct WakeFlag(AtomicBool);

    impl WakeFlag {
        pub(crate) fn is_set(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for WakeFlag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Sets the time since the beginning.
    pub(crate) fn set_time(passed: Duration) {
        let ns = u64::try_from(passed.as_nanos()).expect("a test ends within centuries");
        world(|world| world.now.store(ns, Ordering::SeqCst));
    }

    /// Makes this thread one of `runtime`, or of none.
    pub(crate) fn enter(runtime: Option<Id>) {
        CURRENT.with(|current| current.set(runtime));
    }

    /// Fires the timers of `runtime` that are due.
    pub(crate) fn turn(runtime: Id) {
        enter(Some(runtime));
        let mut due = Vec::new();
        let is_of = |timer: &&mut ModelTimer| timer.runtime == Some(runtime);
        world(|world| {
            for timer in world.timers.lock().iter_mut().filter(is_of) {
                due.extend(timer.set.take_if(|(at, _)| *at <= now()));
            }
        });
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Returns when the next timer of any runtime goes off.
    #[cfg(not(ratelimit_meter_loom))]
    pub(crate) fn next_timer() -> Option<Instant> {
        world(|world| {
            let timers = world.timers.lock();
            timers.iter().filter_map(|timer| Some(timer.set.as_ref()?.0)).min()
        })
    }

    /// Returns when the next timer of `runtime` goes off.
    #[cfg(not(ratelimit_meter_loom))]
    pub(crate) fn next_timer_of(runtime: Id) -> Option<Instant> {
        world(|world| {
            let timers = world.timers.lock();
            let of_it = timers.iter().filter(|timer| timer.runtime == Some(runtime));
            of_it.filter_map(|timer| Some(timer.set.as_ref()?.0)).min()
        })
    }
}
