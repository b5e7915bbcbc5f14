//! The word of a meter that belongs to one thread.

use super::{OwnedStore, Store};
use crate::algorithms::Algorithm;
use crate::schedule::{NotStored, Schedule, Step};
use crate::units::{Nanos, TimeLine, Volume};
use core::cell::Cell;

/// The store of a [`LocalMeter`](crate::LocalMeter): a plain number.
#[derive(Debug)]
pub struct Local<A> {
    schedule: Schedule<A>,
    word: Cell<u64>,
}

impl<A: Algorithm> Store<A> for Local<A> {
    const NAME: Option<&'static str> = Some("LocalMeter");

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
        read(&self.schedule, self.word.get())
    }

    #[inline]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<Step<T>, NotStored>,
    ) -> Result<T, NotStored> {
        let (word, made) = step(&self.schedule, self.word.get(), self.schedule.drained(at))?;
        self.word.set(word);
        Ok(made)
    }
}

impl<A: Algorithm> OwnedStore<A> for Local<A> {
    fn new(schedule: Schedule<A>, word: u64) -> Self {
        Self {
            schedule,
            word: Cell::new(word),
        }
    }

    fn into_parts(self) -> (Schedule<A>, u64) {
        (self.schedule, self.word.get())
    }
}
