//! The limits that a wait queue serves from: the trait, the meters of the core, and numbers of cells.

use crate::clock::{CAN_BE_PAUSED, Shift, TokioClock};
use crate::error::{AcquireError, InsufficientCapacity};
use core::any::TypeId;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, DefaultClock};
use ratelimit_meter::store::Store;
use ratelimit_meter::{Dual, KeyedMeter, Meter, MeterKind, NegativeDualDecision, NegativeMultiDecision, Snapshot};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A limit that callers can wait for: a meter of the core, or the [`Bucket`](crate::Bucket) of a [`RateLimiter`](crate::RateLimiter).
///
/// The trait is sealed in effect: its methods are not part of the public API.
pub trait Source: Send + Sync + Sized + 'static {
    /// The output of an acquire: `()` if it always succeeds in the end.
    type Outcome;

    /// The error for a number of cells that never comes.
    #[doc(hidden)]
    type Never: Into<AcquireError>;

    /// The part of the source that the queue's lock guards.
    #[doc(hidden)]
    type State: Send;

    /// A copy of the source, on which waiters are served in advance.
    #[doc(hidden)]
    type Ahead: Send;

    /// True if the source can be changed without the queue.
    #[doc(hidden)]
    const CHANGES_ELSEWHERE: bool;

    #[doc(hidden)]
    fn outcome(result: Result<(), Self::Never>) -> Self::Outcome;

    /// Denies cells that never come: they are more than can ever come at once, or would come after the end of the time line.
    #[doc(hidden)]
    fn over(&self, n: u64, at: Instant) -> Result<(), Self::Never>;

    /// Returns the instant by the system's clock from which the cells count, if the source has not counted in tokio's time so far.
    #[doc(hidden)]
    fn began(&self) -> Option<Instant> {
        None
    }

    #[doc(hidden)]
    fn state(&self) -> Self::State;

    /// Denies a place in the queue for more cells than can ever come.
    #[doc(hidden)]
    fn queueable(&self, n: u64, at: Instant) -> Result<(), Self::Never>;

    /// Denies more cells than can ever come at one instant.
    #[doc(hidden)]
    fn at_once(&self, n: u64, at: Instant) -> Result<(), InsufficientCapacity>;

    /// Closes the source for callers without the lock, until it is opened. The caller holds the lock.
    #[doc(hidden)]
    fn close(&self, _: &mut Self::State) {}

    /// Opens the source for callers without the lock, because no caller waits. It is open at the start.
    #[doc(hidden)]
    fn open(&self, _: &Self::State) {}

    /// Takes `n` cells now, without the lock; returns `false` if that is not possible, for any reason.
    #[doc(hidden)]
    fn take_unlocked(&self, n: u64, shift: Shift) -> bool;

    /// Takes `n` cells for a caller that does not wait, or returns the instant at which the next part of them is due.
    #[doc(hidden)]
    fn take(&self, state: &mut Self::State, n: u64, at: Instant, queued: bool) -> Result<(), Instant>;

    /// Takes as many of `n` cells as are there, for a caller that does not wait.
    #[doc(hidden)]
    fn take_up_to(&self, state: &mut Self::State, n: u64, at: Instant, queued: bool) -> u64;

    /// Returns the instant, `from` or later, at which the next part of the missing cells is due; `None` if they never come.
    #[doc(hidden)]
    fn due(&self, state: &Self::State, missing: u64, from: Instant) -> Option<Instant>;

    /// Returns the instant at which all of `n` cells are due, if no caller waits and the next part of them is due at `due`.
    #[doc(hidden)]
    fn all_due(&self, _: &Self::State, _n: u64, due: Instant, _now: Instant) -> Instant {
        due
    }

    /// Returns whether cells that are due at `due` come before the end of the time line.
    #[doc(hidden)]
    fn reaches(&self, missing: u64, due: Instant) -> bool;

    /// Returns the instant at which the missing cells are due, `now` or later; `None` if they are more than can ever come at once. Called only if the
    /// source can be changed without the queue.
    #[doc(hidden)]
    fn recheck(&self, _missing: u64, now: Instant) -> Option<Instant> {
        Some(now)
    }

    /// Takes the part of the head's cells that is due, at its instant; or returns the instant at which it is due.
    #[doc(hidden)]
    fn serve(&self, state: &mut Self::State, missing: u64, times: Times) -> Result<Part, Instant>;

    #[doc(hidden)]
    fn ahead(&self, state: &Self::State) -> Self::Ahead;

    /// Returns the instant at which all of `n` cells will have come; `None` if they never come.
    #[doc(hidden)]
    fn due_ahead(&self, ahead: &Self::Ahead, n: u64, from: Instant) -> Option<Instant>;

    /// Serves a waiter in advance, at the instant that [`due_ahead`](Self::due_ahead) returned.
    #[doc(hidden)]
    fn take_ahead(&self, ahead: &mut Self::Ahead, n: u64, from: Instant, due: Instant);

    /// Returns whether the source has the limit and the state of `ahead`. Any instant will do, because both are compared at it.
    #[doc(hidden)]
    fn is_as(&self, ahead: &Self::Ahead, at: Instant) -> bool;

    /// Takes back `n` cells that were taken and not used.
    #[doc(hidden)]
    fn give_back(&self, state: &mut Self::State, n: u64, at: Instant);
}

