//! The default clock: the processor's counter where the kernel trusts it, anchored to `Instant::now()`.

use super::Clock;
use super::anchor::{Anchor, Broken, Sighting, WINDOW_NS};
use crate::units::{Nanos, TimeLine, since_origin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// What [`DefaultClock`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The processor's time stamp counter, anchored to [`Instant::now`] every few microseconds.
    Counter,
    /// [`Instant::now`] itself.
    System,
}

/// Returns what [`DefaultClock`] reads in this process from now on: the counter where the kernel itself keeps time by it (Linux on
/// x86-64 with clock source `tsc`), until it is found out of step, which gives it up for good; else the system clock.
///
/// ```
/// println!("meters read the {:?}", ratelimit_meter::clock::source());
/// ```
#[must_use]
pub fn source() -> Source {
    match state() {
        COUNTER => Source::Counter,
        _ => Source::System,
    }
}

const UNKNOWN: u8 = 0;
const COUNTER: u8 = 1;
const SYSTEM: u8 = 2;
/// The system clock, but never behind what the counter said before it was given up.
const GIVEN_UP: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The counter's frequency, as the first thread that knew found it.
static RATE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ANCHOR: Anchor = const { Anchor::new() };
}

fn state() -> u8 {
    // ORDERING: relaxed, here and below; the state is one byte that publishes nothing. Threads that race to find it out find the
    // same, and one that has not seen that the counter was given up reads it for a window longer.
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = if counter::is_trusted() { COUNTER } else { SYSTEM };
            // A thread that was overtaken does not undo what was found since.
            let raced = STATE.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
            raced.map_or_else(|state| state, |_| found)
        }
        state => state,
    }
}

/// The default clock: true to [`Instant::now`], at the cost of reading the processor's counter where that can be trusted.
///
/// A reading is never ahead of `Instant::now()` and at most 5 us behind it, at any uptime; it never goes back within a thread. Each
/// thread anchors the counter to `Instant::now()` again after every 5 us, without synchronisation; nothing spins, at start-up or
/// later. A jump of the counter (suspend, live migration) makes a new anchor; a pause in which the machine stands still and the
/// counter with it can go unnoticed for one window. A counter found out of step is given up for good. [`source`] tells what is read.
///
/// Meters on this clock decide a denial short by less than that bound once more by `Instant::now()`. Who wants the system clock
/// itself names it: [`SystemClock`](super::SystemClock).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultClock;

impl DefaultClock {
    /// The nanoseconds from an instant that the process chose once until now; those until `at`. For companions that count in them.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn since_origin(self) -> u64 {
        nanos()
    }

    #[doc(hidden)]
    #[must_use]
    pub fn from_origin_until(self, at: Instant) -> u64 {
        since_origin(at)
    }
}

/// A time in nanoseconds since the process's origin.
#[inline]
fn nanos() -> u64 {
    // ORDERING: relaxed, see `state`.
    if STATE.load(Ordering::Relaxed) == COUNTER {
        let read = ANCHOR.with(|anchor| anchor.read(counter::read()));
        if let Some(ns) = read {
            return ns;
        }
    }
    sighted()
}

/// A time from the system clock, and an anchor at it.
#[cold]
#[inline(never)]
fn sighted() -> u64 {
    ANCHOR.with(|anchor| match state() {
        COUNTER => {
            let sighting = Sighting {
                before: counter::read_in_order(),
                ns: since_origin(Instant::now()),
                after: counter::read_in_order(),
            };
            // ORDERING: relaxed, both; a number that publishes nothing, and whoever stored it found it right.
            let known = RATE.load(Ordering::Relaxed);
            match anchor.renew(sighting, known) {
                Ok(ns) => {
                    if known == 0 && anchor.rate() != 0 {
                        RATE.store(anchor.rate(), Ordering::Relaxed);
                    }
                    ns
                }
                Err(Broken) => {
                    STATE.store(GIVEN_UP, Ordering::Relaxed);
                    sighting.ns.max(anchor.latest())
                }
            }
        }
        GIVEN_UP => since_origin(Instant::now()).max(anchor.latest()),
        _ => since_origin(Instant::now()),
    })
}

impl Clock for DefaultClock {
    const LAG_NS: u64 = WINDOW_NS;

    #[inline]
    fn now(&self) -> Instant {
        crate::units::at_origin_and(nanos())
    }

    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        line.position_since_origin(nanos())
    }

    fn now_exactly(&self) -> Instant {
        Instant::now()
    }
}

/// The processor's time stamp counter: whether it can be trusted, and how it is read.
mod counter {
    /// Returns whether the kernel itself keeps time by the counter. Reads a file.
    pub(super) fn is_trusted() -> bool {
        if cfg!(any(miri, ratelimit_meter_loom)) || !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return false;
        }
        let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        source.is_ok_and(|name| name.trim_ascii() == b"tsc")
    }

    /// Reads the counter, perhaps before earlier instructions are done: a little early.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(super) fn read() -> u64 {
        // SAFETY: RDTSC is part of every x86-64. It reads no memory and changes nothing but registers. A process can be denied it
        // (PR_SET_TSC), but not while `Instant::now` works on a kernel that keeps time by it, where that is this instruction too.
        // Test: `a_reading_lies_between_two_of_the_system_clock`; nothing is left for Miri, which runs without it.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// Reads the counter once all earlier instructions are done.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(super) fn read_in_order() -> u64 {
        // SAFETY: LFENCE is part of SSE2, which every x86-64 has; it touches no memory.
        unsafe { core::arch::x86_64::_mm_lfence() };
        read()
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn read() -> u64 {
        0
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn read_in_order() -> u64 {
        0
    }
}
