//! The state of a subject, by a reply of the store.

use crate::limit::{State, StoreLimit};
use crate::store::Reply;
use crate::time::Micros;
use ratelimit_meter::Status;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The states of a subject in a reply: a bound for later decisions, if nothing is given back.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Shared, because each cell of a block takes a copy.
    pub(crate) states: Arc<[State]>,
    pub(crate) clock: Micros,
    /// When the call was sent: the store decided after it.
    pub(crate) sent: Instant,
    /// When the reply came: the store decided before it.
    pub(crate) received: Instant,
}

impl Known {
    pub(crate) fn of(reply: &Reply, sent: Instant, received: Instant) -> Self {
        Self {
            states: reply.states.as_slice().into(),
            clock: reply.clock,
            sent,
            received,
        }
    }

    /// Returns the time from the store's decision until `n` cells conform on all limits; at most the smallest of their largest batches.
    pub(crate) fn until(&self, limits: &[StoreLimit], n: u32) -> Duration {
        let until = |(limit, state): (&StoreLimit, &State)| limit.until(*state, self.clock, n);
        let waits = limits.iter().zip(&*self.states).filter_map(until);
        waits.max().unwrap_or_default()
    }
}

/// The status of a subject after a decision. That of a reply is computed if a caller asks for it: it takes longer than to use a cell of a block.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    Status(Status),
    ByReply {
        limits: Arc<[StoreLimit]>,
        known: Known,
        at: Instant,
    },
}

impl Standing {
    /// Returns the standing at the instant `at`, by a reply that was received before.
    pub(crate) fn by_reply(limits: &Arc<[StoreLimit]>, known: Known, at: Instant) -> Self {
        let limits = Arc::clone(limits);
        Self::ByReply { limits, known, at }
    }

    /// Returns the status of the limit that holds back the next cell longest. By `at` the store's clock is at least as far as it was at the decision.
    pub(crate) fn status(&self) -> Option<Status> {
        let (limits, known, at) = match self {
            Self::Status(status) => return Some(*status),
            Self::ByReply { limits, known, at } => (limits, known, at),
        };
        let passed = at.saturating_duration_since(known.received);
        let passed_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let clock = Micros::new(known.clock.get().saturating_add(passed_us)).unwrap_or(Micros::LAST);
        let statuses = limits.iter().zip(&*known.states).map(|(limit, state)| {
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
