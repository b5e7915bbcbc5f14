//! The lines a second that the tool itself reads from a file: `cargo bench -p ratelimit_meter_replay --bench file`.
//!
//! `METER_REPLAY_LINES` is the number of lines (100,000 by default; 9,000,000 of Combined Log Format are 2 GB) and
//! `METER_REPLAY_CLIENTS` that of clients (200,000). Some clients are far busier than the rest. Each command runs three times; the
//! median wall time counts, and the most memory is that of the kernel (`VmHWM`, Linux only). `awk` counts the lines of each client, as
//! a floor. The goals on one quiet core are 1.5 million lines a second of Combined Log Format and 0.5 million of JSON.

mod support;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::random;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Writes a log, 2,000 lines a second of its own time, in Combined Log Format and as JSON lines.
fn write(folder: &Path, lines: u64, clients: u64) -> io::Result<[PathBuf; 2]> {
    let paths = ["combined.log", "lines.json"].map(|name| folder.join(name));
    let [mut log, mut json] = [
        BufWriter::new(File::create(&paths[0])?),
        BufWriter::new(File::create(&paths[1])?),
    ];
    let mut state = 1;
    for line in 0..lines {
        let most = 1 + random(&mut state) % clients;
        let client = random(&mut state) % most;
        let (page, second) = (random(&mut state) % 500, line / 2_000 % 86_400);
        let (hour, minute, rest) = (second / 3_600, second / 60 % 60, second % 60);
        let day = 1 + line / 2_000 / 86_400;
        let (a, b, c) = (10 + client / 65_536, client / 256 % 256, client % 256);
        writeln!(
            log,
            "{a}.{b}.{c}.7 - - [{day:02}/May/2024:{hour:02}:{minute:02}:{rest:02} +0000] \"GET /articles/{page}/index.html?from=search \
             HTTP/1.1\" 200 {page} \"https://www.example.org/articles/{page}\" \"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) \
             Gecko/20100101 Firefox/125.0\""
        )?;
        writeln!(
            json,
            "{{\"time\":\"2024-05-{day:02}T{hour:02}:{minute:02}:{rest:02}Z\",\"remote_ip\":\"{a}.{b}.{c}.7\",\"method\":\"GET\",\
             \"uri\":\"/articles/{page}/index.html\",\"status\":200,\"bytes\":{page},\"duration\":0.012}}"
        )?;
    }
    log.flush()?;
    json.flush()?;
    Ok(paths)
}

/// The most memory that a process has had so far, in KiB, while it still runs.
fn peak(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The median seconds of three runs, and the most memory seen.
fn run(program: &str, arguments: &[&str]) -> io::Result<(f64, u64)> {
    let (mut seconds, mut memory) = (Vec::new(), 0);
    for _ in 0..3 {
        let start = Instant::now();
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while child.try_wait()?.is_none() {
            memory = memory.max(peak(child.id()).unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.wait()?.success(), "{program} {arguments:?}");
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok((seconds[1], memory))
}

fn main() -> io::Result<()> {
    let (lines, clients) = (
        number("METER_REPLAY_LINES", 100_000),
        number("METER_REPLAY_CLIENTS", 200_000),
    );
    let folder = tempfile::tempdir()?;
    let paths = write(folder.path(), lines, clients)?;
    let [log, json] = paths.each_ref().map(|path| path.to_str().unwrap_or_default());
    let tool = env!("CARGO_BIN_EXE_meter-replay");
    let limit = ["--limit", "10/s burst 20"];
    println!("{lines} lines, {clients} clients; million lines a second, MiB");
    for (name, program, arguments) in [
        (
            "combined, all results, both bounds",
            tool,
            [&limit[..], &[log]].concat(),
        ),
        (
            "combined, one bound",
            tool,
            [&limit[..], &["--spread=none", log]].concat(),
        ),
        (
            "combined, in the order of its lines, counts only",
            tool,
            [&limit[..], &["--spread=none", "--no-suggest", "--order", "as-is", log]].concat(),
        ),
        (
            "JSON lines, all results, both bounds",
            tool,
            [&limit[..], &["--by", "ip", json]].concat(),
        ),
        (
            "awk, lines of each client",
            "awk",
            vec!["{ n[$1]++ } END { print length(n) }", log],
        ),
    ] {
        let (seconds, memory) = run(program, &arguments)?;
        #[allow(clippy::cast_precision_loss, reason = "a rate to two digits")]
        let rate = lines as f64 / seconds / 1e6;
        println!("{name:<50} {rate:>6.2} {:>6}", memory / 1024);
    }
    Ok(())
}
