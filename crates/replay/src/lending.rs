//! One meter that decides for many keys, one after the other.
//!
//! The state of a meter is one word. Before each decision the meter takes on the word of the key, and afterwards gives the new word back. It does so
//! by [`Snapshot`]s that are all taken and restored at one fixed instant: between equal instants nothing drains, so a word comes back as it was.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{LocalMeter, Meter, NegativeMultiDecision, Snapshot};

/// A meter that decides for any key whose word it is given, by any algorithm that counts no denials.
pub(crate) trait Lend {
    /// As [`Meter::check_n_at`], for the key with this word. The word of a key that has not asked yet is 0.
    fn check_n_at(&self, word: &mut u64, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;
}

struct Lending<A: Algorithm> {
    meter: LocalMeter<Meter<A, ManualClock>>,
    /// The state of a key that has not asked yet. Words count from here.
    idle: Snapshot,
    /// The instant of all snapshots.
    made: (Instant, SystemTime),
    /// The latest decision. Many keys are idle when they ask, and many requests have one stamp, so that their decisions are the same.
    latest: Cell<Option<Decision>>,
}

/// The decision on `n` cells at an instant for a key with `word`, and its word afterwards.
#[derive(Clone, Copy)]
struct Decision {
    word: u64,
    n: u32,
    at: Instant,
    decided: Result<u64, NegativeMultiDecision>,
}

/// Lends out a meter that was made at `made`.
pub(crate) fn lend<A: Algorithm + 'static>(meter: Meter<A, ManualClock>, made: Instant) -> Box<dyn Lend> {
    let (meter, made) = (meter.into_local(), (made, UNIX_EPOCH));
    let idle = meter.snapshot_at(made);
    Box::new(Lending {
        meter,
        idle,
        made,
        latest: Cell::new(None),
    })
}

impl<A: Algorithm> Lending<A> {
    /// Returns the word after the decision, if the cells conform.
    fn decide(&self, word: u64, n: u32, at: Instant) -> Result<u64, NegativeMultiDecision> {
        let owed = self.idle.owed + i128::from(word);
        let restored = self.meter.restore_at(&Snapshot { owed, ..self.idle }, self.made);
        debug_assert_eq!(restored, Ok(()), "the word is of this meter");
        self.meter.check_n_at(n, at)?;
        let owed = self.meter.snapshot_at(self.made).owed - self.idle.owed;
        debug_assert!(u64::try_from(owed).is_ok(), "a word of 64 bits");
        Ok(u64::try_from(owed).unwrap_or(u64::MAX))
    }
}

impl<A: Algorithm> Lend for Lending<A> {
    #[inline]
    fn check_n_at(&self, word: &mut u64, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        let is_same = |latest: &Decision| latest.word == *word && latest.n == n && latest.at == at;
        let decided = match self.latest.get().filter(is_same) {
            Some(latest) => latest.decided,
            None => {
                let decided = self.decide(*word, n, at);
                self.latest.set(Some(Decision {
                    word: *word,
                    n,
                    at,
                    decided,
                }));
                decided
            }
        };
        *word = decided?;
        Ok(())
    }
}
