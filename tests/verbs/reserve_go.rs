//! Reservations, step by step, beside those of Go's `x/time/rate`.

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{GCRA, LeakyBucket, Meter, Quota, Reservation};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs a check of one meter on GCRA and on the leaky bucket.
macro_rules! on_both {
    ($quota:expr, $check:expr) => {{
        let quota: Quota = $quota.parse().expect("a quota");
        $check(GCRA::from_quota(quota).expect("a limit"));
        $check(LeakyBucket::from_quota(quota).expect("a limit"));
    }};
}

fn wait<A: Algorithm>(reservation: &Reservation<A>, from: Instant) -> u128 {
    reservation.delay_from(from).as_millis()
}

/// One move at a time in milliseconds, and the result in Go's `x/time/rate` by its documentation.
enum Go {
    /// `ReserveN(at, n)`: `DelayFrom(at)` in milliseconds.
    Reserve(u32, u32, u128),
    /// The same within a longest wait: not `OK`.
    Refused(u32, u32, u32),
    /// `CancelAt` of the reservation with this number.
    Cancel(u32, usize),
    /// `AllowN(at, n)`.
    Allow(u32, u32, bool),
}
use Go::{Allow, Cancel, Refused, Reserve};

#[test]
fn reservations_are_those_of_go() {
    let paced = [
        Reserve(0, 1, 0),
        Reserve(0, 1, 100),
        Reserve(0, 1, 200),
        Reserve(50, 1, 250),
        Allow(399, 1, false),
        Allow(400, 1, true),
    ];
    let cancelled = [
        Reserve(0, 1, 0),
        Reserve(0, 1, 100),
        Reserve(0, 1, 200),
        Cancel(0, 2),
        Reserve(0, 1, 200),
        Cancel(150, 3),
        Allow(199, 1, false),
        Allow(200, 1, true),
    ];
    // As in Go, a reservation behind which another one waits gives nothing back: two would act at 200 ms.
    let others_after = [
        Reserve(0, 1, 0),
        Reserve(0, 1, 100),
        Reserve(0, 1, 200),
        Cancel(0, 1),
        Reserve(0, 1, 300),
        Cancel(0, 3),
        Cancel(0, 2),
        Reserve(0, 1, 200),
    ];
    let refused = [
        Reserve(0, 1, 0),
        Refused(0, 1, 99),
        Refused(0, 1, 0),
        Reserve(0, 1, 100),
        Refused(0, 1, 199),
        Refused(0, 2, 10_000),
        Reserve(0, 1, 200),
    ];
    play("10/s burst 1", &[&paced, &cancelled, &others_after, &refused]);
    let burst = [
        Reserve(0, 10, 0),
        Reserve(0, 5, 500),
        Refused(0, 1, 599),
        Reserve(250, 1, 350),
        Refused(0, 11, 100_000),
        Allow(600, 1, false),
    ];
    let whole = [
        Reserve(0, 4, 0),
        Allow(0, 7, false),
        Allow(0, 6, true),
        Reserve(0, 10, 1000),
        Cancel(300, 1),
        Allow(300, 4, false),
        Allow(300, 3, true),
    ];
    let idle = [
        Reserve(0, 10, 0),
        Reserve(5000, 10, 0),
        Reserve(5000, 1, 100),
        Cancel(5000, 2),
        Allow(5099, 1, false),
        Allow(5100, 1, true),
    ];
    let at_its_time = [
        Reserve(0, 10, 0),
        Reserve(0, 5, 500),
        Cancel(500, 1),
        Allow(500, 6, false),
        Allow(500, 5, true),
    ];
    play("10/s", &[&burst, &whole, &idle, &at_its_time]);
}

fn play(quota: &str, tables: &[&[Go]]) {
    fn run<A: Algorithm>(meter: &Meter<A>, table: &[Go]) {
        let start = Instant::now();
        let mut made = Vec::new();
        for (row, go) in table.iter().enumerate() {
            match *go {
                Reserve(at, n, delay) => {
                    let at = start + at * MS;
                    let reservation = meter.reserve_at(n, HOUR, at).expect("within an hour");
                    assert_eq!(reservation.cells(), n);
                    assert_eq!(wait(&reservation, at), delay, "row {row} of {meter:?}");
                    made.push(Some(reservation));
                }
                Refused(at, n, longest) => {
                    let before = crate::support::subject::timeless(&meter);
                    assert!(
                        meter.reserve_at(n, longest * MS, start + at * MS).is_err(),
                        "row {row} of {meter:?}"
                    );
                    assert_eq!(crate::support::subject::timeless(&meter), before);
                }
                Cancel(at, number) => made[number]
                    .take()
                    .expect("not yet cancelled")
                    .cancel_at(start + at * MS),
                Allow(at, n, ok) => assert_eq!(
                    meter.check_n_at(n, start + at * MS).is_ok(),
                    ok,
                    "row {row} of {meter:?}"
                ),
            }
        }
    }
    for table in tables {
        on_both!(quota, |meter| run(&meter, table));
    }
}
