//! Denials that are remembered: no round trip, and never a denial that the store would not give.

use crate::probe::{Network, Probe};
use ratelimit_meter_store::{SharedMeter, Units, Verb, Via};
use ratelimit_meter_store_check::ExactBucket;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep, sleep_until, timeout};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn denied_key_costs_one_call_per_wait() {
    let probe = Probe::with(Network::Delay(2 * MS));
    let meter = SharedMeter::builder("api", "10/s burst 1".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    probe.take_calls();
    let (end, mut admitted, mut denied) = (Instant::now() + 1000 * MS, 0, 0);
    while Instant::now() < end {
        let verdict = meter.check("a").await.unwrap();
        match verdict.via() {
            Via::RememberedDenial => denied += 1,
            _ if verdict.is_admitted() => admitted += 1,
            via => assert_eq!(via, &Via::Store),
        }
        advance(Duration::from_micros(100)).await;
    }
    assert!(admitted >= 9 && denied > 5000, "{admitted} admitted, {denied} denied");
    let calls = probe.take_calls().len();
    assert!(calls <= 2 * admitted + 2, "{calls} calls for {admitted} admissions");
}

#[tokio::test(start_paused = true)]
async fn precheck_counts_nothing_and_remembers_denials() {
    let probe = Probe::new();
    let process = || {
        SharedMeter::builder("api", "2/h".parse().unwrap())
            .build(probe.clone())
            .unwrap()
    };
    let (meter, other) = (process(), process());
    for _ in 0..3 {
        let verdict = meter.precheck_n("a", 2).await.unwrap();
        assert_eq!((verdict.is_admitted(), verdict.via()), (true, &Via::Store));
        assert_eq!(verdict.status().unwrap().remaining(), 2);
    }
    assert_eq!(probe.take_calls(), [(Verb::Peek, 2); 3]);
    assert_eq!(meter.precheck_n("a", 0).await.unwrap().via(), &Via::Quota);
    assert!(!meter.precheck_n("a", 3).await.unwrap().is_admitted());
    assert!(probe.take_calls().is_empty());
    assert!(other.check_n("a", 2).await.unwrap().is_admitted());
    probe.take_calls();
    let denied = [
        meter.precheck_n("a", 1).await.unwrap(),
        meter.precheck_n("a", 1).await.unwrap(),
    ];
    assert!(denied.iter().all(|verdict| !verdict.is_admitted()));
    assert_eq!(
        [denied[0].via(), denied[1].via()],
        [&Via::Store, &Via::RememberedDenial]
    );
    assert_eq!(denied[1].status().unwrap().remaining(), 0);
    assert_eq!(probe.take_calls(), [(Verb::Peek, 1)]);
    advance(1001 * MS).await;
    assert_eq!(meter.precheck_n("a", 1).await.unwrap().via(), &Via::Store);
}

#[tokio::test(start_paused = true)]
async fn as_many_subjects_are_remembered_as_set() {
    let meter = SharedMeter::builder("api", "1/d".parse().unwrap())
        .remembered_subjects(16)
        .build(Probe::new())
        .unwrap();
    for subject in 0..64 {
        let subject = subject.to_string();
        assert!(meter.check(&subject).await.unwrap().is_admitted());
        assert!(!meter.check(&subject).await.unwrap().is_admitted());
    }
    assert!((1..=16).contains(&meter.stats().remembered_subjects));
}

/// The store decides at 20 ms, and its reply arrives at 40 ms. The next cell conforms at 120 ms, by the store's clock.
#[tokio::test(start_paused = true)]
async fn wait_counts_from_the_sending_of_the_call() {
    let meter = SharedMeter::builder("api", "10/s burst 1".parse().unwrap())
        .build(Probe::with(Network::Delay(40 * MS)))
        .unwrap();
    let start = Instant::now();
    assert!(meter.check("a").await.unwrap().is_admitted());
    sleep_until(start + 99 * MS).await;
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::RememberedDenial);
    sleep_until(start + 101 * MS).await;
    assert!(
        meter.check("a").await.unwrap().is_admitted(),
        "asked the store at 121 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn refund_and_reset_end_a_remembered_denial() {
    let meter = SharedMeter::builder("api", "1/h".parse().unwrap())
        .build(Probe::new())
        .unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::RememberedDenial);
    meter.refund("a", 1).await.unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    assert!(!meter.check("a").await.unwrap().is_admitted());
    meter.reset("a").await.unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
}

