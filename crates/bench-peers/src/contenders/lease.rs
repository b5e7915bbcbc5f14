//! This project's leased meter: a lease in each thread.

use super::ours::{PACKAGE, quota};
use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use core::num::NonZeroU32;
use ratelimit_meter::LeasedMeter;

/// The cells that a lease draws at once.
const BLOCK: NonZeroU32 = NonZeroU32::new(256).unwrap();

pub(super) struct OurLease;

impl Contender for OurLease {
    const NAME: &'static str = "lease, m = 256";
    const KIND: ContenderKind = ContenderKind::Ours;
    const PACKAGE: Option<Package> = PACKAGE;
    type Handle = ratelimit_meter::Lease;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let leases = u32::try_from(threads)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN);
        let meter = LeasedMeter::new(quota(limit), leases, BLOCK).expect("both bursts hold a block for each thread");
        (0..threads)
            .map(|_| meter.lease().expect("there are as many leases as threads"))
            .collect()
    }

    #[inline]
    fn check(lease: &mut Self::Handle) -> bool {
        lease.check().is_ok()
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|lease, n| lease.check_n(n.get()).is_ok());
}
