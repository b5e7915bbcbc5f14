//! The slot: a 64-bit state and the id of a key, four slots to a cache line. [`bucket`](super::bucket) documents the protocol.
//!
//! The state has a kind, and for a resident the word of its meter. All functions of [`SlotState`] and [`Form`] are pure.
//!
//! ```text
//!             63      62 61          ..                       0
//! resident   | version  | limit (1 to 5 bits) | word           |   a key's meter
//! claimed    | 1111 1111 1111 | 0 | 0 | version | limit | ticket   a key is being inserted
//! vacant     | 1111 1111 1111 | 1 | 0 | version | limit | ticket   a claim was given up; or all ones: no key was ever here
//!             63           52  51      49 48     47 .. 44  43 .. 0
//! ```
//!
//! A *resident* is the key that has the slot; it is also called the slot's *owner*. A state whose upper twelve bits are all ones is a *mark*. Words
//! stay below [`Form::end`], so the state of a resident is never a mark.
//!
//! *Limit* is the number of the limit by which the word is read. A tier has one number, and gets another when its quota changes
//! ([`limits`](super::limits)).
//!
//! # No state comes back
//!
//! A thread decides on a state that it read some time ago. Its exchange must fail if the slot has had another owner since. The *version* ensures
//! that. To *step* the version is to add one:
//!
//! - An exchange of a resident's state keeps the version only if the limit stays and the word grows. Otherwise it steps the version ([`Form::next`]).
//! - A claim keeps the version only if the owner was idle at the watermark, by a limit that still holds. Otherwise it steps the version
//!   ([`SlotState::claimed`]).
//!
//! *Invariant* (N): among the states of a slot with equal version and limit, and with no step in between, words strictly increase, over any number of
//! owners.
//!
//! *Proof*: for one owner, by the first rule. Now let owner L follow owner K without a step. K was idle at the watermark W, so K's words of this run
//! are below the idle word of W. The words of the owners before K are below it too, because watermarks only rise. L begins at the idle word of W or
//! above.
//!
//! The version has two bits, so it wraps after four steps. If a thread stalls during exactly four steps, its exchange succeeds if the word is also
//! equal to the unit. Then one key is charged once for another. Ordinary reuse of idle slots takes no step. The stress tests refund all the time and
//! stop threads, so with two bits they meet this on a busy machine: there the version has four bits.
//!
//! # Orderings
//!
//! A slot is two locations, a state and an id, and only the state is ever exchanged. A thread that reads a state and then the id needs two edges:
//!
//! - *State loads acquire, exchanges release.* A state read during one owner's time synchronizes with the exchange that made the owner a resident.
//!   The owner's id was stored before that exchange, so the id read afterwards is the owner's, or a later owner's. (Charges are exchanges too, so
//!   they continue the release sequence with any order of their own.)
//! - *Id loads acquire, id stores release.* If the id read is a later owner's, it was stored after the exchange that claimed the slot. That exchange
//!   then happens before the reader's own exchange or second look, which finds another state, because no state comes back.
//!
//! So if the exchange succeeds, or the second look finds the same state, the id was the owner's. With relaxed ids, the load could be satisfied by a
//! store that has not happened yet.

#[cfg(ratelimit_meter_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
#[cfg(not(ratelimit_meter_loom))]
pub(super) use {
    crate::store::AtomicU64,
    core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering},
};

use super::hash::{KeyHash, WIDTH};
use core::fmt;

const VERSION_BITS: u32 = if cfg!(ratelimit_meter_stress) { 4 } else { 2 };
const VERSIONS: u64 = (1 << VERSION_BITS) - 1;

/// All marks are at least this number.
const MARKS: u64 = !0 << 52;
const VACANT: u64 = 1 << 51;
const VERSION_SHIFT: u32 = 50 - VERSION_BITS;
const LIMIT_SHIFT: u32 = VERSION_SHIFT - 4;
const TICKETS: u64 = (1 << LIMIT_SHIFT) - 1;

/// The maximum number of limits that a state can distinguish, in four bits.
pub(super) const MOST_LIMITS: usize = 16;

/// The content of a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotState(pub(super) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind {
    Resident,
    Claimed,
    Vacant,
}

