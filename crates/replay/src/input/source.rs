//! Opens the sources of bytes: a file or standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::compression::{self, Damage};
use crate::progress::Progress;

/// A source of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a named pipe.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// Returns the source at a path; `-` is standard input.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::Path(path.to_owned())
        }
    }

    /// Returns its name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// Returns the number of its bytes, if it is a file that can be read again.
    pub(crate) fn len_if_rereadable(&self) -> io::Result<Option<u64>> {
        let Self::Path(path) = self else { return Ok(None) };
        let metadata = fs::metadata(path)?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    /// Opens the source. Of a growing file, at most the first `limit` bytes are read.
    pub(super) fn open(&self, limit: Option<u64>, progress: &Progress) -> io::Result<(Box<dyn Read>, Damage)> {
        let file: Box<dyn Read> = match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin()),
        };
        compression::unpack(progress.counting(file).take(limit.unwrap_or(u64::MAX)))
    }
}
