use crate::algorithms::Algorithm;
use crate::error::InconsistentCapacity;
use crate::meter::Meter;
use crate::quota::Quota;

/// A meter that can be one half of a [`Dual`](crate::Dual).
///
/// Sealed: [`GCRA`](crate::GCRA), [`LeakyBucket`](crate::LeakyBucket) and [`Exponential`](crate::Exponential) are all there are.
pub trait Half: Limited {}

/// What a half holds to.
pub trait Limited: Sized {
    type Algorithm: Algorithm;

    fn limit(quota: Quota) -> Result<Self::Algorithm, InconsistentCapacity>;

    fn into_limit(self) -> (Self::Algorithm, Option<Quota>);
}

impl<A: Algorithm> Half for Meter<A> {}

impl<A: Algorithm> Limited for Meter<A> {
    type Algorithm = A;

    fn limit(quota: Quota) -> Result<A, InconsistentCapacity> {
        A::from_quota(quota)
    }

    fn into_limit(self) -> (A, Option<Quota>) {
        self.into_limit()
    }
}
