//! Spaces requests of one coarse stamp evenly over its unit.
//!
//! A log with whole seconds does not show when within its second a request came. If all requests come at the stamp, a limit denies the most it can.
//! Even spacing, for each key by itself, is the traffic of a steady client. The `i`-th of `n` requests of a key (from 0) moves by `i/n` of the
//! unit. So their order is kept, and the same input gives the same times.

use crate::event::Event;

/// Spaces events as they come, and returns them in the order of their new times.
#[derive(Debug, Default)]
pub struct Spreader {
    /// Events of the latest stamp, in their order.
    held: Vec<Event>,
    /// Events that are spaced, in order, but that may come after an event not yet seen.
    due: Vec<Event>,
    /// Events of the latest stamp that are spaced away from it.
    moved: Vec<Event>,
    /// By key: the number of its events in `held`, and how many of those are spaced.
    counts: Vec<(u32, u32)>,
}

impl Spreader {
    /// Takes the next event, and adds to `spaced` the events that no later event can precede.
    #[inline]
    pub fn push(&mut self, event: Event, spaced: &mut Vec<Event>) {
        if self.held.first().is_some_and(|first| first.time != event.time) {
            self.space();
            // If lines keep their order, time may go back: then no event waits for another stamp.
            let goes_back = self.held.first().is_some_and(|first| first.time > event.time);
            self.held.clear();
            self.release_before(if goes_back { i64::MAX } else { event.time }, spaced);
        }
        let key = event.key.index();
        if key >= self.counts.len() {
            self.counts.resize(key + 1, (0, 0));
        }
        self.counts[key].0 += 1;
        self.held.push(event);
    }

    /// Adds all remaining events to `spaced`.
    pub fn finish(&mut self, spaced: &mut Vec<Event>) {
        self.space();
        self.held.clear();
        self.release_before(i64::MAX, spaced);
    }

    /// Adds the events of the latest stamp to those due, each at its place in the unit.
    fn space(&mut self) {
        let is_first = self.due.is_empty();
        for event in &self.held {
            let (count, before) = &mut self.counts[event.key.index()];
            let offset = match *before {
                0 => 0,
                before => i128::from(event.unit.unit_ns()) * i128::from(before) / i128::from(*count).max(1),
            };
            *before += 1;
            // Less than a unit, which is at most a minute.
            let offset = i64::try_from(offset).unwrap_or(0);
            // Events at the stamp itself are in order, and come first.
            let spaced = if offset == 0 { &mut self.due } else { &mut self.moved };
            spaced.push(Event {
                time: event.time.saturating_add(offset),
                ..*event
            });
        }
        for event in &self.held {
            self.counts[event.key.index()] = (0, 0);
        }
        self.moved.sort_by_key(|event| event.time);
        self.due.append(&mut self.moved);
        if !is_first {
            self.due.sort_by_key(|event| event.time);
        }
    }

    fn release_before(&mut self, time: i64, spaced: &mut Vec<Event>) {
        let count = if time == i64::MAX {
            self.due.len()
        } else {
            self.due.partition_point(|event| event.time < time)
        };
        spaced.extend(self.due.drain(..count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KeyId;
    use crate::stamp::Resolution;

    const SECOND: i64 = 1_000_000_000;

    fn event(time: i64, key: u32, unit: Resolution) -> Event {
        Event {
            unit,
            ..Event::new(time, 1, KeyId(key))
        }
    }

    fn spread(events: &[Event]) -> Vec<(i64, u32)> {
        let mut spreader = Spreader::default();
        let mut spaced = Vec::new();
        for event in events {
            spreader.push(*event, &mut spaced);
        }
        spreader.finish(&mut spaced);
        spaced.iter().map(|event| (event.time, event.key.0)).collect()
    }

    #[test]
    fn requests_of_a_key_divide_the_unit_evenly() {
        let events = [0, 0, 1, 0, 0].map(|key| event(SECOND, key, Resolution::Second));
        assert_eq!(
            spread(&events),
            [
                (SECOND, 0),
                (SECOND, 1),
                (1_250_000_000, 0),
                (1_500_000_000, 0),
                (1_750_000_000, 0)
            ]
        );
        let three = [event(0, 0, Resolution::Millisecond); 3];
        assert_eq!(spread(&three), [(0, 0), (333_333, 0), (666_666, 0)]);
    }

    #[test]
    fn events_of_finer_inputs_interleave_in_order() {
        let (coarse, fine) = (Resolution::Second, Resolution::Nanosecond);
        let events = [
            event(0, 0, coarse),
            event(0, 0, coarse),
            event(1, 1, fine),
            event(600_000_000, 1, fine),
            event(SECOND, 0, coarse),
        ];
        assert_eq!(
            spread(&events),
            [(0, 0), (1, 1), (500_000_000, 0), (600_000_000, 1), (SECOND, 0)]
        );
    }

    #[test]
    fn event_is_not_delayed_when_time_goes_back() {
        let second = Resolution::Second;
        let events = [
            event(5 * SECOND, 0, second),
            event(5 * SECOND, 0, second),
            event(0, 0, second),
        ];
        assert_eq!(spread(&events), [(5 * SECOND, 0), (5_500_000_000, 0), (0, 0)]);
        assert_eq!(spread(&[]), []);
    }
}
