//! The loops that are timed.

use crate::stats::float;
use crate::ticks;
use core::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The number of calls between two looks at the end of other threads, all at one time of the caller.
const CHUNK: u64 = 256;

/// The step of the caller's time from one chunk to the next: 16 ns a call.
const TICK: Duration = Duration::from_nanos(16 * CHUNK);

/// The number of calls of a thread in a turn; the first thread to be done makes all of them.
pub(crate) type Length = u64;

/// A way to time calls.
///
/// A thread's first calls cost more, so one chunk comes before the start. It comes in the same loop, since a call
/// that stands in one place is compiled into it.
pub(crate) trait Timing: Copy + Send + Sync {
    type Outcome: Send;

    /// Calls and times until it is done or another thread is. The instant is the caller's.
    fn time(self, call: impl FnMut(Instant), over: &Over) -> Self::Outcome;
}

/// Times a loop as a whole.
#[derive(Clone, Copy)]
pub(crate) struct Loop {
    pub(crate) length: Length,
}

/// The time of a loop.
pub(crate) struct Done {
    pub(crate) elapsed: Duration,
    pub(crate) calls: u64,
}

impl Timing for Loop {
    type Outcome = Done;

    #[inline]
    fn time(self, mut call: impl FnMut(Instant), over: &Over) -> Done {
        let mut at = Instant::now();
        let mut start = None;
        let mut calls = 0;
        loop {
            (0..CHUNK).for_each(|_| call(at));
            at += TICK;
            let Some(start) = start else {
                over.wait_for_all();
                start = Some(Instant::now());
                continue;
            };
            calls += CHUNK;
            if calls >= self.length || over.is_over() {
                let elapsed = start.elapsed();
                over.set();
                return Done { elapsed, calls };
            }
        }
    }
}

/// Times each call, in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Each {
    pub(crate) length: Length,
}

impl Timing for Each {
    type Outcome = Vec<f64>;

    #[inline]
    fn time(self, mut call: impl FnMut(Instant), over: &Over) -> Vec<f64> {
        let enough = usize::try_from(self.length).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        let mut at = Instant::now();
        let mut start = None;
        loop {
            taken.reserve(usize::try_from(CHUNK).unwrap_or(0));
            for _ in 0..CHUNK {
                let before = ticks::read_in_order();
                call(at);
                taken.push(ticks::read_in_order().wrapping_sub(before));
            }
            at += TICK;
            let Some((start, start_ticks)) = start else {
                taken = Vec::with_capacity(enough);
                over.wait_for_all();
                start = Some((Instant::now(), ticks::read_in_order()));
                continue;
            };
            if taken.len() >= enough || over.is_over() {
                let (ns, passed) = (
                    start.elapsed().as_secs_f64() * 1e9,
                    ticks::read_in_order() - start_ticks,
                );
                over.set();
                let ns_per_tick = ns / float(passed);
                return taken.into_iter().map(|taken| float(taken) * ns_per_tick).collect();
            }
        }
    }
}

/// Lets threads begin together, and signals all when the first is done, so that none is timed while it is alone.
pub(crate) struct Over {
    awaited: AtomicU32,
    is_over: AtomicBool,
}

impl Over {
    pub(crate) fn new(threads: u32) -> Self {
        Self {
            awaited: AtomicU32::new(threads),
            is_over: AtomicBool::new(false),
        }
    }

    fn wait_for_all(&self) {
        // ORDERING: relaxed, here and below; both only signal a time, and publish nothing.
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        let mut spins = 0u32;
        while self.awaited.load(Ordering::Relaxed) > 0 {
            spins = spins.wrapping_add(1);
            if spins % 1024 == 0 {
                // The other may be waiting for this very core.
                thread::yield_now();
            }
            spin_loop();
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
