//! What traffic is to a meter: who asked for how many cells, and when.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use crate::Error;
use crate::stamp::Resolution;

/// One request: at `time`, `key` asked for `cost` cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// How many cells are asked at once; what is above `u32::MAX` conforms to no limit.
    pub cost: u64,
    /// Who asks.
    pub key: KeyId,
    /// How coarse the time is: the request came within one unit from it.
    pub unit: Resolution,
    /// The plan of the key, if plans are read; its names are not those of keys.
    pub plan: KeyId,
    /// Where it was read, if places are kept.
    pub place: Place,
}

/// An input and a line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The number of the input, in the order in which inputs were named; the first is 0.
    pub input: u32,
    /// The number of the line, or of the packet; the first is 1. A record of several lines has the number of its last.
    pub line: u64,
}

impl Event {
    /// An event whose time is known to the nanosecond.
    #[must_use]
    pub fn new(time: i64, cost: u64, key: KeyId) -> Self {
        Self {
            time,
            cost,
            key,
            unit: Resolution::Nanosecond,
            plan: KeyId::default(),
            place: Place::default(),
        }
    }
}

/// A key by its number, in the order in which [`Keys`] came to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyId(pub(crate) u32);

impl KeyId {
    /// The number as an index into a table with one place for each of [`Keys`].
    #[must_use]
    pub fn index(self) -> usize {
        // Exact on every platform that `std` has but 16-bit ones, which hold no such table.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The names of all keys, each held once. Names are bytes: logs are not always UTF-8.
#[derive(Debug)]
pub struct Keys {
    ids: HashMap<Rc<[u8]>, KeyId, foldhash::fast::RandomState>,
    names: Vec<Rc<[u8]>>,
    most: u32,
    secret: RandomState,
}

/// For as many as there are numbers for.
impl Default for Keys {
    fn default() -> Self {
        Self::at_most(u32::MAX)
    }
}

impl Keys {
    /// For no more than `most` names.
    #[must_use]
    pub fn at_most(most: u32) -> Self {
        Self {
            ids: HashMap::default(),
            names: Vec::new(),
            most,
            secret: RandomState::new(),
        }
    }

    /// The number of `name`, a new one if it is new.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`] if there are as many as there may be.
    pub fn intern(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        if let Some(&id) = self.ids.get(name) {
            return Ok(id);
        }
        let number = u32::try_from(self.names.len())
            .ok()
            .filter(|&number| number < self.most);
        let id = KeyId(number.ok_or(Error::TooManyKeys { most: self.most })?);
        let name: Rc<[u8]> = name.into();
        self.names.push(Rc::clone(&name));
        self.ids.insert(name, id);
        Ok(id)
    }

    /// The name behind a number; empty for a number of other `Keys`.
    #[must_use]
    pub fn name(&self, id: KeyId) -> &[u8] {
        self.names.get(id.index()).map_or(&[], |name| name)
    }

    /// The numbers of all keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        // As `intern` gave them out: there are no more keys than numbers.
        (0..=u32::MAX).zip(&self.names).map(|(id, _)| KeyId(id))
    }

    /// Gives every key a made-up name in place of its own: the same for the same name within a run, and nothing
    /// that could be told of the name, as the hash it is made of has a secret of each run in it.
    pub fn anonymise(&mut self) {
        let names = std::mem::take(&mut self.names);
        self.ids.clear();
        self.names = names
            .iter()
            .map(|name| self.pseudonym(name).into_bytes().into())
            .collect();
    }

    /// The name that [`anonymise`](Self::anonymise) gives to the key of this name.
    #[must_use]
    pub fn pseudonym(&self, name: &[u8]) -> String {
        format!("key-{:016x}", self.secret.hash_one(name))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no key yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_a_number_one_name() {
        let mut keys = Keys::default();
        let ids = [&b"a"[..], b"\xff", b"a", b""].map(|name| keys.intern(name).expect("few keys").index());
        assert_eq!(ids, [0, 1, 0, 2]);
        assert_eq!(
            keys.ids().map(|id| keys.name(id)).collect::<Vec<_>>(),
            [&b"a"[..], b"\xff", b""]
        );
        assert_eq!(keys.name(KeyId(3)), b"");
    }

    #[test]
    fn there_are_no_more_names_than_there_may_be() {
        let mut keys = Keys::at_most(2);
        for name in [&b"a"[..], b"b", b"a", b"b"] {
            keys.intern(name).expect("two keys");
        }
        let error = keys.intern(b"c").expect_err("a third key");
        assert!(matches!(error, Error::TooManyKeys { most: 2 }), "{error}");
        assert_eq!((keys.len(), keys.intern(b"b").expect("known").index()), (2, 1));
    }

    #[test]
    fn anonymous_keys_stay_apart_and_differ_from_run_to_run() {
        let named = |names: [&[u8]; 2]| {
            let mut keys = Keys::default();
            for name in names {
                keys.intern(name).expect("few keys");
            }
            keys.anonymise();
            keys.ids().map(|id| keys.name(id).to_vec()).collect::<Vec<_>>()
        };
        let (once, again) = (named([b"192.0.2.1", b"192.0.2.2"]), named([b"192.0.2.1", b"192.0.2.2"]));
        assert!(once.iter().all(|name| name.starts_with(b"key-") && name.len() == 20));
        assert_ne!(once[0], once[1]);
        assert_ne!(once[0], again[0]);
    }
}
