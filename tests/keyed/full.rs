//! Many keys and few slots, against an exact bucket for each key: except for events in the statistics, each key decides as if it had a slot. And keys
//! that a poor hash throws together.

use crate::support::clock::Behind;
use crate::support::keyed::{BALLAST, BUCKET_SLOTS, POLICIES, Poor, SLOTS, builder, few_slots, fitting};
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::time::{HORIZON, SECOND, instant, since};
use crate::support::traffic::{limits, spread, whole_limits};
use crate::support::verb::{Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait};
use crate::support::window::Admissions;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{KeyedBuilder, KeyedDual, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, Meter, NegativeMultiDecision, NonConformance, check_all};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const KEYS: u64 = 100;

/// The time for which a key may seem live after it is exactly idle: two units, each at most a nanosecond.
const LATE: i128 = 3;

struct Play<A: Algorithm> {
    limit: Limit,
    keys: KeyedMeter<u64, Meter<A, ManualClock>>,
    when_full: WhenFull,
    origin: Instant,
    exact: Vec<ExactBucket>,
}

/// The outcome of a verb.
#[derive(Debug, PartialEq)]
enum VerbOutcome {
    Verdict(Verdict),
    Cells(u32, Option<Verdict>),
    Unrecorded(u64),
}

impl<A: Algorithm> Play<A> {
    fn new(like: Meter<A>, limit: Limit, when_full: WhenFull) -> Self {
        let clock = ManualClock::new();
        Self {
            limit,
            keys: few_slots(builder(like, &clock, when_full)),
            when_full,
            origin: clock.now(),
            exact: (0..KEYS).map(|_| ExactBucket::new(limit)).collect(),
        }
    }

    fn verdict(&self, decision: Result<(), NegativeMultiDecision>) -> Verdict {
        match decision {
            Ok(()) => Verdict::Conforms,
            Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => {
                Verdict::From(since(self.origin, denied.earliest_possible()))
            }
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Verdict::Never,
        }
    }

    fn tell(&self, verb: Verb, key: u64, n: u32, now: i128) -> VerbOutcome {
        let (keys, at) = (&self.keys, instant(self.origin, now));
        match verb {
            Check if n == 1 => {
                let decision = keys.check_at(&key, at);
                VerbOutcome::Verdict(
                    self.verdict(decision.map_err(|d| NegativeMultiDecision::BatchNonConforming(1, d))),
                )
            }
            Take => VerbOutcome::Verdict(self.verdict(keys.key(&key).take_at(n, at).decision())),
            UpTo | Reserve => {
                let admitted = keys.key(&key).check_up_to_at(n, at);
                let next = admitted
                    .next()
                    .map(|d| Verdict::From(since(self.origin, d.earliest_possible())));
                VerbOutcome::Cells(admitted.cells(), next)
            }
            Charge => VerbOutcome::Unrecorded(keys.key(&key).charge_at(n.into(), at)),
            Refund | Cancel => {
                keys.key(&key).refund_at(n.into(), at);
                VerbOutcome::Unrecorded(0)
            }
            Reset => {
                keys.key(&key).reset();
                VerbOutcome::Unrecorded(0)
            }
            _ => VerbOutcome::Verdict(self.verdict(keys.check_n_at(&key, n, at))),
        }
    }

    /// Takes the step and returns the right answer, if there is a slot.
    fn tell_exactly(&mut self, verb: Verb, key: u64, n: u32, now: i128) -> VerbOutcome {
        let most = self.limit.at_once();
        let bucket = &mut self.exact[usize::try_from(key).expect("some")];
        match verb {
            UpTo | Reserve => {
                let cells = n.min(bucket.room(now)).min(most);
                bucket.take(cells, now);
                VerbOutcome::Cells(cells, (cells < n).then(|| bucket.judge(1, now)))
            }
            Charge => {
                bucket.charge(n.into(), now);
                VerbOutcome::Unrecorded(0)
            }
            Refund | Cancel => {
                bucket.refund(n.into(), now);
                VerbOutcome::Unrecorded(0)
            }
            Reset => {
                *bucket = ExactBucket::new(self.limit);
                VerbOutcome::Unrecorded(0)
            }
            _ => VerbOutcome::Verdict(bucket.decide(n, now)),
        }
    }

    fn counts(&self) -> [u64; 3] {
        let stats = self.keys.stats();
        [stats.forgiven, stats.denied, stats.admitted]
    }

