//! The machine, the date and the versions: no numbers without them.

use crate::run::{Effort, entries};
use crate::versions;
use core::fmt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::thread;

#[derive(Debug, Serialize)]
pub(crate) struct Heading {
    machine: String,
    processors: usize,
    /// The kernel's clock source, if it is reported.
    clock_source: Option<String>,
    /// The source of this crate's default clock after the run.
    our_clock_reads: String,
    date: String,
    rustc: &'static str,
    command: String,
    rounds: u32,
    turn_ns: u128,
    seed: u64,
    versions: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Heading {
    pub(crate) fn now(effort: Effort, seed: u64) -> Self {
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        for package in entries().iter().filter_map(|entry| entry.package) {
            let found = versions.entry(package.0).or_default();
            let version = versions::of(package).unwrap_or("unknown");
            if !found.contains(&version) {
                found.push(version);
            }
        }
        let clock_source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        Self {
            machine: machine().unwrap_or_else(|| format!("unknown {}", env::consts::ARCH)),
            processors: thread::available_parallelism().map_or(1, usize::from),
            clock_source: clock_source.ok().map(|name| name.trim().to_owned()),
            our_clock_reads: format!("{:?}", ratelimit_meter::clock::source()),
            date: jiff::Timestamp::now().strftime("%F %H:%M UTC").to_string(),
            rustc: env!("BUILT_BY"),
            command: command(),
            rounds: effort.rounds,
            turn_ns: effort.turn.as_nanos(),
            seed,
            versions,
        }
    }
}

/// The processor's name.
fn machine() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The command line, without the folder of the program.
fn command() -> String {
    let mut arguments = env::args();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let arguments = arguments.map(|argument| {
        if argument.contains(|c: char| c.is_whitespace() || c == '\'') {
            format!("{argument:?}")
        } else {
            argument
        }
    });
    let words: Vec<String> = [program.to_string_lossy().into_owned()]
        .into_iter()
        .chain(arguments)
        .collect();
    words.join(" ")
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = self.clock_source.as_deref().unwrap_or("unknown");
        writeln!(
            f,
            "- machine: {}, {} processors, clock source {clock}",
            self.machine, self.processors
        )?;
        if self.processors < 2 {
            writeln!(
                f,
                "- the threads of two-thread cases share one processor: those tables mean nothing"
            )?;
        }
        writeln!(f, "- date: {}", self.date)?;
        writeln!(f, "- compiler: {}", self.rustc)?;
        writeln!(f, "- our default clock reads: {}", self.our_clock_reads)?;
        write!(f, "- versions: ")?;
        for (i, (name, versions)) in self.versions.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {}", versions.join(" and "))?;
        }
        writeln!(f)?;
        let turn_us = self.turn_ns / 1_000;
        writeln!(
            f,
            "- command: `{}` ({} rounds of {turn_us} us a turn, seed {})",
            self.command, self.rounds, self.seed
        )
    }
}
