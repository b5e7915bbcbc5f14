//! Two algorithms decided as one. Pure: no atomics, no clock, no allocation.

use super::outcome::{DualNonConformance, DualStatus, RefusedBy};
use super::words::Words;
use crate::algorithm::{Algorithm, Decide};
use crate::outcome::{NonConformance, Until};
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::time::Instant;
use crate::units::{Nanos, TimeLine, Volume};
#[cfg(feature = "std")]
use crate::{
    snapshot::{RestoreError, Snapshot},
    time::SystemTime,
};

/// The numbers of cells of the first and of the second limit. A limit with zero cells is neither evaluated nor changed.
pub(super) type Cells<N = u32> = [N; 2];

/// The volumes of both limits drained by one time.
pub(super) type Volumes = [Volume; 2];

/// An algorithm, and the quota if the algorithm was made of one.
pub(super) type WithQuota<A> = (A, Option<Quota>);

/// A denial: the limit that denies, and the volumes that have to drain until both limits conform.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairDenial {
    by: RefusedBy,
    due: [Volume; 2],
}

impl PairDenial {
    /// Returns whether the denial is over once these volumes have drained.
    #[inline]
    pub(super) fn is_over(&self, [first, second]: Volumes) -> bool {
        self.due[0] <= first && self.due[1] <= second
    }
}

/// Two schedules on one time line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<A, B> {
    pub(super) first: Schedule<A>,
    pub(super) second: Schedule<B>,
}

impl<A: Algorithm, B: Algorithm> Pair<A, B> {
    /// Makes a pair whose time line begins a day before `made`.
    pub(super) fn made_at(made: Instant, first: WithQuota<A>, second: WithQuota<B>) -> Self {
        Self {
            first: Schedule::made_at(made, first.0, first.1),
            second: Schedule::made_at(made, second.0, second.1),
        }
    }

    #[inline]
    pub(super) fn time_line(&self) -> &TimeLine {
        &self.first.time_line
    }

    #[inline]
    pub(super) fn volumes(&self, at: Nanos) -> Volumes {
        [self.first.drained(at), self.second.drained(at)]
    }

    /// Returns the limit by which this many cells can never conform.
    #[inline]
    pub(super) fn lacks_capacity(&self, [first, second]: Cells) -> Option<RefusedBy> {
        RefusedBy::of(
            first > self.first.algorithm.max_batch(),
            second > self.second.algorithm.max_batch(),
        )
    }

    #[inline]
    pub(super) fn counts_denials(&self) -> bool {
        self.first.algorithm.counts_denials() || self.second.algorithm.counts_denials()
    }

    /// Decides cells. Returns the new words, and the denial if denied cells count.
    #[inline]
    pub(super) fn decide(
        &self,
        words: Words,
        drained: Volumes,
        n: Cells,
    ) -> Result<(Words, Option<PairDenial>), PairDenial> {
        let first = decide(&self.first.algorithm, words[0], drained[0], n[0]);
        let second = decide(&self.second.algorithm, words[1], drained[1], n[1]);
        let by = match (first, second) {
            (Some(first), Some(second)) => return Ok(([first, second], None)),
            (None, Some(_)) => RefusedBy::First,
            (Some(_), None) => RefusedBy::Second,
            (None, None) => RefusedBy::Both,
        };
        let counted = [
            after_denial(&self.first.algorithm, words[0], drained[0], n[0], first),
            after_denial(&self.second.algorithm, words[1], drained[1], n[1], second),
        ];
        let due = self.due(counted, n);
        if counted == words {
            Err(PairDenial { by, due })
        } else {
            Ok((counted, Some(PairDenial { by, due })))
        }
    }

    /// Evaluates [`decide`](Self::decide) on cells of which none count.
    pub(super) fn look(&self, words: Words, drained: Volumes, n: Cells) -> Result<(), PairDenial> {
        let due = self.due(words, n);
        RefusedBy::of(due[0] > drained[0], due[1] > drained[1]).map_or(Ok(()), |by| Err(PairDenial { by, due }))
    }

    /// Takes cells at the first time from `from` on at which both limits conform, if that is at `by` or before. That time may lie between two
    /// nanoseconds.
    pub(super) fn take_within(
        &self,
        words: Words,
        [from, by]: [Volumes; 2],
        n: Cells,
    ) -> Result<(Words, Option<PairDenial>), PairDenial> {
        self.look(words, by, n)?;
        let due = self.due(words, n);
        let later = self.later(due);
        let at = [
            self.first.drained_by(later).max(from[0]),
            self.second.drained_by(later).max(from[1]),
        ];
        self.decide(words, at, n)
    }