/// The layout of the states of one table: the number of bits of a resident's state that hold the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    bits: u32,
}

impl Form {
    /// Returns the form that distinguishes `limits` limits.
    pub(super) const fn for_limits(limits: usize) -> Self {
        let bits = usize::BITS - limits.saturating_sub(1).leading_zeros();
        Self {
            bits: u64::BITS - VERSION_BITS - bits,
        }
    }

    /// Returns the form whose words have `bits` bits, if there is one.
    pub(super) fn with_bits(bits: u32) -> Option<Self> {
        let form = Self { bits };
        (58..=62).contains(&bits).then_some(form)
    }

    /// Returns the number of limits that the form distinguishes.
    pub(super) const fn limits(self) -> usize {
        1 << (u64::BITS - VERSION_BITS - self.bits)
    }

    /// Returns the number of bits of a word.
    pub(super) const fn bits(self) -> u32 {
        self.bits
    }

    /// Returns the end of the range of words, exclusive. The last 2^52 numbers are for marks.
    pub(super) const fn end(self) -> u64 {
        (1 << self.bits) - (1 << 52)
    }

    #[inline]
    pub(super) const fn word(self, state: SlotState) -> u64 {
        state.0 & ((1 << self.bits) - 1)
    }

    /// Returns the limit by which a resident's word is read.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most four bits")]
    pub(super) const fn limit(self, state: SlotState) -> u8 {
        (state.0 << VERSION_BITS >> VERSION_BITS >> self.bits) as u8
    }

    /// Returns the states of the residents that `limit` decides.
    pub(super) const fn decided_by(self, limit: u8) -> LimitStates {
        LimitStates {
            limit: (limit as u64) << self.bits,
            end: self.end(),
        }
    }

    /// Returns the next state of a resident. Invariant (N) rests on this function and on [`SlotState::claimed`].
    #[inline]
    pub(super) fn next(self, state: SlotState, limit: u8, word: u64) -> SlotState {
        if word > self.word(state) && limit == self.limit(state) {
            SlotState(state.0 - self.word(state) + word)
        } else {
            self.stepped(state, limit, word)
        }
    }

    /// Returns the next state of a resident, with the version stepped so that no state of this version comes back.
    #[cold]
    pub(super) const fn stepped(self, state: SlotState, limit: u8, word: u64) -> SlotState {
        self.resident(state.version() + 1, limit, word)
    }

    pub(super) const fn resident(self, version: u64, limit: u8, word: u64) -> SlotState {
        SlotState((version & VERSIONS) << (u64::BITS - VERSION_BITS) | (limit as u64) << self.bits | word)
    }
}

/// The states of the residents that one limit decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitStates {
    /// The number of the limit, in its place in a state.
    limit: u64,
    /// The end of the range of words.
    end: u64,
}

impl LimitStates {
    /// Returns the word of a state; `None` if the state is a mark, or a resident's that another limit decides.
    ///
    /// One comparison separates them: in the state of another limit, a bit above the word differs from this limit's. In a mark, the upper bits of the
    /// word are ones, so the word is not below the end.
    #[inline]
    pub(super) const fn word(self, state: SlotState) -> Option<u64> {
        let word = (state.0 ^ self.limit) << VERSION_BITS >> VERSION_BITS;
        if word < self.end { Some(word) } else { None }
    }
}

impl SlotState {
    /// The state of a slot that never had a key.
    pub(super) const UNTAKEN: Self = Self(!0);

    #[inline]
    pub(super) const fn is_resident(self) -> bool {
        self.0 < MARKS
    }

    pub(super) const fn kind(self) -> StateKind {
        match self.0 {
            resident if resident < MARKS => StateKind::Resident,
            mark if mark & VACANT != 0 => StateKind::Vacant,
            _ => StateKind::Claimed,
        }
    }

    /// Returns the version of a resident, or the version that the resident made from a mark will have.
    const fn version(self) -> u64 {
        if self.0 < MARKS {
            self.0 >> (u64::BITS - VERSION_BITS)
        } else {
            self.0 >> VERSION_SHIFT & VERSIONS
        }
    }

