//! The bucket, which keeps the meter of a key, and the protocol by which a key gets a slot.
//!
//! A key belongs to one *bucket*: a header and [`LINES`] lines of [`WIDTH`] slots. One of the lines is the key's *home*, and the key's slot is nearly
//! always in that line. A slot consists of a [state](super::slot) and an id:
//!
//! ```text
//!                claim, id                              publish, settle
//!     vacant ─────────────────────▶ claimed ───────────────────────────────▶ resident ◀─┐ charge, refund, reset,
//!       ▲                           │    ▲                                      │   └───┘ change of tier or quota
//!       │          vacate           │    │          claim, id: if idle          │
//!       └───────────────────────────┘    └──────────── or evicted ──────────────┘
//! ```
//!
//! | transition | by which thread | model, in `tests/loom` |
//! |---|---|---|
//! | vacant to claimed | a claimant: exchanges the state, then stores the id | `keyed::two_new_keys_one_slot_*` |
//! | resident to claimed | a claimant, in the same way | `keyed::a_charge_during_eviction_*` |
//! | claimed to vacant | only the claimant, before it publishes: stores the state | `keyed::two_threads_on_a_new_key_one_wins` |
//! | claimed to resident | any thread, once the intent names the claim | `keyed::three_threads_on_a_new_key_two_win` |
//! | resident to resident, the word grows | any thread that charges the key | `keyed::a_stalled_thread_*` |
//! | resident to resident, in the next version | any thread that lowers the word, or changes its limit | `keyed::split::charge_*` |
//!
//! # Inserting a key
//!
//! The *intent* of a bucket is either idle, or names the ticket and the slot of a claim that is to be carried out. The *reach* of a home is the
//! number of lines beyond it in which its keys may have slots. The *watermark* of a bucket is the latest time at which a slot was taken from its
//! owner, or a key changed its tier. A *claimant* is a thread that inserts a key. The claimant
//!
//! 1. reads an idle intent s. If the intent names a claim, the claimant first carries out that claim;
//! 2. searches as far as the reach of the key's home. If the key is there, the claimant vacates the claim that it holds, if any, and is done;
//! 3. unless it holds a claim: raises the watermark if the chosen slot has an owner; draws a ticket t; exchanges the state for the claim of t; stores
//!    the id. The claimant keeps its claim when it repeats steps;
//! 4. *publishes*: exchanges the same idle intent s for the intent that names t. If that fails, it goes back to step 1;
//! 5. *settles*: raises the reach of the home to the slot; exchanges the claim for a resident; exchanges the intent for an idle one of ticket t.
//!
//! If a thread meets an intent that names a claim, it does step 5 for that claim. The claimant's own exchange also makes the first charge; a helper
//! leaves the key idle.
//!
//! # Invariants
//!
//! 1. *One claimant.* From the claim until it is settled or vacated, no other thread writes the state or the id. So ids are stored, never exchanged.
//!    (Only the claimant drew t; other threads exchange the claim of t only once the intent names t.)
//! 2. *A resident is made only from the claim that the intent named, and once*: each ticket is drawn once, and a late helper expects the claim of its
//!    own ticket. (Without the ticket in the intent, a late helper could settle the next claim of the same slot, which has not been published.)
//! 3. *While the intent is idle, no key becomes a resident.* A claim that was named before was settled before the intent became idle.
//! 4. *A key has at most one slot.* By 3, if step 4 succeeds, then the key was absent from before the search until step 4. An idle intent does not
//!    come back, because tickets do not.
//! 5. *No resident is beyond the reach of its home.* The reach is raised between publishing and settling, with a stamp of the ticket. Before that, a
//!    check shows that the intent still stands. The reach is lowered only by a thread that saw the same idle intent twice: before it read the reach,
//!    and after it searched. So a thread that lowers the reach and a thread that raises it expect different words.
//! 6. *A claim overwrites* a slot without an owner, an owner that was idle at the watermark, or an owner that is evicted and counted.
//! 7. *A key begins at the idle word of the watermark or above.* The watermark is read after the search. The search acquired the exchange by which
//!    the key lost its former slot, and with it the watermark raised before that exchange. So no time is credited twice. A key whose tier changes is
//!    also converted at the watermark, which is raised before.
//! 8. *A charge hits the key it was decided for*: [`slot`](super::slot), (N) and its orderings. A denial reads the state
//!    a second time before it is returned.
//! 9. *All of this uses limits that hold*: [`limits`](super::limits). A change of quota exchanges each idle intent for a new one after the limits are
//!    superseded. So a claimant that has not published by then fails to publish, and begins again with the new limits.
//!
//! # Progress
//!
//! The protocol is lock-free. An exchange of a state fails because of another thread's charge or claim. An exchange of an intent fails because a turn
//! began or ended, and one of a reach because the reach was raised or lowered. A thread that stalls holds the one slot that it claimed, and no thread
//! waits for it. There is one exception: in a full bucket, two claimants can evict each other's uncharged key in turn.
//!
//! # Tests
//!
//! | interleaving | invariant | test |
//! |---|---|---|
//! | two threads, one new key | 4 | loom `keyed::two_threads_on_a_new_key_one_wins`, `three_threads_*`; stress |
//! | two new keys, one slot | 1, 6 | loom `keyed::two_new_keys_one_slot_*`; stress |
//! | a charge beside a claim | 8 | loom `keyed::a_charge_during_eviction_*`; stress |
//! | a slot changes owners and back | 8 | loom `keyed::a_stalled_thread_*`, `keyed::split::charge_before_*`; stress |
//! | a denial beside an eviction | 8 | loom `keyed::split::evicted_key*` |
//! | a key is inserted while its reach is lowered | 5 | loom `keyed::reach::*` |
//! | two clocks | 7 | loom `keyed::a_reused_slot_*` |
//! | a change of tier | 7 | loom `keyed::no_hour_is_credited_by_two_tiers`; stress |
//! | a change of quota | 9 | loom `keyed::split::*_quota_change*`; stress |
//!
//! Two interleavings are too long for the models. In one a helper stalls until the next claim of the slot (2). In the other the reach is raised
//! between the load and the exchange of a thread that lowers it (5). The unit tests of this file take their steps one by one.

