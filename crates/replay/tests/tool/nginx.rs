//! The model of nginx against a real nginx, which the test starts on loopback and floods.
//!
//! nginx decides on a monotonic clock of milliseconds and logs a wall clock of milliseconds. So an interval between two requests may differ by a
//! millisecond between the two, which moves a decision near the limit to another request. But the number of admitted requests differs by at most one
//! for each flood of a key, because a flood begins with an idle key. It differs by one more for each pause in a flood, after which the key has a cell
//! again by both clocks: the decision that moved has no other request to go to. A busy machine pauses.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::has_program;
use crate::run::{file, report};

/// Limits to run, as `--limit` takes them.
const LIMITS: [&str; 5] = [
    "nginx:200r/s burst=20 nodelay",
    "nginx:100r/s nodelay",
    "nginx:3000r/m burst=5 nodelay",
    "nginx:200r/s burst=20",
    "nginx:100r/s burst=20 delay=8",
];

/// Floods of each key, far enough apart for the key to become idle.
const FLOODS: u64 = 2;

/// The shortest pause in a flood that may cost a request.
const PAUSE_MS: u64 = 5;

/// Longest time that nginx may take to answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running nginx, ended with the test.
struct RunningNginx {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for RunningNginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One line of the access log.
#[derive(Clone)]
struct LoggedRequest {
    start_ms: u64,
    took_ms: u64,
    key: String,
    status: String,
}

/// Its paths are relative to the prefix, whose name may have blanks.
fn configuration(port: u16) -> String {
    let (mut zones, mut locations) = (String::new(), String::new());
    for (number, limit) in LIMITS.iter().enumerate() {
        let (rate, parameters) = limit["nginx:".len()..].split_once(' ').expect("a rate and more");
        let _ = writeln!(zones, "limit_req_zone $arg_k zone=z{number}:1m rate={rate};");
        let _ = writeln!(
            locations,
            "location = /{number} {{ limit_req zone=z{number} {parameters}; access_log {number}.log seen; }}"
        );
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid pid;\nerror_log error.log crit;\n\
         events {{ worker_connections 512; }}\nhttp {{\n{temporary}access_log off;\nkeepalive_requests 1000000;\n\
         log_format seen '$msec $request_time $arg_k $limit_req_status';\n{zones}\
         server {{ listen 127.0.0.1:{port}; root .;\n{locations}}}\n}}\n"
    )
}

impl RunningNginx {
    fn start() -> Self {
        // Another process may take the port before nginx does; then the next one is tried.
        for _ in 0..10 {
            let folder = tempfile::tempdir().expect("a folder");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            drop(listener);
            for number in 0..LIMITS.len() {
                fs::write(folder.path().join(number.to_string()), "x").expect("a writable folder");
            }
            let path = folder.path().join("nginx.conf");
            fs::write(&path, configuration(port)).expect("a writable folder");
            let mut child = Command::new("nginx")
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&path)
                .stderr(Stdio::null())
                .spawn()
                .expect("nginx runs");
            while child.try_wait().expect("a child").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, folder, port };
                }
                std::thread::yield_now();
            }
        }
        panic!("nginx does not start");
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("nginx listens");
        stream.set_nodelay(true).expect("a socket");
        // A server that does not answer, such as another one on this port, fails the test instead of hanging it.
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        BufReader::new(stream)
    }

    /// The log lines of a limit, in the order of the beginnings.
    fn seen(&self, number: usize) -> Vec<LoggedRequest> {
        let log = fs::read_to_string(self.folder.path().join(format!("{number}.log"))).expect("a log");
        let mut seen: Vec<LoggedRequest> = log.lines().map(seen).collect();
        // A request that is held back is logged later than one rejected after it. Of one millisecond, those that pass came first.
        seen.sort_by_key(|seen| (seen.start_ms, seen.status == "REJECTED", seen.took_ms));
        seen
    }
}

