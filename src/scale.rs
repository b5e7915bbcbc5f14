//! The number format: how time becomes volume.
//!
//! A meter counts in *units* of 2^-f cell, f chosen per limit ([`crate::limit`]). The *volume* at a time t is what the limit has
//! drained since the beginning of the time line, V(t) = floor(t * M / 2^60) with M = floor(units per nanosecond * 2^60): one
//! 64 x 64 bit multiplication. It is the only rounded quantity, and it is a function of the absolute time, so nothing
//! accumulates: M is short of the exact rate by less than 2^-60 units per nanosecond, which over the 2^60 ns of a time line is
//! less than one unit, and the floor takes less than another. Hence, with r the exact units per nanosecond,
//!
//! - V(b) - V(a) < r * (b - a) + 1 for a <= b: a window is at most one unit too wide, and one more for the tolerance's unit;
//! - V(t) >= floor(r * t) - 1: the tolerance's one unit makes good what M lost, so that no cell on its instant is refused.

use crate::nanos::Nanos;

/// Units drained per nanosecond, times 2^60; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u64);

impl Scale {
    /// The fractional bits of the multiplier: as many as a time has, which bounds the error at the end of the line by one unit.
    pub(crate) const FRACTION: u32 = Nanos::BITS;

    /// The scale of `units` drained in `ns`, rounded down; `None` from 16 units a nanosecond on, where it exceeds a word, and
    /// below 2^-60.
    pub(crate) fn draining(units: u128, ns: u64) -> Option<Self> {
        let scaled = units.checked_mul(1 << Self::FRACTION)? / u128::from(ns);
        u64::try_from(scaled).ok().filter(|&m| m > 0).map(Self)
    }

    /// The volume drained by `now`, rounded down.
    #[inline]
    pub(crate) fn volume_at(self, now: Nanos) -> u64 {
        // Times have 60 bits: shifted up by four, the quotient by 2^60 is the high word of the product.
        let product = u128::from(now.get() << (u64::BITS - Nanos::BITS)) * u128::from(self.0);
        (product >> u64::BITS) as u64
    }

    /// The volume drained in `ns`, which may exceed a time line, rounded down; `None` if it exceeds a word.
    pub(crate) fn volume_of(self, ns: u128) -> Option<u64> {
        u64::try_from(ns.checked_mul(self.0.into())? >> Self::FRACTION).ok()
    }

    /// The first nanosecond by which `volume` has drained: `volume_at(t) >= volume` exactly from there on.
    pub(crate) fn nanos_at(self, volume: u64) -> u64 {
        let ns = (u128::from(volume) << Self::FRACTION).div_ceil(u128::from(self.0));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Whether `volume` takes longer to drain than `other_volume` on the scale `other`, by exact times.
    #[cfg(feature = "dual")]
    #[inline]
    pub(crate) fn takes_longer(self, volume: u64, other: Self, other_volume: u64) -> bool {
        u128::from(volume) * u128::from(other.0) > u128::from(other_volume) * u128::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scale_must_fit_a_word() {
        assert_eq!(Scale::draining(16, 1), None);
        assert_eq!(Scale::draining(u128::MAX, 1), None);
        assert_eq!(Scale::draining(1, u64::MAX), None);
        assert_eq!(Scale::draining((1 << 64) - 1, 1 << 60), Some(Scale(u64::MAX)));
    }

    proptest! {
        #[test]
        fn the_first_nanosecond_is_the_first(units in 1_u128..1 << 40, ns in 1_u64..1 << 40, share in 0.0..1.0_f64) {
            prop_assume!(units < u128::from(ns) * 16 && units * 2 > u128::from(ns));
            let scale = Scale::draining(units, ns).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any volume will do")]
            let volume = (scale.volume_at(Nanos::END) as f64 * share) as u64;
            let first = scale.nanos_at(volume);
            prop_assert!(scale.volume_at(Nanos::clamped(first)) >= volume);
            prop_assert!(first == 0 || scale.volume_at(Nanos::clamped(first - 1)) < volume);
        }

        #[test]
        fn a_volume_is_short_by_less_than_two_units(units in 1_u128..1 << 40, ns in 1_u64..1 << 40, t in 0_u64..1 << 60) {
            prop_assume!(units < u128::from(ns) * 16);
            let Some(scale) = Scale::draining(units, ns) else { return Ok(()) };
            let exact = units * u128::from(t) / u128::from(ns);
            let volume = u128::from(scale.volume_at(Nanos::clamped(t)));
            prop_assert!(volume <= exact && exact <= volume + 1, "{volume} for {exact}");
            prop_assert_eq!(scale.volume_of(t.into()).map(u128::from), Some(volume));
        }
    }
}
