//! A decision on several meters, each with a word of its own, all or nothing.

use crate::algorithm::Algorithm;
use crate::clock::{Clock, act_now};
use crate::meter::Meter;
use crate::outcome::{NegativeMultiDecision, Status, Taken};
use crate::quota::Quota;
use crate::store::Store;
use crate::time::{self, Instant, Moment};
use core::error::Error;
use core::fmt;

/// A meter that [`check_all`] can check: a [`Meter`] that threads can share, or a `Dual`, with any clock. Sealed.
///
/// An `Adjustable` and the meter of a key are such meters, but a [`LocalMeter`](crate::LocalMeter) is not. For a `KeyedDual`, list the key of each
/// of its two tables.
pub trait Checkable: Checked + Send + Sync {}

impl<A: Algorithm, C: Clock, S: Store<A> + Send + Sync> Checkable for Meter<A, C, S> {}

/// The operations on one of several meters that are checked together.
pub trait Checked {
    /// Returns the time now, and the maximum number of nanoseconds by which it is behind.
    fn now(&self) -> (Instant, u64);

    /// Returns the time now, for several meters.
    fn moment(&self) -> Moment {
        self.now().0.into()
    }

    /// Returns the exact time now.
    fn now_exactly(&self) -> Instant;

    /// Returns whether a denial changes the meter.
    fn counts_denials(&self) -> bool;

    /// Returns whether a denial for lack of a slot is counted.
    fn counts_missing_slots(&self) -> bool {
        false
    }

    /// Counts a denial for lack of a slot that was only evaluated.
    fn count_missing_slot(&self) {}

    /// Evaluates a decision on `n` cells, and changes nothing.
    fn look(&self, n: u32, at: Instant) -> Taken;

    /// Takes `n` cells if they conform.
    fn take(&self, n: u32, at: Instant) -> Taken;

    /// Gives back `n` cells that were taken at `taken`, less the cells that may have drained by `now`.
    fn give_back(&self, n: u32, taken: Instant, now: Instant);

    /// Gives back `n` cells that were taken at `taken` by `quota`, unless another quota holds by now.
    fn give_back_by(&self, _quota: Option<Quota>, n: u32, taken: Instant, now: Instant) {
        self.give_back(n, taken, now);
    }
}

impl<A: Algorithm, C: Clock, S: Store<A>> Checked for Meter<A, C, S> {
    fn now(&self) -> (Instant, u64) {
        (self.clock().now(), C::LAG_NS)
    }

    fn moment(&self) -> Moment {
        self.clock().moment()
    }

    fn now_exactly(&self) -> Instant {
        self.clock().now_exactly()
    }

    fn counts_denials(&self) -> bool {
        self.counts_denials()
    }

    fn counts_missing_slots(&self) -> bool {
        self.store().counts_missing_slots()
    }

    fn count_missing_slot(&self) {
        self.store().count_missing_slot();
    }

    fn look(&self, n: u32, at: Instant) -> Taken {
        self.evaluate(n, at)
    }

    fn take(&self, n: u32, at: Instant) -> Taken {
        self.take_at(n, at)
    }

    fn give_back(&self, n: u32, taken: Instant, now: Instant) {
        self.give_back(n, taken, now);
    }

    fn give_back_by(&self, quota: Option<Quota>, n: u32, taken: Instant, now: Instant) {
        self.give_back_by(quota, n, taken, now);
    }
}

/// A meter, and the number of cells requested from it.
type Batch<'a> = (&'a dyn Checkable, u32);

