//! A limit for JavaScript on its default clock, which reads `performance.now()`: `web_time.mjs` beside this file calls it.

use ratelimit_meter::{GCRA, Quota};
use std::sync::LazyLock;

static LIMIT: LazyLock<Option<GCRA>> = LazyLock::new(|| GCRA::from_quota("100/s burst 10".parse::<Quota>().ok()?).ok());

/// Decides one request now. Returns how many milliseconds to wait: 0 if it is admitted.
#[expect(unsafe_code, reason = "JavaScript finds the function by its name")]
#[unsafe(no_mangle)]
pub extern "C" fn check() -> f64 {
    match LIMIT.as_ref().map(GCRA::check) {
        Some(Ok(())) => 0.0,
        Some(Err(denied)) => denied.wait_time().as_secs_f64() * 1e3,
        None => f64::INFINITY,
    }
}
