//! The local layer as a state machine: denials that are remembered, calls that are joined, cells drawn in blocks. No clock, no timer, no
//! store: the shells bring them.

use crate::error::StoreError;
use crate::known::Known;
use crate::lease::{Block, LeaseSettings, Usage};
use crate::limit::StoreLimit;
use crate::store::{Reply, Verb};
use crate::terms::{Decided, Terms};
use crate::time::{Micros, later};
use crate::verdict::Via;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Locks over the subjects, so that threads of different subjects rarely wait for each other.
const SHARDS: usize = 16;

/// The parts that are on, and how much they keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalSettings {
    /// The longest time for which a reply denies later calls; zero for never.
    pub(crate) remember: Duration,
    /// `true` if single cells of one subject share calls.
    pub(crate) join: bool,
    pub(crate) lease: Option<LeaseSettings>,
    /// The largest block.
    pub(crate) block: u32,
    /// The subjects that are kept.
    pub(crate) subjects: usize,
    /// The longest time of a call.
    pub(crate) deadline: Duration,
}

impl LocalSettings {
    /// Returns `true` if the task of a call should have ended it by now, so nothing drives its runtime: its thread is blocked, or between two uses of
    /// `block_on`.
    fn is_stuck(&self, sent: Instant, now: Instant) -> bool {
        now.saturating_duration_since(sent) > self.deadline.saturating_mul(2)
    }
}

/// The local layer of one meter; `W` waits for a joined call.
#[derive(Debug)]
pub(crate) struct LocalLayer<W> {
    settings: LocalSettings,
    hasher: RandomState,
    shards: Vec<Mutex<Shard<W>>>,
}

#[derive(Debug)]
struct Shard<W> {
    entries: HashTable<SubjectEntry<W>>,
    /// The last generation that was given out; new entries have it.
    generation: u64,
}

/// A subject in its locked shard.
struct LockedSubject<'a, W> {
    shard: MutexGuard<'a, Shard<W>>,
    subject: &'a str,
    hash: u64,
}

#[derive(Debug)]
struct SubjectEntry<W> {
    subject: Box<str>,
    hash: u64,
    known: Option<Known>,
    /// Renewed by each call after which more may conform than by `known`: replies to calls of an earlier generation are not remembered.
    generation: u64,
    /// The generation of the last reset, after which cells that earlier calls drew are lost.
    reset: u64,
    block: Option<Block>,
    usage: Usage,
    /// Single cells that wait for the call in flight.
    queue: VecDeque<W>,
    /// When the call in flight was sent; of several, the latest, for which the queue waits.
    in_flight: Option<Instant>,
    /// The last round trip.
    round_trip: Duration,
    touched: Instant,
}

/// The next thing to do about a batch.
#[derive(Debug)]
pub(crate) enum Arrival<W> {
    /// Cells of the block; the last reply, unless cells were given back since.
    Leased(Option<Known>),
    /// Denied by an earlier reply.
    Denied(Known),
    /// It waits for the call in flight.
    Queued,
    /// The caller sends the joined call of its subject, with this first waiter.
    Fly(W),
    /// The caller sends a call of its own.
    Alone(u64),
}

/// The end of a batch: a decision, or the reason why the store gave none.
pub(crate) type Served = Result<Decided, StoreError>;

/// The next joined call of a subject.
#[derive(Debug)]
pub(crate) struct Flight<W> {
    pub(crate) waiters: VecDeque<W>,
    pub(crate) verb: Verb,
    pub(crate) generation: u64,
    sent: Instant,
}

/// Waiters with the end of their cells.
pub(crate) type Deliveries<W> = Vec<(W, Served)>;

impl<W> LocalLayer<W> {
    pub(crate) fn new(settings: LocalSettings) -> Self {
        Self {
            settings,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect(),
        }
    }

    /// Locks the shard of a subject. One hash finds the shard and, by other bits, the entry.
    fn lock<'a>(&'a self, subject: &'a str) -> LockedSubject<'a, W> {
        let hash = self.hasher.hash_one(subject);
        let shard = usize::try_from((hash >> 32) % (SHARDS as u64)).unwrap_or(0);
        LockedSubject {
            shard: self.shards[shard].lock(),
            subject,
            hash,
        }
    }

