//! A simulation of one queue in several runtimes and threads: random arrivals, leaves, refunds and tries, from any of them. No waiter is
//! ever served later than its instant. One of the waiting threads looks at the head soon after it is due.

use crate::clock::now;
use crate::rate_limiter::RateLimiter;
use crate::shared::{Caller, Look, SharedQueue};
use crate::source::Source;
use crate::timers::{Id, driver};
use crate::wait_queue::{QueueTicket, Sleeper, WaiterState};
use crate::waiting::Waiting;
use proptest::test_runner::{Config, TestRng, TestRunner};
use ratelimit_meter::{Exponential, GCRA, Quota};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

const RUNTIMES: Id = 3;

/// A caller that waits: a task of a runtime, or a thread until it wakes.
struct Member {
    ticket: QueueTicket,
    n: u64,
    runtime: Option<Id>,
    until: Option<Instant>,
    flag: Arc<driver::WakeFlag>,
    waker: Waker,
}

impl Member {
    fn caller(&self) -> Caller<'_> {
        match self.runtime {
            Some(_) => Caller::Task(&self.waker),
            None => Caller::Thread(&self.waker),
        }
    }

    /// Returns whether the task has been woken, or the thread's sleep is over.
    fn is_awake(&self) -> bool {
        self.flag.is_set() || self.until.is_some_and(|until| until <= now())
    }
}

struct Simulation<S: Source> {
    queue: Arc<SharedQueue<S>>,
    members: Vec<Member>,
    random: TestRng,
    largest: u64,
    served: u64,
}

