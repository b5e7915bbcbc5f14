//! Marks the packets of a capture with the three-colour markers, as a router at the edge of a network would.
//!
//! ```sh
//! cargo run --example mark_packets -- capture.pcap
//! ```
//!
//! Without a capture, it marks made-up packets: a video of 4 Mbit/s whose data comes in one burst each second.

mod capture;

use capture::Packet;
use ratelimit_meter::Quota;
use ratelimit_meter::marker::{ExcessRate, Marker, Rule, SingleRate, TwoRate};
use std::error::Error;
use std::time::Instant;

/// 400 kbit/s, in bytes.
const COMMITTED: &str = "50000/s burst 6000";
/// Half of that more.
const PEAK: &str = "75000/s burst 9000";
const EXCESS: &str = "25000/s burst 3000";

fn mark<R: Rule>(name: &str, marker: &Marker<R>, packets: &[Packet]) {
    let start = Instant::now();
    let mut bytes = [0_u64; 3];
    for packet in packets {
        let colour = marker.mark_at(packet.bytes, start + packet.after);
        bytes[colour as usize] += u64::from(packet.bytes);
    }
    let [green, yellow, red] = bytes;
    println!("{name:28} {green:>12} {yellow:>12} {red:>12}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let packets = match std::env::args().nth(1) {
        Some(path) => capture::read(&path)?,
        None => capture::made_up(),
    };
    let committed: Quota = COMMITTED.parse()?;
    println!("{:28} {:>12} {:>12} {:>12}", "marker", "green bytes", "yellow", "red");
    let single = SingleRate::new(committed, 3000)?;
    mark("single rate (RFC 2697)", &single, &packets);
    mark(
        "two rates, peak (RFC 2698)",
        &TwoRate::new(committed, PEAK.parse()?)?,
        &packets,
    );
    mark(
        "two rates, excess (RFC 4115)",
        &ExcessRate::new(committed, EXCESS.parse()?)?,
        &packets,
    );
    Ok(())
}
