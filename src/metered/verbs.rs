use super::{Metered, Refusal, When, act_now};
use crate::algorithms::{Decide, Due};
use crate::decision::{NegativeMultiDecision, NonConformance, Until};
use crate::nanos::Nanos;
use crate::rule::{Rule, Stepped};
use crate::status::{Admitted, Status, Taken};
use std::time::Instant;

impl Refusal for Until {
    #[inline]
    fn until(&self) -> Option<Until> {
        Some(*self)
    }

    fn for_want_of_a_word(until: Self, _status: Status) -> Self {
        until
    }
}

/// Why a batch is refused.
#[derive(Clone, Copy)]
pub(crate) enum Denied {
    Never,
    Until(Until),
}

impl Refusal for Denied {
    #[inline]
    fn until(&self) -> Option<Until> {
        match self {
            Self::Never => None,
            Self::Until(until) => Some(*until),
        }
    }

    fn for_want_of_a_word(until: Until, _status: Status) -> Self {
        Self::Until(until)
    }
}

/// A decision, and how the meter stood after it.
struct Told(Result<(), Denied>, Status);

impl Refusal for Told {
    fn until(&self) -> Option<Until> {
        self.0.err().and_then(|denied| denied.until())
    }

    fn for_want_of_a_word(until: Until, status: Status) -> Self {
        Self(Err(Denied::Until(until)), status)
    }
}

/// There is nothing to change.
struct Unchanged;

impl Refusal for Unchanged {
    fn until(&self) -> Option<Until> {
        None
    }

    fn for_want_of_a_word(_until: Until, _status: Status) -> Self {
        Self
    }

    fn uncounted<T>(_made: T) -> Result<T, Self> {
        Err(Self)
    }
}

/// What is told of a refusal.
#[inline]
pub(crate) fn denial(meter: &impl Metered, until: Until) -> NonConformance {
    NonConformance::new(meter.time_line().beginning(), until)
}

/// What is told of a refusal of `n` cells.
#[inline]
pub(crate) fn denial_of_batch(meter: &impl Metered, n: u32, denied: Denied) -> NegativeMultiDecision {
    match denied {
        Denied::Never => NegativeMultiDecision::InsufficientCapacity(n),
        Denied::Until(until) => NegativeMultiDecision::BatchNonConforming(n, denial(meter, until)),
    }
}

#[inline]
pub(crate) fn check(meter: &impl Metered, when: When) -> Result<(), NonConformance> {
    let decided = when.act(meter, |at| meter.step(at, |rule, word, now| rule.decide(word, now, 1)));
    match decided {
        Ok(None) => Ok(()),
        Ok(Some(until)) | Err(until) => Err(denial(meter, until)),
    }
}

#[inline]
pub(crate) fn check_n(meter: &impl Metered, n: u32, when: When) -> Result<(), NegativeMultiDecision> {
    if n == 0 {
        return Ok(());
    }
    let decided = when.act(meter, |at| {
        meter.step(at, |rule, word, now| {
            if !rule.can_conform(n) {
                return Err(Denied::Never);
            }
            rule.decide(word, now, n).map_err(Denied::Until)
        })
    });
    match decided {
        Ok(None) => Ok(()),
        Ok(Some(until)) => Err(denial_of_batch(meter, n, Denied::Until(until))),
        Err(denied) => Err(denial_of_batch(meter, n, denied)),
    }
}

/// Takes a step of its own now, and once more if it was refused for the clock's being behind.
pub(crate) fn step_now<M: Metered, T, R: Refusal>(
    meter: &M,
    step: impl Fn(&Rule<M::Algorithm>, u64, u64) -> Result<Stepped<T>, R>,
) -> Result<T, R> {
    act_now(meter, |at| meter.step(at, &step))
}

pub(crate) fn peek(meter: &impl Metered, when: When) -> Result<(), NonConformance> {
    let looked = when.act(meter, |at| meter.look(at, |rule, word, now| rule.look(word, now, 1)));
    looked.map_err(|until| denial(meter, until))
}

pub(crate) fn peek_n(meter: &impl Metered, n: u32, when: When) -> Result<(), NegativeMultiDecision> {
    if n == 0 {
        return Ok(());
    }
    let looked = when.act(meter, |at| {
        meter.look(at, |rule, word, now| {
            if !rule.can_conform(n) {
                return Err(Denied::Never);
            }
            rule.look(word, now, n).map_err(Denied::Until)
        })
    });
    looked.map_err(|denied| denial_of_batch(meter, n, denied))
}

