//! The memory of a live key: each table in a process of its own, whose resident set is read before and after.

use crate::contender::ContenderKind;
use crate::contenders;
use crate::stats::float;
use crate::tables::cases::MANY;
use crate::tables::contender::KeyedEntry;
use crate::tables::keys::KeyKind;
use core::fmt;
use serde::Serialize;
use std::process::Command;
use std::{env, fs, io};

/// The aim for the memory of a live key of ours, in whole bytes.
const TARGET: f64 = 20.0;

/// One number of keys of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryTable {
    case: String,
    /// Least first.
    rows: Vec<MemoryRow>,
}

#[derive(Debug, Serialize)]
struct MemoryRow {
    contender: &'static str,
    kind: ContenderKind,
    bytes_per_key: f64,
}

/// The table that a child process fills.
#[derive(Debug)]
pub(crate) struct Filling {
    entry: KeyedEntry,
    keys: u64,
}

impl Filling {
    /// Parses the name, kind and number that [`bytes_in_child`] passed on.
    pub(crate) fn of(arguments: &[String]) -> Option<Self> {
        let [name, kind, keys] = arguments else { return None };
        let kind = [KeyKind::Text, KeyKind::Number]
            .into_iter()
            .find(|other| other.to_string() == *kind)?;
        Some(Self {
            entry: by_default(kind).find(|entry| entry.name == name)?,
            keys: keys.parse().ok()?,
        })
    }

    /// The resident bytes that the table adds.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let before = resident()?;
        let mut after = None;
        (self.entry.fill)(self.keys, &mut || after = resident());
        after?.checked_sub(before)
    }
}

/// The resident bytes of this process, if the kernel reports them.
pub(crate) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fills every table with a million keys of each kind, and if `large` with ten.
pub(crate) fn tables(large: bool) -> io::Result<Vec<MemoryTable>> {
    let mut tables = Vec::new();
    for kind in [KeyKind::Text, KeyKind::Number] {
        for keys in [MANY, 10 * MANY].into_iter().take(if large { 2 } else { 1 }) {
            let mut rows = Vec::new();
            for entry in by_default(kind) {
                rows.push(MemoryRow {
                    contender: entry.name,
                    kind: entry.kind,
                    bytes_per_key: float(bytes_in_child(&entry, kind, keys)?) / float(keys),
                });
            }
            rows.sort_by(|a, b| a.bytes_per_key.total_cmp(&b.bytes_per_key));
            let case = format!("Resident memory, {kind}, {} million live", keys / MANY);
            tables.push(MemoryTable { case, rows });
        }
    }
    Ok(tables)
}

fn by_default(kind: KeyKind) -> impl Iterator<Item = KeyedEntry> {
    let entries = contenders::keyed(kind).into_iter();
    entries.filter(|entry| entry.takes(None) && entry.kind != ContenderKind::Floor)
}

fn bytes_in_child(entry: &KeyedEntry, kind: KeyKind, keys: u64) -> io::Result<u64> {
    let output = Command::new(env::current_exe()?)
        .args(["--fill", entry.name, &kind.to_string(), &keys.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{} reported no memory: {}", entry.name, complaint.trim()))
    })
}

impl fmt::Display for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.case)?;
        writeln!(f, "| contender | bytes a key | x peer | aim | |\n|---|---|---|---|---|")?;
        let best = self.rows.iter().find(|row| row.kind == ContenderKind::Peer);
        for row in &self.rows {
            let ratio = best.map_or(f64::NAN, |best| row.bytes_per_key / best.bytes_per_key);
            write!(f, "| {} | {:.1} | {ratio:.2} |", row.contender, row.bytes_per_key)?;
            if row.kind == ContenderKind::Ours {
                write!(f, " {TARGET} bytes | {} |", met(row.bytes_per_key.round() <= TARGET))?;
            } else {
                write!(f, " | |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_grows_with_written_pages() {
        let before = resident().unwrap();
        let written = vec![1_u8; 64 << 20];
        let grown = resident().unwrap() - before;
        assert!(grown > 32 << 20, "{grown}");
        drop(written);
    }

    #[test]
    fn every_contender_can_be_named_to_a_child() {
        for kind in [KeyKind::Text, KeyKind::Number] {
            for entry in by_default(kind) {
                let arguments = [entry.name.to_owned(), kind.to_string(), "1000".to_owned()];
                assert_eq!(Filling::of(&arguments).unwrap().entry.name, entry.name);
            }
        }
        assert!(Filling::of(&["nobody".to_owned(), KeyKind::Text.to_string(), "1".to_owned()]).is_none());
    }
}

/// The last column's text for an aim.
pub(super) fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**not met**" }
}
