//! Decides requests twice, as coarse stamps leave open when they came: all at their stamp, and evenly spaced.

use crate::Error;
use crate::cli::reading::Spread;
use crate::event::{Event, Keys};
use crate::limit::LimitSpec;
use crate::replay::{Outcome, Replay, Settings};
use crate::stream::Spreader;
use crate::suggest::{NoSuggestion, SuggestedLimit, Suggestion};

/// The replays of both bounds, or of one of them.
pub(crate) struct Bounds {
    at_stamp: Option<Replay>,
    even: Option<Replay>,
    spreader: Spreader,
    spaced: Vec<Event>,
}

impl Bounds {
    /// Creates the replays that are asked for. Fine stamps have only one bound.
    pub(crate) fn new(spread: Spread, is_coarse: bool, limits: &[LimitSpec], settings: Settings) -> Self {
        let replay = |is_asked: bool| is_asked.then(|| Replay::new(limits, settings));
        Self {
            at_stamp: replay(spread != Spread::Even),
            even: replay(match spread {
                Spread::Both => is_coarse,
                Spread::Even => true,
                Spread::None => false,
            }),
            spreader: Spreader::default(),
            spaced: Vec::new(),
        }
    }

    /// Decides the next events; no events are the end. Calls `look` with the events of the bound that denies more, after their decisions.
    ///
    /// # Errors
    ///
    /// Those of [`Replay::take`] and of `look`.
    pub(crate) fn take(
        &mut self,
        events: &[Event],
        keys: &Keys,
        plans: Option<&Keys>,
        look: &mut impl FnMut(&[Event], &Replay, &Keys) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(replay) = &mut self.at_stamp {
            replay.take(events, keys, plans)?;
            look(events, replay, keys)?;
        }
        if let Some(replay) = &mut self.even {
            self.spaced.clear();
            events
                .iter()
                .for_each(|event| self.spreader.push(*event, &mut self.spaced));
            if events.is_empty() {
                self.spreader.finish(&mut self.spaced);
            }
            replay.take(&self.spaced, keys, plans)?;
            if self.at_stamp.is_none() {
                look(&self.spaced, replay, keys)?;
            }
        }
        Ok(())
    }

    /// Returns the outcome of each limit so far, with both bounds where they differ.
    pub(crate) fn outcomes(&self, keys: &Keys, top: usize) -> Vec<Outcome> {
        let outcomes = |replay: &Replay| replay.outcomes(keys, top);
        let even = self.even.as_ref().map(outcomes).unwrap_or_default();
        match self.at_stamp.as_ref().map(outcomes) {
            Some(outcomes) => with_bounds(outcomes, &even),
            None => even,
        }
    }
}

/// Adds the bound of evenly spaced requests to each outcome that differs from it.
fn with_bounds(mut outcomes: Vec<Outcome>, even: &[Outcome]) -> Vec<Outcome> {
    for (outcome, even) in outcomes.iter_mut().zip(even) {
        let bound = even.as_spread();
        outcome.spread = (bound != outcome.as_spread()).then_some(bound);
        // If so, that many cells at one instant are a property of the stamps, and not necessarily of the traffic.
        let found = |suggestion: Option<Suggestion>| suggestion.map(|suggestion| suggestion.rate);
        if let (Some(suggestion), Some(SuggestedLimit::Quota(_))) = (&mut outcome.suggestion, found(bound.suggestion)) {
            if let SuggestedLimit::None(NoSuggestion::AtOnce(units)) = suggestion.rate {
                suggestion.rate = SuggestedLimit::None(NoSuggestion::InOneStamp(units));
            }
        }
    }
    outcomes
}
