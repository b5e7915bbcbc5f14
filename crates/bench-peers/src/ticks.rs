//! The cheapest clock there is: the processor's counter, or `Instant` where it is not known how to read one.

/// The source of the count.
#[cfg(target_arch = "x86_64")]
pub(crate) const NAME: &str = "rdtsc";

/// Reads the counter, perhaps before earlier instructions are done.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the instruction has no safe form")]
pub(crate) fn read() -> u64 {
    // SAFETY: RDTSC is part of every x86-64. It reads no memory and changes nothing but registers. A process can be denied it
    // (PR_SET_TSC), which ends this program with a signal; nothing is unsound about that.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads the counter once all earlier instructions are done.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "the instruction has no safe form")]
pub(crate) fn read_in_order() -> u64 {
    // SAFETY: LFENCE is part of SSE2, which every x86-64 has; it touches no memory.
    unsafe { core::arch::x86_64::_mm_lfence() };
    read()
}

/// The source of the count.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const NAME: &str = "Instant";

/// Nanoseconds since the first reading.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn read() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static FIRST: OnceLock<Instant> = OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the first reading.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn read_in_order() -> u64 {
    read()
}
