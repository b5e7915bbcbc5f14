//! Keeps a counter true to the system clock. Pure, so that tests can feed it a counter that lies.
//!
//! A reading is the time of the last anchor plus the counts since. A new anchor is due after [`WINDOW_NS`] of counted time, or when the high half of
//! the count changes. So the counter is trusted for one window at most. If the counter runs at half or double its speed, or makes an unnoticeably
//! small jump, a reading is off by at most a window. After a larger jump, forward or back, an anchor comes first.
//!
//! A processor may read its counter only after all earlier instructions, and start nothing after it until it is read. Then the cost of a reading is
//! the instructions that depend on the count. So the time depends on the low half of the count alone, by a difference, a product and a sum. All
//! conditions are branches that are never taken.
//!
//! To stay behind the system clock rather than ahead, an anchor pairs a time with a count read after it. (The system clock is computed from the same
//! counter. So this holds for counts of any length, such as 40 ns on some aarch64.) For the same reason, counts become time a little slowly, by 2^-9
//! (1953 ppm, 10 ns in a window). Of that, slewing may take 500 ppm and the error of the frequency 488.

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

/// The number of windows after an anchor in which the counter is compared with the system clock. After longer pauses it only gets a new anchor.
const JUDGED: u64 = 64;

/// The number of times in a row that a counter is out of step before it counts as broken. A pause of the whole machine also puts it out of step.
const STRIKES: u32 = 3;

