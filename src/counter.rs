//! The processor's time stamp counter: finds out whether it can be trusted, and reads it.

use core::sync::atomic::{AtomicBool, Ordering};

static IS_TRUSTED: AtomicBool = AtomicBool::new(false);

/// Finds out whether the kernel itself keeps time by the counter. Reads a file.
#[cfg(feature = "std")]
pub(crate) fn find_trust() -> bool {
    let is_supported = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    let is_modelled = cfg!(any(miri, ratelimit_meter_loom));
    let is_trusted = is_supported
        && !is_modelled
        && std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .is_ok_and(|name| name.trim_ascii() == b"tsc");
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

#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn read() -> u64 {
    0
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn read_after(first: u64, second: u64) -> (u64, u64, u64) {
    (0, first, second)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) const fn read_in_order() -> u64 {
    0
}
