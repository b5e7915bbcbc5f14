//! All limits side by side, in one pass over the events: each with a meter of its own for every key.

use std::cmp::Reverse;
use std::time::Duration;

use ratelimit_meter::Quota;
use ratelimit_meter::clock::ManualClock;

use crate::event::{Event, KeyId, Keys, Trace};
use crate::limit::Limit;
use crate::lineage::{Lineage, Verdict};
use crate::{Error, text};

/// What a limit would have done to the traffic. Cells are counted, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The limit.
    pub limit: Quota,
    /// Cells asked.
    pub asked: u128,
    /// Cells admitted.
    pub admitted: u128,
    /// Cells denied.
    pub denied: u128,
    /// Requests for more cells than the burst has: no wait makes them conform.
    pub never: u64,
    /// Keys that were denied at least once.
    pub keys_denied: usize,
    /// The keys with the most cells denied, the most first.
    pub hardest_hit: Vec<KeyOutcome>,
}

/// What a limit would have done to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOutcome {
    /// The key.
    pub key: KeyId,
    /// Cells asked.
    pub asked: u128,
    /// Cells denied.
    pub denied: u128,
    /// Requests for more cells than the burst has.
    pub never: u64,
    /// The longest time that a denied request was told to wait; zero if none was told any.
    pub longest_wait: Duration,
}

/// Replays the traffic through each of the limits, and tells of the `top` hardest-hit keys of each.
///
/// # Errors
///
/// [`Error::SpanTooLong`] if the traffic of a key is beyond what a meter can measure.
///
/// # Panics
///
/// If the key of an event is none of the trace's own.
pub fn replay(trace: &Trace, limits: &[Limit], top: usize) -> Result<Vec<Outcome>, Error> {
    let clock = ManualClock::new();
    let mut asked = vec![0_u128; trace.keys.len()];
    let mut candidates: Vec<_> = limits
        .iter()
        .map(|limit| Candidate::new(limit, trace.keys.len()))
        .collect();
    for event in &trace.events {
        asked[event.key.index()] += u128::from(event.cost);
        for candidate in &mut candidates {
            candidate.take(event, &clock, &trace.keys)?;
        }
    }
    Ok(candidates
        .iter()
        .map(|candidate| candidate.outcome(&asked, &trace.keys, top))
        .collect())
}

/// A limit, and how each key fares under it.
struct Candidate<'a> {
    limit: &'a Limit,
    admitted: u128,
    seats: Vec<Seat>,
}

/// How a key fares under a limit.
#[derive(Default)]
struct Seat {
    lineage: Option<Lineage>,
    denied: u128,
    never: u64,
    longest_wait: Duration,
}

impl<'a> Candidate<'a> {
    fn new(limit: &'a Limit, keys: usize) -> Self {
        let seats = std::iter::repeat_with(Seat::default).take(keys).collect();
        Self {
            limit,
            admitted: 0,
            seats,
        }
    }

    fn take(&mut self, event: &Event, clock: &ManualClock, keys: &Keys) -> Result<(), Error> {
        let seat = &mut self.seats[event.key.index()];
        let lineage = seat
            .lineage
            .get_or_insert_with(|| Lineage::new(self.limit, clock, event.time));
        let cells = u128::from(event.cost);
        match lineage.check(self.limit, clock, event.time, event.cost) {
            Some(Verdict::Admitted) => self.admitted += cells,
            Some(Verdict::Denied(wait)) => {
                seat.denied += cells;
                seat.longest_wait = seat.longest_wait.max(wait);
            }
            Some(Verdict::Never) => {
                seat.denied += cells;
                seat.never += 1;
            }
            None => {
                let key = text::printable(keys.name(event.key), 40);
                return Err(Error::SpanTooLong {
                    key,
                    limit: self.limit.quota(),
                });
            }
        }
        Ok(())
    }

    fn outcome(&self, asked: &[u128], keys: &Keys, top: usize) -> Outcome {
        let key_outcome = |(key, seat, &asked): (KeyId, &Seat, &u128)| KeyOutcome {
            key,
            asked,
            denied: seat.denied,
            never: seat.never,
            longest_wait: seat.longest_wait,
        };
        let seats = keys
            .ids()
            .zip(&self.seats)
            .zip(asked)
            .map(|((key, seat), asked)| (key, seat, asked));
        let mut hit: Vec<_> = seats.map(key_outcome).filter(|key| key.denied > 0).collect();
        // By name at last, as the numbers of keys depend on the order of the files.
        hit.sort_by_key(|hit| (Reverse(hit.denied), Reverse(hit.longest_wait), keys.name(hit.key)));
        let mut outcome = Outcome {
            limit: self.limit.quota(),
            asked: asked.iter().sum(),
            admitted: self.admitted,
            denied: hit.iter().map(|key| key.denied).sum(),
            never: hit.iter().map(|key| key.never).sum(),
            keys_denied: hit.len(),
            hardest_hit: hit,
        };
        outcome.hardest_hit.truncate(top);
        outcome
    }
}
