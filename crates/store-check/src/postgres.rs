//! PostgreSQL and pgbouncer servers as children of a test: on free loopback ports, in folders of their own, ended on drop.

use crate::certificates::Certificates;
use crate::clock::{Environment, FakeClock};
use crate::server::{PORTS, free_port};
use core::ops::Deref;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time for a server to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// The line in a server's log once it answers.
const READY: &str = "database system is ready to accept connections";

/// A PostgreSQL server with the superuser `postgres`, which needs no password.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    user: ServerUser,
    folder: Folder,
    port: u16,
    environment: Environment,
    child: Mutex<Child>,
}

impl Postgres {
    /// Starts a server, or prints that it is skipped and returns `None` where none is installed.
    ///
    /// `METER_TEST_POSTGRES` names the folder of another version's programs.
    ///
    /// # Panics
    ///
    /// If none is installed and `CI` is `true`, or if the server does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_in(Environment::new(), None)
    }

    /// Starts a server whose clock is `clock`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_at(clock: &FakeClock) -> Option<Self> {
        Self::start_in(clock.environment(), None)
    }

    /// Starts a server that takes sessions with TLS only. All users but `postgres` need a password.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with_tls(certificates: &Certificates) -> Option<Self> {
        Self::start_in(Environment::new(), Some(certificates))
    }

    fn start_in(environment: Environment, certificates: Option<&Certificates>) -> Option<Self> {
        let (Some(programs), Some(user)) = (programs(), ServerUser::of_servers()) else {
            crate::skipped("postgres");
            return None;
        };
        if !user.has_name() {
            crate::skipped("name of this user, which initdb needs");
            return None;
        }
        let folder = user.folder("postgres");
        let mut initdb = user.command(&programs.join("initdb"), &folder);
        initdb.args(["-D", "data", "-A", "trust", "-U", "postgres", "-E", "UTF8"]);
        let made = initdb.args(["--locale=C", "--no-sync"]).status().expect("initdb runs");
        assert!(made.success(), "{}", log(&folder));
        if let Some(certificates) = certificates {
            user.require_tls(&folder.join("data"), certificates);
        }
        let port = free_port();
        let child = Mutex::new(run(&programs, user, &folder, port, &environment));
        let mut server = Self {
            programs,
            user,
            folder,
            port,
            environment,
            child,
        };
        for _ in 1..PORTS {
            if server.is_ready() {
                return Some(server);
            }
            server.port = free_port();
            *server.child() = server.run();
        }
        assert!(server.is_ready(), "{}", log(&server.folder));
        Some(server)
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of the programs of its version, such as `psql` and `pgbench`.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Sends a signal to the postmaster.
    pub fn signal(&self, name: &str) {
        signal(self.child().id(), name);
    }

    /// Ends the server as a crash does, and starts it again on its files and port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn crash_and_restart(&self) {
        signal(self.child().id(), "-KILL");
        self.child().wait().expect("a child");
        let end = Instant::now() + PATIENCE;
        // It does not start until the orphans of the crash are gone.
        loop {
            *self.child() = self.run();
            if self.is_ready() {
                return;
            }
            assert!(Instant::now() < end, "{}", log(&self.folder));
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&self) -> Child {
        run(&self.programs, self.user, &self.folder, self.port, &self.environment)
    }

    /// Waits until it answers; `false` if it has ended instead.
    fn is_ready(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        while !log(&self.folder).contains(READY) {
            if self.child().try_wait().expect("a child").is_some() {
                return false;
            }
            assert!(Instant::now() < end, "{}", log(&self.folder));
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(child.id(), "-CONT");
            // An immediate shutdown: the postmaster ends its children.
            signal(child.id(), "-QUIT");
        }
        let _ = child.wait();
    }
}

/// A pgbouncer in transaction mode with two connections to its server.
#[derive(Debug)]
pub struct PgBouncer {
    folder: Folder,
    port: u16,
    child: Child,
}

impl PgBouncer {
    /// Starts a pooler before `server`, or prints that it is skipped and returns `None` where none is installed.
    ///
    /// # Panics
    ///
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start(server: &Postgres) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let Some(program) = paths.find_map(|path| Some(path.join("pgbouncer")).filter(|program| program.exists()))
        else {
            crate::skipped("pgbouncer");
            return None;
        };
        let (folder, port) = (server.user.folder("pgbouncer"), free_port());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
            server.port
        );
        fs::write(folder.join("pgbouncer.ini"), settings).expect("settings");
        let mut command = server.user.command(&program, &folder);
        let child = command.args(["-q", "pgbouncer.ini"]).spawn().expect("pgbouncer runs");
        let pooler = Self { folder, port, child };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < end, "{}", log(&pooler.folder));
            thread::sleep(Duration::from_millis(10));
        }
        Some(pooler)
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of a server, which is removed even if the server does not start.
#[derive(Debug)]
struct Folder(PathBuf);

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The user that runs the servers: not root, which PostgreSQL forbids.
#[derive(Debug, Clone, Copy)]
struct ServerUser {
    uid: u32,
    gid: u32,
    is_other: bool,
}

