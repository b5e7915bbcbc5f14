//! The store and the SQL against servers: children of this process, skipped where PostgreSQL is not installed.

/// Returns from a test if there is no server.
macro_rules! running {
    ($start:expr) => {
        match $start {
            Some(server) => server,
            None => return,
        }
    };
}

mod allow;
mod connections;
mod debug;
mod faults;
mod laws;
mod many;
mod prepared;
mod rate_limit;
mod server;
mod size;
