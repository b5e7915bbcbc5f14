//! Reads packet captures: pcap and pcapng, in either byte order and any resolution.
//!
//! A packet costs one cell per byte that it had on the wire, however few bytes were captured. Frames that are not IP, such as ARP, used the wire too;
//! if each address has a meter, these frames share one key, [`NOT_IP`].

use std::net::IpAddr;

use pcap_parser::nom;
use pcap_parser::{Block, parse_block_be, parse_block_le, parse_pcap_frame, parse_pcap_frame_be};

use super::frame::{self, LinkType};
use super::window::InputWindow;
use super::{Events, Options, Sink};
use crate::Error;
use crate::address::Addresses;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;
use crate::select::Select;
use crate::stamp::StampError;

/// The key of frames that are not IP.
pub const NOT_IP: &[u8] = b"not IP";

const FILE_HEADER: usize = 24;
/// The kind of block that older programs write for a packet.
const OBSOLETE_PACKET: u32 = 2;
/// Maximum size of a packet, and of any other block.
const LARGEST: usize = 1 << 24;

/// The dialect of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Classic { big_endian: bool, nanoseconds: bool },
    NextGeneration { big_endian: bool },
}

/// Number of bytes that distinguish a capture from text.
pub(super) const MAGIC: usize = 12;

impl Dialect {
    /// Returns the dialect of the capture that begins with `head`; `None` if it is not a capture.
    ///
    /// # Errors
    ///
    /// It is a capture in an unsupported dialect.
    pub(super) fn of(head: &[u8], input: &str) -> Result<Option<Self>, Error> {
        let Some(magic) = head.first_chunk::<4>() else {
            return Ok(None);
        };
        let classic = |big_endian, nanoseconds| {
            Some(Self::Classic {
                big_endian,
                nanoseconds,
            })
        };
        Ok(match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => classic(false, false),
            [0xa1, 0xb2, 0xc3, 0xd4] => classic(true, false),
            [0x4d, 0x3c, 0xb2, 0xa1] => classic(false, true),
            [0xa1, 0xb2, 0x3c, 0x4d] => classic(true, true),
            [0x34, 0xcd, 0xb2, 0xa1] | [0xa1, 0xb2, 0xcd, 0x34] => {
                return Err(Error::ModifiedCapture { path: input.to_owned() });
            }
            b"\n\r\r\n" => match head.get(8..12) {
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => Some(Self::NextGeneration { big_endian: false }),
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => Some(Self::NextGeneration { big_endian: true }),
                _ => None,
            },
            _ => None,
        })
    }

    fn is_big_endian(self) -> bool {
        matches!(
            self,
            Self::Classic { big_endian: true, .. } | Self::NextGeneration { big_endian: true }
        )
    }

    /// Returns the number in these bytes.
    fn number(self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian() {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

/// The cost of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Bytes,
    Packets,
}

/// An interface that packets were captured from.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    /// Units of its stamps in a second; `None` if the number exceeds 64 bits.
    per_second: Option<u64>,
    offset_seconds: i64,
}

/// A capture.
pub(super) struct CaptureReader {
    name: String,
    window: InputWindow,
    dialect: Dialect,
    interfaces: Vec<Interface>,
    by: By,
    cost: Cost,
    addresses: Addresses,
    select: Select,
    number: u64,
    /// The number of bytes to hold for the next block.
    wanted: usize,
    ended: bool,
    written: Vec<u8>,
}

/// A packet as it was captured.
struct Packet {
    time: Result<i64, BadLine>,
    wire: u32,
    key: Result<Vec<Option<IpAddr>>, BadLine>,
}

