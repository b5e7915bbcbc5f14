//! Pseudorandom numbers from a seed.

/// A seeded generator (SplitMix64, by Steele, Lea and Flood).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// A number below another.
    #[inline]
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> u64::BITS) as u64
    }

    /// Fisher and Yates's shuffle.
    pub(crate) fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            let any = u64::try_from(last).map_or(0, |last| self.below(last + 1));
            order.swap(last, usize::try_from(any).unwrap_or(last));
        }
    }
}

/// Its mixing step, a bijection: different numbers stay different.
#[inline]
pub(crate) fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_is_a_permutation_that_its_seed_repeats() {
        let mut orders = [7, 7, 8].map(|seed| {
            let mut order: Vec<usize> = (0..100).collect();
            Random::new(seed).shuffle(&mut order);
            order
        });
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
        orders[0].sort_unstable();
        assert!(orders[0].iter().copied().eq(0..100));
    }

    #[test]
    fn random_numbers_cover_their_whole_range() {
        let mut random = Random::new(3);
        let mut seen = [0; 10];
        (0..1000).for_each(|_| seen[usize::try_from(random.below(10)).unwrap()] += 1);
        assert!(seen.iter().all(|&times| times > 50), "{seen:?}");
    }
}
