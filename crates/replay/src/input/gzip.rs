//! Reads the consecutive members of gzip data. If a member is cut off or broken, searches for the next one.

use std::cell::RefCell;
use std::io::{self, BufRead, ErrorKind, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use memchr::memmem;

/// Number of bytes kept to search for the next member: a decoder may consume the start of that member as its own data.
const KEPT: usize = 1 << 18;

/// The start of a member: the magic number, and the only compression method.
const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

/// Damage found in packed data while it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage(Rc<RefCell<Option<String>>>);

impl Damage {
    /// Records the damage, unless damage was recorded before.
    pub(super) fn note(&self, what: &str) {
        self.0.borrow_mut().get_or_insert_with(|| what.to_owned());
    }

    /// Takes the recorded damage, once.
    pub(super) fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}

/// The bytes of all members.
pub(super) struct Members<R> {
    /// `None` at the end.
    decoder: Option<GzDecoder<Tape<R>>>,
    damage: Damage,
    has_any: bool,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(packed: R, damage: Damage) -> Self {
        let tape = Tape {
            source: packed,
            kept: Vec::new(),
            again: Vec::new(),
            at: 0,
        };
        Self {
            decoder: Some(GzDecoder::new(tape)),
            damage,
            has_any: false,
        }
    }

    /// Continues with the member that begins here, if there is one. If reading fails, this can be repeated.
    fn next_member(&mut self) -> io::Result<()> {
        while let Some(decoder) = &mut self.decoder {
            let tape = decoder.get_mut();
            // Some programs pad with zeros.
            let held = tape.fill_buf()?;
            let zeros = held.iter().take_while(|byte| **byte == 0).count();
            let is_end = held.is_empty();
            tape.consume(zeros);
            if zeros == 0 {
                let tape = self.decoder.take().map(GzDecoder::into_inner);
                self.decoder = tape.filter(|_| !is_end).map(|mut tape| {
                    tape.kept.clear();
                    GzDecoder::new(tape)
                });
                break;
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            match decoder.read(buffer) {
                Ok(0) if !buffer.is_empty() => self.next_member()?,
                Ok(read) => {
                    self.has_any = true;
                    return Ok(read);
                }
                Err(error) => {
                    let is_of_data = matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
                    );
                    // After another error, such as that of a pipe without bytes, the decoder can read on.
                    let broken = (is_of_data && self.has_any).then(|| self.decoder.take());
                    let Some(decoder) = broken.flatten() else {
                        return Err(error);
                    };
                    let mut tape = decoder.into_inner();
                    if !tape.find_member()? {
                        return Err(error);
                    }
                    self.damage
                        .note("a member of the gzip data is cut off or broken: part of it is lost");
                    self.decoder = Some(GzDecoder::new(tape));
                }
            }
        }
        Ok(0)
    }
}

/// A reader whose latest bytes can be read again.
struct Tape<R> {
    source: R,
    /// The bytes consumed last.
    kept: Vec<u8>,
    /// Bytes to read again before the source, from `at` on.
    again: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Tape<R> {
    /// Continues at the next member, which begins after the first kept byte.
    fn find_member(&mut self) -> io::Result<bool> {
        let mut text = self.kept.split_off(1.min(self.kept.len()));
        text.extend_from_slice(&self.again[self.at..]);
        (self.kept, self.again, self.at) = (Vec::new(), Vec::new(), 0);
        loop {
            // The upper flags are reserved, and no member has them.
            let is_member = |at: &usize| text.get(at + MAGIC.len()).is_some_and(|flags| flags & 0xe0 == 0);
            if let Some(at) = memmem::find_iter(&text, MAGIC).find(is_member) {
                self.again = text.split_off(at);
                return Ok(true);
            }
            let rest = text.len().saturating_sub(MAGIC.len());
            text.drain(..rest);
            let held = match self.source.fill_buf() {
                // Waits for more of a growing input, since the bytes before would be lost.
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                held => held?,
            };
            if held.is_empty() {
                return Ok(false);
            }
            text.extend_from_slice(held);
            let len = held.len();
            self.source.consume(len);
        }
    }

    fn keep(&mut self, bytes: usize) -> io::Result<()> {
        let consumed = if self.at < self.again.len() {
            &self.again[self.at..]
        } else {
            self.source.fill_buf()?
        };
        self.kept.extend_from_slice(&consumed[..bytes.min(consumed.len())]);
        if self.kept.len() > 2 * KEPT {
            self.kept.drain(..KEPT);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.fill_buf()?;
        let len = held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&held[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Tape<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.again.len() {
            Ok(&self.again[self.at..])
        } else {
            self.source.fill_buf()
        }
    }

    fn consume(&mut self, bytes: usize) {
        // Consumed bytes are already buffered, so this reads nothing that could fail.
        let _ = self.keep(bytes);
        if self.at < self.again.len() {
            self.at += bytes;
        } else {
            self.source.consume(bytes);
        }
    }
}
