//! Limiters that count the cells of a key in windows of time.
//!
//! | model | admits `n` cells at time `t` if |
//! |---|---|
//! | `fixed` | the cells admitted since the latest multiple of the period (counted from 1970) and `n` are at most the limit |
//! | `sliding-log` | the cells admitted after `t - period` and `n` are at most the limit |
//! | `sliding-window` | `previous * (period - elapsed) / period + current + n` is at most the limit, over two fixed windows |
//!
//! The third is the counter of Cloudflare and many gateways; its product is exact here, not rounded.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use ratelimit_meter::{ParseQuotaError, Quota};

use super::{BadModel, ModelState};
use crate::verdict::EventVerdict;

/// The way in which cells are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// In windows that begin at multiples of the period.
    Fixed,
    /// In the period before each request, from a log of all admitted requests.
    SlidingLog,
    /// In two fixed windows. The earlier one is weighted by the share of it that the period before the request covers.
    SlidingWindow,
}

impl WindowKind {
    pub(super) const ALL: [Self; 3] = [Self::Fixed, Self::SlidingLog, Self::SlidingWindow];

    /// Returns the name before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::SlidingLog => "sliding-log",
            Self::SlidingWindow => "sliding-window",
        }
    }
}

/// A maximum number of cells of a key in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    kind: WindowKind,
    quota: Quota,
    cells: u64,
    period_ns: u64,
}

/// Cells admitted in the current fixed window and the one before.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// The number of the current window, counted from 1970.
    window: i64,
    current: u64,
    previous: u64,
    latest: i64,
}

/// Cells admitted in the last period, by their times.
#[derive(Debug, Default)]
pub(crate) struct Logged {
    admitted: VecDeque<(i64, u64)>,
    cells: u64,
    latest: i64,
}

impl Window {
    pub(super) fn parse(kind: WindowKind, text: &str) -> Result<Self, BadModel> {
        let text = text.trim();
        let quota: Quota = text.parse().map_err(|reason: ParseQuotaError| BadModel::Quota {
            found: text.get(reason.span()).unwrap_or_default().to_owned(),
            reason,
        })?;
        let is_plain = quota.burst() == quota.cells() && quota.weight().get() == 1 && quota.refill_interval().is_none();
        // A meter measures 200 years, which is less than an i64 has nanoseconds.
        let period_ns = i64::try_from(quota.period().as_nanos()).ok().filter(|_| is_plain);
        Ok(Self {
            kind,
            quota,
            cells: quota.cells().get().into(),
            period_ns: period_ns
                .ok_or(BadModel::MoreThanAWindow { kind: kind.name() })?
                .unsigned_abs(),
        })
    }

    /// Returns the way in which cells are counted.
    #[must_use]
    pub fn kind(&self) -> WindowKind {
        self.kind
    }

    /// Returns the number of cells and the period.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    pub(super) fn check(&self, state: &mut ModelState, time: i64, cost: u64) -> EventVerdict {
        if cost == 0 {
            return EventVerdict::Admitted;
        }
        if cost > self.cells {
            return EventVerdict::Never;
        }
        if matches!(state, ModelState::New) {
            *state = match self.kind {
                WindowKind::SlidingLog => ModelState::Logged(Logged {
                    latest: i64::MIN,
                    ..Logged::default()
                }),
                WindowKind::Fixed | WindowKind::SlidingWindow => ModelState::Counted(Counted {
                    window: i64::MIN,
                    latest: i64::MIN,
                    ..Counted::default()
                }),
            };
        }
        match state {
            ModelState::Counted(counted) => {
                let elapsed = counted.advance(time, self.period_ns);
                let wait = if self.kind == WindowKind::Fixed {
                    self.wait_fixed(counted, elapsed, cost)
                } else {
                    self.wait_sliding(counted, elapsed, cost)
                };
                if wait == 0 {
                    counted.current += cost;
                }
                verdict(wait, time, counted.latest)
            }
            ModelState::Logged(logged) => {
                let now = logged.advance(time, self.period_ns);
                let wait = self.wait_logged(logged, now, cost);
                if wait == 0 {
                    logged.push(now, cost);
                }
                verdict(wait, time, now)
            }
            ModelState::New | ModelState::Nginx(_) => EventVerdict::Never,
        }
    }

    /// Returns the nanoseconds until the next window, in which any cost up to the limit conforms.
    fn wait_fixed(&self, counted: &Counted, elapsed: u64, cost: u64) -> u64 {
        if counted.current + cost <= self.cells {
            0
        } else {
            self.period_ns - elapsed
        }
    }

    /// Returns the nanoseconds until the weighted sum conforms: in this window, the next one, or at the start of the one after it.
    fn wait_sliding(&self, counted: &Counted, elapsed: u64, cost: u64) -> u64 {
        let conforms_from = |weighted: u64, spare: u64| {
            // weighted * (period - from) <= spare * period
            let covered = u128::from(spare) * u128::from(self.period_ns);
            let covered = covered.checked_div(weighted.into()).unwrap_or(u128::MAX);
            u64::try_from(covered).map_or(0, |covered| self.period_ns.saturating_sub(covered))
        };
        match self.cells.checked_sub(counted.current + cost) {
            Some(spare) => conforms_from(counted.previous, spare).saturating_sub(elapsed),
            None => self.period_ns - elapsed + conforms_from(counted.current, self.cells - cost),
        }
    }

    /// Returns the nanoseconds until enough of the log is a period old.
    fn wait_logged(&self, logged: &Logged, now: i64, cost: u64) -> u64 {
        let mut left = logged.cells;
        let mut wait = 0;
        for &(time, cells) in &logged.admitted {
            if left + cost <= self.cells {
                break;
            }
            left -= cells;
            wait = self.period_ns - now.abs_diff(time);
        }
        wait
    }
}

impl Counted {
    /// Moves on to the window of `time`, unless that is before the latest time. Returns the nanoseconds since the window began.
    fn advance(&mut self, time: i64, period_ns: u64) -> u64 {
        self.latest = self.latest.max(time);
        let period = i64::try_from(period_ns).unwrap_or(i64::MAX);
        let window = self.latest.div_euclid(period);
        if window != self.window {
            let is_next = self.window.checked_add(1) == Some(window);
            self.previous = if is_next { self.current } else { 0 };
            (self.window, self.current) = (window, 0);
        }
        self.latest.rem_euclid(period).unsigned_abs()
    }
}

impl Logged {
    /// Removes the cells that are a period old at `time`, or at the latest time if that is later. Returns the later of both.
    fn advance(&mut self, time: i64, period_ns: u64) -> i64 {
        self.latest = self.latest.max(time);
        while let Some(&(admitted, cells)) = self.admitted.front() {
            if self.latest.abs_diff(admitted) < period_ns {
                break;
            }
            self.admitted.pop_front();
            self.cells -= cells;
        }
        self.latest
    }

    fn push(&mut self, now: i64, cost: u64) {
        self.cells += cost;
        match self.admitted.back_mut() {
            Some((time, cells)) if *time == now => *cells += cost,
            _ => self.admitted.push_back((now, cost)),
        }
    }
}

/// Returns the verdict for a wait. `wait` is counted from `now`, the latest time of the key; the verdict counts from `time`.
fn verdict(wait: u64, time: i64, now: i64) -> EventVerdict {
    match wait {
        0 => EventVerdict::Admitted,
        wait => EventVerdict::Denied(Duration::from_nanos(wait.saturating_add(now.abs_diff(time)))),
    }
}

/// Formats the window as `--limit` takes it.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.quota)
    }
}
