//! The default clock: the processor's counter if the kernel trusts it, anchored to `Instant::now()`.

use super::Clock;
use super::anchor::{Anchor, Broken, Sighting, WINDOW_NS};
use crate::time::{self, Instant, Moment};
use crate::units::{Anchored, Nanos, TimeLine, UnitScale, Volume};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The source that [`DefaultClock`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSource {
    /// The processor's counter (x86-64: the time stamp counter; aarch64: the virtual count), anchored to [`Instant::now`] every few microseconds.
    Counter,
    /// [`Instant::now`] itself.
    System,
}

/// Returns the source that [`DefaultClock`] reads in this process from now on.
///
/// The source is the counter if the kernel itself keeps time by it: Linux with clock source `tsc` on x86-64, or `arch_sys_counter` on aarch64. If the
/// counter is found out of step, it is given up for good. Otherwise the source is the system clock.
///
/// ```
/// println!("meters read the {:?}", ratelimit_meter::clock::source());
/// ```
#[must_use]
pub fn source() -> ClockSource {
    match state() {
        COUNTER => ClockSource::Counter,
        _ => ClockSource::System,
    }
}

/// Returns whether the counter was found out of step.
#[cfg(feature = "metrics")]
pub(crate) fn counter_given_up() -> bool {
    state() == GIVEN_UP
}

/// The number of anchors that all threads have set.
#[cfg(feature = "metrics")]
static ANCHORS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of anchors that all threads have set.
#[cfg(feature = "metrics")]
pub(crate) fn anchors() -> u64 {
    // ORDERING: relaxed. A count of events, which orders nothing.
    ANCHORS.load(Ordering::Relaxed)
}

const UNKNOWN: u8 = 0;
const COUNTER: u8 = 1;
const SYSTEM: u8 = 2;
/// The system clock, but never behind the counter's last reading before it was given up.
const GIVEN_UP: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The counter's frequency, as found by the first thread that measured it.
static RATE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ANCHOR: Anchor = const { Anchor::new() };
}

fn state() -> u8 {
    // ORDERING: relaxed, here and below; forms no edge. The state is one byte that publishes nothing. Threads that race to find it find the same
    // state. A thread that has not seen that the counter was given up reads it for one window longer.
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = if counter::find_trust() { COUNTER } else { SYSTEM };
            // A thread that was overtaken does not undo a later finding.
            let raced = STATE.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
            raced.err().unwrap_or(found)
        }
        state => state,
    }
}

/// The default clock: true to [`Instant::now`], at the cost of reading the processor's counter where that can be trusted.
///
/// A reading is never ahead of `Instant::now()` and at most 5 us behind it, at any uptime. It never goes back within a thread. Each thread anchors
/// the counter to `Instant::now()` again after every 5 us, without synchronisation. There is no spinning, at start-up or later.
///
/// A jump of the counter (suspend, live migration) makes a new anchor. A pause in which the machine and its counter both stand still can go unnoticed
/// for one window. A counter found out of step is given up for good. [`source`] returns the source in use.
///
/// If a meter on this clock denies cells by less than that bound, it decides once more by `Instant::now()`. To use the system clock itself, name it:
/// [`SystemClock`](super::SystemClock).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultClock;

impl DefaultClock {
    /// Returns the nanoseconds from the [epoch](time::since_epoch) until now, for companions that count in them.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn since_epoch(self) -> u64 {
        // A thread has an anchor only if the counter is trusted. Before it sets the next anchor, it asks whether the counter is still trusted.
        ANCHOR.with(|anchor| anchor.read(counter::read)).unwrap_or_else(sighted)
    }
}

