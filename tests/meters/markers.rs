//! Three-colour markers: step tables of the RFCs' rules, DPDK's unit tests as tables, an exact model of the token buckets, and threads.
#![cfg(feature = "dual")]

#[path = "../../examples/mark_packets/capture.rs"]
mod capture;

use crate::support::clock::Behind;
use crate::support::exponential::Seeded;
use crate::support::time::instant;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::marker::Colour::{Green, Red, Yellow};
use ratelimit_meter::marker::{Colour, ExcessRate, Marker, Rule, SingleRate, TwoRate};
use ratelimit_meter::{Quota, nonzero};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const NS: Duration = Duration::from_nanos(1);

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

/// Plays `(nanoseconds, bytes, colour before, colour after, bytes available after)` on a marker that is made at the time 0.
fn play<R: Rule>(marker: Marker<R>, steps: &[(u64, u32, Colour, Colour, [u32; 2])]) {
    let clock = ManualClock::new();
    let marker = marker.with_clock(clock.clone());
    let made = clock.now();
    for &(ns, bytes, came, colour, available) in steps {
        let at = made + Duration::from_nanos(ns);
        let step = format!("{bytes} bytes that came {came} at {ns} ns");
        assert_eq!(marker.remark_at(bytes, came, at), colour, "{step}");
        assert_eq!(marker.available_at(at), available, "after {step}");
    }
}

#[test]
fn rfc_2697_fills_the_excess_bucket_last() {
    // A byte each microsecond.
    let marker = SingleRate::new(quota("1000000/s burst 1000"), 500).expect("a marker");
    play(
        marker,
        &[
            (0, 600, Green, Green, [400, 500]),
            (0, 500, Green, Yellow, [400, 0]),
            (0, 1, Green, Green, [399, 0]),
            (0, 400, Green, Red, [399, 0]),
            // 600 bytes fill the committed bucket before the excess bucket has one.
            (600_000, 0, Green, Green, [999, 0]),
            (601_999, 0, Green, Green, [1000, 0]),
            (602_000, 0, Green, Green, [1000, 1]),
            (701_000, 100, Yellow, Yellow, [1000, 0]),
            (701_000, 1, Yellow, Red, [1000, 0]),
            (701_000, 1, Red, Red, [1000, 0]),
            (701_000, 1000, Green, Green, [0, 0]),
            (9_000_000, 0, Green, Green, [1000, 500]),
        ],
    );
}

#[test]
fn rfc_2698_takes_green_bytes_from_both_buckets() {
    let marker = TwoRate::new(quota("1000000/s burst 1000"), quota("2000000/s burst 1500")).expect("a marker");
    play(
        marker,
        &[
            (0, 600, Green, Green, [400, 900]),
            (0, 500, Green, Yellow, [400, 400]),
            (0, 401, Green, Red, [400, 400]),
            (0, 400, Yellow, Yellow, [400, 0]),
            (0, 1, Green, Red, [400, 0]),
            // The committed bucket has bytes, but a packet above the peak rate is red.
            (100_000, 201, Green, Red, [500, 200]),
            (100_000, 200, Green, Green, [300, 0]),
            (800_000, 1, Red, Red, [1000, 1400]),
        ],
    );
}

#[test]
fn rfc_4115_charges_green_bytes_to_committed_bucket() {
    let marker = ExcessRate::new(quota("1000000/s burst 1000"), quota("500000/s burst 500")).expect("a marker");
    play(
        marker,
        &[
            (0, 500, Yellow, Yellow, [1000, 0]),
            (0, 1, Yellow, Red, [1000, 0]),
            (0, 1000, Green, Green, [0, 0]),
            (0, 1, Green, Red, [0, 0]),
            (2000, 1, Green, Green, [1, 1]),
            (2000, 2, Green, Red, [1, 1]),
            (2000, 1, Red, Red, [1, 1]),
            (4000, 4, Green, Red, [3, 2]),
            (4000, 3, Green, Green, [0, 2]),
            (4000, 2, Green, Yellow, [0, 0]),
        ],
    );
}

/// Marks a packet after an idle second: colour-blind, or with the colour that the packet came with.
type Rested = Box<dyn Fn(u32, Option<Colour>) -> Colour>;

