//! One key of a table, as the store of a meter.

use super::WhenFull;
use super::bucket::{HashBucket, Insertion};
use super::hash::KeyHash;
use super::limits::{Limits, Superseded, TierLimit};
use super::slot::SlotState;
use super::table::{Table, Tallies};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::outcome::{Status, Until};
use crate::schedule::{NotAtOnce, NotStored, Schedule, WordStep};
use crate::store::{PAUSES, Store, pause};
use crate::units::{Anchored, Nanos, TimeLine, Volume};
use core::fmt;

/// The store of the meter of one key, which [`KeyedMeter::key`](crate::KeyedMeter::key) returns.
pub struct Entry<'a, A> {
    table: &'a Table<A>,
    /// The latest limits when the table's handle was made; see [`limits`](super::limits).
    limits: &'a Limits<A>,
    bucket: &'a HashBucket,
    key: KeyHash,
    /// The tier that decides; the key's own tier if `None`.
    tier: Option<u8>,
}

/// The time by a clock that may lag, as the volumes of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnchoredTime {
    anchored: Anchored,
    /// The volume drained now.
    drained: Volume,
}

impl AnchoredTime {
    /// Returns the time `at`, if a decision may be made at once then.
    #[inline]
    fn exactly<A: Algorithm>(schedule: &Schedule<A>, at: Nanos) -> Option<Self> {
        if at >= schedule.at_once_until {
            return None;
        }
        let drained = schedule.drained(at);
        let anchored = Anchored {
            at,
            volume: drained,
            per_count: 0,
        };
        Some(Self { anchored, drained })
    }

    /// Returns the present time, if `clock` has an anchor by which a decision may be made at once.
    #[inline]
    pub(super) fn read<A: Algorithm>(schedule: &Schedule<A>, clock: &impl Clock) -> Option<Self> {
        // The models have no counter, so there every clock is accepted.
        if cfg!(ratelimit_meter_loom) {
            return Self::exactly(schedule, clock.position(&schedule.time_line));
        }
        let anchored = clock.anchored(&schedule.time_line, schedule.at_once_until, schedule.scale)?;
        let drained = clock.drained(anchored)?;
        Some(Self { anchored, drained })
    }
}

/// Omits the key, of which only a hash is known.
impl<A> fmt::Debug for Entry<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl<'a, A: Algorithm> Entry<'a, A> {
    #[inline]
    pub(super) fn new(table: &'a Table<A>, limits: &'a Limits<A>, key: KeyHash, tier: Option<u8>) -> Self {
        let bucket = table.bucket(key);
        Self {
            table,
            limits,
            bucket,
            key,
            tier,
        }
    }

    /// Returns the tier that a key without a slot will have.
    #[inline]
    fn first_tier(&self) -> u8 {
        self.tier.unwrap_or(0)
    }

    /// Runs `act` with limits that hold.
    #[inline]
    fn by_limits<T>(&self, act: impl Fn(&Limits<A>) -> Result<T, Superseded>) -> T {
        act(self.limits).unwrap_or_else(|Superseded| self.table.latest.act(act))
    }

