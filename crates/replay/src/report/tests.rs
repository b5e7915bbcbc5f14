use super::*;
use crate::cli::reading::Spread;
use crate::event::KeyId;
use crate::replay::KeyOutcome;
use crate::series::{Counts, Series};
use crate::suggest::{NoSuggestion, SuggestedLimit, Suggestion};
use proptest::prelude::*;
use ratelimit_meter::Quota;
use roxmltree::{Document, Node};

const NOON: i64 = 1_716_206_400_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Names that do harm if they are not escaped.
const HOSTILE: [&[u8]; 8] = [
    b"<script>alert(1)</script>",
    b"\"&' onload=alert(1) x=\"",
    b"]]><!-- --> </svg></style></title>",
    b"\x00\x1b[31m\r\n\t\xff",
    "\u{fffe}\u{ffff}\u{202e}gpj.exe".as_bytes(),
    b"",
    &[b'W'; 300],
    b"&lt;b&gt;",
];

fn quota(text: &str) -> Quota {
    text.parse().expect("a good quota")
}

fn keys(names: &[&[u8]]) -> (Keys, Vec<KeyId>) {
    let mut keys = Keys::default();
    let ids = names
        .iter()
        .map(|name| keys.intern(name).expect("a few keys"))
        .collect();
    (keys, ids)
}

fn series(events: &[(i64, u64, bool)]) -> Series {
    let mut series = Series::new(false);
    for &(time, cells, is_admitted) in events {
        let cells = u128::from(cells);
        let (admitted, denied) = if is_admitted { (cells, 0) } else { (0, cells) };
        series.add(time, Counts { admitted, denied });
    }
    series
}

/// Returns ten cells a second for ten minutes, with all cells of every fourth second denied. The keys are all that are given.
fn outcome(limit: &str, ids: &[KeyId]) -> Outcome {
    let events: Vec<_> = (0..600)
        .map(|second| (NOON + second * SECOND, 10, second % 4 > 0))
        .collect();
    let hit = |(at, &key): (u64, &KeyId)| KeyOutcome {
        key,
        asked: 1_000,
        denied: u128::from(500 - at),
        never: 2,
        longest_wait: Duration::from_millis(1_500),
    };
    Outcome {
        limit: limit.parse().expect("a good limit"),
        asked: 6_000,
        admitted: 4_500,
        denied: 1_500,
        never: 2,
        requests_denied: 150,
        delayed: 0,
        longest_delay: Duration::ZERO,
        admitted_by: Vec::new(),
        keys_denied: ids.len(),
        hardest_hit: (0..).zip(ids).map(hit).collect(),
        suggestion: Some(Suggestion {
            burst: SuggestedLimit::Quota(quota("10/s burst 40")),
            rate: SuggestedLimit::None(NoSuggestion::AtOnce(40)),
        }),
        timeline: series(&events).finish(),
        spread: None,
    }
}

fn report<'a>(keys: &'a Keys, outcomes: &'a [Outcome]) -> Report<'a> {
    Report {
        parameters: Parameters {
            command: "meter-replay --limit '10/s & 5/h' access.log".to_owned(),
            inputs: vec!["access.log".to_owned(), "<access>.log.1".to_owned()],
            algorithm: AlgorithmName::Gcra,
            by: Some("ip".to_owned()),
            time: None,
            cost: None,
            ipv6_prefix: Some(64),
            ipv4_prefix: None,
            most_keys: 1_000,
            order: "sort",
            top: 5,
            suggest: true,
            spread: Spread::Both,
            anonymise: false,
        },
        traffic: Traffic {
            unit: Unit::Requests,
            requests: 600,
            bad_lines: 3,
            first: Some(NOON),
            last: Some(NOON + 599 * SECOND + 1_000),
            late: 1,
            latest_by: Duration::from_secs(2),
            is_partial: false,
        },
        inputs: &[],
        notices: &[],
        keys,
        outcomes,
        configuration: None,
    }
}

fn all(report: &Report<'_>) -> [String; 4] {
    [
        table::render(report),
        json::render(report),
        chart::render(report),
        html::render(report),
    ]
}

#[test]
fn models_alone_have_no_algorithm() {
    let (keys, ids) = keys(&[b"192.0.2.1"]);
    let models = ["fixed:10/s", "nginx:rate=10r/s"].map(|limit| outcome(limit, &ids));
    let with_quota = ["fixed:10/s", "10/s"].map(|limit| outcome(limit, &ids));
    for (outcomes, is_named) in [(models, false), (with_quota, true)] {
        let report = report(&keys, &outcomes);
        for text in [table::render(&report), html::render(&report)] {
            assert!(text.contains("a meter for the only key (by ip"), "{text}");
            assert_eq!(text.contains("gcra, a meter"), is_named, "{text}");
        }
    }
}