impl ServerUser {
    /// The user of this process, or `postgres`, or `nobody`, if that is root.
    fn of_servers() -> Option<Self> {
        let (uid, gid) = unix::owner(Path::new("/proc/self"))?;
        if uid != 0 {
            return Some(Self {
                uid,
                gid,
                is_other: false,
            });
        }
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let of = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut ids = line.split(':').skip(2).map(str::parse);
            let (uid, gid) = (ids.next()?.ok()?, ids.next()?.ok()?);
            Some(Self {
                uid,
                gid,
                is_other: true,
            })
        };
        of("postgres").or_else(|| of("nobody"))
    }

    /// Returns `false` if the user is a number alone, as in some containers: `initdb` fails then.
    fn has_name(self) -> bool {
        let name = Command::new("id").arg("-un").output();
        self.is_other || name.is_ok_and(|name| name.status.success())
    }

    /// A folder that this user may write to.
    fn folder(self, kind: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ratelimit-meter-{kind}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        unix::give(&folder, self.uid, self.gid);
        Folder(folder)
    }

    /// Configures the server to take sessions with TLS only, and all but those of `postgres` with a password.
    fn require_tls(self, data: &Path, certificates: &Certificates) {
        for (name, from) in [("server.crt", "server.pem"), ("server.key", "key.pem")] {
            let file = data.join(name);
            fs::copy(certificates.path(from), &file).expect("a copy");
            unix::make_private(&file);
            unix::give(&file, self.uid, self.gid);
        }
        let rules = "hostssl all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("a file");
        let settings = data.join("postgresql.conf");
        let before = fs::read_to_string(&settings).expect("a file");
        fs::write(settings, before + "ssl = on\n").expect("a file");
    }

    /// A command of this user, which writes to a new log.
    fn command(self, program: &Path, folder: &Path) -> Command {
        let log = fs::File::create(folder.join("log")).expect("a log");
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        if self.is_other {
            unix::run_as(&mut command, self.uid, self.gid);
        }
        command
    }
}

fn run(programs: &Path, user: ServerUser, folder: &Path, port: u16, environment: &Environment) -> Child {
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "shared_buffers=64MB",
        // Sessions that a test has left may end late.
        "max_connections=300",
        // Its snapshots keep old row versions, at times that no test knows.
        "autovacuum=off",
    ];
    let mut command = user.command(&programs.join("postgres"), folder);
    command.args(["-D", "data", "-p", &port.to_string()]);
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.spawn().expect("postgres runs")
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.expect("kill").success());
}

/// The folder of `initdb` and `postgres`: that of `METER_TEST_POSTGRES`, otherwise of Debian's newest, otherwise one of the search path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::var_os("METER_TEST_POSTGRES").map(PathBuf::from);
    named
        .into_iter()
        .chain(versions.into_iter().rev().map(|(_, programs)| programs))
        .chain(std::env::split_paths(&path))
        .find(|programs| programs.join("initdb").exists() && programs.join("postgres").exists())
}

/// Owners and permissions of files, and users of processes.
#[cfg(unix)]
mod unix {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    pub(super) fn owner(file: &Path) -> Option<(u32, u32)> {
        let file = metadata(file).ok()?;
        Some((file.uid(), file.gid()))
    }

    pub(super) fn give(file: &Path, uid: u32, gid: u32) {
        chown(file, Some(uid), Some(gid)).expect("the user's file");
    }

    pub(super) fn make_private(file: &Path) {
        set_permissions(file, Permissions::from_mode(0o600)).expect("a private file");
    }

    pub(super) fn run_as(command: &mut Command, uid: u32, gid: u32) {
        command.uid(uid).gid(gid);
    }
}

/// Elsewhere no user is found, so no server starts.
#[cfg(not(unix))]
mod unix {
    use std::path::Path;
    use std::process::Command;

    pub(super) fn owner(_: &Path) -> Option<(u32, u32)> {
        None
    }

    pub(super) fn give(_: &Path, _: u32, _: u32) {}

    pub(super) fn make_private(_: &Path) {}

    pub(super) fn run_as(_: &mut Command, _: u32, _: u32) {}
}
