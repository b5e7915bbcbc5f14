//! A synchronous, lock-free rate limiter. Ask a *meter* whether a request conforms now: the answer is `Ok(())`, or an error that holds the exact
//! [`Instant`](std::time::Instant) from which it will. A meter never waits, never locks, and allocates nothing on a decision.
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
//! # Guarantees
//!
//! [`Decider`] and [`MultiDecider`] state ten laws. Property tests compare each law with an exact rational oracle. In short:
//!
//! - no window of time admits more than burst + rate * window;
//! - an idle meter admits exactly its burst;
//! - a meter denies nothing that exact arithmetic admits;
//! - a request that comes at the instant of its denial is admitted;
//! - a denial changes nothing.
//!
//! The laws hold from one cell in a century to 2^32 cells a second, for timestamps in any order, with any number of threads.
//!
//! # Which type
//!
//! | for | take |
//! |---|---|
//! | one limit | [`GCRA`] |
//! | one limit, with a level to read | [`LeakyBucket`] |
//! | an exponentially weighted average rate, reported as a number | [`Exponential`] |
//! | a limit for each client, address or tenant, in fixed memory | [`KeyedMeter`] |
//! | two limits on one subject, such as 10 a second and 1000 an hour, or packets and bytes | [`Dual`] |
//! | a limit that changes while it is in use | [`Adjustable`] |
//! | a limit that only one thread uses | [`LocalMeter`] |
//! | cells that never come back | [`Budget`] |
//! | loops for which one atomic is too much | [`LeasedMeter`] |
//! | no limit, in tests | [`Allower`] |
//!
//! [`GCRA`] and [`LeakyBucket`] decide exactly alike for the same quota: the standard (ITU-T I.371) defines one test in two ways. A burst of an
//! [`Exponential`] comes back more slowly than a burst of the other two. An [`Exponential`] has no burst apart from its limit.
//!
//! A limit is a [`Quota`], which has a text for configuration files (`100/min burst 20`). The calls of `ratelimit_meter` 1.x work too:
//! [`GCRA::for_capacity`], [`LeakyBucket::per_second`].
//!
//! The burst decides how a limit feels. It is the cells of one period unless set otherwise. So `100/min` may admit 100 at once, and 200 in its first
//! minute; `100/min burst 20` smooths that to 120, and `100/min burst 1` admits one every 600 ms. If no minute may have more than 100, that is
//! [`Quota::at_most`]. Cells that come back in ticks are [`Quota::refill_every`] (`3/s burst 10 every 1s`). A meter with fewer cells to begin
//! with is [`Meter::with_available`].
//!
//! # Which verb
//!
//! Each verb is one atomic step or one read, now or `_at` an `Instant`. Every [`Meter`] on any store, and every key of a [`KeyedMeter`], has all of
//! them, except that a [`LocalMeter`] and a key reserve nothing. A [`Dual`] takes a number of cells for each of its limits, and has no `check_up_to`. A
//! [`LeasedMeter`], a [`Budget`] and a `KeyedDual` have a few of them.
//!
//! | to | call |
//! |---|---|
//! | decide, all or nothing | [`check`](Meter::check), [`check_n`](Meter::check_n) |
//! | decide, and report the remaining cells and the wait | [`take`](Meter::take) |
//! | admit as many as conform | [`check_up_to`](Meter::check_up_to) |
//! | ask without counting | [`peek`](Meter::peek), [`status`](Meter::status) |
//! | count work whose cost is known only afterwards, into debt if need be | [`charge`](Meter::charge) |
//! | give back | [`refund`](Meter::refund), [`reset`](Meter::reset) |
//! | take cells ahead of their time, to pace | [`reserve`](Meter::reserve) |
//! | keep debts over a restart | [`snapshot`](Meter::snapshot), [`restore`](Meter::restore) |
//! | decide on several meters, all or nothing | [`check_all`], [`take_all`] |
//!
//! # Time
//!
//! The form without `_at` reads the meter's [clock]. Several decisions about one packet can share one reading. The
//! [default clock](clock::DefaultClock) reads the processor's counter where that can be trusted, and is never more than 5 us behind
//! `Instant::now()`. [`SystemClock`](clock::SystemClock) is `Instant::now()` itself, and tests want a [`ManualClock`](clock::ManualClock).
//!
//! The time line of a meter begins a day before it is made and is 36.5 years long. Instants may come in any order. An instant off the line counts as its
//! beginning or its end.
//!
//! # Threads
//!
//! Clone a meter into each thread; clones share one atomic word. A denial only reads the word, an admission is one compare-and-swap. A decision
//! is no memory barrier: data that one thread writes before its decision need not be visible to a thread that decides later.
//!
//! # Errors
//!
//! A denial is a [`NonConformance`], and the denial of a batch a [`NegativeMultiDecision`]: small, `Copy`, errors. Numbers that no meter can have are an
//! [`InconsistentCapacity`]. A text that is not a quota is a [`ParseQuotaError`], which points at the bad part.
//! Nothing panics except the four constructors that 1.x had as infallible ([`Builder::build`](algorithms::Builder::build), `From<Builder>`,
//! [`GCRA::with_parameters`], `From` of its tuple), each beside a `try_` twin.
//!
//! # Features
//!
//! - `std`, on by default. Without it the crate is `no_std`: meters decide at the times of [`time`], which are nanoseconds since an epoch that the
//!   caller chooses. There is no clock, and no [`Exponential`], [`Adjustable`], [`LeasedMeter`], `KeyedDual` or snapshot.
//! - `alloc`, part of `std`: clones of meters, and reservations.
//! - `dual`, on by default, with `alloc`: [`Dual`] and the three-colour markers of `marker`, on an atomic of 128 bits that `portable-atomic` provides.
//! - `keyed`, on by default, with `alloc`: [`KeyedMeter`], on atomics of 64 bits.
//! - `metrics` and `tracing`, off by default: `Observed`, a wrapper that counts decisions in the facade `metrics`, and emits an event of `tracing`
//!   for each denial. A meter that is not wrapped costs the same with and without them.
//! - `web-time`, off by default: in a browser, the clock of the crate `web_time` instead of the standard library's, which panics there.
//! - `serde`, off by default: [`Quota`] and [`DualQuota`] as their texts, [`Snapshot`] as its fields.
//!
//! # Companions
//!
//! `ratelimit_meter_tokio` waits for cells, and `ratelimit_meter_tower` limits HTTP and gRPC requests. `ratelimit_meter_redis` and
//! `ratelimit_meter_postgres` share a limit among machines. `meter-replay` shows the effect of a limit on recorded traffic.
//!
//! # More
//!
//! [Which algorithm, which verb](docs::which), in pictures; the [design](docs::design), its [limitations](docs::limitations),
//! [measurements](docs::benchmarks), and how to [migrate](docs::migrating) from earlier versions and from other crates.
//!
// Without the feature there is nothing else to link to.
#![cfg_attr(not(feature = "dual"), doc = " [`Dual`]: #features")]
#![cfg_attr(not(feature = "keyed"), doc = " [`KeyedMeter`]: #features")]
#![cfg_attr(
    not(feature = "std"),
    doc = " [`Exponential`]: #features\n [`Adjustable`]: #features\n [`LeasedMeter`]: #features"
)]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(feature = "std"),
    allow(dead_code, reason = "functions that only parts with `std` use")
)]