    /// Returns the limit that decides, the key's word by that limit, and whether the key has another tier, from which an admission moves it.
    #[inline]
    fn reading<'l>(
        &self,
        limits: &'l Limits<A>,
        state: SlotState,
        at: Nanos,
    ) -> Result<(&'l TierLimit<A>, u64, bool), Superseded> {
        let (own, word) = limits.read(state)?;
        let tier = self.tier.unwrap_or(own);
        let limit = limits.of_tier(tier);
        if tier == own {
            return Ok((limit, word, false));
        }
        // Time that one tier has credited must not be credited again by another tier.
        let at = at.max(self.bucket.watermark());
        Ok((limit, limits.schedule(own).owing(word, at, &limit.schedule), true))
    }

    /// Decides at `at`; if that is a denial and `at` is before the watermark, decides again at the watermark.
    #[inline]
    fn decided<T>(
        &self,
        schedule: &Schedule<A>,
        word: u64,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<T, NotStored>,
    ) -> Result<T, NotStored> {
        step(schedule, word, schedule.drained(at)).or_else(|denied| {
            let watermark = self.bucket.watermark();
            if denied.until().is_some() && at < watermark {
                step(schedule, word, schedule.drained(watermark))
            } else {
                Err(denied)
            }
        })
    }

    /// Returns the denial of a key by a tier that is not the key's own. Until the key moves, its debt drains at the rate of its own tier. So the denial
    /// ends at the first time at which the rest of the debt, converted at that time, conforms.
    #[cold]
    #[inline(never)]
    fn denied_before_move<T>(
        &self,
        limits: &Limits<A>,
        state: SlotState,
        at: Nanos,
        step: &impl Fn(&Schedule<A>, u64, Volume) -> Result<T, NotStored>,
        denied: NotStored,
    ) -> Result<NotStored, Superseded> {
        if !matches!(denied, NotStored::Denied(_)) {
            return Ok(denied);
        }
        let (own, word) = limits.read(state)?;
        let [own, other] = [own, self.first_tier()].map(|tier| limits.schedule(tier));
        let is_denied = |ns| {
            let at = Nanos::clamped(ns);
            let decided = step(other, own.owing(word, at, other), other.drained(at));
            matches!(decided, Err(NotStored::Denied(_)))
        };
        let (now, idle) = (
            at.max(self.bucket.watermark()).get(),
            own.until(own.algorithm.idle(word)),
        );
        // An average is idle before it owes nothing.
        let ends = [idle.nanos().min(Nanos::END.get()), Nanos::END.get()];
        let until = match ends.into_iter().find(|&end| end > now && !is_denied(end)) {
            Some(mut end) => {
                let mut before = now;
                // Denied at `before` and admitted at `end`: at most 60 steps.
                while end - before > 1 {
                    let middle = before + (end - before) / 2;
                    if is_denied(middle) {
                        before = middle;
                    } else {
                        end = middle;
                    }
                }
                Until::at(Nanos::clamped(end))
            }
            None if idle.nanos() > Nanos::END.get() => idle,
            // A waiter that does not wait so long.
            None => return Ok(denied),
        };
        // Last, because a step may report the status that it saw.
        is_denied(now);
        Ok(NotStored::Denied(until))
    }

    #[cold]
    #[inline(never)]
    fn status_before_watermark(&self, schedule: &Schedule<A>, word: u64, at: Nanos) -> Status {
        let watermark = self.bucket.watermark();
        let [status, later] = [at, watermark].map(|at| schedule.status(word, at));
        Status {
            remaining: status.remaining.max(later.remaining),
            next: if later.remaining > 0 { Volume(0) } else { status.next },
            ..status
        }
    }

    /// Returns the state of the key, if it has a slot. At one moment of the read, the key was in that slot with that state.
    #[inline]
    fn state_of(&self, limits: &Limits<A>) -> Result<Option<SlotState>, Superseded> {
        loop {
            // A key that is found needs no second look, unlike a key that may be absent.
            let found = match self.bucket.find(self.key) {
                None => self.bucket.find_or_prove_absent(self.key, limits)?,
                found => found,
            };
            match found {
                None => return limits.hold().map(|()| None),
                Some((slot, state)) if slot.load() == state => return Ok(Some(state)),
                Some(_) => {}
            }
        }
    }

    /// Returns whether the key has a slot and a debt.
    pub(super) fn is_live(&self, at: Nanos) -> bool {
        self.by_limits(|limits| {
            let state = self.state_of(limits)?;
            state.map_or(Ok(false), |state| limits.is_live(state, at))
        })
    }

    /// Returns the end of the time in which the key is denied for lack of a slot, for any number of cells.
    fn denied_until(&self, limits: &Limits<A>, at: Nanos) -> Result<Option<Until>, Superseded> {
        if limits.when_full != WhenFull::Deny {
            return Ok(None);
        }
        let nearest = self.bucket.nearest_if_full(self.key, at, limits)?;
        nearest.map(|nearest| self.until_idle(limits, nearest)).transpose()
    }

    /// Returns the time at which the slot of another key becomes free: as soon as that key is idle.
    fn until_idle(&self, limits: &Limits<A>, nearest: SlotState) -> Result<Until, Superseded> {
        let (tier, word) = limits.read(nearest)?;
        Ok(limits.schedule(tier).until(Volume(word)))
    }

    /// Decides in the plain case: the key is in its home line, `limit` decides it, and no other thread charges it meanwhile. Returns the new word, or
    /// the denial and the word that caused it.
    ///
    /// Nearly every call takes this path: one look, one decision and one exchange.
    #[inline(always)]
    pub(super) fn decide_by(
        &self,
        limit: &TierLimit<A>,
        now: AnchoredTime,
        n: u32,
    ) -> Result<Result<u64, (Until, u64)>, NotAtOnce> {
        let schedule = &limit.schedule;
        // One cell always fits.
        if n > 1 && n > schedule.algorithm.max_batch() {
            return Err(NotAtOnce::Uncertain);
        }
        let home = &self.bucket.lines[self.key.home()];
        let (slot, state, word) = home
            .find_decided_by(self.key, limit.states)
            .ok_or(NotAtOnce::Uncertain)?;
        self.limits.hold().map_err(|Superseded| NotAtOnce::Uncertain)?;
        // A word so far ahead is denied at all times at which the anchor holds, so the volume drained since does not matter. Inlined in a loop, a
        // hot `u64` is denied in 25.7 ns instead of 27.6.
        if n > 1 || word <= now.anchored.volume.0 + schedule.denied_lead {
            match schedule.algorithm.decide(word, now.drained, n) {
                Ok(new) => {
                    // The word grows by the same limit, so the version stays.
                    let grown = SlotState(state.0 + (new - word));
                    return slot
                        .exchange(state, grown)
                        .then_some(Ok(new))
                        .ok_or(NotAtOnce::LostRace);
                }
                Err(due) if schedule.is_certain(due, now.drained) => {}
                Err(_) => return Err(NotAtOnce::Uncertain),
            }
        }
        let (scale, due) = (schedule.scale, schedule.algorithm.due(word, n));
        // A key that is denied at an earlier time may conform at the watermark. (If volume drained in ticks, nothing would be decided here.)
        if self.bucket.has_drained_by_watermark(due, now.anchored.at, scale) || slot.load() != state {
            return Err(NotAtOnce::Uncertain);
        }
        Ok(Err((Until { scale, due }, word)))
    }

    #[inline]
    fn step_by<T>(
        &self,
        limits: &Limits<A>,
        at: Nanos,
        step: &impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<Result<T, NotStored>, Superseded> {
        let mut pauses = PAUSES;
        loop {
            let Some((slot, state)) = self.bucket.find(self.key) else {
                match self.step_absent(limits, at, step)? {
                    Some(done) => return Ok(done),
                    None => continue,
                }
            };
            let (limit, word, moves) = self.reading(limits, state, at)?;
            match self.decided(&limit.schedule, word, at, step) {
                // The state and the id belonged together if the state has not changed.
                Err(denied) if slot.load() == state => {
                    return if moves {
                        self.denied_before_move(limits, state, at, step, denied).map(Err)
                    } else {
                        Ok(Err(denied))
                    };
                }
                Err(_) => {}
                Ok((new, made)) => {
                    if moves {
                        self.bucket.raise_watermark(at);
                    }
                    let new = limits.form().next(state, limit.number, new);
                    if slot.exchange(state, new) {
                        return Ok(Ok(made));
                    }
                    if pauses > 0 {
                        pauses -= 1;
                        pause();
                    }
                }
            }
        }
    }

    /// Gives a slot to a key that was not found, and takes its step. If the step needs no slot, returns its outcome. `None` if the key may
    /// have a slot now.
    #[cold]
    #[inline(never)]
    fn step_absent<T>(
        &self,
        limits: &Limits<A>,
        at: Nanos,
        step: &impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<Option<Result<T, NotStored>>, Superseded> {
        let tier = self.first_tier();
        let schedule = limits.schedule(tier);
        let charged = |idle| {
            let decided = self.decided(schedule, idle, at, step);
            // A step that is denied even for an idle key, or lowers the word, changes nothing, so it needs no slot.
            match decided {
                Ok((word, made)) if word > idle => Ok((word, made)),
                unchanged => Err(unchanged.map(|(_, made)| made)),
            }
        };
        if let Err(unchanged) = charged(limits.idle_word(tier, self.bucket.watermark())) {
            let found = self.bucket.find_or_prove_absent(self.key, limits)?;
            limits.hold()?;
            return Ok(found.is_none().then_some(unchanged));
        }
        let inserted = self
            .bucket
            .insert(self.key, tier, at, limits, |idle| charged(idle).ok())?;
        match inserted {
            Insertion::LookAgain => Ok(None),
            Insertion::Charged(made) => Ok(Some(Ok(made))),
            Insertion::Full { nearest } => self.without_room(limits, nearest),
        }
    }

    /// Applies the policy for a key that finds no slot.
    fn without_room<T>(
        &self,
        limits: &Limits<A>,
        nearest: SlotState,
    ) -> Result<Option<Result<T, NotStored>>, Superseded> {
        let tallies = &self.table.tallies;
        Ok(match limits.when_full {
            // Another thread was faster, so begin again.
            WhenFull::Forgive => None,
            WhenFull::Deny => {
                let until = self.until_idle(limits, nearest)?;
                Tallies::count(&tallies.denied);
                Some(Err(NotStored::NoSlot(until)))
            }
            WhenFull::Admit => {
                Tallies::count(&tallies.admitted);
                Some(Err(NotStored::Forgotten))
            }
        })
    }
}

impl<A: Algorithm> Store<A> for Entry<'_, A> {
    const NAME: Option<&'static str> = Some("KeyHandle");

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.limits.schedule(0).time_line
    }

    #[inline]
    fn counts_denials(&self) -> bool {
        self.limits.schedule(0).algorithm.counts_denials()
    }

    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Schedule<A>, u64) -> T) -> T {
        let (schedule, word) = self.by_limits(|limits| {
            Ok(match self.state_of(limits)? {
                Some(state) => {
                    let (limit, word, _) = self.reading(limits, state, at)?;
                    (limit.schedule, word)
                }
                None => {
                    let tier = self.first_tier();
                    (*limits.schedule(tier), limits.idle_word(tier, self.bucket.watermark()))
                }
            })
        });
        read(&schedule, word)
    }

    #[inline]
    fn update<T>(
        &self,
        at: Nanos,
        step: impl Fn(&Schedule<A>, u64, Volume) -> Result<WordStep<T>, NotStored>,
    ) -> Result<T, NotStored> {
        self.by_limits(|limits| self.step_by(limits, at, &step))
    }

    #[inline]
    fn decide_at_once<C: Clock>(&self, n: u32, clock: &C) -> Result<Result<(), Until>, NotAtOnce> {
        let limit = self.limits.of_tier(self.first_tier());
        let now = AnchoredTime::read(&limit.schedule, clock).ok_or(NotAtOnce::Uncertain)?;
        let decided = self.decide_by(limit, now, n)?;
        Ok(decided.map(|_| ()).map_err(|(until, _)| until))
    }

    const TAKES_AT_ONCE: bool = true;

    #[inline]
    fn take_at_once<T>(
        &self,
        at: impl FnOnce() -> Nanos,
        n: u32,
        read: impl Fn(&Status) -> T,
    ) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
        let (limit, at) = (self.limits.of_tier(self.first_tier()), at());
        let now = AnchoredTime::exactly(&limit.schedule, at).ok_or(NotAtOnce::Uncertain)?;
        let status = |word| self.status_of(&limit.schedule, word, at);
        let decided = self.decide_by(limit, now, n)?;
        Ok(decided
            .map(|word| read(&status(word)))
            .map_err(|(until, word)| (until, status(word))))
    }

    const LOOKS_AT_ONCE: bool = true;

    #[inline]
    fn conforms_at_once(&self, at: impl FnOnce() -> Nanos, n: u32) -> bool {
        let (limit, at) = (self.limits.of_tier(self.first_tier()), at());
        let home = &self.bucket.lines[self.key.home()];
        home.find_decided_by(self.key, limit.states)
            .is_some_and(|(slot, state, word)| {
                let is_latest = self.limits.hold().is_ok() && slot.load() == state;
                is_latest && limit.schedule.look(word, limit.schedule.drained(at), n).is_ok()
            })
    }

    #[inline]
    fn decided_again(&self, denied: &NotStored) {
        if let NotStored::NoSlot(_) = denied {
            Tallies::uncount(&self.table.tallies.denied);
        }
    }

    #[inline]
    fn look(
        &self,
        at: Nanos,
        look: impl Fn(&Schedule<A>, u64, Volume) -> Result<(), NotStored>,
    ) -> Result<(), NotStored> {
        self.by_limits(|limits| {
            if let Some(state) = self.state_of(limits)? {
                let (limit, word, moves) = self.reading(limits, state, at)?;
                return match self.decided(&limit.schedule, word, at, &look) {
                    Err(denied) if moves => {
                        let denied = self.denied_before_move(limits, state, at, &look, denied);
                        denied.map(Err)
                    }
                    decided => Ok(decided),
                };
            }
            let tier = self.first_tier();
            let idle = limits.idle_word(tier, self.bucket.watermark());
            if let Err(denied) = self.decided(limits.schedule(tier), idle, at, &look) {
                return Ok(Err(denied));
            }
            let until = self.denied_until(limits, at)?;
            Ok(until.map_or(Ok(()), |until| Err(NotStored::NoSlot(until))))
        })
    }

    fn counts_missing_slots(&self) -> bool {
        self.limits.when_full == WhenFull::Deny
    }

    fn count_missing_slot(&self) {
        Tallies::count(&self.table.tallies.denied);
    }

    /// Returns a status that agrees with [`decided`](Self::decided): cells may conform at `at`, or otherwise at the watermark.
    // Always inlined: the parts of an admission's status that are not read are not computed.
    #[inline(always)]
    fn status_of(&self, schedule: &Schedule<A>, word: u64, at: Nanos) -> Status {
        if at < self.bucket.watermark() {
            return self.status_before_watermark(schedule, word, at);
        }
        schedule.status(word, at)
    }

    fn status(&self, at: Nanos) -> Status {
        let without_slot = self.by_limits(|limits| {
            let until = self.denied_until(limits, at)?;
            Ok(until.map(|until| limits.schedule(self.first_tier()).status_without_slot(until, at)))
        });
        without_slot.unwrap_or_else(|| self.read(at, |schedule, word| self.status_of(schedule, word, at)))
    }
}