use super::WhenFull;
use super::hash::{KeyHash, LINES, WIDTH};
use super::limits::{Limits, Superseded};
use super::slot::{AtomicU64, Line, Ordering, Reach, Slot, SlotState, StateKind, may_stop};
use crate::algorithm::Algorithm;
use crate::units::{Nanos, UnitScale, Volume};

/// The number of times that a claimant searches again if only claims are in its way. After that it treats the bucket as full.
const PATIENCE: u32 = if cfg!(ratelimit_meter_loom) { 2 } else { 4 };

/// The outcome of an attempt to insert a key.
#[derive(Debug)]
pub(super) enum Insertion<T> {
    /// The key may have a slot now: another look shows whether it has.
    LookAgain,
    /// The key has a slot, and was charged.
    Charged(T),
    /// All slots have live owners. `nearest` is the owner that becomes idle first.
    Full { nearest: SlotState },
}

/// The result of a search for a key.
enum Search {
    Present,
    Room(usize, SlotState),
    Full(usize, SlotState),
    /// Only claims and live owners; holds the live owner that becomes idle first, if there is one.
    Claims(Option<(usize, SlotState)>),
}

#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct HashBucket {
    header: Header,
    pub(super) lines: [Line; LINES],
}

impl Default for HashBucket {
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
    /// The number of live keys that were evicted. Stored here, so that evictions in different buckets do not share a cache line.
    evicted: AtomicU64,
}

impl Default for Header {
    fn default() -> Self {
        let [intent, watermark, evicted] = [0; 3].map(AtomicU64::new);
        Self {
            intent,
            watermark,
            tickets: AtomicU64::new(1),
            evicted,
        }
    }
}

#[cfg(not(any(ratelimit_meter_loom, ratelimit_meter_stress)))]
const _: () = assert!(size_of::<HashBucket>() == 8 << 10, "a bucket is two pages");

// A distance fits a reach, and an index fits an intent.
const _: () = assert!(LINES <= 1 << Reach::BITS && HashBucket::SLOTS < (1 << Intent::INDEX_BITS) - 1);

/// The ticket of a claim, and the place of its slot while the claim is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Intent(u64);

impl Intent {
    const INDEX_BITS: u32 = 12;

