//! The time of the hardware for the parts of a decision: no meter can be cheaper than the parts it needs.
//!
//! They run in the same loop as the contenders and always admit.

use crate::cases::{CLOCK_AND_EXCHANGE, CLOCK_AND_LOAD, EXCHANGE, LOAD, MeterLimit};
use crate::contender::{CheckAt, CheckN, CheckNAt, Contender, ContenderKind, Package};
use crate::entry::MeterEntry;
use crate::ticks;
use core::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(crate) fn entries() -> Vec<MeterEntry> {
    vec![
        MeterEntry::of::<Floor<Empty>>(),
        MeterEntry::of::<Floor<Ticks>>(),
        MeterEntry::of::<Floor<Now>>(),
        MeterEntry::of::<Floor<Load>>(),
        MeterEntry::of::<Floor<Add>>(),
        MeterEntry::of::<Floor<Exchange>>(),
        MeterEntry::of::<Floor<TicksLoad>>(),
        MeterEntry::of::<Floor<TicksExchange>>(),
    ]
}

/// A word with its lines to itself.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct FloorWord(AtomicU64);

impl FloorWord {
    #[inline]
    fn load(&self) -> u64 {
        // ORDERING: relaxed, here and below, as in the meters these are the floor of; the word publishes nothing.
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn exchange(&self) {
        let mut seen = self.load();
        while let Err(now) =
            self.0
                .compare_exchange_weak(seen, seen.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed)
        {
            seen = now;
        }
    }
}

/// A part of a decision.
trait FloorPart {
    const NAME: &'static str;
    fn work(word: &FloorWord);
}

struct Floor<P>(P);

impl<P: FloorPart> Contender for Floor<P> {
    const NAME: &'static str = P::NAME;
    const KIND: ContenderKind = ContenderKind::Floor;
    const PACKAGE: Option<Package> = None;
    type Handle = Arc<FloorWord>;

    fn handles(_: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let word = Arc::new(FloorWord(AtomicU64::new(0)));
        vec![word; threads]
    }

    #[inline]
    fn check(word: &mut Self::Handle) -> bool {
        P::work(word);
        true
    }

    const CHECK_N: Option<CheckN<Self::Handle>> = Some(|word, _| Self::check(word));
    const CHECK_AT: Option<CheckAt<Self::Handle>> = Some(|word, _| Self::check(word));
    const CHECK_N_AT: Option<CheckNAt<Self::Handle>> = Some(|word, _, _| Self::check(word));
}

macro_rules! parts {
    ($($part:ident $name:expr, $work:expr;)*) => {$(
        struct $part;

        impl FloorPart for $part {
            const NAME: &'static str = $name;

            #[inline]
            fn work(word: &FloorWord) {
                let work: fn(&FloorWord) = $work;
                work(word);
            }
        }
    )*};
}

parts! {
    Empty "empty loop", |_| {};
    Ticks ticks::NAME, |_| { black_box(ticks::read()); };
    Now "Instant::now", |_| { black_box(Instant::now()); };
    Load LOAD, |word| { black_box(word.load()); };
    Add "fetch_add", |word| { black_box(word.0.fetch_add(1, Ordering::Relaxed)); };
    Exchange EXCHANGE, FloorWord::exchange;
    TicksLoad CLOCK_AND_LOAD, |word| { black_box(ticks::read()); black_box(word.load()); };
    TicksExchange CLOCK_AND_EXCHANGE, |word| { black_box(ticks::read()); word.exchange(); };
}