    /// Returns the mark of a claim on a slot of this state, for a key that `limit` will decide. `steps` is whether the owner was live, or its limit
    /// no longer holds.
    pub(super) const fn claimed(self, steps: bool, limit: u8, ticket: u64) -> Self {
        let version = (self.version() + steps as u64) & VERSIONS;
        Self(MARKS | version << VERSION_SHIFT | (limit as u64) << LIMIT_SHIFT | ticket & TICKETS)
    }

    /// Returns the mark after the claim was given up.
    pub(super) const fn vacated(self) -> Self {
        Self(self.0 | VACANT)
    }

    /// Returns the limit of a claim.
    #[expect(clippy::cast_possible_truncation, reason = "four bits")]
    pub(super) const fn claimed_limit(self) -> u8 {
        (self.0 >> LIMIT_SHIFT & (MOST_LIMITS as u64 - 1)) as u8
    }

    pub(super) const fn ticket(self) -> u64 {
        self.0 & TICKETS
    }

    /// Returns the state of the resident that replaces this claim.
    pub(super) const fn settled(self, form: Form, word: u64) -> Self {
        form.resident(self.version(), self.claimed_limit(), word)
    }
}

impl fmt::Debug for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:#018x})", self.kind(), self.0)
    }
}

/// One cache line of slots.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    states: [AtomicU64; WIDTH],
    lower: [AtomicU32; WIDTH],
    upper: [AtomicU16; WIDTH],
    /// The distance from this line within which its keys may have slots; [`Reach`].
    pub(super) reach: AtomicU32,
}

#[cfg(not(any(ratelimit_meter_loom, ratelimit_meter_stress)))]
const _: () = assert!(size_of::<Line>() == 64, "a line of slots is one cache line");

impl Default for Line {
    fn default() -> Self {
        Self {
            states: core::array::from_fn(|_| AtomicU64::new(SlotState::UNTAKEN.0)),
            lower: core::array::from_fn(|_| AtomicU32::new(0)),
            upper: core::array::from_fn(|_| AtomicU16::new(0)),
            reach: AtomicU32::new(0),
        }
    }
}

impl Line {
    #[inline]
    pub(super) fn slot(&self, index: usize) -> Slot<'_> {
        Slot { line: self, index }
    }

    /// Returns the slot of a resident and its state.
    #[inline]
    pub(super) fn find(&self, key: KeyHash) -> Option<(Slot<'_>, SlotState)> {
        let mut matches: u32 = 0;
        for (index, lower) in self.lower.iter().enumerate() {
            // ORDERING: relaxed. A hint: `Slot::is_of` looks again.
            matches |= u32::from(lower.load(Ordering::Relaxed) == key.lower()) << index;
        }
        while matches != 0 {
            let slot = self.slot(matches.trailing_zeros() as usize);
            matches &= matches - 1;
            let state = slot.load();
            if state.is_resident() && slot.is_of(key) {
                return Some((slot, state));
            }
        }
        None
    }

    /// Returns the slot of a resident that a limit decides, its state and its word.
    ///
    /// Looks first at the slot where the key's search begins. If the key is there, as a hot key is, the decision need not wait for the comparison of
    /// the other slots. A hot key costs 5 ns less.
    #[inline(always)]
    pub(super) fn find_decided_by(&self, key: KeyHash, limit: LimitStates) -> Option<(Slot<'_>, SlotState, u64)> {
        let slot = self.slot(key.first());
        let state = slot.load();
        match limit.word(state) {
            Some(word) if slot.is_of(key) => Some((slot, state, word)),
            _ => {
                let (slot, state) = self.find(key)?;
                Some((slot, state, limit.word(state)?))
            }
        }
    }

    /// Begins to fetch the line, and does not wait for it.
    ///
    /// Unlike a load, the instruction also begins before an earlier locked instruction has ended.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline]
    #[expect(unsafe_code, reason = "the instruction has no safe form")]
    pub(super) fn fetch(&self) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is part of SSE, which every x86-64 has. It is a hint: it changes neither memory nor registers, and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(self).cast()) };
    }

    /// Loads a part of the line.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    #[inline]
    pub(super) fn fetch(&self) {
        // ORDERING: relaxed. The value is not used, so nothing waits for it.
        core::hint::black_box(self.reach.load(Ordering::Relaxed));
    }
}

