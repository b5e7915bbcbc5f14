//! flux-limiter: one key, asked for once beforehand, on its default clock (`SystemTime`). Any hashable key will do; it takes them
//! by value, and a number costs nothing to copy. It decides single requests only.

use crate::cases::Limit;
use crate::contender::{Contender, Kind, Package};
use flux_limiter::{FluxLimiterConfig, SystemClock};

const KEY: u64 = 7;

pub(super) struct FluxLimiter;

impl Contender for FluxLimiter {
    const NAME: &'static str = "flux-limiter";
    const KIND: Kind = Kind::KeyedPeer;
    const PACKAGE: Option<Package> = Some(("flux-limiter", "0.8"));
    type Handle = flux_limiter::FluxLimiter<u64>;

    fn handles(limit: Limit, threads: usize) -> Vec<Self::Handle> {
        let config = FluxLimiterConfig::new(limit.rate(), f64::from(limit.burst.get()));
        let limiter = flux_limiter::FluxLimiter::with_config(config, SystemClock).expect("rate and burst are positive");
        let mut handles = vec![limiter; threads];
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
