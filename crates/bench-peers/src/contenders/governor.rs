//! governor: a direct limiter behind an `Arc`, on its default clock (quanta).

use crate::cases::Limit;
use crate::contender::{CheckN, Contender, Kind, Package};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::sync::Arc;

pub(super) struct Governor;

impl Contender for Governor {
    const NAME: &'static str = "governor";
    const KIND: Kind = Kind::Peer;
    const PACKAGE: Option<Package> = Some(("governor", "0.10"));
    type Handle = Arc<DefaultDirectRateLimiter>;

    fn handles(limit: Limit, threads: usize) -> Vec<Self::Handle> {
        let quota = Quota::with_period(limit.interval).expect("no interval is zero");
        let limiter = Arc::new(RateLimiter::direct(quota.allow_burst(limit.burst)));
        vec![limiter; threads]
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        limiter.check().is_ok()
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|limiter, n| matches!(limiter.check_n(n), Ok(Ok(()))));
}
