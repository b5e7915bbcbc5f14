// 10/s for the crate ratelimit_meter
// This is the meter that was replayed; decisions are the same.

use ratelimit_meter::{GCRA, Quota};

pub fn limit() -> Result<GCRA, Box<dyn std::error::Error>> {
    Ok(GCRA::from_quota("10/s".parse::<Quota>()?)?)
}
