//! The step itself, pure: states in, reply and new states out. The scripts of the other stores compute the same.

use crate::average::{Average, difference};
use crate::error::StoreError;
use crate::limit::{Level, Scale, State, StoreLimit};
use crate::store::{Ask, Reply, Verb};
use crate::time::Micros;
use crate::units::{TOP, Units};

/// A state with the scale of the limit that wrote it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stored {
    pub(crate) state: State,
    pub(crate) scale: Scale,
}

/// The clock that a step is decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeSource {
    /// The store's: a state of a later time shows that the clock was set back.
    Store,
    /// The caller's: times come in any order, and each step is decided at its own time.
    Caller,
}

/// A change of the state of one ask's key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Write {
    /// The new state, and the microseconds from the time of the step until the key is idle.
    Set(Stored, u64),
    /// Nothing is owed.
    Delete,
}

/// The state of a key at the time of a step.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The time of the step: its tick.
    at: Micros,
    /// The time of the level: `at`, or later if a caller's time lies before it.
    time: Micros,
    level: Level,
    /// The store's clock was set back since the state was written.
    stale: bool,
}

/// Decides `verb` on `asks`, whose states are `stored`, at the time `now`; one write for each ask, `None` where nothing changes.
pub(crate) fn decide(
    verb: Verb,
    source: TimeSource,
    now: Micros,
    asks: &[Ask<'_>],
    stored: &[Option<Stored>],
) -> Result<(Reply, Vec<Option<Write>>), StoreError> {
    let mut found = Vec::with_capacity(asks.len());
    let (mut cells, mut whole) = (Some(u64::MAX), true);
    for (ask, stored) in asks.iter().zip(stored) {
        let state = find(ask, *stored, source, now)?;
        let room = room(verb, now, ask, &state);
        whole &= room.is_some_and(|room| room >= ask.n);
        cells = cells.zip(room).map(|(cells, room)| cells.min(room));
        found.push(state);
    }
    let all_or_nothing = matches!(verb, Verb::Check | Verb::Peek | Verb::Lease { .. });
    if all_or_nothing && !whole {
        cells = cells.map(|_| 0);
    }
    let counts_denials = asks.len() == 1 && cells.is_some() && (all_or_nothing || verb == Verb::UpTo);
    let (mut states, mut writes) = (Vec::with_capacity(asks.len()), Vec::with_capacity(asks.len()));
    let mut recorded = u64::MAX;
    for (ask, found) in asks.iter().zip(&found) {
        let count = match verb {
            Verb::Check if whole => ask.n,
            Verb::UpTo | Verb::Lease { .. } => cells.unwrap_or(0),
            Verb::Charge => chargeable(ask, found),
            _ => 0,
        };
        recorded = recorded.min(count);
        let denied = if counts_denials && verb != Verb::Peek {
            ask.n.saturating_sub(count)
        } else {
            0
        };
        let after = after(verb, ask, found, count, denied);
        let changed = after != found.level || verb == Verb::Reset;
        let state = State {
            time: if verb == Verb::Reset { found.at } else { found.time },
            level: after,
        };
        let write = (changed || found.stale && verb != Verb::Peek).then(|| match to_rest(ask.limit, state, now) {
            0 if source == TimeSource::Store || verb == Verb::Reset => Write::Delete,
            rest => Write::Set(
                Stored {
                    state,
                    scale: ask.limit.scale(),
                },
                rest,
            ),
        });
        states.push(state);
        writes.push(write);
    }
    let cells = match verb {
        Verb::Charge => Some(recorded),
        Verb::Refund | Verb::Cancel { .. } | Verb::Reset => Some(0),
        _ => cells,
    };
    let reply = Reply {
        cells,
        clock: now,
        states,
    };
    Ok((reply, writes))
}

/// The state at the time of the step: drained until then, by the limit that wrote it and then by this one.
fn find(ask: &Ask<'_>, stored: Option<Stored>, source: TimeSource, now: Micros) -> Result<Found, StoreError> {
    let wrong = || StoreError::WrongState(ask.key.to_owned());
    let at = match ask.limit {
        StoreLimit::Bucket(units) => Micros::new(now.tick(units.tick_us())).ok_or(StoreError::WrongTime)?,
        StoreLimit::Average(_) => now,
    };
    let rested = ask.limit.rested(at);
    let Some(Stored { mut state, scale }) = stored else {
        return Ok(Found {
            at,
            time: at,
            level: rested.level,
            stale: false,
        });
    };
    if scale != ask.limit.scale() {
        state = carry(state, scale, ask.limit, at).ok_or_else(wrong)?;
    }
    if let StoreLimit::Bucket(units) = ask.limit {
        state = at_tick(state, units, at);
    }
    let back = at < state.time;
    let time = if back && source == TimeSource::Caller {
        state.time
    } else {
        at
    };
    let level = match (ask.limit, state.level) {
        _ if back => state.level,
        (StoreLimit::Bucket(units), Level::Units(level)) => Level::Units(drained(level, state.time, at, units.drain())),
        (StoreLimit::Average(average), Level::Share(level)) => Level::Share(level * average.decay(at, state.time)),
        _ => return Err(wrong()),
    };
    Ok(Found {
        at,
        time,
        level,
        stale: back && source == TimeSource::Store,
    })
}

/// The state by another limit: that limit drains until `at`, and the debt of then stays, in cells, rounded up by at most two units. `None` if that is
/// of another kind.
fn carry(state: State, scale: Scale, limit: &StoreLimit, at: Micros) -> Option<State> {
    match (limit, scale, state.level) {
        (StoreLimit::Bucket(units), Scale::Bucket { drain, one }, Level::Units(level)) => {
            let owed = if at > state.time {
                drained(level, state.time, at, drain)
            } else {
                level
            };
            let time = state.time.max(at);
            let (whole, part) = (owed / one, owed % one);
            let mut level = u128::from(whole) * u128::from(units.one());
            if part > 0 {
                level += (u128::from(part) * u128::from(units.one())).div_ceil(u128::from(one)) + 1;
            }
            Some(State {
                time,
                level: Level::Units(capped(level, largest(units, time))),
            })
        }
        (StoreLimit::Average(average), Scale::Average { period_us, share, .. }, Level::Share(level)) => {
            let time = state.time.max(at);
            let owed = level * (difference(state.time, time) / period_us).exp();
            Some(State {
                time,
                level: Level::Share(owed * average.share() / share),
            })
        }
        _ => None,
    }
}

/// Returns the largest level at a time.
fn largest(units: &Units, time: Micros) -> u64 {
    capped(u128::from(TOP - time.get()) * u128::from(units.drain()), TOP)
}

/// Returns a level, cut to `most`.
fn capped(level: u128, most: u64) -> u64 {
    u64::try_from(level).map_or(most, |level| level.min(most))
}

/// The state at the tick `at`, if a limit with other ticks wrote it before the next tick. At the tick, the volume that drains until the time of the state
/// is also owed. Otherwise that limit, side by side with this one, would drain the volume again.
fn at_tick(state: State, units: &Units, at: Micros) -> State {
    let since_tick = state.time.get().saturating_sub(at.get());
    match state.level {
        Level::Units(level) if (1..units.tick_us()).contains(&since_tick) => {
            let owed = u128::from(level) + u128::from(since_tick) * u128::from(units.drain());
            State {
                time: at,
                level: Level::Units(capped(owed, largest(units, at))),
            }
        }
        _ => state,
    }
}

fn drained(level: u64, from: Micros, to: Micros, drain: u64) -> u64 {
    let drained = u128::from(to.get() - from.get()) * u128::from(drain);
    level.saturating_sub(u64::try_from(drained).unwrap_or(u64::MAX))
}

/// Returns how many of the cells conform, for a lease perhaps more; `None` if that many never conform.
fn room(verb: Verb, now: Micros, ask: &Ask<'_>, found: &Found) -> Option<u64> {
    let most = u64::from(ask.limit.max_batch());
    if ask.n > most && matches!(verb, Verb::Check | Verb::Peek | Verb::Lease { .. }) {
        return None;
    }
    match (ask.limit, found.level) {
        (StoreLimit::Bucket(units), Level::Units(level)) => {
            let free = u64::from(units.remaining(found.time, level, now));
            let room = ask.n.min(free);
            Some(match verb {
                Verb::Lease { at_most } => room.max(u64::from(at_most).min(free / 2)),
                _ => room,
            })
        }
        (StoreLimit::Average(average), Level::Share(level)) => {
            let n = u32::try_from(ask.n).unwrap_or(u32::MAX);
            Some(u64::from(average.room(found.time, level, now, n)))
        }
        _ => None,
    }
}

/// Returns how many of the cells a charge can record.
fn chargeable(ask: &Ask<'_>, found: &Found) -> u64 {
    match (ask.limit, found.level) {
        (StoreLimit::Bucket(units), Level::Units(level)) => ask
            .n
            .min(largest(units, found.time).saturating_sub(level) / units.cell()),
        _ => ask.n,
    }
}

/// The level after a step that counts `count` cells and `denied` ones.
fn after(verb: Verb, ask: &Ask<'_>, found: &Found, count: u64, denied: u64) -> Level {
    match (ask.limit, found.level) {
        _ if verb == Verb::Reset => ask.limit.rested(found.at).level,
        (StoreLimit::Bucket(units), Level::Units(level)) => {
            Level::Units(bucket_after(verb, units, found, level, ask.n, count))
        }
        (StoreLimit::Average(average), Level::Share(level)) => {
            Level::Share(average_after(verb, average, found, level, ask.n, count, denied))
        }
        (_, level) => level,
    }
}

fn bucket_after(verb: Verb, units: &Units, found: &Found, level: u64, n: u64, count: u64) -> u64 {
    match verb {
        Verb::Refund => level.saturating_sub(n.saturating_mul(units.cell())),
        Verb::Cancel { drawn } => {
            // As if these cells had been the first to drain: then nothing more conforms than if they had never been counted.
            let since = found.at.get().saturating_sub(drawn.tick(units.tick_us()));
            let left = n
                .saturating_mul(units.cell())
                .min(TOP)
                .saturating_sub(since.saturating_mul(units.drain()));
            level.saturating_sub(left)
        }
        _ => level + count * units.cell(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is past any threshold")]
fn average_after(verb: Verb, average: &Average, found: &Found, level: f64, n: u64, count: u64, denied: u64) -> f64 {
    let share = average.share();
    match verb {
        Verb::Refund => return (level - n as f64 * share).max(0.0),
        Verb::Cancel { drawn } => {
            let since = difference(found.at, drawn).max(0.0);
            return (level - n as f64 * share * (-since / average.period_us()).exp()).max(0.0);
        }
        _ => {}
    }
    // Cells of a time before the state's have decayed by then; an admission leaves the average at its threshold at most.
    let decayed = average.decay(found.time, found.at);
    let mut after = level;
    if count > 0 {
        after += count as f64 * share * decayed;
        if verb != Verb::Charge {
            after = after.min(decayed).max(level);
        }
    }
    if average.is_strict() {
        after += denied as f64 * share * decayed;
    }
    after.min(1e300)
}

/// The microseconds from `now` until a key can be forgotten, rounded up.
fn to_rest(limit: &StoreLimit, state: State, now: Micros) -> u64 {
    let after = match (limit, state.level) {
        (_, Level::Units(0)) => 0,
        (StoreLimit::Bucket(units), Level::Units(level)) => level.div_ceil(units.drain()) + units.tick_us(),
        (StoreLimit::Average(average), Level::Share(level)) => {
            // Until the remainder is worth less than a microsecond: at once if nothing is owed.
            let periods = level.ln() + average.period_us().ln() + 1.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates at none"
            )]
            let us = (average.period_us() * periods).ceil() as u64;
            us
        }
        _ => 0,
    };
    (state.time.get().saturating_add(after)).saturating_sub(now.get())
}