#[cfg(feature = "alloc")]
extern crate alloc;

mod algorithm;
pub mod algorithms;
mod budget;
mod check_all;
pub mod clock;
mod decider;
#[cfg(feature = "dual")]
mod dual;
mod error;
#[cfg(feature = "keyed")]
pub mod keyed;
#[cfg(feature = "std")]
mod lease;
mod limit;
#[cfg(feature = "dual")]
pub mod marker;
mod meter;
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub mod observed;
mod outcome;
mod quota;
mod schedule;
#[cfg(feature = "std")]
mod snapshot;
pub mod store;
pub mod time;
mod units;
mod variants;

#[cfg(feature = "std")]
pub use algorithms::Exponential;
pub use algorithms::{GCRA, InconsistentCapacity, LeakyBucket};
pub use budget::{Budget, OverBudget};
pub use check_all::{AllDenied, Checkable, check_all, check_all_at, take_all, take_all_at};
pub use decider::{Allower, Decider, MultiDecider};
#[cfg(feature = "dual")]
pub use dual::{Dual, DualNonConformance, DualStatus, DualTaken, NegativeDualDecision, RefusedBy};
#[cfg(feature = "keyed")]
pub use keyed::KeyedMeter;
#[cfg(feature = "std")]
pub use lease::{Lease, LeasedMeter, TooManyLeases};
#[cfg(feature = "alloc")]
pub use meter::Reservation;
pub use meter::{Meter, MeterKind};
pub use nonzero_ext::nonzero;
pub use outcome::{Admitted, NegativeMultiDecision, NonConformance, Status, Taken};
pub use quota::{DualQuota, ParseQuotaError, Quota};
#[cfg(feature = "std")]
pub use snapshot::{RestoreError, Snapshot, SnapshotLimit};
#[cfg(feature = "std")]
pub use variants::Adjustable;
pub use variants::LocalMeter;

/// The meter without a limit, under its name of `ratelimit_meter` 1.x.
pub mod example_algorithms {
    pub use crate::decider::Allower;
}

/// The pages of `docs/`, compiled with the crate so that their examples stay true.
// The examples of some pages need the default features, so other builds do not test them.
pub mod docs {
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("../docs/limitations.md")]
    pub mod limitations {}

    #[doc = include_str!("../docs/benchmarks.md")]
    pub mod benchmarks {}

    #[cfg(any(not(doctest), all(feature = "std", feature = "dual", feature = "keyed")))]
    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}

    #[cfg(any(not(doctest), all(feature = "std", feature = "dual", feature = "keyed")))]
    // The pictures are data, because no files go with these pages. (The first definition of a link counts.)
    #[cfg_attr(doc, doc = include_str!("../docs/which-pictures.md"))]
    #[doc = include_str!("../docs/which.md")]
    pub mod which {}
}

#[cfg(all(doctest, feature = "std", feature = "dual", feature = "keyed"))]
#[doc = include_str!("../README.md")]
struct Readme;
