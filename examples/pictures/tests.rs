use crate::bursts::{DUAL, RATE, Runs, SPACED};
use crate::run::Run;
use crate::{Picture, averages, docs, files, pictures, traffic};

const PAGE: &str = include_str!("../../docs/which.md");

/// Maximum size of a picture: a larger one would take longer to load than to understand.
const LARGEST: usize = 60_000;

fn runs() -> Runs {
    Runs::new().expect("limits")
}

#[test]
fn pictures_in_docs_are_current() {
    for (file, text) in files().expect("limits") {
        let committed = std::fs::read_to_string(docs().join(&file)).expect(&file);
        assert!(committed == text, "docs/{file} is another: draw it again");
    }
}

#[test]
fn page_shows_every_picture_and_each_is_small() {
    for Picture { name, svg } in pictures().expect("limits") {
        assert!(svg.is_ascii() && svg.len() < LARGEST, "{name}: {} bytes", svg.len());
        assert!(PAGE.contains(&format!("][{name}]\n")), "{name} is not shown");
        assert!(
            PAGE.contains(&format!("\n[{name}]: {name}.svg\n")),
            "{name} is not found"
        );
    }
}

#[test]
fn page_states_how_many_requests_each_limit_admits() {
    let runs = runs();
    assert_eq!(traffic::requests().count(), 125);
    let admitted = [
        (format!("`GCRA`, `{RATE}`"), runs.gcra.admitted(), 67),
        (format!("`LeakyBucket`, `{RATE}`"), runs.bucket.admitted(), 67),
        (format!("`GCRA`, `{SPACED}`"), runs.spaced.admitted(), 29),
        (format!("`Exponential`, `{RATE}`"), runs.average.admitted(), 57),
        (format!("`Exponential`, `{RATE}`, strict"), runs.strict.admitted(), 28),
        (format!("`Dual`, `{DUAL}`"), runs.dual.admitted(), 45),
    ];
    for (limit, drawn, admitted) in admitted {
        assert_eq!(drawn, admitted, "{limit}");
        assert!(PAGE.contains(&format!("\n| {limit} | {drawn} |")), "{limit}: {drawn}");
    }
}

/// Returns how many of the requests from one time to another are admitted, in milliseconds.
fn admitted<const N: usize>(run: &Run<N>, from: u32, to: u32) -> usize {
    let within = run.decisions.iter().filter(|(at, _)| (from..to).contains(at));
    within.filter(|(_, is_admitted)| *is_admitted).count()
}

#[test]
fn bucket_average_and_strict_differ_after_the_loop() {
    let runs = runs();
    let page = |run: &Run<1>| admitted(run, 6_200, 7_000);
    assert_eq!(
        (page(&runs.bucket), page(&runs.average), page(&runs.strict)),
        (10, 7, 0)
    );
    assert!(PAGE.contains("the first 10 of the 13 files"));
    assert!(PAGE.contains("the average admits 7 and the strict average none"));
}

#[test]
fn dual_limits_hold_back_bursts_and_long_runs() {
    let dual = &runs().dual;
    let bursts = [(1_200, 2_000), (2_500, 3_000), (6_200, 7_000), (7_600, 8_000)];
    assert_eq!(bursts.map(|(from, to)| admitted(dual, from, to)), [10, 8, 1, 1]);
}

#[test]
fn leaky_bucket_and_gcra_decide_alike() {
    let runs = runs();
    assert_eq!(runs.bucket.decisions, runs.gcra.decisions);
}

#[test]
fn measured_rate_stays_below_limit_unless_denials_count() {
    let runs = runs();
    let most = |course: &mut dyn Iterator<Item = (u32, f64)>| course.map(|(_, value)| value).fold(0.0, f64::max);
    let is_about = |value: f64, expected: f64| (value - expected).abs() < 0.05;
    assert!(
        is_about(most(&mut runs.bucket.course(0)), 9.95),
        "a cell each 25 ms leaves no more"
    );
    // The limit applies to the rate before a cell; after the cell, the rate may be up to half a cell higher.
    let rate = most(&mut runs.average.course(0));
    assert!((9.9..=10.5).contains(&rate), "{rate}");
    let asked = most(&mut runs.strict.course(0));
    assert!((30.0..40.0).contains(&asked), "{asked}");
    assert!(most(&mut runs.dual.course(0)) <= 100.0 && most(&mut runs.dual.course(1)) <= 100.0);
}

#[test]
fn page_describes_bursts_and_runs_of_two_averages() {
    let runs = averages::Runs::new().expect("limits");
    assert_eq!(averages::admitted(&runs.bursts), [1000, 1000]);
    assert_eq!(averages::admitted(&runs.bursts_by_rate), [200, 1000]);
    assert_eq!(averages::admitted(&runs.endless), [1756, 72_000]);
    let first_minute = |minutes: &averages::PerMinute| minutes[0][0];
    assert_eq!(first_minute(&runs.endless), first_minute(&runs.endless_by_first));
    let by_second = averages::alone("600/h", averages::endless()).expect("a limit");
    assert_eq!(first_minute(&by_second), 600);
    for stated in [
        "1,000 of 1,000",
        "200 of 1,000",
        "1,756 of 72,000",
        "all 600 of the first minute",
    ] {
        assert!(PAGE.contains(stated), "{stated}");
    }
    // Like the first limit for ten minutes, and like the second from then on.
    for (minute, [admitted, _]) in runs.endless.iter().enumerate() {
        match minute {
            0 => assert_eq!(*admitted, 117),
            1..=9 => assert!((59..=61).contains(admitted), "minute {minute}: {admitted}"),
            10 => assert!((10..=61).contains(admitted), "minute {minute}: {admitted}"),
            _ => assert!((9..=11).contains(admitted), "minute {minute}: {admitted}"),
        }
    }
}
