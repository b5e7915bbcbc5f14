//! The lock and the atomics of a queue, from `parking_lot` and the standard library, or from loom in its models.

#[cfg(not(ratelimit_meter_loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(not(ratelimit_meter_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[cfg(ratelimit_meter_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
#[cfg(ratelimit_meter_loom)]
pub(crate) use modelled::{Mutex, MutexGuard};

#[cfg(ratelimit_meter_loom)]
mod modelled {
    use core::ops::{Deref, DerefMut};

    /// Loom's mutex, with the methods of `parking_lot`'s.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T> {
        mutex: &'a loom::sync::Mutex<T>,
        guard: Option<loom::sync::MutexGuard<'a, T>>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            let (mutex, guard) = (&self.0, self.0.lock().ok());
            MutexGuard { mutex, guard }
        }
    }

    impl<T> MutexGuard<'_, T> {
        pub(crate) fn unlocked<U>(locked: &mut Self, f: impl FnOnce() -> U) -> U {
            locked.guard = None;
            let result = f();
            locked.guard = locked.mutex.lock().ok();
            result
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.guard.as_ref().expect("no code panics while it holds the lock")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.guard.as_mut().expect("no code panics while it holds the lock")
        }
    }
}
