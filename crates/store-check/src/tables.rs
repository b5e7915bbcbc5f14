//! Textbook traces with every number of the reply.

use crate::{START, bucket, micros, one};
use ratelimit_meter_store::{BlockingStore, Verb};

/// A time, and for a denied cell the time from which it conforms.
type TableStep = (u64, Option<u64>);

struct StepTable {
    quota: &'static str,
    steps: &'static [TableStep],
}

/// T = 10, tau = 15 is two units a cell, of five that drain one in 5: Perros. T = 100, tau = 500: Le Boudec. Seconds.
const TABLES: [StepTable; 5] = [
    StepTable {
        quota: "1/5s burst 5 weight 2",
        steps: &[
            (0, None),
            (12, None),
            (18, None),
            (20, None),
            (25, Some(27)),
            (26, Some(27)),
            (27, None),
        ],
    },
    StepTable {
        quota: "1/100s burst 6",
        steps: &[
            (0, None),
            (100, None),
            (110, None),
            (120, None),
            (130, None),
            (140, None),
            (150, None),
            (160, Some(200)),
            (170, Some(200)),
            (180, Some(200)),
            (1000, None),
            (1010, None),
        ],
    },
    StepTable {
        quota: "1/100s burst 6",
        steps: &[
            (0, None),
            (100, None),
            (130, None),
            (160, None),
            (190, None),
            (220, None),
            (250, None),
            (280, None),
            (310, None),
            (1000, None),
            (1030, None),
        ],
    },
    StepTable {
        quota: "2/10s burst 2",
        steps: &[
            (0, None),
            (0, None),
            (0, Some(5)),
            (4, Some(5)),
            (5, None),
            (5, Some(10)),
            (100, None),
            (100, None),
            (100, Some(105)),
        ],
    },
    StepTable {
        quota: "3/s burst 10 every 1s",
        steps: &[
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, None),
            (0, Some(1)),
            (1, None),
            (1, None),
            (1, None),
            (1, Some(2)),
        ],
    },
];

const SECOND: u64 = 1_000_000;

pub(crate) fn check(store: &impl BlockingStore) {
    for (i, table) in TABLES.iter().enumerate() {
        let (limit, _) = bucket(table.quota);
        let key = format!("table:{i}");
        one(store, Verb::Reset, START, &key, &limit, 1).expect("a reset");
        for &(at, due) in table.steps {
            let now = START + at * SECOND;
            let context = format!("{} at {at} s", table.quota);
            let (peeked, before) = one(store, Verb::Peek, now, &key, &limit, 1).expect("a peek");
            let (cells, state) = one(store, Verb::Check, now, &key, &limit, 1).expect("a decision");
            assert_eq!(peeked, cells, "{context}");
            assert_eq!(cells, Some(u64::from(due.is_none())), "{context}");
            if let Some(due) = due {
                assert_eq!(before, state, "{context}: a denial changes nothing");
                let wait = limit.until(state, micros(now), 1).expect("one day");
                assert_eq!(wait.as_micros(), u128::from((due - at) * SECOND), "{context}");
                assert_eq!(limit.remaining(state, micros(now)), 0, "{context}");
            }
        }
        one(store, Verb::Reset, START, &key, &limit, 1).expect("a reset");
    }
    never(store);
}

/// A batch above the burst never conforms, and a part of it does.
fn never(store: &impl BlockingStore) {
    let (limit, _) = bucket("10/s");
    let key = "table:never";
    one(store, Verb::Reset, START, key, &limit, 1).expect("a reset");
    for verb in [Verb::Check, Verb::Peek, Verb::Lease { at_most: 3 }] {
        let (cells, state) = one(store, verb, START, key, &limit, 11).expect("a decision");
        assert_eq!((cells, limit.remaining(state, micros(START))), (None, 10), "{verb:?}");
        assert_eq!(limit.until(state, micros(START), 11), None);
    }
    let (cells, state) = one(store, Verb::UpTo, START, key, &limit, 11).expect("a decision");
    assert_eq!((cells, limit.remaining(state, micros(START))), (Some(10), 0));
    one(store, Verb::Reset, START, key, &limit, 1).expect("a reset");
}
