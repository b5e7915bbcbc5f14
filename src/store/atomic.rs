//! The stores of a limit that never changes: a schedule and a word. Clones share an atomic word, which a loop replaces. A thread's own word is a
//! plain number. Apart from the pair of words of `dual` and the slots of `keyed`, this crate has no other atomics of a meter.
//!
//! # Orderings
//!
//! Every access is relaxed. The state of a meter is one word. So its history is the modification order of one atomic, on which all threads agree
//! under any ordering. The place of an admission in that history is its exchange, and the place of a denial is its load. There is no second location
//! whose order against the word could matter. A conforming decision orders nothing but the meter itself: callers that publish data along with a
//! decision need their own edge.
//!
//! The exception is a word that is closed because another one replaces it. A thread that finds the word closed goes on to the other word, so
//! closing and finding closed are fenced. The fences are off the path of a decision on an open word.
//!
//! # Progress
//!
//! Lock-free: an exchange fails (other than spuriously) only if another thread's admission succeeded. A denial ends at its load, so it is
//! wait-free once the load shows it.

use super::{OwnedStore, Store, at_once};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
#[cfg(feature = "std")]
use crate::clock::counter;
use crate::outcome::{Status, Until};
use crate::schedule::{NotAtOnce, NotStored, Schedule, WordStep};
use crate::units::{Nanos, TimeLine, Volume};
use core::cell::Cell;
use core::convert::Infallible;
use core::hint::spin_loop;
use core::ops::Deref;
#[cfg(ratelimit_meter_loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(ratelimit_meter_loom))]
use {
    core::sync::atomic::{Ordering, fence},
    shared::{Arc, AtomicU64},
};

#[cfg(not(ratelimit_meter_spurious))]
type AtomicWord = PaddedWord;
#[cfg(ratelimit_meter_spurious)]
type AtomicWord = Spurious<PaddedWord>;

/// The place of a word that clones share.
pub(crate) type SharedWord<W = AtomicWord> = Arc<W>;

/// The store of a [`Meter`](crate::Meter): a schedule, and one atomic word that clones share.
pub type Atomic<A> = Fixed<A, SharedWord>;

/// The store of a [`LocalMeter`](crate::LocalMeter): a schedule, and a plain number.
pub type Local<A> = Fixed<A, Inline<Cell<u64>>>;

/// A schedule that never changes, and the place of a word.
#[derive(Debug, Clone)]
pub struct Fixed<A, P> {
    schedule: Schedule<A>,
    word: P,
}

/// The place of a word that lies inside its meter. It has no clones, because a copy would count the same cells twice.
#[derive(Debug)]
pub struct Inline<W>(W);

impl<W> From<W> for Inline<W> {
    fn from(word: W) -> Self {
        Self(word)
    }
}

impl<W> Deref for Inline<W> {
    type Target = W;

    #[inline]
    fn deref(&self) -> &W {
        &self.0
    }
}

impl<A: Algorithm, P: Deref<Target = W>, W: Word<Value = u64>> Store<A> for Fixed<A, P> {
    const NAME: Option<&'static str> = W::NAME;

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.schedule.time_line
    }

    #[inline]
    fn counts_denials(&self) -> bool {
        self.schedule.algorithm.counts_denials()
    }

    #[inline]
    fn read<T>(&self, _at: Nanos, read: impl FnOnce(&Schedule<A>, u64) -> T) -> T {
        read(&self.schedule, self.word.load())
    }

    #[inline]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<T, NotStored> {
        let drained = self.schedule.drained(at);
        self.word.update(|word| step(&self.schedule, word, drained))
    }

    #[inline]
    fn decide_at_once<C: Clock>(&self, n: u32, clock: &C) -> Result<Result<(), Until>, NotAtOnce> {
        at_once::decide(&self.schedule, &*self.word, Ok, n, clock)
    }

    const TAKES_AT_ONCE: bool = true;

    #[inline]
    fn take_at_once<T>(
        &self,
        at: impl FnOnce() -> Nanos,
        n: u32,
        read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        at_once::take(&self.schedule, &*self.word, Ok, at(), n, read)
    }
}