    const fn naming(claim: SlotState, index: usize) -> Self {
        Self(claim.ticket() << Self::INDEX_BITS | (index as u64 + 1))
    }

    const fn idle(ticket: u64) -> Self {
        Self(ticket << Self::INDEX_BITS)
    }

    const fn is_idle(self) -> bool {
        self.0 % (1 << Self::INDEX_BITS) == 0
    }

    /// Returns the index of the slot that an intent names.
    const fn index(self) -> usize {
        (self.0 % (1 << Self::INDEX_BITS)) as usize - 1
    }

    const fn ticket(self) -> u64 {
        self.0 >> Self::INDEX_BITS
    }
}

impl HashBucket {
    /// The number of slots in a bucket.
    pub(super) const SLOTS: usize = LINES * WIDTH;

    /// Returns the slot of a resident and its state.
    #[inline]
    pub(super) fn find(&self, key: KeyHash) -> Option<(Slot<'_>, SlotState)> {
        self.lines[key.home()].find(key).or_else(|| self.find_beyond(key))
    }

    #[inline(never)]
    fn find_beyond(&self, key: KeyHash) -> Option<(Slot<'_>, SlotState)> {
        let reach = Reach::load(&self.lines[key.home()].reach).lines();
        let mut beyond = key.lines().skip(1).take(reach);
        beyond.find_map(|line| self.lines[line].find(key))
    }

    /// Returns the slot of a key and its state; or `None` if at one moment the key was absent from all slots.
    pub(super) fn find_or_prove_absent<A: Algorithm>(
        &self,
        key: KeyHash,
        limits: &Limits<A>,
    ) -> Result<Option<(Slot<'_>, SlotState)>, Superseded> {
        loop {
            let idle = self.idle(limits)?;
            let found = self.find(key);
            if found.is_some() || self.intent() == idle {
                return Ok(found);
            }
        }
    }

    /// Returns the latest time at which a slot was taken from its owner, or a key changed its tier.
    #[inline]
    pub(super) fn watermark(&self) -> Nanos {
        // ORDERING: relaxed. A thread that acts on a slot that was taken has acquired the slot, and with it the watermark raised before; other
        // threads need nothing. Weaker breaks `keyed::a_reused_slot_never_doubles_the_last_cell` in `tests/loom`.
        Nanos::clamped(self.header.watermark.load(Ordering::Relaxed))
    }

    /// Returns whether `due`, which has not drained by `at`, has drained by the watermark.
    #[inline]
    pub(super) fn has_drained_by_watermark(&self, due: Volume, at: Nanos, scale: UnitScale) -> bool {
        // ORDERING: relaxed, as in `watermark`.
        let is_after = self.header.watermark.load(Ordering::Relaxed) > at.get();
        is_after && self.drained_by_watermark(scale) >= due
    }

    // Out of line: the watermark is rarely so late.
    #[cold]
    #[inline(never)]
    fn drained_by_watermark(&self, scale: UnitScale) -> Volume {
        scale.volume_at(self.watermark())
    }

    /// Raises the watermark to `at`. Call it before an exchange made at `at`, after which no exchange may be made at an earlier time.
    pub(super) fn raise_watermark(&self, at: Nanos) {
        may_stop();
        // ORDERING: relaxed. The exchange of the state that follows releases the watermark; the test is that of `watermark`.
        self.header.watermark.fetch_max(at.get(), Ordering::Relaxed);
    }

    /// Returns the number of live keys that were evicted.
    pub(super) fn evicted(&self) -> u64 {
        // ORDERING: relaxed. A count of events, which orders nothing.
        self.header.evicted.load(Ordering::Relaxed)
    }

