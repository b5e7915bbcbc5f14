//! The meter as anybody would write it: a level and a lock.

use super::limit::Limit;
use super::oracle::{Bucket, Verdict};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Twin {
    bucket: Mutex<Bucket>,
}

impl Twin {
    pub(crate) fn new(limit: Limit) -> Twin {
        Twin {
            bucket: Mutex::new(Bucket::new(limit)),
        }
    }

    /// GCRA(T, tau) whose theoretical arrival time is `tat`: the bucket holds what is left until then.
    pub(crate) fn expecting(t: u64, tau: u64, tat: i128) -> Twin {
        Twin {
            bucket: Mutex::new(Bucket::filled(Limit::standard(t, tau), 0, tat)),
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
