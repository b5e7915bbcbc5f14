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

    /// Memory for the tables, never given back: the checks are few.
    #[cfg(any(feature = "dual", feature = "keyed"))]
    mod heap {
        use core::alloc::{GlobalAlloc, Layout};
        use core::cell::UnsafeCell;
        use core::ptr;
        use core::sync::atomic::{AtomicUsize, Ordering};

        const SIZE: usize = 1 << 17;

        #[repr(align(4096))]
        struct Heap {
            bytes: UnsafeCell<[u8; SIZE]>,
            taken: AtomicUsize,
        }

        // SAFETY: no part of `bytes` is given out twice, because `taken` only grows, in one exchange with each part.
        #[expect(unsafe_code, reason = "an allocator")]
        unsafe impl Sync for Heap {}

        // SAFETY: each part that is given out is within `bytes`, aligned as asked (the heap is aligned to more), and given out once.
        #[expect(unsafe_code, reason = "an allocator")]
        unsafe impl GlobalAlloc for Heap {
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                let mut begin = 0;
                let part = |taken: usize| {
                    begin = taken.checked_next_multiple_of(layout.align())?;
                    begin.checked_add(layout.size()).filter(|&end| end <= SIZE)
                };
                // ORDERING: relaxed. A part is only reached through the pointer that is returned.
                match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, part) {
                    Ok(_) if layout.align() <= 4096 => self.bytes.get().cast::<u8>().wrapping_add(begin),
                    _ => ptr::null_mut(),
                }
            }

            unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
        }

        #[global_allocator]
        static HEAP: Heap = Heap {
            bytes: UnsafeCell::new([0; SIZE]),
            taken: AtomicUsize::new(0),
        };
    }

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
