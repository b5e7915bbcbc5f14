//! One turn of one contender.

use crate::cases::{BATCH, Case, Expected, MeterLimit, Time};
use crate::contender::{Contender, ContenderKind};
use crate::stats::{float, percentile};
use crate::timing::{Done, Each, Length, Loop, Over, Timing};
use core::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// More cells than any meter is asked for in one turn. [`MeterLimit::AMPLE`](crate::cases::MeterLimit::AMPLE) holds twice as many.
const MOST_CELLS: u64 = 500_000_000;

/// The longest turn.
pub(crate) fn longest(case: Case) -> Length {
    let cells = if case.batch { u64::from(BATCH.get()) } else { 1 };
    MOST_CELLS / cells / u64::from(case.threads)
}

/// The result of one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) ns_per_call: f64,
    pub(crate) elapsed: Duration,
    pub(crate) answers: Answers,
}

/// The times of single calls in one turn, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) half: f64,
    pub(crate) most: f64,
    pub(crate) answers: Answers,
}

/// The number of answers, and of answers other than the case expects.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answers {
    pub(crate) given: u64,
    pub(crate) wrong: u64,
}

impl Answers {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            given: self.given + other.given,
            wrong: self.wrong + other.wrong,
        }
    }
}

/// Times a loop of calls: the time per call and thread, which is that of all threads by the calls of all threads.
pub(crate) fn measure<C: Contender>(case: Case, length: Length) -> Measured {
    Measured::of(&ask::<C, _>(case, Loop { length }), case.threads)
}

impl Measured {
    pub(crate) fn of(outcomes: &[(Done, Answers)], threads: u32) -> Self {
        let elapsed: Duration = outcomes.iter().map(|(done, _)| done.elapsed).sum();
        let calls: u64 = outcomes.iter().map(|(done, _)| done.calls).sum();
        Self {
            ns_per_call: elapsed.as_secs_f64() * 1e9 / float(calls),
            elapsed: elapsed / threads,
            answers: total(outcomes),
        }
    }
}

/// Times each call by itself: the 50th and the 99.9th percentile of all threads' calls, reading the clock included.
pub(crate) fn percentiles<C: Contender>(case: Case, length: Length) -> Percentiles {
    let outcomes = ask::<C, _>(case, Each { length });
    let answers = total(&outcomes);
    let mut ns: Vec<f64> = outcomes.into_iter().flat_map(|(ns, _)| ns).collect();
    ns.sort_by(f64::total_cmp);
    let of = |per_mille| percentile(&ns, per_mille, 1000).unwrap_or(f64::NAN);
    Percentiles {
        half: of(500),
        most: of(999),
        answers,
    }
}

fn total<T>(outcomes: &[(T, Answers)]) -> Answers {
    outcomes
        .iter()
        .fold(Answers::default(), |sum, (_, answers)| sum.and(*answers))
}

/// Makes a fresh meter, spends the cells that the case wants spent, and asks it on the case's number of threads, all at once.
fn ask<C: Contender, T: Timing>(case: Case, timing: T) -> Vec<(T::Outcome, Answers)> {
    let (time, batch) = (case.time, case.batch);
    // Each arm is a loop of its own, with the call compiled in: the matched values are constants there.
    match (time, batch) {
        (Time::OwnClock, false) => on_fresh::<C, T>(case, timing, |handle, _| C::check(handle)),
        (Time::OwnClock, true) => on_fresh::<C, T>(case, timing, |handle, _| {
            C::CHECK_N.is_some_and(|check_n| check_n(handle, BATCH))
        }),
        (Time::Callers, false) => on_fresh::<C, T>(case, timing, |handle, at| {
            C::CHECK_AT.is_some_and(|check_at| check_at(handle, black_box(at)))
        }),
        (Time::Callers, true) => on_fresh::<C, T>(case, timing, |handle, at| {
            C::CHECK_N_AT.is_some_and(|check_n_at| check_n_at(handle, BATCH, black_box(at)))
        }),
    }
}

fn on_fresh<C: Contender, T: Timing>(
    case: Case,
    timing: T,
    call: impl Fn(&mut C::Handle, Instant) -> bool + Copy + Send + Sync,
) -> Vec<(T::Outcome, Answers)> {
    let mut handles = C::handles(case.limit(), usize::try_from(case.threads).unwrap_or(1));
    let expected = case.answer == Expected::Admit || C::KIND == ContenderKind::Floor;
    if !expected {
        spend(case.limit(), || handles.first_mut().is_some_and(C::check));
    }
    on_threads(handles, expected, timing, call)
}

/// Asks until a denial, because some contenders admit a cell more than their burst. If a meter never denies, all its answers are
/// counted as wrong.
pub(crate) fn spend(limit: MeterLimit, mut check: impl FnMut() -> bool) {
    let _ = (0..2 * limit.burst.get()).all(|_| check());
}

/// Asks on a thread for each handle, and counts the unexpected answers.
pub(crate) fn on_threads<H: Send, T: Timing>(
    handles: Vec<H>,
    expected: bool,
    timing: T,
    call: impl Fn(&mut H, Instant) -> bool + Copy + Send + Sync,
) -> Vec<(T::Outcome, Answers)> {
    let over = Over::new(u32::try_from(handles.len()).unwrap_or(u32::MAX));
    let turn = |mut handle: H| {
        let (mut given, mut yes) = (0, 0);
        let call = |at| {
            given += 1;
            yes += u64::from(black_box(call(&mut handle, at)));
        };
        let outcome = timing.time(call, &over);
        let wrong = if expected { given - yes } else { yes };
        (outcome, Answers { given, wrong })
    };
    if handles.len() == 1 {
        return handles.into_iter().map(turn).collect();
    }
    thread::scope(|scope| {
        let threads: Vec<_> = handles.into_iter().map(|handle| scope.spawn(|| turn(handle))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no contender panics"))
            .collect()
    })
}
