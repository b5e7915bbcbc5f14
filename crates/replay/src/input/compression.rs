//! Unpacks inputs while they are read: gzip, zstd, xz and bzip2, detected by their first bytes.
//!
//! If data is cut off or broken, the part before the damage is read, and the damage is reported at the end.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

pub(super) use super::gzip::Damage;
use super::gzip::Members;

/// The packing of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

/// The number of bytes that distinguish the packings from each other and from plain data.
const MAGIC: usize = 10;

impl Packing {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // A block begins with the digits of pi, an empty file with the digits of its square root.
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
                if rest.starts_with(&[0x31, 0x41, 0x59, 0x26]) || rest.starts_with(&[0x17, 0x72, 0x45, 0x38]) =>
            {
                Some(Self::Bzip2)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Returns the bytes of `packed`, unpacked if they are packed. There may be any number of members or frames, as when rotated logs were joined with
/// `cat`.
pub(super) fn unpack(mut packed: impl Read + 'static) -> io::Result<(Box<dyn Read>, Damage)> {
    let mut head = Vec::with_capacity(MAGIC);
    packed.by_ref().take(10).read_to_end(&mut head)?;
    let packing = Packing::of(&head);
    let whole = Cursor::new(head).chain(packed);
    let damage = Damage::default();
    let Some(packing) = packing else {
        return Ok((Box::new(whole), damage));
    };
    let waits = packing != Packing::Gzip;
    let whole = BufReader::with_capacity(1 << 16, Packed { source: whole, waits });
    let unpacked: Box<dyn Read> = match packing {
        Packing::Gzip => Box::new(Members::new(whole, damage.clone())),
        Packing::Zstd => Box::new(Frames::new(whole)),
        Packing::Xz => Box::new(XzReader::new(whole, true)),
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(whole)),
    };
    let salvage = Salvage {
        unpacked,
        packing,
        has_any: false,
        damage: damage.clone(),
    };
    Ok((Box::new(salvage), damage))
}

/// Packed data, possibly of a growing input. Only the decoder of gzip can be called again after a pause. For every other decoder, this waits for bytes.
struct Packed<R> {
    source: R,
    waits: bool,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.waits => {}
                read => return read,
            }
        }
    }
}

/// Reads the undamaged part of data, and then records the damage.
struct Salvage {
    unpacked: Box<dyn Read>,
    packing: Packing,
    has_any: bool,
    damage: Damage,
}

impl Read for Salvage {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // If a piece turns out to be broken, a decoder discards its output, so pieces are small.
        let piece = buffer.len().min(1 << 12);
        let error = match self.unpacked.read(&mut buffer[..piece]) {
            Ok(read) => {
                self.has_any |= read > 0;
                return Ok(read);
            }
            Err(error) => error,
        };
        let name = self.packing.name();
        let what = match error.kind() {
            ErrorKind::UnexpectedEof => format!("the {name} data is cut off"),
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
                format!("the {name} data is broken: {error}")
            }
            // An error of the device, not of the data.
            _ => return Err(error),
        };
        if !self.has_any {
            return Err(io::Error::new(error.kind(), what));
        }
        self.damage.note(&format!("{what}: the rest is lost"));
        self.unpacked = Box::new(io::empty());
        Ok(0)
    }
}

/// The consecutive frames of zstd data.
struct Frames<R> {
    packed: R,
    decoder: FrameDecoder,
    /// True if a frame has begun and not ended.
    is_open: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(packed: R) -> Self {
        Self {
            packed,
            decoder: FrameDecoder::new(),
            is_open: false,
        }
    }

