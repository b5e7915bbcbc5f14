//! Every denied request of one limit, as a table: `--denied FILE.csv`.
//!
//! | column | meaning |
//! |---|---|
//! | `input`, `line` | the place of the request; in a capture, the number of the packet |
//! | `time` | its time, RFC 3339 in UTC; with `--spread` the time to which it was moved |
//! | `key` | its key; with `--anonymise` the hash that the report has |
//! | `cells` | the cells it asked for |
//! | `wait_s` | seconds until it would have conformed, exact; `never` if it asked for more than the burst |

use std::io::{self, Write};

use crate::event::{Event, Keys};
use crate::report::rfc3339;
use crate::verdict::EventVerdict;

const HEADER: &str = "input,line,time,key,cells,wait_s\n";

/// Writes the denied requests of one limit.
#[derive(Debug)]
pub struct DeniedRows<W> {
    out: W,
    inputs: Vec<String>,
    anonymise: bool,
}

impl<W: Write> DeniedRows<W> {
    /// Begins the table for requests of these inputs.
    ///
    /// # Errors
    ///
    /// Any error of `out`.
    pub fn new(mut out: W, inputs: Vec<String>, anonymise: bool) -> io::Result<Self> {
        out.write_all(HEADER.as_bytes())?;
        Ok(Self { out, inputs, anonymise })
    }

    /// Writes the row of an event, if the event was denied.
    #[inline]
    pub(crate) fn see(&mut self, event: &Event, verdict: EventVerdict, keys: &Keys) -> io::Result<()> {
        match verdict {
            EventVerdict::Admitted | EventVerdict::Delayed(_) => Ok(()),
            EventVerdict::Denied(wait) => {
                self.row(event, keys, &format!("{}.{:09}", wait.as_secs(), wait.subsec_nanos()))
            }
            EventVerdict::Never => self.row(event, keys, "never"),
        }
    }

    fn row(&mut self, event: &Event, keys: &Keys, wait: &str) -> io::Result<()> {
        let input = usize::try_from(event.place.input)
            .ok()
            .and_then(|at| self.inputs.get(at));
        field(&mut self.out, input.map_or(&b""[..], |input| input.as_bytes()))?;
        write!(self.out, ",{},{},", event.place.line, rfc3339(event.time))?;
        let name = keys.name(event.key);
        if self.anonymise {
            self.out.write_all(keys.pseudonym(name).as_bytes())?;
        } else {
            field(&mut self.out, name)?;
        }
        writeln!(self.out, ",{},{wait}", event.cost)
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    ///
    /// Any error of `out`.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes a field as RFC 4180 requires.
fn field(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let is_plain = !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        return out.write_all(bytes);
    }
    out.write_all(b"\"")?;
    for part in bytes.split_inclusive(|&byte| byte == b'"') {
        out.write_all(part)?;
        if part.ends_with(b"\"") {
            out.write_all(b"\"")?;
        }
    }
    out.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::Place;

    #[test]
    fn rows_are_those_of_rfc_4180() {
        let mut keys = Keys::default();
        let key = keys.intern(b"a \"b\", c").expect("a key");
        let event = Event {
            place: Place { input: 1, line: 42 },
            ..Event::new(1_716_206_400_250_000_000, 3, key)
        };
        for (anonymise, shown) in [
            (false, "\"a \"\"b\"\", c\"".to_owned()),
            (true, keys.pseudonym(b"a \"b\", c")),
        ] {
            let mut rows =
                DeniedRows::new(Vec::new(), vec!["a".to_owned(), "b,c".to_owned()], anonymise).expect("memory");
            for verdict in [
                EventVerdict::Admitted,
                EventVerdict::Denied(Duration::from_nanos(1_000_000_001)),
                EventVerdict::Delayed(Duration::from_secs(1)),
                EventVerdict::Never,
            ] {
                rows.see(&event, verdict, &keys).expect("memory");
            }
            let text = String::from_utf8(rows.into_inner().expect("memory")).expect("UTF-8");
            let begin = format!("\"b,c\",42,2024-05-20T12:00:00.25Z,{shown},3");
            assert_eq!(text, format!("{HEADER}{begin},1.000000001\n{begin},never\n"));
        }
    }
}
