//! A flood: many more keys than a table is for, each once. It must take no memory, and lose no debt without a count.

use super::memory::met;
use super::memory::resident;
use crate::random::Random;
use crate::stats::{Summary, float};
use crate::tables::keys::NumberedKey;
use core::fmt;
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use ratelimit_meter::{KeyedMeter, Quota};
use std::time::Instant;

/// The aim: the time of a new key in a flood, as a multiple of the time in an idle table.
const TARGET: f64 = 1.17;

/// The number of timed pieces of a flood, and of the idle table.
const PIECES: u64 = 100;

/// The smallest debt of a debtor: ten thousand seconds, far longer than a flood takes.
const DEBT: u64 = 100_000;

/// The allowed growth of resident memory outside of the table, such as code that runs for the first time.
const SLACK: u64 = 1 << 20;

/// The number of keys that come, and the number that the table is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flood {
    pub(crate) keys: u64,
    pub(crate) room: u64,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Flooded {
    flood: Flood,
    /// Nanoseconds a key, over pieces: of keys that are in the table and idle.
    known_ns: Option<Summary>,
    /// Nanoseconds of new keys in an idle table.
    new_ns: Option<Summary>,
    /// Nanoseconds of new keys in the flood.
    flood_ns: Option<Summary>,
    elapsed: Duration,
    /// New keys that were denied: each should find an idle meter.
    denied: u64,
    debtors: u64,
    /// The number of these that were admitted afterwards.
    washed_out: u64,
    forgiven: u64,
    /// Resident bytes before and after, if the kernel reports them.
    resident: Option<(u64, u64)>,
}

impl Flood {
    pub(crate) const WHOLE: Self = Self {
        keys: 100_000_000,
        room: 1_000_000,
    };

    pub(crate) fn run(self, progress: &ProgressBar) -> Flooded {
        let quota = "10/s".parse::<Quota>().expect("ten a second");
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let table = KeyedMeter::<u64>::with_capacity(quota, room).expect("memory for a table");

        // Numbers from the top down are debtors, from 0 up residents, and behind these the flood.
        let debtors = self.room / 256;
        let owing = || (0..debtors).map(|debtor| u64::numbered(u64::MAX - debtor));
        owing().zip(DEBT..).for_each(|(key, debt)| {
            table.key(&key).charge(debt);
        });
        let known_ns = self.known(&table);
        let new_ns = self.new_at_rest();

        let before = resident();
        let start = Instant::now();
        let mut denied = 0;
        let mut ns = Vec::new();
        progress.set_length(self.keys);
        for piece in 0..PIECES {
            let [begin, end] = [piece, piece + 1].map(|piece| self.room + self.keys * piece / PIECES);
            let keys = (begin..end).map(u64::numbered);
            ns.push(ns_per_key(end - begin, || {
                denied += count(keys.filter(|key| table.check(key).is_err()));
            }));
            progress.inc(end - begin);
        }
        progress.finish_and_clear();
        let elapsed = start.elapsed();
        let resident = before.zip(resident());

        Flooded {
            flood: self,
            known_ns,
            new_ns,
            flood_ns: Summary::of(&ns),
            elapsed,
            denied,
            debtors,
            washed_out: count(owing().filter(|key| table.check(key).is_ok())),
            forgiven: table.stats().forgiven,
            resident,
        }
    }

    /// Asks about keys at random that are in the table, and idle, except for keys asked twice within a tenth of a second.
    fn known(self, table: &KeyedMeter<u64>) -> Option<Summary> {
        (0..self.room).map(u64::numbered).for_each(|key| {
            let _ = table.check(&key);
        });
        let mut random = Random::new(self.room);
        let piece = self.room.div_ceil(PIECES);
        let ns = (0..PIECES).map(|_| {
            ns_per_key(piece, || {
                for _ in 0..piece {
                    let _ = table.check(&u64::numbered(random.below(self.room)));
                }
            })
        });
        Summary::of(&ns.collect::<Vec<_>>())
    }

