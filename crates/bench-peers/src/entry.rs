//! A contender as a row of the tables.

use crate::cases::{Case, Time};
use crate::contender::{Contender, ContenderKind, Package};
use crate::measure::{Measured, Percentiles, measure, percentiles};
use crate::timing::Length;

/// A contender as a row: dynamic from one turn to the next, never within.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeterEntry {
    pub(crate) name: &'static str,
    pub(crate) kind: ContenderKind,
    pub(crate) package: Option<Package>,
    /// Returns whether the contender supports the case.
    pub(crate) takes: fn(Case) -> bool,
    /// Calls the contender for this long, and times the whole loop.
    pub(crate) measure: fn(Case, Length) -> Measured,
    /// Calls the contender this often on each thread, and times each call.
    pub(crate) percentiles: fn(Case, Length) -> Percentiles,
}

impl MeterEntry {
    pub(crate) fn of<C: Contender>() -> Self {
        Self {
            name: C::NAME,
            kind: C::KIND,
            package: C::PACKAGE,
            takes: |case| match (case.time, case.batch) {
                (Time::OwnClock, false) => true,
                (Time::OwnClock, true) => C::CHECK_N.is_some(),
                (Time::Callers, false) => C::CHECK_AT.is_some(),
                (Time::Callers, true) => C::CHECK_N_AT.is_some(),
            },
            measure: measure::<C>,
            percentiles: percentiles::<C>,
        }
    }
}
