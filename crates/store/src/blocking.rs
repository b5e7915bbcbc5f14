//! The blocking twin of the shared meter: the same verbs for threads, without joined calls.

use crate::builder::{InvalidSharedMeter, SharedMeterBuilder};
use crate::error::StoreError;
use crate::known::Known;
use crate::local::{Arrival, Served};
use crate::observe::LocalStats;
use crate::policy::Inner;
use crate::store::{BlockingStore, Reply, Verb};
use crate::subject::stored;
use crate::terms::{Decided, Terms};
use crate::time::Micros;
use crate::verdict::{AdmittedPart, Verdict, Via};
use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// One limit for each subject, kept in a store for all processes that use the same name, for threads that may block.
///
/// It is a `SharedMeter` whose calls are not joined, and whose deadline is the store's own: set it where the store is made.
///
/// ```
/// use ratelimit_meter_store::{BlockingMeter, SharedMeterBuilder, MemoryStore};
///
/// let clients: BlockingMeter<_> = SharedMeterBuilder::new("api", "10/s burst 1".parse()?).build_blocking(MemoryStore::new())?;
/// assert!(clients.check("alice")?.is_admitted());
/// assert!(!clients.check("alice")?.is_admitted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockingMeter<S> {
    inner: Arc<Inner<S, ()>>,
}

impl<S> Clone for BlockingMeter<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S> fmt::Debug for BlockingMeter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = &self.inner.terms;
        f.debug_struct("BlockingMeter")
            .field("name", &terms.name)
            .field("quotas", &terms.quotas())
            .finish_non_exhaustive()
    }
}

impl SharedMeterBuilder {
    /// Returns the blocking meter over `store`, which keeps its own deadline.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedMeter`].
    pub fn build_blocking<S: BlockingStore>(&self, store: S) -> Result<BlockingMeter<S>, InvalidSharedMeter> {
        let inner = Inner::new(self, store, false)?;
        Ok(BlockingMeter { inner: Arc::new(inner) })
    }
}

impl<S: BlockingStore> BlockingMeter<S> {
    /// Decides one cell of `subject` now, and counts it if it conforms.
    ///
    /// # Errors
    ///
    /// [`StoreError`], if the store gave no decision and [`OnFailure::Error`](crate::OnFailure::Error) is set.
    pub fn check(&self, subject: &str) -> Result<Verdict, StoreError> {
        self.check_n(subject, 1)
    }

