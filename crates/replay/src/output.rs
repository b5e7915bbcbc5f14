//! Files that appear whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::Builder;

/// Writes a file anew, or leaves the one there is as it was.
///
/// The contents go to a temporary file beside it, which takes its place (and its permissions) once it is whole and on the disk. What
/// a link points to is replaced, not the link. What is no file, like a pipe or a terminal, is written to as it is.
///
/// # Errors
///
/// Whatever keeps the temporary file from being written or from taking the place; it is removed then.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file() && !old.is_dir()) {
        return OpenOptions::new().write(true).open(path)?.write_all(contents);
    }
    let folder = match path.parent() {
        None => return Err(io::ErrorKind::IsADirectory.into()),
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
    };
    let mut builder = Builder::new();
    builder.prefix(".meter-replay-");
    #[cfg(unix)]
    {
        // As a file made in the usual way: what the process's mask leaves of it.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(contents)?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_error_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chart.svg");
        fs::create_dir(&path).expect("a folder in its place");
        fs::write(path.join("old"), "old").expect("a file in that");
        replace(&path, b"new").expect_err("a folder is no file");
        assert_eq!(names(folder.path()), ["chart.svg"], "no temporary file stays");
        assert_eq!(names(&path), ["old"]);
        replace(&folder.path().join("none/chart.svg"), b"new").expect_err("there is no such folder");
        assert_eq!(names(folder.path()), ["chart.svg"]);
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
    fn what_is_no_file_is_written_to() {
        replace(Path::new("/dev/null"), b"gone").expect("it takes everything");
    }
}
