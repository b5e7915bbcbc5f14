//! Parses the frames of a capture: the headers of an interface around an IP packet, and the addresses in the packet.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use crate::Error;
use crate::bad::BadLine;

/// The encapsulation of the frames of an interface. The numbers are those of the registry of link types at tcpdump.org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkType {
    /// BSD loopback: a family of addresses in the byte order of the machine.
    Null,
    /// OpenBSD loopback: the same in network order.
    Loop,
    Ethernet,
    Ppp,
    /// An IP packet with no header before it, as from a tunnel.
    Raw,
    /// `tcpdump -i any`.
    LinuxCooked,
    /// The same, second version.
    LinuxCooked2,
}

impl LinkType {
    pub(super) fn of(number: u32, name: &str) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            9 | 50 => Self::Ppp,
            12 | 14 | 101 | 228 | 229 => Self::Raw,
            108 => Self::Loop,
            113 => Self::LinuxCooked,
            276 => Self::LinuxCooked2,
            link => {
                return Err(Error::Link {
                    path: name.to_owned(),
                    link,
                });
            }
        })
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Returns sender and receiver of the IP packet in a frame; `None` if the frame has no IP packet.
pub(super) fn addresses(link: LinkType, frame: &[u8]) -> Result<Option<(IpAddr, IpAddr)>, BadLine> {
    let (kind, packet) = match link {
        LinkType::Ethernet => (number(frame, 12)?, rest(frame, 14)?),
        LinkType::LinuxCooked => (number(frame, 14)?, rest(frame, 16)?),
        LinkType::LinuxCooked2 => (number(frame, 0)?, rest(frame, 20)?),
        LinkType::Ppp => {
            // With or without its address and control.
            let frame = frame.strip_prefix(&[0xff, 3]).unwrap_or(frame);
            (of_ppp(number(frame, 0)?), rest(frame, 2)?)
        }
        LinkType::Raw => (of_version(frame), frame),
        LinkType::Null | LinkType::Loop => {
            // The numbers for IPv6 differ between systems; the packet itself has its version.
            let packet = rest(frame, 4)?;
            (of_version(packet), packet)
        }
    };
    within(kind, packet)
}

/// Returns the addresses of the packet inside any number of tags, labels and sessions.
fn within(mut kind: u16, mut packet: &[u8]) -> Result<Option<(IpAddr, IpAddr)>, BadLine> {
    loop {
        (kind, packet) = match kind {
            // Tags of virtual networks, nested.
            0x8100 | 0x88a8 | 0x9100 => (number(packet, 2)?, rest(packet, 4)?),
            // PPPoE: a session, then PPP.
            0x8864 => (of_ppp(number(packet, 6)?), rest(packet, 8)?),
            // MPLS: labels, the last of which has this bit set.
            0x8847 | 0x8848 => {
                let is_last = rest(packet, 2)?.first().is_some_and(|byte| byte & 1 == 1);
                let packet = rest(packet, 4)?;
                (if is_last { of_version(packet) } else { kind }, packet)
            }
            IPV4 => {
                let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| BadLine::CutPacket)?;
                return Ok(Some((header.source_addr().into(), header.destination_addr().into())));
            }
            IPV6 => {
                let header = Ipv6HeaderSlice::from_slice(packet).map_err(|_| BadLine::CutPacket)?;
                return Ok(Some((header.source_addr().into(), header.destination_addr().into())));
            }
            _ => return Ok(None),
        };
    }
}

/// Converts the type of a PPP payload to its Ethernet type.
fn of_ppp(protocol: u16) -> u16 {
    match protocol {
        0x21 => IPV4,
        0x57 => IPV6,
        _ => 0,
    }
}

/// Returns the type of a packet from its first bits.
fn of_version(packet: &[u8]) -> u16 {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => IPV4,
        Some(6) => IPV6,
        _ => 0,
    }
}

fn number(frame: &[u8], at: usize) -> Result<u16, BadLine> {
    let bytes = rest(frame, at)?.first_chunk::<2>();
    bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(BadLine::CutPacket)
}

fn rest(frame: &[u8], at: usize) -> Result<&[u8], BadLine> {
    frame.get(at..).ok_or(BadLine::CutPacket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        packet
    }

    #[test]
    fn addresses_are_found_in_frames_of_all_kinds() {
        let expected = Some((
            "192.0.2.1".parse().expect("an address"),
            "192.0.2.2".parse().expect("an address"),
        ));
        let around = |bytes: &[u8]| [bytes, &ipv4()].concat();
        let ethernet = |tags: &[u8]| around(&[&[0; 12], tags].concat());
        let table: [(LinkType, Vec<u8>); 14] = [
            (LinkType::Ethernet, ethernet(&[0x08, 0])),
            (LinkType::Ethernet, ethernet(&[0x81, 0, 0, 7, 0x08, 0])),
            (
                LinkType::Ethernet,
                ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 0x08, 0]),
            ),
            (
                LinkType::Ethernet,
                ethernet(&[0x88, 0x64, 0x11, 0, 0, 7, 0, 48, 0, 0x21]),
            ),
            (
                LinkType::Ethernet,
                ethernet(&[0x81, 0, 0, 7, 0x88, 0x64, 0x11, 0, 0, 7, 0, 48, 0, 0x21]),
            ),
            (
                LinkType::Ethernet,
                ethernet(&[0x88, 0x47, 0, 1, 0x40, 64, 0, 1, 0x41, 64]),
            ),
            (LinkType::LinuxCooked, around(&[&[0; 14][..], &[0x08, 0]].concat())),
            (LinkType::LinuxCooked2, around(&[&[0x08, 0][..], &[0; 18]].concat())),
            (LinkType::Raw, ipv4()),
            (LinkType::Null, around(&[2, 0, 0, 0])),
            (LinkType::Null, around(&[0, 0, 0, 2])),
            (LinkType::Loop, around(&[0, 0, 0, 2])),
            (LinkType::Ppp, around(&[0xff, 3, 0, 0x21])),
            (LinkType::Ppp, around(&[0, 0x21])),
        ];
        for (link, frame) in table {
            assert_eq!(addresses(link, &frame), Ok(expected), "{link:?}: {frame:?}");
            assert_eq!(
                addresses(link, &frame[..frame.len() - 1]),
                Err(BadLine::CutPacket),
                "{link:?}"
            );
        }
        let arp = [&[0; 12][..], &[0x08, 0x06], &[0; 28]].concat();
        assert_eq!(addresses(LinkType::Ethernet, &arp), Ok(None));
        assert_eq!(addresses(LinkType::Raw, &[]), Ok(None));
    }
}