pub(crate) fn take(meter: &impl Metered, n: u32, when: When) -> Taken {
    let taken = when.act(meter, |at| {
        meter.step(at, |rule, word, now| {
            let as_it_is = |decision| Err(Told(decision, rule.status(word, at)));
            if n == 0 {
                return as_it_is(Ok(()));
            }
            if !rule.can_conform(n) {
                return as_it_is(Err(Denied::Never));
            }
            match rule.decide(word, now, n) {
                Ok((new, counted)) => {
                    let decision = counted.map_or(Ok(()), |until| Err(Denied::Until(until)));
                    Ok((new, Told(decision, rule.status(new, at))))
                }
                Err(until) => as_it_is(Err(Denied::Until(until))),
            }
        })
    });
    let (Ok(Told(decision, status)) | Err(Told(decision, status))) = taken;
    Taken::new(decision.map_err(|denied| denial_of_batch(meter, n, denied)), status)
}

pub(crate) fn check_up_to(meter: &impl Metered, n: u32, when: When) -> Admitted {
    if n == 0 {
        return Admitted::new(0, None);
    }
    // Not by a clock that may be behind: what is short of `n` by that would be told to wait for an instant that is past.
    let at = when.exact_position(meter);
    let admitted = meter.step(at, |rule, word, now| rule.admit_part(word, now, n));
    let (cells, next) = admitted.unwrap_or_else(|until| (0, Some(until)));
    Admitted::new(cells, next.map(|until| denial(meter, until)))
}

/// Takes `n` cells at the first time from `from` on at which they conform, if that is at `by` or before.
pub(crate) fn check_n_within(
    meter: &impl Metered,
    n: u32,
    from: Instant,
    by: Instant,
) -> Result<(), NegativeMultiDecision> {
    if n == 0 {
        return Ok(());
    }
    let position = |at| meter.time_line().position(at);
    take_within(meter, n, position(from), position(by)).map(|_| ())
}

/// Takes at least one cell. Returns the word that the cells made, and when they conform.
pub(crate) fn take_within(
    meter: &impl Metered,
    n: u32,
    from: Nanos,
    by: Nanos,
) -> Result<(u64, Due), NegativeMultiDecision> {
    let taken = meter.step(from, |rule, word, from| {
        if !rule.can_conform(n) {
            return Err(Denied::Never);
        }
        let due = rule.drained(rule.algorithm.due(word, n));
        let word = if due.0 > rule.volume(by) {
            Err(due)
        } else {
            // The cells count from the time at which they conform.
            rule.algorithm.decide(word, due.0.max(from), n)
        };
        word.map(|word| (word, (word, due)))
            .map_err(|due| Denied::Until(rule.until(due)))
    });
    taken.map_err(|denied| denial_of_batch(meter, n, denied))
}

pub(crate) fn charge(meter: &impl Metered, n: u64, when: When) -> u64 {
    let charged = meter.step(when.position(meter), |rule, word, now| {
        match rule.algorithm.charge(word, now, n) {
            // Nothing to record, or no room for it.
            (_, unrecorded) if unrecorded == n => Err(Unchanged),
            charged => Ok(charged),
        }
    });
    charged.unwrap_or(n)
}

pub(crate) fn refund(meter: &impl Metered, n: u64, when: When) {
    lower(meter, when.position(meter), |algorithm, word, now| {
        algorithm.refund(word, now, n)
    });
}

pub(crate) fn reset(meter: &impl Metered) {
    // As of no time: it is the same as of any.
    lower(meter, Nanos::BEGINNING, |_, _, _| 0);
}

/// Takes the step to a lower word, unless there is none.
pub(crate) fn lower<M: Metered>(meter: &M, at: Nanos, lowered: impl Fn(&M::Algorithm, u64, u64) -> u64) {
    let step = meter.step(at, |rule, word, now| match lowered(&rule.algorithm, word, now) {
        same if same == word => Err(Unchanged),
        lower => Ok((lower, ())),
    });
    // Unchanged is all there was to do.
    step.unwrap_or(());
}

pub(crate) fn status(meter: &impl Metered, when: When) -> Status {
    meter.status(when.position(meter))
}
