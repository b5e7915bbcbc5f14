//! The scripts against the exact oracles, by the caller's time.

use crate::support::OnRuntime;
use ratelimit_meter_store_check::server::Server;
use ratelimit_meter_store_check::{Plan, check};

#[test]
fn scripts_decide_like_the_exact_oracles() {
    let Some(server) = Server::start(&[]) else { return };
    // Valkey reports both its own version and that of the Redis whose commands it has.
    let info = server.command(&["INFO", "server"]).unwrap();
    let version = |name: &str| info.lines().find(|line| line.starts_with(name));
    println!("{:?}", version("valkey_version:").or_else(|| version("redis_version:")));
    check(&OnRuntime::new(&server.url()), Plan::from_env());
}
