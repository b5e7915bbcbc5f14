//! What a chain of nodes hangs on: the pointer to the current one, and the place for the next, each with a model for loom.

#[cfg(ratelimit_meter_loom)]
pub(super) use self::model::{Arc, Current, Mutex, Once};
#[cfg(not(ratelimit_meter_loom))]
pub(super) use self::real::{Arc, Current, Mutex, Once};

#[cfg(not(ratelimit_meter_loom))]
mod real {
    use arc_swap::ArcSwap;
    use std::sync::OnceLock;
    pub(in crate::adjustable) use std::sync::{Arc, Mutex};

    /// A pointer that is read without a lock and without counting.
    pub(in crate::adjustable) struct Current<T>(ArcSwap<T>);

    impl<T> Current<T> {
        pub(in crate::adjustable) fn new(value: Arc<T>) -> Self {
            Self(ArcSwap::new(value))
        }

        /// Reads what it points to, which lives at least as long as that takes.
        #[inline]
        pub(in crate::adjustable) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.0.load())
        }

        pub(in crate::adjustable) fn get(&self) -> Arc<T> {
            self.0.load_full()
        }

        pub(in crate::adjustable) fn set(&self, value: Arc<T>) {
            self.0.store(value);
        }
    }

    /// A place that is filled once.
    pub(in crate::adjustable) struct Once<T>(OnceLock<T>);

    impl<T> Once<T> {
        pub(in crate::adjustable) const fn new() -> Self {
            Self(OnceLock::new())
        }

        pub(in crate::adjustable) fn fill(&self, value: T) -> &T {
            self.0.get_or_init(|| value)
        }

        pub(in crate::adjustable) fn get(&self) -> Option<&T> {
            self.0.get()
        }

        pub(in crate::adjustable) fn take(&mut self) -> Option<T> {
            self.0.take()
        }
    }
}

#[cfg(ratelimit_meter_loom)]
mod model {
    use loom::sync::atomic::{AtomicBool, Ordering};
    pub(in crate::adjustable) use loom::sync::{Arc, Mutex};
    use std::sync::{OnceLock, PoisonError};

    pub(in crate::adjustable) struct Current<T>(Mutex<Arc<T>>);

    impl<T> Current<T> {
        pub(in crate::adjustable) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(in crate::adjustable) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.get())
        }

        pub(in crate::adjustable) fn get(&self) -> Arc<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        pub(in crate::adjustable) fn set(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    /// A place that is seen to be filled by who synchronises with the filling by other means, and perhaps not before.
    pub(in crate::adjustable) struct Once<T> {
        value: OnceLock<T>,
        is_filled: AtomicBool,
    }

    impl<T> Once<T> {
        pub(in crate::adjustable) fn new() -> Self {
            Self {
                value: OnceLock::new(),
                is_filled: AtomicBool::new(false),
            }
        }

        pub(in crate::adjustable) fn fill(&self, value: T) -> &T {
            let value = self.value.get_or_init(|| value);
            // ORDERING: relaxed; it is to form no edge, so that loom shows one that is missing elsewhere.
            self.is_filled.store(true, Ordering::Relaxed);
            value
        }

        pub(in crate::adjustable) fn get(&self) -> Option<&T> {
            // ORDERING: relaxed; as above.
            let is_filled = self.is_filled.load(Ordering::Relaxed);
            self.value.get().filter(|_| is_filled)
        }

        pub(in crate::adjustable) fn take(&mut self) -> Option<T> {
            self.value.take()
        }
    }
}
