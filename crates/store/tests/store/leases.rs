//! Cells drawn in blocks: the window law by simulation, blocks that grow, cells that are given back.

use crate::probe::{Network, Probe};
use ratelimit_meter_store::{LeaseSettings, SharedMeter, Units, Verb, Via};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn hot_key_is_served_from_blocks() {
    let probe = Probe::with(Network::Delay(MS));
    let meter = SharedMeter::builder("api", "100000/s".parse().unwrap())
        .lease(LeaseSettings::kept_for(20 * MS))
        .build(probe.clone())
        .unwrap();
    let (mut leased, mut stored) = (0, 0);
    for _ in 0..10_000 {
        let verdict = meter.check("a").await.unwrap();
        assert!(verdict.is_admitted());
        match verdict.via() {
            Via::Lease => leased += 1,
            via => {
                assert_eq!(via, &Via::Store);
                stored += 1;
            }
        }
    }
    assert!(leased >= 50 * stored, "{leased} from blocks, {stored} from the store");
    assert_eq!(probe.take_calls().len(), stored);
}

#[tokio::test(start_paused = true)]
async fn rarely_asked_key_draws_single_cells() {
    let probe = Probe::new();
    let meter = SharedMeter::builder("api", "1000/s".parse().unwrap())
        .lease(LeaseSettings::kept_for(20 * MS))
        .build(probe.clone())
        .unwrap();
    for _ in 0..5 {
        assert!(meter.check("a").await.unwrap().is_admitted());
        sleep(20 * MS).await;
    }
    assert_eq!(probe.take_calls(), [(Verb::Check, 1); 5]);
}

/// A block of some cells, drawn by callers that come one after the other.
async fn block(meter: &SharedMeter<Probe>) {
    for _ in 0..20 {
        assert!(meter.check("a").await.unwrap().is_admitted());
    }
}

#[tokio::test(start_paused = true)]
async fn unused_cells_are_given_back() {
    let probe = Probe::with(Network::Delay(MS));
    let meter = SharedMeter::builder("api", "10000/d burst 9000".parse().unwrap())
        .lease(LeaseSettings::kept_for(3_600_000 * MS))
        .build(probe.clone());
    let meter = meter.unwrap();
    block(&meter).await;
    let before = meter.peek("a").await.unwrap().status().unwrap().remaining();
    assert!(before < 9000 - 20, "{before} remain, so there is a block");
    assert_eq!(meter.give_back().await.unwrap(), 1);
    assert_eq!(meter.give_back().await.unwrap(), 0);
    let after = meter.peek("a").await.unwrap().status().unwrap().remaining();
    assert!(
        (9000 - 21..=9000 - 20).contains(&after),
        "{after} remain: all but those that were used, and what drained"
    );
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::Store);
}

#[tokio::test(start_paused = true)]
async fn cells_are_lost_when_their_time_is_over() {
    let probe = Probe::with(Network::Delay(MS));
    let meter = SharedMeter::builder("api", "10000/s".parse().unwrap())
        .lease(LeaseSettings::kept_for(20 * MS))
        .build(probe.clone())
        .unwrap();
    let mut last_call = Instant::now();
    for _ in 0..20 {
        let begin = Instant::now();
        if meter.check("a").await.unwrap().via() == &Via::Store {
            last_call = begin;
        }
    }
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::Lease, "there is a block");
    tokio::time::sleep_until(last_call + 18 * MS).await;
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::Lease);
    tokio::time::sleep_until(last_call + 20 * MS).await;
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::Store);
}

