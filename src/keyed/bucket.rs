//! Where a key's meter is kept, and how it gets there.
//!
//! A key belongs to one *bucket*, a header and [`LINES`] lines of [`WIDTH`] slots, and in it has a *home* line. Nearly always its slot is in its
//! home line. A slot is a [state](super::state) and an id:
//!
//! ```text
//!                claim, id                              publish, settle
//!     vacant ─────────────────────▶ claimed ───────────────────────────────▶ resident ◀─┐ charge, refund, reset,
//!       ▲                           │    ▲                                      │   └───┘ change of tier or quota
//!       │          vacate           │    │          claim, id: if idle          │
//!       └───────────────────────────┘    └──────────── or evicted ──────────────┘
//! ```
//!
//! | a slot that is | its state is changed by |
//! |---|---|
//! | vacant | a claimant: exchange for its claim |
//! | resident | whoever charges or refunds the key: exchange; a claimant: exchange for its claim |
//! | claimed by ticket t | its claimant only: it stores the id, and may vacate by a store; once the intent names t, anybody: exchange for a resident |
//!
//! # How a key moves in
//!
//! The *intent* of a bucket is idle, or names the ticket and the slot of a claim to be carried out. To move in, a claimant
//!
//! 1. reads an idle intent s, after carrying out whatever it named;
//! 2. searches as far as the reach of the key's home. If the key is there, it vacates a claim that it holds and is done;
//! 3. unless it holds a claim: raises the watermark if the slot it chose has an owner, draws a ticket t, exchanges the state it saw for the claim
//!    of t, and stores the id. A claim belongs to its claimant, who keeps it over repetitions;
//! 4. *publishes*: exchanges the same idle intent s for the intent that names t. If that fails, it goes back to 1;
//! 5. *settles*: raises the reach of the home to the slot, exchanges the claim for a resident, and the intent for an idle one of ticket t.
//!
//! Whoever meets an intent that names a claim does step 5 for it. The claimant's own exchange also makes the first charge; a helper leaves the key idle.
//!
//! # Invariants
//!
//! 1. *One claimant.* From claim to settling or vacating, nobody else writes state or id. So ids are stored, never exchanged.
//!    (The claimant alone drew t; others exchange the claim of t only once the intent names t.)
//! 2. *A resident is made only from the claim that the intent named, and once*: each ticket is drawn once, and a late helper expects the
//!    claim of its own ticket. (Without the ticket in the intent, a late helper could settle the next claim of the same slot, which
//!    has not been published.)
//! 3. *While the intent is idle, nobody becomes a resident.* What was named before was settled before the intent became idle.
//! 4. *A key has at most one slot.* By 3, if step 4 succeeds then the key was absent from before the search until then. An idle intent does not come
//!    back, since tickets do not.
//! 5. *No resident is beyond the reach of its home.* The reach is raised between publishing and settling, with a stamp of the ticket, after
//!    a look whether the intent still stands; it is lowered only by a thread that saw the same idle intent before it read the reach and after
//!    it searched. So a thread that lowers, and one that raises, expect different words.
//! 6. *A claim overwrites* a slot without an owner, an owner that was idle as of the watermark, or one that is evicted and counted.
//! 7. *A key begins at the idle word of the watermark or above*, read after the search: the search acquired the exchange by which the key lost
//!    its former slot, and with it the watermark raised before. So no time is credited twice. A key whose tier changes is converted as of the
//!    watermark too, which is raised before.
//! 8. *A charge hits the key it was decided for*: [`state`](super::state), (N), and the orderings of [`line`](super::line). A denial looks at the state a
//!    second time before it is returned.
//! 9. *All of this is by limits that hold*: [`limits`](super::limits). A change of quota exchanges each idle intent for a new one after the limits
//!    are superseded, so a claimant that has not published by then fails to, and begins again by the new limits.
//!
//! # Progress
//!
//! Lock-free: an exchange of a state fails because of another thread's charge or claim, of an intent because a turn began or ended, of a reach
//! because it was raised or lowered. A thread that stands still holds the one slot that it claimed, and nobody waits for it. One schedule
//! is excepted: in a full bucket two claimants can evict each other's uncharged key in turn.
//!
//! # Shown by
//!
//! | interleaving | invariant | test |
//! |---|---|---|
//! | two threads, one new key | 4 | loom `keyed::two_threads_and_one_cell_*`, `three_threads_*`; stress |
//! | two new keys, one slot | 1, 6 | loom `keyed::of_two_new_keys_and_one_slot_*`; stress |
//! | a charge beside a claim | 8 | loom `keyed::a_charge_on_a_key_whose_slot_is_being_taken_*`; stress |
//! | a slot changes hands and back | 8 | loom `keyed::who_stood_still_*`, `keyed::split::a_charge_before_*`; stress |
//! | a denial beside an eviction | 8 | loom `keyed::split::no_key_is_denied_*` |
//! | a key moves in while its reach is lowered | 5 | loom `keyed::reach::*` |
//! | two clocks | 7 | loom `keyed::the_last_cell_*` |
//! | a change of tier | 7 | loom `keyed::no_hour_is_credited_by_two_tiers`; stress |
//! | a change of quota | 9 | loom `keyed::split::*_change_of_quota_*`; stress |
//!
//! Two arguments rest on their proofs alone, as no test notices if they are left out: the ticket in the intent (2), which needs four threads, and the
//! stamp of a late raise (5).