/// The cases of DPDK's `app/test/test_meter.c`: a marker that was idle for a second, packets of one byte below and above each burst.
#[test]
fn dpdk_tables_hold() {
    let (committed, second) = (2048, 4096);
    let rate = quota("46000000/s burst 2048");
    let sizes = [committed - 1, committed + 1, second - 1, second + 1];
    let tables = [
        (Green, [Green, Yellow, Yellow, Red]),
        (Yellow, [Yellow, Yellow, Yellow, Red]),
        (Red, [Red, Red, Red, Red]),
    ];
    let markers: [Rested; 3] = [
        Box::new(move |bytes, came| rested(SingleRate::new(rate, second).expect("a marker"), bytes, came)),
        Box::new(move |bytes, came| {
            let peak = quota("69000000/s burst 4096");
            rested(TwoRate::new(rate, peak).expect("a marker"), bytes, came)
        }),
        Box::new(move |bytes, came| {
            let excess = quota("69000000/s burst 4096");
            rested(ExcessRate::new(rate, excess).expect("a marker"), bytes, came)
        }),
    ];
    for (number, marker) in markers.iter().enumerate() {
        for (came, colours) in tables {
            for (bytes, colour) in sizes.into_iter().zip(colours) {
                assert_eq!(
                    marker(bytes, Some(came)),
                    colour,
                    "marker {number}, {bytes} bytes, {came}"
                );
                if came == Green {
                    assert_eq!(
                        marker(bytes, None),
                        colour,
                        "marker {number}, {bytes} bytes, colour-blind"
                    );
                }
            }
        }
    }
}

fn rested<R: Rule>(marker: Marker<R>, bytes: u32, came: Option<Colour>) -> Colour {
    let at = Instant::now() + Duration::from_secs(1);
    match came {
        Some(came) => marker.remark_at(bytes, came, at),
        None => marker.mark_at(bytes, at),
    }
}

#[test]
fn packet_above_both_bursts_is_red() {
    for (rate, bytes) in [("1/s burst 10", u32::MAX), ("1/h", 1 << 20), ("1/min", 1 << 27)] {
        let marker = SingleRate::new(quota(rate), 0).expect("a marker");
        assert_eq!(marker.mark(bytes), Red, "{bytes} bytes at {rate}");
        assert_eq!(marker.mark(1), Green, "{rate}");
    }
}

#[test]
fn parameters_are_checked() {
    let rate = quota("46000000/s burst 2048");
    let below = TwoRate::new(rate, quota("45999999/s burst 4096")).unwrap_err();
    assert_eq!(below, InconsistentCapacity::PeakBelowCommitted);
    assert_eq!(below.to_string(), "the peak rate is below the committed rate");
    assert!(
        TwoRate::new(rate, quota("2760000000/min burst 1")).is_ok(),
        "the same rate"
    );
    assert!(ExcessRate::new(rate, quota("1/s")).is_ok());
    assert!(SingleRate::new(rate, 0).is_ok() && SingleRate::new(rate, u32::MAX - 2048).is_ok());
    let large = SingleRate::new(rate, u32::MAX - 2047).unwrap_err();
    assert_eq!(
        large.to_string(),
        "bursts of 2048 and 4294965248 add up to more than 4294967295"
    );
    let heavy = |text: &str| quota(&format!("{text} weight 2"));
    assert!(TwoRate::new(heavy("10/s"), heavy("10/s")).is_ok() && TwoRate::new(quota("5/s"), heavy("10/s")).is_ok());
    let below = TwoRate::new(quota("10/s"), heavy("19/s")).unwrap_err();
    assert_eq!(below, InconsistentCapacity::PeakBelowCommitted, "9.5 bytes a second");
    let weight = rate.cell_weight(nonzero!(2049u32));
    assert!(SingleRate::new(weight, 4096).is_err() && TwoRate::new(rate, weight).is_err());
    assert!(ExcessRate::new(weight, rate).is_err());
    let days = Quota::new(nonzero!(1u32), Duration::from_secs(86_400)).expect("a quota");
    assert!(matches!(
        SingleRate::new(days, 73_050),
        Err(InconsistentCapacity::RestTooLong { .. })
    ));
}

#[test]
fn a_weight_counts_in_every_bucket() {
    let marker = SingleRate::new(quota("1000/s burst 1000 weight 10"), 505).expect("a marker");
    let now = Instant::now();
    assert_eq!(marker.available_at(now), [100, 50]);
    assert_eq!(marker.mark_at(100, now), Green);
    assert_eq!(marker.mark_at(50, now), Yellow);
    assert_eq!(marker.mark_at(1, now), Red);
}

