//! The questions asked of meters with keys, and the aims as parts of the best peer's time.

use super::keys::KeyKind;
use crate::cases::{Expected, MeterLimit};
use core::fmt;

/// From this number of keys on, a table is larger than the caches of a processor.
pub(crate) const MANY: u64 = 1_000_000;

/// The hasher of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hasher {
    /// A contender of this project.
    Polynomial,
    /// The standard library's.
    SipHash,
    AHash,
}

impl fmt::Display for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Polynomial => "KeyHashes",
            Self::SipHash => "SipHash",
            Self::AHash => "ahash",
        })
    }
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyedCase {
    pub(crate) kind: KeyKind,
    /// The number of keys; each call asks about one of them at random.
    pub(crate) keys: u64,
    pub(crate) answer: Expected,
    pub(crate) threads: u32,
    /// The hasher of all tables; with `None`, each table has its default hasher.
    pub(crate) hasher: Option<Hasher>,
}

impl KeyedCase {
    /// Every case; those of ten million keys only if `large`.
    pub(crate) fn all(large: bool) -> Vec<Self> {
        use Expected::{Admit, Deny};
        let questions = [
            (1, Admit, 1),
            (1, Admit, 2),
            (1, Deny, 1),
            (1, Deny, 2),
            (4096, Admit, 1),
            (4096, Admit, 2),
            (MANY, Admit, 1),
            (10 * MANY, Admit, 1),
        ];
        let mut cases = Vec::new();
        for hasher in [None, Some(Hasher::SipHash), Some(Hasher::AHash)] {
            for kind in [KeyKind::Text, KeyKind::Number] {
                let asked = questions.iter().filter(|&&(keys, _, threads)| {
                    (large || keys <= MANY) && (hasher.is_none() || keys <= MANY && threads == 1)
                });
                cases.extend(asked.map(|&(keys, answer, threads)| Self {
                    kind,
                    keys,
                    answer,
                    threads,
                    hasher,
                }));
            }
        }
        cases
    }

    /// The limit of each key's meter. A key of many has to stay live, even if it is rarely asked about.
    pub(crate) fn limit(self) -> MeterLimit {
        match self.answer {
            Expected::Deny => MeterLimit::SCARCE,
            Expected::Admit if self.keys == 1 => MeterLimit::AMPLE,
            Expected::Admit => MeterLimit::HELD,
        }
    }

    /// The aim: the largest part of the best peer's time.
    pub(crate) fn target(self) -> f64 {
        use KeyKind::{Number, Text};
        match (self.keys, self.answer, self.threads, self.kind) {
            (1, Expected::Deny, ..) => 1.1,
            (1, Expected::Admit, 2, Text) => 1.0,
            (1, Expected::Admit, 2, Number) => 1.1,
            (1, Expected::Admit, _, Text) => 0.95,
            (1, Expected::Admit, _, Number) => 1.05,
            (..MANY, .., Text) => 0.7,
            (..MANY, .., Number) => 0.95,
            (MANY, .., Text) => 0.37,
            (MANY, .., Number) => 0.55,
            (.., Text) => 0.35,
            (.., Number) => 0.5,
        }
    }
}

impl fmt::Display for KeyedCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.kind)?;
        match self.keys {
            1 => f.write_str("one hot key")?,
            ..MANY => write!(f, "{} keys", self.keys)?,
            _ => write!(f, "{} million keys", self.keys / MANY)?,
        }
        f.write_str(match self.answer {
            Expected::Admit => ", admit",
            Expected::Deny => ", deny",
        })?;
        f.write_str(if self.threads == 1 {
            ", one thread"
        } else {
            ", two threads"
        })?;
        self.hasher.map_or(Ok(()), |hasher| write!(f, ", all with {hasher}"))
    }
}