    fn step(&mut self, verb: Verb, key: u64, n: u32, now: i128) {
        let index = usize::try_from(key).expect("some");
        let (counts, peeked) = (
            self.counts(),
            self.keys.key(&key).peek_n_at(n, instant(self.origin, now)),
        );
        let (before, was_there) = (self.exact[index].clone(), self.exact.clone());
        let status = self.keys.key(&key).status_at(instant(self.origin, now));
        assert_eq!(self.counts(), counts, "a peek is counted");
        assert_eq!(status.remaining() >= n, peeked.is_ok(), "what would conform at once");
        let told = self.tell(verb, key, n, now);
        let exactly = self.tell_exactly(verb, key, n, now);
        let none = counts == self.counts();
        if !none {
            // All slots belonged to other live keys, except perhaps for keys that just became idle, and the key had none.
            assert_eq!(before.level(now), 0, "{verb:?}: a key that is there needs no slot");
            assert!(was_there.iter().filter(|bucket| bucket.level(now - LATE) > 0).count() >= SLOTS);
        }
        let [forgiven, denied, admitted] = counts;
        match self.when_full {
            _ if none => assert_eq!(told, exactly, "{verb:?} {n} cells at {now}: {:?}", self.limit),
            WhenFull::Deny => {
                assert_eq!(self.counts(), [forgiven, denied + 1, admitted]);
                self.exact[index] = before;
                let earliest = match told {
                    VerbOutcome::Verdict(Verdict::From(earliest))
                    | VerbOutcome::Cells(0, Some(Verdict::From(earliest))) => earliest,
                    VerbOutcome::Unrecorded(unrecorded) => {
                        assert_eq!(unrecorded, u64::from(n));
                        return;
                    }
                    other => panic!("{other:?} for want of a slot"),
                };
                assert_eq!(self.verdict(peeked), Verdict::From(earliest));
                let peek = |at| {
                    self.keys
                        .key(&key)
                        .peek_n_at(n.min(self.limit.at_once()), instant(self.origin, at))
                };
                assert_eq!(self.verdict(peek(earliest - 1)), Verdict::From(earliest));
                assert_eq!(peek(earliest), Ok(()));
                // The key that becomes idle first, of all.
                let live = self
                    .exact
                    .iter()
                    .map(|bucket| bucket.level(now))
                    .filter(|level| *level > 0);
                let nearest = live.min().map(|level| now + self.limit.time_to_drain(level));
                assert!(nearest.is_none_or(|nearest| earliest <= nearest + LATE));
            }
            WhenFull::Admit => {
                assert_eq!(self.counts(), [forgiven, denied, admitted + 1]);
                self.exact[index] = before;
                match told {
                    VerbOutcome::Unrecorded(unrecorded) => {
                        assert_eq!(unrecorded, u64::from(n), "a charge that is lost is told")
                    }
                    told => assert_eq!(told, exactly),
                }
            }
            WhenFull::Forgive => {
                assert_eq!(self.counts(), [forgiven + 1, denied, admitted]);
                assert_eq!(told, exactly);
                self.forgive(index, now);
            }
        }
        if key % 16 == 0 {
            self.compare(now);
        }
    }

    /// Finds the evicted key: the key that becomes idle first.
    fn forgive(&mut self, by: usize, now: i128) {
        let at = instant(self.origin, now);
        let is_gone = |key: &usize| self.exact[*key].level(now) > 0 && !self.keys.key(&(*key as u64)).is_live_at(at);
        let gone: Vec<usize> = (0..self.exact.len()).filter(|key| *key != by).filter(is_gone).collect();
        assert!(gone.len() <= 1, "{gone:?}");
        for key in gone {
            let others = self.exact.iter().enumerate().filter(|(other, _)| *other != by);
            let least = others
                .map(|(_, bucket)| bucket.level(now))
                .filter(|level| *level > 0)
                .min();
            assert_eq!(Some(self.exact[key].level(now)), least);
            self.exact[key] = ExactBucket::new(self.limit);
        }
    }

    /// Each key with a debt is live, and each live key had a debt just now.
    fn compare(&self, now: i128) {
        for (key, bucket) in self.exact.iter().enumerate() {
            let (key, at) = (key as u64, instant(self.origin, now));
            if self.keys.key(&key).is_live_at(at) {
                assert!(bucket.level(now - LATE) > 0, "{key} owes nothing");
            } else {
                assert_eq!(bucket.level(now), 0, "what {key} owes is forgotten");
            }
        }
    }
}