#[cfg(all(test, not(any(ratelimit_meter_loom, ratelimit_meter_stress))))]
mod tests {
    //! Decisions at once, by a clock with an anchor.

    use super::*;
    use crate::clock::ManualClock;
    use crate::keyed::{KeyedBuilder, KeyedMeter, Tier};
    use crate::meter::Meter;
    use crate::quota::Quota;
    use crate::time::Instant;
    use crate::units::UnitScale;
    use crate::{Exponential, GCRA, LeakyBucket};
    use core::time::Duration;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const WINDOW: Duration = Duration::from_micros(5);
    const NANO: Duration = Duration::from_nanos(1);

    /// A clock as far behind as the default clock ever is: a window, and its anchor another window.
    #[derive(Clone)]
    struct Late {
        time: ManualClock,
        /// The number of readings other than by the anchor.
        read: Arc<AtomicU32>,
    }

    impl Clock for Late {
        const LAG_NS: u64 = 5_000;
        const HAS_ANCHORS: bool = true;

        fn now(&self) -> Instant {
            self.read.fetch_add(1, Ordering::Relaxed);
            self.time.now() - WINDOW
        }

        fn anchored(&self, line: &TimeLine, end: Nanos, scale: UnitScale) -> Option<Anchored> {
            let at = line.position(self.time.now() - 2 * WINDOW);
            // A count is a window.
            (at < end).then(|| Anchored {
                at,
                volume: scale.volume_at(at),
                per_count: scale.volume_at(Nanos::clamped(Self::LAG_NS)).0 << Anchored::FRACTION,
            })
        }

