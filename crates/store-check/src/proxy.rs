//! A proxy between a client and its server that loses, delays or cuts replies on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

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
    /// Keeps them until the fate is another.
    Hold,
}

/// A proxy on a free port of 127.0.0.1; its threads end with its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<ProxyState>,
}

/// The settings of the test, and its counts.
#[derive(Debug)]
struct ProxyState {
    server: AtomicU16,
    replies: AtomicU8,
    lost: AtomicUsize,
    held: AtomicUsize,
    /// The number of clients so far.
    clients: AtomicUsize,
    /// The number of the first client that gets replies.
    first: AtomicUsize,
}

impl ProxyState {
    /// Decides the fate of a reply, or of a part of one, for this client.
    fn passes(&self, number: usize, client: &TcpStream) -> bool {
        if number < self.first.load(Ordering::Relaxed) {
            return false;
        }
        // ORDERING: relaxed here and below. No data goes with the fate or the counts.
        let fate = || self.replies.load(Ordering::Relaxed);
        if fate() == Replies::Hold as u8 {
            self.held.fetch_add(1, Ordering::Relaxed);
            while fate() == Replies::Hold as u8 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let fate = fate();
        if fate == Replies::Pass as u8 {
            return true;
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        if fate == Replies::Cut as u8 {
            let _ = client.shutdown(Shutdown::Both);
        }
        false
    }
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
        let state = Arc::new(ProxyState {
            server: AtomicU16::new(server),
            replies: AtomicU8::new(Replies::Pass as u8),
            lost: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            first: AtomicUsize::new(0),
        });
        let proxy = Self {
            port,
            state: Arc::clone(&state),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = state.server.load(Ordering::Relaxed);
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", server))) else {
                    continue;
                };
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                thread::spawn(move || pass(client_too, server_too, |_| true));
                let state = Arc::clone(&state);
                let number = state.clients.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || pass(server, client, |client| state.passes(number, client)));
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
        self.state.server.store(server, Ordering::Relaxed);
    }

    /// Drops all further replies to the present clients, which stay connected: to them the server has vanished, with its machine.
    pub fn vanish(&self) {
        let clients = self.state.clients.load(Ordering::Relaxed);
        self.state.first.store(clients, Ordering::Relaxed);
    }

    /// Sets the fate of replies from now on.
    pub fn set(&self, replies: Replies) {
        self.state.replies.store(replies as u8, Ordering::Relaxed);
    }

    /// Returns how many times a reply, or a part of one, was kept for a while.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::Relaxed)
    }

    /// Returns how many times a reply, or a part of one, did not pass.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::Relaxed)
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
