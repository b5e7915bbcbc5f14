use super::GCRA;
use crate::error::InconsistentCapacity;
use crate::quota::Quota;
use core::num::NonZeroU32;
use std::time::Duration;

/// Builds a [`GCRA`] step by step, as in `ratelimit_meter` 1.x; new code may prefer a [`Quota`].
///
/// ```
/// use ratelimit_meter::GCRA;
/// use std::time::Duration;
///
/// let meter = GCRA::for_capacity(50)?
///     .per(Duration::from_secs(60))
///     .cell_weight(10)?
///     .try_build()?;
/// assert!(meter.check_n(5).is_ok());
/// assert!(meter.check().is_err());
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    capacity: NonZeroU32,
    period: Duration,
    weight: NonZeroU32,
}

impl Builder {
    pub(super) fn new(capacity: u32) -> Result<Self, InconsistentCapacity> {
        Ok(Self {
            capacity: NonZeroU32::new(capacity).ok_or(InconsistentCapacity::ZeroCapacity)?,
            period: Duration::from_secs(1),
            weight: NonZeroU32::MIN,
        })
    }

    /// Sets the period in which the capacity drains, one second by default: 1 ns to 200 years, checked when the meter is built.
    pub fn per(&mut self, period: Duration) -> &mut Self {
        self.period = period;
        self
    }

    /// Sets how many units of the capacity one cell takes, one by default.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroWeight`] or [`InconsistentCapacity::WeightAboveBurst`], and the builder is as before, if
    /// `weight` is zero or above the capacity.
    pub fn cell_weight(&mut self, weight: u32) -> Result<&mut Self, InconsistentCapacity> {
        let weight = NonZeroU32::new(weight).ok_or(InconsistentCapacity::ZeroWeight)?;
        if weight > self.capacity {
            return Err(InconsistentCapacity::WeightAboveBurst {
                weight: weight.get(),
                burst: self.capacity.get(),
            });
        }
        self.weight = weight;
        Ok(self)
    }

    /// Returns the meter, at rest.
    ///
    /// # Panics
    ///
    /// With the error's text where [`try_build`](Self::try_build) returns one: this is 1.x's infallible shape.
    #[must_use]
    pub fn build(&self) -> GCRA {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the meter, at rest.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if the period is zero or above 200 years, or the rate is above 2^32 units a second.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, algorithms::InconsistentCapacity};
    /// use std::time::Duration;
    ///
    /// let error = GCRA::for_capacity(5)?.per(Duration::ZERO).try_build().unwrap_err();
    /// assert_eq!(error, InconsistentCapacity::ZeroPeriod);
    /// # Ok::<(), InconsistentCapacity>(())
    /// ```
    pub fn try_build(&self) -> Result<GCRA, InconsistentCapacity> {
        let quota = Quota::new(self.capacity, self.period)?.cell_weight(self.weight);
        GCRA::from_quota(quota)
    }
}