        fn drained(&self, anchored: Anchored) -> Option<Volume> {
            Some(anchored.after(1))
        }

        fn now_exactly(&self) -> Instant {
            self.read.fetch_add(1, Ordering::Relaxed);
            self.time.now()
        }
    }

    fn late(time: &ManualClock) -> Late {
        Late {
            time: time.clone(),
            read: Arc::default(),
        }
    }

    fn quota(text: &str) -> Quota {
        text.parse().unwrap()
    }

    fn denies_until_its_instant<B: Algorithm>(like: Meter<B>) {
        let time = ManualClock::new();
        let clock = late(&time);
        let keys: KeyedMeter<u64, Meter<B, Late>> = KeyedBuilder::new(like.with_clock(clock.clone()))
            .with_capacity(1)
            .unwrap();
        while keys.check(&1).is_ok() {}
        let denial = keys.check(&1).unwrap_err();
        let earliest = denial.earliest_possible();
        clock.read.store(0, Ordering::Relaxed);
        // The clock's reading is a window behind, and its anchor two.
        for before in [3 * WINDOW, 2 * WINDOW + 8 * NANO, WINDOW + 8 * NANO] {
            time.set(earliest - before);
            assert_eq!(keys.check(&1), Err(denial), "{before:?} early");
        }
        assert_eq!(clock.read.load(Ordering::Relaxed), 0, "decided at once");
        for before in [WINDOW, 2 * NANO, NANO] {
            time.set(earliest - before);
            assert_eq!(keys.check(&1), Err(denial), "{before:?} early");
        }
        time.set(earliest);
        assert_eq!(keys.check(&1), Ok(()));
    }