/// Decides a batch of cells on each of several meters now: counts all of them if all conform, and none otherwise.
///
/// Reads the time once, from the clock of the first meter; list meters whose clocks agree. Takes constant time for each meter,
/// and allocates nothing. Uses the stack for each meter: 400 bytes in an optimized build, up to 2 KiB otherwise.
///
/// 1. Each meter is evaluated, without a change. If a meter denies, nothing is written. That holds even for a strict
///    [`Exponential`](crate::Exponential), which otherwise counts denials.
/// 2. Each meter is charged, in order. If another thread took the last cells of a meter since step 1, the cells of the meters before it are given
///    back. Cells that may have drained since are not, as with [`Reservation::cancel`](crate::Reservation::cancel). If the quota of a meter was
///    changed in between, its cells stay counted.
///
/// So each meter never admits more than its limit (law 1 counts cells admitted less cells given back). In the short time until cells are given back,
/// another thread may be denied because of them. List the meter that is likeliest to deny first. A meter that is listed twice decides two batches,
/// one after the other, and a denial reports the wait of the longer one alone. So list each meter once, with the sum of the cells.
///
/// # Errors
///
/// [`AllDenied`] names the meter that denies longest, and the instant from which all would conform.
///
/// ```
/// use ratelimit_meter::{Exponential, GCRA, Quota, check_all_at};
/// use std::time::{Duration, Instant};
///
/// let service = Exponential::from_quota("100/s".parse::<Quota>()?)?; // all requests together
/// let endpoint = GCRA::from_quota("10/s".parse::<Quota>()?)?; // the requests of this endpoint
/// let now = Instant::now();
/// for _ in 0..10 {
///     check_all_at(&[(&endpoint, 1), (&service, 1)], now)?;
/// }
/// let denied = check_all_at(&[(&endpoint, 1), (&service, 1)], now).unwrap_err();
/// assert_eq!(denied.meter(), 0); // the endpoint's
/// assert_eq!(denied.earliest_possible(), Some(now + Duration::from_millis(100)));
/// assert_eq!(service.status_at(now).remaining(), 90); // the service's meter has not counted the request
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_all(batches: &[(&dyn Checkable, u32)]) -> Result<(), AllDenied> {
    take_all(batches, &mut [])
}

/// Decides a batch of cells on each of several meters at `at`; see [`check_all`].
///
/// # Errors
///
/// As [`check_all`].
pub fn check_all_at(batches: &[(&dyn Checkable, u32)], at: Instant) -> Result<(), AllDenied> {
    take_all_at(batches, &mut [], at)
}

/// Decides as [`check_all`], and also returns the status of each meter: after the admission, or at the denial.
///
/// Each status is written to the place of its meter in `statuses`, from the same word as the decision. If there are fewer places than meters, the
/// statuses of the last meters are not reported. The status of a `Dual` describes the limit that admits later, or, if both admit now, the limit with
/// fewer cells.
///
/// # Errors
///
/// As [`check_all`].
///
/// ```
/// use ratelimit_meter::{GCRA, Quota, take_all};
///
/// let user = GCRA::from_quota("100/h".parse::<Quota>()?)?;
/// let address = GCRA::from_quota("10/s".parse::<Quota>()?)?;
/// let mut statuses = [None; 2];
/// take_all(&[(&address, 1), (&user, 1)], &mut statuses)?;
/// assert_eq!(statuses.map(|status| status.map(|status| status.remaining())), [Some(9), Some(99)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn take_all(batches: &[(&dyn Checkable, u32)], statuses: &mut [Option<Status>]) -> Result<(), AllDenied> {
    let Some((first, _)) = batches.first() else {
        return Ok(());
    };
    // A denial that counts must not be tried twice.
    let counts = |(meter, _): &Batch<'_>| meter.counts_denials() || meter.counts_missing_slots();
    if batches.iter().any(counts) {
        return take_all_by(batches, statuses, first.now_exactly(), || first.now_exactly());
    }
    let (now, lag_ns) = first.now();
    act_now(
        now,
        || first.now_exactly(),
        |at| take_all_by(batches, statuses, at, || first.now_exactly()),
        |denied| {
            let soon = time::after(now, lag_ns);
            denied.earliest_possible().is_some_and(|earliest| earliest <= soon)
        },
    )
}

/// Decides as [`check_all_at`], and also returns the status of each meter; see [`take_all`].
///
/// # Errors
///
/// As [`check_all`].
pub fn take_all_at(
    batches: &[(&dyn Checkable, u32)],
    statuses: &mut [Option<Status>],
    at: Instant,
) -> Result<(), AllDenied> {
    take_all_by(batches, statuses, at, || at)
}

