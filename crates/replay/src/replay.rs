//! Replays all limits side by side, in one pass over the events. Each limit has a meter for every key.
//!
//! Events come in blocks, and each limit decides a block at a time. So the steps are short loops, in which the processor waits for the states of several
//! keys at once: with 200,000 keys that is most of the time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::event::{Event, KeyId, Keys};
use crate::limit::{LimitRule, LimitSpec, Quotas};
use crate::limiter::{EventLimiter, NamedEvent};
use crate::series::{Counts, Series, Timeline};
use crate::suggest::{NoSuggestion, Suggester, Suggestion};
use crate::trace::Order;
use crate::verdict::{EventVerdict, Undecided};
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
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limits: Vec<_> = self.candidates.iter().map(|candidate| &candidate.limit).collect();
        f.debug_struct("Replay")
            .field("limits", &format_args!("{limits:?}"))
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
        }
    }

    /// Asks all meters about the next events. If the events have `plans`, limits of a file are looked up by the plan, not by the key.
    ///
    /// # Errors
    ///
    /// [`Error::SpanTooLong`] or [`Error::TooFarApart`] if the traffic of a key is beyond the range of a meter. `Error::Store` if a store gave no
    /// decision.
    pub fn take(&mut self, events: &[Event], keys: &Keys, plans: Option<&Keys>) -> Result<(), Error> {
        for event in events {
            let key = event.key.index();
            if key >= self.asked.len() {
                self.asked.resize(key + 1, 0);
            }
            self.asked[key] += u128::from(event.cost);
        }
        for candidate in &mut self.candidates {
            if let Err((key, undecided)) = candidate.take(events, keys, plans) {
                let limit = candidate.limit.clone();
                return Err(match undecided {
                    Undecided::TooLong => self.too_long(keys.name(key), &limit),
                    #[cfg(feature = "store")]
                    Undecided::Store(source) => Error::Store { source: *source },
                });
            }
        }
        self.compare(events.len());
        Ok(())
    }

    /// Counts, for each pair of limits, the latest events that one limit denied and the other admitted.
    fn compare(&mut self, events: usize) {
        let limits = self.candidates.len();
        if !(2..=MOST_COMPARED).contains(&limits) {
            return;
        }
        let mut denied = Vec::new();
        for event in 0..events {
            let is_admitted = |limit: &Candidate| limit.verdicts[event].is_admitted();
            denied.clear();
            denied.extend((0..limits).filter(|&limit| !is_admitted(&self.candidates[limit])));
            for other in 0..limits {
                if !denied.is_empty() && is_admitted(&self.candidates[other]) {
                    for &limit in &denied {
                        self.candidates[limit].admitted_by[other] += 1;
                    }
                }
            }
        }
    }

    /// Returns the indices of the limits that denied one of the latest events, by the event's index.
    pub(crate) fn denied_by(&self, event: usize) -> impl Iterator<Item = usize> {
        let candidates = self.candidates.iter().enumerate();
        let is_denied = move |candidate: &Candidate| {
            candidate
                .verdicts
                .get(event)
                .is_some_and(|verdict| !verdict.is_admitted())
        };
        candidates
            .filter(move |(_, candidate)| is_denied(candidate))
            .map(|(place, _)| place)
    }

    /// Returns the verdicts of a limit on the latest events, by the limit's index.
    pub(crate) fn verdicts(&self, limit: usize) -> &[EventVerdict] {
        self.candidates.get(limit).map_or(&[], |candidate| &candidate.verdicts)
    }

    #[cold]
    fn too_long(&self, name: &[u8], limit: &LimitRule) -> Error {
        let key = if self.settings.anonymise {
            "one key".to_owned()
        } else {
            text::printable(name, 40)
        };
        match self.settings.order {
            Order::Sort => Error::SpanTooLong {
                key,
                limit: limit.to_string(),
            },
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
    limiter: EventLimiter,
    /// The verdicts on the latest events.
    verdicts: Vec<EventVerdict>,
    admitted: u128,
    delayed: u64,
    longest_delay: Duration,
    admitted_by: Vec<u64>,
    /// The keys that were denied.
    hit: HashMap<KeyId, Hit, foldhash::fast::RandomState>,
    search: SuggestionSearch,
    series: Series,
}

/// The computation of the limits that would have denied nothing.
enum SuggestionSearch {
    NotAsked,
    Vain(NoSuggestion),
    On(Suggester),
}

impl SuggestionSearch {
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

impl Hit {
    /// Counts a denied request for `cells` cells.
    fn count(&mut self, cells: u128) {
        self.denied += cells;
        self.requests += 1;
    }
}

impl Candidate {
    fn new(limit: &LimitSpec, limits: usize, settings: Settings) -> Self {
        let may_go_back = settings.order == Order::AsIs;
        Self {
            limit: limit.rule(),
            limiter: EventLimiter::new(limit, may_go_back),
            verdicts: Vec::new(),
            admitted: 0,
            delayed: 0,
            longest_delay: Duration::ZERO,
            admitted_by: vec![0; if limits > MOST_COMPARED { 0 } else { limits }],
            hit: HashMap::default(),
            search: match limit.rule() {
                _ if !settings.suggest => SuggestionSearch::NotAsked,
                LimitRule::Meter(Quotas::One(quota)) => SuggestionSearch::On(Suggester::new(quota)),
                LimitRule::Meter(Quotas::Two(_)) => SuggestionSearch::Vain(NoSuggestion::TwoLimits),
                LimitRule::Model(_) => SuggestionSearch::Vain(NoSuggestion::OtherLimiter),
                LimitRule::PerKey(_) => SuggestionSearch::Vain(NoSuggestion::PerKey),
            },
            series: Series::new(may_go_back),
        }
    }

    /// Decides the next events; if one cannot be decided, returns its key and the reason.
    fn take(&mut self, events: &[Event], keys: &Keys, plans: Option<&Keys>) -> Result<(), (KeyId, Undecided)> {
        self.verdicts.clear();
        self.limiter.load(events);
        for event in events {
            let plan = plans.map(|plans| (event.plan, plans));
            let verdict = self.limiter.check(NamedEvent { event, keys, plan });
            self.verdicts.push(verdict.map_err(|undecided| (event.key, undecided))?);
        }
        if let SuggestionSearch::On(suggester) = &mut self.search {
            suggester.push_all(events);
        }
        let mut verdicts = &self.verdicts[..];
        for run in events.chunk_by(|one, next| one.time == next.time) {
            let (these, rest) = verdicts.split_at(run.len());
            verdicts = rest;
            let mut counts = Counts::default();
            for (event, &verdict) in run.iter().zip(these) {
                let cells = u128::from(event.cost);
                match verdict {
                    EventVerdict::Admitted => counts.admitted += cells,
                    EventVerdict::Delayed(delay) => {
                        counts.admitted += cells;
                        self.delayed += 1;
                        self.longest_delay = self.longest_delay.max(delay);
                    }
                    EventVerdict::Denied(wait) => {
                        counts.denied += cells;
                        let hit = self.hit.entry(event.key).or_default();
                        hit.count(cells);
                        hit.longest_wait = hit.longest_wait.max(wait);
                    }
                    EventVerdict::Never => {
                        counts.denied += cells;
                        let hit = self.hit.entry(event.key).or_default();
                        hit.count(cells);
                        hit.never += 1;
                    }
                }
            }
            self.admitted += counts.admitted;
            self.series.add(run[0].time, counts);
        }
        Ok(())
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
