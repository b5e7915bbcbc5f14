//! Leases for the hottest loops: cells drawn in blocks and handed out by one thread without clock or exchange.

use crate::algorithms::GCRA;
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::outcome::{NegativeMultiDecision, NonConformance};
use crate::quota::Quota;
use core::error::Error;
use core::fmt;
use core::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A meter whose cells are drawn in blocks, so that most decisions cost a decrement.
///
/// Each thread takes a [`Lease`], which draws up to a block of cells in one atomic step and hands them out on its own. The cells that leases may hold
/// are taken off the burst of the shared word beforehand. With p leases of m cells, the word's burst is B - p * m. So law 1 of
/// [`Decider`](crate::Decider) holds exactly, with the quota's own B, however long a drawn cell is kept.
///
/// The cost: a burst that a single thread can take is up to p * m cells smaller. An idle lease keeps its cells, up to m, from other leases until it
/// gives them back ([`Lease::give_back`], or by being dropped); [`cells_held`](Self::cells_held) counts them. A lease that is leaked keeps its place and
/// its cells until the process ends. Instead of law 10, the state is the meter's word, and the cells that each lease holds.
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
    leases: Leases,
    block: NonZeroU32,
}

impl LeasedMeter {
    /// Returns an idle meter for `quota`. Up to `leases` leases may hold `block` cells each.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::LeasesAboveBurst`] if the leases could hold so much of the burst that not one cell is left; otherwise as
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
            leases: Leases::new(leases),
            block,
        })
    }
}

impl<C: Clock> LeasedMeter<C> {
    /// Returns a new idle meter with the same limit and number of leases, none of them taken, that reads its time from `clock`.
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> LeasedMeter<D> {
        LeasedMeter {
            meter: self.meter.with_clock(clock),
            leases: Leases::new(self.leases.most),
            block: self.block,
        }
    }

    /// Returns the number of leases that are taken now.
    #[must_use]
    pub fn leases_taken(&self) -> u32 {
        // At most the maximum number of leases.
        u32::try_from(self.leases.lock().len()).unwrap_or(u32::MAX)
    }

    /// Returns the number of cells that all leases hold now, taken from the meter and not yet used. Reads the count of each lease once, so the sum is exact
    /// unless a lease decides meanwhile.
    ///
    /// ```
    /// use ratelimit_meter::{LeasedMeter, nonzero};
    ///
    /// let meter = LeasedMeter::new("1000/s".parse()?, nonzero!(4u32), nonzero!(50u32))?;
    /// let mut lease = meter.lease()?;
    /// lease.check()?; // draws a block of 50, of which it uses one
    /// assert_eq!(meter.cells_held(), 49);
    /// lease.give_back();
    /// assert_eq!(meter.cells_held(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cells_held(&self) -> u64 {
        self.leases.lock().iter().map(|held| u64::from(held.get())).sum()
    }

    /// Returns the maximum number of cells that a lease holds.
    #[must_use]
    pub const fn block(&self) -> NonZeroU32 {
        self.block
    }

    /// Returns a lease that holds no cells yet. Takes a lock, which no decision takes, as does dropping a lease.
    ///
    /// # Errors
    ///
    /// [`TooManyLeases`] if all leases are taken. A lease is free again when it is dropped.
    pub fn lease(&self) -> Result<Lease<C>, TooManyLeases> {
        Ok(Lease {
            held: self.leases.take()?,
            meter: self.meter.clone(),
            leases: self.leases.clone(),
            block: self.block.get(),
        })
    }
}

impl<C: Clock> fmt::Debug for LeasedMeter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeasedMeter")
            .field("meter", &self.meter)
            .field("leases", &self.leases)
            .field("block", &self.block)
            .field("cells_held", &self.cells_held())
            .finish()
    }
}

/// A thread's own share of a [`LeasedMeter`].
///
/// It may move to another thread, but only one thread uses it at a time. Dropping it gives back its cells.
pub struct Lease<C: Clock = DefaultClock> {
    meter: GCRA<C>,
    leases: Leases,
    block: u32,
    held: Arc<HeldCells>,
}