use super::limits::{Limits, Superseded};
use super::line::{AtomicU32, AtomicU64, KeyHash, LINES, Line, Ordering, Slot, WIDTH, may_stop};
use super::state::{Kind, State};
use crate::algorithms::Algorithm;
use crate::units::Nanos;

/// How often a claimant looks again that finds claims in the way and no other room, before it counts the bucket as full.
const PATIENCE: u32 = if cfg!(ratelimit_meter_loom) { 2 } else { 4 };

/// The outcome of an attempt to move in.
#[derive(Debug)]
pub(super) enum Moved<T> {
    /// The key may be there now.
    Perhaps,
    /// The key is there, and was charged.
    Charged(T),
    /// All slots have live owners, of which this one is idle first.
    Full { nearest: State },
}

/// What a search found for a key that it looked for.
enum Search {
    Present,
    Room(usize, State),
    Full(usize, State),
    /// Only claims and live owners, of which one is idle first if there is one.
    Claims(Option<(usize, State)>),
}

#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    header: Header,
    lines: [Line; LINES],
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            header: Header::default(),
            lines: core::array::from_fn(|_| Line::default()),
        }
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct Header {
    intent: AtomicU64,
    watermark: AtomicU64,
    tickets: AtomicU64,
    /// How many live keys were evicted. Here, so that evictions in different buckets do not share a line.
    forgiven: AtomicU64,
}

impl Default for Header {
    fn default() -> Self {
        let [intent, watermark, forgiven] = [0; 3].map(AtomicU64::new);
        Self {
            intent,
            watermark,
            tickets: AtomicU64::new(1),
            forgiven,
        }
    }
}

#[cfg(not(any(ratelimit_meter_loom, ratelimit_meter_stress)))]
const _: () = assert!(size_of::<Bucket>() == 8 << 10, "a bucket is two pages");

// A distance fits a reach, and an index an intent.
const _: () = assert!(LINES <= 1 << Reach::BITS && Bucket::SLOTS < (1 << Intent::INDEX_BITS) - 1);

/// The ticket of a claim and, while that is to be carried out, where its slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Intent(u64);

impl Intent {
    const INDEX_BITS: u32 = 12;

    const fn naming(claim: State, index: usize) -> Self {
        Self(claim.ticket() << Self::INDEX_BITS | (index as u64 + 1))
    }

    const fn idle(ticket: u64) -> Self {
        Self(ticket << Self::INDEX_BITS)
    }

    const fn is_idle(self) -> bool {
        self.0 % (1 << Self::INDEX_BITS) == 0
    }

    /// Of an intent that names a slot.
    const fn index(self) -> usize {
        (self.0 % (1 << Self::INDEX_BITS)) as usize - 1
    }

    const fn ticket(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }
}

/// How many lines beyond a home its keys may be, and the low bits of the ticket for which that was raised last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach(u32);

impl Reach {
    const BITS: u32 = 7;

