//! The chart and the page, as a browser shows them: on a wide screen and on a phone, light and dark.
//!
//! Each picture stands in a frame of that width in a page of the test. The page's script measures the picture and writes the results into the
//! document. Chromium prints the document. `METER_REPLAY_SCREENSHOTS=FOLDER` keeps screenshots to look at.

use std::fmt::Write as _;
use std::process::Command;

use crate::has_program;
use crate::run::{file, report};

const WIDTHS: [u32; 2] = [900, 375];

/// Eight limits, of all kinds and lengths.
const LIMITS: [&str; 8] = [
    "10/s burst 20",
    "1/s",
    "fixed:100/min",
    "sliding-window:100/min",
    "nginx:2r/s burst=20 delay=8",
    "2/s burst 20 & 600/h",
    "100000/min burst 4294967295 weight 7",
    "sliding-log:1000/h",
];

/// Measures the document of a frame: text and marks that are not to be read or seen.
const MEASURE: &str = r#"
function luminance(color) {
  const part = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  return 0.2126 * part(color[0]) + 0.7152 * part(color[1]) + 0.0722 * part(color[2]);
}
function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
const parse = text => (text.match(/[\d.]+/g) || []).map(Number);
const isClear = color => color.length < 3 || color[3] === 0;
function measure(frame) {
  const view = frame.contentWindow, root = frame.contentDocument, width = frame.clientWidth, found = [];
  const say = text => found.push(text);
  const style = element => view.getComputedStyle(element);
  const shown = element => element.getClientRects().length > 0 && style(element).visibility !== "hidden";
  const paper = root.querySelector(".paper");
  const ground = paper ? parse(style(paper).fill) : parse(style(root.body).backgroundColor);
  if (root.documentElement.scrollWidth > width) say("the page is " + root.documentElement.scrollWidth + " wide");
  // Text: in the page, apart from other text, and in contrast.
  const scrolls = element => element.closest(".numbers, pre") !== null;
  const texts = [];
  const walker = root.createTreeWalker(root.body, 4);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement, words = node.data.trim();
    if (!words || ["STYLE", "style", "title", "desc"].includes(element.tagName) || !shown(element)) continue;
    const range = root.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter(box => box.width > 0);
    const isSvg = element.namespaceURI.endsWith("svg");
    const color = parse(isSvg ? style(element).fill : style(element).color);
    if (contrast(color, ground) < 4.5) say("low contrast of " + words);
    if (boxes.some(box => box.height < 11)) say("small: " + words);
    if (scrolls(element)) continue;
    for (const box of boxes) {
      if (box.left < -0.5 || box.right > width + 0.5) say("leaves the page: " + words);
      texts.push([words, box, element]);
    }
  }
  for (const [at, [one, a, first]] of texts.entries()) for (const [other, b, second] of texts.slice(at + 1)) {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // Lines may touch; letters may not.
    if (across > 1 && down > 0.35 * Math.min(a.height, b.height) && first !== second) say(one + " overlaps " + other);
  }
  // Marks, against the paper and each other.
  const fills = new Map();
  for (const kind of ["admitted", "denied", "mark"]) {
    for (const element of root.querySelectorAll("." + kind)) {
      if (!shown(element)) continue;
      const own = style(element), isSvg = element.namespaceURI.endsWith("svg");
      const color = parse(isSvg ? own.fill : kind === "mark" ? own.borderTopColor : own.backgroundColor);
      fills.set(kind, color);
      if (!isClear(color) && contrast(color, ground) < 3) say("low contrast of the mark " + kind);
    }
    if (!fills.has(kind)) say("no mark " + kind);
  }
  if (fills.has("denied") && contrast(fills.get("admitted"), fills.get("denied")) < 3) say("denied looks like admitted");
  // One label for each plot, and no two alike.
  const plots = [...root.querySelectorAll('[role="img"]')];
  const labels = plots.map(plot => plot.getAttribute("aria-label") || "");
  if (labels.some(label => label.length < 5)) say("a plot without a label");
  if (new Set(labels).size !== labels.length) say("two plots of one label");
  for (const plot of plots) if (plot.querySelector("svg > title, [aria-label]")) say("a plot with two labels");
  const named = [...root.querySelectorAll("h2, text.name")].filter(shown).map(element => element.textContent);
  return { found, plots: plots.length, labels, named, rows: root.querySelectorAll("details tbody tr").length };
}
window.onload = () => {
  for (const details of frames_opened()) details.open = true;
  const found = [...document.querySelectorAll("iframe")].map(measure);
  document.getElementById("found").textContent = JSON.stringify(found);
};
function frames_opened() {
  return [...document.querySelectorAll("iframe")].flatMap(frame => [...frame.contentDocument.querySelectorAll("details")]);
}
"#;

fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_ok());
    found.or_else(|| has_program("chromium", "--version").then_some("chromium"))
}

