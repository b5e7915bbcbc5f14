//! `meter.units` and `meter.allow`: the functions for callers without a client of this project.

use crate::laws::ClockedDatabase;
use crate::server::{Server, connect};
use fastrand::Rng;
use ratelimit_meter::Quota;
use ratelimit_meter_store::Units;
use ratelimit_meter_store_check::Plan;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The numbers of a quota, or the error's SQLSTATE.
async fn units(client: &Client, text: &str) -> Result<([u64; 5], bool), SqlState> {
    let call = "SELECT drain, one, cell, burst, tick, exact FROM meter.units($1)";
    let row = match client.query_one(call, &[&text]).await {
        Ok(row) => row,
        Err(error) => return Err(error.code().expect("the server's error").clone()),
    };
    let number = |i| u64::try_from(row.get::<_, i64>(i)).expect("above zero");
    Ok(([0, 1, 2, 3, 4].map(number), row.get(5)))
}

/// The numbers that the Rust crates have, or none.
fn expected(text: &str) -> Option<([u64; 5], bool)> {
    let units = Units::of(text.parse::<Quota>().ok()?).ok()?;
    let numbers = [units.drain(), units.one(), units.cell(), units.burst(), units.tick_us()];
    Some((numbers, units.is_exact()))
}

async fn same(client: &Client, text: &str) {
    let (ours, theirs) = (units(client, text).await, expected(text));
    match theirs {
        Some(theirs) => assert_eq!(ours, Ok(theirs), "{text:?}"),
        None => assert_eq!(ours, Err(SqlState::INVALID_PARAMETER_VALUE), "{text:?}"),
    }
}

#[tokio::test]
async fn quota_text_reads_as_in_the_core() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    for text in [
        "1/s",
        "100/min burst 20",
        " 100/min\tburst 20\n",
        "400000/min burst 100000 weight 2",
        "3/s burst 10 every 1s",
        "3/s every s weight 2",
        "4294967295/s",
        "1000000007/d burst 4294967295",
        "1/36525d",
        "1/60000d",
        "3/1ns burst 4000000000",
        "5/1ns",
        "007/0010s",
        "30 per second",
        "5 per 2 hours burst 3",
        "500/week",
        "1 PER 2 Weeks burst 3",
        "1/W",
        "1/month",
        "1.5k  per s burst 9",
        "1 per",
        "1 per s per s",
        "1 per s/s",
        "",
        " ",
        "/",
        "1",
        "1/",
        "/s",
        "0/s",
        "1/0s",
        "-1/s",
        "+1/s",
        "1/s burst",
        "1/s burst 0",
        "1/s burst -1",
        "1/s burst 4294967296",
        "4294967296/s",
        "99999999999999999999999999/s",
        "1/99999999999999999999999999s",
        "1/s weight 2",
        "1/s every 1500ns",
        "1/s every 0s",
        "1/s every 100000d",
        "1/s burst 2 burst 2",
        "1/s brust 2",
        "burst 1/s",
        "10/s & 1000/h",
        "1//s",
        "1/S",
        "30/second",
        "30 / s",
        " 30 / 2 s burst 40",
        "10/m",
        "10/M",
        "10/MS",
        "1.5/s",
        "1.50/s",
        "0.5/s",
        "1.5k/s",
        "0.0001k/s",
        "1k/s burst 2k weight 1k",
        "1K/s",
        "4G/s",
        "5G/s",
        "1m/s",
        "1_000/s",
        "1__0/1_0s",
        "1_/s",
        "_1/s",
        "1./s",
        ".5/s",
        "1.5.5/s",
        "1._5/s",
        "1/1.5s",
        "1/1.5ns",
        "1/0.000000001s",
        "1/0.0000000001s",
        "1/2 s",
        "1/2 s every 3 s",
        "1/2  days every 1.5 hrs",
        "1/2 every 3",
        "1/s every 3 burst",
        "1/2 burst 3",
        "1/s burst 1.5",
        "1/s burst 1.5k",
        "1/µs",
        "1/2 µS",
        "1/s EVERY 3 s",
        "1/s Burst 3",
        "3/s every 2seconds",
        "1.00000000000000000000/s",
        "1.0000000000000000000/s",
        "4294967295.5/s",
        "0.0000000001/s",
        "0.3/3d burst 4",
        "1/s/s",
        "a/s",
        "k/s",
        "1 k/s",
        "1/1ks",
        "1/s 3",
        "1/s burst burst",
        "1/s every every",
        "１/s",
    ] {
        same(&client, text).await;
    }
    let plan = Plan::from_env();
    let mut rng = Rng::with_seed(plan.seed);
    for _ in 0..plan.steps / 5 {
        same(&client, &random_quota(&mut rng)).await;
    }
}