/// Decides at `at`. If a race is lost, `now` returns the time at which cells are given back.
fn take_all_by(
    batches: &[Batch<'_>],
    statuses: &mut [Option<Status>],
    at: Instant,
    now: impl FnOnce() -> Instant,
) -> Result<(), AllDenied> {
    let mut report = |index: usize, status| {
        if let Some(place) = statuses.get_mut(index) {
            *place = Some(status);
        }
    };
    let mut denied: Option<AllDenied> = None;
    for (index, &(meter, n)) in batches.iter().enumerate() {
        let looked = meter.look(n, at);
        report(index, looked.status());
        if let Err(decision) = looked.decision() {
            if matches!(decision, NegativeMultiDecision::BatchNonConforming(_, denial) if denial.is_table_full()) {
                meter.count_missing_slot();
            }
            let this = AllDenied { meter: index, decision };
            denied = Some(denied.map_or(this, |other| other.later(this)));
        }
    }
    if let Some(denied) = denied {
        return Err(denied);
    }
    take_from(0, batches, at, now, &mut report).map_err(|(denied, _)| denied)
}

/// Takes the cells of the meters from `index` on, one after the other. If a race is lost, gives back the taken cells, from the last meter to the first.
/// Also returns the time at which that is done.
///
/// Recursive, so that the quota of each meter is kept without an allocation.
fn take_from(
    index: usize,
    batches: &[Batch<'_>],
    at: Instant,
    now: impl FnOnce() -> Instant,
    report: &mut impl FnMut(usize, Status),
) -> Result<(), (AllDenied, Instant)> {
    let Some(&(meter, n)) = batches.get(index) else {
        return Ok(());
    };
    let taken = meter.take(n, at);
    report(index, taken.status());
    if let Err(decision) = taken.decision() {
        return Err((AllDenied { meter: index, decision }, now()));
    }
    let lost = take_from(index + 1, batches, at, now, report);
    if let Err((_, now)) = lost {
        meter.give_back_by(taken.status().quota(), n, at, now);
        report(index, meter.look(0, at).status());
    }
    lost
}

/// A denial by several meters: the meter that denies longest, and its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllDenied {
    meter: usize,
    decision: NegativeMultiDecision,
}

impl AllDenied {
    /// Returns the denial that lasts longer, or this one if both last equally long.
    fn later(self, other: Self) -> Self {
        match (self.earliest_possible(), other.earliest_possible()) {
            (Some(_), None) => other,
            (Some(this), Some(that)) if that > this => other,
            _ => self,
        }
    }

    /// Returns the place in the list, from 0, of the meter that denies longest; of the first such meter if several deny equally long.
    #[must_use]
    pub const fn meter(&self) -> usize {
        self.meter
    }

    /// Returns that meter's decision on its batch.
    #[must_use]
    pub const fn decision(&self) -> NegativeMultiDecision {
        self.decision
    }

    /// Returns the earliest instant at which all would conform if no other caller took cells; `None` if they never will.
    #[must_use]
    pub fn earliest_possible(&self) -> Option<Instant> {
        self.decision.earliest_possible()
    }
}

/// Writes the place of the meter and its decision, with the wait from `Instant::now()`.
impl fmt::Display for AllDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meter {}: {}", self.meter, self.decision)
    }
}

