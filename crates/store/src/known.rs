//! The state of a subject, by a reply of the store.

use crate::limit::{State, StoreLimit};
use crate::store::Reply;
use crate::time::Micros;
use core::ops::Deref;
use ratelimit_meter::Status;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reply about a subject: a bound for later decisions, if nothing is given back.
///
/// One shared allocation, because each cell of a block takes a copy.
#[derive(Debug, Clone)]
pub(crate) struct Known(Arc<KnownStates>);

#[derive(Debug)]
pub(crate) struct KnownStates {
    limits: Arc<[StoreLimit]>,
    states: Box<[State]>,
    clock: Micros,
    /// When the call was sent: the store decided after it.
    pub(crate) sent: Instant,
    /// When the reply came: the store decided before it.
    pub(crate) received: Instant,
}

impl Deref for Known {
    type Target = KnownStates;

    fn deref(&self) -> &KnownStates {
        &self.0
    }
}

impl Known {
    /// The states of `limits` in a reply.
    pub(crate) fn of(limits: &Arc<[StoreLimit]>, reply: &Reply, sent: Instant, received: Instant) -> Self {
        Self(Arc::new(KnownStates {
            limits: Arc::clone(limits),
            states: reply.states.as_slice().into(),
            clock: reply.clock,
            sent,
            received,
        }))
    }
}

impl KnownStates {
    /// The time from the store's decision until `n` cells conform on all limits; at most the smallest of their largest batches.
    pub(crate) fn until(&self, n: u32) -> Duration {
        let until = |(limit, state): (&StoreLimit, &State)| limit.until(*state, self.clock, n);
        let waits = self.limits.iter().zip(&*self.states).filter_map(until);
        waits.max().unwrap_or_default()
    }

    /// The longest time from the store's decision until a limit admits its number of cells, with that number; no time if they never conform.
    pub(crate) fn longest(&self, ns: &[u64]) -> (Option<Duration>, u32) {
        let mut longest = (Some(Duration::ZERO), 1);
        for ((limit, state), n) in self.limits.iter().zip(&*self.states).zip(ns) {
            let n = u32::try_from(*n).unwrap_or(u32::MAX);
            match limit.until(*state, self.clock, n) {
                None => return (None, n),
                Some(wait) if longest.0.is_some_and(|most| wait > most) => longest = (Some(wait), n),
                Some(_) => {}
            }
        }
        longest
    }

    /// The status of the limit that holds back the next cell longest. By `at` the store's clock is at least as far as it was at the decision.
    fn status(&self, at: Instant) -> Option<Status> {
        let passed = at.saturating_duration_since(self.received);
        let passed_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let clock = Micros::new(self.clock.get().saturating_add(passed_us)).unwrap_or(Micros::LAST);
        let statuses = self.limits.iter().zip(&*self.states).map(|(limit, state)| {
            let until_next = limit.until(*state, clock, 1).unwrap_or_default();
            let until_rest = limit.until_rest(*state, clock);
            let remaining = limit.remaining(*state, clock);
            Status::from_parts(remaining, until_next, until_rest, Some(limit.quota()))
        });
        statuses.max_by(|a, b| {
            let by_wait = a.until_next().cmp(&b.until_next());
            by_wait.then_with(|| b.remaining().cmp(&a.remaining()))
        })
    }
}

/// The status of a subject after a decision. That of a reply is computed if a caller asks for it: it takes longer than to use a cell of a block.
#[derive(Debug, Clone)]
pub(crate) enum LazyStatus {
    /// Boxed, because each cell of a block moves the other variant.
    Status(Box<Status>),
    /// At an instant, by a reply that was received before.
    ByReply(Known, Instant),
}

impl LazyStatus {
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::Status(status) => Some(**status),
            Self::ByReply(known, at) => known.status(*at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::average::Average;
    use crate::limit::Level;
    use crate::units::Units;

    /// Returns the remaining cells some time after a reply that owes `level`.
    fn remaining(limit: StoreLimit, level: Level, after: Duration) -> u32 {
        let clock = Micros::new(1_700_000_000_000_000).unwrap();
        let state = State { time: clock, level };
        let reply = Reply {
            cells: Some(0),
            clock,
            states: vec![state],
        };
        let received = Instant::now();
        let known = Known::of(&[limit].into(), &reply, received, received);
        LazyStatus::ByReply(known, received + after)
            .status()
            .unwrap()
            .remaining()
    }

    #[test]
    fn status_counts_cells_drained_since_the_reply() {
        let units = Units::of("10/s burst 5".parse().unwrap()).unwrap();
        let after = |ms| {
            remaining(
                StoreLimit::Bucket(units),
                Level::Units(units.burst()),
                Duration::from_millis(ms),
            )
        };
        assert_eq!([0, 300, 500, 10_000].map(after), [0, 3, 5, 5]);
        // A cell is 1 - e^-0.1 of the threshold, and e^-1 of it is left after a minute.
        let average = Average::of("10/min".parse().unwrap()).unwrap();
        let after = |s| remaining(StoreLimit::Average(average), Level::Share(1.0), Duration::from_secs(s));
        assert_eq!([0, 60, 6000].map(after), [0, 6, 10]);
    }
}
