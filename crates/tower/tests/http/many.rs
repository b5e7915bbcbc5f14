//! Several limits under several threads: all or nothing, and never more than each admits.

use crate::support::{request, status};
use http::Request;
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tower::{RateLimitLayer, Shared};

fn never_again(burst: u32) -> GCRA {
    let quota: Quota = format!("1/30min burst {burst}").parse().unwrap();
    GCRA::from_quota(quota).unwrap()
}

fn with_cost(cost: u64) -> Request<()> {
    let mut request = request();
    request.extensions_mut().insert(cost);
    request
}

fn cost(head: &ratelimit_meter_tower::Head<'_>) -> u64 {
    head.extensions().get().copied().unwrap_or(1)
}

/// Under any interleaving of threads, the admitted cost equals the cost that meters counted.
#[test]
fn admitted_costs_are_the_sum_of_every_meter() {
    let meters = [50_000, 60_000, 70_000].map(never_again);
    let limits: Vec<_> = meters
        .iter()
        .map(|meter| Shared::of(meter.clone()).unwrap().cost(cost))
        .collect();
    let layer = RateLimitLayer::new(limits);
    let requests = std::env::var("TOWER_REQUESTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20_000_u64);
    let admitted: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|seed| {
                let layer = &layer;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let costs = (0..requests).map(|_| random.u64(0..10));
                    costs.filter(|cost| status(layer, with_cost(*cost)) == 200).sum::<u64>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(admitted <= 50_000);
    for (meter, burst) in meters.iter().zip([50_000, 60_000, 70_000]) {
        assert_eq!(burst - u64::from(meter.status().remaining()), admitted);
    }
}

#[test]
fn a_denial_changes_no_meter() {
    let meters = [never_again(5), never_again(100)];
    let layer = RateLimitLayer::new(
        [meters[1].clone(), meters[0].clone()]
            .map(|meter| Shared::of(meter).unwrap())
            .into_iter()
            .collect::<Vec<_>>(),
    );
    let admitted = (0..1000).filter(|_| status(&layer, request()) == 200).count();
    assert_eq!((admitted, meters.map(|meter| meter.status().remaining())), (5, [0, 95]));
}
