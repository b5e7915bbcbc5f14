// 10/s & 1000/h for the crate ratelimit_meter
// This is the meter that was replayed; decisions are the same.
// It needs the feature `dual`.

use ratelimit_meter::{Dual, DualQuota, LeakyBucket};

pub fn limit() -> Result<Dual<LeakyBucket>, Box<dyn std::error::Error>> {
    Ok(Dual::from_quota("10/s & 1000/h".parse::<DualQuota>()?)?)
}
