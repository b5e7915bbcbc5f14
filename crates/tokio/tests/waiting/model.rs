//! Any sequence of acquires, cancels, forgotten futures, tries and pauses, against a queue that counts every millisecond.

use crate::support::{ByHand, ms};
use proptest::prelude::*;
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::{AcquireError, RateLimiter, Source, Waiting};
use std::num::NonZeroU32;
use tokio::time::{Instant, sleep};

#[derive(Debug, Clone, Copy)]
enum Step {
    Acquire(u32),
    Try(u32),
    /// Drops one of those that are not over, whether it has been served or not.
    Cancel(usize),
    /// Never polls or drops one again.
    Forget(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..30_u32).prop_map(Step::Acquire),
        2 => (0..12_u32).prop_map(Step::Try),
        2 => (0..32_usize).prop_map(Step::Cancel),
        1 => (0..32_usize).prop_map(Step::Forget),
        4 => (0..40_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// A limit, counted in milliseconds since it was made.
trait TickedLimit {
    /// Adds the cells that come at `now`, which is the next millisecond.
    fn tick(&mut self, now: u64);
    /// Returns the missing cells that a waiter gets at `now`.
    fn part(&mut self, missing: u32, now: u64) -> u32;
    /// Takes cells for a caller that does not wait.
    fn take(&mut self, n: u32, now: u64) -> bool;
    /// Takes cells back.
    fn give_back(&mut self, n: u32, now: u64);
    /// The queue is empty.
    fn settle(&mut self) {}
}

/// A bucket, as `leaky-bucket` has it.
#[derive(Debug, Clone)]
struct TickedBucket {
    max: u32,
    refill: u32,
    interval: u64,
    level: u32,
}

impl TickedLimit for TickedBucket {
    fn tick(&mut self, now: u64) {
        if now % self.interval == 0 {
            self.level += self.refill;
        }
    }

    fn part(&mut self, missing: u32, _: u64) -> u32 {
        if self.level < missing.min(self.max.max(self.refill)) {
            return 0;
        }
        let part = self.level.min(missing);
        self.level -= part;
        part
    }

    fn take(&mut self, n: u32, _: u64) -> bool {
        let left = self.level.checked_sub(n);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    fn give_back(&mut self, n: u32, _: u64) {
        self.level += n;
    }

    fn settle(&mut self) {
        self.level = self.level.min(self.max);
    }
}

/// A bucket that drains all the time: the millisecond by which it is empty.
#[derive(Debug, Clone)]
struct Drain {
    burst: u32,
    interval: u64,
    empty: u64,
}

impl Drain {
    fn cost(&self, n: u32) -> u64 {
        u64::from(n) * self.interval
    }
}

impl TickedLimit for Drain {
    fn tick(&mut self, _: u64) {}

    fn part(&mut self, missing: u32, now: u64) -> u32 {
        if self.take(missing, now) { missing } else { 0 }
    }

    fn take(&mut self, n: u32, now: u64) -> bool {
        let empty = self.empty.max(now) + self.cost(n);
        let fits = empty - now <= self.cost(self.burst);
        self.empty = if fits { empty } else { self.empty };
        fits
    }

    fn give_back(&mut self, n: u32, now: u64) {
        let less = self.empty.saturating_sub(self.cost(n)).max(now);
        self.empty = self.empty.min(less);
    }
}

/// The queue: each waiter's missing cells, first come first.
#[derive(Clone)]
struct QueueModel<L> {
    limit: L,
    fair: bool,
    now: u64,
    line: Vec<(usize, u32)>,
    /// The waiters that the queue has served.
    served: Vec<usize>,
}

impl<L: TickedLimit + Clone> QueueModel<L> {
    fn serve(&mut self) {
        while let Some((id, missing)) = self.line.first_mut() {
            let part = self.limit.part(*missing, self.now);
            *missing -= part;
            if *missing == 0 {
                self.served.push(*id);
                self.line.remove(0);
            } else if part == 0 {
                return;
            }
        }
        self.limit.settle();
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            self.limit.tick(self.now);
            self.serve();
        }
    }

    fn take(&mut self, n: u32) -> bool {
        n == 0 || ((!self.fair || self.line.is_empty()) && self.limit.take(n, self.now))
    }

    /// Returns whether it is over at once.
    fn acquire(&mut self, id: usize, n: u32) -> bool {
        let taken = self.take(n);
        if !taken {
            self.line.push((id, n));
            self.serve();
        }
        taken
    }

    fn cancel(&mut self, id: usize, n: u32) {
        let place = self.line.iter().position(|place| place.0 == id);
        let missing = place.map_or(0, |place| self.line.remove(place).1);
        self.limit.give_back(n - missing, self.now);
        self.serve();
    }

    /// The millisecond at which `n` cells at the end of the queue are served, if no waiter leaves.
    fn earliest(&self, n: u32) -> u64 {
        const NEWCOMER: usize = usize::MAX;
        let mut ahead = self.clone();
        let mut over = ahead.acquire(NEWCOMER, n);
        while !over {
            over = ahead.served.contains(&NEWCOMER);
            ahead.pass(u64::from(!over));
        }
        ahead.now
    }
}

/// Runs the steps through both.
fn run<S, L>(
    make: impl FnOnce() -> Waiting<S>,
    (limit, fair): (L, bool),
    largest: u32,
    steps: &[Step],
) -> Result<(), TestCaseError>
where
    S: Source,
    L: TickedLimit + Clone,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut model = QueueModel {
        limit,
        fair,
        now: 0,
        line: Vec::new(),
        served: Vec::new(),
    };
    runtime.block_on(async {
        let limiter = make();
        let start = Instant::now();
        let mut alive: Vec<(usize, u32, ByHand<'_, S::Outcome>)> = Vec::new();
        for (turn, &step) in steps.iter().enumerate() {
            match step {
                Step::Acquire(n) => {
                    let n = n.min(largest);
                    let mut acquire = ByHand::new(limiter.acquire(n));
                    let over = acquire.poll().is_ready();
                    prop_assert_eq!(over, model.acquire(turn, n), "acquire({}) at {} ms", n, model.now);
                    if !over {
                        alive.push((turn, n, acquire));
                    }
                }
                Step::Try(n) => match limiter.try_acquire(n) {
                    Ok(()) => prop_assert!(model.take(n), "try_acquire({}) at {} ms", n, model.now),
                    Err(AcquireError::NotYet(denied)) => {
                        let earliest = denied.wait_time_from(start.into_std());
                        if model.fair {
                            prop_assert_eq!(
                                earliest,
                                ms(model.earliest(n)),
                                "try_acquire({}) at {} ms",
                                n,
                                model.now
                            );
                        }
                        prop_assert!(!model.take(n), "try_acquire({}) at {} ms", n, model.now);
                    }
                    Err(_) => prop_assert!(n > largest.min(10), "{n} are had at once"),
                },
                Step::Cancel(which) | Step::Forget(which) if !alive.is_empty() => {
                    let (id, n, acquire) = alive.swap_remove(which % alive.len());
                    if matches!(step, Step::Cancel(_)) {
                        drop(acquire);
                        model.cancel(id, n);
                    } else {
                        std::mem::forget(acquire);
                    }
                }
                Step::Cancel(_) | Step::Forget(_) => {}
                Step::Wait(time) => {
                    sleep(ms(time)).await;
                    model.pass(time);
                }
            }
            let mut still = Vec::new();
            for (id, n, mut acquire) in alive {
                let served = model.served.contains(&id);
                if served && turn % 2 == 1 {
                    // Some waiters have not yet noticed that they are served, when the next step comes.
                    still.push((id, n, acquire));
                    continue;
                }
                let woken = acquire.flag.take();
                prop_assert!(woken || !served, "{} of {} was not woken at {} ms", id, n, model.now);
                let over = acquire.poll().is_ready();
                prop_assert_eq!(over, served, "{} of {} at {} ms", id, n, model.now);
                if !over {
                    still.push((id, n, acquire));
                }
            }
            alive = still;
            prop_assert_eq!(limiter.waiting(), model.line.len());
        }
        Ok(())
    })
}

proptest! {
    #[test]
    fn bucket_serves_like_a_tick_counter(
        steps in steps(), max in 10..20_u32, initial in 0..10_u32, refill in 1..25_u32, interval in 1..30_u64, fair: bool,
    ) {
        let build = || {
            let mut builder = RateLimiter::builder();
            builder.max(max).initial(initial).refill(refill).interval(ms(interval)).fair(fair).build()
        };
        let limit = TickedBucket { max, refill, interval, level: initial };
        run(build, (limit, fair), u32::MAX, &steps)?;
    }

    #[test]
    fn meter_serves_like_a_millisecond_counter(
        steps in steps(), burst in 10..20_u32, interval in 1..30_u64, fair: bool,
    ) {
        let cells = NonZeroU32::new(burst).unwrap();
        let quota = Quota::new(cells, ms(interval) * burst).unwrap();
        let meter = GCRA::from_quota(quota).unwrap();
        let make = || if fair { Waiting::new(meter) } else { Waiting::unfair(meter) };
        let limit = Drain { burst, interval, empty: 0 };
        run(make, (limit, fair), burst, &steps)?;
    }
}
