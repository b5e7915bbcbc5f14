//! The cost of a limited request: layers side by side, in process and on loopback.

mod case;
mod contenders;
mod floors;
mod loopback;

use crate::contender::Package;
use crate::random::Random;
use crate::stats::Summary;
use crate::versions;
use case::HttpCase;
use contenders::HttpCall;
use core::fmt;
use loopback::Loaded;
use serde::Serialize;
use std::time::Instant;

pub(crate) use case::HttpEffort;

/// The results of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct HttpReport {
    in_process: Vec<HttpRow>,
    loopback: Vec<Loaded>,
    wrong: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HttpRow {
    case: HttpCase,
    contender: &'static str,
    version: &'static str,
    ns: Summary,
}

/// Takes turns, in an order that is shuffled anew each round.
pub(crate) fn run(effort: HttpEffort, seed: u64) -> HttpReport {
    let mut random = Random::new(seed);
    let mut wrong = Vec::new();
    let in_process = HttpCase::ALL
        .into_iter()
        .flat_map(|case| in_process(case, effort, &mut random, &mut wrong))
        .collect();
    HttpReport {
        in_process,
        loopback: loopback::run(effort, &mut random),
        wrong,
    }
}

fn in_process(case: HttpCase, effort: HttpEffort, random: &mut Random, wrong: &mut Vec<String>) -> Vec<HttpRow> {
    let entries: Vec<_> = contenders::entries()
        .into_iter()
        .filter(|entry| entry.takes(case))
        .collect();
    let mut calls: Vec<HttpCall> = entries.iter().map(|entry| (entry.call)(case)).collect();
    // Before the clock starts, every key is live, and all lazy parts are made.
    for (call, entry) in calls.iter_mut().zip(&entries) {
        for key in 0..case.keys().max(2) {
            call(key % case.keys());
        }
        let status = call(0);
        let expected = if entry.limits() { case.status() } else { 200 };
        if status != expected {
            wrong.push(format!(
                "{case}: {} answered {status} instead of {expected}",
                entry.name
            ));
        }
    }
    let mut times = vec![Vec::new(); entries.len()];
    let requests = case.calls(effort);
    let mut order: Vec<_> = (0..entries.len()).collect();
    for _ in 0..effort.rounds {
        random.shuffle(&mut order);
        for &seat in &order {
            let start = Instant::now();
            for _ in 0..requests {
                let key = u32::try_from(random.below(case.keys().into())).unwrap_or(0);
                core::hint::black_box(calls[seat](key));
            }
            times[seat].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(requests));
        }
    }
    let rows = entries.iter().zip(&times).filter_map(|(entry, times)| {
        Some(HttpRow {
            case,
            contender: entry.name,
            version: entry
                .package
                .map_or("", |package: Package| versions::of(package).unwrap_or("this")),
            ns: Summary::of(times)?,
        })
    });
    rows.collect()
}

/// The aims: the smallest share of the throughput without a layer, and the largest multiple of its 99th percentile.
const LOOPBACK_AIMS: [f64; 2] = [0.97, 1.05];

/// An aim: a part of a contender's time.
const AIMS: [(HttpCase, &str, &str, f64); 6] = [
    (HttpCase::OneKey, contenders::SILENT, contenders::GOVERNOR, 0.6),
    (HttpCase::OneKey, contenders::TELLING, contenders::GOVERNOR_HEADERS, 0.8),
    (HttpCase::OneKey, contenders::SILENT, "axum_gcra", 0.5),
    (HttpCase::ManyKeys, contenders::SILENT, contenders::GOVERNOR, 0.35),
    (HttpCase::OneKey, contenders::THREE, contenders::TELLING, 2.0),
    (HttpCase::Denied, contenders::TELLING, contenders::TELLING, 1.2),
];

impl HttpReport {
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Which answers were not those of the case.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn median(&self, case: HttpCase, contender: &str) -> Option<f64> {
        let row = self
            .in_process
            .iter()
            .find(|row| row.case == case && row.contender == contender)?;
        Some(row.ns.median)
    }

    /// The time over that of the inner service alone.
    fn over_bare(&self, case: HttpCase, contender: &str) -> Option<f64> {
        Some(self.median(case, contender)? - self.median(case, contenders::BARE)?)
    }

