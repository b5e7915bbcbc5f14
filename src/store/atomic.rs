//! The atomic word of a meter, and the loop that replaces it. Apart from the pair of words of `dual` and the slots of `keyed`, this crate
//! has no other atomics of a meter.
//!
//! # Orderings
//!
//! Every access is relaxed. The state of a meter is one word, so its history is the modification order of one atomic, on which all threads
//! agree whatever the ordering. The place of an admission in that history is its exchange, and the place of a denial is its load. There is
//! no second location whose order against the word could matter. A conforming decision orders nothing but the meter itself: callers that
//! publish data along with a decision need their own edge.
//!
//! The exception is a word that is closed because another one replaces it. A thread that finds the word closed goes on to the other word, so
//! closing and finding closed are fenced. The fences are off the path of a decision on an open word.
//!
//! # Progress
//!
//! Lock-free: an exchange fails (other than spuriously) only if another thread's admission succeeded. A denial ends at its load, so it is
//! wait-free once the load shows it.

#[cfg(ratelimit_meter_spurious)]
mod spurious;

use super::{OwnedStore, Store};
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::counter;
use crate::outcome::Until;
use crate::schedule::{NotAtOnce, NotStored, Schedule, Step};
use crate::units::{Nanos, TimeLine, Volume};
use core::convert::Infallible;
use core::hint::spin_loop;
#[cfg(ratelimit_meter_loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(ratelimit_meter_loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering, fence},
};

#[cfg(ratelimit_meter_spurious)]
pub(crate) use spurious::Spurious;

#[cfg(not(ratelimit_meter_spurious))]
type State = AtomicU64;
#[cfg(ratelimit_meter_spurious)]
type State = Spurious<AtomicU64>;

/// A word that can be read and exchanged, as the retry loop needs it.
pub(crate) trait Word {
    /// The type of the word's value.
    type Value: Copy + PartialEq;

    fn holding(value: Self::Value) -> Self;
    fn load(&self) -> Self::Value;
    /// Stores `new` if the word is still `seen`. Otherwise, or spuriously, returns the word's value.
    fn compare_exchange_weak(&self, seen: Self::Value, new: Self::Value) -> Result<(), Self::Value>;
}

impl Word for AtomicU64 {
    type Value = u64;

    fn holding(word: u64) -> Self {
        Self::new(word)
    }

    #[inline]
    fn load(&self) -> u64 {
        // ORDERING: relaxed; forms no edge. A stale value can only be one that the word held earlier. An admission on a stale value fails at the
        // exchange. A denial on it takes its place in the modification order before the admissions it has not seen. A stronger ordering would not
        // make the value fresher. Test: `tests/loom/`, one winner for one cell.
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn compare_exchange_weak(&self, seen: u64, new: u64) -> Result<(), u64> {
        // ORDERING: relaxed on both outcomes; forms no edge. Only its place in the modification order is needed, and the value that it returns on
        // failure is only passed to the next decision. Weak, because it is in a loop, and a strong exchange would hide a second loop inside it on
        // LL/SC machines. Test: `tests/loom/`; spurious failure: `--cfg ratelimit_meter_spurious`.
        self.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
    }
}

/// The store of a [`Meter`](crate::Meter): a schedule, and one atomic word that clones share.
#[derive(Debug, Clone)]
pub struct Atomic<A> {
    schedule: Schedule<A>,
    word: SharedWord,
}

impl<A: Algorithm> Store<A> for Atomic<A> {
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
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<Step<T>, NotStored>,
    ) -> Result<T, NotStored> {
        let drained = self.schedule.drained(at);
        self.word.update(|word| step(&self.schedule, word, drained))
    }

    #[inline]
    fn decide_at_once<C: Clock>(&self, n: u32, clock: &C) -> Result<Result<(), Until>, NotAtOnce> {
        let load = || self.word.load();
        self.schedule
            .decide_at_once(n, clock, load, |seen, new| self.word.replace(seen, new))
    }
}

impl<A: Algorithm> OwnedStore<A> for Atomic<A> {
    fn new(schedule: Schedule<A>, word: u64) -> Self {
        Self {
            schedule,
            word: SharedWord::new(word),
        }
    }

    fn into_parts(self) -> (Schedule<A>, u64) {
        (self.schedule, self.word.load())
    }
}

/// A shared word; its clones are handles of the same word.
#[derive(Debug)]
pub(crate) struct SharedWord<W = State>(Arc<PaddedWord<W>>);

