//! The checks of one key that a process makes, with parts of the local layer on or off.

use super::{StoresEffort, ThroughputRow};
use crate::stats::{Summary, float};
use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{LeaseSettings, SharedMeter, SharedMeterBuilder};
use ratelimit_meter_store_check::server::Server;
use std::error::Error;
use std::time::{Duration, Instant};

pub(crate) const LEASED: &str = "leased";
pub(crate) const DENIED: &str = "denied, remembered";

const TASKS: u32 = 64;

pub(crate) fn measure(server: &Server, effort: StoresEffort) -> Result<Vec<ThroughputRow>, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ample = || -> Result<SharedMeterBuilder, Box<dyn Error>> {
        Ok(SharedMeterBuilder::new("ample", "1000000000/s".parse()?))
    };
    let spent = SharedMeterBuilder::new("spent", "1/d".parse()?);
    let settings = [
        ("one call a check", ample()?.join_calls(false), 1),
        ("joined", ample()?, 1),
        (
            LEASED,
            ample()?.lease(LeaseSettings::kept_for(Duration::from_millis(20)).at_most(1_000_000)),
            100,
        ),
        (
            "denied, asked",
            spent.clone().join_calls(false).remember_denials(Duration::ZERO),
            1,
        ),
        (DENIED, spent.remember_denials(Duration::from_secs(3600)), 100),
    ];
    let mut meters = Vec::new();
    for (setting, builder, more) in settings {
        let store = runtime.block_on(async { RedisStore::open(&server.url()) })?;
        let meter = builder.deadline(Duration::from_secs(10)).build(store)?;
        let _ = runtime.block_on(meter.check("hot"))?;
        meters.push((setting, meter, effort.checks * more));
    }
    let mut rates = vec![Vec::new(); meters.len()];
    let mut calls = vec![0; meters.len()];
    for _ in 0..effort.throughput_rounds {
        for (i, (_, meter, checks)) in meters.iter().enumerate() {
            server.command(&["CONFIG", "RESETSTAT"])?;
            let begin = Instant::now();
            runtime.block_on(all(meter, *checks))?;
            rates[i].push(float((*checks).into()) / begin.elapsed().as_secs_f64());
            calls[i] += calls_of(server)?;
        }
    }
    let row = |(i, (setting, _, checks)): (usize, &(&'static str, _, u32))| {
        let multiples: Vec<_> = rates[i]
            .iter()
            .zip(&rates[0])
            .map(|(rate, plain)| rate / plain)
            .collect();
        Some(ThroughputRow {
            setting,
            per_second: Summary::of(&rates[i])?,
            calls_per_check: float(calls[i]) / float(u64::from(*checks) * u64::from(effort.throughput_rounds)),
            of_plain: Summary::of(&multiples)?.median,
        })
    };
    let rows: Option<Vec<_>> = meters.iter().enumerate().map(row).collect();
    Ok(rows.ok_or("no rounds")?)
}

/// The calls of scripts since the last reset.
fn calls_of(server: &Server) -> Result<u64, Box<dyn Error>> {
    let stats = server.command(&["INFO", "commandstats"])?;
    let mut lines = stats.lines();
    let calls = lines.find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    Ok(calls.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0))
}

async fn all(meter: &SharedMeter<RedisStore>, checks: u32) -> Result<(), Box<dyn Error>> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let meter = meter.clone();
        tasks.spawn(async move {
            for _ in 0..checks / TASKS {
                let _ = meter.check("hot").await?;
            }
            Ok::<_, ratelimit_meter_store::StoreError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
