//! The async shared meter: the local layer around a store, with a deadline and an answer for each call.

use crate::builder::{InvalidSharedMeter, SharedMeterBuilder};
use crate::error::StoreError;
use crate::known::Known;
use crate::local::{Arrival, Deliveries, LocalLayer, Served};
use crate::memory::MemoryStore;
use crate::observe::LocalStats;
use crate::policy::Inner;
use crate::store::{AsyncStore, Reply, Verb};
use crate::subject::stored;
use crate::terms::{Decided, Terms};
use crate::time::{Micros, later};
use crate::verdict::{AdmittedPart, Verdict, Via};
use core::fmt;
use ratelimit_meter::{DualQuota, Quota};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

/// One limit for each subject, kept in a store for all processes that use the same name.
///
/// Clones share the connection and the local layer. The calls need a tokio runtime with its timer enabled.
///
/// ```
/// use ratelimit_meter_store::{MemoryStore, OnFailure, SharedMeter};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new(); // in production: of ratelimit_meter_redis or ratelimit_meter_postgres
/// let clients = SharedMeter::builder("api", "100/min burst 2".parse()?)
///     .deadline(Duration::from_millis(50))
///     .on_failure(OnFailure::Deny)
///     .build(store)?;
/// assert!(clients.check("alice").await?.is_admitted());
/// assert!(clients.check("alice").await?.is_admitted());
/// let denied = clients.check("alice").await?;
/// assert!(!denied.is_admitted());
/// assert!(denied.status().is_some_and(|status| status.until_next() <= Duration::from_millis(600)));
/// assert!(clients.check("bob").await?.is_admitted());
/// # Ok(())
/// # }
/// ```
pub struct SharedMeter<S = MemoryStore> {
    inner: Arc<Inner<S, ServedSender>>,
}

type ServedSender = oneshot::Sender<Served>;

impl<S> Clone for SharedMeter<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S> fmt::Debug for SharedMeter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = &self.inner.terms;
        f.debug_struct("SharedMeter")
            .field("name", &terms.name)
            .field("quotas", &terms.quotas())
            .finish_non_exhaustive()
    }
}

impl SharedMeter {
    /// Returns the settings of a meter named `name`, whose first limit is `quota`. Meters of one name share the debts of their subjects. If their
    /// quotas differ, each converts the debts that the other wrote, so give each limit a name of its own.
    pub fn builder(name: &str, quota: Quota) -> SharedMeterBuilder {
        SharedMeterBuilder::new(name, quota)
    }

    /// Returns the settings of a meter with two limits.
    pub fn dual_builder(name: &str, quotas: DualQuota) -> SharedMeterBuilder {
        SharedMeterBuilder::named(name).and_dual(quotas)
    }

    /// Returns the settings of a meter that limits the average rate.
    pub fn average_builder(name: &str, quota: Quota) -> SharedMeterBuilder {
        SharedMeterBuilder::named(name).and_average(quota)
    }

    /// Returns the settings of a meter that limits the average rate, and counts denied cells too.
    pub fn strict_average_builder(name: &str, quota: Quota) -> SharedMeterBuilder {
        SharedMeterBuilder::named(name).and_strict_average(quota)
    }
}

impl SharedMeterBuilder {
    /// Returns the meter over `store`.
    ///
    /// # Errors
    ///
    /// [`InvalidSharedMeter`].
    pub fn build<S: AsyncStore>(&self, store: S) -> Result<SharedMeter<S>, InvalidSharedMeter> {
        let inner = Inner::new(self, store, true)?;
        Ok(SharedMeter { inner: Arc::new(inner) })
    }
}

impl<S: AsyncStore> SharedMeter<S> {
    /// Decides one cell of `subject` now, and counts it if it conforms.
    ///
    /// A cell whose caller leaves before the answer may be counted.
    ///
    /// # Errors
    ///
    /// [`StoreError`], if the store gave no decision and [`OnFailure::Error`](crate::OnFailure::Error) is set.
    pub async fn check(&self, subject: &str) -> Result<Verdict, StoreError> {
        self.check_n(subject, 1).await
    }

