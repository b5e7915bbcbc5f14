//! A proxy between a client and its server that loses, delays or cuts as told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::thread;

/// The fate of replies; requests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Replies {
    /// Passes them.
    Pass,
    /// Drops them, so that a client waits for ever.
    Lose,
    /// Closes the connection in place of them.
    Cut,
}

/// A proxy on a free port of 127.0.0.1; its threads end with its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    replies: Arc<AtomicU8>,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy to a port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    #[must_use]
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (replies, lost) = (Arc::new(AtomicU8::new(Replies::Pass as u8)), Arc::default());
        let server = Arc::new(AtomicU16::new(server));
        let proxy = Self {
            port,
            server: Arc::clone(&server),
            replies: Arc::clone(&replies),
            lost: Arc::clone(&lost),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = server.load(Ordering::Relaxed);
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
                    continue;
                };
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                thread::spawn(move || pass(client_too, server_too, |_| true));
                let (replies, lost) = (Arc::clone(&replies), Arc::clone(&lost));
                thread::spawn(move || {
                    pass(server, client, |client| {
                        // ORDERING: relaxed, no data goes with it.
                        let told = replies.load(Ordering::Relaxed);
                        if told == Replies::Pass as u8 {
                            return true;
                        }
                        lost.fetch_add(1, Ordering::Relaxed);
                        if told == Replies::Cut as u8 {
                            let _ = client.shutdown(Shutdown::Both);
                        }
                        false
                    });
                });
            }
        });
        proxy
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Connects new clients to another port of 127.0.0.1, as a name that moves.
    pub fn move_to(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    /// Sets the fate of replies from now on.
    pub fn set(&self, replies: Replies) {
        self.replies.store(replies as u8, Ordering::Relaxed);
    }

    /// Returns how many times a reply, or a part of one, did not pass.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn(&TcpStream) -> bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(n) if n > 0 => {
                if may_pass(&to) && to.write_all(&buffer[..n]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
