//! Stores events out of order, compactly, and returns them in order.
//!
//! The events are sorted in runs of a quarter of a million and packed: the time since the event before, the key and the cost, each in as many bytes
//! as it needs. An event of a busy log takes 4 to 8 bytes, where its line took about 200. The runs are merged by `merge`, as files are.

use crate::event::{Event, KeyId, Place};
use crate::stamp::Resolution;

/// Number of events that are sorted at once: 6 MiB of them.
const RUN: usize = 1 << 18;

/// Events in any order, packed.
#[derive(Debug, Default)]
pub(super) struct Spool {
    unsorted: Vec<Event>,
    runs: Vec<(i64, SortedRun)>,
    /// The input of all events, if their plans and places are also kept.
    input: Option<u32>,
}

impl Spool {
    /// Creates a spool that keeps the plans and the places of events, all of which are in `input`.
    pub(super) fn with_places(input: u32) -> Self {
        Self {
            input: Some(input),
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.unsorted.push(event);
        if self.unsorted.len() == RUN {
            self.pack();
        }
    }

    /// Returns the events, all stamped in `unit`s, in ordered runs, each with its first time. Of equal stamps, those of the earlier run came first.
    pub(super) fn into_runs(mut self, unit: Resolution) -> Vec<(i64, SortedRun)> {
        self.pack();
        for (_, run) in &mut self.runs {
            run.unit = unit;
        }
        self.runs
    }

    fn pack(&mut self) {
        // Stable: events with the same time stay in the order of their lines.
        self.unsorted.sort_by_key(|event| event.time);
        let mut bytes = Vec::new();
        let (mut last, mut line) = (0, 0);
        for event in &self.unsorted {
            write(&mut bytes, event.time.abs_diff(last));
            write(&mut bytes, event.key.0.into());
            write(&mut bytes, event.cost);
            if self.input.is_some() {
                write(&mut bytes, event.plan.0.into());
                write(&mut bytes, zigzag(event.place.line.wrapping_sub(line)));
                line = event.place.line;
            }
            last = event.time;
        }
        bytes.shrink_to_fit();
        if let Some(first) = self.unsorted.first() {
            let run = SortedRun {
                bytes,
                at: 0,
                last: 0,
                line: 0,
                input: self.input,
                unit: Resolution::default(),
            };
            self.runs.push((first.time, run));
        }
        self.unsorted.clear();
    }
}

/// Packed events in order, none of them before 1970.
#[derive(Debug)]
pub(super) struct SortedRun {
    bytes: Vec<u8>,
    at: usize,
    last: i64,
    line: u64,
    input: Option<u32>,
    unit: Resolution,
}

impl Iterator for SortedRun {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut number = || {
            let mut number = 0;
            for shift in (0..u64::BITS).step_by(7) {
                let byte = *self.bytes.get(self.at)?;
                self.at += 1;
                number |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            Some(number)
        };
        let (since, key, cost) = (number()?, number()?, number()?);
        self.last = self.last.saturating_add_unsigned(since);
        // The numbers are as they were written.
        let key_of = |number: u64| KeyId(u32::try_from(number).unwrap_or(u32::MAX));
        let mut event = Event {
            unit: self.unit,
            ..Event::new(self.last, cost, key_of(key))
        };
        if let Some(input) = self.input {
            let (plan, line) = (number()?, number()?);
            self.line = self.line.wrapping_add(unzigzag(line));
            event.plan = key_of(plan);
            event.place = Place { input, line: self.line };
        }
        Some(event)
    }
}

/// Maps small differences of either sign to small numbers: 0, -1, 1, -2 to 0, 1, 2, 3.
fn zigzag(difference: u64) -> u64 {
    let sign = if difference >> 63 == 0 { 0 } else { u64::MAX };
    (difference << 1) ^ sign
}

/// The inverse of [`zigzag`].
fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Writes seven bits a byte, the lowest first; the eighth bit means that more follow.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_events_come_back_in_order() {
        let event = |time, key, cost| Event::new(time, cost, KeyId(key));
        let latest = 7_289_654_399_999_999_999;
        let mut spool = Spool::default();
        for event in [
            event(latest, 0, 1),
            event(0, u32::MAX, u64::MAX),
            event(127, 127, 127),
            event(0, 1, 0),
            event(128, 128, 128),
        ] {
            spool.push(event);
        }
        let runs = spool.into_runs(Resolution::default());
        let events: Vec<Event> = runs.into_iter().flat_map(|(_, run)| run).collect();
        assert_eq!(
            events,
            [
                event(0, u32::MAX, u64::MAX),
                event(0, 1, 0),
                event(127, 127, 127),
                event(128, 128, 128),
                event(latest, 0, 1),
            ]
        );
        assert!(Spool::default().into_runs(Resolution::default()).is_empty());
    }

    #[test]
    fn plans_and_places_come_back_with_their_events() {
        let event = |time, plan, line| Event {
            plan: KeyId(plan),
            place: Place { input: 7, line },
            ..Event::new(time, 1, KeyId(0))
        };
        let mut spool = Spool::with_places(7);
        for event in [
            event(3, 1, 1),
            event(1, 0, 2),
            event(1, u32::MAX, u64::MAX),
            event(9, 2, 0),
        ] {
            spool.push(event);
        }
        let runs = spool.into_runs(Resolution::default());
        let events: Vec<Event> = runs.into_iter().flat_map(|(_, run)| run).collect();
        assert_eq!(
            events,
            [
                event(1, 0, 2),
                event(1, u32::MAX, u64::MAX),
                event(3, 1, 1),
                event(9, 2, 0)
            ]
        );
    }

    #[test]
    fn a_busy_log_is_kept_in_few_bytes() {
        let mut spool = Spool::default();
        for line in 0..1_000_000_u32 {
            spool.push(Event::new(
                i64::from(line / 1_000) * 1_000_000_000,
                1,
                KeyId(line % 10_000),
            ));
        }
        let runs = spool.into_runs(Resolution::default());
        let bytes: usize = runs.iter().map(|(_, run)| run.bytes.len()).sum();
        assert!(
            runs.len() == 4 && bytes < 5_000_000,
            "{} runs, {bytes} bytes",
            runs.len()
        );
    }
}
