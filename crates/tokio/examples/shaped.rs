//! Limits the bytes a second of connections: a limit for each, a limit for all together, and a change of a limit while bytes flow.
//!
//! Each connection waits for at most 16 KiB at a time, and waiters are served in order. So busy connections get equal shares of the limit for all.
//!
//! Run with `cargo run --release -p ratelimit_meter_tokio --example shaped`.

use ratelimit_meter::{Adjustable, GCRA};
use ratelimit_meter_tokio::{AcquireOwned, Waiting};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::time::Instant;

/// A limit of bytes, for one connection or many. Clones share it, in any number of threads.
type Bandwidth = Waiting<Adjustable<GCRA>>;

/// The most bytes for which a connection waits at once.
const CHUNK: u32 = 16 * 1024;

/// The bytes that one direction of a connection has been granted and has not moved.
struct Grants {
    limit: Bandwidth,
    granted: u32,
    wait: Option<(u32, AcquireOwned<Adjustable<GCRA>>)>,
}

impl Grants {
    fn of(limit: &Bandwidth) -> Self {
        let limit = limit.clone();
        Self {
            limit,
            granted: 0,
            wait: None,
        }
    }

    /// Waits until at least one of `wanted` bytes is granted, and returns how many are.
    fn poll_grant(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wanted = u32::try_from(wanted).unwrap_or(CHUNK).min(CHUNK);
        while self.granted == 0 && wanted > 0 {
            let burst = || self.limit.meter().quota().map_or(1, |quota| quota.burst().get());
            let (n, acquire) = self.wait.get_or_insert_with(|| {
                let n = wanted.min(burst());
                (n, self.limit.acquire_owned(n))
            });
            let (n, outcome) = (*n, ready!(Pin::new(acquire).poll(cx)));
            self.wait = None;
            match outcome {
                Ok(()) => self.granted = n,
                Err(_) if n > burst() => {} // the burst was lowered meanwhile: ask for less
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        Poll::Ready(Ok(self.granted.min(wanted) as usize))
    }

    fn used(&mut self, bytes: usize) {
        self.granted -= u32::try_from(bytes).map_or(self.granted, |bytes| bytes.min(self.granted));
    }
}

/// Gives back the bytes that were not moved.
impl Drop for Grants {
    fn drop(&mut self) {
        self.limit.refund(self.granted);
    }
}

/// A connection whose bytes are limited in each direction. For several limits, wrap it again.
struct Shaped<T> {
    inner: T,
    reads: Grants,
    writes: Grants,
}

impl<T> Shaped<T> {
    /// Limits the reads of `inner` by one limit and its writes by another, or both by the same.
    fn new(inner: T, reads: &Bandwidth, writes: &Bandwidth) -> Self {
        let [reads, writes] = [reads, writes].map(Grants::of);
        Self { inner, reads, writes }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shaped<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let granted = ready!(self.reads.poll_grant(buf.remaining(), cx))?;
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(granted));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.reads.used(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Shaped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let granted = ready!(self.writes.poll_grant(bytes.len(), cx))?;
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes[..granted]))?;
        self.writes.used(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Returns a limit of this many bytes a second.
fn bandwidth(quota: &str) -> Result<Bandwidth, Box<dyn std::error::Error>> {
    Ok(Waiting::new(Adjustable::<GCRA>::from_quota(quota.parse()?)?))
}

/// Reads for a second, and returns the number of bytes.
async fn read_for_a_second(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
    let (end, mut bytes, mut buffer) = (Instant::now() + Duration::from_secs(1), 0, vec![0; 8192]);
    while let Ok(read) = tokio::time::timeout_at(end, connection.read(&mut buffer)).await {
        bytes += read?;
    }
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = bandwidth("3000000/s burst 65536")?;
    let mut connections = Vec::new();
    for _ in 0..3 {
        let (near, mut far) = duplex(65536);
        tokio::spawn(async move { while far.write_all(&[7; 8192]).await.is_ok() {} });
        let own = bandwidth("2000000/s burst 32768")?;
        connections.push(Shaped::new(Shaped::new(near, &own, &own), &all, &all));
    }
    for quota in [
        "3000000/s burst 65536",
        "1000000/s burst 8192",
        "90000000/s burst 65536",
    ] {
        // A reload of the configuration. Connections that wait are served by the new limit.
        let quota = quota.parse()?;
        all.change(|meter| meter.set_quota(quota))?;
        let mut readers = Vec::new();
        for mut connection in connections.drain(..) {
            readers.push(tokio::spawn(async move {
                let bytes = read_for_a_second(&mut connection).await;
                (connection, bytes)
            }));
        }
        println!("{quota} for all, 2000000/s for each:");
        for reader in readers {
            let (connection, bytes) = reader.await?;
            println!("  {} bytes in a second", bytes?);
            connections.push(connection);
        }
    }
    Ok(())
}
