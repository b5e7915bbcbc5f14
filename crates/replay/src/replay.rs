//! Replays all limits side by side, in one pass over the events. Each limit has a meter for every key.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::event::{Event, KeyId, Keys};
use crate::limit::{LimitRule, LimitSpec, Quotas};
use crate::limiter::{Limiter, Request};
use crate::series::{Series, Timeline};
use crate::suggest::{NoSuggestion, Suggester, Suggestion};
use crate::trace::Order;
use crate::verdict::{Undecided, Verdict};
use crate::{Error, text};

/// The outcome of a limit for the traffic. Counts are of cells unless stated otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The limit.
    pub limit: LimitRule,
    /// Cells asked.
    pub asked: u128,
    /// Cells admitted.
    pub admitted: u128,
    /// Cells denied.
    pub denied: u128,
    /// Requests for more cells than the burst: no wait makes them conform.
    pub never: u64,
    /// Requests denied, including those for more cells than the burst.
    pub requests_denied: u64,
    /// Requests that were admitted with a delay, as nginx does.
    pub delayed: u64,
    /// The longest such delay.
    pub longest_delay: Duration,
    /// For each limit, in order, the number of requests that it admitted and this limit denied; empty beyond [`MOST_COMPARED`].
    pub admitted_by: Vec<u64>,
    /// Keys that were denied at least once.
    pub keys_denied: usize,
    /// The keys with the most cells denied, in descending order.
    pub hardest_hit: Vec<KeyOutcome>,
    /// The limits that would have denied nothing, if requested.
    pub suggestion: Option<Suggestion>,
    /// The cells admitted and denied over time.
    pub timeline: Timeline,
    /// The other bound, if coarse stamps make it differ: the same requests spaced evenly within their stamps.
    pub spread: Option<SpreadOutcome>,
}

/// The outcome of a limit for the same traffic if the requests of one stamp had come evenly over its unit. This is the least that a limit could
/// deny; all requests at the stamp give the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpreadOutcome {
    /// Cells admitted.
    pub admitted: u128,
    /// Cells denied.
    pub denied: u128,
    /// Keys that were denied at least once.
    pub keys_denied: usize,
    /// The limits that would have denied nothing, if requested.
    pub suggestion: Option<Suggestion>,
}

impl Outcome {
    /// Returns the outcome as one bound of two.
    #[must_use]
    pub fn as_spread(&self) -> SpreadOutcome {
        SpreadOutcome {
            admitted: self.admitted,
            denied: self.denied,
            keys_denied: self.keys_denied,
            suggestion: self.suggestion,
        }
    }
}

/// The outcome of a limit for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOutcome {
    /// The key.
    pub key: KeyId,
    /// Cells asked.
    pub asked: u128,
    /// Cells denied.
    pub denied: u128,
    /// Requests for more cells than the burst.
    pub never: u64,
    /// The longest wait of a denied request; zero if no denied request had one.
    pub longest_wait: Duration,
}

/// Maximum number of limits that are compared with each other: a larger table would be unreadable.
pub const MOST_COMPARED: usize = 16;

/// Options of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The order of the events.
    pub order: Order,
    /// True to compute the limits that would have denied nothing.
    pub suggest: bool,
    /// True if keys must not be named.
    pub anonymise: bool,
}

/// A replay of traffic through all limits, event by event.
pub struct Replay {
    settings: Settings,
    /// Cells asked, by key.
    asked: Vec<u128>,
    candidates: Vec<Candidate>,
    /// The verdict of each limit on the latest event.
    verdicts: Vec<Verdict>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("settings", &self.settings)
            .field("keys", &self.asked.len())
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// Creates a replay that has not seen an event yet.
    #[must_use]
    pub fn new(limits: &[LimitSpec], settings: Settings) -> Self {
        let candidate = |limit: &LimitSpec| Candidate::new(limit, limits.len(), settings);
        Self {
            settings,
            asked: Vec::new(),
            candidates: limits.iter().map(candidate).collect(),
            verdicts: Vec::new(),
        }
    }