fn random_quota(rng: &mut Rng) -> String {
    let number = |rng: &mut Rng| {
        let whole = match rng.u8(..4) {
            0 => u64::from(rng.u32(..20)),
            1 => 10_u64.pow(rng.u32(..11)),
            2 => rng.u32(..).into(),
            _ => u64::from(rng.u32(..)) >> rng.u32(..32),
        };
        match rng.u8(..8) {
            0 => format!("{whole}.{}", rng.u32(..1000)),
            1 => format!("{whole}_0"),
            2 => format!("{}{}", whole % 5000, ["k", "K", "M", "G"][rng.usize(..4)]),
            _ => whole.to_string(),
        }
    };
    let time = |rng: &mut Rng| {
        const UNITS: [&str; 13] = [
            "d",
            "h",
            "min",
            "s",
            "ms",
            "us",
            "ns",
            "days",
            "Hour",
            "m",
            "secs",
            "µs",
            "nanoseconds",
        ];
        let unit = UNITS[rng.usize(..UNITS.len())];
        match rng.u8(..4) {
            0 => unit.to_owned(),
            1 => format!("{} {unit}", number(rng)),
            _ => format!("{}{unit}", number(rng)),
        }
    };
    let mut text = format!(
        "{}{}{}",
        number(rng),
        ["/", "/", " / ", "/ "][rng.usize(..4)],
        time(rng)
    );
    for word in ["burst", "weight", "every"] {
        if rng.u8(..3) == 0 {
            let value = if word == "every" { time(rng) } else { number(rng) };
            text += &format!(" {word} {value}");
        }
    }
    // A few texts have a typing error.
    if rng.u8(..8) == 0 {
        let at = rng.usize(..=text.chars().count());
        let mut letters: Vec<char> = text.chars().collect();
        match rng.bool() {
            true => letters.insert(at, ['/', ' ', '0', 's', 'x', '.', '_', 'k'][rng.usize(..8)]),
            false if at < letters.len() => {
                letters.remove(at);
            }
            false => {}
        }
        text = letters.into_iter().collect();
    }
    text
}

type Allowed = (bool, i64, Option<i64>, i64);

