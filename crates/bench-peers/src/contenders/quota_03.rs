//! quota 0.3: a pool with one key, inserted beforehand, asked by `check`, "the fast boolean form".
//!
//! Compact keys of one's own type are what it recommends.

use crate::cases::Limit;
use crate::contender::{CheckN, Contender, Kind, Package};
use quota_03::{QuotaPolicy, QuotaPool, RefillRate};
use std::sync::Arc;

const KEY: u64 = 7;

pub(super) struct Pool;

impl Contender for Pool {
    const NAME: &'static str = "quota 0.3";
    const KIND: Kind = Kind::KeyedPeer;
    const PACKAGE: Option<Package> = Some(("quota", "0.3"));
    type Handle = Arc<QuotaPool<u64>>;

    fn handles(limit: Limit, threads: usize) -> Vec<Self::Handle> {
        let policy = QuotaPolicy::new()
            .set_capacity(f64::from(limit.burst.get()))
            .set_refill_rate(RefillRate::per_sec(limit.rate()));
        let pool = QuotaPool::with_capacity(policy, limit.burst.get().into(), 1);
        pool.insert_key(&KEY);
        let pool = Arc::new(pool);
        vec![pool; threads]
    }

    #[inline]
    fn check(pool: &mut Self::Handle) -> bool {
        pool.check(&KEY, 1)
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|pool, n| pool.check(&KEY, n.get().into()));
}