impl Error for AllDenied {}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    //! A race that is certainly lost: another caller takes cells just before the meter is charged.

    use super::{AllDenied, Checkable, Checked, check_all_at, take_all_at};
    use crate::outcome::Taken;
    use crate::time::Instant;
    use crate::{Exponential, GCRA, Quota};
    use core::time::Duration;

    /// A meter, and an action that runs between the evaluation and the charge.
    struct Raced<'a>(&'a dyn Checkable, &'a (dyn Fn() + Sync));

    impl Checkable for Raced<'_> {}

    impl Checked for Raced<'_> {
        fn now(&self) -> (Instant, u64) {
            Checked::now(self.0)
        }

        fn now_exactly(&self) -> Instant {
            Checked::now_exactly(self.0)
        }

        fn counts_denials(&self) -> bool {
            Checked::counts_denials(self.0)
        }

        fn look(&self, n: u32, at: Instant) -> Taken {
            Checked::look(self.0, n, at)
        }

        fn take(&self, n: u32, at: Instant) -> Taken {
            (self.1)();
            Checked::take(self.0, n, at)
        }

        fn give_back(&self, n: u32, taken: Instant, now: Instant) {
            Checked::give_back(self.0, n, taken, now);
        }
    }

    fn quota(text: &str) -> Quota {
        text.parse().unwrap()
    }

    fn gcra(text: &str) -> GCRA {
        GCRA::from_quota(quota(text)).unwrap()
    }

    fn ms(denied: &AllDenied, from: Instant) -> Option<u128> {
        let earliest = denied.earliest_possible()?;
        Some(earliest.duration_since(from).as_nanos().div_ceil(1_000_000))
    }

    #[test]
    fn lost_race_gives_back_the_taken_cells() {
        let (first, second, last, now) = (gcra("10/h"), gcra("10/h"), gcra("10/h"), Instant::now());
        let average = Exponential::from_quota(quota("10/s")).unwrap();
        let steal = || assert!(second.check_n_at(8, now).is_ok());
        let mut statuses = [None; 4];
        let denied = take_all_at(
            &[(&first, 2), (&average, 1), (&Raced(&second, &steal), 3), (&last, 4)],
            &mut statuses,
            now,
        )
        .unwrap_err();
        assert_eq!((denied.meter(), ms(&denied, now)), (2, Some(360_000)));
        assert_eq!(denied.decision(), second.peek_n_at(3, now).unwrap_err());
        let left = [&first, &second, &last].map(|meter| meter.status_at(now).remaining());
        assert_eq!(left, [10, 2, 10], "the second lost only the stolen cells");
        assert_eq!(average.status_at(now).remaining(), 10);
        let remaining = statuses.map(|status| status.unwrap().remaining());
        assert_eq!(remaining, [10, 10, 2, 10]);
    }

    #[test]
    #[cfg(feature = "dual")]
    fn lost_race_gives_back_to_a_pair() {
        let pair = crate::Dual::<GCRA>::from_quota("10/h & 20/d".parse().unwrap()).unwrap();
        let (last, now) = (gcra("1/h"), Instant::now());
        pair.check_each_at(2, 3, now).unwrap();
        let steal = || assert!(last.check_at(now).is_ok());
        let denied = check_all_at(&[(&pair, 4), (&Raced(&last, &steal), 1)], now).unwrap_err();
        assert_eq!(denied.meter(), 1);
        let status = pair.status_at(now);
        assert_eq!(
            [status.first(), status.second()].map(|status| status.remaining()),
            [8, 17]
        );
    }

    #[test]
    fn lost_race_gives_back_to_many_meters() {
        let (meters, last, now) = ([(); 100].map(|()| gcra("10/h")), gcra("10/h"), Instant::now());
        let steal = || assert!(last.check_n_at(10, now).is_ok());
        let raced = Raced(&last, &steal);
        for length in [1, 2, 10, 100] {
            let mut batches: Vec<(&dyn Checkable, u32)> =
                meters[..length].iter().map(|meter| (meter as _, 3)).collect();
            batches.push((&raced, 1));
            let mut statuses = [None; 101];
            let denied = take_all_at(&batches, &mut statuses, now).unwrap_err();
            assert_eq!((denied.meter(), statuses[length].unwrap().remaining()), (length, 0));
            for (meter, status) in meters.iter().zip(&statuses[..length]) {
                assert_eq!(
                    [meter.status_at(now), status.unwrap()].map(|status| status.remaining()),
                    [10; 2]
                );
            }
            last.reset();
        }
        let batches: Vec<(&dyn Checkable, u32)> = meters.iter().map(|meter| (meter as _, 3)).collect();
        assert_eq!(check_all_at(&batches, now), Ok(()));
        assert!(meters.iter().all(|meter| meter.status_at(now).remaining() == 7));
    }

    #[test]
    fn all_conform_at_the_instant_reported_after_race() {
        let (slow, fast, now) = (gcra("1/h"), gcra("10/s"), Instant::now());
        let steal = || assert!(fast.check_n_at(10, now).is_ok());
        let denied = check_all_at(&[(&slow, 1), (&Raced(&fast, &steal), 1)], now).unwrap_err();
        assert_eq!((denied.meter(), ms(&denied, now)), (1, Some(100)));
        let again = denied.earliest_possible().unwrap();
        assert!(check_all_at(&[(&slow, 1), (&fast, 1)], again - Duration::from_nanos(1)).is_err());
        assert_eq!(check_all_at(&[(&slow, 1), (&fast, 1)], again), Ok(()));
    }

    #[test]
    fn race_lost_at_first_meter_charges_no_other() {
        let (first, last, now) = (gcra("10/s"), gcra("10/s"), Instant::now());
        let steal = || assert!(first.check_n_at(10, now).is_ok());
        let denied = check_all_at(&[(&Raced(&first, &steal), 1), (&last, 1)], now).unwrap_err();
        assert_eq!(denied.meter(), 0);
        assert_eq!(last.status_at(now).remaining(), 10);
    }

    /// Takes 6 of 10 units before. A cell taken at weight 1 is not a cell of weight 2, and drains at another rate by another quota.
    #[test]
    #[cfg(feature = "std")]
    fn cells_stay_counted_if_their_quota_changes() {
        for (changed, remaining) in [
            ("10/h", 4),
            ("10/h weight 2", 1),
            ("20/h burst 10", 2),
            ("10/h burst 3", 2),
        ] {
            let (first, last, now) = (gcra("10/h").into_adjustable(), gcra("1/h"), Instant::now());
            first.check_n_at(6, now).unwrap();
            let steal = || {
                first.set_quota_at(quota(changed), now).unwrap();
                last.check_at(now).unwrap();
            };
            let mut statuses = [None; 2];
            let denied = take_all_at(&[(&first, 2), (&Raced(&last, &steal), 1)], &mut statuses, now).unwrap_err();
            assert_eq!(denied.meter(), 1);
            assert_eq!(first.status_at(now).remaining(), remaining, "{changed}");
            assert_eq!(statuses[0].unwrap().remaining(), remaining, "{changed}");
        }
    }

    #[test]
    #[cfg(all(feature = "std", feature = "keyed"))]
    fn cells_stay_counted_if_their_key_moves() {
        use crate::keyed::{KeyedBuilder, KeyedMeter};

        let (builder, heavy) = KeyedBuilder::new(gcra("10/h")).tier(quota("10/h weight 2")).unwrap();
        let (keys, last, now): (KeyedMeter<u8>, _, _) =
            (builder.with_capacity(1).unwrap(), gcra("1/h"), Instant::now());
        keys.check_n_at(&1, 4, now).unwrap();
        let steal = || {
            keys.in_tier(heavy).unwrap().check_at(&1, now).unwrap();
            last.check_at(now).unwrap();
        };
        assert!(check_all_at(&[(&keys.key(&1), 2), (&Raced(&last, &steal), 1)], now).is_err());
        assert_eq!(
            keys.key(&1).status_at(now).remaining(),
            1,
            "of the 10 units, 4 and 2 and 2 are taken"
        );
    }

    #[test]
    fn drained_cells_are_not_given_back() {
        let clock = crate::clock::ManualClock::new();
        let second = Duration::from_secs(1);
        let (first, last) = (gcra("10/s").with_clock(clock.clone()), gcra("1/h"));
        let start = crate::clock::Clock::now(&clock);
        // While the last meter is charged, a second passes, and another caller takes all that has drained.
        let steal = || {
            clock.advance(second).unwrap();
            assert!(first.check_n_at(10, start + second).is_ok() && last.check_at(start).is_ok());
        };
        let denied = super::check_all(&[(&first, 10), (&Raced(&last, &steal), 1)]).unwrap_err();
        assert_eq!(denied.meter(), 1);
        assert_eq!(first.status_at(start + second).remaining(), 0);
    }
}
