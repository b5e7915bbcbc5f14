//! The part of a key's past that can still determine the least rate.
//!
//! Let a run be the requests from time t to time u. A burst B and a rate R deny nothing if and only if each run asks for at most B + R * (u - t). So
//! the least rate is the slope of the steepest line between two points: (t, units asked before t) and a later (u, units asked up to u, less B). For
//! each later point, lay a line against the earlier points from below right: the steepest line goes through the touched point.
//!
//! Two facts bound the work. A line can only touch corners of the lower convex hull of the points. And if a line is steeper than the steepest so far,
//! it touches no corner to the left of the corner that the steepest touches. So corners are discarded on either side, each once: a request costs
//! O(1), amortised.
//!
//! The rate is the same for all keys, and only rises. A key below the rate has one point or two. The remaining points of any other key lie within B
//! of the steepest line so far. Each edge is steeper than the edge before it.
//!
//! Measured corners a key, in days of access logs: one to three on average by client, and at most 15 with all requests in one key. A log of tokens
//! has 35 against a burst of billions. Three million requests at random times have 40 against a burst of a million. Only traffic that accelerates
//! continuously by a tiny amount has many. If each of three million gaps is 3 ns shorter than the last, a burst of 10 has 8,000 corners and a burst
//! of 1,000 has 82,000. Against a burst of a million, nearly all points are corners, of 16 bytes each. A request takes 10 to 50 ns.

use std::cmp::Ordering;
use std::collections::VecDeque;

/// Units per nanoseconds, compared as rates: 1/2 equals 2/4.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    pub(super) units: u64,
    /// Never zero.
    pub(super) ns: u64,
}

impl Slope {
    pub(super) const ZERO: Self = Self { units: 0, ns: 1 };

    /// Returns the fewest cells in `period_ns` that are no slower.
    pub(super) fn cells_in(self, period_ns: u64) -> u128 {
        (u128::from(self.units) * u128::from(period_ns)).div_ceil(u128::from(self.ns))
    }
}

impl Ord for Slope {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |units: u64, ns: u64| u128::from(units) * u128::from(ns);
        product(self.units, other.ns).cmp(&product(other.units, self.ns))
    }
}

impl PartialOrd for Slope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slope {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Slope {}

/// Units asked before a time.
#[derive(Debug, Clone, Copy)]
struct Point {
    time: i64,
    before: u64,
}

impl Point {
    fn slope_to(self, later: Self) -> Slope {
        Slope {
            units: later.before - self.before,
            ns: later.time.abs_diff(self.time),
        }
    }
}

/// The corners that a line steeper than the steepest so far can touch.
#[derive(Debug)]
pub(super) struct Hull {
    /// The first corner, outside of the queue: most keys have no other most of the time, and so need no allocation.
    first: Point,
    rest: Corners,
    asked: u64,
}

/// A queue of corners, which takes eight bytes until it has one: there is a hull for each key.
#[derive(Debug, Default)]
#[allow(
    clippy::box_collection,
    reason = "a queue without elements is four words, and most keys have no queue"
)]
struct Corners(Option<Box<VecDeque<Point>>>);

impl Corners {
    fn queue(&mut self) -> &mut VecDeque<Point> {
        self.0.get_or_insert_default()
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    fn get(&self, at: usize) -> Option<Point> {
        self.0.as_ref()?.get(at).copied()
    }

    fn front(&self) -> Option<Point> {
        self.get(0)
    }

    fn back(&self) -> Option<Point> {
        self.0.as_ref()?.back().copied()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The reason why no rate is enough, or none can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRate {
    /// The time is before that of the latest request.
    BackInTime,
    /// Units asked at one instant, more than the burst.
    AtOnce(u64),
    /// More than 2^64 units without an idle time in between: too fast for any meter, in any span that a meter can measure.
    TooFast,
}

impl Hull {
    /// Creates the hull of a key whose first request comes at `time`.
    pub(super) fn new(time: i64) -> Self {
        Self {
            first: Point { time, before: 0 },
            rest: Corners::default(),
            asked: 0,
        }
    }

    /// Takes a request for `units`, and raises `steepest` to the rate that the request needs.
    pub(super) fn push(&mut self, time: i64, units: u64, burst: u64, steepest: &mut Slope) -> Result<(), NoRate> {
        let last = self.last();
        if time < last.time {
            return Err(NoRate::BackInTime);
        }
        if time > last.time {
            self.add(time, *steepest);
        }
        let at_once = self.latest().1.saturating_add(units);
        if at_once > burst {
            // No rate is enough, so nothing before this instant matters any more.
            *self = Self {
                asked: at_once,
                ..Self::new(time)
            };
            return Err(NoRate::AtOnce(at_once));
        }
        self.ask(units)?;
        self.touch(time, burst, steepest);
        Ok(())
    }

    /// Returns the latest instant, and the units asked at it.
    pub(super) fn latest(&self) -> (i64, u64) {
        let last = self.last();
        (last.time, self.asked - last.before)
    }

    /// Returns the number of corners held.
    pub(super) fn corners(&self) -> usize {
        1 + self.rest.len()
    }

    fn last(&self) -> Point {
        self.rest.back().unwrap_or(self.first)
    }

    fn ask(&mut self, units: u64) -> Result<(), NoRate> {
        if self.asked.checked_add(units).is_none() {
            let base = self.first.before;
            self.asked -= base;
            self.first.before = 0;
            self.rest
                .0
                .iter_mut()
                .flat_map(|queue| queue.iter_mut())
                .for_each(|point| point.before -= base);
        }
        self.asked = self.asked.checked_add(units).ok_or(NoRate::TooFast)?;
        Ok(())
    }

    /// Adds the point of a later time, and discards the points that are no longer corners.
    fn add(&mut self, time: i64, steepest: Slope) {
        let new = Point {
            time,
            before: self.asked,
        };
        while let Some(last) = self.rest.back() {
            let earlier = self.rest.len().checked_sub(2).and_then(|at| self.rest.get(at));
            if earlier.unwrap_or(self.first).slope_to(last) < last.slope_to(new) {
                break;
            }
            self.rest.queue().pop_back();
        }
        self.narrow(steepest);
        if self.rest.is_empty() && self.first.slope_to(new) <= steepest {
            self.first = new;
        } else {
            self.rest.queue().push_back(new);
        }
    }

    /// Discards the corners left of an edge that is no steeper than `steepest`: no steeper line touches them.
    fn narrow(&mut self, steepest: Slope) {
        while let Some(next) = self.rest.front() {
            if self.first.slope_to(next) > steepest {
                break;
            }
            self.first = next;
            self.rest.queue().pop_front();
        }
    }

    /// Lays a line from the total asked, less the burst, against the corners.
    fn touch(&mut self, time: i64, burst: u64, steepest: &mut Slope) {
        // Another key may have raised the rate since.
        self.narrow(*steepest);
        let slope_from = |corner: Point| {
            let ns = time.abs_diff(corner.time);
            let units = (self.asked - corner.before).checked_sub(burst)?;
            (ns > 0).then_some(Slope { units, ns })
        };
        let Some(mut here) = slope_from(self.first).filter(|slope| slope > steepest) else {
            return;
        };
        while let Some(next) = self.rest.front() {
            match slope_from(next) {
                Some(slope) if slope >= here => here = slope,
                _ => break,
            }
            self.first = next;
            self.rest.queue().pop_front();
        }
        *steepest = here;
    }
}
