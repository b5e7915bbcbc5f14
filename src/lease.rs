//! Leases for the hottest loops: cells drawn in blocks and handed out by one thread without clock or atomic.

use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::meter::GCRA;
use crate::outcome::{NegativeMultiDecision, NonConformance};
use crate::quota::Quota;
use crate::store::SharedWord;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;

/// A meter whose cells are drawn in blocks, so that most decisions cost a decrement.
///
/// Each thread takes a [`Lease`], which draws up to a block of cells in one atomic step and hands them out on its own. What leases
/// may hold is taken off the burst of the shared word beforehand: with p leases of m cells the word's burst is B - p * m, so that
/// law 1 of [`Decider`](crate::Decider) holds exactly, with the quota's own B, however long a drawn cell is kept.
///
/// The price: a burst that a single thread can take is up to p * m cells smaller, and an idle lease strands what it holds, up to m
/// cells, until it gives them back ([`Lease::give_back`], or by being dropped). A lease that is leaked keeps its place and its
/// cells for good. In place of law 10 the state is the meter's word, a count of leases, and what each lease holds.
///
/// ```
/// use ratelimit_meter::{LeasedMeter, Quota, nonzero};
///
/// let meter = LeasedMeter::new(Quota::per_second(nonzero!(1_000_000u32)), nonzero!(4u32), nonzero!(256u32))?;
/// let mut lease = meter.lease()?; // one in each thread
/// assert!((0..100_000).all(|_| lease.check().is_ok()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LeasedMeter<C = DefaultClock> {
    meter: GCRA<C>,
    leases: Count,
    block: NonZeroU32,
}

impl LeasedMeter {
    /// Returns a meter at rest for `quota`, of which up to `leases` leases may hold `block` cells each.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::LeasesAboveBurst`] if they could hold so much of the burst that not one cell is left; else as
    /// [`Meter::from_quota`](crate::Meter::from_quota).
    pub fn new(quota: Quota, leases: NonZeroU32, block: NonZeroU32) -> Result<Self, InconsistentCapacity> {
        quota.validate()?;
        let [burst, weight] = [quota.burst(), quota.weight()].map(|n| u128::from(n.get()));
        let leased = u128::from(leases.get()) * u128::from(block.get()) * weight;
        let shared = burst
            .checked_sub(leased)
            .filter(|&shared| shared >= weight)
            .and_then(|shared| u32::try_from(shared).ok().and_then(NonZeroU32::new))
            .ok_or(InconsistentCapacity::LeasesAboveBurst {
                leases: leases.get(),
                block: block.get(),
                burst: quota.burst().get(),
            })?;
        Ok(Self {
            meter: GCRA::from_quota(quota.allow_burst(shared))?,
            leases: Count::new(leases),
            block,
        })
    }
}

impl<C: Clock> LeasedMeter<C> {
    /// Returns a new meter at rest with the same limit and leases, of which none is taken, that reads its time from `clock`.
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> LeasedMeter<D> {
        LeasedMeter {
            meter: self.meter.with_clock(clock),
            leases: Count::new(self.leases.most),
            block: self.block,
        }
    }

    /// Returns a lease that holds nothing yet. Lock-free.
    ///
    /// # Errors
    ///
    /// [`TooManyLeases`] if all leases are taken; one is free again when it is dropped.
    pub fn lease(&self) -> Result<Lease<C>, TooManyLeases> {
        self.leases.take()?;
        Ok(Lease {
            meter: self.meter.clone(),
            leases: self.leases.clone(),
            block: self.block.get(),
            held: 0,
        })
    }
}

impl<C: Clock> fmt::Debug for LeasedMeter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedMeter")
            .field("meter", &self.meter)
            .field("leases", &self.leases)
            .field("block", &self.block)
            .finish()
    }
}

/// A thread's own share of a [`LeasedMeter`].
///
/// It may move to another thread, but is used by one at a time. Dropping it gives back what it holds.
pub struct Lease<C: Clock = DefaultClock> {
    meter: GCRA<C>,
    leases: Count,
    block: u32,
    held: u32,
}

impl<C: Clock> Lease<C> {
    /// Decides one cell now: a decrement while the lease holds any, else one step of the shared meter, which draws up to a block.
    ///
    /// It draws half of what the meter has left, at most a block and at least what is asked, so that leases draw ever less as it
    /// runs dry, down to single cells.
    ///
    /// # Errors
    ///
    /// [`NonConformance`], and nothing has changed, if neither the lease nor the meter has a cell; it tells when the meter has.
    #[inline]
    pub fn check(&mut self) -> Result<(), NonConformance> {
        if let Some(left) = self.held.checked_sub(1) {
            self.held = left;
            return Ok(());
        }
        self.draw(1)
    }

    /// Decides a batch of `n` cells now, of those the lease holds and, for the rest, those it can draw: all or nothing.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all conform. Those that have to be drawn can never conform if
    /// they exceed the burst of the shared word.
    #[inline]
    pub fn check_n(&mut self, n: u32) -> Result<(), NegativeMultiDecision> {
        if let Some(left) = self.held.checked_sub(n) {
            self.held = left;
            return Ok(());
        }
        let missing = n - self.held;
        if missing > self.meter.max_batch() {
            return Err(NegativeMultiDecision::InsufficientCapacity(n));
        }
        self.draw(missing)
            .map_err(|denial| NegativeMultiDecision::BatchNonConforming(n, denial))
    }

    /// Returns how many cells the lease holds.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Gives back what the lease holds, for others to draw. What has drained meanwhile is not counted twice: the meter is never
    /// lifted above rest.
    pub fn give_back(&mut self) {
        let held = core::mem::take(&mut self.held);
        if held > 0 {
            self.meter.refund(held.into());
        }
    }

    /// Draws at least `missing` cells, and takes these and all that are held.
    #[cold]
    #[inline(never)]
    fn draw(&mut self, missing: u32) -> Result<(), NonConformance> {
        let drawn = self.meter.draw(missing, self.block)?;
        self.held = drawn - missing;
        Ok(())
    }
}

impl<C: Clock> Drop for Lease<C> {
    fn drop(&mut self) {
        self.give_back();
        self.leases.leave();
    }
}

impl<C: Clock> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("meter", &self.meter)
            .field("block", &self.block)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// How many leases are taken of how many. The count orders nothing: who takes a place holds no cells yet, and who leaves it has
/// given his back, so that at no moment more than `most` blocks are held.
#[derive(Clone)]
struct Count {
    taken: SharedWord,
    most: NonZeroU32,
}

impl Count {
    fn new(most: NonZeroU32) -> Self {
        Self {
            taken: SharedWord::new(0),
            most,
        }
    }

    fn take(&self) -> Result<(), TooManyLeases> {
        let most = self.most.get();
        self.taken.update(|taken| {
            if taken < u64::from(most) {
                Ok((taken + 1, ()))
            } else {
                Err(TooManyLeases { most })
            }
        })
    }

    fn leave(&self) {
        // Never below zero: who leaves has taken.
        let _ = self
            .taken
            .update(|taken| taken.checked_sub(1).map(|left| (left, ())).ok_or(()));
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.taken.load(), self.most)
    }
}

/// All leases of a meter are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyLeases {
    most: u32,
}

impl fmt::Display for TooManyLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} leases are taken: drop one first", self.most)
    }
}

impl Error for TooManyLeases {}
