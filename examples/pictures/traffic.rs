//! The requests, the same for all limits, in milliseconds from the beginning.

/// The length of the traffic.
pub(crate) const SPAN_MS: u32 = 8_000;

/// The start of each part, its number of requests, and their distance.
const PARTS: [(u32, u32, u32); 5] = [
    // One after the other, at half the rate.
    (100, 5, 200),
    // A page and its files,
    (1_210, 13, 7),
    // and another.
    (2_510, 8, 7),
    // A loop that runs for two seconds, at four times the rate.
    (3_212, 80, 25),
    // After an idle second, a page.
    (6_210, 13, 7),
];

/// A last page, later.
const LAST: (u32, u32, u32) = (7_610, 6, 7);

/// Returns the times of the requests, in order.
pub(crate) fn requests() -> impl Iterator<Item = u32> {
    let parts = PARTS.into_iter().chain([LAST]);
    parts.flat_map(|(from, count, apart)| (0..count).map(move |nth| from + nth * apart))
}
