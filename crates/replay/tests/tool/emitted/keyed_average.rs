// 100/min for the crate ratelimit_meter
// This is the meter that was replayed; decisions are the same.
// It needs the feature `keyed`. A table of 100,000 keys takes about 2 MB.

use ratelimit_meter::{Exponential, KeyedMeter, Quota};

pub fn limits() -> Result<KeyedMeter<String, Exponential>, Box<dyn std::error::Error>> {
    Ok(KeyedMeter::with_capacity("100/min".parse::<Quota>()?, 100_000)?)
}
