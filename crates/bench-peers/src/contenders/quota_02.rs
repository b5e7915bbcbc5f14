//! quota 0.2: a pool with one key, inserted beforehand; a lock each key.
//!
//! Compact keys of one's own type are what it recommends.

use crate::cases::Limit;
use crate::contender::{CheckN, Contender, Kind, Package};
use crate::keyed::cases::Hasher;
use crate::keyed::contender::KeyedContender;
use crate::keyed::keys::Key;
use core::hash::Hash;
use quota_02::{QuotaPolicy, QuotaPool, RefillRate};
use std::sync::Arc;

const KEY: u64 = 7;

pub(super) struct Pool;

impl Contender for Pool {
    const NAME: &'static str = "quota 0.2";
    const KIND: Kind = Kind::KeyedPeer;
    const PACKAGE: Option<Package> = Some(("quota", "0.2"));
    type Handle = Arc<QuotaPool<u64>>;

    fn handles(limit: Limit, threads: usize) -> Vec<Self::Handle> {
        let pool = pool(limit, 1);
        pool.insert_key(&KEY);
        let pool = Arc::new(pool);
        vec![pool; threads]
    }

    #[inline]
    fn check(pool: &mut Self::Handle) -> bool {
        pool.consume(&KEY, 1).is_ok()
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|pool, n| pool.consume(&KEY, n.get().into()).is_ok());
}

fn pool<K: Hash + Eq>(limit: Limit, keys: usize) -> QuotaPool<K> {
    let policy = QuotaPolicy::new()
        .set_capacity(f64::from(limit.burst.get()))
        .set_refill_rate(RefillRate::per_sec(limit.rate()));
    QuotaPool::with_capacity(policy, limit.burst.get().into(), keys)
}

impl<K: Key> KeyedContender<K> for QuotaPool<K> {
    const NAME: &'static str = Pool::NAME;
    const KIND: Kind = Kind::Peer;
    const HASHER: Option<Hasher> = Some(Hasher::SipHash);

    fn with_room(limit: Limit, keys: usize) -> Self {
        pool(limit, keys)
    }

    #[inline]
    fn check(&self, key: &K) -> bool {
        self.consume(key, 1).is_ok()
    }
}