    fn load(word: &AtomicU32) -> Self {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange`, so that a search that goes no further sees by whom its key was moved out beyond.
        Self(word.load(Ordering::Acquire))
    }

    const fn lines(self) -> usize {
        (self.0 % (1 << Self::BITS)) as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "a stamp is the low bits")]
    const fn raised(self, lines: usize, ticket: u64) -> Self {
        let lines = if lines > self.lines() { lines } else { self.lines() };
        Self((ticket as u32) << Self::BITS | lines as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the lines of a bucket")]
    const fn lowered(self, lines: usize) -> Self {
        Self(self.0 >> Self::BITS << Self::BITS | lines as u32)
    }

    fn exchange(self, word: &AtomicU32, new: Self) -> bool {
        may_stop();
        // ORDERING: release and acquire. Pairs with `load`; a chain of exchanges passes on what each acquired.
        word.compare_exchange(self.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl Bucket {
    /// How many slots there are.
    pub(super) const SLOTS: usize = LINES * WIDTH;

    /// The slot of a resident and its state.
    #[inline]
    pub(super) fn find(&self, key: KeyHash) -> Option<(Slot<'_>, State)> {
        self.find_at_home(key).or_else(|| self.find_beyond(key))
    }

    /// As `find`, but only in the key's home line.
    #[inline(always)]
    pub(super) fn find_at_home(&self, key: KeyHash) -> Option<(Slot<'_>, State)> {
        self.lines[key.home()].find_at_first(key)
    }

    #[inline(never)]
    fn find_beyond(&self, key: KeyHash) -> Option<(Slot<'_>, State)> {
        let reach = Reach::load(&self.lines[key.home()].reach).lines();
        let mut beyond = key.lines().skip(1).take(reach);
        beyond.find_map(|line| self.lines[line].find(key))
    }

    /// The slot of a key and its state; or `None` if the key was absent all at one moment.
    pub(super) fn find_or_know<A: Algorithm>(
        &self,
        key: KeyHash,
        limits: &Limits<A>,
    ) -> Result<Option<(Slot<'_>, State)>, Superseded> {
        loop {
            let idle = self.idle(limits)?;
            let found = self.find(key);
            if found.is_some() || self.intent() == idle {
                return Ok(found);
            }
        }
    }

    /// Begins to fetch the home line of a key.
    #[inline]
    pub(super) fn fetch(&self, key: KeyHash) {
        self.lines[key.home()].fetch();
    }

    /// The latest time at which a slot was taken from its owner, or a key changed its tier.
    #[inline]
    pub(super) fn watermark(&self) -> Nanos {
        // ORDERING: relaxed. A thread that acts on a slot that was taken has acquired it, and with it the watermark raised before;
        // others need nothing. Weaker breaks `tests/loom/keyed.rs`, the last cell of a key whose slot was taken.
        Nanos::clamped(self.header.watermark.load(Ordering::Relaxed))
    }

    /// To be done before an exchange made as of `at`, after which nothing may be made as of an earlier time.
    pub(super) fn raise_watermark(&self, at: Nanos) {
        may_stop();
        // ORDERING: relaxed. The exchange of the state that follows releases it; tests as above.
        self.header.watermark.fetch_max(at.get(), Ordering::Relaxed);
    }

    /// How many live keys were evicted.
    pub(super) fn forgiven(&self) -> u64 {
        // ORDERING: relaxed. A number of events, which orders nothing.
        self.header.forgiven.load(Ordering::Relaxed)
    }

    fn intent(&self) -> Intent {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange_intent`, so that an idle intent shows all that was carried out before.
        Intent(self.header.intent.load(Ordering::Acquire))
    }

    fn exchange_intent(&self, seen: Intent, new: Intent) -> bool {
        may_stop();
        let intent = &self.header.intent;
        // ORDERING: release, for the claim and its id, or for the resident made of it; acquire, so that a chain of turns passes on what
        // each released.
        intent
            .compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The intent once it is idle: carries out what it names.
    fn idle<A: Algorithm>(&self, limits: &Limits<A>) -> Result<Intent, Superseded> {
        loop {
            let intent = self.intent();
            if intent.is_idle() {
                return Ok(intent);
            }
            self.carry_out(intent, limits)?;
        }
    }

    fn slot(&self, index: usize) -> Slot<'_> {
        self.lines[index / WIDTH].slot(index % WIDTH)
    }

    /// Does what an intent names, unless it is done: step 5, for another thread.
    #[cold]
    fn carry_out<A: Algorithm>(&self, intent: Intent, limits: &Limits<A>) -> Result<(), Superseded> {
        let slot = self.slot(intent.index());
        let claim = slot.load();
        // Invariant 2: only the claim of the ticket that was published.
        if claim.kind() == Kind::Claimed && claim.ticket() == intent.ticket() {
            // Another key's id is read only if the claim is no more, and then nothing is exchanged.
            let key = KeyHash(slot.id());
            let idle = limits.idle_word_by(claim.claimed_limit(), self.watermark())?;
            self.settle(intent, key, claim, claim.settled(limits.form(), idle));
        }
        self.exchange_intent(intent, Intent::idle(intent.ticket()));
        Ok(())
    }