/// A number of cells: an unsigned integer of any width, or a literal. A length in bytes can be passed directly.
///
/// The trait is sealed.
pub trait CellCount: Copy + sealed::Sealed {
    #[doc(hidden)]
    fn count(self) -> u64;

    /// Returns `count`, or the maximum of this type if that is smaller.
    #[doc(hidden)]
    fn from_count(count: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! impl_cell_count {
    ($($integer:ty),*) => {$(
        impl sealed::Sealed for $integer {}

        impl CellCount for $integer {
            #[inline]
            fn count(self) -> u64 {
                // No platform has a wider `usize`, so this fails only for a negative number.
                u64::try_from(self).expect("a number of cells is not negative")
            }

            fn from_count(count: u64) -> Self {
                Self::try_from(count).unwrap_or(Self::MAX)
            }
        }
    )*};
}

// The type `i32` is that of literals without a suffix.
impl_cell_count!(u8, u16, u32, u64, usize, i32);

/// The instants that bound a serve.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The instant from which the cells count.
    pub from: Instant,
    /// The instant, in whole nanoseconds, by which the cells conform.
    pub due: Instant,
    pub now: Instant,
    /// The earliest instant for a charge that is noticed now.
    pub floor: Option<Instant>,
}

/// The cells that the head has got.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub cells: u64,
    /// The instant at which they were due, or earlier. The next cells are not due before it.
    pub at: Instant,
}

/// Returns an instant that never comes.
pub(crate) fn never(from: Instant) -> Instant {
    const YEAR: u64 = 31_557_600;
    let years = |years| from.checked_add(Duration::from_secs(years * YEAR));
    years(200).or_else(|| years(20)).unwrap_or(from)
}

/// A meter of the core that callers can wait for: a [`Meter`], an [`Adjustable`](ratelimit_meter::Adjustable), a [`Dual`], or the meter of a key in a
/// table.
///
/// The trait is sealed in effect: its methods are not part of the public API.
pub trait Waitable: Send + Sync + 'static {
    #[doc(hidden)]
    type Fork: Waitable;

    /// Returns the limit and the state: a snapshot of each limit.
    #[doc(hidden)]
    fn snapshots(&self, at: Instant) -> [Option<Snapshot>; 2];

    /// Returns the instant at which the meter was made, if its decisions depend on that and it has the system's clock by default.
    #[doc(hidden)]
    fn began(&self) -> Option<Instant>;

    /// Returns whether a denial changes the meter.
    #[doc(hidden)]
    fn counts_denials(&self) -> bool;

    /// Decides now, by the meter's own clock if that has tokio's time and is cheaper.
    #[doc(hidden)]
    fn decide_now(&self, n: u32, shift: Shift) -> bool;

    #[doc(hidden)]
    fn decide(&self, n: u32, at: Instant) -> Result<(), DenialReason>;

    /// Takes cells that conform at some time from `from` until `by`, at the exact position at which they conform.
    #[doc(hidden)]
    fn decide_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), DenialReason>;

    #[doc(hidden)]
    fn look(&self, n: u32, at: Instant) -> Result<(), DenialReason>;

    #[doc(hidden)]
    fn decide_up_to(&self, n: u32, at: Instant) -> u32;

    #[doc(hidden)]
    fn return_cells(&self, n: u64, at: Instant);

    #[doc(hidden)]
    fn make_idle(&self);

    /// Returns an independent meter in the same state.
    #[doc(hidden)]
    fn split_off(&self) -> Self::Fork;
}

/// The reason of a denial.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum DenialReason {
    Until(Instant),
    Never,
}

impl DenialReason {
    /// Returns the instant from which the cells conform, `at` or later.
    fn until(self, at: Instant) -> Instant {
        match self {
            Self::Until(due) => due.max(at),
            Self::Never => never(at),
        }
    }
}

impl From<NegativeMultiDecision> for DenialReason {
    fn from(denied: NegativeMultiDecision) -> Self {
        match denied {
            NegativeMultiDecision::BatchNonConforming(_, denied) => Self::Until(denied.earliest_possible()),
            NegativeMultiDecision::InsufficientCapacity(_) => Self::Never,
        }
    }
}

