//! The packets of a classic capture file, or made-up ones.

use pcap_parser::{LegacyPcapBlock, PcapCapture, PcapError};
use std::io;
use std::time::Duration;

/// A packet on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    /// The time since the first packet.
    pub(crate) after: Duration,
    pub(crate) bytes: u32,
}

/// Reads a capture in the classic format with time stamps in microseconds.
pub(crate) fn read(path: &str) -> io::Result<Vec<Packet>> {
    let file = std::fs::read(path)?;
    let capture = PcapCapture::from_file(&file).map_err(|error: PcapError<&[u8]>| {
        let kind = io::ErrorKind::InvalidData;
        io::Error::new(kind, format!("{path} is not a classic capture: {error:?}"))
    })?;
    let stamp = |block: &LegacyPcapBlock<'_>| Duration::new(block.ts_sec.into(), block.ts_usec * 1000);
    let first = capture.blocks.first().map_or(Duration::ZERO, stamp);
    let packets = capture.blocks.iter().map(|block| Packet {
        // A capture may hold packets out of order.
        after: stamp(block).saturating_sub(first),
        bytes: block.origlen,
    });
    Ok(packets.collect())
}

/// Returns a minute of a video: each second its 500,000 bytes come in packets of 1250 bytes, 100 us apart.
pub(crate) fn made_up() -> Vec<Packet> {
    let second = |second: u64| {
        (0..400).map(move |packet| Packet {
            after: Duration::from_secs(second) + Duration::from_micros(100 * packet),
            bytes: 1250,
        })
    };
    (0..60).flat_map(second).collect()
}
