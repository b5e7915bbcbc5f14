//! The time for which a server has answered no call.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The time without any answer after which idle connections are closed. Each would otherwise cost a call its deadline after the server vanished without
/// a word, as with its machine.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// A state machine over the calls of a store.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    /// When the first call was sent that was left without an answer, if none was answered since.
    since: Option<Instant>,
    /// The time of the last answer.
    answered: Option<Instant>,
}

impl Silence {
    /// Records an answer.
    pub(crate) fn end(&self, now: Instant) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.since = None;
        calls.answered = calls.answered.max(Some(now));
    }

    /// Records a call without an answer. Returns `true`, once, if it was sent [`SILENCE`] or more after the first. A call that was sent before the last
    /// answer does not count: its row may be locked, while the server answers other calls.
    pub(crate) fn has_lasted(&self, sent: Instant) -> bool {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.answered.is_some_and(|answered| sent <= answered) {
            return false;
        }
        let first = *calls.since.get_or_insert(sent);
        let has_lasted = sent.saturating_duration_since(first) >= SILENCE;
        if has_lasted {
            calls.since = None;
        }
        has_lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_from_the_first_unanswered_call() {
        let (silence, begin) = (Silence::default(), Instant::now());
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert!(!silence.has_lasted(at(0)));
        assert!(!silence.has_lasted(at(999)));
        assert!(silence.has_lasted(at(1000)));
        assert!(!silence.has_lasted(at(1001)));
        silence.end(at(2000));
        assert!(!silence.has_lasted(at(2500)));
    }

    #[test]
    fn calls_sent_before_an_answer_are_no_silence() {
        let (silence, begin) = (Silence::default(), Instant::now());
        let at = |ms: u64| begin + Duration::from_millis(ms);
        silence.end(at(1000));
        // Both waited longer than their server took to answer another call.
        assert!(!silence.has_lasted(at(0)));
        assert!(!silence.has_lasted(at(1500)));
        assert!(silence.has_lasted(at(2500)));
    }
}
