//! Output files that appear whole or not at all.
//!
//! The contents go to a temporary file beside the target. Once they are complete, the temporary file replaces the target. If the target is a link,
//! the file that the link points to is replaced, not the link.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// Returns the path to write, with links followed.
///
/// # Errors
///
/// The path is a folder, its folder does not exist, or it is `-`, which is no file.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path == Path::new("-") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "`-` is not a file"));
    }
    if let Ok(there) = fs::canonicalize(path) {
        return if there.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok(there)
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
    Ok(path
        .file_name()
        .map_or_else(|| folder.clone(), |name| folder.join(name)))
}

/// A file that is written, but not in its place yet. If it is dropped before, it is deleted.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    /// In a temporary file beside the target.
    Beside(NamedTempFile),
    /// In memory, for a target that is not a regular file, such as a pipe or a terminal. Such a target is written to directly.
    Held(Vec<u8>),
}

impl Staged {
    /// Writes `contents` to a file beside the target, with the target's permissions, and syncs the file to the disk.
    ///
    /// # Errors
    ///
    /// Any error of writing; no part of the file remains then.
    pub fn new(path: &Path, contents: &[u8]) -> io::Result<Self> {
        let mut staged = Self::open(path)?;
        staged.write_all(contents)?;
        staged.sync()?;
        Ok(staged)
    }

    /// Creates an empty file beside the target, with the target's permissions.
    ///
    /// # Errors
    ///
    /// Any error of creating it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = resolve(path)?;
        let old = fs::metadata(&path).ok();
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let contents = Contents::Held(Vec::new());
            return Ok(Self { path, contents });
        }
        let mut builder = Builder::new();
        builder.prefix(".meter-replay-");
        #[cfg(unix)]
        {
            // With the permissions of an ordinary new file, which the process's umask determines.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        // Keep only the kind of the error, as its text names the temporary file.
        let file = builder.tempfile_in(folder).map_err(|error| error.kind())?;
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        let contents = Contents::Beside(file);
        Ok(Self { path, contents })
    }

    /// Syncs the written contents to the disk.
    ///
    /// # Errors
    ///
    /// Any error of syncing.
    pub fn sync(&self) -> io::Result<()> {
        match &self.contents {
            Contents::Beside(file) => file.as_file().sync_all(),
            Contents::Held(_) => Ok(()),
        }
    }

    /// Moves the file to its place, atomically.
    ///
    /// # Errors
    ///
    /// Any error of moving; the previous file remains then.
    pub fn put(self) -> io::Result<()> {
        match self.contents {
            Contents::Beside(file) => file.persist(&self.path).map(drop).map_err(|error| error.error),
            Contents::Held(contents) => OpenOptions::new().write(true).open(&self.path)?.write_all(&contents),
        }
    }
}

impl io::Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.contents {
            Contents::Beside(file) => file.write(bytes),
            Contents::Held(held) => held.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.contents {
            Contents::Beside(file) => file.flush(),
            Contents::Held(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
        Staged::new(path, contents)?.put()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chart.svg");
        for contents in ["one", "another, longer", ""] {
            replace(&path, contents.as_bytes()).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), contents);
        }
        assert_eq!(names(folder.path()), ["chart.svg"]);
    }

    #[test]
    fn error_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chart.svg");
        fs::create_dir(&path).expect("a folder in its place");
        fs::write(path.join("old"), "old").expect("a file in that");
        replace(&path, b"new").expect_err("a folder is no file");
        assert_eq!(names(folder.path()), ["chart.svg"], "no temporary file stays");
        assert_eq!(names(&path), ["old"]);
        let error = replace(&folder.path().join("none/chart.svg"), b"new").expect_err("there is no such folder");
        assert_eq!(error.to_string(), io::Error::from_raw_os_error(2).to_string());
        assert_eq!(names(folder.path()), ["chart.svg"]);
    }

    #[test]
    fn uncommitted_output_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chart.svg");
        fs::write(&path, "old").expect("it is written");
        let staged = Staged::new(&path, b"new").expect("it is written");
        assert_eq!(names(folder.path()).len(), 2);
        drop(staged);
        assert_eq!(names(folder.path()), ["chart.svg"]);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "old");
    }

    #[test]
    fn absent_file_is_the_same_by_any_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let [plain, roundabout] = ["chart.svg", "./chart.svg"].map(|name| resolve(&folder.path().join(name)));
        assert_eq!(plain.expect("a place"), roundabout.expect("a place"));
        resolve(folder.path()).expect_err("a folder is no file");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("report.html"), folder.path().join("link"));
        fs::write(&path, "old").expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is set");
        symlink(&path, &link).expect("a link");
        replace(&link, b"new").expect("it is written");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn output_to_a_device_is_written() {
        replace(Path::new("/dev/null"), b"gone").expect("it takes everything");
    }
}