impl From<NegativeDualDecision> for DenialReason {
    fn from(denied: NegativeDualDecision) -> Self {
        match denied {
            NegativeDualDecision::BatchNonConforming(_, denied) => Self::Until(denied.earliest_possible()),
            NegativeDualDecision::InsufficientCapacity(..) => Self::Never,
        }
    }
}

/// Implements waiting for the meter that `$meter` evaluates to. `$limited` is the meter or its table: it knows the limit without a key.
macro_rules! impl_waitable {
    (impl [$($generics:tt)*] $waitable:ty, meter ($algorithm:ty, $clock:ty), |$self:ident| $meter:expr, limited $limited:expr) => {
        impl<$($generics)*> Waitable for $waitable {
            type Fork = Meter<$algorithm, TokioClock>;

            fn snapshots(&$self, at: Instant) -> [Option<Snapshot>; 2] {
                [Some($meter.snapshot_at((at, UNIX_EPOCH))), None]
            }

            fn began(&$self) -> Option<Instant> {
                $meter.began().filter(|_| has_default_clock::<$clock>())
            }

            #[inline]
            fn counts_denials(&$self) -> bool {
                $limited.counts_denials()
            }

            #[inline]
            fn decide_now(&$self, n: u32, shift: Shift) -> bool {
                if !CAN_BE_PAUSED && has_default_clock::<$clock>() {
                    $meter.check_n(n).is_ok()
                } else {
                    $meter.check_n_at(n, shift.now()).is_ok()
                }
            }

            fn decide(&$self, n: u32, at: Instant) -> Result<(), DenialReason> {
                Ok($meter.check_n_at(n, at)?)
            }

            fn decide_within(&$self, n: u32, from: Instant, by: Instant) -> Result<(), DenialReason> {
                Ok($meter.check_n_within(n, from, by)?)
            }

            fn look(&$self, n: u32, at: Instant) -> Result<(), DenialReason> {
                Ok($meter.peek_n_at(n, at)?)
            }

            fn decide_up_to(&$self, n: u32, at: Instant) -> u32 {
                $meter.check_up_to_at(n, at).cells()
            }

            fn return_cells(&$self, n: u64, at: Instant) {
                $meter.refund_at(n, at);
            }

            fn make_idle(&$self) {
                $meter.reset();
            }

            fn split_off(&$self) -> Self::Fork {
                $meter.fork(TokioClock)
            }
        }
    };
}

impl_waitable!(
    impl [A: Algorithm + 'static, C: Clock + 'static, S: Store<A> + Send + Sync + 'static] Meter<A, C, S>,
    meter (A, C), |self| self, limited self
);
impl_waitable!(
    impl [
        K: Hash + Send + Sync + 'static,
        M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
        H: BuildHasher + Send + Sync + 'static
    ] KeyOf<K, M, H>,
    meter (M::Algorithm, M::Clock), |self| self.table.key(&self.key), limited self.table
);

/// A key, and the table that has its meter.
pub struct KeyOf<K, M: MeterKind, H> {
    pub(crate) table: KeyedMeter<K, M, H>,
    pub(crate) key: K,
}

impl<K: Hash + fmt::Debug, M: MeterKind, H: BuildHasher> fmt::Debug for KeyOf<K, M, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOf")
            .field("key", &self.key)
            .field("meter", &self.table.key(&self.key))
            .finish()
    }
}

impl<A, B, C> Waitable for Dual<A, B, C>
where
    A: MeterKind<Algorithm: 'static> + 'static,
    B: MeterKind<Algorithm: 'static> + 'static,
    C: Clock + 'static,
{
    type Fork = Dual<A, B, TokioClock>;

    fn snapshots(&self, at: Instant) -> [Option<Snapshot>; 2] {
        self.snapshot_at((at, UNIX_EPOCH)).map(Some)
    }

    fn began(&self) -> Option<Instant> {
        Self::began(self).filter(|_| has_default_clock::<C>())
    }

    fn counts_denials(&self) -> bool {
        Self::counts_denials(self)
    }

    fn decide_now(&self, n: u32, shift: Shift) -> bool {
        if !CAN_BE_PAUSED && has_default_clock::<C>() {
            self.check_n(n).is_ok()
        } else {
            self.check_n_at(n, shift.now()).is_ok()
        }
    }

    fn decide(&self, n: u32, at: Instant) -> Result<(), DenialReason> {
        Ok(self.check_n_at(n, at)?)
    }

    fn decide_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), DenialReason> {
        Ok(self.check_n_within(n, from, by)?)
    }

    fn look(&self, n: u32, at: Instant) -> Result<(), DenialReason> {
        Ok(self.peek_each_at(n, n, at)?)
    }

    fn decide_up_to(&self, n: u32, at: Instant) -> u32 {
        loop {
            // Another thread may take cells between the look and the decision.
            let there = self.status_at(at).remaining().min(n);
            if there == 0 || self.check_n_at(there, at).is_ok() {
                return there;
            }
        }
    }

    fn return_cells(&self, n: u64, at: Instant) {
        self.refund_each_at(n, n, at);
    }

    fn make_idle(&self) {
        self.reset();
    }

    fn split_off(&self) -> Self::Fork {
        self.fork(TokioClock)
    }
}