    /// Asks all meters about an event.
    ///
    /// # Errors
    ///
    /// [`Error::SpanTooLong`] or [`Error::TooFarApart`] if the traffic of a key is beyond the range of a meter. [`Error::NoTable`] if there is no
    /// memory for its meters; `Error::Store` if a store gave no decision.
    #[inline]
    pub fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), Error> {
        self.take_of_plan(event, keys, None)
    }

    /// Does the same for an event with a plan: limits of a file are looked up by the plan, not by the key.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    #[inline]
    pub fn take_of_plan(&mut self, event: &Event, keys: &Keys, plan: Option<(KeyId, &Keys)>) -> Result<(), Error> {
        let key = event.key.index();
        if key >= self.asked.len() {
            self.asked.resize(key + 1, 0);
        }
        self.asked[key] += u128::from(event.cost);
        self.verdicts.clear();
        for candidate in &mut self.candidates {
            match candidate.take(Request { event, keys, plan }) {
                Ok(verdict) => self.verdicts.push(verdict),
                Err(undecided) => {
                    let limit = candidate.limit.clone();
                    return Err(match undecided {
                        Undecided::TooLong => self.too_long(keys.name(event.key), limit),
                        Undecided::NoTable(source) => Error::NoTable { limit, source },
                        #[cfg(feature = "store")]
                        Undecided::Store(source) => Error::Store { source: *source },
                    });
                }
            }
        }
        self.compare();
        Ok(())
    }

    /// Counts the latest event for each pair of limits of which one denied it and the other admitted it.
    #[inline]
    fn compare(&mut self) {
        let denials = self.verdicts.iter().filter(|verdict| !verdict.is_admitted()).count();
        if denials == 0 || denials == self.verdicts.len() || self.verdicts.len() > MOST_COMPARED {
            return;
        }
        for (candidate, verdict) in self.candidates.iter_mut().zip(&self.verdicts) {
            if !verdict.is_admitted() {
                for (count, other) in candidate.admitted_by.iter_mut().zip(&self.verdicts) {
                    *count += u64::from(other.is_admitted());
                }
            }
        }
    }

    /// Returns the indices of the limits that denied the latest event.
    pub(crate) fn denied_by(&self) -> impl Iterator<Item = usize> {
        let verdicts = self.verdicts.iter().enumerate();
        verdicts
            .filter(|(_, verdict)| !verdict.is_admitted())
            .map(|(place, _)| place)
    }

    /// Returns the verdict of a limit on the latest event, by the limit's index.
    pub(crate) fn verdict(&self, limit: usize) -> Option<Verdict> {
        self.verdicts.get(limit).copied()
    }

    #[cold]
    fn too_long(&self, name: &[u8], limit: LimitRule) -> Error {
        let key = if self.settings.anonymise {
            "one key".to_owned()
        } else {
            text::printable(name, 40)
        };
        match self.settings.order {
            Order::Sort => Error::SpanTooLong { key, limit },
            Order::AsIs => Error::TooFarApart { key },
        }
    }

    /// Returns the effect of each limit on all events so far, and its `top` most denied keys.
    #[must_use]
    pub fn outcomes(&self, keys: &Keys, top: usize) -> Vec<Outcome> {
        let outcome = |candidate: &Candidate| candidate.outcome(&self.asked, keys, top);
        self.candidates.iter().map(outcome).collect()
    }
}

/// A limit, and the state and results of each key under it.
struct Candidate {
    limit: LimitRule,
    limiter: Limiter,
    admitted: u128,
    delayed: u64,
    longest_delay: Duration,
    admitted_by: Vec<u64>,
    /// The keys that were denied.
    hit: HashMap<KeyId, Hit, foldhash::fast::RandomState>,
    search: Search,
    series: Series,
}

