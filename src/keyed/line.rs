//! The atomics of a table: cache lines of slots. [`bucket`](super::bucket) documents the protocol.
//!
//! # Orderings
//!
//! A slot is two locations, a state and an id, and only the state is ever exchanged. A thread that reads a state and then the id needs two edges:
//!
//! - *State loads acquire, exchanges release.* A state read during one owner's time synchronizes with the exchange that made the owner a resident.
//!   The owner's id was stored before that exchange, so the id read afterwards is the owner's, or a later owner's. (Charges are exchanges too, so
//!   they continue the release sequence whatever their own order.)
//! - *Id loads acquire, id stores release.* If the id read is a later owner's, it was stored after the exchange that claimed the slot. That exchange
//!   then happens before the reader's own exchange or second look, which finds another state, because no state comes back.
//!
//! So if the exchange succeeds, or the second look finds the same state, the id was the owner's. With relaxed ids, the load could be satisfied by a
//! store that has not happened yet.

#[cfg(ratelimit_meter_loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
#[cfg(not(ratelimit_meter_loom))]
pub(super) use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::state::State;
use core::hint::black_box;

/// The number of slots in a line: four states of eight bytes, four ids of six, and a reach of four make 64 bytes.
pub(super) const WIDTH: usize = if cfg!(ratelimit_meter_loom) { 1 } else { 4 };

/// The number of lines in a bucket: with its header, 8 KiB. Models and the stress test have few lines, so that slots change owners all the time.
pub(super) const LINES: usize = if cfg!(any(ratelimit_meter_loom, ratelimit_meter_stress)) {
    2
} else {
    127
};

/// The hash by which a table knows a key: 64 bits, nearly random.
///
/// The upper bits choose the bucket. The lower 48 bits are the id that a slot holds. Of the id, the lower 32 bits choose the home line, and the upper
/// 16 choose the slot of that line at which a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(pub(super) u64);

impl KeyHash {
    /// The number of bits of a key that a slot holds.
    pub(super) const ID_BITS: u32 = 48;

    /// Returns the key that has the lower bits of `id` as its id and belongs to bucket `bucket` of `buckets`; `None` if there is none.
    pub(super) fn with_id(id: u64, bucket: u64, buckets: usize) -> Option<Self> {
        const ID: u64 = (1 << KeyHash::ID_BITS) - 1;
        let buckets_wide = u128::try_from(buckets).ok()?;
        // `first` is the lowest number in the bucket. The next number that ends in the id belongs to this bucket or to a later one.
        let first = u64::try_from((u128::from(bucket) << u64::BITS).div_ceil(buckets_wide)).ok()?;
        let key = first & !ID | id & ID;
        let key = if key < first { key.checked_add(ID + 1)? } else { key };
        Some(Self(key)).filter(|key| key.bucket_of(buckets) as u64 == bucket)
    }

    /// Returns the key's bucket among `buckets`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of buckets")]
    pub(super) const fn bucket_of(self, buckets: usize) -> usize {
        ((self.0 as u128 * buckets as u128) >> u64::BITS) as usize
    }

    #[inline]
    pub(super) const fn id(self) -> u64 {
        self.0 & ((1 << Self::ID_BITS) - 1)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
    const fn lower(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the middle bits are meant")]
    const fn upper(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Returns the key's home line.
    #[inline]
    pub(super) const fn home(self) -> usize {
        ((self.lower() as u64 * LINES as u64) >> 32) as usize
    }

    /// Returns the slot of a line at which the key's search begins.
    #[inline]
    pub(super) const fn first(self) -> usize {
        (self.upper() as usize * WIDTH) >> 16
    }

    /// Returns the lines of a bucket in the order of the key's search, from its home on.
    pub(super) fn lines(self) -> impl Iterator<Item = usize> {
        (self.home()..LINES).chain(0..self.home())
    }

    /// Returns the number of lines from the key's home to `line`.
    pub(super) const fn distance(self, line: usize) -> usize {
        (line + LINES - self.home()) % LINES
    }

    /// Returns the slots of a line in the order of the key's search.
    pub(super) fn slots(self) -> impl Iterator<Item = usize> {
        (self.first()..WIDTH).chain(0..self.first())
    }
}

/// One cache line of slots.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Line {
    states: [AtomicU64; WIDTH],
    lower: [AtomicU32; WIDTH],
    upper: [AtomicU16; WIDTH],
    /// The distance from this line within which its keys may have slots; [`Reach`](super::bucket).
    pub(super) reach: AtomicU32,
}

#[cfg(not(any(ratelimit_meter_loom, ratelimit_meter_stress)))]
const _: () = assert!(size_of::<Line>() == 64, "a line of slots is one cache line");

impl Default for Line {
    fn default() -> Self {
        Self {
            states: core::array::from_fn(|_| AtomicU64::new(State::UNTAKEN.0)),
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
    pub(super) fn find(&self, key: KeyHash) -> Option<(Slot<'_>, State)> {
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

    /// Does the same as `find`, but looks first at the slot where the key's search begins. If the key is there, as a hot key is, it need not wait for
    /// the comparison of the other slots. A hot key costs 5 ns less.
    #[inline(always)]
    pub(super) fn find_at_first(&self, key: KeyHash) -> Option<(Slot<'_>, State)> {
        let slot = self.slot(key.first());
        let state = slot.load();
        if slot.is_of(key) && state.is_resident() {
            return Some((slot, state));
        }
        self.find(key)
    }

    /// Begins to fetch the line. The caller does not use the value, so it does not wait for it.
    #[inline]
    pub(super) fn fetch(&self) {
        // ORDERING: relaxed. The value is not used.
        black_box(self.reach.load(Ordering::Relaxed));
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
    pub(super) fn load(self) -> State {
        may_stop();
        // ORDERING: acquire. Pairs with `exchange`, so that the id read next is the owner's or a later owner's (see above), and so that a thread that
        // finds a slot taken from an idle key sees the watermark that was raised before. Weaker breaks
        // `keyed::a_reused_slot_never_doubles_the_last_cell` in `tests/loom`.
        State(self.line.states[self.index].load(Ordering::Acquire))
    }

    /// Stores `new` if the state is still `seen`.
    #[inline]
    pub(super) fn exchange(self, seen: State, new: State) -> bool {
        may_stop();
        // ORDERING: release, for the id, the reach and the watermark written before. Acquire, so that an id which is stored next comes after the last
        // one in its modification order. Strong, because a claim does not retry the same slot in a loop.
        self.line.states[self.index]
            .compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Stores the state. Only the claimant of the slot may call it; no other thread can change the state first.
    pub(super) fn store(self, state: State) {
        may_stop();
        // ORDERING: release. Continues the release sequence of the claim's exchange, for the thread that claims the slot next.
        self.line.states[self.index].store(state.0, Ordering::Release);
    }

    /// Returns whether the id is the key's.
    #[inline]
    pub(super) fn is_of(self, key: KeyHash) -> bool {
        self.id() == key.id()
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

#[cfg(ratelimit_meter_stress)]
mod stress {
    use std::cell::Cell;
    use std::time::Duration;

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
