//! Several meters, all or nothing, against other threads at the same time.

use super::burst_of;
use loom::thread;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, check_all_at};
use std::time::Instant;

fn gcra(cells: u32) -> GCRA {
    GCRA::from_quota(burst_of(cells)).unwrap()
}

fn bucket(cells: u32) -> LeakyBucket {
    LeakyBucket::from_quota(burst_of(cells)).unwrap()
}

#[test]
fn two_threads_on_one_shared_cell_one_wins() {
    loom::model(|| {
        let (a, b, now) = (gcra(1), bucket(1), Instant::now());
        let other = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || check_all_at(&[(&a, 1), (&b, 1)], now)
        });
        let told = [check_all_at(&[(&a, 1), (&b, 1)], now), other.join().unwrap()];
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 1);
        assert_eq!([a.status_at(now).remaining(), b.status_at(now).remaining()], [0, 0]);
    });
}

/// In opposite orders each may take the cells that the other needs. Both may be denied, but then all cells are given back.
#[test]
fn race_in_opposite_orders_gives_all_back() {
    loom::model(|| {
        let (a, b, now) = (gcra(3), bucket(3), Instant::now());
        let other = thread::spawn({
            let (a, b) = (a.clone(), b.clone());
            move || check_all_at(&[(&b, 2), (&a, 2)], now)
        });
        let one = check_all_at(&[(&a, 2), (&b, 2)], now);
        let other = other.join().unwrap();
        assert!(one.is_err() || other.is_err());
        let admitted = u32::from(one.is_ok()) + u32::from(other.is_ok());
        assert_eq!(a.status_at(now).remaining(), 3 - 2 * admitted);
        assert_eq!(b.status_at(now).remaining(), 3 - 2 * admitted);
    });
}

#[test]
fn race_lost_at_last_meter_refunds_the_first() {
    loom::model(|| {
        let (a, b, now) = (gcra(2), bucket(1), Instant::now());
        let other = thread::spawn({
            let b = b.clone();
            move || b.check_at(now).is_ok()
        });
        let told = check_all_at(&[(&a, 1), (&b, 1)], now);
        assert_eq!(told.is_ok(), !other.join().unwrap(), "one of them has it");
        if let Err(denied) = told {
            assert_eq!(
                (denied.meter(), denied.decision()),
                (1, b.peek_n_at(1, now).unwrap_err())
            );
        }
        assert_eq!(a.status_at(now).remaining(), if told.is_ok() { 1 } else { 2 });
        assert_eq!(b.status_at(now).remaining(), 0);
    });
}

/// No other thread takes from the meter that denies: at no time does the other meter lack a cell.
#[test]
fn a_denial_without_a_race_changes_nothing() {
    loom::model(|| {
        let (a, b, now) = (gcra(2), bucket(1), Instant::now());
        let strict = Exponential::from_quota(burst_of(1)).unwrap().strict();
        assert!(b.check_at(now).is_ok());
        let other = thread::spawn({
            let (a, strict) = (a.clone(), strict.clone());
            move || a.check_n_at(2, now).is_ok() && strict.check_at(now).is_ok()
        });
        let told = check_all_at(&[(&a, 1), (&strict, 1), (&b, 1)], now);
        assert!(other.join().unwrap());
        assert!(told.is_err());
    });
}
