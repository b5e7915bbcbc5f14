//! Runs requests through a limit in virtual time.

use ratelimit_meter::Decider;
use std::time::{Duration, Instant};

/// The distance between readings of the state between requests.
const STEP_MS: usize = 50;

/// The decision about each request, and the measured state of the limit.
pub(crate) struct Run<const N: usize> {
    /// The time in milliseconds, and whether the request was admitted.
    pub(crate) decisions: Vec<(u32, bool)>,
    /// The time and the measures: before and after each request, and at intervals between requests.
    pub(crate) states: Vec<(u32, [f64; N])>,
}

impl<const N: usize> Run<N> {
    pub(crate) fn admitted(&self) -> usize {
        self.decisions.iter().filter(|(_, is_admitted)| *is_admitted).count()
    }

    /// Returns one of the measures over time.
    pub(crate) fn course(&self, measure: usize) -> impl Iterator<Item = (u32, f64)> {
        self.states.iter().map(move |&(at, values)| (at, values[measure]))
    }
}

/// Puts requests before a limit that is idle at `start`, and measures it for `span_ms`.
pub(crate) fn run<const N: usize>(
    limit: &impl Decider,
    start: Instant,
    requests: impl Iterator<Item = u32>,
    span_ms: u32,
    measure: impl Fn(Instant) -> [f64; N],
) -> Run<N> {
    let time = |ms: u32| start + Duration::from_millis(ms.into());
    let state = |ms| (ms, measure(time(ms)));
    let mut between = (0..=span_ms).step_by(STEP_MS).peekable();
    let mut run = Run {
        decisions: Vec::new(),
        states: Vec::new(),
    };
    for ms in requests {
        while let Some(earlier) = between.next_if(|step| *step < ms) {
            run.states.push(state(earlier));
        }
        run.states.push(state(ms));
        run.decisions.push((ms, limit.check_at(time(ms)).is_ok()));
        run.states.push(state(ms));
    }
    run.states.extend(between.map(state));
    run
}

/// Counts admitted and denied requests in each bucket of time.
pub(crate) fn counts(
    limit: &impl Decider,
    start: Instant,
    requests: impl Iterator<Item = u32>,
    bucket_ms: u32,
) -> Vec<[u32; 2]> {
    let mut counts = Vec::new();
    for ms in requests {
        let bucket = usize::try_from(ms / bucket_ms).unwrap_or(usize::MAX);
        if counts.len() <= bucket {
            counts.resize(bucket + 1, [0, 0]);
        }
        let is_denied = limit.check_at(start + Duration::from_millis(ms.into())).is_err();
        counts[bucket][usize::from(is_denied)] += 1;
    }
    counts
}