impl<A: Algorithm, P: Deref<Target = W> + From<W>, W: Word<Value = u64>> OwnedStore<A> for Fixed<A, P> {
    fn new(schedule: Schedule<A>, word: u64) -> Self {
        let word = W::holding(word).into();
        Self { schedule, word }
    }

    fn into_parts(self) -> (Schedule<A>, u64) {
        (self.schedule, self.word.load())
    }
}

/// A word that can be read and exchanged.
pub trait Word: Sized {
    /// The type of the word's value.
    type Value: Copy + PartialEq;

    /// The name of a meter with this word, if it differs from the algorithm's name.
    const NAME: Option<&'static str> = None;

    fn holding(value: Self::Value) -> Self;

    /// Reads the word once.
    fn load(&self) -> Self::Value;

    /// Stores `new` if the word is still `seen`. Otherwise, or spuriously, returns the word's value.
    fn compare_exchange_weak(&self, seen: Self::Value, new: Self::Value) -> Result<(), Self::Value>;

    /// Replaces the word by the word that `decide` returns, in one atomic step, and returns the rest of its result. If `decide` returns an
    /// error, the word stays as it is.
    #[inline]
    fn update<T, D>(&self, decide: impl Fn(Self::Value) -> Result<(Self::Value, T), D>) -> Result<T, D> {
        let seen = self.load();
        let (new, made) = decide(seen)?;
        match self.compare_exchange_weak(seen, new) {
            Ok(()) => Ok(made),
            Err(current) => retry(self, seen, current, decide),
        }
    }
}

/// A word alone on its cache line and on the neighbour line that adjacent-line prefetchers fetch with it. So neither another meter's admissions nor
/// the count of handles take the line away.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", repr(align(128)))]
pub struct PaddedWord(AtomicU64);

impl Word for PaddedWord {
    type Value = u64;

    fn holding(word: u64) -> Self {
        Self(AtomicU64::new(word))
    }

    #[inline]
    fn load(&self) -> u64 {
        // ORDERING: relaxed; forms no edge. A stale value can only be one that the word held earlier. An admission on a stale value fails at the
        // exchange. A denial on it takes its place in the modification order before the admissions it has not seen. A stronger ordering would not
        // make the value fresher. Test: `tests/loom/`, one winner for one cell.
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn compare_exchange_weak(&self, seen: u64, new: u64) -> Result<(), u64> {
        // ORDERING: relaxed on both outcomes; forms no edge. Only its place in the modification order is needed, and the value that it returns on
        // failure is only passed to the next decision. Weak, because it is in a loop, and a strong exchange would hide a second loop inside it on
        // LL/SC machines. Test: `tests/loom/`; spurious failure: `--cfg ratelimit_meter_spurious`.
        self.0
            .compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }
}

/// A thread's own word, which no other thread changes.
impl Word for Cell<u64> {
    type Value = u64;

    const NAME: Option<&'static str> = Some("LocalMeter");

    fn holding(word: u64) -> Self {
        Self::new(word)
    }

    #[inline]
    fn load(&self) -> u64 {
        self.get()
    }

    #[inline]
    fn compare_exchange_weak(&self, _seen: u64, new: u64) -> Result<(), u64> {
        self.set(new);
        Ok(())
    }
}

/// A word whose weak exchange fails spuriously two times in three, as LL/SC machines may and x86 never does.
#[cfg(ratelimit_meter_spurious)]
#[derive(Debug)]
pub struct Spurious<W> {
    word: W,
    attempts: AtomicU64,
}

#[cfg(ratelimit_meter_spurious)]
impl<W: Word> Word for Spurious<W> {
    type Value = W::Value;

    fn holding(value: W::Value) -> Self {
        Self {
            word: W::holding(value),
            attempts: AtomicU64::new(0),
        }
    }

    fn load(&self) -> W::Value {
        self.word.load()
    }

