//! A limit for JavaScript, on its own clock.
//!
//! `cargo build -p ratelimit_meter_targets --example node --release --target wasm32-unknown-unknown` builds the module (`rustup target add
//! wasm32-unknown-unknown` once). `node crates/targets/examples/node.mjs target/wasm32-unknown-unknown/release/examples/node.wasm` calls it.

use ratelimit_meter::{GCRA, Quota, time};
use std::sync::LazyLock;

static LIMIT: LazyLock<Option<GCRA>> = LazyLock::new(|| GCRA::from_quota("100/s burst 10".parse::<Quota>().ok()?).ok());

/// Decides one request at `now_ms`, as `performance.now()` counts. Returns how many milliseconds to wait: 0 if it is admitted.
#[expect(unsafe_code, reason = "JavaScript finds the function by its name")]
#[unsafe(no_mangle)]
pub extern "C" fn check(now_ms: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time since the page was opened"
    )]
    let now = time::at((now_ms * 1e6) as u64);
    match LIMIT.as_ref().map(|limit| limit.check_at(now)) {
        Some(Ok(())) => 0.0,
        Some(Err(denied)) => denied.wait_time_from(now).as_secs_f64() * 1e3,
        None => f64::INFINITY,
    }
}
