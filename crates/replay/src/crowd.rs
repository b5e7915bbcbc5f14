//! The meters of all keys of one limit, in 24 bytes a key.
//!
//! Keys are numbers without gaps, so the state of a key has its place in a vector. One meter decides for all keys ([`Lend`]).
//!
//! A meter measures time exactly for 20 years. So the states of keys count from dates, at which the meter was made. When the traffic is ten years past
//! the newest date, another one joins, and a key moves to it once the key is idle. An idle meter and a new meter make the same decisions. So each key is
//! decided as by a meter of its own, for any span of time. The tool fails only for traffic that keeps a key busy for ten years without a break.
//!
//! This holds only if time never goes back. Otherwise a key that moved would have forgotten cells that an earlier time would find still owed. In that
//! case each key keeps its first date, from which at least nine years before the key's first request and nine years after it are measured.

use std::hint::black_box;

use crate::event::Event;
use crate::lending::Lend;
use crate::lineage::Maker;
use crate::verdict::{EventVerdict, Undecided};

/// The time of the latest admission of a key without one.
const NEVER: i64 = i64::MIN;

/// The meters of all keys of one limit.
pub(crate) struct Crowd {
    maker: Maker,
    meter: Box<dyn Lend>,
    /// The times of the traffic at which the meter was made, oldest first. Its clock stands at each of them.
    made: Vec<i64>,
    /// By key.
    seats: Vec<Seat>,
}

/// The state of a key.
struct Seat {
    word: u64,
    /// The time of its latest admission.
    admitted: i64,
    /// The index of the time from which the word counts.
    made: usize,
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            word: 0,
            admitted: NEVER,
            made: 0,
        }
    }
}

impl Crowd {
    /// Creates the meters of all keys, for which `meter` decides.
    pub(crate) fn new(maker: Maker, meter: Box<dyn Lend>) -> Self {
        Self {
            maker,
            meter,
            made: Vec::new(),
            seats: Vec::new(),
        }
    }

    /// Reads the state of each event's key, so that it is in the cache when the event is decided. The loop is short, so that the processor waits for
    /// many keys at once.
    pub(crate) fn load(&self, events: &[Event]) {
        let seats = events.iter().filter_map(|event| self.seats.get(event.key.index()));
        black_box(seats.fold(0, |sum, seat| sum ^ seat.word));
    }

    /// Decides an event, which is no earlier than the events before it, unless the maker allows that.
    #[inline]
    pub(crate) fn check(&mut self, event: &Event) -> Result<EventVerdict, Undecided> {
        let key = event.key.index();
        if key >= self.seats.len() {
            self.seats.resize_with(key + 1, Seat::default);
        }
        let made = self.made.get(self.seats[key].made);
        if !made.is_some_and(|&made| self.maker.starts_on(made, event.time)) {
            self.move_on(event);
        }
        let seat = &mut self.seats[key];
        // An idle meter and a new meter make the same decisions.
        if is_idle(&self.maker, seat, event.time) {
            seat.word = 0;
        }
        let at = self.maker.at(self.made[seat.made], event.time);
        let at = at.ok_or(Undecided::TooLong)?;
        let verdict = EventVerdict::of(event.cost, at, |n| self.meter.check_n_at(&mut seat.word, n, at));
        if verdict.is_admitted() {
            seat.admitted = event.time;
        }
        Ok(verdict)
    }

    /// Moves the key of an event to a date near its time, if the key is idle there as well as here.
    #[cold]
    fn move_on(&mut self, event: &Event) {
        let seat = &mut self.seats[event.key.index()];
        if !is_idle(&self.maker, seat, event.time) {
            return;
        }
        // A meter begins at a tick, which may be long before its first event.
        let made = self.maker.made_for(event.time);
        let on_time = |&other: &i64| other == made || self.maker.starts_on(other, event.time);
        let at = self.made.iter().rposition(on_time).unwrap_or(self.made.len());
        if at == self.made.len() {
            self.made.push(made);
        }
        *seat = Seat {
            made: at,
            ..Seat::default()
        };
    }
}

/// Returns whether a key is idle at `time` and remains so: if time may go back, only a key without an admission is.
#[inline]
fn is_idle(maker: &Maker, seat: &Seat, time: i64) -> bool {
    seat.admitted == NEVER || !maker.may_go_back() && maker.is_idle_after(time.abs_diff(seat.admitted))
}

#[cfg(test)]
mod tests;
