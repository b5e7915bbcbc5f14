//! A window on a stream of bytes, from which lines and packets are read without copying.

use std::io::{self, ErrorKind, Read};

use memchr::memchr;

/// Maximum number of bytes read at once. Larger made no difference, 64 KiB was 5 % slower.
const CHUNK: usize = 1 << 18;

/// Number of bytes of the first read.
const SMALLEST: usize = 1 << 12;

/// Maximum length of a line. A longer line is not text, and is not held in memory.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// The next part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextLine {
    /// A line that ends this many bytes after the start of the window, with its line feed.
    End(usize),
    /// A line of more than [`LONGEST_LINE`].
    TooLong,
    /// The end of the stream.
    Nothing,
}

/// The part of a stream that is held, from the current position on.
pub(crate) struct InputWindow {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    lines: u64,
}

impl InputWindow {
    pub(crate) fn new(source: Box<dyn Read>) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            ended: false,
            lines: 0,
        }
    }

    /// Holds at least `len` bytes, unless the stream ends before.
    pub(crate) fn hold(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.end - self.start < len && self.fill()? {}
        Ok(self.held())
    }

    /// Holds `count` whole lines that are neither blank nor comments, unless the stream ends before.
    pub(crate) fn hold_lines(&mut self, count: usize) -> io::Result<&[u8]> {
        loop {
            let lines = self.held().split_inclusive(|&byte| byte == b'\n');
            let is_comment = |line: &[u8]| line.trim_ascii_start().first().is_none_or(|&byte| byte == b'#');
            let is_line = |line: &[u8]| line.ends_with(b"\n") && !is_comment(line);
            let is_held = lines.filter(|line| is_line(line)).count() >= count || self.end - self.start > LONGEST_LINE;
            if is_held || !self.fill()? {
                return Ok(self.held());
            }
        }
    }

    fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns the first `len` of the held bytes.
    #[inline]
    pub(crate) fn text(&self, len: usize) -> &[u8] {
        let held = self.held();
        held.get(..len).unwrap_or(held)
    }

    /// Finds the end of the line that begins `from` bytes after the start of the window.
    #[inline]
    pub(crate) fn line(&mut self, from: usize) -> io::Result<NextLine> {
        let mut scanned = from;
        loop {
            if let Some(at) = self.held().get(scanned..).and_then(|fresh| memchr(b'\n', fresh)) {
                return Ok(NextLine::End(scanned + at + 1));
            }
            scanned = self.end - self.start;
            if scanned > from.saturating_add(LONGEST_LINE) {
                return Ok(NextLine::TooLong);
            }
            if !self.fill()? {
                let line = NextLine::End(scanned);
                return Ok(if scanned > from { line } else { NextLine::Nothing });
            }
        }
    }

    /// Returns the number of lines that were passed.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Advances by `len` of the held bytes, which are `lines` lines.
    #[inline]
    pub(crate) fn advance(&mut self, len: usize, lines: u64) {
        self.start = self.start.saturating_add(len).min(self.end);
        self.lines += lines;
    }

    /// Advances past the next line feed, or to the end.
    pub(crate) fn skip_line(&mut self) -> io::Result<()> {
        self.lines += 1;
        loop {
            if let Some(at) = memchr(b'\n', self.held()) {
                self.advance(at + 1, 0);
                return Ok(());
            }
            self.start = self.end;
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Advances past all zeros that come next.
    pub(crate) fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let zeros = self.held().iter().take_while(|byte| **byte == 0).count();
            self.advance(zeros, 0);
            if self.start < self.end || !self.fill()? {
                return Ok(());
            }
        }
    }

    /// Reads more; returns `false` at the end of the stream.
    #[cold]
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < self.buffer.len() / 2 || self.buffer.is_empty() {
            // Doubles each time, as most inputs of a test are small.
            let more = self.buffer.len().clamp(SMALLEST, CHUNK);
            self.buffer.resize(self.end + more, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    // Closes the file: a thousand small files may be due at once.
                    self.source = Box::new(io::empty());
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(!self.ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn window(text: impl Into<Vec<u8>>) -> InputWindow {
        InputWindow::new(Box::new(Cursor::new(text.into())))
    }

    /// Returns one byte at a time, as a slow pipe may.
    struct Drops(Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn lines_do_not_depend_on_pieces_read() {
        let text = b"one\n\ntwo\r\nthe end";
        for mut window in [
            window(&text[..]),
            InputWindow::new(Box::new(Drops(Cursor::new(text.to_vec())))),
        ] {
            let mut lines = Vec::new();
            while let NextLine::End(len) = window.line(0).expect("no device") {
                lines.push(window.text(len).to_vec());
                window.advance(len, 1);
            }
            assert_eq!(lines, [&b"one\n"[..], b"\n", b"two\r\n", b"the end"]);
            assert_eq!(window.lines(), 4);
        }
    }

    #[test]
    fn overlong_line_is_skipped_in_bounded_memory() {
        let mut text = vec![b'x'; 5 * LONGEST_LINE];
        text.extend_from_slice(b"\nshort\n");
        let mut window = window(text);
        assert_eq!(window.line(0).expect("no device"), NextLine::TooLong);
        window.skip_line().expect("no device");
        assert_eq!(window.line(0).expect("no device"), NextLine::End(6));
        assert!(window.buffer.len() < 2 * LONGEST_LINE, "{}", window.buffer.len());
    }

    #[test]
    fn any_number_of_zeros_is_skipped() {
        let mut text = vec![0; 3 * CHUNK + 7];
        text.extend_from_slice(b"line\n\0\0");
        let mut window = window(text);
        window.skip_zeros().expect("no device");
        assert_eq!(window.line(0).expect("no device"), NextLine::End(5));
        window.advance(5, 1);
        window.skip_zeros().expect("no device");
        assert_eq!(window.line(0).expect("no device"), NextLine::Nothing);
    }
}