#[test]
fn json_report_matches_its_schema() {
    let (keys, ids) = keys(&[b"192.0.2.1", b"<b>\xff"]);
    let mut outcomes = [outcome("10/s", &ids), outcome("100/min burst 20 weight 2", &[])];
    outcomes[0].timeline = series(&[(NOON, 1, true), (NOON + 3_000_000, 2, false)]).finish();
    outcomes[1].timeline = series(&[]).finish();
    outcomes[1].suggestion = None;
    let text = json::render(&report(&keys, &outcomes));
    assert_eq!(text.matches('\n').count(), 1);
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected = serde_json::json!({
        "schema": 1,
        "tool": { "name": "meter-replay", "version": env!("CARGO_PKG_VERSION") },
        "headline": "10/s would have throttled 2 of 2 clients and denied 25.0% of requests; the smallest burst that denies none is 40.",
        "notices": [], "inputs": [], "configuration": null,
        "parameters": {
            "command": "meter-replay --limit '10/s & 5/h' access.log", "spread": "both",
            "inputs": ["access.log", "<access>.log.1"], "algorithm": "gcra", "by": "ip", "time": null, "cost": null,
            "ipv6_prefix": 64, "ipv4_prefix": null, "most_keys": 1000, "order": "sort", "top": 5, "suggest": true, "anonymise": false
        },
        "traffic": {
            "unit": "requests", "requests": 600, "cells": 6000, "keys": 2, "first": "2024-05-20T12:00:00Z", "last": "2024-05-20T12:09:59.000001Z",
            "bad_lines": 3, "is_partial": false, "late_lines": 1, "latest_by_ns": 2_000_000_000
        },
        "limits": [
            {
                "limit": { "text": "10/s", "kind": "meter", "cells": 10, "period_ns": 1_000_000_000, "burst": 10, "weight": 1, "each": null },
                "asked": 6000, "admitted": 4500, "denied": 1500, "requests_denied": 150, "admitted_by": [],
                "delayed": 0, "longest_delay_ns": 0, "spread": null, "too_large": 2, "keys_denied": 2,
                "least_burst": {
                    "limit": { "text": "10/s burst 40", "kind": "meter", "cells": 10, "period_ns": 1_000_000_000, "burst": 40, "weight": 1, "each": null },
                    "reason": null, "at_once": null
                },
                "least_rate": { "limit": null, "reason": "at-once", "at_once": 40 },
                "worst_minute": { "start": "2024-05-20T12:00:00Z", "admitted": 1, "denied": 2 },
                "hardest_hit": [
                    { "key": "192.0.2.1", "asked": 1000, "denied": 500, "too_large": 2, "longest_wait_ns": 1_500_000_000 },
                    { "key": "<b>\u{fffd}", "asked": 1000, "denied": 499, "too_large": 2, "longest_wait_ns": 1_500_000_000 }
                ],
                "series": { "start": "2024-05-20T12:00:00Z", "width_ns": 1_000_000, "admitted": [1, 0, 0, 0], "denied": [0, 0, 0, 2] }
            },
            {
                "limit": { "text": "100/min burst 20 weight 2", "kind": "meter", "cells": 100, "period_ns": 60_000_000_000_u64, "burst": 20, "weight": 2, "each": null },
                "asked": 6000, "admitted": 4500, "denied": 1500, "requests_denied": 150, "admitted_by": [],
                "delayed": 0, "longest_delay_ns": 0, "spread": null, "too_large": 2, "keys_denied": 0,
                "least_burst": null, "least_rate": null, "worst_minute": null, "hardest_hit": [],
                "series": { "start": null, "width_ns": 1_000_000, "admitted": [], "denied": [] }
            }
        ]
    });
    assert_eq!(found, expected);
}

