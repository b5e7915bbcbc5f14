//! `--follow`: a live table while the input grows, and the report when it ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{iter, mem, thread};

use crate::inputs::capture;
use crate::run::{complaint, file, log_line, report};

/// Longest time that the tool may write nothing: a test that waits longer has failed, and must not hang.
const PATIENCE: Duration = Duration::from_secs(300);

struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn new(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_meter-replay"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the tool runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|read| read > 0) && sender.send(mem::take(&mut line)).is_ok() {}
        });
        Self { child, lines }
    }

    /// The next line of the output; `None` at its end.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it wrote nothing for {PATIENCE:?}"),
        }
    }

    /// Reads on to a line that contains this.
    fn until(&self, text: &str) -> String {
        let mut lines = iter::from_fn(|| self.line());
        let found = lines.find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("it ended before `{text}`"))
    }

    /// The remaining output, once it has ended well.
    fn rest(mut self) -> String {
        let rest: String = iter::from_fn(|| self.line()).collect();
        assert!(self.child.wait().expect("a child").success(), "{rest}");
        rest
    }
}

impl Drop for Following {
    /// Ends the tool if a test fails before it has ended.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(second: u32, count: usize) -> String {
    log_line("192.0.2.1", second).repeat(count)
}

#[test]
#[cfg_attr(windows, ignore = "it sends a signal")]
fn followed_file_shows_a_live_table_and_report() {
    let path = file("growing.log", lines(1, 3));
    let denied = file("growing.csv", "");
    let following = Following::new(&["--follow", "--limit", "2/s", "--denied", &denied, &path]);
    following.until("3 requests of 1 key");
    following.until("2/s");
    let mut log = File::options().append(true).open(&path).expect("a file");
    log.write_all(lines(2, 4).as_bytes()).expect("it is written");
    following.until("7 requests of 1 key");
    assert!(following.until("2/s").contains("192.0.2.1 (3)"));
    // A line is taken when it is whole, and the last one as it is.
    let last = lines(3, 1);
    let (begin, end) = last.split_at(40);
    log.write_all(begin.as_bytes()).expect("it is written");
    log.write_all(end.trim_end().as_bytes()).expect("it is written");
    // Another file takes the place, as a rotation has it.
    std::fs::rename(&path, format!("{path}.1")).expect("it is moved");
    let id = following.child.id();
    std::fs::write(&path, format!("\n{}", lines(4, 3))).expect("it is written");
    following.until("11 requests of 1 key");
    // Every shell has `kill`; the program of that name is not installed everywhere.
    let kill = format!("kill -INT {id}");
    let is_sent = Command::new("sh").args(["-c", &kill]).status().expect("a signal");
    assert!(is_sent.success());
    let rest = following.rest();
    assert!(
        rest.contains("\n11 requests, 2024-05-20 00:00:01 to 2024-05-20 00:00:04 UTC"),
        "{rest}"
    );
    assert!(
        rest.contains("order: as-is") && rest.contains("  2/s                       11         7       4"),
        "{rest}"
    );
    assert_eq!(
        std::fs::read_to_string(&denied).expect("it is written").lines().count(),
        5
    );
}