impl<C: Clock> Lease<C> {
    /// Decides one cell now: a decrement while the lease holds cells, otherwise one step of the shared meter, which draws up to a block.
    ///
    /// That step draws half of the cells that the meter has left, at most a block and at least the requested cells. So leases draw ever less as the
    /// meter runs out of cells, down to single cells.
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if neither the lease nor the meter has a cell. It holds the instant from which the meter has one. Nothing has changed.
    #[inline]
    pub fn check(&mut self) -> Result<(), NonConformance> {
        if let Some(left) = self.held.get().checked_sub(1) {
            self.held.set(left);
            return Ok(());
        }
        self.draw(1)
    }

    /// Decides a batch of `n` cells now, all or nothing. It uses the cells that the lease holds and draws the rest.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all cells conform. If the cells to be drawn exceed the burst of the shared word,
    /// they can never conform.
    #[inline]
    pub fn check_n(&mut self, n: u32) -> Result<(), NegativeMultiDecision> {
        let held = self.held.get();
        if let Some(left) = held.checked_sub(n) {
            self.held.set(left);
            return Ok(());
        }
        let missing = n - held;
        if missing > self.meter.max_batch() {
            return Err(NegativeMultiDecision::InsufficientCapacity(n));
        }
        self.draw(missing)
            .map_err(|denial| NegativeMultiDecision::BatchNonConforming(n, denial))
    }

    /// Returns the number of cells that the lease holds.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held.get()
    }

    /// Gives back the cells that the lease holds, so that other leases can draw them. Cells that have drained meanwhile are not counted twice: the
    /// meter never has more than its full burst.
    pub fn give_back(&mut self) {
        let held = self.held.get();
        self.held.set(0);
        self.meter.refund(held.into());
    }

    /// Draws at least `missing` cells, and takes them together with all cells that the lease holds.
    #[cold]
    #[inline(never)]
    fn draw(&mut self, missing: u32) -> Result<(), NonConformance> {
        let drawn = self.meter.draw(missing, self.block)?;
        self.held.set(drawn - missing);
        Ok(())
    }
}

impl<C: Clock> Drop for Lease<C> {
    fn drop(&mut self) {
        self.give_back();
        self.leases.leave(&self.held);
    }
}

impl<C: Clock> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("meter", &self.meter)
            .field("block", &self.block)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// The cells that a lease holds, on a cache line of its own. Only its lease changes it; other threads count it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct HeldCells(AtomicU32);

impl HeldCells {
    // ORDERING: relaxed, both; form no edge. Only the lease stores, so it loads its own last store. Other threads count cells.
    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, cells: u32) {
        self.0.store(cells, Ordering::Relaxed);
    }
}

/// The taken leases, and their maximum number. A lease that takes a place holds no cells yet, and a lease that leaves has given its cells back. So at
/// no moment more than `most` blocks are held.
#[derive(Clone)]
struct Leases {
    taken: Arc<Mutex<Vec<Arc<HeldCells>>>>,
    most: NonZeroU32,
}

impl Leases {
    fn new(most: NonZeroU32) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<HeldCells>>> {
        // The list is valid even if a thread panicked while it held the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Arc<HeldCells>, TooManyLeases> {
        let (mut taken, most) = (self.lock(), self.most.get());
        if u32::try_from(taken.len()).is_ok_and(|taken| taken < most) {
            let held = Arc::<HeldCells>::default();
            taken.push(Arc::clone(&held));
            Ok(held)
        } else {
            Err(TooManyLeases { most })
        }
    }

    fn leave(&self, left: &Arc<HeldCells>) {
        let mut taken = self.lock();
        if let Some(index) = taken.iter().position(|held| Arc::ptr_eq(held, left)) {
            taken.swap_remove(index);
        }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is not held while the caller's writer runs.
        let taken = self.lock().len();
        write!(f, "{taken} of {}", self.most)
    }
}

/// The error of a meter whose leases are all taken.
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
