//! Keeps a counter true to the system clock. Pure, so that tests can feed it a counter that lies.
//!
//! A reading is the time of the last anchor plus the counts since. A new anchor is due after [`WINDOW_NS`] of counted time, or when the high half of
//! the count changes. So the counter is trusted for one window at most. If it runs at half or at double its speed, or makes a jump too small to be
//! noticed, a reading is off by at most a window. After a larger jump, forward or back, an anchor comes first.
//!
//! A processor may read its counter only after all earlier instructions, and start nothing after it until it is read. Then the cost of a reading is
//! the instructions that depend on the count. So the time depends on the low half of the count alone, by a difference, a product and a sum, and all
//! conditions are branches that are never taken.
//!
//! To stay behind the system clock rather than ahead, an anchor pairs a time with a count read after it. For the same reason, counts become time a
//! little slowly: by 2^-9 (1953 ppm, 10 ns in a window), of which slewing may take 500 ppm and the error of the frequency 488.

use core::cell::Cell;

/// The time for which a counter is trusted, in nanoseconds by its own count; also the most that a reading may be behind.
pub(crate) const WINDOW_NS: u64 = 5_000;

/// The most that the counts around a sighting may lie apart, in nanoseconds. If they lie further apart, the thread was interrupted.
const BRACKET_NS: u64 = 1_000;

/// The ratio between the stretch of time that measures the counter's frequency and the brackets at its ends: 2^11, which bounds the error by 488 ppm.
/// Brackets of 80 ns need a third of a millisecond, and the widest brackets need four.
const BASELINE_SHIFT: u32 = 11;

/// The time after which another such stretch begins, so that the frequency may drift.
const LONGEST_BASELINE_NS: u64 = 10_000_000;

/// The number of windows after an anchor in which the counter is compared with the system clock. After longer rests it only gets a new anchor.
const JUDGED: u64 = 64;

/// The number of times in a row that a counter is out of step before it counts as broken. A pause of the whole machine also puts it out of step.
const STRIKES: u32 = 3;

/// A time that is on no time line that begins within 146 years of the process's origin.
pub(super) const NEVER: u64 = 1 << 63;

/// Nanoseconds per count, times 2^32; zero if not known yet.
pub(super) type Rate = u64;

/// A reading of the system clock between two readings of the counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sighting {
    pub(super) before: u64,
    pub(super) ns: u64,
    pub(super) after: u64,
}

impl Sighting {
    const NONE: Self = Self {
        before: 0,
        ns: 0,
        after: 0,
    };

    const fn bracket(self) -> u64 {
        self.after.wrapping_sub(self.before)
    }
}

/// The error of a counter that does not count time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// One thread's relation between counter and time.
#[derive(Debug)]
pub(super) struct Anchor {
    /// The count at the last anchor, in halves.
    low: Cell<u32>,
    high: Cell<u32>,
    /// The number of counts since the anchor that are trusted; zero if none are.
    window: Cell<u32>,
    /// The counts from the anchor to the latest reading.
    latest: Cell<u32>,
    /// The time of the anchor, in nanoseconds since the process's origin.
    ns: Cell<u64>,
    /// The time of the anchor while the anchor holds, otherwise [`NEVER`].
    from: Cell<u64>,
    rate: Cell<Rate>,
    /// The latest time that a sighting returned.
    floor: Cell<u64>,
    /// The beginning of the stretch of time that measures the frequency.
    baseline: Cell<Sighting>,
    strikes: Cell<u32>,
}

impl Anchor {
    /// Makes a state without an anchor.
    pub(super) const fn new() -> Self {
        Self {
            low: Cell::new(0),
            high: Cell::new(0),
            window: Cell::new(0),
            latest: Cell::new(0),
            ns: Cell::new(0),
            from: Cell::new(NEVER),
            rate: Cell::new(0),
            floor: Cell::new(0),
            baseline: Cell::new(Sighting::NONE),
            strikes: Cell::new(0),
        }
    }

    /// Returns the time at the count that `count` reads, never before an earlier reading; `None` if an anchor is due. Does not read the count while
    /// no anchor holds.
    #[inline]
    pub(super) fn read(&self, count: impl FnOnce() -> u64) -> Option<u64> {
        if self.window.get() == 0 {
            return None;
        }
        let since = self.counts(count())?;
        if since < self.latest.get() {
            return Some(self.latest_reading());
        }
        self.latest.set(since);
        // A window is at most 5000 << 32 in this product, whatever the rate.
        Some(self.ns.get() + ((u64::from(since) * self.rate.get()) >> 32))
    }

    /// Returns the time of the last anchor, from which counts are trusted; [`NEVER`] while no anchor holds.
    #[inline]
    pub(super) fn from(&self) -> u64 {
        self.from.get()
    }

