//! Runs the checks, on a board as on a host. Exits with 0 if all hold.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    for (name, check) in ratelimit_meter_targets::CHECKS {
        assert!(check(), "{name}: does not hold");
        println!("{name}: holds");
    }
}

/// A board has no exit. This asks for one as Linux does, so that an emulator of user programs (`qemu-arm`) can run the checks.
#[cfg(target_os = "none")]
mod board {
    use core::panic::PanicInfo;

    #[expect(unsafe_code, reason = "the entry of a program without a runtime")]
    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        exit(u32::from(
            !ratelimit_meter_targets::CHECKS.iter().all(|(_, check)| check()),
        ))
    }

    #[panic_handler]
    fn panicked(_: &PanicInfo<'_>) -> ! {
        exit(2)
    }

    #[expect(unsafe_code, reason = "a system call")]
    fn exit(code: u32) -> ! {
        // SAFETY: the system call `exit` does not return. It reads no memory of the program.
        unsafe { core::arch::asm!("mov r7, #1", "svc 0", in("r0") code, options(noreturn, nostack)) }
    }
}
