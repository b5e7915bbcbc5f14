//! The meter written in the obvious way: a level and a lock.

use super::limit::Limit;
use super::oracle::{ExactBucket, Verdict};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Twin {
    bucket: Mutex<ExactBucket>,
}

impl Twin {
    pub(crate) fn new(limit: Limit) -> Twin {
        Twin {
            bucket: Mutex::new(ExactBucket::new(limit)),
        }
    }

    /// Creates GCRA(T, tau) whose theoretical arrival time is `tat`: the bucket holds the volume that drains until then.
    pub(crate) fn expecting(t: u64, tau: u64, tat: i128) -> Twin {
        Twin {
            bucket: Mutex::new(ExactBucket::filled(Limit::standard(t, tau), 0, tat)),
        }
    }

    pub(crate) fn check_at(&self, at: i128) -> Verdict {
        self.check_n_at(1, at)
    }

    pub(crate) fn check_n_at(&self, n: u32, at: i128) -> Verdict {
        self.bucket.lock().decide(n, at)
    }

    pub(crate) fn change(&self, limit: Limit, at: i128) {
        let mut bucket = self.bucket.lock();
        *bucket = bucket.changed(limit, at);
    }
}

/// Two limits held together in the obvious way: two levels and one lock.
#[derive(Debug)]
pub(crate) struct TwinPair {
    buckets: Mutex<[ExactBucket; 2]>,
}

impl TwinPair {
    pub(crate) fn new(limits: [Limit; 2]) -> TwinPair {
        TwinPair {
            buckets: Mutex::new(limits.map(ExactBucket::new)),
        }
    }

    /// Returns the answer of each limit to its cells. Both take their cells if both conform.
    pub(crate) fn check_each_at(&self, n: [u32; 2], at: i128) -> [Verdict; 2] {
        let mut buckets = self.buckets.lock();
        let said = [buckets[0].judge(n[0], at), buckets[1].judge(n[1], at)];
        if said == [Verdict::Conforms; 2] {
            buckets[0].take(n[0], at);
            buckets[1].take(n[1], at);
        }
        said
    }
}
