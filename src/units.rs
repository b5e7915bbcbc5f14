//! The number format: instants, positions on a time line, and the volume that a limit drains.
//!
//! ```text
//!   Instant ──TimeLine::position──▶ Nanos ──UnitScale::volume_at──▶ Volume ◀──compared with── word
//!   (any, in any order)             (0 to 2^60 ns since             (units drained since       (the same units,
//!                                    the line's beginning)           the line's beginning)      one per meter)
//! ```
//!
//! Where a counter can be trusted, its counts become volume directly: [`Anchored`].
//!
//! A meter counts in *units* of 2^-f cell, with f chosen per limit ([`crate::limit`]). The *drained volume* at a time t is the volume that the limit
//! has drained since the beginning of the time line. It is V(t) = floor(t * M / 2^60) with M = floor(units per nanosecond * 2^60): one 64 x 64 bit
//! multiplication. V is the only rounded quantity, and it is a function of the absolute time, so no error accumulates. M is short of the exact rate
//! by less than 2^-60 units per nanosecond. Over the 2^60 ns of a time line that is less than one unit. The floor takes less than another unit.
//! So, with r the exact units per nanosecond:
//!
//! - V(b) - V(a) < r * (b - a) + 1 for a <= b: a window is at most one unit too wide, and one more for the tolerance's unit;
//! - V(t) >= floor(r * t) - 1: the tolerance's one unit makes up for the loss of M, so that a cell on its instant is admitted.

use crate::time::{self, Instant, Moment, NANOS_PER_SEC, nanos};
use core::num::NonZeroU64;

/// The time from the beginning of a time line to the making of its meter, so that an `Instant` taken just before building is exact.
const LEAD: u64 = 86_400 * NANOS_PER_SEC;

/// A time in whole nanoseconds since the beginning of a meter's time line, at most [`Nanos::END`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(u64);

impl Nanos {
    /// The bits of a time: the line is 2^60 ns long, 36.5 years.
    pub(crate) const BITS: u32 = 60;

    /// The beginning of the line; an earlier time counts as the beginning.
    pub(crate) const BEGINNING: Self = Self(0);

    /// The end of the line; a later time counts as the end.
    pub(crate) const END: Self = Self((1 << Self::BITS) - 1);

    /// The whole seconds of the line: a time of fewer seconds is on the line.
    const WHOLE_SECS: u64 = Self::END.0 / NANOS_PER_SEC;

    /// Returns the time `ns` after the beginning, at most the end of the line.
    pub(crate) const fn clamped(ns: u64) -> Self {
        if ns < Self::END.0 { Self(ns) } else { Self::END }
    }

    /// Returns the time `ns` after this one, at most the end of the line.
    pub(crate) const fn later(self, ns: u64) -> Self {
        Self::clamped(self.0.saturating_add(ns))
    }

    /// Returns the time `ns` before this one, at least the beginning of the line.
    pub(crate) const fn earlier(self, ns: u64) -> Self {
        Self(self.0.saturating_sub(ns))
    }

    /// Returns the nanoseconds since the beginning.
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The stretch of time on which one meter counts, from a day before it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLine {
    beginning: Instant,
    /// The time from the beginning to the [epoch](time::epoch), negative numbers wrapped.
    epoch: u64,
    /// The time at which the meter was made, from which its ticks count.
    made: Nanos,
}

impl TimeLine {
    /// Makes the time line of a meter made at `made`: it begins a day earlier, or as early as the platform's `Instant` allows.
    pub(crate) fn of_meter_made(made: Instant) -> Self {
        /// Farther from the epoch than this, every time that a process sees is off the line.
        const FARTHEST: u64 = 1 << 62;
        let beginning = time::before(made, LEAD);
        let epoch = time::epoch();
        let epoch = match epoch.checked_duration_since(beginning) {
            Some(after) => nanos(after).min(FARTHEST),
            None => nanos(beginning.duration_since(epoch)).min(FARTHEST).wrapping_neg(),
        };
        Self {
            beginning,
            epoch,
            made: Nanos::clamped(nanos(made.duration_since(beginning))),
        }
    }

    pub(crate) const fn beginning(self) -> Instant {
        self.beginning
    }

    /// Returns the position of `at`: the beginning if it is earlier, the end if it is later.
    #[inline]
    pub(crate) fn position(self, at: Instant) -> Nanos {
        match at.checked_duration_since(self.beginning) {
            Some(after) if after.as_secs() < Nanos::WHOLE_SECS => {
                Nanos(after.as_secs() * NANOS_PER_SEC + u64::from(after.subsec_nanos()))
            }
            Some(after) => Nanos::clamped(nanos(after)),
            None => Nanos::BEGINNING,
        }
    }