    /// Decides a batch of `n` cells of `subject` now, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn check_n(&self, subject: &str, n: u32) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(inner.policy.reported(verdict));
        }
        let now = now();
        let at_once = |decided| Ok(inner.policy.reported(Terms::decided(n, decided, now)));
        // A caller that waits for a joined call has a place among those that wait, from before it queues.
        let (mut receiver, mut place) = (None, None);
        let waiter = || {
            place = Some(inner.policy.place()?);
            let (sender, there) = oneshot::channel();
            receiver = Some(there);
            Ok(sender)
        };
        let served = match inner.local.arrive(subject, n, now, waiter) {
            Err(error) => Err(error),
            Ok(Arrival::Leased(known)) => return at_once(Decided::Admitted(known, Via::Lease)),
            Ok(Arrival::Denied(known)) => return at_once(Decided::Denied(known, Via::RememberedDenial)),
            Ok(Arrival::Alone(generation)) => {
                let reply = inner.ask_and_learn(subject, Verb::Check, n.into(), generation).await;
                reply.map(|(known, cells)| Terms::all_or_none(known, n, cells))
            }
            Ok(Arrival::Fly(first)) => {
                tokio::spawn(Carrier::new(inner, subject, now).carry(first));
                inner.served(receiver, now).await
            }
            Ok(Arrival::Queued) => inner.served(receiver, now).await,
        };
        drop(place);
        let verdict = match served {
            Ok(decided) => Terms::decided(n, decided, self::now()),
            Err(error) => inner.policy.answer(subject, n, error, self::now())?,
        };
        Ok(inner.policy.reported(verdict))
    }

    /// Counts as many cells of `subject`, up to `n`, as conform now.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check). If the store gave no decision, all `n` cells are admitted or none.
    pub async fn check_up_to(&self, subject: &str, n: u32) -> Result<AdmittedPart, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if n == 0 {
            return Ok(AdmittedPart::of(0, None, Via::Quota));
        }
        let generation = inner.local.generation(subject);
        let part = match inner.ask_and_learn(subject, Verb::UpTo, n.into(), generation).await {
            Ok((known, cells)) => Terms::part(&known, n, cells),
            Err(error) => AdmittedPart::for_all(n, inner.policy.answer(subject, n, error, now())?),
        };
        inner.policy.observer.decided(part.decision(n), &part.via);
        Ok(part)
    }

    /// Decides like [`check`](Self::check) and changes nothing, in the store and here.
    ///
    /// # Errors
    ///
    /// [`StoreError`], with any setting for failures.
    pub async fn peek(&self, subject: &str) -> Result<Verdict, StoreError> {
        self.peek_n(subject, 1).await
    }

    /// Decides like [`check_n`](Self::check_n) and changes nothing, in the store and here. The status of the verdict describes the key.
    ///
    /// The store decides, and for the store the cells of drawn blocks are used. So with a [lease](SharedMeterBuilder::lease), `check_n` may admit cells
    /// from a block that `peek_n` denies.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub async fn peek_n(&self, subject: &str, n: u32) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(verdict);
        }
        let (known, cells) = inner.ask(subject, Verb::Peek, None, n.into()).await?;
        Ok(Terms::replied(known, n, cells))
    }

    /// Decides like [`check_n`](Self::check_n) and counts nothing in the store: for work whose result decides the [charge](Self::charge).
    ///
    /// As for [`peek_n`](Self::peek_n), the cells of drawn blocks are used, so with a [lease](SharedMeterBuilder::lease) `check_n` may admit cells that
    /// are denied here.
    ///
    /// Unlike [`peek_n`](Self::peek_n), a remembered denial answers without a call. If the store gives no decision,
    /// [`OnFailure`](crate::OnFailure) answers as for a check; `Local` then counts the cells in its meter, because no charge follows there.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn precheck_n(&self, subject: &str, n: u32) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        let verdict = if let Some(verdict) = inner.terms.by_quota(n) {
            verdict
        } else if let Some(known) = inner.local.remembered(subject, n, now()) {
            Terms::decided(n, Decided::Denied(known, Via::RememberedDenial), now())
        } else {
            let generation = inner.local.generation(subject);
            match inner.ask_and_learn(subject, Verb::Peek, n.into(), generation).await {
                Ok((known, cells)) => Terms::replied(known, n, cells),
                Err(error) => inner.policy.answer(subject, n, error, now())?,
            }
        };
        Ok(inner.policy.reported(verdict))
    }

    /// Counts `n` cells of `subject` whose number is known only afterwards, into debt if necessary. Returns the number of recorded cells, which is less
    /// than `n` only at the largest level (142 years).
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub async fn charge(&self, subject: &str, n: u64) -> Result<u64, StoreError> {
        let subject = &*stored(subject);
        if n == 0 {
            return Ok(0);
        }
        let inner = &self.inner;
        let generation = inner.local.generation(subject);
        let (_, recorded) = inner.ask_and_learn(subject, Verb::Charge, n, generation).await?;
        Ok(recorded)
    }

    /// Gives back `n` cells of `subject`, but no more than makes it idle.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub async fn refund(&self, subject: &str, n: u64) -> Result<(), StoreError> {
        self.give(subject, Verb::Refund, n).await
    }

    /// Cancels the debt of `subject`.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub async fn reset(&self, subject: &str) -> Result<(), StoreError> {
        self.give(subject, Verb::Reset, 1).await
    }

    /// Gives back the cells of all blocks that this process has drawn and not used; call it before the process ends.
    ///
    /// Only cells that certainly have not drained are given back, so that no more conforms than if the cells had never been drawn. The exception is
    /// another process that had a higher rate under this name meanwhile, as during a deployment: cells that drained by that rate may be given back, too.
    /// Returns how many blocks were given back.
    ///
    /// # Errors
    ///
    /// The first [`StoreError`]; cells that are not given back are lost, and drain.
    pub async fn give_back(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let blocks = inner.local.take_blocks(now());
        let number = blocks.len();
        for (subject, cells, drawn) in blocks {
            inner.ask(&subject, Verb::Cancel { drawn }, None, cells.into()).await?;
            inner.local.forget(&subject, false);
        }
        Ok(number)
    }

    /// Decides `n` cells of `subject` at the caller's time `at`, and counts all of them if all conform: to replay a log.
    ///
    /// Times may come in any order, and each call is decided at its own time. The local layer has no part in it. Do not mix such calls with plain
    /// calls on one subject, unless the caller's clock is the store's.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub async fn check_n_at(&self, subject: &str, n: u32, at: Micros) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if let Some(verdict) = inner.terms.by_quota(n) {
            return Ok(verdict);
        }
        let (known, cells) = inner.ask(subject, Verb::Check, Some(at), n.into()).await?;
        Ok(Terms::replied(known, n, cells))
    }

    /// Decides one cell of each of several subjects, of this meter and of `others` over the same store. Counts all cells if all conform, or none.
    /// Returns the verdict of the meter that denies longest.
    ///
    /// In a cluster all meters must be [`in_slot`](SharedMeterBuilder::in_slot) of one slot.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), by this meter's settings; [`StoreError::NotOneSlot`].
    pub async fn check_with(&self, subject: &str, others: &[(&Self, &str)]) -> Result<Verdict, StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        // A subject that is named twice decides one batch of both cells.
        let mut asked: Vec<(&Terms, &str, u64)> = vec![(&inner.terms, subject, 1)];
        let others: Vec<_> = others.iter().map(|(meter, subject)| (meter, stored(subject))).collect();
        for (meter, subject) in &others {
            let terms = &meter.inner.terms;
            let is_same = |asked: &(&Terms, &str, u64)| asked.0.keys(asked.1) == terms.keys(subject);
            match asked.iter_mut().find(|asked| is_same(asked)) {
                Some(same) => same.2 += 1,
                None => asked.push((terms, subject, 1)),
            }
        }
        let result = match inner.policy.place() {
            Ok(_place) => inner.call(&asked, Verb::Check, None).await,
            Err(error) => Err(error),
        };
        let verdict = match result {
            Ok((reply, sent)) => Inner::<S, ServedSender>::verdict_of_several(&asked, &reply, sent),
            Err(error @ StoreError::NotOneSlot) => return Err(error),
            Err(error) => inner.policy.answer(subject, 1, error, now())?,
        };
        Ok(inner.policy.reported(verdict))
    }

    /// Returns the statistics of the local layer and the breaker; reads the whole layer.
    #[must_use]
    pub fn stats(&self) -> LocalStats {
        let inner = &self.inner;
        inner.policy.stats(inner.local.size(now()))
    }

    /// Sets the gauges `ratelimit_store_remembered_subjects`, `ratelimit_store_leased_cells`, `ratelimit_store_calls_in_flight` and
    /// `ratelimit_store_breaker_open` to the [stats](Self::stats), with the label `meter`: call it where the metrics are scraped.
    #[cfg(feature = "metrics")]
    pub fn record_stats(&self) {
        self.inner.policy.observer.stats(self.stats());
    }

    /// Returns `true` while the breaker keeps calls from the store.
    #[must_use]
    pub fn is_breaker_open(&self) -> bool {
        self.inner.policy.is_open()
    }

    async fn give(&self, subject: &str, verb: Verb, n: u64) -> Result<(), StoreError> {
        let subject = &*stored(subject);
        let inner = &self.inner;
        if n == 0 {
            return Ok(());
        }
        let _forgotten = ForgottenOnDrop {
            local: &inner.local,
            subject,
            all: verb == Verb::Reset,
        };
        inner.ask(subject, verb, None, n).await.map(|_| ())
    }
}

