//! Draws the state of a running replay: a table that is redrawn repeatedly.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::table::table;
use super::words;
use crate::event::Keys;
use crate::replay::Outcome;
use crate::text::{counted, grouped, percent, printable};

/// The number of latest seconds, in the traffic's own time, over which rates are computed.
const SECONDS: usize = 10;
const SECOND: i64 = 1_000_000_000;

/// Number of characters shown of a key.
const KEY_WIDTH: usize = 30;

/// The recent requests, and how many of them each limit denied.
#[derive(Debug)]
pub struct Lately {
    /// Counts by second, the latest last.
    seconds: VecDeque<(i64, u64, Vec<u64>)>,
    first: Option<i64>,
    limits: usize,
}

impl Lately {
    /// Creates empty counts for `limits` limits.
    #[must_use]
    pub fn new(limits: usize) -> Self {
        Self {
            seconds: VecDeque::new(),
            first: None,
            limits,
        }
    }

    /// Counts a request at `time` and the limits that denied it, by their indices. A request that is too old is not counted.
    pub fn see(&mut self, time: i64, denied_by: impl Iterator<Item = usize>) {
        let second = time.div_euclid(SECOND);
        self.first = Some(self.first.map_or(second, |first| first.min(second)));
        let latest = self.seconds.back().map_or(i64::MIN, |(latest, ..)| *latest);
        if second > latest {
            self.seconds.push_back((second, 0, vec![0; self.limits]));
            let oldest = second.saturating_sub(SECONDS as i64 - 1);
            self.seconds.retain(|(second, ..)| *second >= oldest);
        }
        if let Some((_, requests, denied)) = self.seconds.iter_mut().rev().find(|(of, ..)| *of == second) {
            *requests += 1;
            denied_by.for_each(|limit| denied[limit] += 1);
        }
    }

    /// Returns a rate in requests a second, to a tenth: `12.5`.
    fn rate(&self, count: impl Fn(&(i64, u64, Vec<u64>)) -> u64) -> String {
        let Some((latest, first)) = self.seconds.back().map(|(latest, ..)| *latest).zip(self.first) else {
            return "0".to_owned();
        };
        let span = latest.abs_diff(first).saturating_add(1).min(SECONDS as u64);
        let tenths = self.seconds.iter().map(count).sum::<u64>() * 10 / span;
        format!("{}.{}", grouped(tenths / 10), tenths % 10)
    }
}

/// Draws the table: the recent rate, and for each limit the recent and total denials and the most denied key.
#[must_use]
pub fn render(
    lately: &Lately,
    latest: Option<i64>,
    requests: u64,
    keys: &Keys,
    outcomes: &[Outcome],
    anonymise: bool,
) -> String {
    let time = latest.map_or_else(|| "no time yet".to_owned(), words::stamp);
    let mut text = format!(
        "{time} UTC: {} requests of {}, {} a second\n",
        grouped(requests),
        counted(keys.len(), "key"),
        lately.rate(|(_, requests, _)| *requests)
    );
    let names = ["limit", "denied", "denied %", "denied/s", "keys denied", "hit hardest"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for (place, outcome) in outcomes.iter().enumerate() {
        let hardest = outcome.hardest_hit.first().map(|hit| {
            let name = keys.name(hit.key);
            let name = if anonymise {
                keys.pseudonym(name).into_bytes()
            } else {
                name.to_vec()
            };
            format!("{} ({})", printable(&name, KEY_WIDTH), words::number(hit.denied))
        });
        rows.push(vec![
            outcome.limit.to_string(),
            grouped(outcome.denied),
            percent(outcome.denied, outcome.asked),
            lately.rate(|(.., denied)| denied.get(place).copied().unwrap_or(0)),
            grouped(outcome.keys_denied),
            hardest.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table(&mut text, &rows);
    let _ = writeln!(
        text,
        "  (rates of the last {SECONDS} s of the traffic; Ctrl-C ends with the report)"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut lately = Lately::new(2);
        let rates = |lately: &Lately| {
            let denied = |limit: usize| lately.rate(move |(.., denied)| denied[limit]);
            [lately.rate(|(_, requests, _)| *requests), denied(0), denied(1)]
        };
        assert_eq!(rates(&lately), ["0", "0", "0"]);
        for request in 0..30 {
            lately.see(100 * SECOND + request, (request % 3 == 0).then_some(1).into_iter());
        }
        assert_eq!(rates(&lately), ["30.0", "0.0", "10.0"]);
        lately.see(109 * SECOND, [0].into_iter());
        assert_eq!(rates(&lately), ["3.1", "0.1", "1.0"]);
        // If time goes back, a request counts in its own second, or not at all.
        lately.see(105 * SECOND, std::iter::empty());
        lately.see(100 * SECOND, std::iter::empty());
        lately.see(40 * SECOND, std::iter::empty());
        assert_eq!(rates(&lately)[0], "3.2");
        lately.see(110 * SECOND, std::iter::empty());
        assert_eq!(rates(&lately), ["0.2", "0.1", "0.0"]);
    }
}