    /// Makes the claim that was published a resident; returns whether it was this call that did.
    fn settle(&self, intent: Intent, key: KeyHash, claim: State, resident: State) -> bool {
        let distance = key.distance(intent.index() / WIDTH);
        if distance > 0 && !self.raise_reach(key, distance, intent) {
            return false;
        }
        self.slot(intent.index()).exchange(claim, resident)
    }

    /// Raises the reach of a key's home, unless the intent for which it is done is over; invariant 5.
    fn raise_reach(&self, key: KeyHash, distance: usize, intent: Intent) -> bool {
        let word = &self.lines[key.home()].reach;
        loop {
            let seen = Reach::load(word);
            if self.intent() != intent {
                return false;
            }
            if seen.exchange(word, seen.raised(distance, intent.ticket())) {
                return true;
            }
        }
    }

    /// Moves a key in that was not found, to be decided by `tier`; `charged` returns the word that its first charge makes of an idle one, if it
    /// is admitted. Evicts a live key only if `forgive` says so.
    pub(super) fn move_in<A: Algorithm, T>(
        &self,
        key: KeyHash,
        tier: u8,
        at: Nanos,
        forgive: bool,
        limits: &Limits<A>,
        charged: impl Fn(u64) -> Option<(u64, T)>,
    ) -> Result<Moved<T>, Superseded> {
        let mut held: Option<(usize, State)> = None;
        let mut patience = PATIENCE;
        loop {
            let found = self.idle(limits).and_then(|idle| {
                let now = at.max(self.watermark());
                let search = self.search(key, idle, now, held.is_some(), limits)?;
                Ok((idle, now, search))
            });
            let (idle, now, search) = match (found, held) {
                (Ok((_, _, Search::Present)), Some((index, claim))) => {
                    self.vacate(index, claim);
                    return Ok(Moved::Perhaps);
                }
                (Ok((_, _, Search::Present)), None) => return Ok(Moved::Perhaps),
                (Ok(found), _) => found,
                (Err(superseded), held) => {
                    if let Some((index, claim)) = held {
                        self.vacate(index, claim);
                    }
                    return Err(superseded);
                }
            };
            let (index, claim) = match (held, search) {
                (Some(held), _) => held,
                (None, Search::Claims(_)) if patience > 0 => {
                    // Perhaps a claim for this very key.
                    patience -= 1;
                    let_others_go_on();
                    continue;
                }
                (None, Search::Claims(None)) => {
                    let nearest = limits
                        .form()
                        .resident(0, limits.number(tier), limits.idle_word(tier, now));
                    return Ok(Moved::Full { nearest });
                }
                (None, Search::Full(_, nearest) | Search::Claims(Some((_, nearest)))) if !forgive => {
                    if self.intent() == idle {
                        return Ok(Moved::Full { nearest });
                    }
                    continue;
                }
                (None, Search::Room(index, seen) | Search::Full(index, seen) | Search::Claims(Some((index, seen)))) => {
                    match self.claim(index, seen, key, tier, now, limits)? {
                        Some(claim) => (index, claim),
                        None => continue,
                    }
                }
                (None, Search::Present) => return Ok(Moved::Perhaps),
            };
            held = Some((index, claim));
            let intent = Intent::naming(claim, index);
            if !self.exchange_intent(idle, intent) {
                continue;
            }
            let idle_word = limits.idle_word(tier, self.watermark());
            let first = charged(idle_word);
            let word = first.as_ref().map_or(idle_word, |(word, _)| *word);
            let settled = self.settle(intent, key, claim, claim.settled(limits.form(), word));
            self.exchange_intent(intent, Intent::idle(intent.ticket()));
            return Ok(match first {
                Some((_, made)) if settled => Moved::Charged(made),
                _ => Moved::Perhaps,
            });
        }
    }

