use super::Meter;
use crate::algorithms::Algorithm;
use crate::clock::Clock;

/// A type of meter, by which other types are told what they are made of: `Adjustable<GCRA>`.
///
/// Sealed: [`Meter`] is all there is, of any algorithm and with any clock.
pub trait MeterKind: sealed::Sealed {
    /// By what the meter decides.
    type Algorithm: Algorithm;
    /// Where the meter reads the time.
    type Clock: Clock;
}

impl<A: Algorithm, C: Clock> MeterKind for Meter<A, C> {
    type Algorithm = A;
    type Clock = C;
}

mod sealed {
    pub trait Sealed {}

    impl<A, C> Sealed for crate::Meter<A, C> {}
}