/// A time that is on no time line that begins within 146 years of the epoch.
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
    /// The time of the anchor, in nanoseconds since the epoch.
    ns: Cell<u64>,
    /// The time of the anchor, from which counts are trusted; [`NEVER`] while no anchor holds.
    pub(super) from: Cell<u64>,
    /// The frequency that was found, zero if none was found yet.
    pub(super) rate: Cell<Rate>,
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
        // A window is at most 5000 << 32 in this product, at any rate.
        Some(self.ns.get() + ((u64::from(since) * self.rate.get()) >> 32))
    }

    /// Returns the counts from the last anchor to `count`; `None` if they are not trusted.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(super) fn counts(&self, count: u64) -> Option<u32> {
        let (low, high) = (count as u32, (count >> 32) as u32);
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
    pub(super) fn distrust(&self) {
        self.window.set(0);
        self.from.set(NEVER);
    }

    /// Sets an anchor at a sighting, and returns the time there, never before an earlier reading. `known` is the frequency that other threads have
    /// found.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
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
        self.low.set(after as u32);
        self.high.set((after >> 32) as u32);
        self.ns.set(ns);
        self.from.set(if window == 0 { NEVER } else { ns });
        self.latest.set(0);
        self.floor.set(ns.max(latest));
        Ok(ns.max(latest))
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
        // Two counts more, for counters of so long a count that a bracket has none. Then the times are whole nanoseconds only.
        if counts >> BASELINE_SHIFT < from.bracket().saturating_add(here.bracket()).saturating_add(2) {
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

/// Converts any number of counts to nanoseconds.
fn to_ns(counts: u64, rate: Rate) -> u64 {
    u64::try_from((u128::from(counts) * u128::from(rate)) >> 32).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    //! Counters that lie, on a machine that knows its true time to the nanosecond.

    #![allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a model in floating point, of numbers far from the ends of their types"
    )]

    use super::{Anchor, Broken, NEVER, Rate, Sighting, WINDOW_NS};
    use crate::time::Instant;
    use crate::units::{Anchored, Nanos, TimeLine, UnitScale, Volume};

    /// The time of a plain reading, and of a sighting.
    const READ_NS: u64 = 10;
    const SIGHTING_NS: u64 = 50;

    /// A machine with a counter and a system clock, both functions of the true time.
    struct Machine {
        /// The true time in nanoseconds; the epoch was long ago.
        now: u64,
        count: f64,
        /// The number of counts in a true nanosecond.
        frequency: f64,
        clock: f64,
        /// The number of nanoseconds of the system clock in a true nanosecond.
        pace: f64,
        /// The time from the reading of the system clock to the end of a sighting.
        read_before_end: u64,
        /// True if the system clock is computed from the counter, as the kernel does.
        is_clocked_by_counter: bool,
        /// True if the thread is interrupted now and then, during a sighting.
        is_interrupted: bool,
        sightings: u64,
        anchor: Anchor,
        known: Rate,
        given_up: bool,
        latest: u64,
        /// The most that a reading was ahead of the system clock, and behind it.
        ahead: i64,
        behind: i64,
    }

    impl Machine {
        fn counting(frequency: f64) -> Self {
            Self {
                now: 0,
                count: 1e12,
                frequency,
                clock: 1e14,
                pace: 1.0,
                read_before_end: SIGHTING_NS / 2,
                is_clocked_by_counter: false,
                is_interrupted: false,
                sightings: 0,
                anchor: Anchor::new(),
                known: 0,
                given_up: false,
                latest: 0,
                ahead: i64::MIN,
                behind: i64::MIN,
            }
        }

        fn passes(&mut self, ns: u64) {
            self.now += ns;
            self.count += ns as f64 * self.frequency;
            self.clock += ns as f64 * self.pace;
        }

        fn counter(&self) -> u64 {
            self.count as u64
        }

        fn clock(&self) -> u64 {
            if self.is_clocked_by_counter {
                return (self.counter() as f64 / self.frequency) as u64;
            }
            self.clock as u64
        }

        /// Some pauses are too short to be noticed, and they come in rows.
        fn interruption(&mut self) -> u64 {
            self.sightings += 1;
            match self.sightings % 64 {
                5 | 23 | 40 | 57 if self.is_interrupted => 850,
                7 | 9 | 11 | 12 | 13 | 14 | 38 if self.is_interrupted => 40_000,
                _ => 0,
            }
        }

        fn sight(&mut self) -> Sighting {
            let before = self.counter();
            let interruption = self.interruption();
            self.passes(SIGHTING_NS - self.read_before_end + interruption);
            let ns = self.clock();
            let interruption = self.interruption();
            self.passes(self.read_before_end + interruption);
            let after = self.counter();
            Sighting { before, ns, after }
        }

        /// Makes one reading, as a thread does.
        fn read(&mut self) -> u64 {
            let before = self.clock();
            self.passes(READ_NS);
            let count = self.counter();
            let reading = match self.anchor.read(|| count).filter(|_| !self.given_up) {
                Some(ns) => ns,
                None => {
                    let sighting = self.sight();
                    if self.given_up {
                        sighting.ns.max(self.anchor.latest())
                    } else {
                        self.anchor.renew(sighting, self.known).unwrap_or_else(|Broken| {
                            self.given_up = true;
                            sighting.ns.max(self.anchor.latest())
                        })
                    }
                }
            };
            assert!(reading >= self.latest, "time went back by {} ns", self.latest - reading);
            self.latest = reading;
            self.ahead = self.ahead.max(reading as i64 - self.clock() as i64);
            self.behind = self.behind.max(before as i64 - reading as i64);
            reading
        }

        /// Makes readings for this long, some in a row and some after a pause.
        fn works(&mut self, ns: u64) {
            let end = self.now + ns;
            let mut turn = 0_u64;
            while self.now < end {
                self.read();
                turn += 1;
                self.passes([0, 0, 0, 7, 0, 300, 0, 2_000, 0, 12_000][usize::try_from(turn % 10).unwrap()]);
            }
        }

        #[track_caller]
        fn assert_true(&self) {
            assert!(!self.given_up, "given up");
            assert!(self.ahead <= 0, "ahead by {} ns", self.ahead);
            assert!(self.behind <= WINDOW_NS as i64, "behind by {} ns", self.behind);
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_steady_counter_is_read_and_is_true() {
        for frequency in [1.0, 1.7, 2.5, 5.0] {
            let mut machine = Machine::counting(frequency);
            machine.works(20 * MS);
            machine.assert_true();
            assert!(machine.anchor.rate.get() != 0);
            // In a row of readings, it takes no sighting except one per window.
            let start = machine.now;
            for _ in 0..10_000 {
                machine.read();
            }
            let sightings = (machine.now - start - 10_000 * READ_NS) / SIGHTING_NS;
            assert!(
                (18..=25).contains(&sightings),
                "{sightings} sightings at {frequency} GHz"
            );
            machine.assert_true();
        }
    }

    #[test]
    fn slow_counters_read_true_time() {
        for megahertz in [1.0, 19.2, 24.0, 25.0, 62.5, 100.0, 121.875, 1000.0] {
            for offset in 0..20 {
                let mut machine = Machine::counting(megahertz / 1000.0);
                machine.is_clocked_by_counter = true;
                machine.passes(offset * 7);
                machine.works(20 * MS);
                machine.assert_true();
                assert!(machine.anchor.rate.get() != 0);
                let exact = 2_f64.powi(32) * 1000.0 / megahertz;
                let slowness = 1.0 - machine.anchor.rate.get() as f64 / exact;
                assert!(
                    (0.001..0.003).contains(&slowness),
                    "{megahertz} MHz: slow by {slowness}"
                );
            }
        }
    }

    #[test]
    fn a_change_of_the_high_half_is_followed() {
        for before in [1.0, 1e3, 1e5, 1e7] {
            let mut machine = Machine::counting(2.5);
            machine.count = 2.0_f64.powi(32) * 1000.0 - before;
            machine.works(20 * MS);
            machine.assert_true();
        }
    }

    #[test]
    fn volume_by_counts_never_exceeds_the_reading() {
        let scale = UnitScale::draining(7, 2).unwrap();
        let line = TimeLine::of_meter_made(Instant::now());
        for frequency in [1.0, 1.7, 2.5, 5.0] {
            let mut machine = Machine::counting(frequency);
            machine.works(5 * MS);
            let mut compared = 0;
            for _ in 0..10_000 {
                machine.passes(77);
                let reading = machine.read();
                let count = machine.counter();
                let anchor = &machine.anchor;
                let Some(counts) = anchor.counts(count).filter(|_| anchor.read(|| count) == Some(reading)) else {
                    continue;
                };
                let anchored = Anchored::new(&line, Nanos::END, scale, anchor.from.get(), anchor.rate.get());
                let Volume(volume) = anchored.unwrap().after(counts);
                let [least, most] = [reading, reading + 1].map(|ns| scale.volume_at(line.position_since_epoch(ns)).0);
                assert!(least - 3 <= volume && volume <= most, "{volume}, not {least} to {most}");
                compared += 1;
            }
            assert!(compared > 9_000, "{compared}");
        }
    }

    #[test]
    fn anchor_older_than_32_bits_is_not_believed() {
        let mut machine = Machine::counting(2.0);
        machine.works(20 * MS);
        for _ in 0..10 {
            machine.passes(2 * WINDOW_NS);
            machine.read();
            machine.passes(1 << 31);
            machine.read();
        }
        machine.assert_true();
    }

    #[test]
    fn distrusted_anchor_is_not_believed() {
        let mut machine = Machine::counting(2.5);
        machine.works(5 * MS);
        machine.read();
        assert_ne!(machine.anchor.from.get(), NEVER);
        machine.anchor.distrust();
        assert_eq!(machine.anchor.from.get(), NEVER);
        assert_eq!(machine.anchor.read(|| unreachable!("nothing is read")), None);
    }

    #[test]
    fn slewing_by_500_ppm_is_followed() {
        for read_before_end in [0, SIGHTING_NS / 2, SIGHTING_NS] {
            let mut machine = Machine::counting(2.5);
            machine.read_before_end = read_before_end;
            for pace in [1.0, 1.0005, 0.9995, 1.0, 0.9995, 1.0005] {
                machine.pace = pace;
                machine.works(15 * MS);
                machine.assert_true();
            }
        }
    }

    #[test]
    fn a_drifting_frequency_is_followed() {
        let mut machine = Machine::counting(2.5);
        for _ in 0..100 {
            machine.frequency *= 1.0002;
            machine.works(2 * MS);
        }
        machine.assert_true();
    }

    #[test]
    fn counter_jump_forces_an_anchor_first() {
        for jump in [1e5, 1e9, 1e13, -1e4, -1e9, -9e11] {
            let mut machine = Machine::counting(2.5);
            machine.works(5 * MS);
            machine.count += jump;
            machine.works(5 * MS);
            machine.assert_true();
        }
    }

    #[test]
    fn system_clock_jump_is_seen_within_a_window() {
        let mut machine = Machine::counting(2.5);
        machine.works(5 * MS);
        for _ in 0..10 {
            // The machine stood still, and so did its counter.
            machine.clock += 1e8;
            let counted_out = machine.now + 2 * WINDOW_NS;
            while machine.now < counted_out {
                machine.read();
            }
            machine.behind = i64::MIN;
            machine.works(5 * MS);
            machine.assert_true();
        }
    }

    #[test]
    fn false_frequency_is_given_up_or_followed() {
        for factor in [0.3, 0.5, 0.9, 1.1, 2.0, 3.0] {
            let mut machine = Machine::counting(2.5);
            machine.works(5 * MS);
            machine.frequency *= factor;
            machine.works(5 * MS);
            let bound = WINDOW_NS as i64 * if factor < 0.5 { 3 } else { 1 };
            assert!(machine.ahead <= bound, "{factor}: ahead by {} ns", machine.ahead);
            assert!(machine.behind <= bound, "{factor}: behind by {} ns", machine.behind);
            // A small error is within the bound, and is followed.
            assert!(machine.given_up || (0.9..1.2).contains(&factor), "{factor}");
        }
    }

    #[test]
    fn wrong_shared_frequency_is_given_up_soon() {
        for factor in [0.5, 0.9, 1.1, 2.0] {
            let mut machine = Machine::counting(2.5);
            machine.known = ((1_u64 << 32) as f64 / 2.5 * factor) as u64;
            machine.works(5 * MS);
            assert!(
                machine.ahead <= WINDOW_NS as i64,
                "{factor}: ahead by {} ns",
                machine.ahead
            );
            assert!(
                machine.behind <= WINDOW_NS as i64,
                "{factor}: behind by {} ns",
                machine.behind
            );
            assert!(machine.given_up, "{factor}");
        }
    }

    #[test]
    fn interrupted_sighting_makes_no_anchor() {
        let mut machine = Machine::counting(2.5);
        machine.works(5 * MS);
        machine.passes(2 * WINDOW_NS);
        let before = machine.counter();
        let ns = machine.clock();
        machine.passes(MS);
        let after = machine.counter();
        assert_eq!(machine.anchor.renew(Sighting { before, ns, after }, 0), Ok(ns));
        assert_eq!(machine.anchor.read(|| machine.counter()), None);
        machine.works(5 * MS);
        machine.assert_true();
    }

    #[test]
    fn interrupted_thread_keeps_a_true_clock() {
        for read_before_end in [0, SIGHTING_NS / 2, SIGHTING_NS] {
            let mut machine = Machine::counting(2.5);
            machine.read_before_end = read_before_end;
            machine.is_interrupted = true;
            for pace in [1.0, 1.0005, 0.9995] {
                machine.pace = pace;
                machine.works(100 * MS);
                assert!(!machine.given_up, "given up");
                assert!(machine.ahead <= 0, "ahead by {} ns", machine.ahead);
            }
            assert!(machine.anchor.rate.get() != 0);
        }
    }

    #[test]
    fn thread_reads_true_time_after_idle_days() {
        let mut machine = Machine::counting(2.5);
        for rest in [1, 1_000, 100_000, 86_400_000] {
            machine.works(2 * MS);
            machine.passes(rest * MS);
            machine.works(2 * MS);
            machine.assert_true();
        }
    }
}