#[test]
fn rest_of_a_burst_counts_towards_next_packet() {
    let committed = quota("1000/s burst 1005 weight 10");
    let ms = Duration::from_millis(1);
    let start = Instant::now();
    let marker = SingleRate::new(committed, 505).expect("a marker");
    assert_eq!(marker.mark_at(100, start), Green);
    assert_eq!(marker.mark_at(1, start + 5 * ms - NS), Yellow);
    assert_eq!(marker.mark_at(1, start + 5 * ms), Green);

    let excess = SingleRate::new(committed, 505).expect("a marker");
    let yellow = |n, at| excess.remark_at(n, Yellow, at);
    assert_eq!(
        [
            yellow(50, start),
            yellow(1, start + 5 * ms - NS),
            yellow(1, start + 5 * ms)
        ],
        [Yellow, Red, Yellow]
    );

    let two = TwoRate::new(committed, committed).expect("a marker");
    assert_eq!(
        [(100, 0), (1, 4), (1, 5)].map(|(n, at)| two.mark_at(n, start + at * ms)),
        [Green, Red, Green]
    );
}

/// The token buckets of the RFCs in exact numbers: `1 / period` of a unit. A byte takes `weight` units.
#[derive(Clone, Copy)]
struct MarkerModel {
    rule: &'static str,
    weight: u32,
    rates: [i128; 2],
    bursts: [i128; 2],
    tokens: [i128; 2],
    at: i128,
}

const PERIOD: i128 = 1_000_000_000;

impl MarkerModel {
    fn new(rule: &'static str, rates: [u32; 2], bursts: [u32; 2], weight: u32) -> Self {
        let bursts = bursts.map(|units| i128::from(units) * PERIOD);
        Self {
            rule,
            weight,
            rates: rates.map(i128::from),
            bursts,
            tokens: bursts,
            at: 0,
        }
    }

    fn cost(&self, bytes: u32) -> i128 {
        i128::from(bytes) * i128::from(self.weight) * PERIOD
    }

    fn fill(&mut self, at: i128) {
        let came = self.rates.map(|rate| rate * (at - self.at));
        self.at = at;
        let [committed, second] = &mut self.tokens;
        *committed += came[0];
        let over = (*committed - self.bursts[0]).max(0);
        *committed -= over;
        *second += if self.rule == "SingleRate" { over } else { came[1] };
        *second = (*second).min(self.bursts[1]);
    }

    /// Returns the colour of a packet, if a bucket that lacks at most `slack` is taken for one that has the bytes.
    fn colour(&self, bytes: u32, came: Colour, slack: [i128; 2]) -> Colour {
        let cost = self.cost(bytes);
        let has = |bucket: usize| self.tokens[bucket] + slack[bucket] >= cost && cost <= self.bursts[bucket];
        match (self.rule, came) {
            (_, Red) => Red,
            ("TwoRate", _) if !has(1) => Red,
            (_, Green) if has(0) => Green,
            _ if has(1) => Yellow,
            _ => Red,
        }
    }

    fn take(&mut self, bytes: u32, colour: Colour) {
        let cost = self.cost(bytes);
        match (self.rule, colour) {
            (_, Red) => {}
            ("TwoRate", Green) => self.tokens = self.tokens.map(|tokens| tokens - cost),
            (_, Green) => self.tokens[0] -= cost,
            (_, Yellow) => self.tokens[1] -= cost,
        }
    }
}

/// Plays random packets. A colour may be better than the model's by the word's resolution, two units of 1/8 ns, and is never worse.
fn follows_model<R: Rule>(marker: Marker<R>, mut model: MarkerModel, seed: u64, exact: bool) -> [u32; 3] {
    let clock = ManualClock::new();
    let marker = marker.with_clock(clock.clone());
    let made = clock.now();
    let mut random = Seeded(seed);
    let mut colours = [0; 3];
    let largest = model.bursts.into_iter().max().unwrap_or_default() / model.cost(1);
    // As much comes as both buckets fill together, so that every colour occurs.
    let packet_time = largest * model.cost(1) / (4 * model.rates.into_iter().max().unwrap_or(1));
    let slack = if exact {
        [0, 0]
    } else {
        model.rates.map(|rate| rate / 4 + 1)
    };
    let mut at = 0;
    for step in 0..4000 {
        at += i128::from(random.below(u64::try_from(packet_time).expect("some time") + 2));
        let bytes = 1 + u32::try_from(random.below(u64::try_from(largest).expect("bytes") / 2 + 1)).expect("bytes");
        let came = [Green, Green, Green, Yellow, Red][usize::try_from(random.below(5)).expect("five")];
        model.fill(at);
        let colour = marker.remark_at(bytes, came, instant(made, at));
        let step = format!("step {step} of seed {seed}: {bytes} bytes that came {came} at {at}");
        assert!(
            colour <= model.colour(bytes, came, [0, 0]),
            "needlessly {colour}, {step}"
        );
        assert!(colour >= model.colour(bytes, came, slack), "{colour} too good, {step}");
        model.take(bytes, colour);
        colours[colour as usize] += 1;
    }
    colours
}