/// Reads the time from the system clock, and sets an anchor at it.
#[cold]
#[inline(never)]
fn sighted() -> u64 {
    ANCHOR.with(|anchor| match state() {
        COUNTER => {
            // ORDERING: relaxed. A count of events, which orders nothing.
            #[cfg(feature = "metrics")]
            ANCHORS.fetch_add(1, Ordering::Relaxed);
            let sighting = Sighting {
                before: counter::read_in_order(),
                ns: time::since_epoch(Instant::now()),
                after: counter::read_in_order(),
            };
            // ORDERING: relaxed, both; forms no edge. The frequency is a number that publishes nothing, and every thread that stored it measured it
            // correctly.
            let known = RATE.load(Ordering::Relaxed);
            match anchor.renew(sighting, known) {
                Ok(ns) => {
                    if known == 0 && anchor.rate.get() != 0 {
                        RATE.store(anchor.rate.get(), Ordering::Relaxed);
                    }
                    ns
                }
                Err(Broken) => {
                    STATE.store(GIVEN_UP, Ordering::Relaxed);
                    anchor.distrust();
                    sighting.ns.max(anchor.latest())
                }
            }
        }
        GIVEN_UP => {
            anchor.distrust();
            time::since_epoch(Instant::now()).max(anchor.latest())
        }
        _ => time::since_epoch(Instant::now()),
    })
}

impl Clock for DefaultClock {
    const LAG_NS: u64 = WINDOW_NS;

    #[inline]
    fn now(&self) -> Instant {
        time::at(self.since_epoch())
    }

    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        line.position_since_epoch(self.since_epoch())
    }

    #[inline]
    fn moment(&self) -> Moment {
        Moment::SinceEpoch(self.since_epoch())
    }

    const HAS_ANCHORS: bool = counter::EXISTS;

    #[inline]
    fn anchored(&self, line: &TimeLine, end: Nanos, scale: UnitScale) -> Option<Anchored> {
        ANCHOR.with(|anchor| Anchored::new(line, end, scale, anchor.from.get(), anchor.rate.get()))
    }

    #[inline]
    fn anchor_holds(&self) -> bool {
        let count = counter::read();
        ANCHOR.with(|anchor| anchor.counts(count)).is_some()
    }

    #[inline]
    fn drained(&self, mut anchored: Anchored) -> Option<Volume> {
        let count;
        (count, anchored.volume.0, anchored.per_count) = counter::read_after(anchored.volume.0, anchored.per_count);
        let counts = ANCHOR.with(|anchor| anchor.counts(count))?;
        Some(anchored.after(counts))
    }

    fn now_exactly(&self) -> Instant {
        Instant::now()
    }
}

/// The processor's counter of time: finds out whether it can be trusted, and reads it. On x86-64 it is the time stamp counter, and on aarch64 the
/// virtual count.
pub(crate) mod counter {
    use core::sync::atomic::{AtomicBool, Ordering};

    /// The name by which Linux calls the counter.
    const NAME: &[u8] = if cfg!(target_arch = "aarch64") {
        b"arch_sys_counter"
    } else {
        b"tsc"
    };

    /// True if the counter can be read on this target.
    pub(crate) const EXISTS: bool = cfg!(any(
        target_arch = "x86_64",
        all(target_os = "linux", target_arch = "aarch64")
    ));

    static IS_TRUSTED: AtomicBool = AtomicBool::new(false);

    /// Finds out whether the kernel itself keeps time by the counter. Reads a file.
    pub(crate) fn find_trust() -> bool {
        let is_modelled = cfg!(any(miri, ratelimit_meter_loom));
        let is_trusted = EXISTS
            && cfg!(target_os = "linux")
            && !is_modelled
            && std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                .is_ok_and(|name| name.trim_ascii() == NAME);
        // ORDERING: relaxed, here and below; forms no edge. One byte that publishes nothing.
        IS_TRUSTED.store(is_trusted, Ordering::Relaxed);
        is_trusted
    }

    /// Returns whether [`find_trust`] has found that the counter can be trusted.
    pub(crate) fn is_trusted() -> bool {
        IS_TRUSTED.load(Ordering::Relaxed)
    }

