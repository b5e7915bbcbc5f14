//! Redis and Valkey servers as children of a test: on a free loopback port, in a folder of their own, killed on drop.

use crate::clock::{Environment, FakeClock};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time for a server to start, or for a condition to come true.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of ports that a server is started on: another process may take a free port before the server does.
pub(crate) const PORTS: u32 = 5;

/// A server that is running, or was until it was killed.
#[derive(Debug)]
pub struct Server {
    program: Program,
    port: u16,
    folder: PathBuf,
    child: Child,
}

/// The program that runs, and runs again after a crash.
#[derive(Debug)]
struct Program {
    binary: PathBuf,
    args: Vec<String>,
    environment: Environment,
}

impl Program {
    fn run(&self, port: u16, folder: &Path) -> Child {
        Command::new(&self.binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--logfile", "log"])
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server is started")
    }
}

/// The output of a server's `--version`; `None` if there is no server.
fn version(binary: &str) -> Option<String> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Server {
    /// Starts `redis-server` with more arguments, or prints that it is skipped and returns `None` where there is none.
    ///
    /// `METER_TEST_REDIS` names another binary, such as that of Valkey.
    ///
    /// # Panics
    ///
    /// If there is no server and `CI` is `true`, or if the server does not start.
    #[must_use]
    pub fn start(args: &[&str]) -> Option<Self> {
        let binary = std::env::var("METER_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
        if version(&binary).is_none() {
            crate::skipped(&binary);
            return None;
        }
        Some(Self::spawn(&binary, args, Environment::new()))
    }

    /// Starts a server whose clock is `clock`. The server must be built without jemalloc, as Valkey's wheel is: jemalloc would read `clock` before
    /// its library is ready.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_at(clock: &FakeClock, args: &[&str]) -> Option<Self> {
        let named = std::env::var("METER_TEST_REDIS").ok();
        let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/valkey-server");
        let others = ["redis-server", "valkey-server", installed].map(str::to_owned);
        let is_plain = |binary: &String| version(binary).is_some_and(|version| version.contains("malloc=libc"));
        let Some(binary) = named.into_iter().chain(others).find(is_plain) else {
            crate::skipped("Redis or Valkey server without jemalloc");
            return None;
        };
        Some(Self::spawn(&binary, args, clock.environment()))
    }

    fn spawn(binary: &str, args: &[&str], environment: Environment) -> Self {
        // The server runs in a folder of its own.
        let binary = if binary.contains('/') {
            fs::canonicalize(binary).expect("a path")
        } else {
            binary.into()
        };
        for _ in 1..PORTS {
            let mut server = Self::run(&binary, args, environment.clone());
            if server.is_ready() {
                return server;
            }
        }
        let mut server = Self::run(&binary, args, environment);
        server.wait_until_ready();
        server
    }

    /// Starts the program on a free port.
    fn run(binary: &Path, args: &[&str], environment: Environment) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("ratelimit-meter-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the server");
        let program = Program {
            binary: binary.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            environment,
        };
        let child = program.run(port, &folder);
        Self {
            program,
            port,
            folder,
            child,
        }
    }

    /// Waits until the server answers, and not another one on its port; `false` if it has ended instead.
    fn is_ready(&mut self) -> bool {
        let own = format!("process_id:{}\r\n", self.child.id());
        let mut has_ended = false;
        let has_come = wait_for(|| {
            has_ended = self.child.try_wait().expect("a child").is_some();
            let answer = |words: &[&str]| self.command_within(words, Duration::from_secs(1)).unwrap_or_default();
            has_ended || answer(&["PING"]).starts_with("+PONG") && answer(&["INFO", "server"]).contains(&own)
        });
        has_come && !has_ended
    }

    fn wait_until_ready(&mut self) {
        let is_ready = self.is_ready();
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(is_ready, "the server on port {} does not answer: {}", self.port, log());
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills the server as by `kill -9`.
    pub fn kill(&mut self) {
        // Fails only if the server has died already.
        let _ = self.child.kill();
        self.child.wait().expect("a child");
    }

    /// Starts the server again, with the files and on the port that it had.
    pub fn restart(&mut self) {
        self.kill();
        self.child = self.program.run(self.port, &self.folder);
        self.wait_until_ready();
    }

    /// Stops the process, which then answers nothing and keeps its connections, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success());
        // A process that runs on another processor goes on for a moment. The letter after its name in brackets is its state.
        let is_stopped = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |stat| stat.contains(") T "))
        };
        assert!(signal != "-STOP" || wait_for(is_stopped), "it is not stopped");
    }

    /// Sends one command over a connection of its own, and returns the reply as it is on the wire.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub fn command(&self, words: &[&str]) -> std::io::Result<String> {
        self.command_within(words, PATIENCE)
    }

    fn command_within(&self, words: &[&str], patience: Duration) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(patience))?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        // A second command shows where the reply to the first ends.
        text += "*2\r\n$4\r\nECHO\r\n$12\r\nend-of-reply\r\n";
        stream.write_all(text.as_bytes())?;
        let mut reply = Vec::new();
        let mut buffer = [0; 4096];
        const END: &[u8] = b"$12\r\nend-of-reply\r\n";
        while !reply.ends_with(END) {
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            reply.extend_from_slice(&buffer[..n]);
        }
        reply.truncate(reply.len() - END.len());
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    /// Returns a number from `INFO`.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<u64> {
        let info = self.command(&["INFO", "everything"]).ok()?;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns a port on 127.0.0.1 that was free just now, another one each time. The port 10,000 higher, on which a cluster talks, was free too. Both
/// are below the ports that systems give to outgoing connections, so that a server that is started again finds them free.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = fastrand::u16(12_000..22_000);
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        // A port that another server of this process is about to take still looks free.
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if is_free(port) && is_free(port + 10_000) && given.insert(port) {
            return port;
        }
    }
}

/// Returns the seconds until the next keepalive of each connection to a port on 127.0.0.1, more than a day for a connection without any. `None` where
/// the system has no `/proc/net/tcp`.
#[must_use]
pub fn keepalives(port: u16) -> Option<Vec<u64>> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let remote = format!("0100007F:{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Established connections to the port, with the timer and its hundredths of a second.
    let timers = rows.filter(|row| row.get(2) == Some(&&*remote) && row.get(3) == Some(&"01"));
    let seconds = timers.map(|row| match row[5].split_once(':') {
        Some(("02", time)) => u64::from_str_radix(time, 16).expect("a number") / 100,
        _ => u64::MAX,
    });
    Some(seconds.collect())
}

/// Asks until a condition holds, and returns whether it came true in two minutes.
pub fn wait_for(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}