    fn aims(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| aim: time over bare | at most | is | |\n|---|---|---|---|")?;
        for (case, ours, other, most) in AIMS {
            // A denial is compared with an admission.
            let of = if case == HttpCase::Denied {
                HttpCase::OneKey
            } else {
                case
            };
            let (Some(mine), Some(other_ns)) = (self.over_bare(case, ours), self.over_bare(of, other)) else {
                continue;
            };
            let is = mine / other_ns;
            writeln!(
                f,
                "| {case}: {ours} of {other} | {most:.2} | {is:.2} | {} |",
                held(is <= most)
            )?;
        }
        writeln!(
            f,
            "\n| aim: axum on loopback, of no layer | aim | is | |\n|---|---|---|---|"
        )?;
        for row in self.loopback.iter().filter(|row| row.contender == contenders::TELLING) {
            let [least, most] = LOOPBACK_AIMS;
            let (http, rate, p99) = (row.http, row.per_second_of_bare.median, row.p99_of_bare.median);
            let (held_rate, held_p99) = (held(rate >= least), held(p99 <= most));
            writeln!(
                f,
                "| HTTP/{http}: throughput | at least {least:.2} | {rate:.3} | {held_rate} |"
            )?;
            writeln!(f, "| HTTP/{http}: p99 | at most {most:.2} | {p99:.3} | {held_p99} |")?;
        }
        let floors = [loopback::EMPTY, loopback::CONSTANT];
        for row in self.loopback.iter().filter(|row| floors.contains(&row.contender)) {
            let (http, floor) = (row.http, row.contender);
            let (rate, p99) = (row.per_second_of_bare.median, row.p99_of_bare.median);
            writeln!(f, "| HTTP/{http}: {floor}, throughput | | {rate:.3} | |")?;
            writeln!(f, "| HTTP/{http}: {floor}, p99 | | {p99:.3} | |")?;
        }
        Ok(())
    }
}

impl fmt::Display for HttpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## http\n")?;
        self.aims(f)?;
        for case in HttpCase::ALL {
            writeln!(
                f,
                "\n### {case}\n\n| contender | ns | quartiles | over bare |\n|---|---|---|---|"
            )?;
            let bare = self.median(case, contenders::BARE).unwrap_or(0.0);
            for row in self.in_process.iter().filter(|row| row.case == case) {
                let (low, median, high) = (row.ns.lower_quartile, row.ns.median, row.ns.upper_quartile);
                let (name, version, over) = (row.contender, row.version, median - bare);
                writeln!(
                    f,
                    "| {name} {version} | {median:.0} | {low:.0}..{high:.0} | {over:.0} |"
                )?;
            }
        }
        writeln!(f, "\n### axum on loopback, {} connections\n", loopback::CONNECTIONS)?;
        writeln!(
            f,
            "| http | contender | requests/s | of no layer | p99 us | of no layer |\n|---|---|---|---|---|---|"
        )?;
        for row in &self.loopback {
            writeln!(
                f,
                "| {} | {} | {:.0} | {} | {:.0} | {} |",
                row.http,
                row.contender,
                row.per_second.median,
                Ratios(&row.per_second_of_bare),
                row.p99_us.median,
                Ratios(&row.p99_of_bare)
            )?;
        }
        Ok(())
    }
}

const fn held(is_held: bool) -> &'static str {
    if is_held { "held" } else { "missed" }
}

/// A median and its quartiles.
struct Ratios<'a>(&'a Summary);

impl fmt::Display for Ratios<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            lower_quartile,
            median,
            upper_quartile,
            ..
        } = self.0;
        write!(f, "{median:.3} ({lower_quartile:.3}..{upper_quartile:.3})")
    }
}

/// Makes `requests` of one contender in process and nothing else, to be counted: the difference of two runs is the cost of the requests.
pub(crate) fn requests(contender: &str, requests: u32) -> Option<String> {
    let entry = contenders::entries()
        .into_iter()
        .find(|entry| entry.name == contender)?;
    let mut call = (entry.call)(HttpCase::OneKey);
    let ok = (0..requests).filter(|_| call(0) == 200).count();
    Some(format!("{contender}: {ok} of {requests} admitted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_answers_as_the_case_expects() {
        let effort = HttpEffort {
            rounds: 1,
            calls: 10,
            ..HttpEffort::QUICK
        };
        let mut wrong = Vec::new();
        for case in [HttpCase::OneKey, HttpCase::Denied] {
            let rows = in_process(case, effort, &mut Random::new(1), &mut wrong);
            assert!(rows.len() >= 6, "{} contenders", rows.len());
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
