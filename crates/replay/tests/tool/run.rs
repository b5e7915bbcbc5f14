//! Runs the tool as its users do.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

pub(crate) fn meter_replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meter-replay"))
        .args(arguments)
        .output()
        .expect("the tool runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the tool prints UTF-8")
}

/// A file for one test, in a folder named after it.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let thread = thread::current();
    let test = thread.name().unwrap_or_default().replace("::", "-");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).expect("a writable folder for tests");
    let path = folder.join(name);
    fs::write(&path, content).expect("a writable folder for tests");
    path.to_str().expect("a folder in UTF-8").to_owned()
}

/// The one line on stderr of a run that fails.
pub(crate) fn complaint(arguments: &[&str]) -> String {
    let output = meter_replay(arguments);
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    assert_eq!(printed.lines().count(), 1, "{arguments:?}: {printed}");
    printed.trim_end().trim_start_matches("meter-replay: ").to_owned()
}

pub(crate) fn report(arguments: &[&str]) -> String {
    let output = meter_replay(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn log_line(client: &str, second: u32) -> String {
    format!("{client} - - [20/May/2024:00:00:{second:02} +0000] \"GET / HTTP/1.1\" 200 5\n")
}
