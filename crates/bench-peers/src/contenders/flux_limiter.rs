//! flux-limiter: one key, asked for once beforehand, on its default clock (`SystemTime`). It accepts any hashable key; it takes them
//! by value, and a number costs nothing to copy. It decides single requests only.

use crate::cases::MeterLimit;
use crate::contender::{Contender, ContenderKind, Package};
use crate::tables::cases::Hasher;
use crate::tables::contender::KeyedContender;
use crate::tables::keys::NumberedKey;
use flux_limiter::{FluxLimiterConfig, SystemClock};

const KEY: u64 = 7;

pub(super) struct FluxLimiter;

impl Contender for FluxLimiter {
    const NAME: &'static str = "flux-limiter";
    const KIND: ContenderKind = ContenderKind::KeyedPeer;
    const PACKAGE: Option<Package> = Some(("flux-limiter", "0.8"));
    type Handle = flux_limiter::FluxLimiter<u64>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let mut handles = vec![limiter(limit); threads];
        handles.iter_mut().take(1).for_each(|handle| {
            Self::check(handle);
        });
        handles
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        limiter.check_request(KEY).is_ok_and(|decision| decision.allowed)
    }
}

fn limiter<K: NumberedKey>(limit: MeterLimit) -> flux_limiter::FluxLimiter<K> {
    let config = FluxLimiterConfig::new(limit.rate(), f64::from(limit.burst.get()));
    flux_limiter::FluxLimiter::with_config(config, SystemClock).expect("rate and burst are positive")
}

/// It has no parameter for the number of keys.
impl<K: NumberedKey> KeyedContender<K> for flux_limiter::FluxLimiter<K> {
    const NAME: &'static str = FluxLimiter::NAME;
    const KIND: ContenderKind = ContenderKind::Peer;
    const HASHER: Option<Hasher> = Some(Hasher::SipHash);

    fn with_room(limit: MeterLimit, _: usize) -> Self {
        limiter(limit)
    }

    /// It takes keys by value.
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.check_request(key.clone()).is_ok_and(|decision| decision.allowed)
    }
}
