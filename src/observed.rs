//! Reports the decisions of meters: as counters of the `metrics` facade, and as events of `tracing`.
//!
//! Wrap a meter in [`Observed`]. A meter that is not wrapped has no hook, so its decisions cost the same with and without the features.
//!
//! | with the feature | an observed meter |
//! |---|---|
//! | `metrics` | counts each decision and its cells; [`Observed::record`] reports the state of tables and leases, and [`record_clock`] the state of the clock |
//! | `tracing` | emits an event at level debug for each denial, with the limit, the cells and the wait |
//!
//! The names below are in the Prometheus format. `limit` is the label that every series of a meter has.
//!
//! | metric | meaning |
//! |---|---|
//! | `ratelimit_meter_decisions_total{limit,outcome}` | the decisions; `outcome` is `admitted` or `denied` |
//! | `ratelimit_meter_cells_total{limit,outcome}` | the cells of these decisions |
//! | `ratelimit_meter_keys_live{limit}`, `..._keys_taken`, `..._keys_slots` | the live keys of a table, its slots that hold a key, and all its slots |
//! | `ratelimit_meter_keys_evicted_total{limit}` | the live keys that were evicted |
//! | `ratelimit_meter_keys_no_slot_total{limit,outcome}` | the decisions on a key that found no slot |
//! | `ratelimit_meter_leases_taken{limit}`, `..._leases_cells_stranded` | the leases in use, and the cells that they hold unused |
//! | `ratelimit_meter_clock_counter`, `..._clock_given_up` | 1 if the default clock reads the processor's counter, and if it has given the counter up |
//! | `ratelimit_meter_clock_anchors_total` | the anchors of the default clock in all threads |

use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::decider::{Decider, MultiDecider};
use crate::meter::Meter;
use crate::outcome::{Admitted, NegativeMultiDecision, NonConformance, Taken};
use crate::store::Store;
use crate::time::Instant;
use core::fmt;
use std::borrow::Cow;

/// A meter whose decisions are counted and traced.
///
/// It has the verbs that decide: those of [`Decider`] and [`MultiDecider`] on any meter, `take` and `check_up_to` on a [`Meter`], and those with a key
/// on a `KeyedMeter`. A [`LocalMeter`](crate::LocalMeter) is no `Decider`, so it has the second group only. [`meter`](Self::meter) returns the meter
/// itself, whose verbs are not observed. A clone observes under the same name.
///
/// With the feature `metrics`, install the recorder before the meter is wrapped: the counters are looked up once.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota, observed::Observed};
///
/// let meter = Observed::new("login", GCRA::from_quota("5/min".parse::<Quota>()?)?);
/// assert!(meter.check_n(5).is_ok()); // counted as admitted, with 5 cells
/// assert!(meter.check().is_err()); // counted as denied
/// assert_eq!(meter.meter().status().remaining(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Observed<M> {
    meter: M,
    limit: Cow<'static, str>,
    #[cfg(feature = "metrics")]
    counters: counters::Counters,
}

impl<M> Observed<M> {
    /// Returns an observed meter, which reports under the name `limit`.
    #[must_use]
    pub fn new(limit: impl Into<Cow<'static, str>>, meter: M) -> Self {
        let limit = limit.into();
        Self {
            #[cfg(feature = "metrics")]
            counters: counters::Counters::of(limit.clone()),
            meter,
            limit,
        }
    }

    /// Returns the meter, whose verbs are not observed.
    #[must_use]
    pub const fn meter(&self) -> &M {
        &self.meter
    }

    /// Returns the name.
    #[must_use]
    pub fn limit(&self) -> &str {
        &self.limit
    }

    #[inline]
    fn seen<E: fmt::Display>(&self, n: u32, decision: Result<(), E>) -> Result<(), E> {
        match &decision {
            Ok(()) => self.saw_admitted(n),
            Err(denial) => self.saw_denied(n, denial),
        }
        decision
    }

    #[inline]
    fn saw_admitted(&self, n: u32) {
        #[cfg(feature = "metrics")]
        self.counters.admitted.count(n);
        #[cfg(not(feature = "metrics"))]
        let _ = n;
    }

    fn saw_denied(&self, n: u32, denial: &dyn fmt::Display) {
        #[cfg(feature = "metrics")]
        self.counters.denied.count(n);
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "ratelimit_meter", limit = &*self.limit, cells = n, "{denial}");
        #[cfg(not(feature = "tracing"))]
        let _ = (n, denial);
    }
}

