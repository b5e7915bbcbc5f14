//! Shared pointers that change, each with a model for loom.

#[cfg(ratelimit_meter_loom)]
pub(super) use self::model::{Arc, Current, Mutex, Next};
#[cfg(not(ratelimit_meter_loom))]
pub(super) use self::real::{Arc, Current, Mutex, Next};

#[cfg(not(ratelimit_meter_loom))]
mod real {
    use arc_swap::{ArcSwap, ArcSwapOption};
    pub(in crate::store::swappable) use std::sync::{Arc, Mutex};

    /// A pointer that is read without a lock and without counting.
    pub(in crate::store::swappable) struct Current<T>(ArcSwap<T>);

    impl<T> Current<T> {
        pub(in crate::store::swappable) fn new(value: Arc<T>) -> Self {
            Self(ArcSwap::new(value))
        }

        /// Reads the value that the pointer points to. The value lives at least as long as the reading takes.
        #[inline]
        pub(in crate::store::swappable) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.0.load())
        }

        pub(in crate::store::swappable) fn get(&self) -> Arc<T> {
            self.0.load_full()
        }

        pub(in crate::store::swappable) fn set(&self, value: Arc<T>) {
            self.0.store(value);
        }
    }

    /// A pointer to the next node, set for a while.
    pub(in crate::store::swappable) struct Next<T>(ArcSwapOption<T>);

    impl<T> Next<T> {
        pub(in crate::store::swappable) fn none() -> Self {
            Self(ArcSwapOption::empty())
        }

        pub(in crate::store::swappable) fn get(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        pub(in crate::store::swappable) fn set(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }
    }
}

#[cfg(ratelimit_meter_loom)]
mod model {
    use loom::sync::atomic::{AtomicBool, Ordering};
    pub(in crate::store::swappable) use loom::sync::{Arc, Mutex};
    use std::sync::PoisonError;

    pub(in crate::store::swappable) struct Current<T>(Mutex<Arc<T>>);

    impl<T> Current<T> {
        pub(in crate::store::swappable) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(in crate::store::swappable) fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
            read(&self.get())
        }

        pub(in crate::store::swappable) fn get(&self) -> Arc<T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        pub(in crate::store::swappable) fn set(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }

    /// A pointer that orders nothing: loom does not know its lock.
    pub(in crate::store::swappable) struct Next<T> {
        value: std::sync::Mutex<Option<Arc<T>>>,
        is_set: AtomicBool,
    }

    impl<T> Next<T> {
        pub(in crate::store::swappable) fn none() -> Self {
            Self {
                value: std::sync::Mutex::new(None),
                is_set: AtomicBool::new(false),
            }
        }

        pub(in crate::store::swappable) fn get(&self) -> Option<Arc<T>> {
            // ORDERING: relaxed, here and in `set`. They must form no edge, so that loom shows an edge that is missing elsewhere.
            let is_set = self.is_set.load(Ordering::Relaxed);
            let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            value.as_ref().filter(|_| is_set).cloned()
        }

        pub(in crate::store::swappable) fn set(&self, value: Option<Arc<T>>) {
            let is_set = value.is_some();
            let old = std::mem::replace(&mut *self.value.lock().unwrap_or_else(PoisonError::into_inner), value);
            self.is_set.store(is_set, Ordering::Relaxed);
            drop(old);
        }
    }
}
