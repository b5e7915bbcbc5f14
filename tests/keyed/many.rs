//! Decisions on many keys at once are those that one by one would be.

use proptest::prelude::*;
use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use std::time::{Duration, Instant};

/// Two tables that hash alike, too small for the keys that come.
fn twins() -> [KeyedMeter<u16>; 2] {
    let like = GCRA::from_quota("2/s".parse::<Quota>().unwrap()).unwrap();
    [like.clone(), like].map(|like| {
        let hashes = KeyHashes::with_seed([1 << 40, 2, 3]);
        KeyedBuilder::new(like).hashes(hashes).with_capacity(32).unwrap()
    })
}

proptest! {
    #[test]
    fn many_are_decided_as_one_by_one(batches in prop::collection::vec(
        (prop::collection::vec(0..200_u16, 0..100), 0..2_000_u64),
        1..8,
    )) {
        let [many, single] = twins();
        let start = Instant::now();
        for (keys, ms) in batches {
            let at = start + Duration::from_millis(ms);
            let answers: Vec<_> = many.check_many_at(&keys, at).collect();
            let one_by_one: Vec<_> = keys.iter().map(|key| single.check_at(key, at)).collect();
            prop_assert_eq!(answers, one_by_one);
            prop_assert_eq!(many.stats_at(at), single.stats_at(at));
        }
    }
}

#[test]
fn unread_results_are_not_decided() {
    let [many, _] = twins();
    let at = Instant::now();
    let answers = many.check_many_at(&[7; 40], at).take(1).filter(Result::is_ok).count();
    assert_eq!((answers, many.key(&7).status_at(at).remaining()), (1, 1));
    assert_eq!(many.check_many_at(&[7; 40], at).filter(Result::is_ok).count(), 1);
    assert_eq!(many.check_many_at::<u16>(&[], at).count(), 0);
}

#[test]
fn keys_are_decided_now_by_the_clock() {
    let like = GCRA::from_quota("2/h".parse::<Quota>().unwrap()).unwrap();
    let hashes = KeyHashes::with_seed([1 << 40, 2, 3]);
    let many: KeyedMeter<u16> = KeyedBuilder::new(like).hashes(hashes).with_capacity(32).unwrap();
    let keys: Vec<u16> = (0..33).collect();
    assert!(many.check_many(&keys).all(|answer| answer.is_ok()));
    assert_eq!(keys.iter().filter(|key| many.key(key).is_live()).count(), 33);
}