    /// Decides a batch of at least one cell here, or returns the call to send; `waiter` makes a waiter for a joined call, or fails.
    pub(crate) fn arrive(
        &self,
        subject: &str,
        n: u32,
        now: Instant,
        waiter: impl FnOnce() -> Result<W, StoreError>,
    ) -> Result<Arrival<W>, StoreError> {
        let joins = n == 1 && self.settings.join;
        let mut locked = self.lock(subject);
        let generation = locked.shard.generation;
        let Some(entry) = locked.get() else {
            if !joins {
                return Ok(Arrival::Alone(generation));
            }
            let waiter = waiter()?;
            locked.get_or_insert(&self.settings, now).in_flight = Some(now);
            return Ok(Arrival::Fly(waiter));
        };
        entry.touched = now;
        if entry.use_block(n, now) {
            return Ok(Arrival::Leased(entry.known.clone()));
        }
        if let Some(known) = entry.denies(&self.settings, n, now) {
            return Ok(Arrival::Denied(known));
        }
        if !joins {
            return Ok(Arrival::Alone(entry.generation));
        }
        let waiter = waiter()?;
        if entry.in_flight.is_some_and(|sent| !self.settings.is_stuck(sent, now)) {
            entry.queue.push_back(waiter);
            return Ok(Arrival::Queued);
        }
        entry.in_flight = Some(now);
        Ok(Arrival::Fly(waiter))
    }

    /// Makes one call for all these waiters; `in_parts` after a lease for all of them was denied.
    pub(crate) fn depart(
        &self,
        terms: &Terms,
        subject: &str,
        waiters: VecDeque<W>,
        in_parts: bool,
        now: Instant,
    ) -> Flight<W> {
        let waiting = u32::try_from(waiters.len()).unwrap_or(u32::MAX);
        let mut locked = self.lock(subject);
        let entry = locked.get_or_insert(&self.settings, now);
        entry.in_flight = Some(now);
        let extra = match self.settings.lease {
            Some(lease) if !in_parts && waiting <= terms.max_batch => {
                let extra = entry.usage.draw(now, lease.keep, entry.round_trip);
                extra.min(self.settings.block.saturating_sub(waiting))
            }
            _ => 0,
        };
        let verb = match (extra, waiting) {
            (0, 1) => Verb::Check,
            (0, _) => Verb::UpTo,
            _ => Verb::Lease {
                at_most: waiting.saturating_add(extra),
            },
        };
        Flight {
            waiters,
            verb,
            generation: entry.generation,
            sent: now,
        }
    }

