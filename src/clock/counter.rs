//! The processor's time stamp counter: where it can be trusted, and how it is read.

/// Whether the kernel itself keeps time by the counter. Reads a file.
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
