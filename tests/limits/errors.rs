//! The errors: their texts, their sizes, and that every bad number meets one.

use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::{ManualClock, OutOfRange};
use ratelimit_meter::{
    Exponential, GCRA, LeakyBucket, NegativeMultiDecision, NonConformance, OverBudget, ParseQuotaError, Quota, nonzero,
};
use std::error::Error;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

const YEAR: Duration = Duration::from_secs(31_557_600);

fn is_an_error<E: Error + Copy + Eq + Send + Sync + 'static>() {}

#[test]
fn errors_are_copy_and_cross_threads() {
    is_an_error::<NonConformance>();
    is_an_error::<NegativeMultiDecision>();
    is_an_error::<InconsistentCapacity>();
    is_an_error::<ParseQuotaError>();
    is_an_error::<OutOfRange>();
    is_an_error::<OverBudget>();
}

#[test]
#[cfg(target_os = "linux")]
fn results_fit_half_a_cache_line() {
    assert_eq!(size_of::<Result<(), NonConformance>>(), 32);
    assert_eq!(size_of::<Result<(), NegativeMultiDecision>>(), 40);
    assert_eq!(size_of::<InconsistentCapacity>(), 24);
}

#[test]
fn denials_report_the_wait() {
    let meter = LeakyBucket::per_second(1).unwrap();
    let long_ago = Instant::now() - Duration::from_secs(3600);
    meter.check_at(long_ago).unwrap();
    let denied = meter.check_at(long_ago).unwrap_err();
    assert_eq!(denied.to_string(), "denied: next cell conforms now");
    assert!(!denied.is_table_full());
    let batch = meter.check_n_at(1, long_ago).unwrap_err();
    assert_eq!(batch.to_string(), "denied: batch of 1 cell conforms now");
    assert!(batch.source().is_none(), "its text has the wait already");
    let never = meter.check_n(2).unwrap_err();
    assert_eq!(
        never.to_string(),
        "denied: batch of 2 cells exceeds the burst and can never conform"
    );
    assert!(never.source().is_none());
    let hour = Duration::from_secs(3600);
    let wait = NonConformance::at(Instant::now() + hour).wait_time();
    assert!(Duration::ZERO < wait && wait <= hour, "{wait:?}");
}

#[test]
fn question_mark_mixes_cells_and_batches() {
    fn one_and_two(meter: &GCRA, at: Instant) -> Result<(), NegativeMultiDecision> {
        meter.check_at(at)?;
        meter.check_n_at(2, at)
    }
    let (meter, now) = (GCRA::for_capacity(3).unwrap().build(), Instant::now());
    assert_eq!(one_and_two(&meter, now), Ok(()));
    assert_eq!(one_and_two(&meter, now), meter.check_n_at(1, now));
}

#[test]
fn debug_of_a_status_shows_its_numbers() {
    let (meter, now) = (
        GCRA::with_parameters(Duration::from_millis(1), Duration::from_millis(3), None),
        Instant::now(),
    );
    meter.check_n_at(4, now).unwrap();
    assert_eq!(
        format!("{:?}", meter.status_at(now)),
        "Status { remaining: 0, until_next: 1ms, until_rest: 4ms }"
    );
}

#[test]
fn denials_are_equal_when_their_instants_are() {
    let now = Instant::now();
    let (one, other) = (
        LeakyBucket::per_second(2).unwrap(),
        GCRA::for_capacity(4).unwrap().build(),
    );
    one.check_n_at(2, now).unwrap();
    other.check_n_at(4, now).unwrap();
    let half = one.check_at(now).unwrap_err();
    assert_ne!(half, other.check_at(now).unwrap_err());
    assert_eq!(
        other.check_n_at(2, now),
        Err(NegativeMultiDecision::BatchNonConforming(2, half))
    );
}