pub(crate) fn has_default_clock<C: 'static>() -> bool {
    TypeId::of::<C>() == TypeId::of::<DefaultClock>()
}

/// Narrows a count. The count is either no larger than the burst, or will be denied because it is.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl<M: Waitable> Source for M {
    type Outcome = Result<(), InsufficientCapacity>;
    type Never = InsufficientCapacity;
    type State = ();
    type Ahead = M::Fork;

    const CHANGES_ELSEWHERE: bool = true;

    fn outcome(result: Result<(), InsufficientCapacity>) -> Self::Outcome {
        result
    }

    fn over(&self, n: u64, at: Instant) -> Result<(), InsufficientCapacity> {
        // The quota may have been raised since the cells were denied.
        let is_after_the_end = self.at_once(n, at).is_ok() && !self.reaches(n, at);
        Err(if is_after_the_end {
            InsufficientCapacity::after_the_end(n)
        } else {
            InsufficientCapacity::above_burst(n)
        })
    }

    fn began(&self) -> Option<Instant> {
        Waitable::began(self)
    }

    fn state(&self) {}

    fn queueable(&self, n: u64, at: Instant) -> Result<(), InsufficientCapacity> {
        // One cell is never too many.
        if n == 1 { Ok(()) } else { self.at_once(n, at) }
    }

    fn at_once(&self, n: u64, at: Instant) -> Result<(), InsufficientCapacity> {
        match self.look(narrow(n), at) {
            _ if n > u32::MAX.into() => Err(InsufficientCapacity::above_burst(n)),
            Err(DenialReason::Never) => Err(InsufficientCapacity::above_burst(n)),
            _ => Ok(()),
        }
    }

    #[inline]
    fn take_unlocked(&self, n: u64, shift: Shift) -> bool {
        // A denial is followed by a decision with the lock, so one that counts would count twice.
        u32::try_from(n).is_ok_and(|n| !self.counts_denials() && self.decide_now(n, shift))
    }

    fn take(&self, (): &mut (), n: u64, at: Instant, _: bool) -> Result<(), Instant> {
        self.decide(narrow(n), at).map_err(|denied| denied.until(at))
    }

    fn take_up_to(&self, (): &mut (), n: u64, at: Instant, _: bool) -> u64 {
        self.decide_up_to(narrow(n), at).into()
    }

    fn due(&self, (): &(), missing: u64, from: Instant) -> Option<Instant> {
        let looked = self.look(narrow(missing), from);
        let due = looked.map_or_else(|denied| denied.until(from), |()| from);
        (due == from || self.reaches(missing, due)).then_some(due)
    }

    fn reaches(&self, missing: u64, due: Instant) -> bool {
        // At the end of the time line, cells that do not conform never will.
        self.look(narrow(missing), never(due)).is_ok()
    }

    fn recheck(&self, missing: u64, now: Instant) -> Option<Instant> {
        match self.look(narrow(missing), now) {
            Ok(()) => Some(now),
            Err(DenialReason::Never) => None,
            Err(denied) => Some(denied.until(now)),
        }
    }

    fn serve(&self, (): &mut (), missing: u64, times: Times) -> Result<Part, Instant> {
        let from = times.floor.map_or(times.from, |floor| floor.max(times.from));
        self.decide_within(narrow(missing), from, times.now)
            .map_err(|denied| denied.until(from))?;
        Ok(Part {
            cells: missing,
            at: from.max(times.due),
        })
    }

    fn ahead(&self, (): &()) -> M::Fork {
        self.split_off()
    }

    fn due_ahead(&self, ahead: &M::Fork, n: u64, from: Instant) -> Option<Instant> {
        ahead.due(&(), n, from)
    }

    fn take_ahead(&self, ahead: &mut M::Fork, n: u64, from: Instant, due: Instant) {
        // The cells conform at `due`, which was just computed.
        let _ = ahead.decide_within(narrow(n), from, due);
    }

    fn is_as(&self, ahead: &M::Fork, at: Instant) -> bool {
        self.snapshots(at) == ahead.snapshots(at)
    }

    fn give_back(&self, (): &mut (), n: u64, at: Instant) {
        self.return_cells(n, at);
    }
}
