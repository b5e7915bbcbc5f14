//! Access logs, read into events.

use super::access_log::{self, LogLines};
use super::window::{Line, Window};
use super::{Options, Sink};
use crate::Error;
use crate::address::Addresses;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;

/// An access log.
pub(super) struct LogReader {
    name: String,
    window: Window,
    lines: LogLines,
    by: By,
    addresses: Addresses,
    /// What is asked of it and an access log has not; told once it has shown to be one.
    rejected: Option<(&'static str, &'static str)>,
}

impl LogReader {
    pub(super) fn new(name: String, window: Window, options: &Options) -> Self {
        Self {
            name,
            window,
            lines: LogLines::default(),
            by: options.by.clone().unwrap_or(By::Ip),
            addresses: Addresses::new(options.ipv6_prefix),
            rejected: rejected(options),
        }
    }

    /// The number of the last line that was read.
    pub(super) fn line(&self) -> u64 {
        self.window.lines()
    }

    pub(super) fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        loop {
            let line = self.window.line(0).map_err(|source| Error::read(&self.name, source))?;
            let number = self.window.lines() + 1;
            let len = match line {
                Line::Nothing => return Ok(None),
                Line::End(len) => len,
                Line::TooLong => {
                    sink.bad(&self.name, number, 1, BadLine::TooLong, self.window.text(100));
                    self.window
                        .skip_line()
                        .map_err(|source| Error::read(&self.name, source))?;
                    continue;
                }
            };
            let text = self.window.text(len).trim_ascii_end();
            let event = match self.lines.parse(text) {
                Ok(line) => {
                    if let Some((option, instead)) = self.rejected {
                        return Err(Error::NotFor {
                            path: self.name.clone(),
                            what: "an access log",
                            option,
                            instead,
                        });
                    }
                    let key = match self.by {
                        By::Ip => self.addresses.key(line.client),
                        By::Path => access_log::path(line.request),
                        By::Status => line.status,
                        By::All => b"all",
                        By::Host | By::Column(_) => line.client,
                    };
                    let key = sink.key(key)?;
                    Some(Event::new(line.time, 1, key))
                }
                Err(_) if text.is_empty() => None,
                Err(reason) => {
                    sink.bad(&self.name, number, 1, reason, text);
                    None
                }
            };
            self.window.advance(len, 1);
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}

fn rejected(options: &Options) -> Option<(&'static str, &'static str)> {
    match options {
        Options { cost: Some(_), .. } => Some(("--cost", "each of its lines asks for one cell")),
        Options { time: Some(_), .. } => Some(("--time", "each of its lines has its stamp in brackets")),
        Options {
            by: Some(By::Column(_)),
            ..
        } => Some(("a key column", "say --by ip, host, path, status or all")),
        _ => None,
    }
}