fn milliseconds(text: &str) -> u64 {
    let (seconds, fraction) = text.split_once('.').expect("seconds and a fraction");
    seconds.parse::<u64>().expect("seconds") * 1_000 + fraction.parse::<u64>().expect("milliseconds")
}

fn seen(line: &str) -> LoggedRequest {
    let words: Vec<&str> = line.split(' ').collect();
    let (end_ms, took_ms) = (milliseconds(words[0]), milliseconds(words[1]));
    LoggedRequest {
        start_ms: end_ms - took_ms,
        took_ms,
        key: words[2].to_owned(),
        status: words[3].to_owned(),
    }
}

fn ask(connection: &mut BufReader<TcpStream>, number: usize, key: &str) {
    let request = format!("GET /{number}?k={key} HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).expect("nginx reads");
}

fn answer(connection: &mut BufReader<TcpStream>) {
    let mut length = 0;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).expect("nginx answers");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        assert!(!line.is_empty(), "nginx closed the connection");
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
}

/// The decisions of the tool for the logged requests, and the number of requests that it holds back.
fn replayed(number: usize, limit: &str, seen: &[LoggedRequest]) -> (Vec<bool>, u64) {
    let rows: String = seen
        .iter()
        .map(|seen| format!("{}.{:03},{}\n", seen.start_ms / 1_000, seen.start_ms % 1_000, seen.key))
        .collect();
    let table = file(&format!("nginx-{number}.csv"), format!("time,key\n{rows}"));
    let out = file(&format!("nginx-{number}-denied.csv"), "");
    let arguments = [
        "--limit",
        limit,
        "--key",
        "key",
        "--spread=none",
        "--denied",
        &out,
        "--format",
        "json",
        &table,
    ];
    let json: serde_json::Value = serde_json::from_str(&report(&arguments)).expect("JSON");
    let mut admitted = vec![true; seen.len()];
    for row in fs::read_to_string(&out).expect("denials").lines().skip(1) {
        let line: usize = row
            .split(',')
            .nth(1)
            .and_then(|line| line.parse().ok())
            .expect("a line");
        admitted[line - 2] = false;
    }
    (admitted, json["limits"][0]["delayed"].as_u64().expect("a count"))
}

/// The most by which the requests admitted so far ever differ, for any key.
fn most_apart(seen: &[LoggedRequest], admitted: &[bool]) -> u64 {
    let mut balances = std::collections::HashMap::new();
    let mut most = 0;
    for (seen, &admitted) in seen.iter().zip(admitted) {
        let balance: &mut i64 = balances.entry(seen.key.as_str()).or_default();
        *balance += i64::from(seen.status != "REJECTED") - i64::from(admitted);
        most = most.max(balance.unsigned_abs());
    }
    most
}

/// The number of times that a key was not asked for a while; those between floods count, too.
fn pauses(seen: &[LoggedRequest]) -> u64 {
    let mut last = std::collections::HashMap::new();
    let mut pauses = 0;
    for seen in seen {
        let before = last.insert(seen.key.as_str(), seen.start_ms);
        pauses += u64::from(before.is_some_and(|before| seen.start_ms >= before + PAUSE_MS));
    }
    pauses
}

