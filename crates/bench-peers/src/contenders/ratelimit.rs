//! ratelimit: a token bucket behind an `Arc`, on its default clock (`Instant`).

use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use std::sync::Arc;

pub(super) struct Ratelimiter;

impl Contender for Ratelimiter {
    const NAME: &'static str = "ratelimit";
    const KIND: ContenderKind = ContenderKind::Peer;
    const PACKAGE: Option<Package> = Some(("ratelimit", "2"));
    type Handle = Arc<ratelimit::Ratelimiter>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let limiter = ratelimit::Ratelimiter::builder(1)
            .period(limit.interval)
            .max_tokens(limit.burst.get().into())
            .initial_available(limit.burst.get().into())
            .build()
            .expect("the burst starts full and no interval is zero");
        let limiter = Arc::new(limiter);
        vec![limiter; threads]
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        limiter.try_wait().is_ok()
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|limiter, n| limiter.try_wait_n(n.get().into()).is_ok());
}
