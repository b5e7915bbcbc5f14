//! `fork`, and `check_n_within` of every kind of meter: a look ahead shows the later decisions.

use crate::support::time::instant;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, DefaultClock, ManualClock};
use ratelimit_meter::store::Store;
use ratelimit_meter::{Adjustable, Dual, Exponential, GCRA, KeyedMeter, LeakyBucket, LocalMeter, Meter, Quota};
use std::fmt::Debug;
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);

fn quota() -> Quota {
    "7/3s burst 5".parse().expect("a quota")
}

/// Takes 500 batches from a fork at their first instants, and expects the meter to do the same.
fn of_meter<A: Algorithm>(meter: &Meter<A>) {
    let (fork, now) = (meter.fork(DefaultClock), Instant::now());
    for n in (1..=5).cycle().take(500) {
        let shown = fork.reserve_at(n, DAY, now).expect("within a day").time_to_act();
        if shown > now {
            let too_early = shown - Duration::from_nanos(1);
            assert!(meter.check_n_within(n, now, too_early).is_err());
        }
        assert!(meter.check_n_within(n, now, shown).is_ok());
    }
}

#[test]
fn fork_of_a_meter_shows_its_future_instants() {
    of_meter(&GCRA::from_quota(quota()).expect("a limit"));
    of_meter(&LeakyBucket::from_quota(quota()).expect("a limit"));
    of_meter(&Exponential::new(7, Duration::from_secs(3)).expect("a limit"));
}

#[test]
fn fork_shares_nothing() {
    let now = Instant::now();
    let meter = GCRA::from_quota(quota()).expect("a limit");
    let (first, second) = (meter.fork(DefaultClock), meter.fork(DefaultClock));
    assert!(first.check_n_at(5, now).is_ok() && first.check_at(now).is_err());
    assert_eq!(meter.status_at(now).remaining(), 5);
    assert!(meter.check_n_at(4, now).is_ok());
    assert_eq!(
        (
            second.status_at(now).remaining(),
            meter.fork(DefaultClock).status_at(now).remaining()
        ),
        (5, 1)
    );
    let dual = Dual::<GCRA>::from_quota("5/s & 9/min".parse().expect("two quotas")).expect("a limit");
    assert!(dual.check_n_at(2, now).is_ok());
    let fork = dual.fork(DefaultClock);
    assert!(fork.check_n_at(3, now).is_ok() && fork.check_at(now).is_err());
    assert_eq!(dual.status_at(now).remaining(), 3);
}

#[test]
fn forks_of_keys_and_quotas_keep_state() {
    let now = Instant::now();
    let keys = KeyedMeter::<str>::with_capacity(quota(), 100).expect("a table");
    let adjustable = Adjustable::<GCRA>::from_quota("100/s".parse().expect("a quota")).expect("a limit");
    adjustable.set_quota_at(quota(), now).expect("a limit");
    assert!(keys.check_n_at("key", 5, now).is_ok() && adjustable.check_n_at(5, now).is_ok());
    let alone = GCRA::from_quota(quota()).expect("a limit");
    assert!(alone.check_n_at(5, now).is_ok());
    let second = now + Duration::from_secs(1);
    for n in [2, 1] {
        let conforms = alone.peek_n_at(n, second).is_ok();
        assert_eq!(
            keys.key("key").fork(DefaultClock).peek_n_at(n, second).is_ok(),
            conforms
        );
        assert_eq!(adjustable.fork(DefaultClock).peek_n_at(n, second).is_ok(), conforms);
        assert_eq!(keys.key("key").check_n_within(n, now, second).is_ok(), conforms);
        assert_eq!(adjustable.check_n_within(n, now, second).is_ok(), conforms);
        assert_eq!(alone.check_n_within(n, now, second).is_ok(), conforms);
    }
}

/// Plays calls in any order of time on two equal meters, and expects a wait of no time to decide as a check.
fn play<E: Debug + PartialEq>(
    calls: &[(u32, i128)],
    start: Instant,
    check_at: impl Fn(u32, Instant) -> Result<(), E>,
    check_within: impl Fn(u32, Instant, Instant) -> Result<(), E>,
) {
    for &(n, ms) in calls {
        let at = instant(start, ms * 1_000_000);
        let checked = check_at(n, at);
        assert_eq!(check_within(n, at, at), checked, "{n} cells at {ms} ms");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wait_of_no_time_is_a_check(calls in prop::collection::vec((0..9_u32, -2000..4000_i128), 1..100)) {
        fn meter<A: Algorithm, S: Store<A>>(calls: &[(u32, i128)], waited: &Meter<A, ManualClock, S>, clock: &ManualClock) {
            let checked = waited.fork(clock.clone());
            let check_within = |n, from, by| waited.check_n_within(n, from, by);
            play(calls, clock.now(), |n, at| checked.check_n_at(n, at), check_within);
        }
        let clock = ManualClock::new();
        let average = || Exponential::new(7, Duration::from_secs(3)).expect("a limit");
        for text in ["7/3s", "21/s burst 14 weight 2", "7/s every 300ms"] {
            let quota: Quota = text.parse().expect("a quota");
            let gcra = || GCRA::from_quota(quota).expect("a limit");
            meter(&calls, &gcra().with_clock(clock.clone()), &clock);
            meter(&calls, &LeakyBucket::from_quota(quota).expect("a limit").with_clock(clock.clone()), &clock);
            meter(&calls, &LocalMeter::<GCRA>::from_quota(quota).expect("a limit").with_clock(clock.clone()), &clock);
            meter(&calls, &Adjustable::<GCRA>::from_quota(quota).expect("a limit").with_clock(clock.clone()), &clock);
            let waited = Dual::new(gcra(), average()).with_clock(clock.clone());
            let checked = waited.fork(clock.clone());
            let check_within = |n, from, by| waited.check_n_within(n, from, by);
            play(&calls, clock.now(), |n, at| checked.check_n_at(n, at), check_within);
        }
        meter(&calls, &average().with_clock(clock.clone()), &clock);
        // A check that is denied counts as well, a wait does not.
        let strict = average().strict().with_clock(clock.clone());
        let check_within = |n, from, by| strict.check_n_within(n, from, by);
        play(&calls, clock.now(), |n, at| strict.peek_n_at(n, at), check_within);
    }
}

#[test]
fn wait_that_ends_early_ends_at_its_start() {
    let start = Instant::now();
    let (meter, pair) = (
        GCRA::from_quota(quota()).expect("a limit"),
        Dual::<GCRA>::from_quota("7/3s burst 5 & 7/s".parse().expect("two quotas")).expect("a limit"),
    );
    for (n, from) in [
        (5, start),
        (2, start + Duration::from_secs(1)),
        (1, start + Duration::from_secs(1)),
    ] {
        assert_eq!(meter.check_n_within(n, from, start - DAY / 2).is_ok(), n > 1);
        assert_eq!(pair.check_n_within(n, from, start - DAY / 2).is_ok(), n > 1);
    }
}