#[test]
fn numbers_of_128_bits_are_written_whole() {
    let (keys, _) = keys(&[]);
    let mut outcomes = [outcome("10/s", &[])];
    outcomes[0].denied = u128::MAX;
    let text = json::render(&report(&keys, &outcomes));
    assert!(
        text.contains(r#""denied":340282366920938463463374607431768211455,"#),
        "{text}"
    );
}

#[test]
fn table_shows_the_smallest_limit_without_denials() {
    let (keys, ids) = keys(&[b"192.0.2.1"]);
    let mut outcomes = [outcome("10/s", &ids), outcome("7/min burst 20", &[])];
    let text = table::render(&report(&keys, &outcomes));
    let expected = "
Smallest limits without denials:
  limit           least burst at its rate       least rate at its burst
  10/s                      10/s burst 40  no rate would do: 40 at once
  7/min burst 20            10/s burst 40  no rate would do: 40 at once

Hardest hit by 10/s:
  key        cells asked  denied  denied %  longest wait  too large
  192.0.2.1        1,000     500     50.0%         1.5 s          2
  worst minute: 2024-05-20 12:00 UTC, 150 of 600 cells denied

No key is hit by 7/min burst 20.
";
    assert!(text.ends_with(expected), "{text}");
    let head = "\
600 requests, 2024-05-20 12:00:00 to 2024-05-20 12:09:59 UTC (10 min)
gcra, a meter for the only key (by ip, IPv6 by /64)
order: sort, 1 line goes back in time, by up to 2 s; lines skipped as bad: 3
command: meter-replay --limit '10/s & 5/h' access.log
";
    assert!(text.contains(head), "{text}");
    let headline = "10/s would have throttled 1 of 1 clients and denied 25.0% of requests; the smallest burst that";
    assert!(text.starts_with(headline), "{text}");
    outcomes.iter_mut().for_each(|outcome| outcome.suggestion = None);
    assert!(!table::render(&report(&keys, &outcomes)).contains("nobody"));
}

#[test]
fn table_fits_a_terminal_for_any_numbers() {
    let (keys, ids) = keys(&HOSTILE);
    for large in [1, 1_000_000_000_000, u64::MAX.into(), u128::MAX] {
        let widest = "4294967295/6311519999999999999ns burst 4294967294 weight 4294967293";
        let mut outcomes = [outcome(widest, &ids)];
        outcomes[0].asked = large;
        outcomes[0].denied = large;
        outcomes[0].hardest_hit.iter_mut().for_each(|hit| hit.denied = large);
        outcomes[0].suggestion = Some(Suggestion {
            burst: SuggestedLimit::Quota(quota(widest)),
            rate: SuggestedLimit::None(NoSuggestion::RestTooLong),
        });
        let mut report = report(&keys, &outcomes);
        report.parameters.by = Some("a column with a very long name, longer than any that people use".to_owned());
        report.traffic.requests = u64::MAX;
        for line in table::render(&report).lines() {
            assert!(line.chars().count() <= 100, "{line}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn foreign_text_stays_text() {
    let (keys, ids) = keys(&HOSTILE);
    let outcomes = [outcome("10/s", &ids)];
    let mut report = report(&keys, &outcomes);
    report.parameters.by = Some("<img src=x>".to_owned());
    report.parameters.cost = Some("</style><script>".to_owned());
    report.parameters.inputs.push("\u{ffff}<i>".to_owned());
    let svg = chart::render(&report);
    let document = Document::parse(&svg).expect("well-formed XML");
    let shown: Vec<&str> = document
        .descendants()
        .filter(Node::is_text)
        .filter_map(|node| node.text())
        .collect();
    assert!(shown.contains(&"<script>alert(1)</script>"), "{shown:?}");
    assert!(shown.contains(&"(empty)") && shown.contains(&"&lt;b&gt;"), "{shown:?}");
    let known = ["svg", "title", "desc", "style", "rect", "path", "text", "tspan", "g"];
    assert!(
        document
            .descendants()
            .filter(Node::is_element)
            .all(|node| known.contains(&node.tag_name().name()))
    );
    let html = html::render(&report);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{html}");
    for harm in ["<script", "<img", "<i>", "\" onload", "]]>", "\u{202e}", "\u{ffff}"] {
        assert!(!html.contains(harm), "{harm}");
    }
}

#[test]
fn pictures_need_nothing_from_elsewhere() {
    let (keys, ids) = keys(&[b"key"]);
    let outcomes = [outcome("10/s", &ids)];
    let [.., svg, html] = all(&report(&keys, &outcomes));
    for text in [
        svg.replace("http://www.w3.org/2000/svg", ""),
        html.replace("http-equiv", ""),
    ] {
        for elsewhere in ["http", "url(", "@import", "src=", "href=", "<script", "<link"] {
            assert!(!text.contains(elsewhere), "{elsewhere}");
        }
        assert!(text.contains("prefers-color-scheme: dark"));
    }
}

/// Returns the bounds of a text in a picture, by an average letter, and its line. The letters are those of a wide or a narrow screen.
fn extent(text: Node<'_, '_>, is_narrow: bool) -> Option<(String, [f64; 2])> {
    let class = text.attribute("class").unwrap_or_default();
    if is_narrow && class.contains("minor") {
        return None;
    }
    let is_shown = |node: &Node<'_, '_>| {
        let hidden = |node: &Node<'_, '_>| node.attribute("class").is_some_and(|class| class.contains("wide"));
        node.is_text() && !(is_narrow && node.ancestors().any(|node| hidden(&node)))
    };
    let shown = text.descendants().filter(is_shown).filter_map(|node| node.text());
    let letters: u32 = shown
        .map(|text| u32::try_from(text.chars().count()).expect("a few"))
        .sum();
    let letter = match (is_narrow, class.contains("title") || class.contains("name")) {
        (false, false) if class.contains("headline") => 7.8,
        (false, false) => 7.3,
        (false, true) => 9.0,
        (true, false) => 10.5,
        (true, true) => 12.3,
    };
    let width = f64::from(letters) * letter;
    let x: f64 = text.attribute("x")?.parse().expect("a number");
    let left = if class.contains("end") {
        x - width
    } else if class.contains("middle") {
        x - width / 2.0
    } else {
        x
    };
    let group = text
        .parent()
        .and_then(|parent| parent.attribute("transform"))
        .unwrap_or_default();
    Some((format!("{group}{}", text.attribute("y")?), [left, left + width]))
}

#[test]
fn labels_fit_and_do_not_overlap() {
    const HOUR: i64 = 3_600 * SECOND;
    let (keys, ids) = keys(&[b"2001:db8:ffff:ffff::/64", &[b'w'; 99], b"x"]);
    for span in [
        0,
        1_000_000,
        100_000_000,
        SECOND,
        599 * SECOND,
        HOUR,
        13 * HOUR,
        24 * HOUR,
        216 * HOUR,
        9_000 * HOUR,
        2_000_000 * HOUR,
    ] {
        let mut outcome = outcome("100000/min burst 100000", &ids);
        outcome.timeline = series(&[(NOON - 5, 950_000, true), (NOON + span, 9_999_999, false)]).finish();
        outcome.hardest_hit[0].asked = 9_999_999;
        let outcomes = [outcome];
        let svg = chart::render(&report(&keys, &outcomes));
        let document = Document::parse(&svg).expect("well-formed XML");
        for is_narrow in [false, true] {
            let texts = document.descendants().filter(|node| node.has_tag_name("text"));
            let mut lines: std::collections::BTreeMap<String, Vec<[f64; 2]>> = std::collections::BTreeMap::new();
            for text in texts {
                let Some((line, extent)) = extent(text, is_narrow) else {
                    continue;
                };
                assert!(extent[0] >= 0.0 && extent[1] <= 720.0, "{span}: {extent:?} {text:?}");
                lines.entry(line).or_default().push(extent);
            }
            for (line, mut extents) in lines {
                extents.sort_by(|a, b| a[0].total_cmp(&b[0]));
                let is_apart = extents.windows(2).all(|pair| pair[0][1] < pair[1][0]);
                assert!(is_apart, "{span}, narrow {is_narrow}: {line}: {extents:?}");
            }
        }
    }
}

#[test]
fn empty_report_has_a_message() {
    let (keys, _) = keys(&[]);
    let mut outcome = outcome("10/s", &[]);
    outcome.timeline = series(&[]).finish();
    for outcomes in [&[][..], &[outcome]] {
        let mut report = report(&keys, outcomes);
        report.traffic = Traffic::default();
        report.parameters.by = None;
        let [table, json, svg, html] = all(&report);
        assert!(table.contains("\n0 requests\ngcra, one meter for all\n"), "{table}");
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        assert!(Document::parse(&svg).is_ok());
        assert!(html.contains("0 requests"));
    }
}

proptest! {
    #[test]
    fn any_traffic_can_be_drawn(
        mut events in prop::collection::vec((any::<i64>(), any::<u64>(), any::<bool>()), 1..40),
        shift in 0_u32..64,
        name in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        for event in &mut events {
            event.0 = (event.0 >> shift).max(i64::MIN + 60 * SECOND);
        }
        events.sort_unstable();
        let (keys, ids) = keys(&[&name]);
        let mut outcome = outcome("10/s", &ids);
        outcome.timeline = series(&events).finish();
        let outcomes = [outcome];
        let [.., svg, _] = all(&report(&keys, &outcomes));
        prop_assert!(Document::parse(&svg).is_ok(), "{}", svg);
    }
}