fn play<A: Algorithm>(like: Meter<A>, limit: Limit, when_full: WhenFull, steps: &[(u64, Verb, u64, u64)]) {
    let mut play = Play::new(like, limit, when_full);
    let mut now = 0;
    let rest = u64::try_from(limit.time_to_rest().min(HORIZON / 100)).expect("some years");
    for &(key, verb, size, wait) in steps {
        // With every fourth step, so that about a table is live at once.
        if wait % 4 == 0 {
            now += i128::from(spread(wait, 1, (rest / 8).max(1)));
        }
        if now > HORIZON / 2 {
            break;
        }
        let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
        play.step(verb, key, n, now);
    }
    play.compare(now);
}

fn steps() -> impl Strategy<Value = Vec<(u64, Verb, u64, u64)>> {
    let verb = prop_oneof![
        8 => prop::sample::select(&[Check, Peek, Take, UpTo, Charge][..]),
        1 => prop::sample::select(&[Refund, Reset, Status, Wait, Reserve, Cancel][..]),
    ];
    // Sixty keys first, each once, so that all slots are taken.
    let first = prop::collection::vec((any::<u64>(), any::<u64>()), SLOTS);
    let then = prop::collection::vec((0..KEYS, verb, any::<u64>(), any::<u64>()), 1..150);
    (first, then).prop_map(|(first, then)| {
        let first = first.into_iter().enumerate();
        let first = first.map(|(key, (size, wait))| (key as u64, Charge, size, wait | 1));
        first.chain(then).collect()
    })
}

proptest! {
    // Each fills several tables first.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn decisions_match_the_oracle_unless_overflow_is_counted(
        limit in fitting(whole_limits()).prop_filter("debts that end on the time line", |limit| limit.time_to_rest() < HORIZON / 1000),
        steps in steps(),
    ) {
        for when_full in POLICIES {
            play(gcra(&limit), limit, when_full, &steps);
            play(leaky_bucket(&limit), limit, when_full, &steps);
        }
    }

    /// With any limit, while nearly each call takes a slot from an idle key.
    #[test]
    fn reuse_of_idle_slots_holds_law_1(limit in fitting(limits()), calls in prop::collection::vec((0_u64..150, any::<u64>(), any::<u64>()), 1..600)) {
        let clock = ManualClock::new();
        let keys: KeyedMeter<u64, _> = few_slots(builder(gcra(&limit), &clock, WhenFull::Deny));
        let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 100)).expect("some years");
        let (mut records, mut now) = (HashMap::new(), 0);
        for (key, size, wait) in calls {
            now += i128::from(spread(wait, 1, (rest / 16).max(1)));
            let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
            if now < HORIZON && keys.check_n_at(&key, n, instant(clock.now(), now)).is_ok() {
                let record = records.entry(key).or_insert_with(|| Admissions::new(limit));
                record.note(n, now, Verdict::Conforms);
            }
        }
        records.values().for_each(|record| record.assert_law_1("a key"));
    }

    /// Keys with the same hash are exactly one meter.
    #[test]
    fn colliding_keys_share_one_meter(
        limit in fitting(whole_limits()),
        classes in prop::sample::select(&[1_u64, 2, 3, 40][..]),
        calls in prop::collection::vec((0_u64..1000, any::<u64>(), any::<u64>()), 1..200),
    ) {
        let (clock, like) = (ManualClock::new(), gcra(&limit));
        let keys: KeyedMeter<u64, _, Poor> =
            builder(like, &clock, WhenFull::Deny).hashes(Poor(classes)).with_capacity(1).expect("some memory");
        let mut exact: HashMap<u64, ExactBucket> = HashMap::new();
        let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 200)).expect("some years");
        let mut now = 0;
        for (key, size, wait) in calls {
            now += i128::from(spread(wait, 1, (rest / 8).max(1)));
            let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()))).expect("at most what conforms at once");
            let exact = exact.entry(key % classes).or_insert_with(|| ExactBucket::new(limit));
            let conforms = keys.check_n_at(&key, n, instant(clock.now(), now)).is_ok();
            prop_assert_eq!(conforms, exact.decide(n, now) == Verdict::Conforms);
        }
        prop_assert!(keys.stats().taken as u64 <= classes);
    }
}