#[test]
fn colours_are_those_of_exact_token_buckets() {
    let per_second = |rate, burst: u32| {
        let cells = NonZeroU32::new(rate).expect("a rate");
        Quota::per_second(cells).allow_burst(NonZeroU32::new(burst).expect("a burst"))
    };
    let mut random = Seeded(6);
    let mut totals = [[0; 3]; 3];
    for seed in 0..24 {
        // A whole number of nanoseconds for each byte, or any rate.
        let exact = seed % 2 == 0;
        let mut rate = || {
            let bits = random.below(28);
            let any = u32::try_from((1 << bits) + random.below(1 << bits)).expect("a rate");
            if exact {
                [1000, 10_000, 1_000_000, 125_000_000][usize::try_from(bits % 4).expect("four")]
            } else {
                any
            }
        };
        let (low, high) = (rate(), rate());
        let rates = [low.min(high), low.max(high)];
        let bursts =
            [1 + random.below(3000), 1 + random.below(6000)].map(|burst| u32::try_from(burst).expect("a burst"));
        let most = bursts[0].min(bursts[1]).min(20);
        let weight = 1 + u32::try_from(random.below(most.into())).expect("a weight");
        let weighted = NonZeroU32::new(weight).expect("a weight");
        let [committed, second] = [0, 1].map(|bucket| per_second(rates[bucket], bursts[bucket]).cell_weight(weighted));
        let single = SingleRate::new(committed, bursts[1]).expect("a marker");
        let model = |rule, rates| MarkerModel::new(rule, rates, bursts, weight);
        let single = follows_model(single, model("SingleRate", [rates[0]; 2]), seed, exact);
        let two = TwoRate::new(committed, second).expect("a marker");
        let two = follows_model(two, model("TwoRate", rates), seed, exact);
        let excess = ExcessRate::new(committed, second).expect("a marker");
        let excess = follows_model(excess, model("ExcessRate", rates), seed, exact);
        for (total, colours) in totals.iter_mut().zip([single, two, excess]) {
            total.iter_mut().zip(colours).for_each(|(total, count)| *total += count);
        }
    }
    assert!(totals.as_flattened().iter().all(|&count| count > 5000), "{totals:?}");
}

#[test]
fn threads_share_the_bytes_of_both_buckets() {
    let marker = SingleRate::new(quota("1/h burst 40000"), 60_000).expect("a marker");
    let now = Instant::now();
    let colours = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| {
            let marker = marker.clone();
            scope.spawn(move || {
                let mut colours = [0; 3];
                (0..1000).for_each(|_| colours[marker.mark_at(100, now) as usize] += 1);
                colours
            })
        });
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let total = |colour: Colour| colours.iter().map(|counts| counts[colour as usize]).sum::<u32>();
    assert_eq!([Green, Yellow, Red].map(total), [400, 600, 3000]);
}

#[test]
fn times_in_any_order_give_no_credit() {
    let marker = SingleRate::new(quota("1000/s burst 1000"), 1000).expect("a marker");
    let now = Instant::now();
    let mut random = Seeded(1);
    let mut taken = 0;
    for _ in 0..5000 {
        let at = instant(now, i128::from(random.below(1_000_000_000)) - 500_000_000);
        if marker.mark_at(10, at) != Red {
            taken += 10;
        }
    }
    assert!((2000..=3000).contains(&taken), "{taken} bytes in a second");
}

#[test]
fn earlier_times_find_no_bytes() {
    let marker = SingleRate::new(quota("1000/s"), 1000).expect("a marker");
    let (now, earlier) = (Instant::now(), Instant::now() - Duration::from_secs(60));
    assert_eq!([marker.mark_at(1000, now), marker.mark_at(1000, now)], [Green, Yellow]);
    assert_eq!(marker.available_at(earlier), [0, 0]);
    assert_eq!([0, 1].map(|bytes| marker.mark_at(bytes, earlier)), [Green, Red]);
    let marker = ExcessRate::new(quota("1000/s"), quota("10/s")).expect("a marker");
    assert_eq!([marker.mark_at(1000, now), marker.mark_at(10, now)], [Green, Yellow]);
    let half = now + Duration::from_millis(500);
    assert_eq!(marker.available_at(half), [500, 5]);
}