    fn intent(&self) -> Intent {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange_intent`, so that an idle intent shows all claims that were carried out before.
        Intent(self.header.intent.load(Ordering::Acquire))
    }

    fn exchange_intent(&self, seen: Intent, new: Intent) -> bool {
        may_stop();
        let intent = &self.header.intent;
        // ORDERING: release, for the claim and its id, or for the resident made of it. Acquire, so that a chain of turns passes on all that each of
        // them released.
        intent
            .compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Returns the intent once it is idle; carries out the claims that it names.
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

    /// Carries out the claim that an intent names, unless that is done: step 5, for another thread.
    #[cold]
    fn carry_out<A: Algorithm>(&self, intent: Intent, limits: &Limits<A>) -> Result<(), Superseded> {
        let slot = self.slot(intent.index());
        let claim = slot.load();
        // Invariant 2: only the claim of the ticket that was published.
        if claim.kind() == StateKind::Claimed && claim.ticket() == intent.ticket() {
            // The id is another key's only if the claim is over; then nothing is exchanged.
            let key = KeyHash(slot.id());
            let idle = limits.idle_word_by(claim.claimed_limit(), self.watermark())?;
            self.settle(intent, key, claim, claim.settled(limits.form(), idle));
        }
        self.exchange_intent(intent, Intent::idle(intent.ticket()));
        Ok(())
    }

    /// Turns the published claim into a resident. Returns whether this call did so.
    fn settle(&self, intent: Intent, key: KeyHash, claim: SlotState, resident: SlotState) -> bool {
        let distance = key.distance(intent.index() / WIDTH);
        if distance > 0 && !self.raise_reach(key, distance, intent) {
            return false;
        }
        self.slot(intent.index()).exchange(claim, resident)
    }

    /// Raises the reach of a key's home, unless the intent for which it is raised is over; invariant 5.
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

    /// Inserts a key that was not found, which `tier` will decide. `charged` returns the word after the key's first charge, given an idle word, if
    /// the charge is admitted. Evicts a live key only if the policy is [`WhenFull::Forgive`].
    pub(super) fn insert<A: Algorithm, T>(
        &self,
        key: KeyHash,
        tier: u8,
        at: Nanos,
        limits: &Limits<A>,
        charged: impl Fn(u64) -> Option<(u64, T)>,
    ) -> Result<Insertion<T>, Superseded> {
        let mut held: Option<(usize, SlotState)> = None;
        let mut patience = PATIENCE;
        loop {
            // Steps 1 and 2.
            let found = self.idle(limits).and_then(|idle| {
                let now = at.max(self.watermark());
                let search = self.search(key, idle, now, held.is_some(), limits)?;
                Ok((idle, now, search))
            });
            let (idle, now, search) = match found {
                Ok(found) => found,
                Err(superseded) => {
                    self.vacate(held);
                    return Err(superseded);
                }
            };
            // The rest of step 2, and step 3.
            let (index, claim) = match (held, search) {
                (held, Search::Present) => {
                    self.vacate(held);
                    return Ok(Insertion::LookAgain);
                }
                (Some(held), _) => held,
                (None, Search::Claims(_)) if patience > 0 => {
                    // A claim may be one for this very key.
                    patience -= 1;
                    yield_to_claimants();
                    continue;
                }
                (None, Search::Claims(None)) => {
                    let nearest = limits
                        .form()
                        .resident(0, limits.number(tier), limits.idle_word(tier, now));
                    return Ok(Insertion::Full { nearest });
                }
                (None, Search::Full(_, nearest) | Search::Claims(Some((_, nearest))))
                    if limits.when_full != WhenFull::Forgive =>
                {
                    if self.intent() == idle {
                        return Ok(Insertion::Full { nearest });
                    }
                    continue;
                }
                (None, Search::Room(index, seen) | Search::Full(index, seen) | Search::Claims(Some((index, seen)))) => {
                    match self.claim(index, seen, key, tier, now, limits)? {
                        Some(claim) => (index, claim),
                        None => continue,
                    }
                }
            };
            held = Some((index, claim));
            // Step 4.
            let intent = Intent::naming(claim, index);
            if !self.exchange_intent(idle, intent) {
                continue;
            }
            // Step 5.
            let idle_word = limits.idle_word(tier, self.watermark());
            let first = charged(idle_word);
            let word = first.as_ref().map_or(idle_word, |(word, _)| *word);
            let settled = self.settle(intent, key, claim, claim.settled(limits.form(), word));
            self.exchange_intent(intent, Intent::idle(intent.ticket()));
            return Ok(match first {
                Some((_, made)) if settled => Insertion::Charged(made),
                _ => Insertion::LookAgain,
            });
        }
    }

    /// Claims a slot whose state was `seen`, and stores the id of the key: step 3.
    fn claim<A: Algorithm>(
        &self,
        index: usize,
        seen: SlotState,
        key: KeyHash,
        tier: u8,
        now: Nanos,
        limits: &Limits<A>,
    ) -> Result<Option<SlotState>, Superseded> {
        let (mut steps, mut is_live) = (false, false);
        if seen.is_resident() {
            self.raise_watermark(now);
            steps = !limits.was_idle(seen, now)?;
            is_live = limits.is_live(seen, now)?;
        }
        // ORDERING: relaxed. Only has to return each ticket once.
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed);
        let claim = seen.claimed(steps, limits.number(tier), ticket);
        let slot = self.slot(index);
        if !slot.exchange(seen, claim) {
            return Ok(None);
        }
        if is_live {
            // ORDERING: relaxed. A count of events, which orders nothing.
            self.header.evicted.fetch_add(1, Ordering::Relaxed);
        }
        slot.set_id(key);
        Ok(Some(claim))
    }

    /// Gives up the claim of a slot, if one is held. Only its claimant may do so, and only while no intent has named the claim.
    fn vacate(&self, held: Option<(usize, SlotState)>) {
        if let Some((index, claim)) = held {
            self.slot(index).store(claim.vacated());
        }
    }

    /// Returns the live owner that becomes idle first, if an absent key would find no room.
    pub(super) fn nearest_if_full<A: Algorithm>(
        &self,
        key: KeyHash,
        at: Nanos,
        limits: &Limits<A>,
    ) -> Result<Option<SlotState>, Superseded> {
        let idle = self.idle(limits)?;
        Ok(match self.search(key, idle, at.max(self.watermark()), false, limits)? {
            Search::Full(_, nearest) | Search::Claims(Some((_, nearest))) => Some(nearest),
            _ => None,
        })
    }

    /// Returns the ids and states of all residents.
    pub(super) fn residents(&self) -> impl Iterator<Item = (u64, SlotState)> {
        self.slots().filter_map(|slot| {
            loop {
                let state = slot.load();
                if !state.is_resident() {
                    return None;
                }
                let id = slot.id();
                // The id is the owner's only if the state is still the owner's.
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

    /// Searches for a key as far as the reach of its home, and for room until it finds some.
    fn search<A: Algorithm>(
        &self,
        key: KeyHash,
        idle: Intent,
        now: Nanos,
        has_room: bool,
        limits: &Limits<A>,
    ) -> Result<Search, Superseded> {
        let mut room: Option<(usize, SlotState)> = None;
        let mut has_claims = false;
        let mut nearest: Option<(usize, SlotState, Nanos)> = None;
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
                    StateKind::Vacant => {
                        // Prefers a vacant slot to a slot of the same line to which an idle key may come back.
                        if room.is_none_or(|(other, seen)| other / WIDTH == line && seen.is_resident()) {
                            room = Some((index, state));
                        }
                        continue;
                    }
                    StateKind::Claimed => {
                        has_claims = true;
                        continue;
                    }
                    StateKind::Resident => {}
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

    /// Converts the bucket to `limits`, which have superseded other limits. Afterwards unpublished claims fail. Each resident has a word by these
    /// limits, in a state that no other thread has seen before. Invariant 9.
    ///
    /// It must be finished before it is called again with later limits.
    pub(super) fn convert<A: Algorithm>(&self, limits: &Limits<A>) {
        self.raise_watermark(limits.since());
        while !self.begin_new_turn(limits) {}
        for slot in self.slots() {
            while !convert_slot(slot, limits) {}
        }
    }

    /// Exchanges the idle intent for a new one.
    fn begin_new_turn<A: Algorithm>(&self, limits: &Limits<A>) -> bool {
        let Ok(idle) = self.idle(limits) else { return false };
        // ORDERING: relaxed. Only has to return each ticket once.
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed);
        self.exchange_intent(idle, Intent::idle(ticket))
    }
}

/// Replaces the state of a resident by one of the next version. Returns whether that is done, or the slot has no resident.
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

fn yield_to_claimants() {
    #[cfg(ratelimit_meter_loom)]
    loom::thread::yield_now();
    #[cfg(not(ratelimit_meter_loom))]
    crate::store::pause();
}

#[cfg(all(test, not(any(ratelimit_meter_loom, ratelimit_meter_stress))))]
mod tests {
    use super::*;
    use crate::keyed::slot::Form;
    use crate::keyed::{KeyHashes, KeyedBuilder};
    use crate::time::Instant;
    use crate::{GCRA, KeyedMeter, Quota};

    /// Counts the live keys in their home line, in a table for 50,000, and the live keys in the slot where their search begins.
    fn at_home(live: u64) -> (usize, usize) {
        let like = GCRA::from_quota("1/h".parse::<Quota>().unwrap()).unwrap();
        let builder = KeyedBuilder::new(like).hashes(KeyHashes::with_seed([1, 2, 3]));
        let keys: KeyedMeter<u64> = builder.when_full(WhenFull::Admit).with_capacity(50_000).unwrap();
        let now = Instant::now();
        (0..live).for_each(|key| assert!(keys.check_at(&key, now).is_ok()));
        let slots = keys.table.buckets.iter().flat_map(|bucket| bucket.slots().enumerate());
        let taken = slots.filter(|(_, slot)| slot.load().is_resident());
        let home = taken.filter(|(index, slot)| KeyHash(slot.id()).home() == index / WIDTH);
        home.fold((0, 0), |(lines, slots), (index, slot)| {
            (
                lines + 1,
                slots + usize::from(KeyHash(slot.id()).first() == index % WIDTH),
            )
        })
    }

    /// Checks the share of keys for which a decision reads one cache line.
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

    /// The interleaving of invariant 2, step by step: a helper stalls after it has read an intent. Meanwhile the claim is settled, the key becomes
    /// idle, and another claimant takes the slot but has not published yet.
    #[test]
    fn late_helper_does_not_settle_the_next_claim() {
        let form = Form::for_limits(1);
        let like = GCRA::from_quota("1/s".parse::<Quota>().unwrap()).unwrap();
        let schedule = like.into_parts().0.below(form.end()).unwrap();
        let limits = Limits::new(&[schedule], form, WhenFull::Deny).unwrap();
        // In the home line of both keys, so that no reach is raised.
        let (bucket, index) = (HashBucket::default(), 1);
        let claimed_for = |key, at| {
            let (slot, key) = (bucket.slot(index), KeyHash(key));
            let claim = bucket.claim(index, slot.load(), key, 0, at, &limits);
            claim.unwrap().expect("no other thread changes the slot")
        };

        let first = claimed_for(1, Nanos::BEGINNING);
        let seen_by_helper = Intent::naming(first, index);
        assert!(bucket.exchange_intent(bucket.intent(), seen_by_helper));
        bucket.carry_out(seen_by_helper, &limits).unwrap();
        assert_eq!(bucket.slot(index).load().kind(), StateKind::Resident);
        let second = claimed_for(2, Nanos::BEGINNING.later(1_000_000));
        bucket.carry_out(seen_by_helper, &limits).unwrap();
        assert_eq!(bucket.slot(index).load(), second, "it has not been published");
    }

    /// The interleaving of invariant 5, step by step: a searching thread has read the reach, and a claimant raises it to its present value.
    #[test]
    fn reach_raised_since_its_load_is_not_lowered() {
        let (bucket, key) = (HashBucket::default(), KeyHash(0));
        let reach = &bucket.lines[key.home()].reach;
        let raise_for = |ticket| {
            let intent = Intent::naming(SlotState::UNTAKEN.claimed(false, 0, ticket), WIDTH);
            assert!(bucket.exchange_intent(bucket.intent(), intent));
            assert!(bucket.raise_reach(key, 1, intent));
        };
        raise_for(1);
        let seen = Reach::load(reach);
        raise_for(2);
        assert_eq!(Reach::load(reach).lines(), seen.lines());
        assert!(!seen.exchange(reach, seen.lowered(0)));
    }

    #[test]
    fn an_intent_names_every_slot_and_ticket() {
        for index in [0, 1, HashBucket::SLOTS - 1] {
            for ticket in [0, 1, (1 << 44) - 1] {
                let claim = SlotState::UNTAKEN.claimed(false, 3, ticket);
                let intent = Intent::naming(claim, index);
                assert!(!intent.is_idle() && Intent::idle(ticket).is_idle());
                assert_eq!((intent.index(), intent.ticket()), (index, ticket));
            }
        }
    }
}
