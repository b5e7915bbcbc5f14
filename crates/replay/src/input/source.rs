//! Where bytes come from: a file or standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::compression::{self, Damage};
use crate::progress::Progress;

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file, or a pipe that has a name.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// `-` is standard input.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::Path(path.to_owned())
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// How many bytes it has, if it is a file that can be read again.
    pub(crate) fn len_if_rereadable(&self) -> io::Result<Option<u64>> {
        let Self::Path(path) = self else { return Ok(None) };
        let metadata = fs::metadata(path)?;
        Ok(metadata.is_file().then_some(metadata.len()))
    }

    /// Opens it. Of a file that grows no more than its first `limit` bytes are read.
    pub(super) fn open(&self, limit: Option<u64>, progress: &Progress) -> io::Result<(Box<dyn Read>, Damage)> {
        let file: Box<dyn Read> = match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin()),
        };
        compression::unpack(progress.counting(file).take(limit.unwrap_or(u64::MAX)))
    }
}
