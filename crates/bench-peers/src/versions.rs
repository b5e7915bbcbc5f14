//! Finds the versions that were compiled in, from the workspace's lock file.

use crate::contender::Package;

const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"));

/// The version of a package in the lock file, if it holds that.
pub(crate) fn of((name, version_begins): Package) -> Option<&'static str> {
    find(LOCK, name, version_begins)
}

fn find<'a>(lock: &'a str, name: &str, version_begins: &str) -> Option<&'a str> {
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if quoted(line, "name = ") != Some(name) {
            continue;
        }
        let version = lines.next().and_then(|line| quoted(line, "version = "))?;
        if version
            .strip_prefix(version_begins)
            .is_some_and(|rest| rest.starts_with('.'))
        {
            return Some(version);
        }
    }
    None
}

/// The quoted value after `key`.
fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requested_version_is_found_among_two() {
        let lock = "[[package]]\nname = \"quota\"\nversion = \"0.2.7\"\n\n[[package]]\nname = \"quota\"\nversion = \"0.3.3\"\n";
        assert_eq!(find(lock, "quota", "0.2"), Some("0.2.7"));
        assert_eq!(find(lock, "quota", "0.3"), Some("0.3.3"));
        assert_eq!(find(lock, "quota", "0"), Some("0.2.7"));
        assert_eq!(find(lock, "quota", "0.2.7"), None);
        assert_eq!(find(lock, "quo", "0.2"), None);
    }

    #[test]
    fn every_contenders_version_is_in_the_lock_file() {
        for entry in crate::contenders::entries() {
            let package = entry.package.expect("no floor");
            assert!(of(package).is_some(), "{package:?}");
        }
    }
}
