//! Where bytes come from: a file or standard input, plain or gzip.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::progress::Progress;

/// What gzip data begins with; no text does, nor a capture.
const GZIP: [u8; 2] = [0x1f, 0x8b];

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
    pub(crate) fn open(&self, limit: Option<u64>, progress: &Progress) -> io::Result<Box<dyn Read>> {
        let file: Box<dyn Read> = match self {
            Self::Path(path) => Box::new(File::open(path)?),
            Self::Stdin => Box::new(io::stdin()),
        };
        unpack(progress.counting(file).take(limit.unwrap_or(u64::MAX)))
    }
}

/// The bytes of `packed`, unpacked if they turn out to be gzip (of any number of members, as rotated logs are when
/// they were put together with `cat`).
pub(crate) fn unpack(mut packed: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = Vec::with_capacity(GZIP.len());
    packed.by_ref().take(2).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let whole = Cursor::new(head).chain(packed);
    Ok(if is_gzip {
        Box::new(Gunzip(MultiGzDecoder::new(whole)))
    } else {
        Box::new(whole)
    })
}

/// Says of what is wrong with gzip data that it is.
struct Gunzip<R>(R);

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the gzip data is cut off"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                io::Error::new(error.kind(), format!("the gzip data is broken: {error}"))
            }
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn unpacked(packed: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        unpack(Cursor::new(packed))
            .and_then(|mut source| source.read_to_end(&mut text))
            .map(|_| text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_not_is_left() {
        for plain in [&b""[..], b"\x1f", b"\x1f\x8a", b"text"] {
            assert_eq!(unpacked(plain.to_vec()).as_deref(), Ok(plain));
        }
        assert_eq!(unpacked(gzip(b"text")).as_deref(), Ok(&b"text"[..]));
        let members = [gzip(b"one\n"), gzip(b""), gzip(b"two\n")].concat();
        assert_eq!(unpacked(members).as_deref(), Ok(&b"one\ntwo\n"[..]));
    }

    #[test]
    fn broken_gzip_is_told_as_that() {
        let whole = gzip(&b"a line of text\n".repeat(100));
        for end in 2..whole.len() {
            let told = unpacked(whole[..end].to_vec()).expect_err("cut off");
            assert!(told.starts_with("the gzip data is "), "{end}: {told}");
        }
        let mut broken = whole.clone();
        let checksum = broken.len() - 6;
        broken[checksum] ^= 1;
        assert!(
            unpacked(broken)
                .expect_err("broken")
                .starts_with("the gzip data is broken")
        );
        let behind = [&whole[..], b"garbage"].concat();
        assert!(unpacked(behind).expect_err("garbage").starts_with("the gzip data is "));
    }
}