impl<S: Source> Simulation<S> {
    fn new(limiter: &Waiting<S>, largest: u64, random: TestRng) -> Self {
        let queue = Arc::clone(&limiter.queue);
        let (members, served) = (Vec::new(), 0);
        Self {
            queue,
            members,
            random,
            largest,
            served,
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        use proptest::prelude::RngCore;
        self.random.next_u64() % n
    }

    fn cells(&mut self) -> u64 {
        // Mostly few cells, sometimes as many as possible.
        let largest = if self.below(4) == 0 { self.largest } else { 3 };
        1 + self.below(largest)
    }

    fn any_runtime(&mut self) -> Option<Id> {
        Id::try_from(self.below(u64::from(RUNTIMES) + 1))
            .ok()
            .filter(|id| *id < RUNTIMES)
    }

    fn act(&mut self) {
        let context = self.any_runtime();
        driver::enter(context);
        match self.below(8) {
            0..4 if self.members.len() < 30 => {
                let n = self.cells();
                self.join(context, n);
            }
            0..6 if !self.members.is_empty() => {
                let index = usize::try_from(self.below(self.members.len() as u64)).unwrap();
                let member = self.members.swap_remove(index);
                self.queue.leave(member.ticket, member.n);
            }
            6 => {
                let n = self.cells();
                if self.queue.take(n).is_ok() && self.below(2) == 0 {
                    self.queue.give_back(n);
                }
            }
            _ if !self.members.is_empty() => {
                // A task moves to another runtime, or looks without having been woken.
                let index = usize::try_from(self.below(self.members.len() as u64)).unwrap();
                let runtime = self.members[index].runtime;
                self.members[index].runtime = runtime.and(context).or(runtime);
                self.look(index);
            }
            _ => {}
        }
    }

    fn join(&mut self, runtime: Option<Id>, n: u64) {
        let flag = Arc::<driver::WakeFlag>::default();
        let waker = Waker::from(Arc::clone(&flag));
        let caller = if runtime.is_some() {
            Caller::Task(&waker)
        } else {
            Caller::Thread(&waker)
        };
        let Ok(Some(ticket)) = self.queue.join::<S::Never>(n, caller, |_| Ok(())) else {
            return;
        };
        // A thread that has joined looks once before it sleeps.
        let until = runtime.is_none().then(now);
        self.members.push(Member {
            ticket,
            n,
            runtime,
            until,
            flag,
            waker,
        });
    }

    /// Polls a member once, and removes it if it has been served.
    fn look(&mut self, index: usize) {
        let member = &mut self.members[index];
        driver::enter(member.runtime);
        member.flag = Arc::default();
        member.waker = Waker::from(Arc::clone(&member.flag));
        match self.queue.poll(member.ticket, member.n, member.caller()) {
            Look::Waits(until) => self.members[index].until = until,
            Look::Served => {
                self.members.swap_remove(index);
                self.served += 1;
            }
            Look::Over(_) => panic!("the simulation ends within years"),
        }
    }

    /// Drives the runtimes, in any order, and polls all members that are awake, until nothing more happens at this time.
    fn settle(&mut self) {
        loop {
            let first = self.any_runtime().unwrap_or(0);
            (0..RUNTIMES).for_each(|nth| driver::turn((first + nth) % RUNTIMES));
            let Some(awake) = self.members.iter().position(Member::is_awake) else {
                return;
            };
            self.look(awake);
        }
    }

    fn assert_in_time(&mut self) {
        driver::enter(None);
        for member in &self.members {
            assert!(self.queue.is_waiting(member.ticket), "one was served and not woken");
        }
        // Each head must wake in time.
        let Some((sleeper, due)) = self.queue.head() else {
            return assert!(self.members.is_empty());
        };
        let wakes = match sleeper {
            Sleeper::Task(runtime) => driver::next_timer_of(runtime),
            Sleeper::Thread(until) => until,
        };
        assert!(due > now(), "the head is due and sleeps");
        assert!(
            wakes.is_some_and(|wakes| wakes <= due),
            "{sleeper:?} wakes at {wakes:?}, due at {due:?}"
        );
        // Behind it, one of the threads must look in time.
        let mut threads = self.members.iter().filter(|member| member.runtime.is_none()).peekable();
        let looks_by = due + Waiting::<S>::DEFAULT_CATCH_UP / 2;
        assert!(
            threads.peek().is_none() || threads.any(|thread| thread.until.is_some_and(|until| until <= looks_by)),
            "no thread looks at a head due at {due:?}"
        );
    }

    /// Lets time pass until all threads are served, without driving a runtime. Returns the times at which they were, and the number of their looks.
    fn serve_threads(&mut self, start: Instant) -> (Vec<Duration>, u32) {
        let (mut served, mut looks) = (Vec::new(), 0);
        let next = |thread: &Member| {
            if thread.flag.is_set() {
                Some(now())
            } else {
                thread.until
            }
        };
        let is_thread = |member: &&Member| member.runtime.is_none();
        while let Some(thread) = self.members.iter().filter(is_thread).min_by_key(|thread| next(thread)) {
            driver::set_time(next(thread).unwrap().max(now()) - start);
            let is_awake = |member: &Member| is_thread(&member) && member.is_awake();
            while let Some(thread) = self.members.iter().position(is_awake) {
                let before = self.served;
                self.look(thread);
                looks += 1;
                if self.served > before {
                    served.push(now() - start);
                }
            }
        }
        (served, looks)
    }

    fn run(mut self, steps: u32) -> u64 {
        let mut passed = Duration::ZERO;
        let start = now();
        for _ in 0..steps {
            for _ in 0..=self.below(4) {
                self.act();
            }
            self.settle();
            self.assert_in_time();
            let next = driver::next_timer()
                .into_iter()
                .chain(self.members.iter().filter_map(|member| member.until))
                .min();
            let step = Duration::from_nanos(self.below(5_000_000));
            let until_next = next.map_or(step, |next| next - start - passed);
            passed += step.min(until_next);
            driver::set_time(passed);
            self.settle();
            self.assert_in_time();
        }
        self.served
    }
}

/// Runs one simulation with a random seed and 20,000 steps, or `RATELIMIT_METER_SIMULATION_STEPS` steps.
fn simulate<S: Source>(largest: u64, limiter: impl Fn() -> Waiting<S>) {
    let steps = std::env::var("RATELIMIT_METER_SIMULATION_STEPS").map_or(20_000, |steps| steps.parse().unwrap());
    driver::set_time(Duration::ZERO);
    driver::enter(None);
    let limiter = limiter();
    let mut runner = TestRunner::new(Config::default());
    let served = Simulation::new(&limiter, largest, runner.new_rng()).run(steps);
    assert!(served > u64::from(steps / 10), "{served} of {steps}");
}

#[test]
fn bucket_serves_every_place_at_its_instant() {
    simulate(200, || {
        RateLimiter::builder()
            .max(100)
            .refill(3)
            .interval(Duration::from_millis(2))
            .build()
    });
}

#[test]
fn unfair_bucket_serves_every_place_at_its_instant() {
    simulate(200, || {
        RateLimiter::builder()
            .max(100)
            .refill(25)
            .interval(Duration::from_millis(2))
            .fair(false)
            .build()
    });
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

#[test]
fn meter_serves_every_place_at_its_instant() {
    simulate(100, || {
        Waiting::new(GCRA::from_quota(quota("7000/3s burst 100")).unwrap())
    });
}

#[test]
fn ticking_meter_serves_every_place_at_its_instant() {
    simulate(100, || {
        Waiting::new(GCRA::from_quota(quota("200/100ms every 3ms")).unwrap())
    });
}

#[test]
fn average_serves_every_place_at_its_instant() {
    simulate(40, || {
        Waiting::new(Exponential::from_quota(quota("100/100ms")).unwrap())
    });
}

/// A runtime that is not driven holds up no thread: the tasks ahead are charged in time, although no timer of theirs goes off.
#[test]
fn threads_behind_idle_tasks_are_served_in_time() {
    let at = Duration::from_millis;
    driver::set_time(Duration::ZERO);
    let start = now();
    let limiter = Waiting::new(GCRA::from_quota(quota("100/s burst 1")).unwrap());
    limiter.try_acquire(1).unwrap();
    let mut simulation = Simulation::new(&limiter, 1, TestRunner::new(Config::default()).new_rng());
    for (runtime, waiters) in [(Some(0), 50), (None, 2), (Some(1), 50), (None, 1)] {
        driver::enter(runtime);
        (0..waiters).for_each(|_| simulation.join(runtime, 1));
    }

    let (served, looks) = simulation.serve_threads(start);
    assert_eq!(served, [at(510), at(520), at(1030)]);
    assert!(looks < 120, "{looks} looks");
}

/// A thread that sleeps until the former instant of a task ahead would charge that task too late.
#[test]
fn refund_wakes_a_thread_behind_an_idle_task() {
    driver::set_time(Duration::ZERO);
    let start = now();
    let limiter = Waiting::new(GCRA::from_quota(quota("10/s burst 2")).unwrap());
    limiter.try_acquire(2).unwrap();
    let mut simulation = Simulation::new(&limiter, 2, TestRunner::new(Config::default()).new_rng());
    for (runtime, n) in [(Some(0), 2), (None, 1)] {
        driver::enter(runtime);
        simulation.join(runtime, n);
    }
    simulation.look(1);
    limiter.refund(1);
    assert_eq!(simulation.serve_threads(start).0, [Duration::from_millis(200)]);
}

/// Access to a queue as it is, which serves and wakes no waiter.
impl<S: Source> SharedQueue<S> {
    fn head(&self) -> Option<(Sleeper, Instant)> {
        self.with_queue(|queue| {
            let tokio = |at| self.shift.to_tokio(at);
            let serve_at = tokio(queue.serve_at()?);
            let sleeper = match queue.head_mut()?.sleeper {
                Sleeper::Thread(until) => Sleeper::Thread(until.map(tokio)),
                task => task,
            };
            Some((sleeper, serve_at))
        })
    }

    fn is_waiting(&self, ticket: QueueTicket) -> bool {
        self.with_queue(|queue| queue.state(ticket) == WaiterState::Waits)
    }
}
