//! Every interleaving of two requests to three meters: all or nothing.

use super::asked::{LaneAsk, take_all};
use super::lane::{Lane, Rules};
use crate::error::InvalidLimit;
use crate::meters::{Denied, Detail, HashedKey, Meters, Standing, Ticket};
use crate::policy::Policy;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{Stats, WhenFull};
use ratelimit_meter::time::Moment;
use ratelimit_meter::{GCRA, Quota};
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex};

/// The most steps of a request: it looks at two of three meters, takes from all, and gives back to two.
const STEPS: u32 = 7;

thread_local! {
    /// True if this thread's request is the second.
    static IS_SECOND: Cell<bool> = const { Cell::new(false) };
}

/// Lets one request take a step at a time, in the order of a schedule: a bit for each step, the number of its request.
#[derive(Debug, Default)]
struct Turns {
    state: Mutex<TurnState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TurnState {
    schedule: u32,
    is_done: [bool; 2],
}

impl Turns {
    fn begin(&self, schedule: u32) {
        let is_done = [false; 2];
        *self.state.lock().unwrap() = TurnState { schedule, is_done };
    }

    fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let me = IS_SECOND.get();
        let state = self.state.lock().unwrap();
        let mut state = self
            .changed
            .wait_while(state, |state| {
                state.schedule & 1 != u32::from(me) && !state.is_done[usize::from(!me)]
            })
            .unwrap();
        state.schedule >>= 1;
        let result = step();
        self.changed.notify_all();
        result
    }

    fn end(&self) {
        self.state.lock().unwrap().is_done[usize::from(IS_SECOND.get())] = true;
        self.changed.notify_all();
    }
}

/// A meter whose steps wait for their turn.
#[derive(Debug)]
struct Stepped {
    meter: Arc<dyn Meters>,
    turns: Arc<Turns>,
}

impl Meters for Stepped {
    fn now(&self) -> Moment {
        self.meter.now()
    }

    fn now_exactly(&self, ns: u64) -> Option<Moment> {
        self.meter.now_exactly(ns)
    }

    fn counts_denials(&self) -> bool {
        self.meter.counts_denials()
    }

    fn check_now(&self, ticket: Ticket, n: u32) -> Option<Denied> {
        self.turns.step(|| self.meter.check_now(ticket, n))
    }

    fn take_now(&self, ticket: Ticket, n: u32, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        self.turns.step(|| self.meter.take_now(ticket, n, detail, standing))
    }

    fn peek(&self, ticket: Ticket, n: u32, at: Moment) -> Result<(), Denied> {
        self.turns.step(|| self.meter.peek(ticket, n, at))
    }

    fn take(&self, ticket: Ticket, n: u32, at: Moment, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        self.turns.step(|| self.meter.take(ticket, n, at, detail, standing))
    }

    fn standing(&self, ticket: Ticket, at: Moment, detail: Detail) -> Standing {
        self.turns.step(|| self.meter.standing(ticket, at, detail))
    }

    fn charge(&self, ticket: Ticket, n: u64) {
        self.turns.step(|| self.meter.charge(ticket, n));
    }

    fn refund(&self, ticket: Ticket, n: u64) {
        self.turns.step(|| self.meter.refund(ticket, n));
    }

    fn give_back(&self, ticket: Ticket, n: u32, taken: Moment) {
        self.turns.step(|| self.meter.give_back(ticket, n, taken));
    }

    fn reset(&self, ticket: Ticket) {
        self.meter.reset(ticket);
    }

    fn stats(&self) -> Option<Stats> {
        None
    }

    fn with_tier(&self, quota: Quota) -> Result<Arc<dyn Meters>, InvalidLimit> {
        self.meter.with_tier(quota)
    }

    fn with_policy(&self, when_full: WhenFull) -> Result<Arc<dyn Meters>, InvalidLimit> {
        self.meter.with_policy(when_full)
    }

    #[cfg(feature = "queue")]
    fn queue(&self) -> Box<dyn crate::meters::Queue> {
        self.meter.queue()
    }
}

const TICKET: Ticket = Ticket {
    key: HashedKey(0),
    tier: 0,
};

/// Returns the orders of the steps of two requests, as the bits of a number. A request that ends earlier leaves its remaining steps out.
fn schedules() -> impl Iterator<Item = u32> {
    (0..1 << (2 * STEPS)).filter(|schedule: &u32| schedule.count_ones() == STEPS)
}

/// Runs two requests of one cell each through all schedules, over meters of these bursts. Returns in how many schedules each number of requests was
/// admitted.
fn outcomes(bursts: [u32; 3], orders: [[usize; 3]; 2]) -> [u32; 3] {
    let turns = Arc::new(Turns::default());
    let (clock, rules) = (ManualClock::new(), Rules::default());
    let lanes = bursts.map(|burst| {
        let quota: Quota = format!("1/h burst {burst}").parse().unwrap();
        let meter = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        let (meter, turns) = (Arc::new(meter), Arc::clone(&turns));
        let meters = Arc::new(Stepped { meter, turns });
        let policies = vec![Policy::new("model", "default", quota)];
        Arc::new(Lane { meters, policies })
    });
    let request = |is_second: bool| {
        IS_SECOND.set(is_second);
        let mut asks = orders[usize::from(is_second)].map(|lane| LaneAsk::new(&lanes[lane], &rules, TICKET, 1));
        let decided = take_all(&mut asks, lanes[0].meters.now(), Detail::Nothing);
        turns.end();
        u32::from(decided.is_ok())
    };
    let mut outcomes = [0; 3];
    for schedule in schedules() {
        turns.begin(schedule);
        let admitted = std::thread::scope(|scope| {
            let other = scope.spawn(|| request(true));
            request(false) + other.join().unwrap()
        });
        outcomes[usize::try_from(admitted).unwrap()] += 1;
        // After both requests, each meter has counted the admitted cells, and nothing else.
        turns.begin(0);
        turns.end();
        IS_SECOND.set(true);
        for (lane, burst) in lanes.iter().zip(bursts) {
            let standing = lane.meters.standing(TICKET, lanes[0].meters.now(), Detail::Next);
            assert_eq!(standing.remaining, u64::from(burst - admitted), "schedule {schedule:b}");
            lane.meters.reset(TICKET);
        }
    }
    outcomes
}

#[test]
fn last_cells_go_to_exactly_one_request() {
    let schedules = u32::try_from(schedules().count()).unwrap();
    let same = [[0, 1, 2]; 2];
    assert_eq!(outcomes([1, 1, 1], same), [0, schedules, 0]);
    assert_eq!(outcomes([2, 1, 2], same), [0, schedules, 0]);
    assert_eq!(outcomes([2, 2, 1], same), [0, schedules, 0]);
    assert_eq!(outcomes([2, 2, 2], same), [0, 0, schedules]);
}

/// Two layers may share limits in opposite order. Then both requests may lose the last cells, each to the other, but neither costs a cell.
#[test]
fn opposite_orders_admit_at_most_one_request() {
    let [none, one, both] = outcomes([1, 1, 1], [[0, 1, 2], [2, 1, 0]]);
    assert!(none > 0 && one > none && both == 0, "{none} {one} {both}");
}
