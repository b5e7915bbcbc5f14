//! The 64-bit state of a slot: its kind, and for a resident the word of its meter. All functions here are pure.
//!
//! ```text
//!             63      62 61          ..                       0
//! resident   | version  | limit (1 to 5 bits) | word           |   a key's meter
//! claimed    | 1111 1111 1111 | 0 | 0 | version | limit | ticket   a key is moving in
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
//!   ([`State::claimed`]).
//!
//! *Invariant* (N): among the states of a slot with equal version and limit, and with no step in between, words strictly increase, over any number of
//! owners.
//!
//! *Proof*: for one owner, by the first rule. Now let owner L follow owner K without a step. K was idle at the watermark W, so K's words of this run
//! are below the idle word of W. The words of the owners before K are below it too, because watermarks only rise. L begins at the idle word of W or
//! above.
//!
//! The version has two bits, so it wraps after four steps. If a thread stalls during exactly four steps, its exchange succeeds if the word is also
//! equal to the unit. Then one key is charged once for another. Ordinary reuse of idle slots takes no step.

use core::fmt;

const VERSION_BITS: u32 = 2;
const VERSIONS: u64 = (1 << VERSION_BITS) - 1;

/// All marks are at least this number.
const MARKS: u64 = !0 << 52;
const VACANT: u64 = 1 << 51;
const VERSION_SHIFT: u32 = 48;
const LIMIT_SHIFT: u32 = 44;
const TICKETS: u64 = (1 << LIMIT_SHIFT) - 1;

/// The maximum number of limits that a state can distinguish, in four bits.
pub(super) const MOST_LIMITS: usize = 16;

/// The content of a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) const fn telling_apart(limits: usize) -> Self {
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
    pub(super) const fn word(self, state: State) -> u64 {
        state.0 & ((1 << self.bits) - 1)
    }

    /// Returns the limit by which a resident's word is read.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most four bits")]
    pub(super) const fn limit(self, state: State) -> u8 {
        (state.0 << VERSION_BITS >> VERSION_BITS >> self.bits) as u8
    }

    /// Returns the next state of a resident. Invariant (N) rests on this function and on [`State::claimed`].
    #[inline]
    pub(super) fn next(self, state: State, limit: u8, word: u64) -> State {
        if word > self.word(state) && limit == self.limit(state) {
            State(state.0 - self.word(state) + word)
        } else {
            self.stepped(state, limit, word)
        }
    }

    /// Returns the next state of a resident, with the version stepped so that no state of this version comes back.
    #[cold]
    pub(super) const fn stepped(self, state: State, limit: u8, word: u64) -> State {
        self.resident(state.version() + 1, limit, word)
    }

    pub(super) const fn resident(self, version: u64, limit: u8, word: u64) -> State {
        State((version & VERSIONS) << (u64::BITS - VERSION_BITS) | (limit as u64) << self.bits | word)
    }
}

impl State {
    /// The state of a slot that never had a key.
    pub(super) const UNTAKEN: Self = Self(!0);

    #[inline]
    pub(super) const fn is_resident(self) -> bool {
        self.0 < MARKS
    }

    pub(super) const fn kind(self) -> Kind {
        match self.0 {
            resident if resident < MARKS => Kind::Resident,
            mark if mark & VACANT != 0 => Kind::Vacant,
            _ => Kind::Claimed,
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

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:#018x})", self.kind(), self.0)
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms() -> impl Strategy<Value = (Form, u8)> {
        (1..=MOST_LIMITS).prop_flat_map(|limits| {
            let last = u8::try_from(limits - 1).unwrap();
            (Just(Form::telling_apart(limits)), 0..=last)
        })
    }

    #[test]
    fn each_tier_bit_costs_a_bit_of_the_word() {
        let bits = [(1, 62), (2, 61), (3, 60), (4, 60), (5, 59), (8, 59), (9, 58), (16, 58)];
        for (limits, bits) in bits {
            assert_eq!(Form::telling_apart(limits).bits(), bits, "{limits} limits");
        }
        assert_eq!(State::UNTAKEN.kind(), Kind::Vacant);
    }

    proptest! {
        #[test]
        fn a_resident_is_told_from_all_marks((form, limit) in forms(), version in 0_u64..4, word: u64) {
            let word = word % form.end();
            for word in [word, 0, form.end() - 1] {
                let state = form.resident(version, limit, word);
                prop_assert_eq!(state.kind(), Kind::Resident);
                prop_assert!(state.is_resident());
                prop_assert_eq!((form.limit(state), state.version()), (limit, version));
                prop_assert_eq!(form.word(state), word);
            }
        }

        #[test]
        fn a_claim_is_settled_as_what_it_was_claimed_for((form, limit) in forms(), seen: u64, steps: bool, ticket: u64, word: u64) {
            let seen = State(seen);
            let claim = seen.claimed(steps, limit, ticket);
            prop_assert_eq!(claim.kind(), Kind::Claimed);
            prop_assert!(!claim.is_resident() && !claim.vacated().is_resident());
            prop_assert_eq!(claim.vacated().kind(), Kind::Vacant);
            prop_assert_eq!((claim.claimed_limit(), claim.ticket()), (limit, ticket % (1 << 44)));
            let settled = claim.settled(form, word % form.end());
            prop_assert_eq!(settled.version(), (seen.version() + u64::from(steps)) % 4);
            prop_assert_eq!(form.limit(settled), limit);
        }

        /// (N) for one owner: the version stays only if the word grows by the same limit.
        #[test]
        fn a_state_keeps_its_version_only_if_its_word_grows(
            (form, limit) in forms(), (_, next_limit) in forms(), version in 0_u64..4, word: u64, next: u64, near: bool,
        ) {
            let (word, next_limit) = (1 + word % (form.end() - 2), next_limit.min(limit + 1).min(form.limit(State(u64::MAX))));
            let next = if near { word - 1 + next % 3 } else { next % form.end() };
            let state = form.resident(version, limit, word);
            let new = form.next(state, next_limit, next);
            prop_assert_eq!((form.limit(new), form.word(new)), (next_limit, next));
            let grows = next > word && next_limit == limit;
            prop_assert_eq!(new.version(), (version + u64::from(!grows)) % 4);
            prop_assert_eq!(new > state && new.version() == version, grows);
        }
    }

    impl PartialOrd for State {
        fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
            self.0.partial_cmp(&other.0)
        }
    }
}