#[test]
fn standard_input_is_followed_to_its_end() {
    let mut following = Following::new(&["--follow", "--limit", "2/s", "--by", "key", "-"]);
    let mut stdin = following.child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"time,key\n1716206400.5,a\n1716206400.5,a\n")
        .expect("it is read");
    following.until("2 requests of 1 key");
    stdin.write_all(b"1716206400.5,a\n1716206400.5,b").expect("it is read");
    drop(stdin);
    let rest = following.rest();
    assert!(
        rest.contains("\n4 requests, ") && rest.contains("  2/s              4         3       1"),
        "{rest}"
    );
    let all = file(
        "followed.csv",
        "time,key\n1716206400.5,a\n1716206400.5,a\n1716206400.5,a\n1716206400.5,b\n",
    );
    let at_once = report(&["--limit", "2/s", "--by", "key", "--order", "as-is", &all]);
    let table = |text: &str| {
        text.split("\n\n")
            .filter(|part| part.contains("cells asked"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(table(&rest), table(&at_once));
}

#[test]
fn followed_stamps_have_both_bounds() {
    let log = [lines(1, 3), lines(2, 2), lines(4, 1)].concat();
    let path = file("bounds.log", &log);
    for spread in ["--spread=both", "--spread=even", "--spread=none"] {
        let options = ["--limit", "2/s burst 1", "--format", "json", spread];
        let options = if spread == "--spread=both" {
            &options[..4]
        } else {
            &options[..]
        };
        let mut following = Following::new(&[&["--follow", "-"], options].concat());
        let mut stdin = following.child.stdin.take().expect("a pipe");
        stdin.write_all(log.as_bytes()).expect("it is read");
        drop(stdin);
        let limits = |report: &str| serde_json::from_str::<serde_json::Value>(report).expect("JSON")["limits"].take();
        let at_once = report(&[options, &["--order", "as-is", &path]].concat());
        assert_eq!(limits(&following.rest()), limits(&at_once), "{spread}");
    }
}

#[test]
fn capture_without_line_feeds_is_followed() {
    let capture = capture(&[(1_716_163_218, 60)]);
    assert!(!capture.contains(&b'\n'));
    let mut following = Following::new(&["--follow", "--limit", "2/s", "-"]);
    let mut stdin = following.child.stdin.take().expect("a pipe");
    stdin.write_all(&capture).expect("it is read");
    following.until("1 requests of 1 key");
}

#[test]
fn following_ends_if_nothing_reads_the_table() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_meter-replay"))
        .args(["--follow", "--limit", "2/s", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    drop(child.stdout.take());
    let (mut stdin, mut stderr) = (
        child.stdin.take().expect("a pipe"),
        child.stderr.take().expect("a pipe"),
    );
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(std::io::read_to_string(&mut stderr)));
    // Standard error ends with the process, although standard input has not ended. A process that another test starts meanwhile holds the pipe for a moment.
    // The tool can write a table then, and notices at the next one.
    let complaints = (0..PATIENCE.as_secs()).find_map(|_| {
        let _ = stdin.write_all(lines(1, 3).as_bytes());
        ended.recv_timeout(Duration::from_secs(1)).ok()
    });
    let complaints = complaints.expect("it ends").expect("text");
    assert!(
        child.wait().expect("a child").success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn followed_log_may_declare_fields_in_comments() {
    let mut following = Following::new(&["--follow", "--limit", "1/s", "-"]);
    let mut stdin = following.child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"#Software: a server\n#Fields: date time c-ip\n")
        .expect("it is read");
    stdin
        .write_all(b"2024-05-20 12:00:00 192.0.2.1\n2024-05-20 12:00:00 192.0.2.1\n")
        .expect("it is read");
    following.until("2 requests of 1 key");
    drop(stdin);
    let rest = following.rest();
    assert!(
        rest.contains("named fields") && rest.contains("  1/s              2         1       1"),
        "{rest}"
    );
}

#[test]
fn one_input_is_followed_and_no_more() {
    let path = file("one.log", lines(1, 1));
    for arguments in [
        &["--follow", "--limit", "1/s", &path, "-"][..],
        &["--follow", "--limit", "1/s"],
    ] {
        let printed = complaint(arguments);
        assert!(
            printed.contains("--follow takes one input") || printed.contains("nothing to replay"),
            "{printed}"
        );
    }
    assert!(complaint(&["--follow", "--limit", "1/s", "no-such.log"]).starts_with("no-such.log: "));
    assert!(complaint(&["--follow", "--limit", "1/s", "--order", "sort", &path]).contains("--order"));
}

#[test]
fn real_time_first_line_may_come_in_pieces() {
    let mut following = Following::new(&["--follow", "--limit", "2/s", "-"]);
    let mut stdin = following.child.stdin.take().expect("a pipe");
    // Without a year, and so few bytes that they might begin UTF-16.
    for piece in [
        "Ma",
        "y 20 00:00:18 host kernel: SRC=203.0.113.7",
        " DST=10.0.0.1 LEN=40\n",
    ] {
        stdin.write_all(piece.as_bytes()).expect("it is read");
        // The tool reads on after a tenth of a second without bytes.
        thread::sleep(Duration::from_millis(300));
    }
    following.until(" of 1 key");
    drop(stdin);
    let rest = following.rest();
    assert!(
        rest.contains("\n1 request, ") && rest.contains("stamps without a year"),
        "{rest}"
    );
}
