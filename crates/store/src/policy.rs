//! The parts of a meter over a store, and the frame of each call: its bound on calls in flight, its breaker, and its answer without a decision.

use crate::breaker::{Breaker, CallEnd, Permit};
use crate::builder::{InvalidSharedMeter, OnFailure, SharedMeterBuilder};
use crate::error::StoreError;
use crate::known::LazyStatus;
use crate::local::{LocalLayer, LocalSettings};
use crate::observe::{LocalStats, Observer};
use crate::store::Verb;
use crate::terms::Terms;
use crate::time::later;
use crate::verdict::{Verdict, Via};
use core::sync::atomic::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use ratelimit_meter::{NegativeMultiDecision, NonConformance};
use std::time::{Duration, Instant};

/// The parts of a meter over `S`, which its handles share; `W` waits for a joined call.
pub(crate) struct Inner<S, W> {
    pub(crate) store: S,
    pub(crate) terms: Terms,
    pub(crate) policy: CallPolicy,
    pub(crate) local: LocalLayer<W>,
}

impl<S, W> Inner<S, W> {
    /// Returns the parts by the settings of `builder`, where calls join only if `can_join`.
    pub(crate) fn new(builder: &SharedMeterBuilder, store: S, can_join: bool) -> Result<Self, InvalidSharedMeter> {
        let (terms, settings) = builder.terms()?;
        let settings = LocalSettings {
            join: settings.join && can_join,
            ..settings
        };
        Ok(Self {
            store,
            terms,
            policy: CallPolicy::of(builder),
            local: LocalLayer::new(settings),
        })
    }
}

#[derive(Debug)]
pub(crate) struct CallPolicy {
    pub(crate) observer: Observer,
    pub(crate) deadline: Duration,
    on_failure: OnFailure,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    breaker: Mutex<Breaker>,
}

/// A place among the calls in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // ORDERING: relaxed, a count that orders nothing else.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permission for one call, which reports the end of the call to the breaker. If it is dropped before, it reports an abandoned call.
#[derive(Debug)]
pub(crate) struct Leave<'a> {
    policy: &'a CallPolicy,
    permit: Option<Permit>,
    sent: Instant,
}

impl Leave<'_> {
    pub(crate) fn end<T>(mut self, verb: Verb, result: &Result<T, StoreError>, now: Instant) {
        let (policy, error) = (self.policy, result.as_ref().err());
        policy
            .observer
            .called(verb, error, now.saturating_duration_since(self.sent));
        if let Some(error) = error {
            policy.observer.failed(error);
        }
        if let Some(permit) = self.permit.take() {
            let mut breaker = policy.breaker.lock();
            let was_open = breaker.is_open();
            breaker.record(permit, CallEnd::of(result), self.sent, now);
            let is_open = breaker.is_open();
            drop(breaker);
            if is_open != was_open {
                policy.observer.breaker(is_open);
            }
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit {
            let mut breaker = self.policy.breaker.lock();
            breaker.record(permit, CallEnd::Abandoned, self.sent, Instant::now());
        }
    }
}

impl CallPolicy {
    pub(crate) fn of(builder: &SharedMeterBuilder) -> Self {
        Self {
            observer: Observer::of(&builder.name),
            deadline: builder.deadline,
            on_failure: builder.on_failure.clone(),
            max_in_flight: builder.max_in_flight,
            in_flight: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(builder.breaker)),
        }
    }

    /// Takes a place among the calls that wait.
    pub(crate) fn place(&self) -> Result<InFlight<'_>, StoreError> {
        // ORDERING: relaxed, as in `InFlight::drop`. Too high a count for a moment denies a place that would be free the next moment.
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = InFlight(&self.in_flight);
        if before < self.max_in_flight {
            Ok(place)
        } else {
            self.observer.failed(&StoreError::Overloaded);
            Err(StoreError::Overloaded)
        }
    }

    /// Returns the statistics of this policy and of a local layer with these numbers of subjects and leased cells.
    pub(crate) fn stats(&self, (remembered_subjects, leased_cells): (usize, u64)) -> LocalStats {
        LocalStats {
            remembered_subjects,
            leased_cells,
            // ORDERING: relaxed, as in `InFlight::drop`.
            calls_in_flight: self.in_flight.load(Ordering::Relaxed),
            is_breaker_open: self.is_open(),
        }
    }

    /// Asks the breaker to let a call pass.
    pub(crate) fn leave(&self, now: Instant) -> Result<Leave<'_>, StoreError> {
        let permit = self.breaker.lock().permit(now).map_err(|_| StoreError::BreakerOpen);
        Ok(Leave {
            policy: self,
            permit: Some(permit.inspect_err(|error| self.observer.failed(error))?),
            sent: now,
        })
    }

    /// Reports a verdict to the observer, and returns it.
    pub(crate) fn reported(&self, verdict: Verdict) -> Verdict {
        self.observer.decided(verdict.decision, &verdict.via);
        verdict
    }

    pub(crate) fn is_open(&self) -> bool {
        self.breaker.lock().is_open()
    }

    /// Answers for the store.
    pub(crate) fn answer(&self, subject: &str, n: u32, error: StoreError, now: Instant) -> Result<Verdict, StoreError> {
        let (decision, status) = match &self.on_failure {
            OnFailure::Error => return Err(error),
            OnFailure::Allow => (Ok(()), None),
            OnFailure::Deny => (Err(self.denial(n, now)), None),
            OnFailure::Local(meter) => {
                let taken = meter.key(subject).take(n);
                match taken.decision() {
                    // More than the burst of the share: the store may admit it.
                    Err(NegativeMultiDecision::InsufficientCapacity(_)) => (Err(self.denial(n, now)), None),
                    decision => (decision, Some(LazyStatus::Status(Box::new(taken.status())))),
                }
            }
        };
        Ok(Verdict {
            decision,
            status,
            via: Via::Failure(error),
        })
    }

    /// Returns a denial until a call may be sent: the next one may find the store well.
    fn denial(&self, n: u32, now: Instant) -> NegativeMultiDecision {
        let next = self.breaker.lock().next_call(now).max(later(now, self.deadline));
        NegativeMultiDecision::BatchNonConforming(n, NonConformance::at(next))
    }
}
