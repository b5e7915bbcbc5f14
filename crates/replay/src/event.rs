//! The traffic as a meter sees it: which key asked for how many cells, and when.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};

use crate::Error;
use crate::stamp::Resolution;

/// One request: at `time`, `key` asked for `cost` cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// Number of cells asked at once; a cost above `u32::MAX` conforms to no limit.
    pub cost: u64,
    /// The key of the request.
    pub key: KeyId,
    /// The resolution of the time: the request came within one unit from `time`.
    pub unit: Resolution,
    /// The plan of the key, if plans are read. Plans have names of their own, separate from those of keys.
    pub plan: KeyId,
    /// The place it was read from, if places are kept.
    pub place: Place,
}

/// An input and a line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// The number of the input, in the order in which inputs were named; the first is 0.
    pub input: u32,
    /// The number of the line, or of the packet; the first is 1. A record of several lines has the number of its last line.
    pub line: u64,
}

impl Event {
    /// Creates an event whose time is known to the nanosecond.
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

/// A key by its number, in the order in which [`Keys`] first met the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyId(pub(crate) u32);

impl KeyId {
    /// Returns the number as an index into a table with one entry for each of [`Keys`].
    #[must_use]
    pub fn index(self) -> usize {
        // Exact on every platform of `std`, except 16-bit platforms, which cannot hold such a table.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The names of all keys, each held once. Names are bytes: logs are not always UTF-8.
pub struct Keys {
    ids: HashMap<Name, KeyId, foldhash::fast::RandomState>,
    names: Vec<Name>,
    most: u32,
    secret: RandomState,
}

/// Omits the names, which may be many, and the secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("keys", &self.names.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// A name. An address of IPv4 is short, so that looking up its number reads nothing beyond the table's entry.
#[derive(Debug, Clone)]
enum Name {
    /// The length, and the bytes followed by zeros.
    Short(u8, [u8; Name::SHORT]),
    Long(Box<[u8]>),
}

impl Name {
    /// The most bytes of a short name: as many as leave it the size of a long one.
    const SHORT: usize = 22;

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }
}

const _: () = assert!(size_of::<Name>() == 24);

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; Self::SHORT];
        match (u8::try_from(name.len()), bytes.get_mut(..name.len())) {
            (Ok(len), Some(short)) => {
                short.copy_from_slice(name);
                Self::Short(len, bytes)
            }
            _ => Self::Long(name.into()),
        }
    }
}

/// Names equal their bytes, and hash as these do.
impl Borrow<[u8]> for Name {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

/// Allows as many names as there are numbers.
impl Default for Keys {
    fn default() -> Self {
        Self::at_most(u32::MAX)
    }
}

impl Keys {
    /// Creates an empty set that holds at most `most` names.
    #[must_use]
    pub fn at_most(most: u32) -> Self {
        Self {
            ids: HashMap::default(),
            names: Vec::new(),
            most,
            secret: RandomState::new(),
        }
    }

    /// Returns the number of `name`, and assigns the next number to a new name.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`] if a new name exceeds the maximum.
    #[inline]
    pub fn intern(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        match self.ids.get(name) {
            Some(&id) => Ok(id),
            None => self.add(name),
        }
    }

    #[cold]
    fn add(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        let number = u32::try_from(self.names.len())
            .ok()
            .filter(|&number| number < self.most);
        let id = KeyId(number.ok_or(Error::TooManyKeys { most: self.most })?);
        let name = Name::from(name);
        self.names.push(name.clone());
        self.ids.insert(name, id);
        Ok(id)
    }

    /// Returns the name of a number; empty for a number of other `Keys`.
    #[must_use]
    pub fn name(&self, id: KeyId) -> &[u8] {
        self.names.get(id.index()).map_or(&[], Name::bytes)
    }

    /// Returns the numbers of all keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        // The same numbers as `intern` gave out: there are no more keys than numbers.
        (0..=u32::MAX).zip(&self.names).map(|(id, _)| KeyId(id))
    }

    /// Replaces every name by a made-up one. Within a run, the same name always gets the same replacement. The replacement reveals nothing about the
    /// name, since it comes from a hash keyed by a secret of the run.
    pub fn anonymise(&mut self) {
        let names = std::mem::take(&mut self.names);
        self.ids.clear();
        self.names = names
            .iter()
            .map(|name| Name::from(self.pseudonym(name.bytes()).as_bytes()))
            .collect();
    }

    /// Returns the replacement that [`anonymise`](Self::anonymise) gives to this name.
    #[must_use]
    pub fn pseudonym(&self, name: &[u8]) -> String {
        format!("key-{:016x}", self.secret.hash_one(name))
    }

    /// Returns whether `name` has a number.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.ids.contains_key(name)
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether there is no key yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_number_map_one_to_one() {
        let mut keys = Keys::default();
        let (longest_short, long) = ([b'x'; Name::SHORT], [b'x'; Name::SHORT + 1]);
        let names = [&b"a"[..], b"\xff", b"a", b"", b"a\0", &longest_short, &long, &long];
        let ids = names.map(|name| keys.intern(name).expect("few keys").index());
        assert_eq!(ids, [0, 1, 0, 2, 3, 4, 5, 5]);
        assert_eq!(
            keys.ids().map(|id| keys.name(id)).collect::<Vec<_>>(),
            [&b"a"[..], b"\xff", b"", b"a\0", &longest_short, &long]
        );
        assert_eq!(keys.name(KeyId(6)), b"");
    }

    #[test]
    fn number_of_names_is_bounded() {
        let mut keys = Keys::at_most(2);
        for name in [&b"a"[..], b"b", b"a", b"b"] {
            keys.intern(name).expect("two keys");
        }
        let error = keys.intern(b"c").expect_err("a third key");
        assert!(matches!(error, Error::TooManyKeys { most: 2 }), "{error}");
        assert_eq!((keys.len(), keys.intern(b"b").expect("known").index()), (2, 1));
    }

    #[test]
    fn anonymous_keys_differ_within_and_between_runs() {
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