    /// Shares the reply to a joined call among its waiters and those that came meanwhile. Returns them with their decisions, and the waiters of the
    /// next call, with a flag if that call goes in parts. If there are none, the subject has no call in flight after that, unless a later one was sent.
    pub(crate) fn land(
        &self,
        limits: &Arc<[StoreLimit]>,
        subject: &str,
        flight: Flight<W>,
        result: Result<(Reply, Instant), StoreError>,
        now: Instant,
    ) -> (Deliveries<W>, Option<(VecDeque<W>, bool)>) {
        let mut deliveries = Vec::new();
        let mut locked = self.lock(subject);
        let entry = locked.get_or_insert(&self.settings, now);
        entry.touched = now;
        let mut waiters = flight.waiters;
        match result {
            Err(error) => deliveries.extend(waiters.drain(..).map(|waiter| (waiter, Err(error.clone())))),
            Ok((reply, sent)) => {
                let known = Known::of(limits, &reply, sent, now);
                entry.round_trip = now.saturating_duration_since(sent);
                entry.remember(known.clone(), flight.generation);
                let cells = u32::try_from(reply.cells.unwrap_or(0)).unwrap_or(u32::MAX);
                let leased = matches!(flight.verb, Verb::Lease { .. });
                if cells == 0 && leased && waiters.len() > 1 && known.until(1).is_zero() {
                    return (deliveries, Some((waiters, true)));
                }
                let mut left = cells;
                for waiter in waiters.drain(..) {
                    let served = if left > 0 {
                        left -= 1;
                        entry.usage.used(1);
                        Ok(Decided::Admitted(Some(known.clone()), Via::Store))
                    } else {
                        Ok(Decided::Denied(known.clone(), Via::Store))
                    };
                    deliveries.push((waiter, served));
                }
                let survives = flight.generation >= entry.reset;
                if let (1.., Some(lease), true) = (left, self.settings.lease, survives) {
                    let block = Block {
                        cells: left,
                        drawn: reply.clock,
                        expires: later(sent, lease.keep),
                    };
                    // Threads that block may draw at once.
                    let other = entry.take_block(now);
                    entry.block = Some(other.map_or(block, |other| block.joined(other)));
                }
            }
        }
        let is_latest = entry.in_flight == Some(flight.sent);
        while is_latest && !entry.queue.is_empty() {
            let served = if entry.use_block(1, now) {
                Ok(Decided::Admitted(entry.known.clone(), Via::Lease))
            } else if let Some(known) = entry.denies(&self.settings, 1, now) {
                Ok(Decided::Denied(known, Via::RememberedDenial))
            } else {
                return (deliveries, Some((std::mem::take(&mut entry.queue), false)));
            };
            deliveries.extend(entry.queue.pop_front().map(|waiter| (waiter, served)));
        }
        if is_latest {
            entry.in_flight = None;
        }
        // The use of a subject decides the size of its next block; otherwise there is nothing to keep.
        if self.settings.lease.is_none() && !entry.holds_something(&self.settings, now) {
            locked.remove();
        }
        (deliveries, None)
    }

    /// Ends the joined call of a subject that was sent at `sent`, if its reply can no longer come. Returns the callers that wait for the next call, unless
    /// a later one was sent.
    #[cfg(feature = "tokio")]
    pub(crate) fn crash(&self, subject: &str, sent: Instant) -> VecDeque<W> {
        let mut locked = self.lock(subject);
        let latest = locked.get().filter(|entry| entry.in_flight == Some(sent));
        latest.map_or_else(VecDeque::new, |entry| {
            entry.in_flight = None;
            std::mem::take(&mut entry.queue)
        })
    }

    /// Remembers the reply to a call that was not joined.
    pub(crate) fn learn(&self, subject: &str, known: &Known, generation: u64, now: Instant) {
        if self.settings.remember.is_zero() || known.until(1).is_zero() {
            return;
        }
        let mut locked = self.lock(subject);
        let entry = locked.get_or_insert(&self.settings, now);
        entry.remember(known.clone(), generation);
    }

    /// Returns the reply by which `n` cells of a subject do not conform at `now`, if one is remembered.
    #[cfg(feature = "tokio")]
    pub(crate) fn remembered(&self, subject: &str, n: u32, now: Instant) -> Option<Known> {
        let mut locked = self.lock(subject);
        let entry = locked.get()?;
        entry.touched = now;
        entry.denies(&self.settings, n, now)
    }

    /// Returns the generation of a subject, for [`learn`](Self::learn).
    pub(crate) fn generation(&self, subject: &str) -> u64 {
        let mut locked = self.lock(subject);
        let latest = locked.shard.generation;
        locked.get().map_or(latest, |entry| entry.generation)
    }

    /// Forgets the reply that denies a subject, because cells are given back; its block too if `all`.
    pub(crate) fn forget(&self, subject: &str, all: bool) {
        let mut locked = self.lock(subject);
        locked.shard.generation += 1;
        let generation = locked.shard.generation;
        if let Some(entry) = locked.get() {
            entry.generation = generation;
            entry.known = None;
            if all {
                entry.reset = generation;
                entry.block = None;
            }
        }
    }

    /// Takes all blocks whose cells are not lost yet, to give them back: subject, cells, and the store's time of the draw.
    pub(crate) fn take_blocks(&self, now: Instant) -> Vec<(String, u32, Micros)> {
        let mut blocks = Vec::new();
        for shard in &self.shards {
            let shard = &mut *shard.lock();
            shard.generation += 1;
            for entry in &mut shard.entries {
                if let Some(block) = entry.take_block(now) {
                    entry.generation = shard.generation;
                    entry.known = None;
                    blocks.push((entry.subject.to_string(), block.cells, block.drawn));
                }
            }
        }
        blocks
    }