impl<W> Clone for SharedWord<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A word alone on its cache line and on the neighbour line that adjacent-line prefetchers fetch with it. So neither another meter's admissions nor
/// the count of handles take the line away.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct PaddedWord<W = State>(W);

/// The value of a closed word. The last word of every limit is smaller.
const CLOSED: u64 = u64::MAX;

/// The word was closed, and its successor can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl<W: Word> SharedWord<W> {
    /// Makes a new word that no other handle shares.
    pub(crate) fn new(value: W::Value) -> Self {
        Self(Arc::new(PaddedWord(Word::holding(value))))
    }

    /// Reads the word once.
    #[inline]
    pub(crate) fn load(&self) -> W::Value {
        Word::load(&self.0.0)
    }

    /// Replaces the word if it is still `seen`, in one atomic step.
    #[inline]
    fn replace(&self, seen: W::Value, new: W::Value) -> Result<(), NotAtOnce> {
        self.0.0.compare_exchange_weak(seen, new).map_err(|current| {
            // A spurious failure is not a race.
            if current == seen {
                NotAtOnce::Uncertain
            } else {
                NotAtOnce::LostRace
            }
        })
    }

    /// Replaces the word by the one that `decide` returns, in one atomic step, and returns the rest of its result. If `decide` returns an
    /// error, the word stays as it is.
    #[inline]
    pub(crate) fn update<T, D>(&self, decide: impl Fn(W::Value) -> Result<(W::Value, T), D>) -> Result<T, D> {
        update(&self.0.0, decide)
    }
}

impl PaddedWord {
    pub(crate) fn new(word: u64) -> Self {
        Self(Word::holding(word))
    }

    /// Reads the word once.
    #[inline]
    pub(crate) fn load(&self) -> Result<u64, Closed> {
        open(Word::load(&self.0))
    }

    /// Works as [`SharedWord::update`], on a word that may have been closed.
    #[inline]
    pub(crate) fn update<T, D>(&self, decide: impl Fn(u64) -> Result<(u64, T), D>) -> Result<Result<T, D>, Closed> {
        let updated = update(&self.0, |word| {
            let word = open(word).map_err(Err)?;
            decide(word).map_err(Ok)
        });
        match updated {
            Ok(made) => Ok(Ok(made)),
            Err(Ok(denied)) => Ok(Err(denied)),
            Err(Err(closed)) => Err(closed),
        }
    }

    /// Stores `word` in a word that is not closed.
    pub(crate) fn set(&self, word: u64) {
        let set: Result<(), Infallible> = update(&self.0, |_| Ok((word, ())));
        set.unwrap_or_else(|never| match never {});
    }

    /// Closes the word for good, after `hand_over` has made its successor from it. The result of the last call of `hand_over` stands.
    ///
    /// Only one thread may close a word. Lock-free: `hand_over` is called again only if an admission succeeded in between.
    pub(crate) fn close<T>(&self, hand_over: impl Fn(u64) -> T) -> T {
        let mut seen = Word::load(&self.0);
        loop {
            let handed_over = hand_over(seen);
            // ORDERING: release. Pairs with the fence in `open`, so that a thread which finds the word closed sees all that `hand_over`
            // wrote. Acquire is not needed: nothing is read through the word. Weaker breaks the loom test
            // `a_check_goes_on_where_the_quota_was_changed`.
            fence(Ordering::Release);
            match Word::compare_exchange_weak(&self.0, seen, CLOSED) {
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
    // ORDERING: acquire. Pairs with the release fence in `PaddedWord::close`, after which the loaded value was stored, so that the successor
    // is visible from here on. A fence, so that loads of open words stay relaxed. Weaker breaks the same test.
    fence(Ordering::Acquire);
    Err(Closed)
}

#[inline]
fn update<W: Word, T, D>(word: &W, decide: impl Fn(W::Value) -> Result<(W::Value, T), D>) -> Result<T, D> {
    let seen = word.load();
    let (new, made) = decide(seen)?;
    match word.compare_exchange_weak(seen, new) {
        Ok(()) => Ok(made),
        Err(current) => retry(word, seen, current, decide),
    }
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
    if !counter::is_trusted() {
        (0..PAUSE_HINTS).for_each(|_| spin_loop());
        return;
    }
    let start = counter::read();
    for _ in 0..MOST_HINTS {
        spin_loop();
        if counter::read().wrapping_sub(start) >= PAUSE_COUNTS {
            return;
        }
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