    /// Takes a slot whose state was seen, and stores for which key: step 3.
    fn claim<A: Algorithm>(
        &self,
        index: usize,
        seen: State,
        key: KeyHash,
        tier: u8,
        now: Nanos,
        limits: &Limits<A>,
    ) -> Result<Option<State>, Superseded> {
        let (mut steps, mut is_live) = (false, false);
        if seen.is_resident() {
            self.raise_watermark(now);
            steps = !limits.was_idle(seen, now)?;
            is_live = limits.is_live(seen, now)?;
        }
        // ORDERING: relaxed. Only that no two are the same.
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed);
        let claim = seen.claimed(steps, limits.number(tier), ticket);
        let slot = self.slot(index);
        if !slot.exchange(seen, claim) {
            return Ok(None);
        }
        if is_live {
            // ORDERING: relaxed. A number of events, which orders nothing.
            self.header.forgiven.fetch_add(1, Ordering::Relaxed);
        }
        slot.set_id(key);
        Ok(Some(claim))
    }

    /// Leaves a claimed slot to others; only for its claimant, and only while no intent has named the claim.
    fn vacate(&self, index: usize, claim: State) {
        self.slot(index).store(claim.vacated());
    }

    /// The live owner that is idle first, if a key that is not there finds no room.
    pub(super) fn nearest_if_full<A: Algorithm>(
        &self,
        key: KeyHash,
        at: Nanos,
        limits: &Limits<A>,
    ) -> Result<Option<State>, Superseded> {
        let idle = self.idle(limits)?;
        Ok(match self.search(key, idle, at.max(self.watermark()), false, limits)? {
            Search::Full(_, nearest) | Search::Claims(Some((_, nearest))) => Some(nearest),
            _ => None,
        })
    }

    /// All residents: their ids and states.
    pub(super) fn residents(&self) -> impl Iterator<Item = (u64, State)> {
        self.slots().filter_map(|slot| {
            loop {
                let state = slot.load();
                if !state.is_resident() {
                    return None;
                }
                let id = slot.id();
                // The id is that of the owner only if the state is still the owner's.
                if slot.load() == state {
                    return Some((id, state));
                }
            }
        })
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.lines
            .iter()
            .flat_map(|line| (0..WIDTH).map(|index| line.slot(index)))
    }

    /// Looks for a key as far as it may be, and for room for it as far as there is none.
    fn search<A: Algorithm>(
        &self,
        key: KeyHash,
        idle: Intent,
        now: Nanos,
        has_room: bool,
        limits: &Limits<A>,
    ) -> Result<Search, Superseded> {
        let mut room: Option<(usize, State)> = None;
        let mut has_claims = false;
        let mut nearest: Option<(usize, State, Nanos)> = None;
        let reach = Reach::load(&self.lines[key.home()].reach);
        let mut farthest = 0;
        for (distance, line) in key.lines().enumerate() {
            if (has_room || room.is_some()) && distance > reach.lines() {
                break;
            }
            for index in key.slots() {
                let slot = self.lines[line].slot(index);
                let index = line * WIDTH + index;
                let state = slot.load();
                match state.kind() {
                    Kind::Vacant => {
                        // Rather than a slot of this line to which an idle key may come back.
                        if room.is_none_or(|(other, seen)| other / WIDTH == line && seen.is_resident()) {
                            room = Some((index, state));
                        }
                        continue;
                    }
                    Kind::Claimed => {
                        has_claims = true;
                        continue;
                    }
                    Kind::Resident => {}
                }
                let id = slot.id();
                if id == key.id() {
                    return Ok(Search::Present);
                }
                if KeyHash(id).home() == key.home() {
                    farthest = distance;
                }
                if room.is_some() || has_room {
                    continue;
                }
                if !limits.is_live(state, now)? {
                    room = Some((index, state));
                } else {
                    let idle_from = limits.idle_from(state)?;
                    if nearest.is_none_or(|(.., sooner)| idle_from < sooner) {
                        nearest = Some((index, state, idle_from));
                    }
                }
            }
        }
        if farthest < reach.lines() && self.intent() == idle {
            reach.exchange(&self.lines[key.home()].reach, reach.lowered(farthest));
        }
        limits.hold()?;
        Ok(match (room, nearest) {
            (Some((index, state)), _) => Search::Room(index, state),
            (None, nearest) if has_claims => Search::Claims(nearest.map(|(index, state, _)| (index, state))),
            (None, Some((index, state, _))) => Search::Full(index, state),
            (None, None) => Search::Claims(None),
        })
    }

    /// Goes through the bucket after `limits` have superseded others: claims that have not been published fail, and each resident has a
    /// word by these limits afterwards, in a state that no other thread has seen before. Invariant 9.
    ///
    /// Must not be called again with later limits before it is done.
    pub(super) fn convert<A: Algorithm>(&self, limits: &Limits<A>) {
        self.raise_watermark(limits.since());
        while !self.begin_new_turn(limits) {}
        for slot in self.slots() {
            while !convert_slot(slot, limits) {}
        }
    }

    /// Exchanges the idle intent for another one.
    fn begin_new_turn<A: Algorithm>(&self, limits: &Limits<A>) -> bool {
        let Ok(idle) = self.idle(limits) else { return false };
        // ORDERING: relaxed. Only that no two are the same.
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed);
        self.exchange_intent(idle, Intent::idle(ticket))
    }
}

