//! `fork`, and `check_n_within` of every kind of meter: a look ahead shows the later decisions.

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::DefaultClock;
use ratelimit_meter::{Adjustable, Dual, Exponential, GCRA, KeyedMeter, LeakyBucket, Meter, Quota};
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
