use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use super::super::{Collected, Reader};
use super::*;

/// The way in which a capture is written.
#[derive(Clone, Copy)]
struct Pen {
    magic: u32,
    bytes: fn(u32) -> [u8; 4],
}

const LITTLE: Pen = Pen {
    magic: 0xa1b2_c3d4,
    bytes: u32::to_le_bytes,
};

impl Pen {
    fn header(self, link: u32) -> Vec<u8> {
        [self.magic, 0x0004_0002, 0, 0, 65_535, link]
            .into_iter()
            .flat_map(self.bytes)
            .collect()
    }

    fn packet(self, stamp: [u32; 2], wire: usize, frame: &[u8]) -> Vec<u8> {
        let length = |length: usize| u32::try_from(length).expect("a small packet");
        let header = [stamp[0], stamp[1], length(frame.len()), length(wire)];
        let mut packet: Vec<u8> = header.into_iter().flat_map(self.bytes).collect();
        packet.extend_from_slice(frame);
        packet
    }
}

fn frame(tags: &[u16], kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 7]);
    }
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(packet);
    frame
}

fn ipv4(from: u8, to: u8) -> Vec<u8> {
    let mut packet = vec![0x45; 12];
    packet.extend_from_slice(&[192, 0, 2, from, 192, 0, 2, to]);
    packet
}

