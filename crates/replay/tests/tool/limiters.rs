//! Limiters of other software, and both bounds of coarse stamps, against a second opinion: `check.py` shares no code with the tool.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::has_program;
use crate::run::{file, report};
use crate::support::random;

const LIMITS: [&str; 14] = [
    "fixed:5/s",
    "fixed:7/13s",
    "fixed:20/min",
    "sliding-log:5/s",
    "sliding-log:7/13s",
    "sliding-log:20/min",
    "sliding-window:5/s",
    "sliding-window:7/13s",
    "sliding-window:20/min",
    "nginx:3r/s",
    "nginx:3r/s burst=4 nodelay",
    "nginx:100r/m burst=9 delay=3",
    "10/s burst 3",
    "2/s burst 20 & 60/min",
];

/// A generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        random(&mut self.0) % bound
    }
}

/// A table of a few keys that come in floods and pauses, stamped with `digits` digits of a second.
fn table(seed: u64, digits: usize) -> String {
    let mut random = Random(seed);
    let mut text = "time,key,cost\n".to_owned();
    // In nanoseconds, from a moment that is no multiple of anything.
    let mut time: u64 = 1_716_206_411_283_719_551;
    for _ in 0..1_000 {
        let longest = [1, 1_000, 1_000_000, 200_000_000, 3_000_000_000, 40_000_000_000]
            [usize::try_from(random.below(6)).unwrap_or(0)];
        time += random.below(longest);
        let (seconds, fraction) = (time / 1_000_000_000, format!("{:09}", time % 1_000_000_000));
        let point = if digits == 0 { "" } else { "." };
        let key = ["a", "b", "", "c d"][usize::try_from(random.below(4)).unwrap_or(0)];
        let _ = writeln!(
            text,
            "{seconds}{point}{},{key},{}",
            &fraction[..digits],
            random.below(4)
        );
    }
    text
}

/// Denied cells and keys of each limit, as the script counts them.
fn counted(options: &[&str], path: &str) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check.py");
    let limits = LIMITS.iter().flat_map(|limit| ["--limit", limit]);
    let output = Command::new("python3")
        .arg(script)
        .args(limits)
        .args(options)
        .arg(path)
        .output();
    let output = output.expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.lines()
        .filter(|line| !line.starts_with("bad"))
        .map(str::to_owned)
        .collect()
}

/// The same of the tool.
fn replayed(options: &[&str], path: &str) -> Vec<String> {
    let mut arguments = vec!["--format", "json", "--no-suggest", "--spread=none"];
    arguments.extend(LIMITS.iter().flat_map(|limit| ["--limit", limit]));
    if let Some(spread) = options.iter().find(|option| option.starts_with("--spread")) {
        arguments[3] = spread;
    }
    arguments.extend(options.iter().filter(|option| !option.starts_with("--spread")));
    arguments.push(path);
    let json: serde_json::Value = serde_json::from_str(&report(&arguments)).expect("JSON");
    let limits = json["limits"].as_array().expect("limits");
    let line = |limit: &serde_json::Value| {
        let (text, asked, admitted) = (&limit["limit"]["text"], &limit["asked"], &limit["admitted"]);
        let text = text.as_str().expect("text");
        format!(
            "{text}\t{asked}\t{admitted}\t{}\t{}",
            limit["denied"], limit["keys_denied"]
        )
    };
    limits.iter().map(line).collect()
}

#[test]
fn limiters_and_bounds_agree_with_the_script() {
    if !has_program("python3", "--version") {
        return;
    }
    // `METER_REPLAY_SEEDS=100` for a longer run.
    let seeds = std::env::var("METER_REPLAY_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    for (seed, &digits) in (1..=seeds.unwrap_or(4)).zip([9, 6, 3, 0].iter().cycle()) {
        let path = file(&format!("limiters-{seed}.csv"), table(seed, digits));
        for options in [
            &["--by", "key"][..],
            &["--by", "key", "--cost", "cost"],
            &["--by", "key", "--spread=even"],
            &["--by", "key", "--cost", "cost", "--order", "as-is"],
        ] {
            assert_eq!(
                replayed(options, &path),
                counted(options, &path),
                "seed {seed}, {options:?}"
            );
        }
    }
}
