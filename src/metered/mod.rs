//! What every kind of meter can be asked and told, each one atomic step, or one read, over whatever keeps its word.

mod verbs;

pub(crate) use verbs::{
    charge, check, check_n, check_n_within, check_up_to, denial, lower, peek, peek_n, refund, reset, status, step_now,
    take, take_within,
};

use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decision::Until;
use crate::nanos::{Nanos, TimeLine};
use crate::rule::{Rule, Stepped};
use crate::status::Status;
use std::time::Instant;

/// Something that keeps a word, with the rule by which it is read.
pub(crate) trait Metered {
    type Algorithm: Algorithm;
    type Clock: Clock;

    fn clock(&self) -> &Self::Clock;

    fn time_line(&self) -> &TimeLine;

    /// Where the state is, which clones share; and of what there.
    fn state(&self) -> State;

    /// Whether refused cells count.
    fn counts_refusals(&self) -> bool;

    /// Reads the word once.
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

    /// How the meter stands.
    fn status(&self, at: Nanos) -> Status {
        self.read(at, |rule, word| rule.status(word, at))
    }
}

/// What tells states apart: an address, and which one there.
pub(crate) type State = (*const (), u64);

/// Why a step was not taken.
pub(crate) trait Refusal {
    /// Until when it is refused, if for want of room.
    fn until(&self) -> Option<Until>;

    /// There is no word to step, and until when; and how a meter stands for which that is so.
    #[cfg_attr(
        not(feature = "keyed"),
        expect(dead_code, reason = "only a table has meters without a word")
    )]
    fn for_want_of_a_word(until: Until, status: Status) -> Self;

    /// What is told of a step that was let through without a word to take it on.
    #[cfg_attr(
        not(feature = "keyed"),
        expect(dead_code, reason = "only a table has meters without a word")
    )]
    fn uncounted<T>(made: T) -> Result<T, Self>
    where
        Self: Sized,
    {
        Ok(made)
    }
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
        return act_exactly(meter, &act);
    }
    let at = When::Now.position(meter);
    act(at).or_else(|refused| match refused.until() {
        Some(until) if until.is_over_at(at.later(M::Clock::LAG_NS)) => act_exactly(meter, &act),
        _ => Err(refused),
    })
}

// Apart, so that what is nearly always done once is compiled into where it is done.
#[inline(never)]
fn act_exactly<M: Metered, T, R: Refusal>(meter: &M, act: &impl Fn(Nanos) -> Result<T, R>) -> Result<T, R> {
    act(When::Now.exact_position(meter))
}