    /// Asks about new keys in a table of the same size where all keys are idle: the limit is so high that a key is idle after a nanosecond.
    fn new_at_rest(self) -> Option<Summary> {
        let quota = "1000000000/s".parse::<Quota>().expect("one a nanosecond");
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let table = KeyedMeter::<u64>::with_capacity(quota, room).expect("memory for a table");
        let mut keys = (0..).map(u64::numbered);
        let mut ask = |count: u64| {
            for (_, key) in (0..count).zip(keys.by_ref()) {
                let _ = table.check(&key);
            }
        };
        // By then each slot has had an owner.
        ask(4 * self.room);
        let piece = self.room.div_ceil(PIECES);
        let ns: Vec<_> = (0..PIECES).map(|_| ns_per_key(piece, || ask(piece))).collect();
        Summary::of(&ns)
    }
}

fn count(items: impl Iterator) -> u64 {
    items.fold(0, |count, _| count + 1)
}

fn ns_per_key(keys: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e9 / float(keys)
}

/// A bar on stderr if that is a terminal.
pub(crate) fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("flood {wide_bar} {human_pos} of {human_len} keys, {per_sec}, {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Flooded {
    /// Returns a line for each condition that the flood violated.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.denied > 0 {
            wrong.push(format!("{} new keys were denied", self.denied));
        }
        if self.washed_out > self.forgiven {
            let (out, forgiven) = (self.washed_out, self.forgiven);
            wrong.push(format!(
                "{out} debtors were admitted, and only {forgiven} counted as evicted"
            ));
        }
        if let Some((before, after)) = self.resident.filter(|(before, after)| *after > before + SLACK) {
            wrong.push(format!("resident memory grew by {} bytes", after - before));
        }
        wrong
    }
}

impl fmt::Display for Flooded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flood { keys, room } = self.flood;
        writeln!(f, "## {keys} keys, once each, through a table for {room}\n")?;
        writeln!(f, "| | |\n|---|---|")?;
        writeln!(f, "| in all | {:.1} s |", self.elapsed.as_secs_f64())?;
        let mut row = |what: &str, ns: Option<Summary>| match ns {
            Some(ns) => writeln!(
                f,
                "| {what} | {:.1} ns ({:.0}..{:.0}) |",
                ns.median, ns.lower_quartile, ns.upper_quartile
            ),
            None => Ok(()),
        };
        row("a live key, idle", self.known_ns)?;
        row("a new key, all older keys idle", self.new_ns)?;
        row("a new key of the flood", self.flood_ns)?;
        if let (Some(known), Some(new), Some(flood)) = (self.known_ns, self.new_ns, self.flood_ns) {
            let [of_known, of_new] = [known, new].map(|ns| flood.median / ns.median);
            writeln!(f, "| x a key that is there | {of_known:.2} |")?;
            let met = met(of_new <= TARGET);
            writeln!(f, "| x an idle table | {of_new:.2}, aim {TARGET:.2}: {met} |")?;
        }
        if let Some((before, after)) = self.resident {
            writeln!(
                f,
                "| resident before, after | {} KiB, {} KiB |",
                before >> 10,
                after >> 10
            )?;
        }
        writeln!(f, "| new keys denied | {} |", self.denied)?;
        writeln!(f, "| evicted to make room | {} |", self.forgiven)?;
        writeln!(
            f,
            "| of {} deep in debt, admitted afterwards | {} |",
            self.debtors, self.washed_out
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resident memory is that of the whole process, which other tests share.
    fn run(flood: Flood) -> Flooded {
        Flooded {
            resident: None,
            ..flood.run(&ProgressBar::hidden())
        }
    }

    #[test]
    fn flood_of_keys_evicts_no_debt() {
        let flooded = run(Flood {
            keys: 100_000,
            room: 10_000,
        });
        assert_eq!(flooded.wrong(), Vec::<String>::new());
        assert_eq!((flooded.debtors, flooded.washed_out), (39, 0), "{flooded}");
    }

    #[test]
    fn flood_failures_are_reported() {
        let calm = run(Flood { keys: 100, room: 256 });
        assert_eq!(calm.wrong(), Vec::<String>::new());
        let bad = Flooded {
            denied: 1,
            washed_out: calm.forgiven + 1,
            resident: Some((0, SLACK + 1)),
            ..calm
        };
        assert_eq!(bad.wrong().len(), 3);
    }
}
