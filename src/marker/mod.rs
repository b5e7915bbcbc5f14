//! Three-colour markers of packets: the markers of RFC 2697, RFC 2698 and RFC 4115.
//!
//! A marker does not deny: it marks each packet green, yellow or red, and the caller decides how to treat each [`Colour`]. A router
//! forwards green packets, drops yellow ones first when a queue is full, and drops red ones at once.
//!
//! | marker | parameters | a packet is |
//! |---|---|---|
//! | [`SingleRate`] (RFC 2697) | a committed rate and burst, an excess burst | green within the committed burst, yellow within the excess burst |
//! | [`TwoRate`] (RFC 2698) | a committed and a peak rate, each with its burst | red above the peak rate, yellow above the committed rate |
//! | [`ExcessRate`] (RFC 4115) | a committed and an excess rate, each with its burst | green within the committed rate, otherwise yellow within the excess rate |
//!
//! All three are a [`Marker`], which has each verb once. The committed and the second bucket are decided in one exchange, so threads that share a
//! marker admit no byte twice.

mod rules;

pub use rules::{Excess, Peak, Rfc2697, Rfc2698, Rfc4115, Rule, TwoBuckets};

use crate::clock::{Clock, DefaultClock, When, act_now};
use crate::dual::words::{SharedWords, Words};
use crate::error::InconsistentCapacity;
use crate::quota::Quota;
use crate::store::Word;
use crate::time::Instant;
use crate::units::Nanos;
use core::convert::Infallible;
use core::fmt;

/// The colour of a packet, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// Within the committed rate and burst.
    Green,
    /// Above the committed rate, within the excess or peak.
    Yellow,
    /// Above both.
    Red,
}

/// `green`, `yellow` or `red`.
impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        })
    }
}

/// The single rate three-colour marker of [RFC 2697](https://www.rfc-editor.org/rfc/rfc2697) (srTCM).
///
/// Both buckets fill at the committed rate, the excess bucket only while the committed bucket is full.
///
/// ```
/// use ratelimit_meter::marker::{Colour, SingleRate};
/// use std::time::{Duration, Instant};
///
/// // 1 MB/s, with 3000 bytes at once, and 1500 bytes more when idle.
/// let marker = SingleRate::new("1000000/s burst 3000".parse()?, 1500)?;
/// let now = Instant::now();
/// let colours = [1500, 1500, 1500, 1500].map(|bytes| marker.mark_at(bytes, now));
/// assert_eq!(colours, [Colour::Green, Colour::Green, Colour::Yellow, Colour::Red]);
/// assert_eq!(marker.mark_at(1500, now + Duration::from_micros(1500)), Colour::Green);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type SingleRate<C = DefaultClock> = Marker<Rfc2697, C>;

/// The two rate three-colour marker of [RFC 2698](https://www.rfc-editor.org/rfc/rfc2698) (trTCM).
///
/// A green packet takes its bytes from both buckets, a yellow packet from the peak bucket.
///
/// ```
/// use ratelimit_meter::marker::{Colour, TwoRate};
/// use std::time::Instant;
///
/// let marker = TwoRate::new("1000000/s burst 3000".parse()?, "2000000/s burst 4500".parse()?)?;
/// let now = Instant::now();
/// let colours = [1500, 1500, 1500, 1500].map(|bytes| marker.mark_at(bytes, now));
/// assert_eq!(colours, [Colour::Green, Colour::Green, Colour::Yellow, Colour::Red]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type TwoRate<C = DefaultClock> = Marker<Rfc2698, C>;

/// The two rate three-colour marker of [RFC 4115](https://www.rfc-editor.org/rfc/rfc4115), which never lets packets that came yellow take bytes
/// from packets that came green.
///
/// A green packet takes its bytes from the committed bucket alone, a yellow packet from the excess bucket alone.
///
/// ```
/// use ratelimit_meter::marker::{Colour, ExcessRate};
/// use std::time::Instant;
///
/// let marker = ExcessRate::new("1000000/s burst 3000".parse()?, "500000/s burst 1500".parse()?)?;
/// let now = Instant::now();
/// assert_eq!(marker.remark_at(1500, Colour::Yellow, now), Colour::Yellow);
/// assert_eq!(marker.remark_at(1500, Colour::Yellow, now), Colour::Red);
/// assert_eq!(marker.remark_at(3000, Colour::Green, now), Colour::Green);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type ExcessRate<C = DefaultClock> = Marker<Rfc4115, C>;