/// The caller of the refund leaves after the store has counted it, and before the reply.
#[tokio::test(start_paused = true)]
async fn abandoned_refund_ends_a_remembered_denial() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", "1/h".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::RememberedDenial);
    probe.set(Network::Delay(20 * MS));
    assert!(timeout(15 * MS, meter.refund("a", 1)).await.is_err());
    probe.set(Network::Instant);
    assert!(meter.check("a").await.unwrap().is_admitted());
}

#[tokio::test(start_paused = true)]
async fn reply_older_than_a_refund_is_not_remembered() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", "1/h".parse().unwrap())
        .build(probe.clone())
        .unwrap();
    assert!(meter.check("a").await.unwrap().is_admitted());
    meter.refund("a", 0).await.unwrap();
    probe.set(Network::Delay(20 * MS));
    // Without the remembered denial this check would not ask.
    sleep(1100 * MS).await;
    let slow = tokio::spawn({
        let meter = meter.clone();
        async move { meter.check("a").await.unwrap() }
    });
    sleep(15 * MS).await;
    probe.set(Network::Instant);
    meter.refund("a", 1).await.unwrap();
    assert!(!slow.await.unwrap().is_admitted());
    assert!(
        meter.check("a").await.unwrap().is_admitted(),
        "the refund came after that denial was decided"
    );
}

#[tokio::test(start_paused = true)]
async fn change_by_another_process_is_seen_in_time() {
    let probe = Probe::new();
    let build = || {
        SharedMeter::builder("api", "1/h".parse().unwrap())
            .remember_denials(500 * MS)
            .build(probe.clone())
            .unwrap()
    };
    let (mine, theirs) = (build(), build());
    assert!(mine.check("a").await.unwrap().is_admitted());
    theirs.refund("a", 1).await.unwrap();
    assert!(!mine.check("a").await.unwrap().is_admitted());
    advance(500 * MS).await;
    assert!(mine.check("a").await.unwrap().is_admitted());
}

#[tokio::test(start_paused = true)]
async fn zero_remembers_nothing() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", "1/h".parse().unwrap())
        .remember_denials(Duration::ZERO)
        .build(probe.clone())
        .unwrap();
    for _ in 0..5 {
        assert_eq!(meter.check("a").await.unwrap().via(), &Via::Store);
    }
    assert_eq!(probe.take_calls(), [(Verb::Check, 1); 5]);
}

/// Three processes, random batches, a network that takes up to 10 ms each way: no process denies a batch that the exact bucket admits, after all
/// earlier admissions. Only the replies in flight are known later.
#[tokio::test(start_paused = true)]
async fn remembered_denials_are_those_of_the_exact_bucket() {
    for quota in ["100/s burst 7", "700/3s burst 20", "3/s burst 5"] {
        let probe = Probe::with(Network::Jitter(5 * MS));
        let build = || {
            SharedMeter::builder("api", quota.parse().unwrap())
                .build(probe.clone())
                .unwrap()
        };
        let meters = [build(), build(), build()];
        let units = Units::of(quota.parse().unwrap()).unwrap();
        let origin = Instant::now();
        let clock = || 1_700_000_000_000_000 + u64::try_from(origin.elapsed().as_micros()).unwrap();
        let mut oracle = ExactBucket::of(quota.parse().unwrap(), &units);
        let mut remembered = 0;
        for _ in 0..2000 {
            let n = fastrand::u32(1..=units.max_batch());
            let verdict = meters[fastrand::usize(..3)].check_n("a", n).await.unwrap();
            if verdict.is_admitted() {
                // The store decided at most one transit of the reply ago.
                oracle.add(n.into(), clock().saturating_sub(5000));
            } else if verdict.via() == &Via::RememberedDenial {
                remembered += 1;
                assert!(
                    !oracle.conforms(n.into(), clock() - 5000),
                    "{quota}: {n} cells conformed"
                );
            }
            sleep(Duration::from_micros(fastrand::u64(..20_000))).await;
        }
        // Some 50 to 100 of 2000, by chance.
        assert!(remembered > 5, "{quota}: {remembered}");
    }
}