    /// Reads the counter, possibly before earlier instructions are done, so a little early.
    ///
    /// It is assembly so that the compiler knows both halves: code that needs the low half alone does not wait for their sum.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(crate) fn read() -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: RDTSC is part of every x86-64. It reads no memory and changes nothing but EAX and EDX, which are declared. A process can be denied it
        // (PR_SET_TSC). But on a kernel that keeps time by it, `Instant::now` is this instruction, too, and works only with it. Test:
        // `real_time_reading_lies_between_two_system_readings`. Miri runs without it.
        unsafe {
            core::arch::asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    /// Reads the counter after the instructions that compute two numbers, and returns it with them.
    ///
    /// Without this order, the compiler computes the numbers where they are used, after the reading, and each adds its full latency there.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(crate) fn read_after(mut first: u64, mut second: u64) -> (u64, u64, u64) {
        let (low, high): (u32, u32);
        // SAFETY: as in `read`. The numbers are only named in a comment, so they stay as they are.
        unsafe {
            core::arch::asm!(
                "rdtsc",
                "/* {first} {second} */",
                first = inout(reg) first,
                second = inout(reg) second,
                out("eax") low,
                out("edx") high,
                options(nomem, nostack, preserves_flags)
            );
        }
        (u64::from(high) << 32 | u64::from(low), first, second)
    }

    /// Reads the counter once all earlier instructions are done.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(crate) fn read_in_order() -> u64 {
        // SAFETY: LFENCE is part of SSE2, which every x86-64 has; it touches no memory.
        unsafe { core::arch::x86_64::_mm_lfence() };
        read()
    }

    /// Reads the counter, possibly before earlier instructions are done, so a little early.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    #[inline]
    #[expect(unsafe_code, reason = "the register has no safe form")]
    pub(crate) fn read() -> u64 {
        let count: u64;
        // SAFETY: CNTVCT_EL0 is part of every ARMv8-A. Reading it touches no memory and changes nothing but the declared register. Linux lets processes
        // read it, or reads it in their place where the processor has an erratum. A process can be denied it (PR_SET_TSC). But on a kernel that keeps time
        // by it, `Instant::now` reads this register, too, and works only with it. Test: `.ci/targets --all` runs
        // `real_time_reading_lies_between_two_system_readings` in qemu.
        unsafe {
            core::arch::asm!("mrs {count}, cntvct_el0", count = out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }

    /// Reads the counter after the instructions that compute two numbers, and returns it with them.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    #[inline]
    #[expect(unsafe_code, reason = "the register has no safe form")]
    pub(crate) fn read_after(mut first: u64, mut second: u64) -> (u64, u64, u64) {
        let count: u64;
        // SAFETY: as in `read`. The numbers are only named in a comment, so they stay as they are.
        unsafe {
            core::arch::asm!(
                "mrs {count}, cntvct_el0",
                "/* {first} {second} */",
                first = inout(reg) first,
                second = inout(reg) second,
                count = out(reg) count,
                options(nomem, nostack, preserves_flags)
            );
        }
        (count, first, second)
    }

    /// Reads the counter once all earlier instructions are done.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(crate) fn read_in_order() -> u64 {
        // SAFETY: ISB flushes the pipeline, and touches no memory.
        unsafe { core::arch::asm!("isb", options(nomem, nostack, preserves_flags)) };
        read()
    }

    #[cfg(not(any(target_arch = "x86_64", all(target_os = "linux", target_arch = "aarch64"))))]
    pub(crate) const fn read() -> u64 {
        0
    }

    #[cfg(not(any(target_arch = "x86_64", all(target_os = "linux", target_arch = "aarch64"))))]
    pub(crate) const fn read_after(first: u64, second: u64) -> (u64, u64, u64) {
        (0, first, second)
    }

    #[cfg(not(any(target_arch = "x86_64", all(target_os = "linux", target_arch = "aarch64"))))]
    pub(crate) const fn read_in_order() -> u64 {
        0
    }

    #[cfg(all(test, not(ratelimit_meter_loom)))]
    mod tests {
        use super::{find_trust, read_after, read_in_order};

        /// Both ways to read the counter read the same one, in the order of the program.
        #[test]
        fn readings_of_the_counter_are_in_order() {
            if !find_trust() {
                return;
            }
            let first = read_in_order();
            // The next reading waits for `first`, and `last` waits for both.
            let _ = read_in_order();
            let (count, one, other) = read_after(1, u64::MAX);
            let last = read_in_order();
            assert!(first <= count && count <= last, "{first}, {count}, {last}");
            assert!(last > u64::from(u32::MAX), "both halves are read");
            assert_eq!((one, other), (1, u64::MAX));
        }
    }
}
