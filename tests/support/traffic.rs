//! Limits of every magnitude, and traffic that hits the edges of each.

use super::limit::Limit;
use super::oracle::{ExactBucket, Verdict};
use super::time::{HORIZON, SECOND, YEAR};
use proptest::prelude::*;
use proptest::sample::select;

/// The fastest rate a meter takes, in cells a second.
pub(crate) const FASTEST: u64 = 1 << 32;

/// The extremes that a meter supports, and the textbook limit.
pub(crate) const EXTREMES: &[Limit] = &[
    Limit::new(4, 1),
    Limit::new(4, 1).burst(1),
    Limit::per_second(4_000_000_000).burst(1000),
    Limit::per_second(4_000_000_000).weight(3).burst(10),
    Limit::per_second(4_294_967_295),
    Limit::new(2_147_483_648, SECOND / 2).burst(3),
    Limit::new(4_294_967_295, 100 * YEAR),
    Limit::new(1, 100 * YEAR),
    Limit::new(1, 100 * YEAR).burst(2),
    Limit::new(1, 200 * YEAR),
    Limit::new(3, 7).burst(4_294_967_295),
    Limit::new(3, 30 * YEAR),
    Limit::per_second(10).weight(3),
    Limit::per_second(1),
    Limit::per_second(600_000_001).burst(64),
];

/// Returns a number of any magnitude from `low` to `high`, each magnitude equally likely; 0 gives `low`.
pub(crate) fn spread(seed: u64, low: u64, high: u64) -> u64 {
    assert!(0 < low && low <= high, "a range of positive numbers");
    let magnitudes = u64::from(high.ilog2() - low.ilog2() + 1);
    let power = 1 << (u64::from(low.ilog2()) + (((seed >> 32) * magnitudes) >> 32));
    let (from, to) = (low.max(power), high.min(power + (power - 1)));
    from + (seed & 0xffff_ffff).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (to - from + 1)
}

/// Returns any limit that law 9 accepts: at most 2^32 cells a second, idle within 200 years, no cell above the burst.
pub(crate) fn limits() -> impl Strategy<Value = Limit> {
    let any_rate = any::<[u64; 4]>().prop_map(|[cells, period, burst, weight]| {
        let cells = spread(cells, 1, u64::from(u32::MAX));
        within(cells, spread(period, shortest(cells), 100 * YEAR), burst, weight)
    });
    let fast = any::<[u64; 4]>().prop_map(|[cells, period, burst, weight]| {
        let cells = spread(cells, 1, u64::from(u32::MAX));
        within(
            cells,
            spread(period, shortest(cells), 4 * shortest(cells)),
            burst,
            weight,
        )
    });
    prop_oneof![6 => any_rate, 2 => fast, 2 => select(EXTREMES)]
}

/// Returns limits whose emission interval is a whole number of nanoseconds, idle within 15 years: decided exactly.
pub(crate) fn whole_limits() -> impl Strategy<Value = Limit> {
    any::<[u64; 4]>().prop_map(|[interval, cells, burst, weight]| {
        let (most, longest) = (u64::from(u32::MAX), 15 * YEAR);
        let interval = spread(interval, 1, longest);
        let cells = spread(cells, 1, most.min(longest / interval));
        let burst = spread(burst, 1, most.min(longest / interval));
        Limit::new(cells, cells * interval)
            .burst(burst)
            .weight(weight_of(weight, burst))
    })
}

/// Returns the shortest period in nanoseconds for `cells` cells.
fn shortest(cells: u64) -> u64 {
    let period = (u128::from(cells) * u128::from(SECOND)).div_ceil(u128::from(FASTEST));
    u64::try_from(period).expect("at most a second").max(1)
}

fn within(cells: u64, period: u64, burst: u64, weight: u64) -> Limit {
    let longest = u128::from(200 * YEAR) * u128::from(cells) / u128::from(period);
    let most = u64::try_from(longest).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
    let burst = spread(burst, 1, most);
    Limit::new(cells, period).burst(burst).weight(weight_of(weight, burst))
}

