//! Decisions made at once: by one look at the word and one exchange, without the exact time. The general steps make the uncertain decisions.

use super::atomic::Word;
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::outcome::{Status, Until};
use crate::schedule::{NotAtOnce, Schedule};
use crate::units::{Nanos, Volume};

/// Decides `n` cells now, at least 1, by the volume drained at the clock's anchor, and by the counts since. `open` returns a word on which decisions
/// may be made.
///
/// 1. The volume drained at the clock's anchor is known before the counter is read. If the word's lead over that volume denies the cells as long as
///    the anchor holds, the exact time does not matter.
/// 2. Otherwise the volume drained since the anchor is one product.
/// 3. A denial is certain if the cells are due more than the clock's lag from now. Otherwise it has to be decided at the exact time.
#[inline]
pub(super) fn decide<A: Algorithm>(
    schedule: &Schedule<A>,
    word: &impl Word<Value = u64>,
    open: impl Fn(u64) -> Result<u64, NotAtOnce>,
    n: u32,
    clock: &impl Clock,
) -> Result<Result<(), Until>, NotAtOnce> {
    let (algorithm, scale) = (&schedule.algorithm, schedule.scale);
    let denied = |due| Until { scale, due };
    // One cell always fits.
    if n > 1 && n > algorithm.max_batch() {
        return Err(NotAtOnce::Uncertain);
    }
    let anchored = clock.anchored(&schedule.time_line, schedule.at_once_until, scale);
    let anchored = anchored.ok_or(NotAtOnce::Uncertain)?;
    let seen = open(word.load())?;
    // Subtracts from the word, because the sum may exceed 64 bits at the end of the time line.
    if seen.saturating_sub(schedule.denied_lead) > anchored.volume.0 {
        return if clock.anchor_holds() {
            Ok(Err(denied(algorithm.due(seen, n))))
        } else {
            Err(NotAtOnce::Uncertain)
        };
    }
    let drained = clock.drained(anchored).ok_or(NotAtOnce::Uncertain)?;
    let seen = open(word.load())?;
    let decided = exchange(schedule, word, seen, drained, n)?;
    Ok(decided.map(|_| ()).map_err(denied))
}

/// Takes `n` cells, at least 1, at `at`. Returns the result of `read` on the status, or the denial and the status with it. `open` returns a word on
/// which decisions may be made.
#[inline]
pub(super) fn take<A: Algorithm, T>(
    schedule: &Schedule<A>,
    word: &impl Word<Value = u64>,
    open: impl Fn(u64) -> Result<u64, NotAtOnce>,
    at: Nanos,
    n: u32,
    read: impl FnOnce(&Status) -> T,
) -> Result<Result<T, (Until, Status)>, NotAtOnce> {
    let (algorithm, scale) = (&schedule.algorithm, schedule.scale);
    if at >= schedule.at_once_until || (n > 1 && n > algorithm.max_batch()) {
        return Err(NotAtOnce::Uncertain);
    }
    let seen = open(word.load())?;
    let status = |word| schedule.status(word, at);
    let decided = exchange(schedule, word, seen, schedule.drained(at), n)?;
    Ok(decided
        .map(|new| read(&status(new)))
        .map_err(|due| (Until { scale, due }, status(seen))))
}

/// Decides `n` cells on the word that was seen, and exchanges it by one attempt. Returns the new word, or the volume after which the cells would
/// conform.
#[inline]
fn exchange<A: Algorithm>(
    schedule: &Schedule<A>,
    word: &impl Word<Value = u64>,
    seen: u64,
    drained: Volume,
    n: u32,
) -> Result<Result<u64, Volume>, NotAtOnce> {
    match schedule.algorithm.decide(seen, drained, n) {
        Ok(new) => match word.compare_exchange_weak(seen, new) {
            Ok(()) => Ok(Ok(new)),
            // A spurious failure is not a race.
            Err(current) if current == seen => Err(NotAtOnce::Uncertain),
            Err(_) => Err(NotAtOnce::LostRace),
        },
        Err(due) if schedule.is_certain(due, drained) => Ok(Err(due)),
        Err(_) => Err(NotAtOnce::Uncertain),
    }
}
