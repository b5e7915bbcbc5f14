//! Histories that must be equal: of the two algorithms, of a meter and its lock-based twin, of a meter and the exact bucket.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::Subject;
use crate::support::traffic::{limits, play, scattered, spread, steps, whole_limits};
use crate::support::twin::Twin;
use proptest::prelude::*;
use ratelimit_meter::clock::ManualClock;

proptest! {
    /// The standard defines one test in two ways. GCRA and LeakyBucket with the same quota, made at the same instant, give the same answer to every
    /// question, to the nanosecond of every denial. The instant of creation matters only because it fixes the positions of units on the nanosecond
    /// grid.
    #[test]
    fn gcra_and_leaky_bucket_decide_alike(limit in limits(), steps in steps()) {
        let clock = ManualClock::new();
        let [gcra, bucket] = Subject::each_on(&limit, &clock);
        play(&limit, &steps, |n, at, _| {
            let verdict = gcra.ask(n, at);
            assert_eq!(bucket.ask(n, at), verdict, "{n} cells at {at} ns: {limit:?}");
            verdict
        });
    }

    /// They also agree when time goes back and forth.
    #[test]
    fn gcra_and_leaky_bucket_agree_in_any_order((limit, questions) in scattered()) {
        let clock = ManualClock::new();
        let [gcra, bucket] = Subject::each_on(&limit, &clock);
        for (n, at) in questions {
            prop_assert_eq!(gcra.ask(n, at), bucket.ask(n, at), "{} cells at {} ns: {:?}", n, at, limit);
        }
    }

    /// If the emission interval is a whole number of nanoseconds, and all times are on the time line, the number format does not matter.
    /// A nanosecond is worth more than the two units of resolution, so each verdict equals that of the twin.
    #[test]
    fn meter_and_lock_based_twin_share_one_history(limit in whole_limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            let twin = Twin::new(limit);
            play(&limit, &steps, |n, at, _| {
                let verdict = twin.check_n_at(n, at);
                assert_eq!(meter.ask(n, at), verdict, "{}: {n} cells at {at} ns: {limit:?}", meter.name);
                verdict
            });
        }
    }

    /// GCRA(T, tau) has whole nanoseconds by definition, a theoretical arrival time to begin with too.
    #[test]
    fn gcra_of_t_and_tau_equals_its_twin(t in any::<u64>(), tau in any::<u64>(), tat in -1000i64..1_000_000, steps in steps()) {
        let (t, tau) = (spread(t, 1, 1 << 60), spread(tau, 1, 1 << 60) - 1);
        let (limit, tat) = (Limit::standard(t, tau), i128::from(tat));
        let (rested, expecting) = (Subject::standard(t, tau), Subject::expecting(t, tau, tat));
        let twins = (Twin::new(limit), Twin::expecting(t, tau, tat));
        play(&limit, &steps, |n, at, _| {
            let verdict = twins.0.check_n_at(n, at);
            assert_eq!(rested.ask(n, at), verdict, "{n} cells at {at} ns: {limit:?}");
            assert_eq!(expecting.ask(n, at), twins.1.check_n_at(n, at), "{n} cells at {at} ns, TAT {tat}: {limit:?}");
            verdict
        });
    }

    /// For every other limit the meter admits each request that the exact bucket admits. It admits none that overflows that bucket by more than two
    /// units.
    #[test]
    fn meter_is_the_exact_bucket_within_two_units(limit in limits(), steps in steps()) {
        for meter in Subject::each(&limit) {
            play(&limit, &steps, |n, at, exact| {
                let (verdict, right) = (meter.ask(n, at), exact.judge(n, at));
                let early = verdict == Verdict::Conforms && right != Verdict::Conforms && exact.excess(n, at) <= limit.resolution();
                let agree = std::mem::discriminant(&verdict) == std::mem::discriminant(&right);
                assert!(agree || early, "{}: {n} at {at} ns: {verdict:?}, not {right:?}: {limit:?}", meter.name);
                verdict
            });
        }
    }
}

/// The twin must be worth its name: the textbook's numbers, by hand.
#[test]
fn exact_bucket_and_twin_match_the_textbook() {
    let twin = Twin::new(Limit::standard(10, 15));
    let said = [0, 12, 18, 20, 25, 26, 27].map(|at| twin.check_at(at));
    let (ok, denied) = (Verdict::Conforms, Verdict::From(27));
    assert_eq!(said, [ok, ok, ok, ok, denied, denied, ok]);
    assert_eq!(twin.check_n_at(3, 1000), Verdict::Never);
    assert_eq!(Twin::expecting(10, 15, 100).check_at(80), Verdict::From(85));

    let mut thirds = ExactBucket::new(Limit::new(3, 1000).burst(2));
    assert_eq!(thirds.decide(3, 0), Verdict::Never);
    assert_eq!(thirds.decide(2, 0), Verdict::Conforms);
    assert_eq!(thirds.decide(1, 0), Verdict::From(334));
    assert_eq!(thirds.judge(1, 333), Verdict::From(334));
    assert_eq!(thirds.judge(2, 334), Verdict::From(667));
    assert_eq!(
        (thirds.room(333), thirds.room(334), thirds.room(666), thirds.room(667)),
        (0, 1, 1, 2)
    );
    assert_eq!(thirds.judge(0, 0), Verdict::Conforms);
    assert_eq!(
        thirds.decide(1, -1000),
        Verdict::From(334),
        "an older instant finds it fuller"
    );
}
