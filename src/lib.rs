//! A synchronous, lock-free rate meter: it is asked "does this cell conform, now?" and answers at once, yes, or no and the exact
//! [`Instant`](std::time::Instant) from which it would be yes. It never waits, never locks, and allocates nothing on a decision.
//!
//! ```
//! use ratelimit_meter::{GCRA, Quota, nonzero};
//! use std::time::{Duration, Instant};
//!
//! let meter = GCRA::from_quota(Quota::per_second(nonzero!(50u32)))?; // clones share one state
//! let now = Instant::now();
//! assert!((0..50).all(|_| meter.check_at(now).is_ok())); // yes, exactly fifty times
//! let denied = meter.check_at(now).unwrap_err(); // no,
//! assert_eq!(denied.wait_time_from(now), Duration::from_millis(20)); // not for 20 ms,
//! assert!(meter.check_at(denied.earliest_possible()).is_ok()); // and then yes
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it guarantees
//!
//! [`Decider`] and [`MultiDecider`] state it as ten laws, each held by a property test against an exact rational oracle. In short:
//! in no window of time is more admitted than burst + rate * window; a rested meter admits exactly its burst; nothing is refused
//! that exact arithmetic admits; whoever comes at the instant a denial told is admitted; a denial changes nothing. That holds from
//! one cell in a century to 2^32 cells a second, for timestamps in any order, with any number of threads.
//!
//! # Which one
//!
//! - [`GCRA`] and [`LeakyBucket`] decide exactly alike for the same quota: the standard (ITU-T I.371) defines one test in two ways.
//!   Take [`LeakyBucket`] if you want to ask for its level, [`GCRA`] if you think in the standard's T and tau.
//! - [`Exponential`] limits an exponentially weighted average rate, which it can tell as a number. A burst comes back more slowly than
//!   with the others; there is no burst apart from the limit.
//! - [`Allower`](example_algorithms::Allower) always says yes.
//!
//! Two limits on one subject, as 10 a second and 1000 an hour or packets and bytes, are a [`Dual`] of two of these: it decides both in one
//! step, and what either refuses counts in neither. Its text is `10/s & 1000/h` ([`DualQuota`]).
//!
//! A limit for each client, address or tenant is a [`KeyedMeter`]: a meter per key in a table of fixed size, which keys that rest leave to
//! others.
//!
//! A limit is a [`Quota`], which has a text for configuration files (`100/min burst 20`). Calls as in `ratelimit_meter` 1.x
//! work too: [`GCRA::for_capacity`], [`LeakyBucket::per_second`].
//!
//! The burst decides how a limit feels. It is the cells of one period unless set otherwise, so `100/min` may pass 100 at once and
//! 200 in its first minute; `100/min burst 20` smooths that to 120, `100/min burst 1` is a strict spacing of 600 ms.
//!
//! A limit that changes while it is in use, as when a configuration is loaded again, is an [`Adjustable`].
//!
//! Cells that come back in ticks are [`Quota::refill_every`] (`3/s burst 10 every 1s`), fewer of them to begin with
//! [`Meter::with_available`]. What one thread has to itself may be a [`LocalMeter`], and what never comes back a [`Budget`].
//!
//! # Which verb
//!
//! Each is one atomic step, or one read, now or `_at` an `Instant`. Every kind of meter has them, but that only a [`Meter`] reserves, a
//! [`Dual`] takes no part of a batch, a [`KeyedMeter`] is stored whole and a [`LocalMeter`] not:
//!
//! | to | call |
//! |---|---|
//! | decide, all or nothing | [`check`](Meter::check), [`check_n`](Meter::check_n) |
//! | decide, and tell what remains | [`take`](Meter::take) |
//! | admit as many as conform | [`check_up_to`](Meter::check_up_to) |
//! | ask without counting | [`peek`](Meter::peek), [`status`](Meter::status) |
//! | count what is known only afterwards, into debt if need be | [`charge`](Meter::charge) |
//! | give back | [`refund`](Meter::refund), [`reset`](Meter::reset) |
//! | take cells ahead of their time, to pace | [`reserve`](Meter::reserve) |
//! | owe over a restart what was owed before | [`snapshot`](Meter::snapshot), [`restore`](Meter::restore) |
//!
//! Several meters decide together, all or nothing, by [`check_all`].
//!
//! # Time
//!
//! Each decision has an `_at` form that takes an `Instant`; the form without reads the meter's [clock]. Several decisions about one
//! packet can share one reading. The [default clock](clock::DefaultClock) reads the processor's counter where that can be trusted, true to
//! `Instant::now()` within 5 us; [`SystemClock`](clock::SystemClock) is that itself, and tests want a
//! [`ManualClock`](clock::ManualClock).
//!
//! A meter's time line begins a day before it is made and is 36.5 years long. Instants may come in any order; those off the line
//! count as its beginning or its end.
//!
//! # Threads
//!
//! Clone a meter into each thread; clones share one atomic word. A denial only reads it, an admission is one compare-and-swap. A
//! conforming decision orders nothing but the meter itself: it is no lock and publishes no data. For loops in which even that is
//! too much, a [`LeasedMeter`] hands out cells that each thread has drawn in blocks.
//!
//! # Errors
//!
//! A denial is [`NonConformance`], of a batch [`NegativeMultiDecision`]: small, `Copy`, errors. Numbers that make no meter are an
//! [`InconsistentCapacity`](algorithms::InconsistentCapacity), text that makes no quota a [`ParseQuotaError`] that points at the bad
//! part. Nothing panics but the four constructors that 1.x had as infallible ([`Builder::build`](algorithms::Builder::build),
//! `From<Builder>`, [`GCRA::with_parameters`], `From` of its tuple), each beside a `try_` twin.
//!
//! # Features
//!
//! - `dual`: [`Dual`], on an atomic of 128 bits that `portable-atomic` provides. On by default.
//! - `keyed`: [`KeyedMeter`], on atomics of 64 bits. On by default.
//! - `serde`: [`Quota`] and [`DualQuota`] as their texts, [`Snapshot`] as its fields. Off by default.
//!
//! # More
//!
//! [Which algorithm, which verb](docs::which), in pictures; the [design](docs::design), its [limitations](docs::limitations),
//! [measurements](docs::benchmarks), and how to [migrate](docs::migrating) from earlier versions and from other crates.
//!
// Without the feature there is nothing else to link to.
#![cfg_attr(not(feature = "dual"), doc = " [`Dual`]: #features")]
#![cfg_attr(not(feature = "keyed"), doc = " [`KeyedMeter`]: #features")]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("a meter is one 64-bit atomic word, which this target does not have");