    /// Returns how many subjects are remembered, and how many cells of blocks may still be used.
    pub(crate) fn size(&self, now: Instant) -> (usize, u64) {
        let size = |shard: &Mutex<Shard<W>>| {
            let shard = shard.lock();
            let blocks = shard.entries.iter().filter_map(|entry| entry.block);
            let usable = blocks.filter(|block| now < block.expires);
            (
                shard.entries.len(),
                usable.map(|block| u64::from(block.cells)).sum::<u64>(),
            )
        };
        let add = |sum: (usize, u64), size: (usize, u64)| (sum.0 + size.0, sum.1 + size.1);
        self.shards.iter().map(size).fold((0, 0), add)
    }
}

impl<W> Shard<W> {
    fn new() -> Self {
        Self {
            entries: HashTable::new(),
            generation: 0,
        }
    }

    /// Removes subjects if there are too many: subjects that hold nothing and, if these are few, the less recently used half of the rest. A
    /// subject with a call in flight stays.
    fn make_room(&mut self, settings: &LocalSettings, now: Instant) {
        let (most, entries) = ((settings.subjects / SHARDS).max(1), &mut self.entries);
        if entries.len() < most {
            return;
        }
        entries.retain(|entry| entry.holds_something(settings, now));
        if entries.len() > most / 2 {
            let mut times: Vec<_> = entries.iter().map(|entry| entry.touched).collect();
            let middle = times.len() / 2;
            let median = *times.select_nth_unstable(middle).1;
            entries.retain(|entry| entry.in_flight.is_some() || entry.touched > median);
        }
    }
}

impl<W> LockedSubject<'_, W> {
    fn get(&mut self) -> Option<&mut SubjectEntry<W>> {
        let subject = self.subject;
        self.shard
            .entries
            .find_mut(self.hash, |entry| *entry.subject == *subject)
    }

    /// The entry of the subject, which is made if there is none.
    fn get_or_insert(&mut self, settings: &LocalSettings, now: Instant) -> &mut SubjectEntry<W> {
        if self.get().is_none() {
            self.shard.make_room(settings, now);
        }
        let (subject, hash, shard) = (self.subject, self.hash, &mut *self.shard);
        let entry = shard
            .entries
            .entry(hash, |entry| *entry.subject == *subject, |entry| entry.hash);
        let generation = shard.generation;
        entry
            .or_insert_with(|| SubjectEntry::new(subject, hash, generation, now))
            .into_mut()
    }

    fn remove(&mut self) {
        let subject = self.subject;
        let is_subject = |entry: &SubjectEntry<W>| *entry.subject == *subject;
        if let Ok(entry) = self.shard.entries.find_entry(self.hash, is_subject) {
            entry.remove();
        }
    }
}

impl<W> SubjectEntry<W> {
    fn new(subject: &str, hash: u64, generation: u64, now: Instant) -> Self {
        Self {
            subject: subject.into(),
            hash,
            known: None,
            generation,
            reset: generation,
            block: None,
            usage: Usage::default(),
            queue: VecDeque::new(),
            in_flight: None,
            round_trip: Duration::ZERO,
            touched: now,
        }
    }

    /// Takes `n` cells of the block, if that many are left that are not lost.
    fn use_block(&mut self, n: u32, now: Instant) -> bool {
        let Some(block) = self.block.as_mut().filter(|block| now < block.expires) else {
            self.block = None;
            return false;
        };
        let Some(left) = block.cells.checked_sub(n) else {
            return false;
        };
        block.cells = left;
        self.usage.used(n);
        true
    }

    /// Takes the block, if it has cells that are not lost.
    fn take_block(&mut self, now: Instant) -> Option<Block> {
        self.block.take().filter(|block| now < block.expires && block.cells > 0)
    }