#[test]
fn real_time_nginx_decides_as_its_model() {
    if !has_program("nginx", "-v") {
        return;
    }
    let nginx = RunningNginx::start();
    let mut single = nginx.connect();
    let mut many: Vec<_> = (0..60).map(|_| nginx.connect()).collect();
    for flood in 0..FLOODS {
        for (number, limit) in LIMITS.iter().enumerate() {
            if limit.ends_with("nodelay") {
                // Two keys side by side; meanwhile the keys of other limits become idle.
                for request in 0..6_000 {
                    ask(&mut single, number, ["a", "b"][request % 2]);
                    answer(&mut single);
                }
            } else {
                let key = format!("flood-{flood}");
                many.iter_mut().for_each(|connection| ask(connection, number, &key));
                many.iter_mut().for_each(answer);
            }
        }
    }
    for (number, limit) in LIMITS.iter().enumerate() {
        let seen = nginx.seen(number);
        let (admitted, delayed) = replayed(number, limit, &seen);
        let passed = seen.iter().filter(|seen| seen.status != "REJECTED").count();
        assert!(
            passed > 5 && passed < seen.len(),
            "{limit}: {passed} of {} passed",
            seen.len()
        );
        let bound = FLOODS + pauses(&seen);
        let apart = most_apart(&seen, &admitted);
        assert!(apart <= bound, "{limit}: {apart} apart, of at most {bound}");
        let held: Vec<u64> = seen
            .iter()
            .filter(|seen| seen.status == "DELAYED")
            .map(|seen| seen.took_ms)
            .collect();
        let count = u64::try_from(held.len()).expect("a few");
        assert!(
            count.abs_diff(delayed) <= 2 * bound,
            "{limit}: {count} were delayed, {delayed} by the model"
        );
        assert_eq!(count > 0, !limit.ends_with("nodelay"), "{limit}");
        // A model that is off by more than its clock is found out.
        let (rate, _) = limit.split_once(' ').expect("a rate");
        let (other, _) = replayed(number, &format!("{rate} burst=30 nodelay"), &seen);
        assert!(
            most_apart(&seen, &other) > FLOODS,
            "{limit}: a burst of 30 cannot be distinguished from it"
        );
    }
}

#[test]
fn nginx_accepts_emitted_configuration() {
    if !has_program("nginx", "-v") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (limit, by) in [
        "10/s burst 20",
        "100/min",
        "1/h",
        "10/s & 1000/h",
        "nginx:7r/m burst=3 delay=2",
        "4000000000/s",
    ]
    .into_iter()
    .flat_map(|limit| ["ip", "all", "ip,path"].map(|by| (limit, by)))
    {
        let emitted = report(&["--limit", limit, "--by", by, "--emit", "nginx"]);
        let (zones, limits): (Vec<&str>, Vec<&str>) =
            emitted.lines().partition(|line| !line.starts_with("limit_req zone="));
        let path = folder.path().join("nginx.conf");
        let shown = folder.path().display();
        let text = format!(
            "pid pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\nclient_body_temp_path a;\n\
             proxy_temp_path b;\nfastcgi_temp_path c;\nuwsgi_temp_path d;\nscgi_temp_path e;\n\
             {}\nserver {{\nlisten \"unix:{shown}/socket\";\n{}\n}}\n}}\n",
            zones.join("\n"),
            limits.join("\n")
        );
        fs::write(&path, text).expect("a writable folder");
        let output = Command::new("nginx")
            .arg("-t")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .output();
        let output = output.expect("nginx runs");
        assert!(
            output.status.success(),
            "{emitted}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn haproxy_accepts_emitted_configuration() {
    if !has_program("haproxy", "-v") {
        return;
    }
    for (limit, by) in [
        ("10/s burst 20", "ip"),
        ("3/s burst 2", "path"),
        ("1/20000d", "all"),
        ("10/s & 1000/h", "tenant"),
        ("10/s", "xff"),
        ("10/s", "method"),
        ("10/s", "host"),
        ("sliding-window:100/min", "ip"),
    ] {
        let emitted = report(&["--limit", limit, "--by", by, "--emit", "haproxy"]);
        let (tables, rules) = emitted.split_once("# In the frontend to limit:\n").expect("both parts");
        let text = format!(
            "defaults\nmode http\ntimeout connect 1s\ntimeout client 1s\ntimeout server 1s\n{tables}\n\
             frontend www\nbind 127.0.0.1:1\n{rules}default_backend b\nbackend b\nserver s 127.0.0.1:1\n"
        );
        let path = file("haproxy.cfg", text);
        let output = Command::new("haproxy")
            .args(["-c", "-q", "-f", &path])
            .output()
            .expect("haproxy runs");
        assert!(
            output.status.success(),
            "{emitted}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