/// The decision, the remaining cells, and the waits in microseconds.
async fn allow(client: &Client, arguments: &str) -> Allowed {
    let call = format!(
        "SELECT allowed, remaining, (extract(epoch FROM retry_after) * 1000000)::bigint, (extract(epoch FROM rest_after) * 1000000)::bigint
         FROM meter.allow({arguments})"
    );
    let row = client.query_one(&call, &[]).await.expect("an answer");
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

#[tokio::test]
async fn allow_returns_remaining_cells_and_exact_waits() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    let start = 1_000_000_000_250_000;
    const NEVER: Option<i64> = None;
    let table: [(u64, &str, Allowed); 19] = [
        (0, "'a', '100/min burst 20', 0", (true, 20, Some(0), 0)),
        (0, "'a', '100/min burst 20', 21", (false, 20, NEVER, 0)),
        (0, "'a', '100/min burst 20', 9223372036854775807", (false, 20, NEVER, 0)),
        (0, "'a', '100/min burst 20', 19", (true, 1, Some(0), 11_400_000)),
        (0, "'a', '100/min burst 20', 2", (false, 1, Some(600_000), 11_400_000)),
        (599_999, "'a', '100/min burst 20', 2", (false, 1, Some(1), 10_800_001)),
        (600_000, "'a', '100/min burst 20', 2", (true, 0, Some(0), 12_000_000)),
        (
            600_000,
            "'a', '100/min burst 20'",
            (false, 0, Some(600_000), 12_000_000),
        ),
        // The other quota finds the debt: 20 cells, 10 more than its burst.
        (600_000, "'a', '1/s burst 10'", (false, 0, Some(11_000_000), 20_000_000)),
        (0, "'b', '400/min burst 10 weight 2', 5", (true, 0, Some(0), 1_500_000)),
        (
            0,
            "'b', '400/min burst 10 weight 2'",
            (false, 0, Some(300_000), 1_500_000),
        ),
        // Seven units drain in a microsecond: waits are rounded up to the next one.
        (0, "'d', '7/3s', 7", (true, 0, Some(0), 3_000_000)),
        (0, "'d', '7/3s'", (false, 0, Some(428_572), 3_000_000)),
        (428_571, "'d', '7/3s'", (false, 0, Some(1), 2_571_429)),
        (428_572, "'d', '7/3s'", (true, 0, Some(0), 3_000_000)),
        // Ticks count from 1970: the next whole second is 750 ms away.
        (0, "'c', '3/s burst 10 every 1s', 10", (true, 0, Some(0), 3_750_000)),
        (0, "'c', '3/s burst 10 every 1s'", (false, 0, Some(750_000), 3_750_000)),
        (
            749_999,
            "'c', '3/s burst 10 every 1s', 4",
            (false, 0, Some(1_000_001), 3_000_001),
        ),
        (
            750_000,
            "'c', '3/s burst 10 every 1s', 3",
            (true, 0, Some(0), 4_000_000),
        ),
    ];
    for (at, arguments, expected) in table {
        clock.set(start + at).await;
        assert_eq!(allow(&client, arguments).await, expected, "{arguments} at {at}");
    }
}

/// In the year 2200, up to which no number of a bucket overflows.
#[tokio::test]
async fn clock_set_far_ahead_keeps_the_burst() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(7_258_118_400_000_000).await;
    for quota in ["10/s", "999/999999999us", "1999/s", "1000003/s", "1999/s every 1s"] {
        let burst = quota.split('/').next().expect("a burst");
        let (allowed, remaining, ..) = allow(&client, &format!("'{quota}', '{quota}', {burst}")).await;
        assert_eq!((allowed, remaining), (true, 0), "{quota}");
        assert!(
            !allow(&client, &format!("'{quota}', '{quota}', {burst}")).await.0,
            "{quota}"
        );
    }
    // And back: each key keeps its debt and no more.
    clock.set(1_000_000_000_000_000).await;
    assert_eq!(
        allow(&client, "'1999/s', '1999/s'").await,
        (false, 0, Some(501), 1_000_000)
    );
    assert_eq!(
        allow(&client, "'10/s', '10/s'").await,
        (false, 0, Some(100_000), 1_000_000)
    );
}

/// A theoretical arrival time would deny for an hour if the clock was set back an hour.
#[tokio::test]
async fn clock_set_back_denies_while_debt_remains() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let clock = ClockedDatabase::replace(&config).await;
    let client = connect(&config).await;
    clock.set(5_000_000_000_000).await;
    assert_eq!(allow(&client, "'a', '10/s', 10").await, (true, 0, Some(0), 1_000_000));
    clock.set(1_000_000_000_000).await;
    assert_eq!(
        allow(&client, "'a', '10/s'").await,
        (false, 0, Some(100_000), 1_000_000)
    );
    clock.set(1_000_000_100_000).await;
    assert_eq!(allow(&client, "'a', '10/s'").await, (true, 0, Some(0), 1_000_000));
}