    #[test]
    fn denial_at_once_ends_at_its_instant() {
        for text in ["10/s burst 3", "7/h burst 1", "100000/s burst 9", "1/2000h burst 1"] {
            denies_until_its_instant(GCRA::from_quota(quota(text)).unwrap());
            denies_until_its_instant(LeakyBucket::from_quota(quota(text)).unwrap());
        }
        denies_until_its_instant(Exponential::from_quota(quota("50/s")).unwrap());
    }

    /// A key that is denied now conforms if it conforms at the watermark, the latest time of a reuse or change of tier.
    #[test]
    fn denial_at_once_ends_at_a_later_watermark() {
        let time = ManualClock::new();
        let like = GCRA::from_quota(quota("1/s burst 1")).unwrap().with_clock(late(&time));
        let (builder, other) = KeyedBuilder::new(like).tier(quota("1/h burst 1")).unwrap();
        let keys: KeyedMeter<u64, GCRA<Late>> = builder.with_capacity(1).unwrap();
        let start = time.now();
        assert!(keys.check(&1).is_ok() && keys.check(&2).is_ok());
        assert!(keys.check(&1).is_err());
        let later = start + Duration::from_millis(500);
        keys.in_tier(other).unwrap().key(&2).charge_at(1, later);
        let denial = keys.check(&1).unwrap_err();
        assert_eq!(
            denial,
            keys.key(&1).check_at(start).unwrap_err(),
            "not due by the watermark"
        );
        keys.in_tier(Tier::FIRST)
            .unwrap()
            .key(&2)
            .charge_at(1, start + Duration::from_secs(2));
        assert_eq!(keys.check(&1), Ok(()), "due by the watermark");
    }
}