    fn compare_exchange_weak(&self, seen: W::Value, new: W::Value) -> Result<(), W::Value> {
        // ORDERING: relaxed; forms no edge. A count of attempts, which no other code reads.
        if self.attempts.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            self.word.compare_exchange_weak(seen, new)
        } else {
            // The value that a spurious failure reports is the current one, often `seen` itself.
            Err(self.load())
        }
    }
}

/// The kind of shared word on this target.
#[cfg(not(ratelimit_meter_loom))]
pub(crate) mod shared {
    /// Without an allocator, a word lies inside its meter. Threads share a reference to the meter, which has no clones.
    #[cfg(not(feature = "alloc"))]
    pub(super) use super::Inline as Arc;
    #[cfg(feature = "alloc")]
    pub(super) use alloc::sync::Arc;
    #[cfg(target_has_atomic = "64")]
    pub(crate) use core::sync::atomic::AtomicU64;
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use portable_atomic::AtomicU64;
}

/// The value of a closed word. The last word of every limit is smaller.
const CLOSED: u64 = u64::MAX;

/// The word was closed, and its successor can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// A word that can be closed.
pub(crate) struct ClosableWord(AtomicWord);

impl ClosableWord {
    pub(crate) fn new(word: u64) -> Self {
        Self(Word::holding(word))
    }

    /// Reads the word once.
    #[inline]
    pub(crate) fn load(&self) -> Result<u64, Closed> {
        open(self.0.load())
    }

    /// Works as [`Word::update`], on a word that may have been closed.
    #[inline]
    pub(crate) fn update<T, D>(&self, decide: impl Fn(u64) -> Result<(u64, T), D>) -> Result<Result<T, D>, Closed> {
        let updated = self.0.update(|word| {
            let word = open(word).map_err(Err)?;
            decide(word).map_err(Ok)
        });
        match updated {
            Ok(made) => Ok(Ok(made)),
            Err(Ok(denied)) => Ok(Err(denied)),
            Err(Err(closed)) => Err(closed),
        }
    }

    /// Works as [`Store::decide_at_once`], on a word that may have been closed.
    #[inline]
    pub(crate) fn decide_at_once<A: Algorithm>(
        &self,
        schedule: &Schedule<A>,
        n: u32,
        clock: &impl Clock,
    ) -> Result<Result<(), Until>, NotAtOnce> {
        at_once::decide(
            schedule,
            &self.0,
            |word| open(word).map_err(|Closed| NotAtOnce::Closed),
            n,
            clock,
        )
    }

