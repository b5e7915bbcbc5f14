//! quota 0.2 and 0.3: a pool with one key, inserted beforehand. 0.2 has a lock for each key; 0.3 is asked by `check`, "the fast boolean form".
//!
//! Both recommend compact keys of the user's own type.

use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use crate::tables::cases::Hasher;
use crate::tables::contender::KeyedContender;
use crate::tables::keys::NumberedKey;
use core::hash::Hash;
use std::sync::Arc;

const KEY: u64 = 7;

/// A version of the crate, under the name `$pool`, whose pools are asked by `$check`.
macro_rules! version {
    ($pool:ident, $quota:ident, $name:literal, $version:literal, $hasher:expr, $check:expr) => {
        pub(super) struct $pool;

        impl $pool {
            fn pool<K: Hash + Eq + Clone>(limit: MeterLimit, keys: usize) -> $quota::QuotaPool<K> {
                let policy = $quota::QuotaPolicy::new()
                    .set_capacity(f64::from(limit.burst.get()))
                    .set_refill_rate($quota::RefillRate::per_sec(limit.rate()));
                $quota::QuotaPool::with_capacity(policy, limit.burst.get().into(), keys)
            }
        }

        impl Contender for $pool {
            const NAME: &'static str = $name;
            const KIND: ContenderKind = ContenderKind::KeyedPeer;
            const PACKAGE: Option<Package> = Some(("quota", $version));
            type Handle = Arc<$quota::QuotaPool<u64>>;

            fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
                let pool = Self::pool(limit, 1);
                pool.insert_key(&KEY);
                let pool = Arc::new(pool);
                vec![pool; threads]
            }

            #[inline]
            fn check(pool: &mut Self::Handle) -> bool {
                $check(&**pool, &KEY, 1)
            }

            const CHECK_N: Option<CheckN<Self::Handle>> = Some(|pool, n| $check(&**pool, &KEY, n.get().into()));
        }

        impl<K: NumberedKey> KeyedContender<K> for $quota::QuotaPool<K> {
            const NAME: &'static str = $name;
            const KIND: ContenderKind = ContenderKind::Peer;
            const HASHER: Option<Hasher> = Some($hasher);

            fn with_room(limit: MeterLimit, keys: usize) -> Self {
                $pool::pool(limit, keys)
            }

            #[inline]
            fn check(&self, key: &K) -> bool {
                $check(self, key, 1)
            }
        }
    };
}

version!(
    Pool02,
    quota_02,
    "quota 0.2",
    "0.2",
    Hasher::SipHash,
    |pool: &quota_02::QuotaPool<_>, key, n| pool.consume(key, n).is_ok()
);
version!(
    Pool03,
    quota_03,
    "quota 0.3",
    "0.3",
    Hasher::AHash,
    |pool: &quota_03::QuotaPool<_>, key, n| pool.check(key, n)
);
