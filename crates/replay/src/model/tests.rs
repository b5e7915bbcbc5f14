//! Checks the models against step tables, and their waits against the next nanosecond.

use proptest::prelude::*;

use super::*;

const S: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;

fn model(text: &str) -> Model {
    Model::parse(text).expect("a model").expect("a good one")
}

/// Returns verdicts as words: admitted, delayed, never, or the wait in milliseconds.
fn verdicts(text: &str, requests: &[(i64, u64)]) -> Vec<String> {
    let (model, mut state) = (model(text), ModelState::New);
    let mut verdicts = Vec::new();
    for &(time, cost) in requests {
        verdicts.push(match model.check(&mut state, time, cost) {
            EventVerdict::Admitted => "ok".to_owned(),
            EventVerdict::Delayed(delay) => format!("+{}", delay.as_millis()),
            EventVerdict::Never => "never".to_owned(),
            EventVerdict::Denied(wait) => wait.as_millis().to_string(),
        });
    }
    verdicts
}

#[test]
fn fixed_windows_begin_at_multiples_of_the_period() {
    let steps = [
        (59 * S, 2),
        (59 * S, 2),
        (60 * S, 3),
        (61 * S, 1),
        (61 * S, 4),
        (61 * S, 0),
        (180 * S, 3),
    ];
    assert_eq!(
        verdicts("fixed:3/min", &steps),
        ["ok", "1000", "ok", "59000", "never", "ok", "ok"]
    );
    // Times before 1970 also work.
    assert_eq!(
        verdicts("fixed:1/s", &[(-S / 2, 1), (-S / 4, 1), (0, 1)]),
        ["ok", "250", "ok"]
    );
}

#[test]
fn sliding_log_forgets_cells_after_exactly_one_period() {
    let steps = [(0, 2), (30 * S, 1), (59 * S, 1), (60 * S, 1), (60 * S, 2), (90 * S, 2)];
    assert_eq!(
        verdicts("sliding-log:3/min", &steps),
        ["ok", "ok", "1000", "ok", "30000", "ok"]
    );
}

#[test]
fn sliding_window_weighs_the_window_before() {
    // 10 in the first minute; half into the second they count as 5, at 48 s as 2.
    let steps = [
        (0, 10),
        (90 * S, 6),
        (90 * S, 5),
        (108 * S, 4),
        (108 * S, 3),
        (119 * S, 1),
    ];
    assert_eq!(
        verdicts("sliding-window:10/min", &steps),
        ["ok", "6000", "ok", "6000", "ok", "ok"]
    );
    // A full window blocks a full cost until the window after the next.
    assert_eq!(verdicts("sliding-window:10/min", &[(0, 10), (0, 10)]), ["ok", "120000"]);
}

#[test]
fn nginx_admits_burst_plus_one_draining_by_milliseconds() {
    let at = |ms: i64| (ms * MS, 1);
    let steps = [
        at(0),
        at(0),
        at(0),
        at(0),
        at(99),
        at(100),
        at(100),
        at(1_000),
        at(1_000),
        at(1_000),
    ];
    assert_eq!(
        verdicts("nginx:10r/s burst=2 nodelay", &steps),
        ["ok", "ok", "ok", "100", "1", "ok", "100", "ok", "ok", "ok"]
    );
    assert_eq!(
        verdicts("nginx:10r/s burst=2", &steps[..5]),
        ["ok", "+100", "+200", "100", "1"]
    );
    assert_eq!(
        verdicts("nginx:10r/s burst=2 delay=1", &steps[..4]),
        ["ok", "ok", "+100", "100"]
    );
    assert_eq!(verdicts("nginx:10r/s", &steps[..2]), ["ok", "100"]);
    // 1.666 a second: a request a second later has drained 1666 of 1000, one 600 ms later 999.
    assert_eq!(verdicts("nginx:100r/m", &[at(0), at(600), at(601)]), ["ok", "1", "ok"]);
}

#[test]
fn nginx_treats_distant_past_as_one_millisecond_later() {
    let at = |ms: i64| (ms * MS, 1);
    assert_eq!(
        verdicts("nginx:1r/s burst=1 nodelay", &[at(100_000), at(99_999), at(1)]),
        ["ok", "ok", "100999"]
    );
    // A millisecond drains one thousandth; the clock of the key then goes back.
    assert_eq!(
        verdicts("nginx:1000r/s", &[at(100_000), at(1), at(2)]),
        ["ok", "ok", "ok"]
    );
}

