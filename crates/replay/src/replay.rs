//! All limits side by side, in one pass over the events: each with a meter of its own for every key.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::crowd::{Crowd, Undecided};
use crate::event::{Event, KeyId, Keys};
use crate::limit::{Limit, Quotas};
use crate::lineage::{Lineage, Maker, Verdict};
use crate::series::{Series, Timeline};
use crate::suggest::{Reason, Suggester, Suggestion};
use crate::trace::Order;
use crate::{Error, text};

/// What a limit would have done to the traffic. Cells are counted, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The limit.
    pub limit: Quotas,
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
    /// What would have denied nobody, if that was asked.
    pub suggestion: Option<Suggestion>,
    /// What was admitted and denied when.
    pub timeline: Timeline,
    /// The other bound, where the stamps are so coarse that it differs: the same requests spaced evenly within their stamps.
    pub spread: Option<SpreadOutcome>,
}

/// What a limit would have done to the same traffic if the requests of one stamp had come evenly over its unit: the
/// least that a limit could deny, where requests all at the stamp are the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpreadOutcome {
    /// Cells admitted.
    pub admitted: u128,
    /// Cells denied.
    pub denied: u128,
    /// Keys that were denied at least once.
    pub keys_denied: usize,
    /// The limits that would have denied nothing, if that was asked.
    pub suggestion: Option<Suggestion>,
}

impl Outcome {
    /// The outcome as one bound of two.
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

/// What else is to be found out than what each limit admits and denies, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// In which order the events come.
    pub order: Order,
    /// Whether to find out which limits would have denied nobody.
    pub suggest: bool,
    /// Whether keys must not be named.
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
        f.debug_struct("Replay")
            .field("settings", &self.settings)
            .field("keys", &self.asked.len())
            .finish_non_exhaustive()
    }
}

impl Replay {
    /// A replay that has seen nothing yet.
    #[must_use]
    pub fn new(limits: &[Limit], settings: Settings) -> Self {
        let candidate = |limit: &Limit| Candidate::new(limit, settings);
        Self {
            settings,
            asked: Vec::new(),
            candidates: limits.iter().map(candidate).collect(),
        }
    }

    /// Asks all meters about an event.
    ///
    /// # Errors
    ///
    /// [`Error::SpanTooLong`] or [`Error::TooFarApart`] if the traffic of a key is beyond what a meter can measure; [`Error::NoTable`] if
    /// there is no memory for its meters.
    #[inline]
    pub fn take(&mut self, event: &Event, keys: &Keys) -> Result<(), Error> {
        let key = event.key.index();
        if key >= self.asked.len() {
            self.asked.resize(key + 1, 0);
        }
        self.asked[key] += u128::from(event.cost);
        for candidate in &mut self.candidates {
            if let Err(undecided) = candidate.take(event) {
                let limit = candidate.maker.limit().quotas();
                return Err(match undecided {
                    Undecided::TooLong => self.too_long(keys.name(event.key), limit),
                    Undecided::NoTable(source) => Error::NoTable { limit, source },
                });
            }
        }
        Ok(())
    }

    #[cold]
    fn too_long(&self, name: &[u8], limit: Quotas) -> Error {
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

    /// What each limit did to all events so far, and to the `top` hardest-hit keys.
    #[must_use]
    pub fn outcomes(&self, keys: &Keys, top: usize) -> Vec<Outcome> {
        let outcome = |candidate: &Candidate| candidate.outcome(&self.asked, keys, top);
        self.candidates.iter().map(outcome).collect()
    }
}

/// A limit, and how each key fares under it.
struct Candidate {
    maker: Maker,
    meters: Meters,
    admitted: u128,
    /// The keys that were denied.
    hit: HashMap<KeyId, Hit, foldhash::fast::RandomState>,
    search: Search,
    series: Series,
}

/// What is done to find out what would have denied nobody.
enum Search {
    NotAsked,
    Vain(Reason),
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

/// The meters of all keys.
enum Meters {
    Tables(Crowd),
    /// Where tables will not do, by key.
    Lineages(Vec<Option<Lineage>>),
}

impl Meters {
    fn new(limit: &Limit, may_go_back: bool) -> Self {
        match limit.single() {
            Some(single) if !may_go_back => Self::Tables(Crowd::new(single)),
            _ => Self::Lineages(Vec::new()),
        }
    }

    #[inline]
    fn check(&mut self, maker: &Maker, event: &Event) -> Result<Verdict, Undecided> {
        let lineages = match self {
            Self::Tables(crowd) => return crowd.check(maker, event),
            Self::Lineages(lineages) => lineages,
        };
        let key = event.key.index();
        if key >= lineages.len() {
            lineages.resize_with(key + 1, || None);
        }
        let lineage = lineages[key].get_or_insert_with(|| Lineage::new(maker, event.time));
        let verdict = lineage.check(maker, event.time, event.cost);
        verdict.ok_or(Undecided::TooLong)
    }
}

/// How a key that was denied fares under a limit.
#[derive(Default)]
struct Hit {
    denied: u128,
    never: u64,
    longest_wait: Duration,
}

impl Candidate {
    fn new(limit: &Limit, settings: Settings) -> Self {
        let may_go_back = settings.order == Order::AsIs;
        Self {
            maker: Maker::new(limit.clone(), may_go_back),
            meters: Meters::new(limit, may_go_back),
            admitted: 0,
            hit: HashMap::default(),
            search: match limit.quotas() {
                _ if !settings.suggest => Search::NotAsked,
                Quotas::One(quota) => Search::On(Suggester::new(quota)),
                Quotas::Two(_) => Search::Vain(Reason::TwoLimits),
            },
            series: Series::new(may_go_back),
        }
    }

    #[inline]
    fn take(&mut self, event: &Event) -> Result<(), Undecided> {
        let verdict = self.meters.check(&self.maker, event)?;
        let cells = u128::from(event.cost);
        self.series.push(event.time, event.cost, verdict == Verdict::Admitted);
        if let Search::On(suggester) = &mut self.search {
            suggester.push(event);
        }
        if verdict == Verdict::Admitted {
            self.admitted += cells;
            return Ok(());
        }
        let hit = self.hit.entry(event.key).or_default();
        hit.denied += cells;
        match verdict {
            Verdict::Denied(wait) => hit.longest_wait = hit.longest_wait.max(wait),
            _ => hit.never += 1,
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
        // By name at last, as the numbers of keys depend on the order of the files.
        hit.sort_by_key(|hit| (Reverse(hit.denied), Reverse(hit.longest_wait), keys.name(hit.key)));
        let mut outcome = Outcome {
            limit: self.maker.limit().quotas(),
            asked: asked.iter().sum(),
            admitted: self.admitted,
            denied: hit.iter().map(|key| key.denied).sum(),
            never: hit.iter().map(|key| key.never).sum(),
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
