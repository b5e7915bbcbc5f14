//! Events out of order, kept compactly and given back in order.
//!
//! They are sorted in runs of a quarter of a million and packed: the time since the event before, the key and the
//! cost, each in as many bytes as it needs. An event of a busy log takes 4 to 8 bytes, where its line took 200. The runs
//! are merged as files are, by `merge`.

use crate::event::{Event, KeyId};
use crate::stamp::Resolution;

/// How many events are sorted at once: 6 MiB of them.
const RUN: usize = 1 << 18;

/// Events in any order, packed.
#[derive(Debug, Default)]
pub(super) struct Spool {
    unsorted: Vec<Event>,
    runs: Vec<(i64, Run)>,
}

impl Spool {
    pub(super) fn push(&mut self, event: Event) {
        self.unsorted.push(event);
        if self.unsorted.len() == RUN {
            self.pack();
        }
    }

    /// The events, all stamped in `unit`s, in runs each of which is in order and comes with its first time; of equal
    /// stamps those of the earlier run came first.
    pub(super) fn into_runs(mut self, unit: Resolution) -> Vec<(i64, Run)> {
        self.pack();
        for (_, run) in &mut self.runs {
            run.unit = unit;
        }
        self.runs
    }

    fn pack(&mut self) {
        // Stable: what came at the same time stays in the order of its lines.
        self.unsorted.sort_by_key(|event| event.time);
        let mut bytes = Vec::new();
        let mut last = 0;
        for event in &self.unsorted {
            write(&mut bytes, event.time.abs_diff(last));
            write(&mut bytes, event.key.0.into());
            write(&mut bytes, event.cost);
            last = event.time;
        }
        bytes.shrink_to_fit();
        if let Some(first) = self.unsorted.first() {
            let run = Run {
                bytes,
                at: 0,
                last: 0,
                unit: Resolution::default(),
            };
            self.runs.push((first.time, run));
        }
        self.unsorted.clear();
    }
}

/// Packed events in order, none of them before 1970.
#[derive(Debug)]
pub(super) struct Run {
    bytes: Vec<u8>,
    at: usize,
    last: i64,
    unit: Resolution,
}

impl Iterator for Run {
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
        // As it was written.
        let key = KeyId(u32::try_from(key).unwrap_or(u32::MAX));
        Some(Event {
            unit: self.unit,
            ..Event::new(self.last, cost, key)
        })
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
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
    fn what_is_packed_comes_back_in_order() {
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
