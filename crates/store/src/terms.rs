//! The terms of a shared meter: its name, its limits, and the meaning of a reply to a caller.

use crate::known::{Known, LazyStatus};
use crate::limit::StoreLimit;
use crate::store::Ask;
use crate::time::later;
use crate::verdict::{AdmittedPart, Verdict, Via};
use ratelimit_meter::{NegativeMultiDecision, NonConformance};
use std::sync::Arc;
use std::time::Instant;

/// A name and the limits that go with it.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) name: String,
    pub(crate) slot: Option<String>,
    pub(crate) limits: Arc<[StoreLimit]>,
    /// The largest batch that conforms on all limits.
    pub(crate) max_batch: u32,
}

/// A decision on a batch, with the reply that it follows from.
#[derive(Debug, Clone)]
pub(crate) enum Decided {
    /// Without a reply if cells were given back since the block was drawn.
    Admitted(Option<Known>, Via),
    Denied(Known, Via),
}

impl Terms {
    /// Returns the text of each quota, for Debug.
    pub(crate) fn quotas(&self) -> Vec<String> {
        self.limits.iter().map(|limit| limit.quota().to_string()).collect()
    }

    pub(crate) fn new(name: String, slot: Option<String>, limits: Vec<StoreLimit>) -> Self {
        Self {
            name,
            slot,
            max_batch: limits.iter().map(StoreLimit::max_batch).min().unwrap_or(0),
            limits: limits.into(),
        }
    }

    /// Returns the keys of a subject, one for each limit.
    ///
    /// They are `name:{subject}:i`, so that a cluster keeps all limits of a subject in one slot. A subject that would end the hash tag at
    /// once, or look like one that was escaped, is escaped by `{}`: its keys share the slot of `{`.
    pub(crate) fn keys(&self, subject: &str) -> Vec<String> {
        let name = &self.name;
        (0..self.limits.len())
            .map(|i| match &self.slot {
                Some(slot) => format!("{name}:{{{slot}}}:{subject}:{i}"),
                None if subject.is_empty() || subject.starts_with(['{', '}']) => {
                    format!("{name}:{{{{}}{subject}}}:{i}")
                }
                None => format!("{name}:{{{subject}}}:{i}"),
            })
            .collect()
    }

    pub(crate) fn asks<'a>(&'a self, keys: &'a [String], n: u64) -> Vec<Ask<'a>> {
        let limits = self.limits.iter();
        keys.iter()
            .zip(limits)
            .map(|(key, limit)| Ask { key, limit, n })
            .collect()
    }

    /// The verdict on `n` cells, `admitted` or not.
    pub(crate) fn verdict(known: Known, n: u32, admitted: bool, now: Instant, via: Via) -> Verdict {
        let decision = if admitted {
            Ok(())
        } else {
            Err(NegativeMultiDecision::BatchNonConforming(n, Self::denial(&known, n)))
        };
        Verdict {
            decision,
            status: Some(LazyStatus::ByReply(known, now)),
            via,
        }
    }

    /// The verdict on a batch that the local layer or the store decided.
    pub(crate) fn decided(n: u32, decided: Decided, now: Instant) -> Verdict {
        match decided {
            Decided::Admitted(Some(known), via) => Self::verdict(known, n, true, now, via),
            Decided::Admitted(None, via) => Verdict {
                decision: Ok(()),
                status: None,
                via,
            },
            Decided::Denied(known, via) => Self::verdict(known, n, false, now, via),
        }
    }

    /// Returns the decision of a reply that counted `cells` of a batch of `n`, all or none.
    pub(crate) fn all_or_none(known: Known, n: u32, cells: u64) -> Decided {
        if cells == u64::from(n) {
            Decided::Admitted(Some(known), Via::Store)
        } else {
            Decided::Denied(known, Via::Store)
        }
    }

    /// Returns the verdict of a reply that counted `cells` of a batch of `n`, all or none, at the time when the reply came.
    pub(crate) fn replied(known: Known, n: u32, cells: u64) -> Verdict {
        let received = known.received;
        Self::verdict(known, n, cells == u64::from(n), received, Via::Store)
    }

    /// Returns how many of `n` cells the store counted.
    pub(crate) fn part(known: &Known, n: u32, cells: u64) -> AdmittedPart {
        let cells = u32::try_from(cells).unwrap_or(u32::MAX);
        let next = (cells < n).then(|| Self::denial(known, 1));
        AdmittedPart::of(cells, next, Via::Store)
    }

    /// A denial until `n` cells conform for certain.
    pub(crate) fn denial(known: &Known, n: u32) -> NonConformance {
        NonConformance::at(later(known.received, known.until(n)))
    }

    /// A denial until each limit admits its own number of cells for certain, or for ever.
    pub(crate) fn denial_of_several(known: &Known, ns: &[u64]) -> NegativeMultiDecision {
        let (wait, n) = known.longest(ns);
        match wait {
            Some(wait) => NegativeMultiDecision::BatchNonConforming(n, NonConformance::at(later(known.received, wait))),
            None => NegativeMultiDecision::InsufficientCapacity(n),
        }
    }

    /// Returns the verdict that needs no store: zero cells always conform, and more than the burst never do.
    pub(crate) fn by_quota(&self, n: u32) -> Option<Verdict> {
        let decision = match n {
            0 => Ok(()),
            _ if n > self.max_batch => Err(NegativeMultiDecision::InsufficientCapacity(n)),
            _ => return None,
        };
        Some(Verdict {
            decision,
            status: None,
            via: Via::Quota,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Units;
    use std::collections::HashSet;

    fn terms(slot: Option<&str>) -> Terms {
        let limit = |quota: &str| StoreLimit::Bucket(Units::of(quota.parse().unwrap()).unwrap());
        Terms::new(
            "api".to_owned(),
            slot.map(str::to_owned),
            vec![limit("10/s"), limit("1000/h")],
        )
    }

    /// Returns the part of a key that a cluster hashes: between the first `{` and the first `}` after it, if that is not empty.
    fn tag(key: &str) -> &str {
        let inside = key.find('{').and_then(|open| {
            let after = &key[open + 1..];
            after.find('}').map(|close| &after[..close])
        });
        inside.filter(|tag| !tag.is_empty()).unwrap_or(key)
    }

    const SUBJECTS: [&str; 13] = [
        "alice", "", "}", "{", "{}", "}x", "{}x", "a}b", "a{b}", ":", "{{}", "{{}}", "alice}:0",
    ];

    #[test]
    fn all_limits_of_a_subject_have_one_slot() {
        for subject in SUBJECTS {
            let keys = terms(None).keys(subject);
            assert_eq!(tag(&keys[0]), tag(&keys[1]), "{keys:?}");
            let keys = terms(Some("tenant7")).keys(subject);
            assert!(keys.iter().all(|key| tag(key) == "tenant7"), "{keys:?}");
        }
        assert_eq!(terms(None).keys("alice"), ["api:{alice}:0", "api:{alice}:1"]);
    }

    #[test]
    fn keys_of_different_subjects_differ() {
        for slot in [None, Some("tenant7")] {
            let keys: HashSet<_> = SUBJECTS.iter().flat_map(|subject| terms(slot).keys(subject)).collect();
            assert_eq!(keys.len(), 2 * SUBJECTS.len());
        }
    }
}
