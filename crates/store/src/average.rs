//! An exponentially weighted average in a store: its level as a share of its threshold, a double.
//!
//! The state of a key is (time, level). The level decays by e in a period p. `n` cells add n * share to it, where
//! share = 1 - e^(-w/L), and conform if the level then is at most 1: from `time + ceil(p (ln level - ln(1 - n share) - 2e-15))` on. The
//! 2e-15 periods cover the errors of the two logarithms.

use crate::error::InvalidQuota;
use crate::time::Micros;
use ratelimit_meter::{Exponential, Quota};

/// The errors of two logarithms, in periods.
const SLACK: f64 = 2e-15;

/// The smallest share of the threshold that a batch may leave over, as in the core.
const LEAST: f64 = 2e-14;

/// The numbers of a quota that limits an average, for a store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    period_us: f64,
    share: f64,
    max_batch: u32,
    strict: bool,
    quota: Quota,
}

impl Average {
    /// Returns the numbers of `quota` as the limit of an average: of the algorithm [`Exponential`].
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], if no [`Exponential`] can hold the quota, such as a quota with a burst other than its cells, or with ticks.
    pub fn of(quota: Quota) -> Result<Self, InvalidQuota> {
        Exponential::from_quota(quota).map_err(InvalidQuota::Inconsistent)?;
        let [limit, weight] = [quota.cells(), quota.weight()].map(|n| f64::from(n.get()));
        let share = -(-(weight / limit)).exp_m1();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1, less than 2^32 + 1"
        )]
        let whole = (1.0 / share) as u32;
        let leaves_enough = f64::from(whole) * share < 1.0 - LEAST;
        Ok(Self {
            #[expect(clippy::cast_precision_loss, reason = "rounded once")]
            period_us: quota.period().as_nanos() as f64 / 1e3,
            share,
            max_batch: if leaves_enough { whole } else { whole - 1 },
            strict: false,
            quota,
        })
    }

    /// Returns the same, but denied cells count too.
    #[must_use]
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Returns the period in microseconds.
    #[must_use]
    pub const fn period_us(&self) -> f64 {
        self.period_us
    }

    /// Returns the share of the threshold that one cell adds.
    #[must_use]
    pub const fn share(&self) -> f64 {
        self.share
    }

    /// Returns the most cells that conform at once.
    #[must_use]
    pub const fn max_batch(&self) -> u32 {
        self.max_batch
    }

    /// Returns `true` if denied cells count.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Returns the quota.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns the time from which `n` cells conform, at most [`max_batch`](Self::max_batch); 0 for an idle average.
    pub(crate) fn due(&self, time: Micros, level: f64, n: u32) -> u64 {
        let periods = level.ln() - (1.0 - f64::from(n) * self.share).ln() - SLACK;
        let offset = (self.period_us * periods).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        if offset < 0.0 {
            time.get().saturating_sub(-offset as u64)
        } else {
            time.get().saturating_add(offset as u64)
        }
    }

    /// Returns how many of `n` cells conform at a time.
    pub(crate) fn room(&self, time: Micros, level: f64, at: Micros, n: u32) -> u32 {
        let decayed = level * self.decay(at, time);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at 0 and at all"
        )]
        let estimate = ((1.0 - decayed) / self.share + 1e-6) as u32;
        let most = estimate.min(self.max_batch).min(n);
        (0..=most)
            .rev()
            .find(|&n| self.due(time, level, n) <= at.get())
            .unwrap_or(0)
    }

    /// Returns the share of a level at `from` that is left at `to`; above 1 if that is earlier.
    pub(crate) fn decay(&self, to: Micros, from: Micros) -> f64 {
        (difference(from, to) / self.period_us).exp()
    }
}

/// Returns `a - b` in microseconds.
#[expect(clippy::cast_precision_loss, reason = "times are below 2^53")]
pub(crate) fn difference(a: Micros, b: Micros) -> f64 {
    a.get() as f64 - b.get() as f64
}
