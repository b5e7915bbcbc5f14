//! This project's meters: a clone in each thread.

use crate::cases::Limit;
use crate::contender::{CheckAt, CheckN, CheckNAt, Contender, Kind, Package};
use core::num::NonZeroU32;
use ratelimit_meter::Quota;

pub(super) const PACKAGE: Option<Package> = Some(("ratelimit_meter", "6"));

pub(super) fn quota(limit: Limit) -> Quota {
    Quota::new(NonZeroU32::MIN, limit.interval)
        .expect("an interval of an hour or less is a quota")
        .allow_burst(limit.burst)
}

macro_rules! meter {
    ($contender:ident, $meter:ty, $name:literal) => {
        pub(super) struct $contender;

        impl Contender for $contender {
            const NAME: &'static str = $name;
            const KIND: Kind = Kind::Ours;
            const PACKAGE: Option<Package> = PACKAGE;
            type Handle = $meter;

            fn handles(limit: Limit, threads: usize) -> Vec<Self::Handle> {
                let meter = <$meter>::from_quota(quota(limit)).expect("both limits are within a meter's");
                vec![meter; threads]
            }

            #[inline]
            fn check(meter: &mut Self::Handle) -> bool {
                meter.check().is_ok()
            }

            const CHECK_N: Option<CheckN<Self::Handle>> = Some(|meter, n| meter.check_n(n.get()).is_ok());
            const CHECK_AT: Option<CheckAt<Self::Handle>> = Some(|meter, at| meter.check_at(at).is_ok());
            const CHECK_N_AT: Option<CheckNAt<Self::Handle>> =
                Some(|meter, n, at| meter.check_n_at(n.get(), at).is_ok());
        }
    };
}

meter!(Gcra, ratelimit_meter::GCRA, "GCRA");
meter!(LeakyBucket, ratelimit_meter::LeakyBucket, "LeakyBucket");
