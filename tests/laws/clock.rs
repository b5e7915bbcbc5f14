//! Laws 3, 4 and 7 by a meter's own clock, which may start anywhere and go either way.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::{Subject, gcra, leaky_bucket};
use crate::support::time::{SECOND, YEAR, earliest_instant, instant, since, try_instant};
use crate::support::traffic::{limits, play, steps};
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::clock::{Clock, ManualClock};
use std::time::{Duration, Instant};

proptest! {
    /// A clock that starts at the platform's first instant, where "a burst ago" is no instant at all.
    #[test]
    fn clock_that_starts_at_zero_works(limit in limits(), steps in steps()) {
        let clock = ManualClock::starting_at(earliest_instant());
        for meter in Subject::each_on(&limit, &clock) {
            let mut record = Admissions::new(limit);
            play(&limit, &steps, |n, at, exact| record.note(n, at, meter.ask_no_less(n, at, exact)));
            record.assert_law_1(meter.name);
        }
    }
}

/// The forms that read the clock decide as the forms with a given time.
#[test]
fn a_denial_ends_by_the_meters_own_clock() {
    let limit = Limit::per_second(3);
    let clock = ManualClock::new();
    for meter in Subject::each_on(&limit, &clock) {
        clock.set(meter.origin);
        assert_eq!(meter.meter.check_n(3), Ok(()));
        let denied = meter.meter.check().expect_err("nothing has drained");
        assert_eq!(denied.wait_time_from(meter.origin), Duration::from_nanos(333_333_334));
        clock.set(denied.earliest_possible() - Duration::from_nanos(1));
        assert_eq!(meter.meter.check(), Err(denied));
        clock.set(denied.earliest_possible());
        assert_eq!(meter.meter.check(), Ok(()));
        let said = meter.verdict(2, meter.meter.check_n(2));
        assert_eq!(said, Verdict::From(i128::from(SECOND)));
        clock.set(instant(meter.origin, i128::from(SECOND)));
        assert_eq!(meter.meter.check_n(2), Ok(()));
    }
}

/// The clock may be set to anything, and the meter made at any time of it.
#[test]
fn a_manual_clock_may_jump_centuries_either_way() -> Result<(), Box<dyn std::error::Error>> {
    let clock = ManualClock::new();
    let start = clock.now();
    let meters = Subject::each_on(&Limit::per_second(2), &clock);
    for meter in &meters {
        clock.set(start);
        assert!(meter.meter.check_n(2).is_ok());
        clock.advance(Duration::from_secs(15 * 365 * 86_400))?;
        assert!(meter.meter.check_n(2).is_ok() && meter.meter.check().is_err());
        clock.advance(Duration::from_secs(500 * 365 * 86_400))?;
        assert!(
            meter.meter.check_n(2).is_ok(),
            "the end of the time line is later than fifteen years"
        );
        assert!(meter.meter.check().is_err());
        clock.set(earliest_instant());
        assert!(meter.meter.check().is_err());
    }
    Ok(())
}

/// A new meter on the clock's own time line is idle at any clock time, independent of the old meter's admissions.
#[test]
fn a_meter_on_another_clock_begins_idle() {
    let limit = Limit::per_second(4);
    let (year, now) = (i128::from(YEAR), Instant::now());
    for offset in [-30 * year, 0, 30 * year] {
        let Some(start) = try_instant(now, offset) else {
            continue;
        };
        let clock = ManualClock::starting_at(start);
        let (gcra, bucket) = (gcra(&limit), leaky_bucket(&limit));
        assert!(gcra.check_n(4).is_ok() && bucket.check_n(4).is_ok());
        let (gcra, bucket) = (gcra.with_clock(clock.clone()), bucket.with_clock(clock));
        assert!(gcra.check_n(4).is_ok() && bucket.check_n(4).is_ok());
        let denied = [gcra.check(), bucket.check()].map(|said| said.expect_err("four are all there are"));
        assert_eq!(
            denied.map(|denied| since(start, denied.earliest_possible())),
            [i128::from(SECOND) / 4; 2]
        );
        assert!(gcra.check_at(denied[0].earliest_possible()).is_ok());
        assert!(bucket.check_at(denied[1].earliest_possible()).is_ok());
    }
}