    /// Returns the position of a moment.
    #[inline]
    pub(crate) fn position_of(self, moment: Moment) -> Nanos {
        match moment {
            Moment::At(at) => self.position(at),
            Moment::SinceEpoch(ns) => self.position_since_epoch(ns),
        }
    }

    /// Returns the time at which the meter was made.
    pub(crate) const fn made(self) -> Nanos {
        self.made
    }

    /// Returns the latest tick at `at` or before. The beginning counts as a tick, because no time is before it.
    pub(crate) const fn tick_by(self, at: Nanos, interval: NonZeroU64) -> Nanos {
        let (at, made) = (at.0, self.made.0);
        if at >= made {
            Nanos(at - (at - made) % interval.get())
        } else {
            let ticks = (made - at).div_ceil(interval.get());
            Nanos(made.saturating_sub(ticks.saturating_mul(interval.get())))
        }
    }

    /// Returns the first tick at `ns` after the beginning or later, on the line or after its end. The beginning counts as a tick.
    pub(crate) const fn tick_from(self, ns: u64, interval: NonZeroU64) -> u64 {
        let made = self.made.0;
        if ns == 0 {
            0
        } else if ns <= made {
            made - (made - ns) / interval.get() * interval.get()
        } else {
            let ticks = (ns - made).div_ceil(interval.get());
            made.saturating_add(ticks.saturating_mul(interval.get()))
        }
    }

    /// Returns the position of the time `ns` after the epoch, on a line that begins within 146 years of it.
    #[inline]
    pub(crate) fn position_since_epoch(self, ns: u64) -> Nanos {
        let after = self.epoch.wrapping_add(ns);
        // The branch is never taken, so that the position does not wait for it.
        if after < Nanos::END.0 {
            Nanos(after)
        } else {
            self.off_line(ns)
        }
    }

    #[cold]
    const fn off_line(self, ns: u64) -> Nanos {
        // A time before the beginning has wrapped to the upper half.
        if self.epoch.wrapping_add(ns) >> 63 == 0 {
            Nanos::END
        } else {
            Nanos::BEGINNING
        }
    }

    /// Returns the time from the beginning to `at`, on the line or after its end; zero if `at` is earlier.
    #[inline]
    pub(crate) fn nanos_until(self, at: Instant) -> u64 {
        at.checked_duration_since(self.beginning).map_or(0, nanos)
    }
}

/// A number of a limit's units drained since the beginning of the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume(pub(crate) u64);

/// Units drained per nanosecond, times 2^60; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitScale(u64);

impl UnitScale {
    /// One unit in 2^60 ns: slower than the scale of any limit.
    pub(crate) const SLOWEST: Self = Self(1);

    /// One unit a nanosecond.
    pub(crate) const UNIT_PER_NANO: Self = Self(1 << Self::FRACTION);

    /// The fractional bits of the multiplier: as many as the bits of a time, which bounds the error at the end of the line by one unit.
    pub(crate) const FRACTION: u32 = Nanos::BITS;

    /// Returns the scale of `units` drained in `ns`, rounded down. Returns `None` from 16 units a nanosecond on, where the scale exceeds a word, and
    /// below 2^-60.
    pub(crate) fn draining(units: u128, ns: u64) -> Option<Self> {
        let scaled = units.checked_mul(1 << Self::FRACTION)? / u128::from(ns);
        u64::try_from(scaled).ok().filter(|&m| m > 0).map(Self)
    }

    /// Returns the volume drained at `at`, rounded down.
    #[inline]
    pub(crate) fn volume_at(self, at: Nanos) -> Volume {
        // Times have 60 bits: shifted up by four, the quotient by 2^60 is the high word of the product.
        let product = u128::from(at.0 << (u64::BITS - Nanos::BITS)) * u128::from(self.0);
        Volume((product >> u64::BITS) as u64)
    }

    /// Returns the part of a unit, in 2^-60 units, by which the volume drained at `at` is rounded down.
    pub(crate) fn fraction_at(self, at: Nanos) -> u64 {
        let product = u128::from(at.get()) * u128::from(self.0);
        // The part is less than 2^60.
        u64::try_from(product % (1 << Self::FRACTION)).unwrap_or(0)
    }

    /// Returns the maximum difference between the volumes drained at two times `ns` apart.
    pub(crate) fn most_in(self, ns: u64) -> u64 {
        self.volume_at(Nanos::clamped(ns)).0 + 1
    }

    /// Returns the volume drained in `ns`, rounded down, where `ns` may exceed a time line. Returns `None` if the volume exceeds a word.
    pub(crate) fn volume_of(self, ns: u128) -> Option<Volume> {
        u64::try_from(ns.checked_mul(self.0.into())? >> Self::FRACTION)
            .ok()
            .map(Volume)
    }

