//! A meter taken apart into T, tau and TAT and put together again is never faster, and keeps its debt.

use proptest::prelude::*;
use ratelimit_meter::{GCRA, Quota};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const YEAR_NS: u64 = 31_557_600_000_000_000;

fn quota() -> impl Strategy<Value = Quota> {
    let count = || (0..32_u32, 1..=u32::MAX).prop_map(|(shift, n)| NonZeroU32::new((n >> shift).max(1)).unwrap());
    let period = (0..62_u32, 1..100 * YEAR_NS).prop_map(|(shift, ns)| Duration::from_nanos((ns >> shift).max(1)));
    (count(), period, count(), count()).prop_filter_map("law 9", |(cells, period, burst, weight)| {
        let quota = Quota::new(cells, period).ok()?.allow_burst(burst).cell_weight(weight);
        GCRA::from_quota(quota).is_ok().then_some(quota)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn t_is_rounded_up_and_tau_down(quota in quota()) {
        let (t, tau, tat) = <(Duration, Duration, _)>::from(&GCRA::from_quota(quota).unwrap());
        let [cells, burst, weight] = [quota.cells(), quota.burst(), quota.weight()].map(|n| u128::from(n.get()));
        let period = quota.period().as_nanos();
        // In units of 1/cells ns: the exact T is weight * period, the exact tau (burst - weight) * period.
        let (exact_t, exact_tau) = (weight * period, (burst - weight) * period);
        prop_assert!(exact_t <= t.as_nanos() * cells && t.as_nanos() * cells < exact_t + cells);
        prop_assert!(tau.as_nanos() * cells <= exact_tau && exact_tau < (tau.as_nanos() + 1) * cells);
        prop_assert_eq!(tat, None);
    }

    #[test]
    fn rebuilt_meter_is_never_faster_and_keeps_debt(
        quota in quota(),
        steps in prop::collection::vec((0..u64::MAX, 0..60_u32, 1..=u32::MAX, 0..32_u32), 1..20),
        taken_apart_after in 0..20_usize,
    ) {
        let original = GCRA::from_quota(quota).unwrap();
        let mut rebuilt = None;
        let mut at = Instant::now();
        for (step, (gap, shift, n, n_shift)) in steps.into_iter().enumerate() {
            if step == taken_apart_after {
                rebuilt = Some(again(&original));
            }
            at += Duration::from_nanos((gap >> 4 >> shift).min(YEAR_NS));
            let n = n >> n_shift;
            let original_admits = || original.check_n_at(n, at).is_ok();
            match &rebuilt {
                None => drop(original_admits()),
                Some(rebuilt) if rebuilt.check_n_at(n, at).is_ok() => {
                    prop_assert!(original_admits(), "only the rebuilt meter admits {n} at {at:?}");
                }
                Some(_) => {}
            }
        }
    }

    #[test]
    fn whole_nanoseconds_go_round_unchanged(t in 1..YEAR_NS, tau in 0..YEAR_NS, ahead in 0..YEAR_NS) {
        let parts = (
            Duration::from_nanos(t),
            Duration::from_nanos(tau),
            Some(Instant::now() + Duration::from_nanos(ahead)),
        );
        let meter = GCRA::from(parts);
        prop_assert_eq!(<(Duration, Duration, Option<Instant>)>::from(&meter), parts);
    }
}

fn again(meter: &GCRA) -> GCRA {
    let (t, tau, tat) = meter.into();
    GCRA::try_with_parameters(t, tau, tat).unwrap()
}
