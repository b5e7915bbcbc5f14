//! Converts UTF-16 text, as Windows writes it, to UTF-8.

use std::io::{self, Cursor, Read};

/// Number of bytes converted at once.
const CHUNK: usize = 1 << 16;

/// Returns the bytes of `source`, as UTF-8 if they begin with the byte order mark of UTF-16, or with two letters of it: the end of a file has no mark.
pub(super) fn decode(mut source: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut head)?;
    let is_big = match head[..] {
        // With two zeros, the mark is that of UTF-32.
        [0xff, 0xfe, 0, 0] => None,
        [0xff, 0xfe, ..] => Some(false),
        [0xfe, 0xff, ..] => Some(true),
        [first, 0, second, 0] if is_letter(first) && is_letter(second) => Some(false),
        [0, first, 0, second] if is_letter(first) && is_letter(second) => Some(true),
        _ => None,
    };
    let whole = Cursor::new(head).chain(source);
    Ok(match is_big {
        Some(is_big) => Box::new(Utf16Reader {
            source: whole,
            is_big,
            units: Vec::new(),
            half: None,
            text: Cursor::default(),
        }),
        None => Box::new(whole),
    })
}

/// Returns whether a byte stands for a letter of text.
fn is_letter(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}

/// Text that is converted while it is read. Unpaired surrogates become replacement characters.
struct Utf16Reader<R> {
    source: R,
    is_big: bool,
    /// Units that are read but not converted: at most a first surrogate.
    units: Vec<u16>,
    /// The first byte of a unit.
    half: Option<u8>,
    /// Converted text.
    text: Cursor<Vec<u8>>,
}

impl<R: Read> Utf16Reader<R> {
    /// Converts the next bytes of the source; returns `false` at its end.
    fn convert(&mut self) -> io::Result<bool> {
        let mut bytes = vec![0; CHUNK];
        let from = usize::from(self.half.is_some());
        bytes[0] = self.half.unwrap_or_default();
        let read = self.source.read(&mut bytes[from..])?;
        let is_end = read == 0;
        bytes.truncate(from + read);
        let pairs = bytes.chunks_exact(2);
        self.half = pairs.remainder().first().copied();
        self.units.extend(pairs.map(|pair| match self.is_big {
            true => u16::from_be_bytes([pair[0], pair[1]]),
            false => u16::from_le_bytes([pair[0], pair[1]]),
        }));
        let is_first_surrogate = |unit: &u16| (0xd800..0xdc00).contains(unit);
        let kept = self
            .units
            .last()
            .copied()
            .filter(|unit| !is_end && is_first_surrogate(unit));
        self.units.truncate(self.units.len() - usize::from(kept.is_some()));
        let mut text = String::from_utf16_lossy(&self.units);
        if is_end && self.half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        self.units.clear();
        self.units.extend(kept);
        self.text = Cursor::new(text.into_bytes());
        Ok(!is_end)
    }
}

impl<R: Read> Read for Utf16Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.text.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if !self.convert()? && self.text.get_ref().is_empty() {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a few bytes at a time, as from a slow pipe.
    struct Slow(Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(3);
            self.0.read(&mut buffer[..len])
        }
    }

    fn decoded(bytes: Vec<u8>) -> String {
        let mut text = String::new();
        let mut reader = decode(Slow(Cursor::new(bytes))).expect("a source");
        reader.read_to_string(&mut text).expect("UTF-8");
        text
    }

    #[test]
    fn text_in_either_byte_order_is_converted() {
        // Surrogates meet the ends of chunks.
        let text = format!("\u{feff}x{}\n", "\u{1f980}\u{e9}".repeat(40_000));
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().copied().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units.iter().copied().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decoded(little.clone()), text);
        assert_eq!(decoded(big), text);
        assert_eq!(decoded(b"1\x007\0".to_vec()), "17");
        assert_eq!(decoded(b"\0\r\0\n\x20\xac".to_vec()), "\r\n\u{20ac}");
        let cut = decoded(little[..little.len() - 1].to_vec());
        assert_eq!(cut, format!("{}\u{fffd}", text.trim_end()));
        let unpaired = decoded(b"\xff\xfe\x3c\xd8\x0a\0\x3c\xd8".to_vec());
        assert_eq!(unpaired, "\u{feff}\u{fffd}\n\u{fffd}");
    }

    #[test]
    fn other_bytes_stay_unchanged() {
        for bytes in ["", "a", "abc", "\u{feff}time,ip\n", "203.0.113.7 - -"] {
            assert_eq!(decoded(bytes.as_bytes().to_vec()), bytes);
        }
        let mut wider = Vec::new();
        let utf32 = b"\xff\xfe\0\0a\0\0\0";
        let mut reader = decode(&utf32[..]).expect("a source");
        reader.read_to_end(&mut wider).expect("bytes");
        assert_eq!(wider, utf32);
    }
}