/// Replaces the state of a resident by one of the next version; returns whether that is done, or there is none.
fn convert_slot<A: Algorithm>(slot: Slot<'_>, limits: &Limits<A>) -> bool {
    let state = slot.load();
    if !state.is_resident() {
        return true;
    }
    let Ok((tier, word)) = limits.read(state) else {
        return false;
    };
    slot.exchange(state, limits.form().stepped(state, limits.number(tier), word))
}

fn let_others_go_on() {
    #[cfg(ratelimit_meter_loom)]
    loom::thread::yield_now();
    #[cfg(not(ratelimit_meter_loom))]
    crate::store::pause();
}

#[cfg(all(test, not(any(ratelimit_meter_loom, ratelimit_meter_stress))))]
mod tests {
    use super::*;
    use crate::keyed::{Builder, KeyHashes, WhenFull};
    use crate::{GCRA, KeyedMeter, Quota};
    use std::time::Instant;

    /// How many of the live keys of a table for 50,000 are in their home line, and in the slot of it where their search begins.
    fn at_home(live: u64) -> (usize, usize) {
        let like = GCRA::from_quota("1/h".parse::<Quota>().unwrap()).unwrap();
        let builder = Builder::new(like).hashes(KeyHashes::with_seed([1, 2, 3]));
        let keys: KeyedMeter<u64> = builder.when_full(WhenFull::Admit).with_capacity(50_000).unwrap();
        let now = Instant::now();
        (0..live).for_each(|key| assert!(keys.check_at(&key, now).is_ok()));
        let slots = keys
            .shared
            .table
            .buckets()
            .iter()
            .flat_map(|bucket| bucket.slots().enumerate());
        let taken = slots.filter(|(_, slot)| slot.load().is_resident());
        let home = taken.filter(|(index, slot)| KeyHash(slot.id()).home() == index / WIDTH);
        home.fold((0, 0), |(lines, slots), (index, slot)| {
            (
                lines + 1,
                slots + usize::from(KeyHash(slot.id()).first() == index % WIDTH),
            )
        })
    }

    /// The share of keys for which a decision reads one cache line.
    #[test]
    fn most_keys_are_in_their_home_line() {
        let (lines, slots) = at_home(50_000);
        assert!(
            lines >= 41_000 && slots >= 25_000,
            "{lines} and {slots} of 50,000 at capacity"
        );
        let (lines, slots) = at_home(25_000);
        assert!(
            lines >= 24_000 && slots >= 16_000,
            "{lines} and {slots} of 25,000 half full"
        );
    }

    #[test]
    fn an_intent_names_every_slot_and_ticket() {
        for index in [0, 1, Bucket::SLOTS - 1] {
            for ticket in [0, 1, (1 << 44) - 1] {
                let claim = State::UNTAKEN.claimed(false, 3, ticket);
                let intent = Intent::naming(claim, index);
                assert!(!intent.is_idle() && Intent::idle(ticket).is_idle());
                assert_eq!((intent.index(), intent.ticket()), (index, ticket));
            }
        }
    }

    #[test]
    fn a_reach_keeps_its_stamp_when_lowered_and_never_shrinks_when_raised() {
        let reach = Reach(0).raised(126, u64::MAX);
        assert_eq!(reach.lines(), 126);
        assert_eq!(reach.raised(5, 7).lines(), 126);
        assert_ne!(reach.raised(126, 7), reach, "the stamp is another");
        assert_eq!(reach.lowered(0).lines(), 0);
        assert_eq!(reach.lowered(0).0 >> Reach::BITS, reach.0 >> Reach::BITS);
    }
}