/// A three-colour marker: two token buckets, and the rule `R` by which they colour a packet.
///
/// Use it by one of its names: [`SingleRate`], [`TwoRate`] or [`ExcessRate`]. Clones share one state.
///
/// Packets are counted in bytes, or in any other unit of the quotas. A packet conforms to a bucket if the bucket holds at least the packet's bytes; then
/// its bytes are taken. So a packet larger than a burst never conforms to that bucket. A packet of 0 bytes keeps its colour and changes nothing.
///
/// # Laws
///
/// Laws 1, 2, 3, 5, 7, 8 and 9 of [`Decider`](crate::Decider) hold for each bucket and the bytes that it gave. A red packet changes nothing. There is
/// no instant to wait for, so law 4 does not apply. Both words are one atomic of 128 bits, as in [`Dual`](crate::Dual), and so are progress and
/// ordering.
///
/// For [`SingleRate`], law 3 is against the RFC's two buckets: the bytes that come while the committed bucket is full fill the excess bucket.
pub struct Marker<R, C = DefaultClock> {
    rule: R,
    words: SharedWords,
    clock: C,
}

impl SingleRate {
    /// Returns a marker with full buckets: `committed` has the committed rate (CIR) and burst (CBS), and `excess_burst` is the EBS.
    ///
    /// With an excess burst of 0 no packet is yellow.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if the quota is invalid for a meter, or if both bursts together exceed 2^32 - 1 or take more than 200 years to fill.
    pub fn new(committed: Quota, excess_burst: u32) -> Result<Self, InconsistentCapacity> {
        let rule = Rfc2697::new(DefaultClock.now(), committed, excess_burst)?;
        Ok(Self::full(rule, DefaultClock))
    }
}

impl TwoRate {
    /// Returns a marker with full buckets: `committed` has the committed rate (CIR) and burst (CBS), `peak` the peak rate (PIR) and burst (PBS).
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if a quota is invalid for a meter, or if the peak rate is below the committed rate.
    pub fn new(committed: Quota, peak: Quota) -> Result<Self, InconsistentCapacity> {
        let rule = Rfc2698::new(DefaultClock.now(), committed, peak)?;
        Ok(Self::full(rule, DefaultClock))
    }
}

impl ExcessRate {
    /// Returns a marker with full buckets: `committed` has the committed rate (CIR) and burst (CBS), `excess` the excess rate (EIR) and burst (EBS).
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if a quota is invalid for a meter.
    pub fn new(committed: Quota, excess: Quota) -> Result<Self, InconsistentCapacity> {
        let rule = Rfc4115::new(DefaultClock.now(), committed, excess)?;
        Ok(Self::full(rule, DefaultClock))
    }
}

impl<R: Rule, C> Marker<R, C> {
    /// Makes a marker with full buckets.
    fn full(rule: R, clock: C) -> Self {
        let words = SharedWords::new(Word::holding([0, 0]));
        Self { rule, words, clock }
    }

    /// Returns a new marker with full buckets and the same parameters that reads its time from `clock`. It shares nothing with this marker.
    ///
    /// ```
    /// use ratelimit_meter::{clock::ManualClock, marker::{Colour, SingleRate}};
    /// use std::time::Duration;
    ///
    /// let clock = ManualClock::new();
    /// let marker = SingleRate::new("1000/s".parse()?, 0)?.with_clock(clock.clone());
    /// assert_eq!([marker.mark(1000), marker.mark(1)], [Colour::Green, Colour::Red]);
    /// clock.advance(Duration::from_millis(1))?;
    /// assert_eq!(marker.mark(1), Colour::Green);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> Marker<R, D> {
        Marker::full(self.rule.made_at(clock.now()), clock)
    }

    /// Fills both buckets, in this marker and all its clones.
    pub fn reset(&self) {
        let Ok(()): Result<(), Infallible> = self.words.update(|_| Ok(([0, 0], ())));
    }
}

impl<R: Rule, C: Clock> Marker<R, C> {
    /// Marks a packet of `bytes` that has no colour yet, by the marker's clock (the RFCs' colour-blind mode). Takes constant time.
    #[inline]
    pub fn mark(&self, bytes: u32) -> Colour {
        self.remark(bytes, Colour::Green)
    }

