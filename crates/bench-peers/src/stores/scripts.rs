//! The time of the server for one call of each script, by its own count.

use super::{ScriptRow, StoresEffort};
use crate::stats::Summary;
use ratelimit_meter_store_check::server::Server;
use redis::{Client, Cmd, Connection, Script};
use std::error::Error;

pub(crate) const FAST: &str = "ours, fast.lua";
const FLOAT: &str = "float GCRA (redis_rate's steps)";

/// A script with the arguments of a limit that is never met, and of one that is spent.
struct ScriptContender {
    name: &'static str,
    text: &'static str,
    keys: usize,
    admitted: Vec<&'static str>,
    denied: Vec<&'static str>,
}

/// 1,000,000/s and 1/d burst 10, in each script's own terms.
fn contenders() -> [ScriptContender; 8] {
    let meter = include_str!("../../../redis/lua/meter.lua");
    let (second, day) = (
        ["b1 1", "1", "1", "1000000", "0", "1"],
        ["b1 86400000000", "1", "86400000000", "864000000000", "0", "1"],
    );
    let general = |limit: [&'static str; 6]| [&["check", "", ""][..], &limit].concat();
    [
        ScriptContender {
            name: "no-op script",
            text: include_str!("lua/noop.lua"),
            keys: 1,
            admitted: Vec::new(),
            denied: Vec::new(),
        },
        ScriptContender {
            name: "fixed window",
            text: include_str!("lua/fixed_window.lua"),
            keys: 1,
            admitted: vec!["86400000", "1"],
            denied: vec!["86400000", "1"],
        },
        ScriptContender {
            name: FAST,
            text: include_str!("../../../redis/lua/fast.lua"),
            keys: 1,
            admitted: vec!["b1 1", "1", "1000000", "1"],
            denied: vec!["b1 86400000000", "1", "864000000000", "86400000000"],
        },
        ScriptContender {
            name: FLOAT,
            text: include_str!("lua/float_gcra.lua"),
            keys: 1,
            admitted: vec!["1000000", "1000000", "1", "1"],
            denied: vec!["10", "1", "86400", "1"],
        },
        ScriptContender {
            name: "token hash",
            text: include_str!("lua/token_hash.lua"),
            keys: 1,
            admitted: vec!["1000000", "1000000", "1"],
            denied: vec!["0.0000115", "10", "1"],
        },
        ScriptContender {
            name: "sliding log",
            text: include_str!("lua/sliding_log.lua"),
            keys: 1,
            admitted: vec!["20", "1000000000"],
            denied: vec!["86400000", "10"],
        },
        ScriptContender {
            name: "ours, meter.lua",
            text: meter,
            keys: 1,
            admitted: general(second),
            denied: general(day),
        },
        ScriptContender {
            name: "ours, two limits",
            text: meter,
            keys: 2,
            admitted: [general(second), second.to_vec()].concat(),
            denied: [general(day), day.to_vec()].concat(),
        },
    ]
}

pub(crate) fn measure(server: &Server, effort: StoresEffort) -> Result<Vec<ScriptRow>, Box<dyn Error>> {
    let mut connection = Client::open(server.url())?.get_connection()?;
    let contenders = contenders();
    let mut times = contenders.each_ref().map(|_| [Vec::new(), Vec::new()]);
    for _ in 0..effort.rounds {
        for (contender, times) in contenders.iter().zip(&mut times) {
            for (args, times) in [&contender.admitted, &contender.denied].into_iter().zip(times) {
                times.push(microseconds(&mut connection, contender, args, effort.calls)?);
            }
        }
    }
    let summary = |times: &[f64]| Summary::of(times).ok_or("no rounds");
    let float = contenders
        .iter()
        .position(|contender| contender.name == FLOAT)
        .ok_or("no float GCRA")?;
    let [base_admitted, base_denied] =
        [0, 1].map(|kind| summary(&times[float][kind]).map(|summary| summary.lower_quartile));
    let (base_admitted, base_denied) = (base_admitted?, base_denied?);
    let rows = contenders.iter().zip(&times).map(|(contender, [admitted, denied])| {
        let (admitted_us, denied_us) = (summary(admitted)?, summary(denied)?);
        Ok(ScriptRow {
            script: contender.name,
            admitted_us,
            denied_us,
            admitted_of_float: admitted_us.lower_quartile / base_admitted,
            denied_of_float: denied_us.lower_quartile / base_denied,
        })
    });
    rows.collect()
}

/// The mean time of the server for a call, by `INFO commandstats`.
fn microseconds(
    connection: &mut Connection,
    contender: &ScriptContender,
    args: &[&str],
    calls: u32,
) -> Result<f64, Box<dyn Error>> {
    let script = Script::new(contender.text);
    redis::cmd("FLUSHALL").exec(connection)?;
    redis::cmd("SCRIPT").arg("LOAD").arg(contender.text).exec(connection)?;
    let call = || -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.get_hash())
            .arg(contender.keys)
            .arg(&["{k}0", "{k}1"][..contender.keys])
            .arg(args);
        cmd
    };
    // Until the limit of the denied ones is spent.
    for _ in 0..12 {
        call().exec(connection)?;
    }
    redis::cmd("CONFIG").arg("RESETSTAT").exec(connection)?;
    for _ in 0..calls / 50 {
        let mut pipe = redis::Pipeline::with_capacity(50);
        for _ in 0..50 {
            pipe.add_command(call()).ignore();
        }
        pipe.exec(connection)?;
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query(connection)?;
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:"))
        .ok_or("no statistics")?;
    let time = line
        .split(',')
        .find_map(|field| field.strip_prefix("usec_per_call="))
        .ok_or("no time for a call")?;
    Ok(time.parse()?)
}
