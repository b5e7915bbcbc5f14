//! The allocations of a request, and the memory of invented keys: a binary of its own, since both are counted for the whole process.

use bytes::Bytes;
use core::convert::Infallible;
use core::future::{Ready, ready};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use ratelimit_meter_tower::{Fields, Limit, PeerIp, PerKey, RateLimitLayer, Shared, key_fn};
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::{Layer, Service, service_fn};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes every call on to the system's allocator.
#[expect(unsafe_code, reason = "a global allocator that counts cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type ReadyResponse = Ready<Result<Response<Full<Bytes>>, Infallible>>;

/// A response whose header map has room already, so that growth of the map is not counted.
fn roomy(_: Request<()>) -> ReadyResponse {
    let mut response = Response::new(Full::default());
    response.headers_mut().reserve(8);
    ready(Ok(response))
}

/// The allocations of a request, less those of the inner service alone.
fn allocations<L: Limit>(layer: &RateLimitLayer<L>) -> (u16, u64) {
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 1)));
        request
    };
    let (second, third) = (request(), request());
    let mut bare = service_fn(roomy);
    let mut limited = layer.layer(service_fn(roomy));
    let count = |call: &mut dyn FnMut() -> u16| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let status = call();
        (status, ALLOCATIONS.load(Ordering::Relaxed) - before)
    };
    let (mut second, mut third) = (Some(second), Some(third));
    // Makes the lazy parts before the count.
    for _ in 0..2 {
        limited.call(request()).now_or_never().unwrap().unwrap();
    }
    let (_, floor) = count(&mut || {
        bare.call(second.take().unwrap())
            .now_or_never()
            .unwrap()
            .unwrap()
            .status()
            .as_u16()
    });
    let (status, taken) = count(&mut || {
        limited
            .call(third.take().unwrap())
            .now_or_never()
            .unwrap()
            .unwrap()
            .status()
            .as_u16()
    });
    (status, taken.saturating_sub(floor))
}

fn main() {
    admitted_requests_allocate_at_most_the_value_of_a_field();
    denied_requests_allocate_at_most_two_values();
    invented_keys_take_no_memory_and_evict_no_active_key();
    println!("allocations and memory: ok");
}

fn admitted_requests_allocate_at_most_the_value_of_a_field() {
    let per_key = |quota: &str| PerKey::new(PeerIp::new(), quota.parse().unwrap(), 1000).unwrap();
    let silent = RateLimitLayer::new(per_key("100/s")).fields(Fields::None);
    assert_eq!(allocations(&silent), (200, 0));
    assert_eq!(allocations(&RateLimitLayer::new(per_key("100/s"))), (200, 1));
    let shared = RateLimitLayer::new(Shared::new("100/s".parse().unwrap()).unwrap());
    assert_eq!(allocations(&shared), (200, 1));
    let three = || {
        (
            per_key("100/s").named("a"),
            per_key("200/s").named("b"),
            per_key("300/s").named("c"),
        )
    };
    assert_eq!(
        allocations(&RateLimitLayer::new(three()).fields(Fields::None)),
        (200, 0)
    );
    assert_eq!(allocations(&RateLimitLayer::new(three())), (200, 2));
}

/// Without the two of the response's header map, which are in the count of `roomy` too.
fn denied_requests_allocate_at_most_two_values() {
    let denying = |quota: &str| RateLimitLayer::new(PerKey::new(PeerIp::new(), quota.parse().unwrap(), 1000).unwrap());
    // A wait of up to an hour is a static value.
    for quota in ["1/min", "1/h"] {
        assert_eq!(allocations(&denying(quota).fields(Fields::None)), (429, 0));
        assert_eq!(allocations(&denying(quota)), (429, 1));
    }
    assert_eq!(allocations(&denying("1/d").fields(Fields::None)), (429, 1));
    assert_eq!(allocations(&denying("1/d")), (429, 2));
}

/// The keys of a second tier, whose quota is spent before other clients invent keys.
const ACTIVE: u64 = 100;

/// Ten million, with `TOWER_KEYS`, through a table for a thousand.
fn invented_keys_take_no_memory_and_evict_no_active_key() {
    let keys = std::env::var("TOWER_KEYS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200_000_u64);
    let key = key_fn(|head| head.extensions().get::<u64>().copied());
    let limit = PerKey::new(key, "10/s".parse().unwrap(), 1000).unwrap();
    let limit = limit.tier("active", "1/h".parse().unwrap()).unwrap();
    let limit = limit.tier_by(|head| {
        head.extensions()
            .get::<u64>()
            .filter(|key| **key < ACTIVE)
            .map(|_| "active")
    });
    let layer = RateLimitLayer::new(limit);
    let mut service = layer.layer(service_fn(roomy));
    let mut ask = |key: u64, expected: u16| {
        let mut request = Request::new(());
        request.extensions_mut().insert(key);
        let response = service.call(request).now_or_never().unwrap().unwrap();
        assert_eq!(response.status(), expected, "{key}");
    };
    (0..ACTIVE).for_each(|key| ask(key, 200));
    (ACTIVE..10_000).for_each(|key| ask(key, 200));
    let before = resident();
    (10_000..keys).for_each(|key| ask(key, 200));
    let grown = resident().saturating_sub(before);
    assert!(grown <= 1 << 20, "{grown} bytes more for {keys} keys");
    (0..ACTIVE).for_each(|key| ask(key, 429));
    println!("{keys} keys: {} KiB more", grown >> 10);
}

/// The resident memory of this process in bytes; 0 if it is not reported.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    })
}
