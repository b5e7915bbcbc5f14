//! A race that is lost for certain: a meter from which others take just before it is charged.

use super::{AllDenied, Checkable, Checked, check_all_at, check_all_n_at};
use crate::metered::State;
use crate::{Exponential, GCRA, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};

/// A meter, and what is done with it between the look and the charge.
struct Raced<'a>(&'a GCRA, &'a (dyn Fn() + Sync));

impl Checkable for Raced<'_> {}

impl Checked for Raced<'_> {
    fn now(&self) -> (Instant, u64) {
        Checked::now(self.0)
    }

    fn now_exactly(&self) -> Instant {
        Checked::now_exactly(self.0)
    }

    fn state(&self) -> State {
        Checked::state(self.0)
    }

    fn peek(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.0.peek_n_at(n, at)
    }

    fn take(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        (self.1)();
        self.0.check_n_at(n, at)
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
fn what_was_charged_before_a_lost_race_is_kept_and_told() {
    let (first, second, last, now) = (gcra("10/h"), gcra("10/h"), gcra("10/h"), Instant::now());
    let strict = Exponential::from_quota(quota("10/s")).unwrap().strict();
    let steal = || assert!(second.check_n_at(8, now).is_ok());
    let denied = check_all_n_at(
        &[(&first, 2), (&strict, 1), (&Raced(&second, &steal), 3), (&last, 4)],
        now,
    )
    .unwrap_err();
    assert_eq!((denied.meter(), denied.kept(), ms(&denied, now)), (2, 2, Some(360_000)));
    assert_eq!(denied.decision(), second.peek_n_at(3, now).unwrap_err());
    let left = [&first, &second, &last].map(|meter| meter.status_at(now).remaining());
    assert_eq!(left, [8, 2, 10], "the second lost only what was stolen");
    assert_eq!(strict.status_at(now).remaining(), 9);
    let told = denied.to_string();
    assert!(
        told.starts_with("meter 2: denied: batch of 3 cells conforms in "),
        "{told}"
    );
    assert!(told.ends_with(" (the first 2 keep their cells)"), "{told}");
}

#[test]
fn what_is_kept_has_to_drain_before_all_conform_again() {
    let (slow, fast, now) = (gcra("1/h"), gcra("10/s"), Instant::now());
    let steal = || assert!(fast.check_n_at(10, now).is_ok());
    let denied = check_all_at(&[&slow, &Raced(&fast, &steal)], now).unwrap_err();
    assert_eq!(
        (denied.meter(), denied.kept(), ms(&denied, now)),
        (0, 1, Some(3_600_000))
    );
    let again = denied.earliest_possible().unwrap();
    assert!(check_all_at(&[&slow, &fast], again - Duration::from_nanos(1)).is_err());
    assert_eq!(check_all_at(&[&slow, &fast], again), Ok(()));
}

#[test]
fn a_race_lost_at_the_first_meter_keeps_nothing() {
    let (first, last, now) = (gcra("10/s"), gcra("10/s"), Instant::now());
    let steal = || assert!(first.check_n_at(10, now).is_ok());
    let denied = check_all_at(&[&Raced(&first, &steal), &last], now).unwrap_err();
    assert_eq!((denied.meter(), denied.kept()), (0, 0));
    assert_eq!(last.status_at(now).remaining(), 10);
}

#[test]
fn a_lost_race_is_told_even_if_all_conform_by_then() {
    let (first, last, now) = (gcra("10/s"), gcra("10/s"), Instant::now());
    let steal_once = || assert!(last.check_n_at(10, now).is_ok());
    let refunding = Refunding(Raced(&last, &steal_once));
    let denied = check_all_at(&[&first, &refunding], now).unwrap_err();
    assert_eq!((denied.meter(), denied.kept(), ms(&denied, now)), (1, 1, Some(100)));
    assert_eq!([&first, &last].map(|meter| meter.status_at(now).remaining()), [9, 10]);
}

/// From which others take just before it is charged, and give back just after.
struct Refunding<'a>(Raced<'a>);

impl Checkable for Refunding<'_> {}

impl Checked for Refunding<'_> {
    fn now(&self) -> (Instant, u64) {
        self.0.now()
    }

    fn now_exactly(&self) -> Instant {
        self.0.now_exactly()
    }

    fn state(&self) -> State {
        self.0.state()
    }

    fn peek(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.0.peek(n, at)
    }

    fn take(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        let taken = self.0.take(n, at);
        self.0.0.refund_at(10, at);
        taken
    }
}