    /// Marks a packet of `bytes` that has no colour yet at `at`.
    #[inline]
    pub fn mark_at(&self, bytes: u32, at: Instant) -> Colour {
        self.remark_at(bytes, Colour::Green, at)
    }

    /// Marks a packet of `bytes` that came with a colour, by the marker's clock (the RFCs' colour-aware mode). The new colour is never better.
    /// Takes constant time.
    #[inline]
    pub fn remark(&self, bytes: u32, came: Colour) -> Colour {
        self.colour(bytes, came, When::Now)
    }

    /// Marks a packet of `bytes` that came with a colour at `at`.
    ///
    /// ```
    /// use ratelimit_meter::marker::{Colour, TwoRate};
    /// use std::time::Instant;
    ///
    /// let marker = TwoRate::new("1000/s".parse()?, "2000/s".parse()?)?;
    /// let now = Instant::now();
    /// assert_eq!(marker.remark_at(1000, Colour::Yellow, now), Colour::Yellow);
    /// assert_eq!(marker.remark_at(1000, Colour::Red, now), Colour::Red);
    /// assert_eq!(marker.remark_at(1000, Colour::Green, now), Colour::Green);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn remark_at(&self, bytes: u32, came: Colour, at: Instant) -> Colour {
        self.colour(bytes, came, When::At(at.into()))
    }

    /// Returns how many bytes the committed bucket and the second bucket (the peak or excess) hold now. Changes nothing.
    #[must_use]
    pub fn available(&self) -> [u32; 2] {
        self.available_when(When::Now)
    }

    /// Returns how many bytes the committed bucket and the second bucket hold at `at`. Changes nothing.
    #[must_use]
    pub fn available_at(&self, at: Instant) -> [u32; 2] {
        self.available_when(When::At(at.into()))
    }

    fn available_when(&self, when: When) -> [u32; 2] {
        let at = when.position(&self.clock, self.rule.time_line());
        self.rule.room(self.words.load(), self.rule.drained(at))
    }

    #[inline]
    fn colour(&self, bytes: u32, came: Colour, when: When) -> Colour {
        if came == Colour::Red || bytes == 0 {
            return came;
        }
        let line = self.rule.time_line();
        let at = when.position(&self.clock, line);
        let lag = if matches!(when, When::Now) { C::LAG_NS } else { 0 };
        let colour_at = |(at, lag)| self.colour_within(bytes, came, at, lag);
        let exactly_now = || (when.exact_position(&self.clock, line), 0);
        act_now((at, lag), exactly_now, colour_at, |worse| matches!(worse, Worse::ByLag)).unwrap_or(Colour::Red)
    }

    /// Marks a packet at `at`, unless its colour would be better at a time up to `lag` nanoseconds later.
    fn colour_within(&self, bytes: u32, came: Colour, at: Nanos, lag: u64) -> Result<Colour, Worse> {
        let drained = self.rule.drained(at);
        let coloured = |words, drained| self.rule.mark(words, drained, bytes, came);
        self.words.update(|words: Words| {
            let marked = coloured(words, drained);
            let colour = marked.map_or(Colour::Red, |(_, colour)| colour);
            if lag > 0 && colour > came {
                let later = coloured(words, self.rule.drained(at.later(lag)));
                if later.is_some_and(|(_, better)| better < colour) {
                    return Err(Worse::ByLag);
                }
            }
            marked.ok_or(Worse::Red)
        })
    }
}

/// The reason why a packet took no bytes.
enum Worse {
    /// Its colour may be better at the exact time.
    ByLag,
    /// It is red.
    Red,
}

impl<R: Rule, C: Clone> Clone for Marker<R, C> {
    fn clone(&self) -> Self {
        Self {
            rule: self.rule,
            words: self.words.clone(),
            clock: self.clock.clone(),
        }
    }
}

/// Reads the words once.
impl<R: Rule, C: Clock> fmt::Debug for Marker<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(R::NAME);
        let (words, now) = (self.words.load(), self.clock.now());
        let drained = self.rule.drained(self.rule.time_line().position(now));
        self.rule.describe(&mut fields);
        let is_idle = self.rule.full_from(words).is_none_or(|full| full <= now);
        fields
            .field("available", &self.rule.room(words, drained))
            .field("idle", &is_idle)
            .finish_non_exhaustive()
    }
}
