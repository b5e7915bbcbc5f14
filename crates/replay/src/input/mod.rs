//! Files of recorded traffic, read into events.

pub mod access_log;
mod bad;
pub mod delimited;
mod format;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

pub use bad::{BadLine, BadLines, Quoted};
pub use format::Format;

use crate::event::{Event, Keys, Trace};
use crate::{Error, merge};

/// How much of a file is looked at to tell its format: a few hundred lines, as a log may begin with bad ones.
const HEAD: u64 = 1 << 16;

/// Who counts as one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Each client of an access log; each value of the column `ip` in delimited text.
    Ip,
    /// All traffic is one key.
    All,
    /// Each value of this column.
    Column(String),
}

/// What to make of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Who counts as one key; without it access logs go by ip, and delimited text is one key.
    pub by: Option<By>,
    /// The column of the stamps in delimited text.
    pub time: Option<String>,
    /// The column of the cells asked in delimited text; without it each line asks for one.
    pub cost: Option<String>,
}

/// What all files together give, while they are read.
#[derive(Debug, Default)]
struct Collected {
    keys: Keys,
    bad: BadLines,
}

/// Reads all files, each in the format it turns out to have, and merges them by time.
///
/// # Errors
///
/// A file that cannot be read, options that make no sense for a file, or nothing but bad lines.
pub fn read(paths: &[PathBuf], options: &Options) -> Result<Trace, Error> {
    let mut collected = Collected::default();
    let mut files = Vec::with_capacity(paths.len());
    let mut first: Option<(By, String)> = None;
    for path in paths {
        let name = path.display().to_string();
        let (head, file) = open(path).map_err(|source| Error::Read {
            path: name.clone(),
            source,
        })?;
        let format = Format::of(&head, options.time.as_deref());
        let reader = BufReader::with_capacity(1 << 16, Cursor::new(head).chain(file));
        let (events, default) = match format {
            Format::AccessLog => (read_log(reader, &name, options, &mut collected)?, By::Ip),
            Format::Delimited(delimiter) => (
                delimited::read(reader, delimiter, &name, options, &mut collected)?,
                By::All,
            ),
        };
        if events.is_empty() {
            continue;
        }
        files.push(events);
        let by = options.by.clone().unwrap_or(default);
        match &first {
            None => first = Some((by, name)),
            Some((first, _)) if *first == by => {}
            Some((_, first)) => {
                return Err(Error::Mixed {
                    first: first.clone(),
                    other: name,
                });
            }
        }
    }
    let Collected { keys, bad } = collected;
    match (first, bad.quoted().first()) {
        (None, Some(first)) => Err(Error::AllBad {
            count: bad.count(),
            first: first.clone(),
        }),
        (first, _) => {
            let by = first.map_or(By::All, |(by, _)| by);
            Ok(Trace {
                events: merge::by_time(files),
                keys,
                by,
                bad,
            })
        }
    }
}

fn open(path: &Path) -> io::Result<(Vec<u8>, File)> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head, file))
}

fn read_log(
    mut reader: impl BufRead,
    name: &str,
    options: &Options,
    collected: &mut Collected,
) -> Result<Vec<Event>, Error> {
    let everybody = matches!(options.by, Some(By::All));
    let mut events = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if read.map_err(|source| Error::Read {
            path: name.to_owned(),
            source,
        })? == 0
        {
            break;
        }
        let text = line.trim_ascii_end();
        match access_log::parse_line(text) {
            Ok(log) => {
                if events.is_empty() {
                    reject_columns(name, options)?;
                }
                let key = collected.keys.intern(if everybody { b"all" } else { log.client })?;
                events.push(Event {
                    time: log.time,
                    cost: 1,
                    key,
                });
            }
            Err(_) if text.is_empty() => {}
            Err(reason) => collected.bad.add(name, number, 1, reason, text),
        }
    }
    Ok(events)
}

fn reject_columns(name: &str, options: &Options) -> Result<(), Error> {
    let (option, instead) = match options {
        Options { cost: Some(_), .. } => ("--cost", "each of its lines asks for one cell"),
        Options { time: Some(_), .. } => ("--time", "each of its lines has its stamp in brackets"),
        Options {
            by: Some(By::Column(_)),
            ..
        } => ("a key column", "say --by ip or --by all"),
        _ => return Ok(()),
    };
    Err(Error::NotForLogs {
        path: name.to_owned(),
        option,
        instead,
    })
}