#[test]
fn models_are_read_and_written_alike() {
    for text in [
        "fixed:100/min",
        "sliding-log:5/s",
        "sliding-window:7/13s",
        "nginx:10r/s",
        "nginx:10r/s burst=20",
        "nginx:10r/s burst=20 nodelay",
        "nginx:100r/m burst=20 delay=8",
    ] {
        assert_eq!(model(text).to_string(), text);
    }
    assert_eq!(
        model("nginx: rate=10r/s  nodelay burst=2").to_string(),
        "nginx:10r/s burst=2 nodelay"
    );
    for (text, expected) in [
        ("fixed:100/min burst 20", "a window takes CELLS/PERIOD"),
        ("sliding-log:ten/s", "`ten`"),
        ("token-bucket:1/s", "`token-bucket` is no limiter: expected fixed"),
        ("nginx:10/s", "`10/s` is not a rate of nginx"),
        ("nginx:0r/s", "`0r/s` is not a rate of nginx"),
        ("nginx:+1r/s", "`+1r/s` is not a rate of nginx"),
        ("nginx:", "`` is not a rate of nginx"),
        ("nginx:10r/s burst 20", "`burst` is not a parameter of limit_req"),
        ("nginx:10r/s burst=many", "`burst=many` is not a parameter"),
        ("nginx:10r/s nodelay delay=3", "`delay=3` contradicts"),
    ] {
        let error = Model::parse(text)
            .expect("it names a model")
            .expect_err("a bad one")
            .to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(Model::parse("10/s burst 20"), None);
}

fn any_model() -> impl Strategy<Value = Model> {
    prop_oneof![
        (0..3_usize, 1..20_u32, 5..50_u32).prop_map(|(kind, cells, period)| {
            let name = WindowKind::ALL[kind].name();
            model(&format!("{name}:{cells}/{period}ns"))
        }),
        (1..5_000_u32, 0..5_u32, 0..3_u32).prop_map(|(rate, burst, delay)| {
            let text = match delay {
                0 => format!("nginx:{rate}r/m burst={burst} nodelay"),
                1 => format!("nginx:{rate}r/s burst={burst}"),
                delay => format!("nginx:{rate}r/m burst={burst} delay={delay}"),
            };
            model(&text)
        }),
    ]
}

proptest! {
    /// `gaps` are in the model's own unit: nanoseconds for windows, milliseconds for nginx.
    #[test]
    fn waits_are_exact(model in any_model(), gaps in prop::collection::vec((0..40_i64, 0..25_u64), 1..60)) {
        let grain = if matches!(model, Model::Nginx(_)) { MS } else { 1 };
        let mut time = 0;
        let mut past = Vec::new();
        let after_all = |past: &[(i64, u64)], time, cost| {
            let mut state = ModelState::New;
            for &(time, cost) in past {
                model.check(&mut state, time, cost);
            }
            model.check(&mut state, time, cost)
        };
        for (gap, cost) in gaps {
            time += gap * grain;
            if let EventVerdict::Denied(wait) = after_all(&past, time, cost) {
                let wait = i64::try_from(wait.as_nanos()).expect("a short wait");
                prop_assert!(after_all(&past, time + wait, cost).is_admitted());
                prop_assert!(!after_all(&past, time + wait - grain, cost).is_admitted());
            }
            past.push((time, cost));
        }
    }

    /// No window of a sliding log, and no aligned window of a fixed one, has more cells than the limit.
    #[test]
    fn windows_hold_no_more_than_their_limit(
        is_fixed in any::<bool>(), cells in 1..9_u32, gaps in prop::collection::vec((0..9_i64, 1..4_u64), 1..80),
    ) {
        let model = model(&format!("{}:{cells}/10ns", if is_fixed { "fixed" } else { "sliding-log" }));
        let (mut state, mut time, mut admitted) = (ModelState::New, 0, Vec::new());
        for (gap, cost) in gaps {
            time += gap;
            if model.check(&mut state, time, cost).is_admitted() {
                admitted.push((time, cost));
            }
        }
        for &(end, _) in &admitted {
            let start = if is_fixed { end - end % 10 } else { end - 9 };
            let within = admitted.iter().filter(|(time, _)| (start..=end).contains(time));
            prop_assert!(within.map(|(_, cost)| cost).sum::<u64>() <= cells.into());
        }
    }
}

#[test]
fn closest_quota_keeps_rate_and_burst() {
    assert_eq!(
        model("nginx:10r/s burst=20 nodelay")
            .closest_quota()
            .expect("one")
            .to_string(),
        "10/s burst 21"
    );
    assert_eq!(
        model("fixed:100/min").closest_quota().expect("one").to_string(),
        "100/min"
    );
    let Model::Nginx(nginx) = model("nginx:1r/s burst=4") else {
        panic!("not nginx")
    };
    assert_eq!(nginx.at_once(), 5);
    let wait = model("nginx:1r/s").check(&mut ModelState::New, 0, 1);
    assert_eq!(wait, EventVerdict::Admitted);
}