impl CaptureReader {
    pub(super) fn new(
        name: String,
        mut window: InputWindow,
        dialect: Dialect,
        options: &Options,
    ) -> Result<Self, Error> {
        let not_for = |option, instead| Error::NotFor {
            path: name.clone(),
            what: "a packet capture",
            option,
            instead,
        };
        if options.time.is_some() {
            return Err(not_for("--time", "each packet has its stamp"));
        }
        if !options.select.only.is_empty() {
            return Err(not_for("--only", "packets are selected by --since and --until"));
        }
        if options.plan.is_some() {
            return Err(not_for("--plan", "it has no columns; give the limits of keys instead"));
        }
        let cost = match options.cost.as_deref() {
            None | Some("bytes") => Cost::Bytes,
            Some("packets") => Cost::Packets,
            Some(_) => {
                return Err(not_for(
                    "such a --cost",
                    "a packet costs its bytes on the wire, or one with --cost packets",
                ));
            }
        };
        let by = options.by.clone().unwrap_or(By::Ip);
        if !by
            .parts()
            .iter()
            .all(|part| matches!(part, By::Ip | By::Host | By::All))
        {
            return Err(not_for(
                "such a key",
                "say --by ip (the sender), host (the receiver) or all",
            ));
        }
        let mut interfaces = Vec::new();
        if let Dialect::Classic { nanoseconds, .. } = dialect {
            let header = window.hold(FILE_HEADER).map_err(|source| Error::read(&name, source))?;
            let Some(link) = header.get(20..24).and_then(|bytes| bytes.first_chunk::<4>()) else {
                return Err(Error::CutOff {
                    path: name,
                    place: "its header".to_owned(),
                });
            };
            // The upper half is about checksums after the frames.
            interfaces.push(Interface {
                link: LinkType::of(dialect.number(*link) & 0xffff, &name)?,
                per_second: Some(if nanoseconds { 1_000_000_000 } else { 1_000_000 }),
                offset_seconds: 0,
            });
            window.advance(FILE_HEADER, 0);
        }
        Ok(Self {
            name,
            window,
            dialect,
            interfaces,
            by,
            cost,
            // In a capture, hosts of one network are neighbours, not the addresses of one subscriber.
            addresses: Addresses::new(options.ipv6_prefix.unwrap_or(128)).with_ipv4(options.ipv4_prefix.unwrap_or(32)),
            select: options.select.clone(),
            number: 0,
            wanted: 1,
            ended: false,
            written: Vec::new(),
        })
    }

    pub(super) fn by(&self) -> &By {
        &self.by
    }

    pub(super) fn counts_packets(&self) -> bool {
        self.cost == Cost::Packets
    }

    /// Reads the next block; `None` if it is not a packet, or there are no more.
    fn packet(&mut self, sink: &mut impl Sink) -> Result<Option<Packet>, Error> {
        let failed = |source| Error::read(&self.name, source);
        // While a growing capture has no more, the packets that are held are read.
        let pause = self.window.hold(self.wanted).err().map(failed);
        let held = self.window.text(usize::MAX);
        match pause {
            Some(error) if held.is_empty() || !error.is_pause() => return Err(error),
            None if held.is_empty() => {
                self.ended = true;
                return Ok(None);
            }
            _ => {}
        }
        let is_all = held.len() < self.wanted;
        let block = match self.dialect {
            Dialect::Classic { big_endian: false, .. } => {
                parse_pcap_frame(held).map(|(rest, packet)| (rest, CaptureBlock::Classic(packet)))
            }
            Dialect::Classic { .. } => {
                parse_pcap_frame_be(held).map(|(rest, packet)| (rest, CaptureBlock::Classic(packet)))
            }
            Dialect::NextGeneration { .. } if is_too_short(held, self.dialect) => {
                Err(nom::Err::Error(pcap_parser::PcapError::HeaderNotRecognized))
            }
            Dialect::NextGeneration { big_endian: false } => {
                parse_block_le(held).map(|(rest, block)| (rest, CaptureBlock::Block(block)))
            }
            Dialect::NextGeneration { .. } => {
                parse_block_be(held).map(|(rest, block)| (rest, CaptureBlock::Block(block)))
            }
        };
        let problem = match block {
            Ok((rest, kind)) => {
                let len = held.len() - rest.len();
                let packet = take(kind, &mut self.interfaces, &mut self.dialect, &self.by, &self.name)?;
                self.window.advance(len, 0);
                self.wanted = 1;
                return Ok(packet);
            }
            Err(nom::Err::Incomplete(needed)) => {
                if let Some(pause) = pause {
                    return Err(pause);
                }
                let more = match needed {
                    nom::Needed::Size(size) => size.get(),
                    nom::Needed::Unknown => 1,
                };
                match held.len().saturating_add(more) {
                    wanted if wanted > LARGEST => "is broken",
                    _ if is_all => "is cut off",
                    wanted => {
                        // At least double, as blocks come in all sizes.
                        self.wanted = wanted.max(self.wanted * 2).min(LARGEST);
                        return Ok(None);
                    }
                }
            }
            Err(nom::Err::Error(_) | nom::Err::Failure(_)) => "is broken",
        };
        self.ended = true;
        let number = self.number + 1;
        if number == 1 {
            let path = self.name.clone();
            return Err(match problem {
                "is cut off" => Error::CutOff {
                    path,
                    place: "packet 1".to_owned(),
                },
                _ => Error::BrokenPacket { path, number },
            });
        }
        sink.cut(format!(
            "{}: the capture {problem} within packet {number}: the rest is lost",
            self.name
        ));
        Ok(None)
    }