/// A slot: a state, and the id of the key that has the slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    line: &'a Line,
    index: usize,
}

impl Slot<'_> {
    #[inline]
    pub(super) fn load(self) -> SlotState {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange`, so that the id read next is the owner's or a later owner's (see above). A thread that finds a
        // slot taken from an idle key also sees the watermark raised before. Weaker breaks `keyed::a_reused_slot_never_doubles_the_last_cell` in
        // `tests/loom`.
        SlotState(self.line.states[self.index].load(Ordering::Acquire))
    }

    /// Stores `new` if the state is still `seen`.
    #[inline]
    pub(super) fn exchange(self, seen: SlotState, new: SlotState) -> bool {
        may_stop();
        // ORDERING: release, for the id, the reach and the watermark written before. Acquire, so that an id which is stored next comes after the last
        // one in its modification order. Strong, because a claim does not retry the same slot in a loop.
        self.line.states[self.index]
            .compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Stores the state. Only the claimant of the slot may call it; no other thread can change the state first.
    pub(super) fn store(self, state: SlotState) {
        may_stop();
        // ORDERING: release. Continues the release sequence of the claim's exchange, for the thread that claims the slot next.
        self.line.states[self.index].store(state.0, Ordering::Release);
    }

    /// Returns whether the id is the key's.
    #[inline]
    pub(super) fn is_of(self, key: KeyHash) -> bool {
        may_stop();
        // ORDERING: acquire, both. Pair with `set_id`, see above.
        self.line.lower[self.index].load(Ordering::Acquire) == key.lower()
            && self.line.upper[self.index].load(Ordering::Acquire) == key.upper()
    }

    #[inline]
    pub(super) fn id(self) -> u64 {
        may_stop();
        // ORDERING: acquire. Pairs with `set_id`, see above.
        let lower = self.line.lower[self.index].load(Ordering::Acquire);
        let upper = self.line.upper[self.index].load(Ordering::Acquire);
        u64::from(upper) << 32 | u64::from(lower)
    }

    /// Stores the id. Only the claimant of the slot may call it.
    pub(super) fn set_id(self, key: KeyHash) {
        may_stop();
        // ORDERING: release. Pairs with `id`, see above.
        self.line.lower[self.index].store(key.lower(), Ordering::Release);
        may_stop();
        self.line.upper[self.index].store(key.upper(), Ordering::Release);
    }
}

/// Marks a point at which a thread may stall; under `--cfg ratelimit_meter_stress` it sometimes does.
#[inline(always)]
pub(super) fn may_stop() {
    #[cfg(ratelimit_meter_stress)]
    stress::stop();
}

/// The number of lines beyond a home in which its keys may have slots; and the low bits of the last ticket that raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach(u32);

impl Reach {
    pub(super) const BITS: u32 = 7;

    pub(super) fn load(word: &AtomicU32) -> Self {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange`, so that a search that stops at the reach sees the exchange by which its key lost a slot beyond
        // the reach.
        Self(word.load(Ordering::Acquire))
    }

    pub(super) const fn lines(self) -> usize {
        (self.0 % (1 << Self::BITS)) as usize
    }

    #[expect(clippy::cast_possible_truncation, reason = "a stamp is the low bits")]
    pub(super) const fn raised(self, lines: usize, ticket: u64) -> Self {
        let lines = if lines > self.lines() { lines } else { self.lines() };
        Self((ticket as u32) << Self::BITS | lines as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the lines of a bucket")]
    pub(super) const fn lowered(self, lines: usize) -> Self {
        Self(self.0 >> Self::BITS << Self::BITS | lines as u32)
    }

    pub(super) fn exchange(self, word: &AtomicU32, new: Self) -> bool {
        may_stop();
        // ORDERING: release and acquire. Pairs with `load`, so that a chain of exchanges passes on all that each of them acquired.
        word.compare_exchange(self.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(ratelimit_meter_stress)]
mod stress {
    use core::cell::Cell;
    use core::time::Duration;

    thread_local! {
        static RANDOM: Cell<u64> = const { Cell::new(0) };
    }

    /// Yields the processor, spins or sleeps, one time in ten.
    pub(super) fn stop() {
        RANDOM.with(|random| {
            let mut x = random.get();
            if x == 0 {
                x = std::ptr::from_ref(random) as u64 | 1;
            }
            // Xorshift, by Marsaglia.
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            random.set(x);
            match x >> 32 & 0xff {
                0..8 => std::thread::yield_now(),
                8 => std::thread::sleep(Duration::from_micros(x >> 40 & 0x7f)),
                9..24 => (0..(x >> 40 & 0xff)).for_each(|_| std::hint::spin_loop()),
                _ => {}
            }
        });
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms() -> impl Strategy<Value = (Form, u8)> {
        (1..=MOST_LIMITS).prop_flat_map(|limits| {
            let last = u8::try_from(limits - 1).unwrap();
            (Just(Form::for_limits(limits)), 0..=last)
        })
    }

    #[test]
    fn each_tier_bit_costs_one_word_bit() {
        let bits = [(1, 62), (2, 61), (3, 60), (4, 60), (5, 59), (8, 59), (9, 58), (16, 58)];
        for (limits, bits) in bits {
            assert_eq!(Form::for_limits(limits).bits(), bits, "{limits} limits");
        }
        assert_eq!(SlotState::UNTAKEN.kind(), StateKind::Vacant);
    }

    proptest! {
        #[test]
        fn live_state_differs_from_all_marks((form, limit) in forms(), version in 0_u64..4, word: u64) {
            let word = word % form.end();
            for word in [word, 0, form.end() - 1] {
                let state = form.resident(version, limit, word);
                prop_assert_eq!(state.kind(), StateKind::Resident);
                prop_assert!(state.is_resident());
                prop_assert_eq!((form.limit(state), state.version()), (limit, version));
                prop_assert_eq!(form.word(state), word);
            }
        }

        #[test]
        fn claim_settles_as_claimed((form, limit) in forms(), seen: u64, steps: bool, ticket: u64, word: u64) {
            let seen = SlotState(seen);
            let claim = seen.claimed(steps, limit, ticket);
            prop_assert_eq!(claim.kind(), StateKind::Claimed);
            prop_assert!(!claim.is_resident() && !claim.vacated().is_resident());
            prop_assert_eq!(claim.vacated().kind(), StateKind::Vacant);
            prop_assert_eq!((claim.claimed_limit(), claim.ticket()), (limit, ticket % (1 << 44)));
            let settled = claim.settled(form, word % form.end());
            prop_assert_eq!(settled.version(), (seen.version() + u64::from(steps)) % 4);
            prop_assert_eq!(form.limit(settled), limit);
        }

        /// (N) for one owner: the version stays only if the word grows by the same limit.
        #[test]
        fn state_keeps_version_only_if_word_grows(
            (form, limit) in forms(), (_, next_limit) in forms(), version in 0_u64..4, word: u64, next: u64, near: bool,
        ) {
            let (word, next_limit) = (1 + word % (form.end() - 2), next_limit.min(limit + 1).min(form.limit(SlotState(u64::MAX))));
            let next = if near { word - 1 + next % 3 } else { next % form.end() };
            let state = form.resident(version, limit, word);
            let new = form.next(state, next_limit, next);
            prop_assert_eq!((form.limit(new), form.word(new)), (next_limit, next));
            let grows = next > word && next_limit == limit;
            prop_assert_eq!(new.version(), (version + u64::from(!grows)) % 4);
            prop_assert_eq!(new.0 > state.0 && new.version() == version, grows);
        }
    }

    #[test]
    fn reach_keeps_its_stamp_and_never_shrinks() {
        let reach = Reach(0).raised(126, u64::MAX);
        assert_eq!(reach.lines(), 126);
        assert_eq!(reach.raised(5, 7).lines(), 126);
        assert_ne!(reach.raised(126, 7), reach, "the stamp is another");
        assert_eq!(reach.lowered(0).lines(), 0);
        assert_eq!(reach.lowered(0).0 >> Reach::BITS, reach.0 >> Reach::BITS);
    }
}
