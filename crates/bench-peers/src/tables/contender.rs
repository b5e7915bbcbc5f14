//! The adapter trait of a table of meters.

use super::cases::{Hasher, KeyedCase};
use super::keys::NumberedKey;
use crate::cases::{Expected, MeterLimit};
use crate::contender::ContenderKind;
use crate::measure::{Measured, on_threads, spend};
use crate::random::Random;
use crate::timing::{Length, Loop};
use core::fmt;
use core::hash::BuildHasher;
use core::hint::black_box;
use ratelimit_meter::keyed::KeyHashes;
use std::hash::RandomState;

/// The hashers of one table.
pub(crate) trait Hashes: BuildHasher + Default + Clone + Send + Sync + 'static {
    const HASHER: Hasher;
}

impl Hashes for KeyHashes {
    const HASHER: Hasher = Hasher::Polynomial;
}

impl Hashes for RandomState {
    const HASHER: Hasher = Hasher::SipHash;
}

impl Hashes for ahash::RandomState {
    const HASHER: Hasher = Hasher::AHash;
}

/// A table of meters under test, called by reference from all threads.
pub(crate) trait KeyedContender<K>: Send + Sync + 'static {
    /// The name in the tables.
    const NAME: &'static str;
    const KIND: ContenderKind;
    /// `None` if the contender hashes nothing.
    const HASHER: Option<Hasher>;

    /// Makes a table, with room for `keys` keys from the start if it has such a parameter.
    fn with_room(limit: MeterLimit, keys: usize) -> Self;

    /// Decides a cell of a key by the table's own clock.
    fn check(&self, key: &K) -> bool;
}

/// No table: the time to make the key, which is subtracted from each contender's time. Always answers yes.
pub(crate) struct KeyAlone;

impl<K: NumberedKey> KeyedContender<K> for KeyAlone {
    const NAME: &'static str = "key alone";
    const KIND: ContenderKind = ContenderKind::Floor;
    const HASHER: Option<Hasher> = None;

    fn with_room(_: MeterLimit, _: usize) -> Self {
        Self
    }

    #[inline]
    fn check(&self, key: &K) -> bool {
        black_box(key);
        true
    }
}

/// A contender as a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyedEntry {
    pub(crate) name: &'static str,
    pub(crate) kind: ContenderKind,
    pub(crate) hasher: Option<Hasher>,
    is_default: bool,
    /// Makes a table of the case's keys, all live.
    pub(crate) table: fn(KeyedCase) -> Box<dyn TakesTurns>,
    /// Makes a table of the first keys, all live, and calls back while the table exists.
    pub(crate) fill: fn(u64, &mut dyn FnMut()),
}

impl KeyedEntry {
    pub(crate) fn of<K: NumberedKey, C: KeyedContender<K>>() -> Self {
        Self {
            name: C::NAME,
            kind: C::KIND,
            hasher: C::HASHER,
            is_default: true,
            table: |case| Box::new(AskedTable::<K, C>::new(case)),
            fill: |keys, filled| {
                let table = filled_table::<K, C>(MeterLimit::HELD, keys);
                filled();
                drop(black_box(table));
            },
        }
    }

    /// With a hasher that is not its default one.
    pub(crate) fn by_choice(self) -> Self {
        Self {
            is_default: false,
            ..self
        }
    }

    /// Returns whether it takes part if all have the given hasher, or each its default.
    pub(crate) fn takes(&self, hasher: Option<Hasher>) -> bool {
        self.hasher.is_none() || hasher.map_or(self.is_default, |hasher| self.hasher == Some(hasher))
    }
}

/// A table with its keys, to be asked for a turn now and then.
pub(crate) trait TakesTurns {
    fn turn(&mut self, length: Length) -> Measured;
}

impl fmt::Debug for dyn TakesTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TakesTurns")
    }
}

struct AskedTable<K, C> {
    case: KeyedCase,
    table: C,
    askers: Vec<Asker<K>>,
}

/// The key and counts of one thread, on cache lines of their own. From turn to turn it goes on to other keys, which the caches do not hold yet.
#[repr(align(128))]
struct Asker<K> {
    key: K,
    random: Random,
}

impl<K: NumberedKey, C: KeyedContender<K>> AskedTable<K, C> {
    fn new(case: KeyedCase) -> Self {
        let table = filled_table::<K, C>(case.limit(), case.keys);
        if case.answer == Expected::Deny && C::KIND != ContenderKind::Floor {
            for key in 0..case.keys {
                let key = K::numbered(key);
                spend(case.limit(), || table.check(&key));
            }
        }
        let askers = (0..case.threads).map(|thread| Asker {
            key: K::numbered(0),
            random: Random::new(thread.into()),
        });
        let askers = askers.collect();
        Self { case, table, askers }
    }
}

fn filled_table<K: NumberedKey, C: KeyedContender<K>>(limit: MeterLimit, keys: u64) -> C {
    let table = C::with_room(limit, usize::try_from(keys).unwrap_or(usize::MAX));
    let mut key = K::numbered(0);
    for number in 0..keys {
        key.renumber(number);
        table.check(&key);
    }
    table
}

impl<K: NumberedKey, C: KeyedContender<K>> TakesTurns for AskedTable<K, C> {
    fn turn(&mut self, length: Length) -> Measured {
        let (table, keys) = (&self.table, self.case.keys);
        let expected = self.case.answer == Expected::Admit || C::KIND == ContenderKind::Floor;
        let askers: Vec<_> = self.askers.iter_mut().collect();
        let outcomes = on_threads(askers, expected, Loop { length }, |asker, _| {
            asker.key.renumber(asker.random.below(keys));
            table.check(&asker.key)
        });
        Measured::of(&outcomes, self.case.threads)
    }
}