    #[inline]
    fn due(&self, words: Words, n: Cells) -> [Volume; 2] {
        [
            due(&self.first.algorithm, words[0], n[0]),
            due(&self.second.algorithm, words[1], n[1]),
        ]
    }

    /// Counts cells whether they conform or not. Returns the new words, and how many of the cells no word can record.
    pub(super) fn charge(&self, words: Words, drained: Volumes, n: Cells<u64>) -> (Words, Cells<u64>) {
        let (first, first_left) = charge(&self.first.algorithm, words[0], drained[0], n[0]);
        let (second, second_left) = charge(&self.second.algorithm, words[1], drained[1], n[1]);
        ([first, second], [first_left, second_left])
    }

    pub(super) fn refund(&self, words: Words, drained: Volumes, n: Cells<u64>) -> Words {
        [
            self.first.algorithm.refund(words[0], drained[0], n[0]),
            self.second.algorithm.refund(words[1], drained[1], n[1]),
        ]
    }

    /// Gives back the part of `n` cells of each limit, counted when `taken` had drained, that certainly has not drained.
    pub(super) fn cancel(&self, words: Words, drained: Volumes, n: u32, taken: Volumes) -> Words {
        [
            self.first.algorithm.cancel(words[0], drained[0], n, taken[0]),
            self.second.algorithm.cancel(words[1], drained[1], n, taken[1]),
        ]
    }

    /// Converts a denial for the caller: its instant is the later of the two instants, from which both limits conform.
    pub(super) fn denial(&self, PairDenial { by, due }: PairDenial) -> DualNonConformance {
        let later = NonConformance::new(self.time_line().beginning(), self.later(due));
        DualNonConformance::new(later, by)
    }

    /// Returns the time by which both volumes have drained.
    fn later(&self, due: [Volume; 2]) -> Until {
        let (first, second) = (self.first.until(due[0]), self.second.until(due[1]));
        if first.scale.takes_longer(first.due, second.scale, second.due) {
            first
        } else {
            second
        }
    }

    #[cfg(feature = "std")]
    pub(super) fn snapshot(&self, words: Words, at: Nanos, wall: SystemTime) -> [Snapshot; 2] {
        [
            Snapshot::of(&self.first, words[0], at, wall),
            Snapshot::of(&self.second, words[1], at, wall),
        ]
    }

    /// Returns the words that correspond to the snapshots.
    #[cfg(feature = "std")]
    pub(super) fn restored(
        &self,
        snapshots: &[Snapshot; 2],
        at: Nanos,
        wall: SystemTime,
    ) -> Result<Words, RestoreError> {
        let drained = self.volumes(at);
        Ok([
            snapshots[0].word(&self.first, drained[0], wall)?,
            snapshots[1].word(&self.second, drained[1], wall)?,
        ])
    }

    pub(super) fn status(&self, words: Words, at: Nanos) -> DualStatus {
        DualStatus::new(self.first.status(words[0], at), self.second.status(words[1], at))
    }
}

/// Returns the new word, unless the cells do not conform.
#[inline]
fn decide(algorithm: &impl Decide, word: u64, drained: Volume, n: u32) -> Option<u64> {
    match n {
        0 => Some(word),
        _ => algorithm.decide(word, drained, n).ok(),
    }
}

/// Returns the word after cells were denied, by this limit or the other. `conforming` is the word if this limit alone admitted the cells.
#[inline]
fn after_denial(algorithm: &impl Decide, word: u64, drained: Volume, n: u32, conforming: Option<u64>) -> u64 {
    if !algorithm.counts_denials() {
        return word;
    }
    conforming
        .or_else(|| algorithm.count_denied(word, drained, n))
        .unwrap_or(word)
}

#[inline]
fn due(algorithm: &impl Decide, word: u64, n: u32) -> Volume {
    match n {
        0 => Volume(0),
        _ => algorithm.due(word, n),
    }
}

fn charge(algorithm: &impl Decide, word: u64, drained: Volume, n: u64) -> (u64, u64) {
    match algorithm.charge(word, drained, n) {
        // There is nothing to record, or no room for it.
        (_, unrecorded) if unrecorded == n => (word, n),
        charged => charged,
    }
}
