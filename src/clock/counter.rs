//! The processor's counter of time: finds out whether it can be trusted, and reads it. On x86-64 it is the time stamp counter, and on aarch64 the
//! virtual count.

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