fn ipv6(from: u8, to: u8) -> Vec<u8> {
    let mut packet = vec![0x60; 8];
    for last in [from, to] {
        packet.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet
}

/// Time, cost and key of each packet, and the bad packets as they are shown.
type CaptureContents = (Vec<(i64, u64, String)>, Vec<String>);

fn read(capture: &[u8], by: Option<By>) -> Result<CaptureContents, String> {
    let options = Options {
        by,
        ..Options::default()
    };
    let message = |error: Error| error.to_string();
    let mut collected = Collected::default();
    let mut reader = Reader::of(Cursor::new(capture.to_vec()), "f", &options).map_err(message)?;
    let mut packets = Vec::new();
    while let Some(event) = reader.next(&mut collected).map_err(message)? {
        let key = String::from_utf8_lossy(collected.keys.name(event.key)).into_owned();
        packets.push((event.time, event.cost, key));
    }
    Ok((
        packets,
        collected.bad.quoted().iter().map(ToString::to_string).collect(),
    ))
}

#[test]
fn captures_of_any_byte_order_are_read() {
    let big = Pen {
        bytes: u32::to_be_bytes,
        ..LITTLE
    };
    let nanoseconds = |pen| Pen {
        magic: 0xa1b2_3c4d,
        ..pen
    };
    for (pen, ns) in [
        (LITTLE, 1_000),
        (big, 1_000),
        (nanoseconds(LITTLE), 1),
        (nanoseconds(big), 1),
    ] {
        let mut capture = pen.header(1);
        capture.extend(pen.packet([7, 999_999], 1_500, &frame(&[], 0x0800, &ipv4(1, 2))));
        capture.extend(pen.packet([u32::MAX, 0], 60, &frame(&[], 0x86dd, &ipv6(3, 4))));
        let (packets, bad) = read(&capture, None).expect("a good capture");
        let expected = [
            (7_000_000_000 + 999_999 * ns, 1_500, "192.0.2.1".to_owned()),
            (4_294_967_295_000_000_000, 60, "2001:db8::3".to_owned()),
        ];
        assert_eq!((&packets[..], bad.len()), (&expected[..], 0));
    }
}

#[test]
fn keys_are_senders_receivers_or_all() {
    let frames = [
        frame(&[], 0x0800, &ipv4(1, 2)),
        frame(&[0x8100], 0x0800, &ipv4(1, 2)),
        frame(&[0x88a8, 0x8100], 0x86dd, &ipv6(3, 4)),
        frame(&[], 0x0806, &[0; 28]),
    ];
    let mut capture = LITTLE.header(1);
    for (second, frame) in (0..).zip(&frames) {
        capture.extend(LITTLE.packet([second, 0], frame.len(), frame));
    }
    let keys = |by| -> Vec<String> {
        let (packets, _) = read(&capture, Some(by)).expect("a good capture");
        packets.into_iter().map(|(.., key)| key).collect()
    };
    assert_eq!(keys(By::Ip), ["192.0.2.1", "192.0.2.1", "2001:db8::3", "not IP"]);
    assert_eq!(keys(By::Host), ["192.0.2.2", "192.0.2.2", "2001:db8::4", "not IP"]);
    assert_eq!(keys(By::All), ["all"; 4]);
    assert_eq!(keys(By::parse("ip,host"))[0], "192.0.2.1 192.0.2.2");
    for by in [By::Path, By::Status, By::Column("a".to_owned())] {
        let error = read(&capture, Some(by)).expect_err("no such key");
        assert!(
            error.ends_with("say --by ip (the sender), host (the receiver) or all"),
            "{error}"
        );
    }
}

#[test]
fn packets_without_key_or_time_are_bad() {
    let mut capture = LITTLE.header(1);
    capture.extend(LITTLE.packet([1, 0], 60, &frame(&[], 0x0800, &ipv4(1, 2))[..29]));
    capture.extend(LITTLE.packet([2, 1_000_000], 60, &frame(&[], 0x0800, &ipv4(1, 2))));
    capture.extend(LITTLE.packet([3, 0], 60, &[]));
    capture.extend(LITTLE.packet([4, 0], 60, &frame(&[], 0x0800, &ipv4(1, 2))));
    let (packets, bad) = read(&capture, None).expect("a capture");
    assert_eq!(packets, [(4_000_000_000, 60, "192.0.2.1".to_owned())]);
    let cut = "too few bytes of the packet were captured to contain its addresses";
    let time = "the stamp is malformed or names a time that does not exist";
    assert_eq!(
        bad,
        [format!("f:1: {cut}"), format!("f:2: {time}"), format!("f:3: {cut}")]
    );
    // A key that needs no address does not need these bytes.
    assert_eq!(read(&capture, Some(By::All)).expect("a capture").0.len(), 3);
}

#[test]
fn truncated_capture_is_read_to_its_end() {
    let mut capture = LITTLE.header(1);
    let ends = [1, 2].map(|second| {
        capture.extend(LITTLE.packet([second, 0], 3_000, &frame(&[], 0x0800, &vec![0x45; 2_000])));
        capture.len()
    });
    for end in 4..capture.len() {
        let result = read(&capture[..end], None);
        match end {
            24 => assert_eq!(result.expect("no packets").0.len(), 0),
            0..24 => assert_eq!(
                result,
                Err("f: the capture is cut off within its header: copy or capture it again".to_owned())
            ),
            _ if end >= ends[0] => assert_eq!(result.expect("a packet").0.len(), 1),
            _ => assert_eq!(
                result,
                Err("f: the capture is cut off within packet 1: copy or capture it again".to_owned())
            ),
        }
    }
    let mut collected = Collected::default();
    let cut = Cursor::new(capture[..capture.len() - 1].to_vec());
    let mut reader = Reader::of(cut, "f", &Options::default()).expect("a capture");
    while reader.next(&mut collected).expect("a capture").is_some() {}
    let notice = "f: the capture is cut off within packet 2: the rest is lost";
    assert_eq!(
        (collected.is_cut, &collected.notices[..]),
        (true, &[notice.to_owned()][..])
    );
}

#[test]
fn captures_that_are_not_read_are_named() {
    let error = read(&LITTLE.header(105), None).expect_err("of a wireless network");
    assert!(
        error.starts_with("f is a packet capture of link type 105, which is not read"),
        "{error}"
    );
    let mut broken = LITTLE.header(1);
    broken.extend([0, 0, u32::MAX, 60].into_iter().flat_map(u32::to_le_bytes));
    assert_eq!(
        read(&broken, None).expect_err("a broken packet"),
        "f: the capture is broken within packet 1: copy or capture it again"
    );
    let modified = [&[0x34, 0xcd, 0xb2, 0xa1][..], &[0; 60]].concat();
    let error = read(&modified, None).expect_err("the modified format");
    assert!(
        error.contains("modified") && error.contains("editcap -F pcap"),
        "{error}"
    );
}

/// Writes a block of pcapng, in little endian.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len() + 12).expect("a small block").to_le_bytes();
    [&kind.to_le_bytes(), &length[..], &body, &length].concat()
}

/// Writes the description of an interface, with the resolution of its stamps.
fn interface(link: u16, resolution: u8) -> Vec<u8> {
    let mut body = [&link.to_le_bytes()[..], &[0; 2], &65_535_u32.to_le_bytes()].concat();
    body.extend_from_slice(&[9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
    block(1, &body)
}

fn enhanced(interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a small frame");
    let (high, low) = ((ticks >> 32) as u32, (ticks & 0xffff_ffff) as u32);
    let numbers = [interface, high, low, length, 1_500];
    let body: Vec<u8> = numbers
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(frame.iter().copied())
        .collect();
    block(6, &body)
}

#[test]
fn pcapng_of_several_interfaces_is_read() {
    let section = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat(),
    );
    let ethernet = frame(&[], 0x0800, &ipv4(1, 2));
    let capture = [
        section.clone(),
        interface(1, 6),
        interface(101, 9),
        interface(1, 0x80 | 10),
        enhanced(0, 7_000_001, &ethernet),
        block(5, &[0; 12]),
        enhanced(1, 8_000_000_001, &ipv4(3, 4)),
        enhanced(2, 9 << 10, &ethernet),
        enhanced(9, 1, &ethernet),
        section,
        interface(101, 3),
        enhanced(0, 10_001, &ipv4(5, 6)),
    ]
    .concat();
    let (packets, bad) = read(&capture, None).expect("a capture");
    let packet = |time: i64, key: &str| (time, 1_500, key.to_owned());
    assert_eq!(
        packets,
        [
            packet(7_000_001_000, "192.0.2.1"),
            packet(8_000_000_001, "192.0.2.3"),
            packet(9_000_000_000, "192.0.2.1"),
            packet(10_001_000_000, "192.0.2.5"),
        ]
    );
    assert_eq!(bad, ["f:4: the capture does not describe the interface of the packet"]);
}

/// Appends a block in big-endian order, from a body in that order.
fn big_endian_block(capture: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).expect("a small block").to_be_bytes();
    capture.extend([&kind.to_be_bytes(), &length[..], body, &length].concat());
}

