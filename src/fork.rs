//! Looking ahead: a meter in the state of another, which shares nothing with it; and admissions as of an earlier instant.

use crate::adjustable::Adjustable;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decision::NegativeMultiDecision;
use crate::meter::Meter;
use crate::metered::{self, Metered};
use crate::nanos::Nanos;
use std::time::Instant;

fn fork<M: Metered>(meter: &M) -> Meter<M::Algorithm, M::Clock> {
    let (rule, word) = meter.read(Nanos::BEGINNING, |rule, word| (*rule, word));
    Meter::holding(rule, word, meter.clock().clone())
}

impl<A: Algorithm, C: Clock> Meter<A, C> {
    /// Returns a new meter with the limit, the time line and the present state of this one. It shares nothing with this meter, so taking
    /// cells from it shows what this meter will do, and changes nothing here.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// // When would three batches of two be through, one after another?
    /// let meter = GCRA::from_quota("10/s burst 2".parse::<Quota>()?)?;
    /// let (ahead, now) = (meter.fork(), Instant::now());
    /// let waits = [(); 3].map(|()| ahead.reserve_at(2, Duration::MAX, now).unwrap().delay_from(now).as_millis());
    /// assert_eq!(waits, [0, 200, 400]);
    /// assert_eq!(meter.status_at(now).remaining(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fork(&self) -> Self {
        fork(self)
    }
}

impl<A: Algorithm, C: Clock> Adjustable<Meter<A, C>> {
    /// Returns a meter with the limit that is set now, the time line and the present state of this one; see [`Meter::fork`].
    #[must_use]
    pub fn fork(&self) -> Meter<A, C> {
        fork(self)
    }

    /// Takes `n` cells that conform at some time from `from` until `by`, all or nothing; see [`Meter::check_n_within`].
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if they conform only later, or never.
    pub fn check_n_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), NegativeMultiDecision> {
        metered::check_n_within(self, n, from, by)
    }
}

#[cfg(feature = "keyed")]
mod keyed {
    use super::{Instant, Meter, NegativeMultiDecision, fork, metered};
    use crate::keyed::KeyedMeter;
    use crate::meter::MeterKind;
    use core::borrow::Borrow;
    use core::hash::{BuildHasher, Hash};

    impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
        /// Returns a meter with the limit, the time line and the present state of the meter of `key`; see [`Meter::fork`].
        #[must_use]
        pub fn fork<Q: Hash + ?Sized>(&self, key: &Q) -> Meter<M::Algorithm, M::Clock>
        where
            K: Borrow<Q>,
        {
            fork(&self.of(key))
        }

        /// Takes `n` cells of `key` that conform at some time from `from` until `by`, all or nothing; see [`Meter::check_n_within`].
        ///
        /// # Errors
        ///
        /// [`NegativeMultiDecision`], and nothing has changed, if they conform only later, or never.
        pub fn check_n_within<Q: Hash + ?Sized>(
            &self,
            key: &Q,
            n: u32,
            from: Instant,
            by: Instant,
        ) -> Result<(), NegativeMultiDecision>
        where
            K: Borrow<Q>,
        {
            metered::check_n_within(&self.of(key), n, from, by)
        }
    }
}