/// Forgets the local state of a subject at the end of a call that gives cells back. It does so after an error too, and if the caller leaves before the
/// reply, because the cells may have been given back.
struct ForgottenOnDrop<'a> {
    local: &'a LocalLayer<ServedSender>,
    subject: &'a str,
    all: bool,
}

impl Drop for ForgottenOnDrop<'_> {
    fn drop(&mut self) {
        self.local.forget(self.subject, self.all);
    }
}

impl<S: AsyncStore> Inner<S, ServedSender> {
    /// Asks the store about one subject, in a place among the calls that wait.
    async fn ask(&self, subject: &str, verb: Verb, at: Option<Micros>, n: u64) -> Result<(Known, u64), StoreError> {
        let _place = self.policy.place()?;
        let (reply, sent) = self.call(&[(&self.terms, subject, n)], verb, at).await?;
        Ok((
            Known::of(&self.terms.limits, &reply, sent, now()),
            reply.cells.unwrap_or(0),
        ))
    }

    /// Asks the store about a batch that joins no other call, and remembers the reply.
    async fn ask_and_learn(
        &self,
        subject: &str,
        verb: Verb,
        n: u64,
        generation: u64,
    ) -> Result<(Known, u64), StoreError> {
        let (known, cells) = self.ask(subject, verb, None, n).await?;
        self.local.learn(subject, &known, generation, known.received);
        Ok((known, cells))
    }

