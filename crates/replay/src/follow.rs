//! Reads a growing file, or standard input, as it grows: `--follow`.
//!
//! A thread reads and waits. The replay takes the bytes that the thread has read, and is free to draw in between. If a [`Tail`] has no bytes, a read
//! fails with [`ErrorKind::WouldBlock`], and can be repeated later. A [`Tail`] ends at the end of a pipe, or when it is stopped.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use same_file::Handle;

/// The pause before a file is read again.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of bytes read at once; the next constant is the number of pieces that may wait for the replay.
const PIECE: usize = 1 << 16;
const PIECES: usize = 16;

/// Stops reading, from another thread or a signal handler.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops reading. Returns whether reading was stopped before.
    pub fn stop(&self) -> bool {
        // ORDERING: relaxed. The flag carries no other data.
        self.0.swap(true, Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bytes of a growing input.
#[derive(Debug)]
pub struct Tail {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    stop: Stop,
    /// True if a read waits for bytes.
    waits: Arc<AtomicBool>,
}

impl Tail {
    /// Follows a file from its beginning, also past a rotation that moves or truncates the file; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn of(path: &Path, stop: Stop) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(PIECES);
        if path.as_os_str() == "-" {
            let stop = stop.clone();
            thread::spawn(move || pump(&mut io::stdin(), &sender, &stop));
        } else {
            let file = File::open(path)?;
            let (path, stop) = (path.to_owned(), stop.clone());
            thread::spawn(move || follow(file, &path, &sender, &stop));
        }
        Ok(Self {
            pieces,
            piece: Vec::new(),
            at: 0,
            stop,
            waits: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Returns the switch of a new tail, whose reads wait for bytes: the format of a log is detected before anything else. Without it, a read fails
    /// with [`ErrorKind::WouldBlock`] instead.
    pub(crate) fn waits(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waits)
    }
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.recv_timeout(PAUSE) {
                Ok(piece) => (self.piece, self.at) = (piece?, 0),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) if self.stop.is_stopped() => return Ok(0),
                // ORDERING: relaxed. The flag carries no other data.
                Err(RecvTimeoutError::Timeout) if self.waits.load(Ordering::Relaxed) => {}
                Err(RecvTimeoutError::Timeout) => return Err(ErrorKind::WouldBlock.into()),
            }
        }
        let read = (&self.piece[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

/// Sends all bytes that can be read now, until stopped. Returns whether the receiver still listens.
fn pump(source: &mut impl Read, sender: &SyncSender<io::Result<Vec<u8>>>, stop: &Stop) -> bool {
    let mut piece = vec![0; PIECE];
    loop {
        if stop.is_stopped() {
            return false;
        }
        let sent = match source.read(&mut piece) {
            Ok(0) => return true,
            Ok(read) => sender.send(Ok(piece[..read].to_vec())),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = sender.send(Err(error));
                return false;
            }
        };
        if sent.is_err() {
            return false;
        }
    }
}

/// Sends the contents of a file, and all appended bytes, until stopped. If the path is not a regular file, such as a named pipe, this ends at its
/// end.
fn follow(mut file: File, path: &PathBuf, sender: &SyncSender<io::Result<Vec<u8>>>, stop: &Stop) {
    while pump(&mut file, sender, stop) {
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_file {
            return;
        }
        thread::sleep(PAUSE);
        if let Some(next) = rotated(&mut file, path) {
            // First read the bytes written to the old file meanwhile.
            if !pump(&mut file, sender, stop) {
                return;
            }
            file = next;
        }
    }
}

/// Returns the file that replaced this one, or this file from its beginning if it was truncated. While the new file is empty, the server has not opened it
/// yet, and still writes to the old one.
fn rotated(file: &mut File, path: &PathBuf) -> Option<File> {
    // To open a named pipe would wait for its writer.
    if !path.is_file() {
        return None;
    }
    let (old, new) = (
        Handle::from_file(file.try_clone().ok()?).ok()?,
        Handle::from_path(path).ok()?,
    );
    let length = new.as_file().metadata().ok()?.len();
    let is_next = if old == new {
        length < file.stream_position().ok()?
    } else {
        length > 0
    };
    is_next.then(|| new.as_file().try_clone().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// Reads until `text` has come.
    fn until(tail: &mut Tail, text: &str) {
        let mut read = Vec::new();
        while read.len() < text.len() {
            let mut buffer = [0; 64];
            match tail.read(&mut buffer) {
                Ok(0) => panic!("it ended after {:?}", String::from_utf8_lossy(&read)),
                Ok(len) => read.extend_from_slice(&buffer[..len]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert_eq!(String::from_utf8_lossy(&read), text);
    }

    #[test]
    fn stopped_pump_reads_no_further() {
        let (sender, pieces) = sync_channel(PIECES);
        let stop = Stop::default();
        assert!(pump(&mut &b"one\n"[..], &sender, &stop));
        stop.stop();
        assert!(!pump(&mut &b"two\n"[..], &sender, &stop));
        drop(sender);
        let sent: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.expect("no device")).collect();
        assert_eq!(sent, [b"one\n"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn named_pipe_does_not_replace_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, pipe) = (folder.path().join("access.log"), folder.path().join("pipe"));
        fs::write(&path, "one\n").expect("it is written");
        let mut file = File::open(&path).expect("a file");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        assert!(rotated(&mut file, &pipe).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn empty_new_file_keeps_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        fs::write(&path, "one\n").expect("it is written");
        let mut file = File::open(&path).expect("a file");
        assert!(rotated(&mut file, &path).is_none());
        fs::rename(&path, folder.path().join("access.log.1")).expect("it is moved");
        assert!(rotated(&mut file, &path).is_none());
        fs::create_dir(&path).expect("a folder");
        assert!(rotated(&mut file, &path).is_none());
        fs::remove_dir(&path).expect("it is removed");
        // As logrotate creates it, before it signals the server.
        let mut new = File::create(&path).expect("a file");
        assert!(rotated(&mut file, &path).is_none());
        new.write_all(b"two\n").expect("it is written");
        assert!(rotated(&mut file, &path).is_some());
    }

    #[test]
    fn growing_file_is_followed_past_rotations() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        fs::write(&path, "one\n").expect("it is written");
        let stop = Stop::default();
        let mut tail = Tail::of(&path, stop.clone()).expect("a file");
        until(&mut tail, "one\n");
        let mut old = File::options().append(true).open(&path).expect("a file");
        old.write_all(b"two\n").expect("it is written");
        until(&mut tail, "two\n");
        // Moved away, as logrotate does; a server may still write to the old file.
        fs::rename(&path, folder.path().join("access.log.1")).expect("it is moved");
        old.write_all(b"late\n").expect("it is written");
        until(&mut tail, "late\n");
        fs::write(&path, "three and more\n").expect("it is written");
        until(&mut tail, "three and more\n");
        // Truncated, as copytruncate does.
        fs::write(&path, "4\n").expect("it is written");
        until(&mut tail, "4\n");
        assert!(!stop.stop());
        let mut rest = Vec::new();
        while tail.read_to_end(&mut rest).is_err() {}
        assert_eq!(rest, b"");
        assert!(Tail::of(&folder.path().join("none"), stop).is_err());
    }
}
