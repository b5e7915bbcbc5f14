// 100/min burst 20 for the crate ratelimit_meter
// In the replay the IPv6 addresses of a /64 are one key. Here each address is a key: cut an address to
// its network before it becomes a key.
// This is the meter that was replayed; decisions are the same.
// It needs the feature `keyed`. A table of 100,000 keys takes about 2 MB.

use ratelimit_meter::{KeyedMeter, Quota};

pub fn limits() -> Result<KeyedMeter<String>, Box<dyn std::error::Error>> {
    Ok(KeyedMeter::with_capacity("100/min burst 20".parse::<Quota>()?, 100_000)?)
}