    /// Returns the first nanosecond by which `volume` has drained: `volume_at(t) >= volume` holds exactly from then on.
    pub(crate) fn nanos_at(self, Volume(volume): Volume) -> u64 {
        let ns = (u128::from(volume) << Self::FRACTION).div_ceil(u128::from(self.0));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Returns the volume drained by the time at which `other_volume` has drained on the scale `other`, rounded down.
    #[cfg(feature = "dual")]
    pub(crate) fn volume_while(self, other: Self, other_volume: Volume) -> Volume {
        let volume = u128::from(other_volume.0) * u128::from(self.0) / u128::from(other.0);
        Volume(u64::try_from(volume).unwrap_or(u64::MAX))
    }

    /// Returns whether `volume` takes longer to drain than `other_volume` on the scale `other`, by exact times.
    #[cfg(feature = "dual")]
    #[inline]
    pub(crate) fn takes_longer(self, volume: Volume, other: Self, other_volume: Volume) -> bool {
        u128::from(volume.0) * u128::from(other.0) > u128::from(other_volume.0) * u128::from(self.0)
    }
}

/// A limit's drained volume by a counter: the volume at an anchor, and the volume of each count since.
///
/// Both are known before the counter is read, so that one product follows the reading instead of two: one for the nanoseconds, and one for
/// their volume.
#[derive(Debug, Clone, Copy)]
pub struct Anchored {
    /// The position of the anchor.
    #[cfg_attr(
        not(any(feature = "keyed", test)),
        expect(dead_code, reason = "only a table compares it")
    )]
    pub(crate) at: Nanos,
    /// The volume drained by then.
    pub(crate) volume: Volume,
    /// The volume drained during one count, times 2^28, rounded down.
    pub(crate) per_count: u64,
}

impl Anchored {
    /// The fractional bits of the volume of one count: of 32 + 60 bits, its product with the scale loses the lower 64.
    pub(crate) const FRACTION: u32 = u32::BITS + UnitScale::FRACTION - u64::BITS;

    /// Returns the volumes at an anchor `ns` after the epoch, of counts of `rate` / 2^32 nanoseconds; `None` unless the anchor is before `end`.
    #[inline]
    pub(crate) fn new(line: &TimeLine, end: Nanos, scale: UnitScale, ns: u64, rate: u64) -> Option<Self> {
        let at = Nanos(line.epoch.wrapping_add(ns));
        if at.0 >= end.0 {
            return None;
        }
        Some(Self {
            at,
            volume: scale.volume_at(at),
            per_count: ((u128::from(rate) * u128::from(scale.0)) >> u64::BITS) as u64,
        })
    }