    /// Returns the counts from the last anchor to `count`; `None` if they are not trusted.
    #[inline]
    pub(super) fn counts(&self, count: u64) -> Option<u32> {
        let (low, high) = halves(count);
        // Two branches instead of one on both halves: neither is ever taken, so neither delays the time.
        if high != self.high.get() {
            return None;
        }
        // A count from before the anchor wraps to one far after it.
        let since = low.wrapping_sub(self.low.get());
        (since < self.window.get()).then_some(since)
    }

    /// Returns the time of the latest reading since the last anchor, or of the anchor.
    #[cold]
    fn latest_reading(&self) -> u64 {
        self.ns.get() + to_ns(self.latest.get().into(), self.rate.get())
    }

    /// Returns the latest time that was returned.
    pub(super) fn latest(&self) -> u64 {
        self.latest_reading().max(self.floor.get())
    }

    /// Stops trusting the counter.
    pub(super) fn weigh(&self) {
        self.window.set(0);
        self.from.set(NEVER);
    }

    /// Sets an anchor at a sighting, and returns the time there, never before an earlier reading. `known` is the frequency that other threads have
    /// found.
    pub(super) fn renew(&self, sighting: Sighting, known: Rate) -> Result<u64, Broken> {
        let latest = self.latest();
        self.judge(sighting)?;
        if self.rate.get() == 0 {
            self.rate.set(known);
        }
        self.calibrate(sighting)?;
        let Sighting { ns, after, .. } = sighting;
        let rate = self.rate.get();
        // Sets no anchor if time would have to go back, or if count and time may belong to different times.
        let is_sound = rate != 0 && latest <= ns && to_ns(sighting.bracket(), rate) <= BRACKET_NS;
        // The window is shorter for a counter so fast that a window exceeds half a count.
        let window = if is_sound { (WINDOW_NS << 32) / rate } else { 0 };
        self.window.set(u32::try_from(window).unwrap_or(u32::MAX));
        let (low, high) = halves(after);
        self.low.set(low);
        self.high.set(high);
        self.ns.set(ns);
        self.from.set(if window == 0 { NEVER } else { ns });
        self.latest.set(0);
        self.floor.set(ns.max(latest));
        Ok(ns.max(latest))
    }

    /// Returns the frequency that was found, zero if none was found yet.
    #[inline]
    pub(super) fn rate(&self) -> Rate {
        self.rate.get()
    }

    /// Checks that the counter kept step since the last anchor, if the anchor is recent enough to compare.
    fn judge(&self, sighting: Sighting) -> Result<(), Broken> {
        let at = u64::from(self.high.get()) << 32 | u64::from(self.low.get());
        let rate = self.rate.get();
        let counted = sighting.before.wrapping_sub(at);
        if self.window.get() == 0 || counted > JUDGED * u64::from(self.window.get()) {
            return Ok(());
        }
        let passed = sighting.ns.saturating_sub(self.ns.get());
        // Counts become time slowly, so an honest counter is not ahead. Nor is it behind by more than that slowness and the brackets. A sighting that
        // was interrupted gives a weaker bound: the count before it is the lower end, and the count after it is the upper end.
        let (least, most) = (to_ns(counted, rate), to_ns(sighting.after.wrapping_sub(at), rate));
        if least > passed || passed > most + (most >> 7) + BRACKET_NS {
            return self.strike();
        }
        Ok(())
    }

    /// Measures the frequency once the baseline is long enough.
    fn calibrate(&self, here: Sighting) -> Result<(), Broken> {
        let from = self.baseline.get();
        let ns = here.ns.saturating_sub(from.ns);
        if from.ns == 0 || ns > 2 * LONGEST_BASELINE_NS {
            self.baseline.set(here);
            return Ok(());
        }
        let counts = here.after.wrapping_sub(from.after);
        if ns > LONGEST_BASELINE_NS {
            self.baseline.set(here);
        }
        if counts >> BASELINE_SHIFT < from.bracket().saturating_add(here.bracket()) {
            // The baseline is not long enough yet. If it began with an interruption, it never will be.
            return Ok(());
        }
        let exact = (u128::from(ns) << 32).checked_div(u128::from(counts)).unwrap_or(0);
        let slow = u64::try_from(exact - (exact >> 9)).unwrap_or(0);
        let known = self.rate.get();
        if slow == 0 || (known != 0 && slow.abs_diff(known) > known >> 6) {
            // The counter jumped in between, or has another frequency altogether.
            return self.strike();
        }
        self.rate.set(slow);
        self.strikes.set(0);
        Ok(())
    }

    fn strike(&self) -> Result<(), Broken> {
        self.baseline.set(Sighting::NONE);
        self.strikes.set(self.strikes.get() + 1);
        if self.strikes.get() < STRIKES {
            Ok(())
        } else {
            Err(Broken)
        }
    }
}

/// Splits a count into its low and its high half.
#[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
const fn halves(count: u64) -> (u32, u32) {
    (count as u32, (count >> 32) as u32)
}

/// Converts any number of counts to nanoseconds.
fn to_ns(counts: u64, rate: Rate) -> u64 {
    u64::try_from((u128::from(counts) * u128::from(rate)) >> 32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
