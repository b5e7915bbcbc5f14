//! Checks the Debug output of types that hold a limit: one line, with the limit's text.

use meter_replay::event::Keys;
use meter_replay::limit::{AlgorithmName, LimitRule, LimitSpec, RuleFile};
use meter_replay::replay::{Replay, Settings};
use meter_replay::series::{Counts, Series};
use meter_replay::suggest::Suggester;
use meter_replay::trace::Order;

#[test]
fn debug_output_shows_limits() {
    let limit = |text: &str| LimitSpec::parse(text, AlgorithmName::Gcra).expect("a good limit");
    assert_eq!(format!("{:?}", limit("10/s burst 20")), "LimitSpec(10/s burst 20)");
    assert_eq!(format!("{:?}", limit("fixed:100/min")), "LimitSpec(fixed:100/min)");
    let rows = RuleFile::parse("plans.csv", "a,10/s\nb,1/s\n", AlgorithmName::Gcra).expect("good rows");
    assert_eq!(
        format!("{rows:?}"),
        "RuleFile { name: \"plans.csv\", limits: [LimitSpec(10/s), LimitSpec(1/s)], rows: 2, .. }"
    );
    let rule: LimitRule = "1/s".parse().expect("a good limit");
    let settings = Settings {
        order: Order::AsIs,
        suggest: false,
        anonymise: false,
    };
    let replay = Replay::new(&[limit("1/s"), limit("5/s & 10/min")], settings);
    let mut keys = Keys::default();
    keys.intern(b"alice").expect("room");
    let mut series = Series::new(false);
    let (admitted, denied) = (0, 1);
    series.add(0, Counts { admitted, denied });
    let suggester = Suggester::new("10/s burst 20".parse().expect("a quota"));
    assert!(!format!("{keys:?}").contains("alice"));
    for (shown, limits) in [
        (format!("{rule:?}"), &["1/s"][..]),
        (format!("{keys:?}"), &["keys: 1"]),
        (format!("{series:?}"), &["buckets: 1"]),
        (format!("{:?}", series.finish()), &["buckets: 1", "worst_minute"]),
        (format!("{suggester:?}"), &["10/s burst 20", "keys: 0"]),
        (format!("{replay:?}"), &["1/s", "5/s & 10/min", "keys: 0"]),
    ] {
        assert!(!shown.contains('\n'), "{shown}");
        assert!(limits.iter().all(|limit| shown.contains(limit)), "{shown}");
    }
}
