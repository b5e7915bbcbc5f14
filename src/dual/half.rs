use crate::algorithms::Algorithm;
use crate::error::InconsistentCapacity;
use crate::meter::Meter;
use crate::quota::Quota;

/// A meter that can be one half of a [`Dual`](crate::Dual).
///
/// Sealed: [`GCRA`](crate::GCRA), [`LeakyBucket`](crate::LeakyBucket) and [`Exponential`](crate::Exponential) are all there are.
pub trait Half: Limited {}

/// An algorithm, and what it was made of, if of a quota.
pub(super) type Limit<A> = (A, Option<Quota>);

/// What a half holds to.
pub trait Limited: Sized {
    type Algorithm: Algorithm;

    fn limit(quota: Quota) -> Result<Limit<Self::Algorithm>, InconsistentCapacity>;

    fn into_limit(self) -> Limit<Self::Algorithm>;
}

impl<A: Algorithm> Half for Meter<A> {}

impl<A: Algorithm> Limited for Meter<A> {
    type Algorithm = A;

    fn limit(quota: Quota) -> Result<Limit<A>, InconsistentCapacity> {
        Ok((A::from_quota(quota)?, Some(quota)))
    }

    fn into_limit(self) -> Limit<A> {
        self.into_limit()
    }
}