    /// The reply by which `n` cells do not conform at `now`: the store decided after that call was sent, so by its clock less has passed
    /// than here.
    fn denies(&self, settings: &LocalSettings, n: u32, now: Instant) -> Option<Known> {
        let known = self.known.as_ref()?;
        let since = now.saturating_duration_since(known.sent);
        let wait = known.until(n).min(settings.remember);
        (since < wait).then(|| known.clone())
    }

    fn remember(&mut self, known: Known, generation: u64) {
        let newer = self.known.as_ref().is_none_or(|old| old.sent <= known.sent);
        if newer && generation == self.generation {
            self.known = Some(known);
        }
    }

    fn holds_something(&self, settings: &LocalSettings, now: Instant) -> bool {
        self.in_flight.is_some()
            || self.block.is_some_and(|block| now < block.expires)
            || self.denies(settings, 1, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Level, State};
    use crate::units::Units;

    const SECOND: Duration = Duration::from_secs(1);

    fn local(subjects: usize) -> (Terms, LocalLayer<usize>) {
        let limits = [StoreLimit::Bucket(Units::of("1/d".parse().unwrap()).unwrap())];
        let settings = LocalSettings {
            remember: SECOND,
            join: true,
            lease: None,
            block: 0,
            subjects,
            deadline: SECOND,
        };
        let terms = Terms::new("api".to_owned(), None, limits.into());
        (terms, LocalLayer::new(settings))
    }

    /// A denial for a day.
    fn denial() -> Reply {
        let clock = Micros::new(1_700_000_000_000_000).unwrap();
        let state = State {
            time: clock,
            level: Level::Units(86_400_000_000),
        };
        Reply {
            cells: Some(0),
            clock,
            states: vec![state],
        }
    }

    fn deny(local: &LocalLayer<usize>, terms: &Terms, subject: &str, now: Instant) {
        let Ok(Arrival::Fly(waiter)) = local.arrive(subject, 1, now, || Ok(0)) else {
            panic!("{subject} is known");
        };
        let flight = local.depart(terms, subject, VecDeque::from([waiter]), false, now);
        let (deliveries, next) = local.land(&terms.limits, subject, flight, Ok((denial(), now)), now);
        assert!(matches!(deliveries[..], [(0, Ok(Decided::Denied(..)))]) && next.is_none());
    }

    fn subjects(local: &LocalLayer<usize>) -> usize {
        local.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    #[test]
    fn remembered_subjects_are_bounded_and_the_latest_stay() {
        let (terms, local) = local(1600);
        let begin = Instant::now();
        for i in 0..10_000_u32 {
            deny(&local, &terms, &i.to_string(), begin + SECOND * i / 100_000);
            assert!(subjects(&local) <= 1600);
        }
        let now = begin + SECOND / 10;
        let is_denied = |i: u32| matches!(local.arrive(&i.to_string(), 1, now, || Ok(0)), Ok(Arrival::Denied(_)));
        assert!((9_900..10_000).all(is_denied), "the last hundred are remembered");
    }

    #[test]
    fn subjects_that_hold_nothing_leave_first() {
        let (terms, local) = local(1600);
        let begin = Instant::now();
        for i in 0..1500 {
            deny(&local, &terms, &format!("old {i}"), begin);
        }
        let now = begin + SECOND;
        for i in 0..700 {
            deny(&local, &terms, &format!("new {i}"), now);
        }
        let is_denied = |i: u32| {
            matches!(
                local.arrive(&format!("new {i}"), 1, now, || Ok(0)),
                Ok(Arrival::Denied(_))
            )
        };
        assert!((0..700).all(is_denied));
    }

    /// Cells are given back while a call that draws a block is on its way.
    #[test]
    fn reset_alone_loses_cells_being_drawn() {
        for (is_reset, is_lost) in [(false, false), (true, true)] {
            let (terms, mut local) = local(16);
            local.settings.remember = Duration::ZERO;
            local.settings.lease = Some(LeaseSettings::kept_for(SECOND));
            local.settings.block = 100;
            let (mut now, millisecond) = (Instant::now(), SECOND / 1000);
            for (verb, cells) in [(Verb::Check, 1), (Verb::Lease { at_most: 5 }, 5)] {
                assert!(matches!(local.arrive("hot", 1, now, || Ok(0)), Ok(Arrival::Fly(0))));
                let flight = local.depart(&terms, "hot", VecDeque::from([0]), false, now);
                assert_eq!(flight.verb, verb);
                if cells > 1 {
                    local.forget("hot", is_reset);
                }
                let reply = Reply {
                    cells: Some(cells),
                    ..denial()
                };
                local.land(&terms.limits, "hot", flight, Ok((reply, now)), now + millisecond);
                now += millisecond;
            }
            let is_leased = matches!(local.arrive("hot", 1, now, || Ok(0)), Ok(Arrival::Leased(_)));
            assert_eq!(is_leased, !is_lost, "reset: {is_reset}");
        }
    }

    #[test]
    fn subject_with_a_call_in_flight_is_kept() {
        let (terms, local) = local(16);
        let now = Instant::now();
        assert!(matches!(local.arrive("waits", 1, now, || Ok(1)), Ok(Arrival::Fly(1))));
        for i in 0..1000 {
            deny(&local, &terms, &i.to_string(), now);
        }
        assert!(matches!(local.arrive("waits", 1, now, || Ok(2)), Ok(Arrival::Queued)));
    }

    /// The thread of the runtime that carries the call is blocked.
    #[test]
    fn stuck_call_holds_back_no_later_one() {
        let (terms, local) = local(16);
        let begin = Instant::now();
        let arrive = |i, now| local.arrive("hot", 1, now, || Ok(i)).unwrap();
        assert!(matches!(arrive(0, begin), Arrival::Fly(0)));
        let stuck = local.depart(&terms, "hot", VecDeque::from([0]), false, begin);
        assert!(matches!(arrive(1, begin + 2 * SECOND), Arrival::Queued));
        let now = begin + 2 * SECOND + Duration::from_nanos(1);
        assert!(matches!(arrive(2, now), Arrival::Fly(2)));
        let flight = local.depart(&terms, "hot", VecDeque::from([2]), false, now);
        let (served, next) = local.land(&terms.limits, "hot", flight, Ok((denial(), now)), now);
        let served: Vec<_> = served.into_iter().map(|(waiter, _)| waiter).collect();
        assert!(served == [2, 1] && next.is_none(), "{served:?}");
        let (served, next) = local.land(&terms.limits, "hot", stuck, Err(StoreError::TimedOut), now);
        assert!(matches!(served[..], [(0, Err(StoreError::TimedOut))]) && next.is_none());
        assert!(matches!(arrive(3, now), Arrival::Denied(_)));
    }

    /// The callers that came after the later call wait for that.
    #[cfg(feature = "tokio")]
    #[test]
    fn stuck_call_ends_without_later_callers() {
        for is_crash in [false, true] {
            let (terms, local) = local(16);
            let begin = Instant::now();
            let arrive = |i, now| local.arrive("hot", 1, now, || Ok(i)).unwrap();
            let depart = |i, now| local.depart(&terms, "hot", VecDeque::from([i]), false, now);
            assert!(matches!(arrive(0, begin), Arrival::Fly(0)));
            let stuck = depart(0, begin);
            let now = begin + 3 * SECOND;
            assert!(matches!(arrive(1, now), Arrival::Fly(1)));
            let later = depart(1, now);
            assert!(matches!(arrive(2, now), Arrival::Queued));
            if is_crash {
                assert!(local.crash("hot", begin).is_empty());
            } else {
                let (served, next) = local.land(&terms.limits, "hot", stuck, Err(StoreError::TimedOut), now);
                assert!(served.len() == 1 && next.is_none(), "{served:?}, {next:?}");
            }
            assert!(matches!(arrive(3, now), Arrival::Queued));
            let (served, next) = local.land(&terms.limits, "hot", later, Ok((denial(), now)), now);
            let served: Vec<_> = served.into_iter().map(|(waiter, _)| waiter).collect();
            assert!(served == [1, 2, 3] && next.is_none(), "{served:?}");
        }
    }
}
