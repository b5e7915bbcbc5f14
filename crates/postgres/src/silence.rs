//! The time for which a server has answered no call.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The time without any answer after which idle connections are closed. Each would otherwise cost a call its deadline after the server vanished without
/// a word, as with its machine.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// When the first call was sent that was left without an answer, if none was answered since.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Records a call without an answer. Returns `true`, once, if it was sent [`SILENCE`] or more after the first.
    pub(crate) fn has_lasted(&self, sent: Instant) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *since.get_or_insert(sent);
        let has_lasted = sent.saturating_duration_since(first) >= SILENCE;
        if has_lasted {
            *since = None;
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
        silence.end();
        assert!(!silence.has_lasted(at(2500)));
    }
}
