//! The breaker: after some failures in a row a store is not asked for a while, and then by one call at a time.

use crate::error::StoreError;
use crate::time::later;
use std::time::{Duration, Instant};

/// The conditions under which a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// The failures in a row after which the breaker opens; 0 for never. 5 unless set. Calls in flight that are lost together, as with their connection,
    /// are one failure.
    pub failures: u32,
    /// The time for which the breaker is open at first; each probe that fails doubles that time. 100 ms unless set.
    pub pause: Duration,
    /// The longest time for which the breaker is open before the next probe. 5 s unless set.
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// A state machine without a clock or a lock.
///
/// Closed: calls pass. Open until an instant: no call passes. Half open after that instant: one call at a time passes, as a probe.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    failures: u32,
    /// When the last loss was counted.
    lost: Option<Instant>,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Instant,
    pause: Duration,
    probing: bool,
}

/// The permission for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Normal,
    Probe,
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The server answered, perhaps with an error.
    Answered,
    Failed,
    /// The connection was lost, with all calls that were sent over it.
    Lost,
    /// The caller left before the end, or the store sent nothing. Such a call shows nothing of the server.
    Abandoned,
}

impl CallEnd {
    pub(crate) const fn of<T>(result: &Result<T, StoreError>) -> Self {
        match result {
            Err(StoreError::Unreachable(_) | StoreError::TimedOut | StoreError::Protocol(_)) => Self::Failed,
            Err(StoreError::Disconnected(_)) => Self::Lost,
            Err(StoreError::Overloaded | StoreError::NotOneSlot) => Self::Abandoned,
            _ => Self::Answered,
        }
    }
}

impl Breaker {
    pub(crate) const fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: 0,
            lost: None,
            open: None,
        }
    }

    /// Lets a call pass, or returns the instant at which the next may.
    pub(crate) fn permit(&mut self, now: Instant) -> Result<Permit, Instant> {
        match &mut self.open {
            None => Ok(Permit::Normal),
            Some(open) if now < open.until || open.probing => Err(open.until.max(now)),
            Some(open) => {
                open.probing = true;
                Ok(Permit::Probe)
            }
        }
    }

    /// Records the end, at `now`, of a call that was sent at `sent`.
    pub(crate) fn record(&mut self, permit: Permit, outcome: CallEnd, sent: Instant, now: Instant) {
        match (permit, outcome) {
            (_, CallEnd::Answered) => (self.failures, self.open) = (0, None),
            // It was in flight when the last loss was counted. The connection that is made after that loss may be well.
            (Permit::Normal, CallEnd::Lost) if self.lost.is_some_and(|lost| sent <= lost) => {}
            (Permit::Normal, CallEnd::Failed | CallEnd::Lost) => {
                if outcome == CallEnd::Lost {
                    self.lost = Some(now);
                }
                self.failures = self.failures.saturating_add(1);
                if self.failures == self.settings.failures {
                    self.open_for(self.settings.pause, now);
                }
            }
            (Permit::Probe, CallEnd::Failed | CallEnd::Lost) => {
                let pause = self
                    .open
                    .map_or(self.settings.pause, |open| open.pause.saturating_mul(2));
                self.open_for(pause.min(self.settings.longest_pause), now);
            }
            (Permit::Normal, CallEnd::Abandoned) => {}
            (Permit::Probe, CallEnd::Abandoned) => {
                if let Some(open) = &mut self.open {
                    open.probing = false;
                }
            }
        }
    }

    /// Returns the instant from which a call may pass.
    pub(crate) fn next_call(&self, now: Instant) -> Instant {
        self.open.map_or(now, |open| open.until.max(now))
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn open_for(&mut self, pause: Duration, now: Instant) {
        self.open = Some(Open {
            until: later(now, pause),
            pause,
            probing: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for _ in 0..5 {
            assert_eq!(breaker.permit(now), Ok(Permit::Normal));
            breaker.record(Permit::Normal, CallEnd::Failed, now, now);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.permit(now), Err(now + 100 * MS));
        assert_eq!(breaker.permit(now + 99 * MS), Err(now + 100 * MS));
    }

    #[test]
    fn calls_lost_together_are_one_failure() {
        let begin = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        for loss in 1..=5 {
            let (sent, now) = (begin + 2 * loss * MS, begin + (2 * loss + 1) * MS);
            assert!(!breaker.is_open(), "{loss}");
            (0..20).for_each(|_| breaker.record(Permit::Normal, CallEnd::Lost, sent, now));
        }
        assert!(breaker.is_open(), "five losses in a row");
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        for _ in 0..20 {
            (0..4).for_each(|_| breaker.record(Permit::Normal, CallEnd::Failed, now, now));
            breaker.record(Permit::Normal, CallEnd::Answered, now, now);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_probe_passes_at_a_time() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 100 * MS;
        assert_eq!(breaker.permit(later), Ok(Permit::Probe));
        assert_eq!(breaker.permit(later), Err(later));
        breaker.record(Permit::Probe, CallEnd::Abandoned, later, later);
        assert_eq!(breaker.permit(later), Ok(Permit::Probe));
        breaker.record(Permit::Probe, CallEnd::Answered, later, later);
        assert_eq!(breaker.permit(later), Ok(Permit::Normal));
    }

    /// As with a pool whose connections all wait for a silent server.
    #[test]
    fn call_that_was_not_sent_changes_nothing() {
        let now = Instant::now();
        let mut breaker = opened(now);
        for error in [StoreError::Overloaded, StoreError::NotOneSlot] {
            let end = CallEnd::of(&Err::<(), _>(error));
            assert_eq!(breaker.permit(now + 100 * MS), Ok(Permit::Probe));
            breaker.record(Permit::Probe, end, now + 100 * MS, now + 100 * MS);
            assert!(breaker.is_open());
            let mut closed = Breaker::new(BreakerSettings::default());
            for _ in 0..4 {
                closed.record(Permit::Normal, CallEnd::Failed, now, now);
                closed.record(Permit::Normal, end, now, now);
            }
            assert!(!closed.is_open());
            closed.record(Permit::Normal, CallEnd::Failed, now, now);
            assert!(closed.is_open(), "five failures, with no answer between them");
        }
    }

    #[test]
    fn failed_probes_double_the_pause_to_its_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for pause in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            assert_eq!(breaker.permit(now), Err(now + pause * MS));
            now += pause * MS;
            assert_eq!(breaker.permit(now), Ok(Permit::Probe));
            breaker.record(Permit::Probe, CallEnd::Failed, now, now);
        }
    }

    #[test]
    fn late_failures_of_earlier_calls_prolong_no_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        (0..100).for_each(|_| breaker.record(Permit::Normal, CallEnd::Failed, now + 50 * MS, now + 50 * MS));
        assert_eq!(breaker.permit(now + 100 * MS), Ok(Permit::Probe));
    }

    #[test]
    fn zero_failures_never_open_it() {
        let settings = BreakerSettings {
            failures: 0,
            ..BreakerSettings::default()
        };
        let (mut breaker, now) = (Breaker::new(settings), Instant::now());
        (0..100).for_each(|_| breaker.record(Permit::Normal, CallEnd::Failed, now, now));
        assert!(!breaker.is_open());
    }
}
