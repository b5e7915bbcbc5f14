//! ratelimit_meter 5, the last release before this one: a clone in each thread, around one lock.

use crate::cases::MeterLimit;
use crate::contender::{CheckAt, CheckN, CheckNAt, Contender, ContenderKind, Package};
use ratelimit_meter_5::{DirectRateLimiter, GCRA};

const PACKAGE: Option<Package> = Some(("ratelimit_meter", "5"));

macro_rules! meter {
    ($contender:ident, $algorithm:ty, $name:literal) => {
        pub(super) struct $contender;

        impl Contender for $contender {
            const NAME: &'static str = $name;
            const KIND: ContenderKind = ContenderKind::Peer;
            const PACKAGE: Option<Package> = PACKAGE;
            type Handle = DirectRateLimiter<$algorithm>;

            fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
                vec![DirectRateLimiter::new(limit.burst, limit.rest()); threads]
            }

            #[inline]
            fn check(limiter: &mut Self::Handle) -> bool {
                limiter.check().is_ok()
            }

            const CHECK_N: Option<CheckN<Self::Handle>> = Some(|limiter, n| limiter.check_n(n.get()).is_ok());
            const CHECK_AT: Option<CheckAt<Self::Handle>> = Some(|limiter, at| limiter.check_at(at).is_ok());
            const CHECK_N_AT: Option<CheckNAt<Self::Handle>> =
                Some(|limiter, n, at| limiter.check_n_at(n.get(), at).is_ok());
        }
    };
}

meter!(Gcra, GCRA, "ratelimit_meter 5 GCRA");
meter!(
    LeakyBucket,
    ratelimit_meter_5::LeakyBucket,
    "ratelimit_meter 5 LeakyBucket"
);
