//! Several meters, all or nothing, against others at the same time.

use super::burst_of;
use loom::thread;
use ratelimit_meter::{AllDenied, Exponential, GCRA, LeakyBucket, check_all_at, check_all_n_at};
use std::time::Instant;

fn gcra(cells: u32) -> GCRA {
    GCRA::from_quota(burst_of(cells)).unwrap()
}

fn bucket(cells: u32) -> LeakyBucket {
    LeakyBucket::from_quota(burst_of(cells)).unwrap()
}

/// How many meters count the cells of a call that was told this.
fn counted(told: Result<(), AllDenied>, meters: usize) -> usize {
    told.map_or_else(|denied| denied.kept(), |()| meters)
}

#[test]
fn two_threads_and_one_cell_of_each_make_one_winner() {
    loom::model(|| {
        let (a, b, now) = (gcra(1), bucket(1), Instant::now());
        let other = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || check_all_at(&[&a, &b], now)
        });
        let told = [check_all_at(&[&a, &b], now), other.join().unwrap()];
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 1);
        // In one order whoever wins the first wins all.
        assert!(told.iter().flat_map(|told| told.err()).all(|denied| denied.kept() == 0));
    });
}

/// In opposite orders each may take what the other needs. It admits no more than there is, and tells what it kept.
#[test]
fn what_is_kept_is_told_exactly() {
    loom::model(|| {
        let (a, b, now) = (gcra(3), bucket(3), Instant::now());
        let other = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || check_all_n_at(&[(&b, 2), (&a, 2)], now)
        });
        let one = check_all_n_at(&[(&a, 2), (&b, 2)], now);
        let other = other.join().unwrap();
        assert!(one.is_err() || other.is_err());
        let (one, other) = (counted(one, 2), counted(other, 2));
        let of_a = u32::from(one >= 1) + u32::from(other >= 2);
        let of_b = u32::from(one >= 2) + u32::from(other >= 1);
        assert_eq!(a.status_at(now).remaining(), 3 - 2 * of_a);
        assert_eq!(b.status_at(now).remaining(), 3 - 2 * of_b);
    });
}

#[test]
fn who_takes_the_last_cells_in_between_leaves_the_rest_charged() {
    loom::model(|| {
        let (a, b, now) = (gcra(2), bucket(1), Instant::now());
        let other = thread::spawn({
            let b = b.clone();
            move || b.check_at(now).is_ok()
        });
        let told = check_all_at(&[&a, &b], now);
        assert_eq!(told.is_ok(), !other.join().unwrap(), "one of them has it");
        if let Err(denied) = told {
            assert_eq!(
                (denied.meter(), denied.decision()),
                (1, b.peek_n_at(1, now).unwrap_err())
            );
        }
        assert_eq!(a.status_at(now).remaining() == 1, counted(told, 2) >= 1);
        assert_eq!(b.status_at(now).remaining(), 0);
    });
}

/// No one else takes from the meter that refuses: at no time does the other lack a cell.
#[test]
fn a_refusal_without_a_race_changes_nothing() {
    loom::model(|| {
        let (a, b, now) = (gcra(2), bucket(1), Instant::now());
        let strict = Exponential::from_quota(burst_of(1)).unwrap().strict();
        assert!(b.check_at(now).is_ok());
        let other = thread::spawn({
            let (a, strict) = (a.clone(), strict.clone());
            move || a.check_n_at(2, now).is_ok() && strict.check_at(now).is_ok()
        });
        let told = check_all_at(&[&a, &strict, &b], now);
        assert!(other.join().unwrap());
        assert_eq!(told.map_err(|denied| denied.kept()), Err(0));
    });
}
