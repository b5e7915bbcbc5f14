//! tokio-rate-limit: one key, asked for once beforehand. Its calls are `async` and never wait; here they are polled without a
//! runtime, which is the least an `.await` can cost.

use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use crate::tables::cases::Hasher;
use crate::tables::contender::KeyedContender;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use tokio_rate_limit::algorithm::TokenBucket;
use tokio_rate_limit::{RateLimitDecision, Result};

const KEY: &str = "7";

pub(super) struct TokioRateLimitPeer;

impl Contender for TokioRateLimitPeer {
    const NAME: &'static str = "tokio-rate-limit";
    const KIND: ContenderKind = ContenderKind::KeyedPeer;
    const PACKAGE: Option<Package> = Some(("tokio-rate-limit", "0.8"));
    type Handle = Arc<tokio_rate_limit::RateLimiter>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let limiter = Arc::new(limiter(limit));
        let mut handles = vec![limiter; threads];
        handles.iter_mut().take(1).for_each(|handle| {
            Self::check(handle);
        });
        handles
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        is_permitted(limiter.check(KEY))
    }

    const CHECK_N: Option<CheckN<Self::Handle>> =
        Some(|limiter, n| is_permitted(limiter.check_with_cost(KEY, n.get().into())));
}

/// It supports whole requests a second only, so one could come back while a denial is timed. A bucket without refill is otherwise the default
/// bucket, and never admits again.
fn limiter(limit: MeterLimit) -> tokio_rate_limit::RateLimiter {
    let bucket = TokenBucket::new(limit.burst.get().into(), limit.whole_rate());
    tokio_rate_limit::RateLimiter::from_algorithm(bucket)
}

/// Its keys are text, and it has no way to reserve room for them.
impl KeyedContender<String> for tokio_rate_limit::RateLimiter {
    const NAME: &'static str = TokioRateLimitPeer::NAME;
    const KIND: ContenderKind = ContenderKind::Peer;
    const HASHER: Option<Hasher> = Some(Hasher::AHash);

    fn with_room(limit: MeterLimit, _: usize) -> Self {
        limiter(limit)
    }

    #[inline]
    fn check(&self, key: &String) -> bool {
        is_permitted(self.check(key))
    }
}

#[inline]
fn is_permitted(decision: impl Future<Output = Result<RateLimitDecision>>) -> bool {
    match pin!(decision).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => decision.is_ok_and(|decision| decision.permitted),
        Poll::Pending => false,
    }
}