pub mod algorithms;
mod budget;
mod check_all;
pub mod clock;
mod counter;
mod decider;
pub mod docs;
#[cfg(feature = "dual")]
mod dual;
mod error;
pub mod example_algorithms;
#[cfg(feature = "keyed")]
pub mod keyed;
mod lease;
mod limit;
mod meter;
mod outcome;
mod quota;
mod schedule;
#[cfg(feature = "serde")]
mod serde_text;
mod snapshot;
pub mod store;
mod units;
mod when;

pub use budget::{Budget, OverBudget};
pub use check_all::{AllDenied, Checkable, check_all, check_all_at, take_all, take_all_at};
pub use decider::{Decider, MultiDecider};
#[cfg(feature = "dual")]
pub use dual::{Dual, DualNonConformance, DualStatus, DualTaken, NegativeDualDecision, RefusedBy};
#[cfg(feature = "keyed")]
pub use keyed::KeyedMeter;
pub use lease::{Lease, LeasedMeter, TooManyLeases};
pub use meter::{Adjustable, Exponential, GCRA, LeakyBucket, LocalMeter, Meter, MeterKind, Reservation};
pub use nonzero_ext::nonzero;
pub use outcome::{Admitted, NegativeMultiDecision, NonConformance, Status, Taken};
pub use quota::{DualQuota, ParseQuotaError, Quota};
pub use snapshot::{RestoreError, Snapshot, SnapshotLimit};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
