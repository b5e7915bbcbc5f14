//! The stores of a limit that never changes: a schedule and a word.

use super::atomic::SharedWord;
use super::{OwnedStore, Store};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::outcome::Until;
use crate::schedule::{NotAtOnce, NotStored, Schedule, Step};
use crate::units::{Nanos, TimeLine, Volume};
use core::cell::Cell;

/// The store of a [`Meter`](crate::Meter): a schedule, and one atomic word that clones share.
pub type Atomic<A> = Fixed<A, SharedWord>;

/// The store of a [`LocalMeter`](crate::LocalMeter): a schedule, and a plain number.
pub type Local<A> = Fixed<A, Cell<u64>>;

/// A schedule that never changes, and a word of type `W`.
#[derive(Debug, Clone)]
pub struct Fixed<A, W> {
    schedule: Schedule<A>,
    word: W,
}

/// A word, as its store reads and replaces it.
pub trait Held {
    /// The name of a meter with this word, if it differs from that of its algorithm.
    const NAME: Option<&'static str>;

    fn holding(word: u64) -> Self;
    fn load(&self) -> u64;
    /// Replaces the word if it is still `seen`.
    fn replace(&self, seen: u64, new: u64) -> Result<(), NotAtOnce>;
    /// Replaces the word by the one that `step` returns, in one atomic step. If `step` returns an error, the word stays as it is.
    fn update<T, D>(&self, step: impl Fn(u64) -> Result<Step<T>, D>) -> Result<T, D>;
}

impl Held for SharedWord {
    const NAME: Option<&'static str> = None;

    fn holding(word: u64) -> Self {
        Self::new(word)
    }

    #[inline]
    fn load(&self) -> u64 {
        self.load()
    }

    #[inline]
    fn replace(&self, seen: u64, new: u64) -> Result<(), NotAtOnce> {
        self.replace(seen, new)
    }

    #[inline]
    fn update<T, D>(&self, step: impl Fn(u64) -> Result<Step<T>, D>) -> Result<T, D> {
        self.update(step)
    }
}

impl Held for Cell<u64> {
    const NAME: Option<&'static str> = Some("LocalMeter");

    fn holding(word: u64) -> Self {
        Self::new(word)
    }

    #[inline]
    fn load(&self) -> u64 {
        self.get()
    }

    #[inline]
    fn replace(&self, _seen: u64, new: u64) -> Result<(), NotAtOnce> {
        self.set(new);
        Ok(())
    }

    #[inline]
    fn update<T, D>(&self, step: impl Fn(u64) -> Result<Step<T>, D>) -> Result<T, D> {
        let (word, made) = step(self.get())?;
        self.set(word);
        Ok(made)
    }
}

impl<A: Algorithm, W: Held> Store<A> for Fixed<A, W> {
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

impl<A: Algorithm, W: Held> OwnedStore<A> for Fixed<A, W> {
    fn new(schedule: Schedule<A>, word: u64) -> Self {
        Self {
            schedule,
            word: W::holding(word),
        }
    }

    fn into_parts(self) -> (Schedule<A>, u64) {
        (self.schedule, self.word.load())
    }
}
