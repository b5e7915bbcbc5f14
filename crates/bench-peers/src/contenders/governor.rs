//! governor: a direct limiter behind an `Arc`, and keyed ones in a `DashMap`, on its default clock (quanta).

use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use crate::tables::cases::Hasher;
use crate::tables::contender::{Hashes, KeyedContender};
use crate::tables::keys::NumberedKey;
use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::sync::Arc;

pub(super) struct Governor;

impl Contender for Governor {
    const NAME: &'static str = "governor";
    const KIND: ContenderKind = ContenderKind::Peer;
    const PACKAGE: Option<Package> = Some(("governor", "0.10"));
    type Handle = Arc<DefaultDirectRateLimiter>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let limiter = Arc::new(RateLimiter::direct(quota(limit)));
        vec![limiter; threads]
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        limiter.check().is_ok()
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|limiter, n| matches!(limiter.check_n(n), Ok(Ok(()))));
}

fn quota(limit: MeterLimit) -> Quota {
    let quota = Quota::with_period(limit.interval).expect("no interval is zero");
    quota.allow_burst(limit.burst)
}

impl<K: NumberedKey, S: Hashes> KeyedContender<K> for RateLimiter<K, DashMapStateStore<K, S>, DefaultClock> {
    const NAME: &'static str = Governor::NAME;
    const KIND: ContenderKind = ContenderKind::Peer;
    const HASHER: Option<Hasher> = Some(S::HASHER);

    fn with_room(limit: MeterLimit, keys: usize) -> Self {
        let store = DashMapStateStore::with_capacity_and_hasher(keys, S::default());
        Self::new(quota(limit), store, DefaultClock::default())
    }

    #[inline]
    fn check(&self, key: &K) -> bool {
        self.check_key(key).is_ok()
    }
}
