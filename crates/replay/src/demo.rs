//! Made-up traffic for a first look, the same in each run.

use crate::Error;
use crate::by::By;
use crate::event::{Event, Keys};
use crate::limit::AlgorithmName;
use crate::stream::Stream;

/// Returns the limits to compare if none are given: a burst that is too small, a fitting one, and a limit that is too generous.
#[must_use]
pub fn limits(algorithm: AlgorithmName) -> [&'static str; 3] {
    if algorithm.has_burst() {
        ["2/s", "2/s burst 20", "10/s burst 200"]
    } else {
        // The burst is the cells of one period.
        ["2/s", "20/10s", "200/20s"]
    }
}

/// Describes the traffic.
pub const STORY: &str = "\
Ten minutes of made-up traffic: 40 people open a page of about ten files now and then, a backup job
sends 600 requests within ten seconds, and a crawler never stops. What would each limit do to them?
";

/// Explains how to read the report.
pub const LEGEND: &str = "\
denied        requests that did not conform; in a replay they do not come again
keys denied   keys that the limit hits: a good one spares people, and stops jobs and crawlers
longest wait  the longest wait that a denial reported, which is exact
Now with your own: meter-replay --limit 10/s --limit \"100/min burst 20\" access.log
";

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const SPAN: u64 = 10 * MINUTE;

/// 2024-05-20 12:00:00 UTC.
const START: i64 = 1_716_206_400_000_000_000;

/// Returns the traffic of [`STORY`].
///
/// # Errors
///
/// Never, since its keys are few.
pub fn stream() -> Result<Stream, Error> {
    let mut keys = Keys::default();
    let mut random = Random(0x5EED);
    let mut clients = Vec::new();
    for person in 1..=40 {
        clients.push((format!("person-{person:02}"), visits(&mut random)));
    }
    clients.push((
        "backup-job".to_owned(),
        steps(4 * MINUTE, 600, &mut random, SECOND / 60),
    ));
    clients.push(("crawler".to_owned(), steps(0, 3_000, &mut random, SECOND / 5)));
    let mut events = Vec::new();
    for (name, times) in clients {
        let key = keys.intern(name.as_bytes())?;
        let event = |after: u64| Event::new(START.saturating_add_unsigned(after), 1, key);
        events.extend(times.into_iter().filter(|&after| after < SPAN).map(event));
    }
    events.sort_by_key(|event| event.time);
    Ok(Stream::made(events, keys, By::Column("client".to_owned())))
}

/// Returns one page view about every half minute, each with its 6 to 14 files within a second.
fn visits(random: &mut Random) -> Vec<u64> {
    let mut times = Vec::new();
    let mut page = random.below(MINUTE);
    while page < SPAN {
        let files = 6 + random.below(9);
        times.extend((0..files).map(|_| page + random.below(SECOND)));
        page += 15 * SECOND + random.below(30 * SECOND);
    }
    times
}

/// Returns `count` requests from `start` on, `gap` apart on average.
fn steps(start: u64, count: u64, random: &mut Random, gap: u64) -> Vec<u64> {
    (0..count).map(|step| start + step * gap + random.below(gap)).collect()
}

/// `SplitMix64` of Steele, Lea and Flood (2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
