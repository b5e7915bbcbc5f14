//! Servers of the tests: children on free loopback ports with folders of their own, ended when they are dropped.

use ratelimit_meter_postgres::PostgresStore;
use ratelimit_meter_store_check::server::free_port;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls};

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says that a test is skipped; with `CI=true` fails instead.
fn skipped(program: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "no {program}: apt-get install postgresql pgbouncer"
    );
    println!("skipped: no {program}");
}

/// The folder of `initdb` and `postgres`: METER_TEST_POSTGRES, else the newest one of Debian, else of the search path.
fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = debian
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::var_os("METER_TEST_POSTGRES")
        .map(PathBuf::from)
        .into_iter()
        .chain(versions.into_iter().rev().map(|(_, path)| path))
        .chain(std::env::split_paths(&path))
        .find(|path| path.join("initdb").exists() && path.join("postgres").exists())
}

/// The user and the group to run servers as: not root, since PostgreSQL refuses that.
fn ids() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").ok()?;
    if own.uid() != 0 {
        return Some((own.uid(), own.gid()));
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let of = |user: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(status.expect("the program kill").success());
}

/// A folder for one server that its user may write to.
fn folder(kind: &str, (uid, gid): (u32, u32)) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "ratelimit-meter-{kind}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).expect("a new folder");
    chown(&folder, Some(uid), Some(gid)).expect("the user's folder");
    folder
}

/// A command that runs as the user of the servers.
fn command(program: &Path, folder: &Path, (uid, gid): (u32, u32)) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"));
    let log = log.expect("a log");
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(uid).gid(gid);
    }
    command
}

/// A PostgreSQL server.
pub(crate) struct Server {
    programs: PathBuf,
    ids: (u32, u32),
    folder: PathBuf,
    running: Mutex<Child>,
    port: u16,
}

impl Server {
    /// The server that most tests share, started with the first of those that run; `None` where there is none.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server of its own, for a test that harms it.
    pub(crate) fn start() -> Option<Self> {
        let (Some(programs), Some(ids)) = (programs(), ids()) else {
            skipped("postgres");
            return None;
        };
        let folder = folder("postgres", ids);
        let initdb = command(&programs.join("initdb"), &folder, ids)
            .args([
                "-D",
                "data",
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .status();
        assert!(
            initdb.expect("initdb").success(),
            "{}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
        let port = free_port();
        let running = Mutex::new(Self::spawn(&programs, &folder, ids, port));
        let server = Self {
            programs,
            ids,
            folder,
            running,
            port,
        };
        server.wait();
        Some(server)
    }

    fn spawn(programs: &Path, folder: &Path, ids: (u32, u32), port: u16) -> Child {
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=64MB",
            "max_connections=80",
        ];
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        command(&programs.join("postgres"), folder, ids)
            .args(["-D", "data", "-p", &port.to_string()])
            .args(settings)
            .spawn()
            .expect("postgres")
    }

    /// Until a client is answered.
    fn wait(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let start = Instant::now();
        let ready = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    runtime.expect("a runtime").block_on(async {
                        while let Err(error) = self.config("postgres").connect(NoTls).await {
                            assert!(start.elapsed() < PATIENCE, "{error:?}: {}", self.log());
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    });
                })
                .join()
        });
        ready.expect("a server");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub(crate) fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .dbname(database)
            .connect_timeout(Duration::from_secs(30));
        config
    }

    /// A new database.
    pub(crate) async fn database(&self) -> Config {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let client = connect(&self.config("postgres")).await;
        let create = format!("CREATE DATABASE {name}");
        // Fails while another test copies the template.
        while client.batch_execute(&create).await.is_err() {
            tokio::task::yield_now().await;
        }
        self.config(&name)
    }

    /// A store over a new database with the functions installed, and the database.
    pub(crate) async fn store(&self) -> (PostgresStore, Config) {
        let config = self.database().await;
        let store = PostgresStore::connect(config.clone(), 16);
        store.install().await.expect("installed");
        (store, config)
    }

    /// Sends a signal to the postmaster.
    pub(crate) fn signal(&self, name: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        signal(running.id(), name);
    }

    /// Ends the server as a crash does, and starts it again.
    pub(crate) fn crash_and_restart(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        signal(running.id(), "-KILL");
        running.wait().expect("its end");
        let start = Instant::now();
        loop {
            *running = Self::spawn(&self.programs, &self.folder, self.ids, self.port);
            // Until the orphans of the crash are gone it refuses to start.
            loop {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                    drop(running);
                    self.wait();
                    return;
                }
                if running.try_wait().expect("its state").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(start.elapsed() < PATIENCE, "{}", self.log());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if running.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(running.id(), "-CONT");
            // Immediate shutdown: the postmaster ends its children.
            signal(running.id(), "-QUIT");
        }
        let _ = running.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A pgbouncer before a server, in transaction mode.
pub(crate) struct PgBouncer {
    running: Child,
    folder: PathBuf,
    port: u16,
}

impl PgBouncer {
    pub(crate) fn start(server: &Server) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|path| path.join("pgbouncer"))
            .find(|program| program.exists());
        let Some(program) = found else {
            skipped("pgbouncer");
            return None;
        };
        let folder = folder("pgbouncer", server.ids);
        let port = free_port();
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n",
            server.port
        );
        std::fs::write(folder.join("pgbouncer.ini"), ini).expect("its settings");
        let running = command(&program, &folder, server.ids)
            .args(["-q", "pgbouncer.ini"])
            .spawn();
        let bouncer = Self {
            running: running.expect("pgbouncer"),
            folder,
            port,
        };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "no pgbouncer on {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(bouncer)
    }

    /// The same database through the pooler.
    pub(crate) fn before(&self, config: &Config) -> Config {
        through(config, self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.running.kill();
        let _ = self.running.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The same database by another port.
pub(crate) fn through(config: &Config, port: u16) -> Config {
    let mut through = Config::new();
    through.host("127.0.0.1").port(port).user("postgres");
    through.dbname(config.get_dbname().expect("a database"));
    through
}

/// A connection of a test.
pub(crate) async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}
