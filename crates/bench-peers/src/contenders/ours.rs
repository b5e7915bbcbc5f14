//! This project's meters: a clone in each thread.

use crate::cases::MeterLimit;
use crate::contender::{CheckAt, CheckN, CheckNAt, Contender, ContenderKind, Package};
use crate::tables::cases::Hasher;
use crate::tables::contender::{Hashes, KeyedContender};
use crate::tables::keys::NumberedKey;
use core::num::NonZeroU32;
use ratelimit_meter::keyed::KeyedBuilder;
use ratelimit_meter::{Adjustable, Dual, DualQuota, Exponential, GCRA, KeyedMeter, LeakyBucket, Quota};
use std::time::Duration;

pub(super) const PACKAGE: Option<Package> = Some(("ratelimit_meter", "6"));

pub(super) fn quota(limit: MeterLimit) -> Quota {
    Quota::new(NonZeroU32::MIN, limit.interval)
        .expect("an interval of an hour or less is a quota")
        .allow_burst(limit.burst)
}

/// An average has no burst of its own: it gets the same rate, over the time in which the burst drains.
fn average(limit: MeterLimit) -> Quota {
    Quota::new(limit.burst, limit.interval * limit.burst.get()).expect("both limits are within a quota's")
}

/// The same limit twice, so that both halves have to be looked at for either answer.
fn twice(limit: MeterLimit) -> DualQuota {
    DualQuota::new(quota(limit), quota(limit))
}

macro_rules! meter {
    ($contender:ident, $meter:ty, $name:literal, $quota:expr, $check:expr) => {
        pub(super) struct $contender;

        impl Contender for $contender {
            const NAME: &'static str = $name;
            const KIND: ContenderKind = ContenderKind::Ours;
            const PACKAGE: Option<Package> = PACKAGE;
            type Handle = $meter;

            fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
                let meter = <$meter>::from_quota($quota(limit)).expect("both limits are within a meter's");
                vec![meter; threads]
            }

            #[inline]
            fn check(meter: &mut Self::Handle) -> bool {
                $check(meter)
            }

            const CHECK_N: Option<CheckN<Self::Handle>> = Some(|meter, n| meter.check_n(n.get()).is_ok());
            const CHECK_AT: Option<CheckAt<Self::Handle>> = Some(|meter, at| meter.check_at(at).is_ok());
            const CHECK_N_AT: Option<CheckNAt<Self::Handle>> =
                Some(|meter, n, at| meter.check_n_at(n.get(), at).is_ok());
        }
    };
}

meter!(Gcra, GCRA, "GCRA", quota, |meter: &GCRA| meter.check().is_ok());
meter!(Bucket, LeakyBucket, "LeakyBucket", quota, |meter: &LeakyBucket| meter
    .check()
    .is_ok());
meter!(Average, Exponential, "Exponential", average, |meter: &Exponential| {
    meter.check().is_ok()
});
meter!(
    AdjustableGcra,
    Adjustable<GCRA>,
    "GCRA, adjustable",
    quota,
    |meter: &Adjustable<GCRA>| meter.check().is_ok()
);

/// Handles from before the quota was set.
pub(super) struct Adjusted;

impl Contender for Adjusted {
    const NAME: &'static str = "GCRA, adjusted";
    const KIND: ContenderKind = ContenderKind::Ours;
    const PACKAGE: Option<Package> = PACKAGE;
    type Handle = Adjustable<GCRA>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let slower = MeterLimit {
            interval: limit.interval * 2,
            ..limit
        };
        let handles = AdjustableGcra::handles(slower, threads);
        handles[0]
            .set_quota(quota(limit))
            .expect("both limits are within a meter's");
        handles
    }

    #[inline]
    fn check(meter: &mut Self::Handle) -> bool {
        meter.check().is_ok()
    }

    const CHECK_AT: Option<CheckAt<Self::Handle>> = Some(|meter, at| meter.check_at(at).is_ok());
}

meter!(Pair, Dual, "Dual of two GCRA", twice, |pair: &Dual| pair
    .check()
    .is_ok());

macro_rules! verb {
    ($contender:ident, $name:literal, $check:expr) => {
        pub(super) struct $contender;

        impl Contender for $contender {
            const NAME: &'static str = $name;
            const KIND: ContenderKind = ContenderKind::Ours;
            const PACKAGE: Option<Package> = PACKAGE;
            type Handle = GCRA;

            fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
                let meters = Gcra::handles(limit, threads);
                // A contender that only looks spends nothing, so the burst is spent from the start if the case needs that.
                if limit.interval >= Duration::from_secs(1) {
                    meters[0].charge(limit.burst.get().into());
                }
                meters
            }

            #[inline]
            fn check(meter: &mut Self::Handle) -> bool {
                $check(meter)
            }
        }
    };
}

verb!(Peek, "GCRA, peek", |meter: &GCRA| meter.peek().is_ok());
verb!(Take, "GCRA, take", |meter: &GCRA| meter.take(1).decision().is_ok());

impl<K: NumberedKey, S: Hashes> KeyedContender<K> for KeyedMeter<K, GCRA, S> {
    const NAME: &'static str = "KeyedMeter";
    const KIND: ContenderKind = ContenderKind::Ours;
    const HASHER: Option<Hasher> = Some(S::HASHER);

    fn with_room(limit: MeterLimit, keys: usize) -> Self {
        let like = GCRA::from_quota(quota(limit)).expect("all limits are within a meter's");
        let built = KeyedBuilder::new(like).hashes(S::default()).with_capacity(keys);
        built.expect("as much memory as the peers need")
    }

    #[inline]
    fn check(&self, key: &K) -> bool {
        self.check(key).is_ok()
    }
}