fn weight_of(seed: u64, burst: u64) -> u64 {
    if seed % 2 == 0 { 1 } else { spread(seed, 1, burst) }
}

/// One step of the traffic; its effect depends on the limit and on the answers before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// This many single cells at the present instant.
    Burst(u32),
    /// A batch of any size up to the largest that may conform, at the present instant.
    Batch(u64),
    /// Exactly as many cells as the exact bucket has room for at the present instant, plus this many.
    Fill(u32),
    /// One cell at the `.0`-th multiple of the emission interval after now, counted from the origin, and offset by `.1` nanoseconds.
    Emission(i128, i128),
    /// The batch last denied, offset by this many nanoseconds from the instant that the denial named.
    Retry(i128),
    /// No cells for any time up to twice the time to idle; then one cell.
    Idle(u64),
    /// An empty batch, or one that is never possible.
    Odd(bool),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (1u32..20).prop_map(Step::Burst),
        2 => any::<u64>().prop_map(Step::Batch),
        3 => (0u32..3).prop_map(Step::Fill),
        3 => (1i128..4, -1i128..=1).prop_map(|(k, beside)| Step::Emission(k, beside)),
        3 => (-1i128..=1).prop_map(Step::Retry),
        2 => any::<u64>().prop_map(Step::Idle),
        1 => any::<bool>().prop_map(Step::Odd),
    ];
    prop::collection::vec(step, 1..50)
}

/// Plays the steps in the order of time from the origin to the horizon. Passes each question to `ask` with the exact bucket as it is before the
/// question; the bucket takes the cells that `ask` admits.
pub(crate) fn play(limit: &Limit, steps: &[Step], mut ask: impl FnMut(u32, i128, &ExactBucket) -> Verdict) {
    let mut exact = ExactBucket::new(*limit);
    let mut now = 0;
    let mut denied = (1, 0);
    let rest = u64::try_from(limit.time_to_rest().min(HORIZON))
        .expect("some years")
        .max(1);
    for &step in steps {
        let (n, at, times) = match step {
            Step::Burst(times) => (1, now, times),
            Step::Batch(seed) => (batch(seed, limit), now, 1),
            Step::Fill(more) => (exact.room(now).saturating_add(more).min(limit.at_once()), now, 1),
            Step::Emission(skip, beside) => {
                let next = limit.drained(now) / limit.cost(1) + skip;
                (1, limit.emission(next) + beside, 1)
            }
            Step::Retry(beside) => (denied.0, denied.1 + beside, 1),
            Step::Idle(seed) => (1, now + i128::from(spread(seed, 1, 2 * rest)), 1),
            Step::Odd(empty) => (if empty { 0 } else { u32::MAX }, now, 1),
        };
        if at > HORIZON {
            continue;
        }
        now = now.max(at);
        for _ in 0..times {
            match ask(n, now, &exact) {
                Verdict::Conforms => exact.take(n, now),
                Verdict::From(earliest) => denied = (n, earliest),
                Verdict::Never => {}
            }
        }
    }
}

/// Returns a batch of any magnitude that may conform.
pub(crate) fn batch(seed: u64, limit: &Limit) -> u32 {
    u32::try_from(spread(seed, 1, u64::from(limit.at_once()))).expect("at most what conforms at once")
}

/// Returns batches at instants in no order at all, within a few times the time to idle of the origin on either side.
pub(crate) fn scattered() -> impl Strategy<Value = (Limit, Vec<(u32, i128)>)> {
    let question = (any::<u64>(), any::<u64>(), any::<bool>());
    (limits(), prop::collection::vec(question, 1..200)).prop_map(|(limit, seeds)| {
        let span = u64::try_from((3 * limit.time_to_rest()).min(HORIZON))
            .expect("some years")
            .max(1);
        let questions = seeds.into_iter().map(|(size, at, early)| {
            let at = i128::from(spread(at, 1, span));
            (batch(size, &limit), if early { -at } else { at })
        });
        (limit, questions.collect())
    })
}
