//! Packet captures: classic pcap of Ethernet, in either byte order, with microseconds or nanoseconds.
//!
//! A packet costs as many cells as it had bytes on the wire, however few of them were captured. Frames that are not
//! IP, such as ARP, have taken their place on the wire too: in a meter for each address they are one key, [`NOT_IP`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::window::Window;
use super::{Options, Sink};
use crate::Error;
use crate::address::Addresses;
use crate::bad::BadLine;
use crate::by::By;
use crate::event::Event;
use crate::stamp::StampError;

/// The key of frames that are not IP.
pub const NOT_IP: &[u8] = b"not IP";

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Enough of a frame for its addresses, behind any number of tags that is in use.
const FRAME: usize = 128;
/// No capture has larger packets, unless it says so itself.
const LARGEST: u32 = 1 << 18;
const ETHERNET: u32 = 1;

/// How the numbers of a capture are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    big_endian: bool,
    nanoseconds: bool,
}

impl Dialect {
    /// That of the capture which begins like this, if it is one.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let (big_endian, nanoseconds) = match head.get(..4)? {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, false),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, false),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, true),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, true),
            _ => return None,
        };
        Some(Self {
            big_endian,
            nanoseconds,
        })
    }

    /// The number that begins at `at`; 0 if it is not there.
    fn number(self, bytes: &[u8], at: usize) -> u32 {
        let bytes = array(bytes, at).unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

/// A capture.
pub(super) struct PcapReader {
    name: String,
    window: Window,
    dialect: Dialect,
    largest: u32,
    by: By,
    addresses: Addresses,
    number: u64,
}

impl PcapReader {
    pub(super) fn new(name: String, mut window: Window, dialect: Dialect, options: &Options) -> Result<Self, Error> {
        let not_for = |option, instead| Error::NotFor {
            path: name.clone(),
            what: "a packet capture",
            option,
            instead,
        };
        if options.cost.is_some() {
            return Err(not_for("--cost", "a packet costs its bytes on the wire"));
        }
        if options.time.is_some() {
            return Err(not_for("--time", "each packet has its stamp"));
        }
        let by = match &options.by {
            None => By::Ip,
            Some(By::Path | By::Status | By::Column(_)) => {
                return Err(not_for(
                    "such a key",
                    "say --by ip (the sender), host (the receiver) or all",
                ));
            }
            Some(by) => by.clone(),
        };
        let header = window.hold(FILE_HEADER).map_err(|source| Error::read(&name, source))?;
        let (largest, link) = (dialect.number(header, 16), dialect.number(header, 20));
        if header.len() < FILE_HEADER {
            return Err(Error::CutOff {
                path: name,
                place: "its header".to_owned(),
            });
        }
        // The upper half tells of checksums behind the frames.
        if link & 0xffff != ETHERNET {
            return Err(Error::Link {
                path: name,
                link: link & 0xffff,
            });
        }
        window.advance(FILE_HEADER, 0);
        Ok(Self {
            name,
            window,
            dialect,
            largest: largest.max(LARGEST),
            by,
            addresses: Addresses::new(options.ipv6_prefix),
            number: 0,
        })
    }

    /// The number of the last packet that was read.
    pub(super) fn line(&self) -> u64 {
        self.number
    }

    pub(super) fn next(&mut self, sink: &mut impl Sink) -> Result<Option<Event>, Error> {
        loop {
            let failed = |source| Error::read(&self.name, source);
            self.number += 1;
            let number = self.number;
            let cut_off = || Error::CutOff {
                path: self.name.clone(),
                place: format!("packet {number}"),
            };
            let header: [u8; PACKET_HEADER] = match self.window.hold(PACKET_HEADER).map_err(failed)? {
                [] => return Ok(None),
                held => array(held, 0).ok_or_else(cut_off)?,
            };
            let [seconds, fraction, captured, wire] = [0, 4, 8, 12].map(|at| self.dialect.number(&header, at));
            if captured > self.largest {
                return Err(Error::BrokenPacket {
                    path: self.name.clone(),
                    number,
                    bytes: captured,
                });
            }
            let captured = usize::try_from(captured).unwrap_or(usize::MAX);
            self.window.advance(PACKET_HEADER, 0);
            let frame = self.window.hold(captured.min(FRAME)).map_err(failed)?;
            let frame = &frame[..captured.min(FRAME).min(frame.len())];
            let event = time(self.dialect, seconds, fraction).and_then(|time| {
                let key = key(frame, &self.by)?;
                Ok((time, key))
            });
            if !self.window.skip(captured).map_err(failed)? {
                return Err(cut_off());
            }
            match event {
                Ok((time, key)) => {
                    let key = match key {
                        Key::Name(name) => sink.key(name)?,
                        Key::Address(address) => sink.key(self.addresses.network(address))?,
                    };
                    let cost = u64::from(wire);
                    return Ok(Some(Event::new(time, cost, key)));
                }
                Err(reason) => sink.bad(&self.name, number, 1, reason, b""),
            }
        }
    }
}

fn time(dialect: Dialect, seconds: u32, fraction: u32) -> Result<i64, BadLine> {
    let (per_second, ns) = if dialect.nanoseconds {
        (1_000_000_000, 1)
    } else {
        (1_000_000, 1_000)
    };
    if fraction >= per_second {
        return Err(StampError::NoSuchTime.into());
    }
    Ok(i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * ns)
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    Name(&'static [u8]),
    Address(IpAddr),
}

/// Whose frame this is.
fn key(frame: &[u8], by: &By) -> Result<Key, BadLine> {
    if *by == By::All {
        return Ok(Key::Name(b"all"));
    }
    let kind = |at: usize| array::<2>(frame, at).map(u16::from_be_bytes).ok_or(BadLine::CutPacket);
    let mut at = 12;
    // Tags of virtual networks, one in the other.
    while matches!(kind(at)?, 0x8100 | 0x88a8 | 0x9100) {
        at += 4;
    }
    let is_sender = *by != By::Host;
    let address = match kind(at)? {
        0x0800 => array::<4>(frame, at + if is_sender { 14 } else { 18 }).map(|bytes| Ipv4Addr::from(bytes).into()),
        0x86dd => array::<16>(frame, at + if is_sender { 10 } else { 26 }).map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => return Ok(Key::Name(NOT_IP)),
    };
    address.map(Key::Address).ok_or(BadLine::CutPacket)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
#[path = "pcap_tests.rs"]
mod tests;