/// A lease for all that wait is denied if a part of them conforms; then they are asked for in parts. If more wait than a lease can admit, they are
/// asked for in parts at first.
#[tokio::test(start_paused = true)]
async fn denied_shared_lease_serves_callers_in_part() {
    for (callers, is_leased_first) in [(10, true), (30, false)] {
        let probe = Probe::with(Network::Delay(2 * MS));
        let meter = SharedMeter::builder("api", "10/d".parse().unwrap())
            .lease(LeaseSettings::kept_for(86_400_000 * MS))
            .build(probe.clone())
            .unwrap();
        assert!(meter.check("a").await.unwrap().is_admitted());
        probe.take_calls();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let meter = meter.clone();
            tasks.spawn(async move { meter.check("a").await.unwrap().is_admitted() });
        }
        let admitted = tasks.join_all().await.into_iter().filter(|&admitted| admitted).count();
        assert_eq!(admitted, 9);
        let calls = probe.take_calls();
        assert!(calls.iter().any(|(verb, _)| *verb == Verb::UpTo));
        let is_in_parts =
            |calls: &[(Verb, u64)]| matches!(calls, [(Verb::Lease { .. }, all), (Verb::UpTo, parts)] if all == parts);
        assert_eq!(calls.windows(2).any(is_in_parts), is_leased_first, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reset_drops_the_block() {
    let probe = Probe::with(Network::Delay(MS));
    let meter = SharedMeter::builder("api", "10000/d burst 9000".parse().unwrap())
        .lease(LeaseSettings::kept_for(3_600_000 * MS))
        .build(probe);
    let meter = meter.unwrap();
    block(&meter).await;
    meter.reset("a").await.unwrap();
    assert_eq!(meter.check("a").await.unwrap().via(), &Via::Store);
}

/// Processes that draw from one store over a slow network, use cells at random times, crash and start again: no window of time holds more
/// than B + R (v + keep) cells, nor more than B + R v if the lease is strict.
#[tokio::test(start_paused = true)]
async fn no_window_holds_more_than_the_law_allows() {
    // Slow enough for the timers, which tick in milliseconds.
    let quotas = [
        "100/s",
        "100/s burst 50",
        "100/min burst 20",
        "10/s burst 3",
        "200/s burst 100",
    ];
    let (mut leased, mut fullest) = (0, 0.0_f64);
    for trial in 0..40 {
        let quota = quotas[trial % quotas.len()];
        let units = Units::of(quota.parse().unwrap()).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a time")]
        let cell = Duration::from_secs_f64(units.cell() as f64 / units.drain() as f64 / 1e6);
        let keep = cell * [1, 5, 20][trial / 2 % 3];
        let strict = trial % 2 == 0;
        let lease = if strict {
            LeaseSettings::kept_for(keep).strict()
        } else {
            LeaseSettings::kept_for(keep)
        };
        let probe = Probe::with(Network::Jitter(keep / 3));
        let settings = SharedMeter::builder("api", quota.parse().unwrap())
            .lease(lease)
            .deadline(Duration::from_secs(3600))
            .remember_denials(Duration::ZERO);
        let Ok(meter) = settings.build(probe.clone()) else {
            continue;
        };
        drop(meter);
        let processes = [1, 3, 12][trial % 3];
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..processes {
            let (settings, probe) = (settings.clone(), probe.clone());
            tasks.spawn(async move {
                let (mut used, mut leased) = (Vec::new(), 0);
                let mut meter = settings.build(probe.clone()).unwrap();
                for _ in 0..600 / processes {
                    if fastrand::u32(..200) == 0 {
                        meter = settings.build(probe.clone()).unwrap(); // a crash: its block is lost
                    }
                    if fastrand::u32(..100) == 0 {
                        meter.give_back().await.unwrap();
                    }
                    let verdict = meter.check("a").await.unwrap();
                    if verdict.is_admitted() {
                        used.push(Instant::now());
                        leased += usize::from(verdict.via() == &Via::Lease);
                    }
                    sleep(cell.mul_f64([0.05, 0.3, 1.0, 5.0, 40.0][fastrand::usize(..5)] * fastrand::f64())).await;
                }
                (used, leased)
            });
        }
        let mut used = Vec::new();
        for (times, from_blocks) in tasks.join_all().await {
            used.extend(times);
            leased += from_blocks;
        }
        used.sort_unstable();
        let (burst, rate) = (f64::from(units.quota().burst().get()), 1.0 / cell.as_secs_f64());
        let slack = if strict { Duration::ZERO } else { keep };
        for (i, from) in used.iter().enumerate() {
            for (j, to) in used.iter().enumerate().skip(i) {
                let window = (*to - *from + slack).as_secs_f64();
                // Nothing but the rounding of the bound itself.
                let bound = (burst + rate * window) * (1.0 + 1e-9);
                #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                let cells = (j - i + 1) as f64;
                assert!(
                    cells <= bound,
                    "{quota}, keep {keep:?}, strict {strict}: {cells} cells in {window} s, at most {bound}"
                );
                fullest = fullest.max(cells / bound);
            }
        }
    }
    assert!(
        leased > 500 && fullest > 0.9,
        "{leased} cells from blocks, the fullest window at {fullest} of its bound"
    );
}
