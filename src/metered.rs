//! What every kind of meter can be asked and told, each one atomic step, or one read, over whatever keeps its word.

use crate::algorithms::{Algorithm, Decide};
use crate::clock::Clock;
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::nanos::{Nanos, TimeLine};
use crate::rule::{Rule, Stepped};
use crate::status::{Admitted, Status, Taken};
use std::time::Instant;

/// Something that keeps a word, with the rule by which it is read.
pub(crate) trait Metered {
    type Algorithm: Algorithm;
    type Clock: Clock;

    fn clock(&self) -> &Self::Clock;

    fn time_line(&self) -> &TimeLine;

    /// Whether refused cells count.
    fn counts_refusals(&self) -> bool;

    /// Reads the word once, whether it could be stepped or not.
    fn read<T>(&self, at: Nanos, read: impl FnOnce(&Rule<Self::Algorithm>, u64) -> T) -> T;

    /// Replaces the word by what `step` makes of it and the volume drained, in one atomic step, or leaves it alone if `step` refuses.
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<Self::Algorithm>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R>;

    /// Looks what a step would come to.
    #[inline]
    fn look<R: Refusal>(
        &self,
        at: Nanos,
        look: impl Fn(&Rule<Self::Algorithm>, u64, u64) -> Result<(), R>,
    ) -> Result<(), R> {
        self.read(at, |rule, word| look(rule, word, rule.volume(at)))
    }
}

/// Why a step was not taken.
pub(crate) trait Refusal {
    /// What would be waited for, if waiting helps.
    fn denial(&self) -> Option<&NonConformance>;

    /// There is no word to step, and until when, as seen at a time.
    fn for_want_of_a_word(denial: NonConformance, at: Nanos) -> Self;
}

/// When a verb is done.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Now, by the meter's clock.
    Now,
    At(Instant),
}

impl When {
    #[inline]
    pub(crate) fn position<M: Metered>(self, meter: &M) -> Nanos {
        match self {
            Self::Now => meter.clock().position(meter.time_line()),
            Self::At(at) => meter.time_line().position(at),
        }
    }

    #[inline]
    pub(crate) fn exact_position<M: Metered>(self, meter: &M) -> Nanos {
        match self {
            Self::Now => meter.time_line().position(meter.clock().now_exactly()),
            Self::At(at) => meter.time_line().position(at),
        }
    }

    /// Does what is to be done then.
    // Always, since which of the two it is, is known where it is called: what is not done is not to weigh on what is.
    #[inline(always)]
    fn act<M: Metered, T, R: Refusal>(self, meter: &M, act: impl Fn(Nanos) -> Result<T, R>) -> Result<T, R> {
        match self {
            Self::Now => act_now(meter, act),
            Self::At(at) => act(meter.time_line().position(at)),
        }
    }
}

/// Does now what is to be done, and once more if it was refused for the clock's being behind: who waited until the instant of a
/// denial must not be denied for that.
#[inline]
fn act_now<M: Metered, T, R: Refusal>(meter: &M, act: impl Fn(Nanos) -> Result<T, R>) -> Result<T, R> {
    if meter.counts_refusals() {
        // There is no once more.
        return act(When::Now.exact_position(meter));
    }
    let at = When::Now.position(meter);
    act(at).or_else(|refused| match refused.denial() {
        Some(denial) if denial.is_over_at(at.later(M::Clock::LAG_NS)) => act(When::Now.exact_position(meter)),
        _ => Err(refused),
    })
}

impl Refusal for NonConformance {
    #[inline]
    fn denial(&self) -> Option<&NonConformance> {
        Some(self)
    }

    fn for_want_of_a_word(denial: NonConformance, _at: Nanos) -> Self {
        denial
    }
}

/// Why a batch is refused, which is told with its size.
pub(crate) enum Denied {
    Never,
    Until(NonConformance),
}

impl Refusal for Denied {
    #[inline]
    fn denial(&self) -> Option<&NonConformance> {
        match self {
            Self::Never => None,
            Self::Until(denial) => Some(denial),
        }
    }

    fn for_want_of_a_word(denial: NonConformance, _at: Nanos) -> Self {
        Self::Until(denial)
    }
}

impl Denied {
    #[inline]
    pub(crate) fn batch_of(self, n: u32) -> NegativeMultiDecision {
        match self {
            Self::Never => NegativeMultiDecision::InsufficientCapacity(n),
            Self::Until(denial) => NegativeMultiDecision::BatchNonConforming(n, denial),
        }
    }
}

/// A decision, and how the meter stood after it.
struct Told(Result<(), Denied>, Status);

impl Refusal for Told {
    fn denial(&self) -> Option<&NonConformance> {
        self.0.as_ref().err().and_then(Denied::denial)
    }

    fn for_want_of_a_word(denial: NonConformance, at: Nanos) -> Self {
        Self(Err(Denied::Until(denial)), Status::without_a_word(&denial, at))
    }
}

/// There is nothing to change.
struct Unchanged;

impl Refusal for Unchanged {
    fn denial(&self) -> Option<&NonConformance> {
        None
    }

    fn for_want_of_a_word(_denial: NonConformance, _at: Nanos) -> Self {
        Self
    }
}

#[inline(always)]
pub(crate) fn check(meter: &impl Metered, when: When) -> Result<(), NonConformance> {
    let counted = when.act(meter, |at| meter.step(at, |rule, word, now| rule.decide(word, now, 1)))?;
    counted.map_or(Ok(()), Err)
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
        Ok(Some(counted)) => Err(Denied::Until(counted).batch_of(n)),
        Err(denied) => Err(denied.batch_of(n)),
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
    when.act(meter, |at| {
        meter.read(at, |rule, word| rule.look(word, rule.volume(at), 1))
    })
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
    looked.map_err(|denied| denied.batch_of(n))
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
                    let decision = counted.map_or(Ok(()), |denial| Err(Denied::Until(denial)));
                    Ok((new, Told(decision, rule.status(new, at))))
                }
                Err(denial) => as_it_is(Err(Denied::Until(denial))),
            }
        })
    });
    let (Ok(Told(decision, status)) | Err(Told(decision, status))) = taken;
    Taken::new(decision.map_err(|denied| denied.batch_of(n)), status)
}

pub(crate) fn check_up_to(meter: &impl Metered, n: u32, when: When) -> Admitted {
    if n == 0 {
        return Admitted::new(0, None);
    }
    // Not by a clock that may be behind: what is short of `n` by that would be told to wait for an instant that is past.
    let at = when.exact_position(meter);
    let admitted = meter.step(at, |rule, word, now| rule.admit_part(word, now, n));
    let (cells, next) = admitted.unwrap_or_else(|denial| (0, Some(denial)));
    Admitted::new(cells, next)
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
    lower(meter, Nanos::END, |_, _, _| 0);
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
    let at = when.position(meter);
    meter.read(at, |rule, word| rule.status(word, at))
}
