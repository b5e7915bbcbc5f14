//! A UDP echo server on loopback with a limit for each source, while one client floods it and another is polite.
//!
//! Sources are distinguished by address and port here, since both clients are on one host. A server on the Internet would use `IpAddr` as the key. Of
//! an IPv6 address it would use the first 64 bits, since each subscriber has many addresses in its /64.
//!
//! `cargo run --example udp_limit` prints the replies that each client gets.

use ratelimit_meter::{KeyedMeter, Quota};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: &str = "100/s burst 20";
const RUN: Duration = Duration::from_secs(2);
/// The longest wait for a datagram before a thread checks whether it is time to stop.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: u64,
    dropped: u64,
}

/// Echoes datagrams that conform and silently drops the rest: an answer would be another packet that the flood has caused.
fn serve(
    socket: &UdpSocket,
    sources: &KeyedMeter<SocketAddr>,
    over: &AtomicBool,
) -> io::Result<BTreeMap<SocketAddr, Tally>> {
    // The meter needs no list of sources. This list is for the table at the end, and holds two clients.
    let mut tallies = BTreeMap::<SocketAddr, Tally>::new();
    let mut datagram = [0; 1500];
    while !over.load(Ordering::Relaxed) {
        let (length, source) = match socket.recv_from(&mut datagram) {
            Ok(received) => received,
            Err(error) if is_nothing_yet(&error) => continue,
            Err(error) => return Err(error),
        };
        let tally = tallies.entry(source).or_default();
        if sources.check(&source).is_ok() {
            tally.passed += 1;
            // If a client is gone, or does not read, the server goes on serving other clients.
            let _ = socket.send_to(&datagram[..length], source);
        } else {
            tally.dropped += 1;
        }
    }
    Ok(tallies)
}

/// Returns whether nothing was received in time, or only the error that the receiver of an echo is gone.
fn is_nothing_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(
        error.kind(),
        WouldBlock | TimedOut | Interrupted | ConnectionRefused | ConnectionReset
    )
}

/// Sends as fast as it can until `over` is set.
fn flood(socket: &UdpSocket, server: SocketAddr, over: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        // Datagrams that do not fit in the socket's buffer are lost, as on any network.
        sent += u64::from(socket.send_to(b"flood", server).is_ok());
        if sent % 64 == 0 {
            // A few hundred thousand a second, so that the polite client finds room in the server's buffer now and then.
            thread::sleep(Duration::from_micros(100));
        }
    }
    sent
}

/// Sends 50 a second until `over` is set, and counts the echoes.
fn ask_politely(socket: &UdpSocket, server: SocketAddr, over: &AtomicBool) -> io::Result<(u64, u64)> {
    let (mut sent, mut echoed) = (0, 0);
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        socket.send_to(b"please", server)?;
        sent += 1;
        echoed += u64::from(socket.recv_from(&mut [0; 1500]).is_ok());
        next += Duration::from_millis(20);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok((sent, echoed))
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 10,000 sources at once in 205 KB, for any number of clients and ports that send.
    let sources = KeyedMeter::with_capacity(LIMIT.parse::<Quota>()?, 10_000)?;
    let (server, flooder, polite) = (bind()?, bind()?, bind()?);
    let address = server.local_addr()?;
    let over = AtomicBool::new(false);

    let (tallies, flooded, asked) = thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&server, &sources, &over));
        let flooding = scope.spawn(|| flood(&flooder, address, &over));
        let asking = scope.spawn(|| ask_politely(&polite, address, &over));
        thread::sleep(RUN);
        over.store(true, Ordering::Relaxed);
        (serving.join(), flooding.join(), asking.join())
    });
    let panicked = |_| "a thread panicked";
    let tallies = tallies.map_err(panicked)??;
    let flooded = flooded.map_err(panicked)?;
    let (asked, echoed) = asked.map_err(panicked)??;

    println!("{LIMIT} for each source, {} s", RUN.as_secs());
    println!(
        "{:<8} {:>9} {:>9} {:>9} {:>9}",
        "client", "sent", "received", "passed", "dropped"
    );
    for (name, socket, sent) in [("flood", &flooder, flooded), ("polite", &polite, asked)] {
        let Tally { passed, dropped } = tallies.get(&socket.local_addr()?).copied().unwrap_or_default();
        println!("{name:<8} {sent:>9} {:>9} {passed:>9} {dropped:>9}", passed + dropped);
    }
    println!(
        "the polite client had {echoed} of {asked} echoes; sources live now: {}",
        sources.stats().live
    );
    Ok(())
}