    /// Returns the volume drained this many counts after the anchor, short by less than three units. Exact in 64 bits for 2^28 ns of less than 16 units
    /// each.
    #[inline]
    pub(crate) fn after(self, counts: u32) -> Volume {
        Volume(self.volume.0 + ((u64::from(counts) * self.per_count) >> Self::FRACTION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_nanos(LEAD);

    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn time_line_begins_a_day_before_its_meter() {
        let made = Instant::now();
        let line = TimeLine::of_meter_made(made);
        assert_eq!(line.position(made), Nanos(LEAD));
        assert_eq!(line.position(made - DAY), Nanos(0));
        assert_eq!(line.position(made - DAY * 1000), Nanos(0));
    }

    #[test]
    fn time_line_begins_as_early_as_platform_allows() {
        let earliest = time::tests::edge(Instant::checked_sub);
        assert_eq!(earliest.checked_sub(Duration::from_nanos(1)), None);
        assert_eq!(TimeLine::of_meter_made(earliest).position(earliest), Nanos(0));
        let hour = Duration::from_secs(3600);
        let line = TimeLine::of_meter_made(earliest + hour);
        assert_eq!(line.position(earliest + hour), Nanos(3600 * NANOS_PER_SEC));
    }

    #[test]
    fn positions_and_instants_are_inverse() {
        let line = TimeLine::of_meter_made(Instant::now());
        for ns in [0, 1, NANOS_PER_SEC - 1, NANOS_PER_SEC, (1 << 60) - 2, (1 << 60) - 1] {
            assert_eq!(line.position(time::after(line.beginning, ns)), Nanos(ns));
        }
        for late in [1 << 60, (1 << 60) + NANOS_PER_SEC, u64::MAX] {
            assert_eq!(line.position(time::after(line.beginning, late)), Nanos::END);
        }
    }

    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn ticks_count_from_creation_both_ways() {
        let line = TimeLine::of_meter_made(Instant::now());
        assert_eq!(line.made(), Nanos(LEAD));
        for interval in [1, 7, 999, NANOS_PER_SEC, LEAD - 1, LEAD, LEAD + 1, 1 << 60, u64::MAX] {
            let ticking = NonZeroU64::new(interval).unwrap();
            let ticks = (0..4).filter_map(|k| LEAD.checked_sub(interval.checked_mul(k)?));
            let ticks = ticks.chain((1..4).filter_map(|k| LEAD.checked_add(interval.checked_mul(k)?)));
            for tick in ticks.filter(|&tick| 0 < tick && tick < Nanos::END.0) {
                assert_eq!(line.tick_by(Nanos(tick), ticking), Nanos(tick));
                assert_eq!(
                    line.tick_by(Nanos(tick + interval.min(1 << 60) - 1), ticking),
                    Nanos(tick)
                );
                assert_eq!(line.tick_from(tick, ticking), tick);
                assert_eq!(line.tick_from(tick.saturating_sub(interval - 1).max(1), ticking), tick);
            }
            let first = line.tick_from(1, ticking);
            assert_eq!(line.tick_by(Nanos(first - 1), ticking), Nanos(0));
            assert_eq!(line.tick_from(0, ticking), 0);
        }
    }

    #[test]
    #[cfg_attr(windows, ignore = "an Instant begins at boot there")]
    fn time_since_epoch_matches_its_instant() {
        let now = Instant::now();
        for made in [now, now - DAY * 1000, now + DAY * 1000] {
            let line = TimeLine::of_meter_made(made);
            for at in [now, made, made + DAY, now + DAY * 2000] {
                let ns = time::since_epoch(at);
                assert_eq!(line.position_since_epoch(ns), line.position(time::at(ns)));
            }
        }
    }

    #[test]
    fn a_scale_must_fit_a_word() {
        assert_eq!(UnitScale::draining(16, 1), None);
        assert_eq!(UnitScale::draining(u128::MAX, 1), None);
        assert_eq!(UnitScale::draining(1, u64::MAX), None);
        assert_eq!(UnitScale::draining((1 << 64) - 1, 1 << 60), Some(UnitScale(u64::MAX)));
    }

    proptest! {
        #[test]
        fn volume_drains_at_its_first_nanosecond_only(units in 1_u128..1 << 40, ns in 1_u64..1 << 40, share in 0.0..1.0_f64) {
            prop_assume!(units < u128::from(ns) * 16 && units * 2 > u128::from(ns));
            let scale = UnitScale::draining(units, ns).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any volume will do")]
            let volume = Volume((scale.volume_at(Nanos::END).0 as f64 * share) as u64);
            let first = scale.nanos_at(volume);
            prop_assert!(scale.volume_at(Nanos::clamped(first)) >= volume);
            prop_assert!(first == 0 || scale.volume_at(Nanos::clamped(first - 1)) < volume);
        }

        #[test]
        fn volume_by_counts_loses_less_than_three_units(
            units in 1_u128..1 << 40, ns in 1_u64..1 << 40, rate in 1_u64 << 28..1 << 34, from in 0_u64..1 << 59, share in 0_u128..1 << 32,
        ) {
            prop_assume!(units < u128::from(ns) * 16);
            let counts = u32::try_from((5_000 * share) / u128::from(rate)).unwrap();
            let Some(scale) = UnitScale::draining(units, ns) else { return Ok(()) };
            let line = TimeLine { epoch: 0, ..TimeLine::of_meter_made(Instant::now()) };
            let anchored = Anchored::new(&line, Nanos::END, scale, from, rate).unwrap();
            prop_assert_eq!((anchored.at, anchored.volume), (Nanos(from), scale.volume_at(Nanos(from))));
            let volume = u128::from(anchored.after(counts).0);
            // In 2^-32 ns. Below 2^92 * 2^40 / 2^5, so it is split to make the product fit.
            let now = (u128::from(from) << 32) + u128::from(counts) * u128::from(rate);
            let (whole, part) = (now >> 32, now & 0xffff_ffff);
            let exact = (units * whole + ((units * part) >> 32)) / u128::from(ns);
            prop_assert!(volume <= exact && exact <= volume + 3, "{volume} for {exact}");
        }

        #[test]
        fn volume_loses_less_than_two_units(units in 1_u128..1 << 40, ns in 1_u64..1 << 40, t in 0_u64..1 << 60) {
            prop_assume!(units < u128::from(ns) * 16);
            let Some(scale) = UnitScale::draining(units, ns) else { return Ok(()) };
            let exact = units * u128::from(t) / u128::from(ns);
            let volume = u128::from(scale.volume_at(Nanos::clamped(t)).0);
            prop_assert!(volume <= exact && exact <= volume + 1, "{volume} for {exact}");
            prop_assert_eq!(scale.volume_of(t.into()).map(|volume| volume.0.into()), Some(volume));
        }
    }
}