/// Keys and quotas may come from columns that sort or compare in their own ways.
#[tokio::test]
async fn arguments_of_any_collation_are_decided() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    // Not every build has the library ICU.
    let create = "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    let of = ["POSIX", "any_case"];
    let of = if client.batch_execute(create).await.is_ok() {
        &of[..]
    } else {
        &of[..1]
    };
    for collation in of {
        for (key, quota) in [("Alice", "3/d"), ("alice", "3 / 24 hours")] {
            let table = format!(
                "CREATE TEMP TABLE of AS SELECT '{key}' COLLATE \"{collation}\" k, '{quota}' COLLATE \"{collation}\" q"
            );
            client.batch_execute(&table).await.expect("a table");
            let calls = "SELECT (meter.allow(k, q)).allowed, (meter.check(k, 1, 1, 28800000000, 86400000000)).admitted,
                (meter.change('upto', k, 1, 0, 1, 28800000000, 28800000000, 86400000000)).admitted = 1,
                (meter.check_all(ARRAY[k], '{1}', '{1}', '{28800000000}', '{86400000000}', '{0}')).admitted,
                (public.check_rate_limit(k, 1, 2, '1 day')).allowed FROM of";
            // Of three cells, `allow` and `change` take one each, and then `allow` takes the last. Each of the remaining calls takes a unit.
            for decisions in [
                [true, true, true, true, true],
                [true, true, false, true, true],
                [false, true, false, true, false],
            ] {
                let row = client.query_one(calls, &[]).await.expect("decisions");
                assert_eq!(
                    decisions,
                    [0, 1, 2, 3, 4].map(|i| row.get::<_, bool>(i)),
                    "{key} {collation}"
                );
            }
            client.batch_execute("DROP TABLE of").await.expect("dropped");
        }
        let forget = "TRUNCATE meter.bucket, meter.average";
        client.batch_execute(forget).await.expect("idle keys");
    }
}

#[tokio::test]
async fn impossible_arguments_are_errors() {
    let server = running!(Server::shared());
    let (_, config) = server.store().await;
    let client = connect(&config).await;
    for call in [
        "meter.allow(NULL, '1/s')",
        "meter.allow('a', NULL)",
        "meter.allow('a', '1/s', NULL)",
        "meter.allow('a', '1/s', -1)",
        "meter.allow('a', '1 every second')",
        "meter.check(NULL, 1, 1, 1, 10)",
        "meter.check('a', NULL, 1, 1, 10)",
        "meter.check('a', -1, 1, 1, 10)",
        "meter.check('a', 1, 0, 1, 10)",
        "meter.check('a', 1, 1, 1, 9007199254740993)",
        "meter.check('a', 1, 1, 1, 10, -1)",
        "meter.change('chek', 'a', 1, 0, 1, 1, 1, 10)",
        "meter.change(NULL, 'a', 1, 0, 1, 1, 1, 10)",
        "meter.change('check', 'a', 1, 0, 1, 1, 0, 10)",
        "meter.change('check', 'a', 1, 0, 1, 1, 11, 10)",
        "meter.check_all('{b,a}', '{1,1}', '{1,1}', '{1,1}', '{10,10}', '{0,0}')",
        "meter.check_all('{a,a}', '{1,1}', '{1,1}', '{1,1}', '{10,10}', '{0,0}')",
        "meter.check_all('{a,b}', '{1}', '{1,1}', '{1,1}', '{10,10}', '{0,0}')",
        "meter.check_all('{a,b}', '{1,0}', '{1,1}', '{1,1}', '{10,10}', '{0,0}')",
        "meter.check_all('{}', '{}', '{}', '{}', '{}', '{}')",
        "meter.check_average('a', 1, 0, 0.1)",
        "meter.check_average('a', 1, 1, 1.1)",
        "meter.check_average('a', 'NaN', 1, 0.1)",
        "meter.sweep(-1)",
        "meter.sweep(0, 0)",
        "meter.sweep(NULL)",
    ] {
        let error = client
            .query(&format!("SELECT * FROM {call}"), &[])
            .await
            .expect_err(call);
        assert_eq!(
            error.code(),
            Some(&SqlState::INVALID_PARAMETER_VALUE),
            "{call}: {error:?}"
        );
    }
    let rows = client
        .query("SELECT FROM meter.bucket UNION ALL SELECT FROM meter.average", &[])
        .await;
    assert!(rows.expect("the tables").is_empty());
}
