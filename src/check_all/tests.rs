//! A race that is certainly lost: another caller takes cells just before the meter is charged.

use super::{AllDenied, Checkable, Checked, check_all_at, take_all_at};
use crate::outcome::Taken;
use crate::{Exponential, GCRA, Quota};
use std::time::{Duration, Instant};

/// A meter, and an action that runs between the evaluation and the charge.
struct Raced<'a>(&'a GCRA, &'a (dyn Fn() + Sync));

impl Checkable for Raced<'_> {}

impl Checked for Raced<'_> {
    fn now(&self) -> (Instant, u64) {
        Checked::now(self.0)
    }

    fn now_exactly(&self) -> Instant {
        Checked::now_exactly(self.0)
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
fn cells_taken_before_a_lost_race_are_given_back() {
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
    assert_eq!(left, [10, 2, 10], "the second lost only what was stolen");
    assert_eq!(average.status_at(now).remaining(), 10);
    let told = statuses.map(|status| status.unwrap().remaining());
    assert_eq!(told, [10, 10, 2, 10]);
}

#[test]
fn all_conform_at_the_instant_that_a_lost_race_reports() {
    let (slow, fast, now) = (gcra("1/h"), gcra("10/s"), Instant::now());
    let steal = || assert!(fast.check_n_at(10, now).is_ok());
    let denied = check_all_at(&[(&slow, 1), (&Raced(&fast, &steal), 1)], now).unwrap_err();
    assert_eq!((denied.meter(), ms(&denied, now)), (1, Some(100)));
    let again = denied.earliest_possible().unwrap();
    assert!(check_all_at(&[(&slow, 1), (&fast, 1)], again - Duration::from_nanos(1)).is_err());
    assert_eq!(check_all_at(&[(&slow, 1), (&fast, 1)], again), Ok(()));
}

#[test]
fn a_race_lost_at_the_first_meter_charges_no_other() {
    let (first, last, now) = (gcra("10/s"), gcra("10/s"), Instant::now());
    let steal = || assert!(first.check_n_at(10, now).is_ok());
    let denied = check_all_at(&[(&Raced(&first, &steal), 1), (&last, 1)], now).unwrap_err();
    assert_eq!(denied.meter(), 0);
    assert_eq!(last.status_at(now).remaining(), 10);
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