#[test]
fn offsets_and_obsolete_packets_have_either_order() {
    let frame = ipv4(1, 2);
    let numbers = [0, 5_000_001, 20, 1_500_u32];
    let read_one = |capture: &[u8]| read(capture, None).map(|(packets, bad)| (packets, bad.len()));
    // An offset of 7 s, and an interface with the number 0 that lost 3 packets.
    let mut big = Vec::new();
    let section = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    big_endian_block(&mut big, 0x0a0d_0d0a, &section);
    let interface = [
        0, 101, 0, 0, 0, 0, 0xff, 0xff, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0,
    ];
    big_endian_block(&mut big, 1, &interface);
    let fields: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
    big_endian_block(&mut big, 2, &[&[0, 0, 0, 3][..], &fields, &frame].concat());
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let interface = [
        101, 0, 0, 0, 0xff, 0xff, 0, 0, 14, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let fields: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
    let packet = [&[0, 0, 3, 0][..], &fields, &frame].concat();
    let little = [block(0x0a0d_0d0a, &section), block(1, &interface), block(2, &packet)].concat();
    for capture in [big, little] {
        let expected = (vec![(12_000_001_000, 1_500, "192.0.2.1".to_owned())], 0);
        assert_eq!(read_one(&capture), Ok(expected));
    }
}

/// A growing capture, which comes in pieces of a length; after the last byte, each read is a pause that is counted.
struct GrowingCapture {
    bytes: Cursor<Vec<u8>>,
    piece: usize,
    pauses: Rc<Cell<u32>>,
}

impl Read for GrowingCapture {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.piece);
        let read = self.bytes.read(&mut buffer[..len])?;
        if read == 0 {
            self.pauses.set(self.pauses.get() + 1);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    }
}

#[test]
fn whole_packets_of_growing_captures_need_no_pause() {
    let packet = frame(&[], 0x0800, &ipv4(1, 2));
    let section = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat(),
    );
    let classic = [LITTLE.header(1), LITTLE.packet([7, 0], 60, &packet).repeat(3)].concat();
    let next = [section, interface(1, 6), enhanced(0, 7_000_000, &packet).repeat(3)].concat();
    let options = Options {
        is_growing: true,
        ..Options::default()
    };
    for capture in [classic, next] {
        for (piece, expected) in [(capture.len(), 0), (7, 1), (1, 1)] {
            let pauses = Rc::new(Cell::new(0));
            let growing = GrowingCapture {
                bytes: Cursor::new(capture.clone()),
                piece,
                pauses: Rc::clone(&pauses),
            };
            let mut collected = Collected::default();
            let mut reader = Reader::of(growing, "f", &options).expect("a capture");
            for _ in 0..3 {
                // A packet that came in pieces may be tried before its last one.
                let event = (0..=expected)
                    .find_map(|_| reader.next(&mut collected).ok())
                    .expect("a packet");
                assert_eq!(event.expect("a packet").time, 7_000_000_000);
            }
            assert!(pauses.get() <= expected, "{} pauses", pauses.get());
            assert!(reader.next(&mut collected).expect_err("no more").is_pause());
        }
    }
}

/// Found by the fuzzer: the length 7 made the parser subtract below zero.
#[test]
fn block_shorter_than_its_lengths_ends_the_capture() {
    let section = block(
        0x0a0d_0d0a,
        &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat(),
    );
    let start = [
        section,
        interface(1, 6),
        enhanced(0, 7_000_001, &frame(&[], 0x0800, &ipv4(1, 2))),
    ]
    .concat();
    for length in 0_u32..12 {
        for kind in [0x8000_0001_u32, 1, 6] {
            let block = [kind.to_le_bytes(), length.to_le_bytes(), length.to_le_bytes()].concat();
            let (packets, bad) = read(&[&start[..], &block, &[0; 64]].concat(), None).expect("a capture");
            assert_eq!((packets.len(), bad.len()), (1, 0), "length {length}");
        }
    }
}