    fn key(&mut self, addresses: &[Option<IpAddr>]) -> &[u8] {
        self.written.clear();
        for (at, (part, address)) in self.by.parts().iter().zip(addresses).enumerate() {
            if at > 0 {
                self.written.push(b' ');
            }
            self.written.extend_from_slice(match address {
                _ if *part == By::All => b"all",
                Some(address) => self.addresses.network(*address),
                None => NOT_IP,
            });
        }
        &self.written
    }
}

impl Events for CaptureReader {
    fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        while !self.ended {
            let Some(packet) = self.packet(sink)? else { continue };
            self.number += 1;
            match packet.time.and_then(|time| Ok((time, packet.key?))) {
                Ok((time, _)) if !self.select.has_time(time) => {}
                Ok((time, key)) => {
                    let key = self.key(&key);
                    let key = sink.key(key)?;
                    let cost = match self.cost {
                        Cost::Bytes => u64::from(packet.wire),
                        Cost::Packets => 1,
                    };
                    return Ok(Some(Event::new(time, cost, key)));
                }
                Err(reason) => sink.bad(&self.name, self.number, 1, reason, b""),
            }
        }
        Ok(None)
    }

    fn line(&self) -> u64 {
        self.number
    }
}

enum CaptureBlock<'a> {
    Classic(pcap_parser::LegacyPcapBlock<'a>),
    Block(Block<'a>),
}

/// Returns whether a block states fewer bytes than its type and its two lengths take. (The parser subtracts them without a check. Only a section header
/// is checked there; its length may have the other byte order.)
fn is_too_short(block: &[u8], dialect: Dialect) -> bool {
    const SECTION_HEADER: &[u8; 4] = b"\x0a\x0d\x0d\x0a";
    let Some((kind, [a, b, c, d, ..])) = block.split_first_chunk::<4>() else {
        return false;
    };
    kind != SECTION_HEADER && dialect.number([*a, *b, *c, *d]) < 12
}

/// Returns the packet in a block, if the block has one. A block that describes an interface or a section is recorded.
fn take(
    kind: CaptureBlock<'_>,
    interfaces: &mut Vec<Interface>,
    dialect: &mut Dialect,
    by: &By,
    name: &str,
) -> Result<Option<Packet>, Error> {
    let packet = |interface: Option<&Interface>, time, wire, frame: &[u8]| Packet {
        time: interface.ok_or(BadLine::NoInterface).and(time),
        wire,
        key: interface
            .ok_or(BadLine::NoInterface)
            .and_then(|interface| key(interface.link, frame, by)),
    };
    let timed = |interface: u32, ticks: u64, [captured, wire]: [u32; 2], frame: &[u8]| {
        let interface = usize::try_from(interface).ok().and_then(|id| interfaces.get(id));
        let time = interface
            .ok_or(BadLine::NoInterface)
            .and_then(|interface| time(*interface, ticks));
        let captured = usize::try_from(captured).unwrap_or(usize::MAX).min(frame.len());
        packet(interface, time, wire, &frame[..captured])
    };
    Ok(match kind {
        CaptureBlock::Classic(classic) => {
            let interface = interfaces.first();
            let per_second = interface
                .and_then(|interface| interface.per_second)
                .unwrap_or(1_000_000);
            let fraction = u64::from(classic.ts_usec);
            let ns_per_tick = if per_second == 1_000_000 { 1_000 } else { 1 };
            let time = if fraction < per_second {
                Ok(i64::from(classic.ts_sec) * 1_000_000_000 + i64::from(classic.ts_usec) * ns_per_tick)
            } else {
                Err(StampError::NoSuchTime.into())
            };
            Some(packet(interface, time, classic.origlen, classic.data))
        }
        CaptureBlock::Block(Block::SectionHeader(section)) => {
            interfaces.clear();
            *dialect = Dialect::NextGeneration {
                big_endian: section.big_endian(),
            };
            None
        }
        CaptureBlock::Block(Block::InterfaceDescription(described)) => {
            let resolution = u32::from(described.if_tsresol & 0x7f);
            let base: u64 = if described.if_tsresol & 0x80 == 0 { 10 } else { 2 };
            // The parser reads it as little-endian in any section.
            let offset_seconds = if dialect.is_big_endian() {
                described.if_tsoffset.swap_bytes()
            } else {
                described.if_tsoffset
            };
            interfaces.push(Interface {
                link: LinkType::of(u32::try_from(described.linktype.0).unwrap_or(u32::MAX), name)?,
                per_second: base.checked_pow(resolution),
                offset_seconds,
            });
            None
        }
        CaptureBlock::Block(Block::EnhancedPacket(enhanced)) => {
            let ticks = u64::from(enhanced.ts_high) << 32 | u64::from(enhanced.ts_low);
            let lengths = [enhanced.caplen, enhanced.origlen];
            Some(timed(enhanced.if_id, ticks, lengths, enhanced.data))
        }
        // The parser reads this kind, too, as little-endian in any section.
        CaptureBlock::Block(Block::Unknown(unknown))
            if dialect.number(unknown.block_type.to_le_bytes()) == OBSOLETE_PACKET =>
        {
            let Some((fields, data)) = unknown.data.split_first_chunk::<20>() else {
                return Ok(Some(packet(None, Err(BadLine::NoTime), 0, &[])));
            };
            let number = |at: usize| dialect.number([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]]);
            // Two bytes are the interface, and two the number of lost packets.
            let shift = if dialect.is_big_endian() { 16 } else { 0 };
            let ticks = u64::from(number(4)) << 32 | u64::from(number(8));
            let lengths = [number(12), number(16)];
            Some(timed(number(0) >> shift & 0xffff, ticks, lengths, data))
        }
        CaptureBlock::Block(Block::SimplePacket(simple)) => Some(packet(
            interfaces.first(),
            Err(BadLine::NoTime),
            simple.origlen,
            simple.data,
        )),
        CaptureBlock::Block(_) => None,
    })
}

fn time(interface: Interface, ticks: u64) -> Result<i64, BadLine> {
    let per_second = interface.per_second.ok_or(StampError::OutOfRange)?;
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(per_second);
    let ns = i128::try_from(ns)
        .unwrap_or(i128::MAX)
        .saturating_add(i128::from(interface.offset_seconds) * 1_000_000_000);
    // Until the year 2200.
    let time = i64::try_from(ns)
        .ok()
        .filter(|ns| (0..7_289_654_400_000_000_000).contains(ns));
    Ok(time.ok_or(StampError::OutOfRange)?)
}

/// Returns the address of a frame for each part of a key.
fn key(link: LinkType, frame: &[u8], by: &By) -> Result<Vec<Option<IpAddr>>, BadLine> {
    if *by == By::All {
        return Ok(vec![None]);
    }
    let pair = frame::addresses(link, frame)?;
    let address = |part: &By| pair.map(|(sender, receiver)| if *part == By::Host { receiver } else { sender });
    Ok(by.parts().iter().map(address).collect())
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
