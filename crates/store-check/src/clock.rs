//! A clock that a test steps, for the servers that it starts: libfaketime, preloaded.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Variables of a server's process.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// The real clock plus a number of seconds, for a whole server process and its children. The monotonic clock, by which servers time out, stays right.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    folder: PathBuf,
}

impl FakeClock {
    /// Returns a clock that is right, or prints that the test is skipped and returns `None` where libfaketime is not installed.
    ///
    /// # Panics
    ///
    /// If there is none and `CI` is `true`.
    #[must_use]
    pub fn new() -> Option<Self> {
        let Some(library) = library() else {
            crate::skipped("libfaketime");
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ratelimit-meter-clock-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a new folder");
        let clock = Self { library, folder };
        clock.set(0);
        Some(clock)
    }

    /// Sets the clock to this number of seconds from the right time, for running servers too.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn set(&self, seconds: i64) {
        // Replaced at once: a server reads the file each time that it reads its clock.
        let new = self.folder.join("new");
        fs::write(&new, format!("{seconds:+}s\n")).expect("a file of the clock");
        fs::rename(new, self.file()).expect("a file of the clock");
    }

    /// Returns the variables by which a program runs under this clock.
    pub(crate) fn environment(&self) -> Environment {
        let (library, file) = (self.library.clone().into(), self.file().into());
        vec![
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.join("offset")
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Debian's and others' places of the library.
fn library() -> Option<PathBuf> {
    let multiarch = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = multiarch.map(|entry| entry.path().join("faketime"));
    let others = ["/usr/lib64/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime"];
    folders
        .chain(others.iter().map(PathBuf::from))
        .map(|folder| folder.join("libfaketime.so.1"))
        .find(|library| Path::exists(library))
}