/// A thousand keys of one bucket, all at one instant: counts the answers of each kind.
#[test]
fn simultaneous_keys_fill_every_slot() {
    let limit = Limit::per_second(2);
    for (when_full, passed, counts) in [
        (WhenFull::Deny, 2 * SLOTS, [0, 2 * (1000 - SLOTS as u64), 0]),
        (WhenFull::Admit, 2 * 1000, [0, 0, 2 * (1000 - SLOTS as u64)]),
        (WhenFull::Forgive, 2 * 1000, [1000 - SLOTS as u64, 0, 0]),
    ] {
        let clock = ManualClock::new();
        let keys: KeyedMeter<u64, _> = few_slots(builder(gcra(&limit), &clock, when_full));
        let ok = |key: &u64| keys.check(key).is_ok();
        let calls = (0..1000).flat_map(|key| [key; 2]);
        assert_eq!(calls.filter(ok).count(), passed, "{when_full:?}");
        let stats = keys.stats();
        assert_eq!([stats.forgiven, stats.denied, stats.admitted], counts, "{when_full:?}");
        assert_eq!(
            (stats.live, stats.taken, stats.slots),
            (BUCKET_SLOTS, BUCKET_SLOTS, BUCKET_SLOTS)
        );
        assert_eq!(stats.occupancy().to_bits(), 1_f64.to_bits());
    }
}

#[test]
fn policy_decides_waiter_without_a_slot() {
    let limit = Limit::per_second(10).burst(5);
    for when_full in POLICIES {
        let clock = ManualClock::new();
        let keys: KeyedMeter<u64, GCRA<ManualClock>> = few_slots(builder(gcra(&limit), &clock, when_full));
        let (from, by) = (clock.now(), clock.now() + Duration::from_millis(50));
        let others = (0..).take_while(|_| keys.stats_at(by).live < BUCKET_SLOTS);
        others.for_each(|other| assert_eq!(keys.key(&other).charge_at(5, by), 0));
        let told = keys.key(&(1 << 40)).check_n_within(5, from, by);
        match when_full {
            WhenFull::Forgive | WhenFull::Admit => assert_eq!(told, Ok(())),
            WhenFull::Deny => assert!(matches!(
                told,
                Err(NegativeMultiDecision::BatchNonConforming(5, denied)) if denied.is_table_full()
            )),
        }
        let never = keys.key(&(1 << 40)).check_n_within(6, from, by);
        assert_eq!(never, Err(NegativeMultiDecision::InsufficientCapacity(6)));
    }
}

/// A key that is denied for lack of a slot and waits for the reported time gets one. A nanosecond before, there is none.
#[test]
fn a_denial_without_slots_ends_on_time() {
    let limit = Limit::new(7, SECOND).burst(3);
    let clock = ManualClock::new();
    let keys: KeyedMeter<u64, _> = few_slots(builder(leaky_bucket(&limit), &clock, WhenFull::Deny));
    let start = clock.now();
    for key in 0..60 {
        assert!(
            keys.check_n_at(
                &key,
                1 + u32::try_from(key % 3).unwrap(),
                start + Duration::from_nanos(key)
            )
            .is_ok()
        );
    }
    let at = start + Duration::from_millis(1);
    for key in 100..120 {
        let denied = keys.check_at(&key, at).unwrap_err();
        let taken = keys.key(&key).take_at(2, at);
        assert_eq!(
            taken.decision(),
            Err(NegativeMultiDecision::BatchNonConforming(2, denied))
        );
        let wait = denied.wait_time_from(at);
        for status in [taken.status(), keys.key(&key).status_at(at)] {
            assert_eq!(status.remaining(), 0);
            assert_eq!((status.until_next(), status.until_rest()), (wait, wait));
            assert_eq!(
                status.quota().map(|quota| quota.to_string()).as_deref(),
                Some("7/s burst 3")
            );
        }
        assert!(!keys.key(&key).is_live_at(at), "it owes nothing");
        let earliest = denied.earliest_possible();
        let early = keys.check_at(&key, earliest - Duration::from_nanos(1)).unwrap_err();
        assert_eq!(early, denied);
        assert_eq!(keys.check_n_at(&key, 3, earliest), Ok(()));
    }
    let stats = keys.stats_at(at);
    assert_eq!((stats.denied, stats.taken), (60, BUCKET_SLOTS));
}

