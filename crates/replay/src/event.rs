//! What traffic is to a meter: who asked for how many cells, and when.

use std::collections::HashMap;
use std::rc::Rc;

use crate::Error;
use crate::input::{BadLines, By};

/// One request: at `time`, `key` asked for `cost` cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// How many cells are asked at once; what is above `u32::MAX` conforms to no limit.
    pub cost: u64,
    /// Who asks.
    pub key: KeyId,
}

/// A key by its number, in the order in which [`Keys`] came to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// The number as an index into a table with one place for each of [`Keys`].
    #[must_use]
    pub fn index(self) -> usize {
        // Exact on every platform that `std` has but 16-bit ones, which hold no such table.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The names of all keys, each held once. Names are bytes: logs are not always UTF-8.
#[derive(Debug, Default)]
pub struct Keys {
    ids: HashMap<Rc<[u8]>, KeyId>,
    names: Vec<Rc<[u8]>>,
}

impl Keys {
    /// The number of `name`, a new one if it is new.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyKeys`] past 2^32 of them.
    pub fn intern(&mut self, name: &[u8]) -> Result<KeyId, Error> {
        if let Some(&id) = self.ids.get(name) {
            return Ok(id);
        }
        let id = KeyId(u32::try_from(self.names.len()).map_err(|_| Error::TooManyKeys)?);
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

/// Traffic of any number of files: its events in the order of time, and what could not be read.
#[derive(Debug)]
pub struct Trace {
    /// The events, by time; what came at the same time is in the order of its lines.
    pub events: Vec<Event>,
    /// The names of the events' keys.
    pub keys: Keys,
    /// What the keys are.
    pub by: By,
    /// The lines that gave no event.
    pub bad: BadLines,
}

impl Trace {
    /// How many lines there were, but for headers and blank ones.
    #[must_use]
    pub fn lines(&self) -> u64 {
        u64::try_from(self.events.len()).map_or(u64::MAX, |events| events.saturating_add(self.bad.count()))
    }
}
