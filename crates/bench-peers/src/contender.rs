//! The adapter trait of a peer.

use crate::cases::MeterLimit;
use core::num::NonZeroU32;
use std::time::Instant;

/// The kind of a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContenderKind {
    /// A contender of this project.
    Ours,
    /// A peer's meter.
    Peer,
    /// A peer that knows only keyed meters: it finds one key, made beforehand, in each call.
    KeyedPeer,
    /// No meter: the time of the hardware for a part of the work. Always answers yes.
    Floor,
}

/// A crate: its name and the beginning of its version, as the lock file has them.
pub(crate) type Package = (&'static str, &'static str);

/// Decides a batch of this many cells.
pub(crate) type CheckN<H> = fn(&mut H, NonZeroU32) -> bool;
/// Decides a cell at an instant.
pub(crate) type CheckAt<H> = fn(&mut H, Instant) -> bool;
/// Decides a batch at an instant.
pub(crate) type CheckNAt<H> = fn(&mut H, NonZeroU32, Instant) -> bool;

/// A meter under test, called in the fastest way that its documentation shows, with its default clock and configuration.
///
/// Each call returns whether the cells conform, and is compiled into the timed loop. A call that a contender does not offer is `None`.
pub(crate) trait Contender {
    /// The name in the tables.
    const NAME: &'static str;
    const KIND: ContenderKind;
    /// The crate of the contender.
    const PACKAGE: Option<Package>;

    /// A thread's handle of a meter.
    type Handle: Send;

    /// Returns handles of one new idle meter, for this many threads.
    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle>;

    /// Decides a cell by the meter's own clock.
    fn check(handle: &mut Self::Handle) -> bool;

    const CHECK_N: Option<CheckN<Self::Handle>> = None;
    const CHECK_AT: Option<CheckAt<Self::Handle>> = None;
    const CHECK_N_AT: Option<CheckNAt<Self::Handle>> = None;
}
