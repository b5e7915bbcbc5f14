//! The progress of reading, shown on a terminal.

use std::io::{self, IsTerminal as _, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The number of bytes read, out of how many; shown or hidden.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Creates a progress that shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Creates a bar on stderr if stderr is a terminal, otherwise one that shows nothing.
    #[must_use]
    pub fn on_stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = "{msg} {wide_bar} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            // ASCII: a terminal without UTF-8 shows it, too.
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// Begins a pass over `bytes` bytes.
    pub fn begin(&self, what: &'static str, bytes: u64) {
        self.0.reset();
        self.0.set_length(bytes);
        self.0.set_message(what);
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }

    /// Wraps `source` to count the bytes read from it.
    pub(crate) fn counting<R: Read>(&self, source: R) -> CountingReader<R> {
        CountingReader {
            source,
            bar: self.0.clone(),
        }
    }
}

/// A reader that counts its bytes.
#[derive(Debug)]
pub(crate) struct CountingReader<R> {
    source: R,
    bar: ProgressBar,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        if read > 0 {
            self.bar.inc(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(read)
    }
}