/// The volume that drains by a time is rounded down.
#[test]
#[cfg_attr(windows, ignore = "an Instant begins at boot there")]
fn a_byte_conforms_at_its_instant() {
    let clock = ManualClock::new();
    let marker = SingleRate::new(quota("1/s"), 1)
        .expect("a marker")
        .with_clock(clock.clone());
    // Times before the beginning of its time line count as the beginning.
    let beginning = clock.now() - Duration::from_secs(86_400);
    let second = Duration::from_secs(1);
    assert_eq!([beginning; 3].map(|at| marker.mark_at(1, at)), [Green, Yellow, Red]);
    assert_eq!(marker.mark_at(1, beginning + second - NS), Red);
    assert_eq!(marker.mark_at(1, beginning + second), Green);
}

#[test]
fn a_lagging_clock_marks_no_packet_worse() {
    let time = ManualClock::new();
    let marker = SingleRate::new(quota("1000000/s burst 10"), 10).expect("a marker");
    let marker = marker.with_clock(Behind::new(&time, Duration::from_micros(5)));
    let start = time.now() + Duration::from_secs(1);
    time.set(start);
    assert_eq!([10, 10].map(|bytes| marker.mark_at(bytes, start)), [Green, Yellow]);
    assert_eq!(marker.mark(1), Red);
    time.set(start + Duration::from_micros(10) - NS);
    assert_eq!(marker.mark(10), Red);
    time.set(start + Duration::from_micros(10));
    assert_eq!(marker.mark(10), Green);
}

#[test]
fn a_reset_fills_both_buckets() {
    let marker = TwoRate::new(quota("1/h burst 10"), quota("2/h burst 20")).expect("a marker");
    let now = Instant::now();
    assert_eq!([marker.mark_at(10, now), marker.mark_at(10, now)], [Green, Yellow]);
    marker.reset();
    assert_eq!(marker.available_at(now), [10, 20]);
}

/// Returns the bytes of each colour. Checks that green and admitted bytes keep to their rate and burst from the first packet to any other.
fn marked<R: Rule>(marker: &Marker<R>, packets: &[capture::Packet], green: [u64; 2], admitted: [u64; 2]) -> [u64; 3] {
    let start = Instant::now();
    let mut bytes = [0; 3];
    let mut latest = Duration::ZERO;
    for packet in packets {
        bytes[marker.mark_at(packet.bytes, start + packet.after) as usize] += u64::from(packet.bytes);
        latest = latest.max(packet.after);
        let most =
            |[rate, burst]: [u64; 2]| u128::from(burst) + u128::from(rate) * latest.as_nanos() / 1_000_000_000 + 1;
        assert!(u128::from(bytes[0]) <= most(green), "green at {latest:?}");
        assert!(
            u128::from(bytes[0] + bytes[1]) <= most(admitted),
            "green and yellow at {latest:?}"
        );
    }
    bytes
}

#[test]
fn recorded_packets_keep_to_the_rates() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");
    let recorded = ["ndpi-netflix.pcap", "ndpi-teams.pcap"].map(|name| format!("{folder}/{name}"));
    let mut streams = vec![capture::made_up()];
    for path in recorded {
        match capture::read(&path) {
            Ok(packets) => streams.push(packets),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("skipped: no {path}"),
            Err(error) => panic!("{error}"),
        }
    }
    let (committed, excess) = (quota("50000/s burst 6000"), quota("25000/s burst 3000"));
    let peak = quota("75000/s burst 9000");
    for packets in streams {
        let all: u64 = packets.iter().map(|packet| u64::from(packet.bytes)).sum();
        let green = [50_000, 6000];
        let single = SingleRate::new(committed, 3000).expect("a marker");
        let single = marked(&single, &packets, green, [50_000, 9000]);
        let two = TwoRate::new(committed, peak).expect("a marker");
        let two = marked(&two, &packets, green, [75_000, 9000]);
        let apart = ExcessRate::new(committed, excess).expect("a marker");
        let apart = marked(&apart, &packets, green, [75_000, 9000]);
        for bytes in [single, two, apart] {
            assert_eq!(bytes.iter().sum::<u64>(), all);
            assert!(bytes.iter().all(|&bytes| bytes > 0), "{bytes:?}");
        }
    }
}