    /// Asks the store for cells of some subjects within the deadline, if the breaker lets it.
    async fn call(
        &self,
        asked: &[(&Terms, &str, u64)],
        verb: Verb,
        at: Option<Micros>,
    ) -> Result<(Reply, Instant), StoreError> {
        let sent = now();
        let leave = self.policy.leave(sent)?;
        let keys: Vec<_> = asked.iter().map(|(terms, subject, _)| terms.keys(subject)).collect();
        let asks = asked
            .iter()
            .zip(&keys)
            .flat_map(|((terms, _, n), keys)| terms.asks(keys, *n));
        let asks: Vec<_> = asks.collect();
        let decided = timeout(self.policy.deadline, self.store.decide(verb, at, &asks)).await;
        let result = decided.unwrap_or(Err(StoreError::TimedOut));
        let result = result.and_then(|reply| reply.for_asks(&asks));
        leave.end(verb, &result, now());
        Ok((result?, sent))
    }

    /// The verdict of one meter of all limits, by which the longest denial is found.
    fn verdict_of_several(asked: &[(&Terms, &str, u64)], reply: &Reply, sent: Instant) -> Verdict {
        let limits = asked
            .iter()
            .flat_map(|(terms, _, n)| terms.limits.iter().map(|limit| (*limit, *n)));
        let (limits, ns): (Vec<_>, Vec<_>) = limits.unzip();
        let known = Known::of(&limits.into(), reply, sent, now());
        let admitted = reply.cells.is_some_and(|cells| cells > 0);
        let received = known.received;
        let mut verdict = Terms::verdict(known.clone(), 1, admitted, received, Via::Store);
        if !admitted {
            verdict.decision = Err(Terms::denial_of_several(&known, &ns));
        }
        verdict
    }