    /// Begins the next frame; returns `false` if there is none.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => {
                    self.is_open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.packed.by_ref().take(length), &mut io::sink())? < length {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
    }

    /// Converts an error. At the end of the packed data, every error means that the rest is missing.
    fn error(&mut self, error: &FrameDecoderError) -> io::Error {
        match self.packed.fill_buf() {
            Ok([]) => ErrorKind::UnexpectedEof.into(),
            _ => io::Error::new(ErrorKind::InvalidData, error.to_string()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.is_open && !self.decoder.is_finished() {
                let strategy = BlockDecodingStrategy::UptoBytes(buffer.len());
                if let Err(error) = self.decoder.decode_blocks(&mut self.packed, strategy) {
                    return Err(self.error(&error));
                }
                continue;
            }
            if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const TEXT: &[u8] = b"a line of text that is the same each time, 203.0.113.7\n";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn xz(text: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("good options");
        encoder.write_all(text).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        encoder.write_all(text).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    type Packer = fn(&[u8]) -> Vec<u8>;

    /// Each packing with its packer.
    const PACKERS: [(&str, Packer); 4] = [("gzip", gzip), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)];

    fn unpacked(packed: Vec<u8>) -> Result<(Vec<u8>, Option<String>), String> {
        let mut text = Vec::new();
        let message = |error: io::Error| error.to_string();
        let (mut source, damage) = unpack(Cursor::new(packed)).map_err(message)?;
        source.read_to_end(&mut text).map_err(message)?;
        Ok((text, damage.take()))
    }

    #[test]
    fn packed_data_is_unpacked_and_other_data_left() {
        for plain in [
            &b""[..],
            b"\x1f",
            b"\x1f\x8a",
            b"text",
            b"BZh9 is how this text begins",
            b"BZh",
        ] {
            assert_eq!(unpacked(plain.to_vec()), Ok((plain.to_vec(), None)));
        }
        for (name, pack) in PACKERS {
            let text = TEXT.repeat(10_000);
            assert_eq!(unpacked(pack(&text)), Ok((text, None)), "{name}");
            let members = [pack(b"one\n"), pack(b""), pack(b"two\n")].concat();
            assert_eq!(unpacked(members), Ok((b"one\ntwo\n".to_vec(), None)), "{name}");
        }
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(TEXT)].concat();
        assert_eq!(unpacked(skippable), Ok((TEXT.to_vec(), None)));
    }

    #[test]
    fn truncated_data_is_read_to_its_end() {
        // A decoder unpacks only whole blocks, so the text has several blocks.
        let noise: Vec<u8> = (0..400_000_u32)
            .flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_be_bytes())
            .collect();
        for (name, pack) in PACKERS {
            let whole = pack(&noise);
            let (text, damage) = unpacked(whole[..whole.len() * 3 / 4].to_vec()).expect(name);
            assert!(!text.is_empty() && noise.starts_with(&text), "{name}: {}", text.len());
            assert_eq!(
                damage,
                Some(format!("the {name} data is cut off: the rest is lost")),
                "{name}"
            );
            let error = unpacked(whole[..10].to_vec()).expect_err(name);
            assert_eq!(error, format!("the {name} data is cut off"));
        }
    }

    /// Returns the bytes of a growing input: a few at a time, with a pause before each.
    struct Pausing(Cursor<Vec<u8>>, bool);

    impl Read for Pausing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let len = buffer.len().min(3);
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn growing_packed_data_is_read_past_pauses() {
        for (name, pack) in PACKERS {
            let members = [pack(b"one\n"), pack(b""), pack(&TEXT.repeat(100)), pack(b"end\n")].concat();
            // The first bytes are read before there may be a pause.
            let (head, rest) = members.split_at(MAGIC);
            let growing = Cursor::new(head.to_vec()).chain(Pausing(Cursor::new(rest.to_vec()), false));
            let (mut source, damage) = unpack(growing).expect(name);
            let (mut text, mut piece) = (Vec::new(), [0; 64]);
            loop {
                match source.read(&mut piece) {
                    Ok(0) => break,
                    Ok(read) => text.extend_from_slice(&piece[..read]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{name}: {error}"),
                }
            }
            let expected = [b"one\n", &TEXT.repeat(100)[..], b"end\n"].concat();
            assert!(
                text == expected && damage.take().is_none(),
                "{name}: {} bytes",
                text.len()
            );
        }
    }

    #[test]
    fn members_behind_a_broken_one_are_read() {
        let noise: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_be_bytes())
            .collect();
        let first = gzip(&noise);
        for cut in [first.len() - 1, first.len() - 9, first.len() / 2, first.len() / 3] {
            let members = [&first[..cut], &gzip(TEXT), &gzip(b"the end")].concat();
            let (text, damage) = unpacked(members).expect("some is whole");
            let end = [TEXT, b"the end"].concat();
            assert!(
                text.ends_with(&end) && text[..noise.len() / 4] == noise[..noise.len() / 4],
                "{cut}"
            );
            assert!(
                damage.is_some_and(|damage| damage.contains("part of it is lost")),
                "{cut}"
            );
        }
        let padded = [gzip(TEXT), vec![0; 700], gzip(TEXT), vec![0; 9]].concat();
        assert_eq!(unpacked(padded), Ok((TEXT.repeat(2), None)));
    }

    #[test]
    fn broken_data_is_an_error() {
        let mut broken = gzip(TEXT);
        let checksum = broken.len() - 6;
        broken[checksum] ^= 1;
        let (text, damage) = unpacked(broken).expect("the text itself is whole");
        assert_eq!(text, TEXT);
        assert!(damage.is_some_and(|damage| damage.starts_with("the gzip data is broken")));
        let behind = [&gzip(TEXT)[..], b"garbage"].concat();
        let (text, damage) = unpacked(behind).expect("the text itself is whole");
        assert!(text == TEXT && damage.is_some());
    }
}