/// A key that is idle from this instant on loses its slot only if no other key can, and has no debt then.
#[test]
fn evicting_a_just_idle_key_loses_nothing() {
    let second = Duration::from_secs(1);
    let like = GCRA::with_parameters(second, Duration::ZERO, None);
    let keys: KeyedMeter<u64, _> = few_slots(builder(like, &ManualClock::new(), WhenFull::Forgive));
    let then = Instant::now();
    for key in 0..SLOTS as u64 {
        assert!(keys.check_at(&key, then).is_ok());
    }
    assert!(keys.check_at(&99, then + second).is_ok());
    let stats = keys.stats_at(then + second);
    assert_eq!(
        (stats.live, stats.taken, stats.forgiven),
        (BALLAST + 1, BUCKET_SLOTS, 0)
    );
    assert!(keys.check_at(&100, then + second).is_ok());
    assert_eq!(keys.stats_at(then + second).forgiven, 0);
}

/// Such a denial is decided twice: by the clock, and once more at the exact time.
#[test]
fn a_denial_without_a_slot_is_counted_once() {
    let (clock, hour) = (ManualClock::new(), Duration::from_secs(3600));
    let like = GCRA::from_quota("1/h".parse().unwrap()).unwrap();
    let like = like.with_clock(Behind::new(&clock, Duration::from_micros(4)));
    let keys: KeyedMeter<u64, GCRA<Behind>> = KeyedBuilder::new(like)
        .when_full(WhenFull::Deny)
        .with_capacity(1)
        .unwrap();
    let start = clock.now();
    assert!((0..BUCKET_SLOTS as u64).all(|key| keys.check_at(&key, start).is_ok()));
    clock.advance(hour - Duration::from_micros(2)).unwrap();
    for count in 1..10 {
        assert!(keys.check(&1000).is_err());
        assert_eq!(keys.stats().denied, count);
    }
    clock.advance(Duration::from_micros(2)).unwrap();
    assert!(keys.check(&1000).is_ok(), "a slot idle exactly now is free");
    assert_eq!(keys.stats().denied, 9);
}

/// A decision on several meters looks at each first, so a key without a slot is denied before its own decision. And zero cells need no slot.
#[test]
fn joint_denials_without_a_slot_are_counted_once() {
    let (clock, hour) = (ManualClock::new(), Duration::from_secs(3600));
    let like = |text: &str| {
        let meter = GCRA::from_quota(text.parse().unwrap()).unwrap();
        meter.with_clock(Behind::new(&clock, Duration::from_micros(4)))
    };
    let (service, start) = (like("1000/s"), clock.now());
    let keys = KeyedBuilder::new(like("1/h")).when_full(WhenFull::Deny);
    let keys = keys.with_capacity::<u64>(1).unwrap();
    let pairs: KeyedDual<u64, GCRA<Behind>> = KeyedDual::new(like("2/h"), like("1/h"), WhenFull::Deny, 1).unwrap();
    for key in 0..BUCKET_SLOTS as u64 {
        assert!(keys.check_at(&key, start).is_ok() && pairs.check_at(&key, start).is_ok());
    }
    let denied = || [&keys, pairs.first(), pairs.second()].map(|table| table.stats().denied);
    // By the clock's lag, a denial at its time is decided again.
    for (ms, first) in [(0, 9), (1_800_000, 9), (3_600_000, 0)] {
        clock.set(start + Duration::from_millis(ms) - Duration::from_micros(2));
        let before = denied();
        for count in 1..10 {
            let all = check_all(&[(&service, 1), (&keys.key(&1000), 1)]).unwrap_err();
            assert_eq!(all.meter(), 1);
            let pair = pairs.check(&1000).unwrap_err();
            assert!(NonConformance::from(pair).is_table_full());
            assert_eq!(
                denied(),
                [before[0] + count, before[1] + count.min(first), before[2] + count]
            );
        }
        assert_eq!(check_all(&[(&service, 1), (&keys.key(&1000), 0)]), Ok(()));
        assert_eq!(denied()[0], before[0] + 9, "zero cells");
    }
    clock.set(start + hour);
    assert_eq!(check_all(&[(&service, 1), (&keys.key(&1000), 1)]), Ok(()));
    assert_eq!(pairs.check(&1000), Ok(()));
    let left = service.status_at(clock.now()).remaining();
    assert_eq!(left, 998, "with the last zero cells");
}
