//! The scripts against the exact oracles, by the caller's time.

use crate::support::OnRuntime;
use ratelimit_meter_store_check::server::Server;
use ratelimit_meter_store_check::{Plan, check};

#[test]
fn scripts_decide_like_the_exact_oracles() {
    let Some(server) = Server::start(&[]) else { return };
    println!(
        "{:?}",
        server
            .command(&["INFO", "server"])
            .map(|info| info.lines().nth(2).map(str::to_owned))
    );
    check(&OnRuntime::new(&server.url()), Plan::from_env());
}
