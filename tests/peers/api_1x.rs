//! Code written for `ratelimit_meter` 1.x compiles unchanged and works as intended.
#![allow(
    unused_mut,
    unused_imports,
    clippy::nonminimal_bool,
    reason = "so 1.x code was written"
)]

use ratelimit_meter::algorithms::{self, Builder, InconsistentCapacity};
use ratelimit_meter::example_algorithms::Allower;
use ratelimit_meter::{Decider, GCRA, LeakyBucket, MultiDecider, NegativeMultiDecision, NonConformance};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Types that users of 1.x store in their own structs.
#[derive(Debug, Clone)]
struct Service {
    requests: GCRA,
    bytes: LeakyBucket,
}

fn spend<D: Decider>(decider: &mut D, at: Instant) -> usize {
    (0..1000).take_while(|_| decider.check_at(at).is_ok()).count()
}

fn spend_batches<D: MultiDecider>(decider: &mut D, n: u32, at: Instant) -> u32 {
    (0..1000)
        .take_while(|_| decider.check_n_at(n, at).is_ok())
        .map(|_| n)
        .sum()
}

#[test]
fn the_builder_of_1x_builds() {
    let mut lim = GCRA::for_capacity(50)
        .unwrap()
        .per(Duration::from_secs(1))
        .cell_weight(1)
        .unwrap()
        .build();
    assert_eq!(Ok(()), lim.check());
    let mut owned: GCRA = GCRA::for_capacity(50).unwrap().into();
    assert_eq!(Ok(()), owned.check());
    let mut borrowed: GCRA = GCRA::for_capacity(50).unwrap().cell_weight(2).unwrap().into();
    assert_eq!(25, spend(&mut borrowed, Instant::now()));
    let mut builder: Builder = algorithms::GCRA::for_capacity(4).unwrap();
    let too_heavy: Result<&mut Builder, InconsistentCapacity> = builder.cell_weight(5);
    assert!(too_heavy.is_err());
    assert_eq!(
        4,
        spend(&mut builder.build(), Instant::now()),
        "an error leaves the builder as it was"
    );
}

#[test]
fn the_leaky_bucket_of_1x_builds() {
    let now = Instant::now();
    let day = Duration::from_secs(86400);
    let mut lb = LeakyBucket::new(1, day).unwrap();
    assert!(lb.check_at(now).is_ok());
    assert!(!lb.check_at(now + day / 2).is_ok());
    assert!(lb.check_at(now + day).is_ok());
    let mut per_second: algorithms::LeakyBucket = algorithms::LeakyBucket::per_second(2).unwrap();
    assert_eq!(2, spend(&mut per_second, now));
}

#[test]
fn deciders_are_trait_objects() {
    let now = Instant::now();
    let mut deciders: Vec<Box<dyn Decider>> = vec![
        Box::new(GCRA::for_capacity(3).unwrap().build()),
        Box::new(LeakyBucket::per_second(3).unwrap()),
        Box::new(Allower::new()),
    ];
    let mut counts = deciders
        .iter_mut()
        .map(|d| (0..10).filter(|_| d.check_at(now).is_ok()).count());
    assert_eq!([3, 3, 10], [(); 3].map(|()| counts.next().unwrap()));
    let batches: [&dyn MultiDecider; 2] = [&LeakyBucket::per_second(3).unwrap(), &Allower::default()];
    assert_eq!(
        batches[0].check_n(4),
        Err(NegativeMultiDecision::InsufficientCapacity(4))
    );
    assert_eq!(batches[1].check_n(4), Ok(()));
}

#[test]
fn pointers_to_meters_decide_as_their_meter() {
    fn once<D: Decider>(decider: D, at: Instant) -> bool {
        decider.check_at(at).is_ok() && decider.check().is_err()
    }
    fn both<D: MultiDecider>(decider: D, at: Instant) -> bool {
        decider.check_n_at(2, at).is_ok() && decider.check_n(2).is_err()
    }
    let (hour, now) = (Duration::from_secs(3600), Instant::now());
    let bucket = |capacity| LeakyBucket::new(capacity, hour).unwrap();
    let (shared, mut exclusive, batch) = (bucket(1), bucket(1), bucket(2));
    assert!(once(&shared, now) && shared.check_at(now).is_err());
    assert!(once(&mut exclusive, now) && exclusive.check_at(now).is_err());
    assert!(once(Arc::new(bucket(1)), now));
    assert!(once(Box::new(bucket(1)) as Box<dyn Decider>, now));
    assert!(once(Arc::new(bucket(1)) as Arc<dyn Decider>, now));
    assert!(both(&batch, now) && batch.check_at(now).is_err());
    assert!(both(Box::new(bucket(2)) as Box<dyn MultiDecider>, now));
}

#[test]
fn generic_code_of_1x_runs() {
    let now = Instant::now();
    let mut gcra = GCRA::for_capacity(20).unwrap().build();
    assert_eq!(spend(&mut gcra.clone(), now), 20);
    assert_eq!(spend_batches(&mut LeakyBucket::per_second(20).unwrap(), 6, now), 18);
    let denied: NonConformance = gcra.check_at(now).unwrap_err();
    assert_eq!(denied.wait_time_from(now), Duration::from_millis(50));
    assert_eq!(denied.earliest_possible(), now + Duration::from_millis(50));
    assert!(denied.wait_time() <= Duration::from_millis(50));
}

#[test]
fn a_batch_is_denied_with_its_size() {
    let now = Instant::now();
    let mut gcra = GCRA::for_capacity(5).unwrap().build();
    assert_eq!(Ok(()), gcra.check_n_at(4, now));
    match gcra.check_n_at(2, now) {
        Err(NegativeMultiDecision::BatchNonConforming(n, wait)) => {
            assert_eq!(n, 2);
            assert_eq!(wait.wait_time_from(now), Duration::from_millis(200));
        }
        other => panic!("{other:?}"),
    }
    match gcra.check_n_at(6, now) {
        Err(NegativeMultiDecision::InsufficientCapacity(n)) => assert_eq!(n, 6),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters_round_trip() {
    let now = Instant::now();
    let mut gcra = GCRA::for_capacity(10).unwrap().build();
    let fresh: (Duration, Duration, Option<Instant>) = (&gcra).into();
    assert_eq!(fresh, (Duration::from_millis(100), Duration::from_millis(900), None));
    gcra.check_n_at(7, now).unwrap();
    let (t, tau, tat) = (&gcra).into();
    assert_eq!(tat, Some(now + Duration::from_millis(700)));
    for mut again in [GCRA::with_parameters(t, tau, tat), GCRA::from((t, tau, tat))] {
        assert_eq!(spend(&mut again, now), 3);
    }
    let _: GCRA = GCRA::with_parameters(t, tau, None);
    let _: GCRA = GCRA::with_parameters(t, tau, now);
}

#[test]
fn meters_move_into_threads() {
    let service = Service {
        requests: GCRA::for_capacity(20).unwrap().build(),
        bytes: LeakyBucket::per_second(1000).unwrap(),
    };
    let now = Instant::now();
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let mut service = service.clone();
            thread::spawn(move || {
                service.requests.check_at(now).unwrap();
                service.bytes.check_n_at(50, now).unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(service.requests.check_at(now).is_err(), "{service:?}");
    assert!(service.bytes.check_at(now).is_err(), "{service:?}");
}
