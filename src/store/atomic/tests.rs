//! The retry loop, over words that observe or disturb it.

use super::{Word, update};
use crate::algorithms::{ContinuousState, Decide, VirtualScheduling};
use crate::quota::Quota;
use crate::units::Volume;
use core::cell::Cell as Counter;
use core::num::NonZeroU32;

/// Counts the loads and the exchanges, successful or not.
#[derive(Default)]
struct Counting {
    word: Counter<u64>,
    loads: Counter<u32>,
    exchanges: Counter<u32>,
    /// The value that another thread stores just before the next exchange.
    interference: Counter<Option<u64>>,
}

impl Word for Counting {
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
        if self.word.get() == seen {
            self.word.set(new);
            Ok(())
        } else {
            Err(self.word.get())
        }
    }
}

fn check(word: &Counting, algorithm: &impl Decide, now: u64, n: u32) -> bool {
    update(word, |w| algorithm.decide(w, Volume(now), n).map(|new| (new, ()))).is_ok()
}

fn three_a_second<A: Decide>() -> A {
    A::from_quota(Quota::per_second(NonZeroU32::new(3).unwrap())).unwrap()
}

fn a_denial_loads_once_and_stores_nothing<A: Decide>() {
    let algorithm: A = three_a_second();
    let word = Counting::holding(0);
    let now = 5_000_000_000;
    for _ in 0..3 {
        assert!(check(&word, &algorithm, now, 1));
    }
    let (loads, exchanges, full) = (word.loads.get(), word.exchanges.get(), word.word.get());
    for denied in 1..=1000 {
        assert!(!check(&word, &algorithm, now, 1));
        assert!(!check(&word, &algorithm, now, 3));
        assert_eq!(word.loads.get(), loads + 2 * denied);
    }
    assert_eq!((word.exchanges.get(), word.word.get()), (exchanges, full));
}

#[test]
fn a_denial_by_gcra_loads_once_and_stores_nothing() {
    a_denial_loads_once_and_stores_nothing::<VirtualScheduling>();
}

#[test]
fn a_denial_by_the_leaky_bucket_loads_once_and_stores_nothing() {
    a_denial_loads_once_and_stores_nothing::<ContinuousState>();
}

#[test]
fn an_admission_is_one_load_and_one_exchange() {
    let algorithm: VirtualScheduling = three_a_second();
    let word = Counting::holding(0);
    assert!(check(&word, &algorithm, 0, 1));
    assert_eq!((word.loads.get(), word.exchanges.get()), (1, 1));
}

#[test]
fn a_lost_race_is_decided_again_on_the_winners_word() {
    let algorithm: VirtualScheduling = three_a_second();
    let now = 5_000_000_000;
    let two = algorithm.decide(0, Volume(now), 2).unwrap();
    let full = algorithm.decide(0, Volume(now), 3).unwrap();

    let word = Counting::holding(0);
    word.interference.set(Some(two));
    assert!(check(&word, &algorithm, now, 1));
    assert_eq!((word.word.get(), word.exchanges.get()), (full, 2));

    let word = Counting::holding(0);
    word.interference.set(Some(full));
    assert!(!check(&word, &algorithm, now, 1));
    assert_eq!((word.word.get(), word.exchanges.get()), (full, 1));
}