#[test]
fn errors_of_numbers_state_what_to_change() {
    let most = nonzero!(4_294_967_295u32);
    let table: [(Result<(), InconsistentCapacity>, &str); 14] = [
        (
            GCRA::for_capacity(0).map(drop),
            "a capacity of zero cells admits no cell",
        ),
        (
            LeakyBucket::new(0, YEAR).map(drop),
            "a capacity of zero cells admits no cell",
        ),
        (
            LeakyBucket::new(1, Duration::ZERO).map(drop),
            "a period of zero leaves the rate unlimited",
        ),
        (
            GCRA::for_capacity(3).and_then(|mut b| b.cell_weight(0).map(drop)),
            "a cell weight of zero leaves the rate unlimited",
        ),
        (
            GCRA::for_capacity(3).and_then(|mut b| b.cell_weight(5).map(drop)),
            "a cell of weight 5 never fits a burst of 3",
        ),
        (
            GCRA::from_quota(Quota::per_second(nonzero!(9u32)).cell_weight(nonzero!(10u32))).map(drop),
            "a cell of weight 10 never fits a burst of 9",
        ),
        (
            Quota::new(nonzero!(4_294_967_295u32), Duration::from_millis(500)).map(drop),
            "4294967295 cells per 500ms is above 4294967296 cells a second",
        ),
        (
            LeakyBucket::from_quota(Quota::new(nonzero!(1u32), YEAR).unwrap().allow_burst(nonzero!(300u32))).map(drop),
            "a full burst takes 300 years to drain, more than 200",
        ),
        (
            GCRA::from_quota(Quota::per_hour(nonzero!(1u32)).allow_burst(most)).map(drop),
            "a full burst takes 489958 years to drain, more than 200",
        ),
        (
            Quota::per_second(nonzero!(1u32)).refill_every(Duration::ZERO).map(drop),
            "a refill interval of zero has no ticks",
        ),
        (
            Quota::per_second(nonzero!(1u32))
                .refill_every(200 * YEAR + Duration::from_nanos(1))
                .map(drop),
            "a refill interval of 6311520000.000000001s is longer than 200 years",
        ),
        (
            Quota::per_second(nonzero!(1u32)).refill_every(Duration::MAX).map(drop),
            "a refill interval of 18446744073709551615.999999999s is longer than 200 years",
        ),
        (
            Quota::per_second(nonzero!(3u32))
                .refill_every(Duration::from_millis(1500))
                .and_then(Exponential::from_quota)
                .map(drop),
            "an exponential limit has no refill every 1.5s",
        ),
        (
            LeakyBucket::per_second(9)
                .and_then(|bucket| bucket.with_available(10))
                .map(drop),
            "10 available cells exceed a burst of 9",
        ),
    ];
    for (result, text) in table {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
}

#[test]
fn edges_of_possible_quotas() {
    let ns = Duration::from_nanos(1);
    assert!(LeakyBucket::new(4, ns).is_ok());
    assert!(matches!(
        LeakyBucket::new(5, ns),
        Err(InconsistentCapacity::TooFast { cells: 5, .. })
    ));
    assert!(LeakyBucket::new(u32::MAX, Duration::from_secs(1)).is_ok());
    assert!(LeakyBucket::new(1, 200 * YEAR).is_ok());
    assert!(Quota::per_second(nonzero!(1u32)).refill_every(200 * YEAR).is_ok());
    let too_long = LeakyBucket::new(1, 200 * YEAR + ns);
    assert!(matches!(too_long, Err(InconsistentCapacity::RestTooLong { .. })));
    assert!(matches!(
        LeakyBucket::new(1, Duration::MAX),
        Err(InconsistentCapacity::RestTooLong { .. })
    ));
}

#[test]
fn the_standards_parameters_are_checked() {
    let (ns, now) = (Duration::from_nanos(1), Instant::now());
    let zero = GCRA::try_with_parameters(Duration::ZERO, ns, None).unwrap_err();
    assert_eq!(zero, InconsistentCapacity::ZeroPeriod);
    for (t, tau) in [(200 * YEAR, ns), (ns, Duration::MAX), (Duration::MAX, Duration::MAX)] {
        let long = GCRA::try_with_parameters(t, tau, None).unwrap_err();
        assert!(matches!(long, InconsistentCapacity::RestTooLong { .. }), "{long:?}");
    }
    let long = GCRA::try_with_parameters(ns, 300 * YEAR, None).unwrap_err();
    let rest = 300 * YEAR + Duration::from_secs(1);
    assert_eq!(
        long,
        InconsistentCapacity::RestTooLong { rest },
        "rounded up to a second"
    );
    let late = GCRA::try_with_parameters(ns, ns, now + 37 * YEAR).unwrap_err();
    assert_eq!(late, InconsistentCapacity::TatTooLate);
    assert_eq!(
        late.to_string(),
        "a theoretical arrival time over 36 years and a full burst ahead is off the time line"
    );
    for (t, tau) in [(200 * YEAR, Duration::ZERO), (100 * YEAR, 100 * YEAR)] {
        assert!(GCRA::try_with_parameters(t, tau, now + 236 * YEAR).is_ok());
    }
}

#[test]
fn infallible_constructors_panic_with_the_errors_text() {
    let text = InconsistentCapacity::ZeroPeriod.to_string();
    let builder = || GCRA::for_capacity(1).unwrap().per(Duration::ZERO).clone();
    let zero = Duration::ZERO;
    let panics: [Box<dyn Fn() -> GCRA + std::panic::RefUnwindSafe + std::panic::UnwindSafe>; 5] = [
        Box::new(move || builder().build()),
        Box::new(move || GCRA::from(builder())),
        Box::new(move || GCRA::from(&mut builder())),
        Box::new(move || GCRA::with_parameters(zero, zero, None)),
        Box::new(move || GCRA::from((zero, zero, None))),
    ];
    for construct in panics {
        let panic = catch_unwind(construct).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>(), Some(&text));
    }
}

#[test]
fn a_manual_clock_never_leaves_the_platforms_time() {
    let clock = ManualClock::new();
    let before = clock.advance(Duration::ZERO).unwrap();
    let error = clock.advance(Duration::MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the platform has no instant 18446744073709551615 s later"
    );
    assert_eq!(clock.advance(Duration::ZERO), Ok(before));
}
