//! The stores: each holds the word of a meter and exchanges it.
//!
//! | store | the word | used by |
//! |---|---|---|
//! | [`Atomic`] | one atomic on a cache line of its own, shared by clones | [`Meter`](crate::Meter) |
//! | [`Local`] | a plain number of one thread | [`LocalMeter`](crate::LocalMeter) |
//! | [`Swappable`] | an atomic that is closed when a new quota replaces it | [`Adjustable`](crate::Adjustable) |
//!
//! A key of a table is a store too, in the module `keyed`. The verbs of a meter are written once, over [`Store`].

mod at_once;
mod atomic;
#[cfg(feature = "std")]
mod swappable;

pub use atomic::{Atomic, Local};
#[cfg(feature = "std")]
pub use swappable::Swappable;

#[cfg(feature = "keyed")]
pub(crate) use atomic::PAUSES;
#[cfg(ratelimit_meter_spurious)]
pub(crate) use atomic::Spurious;
pub(crate) use atomic::pause;
#[cfg(all(feature = "keyed", not(ratelimit_meter_loom)))]
pub(crate) use atomic::shared::AtomicU64;
#[cfg(feature = "dual")]
pub(crate) use atomic::{SharedWord, Word};

use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::outcome::{Status, Until};
use crate::schedule::{NotAtOnce, NotStored, Schedule, WordStep};
use crate::units::{Nanos, TimeLine, Volume};

/// The place of a meter's word, with the schedule that gives the word its meaning. Sealed.
pub trait Store<A: Algorithm>: Sized {
    /// The name of a meter on this store, if it differs from the algorithm's name.
    #[doc(hidden)]
    const NAME: Option<&'static str> = None;

    /// Returns the time line, which never changes.
    #[doc(hidden)]
    fn time_line(&self) -> &TimeLine;

    /// Returns whether denied cells count, so that a decision must not be tried twice.
    #[doc(hidden)]
    fn counts_denials(&self) -> bool;

    /// Reads the word once.
    #[doc(hidden)]
    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Schedule<A>, u64) -> T) -> T;

    /// Replaces the word by the result of `step` on the word and the volume drained at `at`, in one atomic step. If `step` returns an error, the word
    /// stays as it is.
    #[doc(hidden)]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<T, NotStored>;

    /// Works as [`update`](Self::update), unless the limit has been changed since this handle was made. Returns `None` if it has.
    #[doc(hidden)]
    fn update_unchanged<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Option<Result<T, NotStored>> {
        Some(self.update(at, step))
    }

    /// Decides `n` cells now, at least 1, if that is possible without the exact time.
    #[doc(hidden)]
    #[inline]
    fn decide_at_once<C: Clock>(&self, _n: u32, _clock: &C) -> Result<Result<(), Until>, NotAtOnce> {
        Err(NotAtOnce::Uncertain)
    }

    /// True if [`take_at_once`](Self::take_at_once) may take cells.
    #[doc(hidden)]
    const TAKES_AT_ONCE: bool = false;

    /// Takes `n` cells, at least 1, at a time, if that needs one look and one exchange. Returns the result of `read` on the status, or the denial and
    /// the status with it.
    #[doc(hidden)]
    #[inline]
    fn take_at_once<T>(
        &self,
        _at: impl FnOnce() -> Nanos,
        _n: u32,
        _read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        Err(NotAtOnce::Uncertain)
    }

    /// True if [`conforms_at_once`](Self::conforms_at_once) may be true.
    #[doc(hidden)]
    const LOOKS_AT_ONCE: bool = false;

    /// Returns true if one look shows that `n` cells, at least 1, conform at a time.
    #[doc(hidden)]
    #[inline]
    fn conforms_at_once(&self, _at: impl FnOnce() -> Nanos, _n: u32) -> bool {
        false
    }

    /// Evaluates a step without applying it.
    #[doc(hidden)]
    #[inline]
    fn look(
        &self,
        at: Nanos,
        look: impl Fn(&Schedule<A>, u64, Volume) -> Result<(), NotStored>,
    ) -> Result<(), NotStored> {
        self.read(at, |schedule, word| look(schedule, word, schedule.drained(at)))
    }

    /// Records that a denial is decided again, so that it is not counted twice.
    #[doc(hidden)]
    #[inline]
    fn decided_again(&self, _denied: &NotStored) {}

    /// Returns whether a request that is denied for lack of a slot is counted, so that it must not be tried twice.
    #[doc(hidden)]
    fn counts_missing_slots(&self) -> bool {
        false
    }

    /// Counts a request that was denied for lack of a slot before its step was tried.
    #[doc(hidden)]
    fn count_missing_slot(&self) {}

    /// Returns the status of a word of this meter.
    #[doc(hidden)]
    #[inline]
    fn status_of(&self, schedule: &Schedule<A>, word: u64, at: Nanos) -> Status {
        schedule.status(word, at)
    }

    /// Returns the status of the meter.
    #[doc(hidden)]
    fn status(&self, at: Nanos) -> Status {
        self.read(at, |schedule, word| self.status_of(schedule, word, at))
    }
}

/// A store that a meter owns, so that it can be made and taken apart. Sealed.
pub trait OwnedStore<A: Algorithm>: Store<A> {
    /// Makes a store that holds `word`.
    #[doc(hidden)]
    fn new(schedule: Schedule<A>, word: u64) -> Self;

    /// Returns the schedule and the word.
    #[doc(hidden)]
    fn into_parts(self) -> (Schedule<A>, u64);
}