/// The decisions of any meter.
impl<M: Decider> Observed<M> {
    /// Decides one cell now; see [`Decider::check`].
    ///
    /// # Errors
    ///
    /// As [`Decider::check`].
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        self.seen(1, self.meter.check())
    }

    /// Decides one cell at `at`; see [`Decider::check_at`].
    ///
    /// # Errors
    ///
    /// As [`Decider::check_at`].
    #[inline]
    pub fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.seen(1, self.meter.check_at(at))
    }
}

/// The decisions of any meter on batches.
impl<M: MultiDecider> Observed<M> {
    /// Decides a batch of `n` cells now; see [`MultiDecider::check_n`].
    ///
    /// # Errors
    ///
    /// As [`MultiDecider::check_n`].
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.seen(n, self.meter.check_n(n))
    }

    /// Decides a batch of `n` cells at `at`; see [`MultiDecider::check_n_at`].
    ///
    /// # Errors
    ///
    /// As [`MultiDecider::check_n_at`].
    #[inline]
    pub fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.seen(n, self.meter.check_n_at(n, at))
    }
}

impl<M: Decider> Decider for Observed<M> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.check_at(at)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        self.check()
    }
}

impl<M: MultiDecider> MultiDecider for Observed<M> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at)
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n)
    }
}

/// The other verbs that decide.
impl<A: Algorithm, C: Clock, S: Store<A>> Observed<Meter<A, C, S>> {
    /// Decides a batch of `n` cells now, and returns the status with it; see [`Meter::take`].
    pub fn take(&self, n: u32) -> Taken {
        self.saw_taken(n, self.meter.take(n))
    }

    /// Decides a batch of `n` cells at `at`, and returns the status with it; see [`Meter::take_at`].
    pub fn take_at(&self, n: u32, at: Instant) -> Taken {
        self.saw_taken(n, self.meter.take_at(n, at))
    }

    fn saw_taken(&self, n: u32, taken: Taken) -> Taken {
        // The decision is part of the returned value.
        let _ = self.seen(n, taken.decision());
        taken
    }

    /// Admits as many of `n` cells as conform now; see [`Meter::check_up_to`]. Counts the admitted cells, and the other cells as denied.
    pub fn check_up_to(&self, n: u32) -> Admitted {
        self.saw_up_to(n, self.meter.check_up_to(n))
    }

    /// Admits as many of `n` cells as conform at `at`; see [`check_up_to`](Self::check_up_to).
    pub fn check_up_to_at(&self, n: u32, at: Instant) -> Admitted {
        self.saw_up_to(n, self.meter.check_up_to_at(n, at))
    }

    fn saw_up_to(&self, n: u32, admitted: Admitted) -> Admitted {
        if admitted.cells() > 0 || n == 0 {
            self.saw_admitted(admitted.cells());
        }
        if let Some(denial) = admitted.next() {
            self.saw_denied(n - admitted.cells(), &denial);
        }
        admitted
    }
}

/// Shows the name and the meter.
impl<M: fmt::Debug> fmt::Debug for Observed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("limit", &self.limit)
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "keyed")]
mod keyed {
    use super::Observed;
    use crate::KeyedMeter;
    use crate::meter::MeterKind;
    use crate::outcome::{NegativeMultiDecision, NonConformance};
    use crate::time::Instant;
    use core::borrow::Borrow;
    use core::hash::{BuildHasher, Hash};

    /// The decisions on a key. All keys of a table count under one name: a name for each key would be a series for each key.
    impl<K: ?Sized, M: MeterKind, S: BuildHasher> Observed<KeyedMeter<K, M, S>> {
        /// Decides one cell of `key` now; see [`KeyedMeter::check`].
        ///
        /// # Errors
        ///
        /// As [`KeyedMeter::check`].
        #[inline]
        pub fn check<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), NonConformance>
        where
            K: Borrow<Q>,
        {
            self.seen(1, self.meter.check(key))
        }

        /// Decides one cell of `key` at `at`; see [`KeyedMeter::check_at`].
        ///
        /// # Errors
        ///
        /// As [`KeyedMeter::check_at`].
        #[inline]
        pub fn check_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Result<(), NonConformance>
        where
            K: Borrow<Q>,
        {
            self.seen(1, self.meter.check_at(key, at))
        }

        /// Decides a batch of `n` cells of `key` now; see [`KeyedMeter::check_n`].
        ///
        /// # Errors
        ///
        /// As [`KeyedMeter::check_n`].
        #[inline]
        pub fn check_n<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Result<(), NegativeMultiDecision>
        where
            K: Borrow<Q>,
        {
            self.seen(n, self.meter.check_n(key, n))
        }