/// A day of a few clients with floods, and a polite client.
fn traffic() -> String {
    let mut log = String::new();
    for second in 0..86_400_u32 {
        let (hour, minute, rest) = (second / 3_600, second / 60 % 60, second % 60);
        let mut ask = |client: &str, times: u32| {
            for _ in 0..times {
                let _ = writeln!(
                    log,
                    "{client} - - [20/May/2024:{hour:02}:{minute:02}:{rest:02} +0000] \"GET /a HTTP/1.1\" 200 5"
                );
            }
        };
        if second % 97 == 0 {
            ask("192.0.2.1", 1);
        }
        if (30_000..30_400).contains(&second) {
            ask("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 9);
        }
        if second % 1_800 < 20 {
            ask("a-crawler-with-quite-a-long-name.search.example.org", 5);
        }
    }
    log
}

/// The words of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

fn measured(program: &str, pages: &[(&str, String)], is_dark: bool) -> Vec<serde_json::Value> {
    let mut frames = String::new();
    for width in WIDTHS {
        for (_, page) in pages {
            let _ = write!(
                frames,
                "<iframe style=\"width:{width}px;height:600px;border:0\" srcdoc=\"{}\"></iframe>",
                escaped(page)
            );
        }
    }
    let scheme = if is_dark { 0 } else { 1 };
    let document = format!("<!DOCTYPE html><meta charset=utf-8><script>{MEASURE}</script><pre id=found></pre>{frames}");
    let path = file(&format!("measured-{scheme}.html"), document);
    let profile = tempfile::tempdir().expect("a folder");
    let output = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--dump-dom",
        ])
        .args(["--window-size=1000,800", "--virtual-time-budget=20000"])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{path}"))
        .output()
        .expect("the browser runs");
    let document = String::from_utf8_lossy(&output.stdout);
    let found = document
        .split("<pre id=\"found\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next());
    let found = found
        .unwrap_or_default()
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let found: serde_json::Value = serde_json::from_str(&found)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    found.as_array().expect("a frame each").clone()
}

fn screenshots(program: &str, folder: &str, pages: &[(&str, String)]) {
    for (name, page) in pages {
        for width in WIDTHS {
            for scheme in [0, 1] {
                let frame = format!(
                    "<!DOCTYPE html><meta charset=utf-8><body style=margin:0><iframe style=\"width:{width}px;height:3900px;border:0\" \
                     srcdoc=\"{}\"></iframe>",
                    escaped(page)
                );
                let path = file("screenshot.html", frame);
                let profile = tempfile::tempdir().expect("a folder");
                let output = Command::new(program)
                    .args([
                        "--headless",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--disable-dev-shm-usage",
                        "--hide-scrollbars",
                    ])
                    .arg(format!("--window-size={},3900", width.max(500)))
                    .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
                    .arg(format!("--user-data-dir={}", profile.path().display()))
                    .arg(format!("--screenshot={folder}/{name}-{width}-{scheme}.png"))
                    .arg(format!("file://{path}"))
                    .output();
                assert!(output.expect("the browser runs").status.success());
            }
        }
    }
}

#[test]
fn pictures_are_readable_at_every_width_and_scheme() {
    let Some(program) = chromium() else { return };
    let log = file("pictures.log", traffic());
    let (chart, page) = (file("pictures.svg", ""), file("pictures.html", ""));
    let limits = LIMITS.iter().flat_map(|limit| ["--limit", limit]);
    let options = ["--emit", "nginx", "--chart", &chart, "--report", &page, &log];
    report(&limits.chain(options).collect::<Vec<_>>());
    let [svg, html] = [&chart, &page].map(|path| std::fs::read_to_string(path).expect("it is written"));
    let svg = format!("<!DOCTYPE html><meta name=viewport content=width=device-width><body style=margin:0>{svg}");
    let pages = [("chart", svg), ("page", html)];
    if let Ok(folder) = std::env::var("METER_REPLAY_SCREENSHOTS") {
        screenshots(program, &folder, &pages);
    }
    for is_dark in [false, true] {
        let found = measured(program, &pages, is_dark);
        assert_eq!(found.len(), WIDTHS.len() * pages.len());
        for (at, found) in found.iter().enumerate() {
            let place = format!("{} at {}, dark {is_dark}", pages[at % 2].0, WIDTHS[at / 2]);
            assert_eq!(found["found"], serde_json::json!([]), "{place}");
            assert_eq!(found["plots"], LIMITS.len(), "{place}");
            let named = found["named"].to_string();
            let labels = found["labels"].to_string();
            for limit in LIMITS {
                assert!(labels.contains(limit), "{place}: no plot of {limit}: {labels}");
                // A long limit is cut in the middle where it is a heading of the chart.
                let begin: String = limit.chars().take(15).collect();
                assert!(named.contains(&begin), "{place}: no heading of {limit}: {named}");
            }
            if at % 2 == 1 {
                assert!(
                    found["rows"].as_u64().is_some_and(|rows| rows > 50),
                    "{place}: no table of numbers: {found}"
                );
            }
        }
    }
}
