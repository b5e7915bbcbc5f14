//! The text of two quotas.

use proptest::prelude::*;
use ratelimit_meter::{DualQuota, ParseQuotaError, Quota, nonzero};
use std::num::NonZeroU32;
use std::time::Duration;

const SECOND: Quota = Quota::per_second(nonzero!(10u32));
const HOUR: Quota = Quota::per_hour(nonzero!(1000u32)).allow_burst(nonzero!(20u32));

#[test]
fn pair_formats_as_canonical_text() {
    const PAIR: DualQuota = DualQuota::new(SECOND, HOUR);
    assert_eq!(PAIR.to_string(), "10/s & 1000/h burst 20");
    for text in [
        "10/s & 1000/h burst 20",
        "10/s&1000/h burst 20",
        " 10/s\t&  1000/60min burst 20 ",
    ] {
        assert_eq!(text.parse(), Ok(PAIR), "{text}");
    }
    assert_eq!((PAIR.first(), PAIR.second()), (SECOND, HOUR));
}

#[test]
fn a_parse_error_of_pairs_names_its_place() {
    let table = [
        (
            "10/s",
            4..4,
            "expected `&` and a second quota, like `10/s & 1000/h` (at byte 4)",
        ),
        (
            "",
            0..0,
            "expected `&` and a second quota, like `10/s & 1000/h` (at byte 0)",
        ),
        ("10/s & ", 7..7, "expected cells per period, like `100/min` (at byte 7)"),
        ("& 10/s", 0..0, "expected cells per period, like `100/min` (at byte 0)"),
        (
            "10/s & 1000/y",
            12..13,
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (bytes 12 to 13)",
        ),
        (
            "10/x & 1000/y",
            3..4,
            "expected a unit of time, ns, us, ms, s, min, h, d or w, like `100/min` (bytes 3 to 4)",
        ),
        (
            "10/s brust 5 & 1/h",
            5..10,
            "expected `burst`, `weight` or `every` and a value, like `100/min burst 20` (bytes 5 to 10)",
        ),
        (
            "10/s & 5/h weight 6",
            18..19,
            "a cell of weight 6 never fits a burst of 5 (bytes 18 to 19)",
        ),
        (
            "10/s & 100/h & 1000/d",
            13..14,
            "expected two quotas and no third, like `10/s & 1000/h` (bytes 13 to 14)",
        ),
        (
            "10/s && 100/h",
            6..7,
            "expected two quotas and no third, like `10/s & 1000/h` (bytes 6 to 7)",
        ),
    ];
    for (text, span, error) in table {
        let said: ParseQuotaError = text.parse::<DualQuota>().expect_err(text);
        assert_eq!((said.span(), said.to_string()), (span, error.to_owned()), "{text}");
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    (any::<[NonZeroU32; 3]>(), 1..u64::from(u32::MAX)).prop_filter_map("law 9", |([cells, burst, weight], ms)| {
        let quota = Quota::new(cells, Duration::from_millis(ms)).ok()?;
        let quota = quota.allow_burst(burst.max(weight)).cell_weight(weight);
        quota.to_string().parse().ok()
    })
}

proptest! {
    #[test]
    fn displayed_pairs_parse_again(first in quotas(), second in quotas()) {
        let pair = DualQuota::new(first, second);
        prop_assert_eq!(pair.to_string().parse(), Ok(pair));
    }

    #[test]
    fn any_text_parses_or_errs_within_it(text in "[0-9a-z/& ]{0,24}|\\PC{0,24}") {
        match text.parse::<DualQuota>() {
            Ok(pair) => prop_assert_eq!(pair.to_string().parse(), Ok(pair)),
            Err(error) => prop_assert!(text.get(error.span()).is_some(), "{:?} of {:?}", error.span(), text),
        }
    }

    #[test]
    #[cfg(feature = "serde")]
    fn serde_writes_and_reads_the_text(first in quotas(), second in quotas()) {
        let pair = DualQuota::new(first, second);
        let json = serde_json::to_string(&pair).expect("a text");
        prop_assert_eq!(&json, &format!("\"{pair}\""));
        prop_assert_eq!(serde_json::from_str::<DualQuota>(&json).ok(), Some(pair));
    }
}

#[test]
#[cfg(feature = "serde")]
fn serde_errors_name_the_fault() {
    let error = serde_json::from_str::<DualQuota>("\"10/s\"")
        .expect_err("one quota")
        .to_string();
    assert!(
        error.starts_with("expected `&` and a second quota, like `10/s & 1000/h` (at byte 4)"),
        "{error}"
    );
    let error = serde_json::from_str::<DualQuota>("5")
        .expect_err("a number")
        .to_string();
    assert!(error.contains("expected two quotas like `10/s & 1000/h`"), "{error}");
}