    /// Decides a batch of `n` cells of `subject` now, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_n(&self, subject: &str, n: u32) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(inner.policy.reported(verdict));
        }
        let served = match inner.local.arrive(subject, n, Instant::now(), || Ok(())) {
            Err(error) => Err(error),
            Ok(Arrival::Leased(known)) => Ok(Decided::Admitted(known, Via::Lease)),
            Ok(Arrival::Denied(known)) => Ok(Decided::Denied(known, Via::RememberedDenial)),
            Ok(Arrival::Alone(generation)) if n > 1 => {
                let reply = inner.ask_and_learn(subject, Verb::Check, n, generation);
                reply.map(|(known, cells)| Terms::all_or_none(known, n, cells))
            }
            Ok(_) => inner.ask_for_one(subject),
        };
        let verdict = match served {
            Ok(decided) => Terms::decided(n, decided, Instant::now()),
            Err(error) => inner.policy.answer(subject, n, error, Instant::now())?,
        };
        Ok(inner.policy.reported(verdict))
    }

    /// Counts as many cells of `subject`, up to `n`, as conform now.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check). If the store gave no decision, all `n` cells are admitted or none.
    pub fn check_up_to(&self, subject: &str, n: u32) -> Result<AdmittedPart, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if n == 0 {
            return Ok(AdmittedPart::of(0, None, Via::Quota));
        }
        let generation = inner.local.generation(subject);
        let part = match inner.ask_and_learn(subject, Verb::UpTo, n, generation) {
            Ok((known, cells)) => Terms::part(&known, n, cells),
            Err(error) => AdmittedPart::for_all(n, inner.policy.answer(subject, n, error, Instant::now())?),
        };
        inner.policy.observer.decided(part.decision(n), &part.via);
        Ok(part)
    }

    /// Decides like [`check`](Self::check) and changes nothing, in the store and here.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with any setting for failures.
    pub fn peek(&self, subject: &str) -> Result<Verdict, StoreError> {
        self.peek_n(subject, 1)
    }

    /// Decides like [`check_n`](Self::check_n) and changes nothing, in the store and here. The status of the verdict describes the key.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_n(&self, subject: &str, n: u32) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(verdict);
        }
        let (known, cells) = inner.ask(subject, Verb::Peek, None, n.into())?;
        Ok(Terms::replied(known, n, cells))
    }

    /// Counts `n` cells of `subject` whose number is known only afterwards, into debt if necessary; returns how many were recorded.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn charge(&self, subject: &str, n: u64) -> Result<u64, StoreError> {
        let subject = &*stored(subject);
        if n == 0 {
            return Ok(0);
        }
        self.inner
            .ask(subject, Verb::Charge, None, n)
            .map(|(_, recorded)| recorded)
    }

    /// Gives back `n` cells of `subject`, but no more than makes it idle.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn refund(&self, subject: &str, n: u64) -> Result<(), StoreError> {
        self.give(subject, Verb::Refund, n)
    }

    /// Cancels the debt of `subject`.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn reset(&self, subject: &str) -> Result<(), StoreError> {
        self.give(subject, Verb::Reset, 1)
    }

    /// Decides `n` cells of `subject` at the caller's time `at`, and counts all of them if all conform: to replay a log.
    ///
    /// Times may come in any order, and each call is decided at its own time. The local layer has no part in it.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn check_n_at(&self, subject: &str, n: u32, at: Micros) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(verdict);
        }
        let (known, cells) = inner.ask(subject, Verb::Check, Some(at), n.into())?;
        Ok(Terms::replied(known, n, cells))
    }

    /// Gives back the cells of all blocks that this process has drawn and not used; returns how many blocks.
    ///
    /// # Errors
    ///
    /// The first [`StoreError`]; cells that are not given back are lost, and drain.
    pub fn give_back(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let blocks = inner.local.take_blocks(Instant::now());
        for (subject, cells, drawn) in &blocks {
            inner.ask(subject, Verb::Cancel { drawn: *drawn }, None, (*cells).into())?;
            inner.local.forget(subject, false);
        }
        Ok(blocks.len())
    }

    /// Returns the statistics of the local layer and the breaker; reads the whole layer.
    #[must_use]
    pub fn stats(&self) -> LocalStats {
        let inner = &self.inner;
        inner.policy.stats(inner.local.size(Instant::now()))
    }

    /// Sets the gauges `ratelimit_store_remembered_subjects`, `ratelimit_store_leased_cells`, `ratelimit_store_calls_in_flight` and
    /// `ratelimit_store_breaker_open` to the [stats](Self::stats), with the label `meter`: call it where the metrics are scraped.
    #[cfg(feature = "metrics")]
    pub fn record_stats(&self) {
        self.inner.policy.observer.stats(self.stats());
    }

    fn give(&self, subject: &str, verb: Verb, n: u64) -> Result<(), StoreError> {
        let subject = &*stored(subject);
        if n == 0 {
            return Ok(());
        }
        let result = self.inner.ask(subject, verb, None, n);
        // Also after an error: it may have been done.
        self.inner.local.forget(subject, verb == Verb::Reset);
        result.map(|_| ())
    }
}

impl<S: BlockingStore> Inner<S, ()> {
    /// Asks about one cell as a joined call with one waiter, which may draw a block.
    fn ask_for_one(&self, subject: &str) -> Served {
        let _place = self.policy.place()?;
        let flight = self
            .local
            .depart(&self.terms, subject, VecDeque::from([()]), false, Instant::now());
        let result = self.call(subject, flight.verb, None, 1);
        let (mut deliveries, _) = self
            .local
            .land(&self.terms.limits, subject, flight, result, Instant::now());
        let nothing = || Err(StoreError::Protocol("a call without a result".to_owned()));
        deliveries.pop().map_or_else(nothing, |((), served)| served)
    }

    /// Asks the store about a batch, and remembers the reply.
    fn ask_and_learn(&self, subject: &str, verb: Verb, n: u32, generation: u64) -> Result<(Known, u64), StoreError> {
        let (known, cells) = self.ask(subject, verb, None, n.into())?;
        self.local.learn(subject, &known, generation, known.received);
        Ok((known, cells))
    }

    fn ask(&self, subject: &str, verb: Verb, at: Option<Micros>, n: u64) -> Result<(Known, u64), StoreError> {
        let _place = self.policy.place()?;
        let (reply, sent) = self.call(subject, verb, at, n)?;
        Ok((
            Known::of(&self.terms.limits, &reply, sent, Instant::now()),
            reply.cells.unwrap_or(0),
        ))
    }

    fn call(&self, subject: &str, verb: Verb, at: Option<Micros>, n: u64) -> Result<(Reply, Instant), StoreError> {
        let sent = Instant::now();
        let leave = self.policy.leave(sent)?;
        let keys = self.terms.keys(subject);
        let asks = self.terms.asks(&keys, n);
        let result = self
            .store
            .decide(verb, at, &asks)
            .and_then(|reply| reply.for_asks(&asks));
        leave.end(verb, &result, Instant::now());
        Ok((result?, sent))
    }
}
