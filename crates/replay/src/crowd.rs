//! The meters of all keys of one limit, in 24 bytes a key.
//!
//! Keys are numbers without gaps, so the state of a key has its place in a vector. One meter decides for all keys ([`Lend`]).
//!
//! A meter measures time exactly for 20 years. When the traffic is ten years past the newest meter, another one joins, and a key moves to it once the
//! key is idle. An idle meter and a new meter make the same decisions. So each key is decided as by a meter of its own, for any span of time. The tool
//! fails only for traffic that keeps a key busy for ten years without a break.
//!
//! This holds only if time never goes back. Otherwise a key that moved would have forgotten cells that an earlier time would find still owed. In that
//! case each key keeps its first meter, which measures at least nine years before the key's first request and nine years after it.

use std::hint::black_box;

use crate::event::Event;
use crate::lending::Lend;
use crate::limit::Single;
use crate::lineage::Maker;
use crate::verdict::{EventVerdict, Undecided};

/// The time of the latest admission of a key without one.
const NEVER: i64 = i64::MIN;

/// The meters of all keys of one limit.
pub(crate) struct Crowd {
    maker: Maker,
    like: Single,
    /// Oldest first.
    meters: Vec<Dated>,
    /// By key.
    seats: Vec<Seat>,
}

/// A meter, and the time of the traffic when it was made. Its clock stands at this time.
struct Dated {
    meter: Box<dyn Lend>,
    made: i64,
}

/// The state of a key.
struct Seat {
    word: u64,
    /// The time of its latest admission.
    admitted: i64,
    /// The index of the meter that the word is of.
    meter: usize,
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            word: 0,
            admitted: NEVER,
            meter: 0,
        }
    }
}

impl Crowd {
    /// Creates the meters, one like `like` for each key.
    pub(crate) fn new(maker: Maker, like: Single) -> Self {
        Self {
            maker,
            like,
            meters: Vec::new(),
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
        let meter = self.meters.get(self.seats[key].meter);
        if !meter.is_some_and(|dated| self.maker.starts_on(dated.made, event.time)) {
            self.move_on(event);
        }
        let seat = &mut self.seats[key];
        // An idle meter and a new meter make the same decisions.
        if is_idle(&self.maker, seat, event.time) {
            seat.word = 0;
        }
        let dated = &self.meters[seat.meter];
        let at = self.maker.at(dated.made, event.time).ok_or(Undecided::TooLong)?;
        let verdict = EventVerdict::of(event.cost, at, |n| dated.meter.check_n_at(&mut seat.word, n, at));
        if verdict.is_admitted() {
            seat.admitted = event.time;
        }
        Ok(verdict)
    }

    /// Moves the key of an event to a meter of its time, if the key is idle there as well as here.
    #[cold]
    fn move_on(&mut self, event: &Event) {
        let seat = &mut self.seats[event.key.index()];
        if !is_idle(&self.maker, seat, event.time) {
            return;
        }
        // A meter begins at a tick, which may be long before its first event.
        let made = self.maker.made_for(event.time);
        let on_time = |dated: &Dated| dated.made == made || self.maker.starts_on(dated.made, event.time);
        let found = self.meters.iter().rposition(on_time);
        let at = found.unwrap_or_else(|| {
            let meter = self.like.lend(self.maker.clock(), self.maker.now());
            self.meters.push(Dated { meter, made });
            self.meters.len() - 1
        });
        *seat = Seat {
            meter: at,
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