    /// Waits for the decision on a cell of a joined call, until the deadline.
    async fn served(&self, receiver: Option<oneshot::Receiver<Served>>, arrived: Instant) -> Served {
        let Some(receiver) = receiver else {
            return Err(StoreError::Overloaded);
        };
        match timeout_at(later(arrived, self.policy.deadline).into(), receiver).await {
            Ok(Ok(served)) => served,
            // The task that carried the call has ended, with its runtime.
            Ok(Err(_)) => Err(StoreError::Disconnected("the call was given up".to_owned())),
            Err(_) => Err(StoreError::TimedOut),
        }
    }
}

fn deliver(deliveries: Deliveries<ServedSender>) {
    for (waiter, served) in deliveries {
        // A caller that has left does not care.
        let _ = waiter.send(served);
    }
}

/// Carries the joined calls of a subject.
///
/// If it is dropped before their end, the callers of the subject can go on. Its task may be dropped with its runtime, even before it is first
/// polled, or there may be no runtime to spawn it.
struct Carrier<S> {
    inner: Arc<Inner<S, ServedSender>>,
    subject: String,
    /// When the call in flight was sent.
    sent: Instant,
    has_ended: bool,
}

impl<S> Carrier<S> {
    fn new(inner: &Arc<Inner<S, ServedSender>>, subject: &str, sent: Instant) -> Self {
        Self {
            inner: Arc::clone(inner),
            subject: subject.to_owned(),
            sent,
            has_ended: false,
        }
    }
}

impl<S: AsyncStore> Carrier<S> {
    /// Makes the calls one after the other, until none waits.
    async fn carry(mut self, first: ServedSender) {
        let (inner, subject) = (&self.inner, &*self.subject);
        let mut next = Some((VecDeque::from([first]), false));
        while let Some((mut waiters, in_parts)) = next {
            // Callers that have left are not asked for.
            waiters.retain(|waiter| !waiter.is_closed());
            let n = waiters.len() as u64;
            self.sent = now();
            let flight = inner.local.depart(&inner.terms, subject, waiters, in_parts, self.sent);
            let result = if n == 0 {
                Err(StoreError::TimedOut)
            } else {
                inner.call(&[(&inner.terms, subject, n)], flight.verb, None).await
            };
            let (deliveries, more) = inner.local.land(&inner.terms.limits, subject, flight, result, now());
            deliver(deliveries);
            next = more;
        }
        self.has_ended = true;
    }
}

impl<S> Drop for Carrier<S> {
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.inner.local.crash(&self.subject, self.sent));
        }
    }
}

/// The time of the runtime, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