    /// Works as [`Store::take_at_once`], on a word that may have been closed.
    #[inline]
    pub(crate) fn take_at_once<A: Algorithm, T>(
        &self,
        schedule: &Schedule<A>,
        at: Nanos,
        n: u32,
        read: impl FnOnce(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        at_once::take(
            schedule,
            &self.0,
            |word| open(word).map_err(|Closed| NotAtOnce::Closed),
            at,
            n,
            read,
        )
    }

    /// Stores `word` in a word that is not closed.
    pub(crate) fn set(&self, word: u64) {
        let set: Result<(), Infallible> = self.0.update(|_| Ok((word, ())));
        set.unwrap_or_else(|never| match never {});
    }

    /// Closes the word for good, after `hand_over` has made its successor from it. The result of the last call of `hand_over` stands.
    ///
    /// Only one thread may close a word. Lock-free: `hand_over` is called again only if an admission succeeded in between.
    pub(crate) fn close<T>(&self, hand_over: impl Fn(u64) -> T) -> T {
        let mut seen = self.0.load();
        loop {
            let handed_over = hand_over(seen);
            // ORDERING: release. Pairs with the fence in `open`, so that a thread which finds the word closed sees all that `hand_over`
            // wrote. Acquire is not needed: nothing is read through the word. Weaker breaks the loom test
            // `adjustable::gcra::cells_admitted_around_a_change_stay_counted`.
            fence(Ordering::Release);
            match self.0.compare_exchange_weak(seen, CLOSED) {
                Ok(()) => return handed_over,
                Err(current) => seen = current,
            }
        }
    }
}

/// Returns the word, unless it is closed.
#[inline]
fn open(word: u64) -> Result<u64, Closed> {
    if word != CLOSED {
        return Ok(word);
    }
    // ORDERING: acquire. Pairs with the release fence in `ClosableWord::close`, after which the loaded value was stored, so that the successor
    // is visible from here on. A fence, so that loads of open words stay relaxed. Weaker breaks the same test.
    fence(Ordering::Acquire);
    Err(Closed)
}

/// The number of pauses in one try of a decision after lost races.
pub(crate) const PAUSES: u32 = 1;

/// The length of a pause in counts of the processor's counter: 0.4 to 0.8 us at 4 to 2 counts a nanosecond.
///
/// During the pause the winner makes its next decisions without moving the line back and forth. The counter bounds the pause, because the time of a
/// spin-loop hint depends on the processor: 13 ns (Sapphire Rapids), 28 ns (Zen 5) or 56 ns (Skylake). A much shorter pause gains nothing, and one
/// twice as long gains little (tables in `docs/benchmarks.md`).
const PAUSE_COUNTS: u64 = 1536;

/// The length of a pause in hints if the counter is not read. If it is read, the second constant limits the hints, in case the counter stands still.
const PAUSE_HINTS: u32 = 32;
const MOST_HINTS: u32 = 128;

#[cold]
#[inline(never)]
fn retry<W: Word, T, D>(
    word: &W,
    mut seen: W::Value,
    mut current: W::Value,
    decide: impl Fn(W::Value) -> Result<(W::Value, T), D>,
) -> Result<T, D> {
    let mut pauses = PAUSES;
    loop {
        // A spurious failure is not a lost race.
        if current != seen && pauses > 0 {
            pauses -= 1;
            pause();
            current = word.load();
        }
        seen = current;
        let (new, made) = decide(seen)?;
        match word.compare_exchange_weak(seen, new) {
            Ok(()) => return Ok(made),
            Err(other) => current = other,
        }
    }
}

/// Pauses after a lost race.
pub(crate) fn pause() {
    if cfg!(ratelimit_meter_loom) {
        // Loom treats a hint as a yield, and models no caches.
        return;
    }
    // Counts of other processors are of any length.
    #[cfg(feature = "std")]
    if cfg!(target_arch = "x86_64") && counter::is_trusted() {
        let start = counter::read();
        for _ in 0..MOST_HINTS {
            spin_loop();
            if counter::read().wrapping_sub(start) >= PAUSE_COUNTS {
                break;
            }
        }
        return;
    }
    (0..PAUSE_HINTS).for_each(|_| spin_loop());
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    //! The retry loop and the decision at once, over words that observe or disturb them.

    #[cfg(feature = "std")]
    use super::ClosableWord;
    use super::{Fixed, Inline, Local, Word};
    use crate::algorithm::{Algorithm, Decide, Numbers};
    #[cfg(feature = "std")]
    use crate::algorithms::ExponentialAverage;
    use crate::algorithms::{ContinuousState, VirtualScheduling};
    use crate::clock::{Clock, LAG_NS};
    #[cfg(feature = "std")]
    use crate::outcome::Status;
    use crate::quota::Quota;
    use crate::schedule::{NotAtOnce, Schedule};
    #[cfg(feature = "std")]
    use crate::store::Swappable;
    use crate::store::{OwnedStore, Store};
    use crate::time::Instant;
    use crate::units::{Anchored, Nanos, TimeLine, UnitScale, Volume};
    use core::cell::Cell as Counter;
    use core::num::NonZeroU32;
    use core::time::Duration;
    use proptest::prelude::*;

    /// Counts the loads and the exchanges, successful or not.
    #[derive(Default)]
    struct CountingWord {
        word: Counter<u64>,
        loads: Counter<u32>,
        exchanges: Counter<u32>,
        /// The value that another thread stores just before the next exchange.
        interference: Counter<Option<u64>>,
        /// True if the next exchange fails spuriously.
        is_spurious: Counter<bool>,
    }

    impl Word for CountingWord {
        type Value = u64;

        fn holding(word: u64) -> Self {
            Self {
                word: Counter::new(word),
                ..Self::default()
            }
        }

        fn load(&self) -> u64 {
            self.loads.set(self.loads.get() + 1);
            self.word.get()
        }

        fn compare_exchange_weak(&self, seen: u64, new: u64) -> Result<(), u64> {
            self.exchanges.set(self.exchanges.get() + 1);
            if let Some(other) = self.interference.take() {
                self.word.set(other);
            }
            if self.word.get() == seen && !self.is_spurious.take() {
                self.word.set(new);
                Ok(())
            } else {
                Err(self.word.get())
            }
        }
    }

    fn check(word: &CountingWord, algorithm: &impl Decide, drained: Volume, n: u32) -> bool {
        word.update(|w| algorithm.decide(w, drained, n).map(|new| (new, ())))
            .is_ok()
    }

    fn three_a_second<A: Decide>() -> A {
        A::from_quota(Quota::per_second(NonZeroU32::new(3).unwrap())).unwrap()
    }

    fn a_denial_loads_once_and_stores_nothing<A: Decide>() {
        let algorithm: A = three_a_second();
        let word = CountingWord::holding(0);
        let drained = Volume(5_000_000_000);
        for _ in 0..3 {
            assert!(check(&word, &algorithm, drained, 1));
        }
        let (loads, exchanges, full) = (word.loads.get(), word.exchanges.get(), word.word.get());
        for denied in 1..=1000 {
            assert!(!check(&word, &algorithm, drained, 1));
            assert!(!check(&word, &algorithm, drained, 3));
            assert_eq!(word.loads.get(), loads + 2 * denied);
        }
        assert_eq!((word.exchanges.get(), word.word.get()), (exchanges, full));
    }

    #[test]
    fn gcra_denial_loads_once_and_stores_nothing() {
        a_denial_loads_once_and_stores_nothing::<VirtualScheduling>();
    }

    #[test]
    fn leaky_bucket_denial_loads_once_and_stores_nothing() {
        a_denial_loads_once_and_stores_nothing::<ContinuousState>();
    }

    #[test]
    fn an_admission_is_one_load_and_one_exchange() {
        let algorithm: VirtualScheduling = three_a_second();
        let word = CountingWord::holding(0);
        assert!(check(&word, &algorithm, Volume(0), 1));
        assert_eq!((word.loads.get(), word.exchanges.get()), (1, 1));
    }

    #[test]
    fn lost_race_decides_again_on_the_winners_word() {
        let algorithm: VirtualScheduling = three_a_second();
        let drained = Volume(5_000_000_000);
        let two = algorithm.decide(0, drained, 2).unwrap();
        let full = algorithm.decide(0, drained, 3).unwrap();

        let word = CountingWord::holding(0);
        word.interference.set(Some(two));
        assert!(check(&word, &algorithm, drained, 1));
        assert_eq!((word.word.get(), word.exchanges.get()), (full, 2));

        let word = CountingWord::holding(0);
        word.interference.set(Some(full));
        assert!(!check(&word, &algorithm, drained, 1));
        assert_eq!((word.word.get(), word.exchanges.get()), (full, 1));
    }

    /// A clock with an anchor, and a counter that counts nanoseconds.
    #[derive(Debug, Clone)]
    struct Counting {
        anchor: Nanos,
        /// The counts since the anchor; `None` if the anchor no longer holds.
        counts: Option<u32>,
    }

    impl Clock for Counting {
        const HAS_ANCHORS: bool = true;

        fn now(&self) -> Instant {
            unreachable!("a decision at once reads no time")
        }

        fn anchored(&self, _: &TimeLine, end: Nanos, scale: UnitScale) -> Option<Anchored> {
            (self.anchor < end).then(|| Anchored {
                at: self.anchor,
                volume: scale.volume_at(self.anchor),
                per_count: scale.volume_of(1 << Anchored::FRACTION).unwrap().0,
            })
        }

        fn anchor_holds(&self) -> bool {
            self.counts.is_some()
        }

        fn drained(&self, anchored: Anchored) -> Option<Volume> {
            self.counts.map(|counts| anchored.after(counts))
        }
    }

    fn schedule_of<A: Algorithm>(quota: Quota) -> Schedule<A> {
        Schedule::made_at(Instant::now(), A::from_quota(quota).unwrap(), Some(quota))
    }

    /// Decides at once, up to the lag after the reading of the clock. Compares the decision with the decision at that time.
    fn decision_at_once_is_exact_or_uncertain<A: Algorithm>(
        quota: Quota,
        (clock, behind): (&Counting, u64),
        lead_ns: i64,
        n: u32,
    ) -> Result<(), TestCaseError> {
        let schedule: Schedule<A> = schedule_of(quota);
        let algorithm = schedule.algorithm;
        let n = n % (algorithm.max_batch().min(7) + 2);
        let n = n.max(1);
        let reading = clock.anchor.later(clock.counts.unwrap_or(0).into());
        let (now, last) = (schedule.drained(reading.later(behind)), algorithm.limit().last_word());
        // A word with which a cell is due about `lead_ns` after the anchor.
        let beyond = i128::from(last) - i128::from(algorithm.due(last, 1).0);
        let per_ns = i128::from(schedule.scale.volume_of(1 << 20).unwrap().0);
        let word = i128::from(schedule.drained(clock.anchor).0) + beyond + ((i128::from(lead_ns) * per_ns) >> 20);
        let word = u64::try_from(word.clamp(0, last.into())).unwrap();

        let store: Local<A> = OwnedStore::new(schedule, word);
        let decided = store.decide_at_once(n, clock);
        let (_, after) = store.into_parts();
        if n > algorithm.max_batch() || clock.anchor >= schedule.at_once_until {
            prop_assert!(matches!(decided, Err(NotAtOnce::Uncertain)));
            prop_assert_eq!(after, word);
            return Ok(());
        }
        let exact = algorithm.decide(word, now, n);
        match decided {
            Ok(Ok(())) => {
                prop_assert!(exact.is_ok_and(|exact| word < after && after <= exact));
                prop_assert!(clock.counts.is_some());
            }
            Ok(Err(until)) => {
                prop_assert_eq!(exact, Err(until.due));
                prop_assert_eq!(after, word);
                prop_assert!(clock.counts.is_some());
            }
            Err(not_at_once) => {
                prop_assert!(matches!(not_at_once, NotAtOnce::Uncertain));
                prop_assert_eq!(after, word);
                // The decision depends on the time, so it is a denial by the reading that may be over.
                let by_reading = algorithm.decide(word, schedule.drained(reading), n);
                let lag = schedule.scale.most_in(LAG_NS) + 6;
                prop_assert!(
                    clock.counts.is_none()
                        || by_reading.is_err_and(|due| due.0 - schedule.drained(reading).0 <= lag)
                        || by_reading.is_ok_and(|_| algorithm.due(word, n).0 + 3 >= schedule.drained(reading).0)
                );
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn decision_at_once_agrees_with_the_exact_time(
            (cells, burst) in (1_u32..=1 << 20, 1_u32..=1 << 20),
            period in prop_oneof![1_000_u64..=1 << 30, 1_u64 << 30..=1 << 60],
            anchor in prop_oneof![
                0_u64..20_000,
                0_u64..1 << 60,
                (1_u64 << 60) - 20_000..=1 << 60,
            ],
            counts in prop_oneof![8 => (0_u32..=5_000).prop_map(Some), 1 => Just(None)],
            behind in prop_oneof![0_u64..=LAG_NS, Just(LAG_NS)],
            lead_ns in prop_oneof![-20_000_i64..=20_000, any::<i64>().prop_map(|ns| ns >> 3)],
            is_due_now in any::<bool>(),
            n in prop_oneof![Just(1), any::<u32>()],
        ) {
            let [cells, burst] = [cells, burst].map(|n| NonZeroU32::new(n).unwrap());
            let Ok(quota) = Quota::new(cells, Duration::from_nanos(period)) else { return Ok(()) };
            let clock = Counting { anchor: Nanos::clamped(anchor), counts };
            let now = i64::from(counts.unwrap_or(0)) + i64::try_from(behind).unwrap();
            let lead_ns = if is_due_now { now + lead_ns % 4 } else { lead_ns };
            #[cfg(feature = "std")]
            if quota.validate().is_ok() {
                decision_at_once_is_exact_or_uncertain::<ExponentialAverage>(quota, (&clock, behind), lead_ns, n)?;
            }
            let quota = quota.allow_burst(burst);
            if quota.validate().is_ok() {
                decision_at_once_is_exact_or_uncertain::<VirtualScheduling>(quota, (&clock, behind), lead_ns, n)?;
                decision_at_once_is_exact_or_uncertain::<ContinuousState>(quota, (&clock, behind), lead_ns, n)?;
            }
        }
    }

    #[test]
    fn race_lost_at_once_is_not_spurious() {
        let schedule: Schedule<VirtualScheduling> = schedule_of(Quota::per_second(NonZeroU32::new(3).unwrap()));
        let clock = Counting {
            anchor: schedule.time_line.made(),
            counts: Some(1_000),
        };
        let store: Fixed<_, Inline<CountingWord>> = OwnedStore::new(schedule, 7);
        store.word.interference.set(Some(8));
        assert!(matches!(store.decide_at_once(1, &clock), Err(NotAtOnce::LostRace)));
        assert_eq!((store.word.word.get(), store.word.exchanges.get()), (8, 1));
        store.word.is_spurious.set(true);
        assert!(matches!(store.decide_at_once(1, &clock), Err(NotAtOnce::Uncertain)));
        assert_eq!((store.word.word.get(), store.word.exchanges.get()), (8, 2));
    }

    /// A quota change before a decision by an old handle, or between its look and its exchange.
    #[cfg(feature = "std")]
    #[test]
    fn closed_word_decides_nothing_at_once() {
        let schedule: Schedule<VirtualScheduling> = schedule_of(Quota::per_second(NonZeroU32::new(3).unwrap()));
        for counts in [Some(1_000), None] {
            let clock = Counting {
                anchor: schedule.time_line.made(),
                counts,
            };
            let word = ClosableWord::new(0);
            word.close(|_| ());
            let decided = word.decide_at_once(&schedule, 1, &clock);
            assert!(matches!(decided, Err(NotAtOnce::Closed)));
            let taken = word.take_at_once(&schedule, schedule.time_line.made(), 1, |_| ());
            assert!(matches!(taken, Err(NotAtOnce::Closed)));
            assert!(word.load().is_err());
        }
    }

    /// Decides once more if an exchange fails spuriously.
    #[cfg(feature = "std")]
    fn decided<T>(decide: impl Fn() -> Result<T, NotAtOnce>) -> T {
        (0..100).find_map(|_| decide().ok()).expect("a decision at once")
    }

    #[cfg(feature = "std")]
    #[test]
    fn old_handle_decides_at_once_by_new_quota() {
        let schedule: Schedule<VirtualScheduling> = schedule_of(Quota::per_second(NonZeroU32::new(3).unwrap()));
        let made = schedule.time_line.made();
        let clock = Counting {
            anchor: made,
            counts: Some(1_000),
        };
        let old: Swappable<VirtualScheduling> = OwnedStore::new(schedule, 0);
        for cells in [5, 2] {
            old.set_quota(Quota::per_second(NonZeroU32::new(cells).unwrap()), || made)
                .unwrap();
        }
        let check = || decided(|| old.decide_at_once(1, &clock));
        let taken = || decided(|| old.take_at_once(|| made.later(1_000), 1, Status::remaining));
        assert!(check().is_ok());
        assert_eq!(taken().unwrap(), 0);
        assert_eq!(
            taken().unwrap_err().1.quota(),
            Some(Quota::per_second(NonZeroU32::new(2).unwrap()))
        );
        assert!(check().is_err());
    }
}
