//! Leases: law 1 over several leases at once, and the cells that they give back.

use crate::support::limit::Limit;
use crate::support::oracle::Verdict;
use crate::support::subject::quota;
use crate::support::traffic::spread;
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Lease, LeasedMeter, NegativeMultiDecision, Quota, nonzero};
use std::num::NonZeroU32;
use std::time::Duration;

/// A move of one of several threads, or of time.
#[derive(Clone, Debug)]
enum Step {
    /// Takes up to this number of single cells, until one is denied.
    Singles(usize, u32),
    Batch(usize, u32),
    GiveBack(usize),
    /// The lease is dropped and another taken.
    Renew(usize),
    /// Time goes on, by any magnitude up to the time that drains a burst.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lease = || 0..4_usize;
    let step = prop_oneof![
        4 => (lease(), 1..200_u32).prop_map(|(lease, n)| Step::Singles(lease, n)),
        2 => (lease(), 0..70_u32).prop_map(|(lease, n)| Step::Batch(lease, n)),
        1 => lease().prop_map(Step::GiveBack),
        1 => lease().prop_map(Step::Renew),
        4 => any::<u64>().prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn every_window_over_several_leases_holds_the_quota(
        steps in steps(),
        seeds in any::<[u64; 2]>(),
        leases in 1..4_u32,
        block in 1..60_u32,
        weight in 1..4_u64,
        spare in 1..300_u64,
    ) {
        let burst = u64::from(leases * block) * weight + weight + spare;
        let cells = spread(seeds[0], 1, 1 << 20);
        let limit = Limit::new(cells, spread(seeds[1], 1_000_000, 1 << 50)).burst(burst).weight(weight);
        let clock = ManualClock::new();
        let meter = LeasedMeter::new(quota(&limit), NonZeroU32::new(leases).unwrap(), NonZeroU32::new(block).unwrap())
            .unwrap()
            .with_clock(clock.clone());
        let mut held: Vec<Lease<ManualClock>> = (0..leases).map(|_| meter.lease().unwrap()).collect();
        prop_assert!(meter.lease().is_err());
        let mut record = Admissions::new(limit);
        let mut now = 0_i128;
        for step in steps {
            match step {
                Step::Singles(lease, n) => {
                    let lease = &mut held[lease % usize::try_from(leases).unwrap()];
                    for _ in (0..n).take_while(|_| lease.check().is_ok()) {
                        record.note(1, now, Verdict::Conforms);
                    }
                }
                Step::Batch(lease, n) => {
                    if held[lease % usize::try_from(leases).unwrap()].check_n(n).is_ok() {
                        record.note(n, now, Verdict::Conforms);
                    }
                }
                Step::GiveBack(lease) => held[lease % usize::try_from(leases).unwrap()].give_back(),
                Step::Renew(lease) => {
                    held.swap_remove(lease % usize::try_from(leases).unwrap());
                    held.push(meter.lease().unwrap());
                }
                Step::Wait(seed) => {
                    let ns = spread(seed, 1, u64::try_from(limit.time_to_rest()).unwrap() + 1);
                    clock.advance(Duration::from_nanos(ns)).unwrap();
                    now += i128::from(ns);
                }
            }
            prop_assert!(held.iter().all(|lease| lease.held() <= block));
            let cells: u32 = held.iter().map(Lease::held).sum();
            prop_assert_eq!(meter.cells_held(), u64::from(cells));
            prop_assert_eq!(meter.leases_taken(), leases);
        }
        record.assert_law_1("several leases");
    }
}

fn leased(burst: u32, leases: u32, block: u32) -> LeasedMeter<ManualClock> {
    let [burst, leases, block] = [burst, leases, block].map(|n| NonZeroU32::new(n).unwrap());
    let quota = Quota::per_hour(burst);
    LeasedMeter::new(quota, leases, block)
        .unwrap()
        .with_clock(ManualClock::new())
}

/// Single cells until one is denied.
fn spend(lease: &mut Lease<ManualClock>) -> u32 {
    (0..)
        .take_while(|_| lease.check().is_ok())
        .zip(0..)
        .count()
        .try_into()
        .unwrap()
}

#[test]
fn all_leases_pass_burst_minus_reserve() {
    let meter = leased(1000, 3, 64);
    let mut leases = [(); 3].map(|()| meter.lease().unwrap());
    let passed: u32 = leases.iter_mut().map(spend).sum();
    assert_eq!(passed, 1000 - 3 * 64);
    assert!(
        leases.iter().all(|lease| lease.held() == 0),
        "a lease ran dry holding cells"
    );
}

#[test]
fn a_lease_draws_less_from_a_low_meter() {
    let meter = leased(1000, 1, 64);
    let mut lease = meter.lease().unwrap();
    let mut drawn = Vec::new();
    while lease.check().is_ok() {
        drawn.push(lease.held() + 1);
        lease.check_n(lease.held()).unwrap();
    }
    assert_eq!(drawn.iter().sum::<u32>(), 1000 - 64);
    assert_eq!((drawn[0], *drawn.last().unwrap()), (64, 1));
    assert!(drawn.is_sorted_by(|one, next| one >= next), "{drawn:?}");
}

#[test]
fn an_idle_lease_holds_cells_until_returned() {
    let meter = leased(100, 2, 20);
    let (mut idle, mut busy) = (meter.lease().unwrap(), meter.lease().unwrap());
    idle.check().unwrap();
    assert_eq!(idle.held(), 19);
    assert_eq!(spend(&mut busy), 60 - 20);
    idle.give_back();
    assert_eq!(spend(&mut busy), 19);
    assert_eq!(idle.held(), 0);
}

#[test]
fn a_leaked_lease_stays_counted() {
    let meter = leased(100, 2, 20);
    let mut leaked = meter.lease().unwrap();
    leaked.check().unwrap();
    std::mem::forget(leaked);
    drop(meter.lease().unwrap());
    assert_eq!((meter.leases_taken(), meter.cells_held()), (1, 19));
}

#[test]
fn giving_back_never_lifts_the_meter_above_rest() {
    let clock = ManualClock::new();
    let hour = Quota::per_hour(nonzero!(100u32));
    let meter = LeasedMeter::new(hour, nonzero!(2u32), nonzero!(20u32))
        .unwrap()
        .with_clock(clock.clone());
    let mut first = meter.lease().unwrap();
    first.check().unwrap();
    clock.advance(Duration::from_secs(36_000)).unwrap();
    // All that was drawn has drained by now.
    first.give_back();
    let mut second = meter.lease().unwrap();
    assert_eq!(spend(&mut first) + spend(&mut second), 60);
}

#[test]
fn dropped_lease_gives_back_cells_and_place() {
    let meter = leased(100, 1, 20);
    let mut lease = meter.lease().unwrap();
    lease.check_n(5).unwrap();
    let error = meter.lease().unwrap_err();
    assert_eq!(error.to_string(), "all 1 leases are taken: drop one first");
    drop(lease);
    let mut lease = meter.clone().lease().unwrap();
    assert_eq!(spend(&mut lease), 80 - 5);
}

#[test]
fn a_batch_is_all_or_nothing() {
    let meter = leased(100, 1, 20);
    let mut lease = meter.lease().unwrap();
    assert_eq!(lease.check_n(0), Ok(()));
    assert_eq!(lease.check_n(70), Ok(()));
    let before = lease.held();
    assert!(matches!(
        lease.check_n(50),
        Err(NegativeMultiDecision::BatchNonConforming(50, _))
    ));
    assert_eq!(
        lease.check_n(10_000),
        Err(NegativeMultiDecision::InsufficientCapacity(10_000))
    );
    assert_eq!(lease.held(), before);
    assert_eq!(lease.check_n(10), Ok(()));
    assert_eq!(spend(&mut lease), 0);
}

#[test]
fn meter_on_another_clock_has_its_own_leases() {
    let meter = leased(100, 1, 20);
    let lease = meter.lease().unwrap();
    let other = meter.clone().with_clock(ManualClock::new());
    assert_eq!((meter.leases_taken(), other.leases_taken()), (1, 0));
    assert!(meter.lease().is_err() && other.lease().is_ok());
    drop(lease);
}

#[test]
fn batch_uses_held_cells_first() {
    let meter = leased(100, 1, 20);
    let mut lease = meter.lease().unwrap();
    lease.check_n(1).unwrap();
    assert_eq!(lease.held(), 19);
    lease.check_n(25).unwrap();
    assert_eq!(spend(&mut lease), 80 - 26);
}

#[test]
fn largest_batch_is_the_shared_burst() {
    let meter = leased(100, 1, 20);
    let mut lease = meter.lease().unwrap();
    assert_eq!(lease.check_n(81), Err(NegativeMultiDecision::InsufficientCapacity(81)));
    assert_eq!(lease.check_n(80), Ok(()));
}

#[test]
fn a_denied_lease_reports_the_instant() {
    let clock = ManualClock::new();
    let quota = Quota::per_second(nonzero!(10u32));
    let meter = LeasedMeter::new(quota, nonzero!(1u32), nonzero!(4u32))
        .unwrap()
        .with_clock(clock.clone());
    let mut lease = meter.lease().unwrap();
    assert_eq!(spend(&mut lease), 6);
    let denial = lease.check().unwrap_err();
    clock.set(denial.earliest_possible() - Duration::from_nanos(1));
    assert!(lease.check().is_err());
    clock.set(denial.earliest_possible());
    assert_eq!(spend(&mut lease), 1);
}

#[test]
fn leases_that_leave_no_cell_are_an_error() {
    let make = |quota: Quota, leases, block| {
        let [leases, block] = [leases, block].map(|n| NonZeroU32::new(n).unwrap());
        LeasedMeter::new(quota, leases, block).map(drop)
    };
    let quota = Quota::per_second(nonzero!(100u32));
    assert_eq!(make(quota, 9, 11), Ok(()));
    let error = InconsistentCapacity::LeasesAboveBurst {
        leases: 10,
        block: 10,
        burst: 100,
    };
    assert_eq!(make(quota, 10, 10), Err(error));
    assert_eq!(
        error.to_string(),
        "10 leases of 10 cells leave no cell of a burst of 100"
    );
    assert!(make(quota, u32::MAX, u32::MAX).is_err());
    let heavy = quota.cell_weight(nonzero!(30u32));
    assert_eq!(make(heavy, 1, 2), Ok(()));
    let error = InconsistentCapacity::LeasesAboveBurst {
        leases: 1,
        block: 3,
        burst: 100,
    };
    assert_eq!(make(heavy, 1, 3), Err(error), "ten units are left, of thirty a cell");
    assert_eq!(
        make(heavy.cell_weight(nonzero!(101u32)), 1, 1),
        Err(InconsistentCapacity::WeightAboveBurst {
            weight: 101,
            burst: 100
        }),
        "as without leases"
    );
}

#[test]
fn leases_move_into_threads() {
    let meter = leased(100_000, 4, 256);
    let threads = [(); 4].map(|()| {
        let mut lease = meter.lease().unwrap();
        std::thread::spawn(move || (0..100_000).filter(|_| lease.check().is_ok()).count())
    });
    let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(passed, 100_000 - 4 * 256);
}