        /// Decides a batch of `n` cells of `key` at `at`; see [`KeyedMeter::check_n_at`].
        ///
        /// # Errors
        ///
        /// As [`KeyedMeter::check_n_at`].
        #[inline]
        pub fn check_n_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>
        where
            K: Borrow<Q>,
        {
            self.seen(n, self.meter.check_n_at(key, n, at))
        }
    }
}

#[cfg(feature = "metrics")]
pub use counters::record_clock;

#[cfg(feature = "metrics")]
mod counters {
    use super::Observed;
    use crate::clock::{self, Clock, ClockSource};
    use crate::lease::LeasedMeter;
    use core::panic::{RefUnwindSafe, UnwindSafe};
    use metrics::{Counter, Label, counter, gauge};
    use std::borrow::Cow;

    /// The counters of a meter.
    #[derive(Clone)]
    pub(super) struct Counters {
        pub(super) admitted: OutcomeCounters,
        pub(super) denied: OutcomeCounters,
    }

    /// The counters of one outcome.
    #[derive(Clone)]
    pub(super) struct OutcomeCounters {
        decisions: Counter,
        cells: Counter,
    }

    /// No panic leaves a meter half observed: it is decided first, and then counted. Without these, the feature would take the traits away.
    impl RefUnwindSafe for OutcomeCounters {}
    impl UnwindSafe for OutcomeCounters {}

    impl Counters {
        pub(super) fn of(limit: Cow<'static, str>) -> Self {
            let limit = Label::new("limit", limit);
            let outcome = |outcome| {
                let labels = || [limit.clone(), Label::from_static_parts("outcome", outcome)].into_iter();
                OutcomeCounters {
                    decisions: counter!("ratelimit_meter_decisions_total", labels().collect::<Vec<_>>()),
                    cells: counter!("ratelimit_meter_cells_total", labels().collect::<Vec<_>>()),
                }
            };
            Self {
                admitted: outcome("admitted"),
                denied: outcome("denied"),
            }
        }
    }

    impl OutcomeCounters {
        #[inline]
        pub(super) fn count(&self, cells: u32) {
            self.decisions.increment(1);
            self.cells.increment(cells.into());
        }
    }

    impl<M> Observed<M> {
        fn label(&self) -> Label {
            Label::new("limit", self.limit.clone())
        }
    }

    #[cfg(feature = "keyed")]
    #[expect(clippy::cast_precision_loss, reason = "a gauge of fewer than 2^53 slots")]
    impl<K: ?Sized, M: crate::MeterKind, S> Observed<crate::KeyedMeter<K, M, S>> {
        /// Reports the occupancy of the table, and its events in which a key found no slot. Reads the whole table, as
        /// [`KeyedMeter::stats`](crate::KeyedMeter::stats) does: call it about once for each scrape.
        pub fn record(&self) {
            let stats = self.meter.stats();
            let labels = || vec![self.label()];
            gauge!("ratelimit_meter_keys_live", labels()).set(stats.live as f64);
            gauge!("ratelimit_meter_keys_taken", labels()).set(stats.taken as f64);
            gauge!("ratelimit_meter_keys_slots", labels()).set(stats.slots as f64);
            counter!("ratelimit_meter_keys_evicted_total", labels()).absolute(stats.forgiven);
            for (outcome, count) in [("denied", stats.denied), ("admitted", stats.admitted)] {
                let labels = vec![self.label(), Label::from_static_parts("outcome", outcome)];
                counter!("ratelimit_meter_keys_no_slot_total", labels).absolute(count);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge of fewer than 2^53 cells")]
    impl<C: Clock> Observed<LeasedMeter<C>> {
        /// Reports the leases in use, and the cells that they hold unused. A lease itself is not observed, since its decisions would cost the atomic
        /// that it saves.
        pub fn record(&self) {
            let taken = self.meter.leases_taken();
            let labels = || vec![self.label()];
            gauge!("ratelimit_meter_leases_taken", labels()).set(f64::from(taken));
            gauge!("ratelimit_meter_leases_cells_stranded", labels()).set(self.meter.cells_held() as f64);
        }
    }

    /// Reports the source of the default clock, whether it has given up the processor's counter, and its anchors so far.
    ///
    /// ```
    /// ratelimit_meter::observed::record_clock(); // once for each scrape
    /// ```
    pub fn record_clock() {
        let is = |truth| f64::from(u8::from(truth));
        gauge!("ratelimit_meter_clock_counter").set(is(clock::source() == ClockSource::Counter));
        gauge!("ratelimit_meter_clock_given_up").set(is(clock::counter_given_up()));
        counter!("ratelimit_meter_clock_anchors_total").absolute(clock::anchors());
    }
}