/// The computation of the limits that would have denied nothing.
enum Search {
    NotAsked,
    Vain(NoSuggestion),
    On(Suggester),
}

impl Search {
    fn found(&self) -> Option<Suggestion> {
        match self {
            Self::NotAsked => None,
            Self::Vain(reason) => Some(Suggestion::none(*reason)),
            Self::On(suggester) => Some(suggester.finish()),
        }
    }
}

/// The results of a denied key under a limit.
#[derive(Default)]
struct Hit {
    denied: u128,
    requests: u64,
    never: u64,
    longest_wait: Duration,
}

impl Candidate {
    fn new(limit: &LimitSpec, limits: usize, settings: Settings) -> Self {
        let may_go_back = settings.order == Order::AsIs;
        Self {
            limit: limit.rule(),
            limiter: Limiter::new(limit, may_go_back),
            admitted: 0,
            delayed: 0,
            longest_delay: Duration::ZERO,
            admitted_by: vec![0; if limits > MOST_COMPARED { 0 } else { limits }],
            hit: HashMap::default(),
            search: match limit.rule() {
                _ if !settings.suggest => Search::NotAsked,
                LimitRule::Meter(Quotas::One(quota)) => Search::On(Suggester::new(quota)),
                LimitRule::Meter(Quotas::Two(_)) => Search::Vain(NoSuggestion::TwoLimits),
                LimitRule::Model(_) => Search::Vain(NoSuggestion::OtherLimiter),
                LimitRule::PerKey(_) => Search::Vain(NoSuggestion::PerKey),
            },
            series: Series::new(may_go_back),
        }
    }

    #[inline]
    fn take(&mut self, request: Request<'_>) -> Result<Verdict, Undecided> {
        let event = request.event;
        let verdict = self.limiter.check(request)?;
        let cells = u128::from(event.cost);
        self.series.push(event.time, event.cost, verdict.is_admitted());
        if let Search::On(suggester) = &mut self.search {
            suggester.push(event);
        }
        if verdict.is_admitted() {
            self.admitted += cells;
            if let Verdict::Delayed(delay) = verdict {
                self.delayed += 1;
                self.longest_delay = self.longest_delay.max(delay);
            }
            return Ok(verdict);
        }
        let hit = self.hit.entry(event.key).or_default();
        hit.denied += cells;
        hit.requests += 1;
        match verdict {
            Verdict::Denied(wait) => hit.longest_wait = hit.longest_wait.max(wait),
            _ => hit.never += 1,
        }
        Ok(verdict)
    }

    fn outcome(&self, asked: &[u128], keys: &Keys, top: usize) -> Outcome {
        let key_outcome = |(&key, hit): (&KeyId, &Hit)| KeyOutcome {
            key,
            asked: asked[key.index()],
            denied: hit.denied,
            never: hit.never,
            longest_wait: hit.longest_wait,
        };
        let mut hit: Vec<_> = self.hit.iter().map(key_outcome).collect();
        // The name comes last, since key numbers depend on the order of the files.
        hit.sort_by_key(|hit| (Reverse(hit.denied), Reverse(hit.longest_wait), keys.name(hit.key)));
        let mut outcome = Outcome {
            limit: self.limit.clone(),
            asked: asked.iter().sum(),
            admitted: self.admitted,
            denied: hit.iter().map(|key| key.denied).sum(),
            never: hit.iter().map(|key| key.never).sum(),
            requests_denied: self.hit.values().map(|hit| hit.requests).sum(),
            delayed: self.delayed,
            longest_delay: self.longest_delay,
            admitted_by: self.admitted_by.clone(),
            keys_denied: hit.len(),
            hardest_hit: hit,
            suggestion: self.search.found(),
            timeline: self.series.finish(),
            spread: None,
        };
        outcome.hardest_hit.truncate(top);
        outcome
    }
}
